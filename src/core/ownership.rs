//! Who owns a group: claims, starts, stops, releases. The invariants stand in `decide`.
use super::cluster::Cluster;
use super::config::{Rule, StopFailure};
use super::group::{Claim, JobKind, part};
use super::id::{GroupId, JobId, NodeId, Term};
use super::io::{Event, Held, NodeState, Outcome, Phase, Reason, StopReason, Timer};
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};

/// A node that failed to start a group does not try again for so long, unless it is told to.
const FAILURE_FORGOTTEN: Duration = Duration::from_millis(300_000);
/// A blocked stop is tried again after so long.
const BLOCKED_RETRY: Duration = Duration::from_millis(30_000);
/// A group lost so many failback delays after its failback makes the next one wait twice as long.
const STEADY_FACTOR: u64 = 10;

impl Cluster {
    /// One step of `group`: what follows from the tables now.
    pub(super) fn decide(&mut self, id: GroupId) {
        self.forget_old(id);
        self.watch_blindness(id);
        if self.config.rule == Rule::Majority {
            self.look_again(id);
        }
        self.watch_owner(id);
        self.watch_better(id);
        self.watch_connected(id);
        self.watch_doubt(id);
        self.watch_reset(id);
        match self.groups[id.index()].phase {
            Phase::Unknown => {
                if self.groups[id.index()].job.is_none() {
                    self.order(id, JobKind::Probe);
                }
            }
            Phase::Stopped => self.decide_stopped(id),
            Phase::Starting | Phase::Running => self.decide_up(id),
            Phase::Stopping => {}
            Phase::Blocked => {
                if self.groups[id.index()].retry_at.is_some_and(|at| self.now >= at) {
                    self.groups[id.index()].retry_at = None;
                    self.stop(id, StopReason::Again);
                }
            }
        }
    }

    fn decide_stopped(&mut self, id: GroupId) {
        if self.groups[id.index()].claim.is_none() {
            if self.should_claim(id) {
                let reason = self.claim_reason(id);
                self.claim(id, reason);
                self.events.push(Event::Claim(id, self.groups[id.index()].term, reason));
            } else {
                self.tell_nobody(id);
                return;
            }
        }
        if self.waits_for_blind(id)
            && let Some(claim) = &mut self.groups[id.index()].claim
        {
            claim.waits_since = self.now;
        }
        if !self.claim_stands(id) || self.score(id) == 0 {
            self.withdraw(id);
        } else if self.may_take(id) {
            self.start(id);
        } else if self.claim_expired(id) {
            self.withdraw(id);
            let pause = self.one_to_two(self.claim_lasts(id));
            self.groups[id.index()].back_off_until = Some(self.now + pause);
        }
    }

    fn decide_up(&mut self, id: GroupId) {
        if !self.keeps(id) {
            return self.stop(id, StopReason::LeaseOver);
        }
        if let Some((term, rival, up)) = self.rival(id) {
            let ours = self.groups[id.index()].claim.map_or(Term::default(), |claim| claim.term);
            let met = self.groups[id.index()].rival.replace(rival) != Some(rival);
            if met {
                let held = self.held(id, rival);
                self.events.push(Event::Rival(id, rival, ours.max(term), held));
            }
            if up && term > ours {
                return self.stop(id, StopReason::Rival(rival));
            }
            self.groups[id.index()].announce |= met;
        } else if self.groups[id.index()].rival.take().is_some() {
            // The rival has let go: whoever it misled must learn the way back.
            self.groups[id.index()].announce = true;
        }
        if self.shutting_down {
            return self.stop(id, StopReason::Shutdown);
        }
        if self.groups[id.index()].phase == Phase::Running && self.should_hand_over(id).is_some() {
            let connected = self.connected_at(id).is_some_and(|at| self.now >= at);
            let reason = if connected { StopReason::Connected } else { StopReason::HandOver };
            if !connected {
                self.groups[id.index()].handed_back = Some(self.now);
            }
            self.stop(id, reason);
        }
    }

    /// Another node that is there and owns the group too, only where no majority rules: its term,
    /// and whether it means to keep it.
    fn rival(&self, id: GroupId) -> Option<(Term, NodeId, bool)> {
        if self.config.rule == Rule::Majority {
            // The other's lease has ended or ours has; whose, the votes say.
            return None;
        }
        let owns = |node: NodeId| {
            let peer = &self.peers[node.index()];
            let part = part(&peer.body, id);
            let up = match part.phase {
                Phase::Starting | Phase::Running => true,
                Phase::Stopping | Phase::Blocked => false,
                Phase::Unknown | Phase::Stopped => return None,
            };
            let there = peer.speaks(self.now, self.config.dead) && !self.was_off(node);
            (there && part.claim.is_some()).then_some((part.term, node, up))
        };
        self.config.others().filter_map(owns).max()
    }

