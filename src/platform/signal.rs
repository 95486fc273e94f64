//! Signals as bytes in a pipe, so that one `poll` waits for them together with everything else.
//!
//! Handlers rather than a signalfd: a handler is undone by `exec`, whereas a blocked signal stays
//! blocked in every script that a child starts.
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
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
    /// Takes over these signals for the whole process, and lets those through that the parent has
    /// held back (see [`hold_back_in`]). To be called once, at the start.
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

/// Has the command start its child with these signals held back: none is lost until the child
/// calls [`Signals::install`]. (By itself the standard library gives children an empty mask.)
#[allow(unsafe_code)]
pub fn hold_back_in(command: &mut Command, signals: &'static [i32]) {
    let hold = move || {
        mask(libc::SIG_BLOCK, signals);
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls only what signal-safety(7) allows
    // (sigemptyset, sigaddset, sigprocmask) and allocates nothing.
    unsafe { command.pre_exec(hold) };
}

/// The process number of a child that has ended and is not reaped yet.
#[allow(unsafe_code)]
pub fn ended_child() -> Option<i32> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid fills the structure it is given; with WNOHANG and no child that has ended it
    // leaves si_pid as it was, zero; si_pid is the valid member for what waitid reports.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_ALL, 0, &mut info, options) != 0 {
            return None;
        }
        info.si_pid()
    };
    (pid > 0).then_some(pid)
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
