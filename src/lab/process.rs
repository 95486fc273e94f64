//! Looking at processes through `/proc`, as the laboratory's own PID namespace sees them.
use super::error::{Doing, Error, Result};
use std::fs;
use std::time::Duration;

/// A process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number as the laboratory sees it.
    pub pid: i32,
    /// Its number as the node sees it.
    pub inner_pid: i32,
    /// Its parent's number as the laboratory sees it.
    pub parent: i32,
    /// Its command line; empty for a zombie.
    pub command: Vec<String>,
    /// The kernel's letter for its state: `S` sleeping, `T` stopped, `Z` zombie …
    pub state: char,
}

/// Every descendant of `root`, parents before children; `root` itself is not among them.
pub fn descendants(root: i32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let all: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect();
    let mut family = vec![root];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        next += 1;
        for process in all.iter().filter(|process| process.parent == parent) {
            family.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

fn read(pid: i32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = command
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    Some(Process {
        pid,
        inner_pid: field("NSpid").and_then(|all| all.split('\t').next_back()?.parse().ok())?,
        parent: field("PPid")?.parse().ok()?,
        command,
        state: field("State")?.chars().next()?,
    })
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since it started, user and system.
    pub cpu: Duration,
    /// Proportional set size in KiB: its memory, shared pages divided among their users.
    pub pss_kib: u64,
}

/// What a process has used until now. CPU time in steps of 1 ns where the kernel accounts for it
/// so (`/proc/PID/schedstat`), else of 10 ms.
///
/// # Errors
/// When it has ended or `/proc` hides it.
pub fn usage(pid: i32) -> Result<Usage> {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{pid}/{name}"))
            .doing(format!("reading /proc/{pid}/{name}"))
    };
    let mut cpu = Duration::ZERO;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).doing(format!("process {pid}"))?;
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        cpu += Duration::from_nanos(nanos);
    }
    if cpu.is_zero() {
        cpu = cpu_of_stat(&read("stat")?)
            .ok_or_else(|| Error::new(format!("/proc/{pid}/stat cannot be understood")))?;
    }
    let pss_kib = read("smaps_rollup")?
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| Error::new(format!("/proc/{pid}/smaps_rollup has no Pss line")))?;
    Ok(Usage { cpu, pss_kib })
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)), in ticks of 10 ms; the name before them may
/// hold anything, closing brackets included.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 100 0 0 0 12 5 0 0 20 0 1 0 99 0 0";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_millis(170)));
    }

    #[test]
    fn a_child_is_found_with_its_command() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        // The command line is the parent's own until the child has executed.
        let found = super::super::wait::until(Duration::from_secs(5), "sleep to show", || {
            descendants(me).into_iter().find(|one| one.pid == pid && one.command == ["sleep", "60"])
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let found = found.unwrap();
        assert_eq!(found.parent, me);
        assert!(descendants(me).iter().all(|one| one.pid != pid));
    }
}