    /// How long this node and a rival have owned a group.
    fn held(&self, id: GroupId, rival: NodeId) -> Held {
        let claim = self.groups[id.index()].claim;
        let theirs = part(&self.peers[rival.index()].body, id).claim;
        Held {
            ours: claim.map(|claim| self.now.since(claim.since)).unwrap_or_default(),
            theirs: theirs.map(|claim| Duration::from_micros(claim.behind)).unwrap_or_default(),
        }
    }

    fn should_claim(&self, id: GroupId) -> bool {
        let state = &self.groups[id.index()];
        let backing_off = state.back_off_until.is_some_and(|until| self.now < until);
        if !self.ready || self.shutting_down || backing_off || !self.may_claim(id) {
            return false;
        }
        let told = self.told(id);
        let free = |node: NodeId| {
            let peer = &self.peers[node.index()];
            if self.is_gone(node) {
                return self.doubt(id, node).is_none();
            }
            let part = part(&peer.body, id);
            let known = peer.speaks(self.now, self.config.dead);
            known
                && part.claim.is_none()
                && part.phase == Phase::Stopped
                && (told || !self.differs(node))
        };
        if !self.config.others().all(free) {
            return false;
        }
        // The best candidate claims; another one only when that one lets its time pass.
        let Some(place) = self.place_in_line(id) else { return false };
        let waited = self.free_since(id).map_or(Duration::ZERO, |since| self.now.since(since));
        waited >= self.patience().times(place)
    }

    /// Since when nobody claims the group and this node could.
    fn free_since(&self, id: GroupId) -> Option<Instant> {
        let blind = self.blind_until(id, Duration::ZERO);
        self.groups[id.index()].free_since.map(|since| blind.map_or(since, |end| since.max(end)))
    }

    /// How long a better placed node is waited for.
    fn patience(&self) -> Duration {
        self.config.dead + self.config.interval.times(2)
    }

    /// How long a claim stands without its votes.
    fn claim_lasts(&self, id: GroupId) -> Duration {
        match self.config.rule {
            Rule::AssumeDead | Rule::Fencing => self.patience(),
            // The votes may be bound to the former owner for so long, by its lease or ours.
            Rule::Majority => {
                let bound = self.groups[id.index()].grant.map(|grant| grant.lease);
                self.config.lease(id).max(bound.unwrap_or_default())
            }
        }
    }

    fn claim_expired(&self, id: GroupId) -> bool {
        let since = self.groups[id.index()].claim.map(|claim| claim.waits_since);
        since.is_some_and(|since| self.now.since(since) >= self.claim_lasts(id))
    }

    fn claim(&mut self, id: GroupId, reason: Reason) {
        let (now, me) = (self.now, self.config.me);
        let group = &mut self.groups[id.index()];
        let more = u32::from(!on(Mutation::TermReused));
        let term = Term { count: group.term.count.saturating_add(more), node: me };
        group.term = term;
        group.claim = Some(Claim { number: None, since: now, waits_since: now, term });
        group.forget_votes();
        if self.own_vote_is_free(id) {
            self.grant_self(id);
        }
        let group = &mut self.groups[id.index()];
        group.pinned = group.wanted.take().is_some_and(|(_, pin)| pin);
        group.declined &= matches!(reason, Reason::Free);
        group.hand_back = false;
        group.free_since = None;
        self.count_unsteady(id, reason);
        self.dirty = true;
        self.urgent = true;
    }

    fn claim_reason(&self, id: GroupId) -> Reason {
        match self.groups[id.index()].last_owner {
            None => Reason::Free,
            Some(owner) if self.peers[owner.index()].told == NodeState::Dead => {
                Reason::OwnerDead(owner)
            }
            Some(_) => Reason::HandedOver,
        }
    }

    /// A group that comes back soon after its failback makes the next failback wait longer.
    fn count_unsteady(&mut self, id: GroupId, reason: Reason) {
        let steady = self.config.failback_delay.times(STEADY_FACTOR);
        let group = &mut self.groups[id.index()];
        let Some(handed) = group.handed_back.take() else { return };
        let soon = self.now.since(handed) < steady;
        group.unsteady = match reason {
            Reason::OwnerDead(_) if soon => group.unsteady.saturating_add(1),
            _ => 0,
        };
    }

