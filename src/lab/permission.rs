//! May this process make namespaces? As root directly, else inside a user namespace of its own.
use super::error::{Error, Result};
use crate::platform::namespace;
use std::fs;
use std::io::{Write, stderr};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// What to do where the kernel gives neither.
const CURE: &str = "run it as root, or allow user namespaces:\n  \
    Debian:           sysctl kernel.unprivileged_userns_clone=1\n  \
    Ubuntu 23.10 on:  sysctl kernel.apparmor_restrict_unprivileged_userns=0\n  \
    any distribution: sysctl user.max_user_namespaces=1000\n\
    (in a container: start it with --privileged)";

/// Makes sure that this process may create network namespaces.
///
/// Root is left as it is. Anybody else is moved into a new user namespace as its root, which only a
/// process with a single thread can do: call this first in `main`. `latido lab-root -- COMMAND…`
/// does it for programs that have threads, such as test runners.
///
/// # Errors
/// Where neither root nor user namespaces are to be had; the message says how to get them.
pub fn acquire() -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let capable =
        || std::thread::spawn(namespace::new_network).join().is_ok_and(|outcome| outcome.is_ok());
    if uid.is_root() && capable() {
        return Ok(());
    }
    // A thread that has ended may still be counted for a moment.
    let outcome = retry_while_thread_ends(namespace::new_user);
    outcome.map_err(|why| {
        let who = if uid.is_root() { "root without CAP_SYS_ADMIN" } else { "not root" };
        Error::new(format!(
            "the laboratory needs network namespaces, but this process is {who} and the kernel \
             refused a user namespace ({why}); {CURE}"
        ))
    })?;
    let mapped = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {} 1\n", uid.as_raw())))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {} 1\n", gid.as_raw())));
    mapped.map_err(|why| {
        Error::new(format!("becoming root of a user namespace was refused ({why}); {CURE}"))
    })?;
    if capable() {
        return Ok(());
    }
    Err(Error::new(format!(
        "a user namespace was granted, but no network namespace inside it; {CURE}"
    )))
}

fn retry_while_thread_ends(attempt: fn() -> std::io::Result<()>) -> std::io::Result<()> {
    let mut outcome = attempt();
    for _ in 0..20 {
        match &outcome {
            Err(why) if why.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                std::thread::sleep(std::time::Duration::from_millis(2));
                outcome = attempt();
            }
            _ => break,
        }
    }
    outcome
}

/// `lab-root COMMAND…`: becomes root of a user namespace where needed, then runs the command in
/// its place. For test runners, which have threads.
pub(super) fn main(mut args: impl Iterator<Item = String>) -> ExitCode {
    let why = match (acquire(), args.next()) {
        (Err(why), _) => why.to_string(),
        (Ok(()), None) => "usage: lab-root COMMAND…".to_owned(),
        (Ok(()), Some(program)) => {
            let why = Command::new(&program).args(args).exec();
            format!("cannot run {program}: {why}")
        }
    };
    let _ = writeln!(stderr(), "latido: {why}");
    ExitCode::FAILURE
}
