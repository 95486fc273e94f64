//! The frame: a fixed header in the clear, a sealed `postcard` body.
//!
//! | bytes | header field (little endian) |
//! |---|---|
//! | 0 | version of the format |
//! | 1 | number of the key that seals it |
//! | 2..6 | cluster tag |
//! | 6 | node |
//! | 7..15 | incarnation |
//! | 15..23 | sequence number: microseconds of the sender's clock, strictly increasing |
//!
//! The sequence number *is* the sending time in the sender's own clock, so that an echo of it
//! tells its sender how old it is, without a table of what was sent when.
use super::id::{GroupId, Incarnation, LinkSet, NodeId, Term};
use super::io::Phase;
use super::limits::{FRAME_MAX, GROUPS_MAX, VOTERS_MAX};
use super::witness::health::Health;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// The version that this code speaks.
pub const VERSION: u8 = 3;
/// Bytes of the header.
pub const HEADER_LEN: usize = 23;
/// Bytes of the seal at the end of a frame.
pub const SEAL_LEN: usize = 16;
/// Frames are at least this long.
pub const FRAME_MIN: usize = HEADER_LEN + SEAL_LEN;
/// Bytes of the largest body.
pub const BODY_MAX: usize = FRAME_MAX - FRAME_MIN;

/// The caller's buffer for one frame.
pub type FrameBuf = [u8; FRAME_MAX];

/// What stands in the clear at the start of a frame. Not to be believed before the seal is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which of the accepted keys seals it.
    pub key: u8,
    /// Hash of the cluster's name.
    pub tag: u32,
    /// Sender.
    pub node: NodeId,
    /// Sender's incarnation.
    pub incarnation: Incarnation,
    /// Sending time in µs of the sender's clock.
    pub sequence: u64,
}

/// Why bytes are no frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    /// Shorter than a header and a seal, or longer than [`FRAME_MAX`].
    Length,
    /// Another version of the format.
    Version,
    /// A node number past the table's end.
    Node,
    /// The body is not what this version writes.
    Body,
}