    /// Takes a claim back that never got as far as a start.
    pub(super) fn withdraw(&mut self, id: GroupId) {
        let group = &mut self.groups[id.index()];
        if group.claim.take().is_some() {
            self.events.push(Event::ClaimWithdrawn(id));
        }
        group.forget_votes();
        if group.grant.is_some_and(|grant| grant.node == self.config.me) {
            group.grant = None;
        }
        self.dirty = true;
        self.urgent = true;
    }

    fn start(&mut self, id: GroupId) {
        // Votes may be old by the time that all are there: what the watchdog, petted until now,
        // would end too late is not begun before they are renewed.
        if self.config.rule == Rule::Majority
            && let Some(timeout) = self.config.watchdog
            && self.lease_until(id).is_none_or(|end| end < self.now + timeout)
        {
            return;
        }
        let group = &mut self.groups[id.index()];
        // Whoever voted may have told of a later ownership than we knew when we claimed.
        if let Some(claim) = &mut group.claim
            && self.config.rule == Rule::Majority
            && group.term > claim.term
        {
            claim.term = Term { count: group.term.count.saturating_add(1), node: self.config.me };
            group.term = claim.term;
            // Begun only once it is written down: it must not come again.
            if let Some(grant) = &mut group.grant {
                grant.saved = false;
            }
            self.dirty = true;
            self.urgent = true;
            return;
        }
        let term = group.claim.map_or(Term::default(), |claim| claim.term);
        self.groups[id.index()].phase = Phase::Starting;
        self.groups[id.index()].last_owner = Some(self.config.me);
        self.order(id, JobKind::Start);
        self.dirty = true;
        self.urgent = true;
        self.events.push(Event::Starting(id, term));
    }

    fn stop(&mut self, id: GroupId, reason: StopReason) {
        self.groups[id.index()].phase = Phase::Stopping;
        self.order(id, JobKind::Stop(reason));
        self.urgent = true;
        self.events.push(Event::Stopping(id, reason));
    }

    /// The answer to a job.
    pub(super) fn report(&mut self, id: GroupId, job: JobId, outcome: Outcome) {
        let group = &mut self.groups[id.index()];
        let Some(known) = group.job.filter(|known| known.id == job) else {
            self.counters.outdated_reports += 1;
            return;
        };
        group.job = None;
        match known.kind {
            JobKind::Probe => self.probed(id, outcome),
            JobKind::Start | JobKind::Adopt => match outcome {
                Outcome::Running if known.kind == JobKind::Adopt => {}
                Outcome::Running => {
                    group.phase = Phase::Running;
                    let term = group.claim.map_or(Term::default(), |claim| claim.term);
                    self.urgent = true;
                    self.dirty = true;
                    self.events.push(Event::Running(id, term));
                }
                Outcome::Stopped | Outcome::Partial | Outcome::Failed => {
                    group.failed_until = Some(self.now + FAILURE_FORGOTTEN);
                    self.events.push(Event::StartFailed(id));
                    self.stop(id, StopReason::StartFailed);
                }
            },
            JobKind::Stop(_) => match outcome {
                Outcome::Stopped => self.release(id),
                Outcome::Running | Outcome::Partial | Outcome::Failed => self.stop_failed(id),
            },
        }
    }

    fn probed(&mut self, id: GroupId, outcome: Outcome) {
        let newest = self.groups[id.index()].term;
        let adoptable = self.groups[id.index()].adoptable.take();
        let ours = adoptable.filter(|(term, held)| match self.config.rule {
            // A higher term: while we were away somebody else became the owner.
            Rule::AssumeDead | Rule::Fencing => *term >= newest,
            // A higher term is only a wish as long as our predecessor's lease runs.
            Rule::Majority => self.now + self.config.stop_budget(id) < *held,
        });
        match (outcome, ours) {
            (Outcome::Stopped, _) => self.release(id),
            (Outcome::Running, Some((term, held))) if self.own_vote_is_free(id) => {
                self.adopt(id, term, held);
            }
            (Outcome::Running | Outcome::Partial | Outcome::Failed, _) => {
                self.stop(id, StopReason::Leftover);
            }
        }
    }

