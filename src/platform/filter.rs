//! A kernel filter for a link's socket: only what looks like one of our frames reaches us.
//!
//! Without it a flood of junk would fill the socket's buffer and crowd out a peer's heartbeat, and
//! every junk datagram would wake the engine. Classic BPF (`SO_ATTACH_FILTER`, socket(7); the
//! kernel's `networking/filter.rst`) runs before a datagram is charged to the buffer. It is a
//! sieve, not a proof: who sent a frame is known only when its seal is opened.
use crate::core::limits::FRAME_MAX;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io;
use socket2::SockFilter;

/// Bytes of a frame's header in the clear: version, key id, tag, node, incarnation, sequence.
const HEADER_LEN: u32 = 23;
/// Bytes of the seal that ends every frame.
const SEAL_LEN: u32 = 16;
/// Of the frames of unknown clusters one in so many is let through, a power of two.
const TRICKLE: u32 = 16;
/// Bytes of the shortest frame.
pub const FRAME_MIN: u32 = HEADER_LEN + SEAL_LEN;
/// Where a frame has its version.
const VERSION_AT: u32 = 0;
/// Where a frame has the cluster's tag, 32 bits, little endian.
const TAG_AT: u32 = 2;
/// A packet socket's filter sees the Ethernet header, without the tag.
const ETHERTYPE_AT: u32 = 12;
const ETHERNET_HEADER_LEN: u32 = 14;
/// A UDP socket's filter sees the UDP header first.
const UDP_HEADER_LEN: u32 = 8;

/// Clusters whose frames one socket may be there for.
pub const TAGS_MAX: usize = 16;

/// What the clear header of our clusters' frames looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFilter {
    /// The frame format's version, byte 0.
    version: u8,
    /// The clusters' tags, bytes 2 to 5, little endian: so many of them.
    tags: [u32; TAGS_MAX],
    count: usize,
    /// A few frames of other clusters too.
    strangers: bool,
}

/// Which datagrams a UDP socket is there for; three links on one port must not mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Addressed to this host alone.
    Unicast,
    /// Broadcast or multicast; the address that the socket is bound to says which.
    Many,
}

/// How our frames lie in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetForm {
    /// The EtherType behind the tag.
    pub ethertype: u16,
    /// The VLAN; `None`: no tag.
    pub vlan: Option<u16>,
    /// The two bytes after the EtherType.
    pub mark: [u8; 2],
    /// Where our frame begins.
    pub frame_at: u32,
}

impl HeaderFilter {
    /// Frames of this version of the format and of the clusters with these tags, of which those
    /// beyond [`TAGS_MAX`] are left out.
    pub const fn new(version: u8, tags: &[u32]) -> HeaderFilter {
        let mut filter = HeaderFilter { version, tags: [0; TAGS_MAX], count: 0, strangers: false };
        while filter.count < tags.len() && filter.count < TAGS_MAX {
            filter.tags[filter.count] = tags[filter.count];
            filter.count += 1;
        }
        filter
    }

    /// The same, and now and then a frame of another cluster: a peer whose cluster has another
    /// name is told from one that is silent. A busy neighbour costs next to nothing.
    #[must_use]
    pub const fn with_strangers(mut self) -> HeaderFilter {
        self.strangers = true;
        self
    }

    /// Makes the kernel drop everything on a UDP `socket` but datagrams of `cast` that carry a
    /// frame's length and header, and locks that in: not even we can take it off again.
    ///
    /// Errors as in socket(7); a kernel without `CONFIG_NET` filters does not exist any more.
    pub fn attach(&self, socket: &socket2::Socket, cast: Cast) -> std::io::Result<()> {
        socket.attach_filter(&self.program(cast))?;
        Ok(lock(socket)?)
    }

