//! Raw Ethernet links: frames of an EtherType of our own, with no IP below or beside them.
//!
//! ```text
//!  to (6) │ from (6) │ [0x8100, tag (2)] │ EtherType (2) │ 'L' 1 │ length (2) │ frame │ zeros
//! ```
//!
//! The length, because short frames are filled up to the shortest that an Ethernet carries. A tag
//! is written into the frames that go out; of those that come in the kernel has taken it off, and
//! its filter knows which it was.
use super::udp::{PRIORITY, RECEIVE_BUFFER};
use super::{Loss, Obstacle, Received, Sent, Tally};
use crate::config::Mac;
use crate::core::limits::FRAME_MAX;
use crate::platform::filter::{EthernetForm, HeaderFilter};
use crate::platform::netlink;
use crate::platform::packet;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::{netdevice, sockopt};
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};
use std::io;

/// Two addresses and a type.
const HEADER: usize = 14;
/// A VLAN's tag: its own type and 16 bits.
const TAG: usize = 4;
/// `L` and the version of what follows: other experiments may use the EtherType too (IEEE Std 802
/// asks for these two).
const MARK: [u8; 2] = [b'L', 1];
/// The mark and the length.
const PREFIX: usize = 4;
/// The shortest frame on an Ethernet, less its checksum; a switch may take a tag off on the way.
const SHORTEST: usize = 60;
const LONGEST: usize = HEADER + TAG + PREFIX + FRAME_MAX;
/// Tag protocol identifier of IEEE 802.1Q.
const TAGGED: u16 = 0x8100;
/// Priority "internetwork control" of IEEE 802.1Q, in the upper three bits of a tag.
const URGENT: u16 = 6 << 13;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;
/// `ETH_P_ALL`.
const EVERY_TYPE: u16 = 3;

/// Which Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) interface: &'a str,
    pub(super) vlan: Option<u16>,
    pub(super) ethertype: u16,
}

/// An open raw Ethernet link.
pub(super) struct Ethernet {
    socket: packet::Socket,
    interface: String,
    index: u32,
    mac: EthernetAddress,
    vlan: Option<u16>,
    ethertype: u16,
    /// Where every frame goes.
    to: Vec<EthernetAddress>,
    buffer: [u8; LONGEST],
}

