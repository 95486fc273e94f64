//! Every frame of an interface, as a switch port sees it
//! ([packet(7)](https://man7.org/linux/man-pages/man7/packet.7.html)).
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Bytes in front of each frame that say which checksums and segments are still to be made
/// (`struct virtio_net_hdr`). Handing them on with the frame keeps offloading virtual interfaces
/// intact; without them receivers would drop the unfinished checksums.
pub const OFFLOAD_HEADER: usize = 10;
/// Bytes of the longest frame with its header.
pub const TAP_FRAME_MAX: usize = OFFLOAD_HEADER + 14 + 4 + 65535;

/// A socket that receives every frame arriving on an interface, whomever it is for, and sends
/// frames as they are. Non-blocking.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
}

impl Tap {
    /// Opens the interface of this name in the calling thread's network namespace.
    pub fn open(interface: &str) -> io::Result<Tap> {
        // Protocol 0: nothing arrives before the socket is bound to its one interface.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        let index = libc::c_int::try_from(index).map_err(io::Error::other)?;
        let one: libc::c_int = 1;
        set_option(&socket, libc::PACKET_VNET_HDR, &one)?;
        set_option(&socket, libc::PACKET_IGNORE_OUTGOING, &one)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(&socket, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
        socket.set_recv_buffer_size(1 << 20)?;
        socket.bind(&every_protocol_of(index))?;
        Ok(Tap { socket })
    }

    /// Receives one frame behind its [`OFFLOAD_HEADER`]; `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.socket, buffer, rustix::net::RecvFlags::empty())?.0)
    }

    /// Sends one frame behind its [`OFFLOAD_HEADER`].
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.socket, frame, rustix::net::SendFlags::empty())?;
        Ok(())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[allow(unsafe_code)]
fn every_protocol_of(index: libc::c_int) -> SockAddr {
    // SAFETY: all bytes zero are a valid `sockaddr_storage`; its first bytes are then written as a
    // `sockaddr_ll`, which is smaller and needs no stricter alignment, and the length is its size.
    unsafe {
        let mut storage: socket2::SockAddrStorage = socket2::SockAddrStorage::zeroed();
        let address = storage.view_as::<libc::sockaddr_ll>();
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index;
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    }
}

#[allow(unsafe_code)]
pub(super) fn set_option<T>(socket: impl AsFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live, plain C value.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
