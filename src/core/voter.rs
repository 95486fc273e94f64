//! The voter's half: to whom this node grants, and the counting of grants for its own claims.
//!
//! * A claim is numbered by the sequence number of its first frame.
//! * A grant names the claim frame that set its expiry: the voter holds it until its *receipt* of
//!   that frame plus the lease, the owner counts it until its *sending* of that frame plus the
//!   lease, less the drift. The sending came first, so the owner's view ends first.
//! * A voter remembers: it writes the holder down before it says so.
//! * A grant passes on only to an incarnation that names the old one as its predecessor.
use super::cluster::Cluster;
use super::config::Rule;
use super::group::{Grant, part};
use super::id::{GroupId, Incarnation, NodeId};
use super::io::{Event, NodeState, Phase};
use super::time::{Duration, Instant};
use super::wire::{ClaimPart, Header};

impl Cluster {
    /// `node` has proven a new incarnation: grants to the old one pass on if it is its successor.
    pub(super) fn replaced(&mut self, node: NodeId, before: Option<Incarnation>) {
        let peer = &self.peers[node.index()];
        let (Some(now), Some(before)) = (peer.incarnation, before) else { return };
        let successor = peer.body.predecessor == Some(before);
        if successor {
            self.events.push(Event::NodeRestarted(node));
        }
        for group in &mut self.groups {
            group.votes[node.index()] = None;
            if let Some(grant) = &mut group.grant
                && grant.node == node
                && grant.incarnation == before
                && successor
            {
                grant.incarnation = now;
                self.dirty = true;
            }
        }
    }

    /// Takes from the newest frame of a node what it grants to our present claims.
    pub(super) fn count_votes(&mut self, header: &Header) {
        let body = &self.peers[header.node.index()].body;
        if body.voters != self.config.voters_digest {
            return;
        }
        for id in self.config.group_ids() {
            let lease = self.config.lease(id);
            let group = &mut self.groups[id.index()];
            let number = group.claim.and_then(|claim| claim.number);
            let to_us = |(node, incarnation, sequence): &(NodeId, Incarnation, u64)| {
                *node == self.config.me
                    && *incarnation == self.incarnation
                    && number.is_some_and(|number| *sequence >= number)
            };
            // The counted span ends before the voter's own, whatever both clocks do.
            let counted = lease - lease.ratio(2, 98);
            let granted = body.grant(id).filter(to_us);
            group.votes[header.node.index()] =
                granted.map(|(_, _, sequence)| Instant::from_micros(sequence) + counted);
        }
    }

    /// Grants, renews or frees our vote by the newest frame of a node.
    pub(super) fn vote(&mut self, header: &Header) {
        let node = header.node;
        for id in self.config.group_ids() {
            let part = part(&self.peers[node.index()].body, id);
            let group = &mut self.groups[id.index()];
            group.term = group.term.max(part.term);
            match part.claim {
                Some(claim) => {
                    group.last_owner = Some(node);
                    group.free_since = None;
                    self.grant(id, header, claim, part.phase);
                }
                None if part.phase == Phase::Stopped => self.free(id, header),
                None => {}
            }
        }
    }

    fn free(&mut self, id: GroupId, header: &Header) {
        let group = &mut self.groups[id.index()];
        let held =
            |grant: &Grant| grant.node == header.node && grant.incarnation == header.incarnation;
        if group.grant.as_ref().is_some_and(held) {
            group.grant = None;
            self.dirty = true;
            self.urgent = true;
        }
    }

    fn grant(&mut self, id: GroupId, header: &Header, claim: ClaimPart, phase: Phase) {
        let node = header.node;
        let same_voters = self.peers[node.index()].body.voters == self.config.voters_digest;
        if !same_voters || !self.may_grant(id, node, phase) {
            return;
        }
        let number = header.sequence.saturating_sub(claim.behind);
        let lease = Duration::from_micros(claim.lease);
        let new = Grant {
            node,
            incarnation: header.incarnation,
            sequence: header.sequence,
            number,
            lease,
            until: self.now + lease,
        };
        let old = self.groups[id.index()].grant.replace(new);
        let key = |grant: Grant| (grant.node, grant.incarnation, grant.lease);
        self.dirty |= old.map(key) != Some(key(new));
        // The claimant waits for this: the first grant of a claim is not left to the next beat.
        self.urgent |=
            old.map(|old| (old.incarnation, old.number)) != Some((new.incarnation, number));
    }

