//! Moves frames: one socket or serial port for each configured link.
//!
//! An [`Opener`] opens links in threads of its own and hands over [`Port`]s; the engine owns these,
//! waits for them with epoll, and gives a lost one back. Nothing of a [`Port`] blocks or allocates
//! once it is open, and nothing here knows what is in a frame.
mod board;
mod bus;
mod ethernet;
mod lines;
mod opener;
mod serial;
mod turn;
mod udp;

#[cfg(test)]
mod tests;

pub use board::Cable;
pub use lines::LinesSeen;
pub use opener::Opener;

use crate::config::{self, Medium};
use crate::core::limits::FRAME_MAX;
use crate::platform::filter::HeaderFilter;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::fmt;
use std::net::SocketAddr;

/// One open link.
#[derive(Debug)]
pub struct Port {
    kind: Kind,
    tally: Tally,
}

// Boxed, so that a port moves through channels and tables as two words.
#[derive(Debug)]
enum Kind {
    Udp(Box<udp::Udp>),
    Ethernet(Box<ethernet::Ethernet>),
    Serial(Box<serial::Serial>),
}

/// What [`Port::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// A frame of that many bytes stands at the beginning of the buffer.
    Frame(usize),
    /// Nothing more at the moment; the descriptor becomes readable when there is.
    Nothing,
    /// The peer's modem lines have dropped (false), or are all up again. There may be frames too.
    Lines(bool),
    /// The link is gone: hand the port to [`Opener::reopen`].
    Lost(Loss),
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The kernel has it, for at least one peer.
    Done,
    /// It did not go out now. A serial line keeps it for the moment when there is room, unless a
    /// newer one replaces it; elsewhere it is dropped, for the next one will be fresher.
    Busy,
    /// The link is gone: hand the port to [`Opener::reopen`].
    Lost(Loss),
}

/// Why a link was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The network interface was removed, renamed, replaced by a new one of its name, or (raw
    /// Ethernet) has another address now.
    Interface,
    /// The serial line was hung up: the adapter was unplugged.
    HangUp,
    /// The kernel reports this error.
    Failed(Errno),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Interface => f.write_str("its interface is gone"),
            Loss::HangUp => f.write_str("its device is gone (unplugged?)"),
            Loss::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// What a port was used for since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames received.
    pub received: u64,
    /// Frames handed to the kernel.
    pub sent: u64,
    /// Frames that met a full line or buffer, or that the kernel refused to send.
    pub busy: u64,
    /// What the kernel said when it last refused one: no route, a firewall.
    pub refusal: Option<Errno>,
    /// Serial: runs of bytes that were no frame. Elsewhere: what the filter should have dropped.
    pub damaged: u64,
}

/// Why a link cannot be opened. For people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Which link.
    pub link: String,
    /// What stands in the way.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}: {}; {}", self.link, self.why, self.cure)
    }
}

impl std::error::Error for OpenError {}

/// An [`OpenError`] whose link the caller knows.
struct Obstacle {
    why: String,
    cure: String,
}

impl Obstacle {
    fn new(why: impl Into<String>, cure: impl Into<String>) -> Self {
        Obstacle { why: why.into(), cure: cure.into() }
    }

    fn of(self, link: &config::Link) -> OpenError {
        OpenError { link: link.name.clone(), why: self.why, cure: self.cure }
    }
}

impl Port {
    /// Opens a link, looking up names of peers if need be: may block for seconds.
    ///
    /// `filter` is what our frames' headers look like; the kernel drops other datagrams.
    pub fn open(link: &config::Link, filter: &HeaderFilter) -> Result<Port, OpenError> {
        Self::open_to(link, filter, &udp::Resolved::of(link))
    }