impl std::fmt::Debug for Ethernet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ethernet")
            .field("interface", &self.interface)
            .field("vlan", &self.vlan)
            .field("ethertype", &self.ethertype)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Ethernet {
    /// `peers`: whom the frames go to, an address of this interface among them left out; none:
    /// everybody on this Ethernet.
    pub(super) fn open(
        place: &Place<'_>,
        peers: &[Mac],
        filter: &HeaderFilter,
    ) -> Result<Self, Obstacle> {
        let Place { interface, vlan, ethertype } = *place;
        let index = suitable(interface)?;
        let form = EthernetForm { ethertype, vlan, mark: MARK, frame_at: (HEADER + PREFIX) as u32 };
        let (socket, mac) =
            listen(index, &form, filter).map_err(|error| obstacle(interface, &error))?;
        let Some(mac) = mac else {
            return Err(Obstacle::new(
                format!("{interface} is no Ethernet"),
                "name an interface that has `link/ether` in `ip link`; for others use udp",
            ));
        };
        let mut to: Vec<_> = peers.iter().map(|peer| EthernetAddress(peer.octets())).collect();
        to.retain(|peer| *peer != mac);
        if peers.is_empty() {
            to.push(EthernetAddress::BROADCAST);
        }
        let interface = interface.to_owned();
        let buffer = [0; LONGEST];
        Ok(Ethernet { socket, interface, index, mac, vlan, ethertype, to, buffer })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8; FRAME_MAX], tally: &mut Tally) -> Received {
        match self.socket.receive(&mut self.buffer) {
            Ok(Some(bytes)) => {
                let frame = parse(bytes, self.ethertype);
                match frame.and_then(|frame| Some((buffer.get_mut(..frame.len())?, frame))) {
                    Some((room, frame)) => {
                        room.copy_from_slice(frame);
                        Received::Frame(frame.len())
                    }
                    None => {
                        tally.damaged += 1;
                        Received::Nothing
                    }
                }
            }
            Ok(None) => Received::Nothing,
            Err(error) => match self.loss(&error) {
                Some(loss) => Received::Lost(loss),
                None => Received::Nothing,
            },
        }
    }

    pub(super) fn send(&mut self, frame: &[u8], tally: &mut Tally) -> Sent {
        let mut done = self.to.is_empty();
        for place in 0..self.to.len() {
            let Some(&to) = self.to.get(place) else { break };
            let ends = [to, self.mac];
            let Some(bytes) = build(&mut self.buffer, ends, self.vlan, self.ethertype, frame)
            else {
                break;
            };
            match self.socket.send(self.index, bytes) {
                Ok(()) => done = true,
                Err(error) => {
                    if let Some(loss) = self.loss(&error) {
                        return Sent::Lost(loss);
                    }
                    tally.refusal = errno(&error);
                }
            }
        }
        if done {
            tally.sent += 1;
            Sent::Done
        } else {
            tally.busy += 1;
            Sent::Busy
        }
    }

    /// Whether the interface is the one that was opened, with the address that our frames bear.
    pub(super) fn still_valid(&self) -> bool {
        netdevice::name_to_index(&self.socket, &self.interface) == Ok(self.index)
            && self.socket.hardware().is_ok_and(|hardware| {
                i64::from(hardware.index) == i64::from(self.index)
                    && hardware.mac == Some(self.mac.0)
            })
    }

    /// What an error on an open socket says of the link: an interface that is switched off comes
    /// back with the same socket, one that has vanished does not.
    fn loss(&self, error: &io::Error) -> Option<Loss> {
        match errno(error)? {
            Errno::NODEV | Errno::NETDOWN | Errno::NXIO => {
                (!self.still_valid()).then_some(Loss::Interface)
            }
            error @ (Errno::BADF | Errno::NOTSOCK) => Some(Loss::Failed(error)),
            _ => None,
        }
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// The index of an interface that can carry our frames.
fn suitable(interface: &str) -> Result<u32, Obstacle> {
    let look = |error: String| Obstacle::new(error, "Latido goes on trying");
    let mut netlink = netlink::Socket::open().map_err(|error| look(error.to_string()))?;
    let Some(link) = netlink.link(interface).map_err(|error| look(error.to_string()))? else {
        return Err(Obstacle::new(
            format!("there is no interface {interface} now"),
            "check its name with `ip link`; Latido goes on trying",
        ));
    };
    let needed = PREFIX + FRAME_MAX;
    if (link.mtu as usize) < needed {
        return Err(Obstacle::new(
            format!(
                "{interface} carries at most {} bytes (its MTU), a frame may need {needed}",
                link.mtu
            ),
            format!("`ip link set {interface} mtu 1500`, on both ends of the cable"),
        ));
    }
    let master = link.master.and_then(|index| netlink.link_by_index(index).ok().flatten());
    match master {
        // These take what arrives before we would hear it.
        Some(master)
            if matches!(
                master.kind.as_deref(),
                Some("bridge" | "bond" | "team" | "openvswitch")
            ) =>
        {
            Err(Obstacle::new(
                format!("{interface} is a port of {}, which takes what arrives", master.name),
                format!("write `ethernet = \"{}\"`", master.name),
            ))
        }
        _ => Ok(link.index),
    }
}

/// A socket that hears our frames alone, and the interface's address if it is an Ethernet.
fn listen(
    index: u32,
    form: &EthernetForm,
    filter: &HeaderFilter,
) -> io::Result<(packet::Socket, Option<EthernetAddress>)> {
    let socket = packet::Socket::sender()?;
    filter.attach_ethernet(&socket, index, form)?;
    // An older kernel hands them to the filter, which drops them.
    let _ = socket.ignore_outgoing();
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        // Without CAP_NET_ADMIN as much as net.core.rmem_max allows.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    socket2::SockRef::from(&socket).set_priority(PRIORITY)?;
    // Where a VLAN has an interface of its own, frames with its tag go there, and the tag is
    // forgotten; only those who hear every type hear them before that.
    socket.listen(index, if form.vlan.is_some() { EVERY_TYPE } else { form.ethertype })?;
    let hardware = socket.hardware()?;
    Ok((socket, hardware.mac.filter(|_| hardware.kind == ETHERNET).map(EthernetAddress)))
}

/// What an error while opening means.
fn obstacle(interface: &str, error: &io::Error) -> Obstacle {
    match errno(error) {
        Some(Errno::ACCESS | Errno::PERM) => Obstacle::new(
            format!("raw Ethernet on {interface} is not permitted ({error})"),
            "run latido as root, or grant CAP_NET_RAW",
        ),
        Some(Errno::AFNOSUPPORT) => Obstacle::new(
            format!("this kernel has no packet sockets ({error})"),
            "`modprobe af_packet`, or use another kind of link",
        ),
        _ => Obstacle::new(
            format!("raw Ethernet on {interface}: {error}"),
            format!("check `ip link show {interface}`; Latido goes on trying"),
        ),
    }
}

/// Puts `frame` into an Ethernet frame to and from `ends`; `None` if it is too long.
fn build<'a>(
    buffer: &'a mut [u8; LONGEST],
    ends: [EthernetAddress; 2],
    vlan: Option<u16>,
    ethertype: u16,
    frame: &[u8],
) -> Option<&'a [u8]> {
    if frame.len() > FRAME_MAX {
        return None;
    }
    let [to, from] = ends;
    let mut whole = EthernetFrame::new_unchecked(&mut buffer[..]);
    whole.set_dst_addr(to);
    whole.set_src_addr(from);
    whole.set_ethertype(EthernetProtocol::from(if vlan.is_some() { TAGGED } else { ethertype }));
    let mut rest = whole.payload_mut();
    let mut length = HEADER;
    if let Some(vlan) = vlan {
        let (tag, behind) = rest.split_first_chunk_mut::<TAG>()?;
        tag[..2].copy_from_slice(&(URGENT | vlan).to_be_bytes());
        tag[2..].copy_from_slice(&ethertype.to_be_bytes());
        rest = behind;
        length += TAG;
    }
    let (prefix, rest) = rest.split_first_chunk_mut::<PREFIX>()?;
    prefix[..2].copy_from_slice(&MARK);
    prefix[2..].copy_from_slice(&u16::try_from(frame.len()).ok()?.to_be_bytes());
    rest.get_mut(..frame.len())?.copy_from_slice(frame);
    length += PREFIX + frame.len();
    let shortest = SHORTEST + if vlan.is_some() { TAG } else { 0 };
    if let Some(zeros) = buffer.get_mut(length..shortest) {
        zeros.fill(0);
        length = shortest;
    }
    buffer.get(..length)
}

