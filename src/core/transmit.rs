//! Builds each frame at the moment it is sent, from the tables as they are.
use super::cluster::Cluster;
use super::group::{Grant, Group};
use super::id::{GroupId, LinkId, LinkSet};
use super::io::{GroupStatus, LinkState, NodeState, NodeStatus, Output, PeerLink, Phase, Status};
use super::mutation::{Mutation, on};
use super::time::Instant;
use super::wire::{
    Body, ClaimPart, FrameBuf, GrantPart, GroupFlags, GroupPart, Header, Heard, NodeFlags,
};

impl Cluster {
    /// The frame that is due, if one is.
    pub(super) fn transmit(&mut self, frame: &mut FrameBuf) -> Option<Output> {
        let beat = self.now >= self.next_beat;
        let sequence = self.now.micros();
        if self.cloned {
            // Whoever has the same incarnation may use the same number.
            return None;
        }
        if sequence <= self.sent {
            // Two frames in one microsecond: the second waits for the next one.
            return None;
        }
        if !beat && !self.urgent {
            let (key, links) = self.trial_due()?;
            return self.send(frame, key, links);
        }
        let links = if self.urgent { self.links_out() } else { self.beat_links() };
        if beat {
            self.beats += 1;
            self.pet();
            let next = self.next_beat + self.config.interval;
            self.next_beat = if next > self.now { next } else { self.now + self.config.interval };
            self.next_trial();
        }
        self.urgent = false;
        self.farewell();
        if links.is_empty() {
            // The watchdog is petted all the same, and now.
            return self.watchdog().map(Output::Watchdog);
        }
        self.send(frame, self.config.keys.sealing(), links)
    }

    /// The frame of this moment, whose number is larger than any before.
    fn send(&mut self, frame: &mut FrameBuf, key: u8, links: LinkSet) -> Option<Output> {
        let sequence = self.now.micros();
        for group in &mut self.groups {
            if let Some(claim) = &mut group.claim {
                claim.number.get_or_insert(sequence);
            }
        }
        let header = Header {
            key,
            tag: self.config.tag,
            node: self.config.me,
            incarnation: self.incarnation,
            sequence,
        };
        let body = self.body(sequence);
        let len = self.config.keys.seal(&header, &body, frame)?;
        self.sent = sequence;
        self.counters.sent += 1;
        Some(Output::Transmit { links, len: u16::try_from(len).ok()? })
    }

    /// The links whose turn it is: a slow one carries every n-th heartbeat.
    fn beat_links(&self) -> LinkSet {
        let due = |link: &LinkId| {
            let every = self.config.every.get(link.index()).copied().unwrap_or(1);
            self.beats.is_multiple_of(u64::from(every.max(1)))
        };
        self.links_out().iter().filter(due).fold(LinkSet::EMPTY, LinkSet::with)
    }

    /// Where frames go: also where the other end has hung up, for it may hear all the same.
    fn links_out(&self) -> LinkSet {
        self.hung_up.links().iter().fold(self.links_up, LinkSet::with)
    }

    fn body(&mut self, sequence: u64) -> Body {
        let mut body = Body {
            count: (self.counters.sent & 0xffff) as u16, // cast: masked
            flags: NodeFlags::default()
                .with_standby(self.standby)
                .with_leaving(self.shutting_down)
                .with_goodbye(self.says_goodbye())
                .with_ready(self.ready)
                .with_asks(self.asks_at_once()),
            digest: self.config.digest,
            voters: self.config.voters_digest,
            predecessor: self.predecessor,
            references: self.guard.references,
            longest: self.longest_told(),
            witnesses: self.config.witnesses.clone(),
            ..Body::default()
        };
        // Proven incarnations first: `GrantPart::Heard` names the first entry of its node.
        let (now, dead) = (self.now, self.config.dead);
        let mut unproven = heapless::Vec::<Heard, { super::limits::VOTERS_MAX }>::new();
        for node in self.config.voters() {
            let [proven, candidate] = self.peers[node.index()].heard(node, now, dead);
            // Cannot fail: there is room for two of every voter.
            proven.map(|heard| body.heard.push(heard));
            candidate.map(|heard| unproven.push(heard));
        }
        for heard in unproven {
            let _ = body.heard.push(heard);
        }
        for id in self.config.group_ids() {
            let group = &self.groups[id.index()];
            let _ = body.groups.push(self.group_part(id, group, sequence));
            let grant = grant_part(group, &body.heard, now, self.config.me);
            let _ = body.grants.push(grant);
        }
        body
    }