impl Header {
    /// Reads the header of `frame`.
    ///
    /// # Errors
    /// [`DecodeError`] says why the bytes cannot be a frame; nothing else was looked at.
    pub fn decode(frame: &[u8]) -> Result<Header, DecodeError> {
        if frame.len() < FRAME_MIN || frame.len() > FRAME_MAX {
            return Err(DecodeError::Length);
        }
        let [version, key, rest @ ..] = frame else { return Err(DecodeError::Length) };
        if *version != VERSION {
            return Err(DecodeError::Version);
        }
        let (tag, rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Length)?;
        let (node, rest) = rest.split_first().ok_or(DecodeError::Length)?;
        let (incarnation, rest) = rest.split_first_chunk::<8>().ok_or(DecodeError::Length)?;
        let (sequence, _) = rest.split_first_chunk::<8>().ok_or(DecodeError::Length)?;
        Ok(Header {
            key: *key,
            tag: u32::from_le_bytes(*tag),
            node: NodeId::try_from(*node).map_err(|_| DecodeError::Node)?,
            incarnation: Incarnation(u64::from_le_bytes(*incarnation)),
            sequence: u64::from_le_bytes(*sequence),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (tag, node) = (self.tag.to_le_bytes(), u8::from(self.node));
        let (incarnation, sequence) =
            (self.incarnation.0.to_le_bytes(), self.sequence.to_le_bytes());
        let parts = [VERSION, self.key].into_iter().chain(tag).chain([node]);
        let parts = parts.chain(incarnation).chain(sequence);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }
}

/// The sealed part of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Counts the sender's frames, modulo 2^16: the receiver's measure of loss.
    pub count: u16,
    /// What the node as a whole says of itself.
    pub flags: NodeFlags,
    /// Digest of the cluster-wide configuration.
    #[serde(with = "postcard::fixint::le")]
    pub digest: u32,
    /// Digest of the list of voters.
    #[serde(with = "postcard::fixint::le")]
    pub voters: u32,
    /// The incarnation before this one in the same boot, whose memory this one has.
    pub predecessor: Option<Incarnation>,
    /// How many references the sender reaches.
    pub references: u8,
    /// The longest lease that may be about as far as the sender knows, in ms: what a witness waits
    /// for after its start.
    pub longest: u32,
    /// Hashes of the witnesses' names, in order: how a witness learns which voter it is.
    pub witnesses: Vec<NameHash, VOTERS_MAX>,
    /// What the sender heard of each voter, and of those that are not proven yet.
    pub heard: Vec<Heard, { 2 * VOTERS_MAX }>,
    /// What the sender does with each group, in its order; [`Body::align`] brings them into ours.
    pub groups: Vec<GroupPart, GROUPS_MAX>,
    /// To whom the sender grants each of them, in the same order.
    pub grants: Vec<GrantPart, GROUPS_MAX>,
}

/// What a node as a whole says of itself: bits of [`Body::flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeFlags(u8);

macro_rules! flags {
    ($type:ident { $($(#[$doc:meta])* $get:ident, $with:ident = $bit:expr;)* }) => {
        impl $type {
            $(
                $(#[$doc])*
                pub const fn $get(self) -> bool {
                    self.0 & (1 << $bit) != 0
                }
                /// The same with this flag as given.
                #[must_use]
                pub const fn $with(self, on: bool) -> Self {
                    $type(if on { self.0 | (1 << $bit) } else { self.0 & !(1 << $bit) })
                }
            )*
        }
    };
}

flags!(NodeFlags {
    /// In standby: takes nothing while another node can.
    standby, with_standby = 0;
    /// Shutting down: takes nothing more.
    leaving, with_leaving = 1;
    /// Everything is stopped; this is the last frame.
    goodbye, with_goodbye = 2;
    /// Claims may be made.
    ready, with_ready = 3;
    /// The sender is a witness: it votes, and owns nothing.
    witness, with_witness = 4;
    /// No node but a test of a link: it wants to be echoed, and is never taken for the node.
    testing, with_testing = 5;
    /// The sender wants to be answered at once: somebody has hung up on it.
    asks, with_asks = 6;
});

/// Hash of a name (CRC-32C): what a group or a witness is called in frames and memories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NameHash(#[serde(with = "postcard::fixint::le")] pub u32);

/// What the sender heard of one incarnation of one voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heard {
    /// Whom.
    pub node: NodeId,
    /// Which incarnation.
    pub incarnation: Incarnation,
    /// Its newest sequence number.
    pub sequence: u64,
    /// How long before the sending of this frame it came, in µs.
    pub age: u64,
    /// The links on which that node was heard within the dead time.
    pub links: LinkSet,
}

/// What the sender does with one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupPart {
    /// Which group: groups have other places where the configuration is another.
    pub name: NameHash,
    /// What it does with it.
    pub phase: Phase,
    /// Its wishes.
    pub flags: GroupFlags,
    /// Its claim, if it makes one.
    pub claim: Option<ClaimPart>,
    /// The highest ownership it knows of.
    pub term: Term,
    /// How well it could serve it; 0: not at all.
    pub score: u8,
}

/// Bits of [`GroupPart::flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupFlags(u8);

flags!(GroupFlags {
    /// The sender asks its owner for the group.
    wanted, with_wanted = 0;
    /// The group was moved by hand: no failback on its own.
    pinned, with_pinned = 1;
    /// The sender gave the group away by hand: takes it only when nobody else can.
    declined, with_declined = 2;
    /// The sender does not know to whom it granted it: it can neither vote for it nor take it yet.
    blind, with_blind = 3;
});

/// A claim to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimPart {
    /// The claim's number (the sequence number of its first frame) lies so far before this frame's.
    pub behind: u64,
    /// The lease that it asks for, in µs.
    pub lease: u64,
}

/// A grant of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantPart {
    /// To nobody, or to the sender itself.
    #[default]
    None,
    /// To the incarnation of `node` that [`Body::heard`] names first for it; the claim frame that
    /// set the expiry lies `behind` µs before the sequence number named there.
    Heard {
        /// To whom.
        node: NodeId,
        /// How far before the last frame heard.
        behind: u64,
    },
    /// To another incarnation.
    Other {
        /// To whom.
        node: NodeId,
        /// Which incarnation.
        incarnation: Incarnation,
        /// The claim frame that set the expiry.
        sequence: u64,
    },
}

impl Body {
    /// Writes the body into `out`; the length, or `None` if it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        postcard::to_slice(self, out).ok().map(|written| written.len())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Body`] if the bytes are not a body of this version.
    pub fn decode(bytes: &[u8]) -> Result<Body, DecodeError> {
        Self::with_board(bytes).map(|(body, _)| body)
    }

