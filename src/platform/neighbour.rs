//! "Does anybody have this address?" as an Ethernet frame, and the answers to it.
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Address, Ipv6Packet, Ipv6Repr,
    NdiscRepr,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Where an ARP frame has its sender's IPv4 address.
pub const ARP_SENDER_AT: u32 = 28;
/// What a neighbour advertisement has where: the next header (ICMPv6) and the type.
pub const ADVERTISEMENT: [(u32, u8); 2] = [(20, 58), (54, 136)];
/// Where it has the last word of its target.
pub const TARGET_END_AT: u32 = 74;

const ETHERNET_HEADER: usize = 14;
const FRAME_MAX: usize = 96;
/// Only a neighbour sends with this hop limit (RFC 4861).
const HOP_LIMIT: u8 = 255;

/// A frame that asks for an address without claiming anything: an ARP probe (RFC 5227, sender
/// 0.0.0.0), or a neighbour solicitation from `::` (RFC 4862). `mac`: of the interface.
pub fn probe(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    let mac = EthernetAddress(mac);
    let mut buffer = [0; FRAME_MAX];
    match address {
        IpAddr::V4(address) => arp(&mut buffer, mac, address),
        IpAddr::V6(address) => solicitation(&mut buffer, mac, address),
    }
    .to_vec()
}

fn arp(buffer: &mut [u8; FRAME_MAX], mac: EthernetAddress, address: Ipv4Addr) -> &[u8] {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: Ipv4Addr::UNSPECIFIED,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let length = ETHERNET_HEADER + repr.buffer_len();
    let mut frame = EthernetFrame::new_unchecked(&mut buffer[..length]);
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Arp,
    };
    ethernet.emit(&mut frame);
    repr.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    &buffer[..length]
}

fn solicitation(buffer: &mut [u8; FRAME_MAX], mac: EthernetAddress, address: Ipv6Addr) -> &[u8] {
    // From `::` it names no hardware address, and the answer goes to all nodes.
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: address, lladdr: None });
    let [.., b, c, d] = address.octets();
    // The solicited-node multicast address (RFC 4291, section 2.7.1).
    let group = Ipv6Address::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b, c, d]);
    let ip = Ipv6Repr {
        src_addr: Ipv6Address::UNSPECIFIED,
        dst_addr: group,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let length = ETHERNET_HEADER + ip.buffer_len() + icmp.buffer_len();
    let mut frame = EthernetFrame::new_unchecked(&mut buffer[..length]);
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: EthernetAddress([0x33, 0x33, 0xff, b, c, d]),
        ethertype: EthernetProtocol::Ipv6,
    };
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

/// Who says to have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// Whose the address is said to be.
    pub mac: [u8; 6],
    /// Who sent the frame; the same, except behind some bonded interfaces.
    pub sender: [u8; 6],
}

/// What a frame says about an address: any ARP packet that names it as its sender's (RFC 5227,
/// section 2.1.1), or a neighbour advertisement of it.
pub fn holder(frame: &[u8]) -> Option<Holder> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let sender = frame.src_addr();
    let (address, mac) = match frame.ethertype() {
        EthernetProtocol::Arp => {
            let packet = ArpPacket::new_checked(frame.payload()).ok()?;
            let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, .. } =
                ArpRepr::parse(&packet).ok()?
            else {
                return None;
            };
            (IpAddr::V4(source_protocol_addr), source_hardware_addr)
        }
        EthernetProtocol::Ipv6 => advertised(frame.payload(), sender)?,
        _ => return None,
    };
    Some(Holder { address, mac: mac.0, sender: sender.0 })
}

fn advertised(packet: &[u8], sender: EthernetAddress) -> Option<(IpAddr, EthernetAddress)> {
    let packet = Ipv6Packet::new_checked(packet).ok()?;
    let ip = Ipv6Repr::parse(&packet).ok()?;
    if ip.next_header != IpProtocol::Icmpv6 || ip.hop_limit != HOP_LIMIT {
        return None;
    }
    let icmp = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    // The kernel may leave a checksum to the hardware, and hand us the frame before that.
    let unchecked = ChecksumCapabilities::ignored();
    match Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &icmp, &unchecked).ok()? {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, lladdr, .. }) => {
            let named = lladdr.and_then(|address| address.as_bytes().first_chunk::<6>().copied());
            Some((IpAddr::V6(target_addr), named.map_or(sender, EthernetAddress)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0x4c, 0x61, 0, 1];

    #[test]
    fn a_probe_claims_nothing() {
        let frame = probe(MAC, "192.168.0.20".parse().unwrap());
        let expected = [
            &[0xff; 6][..],
            &MAC,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &MAC,
            &[0; 4],
            &[0; 6],
            &[192, 168, 0, 20],
        ];
        assert_eq!(frame, expected.concat());
        // Whoever hears it learns of no holder of that address.
        assert_ne!(holder(&frame).map(|one| one.address), Some("192.168.0.20".parse().unwrap()));
    }

    #[test]
    fn a_solicitation_goes_to_the_solicited_node_from_nobody() {
        let frame = probe(MAC, "2001:db8::1:2:20".parse().unwrap());
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 2, 0, 0x20]);
        let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(packet.src_addr(), Ipv6Addr::UNSPECIFIED);
        assert_eq!(packet.dst_addr(), "ff02::1:ff02:20".parse::<Ipv6Addr>().unwrap());
        assert_eq!(packet.hop_limit(), 255);
        let icmp = Icmpv6Packet::new_checked(packet.payload()).unwrap();
        assert!(icmp.verify_checksum(&packet.src_addr(), &packet.dst_addr()));
        assert_eq!(holder(&frame), None);
    }

    #[test]
    fn answers_name_the_holder() {
        let other = [2, 0, 0x4c, 0x61, 1, 0];
        let mut reply = probe(other, "10.0.0.9".parse().unwrap());
        reply[21] = 2;
        reply[28..32].copy_from_slice(&[10, 0, 0, 20]);
        let address = "10.0.0.20".parse().unwrap();
        assert_eq!(holder(&reply), Some(Holder { address, mac: other, sender: other }));

        // An advertisement is a solicitation of another type, with flags.
        let mut advertisement = probe(other, "2001:db8::20".parse().unwrap());
        advertisement[54] = 136;
        let address = "2001:db8::20".parse().unwrap();
        assert_eq!(holder(&advertisement), Some(Holder { address, mac: other, sender: other }));
        for (at, byte) in ADVERTISEMENT {
            assert_eq!(advertisement[at as usize], byte);
        }
        assert_eq!(advertisement[TARGET_END_AT as usize..][..4], [0, 0, 0, 0x20]);
        // From beyond a router.
        advertisement[21] = 254;
        assert_eq!(holder(&advertisement), None);
    }

    #[test]
    fn anything_else_is_no_answer() {
        let mut frame = probe(MAC, "2001:db8::20".parse().unwrap());
        for length in 0..frame.len() {
            assert_eq!(holder(&frame[..length]), None, "{length} bytes");
        }
        frame[12..14].copy_from_slice(&[8, 0]);
        assert_eq!(holder(&frame), None);
    }
}