    /// What our predecessor owned still runs, and its vouching is not over: it goes on.
    fn adopt(&mut self, id: GroupId, term: Term, held: Instant) {
        let (pinned, newest) = (self.groups[id.index()].pinned, self.groups[id.index()].term);
        self.claim(id, Reason::Free);
        // Not for longer than the voters are bound to us once they have heard our claim: it may ask
        // for a shorter lease than our predecessor's did.
        let whole = self.now + self.config.counted(id);
        let inherited = if on(Mutation::AdoptsAfresh) { whole } else { held.min(whole) };
        let group = &mut self.groups[id.index()];
        group.inherited = (self.config.rule == Rule::Majority).then_some(inherited);
        group.pinned = pinned;
        group.phase = Phase::Running;
        group.last_owner = Some(self.config.me);
        // The same ownership goes on: no new term.
        group.term = term.max(newest);
        if let Some(claim) = &mut group.claim {
            claim.term = term;
        }
        // What runs is not started again, but whoever keeps it alive must know that it is ours.
        self.order(id, JobKind::Adopt);
        self.events.push(Event::Adopted(id, term));
    }

    /// Nothing of the group runs here: whoever may have it is told at once.
    fn release(&mut self, id: GroupId) {
        let group = &mut self.groups[id.index()];
        let owned = group.claim.take().is_some();
        group.phase = Phase::Stopped;
        group.reset_now = false;
        group.forget_votes();
        group.rival = None;
        group.hand_back = false;
        group.pinned = false;
        group.free_since = Some(self.now);
        if group.grant.is_some_and(|grant| grant.node == self.config.me) {
            group.grant = None;
        }
        self.dirty = true;
        self.urgent = true;
        if owned {
            self.events.push(Event::Released(id));
        }
    }

    fn stop_failed(&mut self, id: GroupId) {
        let release = self.config.stop_failure == StopFailure::Release;
        self.events.push(Event::StopFailed(id, release));
        self.groups[id.index()].failed_until = Some(self.now + FAILURE_FORGOTTEN);
        if release {
            self.release(id);
        } else {
            self.groups[id.index()].phase = Phase::Blocked;
            self.groups[id.index()].retry_at = Some(self.now + BLOCKED_RETRY);
            self.groups[id.index()].reset_now = self.config.stop_failure == StopFailure::Reset;
            self.urgent = true;
        }
    }

    fn forget_old(&mut self, id: GroupId) {
        let now = self.now;
        let over = |at: &mut Option<Instant>| {
            if at.is_some_and(|at| now >= at) {
                *at = None;
            }
        };
        let group = &mut self.groups[id.index()];
        over(&mut group.failed_until);
        over(&mut group.back_off_until);
        if group.wanted.is_some_and(|(until, _)| now >= until) {
            group.wanted = None;
        }
    }

    /// Notes since when nobody claims the group.
    fn watch_owner(&mut self, id: GroupId) {
        let claims = |node: NodeId| {
            let peer = &self.peers[node.index()];
            part(&peer.body, id).claim.is_some() && !self.is_gone(node)
        };
        let claimed = self.groups[id.index()].claim.is_some() || self.config.others().any(claims);
        let group = &mut self.groups[id.index()];
        if claimed {
            group.free_since = None;
            group.told_nobody = false;
        } else if group.free_since.is_none() {
            group.free_since = Some(self.now);
        }
    }

    fn tell_nobody(&mut self, id: GroupId) {
        let group = &self.groups[id.index()];
        let told = group.free_since.is_none() || group.told_nobody;
        if told || !self.ready || self.shutting_down || self.is_blind(id) {
            return;
        }
        if self.candidates(id).is_empty() {
            self.groups[id.index()].told_nobody = true;
            self.events.push(Event::NobodyAble(id));
        }
    }

    /// What falls due for a group.
    pub(super) fn group_deadlines(&self, id: GroupId) -> [Option<(Instant, Timer)>; 13] {
        let group = &self.groups[id.index()];
        let placement = |at: Option<Instant>| at.map(|at| (at, Timer::Placement));
        let failback = self.failback_at(id);
        let turn = self.free_since(id).filter(|_| group.claim.is_none()).map(|since| {
            let in_line = self.place_in_line(id).unwrap_or_default();
            since + self.patience().times(in_line)
        });
        let claim = group.claim.filter(|_| group.phase == Phase::Stopped);
        let lease = |at: Instant| (at, Timer::Lease);
        [
            placement(group.failed_until),
            placement(group.back_off_until),
            placement(group.wanted.map(|(until, _)| until)),
            placement(group.retry_at),
            placement(failback),
            placement(turn),
            claim.map(|claim| lease(claim.waits_since + self.claim_lasts(id))),
            group.grant.map(|grant| lease(grant.until)),
            self.lease_until(id).map(|end| lease(end - self.config.stop_budget(id))),
            self.blind_until(id, Duration::ZERO).map(lease),
            self.guard_deadline(id),
            self.reset_due(id).map(|at| (at, Timer::Fence)),
            self.connected_at(id).map(|at| (at, Timer::Placement)),
        ]
    }
}
