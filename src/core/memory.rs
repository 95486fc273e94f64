//! What a node must not forget while its machine runs: to whom it grants, what it owns.
//!
//! Written to the runtime directory before any frame that depends on it, read back by the next
//! incarnation of the same boot. Groups are found by the hash of their name, so that a changed
//! configuration does not mistake one for another.
use super::cluster::Cluster;
use super::fence::{Fence, Seen};
use super::group::Grant;
use super::id::{Incarnation, NodeId, Term};
use super::io::{Event, Phase};
use super::limits::{GROUPS_MAX, VOTERS_MAX};
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};
use super::wire::NameHash;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Bytes of the largest memory.
pub const MEMORY_MAX: usize = 2048;

const FORMAT: u8 = 3;

/// What is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    format: u8,
    #[serde(with = "postcard::fixint::le")]
    voters: u32,
    pub(super) incarnation: Incarnation,
    pub(super) standby: bool,
    /// Of each node that was seen since the machine's start: its incarnation, and what proves that
    /// it runs nothing.
    seen: [Option<Seen>; VOTERS_MAX],
    /// Since when this machine does not know to whom it granted what is marked so: a second restart
    /// must not end the silence that the first one began.
    forgotten: Option<Instant>,
    groups: Vec<Remembered, GROUPS_MAX>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Remembered {
    name: NameHash,
    grant: Option<(NodeId, Incarnation, u64)>,
    term: Term,
    owned: bool,
    /// Until when an earlier incarnation vouched for it, while we have not looked at it yet.
    held: Option<Instant>,
    pinned: bool,
    declined: bool,
    forgotten: bool,
}

impl Cluster {
    /// Writes what the next incarnation must know into `out`; the length, or `None` if `out` is
    /// shorter than [`MEMORY_MAX`].
    pub fn memory(&self, out: &mut [u8]) -> Option<usize> {
        let remembered =
            |(settings, group): (&super::config::GroupSettings, &super::group::Group)| {
                let grant = group.grant;
                // Killed again before the probe has ended, we may still adopt it after that.
                let adoptable = group.adoptable.map(|(term, _)| term);
                let own = group.claim.map(|claim| claim.term).or(adoptable);
                Remembered {
                    name: settings.name,
                    grant: grant.map(|grant| (grant.node, grant.incarnation, grant.lease.micros())),
                    term: own.unwrap_or(group.term),
                    owned: own.is_some() && group.phase != Phase::Stopped,
                    held: group.adoptable.map(|(_, held)| held),
                    pinned: group.pinned,
                    declined: group.declined,
                    forgotten: group.forgotten.is_some(),
                }
            };
        let memory = Memory {
            format: FORMAT,
            voters: self.config.voters_digest,
            incarnation: self.incarnation,
            standby: self.standby,
            seen: ::core::array::from_fn(|index| self.fences.get(index).and_then(Fence::seen)),
            forgotten: self
                .config
                .group_ids()
                .filter_map(|id| self.groups[id.index()].forgotten)
                .max(),
            groups: self.config.groups.iter().zip(&self.groups).map(remembered).collect(),
        };
        postcard::to_slice(&memory, out).ok().map(|written| written.len())
    }

    /// Takes over what an earlier incarnation of this boot remembered.
    ///
    /// Grants read back run a full lease from now; what was owned may be adopted if its engine
    /// vouched for it until now.
    pub(super) fn recall(&mut self, bytes: &[u8], held_until: &[Instant; GROUPS_MAX]) {
        let Ok(memory) = postcard::from_bytes::<Memory>(bytes) else { return };
        if memory.format != FORMAT {
            return;
        }
        if memory.voters != self.config.voters_digest {
            // Votes of another list do not count here. But a term never comes again.
            for (group, settings) in self.groups.iter_mut().zip(&self.config.groups) {
                let old = memory.groups.iter().find(|old| old.name == settings.name);
                group.term = old.map_or(group.term, |old| old.term);
            }
            return;
        }
        self.predecessor = Some(memory.incarnation);
        self.standby = memory.standby;
        for (fence, seen) in self.fences.iter_mut().zip(memory.seen) {
            fence.recall(seen);
        }
        let (now, me, incarnation) = (self.now, self.config.me, self.incarnation);
        let fencing = self.config.rule == super::config::Rule::Fencing;
        for (id, settings) in self.config.group_ids().zip(&self.config.groups) {
            let place = memory.groups.iter().position(|old| old.name == settings.name);
            let Some(place) = place else { continue };
            let Some(old) = memory.groups.get(place).copied() else { continue };
            let group = &mut self.groups[id.index()];
            group.forgotten = memory.forgotten.filter(|_| old.forgotten);
            group.term = old.term;
            group.pinned = old.pinned;
            group.declined = old.declined;
            let held = held_until.get(place).copied().max(old.held).unwrap_or_default();
            group.adoptable = (old.owned && now < held).then_some((old.term, held));
            group.grant = old.grant.map(|(node, granted, lease)| {
                let lease = Duration::from_micros(lease);
                // A grant to our former self passes on to us.
                let own = node == me && granted == memory.incarnation;
                let to = if own { incarnation } else { granted };
                // Under `fencing` only its holder's word or a proof ends it.
                let end = if fencing { Instant::NEVER } else { now + lease };
                let until = if on(Mutation::ForgetsGrants) { now } else { end };
                Grant { node, incarnation: to, sequence: 0, number: 0, lease, until, saved: true }
            });
        }
    }

    /// What was to be written down is: it may be told. Whether anything has changed by that.
    pub(super) fn remembered(&mut self) -> bool {
        if !::core::mem::take(&mut self.remembering) {
            return false;
        }
        self.unsaved_until = None;
        let mut changed = false;
        for group in &mut self.groups {
            if let Some(grant) = &mut group.grant {
                changed |= !::core::mem::replace(&mut grant.saved, true);
            }
        }
        changed
    }

    pub(super) fn not_remembered(&mut self) {
        if !::core::mem::take(&mut self.remembering) {
            return;
        }
        self.dirty = true;
        if self.unsaved_until.is_none() {
            self.events.push(Event::NotRemembered);
        }
        self.unsaved_until = Some(self.now + self.config.interval);
    }
}