    /// Opens a link whose peers' addresses are known.
    fn open_to(
        link: &config::Link,
        filter: &HeaderFilter,
        peers: &udp::Resolved,
    ) -> Result<Port, OpenError> {
        let kind = match &link.medium {
            Medium::Broadcast { interface, port } => {
                udp::Udp::broadcast(interface, *port, filter).map(Box::new).map(Kind::Udp)
            }
            Medium::Multicast { interface, port, group, ttl } => {
                udp::Udp::multicast(interface, *port, *group, *ttl, filter)
                    .map(Box::new)
                    .map(Kind::Udp)
            }
            Medium::Unicast { interface, port, .. } => {
                udp::Udp::unicast(interface, *port, peers, filter).map(Box::new).map(Kind::Udp)
            }
            Medium::Ethernet { interface, vlan, peers, ethertype } => {
                let place = ethernet::Place { interface, vlan: *vlan, ethertype: *ethertype };
                ethernet::Ethernet::open(&place, peers, filter).map(Box::new).map(Kind::Ethernet)
            }
            Medium::Serial { device, baud, line } => {
                serial::Serial::open(device, *baud, line).map(Box::new).map(Kind::Serial)
            }
        };
        match kind {
            Ok(kind) => Ok(Port { kind, tally: Tally::default() }),
            Err(obstacle) => Err(obstacle.of(link)),
        }
    }

    /// For epoll: readable (level-triggered) whenever [`Port::receive`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Udp(udp) => udp.fd(),
            Kind::Ethernet(ethernet) => ethernet.fd(),
            Kind::Serial(serial) => serial.fd(),
        }
    }

    /// Takes one frame, if one has come. Call until it returns something other than a frame, or as
    /// often as the round allows. A serial line also sends from here what had to wait.
    pub fn receive(&mut self, buffer: &mut [u8; FRAME_MAX]) -> Received {
        let received = match &mut self.kind {
            Kind::Udp(udp) => udp.receive(buffer, &mut self.tally),
            Kind::Ethernet(ethernet) => ethernet.receive(buffer, &mut self.tally),
            Kind::Serial(serial) => serial.receive(buffer, &mut self.tally),
        };
        if let Received::Frame(_) = received {
            self.tally.received += 1;
        }
        received
    }

    /// Who sent the last frame, on UDP.
    pub fn source(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Udp(udp) => udp.source(),
            Kind::Ethernet(_) | Kind::Serial(_) => None,
        }
    }

    /// Sends one frame, at most [`FRAME_MAX`] bytes.
    pub fn send(&mut self, frame: &[u8]) -> Sent {
        match &mut self.kind {
            Kind::Udp(udp) => udp.send(frame, &mut self.tally),
            Kind::Ethernet(ethernet) => ethernet.send(frame, &mut self.tally),
            Kind::Serial(serial) => serial.send(frame, &mut self.tally),
        }
    }

    /// Whether a frame waits for the line (serial only). For people: the descriptor of
    /// [`Port::fd`] becomes readable by itself when the line has room again.
    pub fn wants_write(&self) -> bool {
        match &self.kind {
            Kind::Udp(_) | Kind::Ethernet(_) => false,
            Kind::Serial(serial) => serial.wants_write(),
        }
    }

    /// Sends what waits, as far as there is room. [`Port::receive`] does so too.
    pub fn flush(&mut self) -> Sent {
        match &mut self.kind {
            Kind::Udp(_) | Kind::Ethernet(_) => Sent::Done,
            Kind::Serial(serial) => serial.flush(&mut self.tally),
        }
    }

    /// Speed of a serial line in bit/s; ten bits carry a byte.
    pub fn bits_per_second(&self) -> Option<u32> {
        match &self.kind {
            Kind::Udp(_) | Kind::Ethernet(_) => None,
            Kind::Serial(serial) => Some(serial.baud()),
        }
    }

    /// What is known of the peer's modem lines; `None`: it has none, or they are not asked.
    pub fn lines(&self) -> Option<LinesSeen> {
        match &self.kind {
            Kind::Udp(_) | Kind::Ethernet(_) => None,
            Kind::Serial(serial) => serial.lines(),
        }
    }

    /// Whether the interface or device is still the one that was opened. Ask after a netlink event
    /// and every few seconds: a socket on a vanished interface is silent until it sends.
    pub fn still_valid(&self) -> bool {
        match &self.kind {
            Kind::Udp(udp) => udp.still_valid(),
            Kind::Ethernet(ethernet) => ethernet.still_valid(),
            Kind::Serial(serial) => serial.still_valid(),
        }
    }

    /// What it was used for since it was opened.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Closes it without waiting for bytes that a stuck line would never take.
    fn discard(self) {
        if let Kind::Serial(serial) = &self.kind {
            serial.forget_output();
        }
    }
}
