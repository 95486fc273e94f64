//! The gate's program: which packets pass, and which do not.
//!
//! It sees every frame that arrives at or leaves through an interface. A frame is about a gated
//! address if it arrives *for* it or leaves *from* it:
//!
//! ```text
//!            arriving                              leaving
//!  ARP       a request for it (but not its         whatever names it as the sender
//!            new owner's announcement)
//!  IPv4/6    destination                           source
//!  NDP       a solicitation for it                 an advertisement of it
//! ```
//!
//! The other way round (this node as a client of the address, which the other node owns) passes
//! always. While the group's deadline lies ahead, everything passes. Once it is over:
//!
//! * what this machine itself says or answers is dropped;
//! * what it only forwards (a router between the owner and its clients) passes as long as the
//!   address is not one of its own: `bpf_fib_lookup` tells. That is asked only about packets that
//!   would otherwise be dropped.
//!
//! A tag that the hardware or the kernel has taken off stands beside the frame and is no
//! obstacle; up to two that stand in it (802.1Q, 802.1ad) are stepped over. The source and
//! destination of IPv6 stand in front of all extension headers; neighbour discovery may stand
//! behind up to four (RFC 6980 forbids to fragment it, and Linux ignores such). Fragments have
//! addresses as whole packets have. Everything is read by `bpf_skb_load_bytes`, wherever in a
//! non-linear packet it lies; what is too short to be read is no packet and passes.
//!
//! The clock is `bpf_ktime_get_boot_ns` (Linux 5.8), which counts a machine's sleep. A deadline
//! is two words of 32 bits that overlap, so that no machine can tear it (`deadline`).
use super::assembler::{Assembler, If, Label, Reg, Size};
use super::deadline;
use crate::core::limits::GROUPS_MAX;
use crate::platform::bpf::Direction;
use Reg::{Fp, R0, R1, R2, R3, R4, R6, R7, R8, R9};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// `bpf_fib_lookup` is for programs under the GPL alone: this program, and nothing else of Latido,
/// may also be had under the GNU General Public License, version 2.
pub(super) const LICENCE: &CStr = c"Dual MIT/GPL";

/// Go on with the next program or filter (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub(super) const PASS: i32 = -1;
/// `TCX_DROP`, `TC_ACT_SHOT`.
pub(super) const DROP: i32 = 2;

// The kernel's functions, by number.
const MAP_LOOKUP: i32 = 1;
const LOAD_BYTES: i32 = 26;
const FIB_LOOKUP: i32 = 69;
const BOOT_NS: i32 = 125;

// `struct __sk_buff`
const SKB_INGRESS_INDEX: i16 = 36;
const SKB_INDEX: i16 = 40;

// The stack, below its end. An address is a key of 16 bytes; IPv4 is mapped (::ffff:a.b.c.d).
const KEY: i16 = -16;
const KEY_V4: i16 = KEY + 12;
/// What was read of the packet: EtherType and the first 20 bytes behind it, which are aligned.
const HEAD: i16 = -42;
const HEAD_LEN: i32 = 22;
const HEAD_L3: i16 = HEAD + 2;
/// `struct bpf_fib_lookup`.
const FIB: i16 = -112;
const FIB_LEN: i16 = 64;
const FIB_INDEX: i16 = FIB + 8;
const FIB_TO: i16 = FIB + 32;

/// Where an Ethernet frame has its EtherType.
const ETHERTYPE_AT: i32 = 12;
const VLAN_LEN: i32 = 4;
const VLANS_MAX: usize = 2;
const IPV6_LEN: i32 = 40;
const EXTENSIONS_MAX: usize = 4;
const NEXT_ICMPV6: i32 = 58;
/// Hop-by-hop options, routing, destination options: lengths in units of eight bytes.
const EXTENSIONS: [i32; 3] = [0, 43, 60];
const SOLICITATION: i32 = 135;
const ADVERTISEMENT: i32 = 136;

/// Two bytes of a packet as a load sees them.
const fn half(bytes: [u8; 2]) -> i32 {
    u16::from_ne_bytes(bytes) as i32
}

/// Four bytes of a packet as a load or store sees them.
const fn word(bytes: [u8; 4]) -> i32 {
    i32::from_ne_bytes(bytes)
}

/// The maps that the program works with.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    /// Address → number of its group.
    pub(super) groups: BorrowedFd<'a>,
    /// The deadline of each group.
    pub(super) deadlines: BorrowedFd<'a>,
}

/// The program for one direction. `R6`: the packet; `R7`: where in it we are.
pub(super) fn program(direction: Direction, maps: Maps<'_>) -> Option<Vec<[u8; 8]>> {
    let mut build = Build::new(direction, maps);
    let (arp, ipv4, ipv6) = (build.code.label(), build.code.label(), build.code.label());
    build.code.copy(R6, R1);
    build.code.set(R7, ETHERTYPE_AT);
    build.dispatch(arp, ipv4, ipv6);
    build.ipv4(ipv4);
    build.arp(arp);
    build.ipv6(ipv6);
    build.endings();
    build.code.finish()
}

