//! Tells the neighbours where an address lives now: gratuitous ARP, unsolicited NA; and asks them.
use crate::platform::packet;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet,
    Ipv4Repr, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// When after the first announcement the next ones follow, in microseconds.
pub(super) const AGAIN: [u64; 3] = [100_000, 1_000_000, 5_000_000];
/// All nodes of the link (RFC 4291).
const ALL_NODES: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
const ETHERNET_HEADER: usize = 14;
const FRAME_MAX: usize = 128;

/// Sends the announcement of an address that lives at `mac` on interface `index`. IPv4: an ARP
/// request and a reply (RFC 5227; some hosts heed only the one or the other). IPv6: a neighbour
/// advertisement with the override flag (RFC 4861, 7.2.6).
///
/// # Errors
/// The packet socket's.
pub(super) fn send(
    socket: &packet::Socket,
    index: u32,
    mac: [u8; 6],
    address: IpAddr,
) -> io::Result<()> {
    let mac = EthernetAddress(mac);
    let mut buffer = [0; FRAME_MAX];
    match address {
        IpAddr::V4(v4) => {
            for operation in [ArpOperation::Request, ArpOperation::Reply] {
                socket.send(index, arp(&mut buffer, operation, mac, v4))?;
            }
            Ok(())
        }
        IpAddr::V6(v6) => socket.send(index, advertisement(&mut buffer, mac, v6)),
    }
}

fn arp(
    buffer: &mut [u8; FRAME_MAX],
    operation: ArpOperation,
    mac: EthernetAddress,
    address: Ipv4Addr,
) -> &[u8] {
    let target = match operation {
        ArpOperation::Reply => EthernetAddress::BROADCAST,
        _ => EthernetAddress([0; 6]),
    };
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: target,
        target_protocol_addr: address,
    };
    emit(buffer, &repr, mac, EthernetAddress::BROADCAST)
}

fn emit<'a>(
    buffer: &'a mut [u8; FRAME_MAX],
    repr: &ArpRepr,
    from: EthernetAddress,
    to: EthernetAddress,
) -> &'a [u8] {
    let length = ETHERNET_HEADER + repr.buffer_len();
    let mut frame = EthernetFrame::new_unchecked(&mut buffer[..length]);
    let ethernet = EthernetRepr { src_addr: from, dst_addr: to, ethertype: EthernetProtocol::Arp };
    ethernet.emit(&mut frame);
    repr.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    &buffer[..length]
}

/// Where an IPv4 address lives, for those that are asked with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    pub(super) address: Ipv4Addr,
}

impl Asker {
    /// Asks a neighbour for its Ethernet address: an ordinary ARP request, to it alone if it is
    /// known. Whoever is asked takes up where the asker lives (RFC 826), also one that ignores
    /// announcements.
    ///
    /// # Errors
    /// The packet socket's.
    pub(super) fn ask(
        self,
        socket: &packet::Socket,
        neighbour: Ipv4Addr,
        known: Option<[u8; 6]>,
    ) -> io::Result<()> {
        let mac = EthernetAddress(self.mac);
        let repr = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: mac,
            source_protocol_addr: self.address,
            target_hardware_addr: EthernetAddress(known.unwrap_or_default()),
            target_protocol_addr: neighbour,
        };
        let to = known.map_or(EthernetAddress::BROADCAST, EthernetAddress);
        socket.send(self.index, emit(&mut [0; FRAME_MAX], &repr, mac, to))
    }

    /// An ICMP echo request to a neighbour, whose Ethernet address is known. Its answer goes where
    /// it believes that the asker lives.
    ///
    /// # Errors
    /// The packet socket's.
    pub(super) fn ping(
        self,
        socket: &packet::Socket,
        neighbour: (Ipv4Addr, [u8; 6]),
        number: (u16, u16),
    ) -> io::Result<()> {
        socket.send(self.index, self.echo(&mut [0; FRAME_MAX], neighbour, number))
    }

    fn echo(
        self,
        buffer: &mut [u8; FRAME_MAX],
        (neighbour, mac): (Ipv4Addr, [u8; 6]),
        (ident, seq_no): (u16, u16),
    ) -> &[u8] {
        let icmp = Icmpv4Repr::EchoRequest { ident, seq_no, data: b"latido" };
        let ip = Ipv4Repr {
            src_addr: self.address,
            dst_addr: neighbour,
            next_header: IpProtocol::Icmp,
            payload_len: icmp.buffer_len(),
            hop_limit: 1,
        };
        let length = ETHERNET_HEADER + ip.buffer_len() + icmp.buffer_len();
        let mut frame = EthernetFrame::new_unchecked(&mut buffer[..length]);
        let ethernet = EthernetRepr {
            src_addr: EthernetAddress(self.mac),
            dst_addr: EthernetAddress(mac),
            ethertype: EthernetProtocol::Ipv4,
        };
        ethernet.emit(&mut frame);
        let sums = ChecksumCapabilities::default();
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &sums);
        icmp.emit(&mut Icmpv4Packet::new_unchecked(packet.payload_mut()), &sums);
        &buffer[..length]
    }

    /// Whether a frame is an answer to such a ping that came to where the asker lives; whose, and
    /// its number.
    pub(super) fn answer(self, frame: &[u8], ident: u16) -> Option<(Ipv4Addr, u16)> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        // A bridge or a sniffer shows what was meant for others, too.
        if frame.dst_addr() != EthernetAddress(self.mac) {
            return None;
        }
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let unchecked = ChecksumCapabilities::ignored();
        let ip = Ipv4Repr::parse(&packet, &unchecked).ok()?;
        let icmp = Icmpv4Packet::new_checked(packet.payload()).ok()?;
        match Icmpv4Repr::parse(&icmp, &unchecked).ok()? {
            Icmpv4Repr::EchoReply { ident: theirs, seq_no, .. }
                if theirs == ident && ip.dst_addr == self.address =>
            {
                Some((ip.src_addr, seq_no))
            }
            _ => None,
        }
    }
}

