//! Processes and namespaces.
use rustix::thread::UnshareFlags;
use std::io;

/// Moves the calling thread (and the threads and processes that it starts from now on) to a new,
/// empty network namespace, with a loopback interface that is switched off.
///
/// # Errors
/// `PERM` without CAP_SYS_ADMIN.
#[allow(unsafe_code)]
pub fn enter_new_network_namespace() -> io::Result<()> {
    // SAFETY: unshare is unsafe because of CLONE_FILES; the network namespace touches no memory
    // and no descriptor of this process.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