struct Build<'a> {
    code: Assembler,
    direction: Direction,
    maps: Maps<'a>,
    pass: Label,
    drop: Label,
}

impl<'a> Build<'a> {
    fn new(direction: Direction, maps: Maps<'a>) -> Self {
        let mut code = Assembler::new();
        let (pass, drop) = (code.label(), code.label());
        Build { code, direction, maps, pass, drop }
    }

    /// Reads the EtherType and what follows it, behind all tags, and goes to what it is.
    fn dispatch(&mut self, arp: Label, ipv4: Label, ipv6: Label) {
        for step in 0..=VLANS_MAX {
            let tagged = self.code.label();
            self.read(0, HEAD, HEAD_LEN);
            self.code.load(Size::Half, R1, Fp, HEAD);
            self.code.jump_if(R1, If::Equal, half([0x08, 0x00]), ipv4);
            self.code.jump_if(R1, If::Equal, half([0x86, 0xdd]), ipv6);
            self.code.jump_if(R1, If::Equal, half([0x08, 0x06]), arp);
            if step < VLANS_MAX {
                self.code.jump_if(R1, If::Equal, half([0x81, 0x00]), tagged);
                self.code.jump_if(R1, If::NotEqual, half([0x88, 0xa8]), self.pass);
                self.code.here(tagged);
                self.code.add(R7, VLAN_LEN);
            }
        }
        self.code.jump(self.pass);
    }

    fn ipv4(&mut self, start: Label) {
        let closed = self.code.label();
        let at = match self.direction {
            Direction::Ingress => 16,
            Direction::Egress => 12,
        };
        self.code.here(start);
        self.code.load(Size::Word, R1, Fp, HEAD_L3 + at);
        self.key_v4();
        self.judge(self.pass, closed);
        self.code.here(closed);
        self.unless_only_forwarded(2, |code| {
            code.load(Size::Word, R1, Fp, KEY_V4);
            code.store(Size::Word, Fp, FIB_TO, R1);
        });
    }

    /// RFC 826: hardware, protocol, lengths, operation, sender (Ethernet, IPv4), target.
    fn arp(&mut self, start: Label) {
        const PROTOCOL: i16 = HEAD_L3 + 2;
        const LENGTHS: i16 = HEAD_L3 + 4;
        const OPERATION: i16 = HEAD_L3 + 6;
        const SENDER_AT: i32 = 2 + 14;
        const TARGET_AT: i32 = 2 + 24;
        self.code.here(start);
        for (at, wanted) in [(PROTOCOL, [0x08, 0x00]), (LENGTHS, [6, 4])] {
            self.code.load(Size::Half, R1, Fp, at);
            self.code.jump_if(R1, If::NotEqual, half(wanted), self.pass);
        }
        self.code.load(Size::Half, R9, Fp, OPERATION);
        self.read(SENDER_AT, KEY_V4, 4);
        if self.direction == Direction::Ingress {
            self.code.jump_if(R9, If::NotEqual, half([0, 1]), self.pass);
            self.code.load(Size::Word, R8, Fp, KEY_V4);
            self.read(TARGET_AT, KEY_V4, 4);
            // Who asks for its own address announces it: our neighbour table must learn.
            self.code.load(Size::Word, R1, Fp, KEY_V4);
            self.code.subtract_reg(R1, R8);
            self.code.jump_if_32(R1, If::Equal, 0, self.pass);
        }
        self.code.load(Size::Word, R1, Fp, KEY_V4);
        self.key_v4();
        self.judge(self.pass, self.drop);
    }

    fn ipv6(&mut self, start: Label) {
        const NEXT: i16 = HEAD_L3 + 6;
        let (closed, payload) = (self.code.label(), self.code.label());
        let at = match self.direction {
            Direction::Ingress => 24,
            Direction::Egress => 8,
        };
        self.code.here(start);
        self.code.load(Size::Byte, R8, Fp, NEXT);
        self.read(2 + at, KEY, 16);
        self.judge(payload, closed);
        self.code.here(closed);
        self.unless_only_forwarded(10, |code| {
            for half in [0, 8] {
                code.load(Size::Double, R1, Fp, KEY + half);
                code.store(Size::Double, Fp, FIB_TO + half, R1);
            }
        });
        self.code.here(payload);
        self.code.add(R7, 2 + IPV6_LEN);
        self.discovery();
    }