    /// The same for a packet socket on the interface of this `index`, before it is bound: frames of
    /// `form` to this machine or to everybody, and without any other VLAN's tag.
    ///
    /// # Errors
    /// As in socket(7).
    pub fn attach_ethernet(
        &self,
        socket: impl AsFd,
        index: u32,
        form: &EthernetForm,
    ) -> std::io::Result<()> {
        socket2::SockRef::from(&socket).attach_filter(&self.ethernet_program(index, form))?;
        Ok(lock(socket)?)
    }

    fn ethernet_program(&self, index: u32, form: &EthernetForm) -> Vec<SockFilter> {
        let mut code = Program::default();
        // First what tells other traffic apart, in the fewest steps.
        code.load(HALF, ETHERTYPE_AT);
        code.drop_unless(JEQ, u32::from(form.ethertype));
        code.drop_unless_vlan(form.vlan);
        // Of a VLAN that has an interface of its own here, which was given the frame.
        code.load(WORD, AUX_OFF + AUX_INTERFACE);
        code.drop_unless(JEQ, index);
        // Neither our own frames nor those for others.
        code.load(BYTE, AUX_OFF + AUX_PACKET_TYPE);
        code.drop_if(JGT, PACKET_BROADCAST);
        code.load_len();
        code.drop_unless(JGE, form.frame_at + FRAME_MIN);
        code.load(HALF, ETHERNET_HEADER_LEN);
        code.drop_unless(JEQ, u32::from(u16::from_be_bytes(form.mark)));
        code.load(BYTE, form.frame_at + VERSION_AT);
        code.drop_unless(JEQ, u32::from(self.version));
        code.load(WORD, form.frame_at + TAG_AT);
        let tags = self.tags.iter().take(self.count).map(|tag| tag.swap_bytes());
        code.drop_unless_any(tags, self.strangers);
        code.finish()
    }

    fn program(&self, cast: Cast) -> Vec<SockFilter> {
        let mut code = Program::default();
        code.load_len();
        code.drop_unless(JGE, UDP_HEADER_LEN + FRAME_MIN);
        code.drop_if(JGT, UDP_HEADER_LEN + FRAME_MAX as u32);
        code.load(BYTE, UDP_HEADER_LEN + VERSION_AT);
        code.drop_unless(JEQ, u32::from(self.version));
        code.load(WORD, UDP_HEADER_LEN + TAG_AT);
        // Loads are big endian, the tag is little endian.
        let tags = self.tags.iter().take(self.count).map(|tag| tag.swap_bytes());
        code.drop_unless_any(tags, self.strangers);
        code.load(BYTE, AUX_OFF + AUX_PACKET_TYPE);
        match cast {
            // Our own broadcasts, looped back by the stack: waking up for them is for nothing.
            Cast::Many => code.drop_if(JEQ, PACKET_LOOPBACK),
            Cast::Unicast => {
                code.drop_unless(JEQ, PACKET_HOST);
                code.drop_if_sent_to_many();
            }
        }
        code.finish()
    }
}

// linux/bpf_common.h, linux/filter.h, linux/if_packet.h
const LD: u16 = 0x00;
const WORD: u16 = 0x00;
const HALF: u16 = 0x08;
const BYTE: u16 = 0x10;
const ABS: u16 = 0x20;
const LEN: u16 = 0x80;
const ALU_AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RET: u16 = 0x06;
const AUX_OFF: u32 = -0x1000_i32 as u32;
const AUX_PACKET_TYPE: u32 = 4;
const AUX_INTERFACE: u32 = 8;
const AUX_VLAN_TAG: u32 = 44;
const AUX_VLAN_PRESENT: u32 = 48;
const AUX_RANDOM: u32 = 56;
const NETWORK_OFF: u32 = -0x10_0000_i32 as u32;
const PACKET_HOST: u32 = 0;
const PACKET_BROADCAST: u32 = 1;
const PACKET_LOOPBACK: u32 = 5;

/// A filter under construction; every test either goes on or ends in "drop".
#[derive(Default)]
struct Program {
    code: Vec<SockFilter>,
}

