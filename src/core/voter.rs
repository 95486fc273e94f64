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
use super::limits::VOTERS_MAX;
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};
use super::wire::{ClaimPart, Header};

impl Cluster {
    /// `node` has proven a new incarnation: grants to the old one pass on if it is its successor.
    pub(super) fn replaced(&mut self, node: NodeId, before: Option<Incarnation>) {
        let peer = &self.peers[node.index()];
        let Some(now) = peer.incarnation else { return };
        // After a restart of our own, the old one may be known from our memory alone.
        let predecessor = peer.body.predecessor;
        let successor = |old: Incarnation| predecessor == Some(old) || on(Mutation::AnySuccessor);
        if before.is_some_and(successor) {
            self.events.push(Event::NodeRestarted(node));
        }
        for group in &mut self.groups {
            if self.config.rule != Rule::Majority {
                group.votes[node.index()] = None;
            }
            // Under `majority` a promise outlives the voter's process: it remembers it, or it
            // grants nothing for as long.
            if let Some(grant) = &mut group.grant
                && grant.node == node
                && grant.incarnation != now
                && successor(grant.incarnation)
            {
                grant.incarnation = now;
                grant.saved = false;
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
            // The counted span ends before the voter's own, whatever both clocks do.
            let counted = self.config.counted(id);
            let group = &mut self.groups[id.index()];
            let number = group.claim.and_then(|claim| claim.number);
            let to_us = |(node, incarnation, sequence): &(NodeId, Incarnation, u64)| {
                *node == self.config.me
                    && *incarnation == self.incarnation
                    && number
                        .is_some_and(|number| *sequence >= number || on(Mutation::ClaimNumbered))
            };
            let granted = body.grant(id).filter(to_us);
            let receipt = on(Mutation::CountsFromReceipt).then_some(self.now);
            let end = granted.map(|(_, _, sequence)| {
                receipt.unwrap_or(Instant::from_micros(sequence)) + counted
            });
            let vote = &mut group.votes[header.node.index()];
            *vote = match self.config.rule {
                Rule::AssumeDead | Rule::Fencing => end,
                // What was promised to this claim stays promised, whatever a later frame shows.
                Rule::Majority => end.max(*vote),
            };
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
                    self.grant(id, node, claim, part.phase);
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

    /// Grants or renews what the last frame of `node` claims, from its receipt on.
    fn grant(&mut self, id: GroupId, node: NodeId, claim: ClaimPart, phase: Phase) {
        let peer = &self.peers[node.index()];
        let (sequence, receipt, voters) = (peer.sequence, peer.heard_at, peer.body.voters);
        let Some(incarnation) = peer.incarnation else { return };
        let lease = Duration::from_micros(claim.lease);
        let until = match self.config.rule {
            Rule::AssumeDead | Rule::Majority => receipt + lease,
            // Until its holder has let go, or is proven to run nothing.
            Rule::Fencing => Instant::NEVER,
        };
        let blind = self.blind_until(id, lease).is_some_and(|end| self.now < end);
        let noted = self.notes_lease(id, lease);
        let counts = voters == self.config.voters_digest && until > self.now && !blind && noted;
        if !counts || !self.may_grant(id, node, phase) {
            return;
        }
        let number = sequence.saturating_sub(claim.behind);
        let new = Grant { node, incarnation, sequence, number, lease, until, saved: true };
        let bound = self.groups[id.index()].binding(self.now);
        let old = self.groups[id.index()].grant;
        let key = |grant: Grant| (grant.node, grant.incarnation, grant.lease);
        let known = old.map(key) == Some(key(new));
        let saved = known && old.is_some_and(|old| old.saved);
        self.groups[id.index()].grant = Some(Grant { saved, ..new });
        self.dirty |= !known;
        // The claimant waits for this: the first grant of a claim is not left to the next beat.
        self.urgent |=
            bound.map(|old| (old.incarnation, old.number)) != Some((incarnation, number));
    }

    /// Under `majority`: our vote has become free, and a claim that it could not be given to then
    /// still stands, ours or another's.
    pub(super) fn look_again(&mut self, id: GroupId) {
        let group = &self.groups[id.index()];
        let bound = group.binding(self.now).is_some_and(|grant| !self.is_void(&grant));
        if bound && !(on(Mutation::OwnVoteTwice) && group.claim.is_some()) {
            return;
        }
        if group.claim.is_some() {
            if self.own_vote_is_free(id) {
                self.grant_self(id);
            }
            return;
        }
        let claims = |node: NodeId| {
            let peer = &self.peers[node.index()];
            let part = part(&peer.body, id);
            let claim = part.claim.filter(|_| peer.speaks(self.now, self.config.dead))?;
            // Who owns it already, then who is better placed.
            let rank = self.rank(id, node);
            Some(((part.phase == Phase::Stopped, rank.is_none(), rank), node, claim, part.phase))
        };
        let best = self.config.others().filter_map(claims).min_by_key(|known| known.0);
        if let Some((_, node, claim, phase)) = best {
            self.grant(id, node, claim, phase);
        }
    }

    /// Our vote becomes our own. It does not run out while the engine turns.
    pub(super) fn grant_self(&mut self, id: GroupId) {
        let sequence = self.now.micros();
        self.groups[id.index()].grant = Some(Grant {
            node: self.config.me,
            incarnation: self.incarnation,
            sequence,
            number: sequence,
            lease: self.config.lease(id),
            until: Instant::NEVER,
            saved: false,
        });
        self.dirty = true;
    }

    /// A voter that does not know to whom it granted `id` grants nothing until then: the longest of
    /// its own lease, the claim's, the noted one, and the configured time, from its start.
    pub(super) fn blind_until(&self, id: GroupId, lease: Duration) -> Option<Instant> {
        let longest = self.config.lease(id).max(lease).max(self.config.blackout);
        let longest = longest.max(self.recalled_lease(id));
        let forgotten = self.groups[id.index()].forgotten;
        forgotten.filter(|_| !on(Mutation::GrantsBlindly)).map(|since| since + longest)
    }

    /// Whether this node does not know to whom it granted `id`, and therefore grants nothing.
    pub(super) fn is_blind(&self, id: GroupId) -> bool {
        self.blind_until(id, Duration::ZERO).is_some_and(|end| self.now < end)
    }

    fn may_grant(&mut self, id: GroupId, node: NodeId, phase: Phase) -> bool {
        let group = &self.groups[id.index()];
        if self.config.rule == Rule::Fencing && group.phase != Phase::Stopped {
            // No lease ends what may still run here.
            return false;
        }
        if group.claim.is_some() {
            // Our vote is ours, unless our claim is only a wish and the other's stands better.
            if group.phase != Phase::Stopped || !self.yields_to(id, node, phase) {
                return false;
            }
            self.withdraw(id);
        }
        match self.groups[id.index()].binding(self.now) {
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
            Rule::Fencing => self.is_proven(grant.node),
            // Only a proof: the goodbye of that very incarnation. (A fence has freed it already.)
            Rule::Majority => {
                let that = peer.incarnation == Some(grant.incarnation);
                peer.left && (that || on(Mutation::AnyGoodbye))
                    || on(Mutation::SilenceIsProof) && self.is_gone(grant.node)
            }
        }
    }

    /// Whether `node` said goodbye or has been silent for `dead` (under `fencing`: is proven to run
    /// nothing): it does not stand in the way of a claim. Under `majority` our vote stays bound to
    /// it all the same.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        if self.config.rule == Rule::Fencing || self.is_proven(node) {
            return self.is_proven(node);
        }
        if self.is_disputed(node) {
            return false;
        }
        let peer = &self.peers[node.index()];
        let waiting = !self.ready || self.now < self.doubt_until;
        let state = peer.state(self.now, self.config.warn, self.config.dead, waiting);
        match state {
            NodeState::Left => true,
            NodeState::Dead => !waiting,
            NodeState::Unknown | NodeState::Seen | NodeState::Alive | NodeState::Late => false,
        }
    }

    /// Whether a claim of ours to `id` has any prospect.
    pub(super) fn may_claim(&self, id: GroupId) -> bool {
        match self.config.rule {
            Rule::AssumeDead | Rule::Fencing => self.own_vote_is_free(id),
            // Our vote may still be bound to a dead owner: the claim stands until it is free. But
            // those who hear that owner, while we do not, will not give it to us.
            Rule::Majority => {
                let blind = self.blind_until(id, Duration::ZERO);
                let in_reach = |node: &NodeId| {
                    let peer = &self.peers[node.index()];
                    let (now, dead) = (self.now, self.config.dead);
                    let holds = |to: NodeId| to != self.config.me && peer.hears(to, now, dead);
                    let bound = peer.body.grant(id).is_some_and(|(to, ..)| holds(to));
                    peer.alive(now, dead) && !bound
                };
                let others = self.config.voters().filter(in_reach).count();
                self.in_force
                    && blind.is_none_or(|end| self.now >= end)
                    && others >= self.config.others_needed()
            }
        }
    }

    /// Whether there is a majority only with voters that grant nothing yet: the claim stands until
    /// they do, instead of coming and going.
    pub(super) fn waits_for_blind(&self, id: GroupId) -> bool {
        if self.config.rule != Rule::Majority {
            return false;
        }
        let alive = |node: &NodeId| self.peers[node.index()].alive(self.now, self.config.dead);
        let sees = |node: &NodeId| !part(&self.peers[node.index()].body, id).flags.blind();
        let needed = self.config.others_needed();
        let all = self.config.voters().filter(alive).count();
        all >= needed && self.config.voters().filter(alive).filter(sees).count() < needed
    }

    /// Whether our claim, which is only a wish so far, may stand.
    pub(super) fn claim_stands(&self, id: GroupId) -> bool {
        match self.config.rule {
            Rule::AssumeDead | Rule::Fencing => self.keeps(id),
            Rule::Majority => true,
        }
    }

    /// Whether our vote for `group` is free to be given to ourselves.
    pub(super) fn own_vote_is_free(&self, group: GroupId) -> bool {
        if self.blind_until(group, Duration::ZERO).is_some_and(|end| self.now < end) {
            return false;
        }
        match self.groups[group.index()].binding(self.now) {
            None => true,
            Some(_) if on(Mutation::OwnVoteTwice) => true,
            Some(grant) => grant.node == self.config.me || self.is_void(&grant),
        }
    }

    /// Whether our present claim to `group` suffices to take it.
    pub(super) fn may_take(&self, group: GroupId) -> bool {
        let state = &self.groups[group.index()];
        let voted = |node: NodeId| state.votes[node.index()].is_some_and(|until| self.now < until);
        // Our own vote is written down before it counts, like every other. Under `assume-dead` a
        // forgotten one costs nothing that is not lost already.
        let saved = state.grant.is_some_and(|grant| grant.saved) || on(Mutation::GrantsUnsaved);
        if !saved && self.config.rule != Rule::AssumeDead {
            return false;
        }
        match self.config.rule {
            Rule::AssumeDead | Rule::Fencing => {
                let gone = |node| self.is_gone(node) && self.doubt(group, node).is_none();
                self.keeps(group) && self.config.others().all(|node| voted(node) || gone(node))
            }
            Rule::Majority => self.keeps(group),
        }
    }

    /// Whether our present claim to `group` suffices to keep it.
    pub(super) fn keeps(&self, group: GroupId) -> bool {
        match self.config.rule {
            // The node's own vote; under `assume-dead` a pause of `dead` voids it.
            Rule::AssumeDead | Rule::Fencing => self.has_own_vote(group),
            // The stop must have ended when the lease does.
            Rule::Majority => {
                let budget = self.config.stop_budget(group);
                let budget = if on(Mutation::NoStopBudget) { Duration::ZERO } else { budget };
                let stopped = self.now + budget;
                self.lease_until(group).is_some_and(|end| stopped < end)
            }
        }
    }

    fn has_own_vote(&self, group: GroupId) -> bool {
        let ours =
            |grant: Grant| grant.node == self.config.me && grant.incarnation == self.incarnation;
        self.groups[group.index()].grant.is_some_and(ours)
    }

    /// Under `majority`: when the grants of a majority, our own among them, no longer last for
    /// certain; it may have passed. `None` without a majority.
    pub(super) fn lease_until(&self, group: GroupId) -> Option<Instant> {
        let state = &self.groups[group.index()];
        if self.config.rule != Rule::Majority || state.claim.is_none() || !self.has_own_vote(group)
        {
            return None;
        }
        let mut votes = state.votes;
        if on(Mutation::WitnessTwice)
            && let (Some(vote), Some(free)) = (votes.last().copied(), votes.get_mut(VOTERS_MAX - 2))
        {
            *free = vote;
        }
        votes.sort_unstable_by(|one, other| other.cmp(one));
        // Our own does not run out: the weakest of the others that are needed decides.
        let weakest = votes.get(self.config.others_needed().saturating_sub(1));
        weakest.copied().flatten().max(state.inherited)
    }

    /// What is left of this node's lease of `group`.
    pub(super) fn lease_left(&self, group: GroupId) -> Option<Duration> {
        match self.config.rule {
            Rule::AssumeDead | Rule::Fencing => self.keeps(group).then_some(self.config.dead),
            Rule::Majority => self.lease_until(group).map(|end| end.since(self.now)),
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

    /// A list of voters is in force once all its nodes were heard showing it.
    pub(super) fn watch_force(&mut self, node: NodeId) {
        if self.in_force || self.peers[node.index()].body.voters != self.config.voters_digest {
            return;
        }
        self.showing = self.showing.with(node);
        if self.config.others().all(|node| self.showing.contains(node)) {
            self.in_force = true;
            self.force_untold = true;
            self.events.push(Event::InForce);
        }
    }
}
