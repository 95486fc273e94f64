//! Fences and proofs: when a node is switched off, and when it is certain that it runs nothing.
//!
//! A *proof* names the incarnation that was known when the fence was asked for. It covers nothing
//! that was heard since, and ends, first in the memory, when another incarnation is heard: that one
//! has not been off. It is never passed on. A goodbye is a proof, and so is the operator's word.
//!
//! Two goodbyes that cross are none: the other node may come back and own by ours, unheard by us.
//! Were our next start to believe the other's, both would take a group alone.
use super::cluster::Cluster;
use super::config::{Rule, StopFailure};
use super::group::part;
use super::id::{GroupId, Incarnation, JobId, NodeId};
use super::io::{Event, Fenced, Phase, Proof, Refusal, Reply, Timer};
use super::mutation::{Mutation, on};
use super::peer::Taken;
use super::time::Instant;
use super::wire::Header;
use serde::{Deserialize, Serialize};

/// What this node knows of another one's being off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fence {
    /// It was seen since this machine's start; its incarnation then.
    pub(super) seen: Option<Incarnation>,
    /// It runs nothing: how that is known, and of which incarnation (`None`: of every earlier one).
    pub(super) proof: Option<(Proof, Option<Incarnation>)>,
    /// Since when it is to be fenced.
    pub(super) wanted: Option<Instant>,
    /// The fence that is under way.
    pub(super) request: Option<Request>,
    /// After one that failed: not before then.
    pub(super) retry_at: Option<Instant>,
    pub(super) told_unseen: bool,
    /// Which incarnation was off, since when, and how that was known.
    pub(super) struck: Option<(Incarnation, Instant, Proof)>,
    /// What the device said was off was not: its word counts for nothing, until it has switched by
    /// hand.
    pub(super) lied: bool,
    /// What was off is heard again: until then it may come up in peace.
    pub(super) spared_until: Option<Instant>,
}

/// A fence that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) id: JobId,
    /// The incarnation that is struck, as far as it is known.
    pub(super) names: Option<Incarnation>,
    /// Another one was heard since.
    pub(super) outlived: bool,
    pub(super) issued: bool,
    /// The operator asked for it.
    pub(super) by_hand: bool,
}

/// What is remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    incarnation: Option<Incarnation>,
    proof: Option<(u8, Option<Incarnation>)>,
}

impl Fence {
    /// What the memory is to keep.
    pub(super) fn seen(&self) -> Option<Seen> {
        let number = |proof| match proof {
            Proof::Fence => 0,
            Proof::Goodbye => 1,
            Proof::Word => 2,
        };
        let proof = self.proof.map(|(proof, names)| (number(proof), names));
        let seen = Seen { incarnation: self.seen, proof };
        (self.seen.is_some() || proof.is_some()).then_some(seen)
    }

    /// Takes over what an earlier incarnation of this boot remembered.
    pub(super) fn recall(&mut self, seen: Option<Seen>) {
        let Some(seen) = seen else { return };
        self.seen = seen.incarnation;
        self.proof = seen.proof.map(|(number, names)| match number {
            0 => (Proof::Fence, names),
            1 => (Proof::Goodbye, names),
            _ => (Proof::Word, names),
        });
    }

    /// What proves that the node runs nothing.
    pub(super) fn proof(&self) -> Option<Proof> {
        self.proof.map(|(proof, _)| proof)
    }

    /// A fence is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.request.is_some()
    }

    /// Its device has said that it was off when it was not.
    pub(super) fn has_lied(&self) -> bool {
        self.lied
    }

    /// The node was seen since this machine's start.
    pub(super) fn is_seen(&self) -> bool {
        self.seen.is_some()
    }
}

