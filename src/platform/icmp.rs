//! Echo requests and replies (ICMP and ICMPv6) through raw sockets.
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

/// The type of an echo reply.
const REPLY_V4: u32 = 0;
const REPLY_V6: u32 = 129;
/// Room for a few dozen replies: more are of no use.
const BUFFER: usize = 64 * 1024;

/// A non-blocking, close-on-exec raw socket that hears echo replies for one identifier.
///
/// IPv4 replies arrive with their IP header, IPv6 replies without; the kernel computes and checks
/// the checksums of ICMPv6 (RFC 3542, section 3.1), and only those.
#[derive(Debug)]
pub struct Echo {
    socket: Socket,
}

impl Echo {
    /// For IPv4, or for IPv6 (`v6`). Everything but echo replies that carry `identifier` is dropped
    /// by the kernel before it is charged to the socket or wakes anybody.
    ///
    /// # Errors
    /// `PERM` without CAP_NET_RAW; `AFNOSUPPORT` without that family.
    pub fn open(v6: bool, identifier: u16) -> io::Result<Self> {
        let (domain, protocol) = match v6 {
            false => (Domain::IPV4, Protocol::ICMPV4),
            true => (Domain::IPV6, Protocol::ICMPV6),
        };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(protocol))?;
        socket.attach_filter(&program(v6, identifier))?;
        // The usual size would do as well.
        let _ = socket.set_recv_buffer_size(BUFFER);
        Ok(Echo { socket })
    }

    /// Sends a message; never waits.
    ///
    /// # Errors
    /// `NETUNREACH`, `HOSTUNREACH`, `WOULDBLOCK` and others of sendto(2).
    pub fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()> {
        self.send_to(SocketAddr::new(to, 0), message)
    }

    /// As [`Echo::send`], to an address that may need an interface to be one (`fe80::…`).
    ///
    /// # Errors
    /// As [`Echo::send`].
    pub fn send_to(&self, to: SocketAddr, message: &[u8]) -> io::Result<()> {
        let to = SockAddr::from(to);
        self.socket.send_to(message, &to).map(drop)
    }

    /// The next packet, cut to the buffer, and who sent it; `None` if there is none now.
    ///
    /// # Errors
    /// What an earlier request came to, such as `HOSTUNREACH`.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<(IpAddr, &'a [u8])>> {
        match rustix::net::recvfrom(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _, from)) => {
                let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                Ok(from.and_then(|from| Some((from.ip(), buffer.get(..length)?))))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Echo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Classic BPF (socket(7)): an echo reply with this identifier. The program of an IPv4 socket sees
/// the IP header first.
fn program(v6: bool, identifier: u16) -> [SockFilter; 7] {
    // linux/bpf_common.h: X = 4 * (byte & 0xf); load a byte or a half word at X; compare; return.
    const X_HEADER_LENGTH: u16 = 0xb1;
    const X_NUMBER: u16 = 0x01;
    const BYTE_AT_X: u16 = 0x50;
    const HALF_AT_X: u16 = 0x48;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let (x, reply) = if v6 { (X_NUMBER, REPLY_V6) } else { (X_HEADER_LENGTH, REPLY_V4) };
    [
        SockFilter::new(x, 0, 0, 0),
        SockFilter::new(BYTE_AT_X, 0, 0, 0),
        SockFilter::new(EQUAL, 0, 3, reply),
        SockFilter::new(HALF_AT_X, 0, 0, 4),
        SockFilter::new(EQUAL, 0, 1, u32::from(identifier)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
