//! Links, addresses and routes of the network namespace in which the socket was opened.
//!
//! Our own small codec for rtnetlink(7): the daemon needs a dozen messages of it. [`Socket`] asks
//! and waits for the kernel's answer (microseconds; the kernel answers before `sendto` returns),
//! [`Monitor`] listens.
mod address;
mod codec;
mod filter;
mod link;
mod monitor;
mod route;

pub use address::{Address, Flags, Lifetime, Scope};
pub use filter::{Filter, Hook};
pub use link::{Ipv4Setting, Link, LinkKind, Namespace, OperState};
pub use monitor::{Change, Monitor, Name};
pub use route::Route;

use codec::{Request, attributes, message, text, u32_at};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::fmt;
use std::io;
use std::time::Duration;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
/// In an answer: text and offset of the extended acknowledgement follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The kernel never puts more than 32 KiB into one datagram; it fits its dumps to our buffer.
const BUFFER: usize = 16 * 1024;
/// The kernel answers at once; this bounds a kernel that does not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a dump is repeated that changed while it was read.
const DUMP_ATTEMPTS: usize = 5;

/// A request that the kernel refused, or that never reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    what: String,
    errno: Errno,
    kernel: String,
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error number, for decisions.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, io::Error::from(self.errno))?;
        if !self.kernel.is_empty() {
            write!(f, ": {}", self.kernel)?;
        }
        if self.errno == Errno::PERM {
            write!(f, "; run as root or with CAP_NET_ADMIN")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(io::Error::from(error.errno).kind(), error)
    }
}

/// Why an exchange failed: the error number and the kernel's own words.
struct Failure {
    errno: Errno,
    kernel: String,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure { errno, kernel: String::new() }
    }
}

impl Failure {
    fn of(self, what: impl Into<String>) -> Error {
        Error { what: what.into(), errno: self.errno, kernel: self.kernel }
    }
}

/// A socket for requests: one at a time, each answered before the call returns.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8; BUFFER]>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace; it stays there.
    ///
    /// # Errors
    /// The kernel's, with what was tried.
    pub fn open() -> io::Result<Self> {
        let fd = open_socket(SocketFlags::CLOEXEC, 0)?;
        rustix::net::sockopt::set_socket_timeout(
            &fd,
            rustix::net::sockopt::Timeout::Recv,
            Some(ANSWER_TIMEOUT),
        )?;
        Ok(Socket { fd, sequence: 0, buffer: Box::new([0; BUFFER]) })
    }

    /// Sends a request and gives every message of the answer to `each`, until the kernel has
    /// acknowledged it. `Ok(false)`: a dump changed while it was read.
    fn exchange(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(u16, &[u8]),
    ) -> std::result::Result<bool, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence).ok_or(Errno::MSGSIZE)?;
        let kernel = SocketAddrNetlink::new(0, 0);
        retry(|| rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &kernel))?;
        let mut whole = true;
        loop {
            let buffer = &mut self.buffer[..];
            let (_, length) =
                retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC))?;
            let mut rest = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while let Some((message, next)) = message(rest) {
                rest = next;
                if message.sequence != self.sequence {
                    continue; // the late answer to a request that was given up
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => return verdict(&message).map(|()| whole),
                    kind => each(kind, message.payload),
                }
            }
        }
    }

    /// A request that is only acknowledged.
    fn command(&mut self, mut request: Request, what: impl FnOnce() -> String) -> Result<()> {
        self.exchange(&mut request, |_, _| ()).map(|_| ()).map_err(|failure| failure.of(what()))
    }

    /// A dump, repeated when the tables changed while they were read.
    fn dump<T>(
        &mut self,
        kind: u16,
        header: &[u8],
        what: &str,
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut found = Vec::new();
            let mut request = Request::new(kind, NLM_F_DUMP);
            request.put(header);
            let whole = self
                .exchange(&mut request, |kind, payload| found.extend(read(kind, payload)))
                .map_err(|failure| failure.of(what))?;
            if whole {
                return Ok(found);
            }
        }
        Err(Failure::from(Errno::AGAIN).of(what))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What an error or done message says.
fn verdict(message: &codec::Message<'_>) -> std::result::Result<(), Failure> {
    let code = u32_at(message.payload, 0).unwrap_or(0) as i32;
    if code == 0 {
        return Ok(());
    }
    // An error carries the header of the request that it is about, a done message does not.
    let skip = if message.kind == NLMSG_ERROR { 4 + codec::HEADER } else { 4 };
    let mut kernel = String::new();
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let tlvs = message.payload.get(skip..).unwrap_or(&[]);
        kernel = attributes(tlvs)
            .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
            .map(|(_, words)| text(words))
            .unwrap_or_default();
    }
    Err(Failure { errno: Errno::from_raw_os_error(code.wrapping_neg()), kernel })
}

/// Calls again after an interruption by a signal.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A bound `NETLINK_ROUTE` socket that is a member of `groups` (`RTMGRP_*`).
fn open_socket(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    // The kernel's own words in its refusals, without a copy of our request.
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        set_option(&fd, option);
    }
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// Switches on a netlink option; older kernels refuse, and we do without.
#[allow(unsafe_code)]
fn set_option(fd: &OwnedFd, option: libc::c_int) {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, the value is a live c_int and its size is given.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

#[cfg(test)]
mod tests;
