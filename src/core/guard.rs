//! The guards of `assume-dead`: before a silent node is presumed dead, the LAN is asked for its
//! addresses, and the references for an answer.
//!
//! Asking begins when the node becomes late, so that the answers are there when it would be dead.
use super::cluster::Cluster;
use super::config::Rule;
use super::id::{GroupId, GroupSet, NodeId};
use super::io::{Doubt, Event, NodeState, Output, Timer};
use super::time::{Duration, Instant};

/// Whoever still answers after so long is asked at leisure.
const PATIENT_AFTER: Duration = Duration::from_millis(2_000);
/// At leisure: this long without an answer is believed.
const PATIENT_WINDOW: Duration = Duration::from_millis(1_000);

/// A heartbeat wire is believed until a node has been silent for so many times `dead`.
const WIRE_PATIENCE: u64 = 3;

/// What the guards know.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Guard {
    /// References that this node reaches.
    pub(super) references: u8,
    /// Since when the LAN and the references are asked.
    asking: Option<Instant>,
    /// References that have answered since.
    confirmed: u8,
    /// For whose addresses.
    groups: GroupSet,
    /// What the outside was told last.
    told: (bool, GroupSet, Duration),
}

impl Cluster {
    /// Begins or ends asking.
    pub(super) fn watch_guard(&mut self) {
        let silent = self.config.rule == Rule::AssumeDead
            && !self.shutting_down
            && self.config.others().any(|node| self.looks_dead(node));
        let mut groups = GroupSet::EMPTY;
        if silent {
            let stopped = |id: &GroupId| self.groups[id.index()].phase == super::io::Phase::Stopped;
            let asked =
                |id: &GroupId| self.config.groups.get(id.index()).is_some_and(|group| group.ask);
            let groups_asked = self.config.group_ids().filter(stopped).filter(asked);
            groups = groups_asked.fold(groups, GroupSet::with);
        }
        // Whoever runs everything already needs to know nothing.
        let takes = self.config.group_ids().any(|id| {
            self.groups[id.index()].phase == super::io::Phase::Stopped && self.score(id) > 0
        });
        let wanted = silent && takes && (!groups.is_empty() || self.told_references() > 0);
        if !wanted {
            groups = GroupSet::EMPTY;
            self.guard.asking = None;
        } else if self.guard.asking.is_none() {
            self.guard.asking = Some(self.now);
            self.guard.confirmed = 0;
        }
        for id in self.config.group_ids() {
            let asked = groups.contains(id);
            let group = &mut self.groups[id.index()];
            if !asked {
                group.asked_since = None;
                group.answered = None;
            } else if group.asked_since.is_none() {
                group.asked_since = Some(self.now);
            }
        }
        self.guard.groups = groups;
    }

    /// Whether a node is late or worse, or has hung up, and nothing proves why: what it owns may
    /// soon be taken.
    fn looks_dead(&self, node: NodeId) -> bool {
        let waiting = !self.ready
            && self.now.since(self.started) + self.config.ask_window() < self.config.initial_dead;
        let peer = &self.peers[node.index()];
        if peer.unanswered.is_some() && !peer.left {
            return !self.is_proven(node);
        }
        match peer.state(self.now, self.config.warn, self.config.dead, waiting) {
            NodeState::Late | NodeState::Dead => !self.is_proven(node),
            NodeState::Unknown | NodeState::Seen | NodeState::Alive | NodeState::Left => false,
        }
    }

    /// When asking begins although `initial dead` is not over.
    pub(super) fn asks_before_ready(&self) -> Option<Instant> {
        let early = self.started + (self.config.initial_dead - self.config.ask_window());
        (self.config.rule == Rule::AssumeDead && !self.ready).then_some(early)
    }

    /// The most references that a silent node said it reaches.
    fn told_references(&self) -> u8 {
        let told = |node: NodeId| self.peers[node.index()].body.references;
        self.config.others().map(told).max().unwrap_or_default().max(self.config.references)
    }

    /// What is still to be told of asking.
    pub(super) fn ask(&mut self) -> Option<Output> {
        let on = self.guard.asking.is_some();
        let groups = if on { self.guard.groups } else { GroupSet::EMPTY };
        let every = self.window().ratio(1, 4);
        let tell = (on, groups, if on { every } else { Duration::ZERO });
        if self.guard.told == tell {
            return None;
        }
        self.guard.told = tell;
        Some(Output::Ask { on, groups, every })
    }

    /// Somebody answered for an address of a group. Always worth a decision.
    pub(super) fn answered(&mut self, group: GroupId) -> bool {
        let now = self.now;
        let group = &mut self.groups[group.index()];
        group.answered = group.asked_since.map(|_| now);
        true
    }