    /// The same, and what a witness says behind it of its board. Other bytes there are of a later
    /// version.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub fn with_board(bytes: &[u8]) -> Result<(Body, Option<Health>), DecodeError> {
        let (body, rest): (Body, _) =
            postcard::take_from_bytes(bytes).map_err(|_| DecodeError::Body)?;
        let board = Health::behind(rest).filter(|_| body.flags.witness());
        Ok((body, board))
    }

    /// Brings groups and grants into the order of `names`: what the sender does not know is empty,
    /// what is not in `names` is left out.
    pub fn align(&mut self, names: impl Iterator<Item = NameHash> + Clone) {
        let same = names.clone().zip(&self.groups).all(|(name, part)| name == part.name);
        if same && names.clone().count() == self.groups.len() {
            return;
        }
        let (mut groups, mut grants) = (Vec::new(), Vec::new());
        for name in names {
            let place = self.groups.iter().position(|part| part.name == name);
            let part = place.and_then(|place| self.groups.get(place)).copied();
            let grant = place.and_then(|place| self.grants.get(place)).copied();
            // Cannot fail: there are no more names than places.
            let _ = groups.push(part.unwrap_or(GroupPart { name, ..GroupPart::default() }));
            let _ = grants.push(grant.unwrap_or_default());
        }
        self.groups = groups;
        self.grants = grants;
    }

