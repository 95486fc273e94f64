//! Child processes that cannot hurt the daemon, and waiting for them.
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
/// How often a kernel without pidfd (before 5.3) is asked whether the child has ended.
const TICK: Duration = Duration::from_millis(20);

/// Wakes a thread that waits in `poll`: an eventfd(2), readable until it is drained.
pub struct Wake(OwnedFd);

impl Wake {
    /// A new one, not set.
    ///
    /// # Errors
    /// The kernel's, out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Wake(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Sets it. Never blocks, never allocates.
    pub fn set(&self) {
        // The only error is a counter at its maximum: set already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Clears it.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// A child in a session of its own, its output in a pipe.
pub struct Child {
    inner: std::process::Child,
    pid: Pid,
    pidfd: Option<OwnedFd>,
    end: Option<End>,
}

/// Starts a child: own session (and so process group), working directory `/`, nothing on stdin,
/// stdout and stderr in the returned non-blocking pipe; without our descriptors, blocked signals
/// and real-time priority. Locked memory is not inherited by any child (mlockall(2)). It is killed
/// when the calling thread ends (PR_SET_PDEATHSIG): a start that went on after its daemon's death
/// could end after the next daemon's stop. What it has started itself lives on.
///
/// # Errors
/// The kernel's: `NOENT` without the program, `ACCESS` if it is not executable, `NOEXEC` for a
/// script without a `#!` line.
pub fn spawn(command: Command) -> io::Result<(Child, OwnedFd)> {
    spawn_with(command, Stdio::null())
}

/// As [`spawn`], with these bytes on its standard input: as many as a pipe takes at once (4096 on
/// every system).
///
/// # Errors
/// As [`spawn`], and more bytes than that.
pub fn spawn_told(command: Command, bytes: &[u8]) -> io::Result<(Child, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    if rustix::io::write(&writer, bytes)? < bytes.len() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    spawn_with(command, reader.into())
}

#[allow(unsafe_code)]
fn spawn_with(mut command: Command, input_end: Stdio) -> io::Result<(Child, OwnedFd)> {
    let (output, input) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
    command.stdin(input_end).stdout(input.try_clone()?).stderr(input).current_dir("/");
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec `leave_parent` makes nothing but system calls.
    unsafe { command.pre_exec(move || leave_parent(parent)) };
    let inner = command.spawn()?;
    drop(command); // its copies of the pipe's writing end
    let pid = Pid::from_child(&inner);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
    Ok((Child { inner, pid, pidfd, end: None }, output))
}

/// Runs in the child before the new program: system calls only.
#[allow(unsafe_code)]
fn leave_parent(parent: Pid) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // It died before it was watched.
        return Err(rustix::io::Errno::SRCH.into());
    }
    // SAFETY: the structures are plain data on the stack and outlive the calls; closing on exec
    // leaves every descriptor usable until then. Refusals are harmless: older kernels have no
    // close_range, and all our descriptors are close-on-exec anyway.
    unsafe {
        let parameter = libc::sched_param { ..std::mem::zeroed() };
        libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &parameter);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

impl Child {
    /// Its process id, which is also the id of its process group and session.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Readable when it has ended; `None` on kernels before 5.3.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// How it ended, if it has; reaps it.
    pub fn ended(&mut self) -> Option<End> {
        if self.end.is_none() {
            self.end = match self.inner.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(match (status.code(), status.signal()) {
                    (Some(code), _) => End::Exited(code),
                    (None, signal) => End::Signalled(signal.unwrap_or(0)),
                }),
                // Somebody else reaped it (SIGCHLD ignored): that it has ended is all we know.
                Err(_) => Some(End::Signalled(0)),
            };
        }
        self.end
    }

    /// Waits until it has ended, the output or `wake` is readable, or the time is over.
    pub fn wait_for_news(&self, output: Option<BorrowedFd<'_>>, wake: &Wake, limit: Duration) {
        let limit = if self.pidfd.is_none() { limit.min(TICK) } else { limit };
        let fds = [Some(wake.as_fd()), self.fd(), output];
        wait_readable(&fds, Some(limit));
    }