    /// So many references have answered since asking began.
    pub(super) fn confirmed(&mut self, references: u8) {
        if self.guard.asking.is_some() && references > self.guard.confirmed {
            self.guard.confirmed = references;
            self.ask_anew();
        }
    }

    /// This node is better connected than it was: that the LAN was silent until now says nothing.
    fn ask_anew(&mut self) {
        for group in &mut self.groups {
            group.asked_since = group.asked_since.map(|_| self.now);
        }
    }

    /// This node reaches so many references now.
    pub(super) fn reaches(&mut self, references: u8) {
        self.urgent |= self.guard.references != references;
        if references > self.guard.references {
            self.ask_anew();
        }
        self.guard.references = references;
    }

    /// Why a silent `node` is not presumed dead as far as `id` goes, if it is not.
    pub(super) fn doubt(&self, id: GroupId, node: NodeId) -> Option<Doubt> {
        let peer = &self.peers[node.index()];
        if self.config.rule != Rule::AssumeDead || peer.left || self.is_proven(node) {
            return None;
        }
        // Whoever was never heard is granted one, if there are any: reaching none, it is us.
        let theirs = match peer.incarnation {
            Some(_) => peer.body.references,
            None => self.config.references.min(1),
        };
        let ours = self.guard.references.min(self.guard.confirmed);
        if theirs > ours {
            return Some(Doubt::References(ours, theirs));
        }
        if self.beats(node) {
            return Some(Doubt::Beats);
        }
        let since = self.unanswered_since(id)?;
        (self.now < since + self.window()).then_some(Doubt::Answers)
    }

    /// Whether a silent node's loop turns, by its heartbeat wire. That delays and no more: a node
    /// whose every link is gone serves nobody, and cannot be told so.
    fn beats(&self, node: NodeId) -> bool {
        let (peer, dead) = (&self.peers[node.index()], self.config.dead);
        let silent = self.now.since(peer.heard_at.max(self.started));
        let turns = peer.beat.is_some_and(|at| self.now < at + dead);
        turns && silent < dead.ratio(WIRE_PATIENCE, 1)
    }

    /// How long nobody must have answered.
    fn window(&self) -> Duration {
        let long = self.guard.asking.is_some_and(|since| self.now.since(since) >= PATIENT_AFTER);
        if long { PATIENT_WINDOW } else { self.config.ask_window() }
    }

    /// Since when nobody answers for the group's addresses, although they are asked for.
    fn unanswered_since(&self, id: GroupId) -> Option<Instant> {
        let asked = self.config.groups.get(id.index()).is_some_and(|group| group.ask);
        if !asked {
            return None;
        }
        let group = &self.groups[id.index()];
        Some(group.answered.max(group.asked_since).unwrap_or(self.now))
    }

    /// When the group's addresses have been silent for long enough, if nobody answers until then.
    pub(super) fn guard_deadline(&self, id: GroupId) -> Option<(Instant, Timer)> {
        let group = &self.groups[id.index()];
        let since = group.answered.max(group.asked_since)?;
        Some((since + self.window(), Timer::Silence))
    }

    /// Notes and tells what holds this node back from taking `id` from a silent node.
    pub(super) fn watch_doubt(&mut self, id: GroupId) {
        let asked =
            self.guard.asking.is_some() || self.config.others().any(|node| self.beats(node));
        if self.config.rule != Rule::AssumeDead || !asked {
            self.groups[id.index()].held_back = None;
            return;
        }
        let candidate = self.groups[id.index()].claim.is_none()
            && self.ready
            && self.rank(id, self.config.me).is_some();
        let doubted = |node: &NodeId| {
            let silent = self.now >= self.doubt_until && !self.peers[node.index()].left;
            silent && !self.peers[node.index()].speaks(self.now, self.config.dead)
        };
        let mut others = self.config.others().filter(doubted);
        let held = others.find_map(|node| Some((node, self.doubt(id, node)?)));
        let held = held.filter(|_| candidate);
        // The first window is nobody's answer yet.
        let answered = self.groups[id.index()].answered.is_some();
        let held = held.filter(|(_, doubt)| *doubt != Doubt::Answers || answered);
        let before = ::core::mem::replace(&mut self.groups[id.index()].held_back, held);
        if let Some((node, doubt)) = held
            && before.map(|(_, doubt)| ::core::mem::discriminant(&doubt))
                != Some(::core::mem::discriminant(&doubt))
        {
            self.events.push(Event::HeldBack(id, node, doubt));
        }
    }
}