    /// The grant of `group`: node, incarnation and the claim frame that set the expiry.
    pub fn grant(&self, group: GroupId) -> Option<(NodeId, Incarnation, u64)> {
        match *self.grants.get(group.index())? {
            GrantPart::None => None,
            GrantPart::Heard { node, behind } => {
                let heard = self.heard.iter().find(|heard| heard.node == node)?;
                Some((node, heard.incarnation, heard.sequence.checked_sub(behind)?))
            }
            GrantPart::Other { node, incarnation, sequence } => Some((node, incarnation, sequence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_round_trip() {
        let header = Header {
            key: 3,
            tag: 0xdead_beef,
            node: NodeId::new(7).unwrap(),
            incarnation: Incarnation(0x0123_4567_89ab_cdef),
            sequence: 42,
        };
        let mut frame = [0; FRAME_MIN];
        frame[..HEADER_LEN].copy_from_slice(&header.encode());
        assert_eq!(Header::decode(&frame), Ok(header));
        frame[6] = 8;
        assert_eq!(Header::decode(&frame), Err(DecodeError::Node));
        frame[0] = 9;
        assert_eq!(Header::decode(&frame), Err(DecodeError::Version));
        assert_eq!(Header::decode(&frame[..FRAME_MIN - 1]), Err(DecodeError::Length));
    }

    #[test]
    fn the_largest_body_fits_a_frame() {
        let heard = Heard {
            node: NodeId::new(7).unwrap(),
            incarnation: Incarnation(u64::MAX),
            sequence: 1 << 48,
            age: 1 << 24,
            links: LinkSet(0xff),
        };
        let term = Term { count: u32::MAX >> 8, node: NodeId::new(7).unwrap() };
        let claim = Some(ClaimPart { behind: 1 << 41, lease: 1 << 27 });
        let part = GroupPart { claim, term, score: 255, ..GroupPart::default() };
        let body = Body {
            count: u16::MAX,
            predecessor: Some(Incarnation(u64::MAX)),
            heard: core::iter::repeat_n(heard, 10).collect(),
            // A group that this node claims it grants to itself: no `Other` beside a claim.
            groups: core::iter::repeat_n(part, GROUPS_MAX).collect(),
            grants: core::iter::repeat_n(GrantPart::None, GROUPS_MAX).collect(),
            ..Body::default()
        };
        let mut out = [0; BODY_MAX];
        assert!(body.encode(&mut out).is_some());
        let part = GroupPart { claim: None, term, score: 255, ..GroupPart::default() };
        let other = GrantPart::Other {
            node: NodeId::new(1).unwrap(),
            incarnation: Incarnation(u64::MAX),
            sequence: 1 << 48,
        };
        let body = Body {
            groups: core::iter::repeat_n(part, GROUPS_MAX).collect(),
            grants: core::iter::repeat_n(other, GROUPS_MAX).collect(),
            ..body
        };
        assert!(body.encode(&mut out).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_decode(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let _ = Header::decode(&bytes);
            if let Ok(body) = Body::decode(&bytes) {
                for group in GroupId::all() {
                    let _ = body.grant(group);
                }
            }
        }

        #[test]
        fn aligned_by_name(theirs in proptest::collection::vec(0..40u32, 0..GROUPS_MAX),
                           ours in proptest::collection::vec(0..40u32, 0..GROUPS_MAX)) {
            let mut body = Body::default();
            for (index, name) in theirs.iter().enumerate() {
                let part = GroupPart { name: NameHash(*name), score: index as u8,
                                       ..GroupPart::default() };
                body.groups.push(part).unwrap();
                let node = NodeId::new(index % VOTERS_MAX).unwrap();
                body.grants.push(GrantPart::Heard { node, behind: index as u64 }).unwrap();
            }
            body.align(ours.iter().copied().map(NameHash));
            prop_assert_eq!(body.groups.len(), ours.len());
            for (place, name) in ours.iter().enumerate() {
                prop_assert_eq!(body.groups[place].name, NameHash(*name));
                match theirs.iter().position(|known| known == name) {
                    Some(index) => {
                        // Where both lists are the same, doubled names stay in their places.
                        let index = if theirs == ours { place } else { index };
                        prop_assert_eq!(body.groups[place].score, index as u8);
                        let behind = index as u64;
                        let node = NodeId::new(index % VOTERS_MAX).unwrap();
                        prop_assert_eq!(body.grants[place], GrantPart::Heard { node, behind });
                    }
                    None => prop_assert_eq!(body.grants[place], GrantPart::None),
                }
            }
        }

        #[test]
        fn body_round_trip(count in any::<u16>(), sequence in any::<u64>(), age in any::<u64>(),
                           behind in any::<u64>(), standby in any::<bool>()) {
            let heard = Heard { node: NodeId::new(1).unwrap(), incarnation: Incarnation(sequence),
                                sequence, age, links: LinkSet(5) };
            let body = Body {
                count,
                flags: NodeFlags::default().with_standby(standby),
                heard: [heard].into_iter().collect(),
                groups: [GroupPart::default()].into_iter().collect(),
                grants: [GrantPart::Heard { node: NodeId::new(1).unwrap(), behind }]
                    .into_iter().collect(),
                ..Body::default()
            };
            let mut out = [0; BODY_MAX];
            let len = body.encode(&mut out).unwrap();
            prop_assert_eq!(&Body::decode(&out[..len]).unwrap(), &body);
            let grant = body.grant(GroupId::new(0).unwrap());
            prop_assert_eq!(grant.map(|grant| grant.2), sequence.checked_sub(behind));
        }
    }
}