impl Cluster {
    /// An authentic frame of a node came: what it means for its proof and for a fence under way.
    /// Called before anything is taken from the frame, and long before it is answered.
    pub(super) fn heard_of(&mut self, header: &Header, taken: Taken, echo: Option<u64>) {
        self.refute(header, taken, echo);
        let parted = self.is_parting();
        let fence = &mut self.fences[header.node.index()];
        let goodbye = self.peers[header.node.index()].left;
        match taken {
            // Recordings, and what was under way when it was replaced.
            Taken::Stale | Taken::Replaced | Taken::Doubled => return,
            Taken::Fresh(_)
            | Taken::Deaf
            | Taken::Unproven
            | Taken::Twin
            | Taken::Elsewhere
            | Taken::FromTheFuture => {}
        }
        let proven = matches!(taken, Taken::Fresh(_));
        let this = Some(header.incarnation);
        let proves = !matches!(taken, Taken::Unproven | Taken::Twin | Taken::Elsewhere);
        let parting = goodbye && proves;
        if let Some(request) = &mut fence.request {
            request.outlived |= request.names != this;
        }
        let ends = fence.proof.is_some_and(|(_, names)| names != this || !parting);
        if ends && !on(Mutation::KeepsProof) {
            // Its first frames echo nothing of ours yet: that it is not alive is no silence. The
            // same incarnation was not off: it is not spared.
            if fence.proof.is_some_and(|(_, names)| names != this) {
                fence.spared_until = Some(self.now + self.config.dead);
            }
            fence.proof = None;
            self.dirty = true;
        }
        if proven {
            // It is heard both ways: from now on it is judged by what it says.
            fence.spared_until = None;
        }
        if proven && fence.seen != this {
            fence.seen = this;
            self.dirty = true;
        }
        if proven && goodbye && !parted && fence.proof != Some((Proof::Goodbye, this)) {
            fence.proof = Some((Proof::Goodbye, this));
            self.dirty = true;
        }
    }

    /// The very incarnation that was certainly off has heard what we sent after that: it was not.
    fn refute(&mut self, header: &Header, taken: Taken, echo: Option<u64>) {
        let fence = &mut self.fences[header.node.index()];
        let Some((incarnation, since, proof)) = fence.struck else { return };
        let proven = matches!(taken, Taken::Fresh(_) | Taken::Deaf);
        let since_then = echo.is_some_and(|echo| echo > since.micros());
        if proven && since_then && header.incarnation == incarnation {
            fence.struck = None;
            fence.lied |= proof == Proof::Fence;
            self.events.push(Event::Refuted(header.node, proof));
        }
    }

    /// This node is about to say goodbye: whoever said so just now may still take ours.
    pub(super) fn forget_goodbyes(&mut self) {
        // After that our frames are stale to it, whatever both clocks do.
        let hears = self.config.dead + self.config.dead.ratio(3, 98);
        for (fence, peer) in self.fences.iter_mut().zip(&self.peers) {
            let lately = self.now.since(peer.heard_at) <= hears;
            if lately && fence.proof() == Some(Proof::Goodbye) {
                fence.proof = None;
                self.dirty = true;
            }
        }
    }

    /// Whether it is certain that `node` runs nothing.
    pub(super) fn is_proven(&self, node: NodeId) -> bool {
        let silence = on(Mutation::SilenceIsProof) && self.is_silent(node);
        silence || self.fences[node.index()].proof.is_some()
    }

    /// Decides whether a node must be fenced now.
    pub(super) fn watch_fence(&mut self, node: NodeId) {
        if !self.must_fence(node) {
            self.fences[node.index()].wanted = None;
            return;
        }
        if !self.fences[node.index()].is_seen() {
            let fence = &mut self.fences[node.index()];
            if !::core::mem::replace(&mut fence.told_unseen, true) {
                self.events.push(Event::FenceUnseen(node));
            }
            return;
        }
        if self.fences[node.index()].wanted.is_none() {
            self.fences[node.index()].wanted = Some(self.now);
            if !self.shoots_first(node) {
                self.events.push(Event::FenceWaits(node, self.config.fence_delay));
            }
        }
        if self.fence_at(node).is_some_and(|at| self.now >= at) {
            self.fence(node, false);
        }
    }