    /// Ends it and everything of its process group and session: SIGTERM, after `grace` SIGKILL.
    /// Reaps it. Returns whether everything is gone.
    pub fn kill(&mut self, grace: Duration) -> bool {
        let start = Instant::now();
        if self.ended().is_none() && !grace.is_zero() {
            self.signal_all(Signal::TERM);
            while self.ended().is_none() && start.elapsed() < grace {
                wait_readable(&[self.fd()], Some(TICK));
            }
        }
        // Twice: a process may fork while the first round goes on.
        for _ in 0..2 {
            self.signal_all(Signal::KILL);
        }
        let start = Instant::now();
        while self.ended().is_none() && start.elapsed() < Duration::from_secs(1) {
            wait_readable(&[self.fd()], Some(TICK));
        }
        self.ended().is_some()
    }

    /// Signals its group and the other groups of its session.
    fn signal_all(&self, signal: Signal) {
        // The number stays reserved while a zombie, a group or a session of it exists. Once the
        // child is reaped and its group is empty the kernel says so, and nobody is hit.
        let _ = kill_process_group(self.pid, signal);
        for pid in session_members(self.pid()) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Processes of a session. Empty if /proc does not show our own PID namespace, where its numbers
/// would be those of strangers.
fn session_members(session: i32) -> Vec<Pid> {
    let me = std::fs::read_link("/proc/self").ok();
    if me.as_deref().and_then(|link| link.to_str()?.parse().ok()) != Some(std::process::id()) {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| session_of(*pid) == Some(session))
        .filter_map(Pid::from_raw)
        .collect()
}

/// The session of a process (proc_pid_stat(5), field 6).
fn session_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, even parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

/// Waits until one of the descriptors is readable or hung up; `None`: without end.
pub fn wait_readable(fds: &[Option<BorrowedFd<'_>>], limit: Option<Duration>) {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // An interruption is no news; the caller looks again anyway.
    let _ = poll(&mut polled, limit.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Everything that a shell command prints.
    fn output_of(script: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let (mut child, pipe) = spawn(command).expect("a shell");
        let wake = Wake::new().expect("an eventfd");
        let start = Instant::now();
        while child.ended().is_none() {
            assert!(start.elapsed() < Duration::from_secs(5), "it hangs");
            child.wait_for_news(None, &wake, Duration::from_secs(1));
        }
        assert_eq!(child.ended(), Some(End::Exited(0)));
        let mut text = String::new();
        let _ = std::fs::File::from(pipe).read_to_string(&mut text);
        text
    }

    #[test]
    #[allow(unsafe_code)]
    fn children_inherit_neither_priority_nor_blocked_signals() {
        // Read by the program itself: a shell blocks signals while it starts others.
        let status = "cut -d' ' -f41 /proc/$$/stat; exec grep -E '^Sig(Blk|Ign)' /proc/self/status";
        let text = std::thread::spawn(move || {
            crate::platform::sched::realtime(1).expect("these tests need root: run them as root");
            // SAFETY: plain data on the stack; only this thread's mask changes, and a signal that
            // nobody sends here.
            unsafe {
                libc::signal(libc::SIGUSR2, libc::SIG_IGN);
                let mut all: libc::sigset_t = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
            }
            output_of(status)
        })
        .join()
        .expect("no panic");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "0", "ordinary scheduling");
        assert!(lines[1].ends_with("\t0000000000000000"), "blocked: {text}");
        // Signals from 32 on are the C library's own.
        let ignored =
            lines[2].rsplit('\t').next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        assert_eq!(ignored.map(|set| set & 0x7fff_ffff), Some(0), "ignored: {text}");
    }

    #[test]
    fn an_end_by_a_signal_is_told_from_an_exit() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "kill -9 $$"]);
        let (mut child, _pipe) = spawn(command).expect("a shell");
        let wake = Wake::new().expect("an eventfd");
        while child.ended().is_none() {
            child.wait_for_news(None, &wake, Duration::from_secs(1));
        }
        assert_eq!(child.ended(), Some(End::Signalled(9)));
        let missing = spawn(Command::new("/no/such/program")).err().expect("refused");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_wake_up_ends_a_wait_and_is_not_lost() {
        let wake = Wake::new().expect("an eventfd");
        wake.set();
        let start = Instant::now();
        wait_readable(&[Some(wake.as_fd())], Some(Duration::from_secs(5)));
        assert!(start.elapsed() < Duration::from_secs(1));
        wake.clear();
        wait_readable(&[Some(wake.as_fd())], Some(Duration::from_millis(30)));
        assert!(start.elapsed() >= Duration::from_millis(30), "cleared");
    }
}
