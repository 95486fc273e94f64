//! Namespaces of the calling thread (unshare(2)).
use rustix::thread::UnshareFlags;
use std::io;

/// Moves the calling thread into a new, empty network namespace.
pub fn new_network() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}

/// Lets the next child of the calling thread be process 1 of a new PID namespace. The thread can
/// start no further threads after this.
pub fn new_pids_for_children() -> io::Result<()> {
    unshare(UnshareFlags::NEWPID)
}

/// Gives the calling process its own mounts, host name and System V objects. The process must
/// have one thread only.
pub fn new_machine() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC)
}

/// Moves the calling process into a new user namespace, where it may make the others. The process
/// must have one thread only (`EINVAL` otherwise).
pub fn new_user() -> io::Result<()> {
    unshare(UnshareFlags::NEWUSER)
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the condition of `unshare_unsafe` concerns `UnshareFlags::FILES` alone, which no
    // caller in this file passes.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}