    /// Whether only force helps: the node is silent or deaf, or cannot stop what it owns, or has
    /// forgotten what it owned.
    fn must_fence(&self, node: NodeId) -> bool {
        if self.config.rule != Rule::Fencing || self.shutting_down || self.is_proven(node) {
            return false;
        }
        // Two machines of one name: the one that we do not listen to may be the one that owns.
        if self.is_disputed(node) {
            return false;
        }
        // What it did before it was off is over.
        if self.spared(node).is_some() {
            return false;
        }
        let peer = &self.peers[node.index()];
        if !peer.alive(self.now, self.config.dead) {
            return self.is_silent(node);
        }
        // A predecessor that is still there would be heard by then.
        let settled =
            peer.renewed_at.is_none_or(|at| self.now.since(at) > self.config.dead.times(2));
        let mut groups = self.config.group_ids();
        groups.any(|id| {
            let blocked = part(&peer.body, id).phase == Phase::Blocked;
            let bound = self.groups[id.index()].binding(self.now);
            let forgotten = bound.is_some_and(|grant| {
                grant.node == node && peer.incarnation.is_some_and(|new| new != grant.incarnation)
            });
            forgotten && settled || blocked && self.config.stop_failure == StopFailure::Fence
        })
    }

    /// Whether what a node said last is over: it was off since.
    pub(super) fn was_off(&self, node: NodeId) -> bool {
        self.is_proven(node) || self.spared(node).is_some()
    }

    /// Until when a node that was off and is heard again may come up in peace.
    fn spared(&self, node: NodeId) -> Option<Instant> {
        self.fences[node.index()].spared_until.filter(|until| self.now < *until)
    }

    /// Whether no frame of a node has been fresh for `dead`, counted only while we are awake and
    /// settled.
    pub(super) fn is_silent(&self, node: NodeId) -> bool {
        let settled = self.ready && self.now >= self.doubt_until;
        settled && !self.peers[node.index()].alive(self.now, self.config.dead)
    }

    /// When the fence of a node is due.
    pub(super) fn fence_at(&self, node: NodeId) -> Option<Instant> {
        let fence = &self.fences[node.index()];
        // Nobody knows what a device switches that has lied.
        let wanted = fence.wanted.filter(|_| fence.request.is_none() && !fence.lied)?;
        let waits = !self.shoots_first(node);
        let at = if waits { wanted + self.config.fence_delay } else { wanted };
        Some(at.max(fence.retry_at.unwrap_or(at)))
    }

    /// The owner of the first group that either owns shoots at once, without one the first node:
    /// the two must not shoot each other.
    fn shoots_first(&self, node: NodeId) -> bool {
        for id in self.config.group_ids() {
            let group = &self.groups[id.index()];
            if group.claim.is_some() && group.phase != Phase::Stopped {
                return true;
            }
            let part = part(&self.peers[node.index()].body, id);
            let owned = part.claim.is_some() && part.phase != Phase::Stopped;
            if owned || group.binding(self.now).is_some_and(|grant| grant.node == node) {
                return false;
            }
        }
        self.config.me < node
    }

    /// Asks for a fence.
    fn fence(&mut self, node: NodeId, by_hand: bool) {
        let peer = self.peers[node.index()].incarnation;
        self.jobs = self.jobs.wrapping_add(1);
        let id = JobId(self.jobs);
        let fence = &mut self.fences[node.index()];
        // After a restart the peer may not have been heard yet: what the memory names is struck.
        let names = peer.or(fence.seen);
        fence.request = Some(Request { id, names, outlived: false, issued: false, by_hand });
        fence.retry_at = None;
        self.events.push(Event::Fencing(node));
    }

    /// The next fence that was not carried out yet.
    pub(super) fn unissued_fence(&mut self) -> Option<(NodeId, JobId)> {
        for node in self.config.others() {
            if let Some(request) = &mut self.fences[node.index()].request
                && !request.issued
            {
                request.issued = true;
                return Some((node, request.id));
            }
        }
        None
    }

    /// The answer to a fence.
    pub(super) fn fenced(&mut self, node: NodeId, id: JobId, outcome: Fenced) {
        let retry = self.now + self.config.fence_retry;
        let fence = &mut self.fences[node.index()];
        let Some(request) = fence.request.filter(|request| request.id == id) else {
            self.counters.outdated_reports += 1;
            return;
        };
        fence.request = None;
        match outcome {
            Fenced::Failed => {
                fence.retry_at = Some(retry);
                self.events.push(Event::FenceFailed(node));
            }
            Fenced::Confirmed if request.outlived && !on(Mutation::LateFence) => {
                self.events.push(Event::FenceLate(node));
            }
            // It lied while this one was under way.
            Fenced::Confirmed if fence.lied && !request.by_hand => {}
            Fenced::Confirmed => {
                fence.lied = false;
                fence.wanted = None;
                self.prove(node, Proof::Fence, request.names);
            }
        }
    }

