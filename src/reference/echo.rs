//! Echo requests, and the replies that count.
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv6Address,
};
use std::net::IpAddr;

/// Of the payload: a random number of this process, and the time of sending.
const PAYLOAD: usize = 16;
pub(super) const MESSAGE_MAX: usize = 64;

/// What all requests of this process have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) identifier: u16,
    /// Tells our replies from those to another program with the same identifier.
    pub(super) cookie: [u8; 8],
}

/// A reply to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) sequence: u16,
    /// When the request was sent, in microseconds of our clock.
    pub(super) sent: u64,
}

/// An echo request. The kernel fills in the checksum of ICMPv6, which it alone knows the source of.
pub(super) fn request(
    buffer: &mut [u8; MESSAGE_MAX],
    to: IpAddr,
    mark: Mark,
    reply: Reply,
) -> &[u8] {
    let mut data = [0; PAYLOAD];
    data[..8].copy_from_slice(&mark.cookie);
    data[8..].copy_from_slice(&reply.sent.to_be_bytes());
    let (ident, seq_no) = (mark.identifier, reply.sequence);
    match to {
        IpAddr::V4(_) => {
            let repr = Icmpv4Repr::EchoRequest { ident, seq_no, data: &data };
            let message = &mut buffer[..repr.buffer_len()];
            let checked = ChecksumCapabilities::default();
            repr.emit(&mut Icmpv4Packet::new_unchecked(&mut *message), &checked);
            message
        }
        IpAddr::V6(to) => {
            let repr = Icmpv6Repr::EchoRequest { ident, seq_no, data: &data };
            let message = &mut buffer[..repr.buffer_len()];
            let mut packet = Icmpv6Packet::new_unchecked(&mut *message);
            let unchecked = ChecksumCapabilities::ignored();
            repr.emit(&Ipv6Address::UNSPECIFIED, &to, &mut packet, &unchecked);
            message
        }
    }
}

/// Reads a packet as a raw socket hands it over: IPv4 with its IP header, IPv6 without.
pub(super) fn reply(from: IpAddr, packet: &[u8], mark: Mark) -> Option<Reply> {
    let (ident, sequence, data) = match from {
        IpAddr::V4(_) => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            if ip.next_header() != IpProtocol::Icmp {
                return None;
            }
            let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
            match Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).ok()? {
                Icmpv4Repr::EchoReply { ident, seq_no, data } => (ident, seq_no, data),
                _ => return None,
            }
        }
        IpAddr::V6(from) => {
            let icmp = Icmpv6Packet::new_checked(packet).ok()?;
            let verified = ChecksumCapabilities::ignored();
            match Icmpv6Repr::parse(&from, &Ipv6Address::UNSPECIFIED, &icmp, &verified).ok()? {
                Icmpv6Repr::EchoReply { ident, seq_no, data } => (ident, seq_no, data),
                _ => return None,
            }
        }
    };
    let (cookie, sent) = (data.get(..8)?, data.get(8..PAYLOAD)?);
    let ours = ident == mark.identifier && cookie == mark.cookie && data.len() == PAYLOAD;
    let sent = u64::from_be_bytes(*sent.first_chunk()?);
    ours.then_some(Reply { sequence, sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { identifier: 0x4c61, cookie: *b"latido!!" };
    const SENT: Reply = Reply { sequence: 7, sent: 123_456 };

    /// The request as its reply, with an IP header as a raw socket shows it.
    fn answered(to: IpAddr) -> Vec<u8> {
        let mut buffer = [0; MESSAGE_MAX];
        let mut message = request(&mut buffer, to, MARK, SENT).to_vec();
        if to.is_ipv6() {
            message[0] = 129;
            return message;
        }
        message[0] = 0;
        // The type is 8 less, so the checksum is 8 << 8 more.
        let sum = u16::from_be_bytes([message[2], message[3]]);
        let (sum, carry) = sum.overflowing_add(0x0800);
        message[2..4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        let total = 20 + u8::try_from(message.len()).unwrap();
        let mut packet = vec![0x45, 0, 0, total, 0, 0, 0, 0, 64, 1, 0, 0];
        packet.extend([192, 168, 0, 1, 192, 168, 0, 21]);
        packet.extend(message);
        packet
    }

    #[test]
    fn a_reply_tells_which_request_it_answers() {
        for host in ["192.168.0.1", "2001:db8::1"] {
            let host = host.parse().unwrap();
            let packet = answered(host);
            assert_eq!(reply(host, &packet, MARK), Some(SENT), "{host}");
            for length in 0..packet.len() {
                assert_eq!(reply(host, &packet[..length], MARK), None, "{host}: {length} bytes");
            }
            let other = Mark { identifier: 1, ..MARK };
            assert_eq!(reply(host, &packet, other), None, "{host}: another identifier");
            let other = Mark { cookie: [0; 8], ..MARK };
            assert_eq!(reply(host, &packet, other), None, "{host}: another program");
        }
    }

    #[test]
    fn a_damaged_reply_or_a_request_is_none() {
        let host = "192.168.0.1".parse().unwrap();
        let mut packet = answered(host);
        packet[43] ^= 1;
        assert_eq!(reply(host, &packet, MARK), None);
        let mut buffer = [0; MESSAGE_MAX];
        let host = "2001:db8::1".parse().unwrap();
        let message = request(&mut buffer, host, MARK, SENT);
        assert_eq!(reply(host, message, MARK), None);
    }
}
