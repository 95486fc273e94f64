//! Whole Ethernet frames through packet(7).
//!
//! A socket of our own instead of smoltcp's: that one panics when the interface goes down, and
//! leaks into scripts.
use super::tap::set_option;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{SockFilter, SockRef};
use std::io;

/// A non-blocking, close-on-exec AF_PACKET socket.
pub struct Socket {
    fd: OwnedFd,
}

/// An interface, as a socket on it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Its index; -1 once it has gone.
    pub index: i32,
    /// `ARPHRD_*`; 1: Ethernet.
    pub kind: u16,
    /// Its address, if that has six bytes.
    pub mac: Option<[u8; 6]>,
}

/// Where on the Ethernet: `struct sockaddr_ll`.
struct Place {
    index: u32,
    protocol: u16,
    mac: [u8; 6],
}

impl Socket {
    /// A socket that sends on any interface and hears nothing.
    ///
    /// # Errors
    /// `PERM` without CAP_NET_RAW.
    pub fn sender() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        Ok(Socket { fd })
    }

    /// A socket that also hears the frames of one EtherType on one interface.
    ///
    /// # Errors
    /// As [`sender`](Self::sender); `NODEV` without the interface, `NETDOWN` if it is off.
    pub fn receiver(index: u32, ethertype: u16) -> io::Result<Self> {
        let socket = Self::sender()?;
        socket.listen(index, ethertype)?;
        Ok(socket)
    }

    /// Hears the frames of one EtherType on one interface from now on.
    ///
    /// # Errors
    /// `NODEV` without the interface, `NETDOWN` if it is off.
    pub fn listen(&self, index: u32, ethertype: u16) -> io::Result<()> {
        let place = Place { index, protocol: ethertype, mac: [0; 6] };
        Ok(rustix::net::bind(&self.fd, &place)?)
    }

    /// Leaves out what this machine itself sends, which only matters to those who hear every
    /// EtherType.
    ///
    /// # Errors
    /// `NOPROTOOPT` before Linux 4.20.
    pub fn ignore_outgoing(&self) -> io::Result<()> {
        let on: libc::c_int = 1;
        set_option(&self.fd, libc::PACKET_IGNORE_OUTGOING, &on)
    }

    /// Index, hardware type (`ARPHRD_*`) and address of the interface that it listens on; without
    /// the latter two once that has gone.
    ///
    /// # Errors
    /// Of getsockname(2).
    #[allow(unsafe_code)]
    pub fn hardware(&self) -> io::Result<Hardware> {
        let address = rustix::net::getsockname(&self.fd)?;
        let length = address.addr_len() as usize;
        // SAFETY: the kernel has written so many bytes there, and `address` lives on.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) };
        // struct sockaddr_ll: family, protocol, index, hardware type, packet type, length, address
        let [_, _, _, _, i, n, d, x, k, e, _, count] = bytes.first_chunk().ok_or(Errno::INVAL)?;
        let mac = bytes.get(12..18).filter(|_| *count == 6).and_then(|mac| mac.try_into().ok());
        let index = i32::from_ne_bytes([*i, *n, *d, *x]);
        Ok(Hardware { index, kind: u16::from_ne_bytes([*k, *e]), mac })
    }

    /// Makes the kernel drop every frame but those that have one of `values` as the four bytes at
    /// `at`, and at each place of `also` that byte. More than 100 values are none: everything
    /// passes but for `also`.
    ///
    /// # Errors
    /// Of socket(7); a filter that is too long.
    pub fn only(&self, also: &[(u32, u8)], at: u32, values: &[u32]) -> io::Result<()> {
        // linux/bpf_common.h: load a byte or a word; compare; return.
        const BYTE: u16 = 0x30;
        const WORD: u16 = 0x20;
        const EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const VALUES_MAX: usize = 100;
        let mut program = Vec::new();
        for (at, byte) in also {
            program.push(SockFilter::new(BYTE, 0, 0, *at));
            program.push(SockFilter::new(EQUAL, 1, 0, u32::from(*byte)));
            program.push(SockFilter::new(RETURN, 0, 0, 0));
        }
        if values.len() <= VALUES_MAX {
            program.push(SockFilter::new(WORD, 0, 0, at));
            for value in values {
                program.push(SockFilter::new(EQUAL, 0, 1, *value));
                program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
            }
            program.push(SockFilter::new(RETURN, 0, 0, 0));
        } else {
            program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
        }
        SockRef::from(&self.fd).attach_filter(&program)
    }

    /// Sends a frame (from its Ethernet header on) on an interface; never waits.
    ///
    /// # Errors
    /// `NETDOWN` if the interface is off, `NXIO` or `NODEV` if it has gone, `WOULDBLOCK` if its
    /// queue is full, `INVAL` for a frame shorter than its header.
    pub fn send(&self, index: u32, frame: &[u8]) -> io::Result<()> {
        let mac = frame.first_chunk::<6>().ok_or(Errno::INVAL)?;
        let place = Place { index, protocol: 0, mac: *mac };
        match rustix::net::sendto(&self.fd, frame, SendFlags::empty(), &place)? {
            sent if sent == frame.len() => Ok(()),
            _ => Err(Errno::MSGSIZE.into()),
        }
    }

    /// The next frame that was heard, cut to the buffer; `None` if there is none now.
    ///
    /// # Errors
    /// `NETDOWN` once after the interface was switched off.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
            Ok((_, length)) => Ok(buffer.get(..length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[allow(unsafe_code)]
// SAFETY: `with_sockaddr` passes a pointer to a whole, initialised `sockaddr_ll` that lives for
// the call, and its true size.
unsafe impl SocketAddrArg for Place {
    // SAFETY: as required of the implementation, see above.
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&self.mac);
        let raw = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: self.protocol.to_be(),
            sll_ifindex: self.index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: address,
        };
        f(std::ptr::from_ref(&raw).cast(), size_of::<libc::sockaddr_ll>() as SocketAddrLen)
    }
}
