//! Changes of interfaces and addresses, as the kernel tells them.
use super::address::{IFADDRMSG, RTM_DELADDR, RTM_NEWADDR, identity};
use super::codec::{Message, attributes, message, u32_at};
use super::link::{
    IFF_LOWER_UP, IFF_UP, IFINFOMSG, IFLA_IFNAME, NAME_MAX, RTM_DELLINK, RTM_NEWLINK,
};
use super::{BUFFER, open_socket};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use std::fmt;
use std::io;
use std::net::IpAddr;

/// `RTMGRP_LINK`.
const LINKS: u32 = 0x1;
/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const ADDRESSES: u32 = 0x10 | 0x100;

/// Something that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface: its present state, whatever of it changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: Name,
        /// Has a carrier; see [`Link::carrier`](super::Link::carrier).
        carrier: bool,
        /// Switched on.
        up: bool,
        /// It was removed, or moved to another namespace.
        gone: bool,
    },
    /// An address.
    Address {
        /// Index of its interface.
        index: u32,
        /// The address.
        address: IpAddr,
        /// Prefix length.
        prefix: u8,
        /// Added or changed; else removed.
        added: bool,
        /// Port of the netlink socket by which it was done; a process's first socket has the
        /// number of the process. 0: the kernel did it by itself.
        by: u32,
    },
    /// Changes were lost: there were more than the socket's buffer holds. Ask a
    /// [`Socket`](super::Socket) for the present state.
    Overrun,
}

/// Name of an interface.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_MAX],
    len: u8,
}

impl Name {
    fn new(bytes: &[u8]) -> Self {
        let mut name = Name::default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()).min(NAME_MAX);
        name.bytes[..end].copy_from_slice(&bytes[..end]);
        name.len = end as u8;
        name
    }

    /// As text; `?` if it is not UTF-8.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A non-blocking socket that hears every change of links and addresses in its namespace.
pub struct Monitor {
    fd: OwnedFd,
    buffer: Box<[u8; BUFFER]>,
    /// The part of the buffer that was not read yet.
    at: usize,
    end: usize,
}

impl Monitor {
    /// Starts listening in the calling thread's network namespace. List the present state *after*
    /// this, so that no change falls between.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        Self::of(LINKS | ADDRESSES)
    }

    /// As [`Monitor::open`], but of links alone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links_only() -> io::Result<Self> {
        Self::of(LINKS)
    }

    fn of(groups: u32) -> io::Result<Self> {
        let fd = open_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, groups)?;
        Ok(Monitor { fd, buffer: Box::new([0; BUFFER]), at: 0, end: 0 })
    }

    /// Readable when there is something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next change; `None` when there is none now. Allocates nothing, never blocks.
    #[allow(clippy::should_implement_trait)] // it may have more later: not an ended iterator
    pub fn next(&mut self) -> Option<Change> {
        loop {
            while let Some((message, rest)) = message(&self.buffer[self.at..self.end]) {
                self.at = self.end - rest.len();
                if let Some(change) = parse(&message) {
                    return Some(change);
                }
            }
            (self.at, self.end) = (0, 0);
            match rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) if length > BUFFER => return Some(Change::Overrun),
                Ok((_, length)) => self.end = length,
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Some(Change::Overrun),
                Err(_) => return None,
            }
        }
    }
}

fn parse(message: &Message<'_>) -> Option<Change> {
    let payload = message.payload;
    match message.kind {
        // Other families speak of ports (a bridge's "gone" is no end of the interface).
        RTM_NEWLINK | RTM_DELLINK if *payload.first()? == 0 => {
            let flags = u32_at(payload, 8)?;
            let name = attributes(payload.get(IFINFOMSG..)?)
                .find(|(kind, _)| *kind == IFLA_IFNAME)
                .map_or_else(Name::default, |(_, name)| Name::new(name));
            let gone = message.kind == RTM_DELLINK;
            Some(Change::Link {
                index: u32_at(payload, 4)?,
                name,
                carrier: !gone && flags & IFF_LOWER_UP != 0,
                up: !gone && flags & IFF_UP != 0,
                gone,
            })
        }
        RTM_NEWADDR | RTM_DELADDR if payload.len() >= IFADDRMSG => Some(Change::Address {
            index: u32_at(payload, 4)?,
            address: identity(payload)?,
            prefix: *payload.get(1)?,
            added: message.kind == RTM_NEWADDR,
            by: message.port,
        }),
        _ => None,
    }
}