    fn group_part(&self, id: GroupId, group: &Group, sequence: u64) -> GroupPart {
        let lease = self.config.lease(id).micros();
        let claim = group.claim.map(|claim| ClaimPart {
            behind: sequence.saturating_sub(claim.number.unwrap_or(sequence)),
            lease,
        });
        let name = self.config.groups.get(id.index()).map(|group| group.name);
        GroupPart {
            name: name.unwrap_or_default(),
            phase: group.phase,
            flags: GroupFlags::default()
                .with_wanted(group.wanted.is_some())
                .with_pinned(group.pinned)
                .with_declined(group.declined)
                .with_blind(self.is_blind(id)),
            claim,
            term: group.claim.map_or(group.term, |claim| claim.term),
            score: self.score(id),
        }
    }

    /// What is known, for people.
    pub fn status(&self) -> Status {
        let mut status = Status {
            me: self.config.me,
            incarnation: self.incarnation,
            ready: self.ready,
            standby: self.standby,
            shutting_down: self.shutting_down,
            links_up: self.links_up,
            counters: self.counters,
            references: self.guard.references,
            in_force: self.in_force,
            unsaved: self.unsaved_until.is_some(),
            key: self.config.keys.sealing(),
            trial: self.trial(),
            stranger: self.strangers.last,
            ..Status::default()
        };
        let mine = &mut status.nodes[self.config.me.index()];
        mine.state = NodeState::Alive;
        mine.standby = self.standby;
        mine.references = self.guard.references;
        for node in self.config.voters() {
            let peer = &self.peers[node.index()];
            let fence = &self.fences[node.index()];
            let mut links = [PeerLink::default(); super::limits::LINKS_MAX];
            for link in self.config.links().iter() {
                let state = self.peer_link(node, link);
                let rtt = peer.rtt(link).filter(|_| state == LinkState::Up);
                links[link.index()] = PeerLink { state, rtt };
            }
            status.nodes[node.index()] = NodeStatus {
                state: peer.told,
                silence: peer.silence(self.now).unwrap_or(self.now.since(self.started)),
                standby: peer.body.flags.standby(),
                differs: self.differs(node),
                other_voters: self.incomparable(node),
                references: peer.body.references,
                proof: fence.proof(),
                fencing: fence.is_under_way(),
                lied: fence.has_lied(),
                elsewhere: peer.is_elsewhere(self.now, self.config.dead),
                twins: self.has_twin(node),
                seen: fence.is_seen(),
                key: peer.key,
                board: peer.board,
                links,
            };
        }
        for id in self.config.group_ids() {
            status.groups[id.index()] = self.group_status(id);
        }
        status
    }

    fn group_status(&self, id: GroupId) -> GroupStatus {
        let group = &self.groups[id.index()];
        let mut owner = group
            .claim
            .filter(|_| group.phase != Phase::Stopped)
            .map(|claim| (claim.term, self.config.me, group.phase, group.pinned));
        for node in self.config.others() {
            let peer = &self.peers[node.index()];
            let part = super::group::part(&peer.body, id);
            let there = part.claim.is_some() && peer.speaks(self.now, self.config.dead);
            let better = owner.is_none_or(|(term, ..)| part.term > term);
            if there && part.phase != Phase::Stopped && better {
                owner = Some((part.term, node, part.phase, part.flags.pinned()));
            }
        }
        GroupStatus {
            owner: owner.map(|owner| owner.1),
            phase: owner.map_or(group.phase, |owner| owner.2),
            local: group.phase,
            term: owner.map_or(group.term, |owner| owner.0),
            lease_left: group.claim.and_then(|_| self.lease_left(id)),
            failed_here: group.failed_until.is_some(),
            held_back: group.held_back,
            pinned: owner.is_some_and(|owner| owner.3),
            able: group.able,
            candidates: self.candidates(id),
        }
    }
}

fn grant_part(group: &Group, heard: &[Heard], now: Instant, me: super::id::NodeId) -> GrantPart {
    // What is not written down is not told.
    let told = |grant: &Grant| grant.node != me && (grant.saved || on(Mutation::GrantsUnsaved));
    let Some(grant) = group.binding(now).filter(told) else {
        return GrantPart::None;
    };
    // `Body::grant` looks at the first entry of the node.
    let first = heard.iter().find(|heard| heard.node == grant.node);
    match first.filter(|heard| heard.incarnation == grant.incarnation) {
        Some(heard) if grant.sequence > 0 && heard.sequence >= grant.sequence => {
            GrantPart::Heard { node: grant.node, behind: heard.sequence - grant.sequence }
        }
        _ => GrantPart::Other {
            node: grant.node,
            incarnation: grant.incarnation,
            sequence: grant.sequence,
        },
    }
}