/// The frame in an Ethernet frame, whose tag the kernel has taken off; `None` if there is none.
fn parse(bytes: &[u8], ethertype: u16) -> Option<&[u8]> {
    let whole = EthernetFrame::new_checked(bytes).ok()?;
    if u16::from(whole.ethertype()) != ethertype {
        return None;
    }
    let (prefix, rest) = whole.payload().split_first_chunk::<PREFIX>()?;
    let &[one, two, high, low] = prefix;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let wanted = [one, two] == MARK && (1..=FRAME_MAX).contains(&length);
    rest.get(..length).filter(|_| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ETHERTYPE;
    use proptest::prelude::*;

    const ENDS: [EthernetAddress; 2] =
        [EthernetAddress([0xFF; 6]), EthernetAddress([2, 0, 0, 0, 0, 1])];

    fn built(vlan: Option<u16>, frame: &[u8]) -> Option<Vec<u8>> {
        // What was there before does not matter.
        let mut buffer = [0xEE; LONGEST];
        build(&mut buffer, ENDS, vlan, ETHERTYPE, frame).map(<[u8]>::to_vec)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let plain = built(None, &[0xAB; 39]).expect("fits");
        let mut expected = vec![0xFF; 6];
        expected.extend([2, 0, 0, 0, 0, 1, 0x88, 0xB5, b'L', 1, 0, 39]);
        expected.extend([0xAB; 39]);
        expected.resize(60, 0);
        assert_eq!(plain, expected, "filled up with zeros");
        let tagged = built(Some(42), &[0xAB; 100]).expect("fits");
        assert_eq!(tagged[12..18], [0x81, 0, 0xC0, 42, 0x88, 0xB5]);
        assert_eq!(tagged.len(), 14 + 4 + 4 + 100);
        assert_eq!(built(Some(42), &[0xAB; 39]).map(|frame| frame.len()), Some(64));
        assert_eq!(built(None, &[0; FRAME_MAX]).map(|frame| frame.len()), Some(18 + FRAME_MAX));
        assert!(built(None, &[0; FRAME_MAX + 1]).is_none(), "too long");
    }

    /// Mostly like ours, so that every test of the parser is reached.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let noise = || prop::collection::vec(any::<u8>(), 0..1400);
        let like = (noise(), prop_oneof![Just(MARK), any::<[u8; 2]>()], any::<u16>(), any::<u16>());
        prop_oneof![
            noise(),
            like.prop_map(|(noise, mark, length, share)| {
                // Often just about what is there.
                let length =
                    if share % 2 == 0 { length } else { (noise.len() as u16) ^ (length & 3) };
                let head = [&[0xFF; 12][..], &ETHERTYPE.to_be_bytes(), &mark];
                [&head.concat()[..], &length.to_be_bytes(), &noise].concat()
            })
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn any_bytes_are_a_frame_as_long_as_they_say_or_none(bytes in bytes()) {
            if let Some(frame) = parse(&bytes, ETHERTYPE) {
                let said = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
                prop_assert_eq!(&bytes[12..16], &[0x88, 0xB5, b'L', 1]);
                prop_assert!((1..=FRAME_MAX).contains(&said));
                prop_assert_eq!(frame, &bytes[18..18 + said]);
            } else if bytes.len() >= 18 && bytes[12..16] == [0x88, 0xB5, b'L', 1] {
                let said = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
                prop_assert!(said == 0 || said > FRAME_MAX || bytes.len() < 18 + said);
            }
        }

        #[test]
        fn what_was_built_is_parsed_and_padding_is_no_part_of_it(
            frame in prop::collection::vec(any::<u8>(), 1..=FRAME_MAX),
            vlan in prop::option::of(1..=4094u16),
            more in 0..64usize,
        ) {
            let mut whole = built(vlan, &frame).expect("fits");
            prop_assert!(whole.len() >= SHORTEST);
            if vlan.is_some() {
                // As the kernel does.
                whole.drain(12..16);
            }
            whole.resize(whole.len() + more, 0x5A);
            prop_assert_eq!(parse(&whole, ETHERTYPE), Some(&frame[..]));
            prop_assert_eq!(parse(&whole, ETHERTYPE + 1), None);
        }
    }
}