    /// Neighbour discovery (RFC 4861), behind extension headers. `R8`: what is at `R7`.
    fn discovery(&mut self) {
        const TARGET_AT: i32 = 8;
        let message = self.code.label();
        for _ in 0..EXTENSIONS_MAX {
            let extension = self.code.label();
            self.code.jump_if(R8, If::Equal, NEXT_ICMPV6, message);
            for kind in EXTENSIONS {
                self.code.jump_if(R8, If::Equal, kind, extension);
            }
            self.code.jump(self.pass);
            self.code.here(extension);
            self.read(0, HEAD, 2);
            self.code.load(Size::Byte, R8, Fp, HEAD);
            self.code.load(Size::Byte, R1, Fp, HEAD + 1);
            self.code.add(R1, 1);
            self.code.shift_left(R1, 3);
            self.code.add_reg(R7, R1);
        }
        self.code.jump_if(R8, If::NotEqual, NEXT_ICMPV6, self.pass);
        self.code.here(message);
        self.read(0, HEAD, 1);
        self.code.load(Size::Byte, R1, Fp, HEAD);
        let kind = match self.direction {
            Direction::Ingress => SOLICITATION,
            Direction::Egress => ADVERTISEMENT,
        };
        self.code.jump_if(R1, If::NotEqual, kind, self.pass);
        self.read(TARGET_AT, KEY, 16);
        self.judge(self.pass, self.drop);
    }

    /// Copies `len` bytes of the packet, from `R7 + at`, to the stack; passes what is shorter.
    fn read(&mut self, at: i32, to: i16, len: i32) {
        self.code.copy(R1, R6);
        self.code.copy(R2, R7);
        if at != 0 {
            self.code.add(R2, at);
        }
        self.code.address(R3, Fp, to);
        self.code.set(R4, len);
        self.code.call(LOAD_BYTES);
        self.code.jump_if(R0, If::NotEqual, 0, self.pass);
    }

    /// The IPv4 address in `R1` becomes the key.
    fn key_v4(&mut self) {
        self.code.store_number(Size::Double, Fp, KEY, 0);
        self.code.store_number(Size::Word, Fp, KEY + 8, word([0, 0, 0xff, 0xff]));
        self.code.store(Size::Word, Fp, KEY_V4, R1);
    }

    /// Goes to `open` if the key is nobody's address or its group's deadline lies ahead, else to
    /// `closed`. The deadline lies ahead if its lower word is more than now, by at most
    /// [`deadline::AHEAD_MAX`] (modulo 2³²), and its upper word says this era or the next.
    fn judge(&mut self, open: Label, closed: Label) {
        let group_mask = GROUPS_MAX as i32 - 1;
        self.code.map(R1, self.maps.groups);
        self.code.address(R2, Fp, KEY);
        self.code.call(MAP_LOOKUP);
        self.code.jump_if(R0, If::Equal, 0, open);
        self.code.load(Size::Word, R1, R0, 0);
        self.code.mask(R1, group_mask);
        self.code.shift_left(R1, 3);
        self.code.map_value(R9, self.maps.deadlines);
        self.code.add_reg(R9, R1);
        self.code.call(BOOT_NS);
        self.code.shift_right(R0, deadline::TICK_BITS);
        self.code.load(Size::Word, R1, R9, 0);
        self.code.subtract_reg(R1, R0);
        self.code.subtract(R1, 1);
        self.code.jump_if_32(R1, If::AtLeast, deadline::AHEAD_MAX as i32, closed);
        self.code.load(Size::Word, R1, R9, 4);
        self.code.shift_right(R0, deadline::ERA_BITS);
        self.code.subtract_reg(R1, R0);
        self.code.jump_if_32(R1, If::AtMost, 1, open);
        self.code.jump(closed);
    }

    /// Drops the packet, unless this machine only forwards it and the address is not its own.
    fn unless_only_forwarded(&mut self, family: i32, put_address: impl FnOnce(&mut Assembler)) {
        // The interface by which it came; none: it was made here.
        let came_by = match self.direction {
            Direction::Ingress => SKB_INDEX,
            Direction::Egress => SKB_INGRESS_INDEX,
        };
        self.code.load(Size::Word, R7, R6, came_by);
        self.code.jump_if(R7, If::Equal, 0, self.drop);
        for at in (0..FIB_LEN).step_by(8) {
            self.code.store_number(Size::Double, Fp, FIB + at, 0);
        }
        self.code.store_number(Size::Byte, Fp, FIB, family);
        self.code.store(Size::Word, Fp, FIB_INDEX, R7);
        put_address(&mut self.code);
        self.code.copy(R1, R6);
        self.code.address(R2, Fp, FIB);
        self.code.set(R3, i32::from(FIB_LEN));
        self.code.set(R4, 0);
        self.code.call(FIB_LOOKUP);
        // 0: there is a way to it. 6, 7, 8: there is one, by a tunnel, to a neighbour not known
        // yet, for smaller packets. The rest: it is ours, or not forwarded at all.
        self.code.jump_if(R0, If::Equal, 0, self.pass);
        self.code.subtract(R0, 6);
        self.code.jump_if_32(R0, If::AtMost, 2, self.pass);
        self.code.jump(self.drop);
    }

    fn endings(&mut self) {
        self.code.here(self.pass);
        self.code.leave(PASS);
        self.code.here(self.drop);
        self.code.leave(DROP);
    }
}