    fn may_grant(&mut self, id: GroupId, node: NodeId, phase: Phase) -> bool {
        let group = &self.groups[id.index()];
        if group.claim.is_some() {
            // Our vote is ours, unless our claim is only a wish and the other's stands better.
            if group.phase != Phase::Stopped || !self.yields_to(id, node, phase) {
                return false;
            }
            self.withdraw(id);
            return true;
        }
        match group.binding(self.now) {
            None => true,
            Some(grant) if grant.node == node => {
                Some(grant.incarnation) == self.peers[node.index()].incarnation
                    || self.is_void(&grant)
            }
            Some(grant) => self.is_void(&grant),
        }
    }

    fn yields_to(&self, id: GroupId, node: NodeId, phase: Phase) -> bool {
        if phase != Phase::Stopped {
            return true;
        }
        match (self.rank(id, node), self.rank(id, self.config.me)) {
            (Some(theirs), Some(ours)) => theirs < ours,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether the holder of a grant certainly (or, under `assume-dead`, presumably) runs nothing.
    pub(super) fn is_void(&self, grant: &Grant) -> bool {
        if grant.node == self.config.me {
            return grant.incarnation != self.incarnation;
        }
        let peer = &self.peers[grant.node.index()];
        match self.config.rule {
            Rule::AssumeDead => {
                self.is_gone(grant.node) || peer.incarnation.is_some_and(|i| i != grant.incarnation)
            }
        }
    }

    /// Whether `node` said goodbye or, under `assume-dead`, has been silent for `dead`.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        let peer = &self.peers[node.index()];
        let waiting = !self.ready || self.now < self.doubt_until;
        let state = peer.state(self.now, self.config.warn, self.config.dead, waiting);
        match self.config.rule {
            Rule::AssumeDead => match state {
                NodeState::Left => true,
                NodeState::Dead => !waiting,
                NodeState::Unknown | NodeState::Seen | NodeState::Alive | NodeState::Late => false,
            },
        }
    }

    /// Whether our vote for `group` is free to be given to ourselves.
    pub(super) fn own_vote_is_free(&self, group: GroupId) -> bool {
        match self.groups[group.index()].binding(self.now) {
            None => true,
            Some(grant) => grant.node == self.config.me || self.is_void(&grant),
        }
    }

    /// Whether our present claim to `group` suffices to take it.
    pub(super) fn may_take(&self, group: GroupId) -> bool {
        let state = &self.groups[group.index()];
        let voted = |node: NodeId| state.votes[node.index()].is_some_and(|until| self.now < until);
        match self.config.rule {
            Rule::AssumeDead => {
                self.keeps(group)
                    && self.config.others().all(|node| voted(node) || self.is_gone(node))
            }
        }
    }

    /// Whether our present claim to `group` suffices to keep it.
    pub(super) fn keeps(&self, group: GroupId) -> bool {
        match self.config.rule {
            // The node's own vote; a pause of `dead` voids it.
            Rule::AssumeDead => self.groups[group.index()].grant.is_some_and(|grant| {
                grant.node == self.config.me && grant.incarnation == self.incarnation
            }),
        }
    }

    /// What is left of this node's lease of `group`.
    pub(super) fn lease_left(&self, group: GroupId) -> Option<Duration> {
        match self.config.rule {
            Rule::AssumeDead => self.keeps(group).then_some(self.config.dead),
        }
    }

    /// This node stood still for `dead`: it may no longer count on its own vote.
    pub(super) fn void_own_votes(&mut self) {
        for group in &mut self.groups {
            if group.claim.is_some() {
                group.grant = None;
                self.dirty = true;
            }
        }
    }
}
