//! Signals as bytes in a pipe, so that one `poll` waits for them together with everything else.
//!
//! Handlers rather than a signalfd: a handler is undone by `exec`, whereas a blocked signal stays
//! blocked in every script that a child starts.
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// End in order.
pub const TERMINATE: i32 = libc::SIGTERM;
/// Ctrl-C: end in order.
pub const INTERRUPT: i32 = libc::SIGINT;
/// Read the configuration again.
pub const HANGUP: i32 = libc::SIGHUP;
/// A child has ended.
pub const CHILD: i32 = libc::SIGCHLD;

/// The writing end of the pipe, for the handler; -1: none yet.
static WRITER: AtomicI32 = AtomicI32::new(-1);

/// The signals that were asked for, in the order in which they came.
#[derive(Debug)]
pub struct Signals {
    reader: OwnedFd,
}

impl Signals {
    /// Takes over these signals for the whole process, and lets those through that a parent has
    /// held back (see [`held_back`]). To be called once, at the start.
    pub fn install(signals: &[i32]) -> io::Result<Signals> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        WRITER.store(writer.as_raw_fd(), Ordering::SeqCst);
        // Never closed: the handler may run at any moment.
        std::mem::forget(writer);
        for &signal in signals {
            handle(signal)?;
        }
        mask(libc::SIG_UNBLOCK, signals);
        Ok(Signals { reader })
    }

    /// Signals that come from the returned pipe instead of the kernel: each byte is a number.
    pub fn from_pipe() -> io::Result<(Signals, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok((Signals { reader }, writer))
    }

    /// The oldest signal not taken yet.
    pub fn take(&self) -> Option<i32> {
        let mut byte = [0u8; 1];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.reader, &mut byte)) {
            Ok(1) => Some(i32::from(byte[0])),
            Ok(_) | Err(_) => None,
        }
    }
}

impl AsFd for Signals {
    /// Readable when a signal waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Runs `work` with these signals held back in this thread. A child started within inherits that
/// and loses none of them until it calls [`Signals::install`].
pub fn held_back<T>(signals: &[i32], work: impl FnOnce() -> T) -> T {
    mask(libc::SIG_BLOCK, signals);
    let result = work();
    mask(libc::SIG_UNBLOCK, signals);
    result
}

#[allow(unsafe_code)]
fn mask(how: libc::c_int, signals: &[i32]) {
    // SAFETY: `set` is initialised by sigemptyset before it is read; pthread_sigmask only reads it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

#[allow(unsafe_code)]
fn handle(signal: i32) -> io::Result<()> {
    // SAFETY: the structure is fully initialised; `note` does only what signal-safety(7) allows.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code)]
extern "C" fn note(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: write(2) is async-signal-safe and reads one byte that lives on this stack; errno is
    // put back as it was, because the interrupted code may be about to read it.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(WRITER.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *errno = before;
    }
}