impl Program {
    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, value: u32) {
        self.code.push(SockFilter::new(code, jump_true, jump_false, value));
    }

    fn load_len(&mut self) {
        self.push(LD | WORD | LEN, 0, 0, 0);
    }

    fn load(&mut self, size: u16, at: u32) {
        self.push(LD | size | ABS, 0, 0, at);
    }

    fn drop_unless(&mut self, test: u16, value: u32) {
        self.push(test, 1, 0, value);
        self.push(RET, 0, 0, 0);
    }

    /// `trickle`: but not always.
    fn drop_unless_any(&mut self, values: impl ExactSizeIterator<Item = u32>, trickle: bool) {
        let (count, tail) = (values.len(), if trickle { 4 } else { 1 });
        for (place, value) in values.enumerate() {
            // Over the tests that are left, and what comes after them.
            let jump = u8::try_from(count - place - 1 + tail).unwrap_or(u8::MAX);
            self.push(JEQ, jump, 0, value);
        }
        if trickle {
            self.load(WORD, AUX_OFF + AUX_RANDOM);
            self.push(ALU_AND, 0, 0, TRICKLE - 1);
            self.drop_unless(JEQ, 0);
        } else {
            self.push(RET, 0, 0, 0);
        }
    }

    fn drop_if(&mut self, test: u16, value: u32) {
        self.push(test, 0, 1, value);
        self.push(RET, 0, 0, 0);
    }

    /// Drops what bears another VLAN's tag, which the kernel has taken off before we see the frame.
    /// A priority tag, with VLAN 0, is none.
    fn drop_unless_vlan(&mut self, vlan: Option<u16>) {
        // Linux 4.20 to 6.1 leave the tag of a frame whose tag has been dealt with where it was.
        self.load(BYTE, AUX_OFF + AUX_VLAN_PRESENT);
        match vlan {
            Some(_) => self.drop_unless(JEQ, 1),
            None => self.push(JEQ, 4, 0, 0),
        }
        self.load(HALF, AUX_OFF + AUX_VLAN_TAG);
        self.push(ALU_AND, 0, 0, 0x0FFF);
        self.drop_unless(JEQ, u32::from(vlan.unwrap_or(0)));
    }

    /// Drops what was sent to a broadcast or multicast address. The packet type alone does not
    /// tell: Wi-Fi access points turn multicasts into unicasts below IP.
    fn drop_if_sent_to_many(&mut self) {
        const IPV4_TO: u32 = NETWORK_OFF + 16;
        const IPV6_TO: u32 = NETWORK_OFF + 24;
        const IPV4_PART: u8 = 5;
        self.load(BYTE, NETWORK_OFF);
        self.push(ALU_AND, 0, 0, 0xF0);
        self.push(JEQ, 0, IPV4_PART, 0x40);
        // IPv4: 255.255.255.255, or 224.0.0.0/4.
        self.load(WORD, IPV4_TO);
        self.drop_if(JEQ, u32::MAX);
        self.push(ALU_AND, 0, 0, 0xF000_0000);
        self.push(JEQ, 2, 3, 0xE000_0000);
        // IPv6: ff00::/8.
        self.load(BYTE, IPV6_TO);
        self.push(JEQ, 0, 1, 0xFF);
        self.push(RET, 0, 0, 0);
    }

    fn finish(mut self) -> Vec<SockFilter> {
        self.push(RET, 0, 0, u32::MAX);
        self.code
    }
}

/// `SO_LOCK_FILTER`: nobody who gets hold of the socket can take the filter off.
#[allow(unsafe_code)]
fn lock(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the call, and the pointer and length name one c_int that
    // lives until it returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LOCK_FILTER,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> io::Errno {
    let code = std::io::Error::last_os_error().raw_os_error();
    io::Errno::from_raw_os_error(code.unwrap_or(libc::EIO))
}