fn advertisement(buffer: &mut [u8; FRAME_MAX], mac: EthernetAddress, address: Ipv6Addr) -> &[u8] {
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::OVERRIDE,
        target_addr: address,
        lladdr: Some(mac.into()),
    });
    let ip = Ipv6Repr {
        src_addr: address,
        dst_addr: ALL_NODES,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 255,
    };
    let length = ETHERNET_HEADER + ip.buffer_len() + icmp.buffer_len();
    let mut frame = EthernetFrame::new_unchecked(&mut buffer[..length]);
    let ethernet =
        EthernetRepr { src_addr: mac, dst_addr: ALL_NODES_MAC, ethertype: EthernetProtocol::Ipv6 };
    ethernet.emit(&mut frame);
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet);
    icmp.emit(
        &ip.src_addr,
        &ip.dst_addr,
        &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
        &ChecksumCapabilities::default(),
    );
    &buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    const NEIGHBOURS_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn asker() -> Asker {
        Asker { index: 2, mac: [2, 0, 0, 0, 0, 20], address: Ipv4Addr::new(192, 168, 0, 20) }
    }

    /// What the neighbour answers, to this Ethernet address.
    fn reply(to: [u8; 6]) -> Vec<u8> {
        let theirs = Asker { index: 2, mac: NEIGHBOURS_MAC, address: NEIGHBOUR };
        let mut buffer = [0; FRAME_MAX];
        let mut frame = theirs.echo(&mut buffer, (asker().address, to), (7, 3)).to_vec();
        frame[ETHERNET_HEADER + 20] = 0;
        frame
    }

    #[test]
    fn an_answer_counts_only_if_it_came_to_where_the_asker_lives() {
        let ours = reply(asker().mac);
        assert_eq!(asker().answer(&ours, 7), Some((NEIGHBOUR, 3)));
        assert_eq!(asker().answer(&ours, 8), None, "of another question");
        let elsewhere = reply([2, 0, 0, 0, 0, 21]);
        assert_eq!(asker().answer(&elsewhere, 7), None, "to the former owner");
        let other = Asker { address: Ipv4Addr::new(192, 168, 0, 22), ..asker() };
        assert_eq!(other.answer(&ours, 7), None, "of another address");
        let mut buffer = [0; FRAME_MAX];
        let question = asker().echo(&mut buffer, (NEIGHBOUR, NEIGHBOURS_MAC), (7, 3)).to_vec();
        assert_eq!(asker().answer(&question, 7), None, "a question is none");
        for length in 0..ours.len() - 6 {
            assert_eq!(asker().answer(&ours[..length], 7), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(at in 0usize..48, byte: u8, cut in 0usize..60) {
            let mut frame = reply(asker().mac);
            frame[at] = byte;
            frame.truncate(cut);
            let _ = asker().answer(&frame, 7);
        }
    }
}
