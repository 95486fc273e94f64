//! The body of a frame, read and written piece by piece: a whole one takes three kilobytes.
//!
//! The bytes are those of [`Body`](crate::core::wire::Body); a test compares the two.
use crate::core::id::Incarnation;
use crate::core::limits::{GROUPS_MAX, VOTERS_MAX};
use crate::core::wire::{GrantPart, GroupPart, Heard, NameHash, NodeFlags};
use ::core::marker::PhantomData;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A body whose every part was read once and found sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) flags: NodeFlags,
    pub(super) voters: u32,
    pub(super) predecessor: Option<Incarnation>,
    /// The longest lease that its sender knows of, in ms.
    pub(super) longest: u32,
    pub(super) witnesses: List<'a, NameHash>,
    pub(super) heard: List<'a, Heard>,
    pub(super) groups: List<'a, GroupPart>,
}

/// Elements that are decoded when they are asked for.
#[derive(Debug)]
pub(super) struct List<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<'a> Reader<'a> {
    /// `None`: the bytes are not a body of this version.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Reader<'a>> {
        let (_count, bytes) = take::<u16>(bytes)?;
        let (flags, bytes) = take(bytes)?;
        let (_digest, bytes) = take::<NameHash>(bytes)?;
        let (voters, bytes) = take::<NameHash>(bytes)?;
        let (predecessor, bytes) = take(bytes)?;
        let (_references, bytes) = take::<u8>(bytes)?;
        let (longest, bytes) = take::<u32>(bytes)?;
        let (witnesses, bytes) = List::split(bytes, VOTERS_MAX)?;
        let (heard, bytes) = List::split(bytes, 2 * VOTERS_MAX)?;
        let (groups, bytes) = List::split(bytes, GROUPS_MAX)?;
        let _grants = List::<GrantPart>::split(bytes, GROUPS_MAX)?;
        Some(Reader { flags, voters: voters.0, predecessor, longest, witnesses, heard, groups })
    }
}

impl<'a, T: DeserializeOwned> List<'a, T> {
    fn split(bytes: &'a [u8], max: usize) -> Option<(Self, &'a [u8])> {
        let (count, start) = take::<usize>(bytes)?;
        if count > max {
            return None;
        }
        let mut rest = start;
        for _ in 0..count {
            rest = take::<T>(rest)?.1;
        }
        let bytes = start.get(..start.len().checked_sub(rest.len())?)?;
        Some((List { bytes, of: PhantomData }, rest))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut rest = self.bytes;
        ::core::iter::from_fn(move || {
            let (item, after) = take::<T>(rest)?;
            rest = after;
            Some(item)
        })
    }
}

fn take<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Writes a body piece by piece, in the order of its fields.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Writer<'a> {
        Writer { out, len: 0 }
    }

    /// `None`: it does not fit.
    pub(super) fn put<T: Serialize>(&mut self, item: &T) -> Option<()> {
        let written = postcard::to_slice(item, self.out.get_mut(self.len..)?).ok()?.len();
        self.len += written;
        Some(())
    }

    /// The number of elements that follow.
    pub(super) fn count(&mut self, count: usize) -> Option<()> {
        self.put(&count)
    }

    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{LinkSet, NodeId, Term};
    use crate::core::io::Phase;
    use crate::core::wire::{Body, ClaimPart};
    use proptest::prelude::*;

    fn any_body() -> impl Strategy<Value = Body> {
        let heard = (0..8usize, any::<u64>(), any::<u64>(), any::<u64>(), any::<u8>());
        let group = (any::<u32>(), any::<Option<(u64, u64)>>(), any::<u32>(), any::<u8>());
        (
            (any::<u16>(), any::<u32>(), any::<u32>(), any::<Option<u64>>(), any::<bool>()),
            proptest::collection::vec(any::<u32>(), 0..8),
            proptest::collection::vec(heard, 0..16),
            proptest::collection::vec(group, 0..32),
        )
            .prop_map(|(head, witnesses, heard, groups)| Body {
                count: head.0,
                flags: NodeFlags::default().with_goodbye(head.4),
                digest: head.1,
                voters: head.2,
                predecessor: head.3.map(Incarnation),
                references: 3,
                longest: head.2,
                witnesses: witnesses.into_iter().map(NameHash).collect(),
                heard: heard
                    .into_iter()
                    .map(|(node, incarnation, sequence, age, links)| Heard {
                        node: NodeId::new(node).unwrap(),
                        incarnation: Incarnation(incarnation),
                        sequence,
                        age,
                        links: LinkSet(links),
                    })
                    .collect(),
                grants: groups.iter().map(|_| GrantPart::None).collect(),
                groups: groups
                    .into_iter()
                    .map(|(name, claim, count, score)| GroupPart {
                        name: NameHash(name),
                        phase: Phase::Running,
                        claim: claim.map(|(behind, lease)| ClaimPart { behind, lease }),
                        term: Term { count, node: NodeId::new(2).unwrap() },
                        score,
                        ..GroupPart::default()
                    })
                    .collect(),
            })
    }

    proptest! {
        #[test]
        fn reads_what_a_body_is(body in any_body()) {
            let mut out = [0; 4096];
            let len = body.encode(&mut out).unwrap();
            let read = Reader::new(&out[..len]).unwrap();
            prop_assert_eq!((read.flags, read.voters), (body.flags, body.voters));
            prop_assert_eq!(read.predecessor, body.predecessor);
            prop_assert_eq!(read.longest, body.longest);
            prop_assert!(read.witnesses.iter().eq(body.witnesses.iter().copied()));
            prop_assert!(read.heard.iter().eq(body.heard.iter().copied()));
            prop_assert!(read.groups.iter().eq(body.groups.iter().copied()));
            for short in 0..len {
                prop_assert!(Reader::new(&out[..short]).is_none());
            }
        }

        #[test]
        fn reads_what_a_body_reads(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Reader::new(&bytes).is_some(), Body::decode(&bytes).is_ok());
        }
    }
}