    /// It is certain now that this incarnation of a node runs nothing: its votes are void.
    fn prove(&mut self, node: NodeId, proof: Proof, names: Option<Incarnation>) {
        self.fences[node.index()].proof = Some((proof, names));
        self.fences[node.index()].struck = names.map(|names| (names, self.now, proof));
        for group in &mut self.groups {
            group.votes[node.index()] = None;
            let struck = |grant: &super::group::Grant| {
                let exact = names == Some(grant.incarnation);
                grant.node == node && (exact || self.config.rule != Rule::Majority)
            };
            if group.grant.as_ref().is_some_and(struck) {
                group.grant = None;
            }
        }
        self.dirty = true;
        self.urgent = true;
        self.events.push(Event::Proven(node, proof));
    }

    /// `latido fence`: now, whatever the rule and the node's state.
    pub(super) fn fence_by_hand(&mut self, node: NodeId) -> Reply {
        self.other_node(node)?;
        if self.fences[node.index()].is_under_way() {
            return Err(Refusal::Fencing(node));
        }
        self.fence(node, true);
        Ok(())
    }

    /// `latido confirm-dead`: the operator vouches that the node runs nothing.
    pub(super) fn confirm_dead(&mut self, node: NodeId) -> Reply {
        self.other_node(node)?;
        if self.config.rule == Rule::Majority {
            return Err(Refusal::WordDoesNotCount);
        }
        let peer = &self.peers[node.index()];
        if peer.speaks(self.now, self.config.dead) {
            return Err(Refusal::NodeIsThere(node));
        }
        let names = peer.incarnation.or(self.fences[node.index()].seen);
        self.prove(node, Proof::Word, names);
        Ok(())
    }

    fn other_node(&self, node: NodeId) -> Reply {
        let known = self.config.others().any(|other| other == node);
        if known { Ok(()) } else { Err(Refusal::NoSuchNode(node)) }
    }

    /// What falls due for a node's fence.
    pub(super) fn fence_deadline(&self, node: NodeId) -> Option<(Instant, Timer)> {
        self.fence_at(node).or(self.spared(node)).map(|at| (at, Timer::Fence))
    }

    /// Whether this machine must be reset because `group` cannot be stopped in time: when.
    pub(super) fn reset_due(&self, group: GroupId) -> Option<Instant> {
        let state = &self.groups[group.index()];
        if state.phase == Phase::Stopped || state.phase == Phase::Unknown {
            return None;
        }
        if state.reset_now {
            return Some(self.now);
        }
        self.config.reset_at(group, self.lease_until(group)?)
    }

    /// Resets this machine once for each stop that does not make it.
    pub(super) fn watch_reset(&mut self, group: GroupId) {
        let due = self.reset_due(group).is_some_and(|at| self.now >= at);
        let state = &mut self.groups[group.index()];
        let told = ::core::mem::replace(&mut state.reset_told, due);
        if due && !told {
            state.reset_unissued = true;
            self.events.push(Event::Reset(group));
        }
    }

    /// Whether the watchdog may be petted: no lease of what is not stopped ends within its timeout.
    pub(super) fn may_pet(&self) -> bool {
        let Some(timeout) = self.config.watchdog else { return false };
        let timeout =
            if on(Mutation::PetsToTheEnd) { super::time::Duration::ZERO } else { timeout };
        let lasts = |id: GroupId| {
            let group = &self.groups[id.index()];
            let end = match (group.phase, self.config.rule) {
                (Phase::Stopped, _) => return true,
                (_, Rule::AssumeDead | Rule::Fencing) => return !group.reset_now,
                (Phase::Unknown, Rule::Majority) => group.adoptable.map(|(_, held)| held),
                (_, Rule::Majority) => self.lease_until(id),
            };
            end.is_some_and(|end| self.now + timeout <= end)
        };
        self.config.group_ids().all(lasts)
    }
}
