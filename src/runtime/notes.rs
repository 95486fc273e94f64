//! Short notes of the engine for the commands.
use super::RuntimeDir;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::path::Path;

const SUPERVISOR: &str = "supervisor";
const NOT_STOPPED: &str = "not-stopped";

impl RuntimeDir {
    /// Notes who starts the engine again, for [`supervisor`]. Not for the real-time loop.
    ///
    /// # Errors
    /// The file cannot be written, or there is no such process.
    pub fn note_supervisor(&self, pid: u32) -> io::Result<()> {
        let started = start_time(pid).ok_or(io::ErrorKind::NotFound)?;
        self.note(SUPERVISOR, &format!("{pid} {started}\n"))
    }

    /// Notes what the engine leaves running, one line each, for [`not_stopped`]; nothing removes
    /// the note. Not for the real-time loop.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_not_stopped(&self, lines: &[String]) -> io::Result<()> {
        if !lines.is_empty() {
            return self.note(NOT_STOPPED, &(lines.join("\n") + "\n"));
        }
        match std::fs::remove_file(self.path().join(NOT_STOPPED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A reader sees the old text or the new one, never half of one.
    fn note(&self, name: &str, text: &str) -> io::Result<()> {
        let next = self.path().join(format!("{name}.new"));
        std::fs::write(&next, text)?;
        std::fs::rename(&next, self.path().join(name))
    }
}

/// The supervisor of the last engine on this directory, if it still lives: its process number, and
/// a descriptor that surely is that process.
pub fn supervisor(dir: &Path) -> Option<(u32, OwnedFd)> {
    let text = std::fs::read_to_string(dir.join(SUPERVISOR)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let (pid, started): (u32, u64) = (pid.parse().ok()?, started.parse().ok()?);
    let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    // Looked at after it was opened: the number may have been given to another process.
    (start_time(pid) == Some(started)).then_some((pid, process))
}

/// What the last engine on this directory could not stop, one line each.
pub fn not_stopped(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(NOT_STOPPED)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// When a process started, in clock ticks since the boot: field 22 of proc_pid_stat(5). `None`:
/// it has ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn a_recycled_process_number_is_not_the_supervisor() {
        let scratch = Scratch::new();
        let runtime = RuntimeDir::open(&scratch.0).expect("runtime");
        assert!(supervisor(&scratch.0).is_none());
        runtime.note_supervisor(std::process::id()).expect("noted");
        let (pid, _) = supervisor(&scratch.0).expect("this process");
        assert_eq!(pid, std::process::id());
        std::fs::write(scratch.0.join(SUPERVISOR), format!("{pid} 1\n")).expect("write");
        assert!(supervisor(&scratch.0).is_none());
        assert!(runtime.note_supervisor(u32::MAX).is_err());
    }

    #[test]
    fn what_was_not_stopped_is_read_back_and_forgotten() {
        let scratch = Scratch::new();
        let runtime = RuntimeDir::open(&scratch.0).expect("runtime");
        runtime.note_not_stopped(&["web: blocked".into()]).expect("noted");
        assert_eq!(not_stopped(&scratch.0), ["web: blocked"]);
        runtime.note_not_stopped(&[]).expect("forgotten");
        runtime.note_not_stopped(&[]).expect("nothing to forget");
        assert!(not_stopped(&scratch.0).is_empty());
    }

    #[test]
    fn a_removed_directory_is_made_again_and_locked() {
        let scratch = Scratch::new();
        let dir = scratch.0.join("run");
        let first = RuntimeDir::open(&dir).expect("runtime");
        let mut second = first.share().expect("shared");
        assert!(!second.restore().expect("nothing to do"));
        std::fs::remove_dir_all(&dir).expect("removed");
        assert!(second.restore().expect("made again"));
        assert!(super::super::is_locked(&dir));
        assert!(!second.restore().expect("nothing to do"));
    }
}
