//! One node of the cluster: the one door in, the one door out.
//!
//! ```text
//!  handle ─► frame ─► peer (fresh? newest?) ─► grants ─┐
//!         ├► report ─► group ──────────────────────────┤
//!         ├► command ──────────────────────────────────┼─► turn: silence, votes, ownership
//!         └► tick, link, able ─────────────────────────┘            │
//!  poll  ◄── Remember ◄ Stop ◄ Transmit ◄ Start ◄ … ◄───────────────┘
//! ```
//!
//! Routes only; the rules live in `peer`, `voter`, `ownership`, `placement` and `command`.
use super::config::{Config, Identity, Rule};
use super::events::Events;
use super::fence::Fence;
use super::group::{Group, Job, JobKind};
use super::guard::Guard;
use super::hangup::HungUp;
use super::id::{GroupId, Incarnation, JobId, LinkId, LinkSet, NodeId, NodeSet};
use super::io::{
    Counters, Deadline, Event, Input, LinkState, NodeState, Output, Reply, Timer, Watchdog,
};
use super::leases::Leases;
use super::limits::{FRAME_MAX, GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use super::mutation::{Mutation, on};
use super::peer::{Judge, Peer, Taken};
use super::quality::Reception;
use super::rekey::Trying;
use super::strangers::Strangers;
use super::time::{Duration, Instant};
use super::wire::{Body, DecodeError, FrameBuf, Header};

/// One more than the goodbye frames: one may be lost, all of them hardly.
const GOODBYES: u8 = 4;

/// The state machine of one node.
#[derive(Clone)]
pub struct Cluster {
    pub(super) config: Config,
    pub(super) incarnation: Incarnation,
    pub(super) predecessor: Option<Incarnation>,
    pub(super) now: Instant,
    pub(super) started: Instant,
    pub(super) peers: [Peer; VOTERS_MAX],
    pub(super) groups: [Group; GROUPS_MAX],
    pub(super) links_up: LinkSet,
    pub(super) hung_up: HungUp,
    pub(super) standby: bool,
    pub(super) shutting_down: bool,
    pub(super) ready: bool,
    /// After a pause no silence is believed before then.
    pub(super) doubt_until: Instant,
    pub(super) urgent: bool,
    pub(super) dirty: bool,
    pub(super) events: Events,
    pub(super) counters: Counters,
    pub(super) next_beat: Instant,
    /// What falls due next by the tables, since the last turn.
    pub(super) due: Deadline,
    pub(super) beats: u64,
    /// Sequence number of the last frame sent.
    pub(super) sent: u64,
    /// A frame of ours was heard that we have not sent.
    pub(super) cloned: bool,
    pub(super) restart_told: bool,
    pub(super) goodbyes: u8,
    pub(super) exit_told: bool,
    pub(super) reply: Option<(u32, Reply)>,
    pub(super) jobs: u32,
    pub(super) random: u64,
    pub(super) told_links: [[Told; LINKS_MAX]; VOTERS_MAX],
    pub(super) told_differs: [bool; VOTERS_MAX],
    pub(super) fences: [Fence; VOTERS_MAX],
    pub(super) guard: Guard,
    /// Every node was heard showing this list of voters, now or at an earlier start.
    pub(super) in_force: bool,
    pub(super) force_untold: bool,
    /// Nodes that were heard showing it.
    pub(super) showing: NodeSet,
    pub(super) leases: Leases,
    /// The memory is being written.
    pub(super) remembering: bool,
    /// The memory could not be written: tried again then.
    pub(super) unsaved_until: Option<Instant>,
    /// The watchdog is to be petted.
    pub(super) pet: bool,
    /// Another machine had our name and is gone: a new incarnation is drawn then.
    pub(super) renew_at: Option<Instant>,
    pub(super) renew_told: bool,
    /// Nodes with a dispute about a name that was told of.
    pub(super) told_disputed: NodeSet,
    pub(super) trying: Option<Trying>,
    pub(super) strangers: Strangers,
    /// What the last frame has shown.
    pub(super) reception: Option<Reception>,
}

/// What was last told of a path, and since when it is otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    state: LinkState,
    otherwise: Option<(LinkState, Instant)>,
}

impl Cluster {
    /// A node that has just started at `now`.
    pub fn new(config: Config, identity: &Identity<'_>, now: Instant) -> Cluster {
        let mut cluster = Cluster {
            incarnation: identity.incarnation,
            predecessor: None,
            now,
            started: now,
            peers: Default::default(),
            groups: Default::default(),
            links_up: LinkSet::EMPTY,
            hung_up: HungUp::default(),
            standby: false,
            shutting_down: false,
            ready: false,
            doubt_until: now,
            urgent: false,
            dirty: true,
            events: Events::default(),
            counters: Counters::default(),
            next_beat: now,
            due: Deadline { at: now, timer: Timer::InitialDead },
            beats: 0,
            sent: now.micros(),
            cloned: false,
            restart_told: false,
            goodbyes: GOODBYES,
            exit_told: false,
            reply: None,
            jobs: 0,
            random: identity.seed | 1,
            told_links: Default::default(),
            told_differs: [false; VOTERS_MAX],
            fences: Default::default(),
            guard: Guard::default(),
            in_force: config.in_force || config.rule != Rule::Majority,
            force_untold: false,
            showing: NodeSet::EMPTY,
            leases: Leases::EMPTY,
            remembering: false,
            unsaved_until: None,
            pet: false,
            renew_at: None,
            renew_told: false,
            told_disputed: NodeSet::EMPTY,
            trying: None,
            strangers: Strangers::default(),
            reception: None,
            config,
        };
        cluster.know_own_leases();
        for group in &mut cluster.groups {
            group.able = true;
            // Two voters grant by presumption anyway: under `assume-dead` forgetting costs nothing
            // that is not lost already.
            group.forgotten = (cluster.config.rule == Rule::Majority).then_some(now);
        }
        if let Some(memory) = identity.memory {
            cluster.recall(memory, &identity.held_until);
        }
        cluster.turn();
        cluster
    }

    /// Takes one input. Never fails, does bounded work; drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        let now = now.max(self.now);
        self.leases.awake = true;
        self.notice_pause(now);
        let mut changed = now > self.now;
        self.now = now;
        let saved = !matches!(input, Input::NotRemembered) && self.remembered();
        match input {
            Input::Tick => {}
            // A flood of worthless frames costs no decisions before some are due.
            Input::Frame { link, bytes } => changed = self.frame(link, bytes),
            Input::Link { link, up } => changed |= self.link(link, up),
            Input::HungUp { link } => changed |= self.hang_up(link),
            Input::Able { group, able } => {
                // The others count on it: told at once.
                let before = ::core::mem::replace(&mut self.groups[group.index()].able, able);
                self.urgent |= before != able;
                changed = true;
            }
            Input::Report { group, job, outcome } => {
                self.report(group, job, outcome);
                changed = true;
            }
            Input::Fenced { node, request, outcome } => {
                self.fenced(node, request, outcome);
                changed = true;
            }
            Input::References { reached } => {
                self.reaches(reached);
                changed = true;
            }
            Input::Confirmed { references } => {
                self.confirmed(references);
                changed = true;
            }
            Input::Answered { group } => changed |= self.answered(group),
            Input::Beat { node } => self.peers[node.index()].beat = Some(self.now),
            Input::NotRemembered => self.not_remembered(),
            Input::Noted { number } => {
                self.noted(number);
                changed = true;
            }
            Input::Keys { keys } => self.rekey(keys),
            Input::Command { id, command } => {
                self.reply = Some((id, self.command(command)));
                changed = true;
            }
        }
        if changed || saved || now >= self.due.at {
            self.turn();
        }
    }

    /// The next thing to do, or `None`: wait for the next input.
    #[must_use]
    pub fn poll(&mut self, frame: &mut FrameBuf) -> Option<Output> {
        if self.cloned && !self.restart_told {
            self.restart_told = true;
            return Some(Output::Restart);
        }
        if self.renew_at.is_some_and(|at| self.now >= at) && !self.renew_told {
            self.renew_told = true;
            return Some(Output::Renew);
        }
        if let Some(watchdog) = self.watchdog() {
            return Some(Output::Watchdog(watchdog));
        }
        if self.remembered() {
            self.turn();
        }
        if self.dirty && self.unsaved_until.is_none_or(|at| self.now >= at) {
            self.dirty = false;
            self.remembering = true;
            return Some(Output::Remember);
        }
        if let Some((group, job)) = self.unissued(|kind| matches!(kind, JobKind::Stop(_))) {
            return Some(Output::Stop { group, job });
        }
        if let Some(transmit) = self.transmit(frame) {
            return Some(transmit);
        }
        if let Some((node, request)) = self.unissued_fence() {
            return Some(Output::Fence { node, request });
        }
        if let Some(ask) = self.ask() {
            return Some(ask);
        }
        if let Some((group, job)) =
            self.unissued(|kind| matches!(kind, JobKind::Start | JobKind::Adopt))
        {
            return Some(Output::Start { group, job });
        }
        if let Some((group, job)) = self.unissued(|kind| kind == JobKind::Probe) {
            return Some(Output::Probe { group, job });
        }
        let announced = self.config.group_ids().find(|group| self.groups[group.index()].announce);
        if let Some(group) = announced {
            self.groups[group.index()].announce = false;
            return Some(Output::Announce { group });
        }
        if ::core::mem::take(&mut self.force_untold) {
            return Some(Output::InForce);
        }
        if let Some(number) = self.unwritten_note() {
            return Some(Output::Note { number });
        }
        if let Some((id, reply)) = self.reply.take() {
            return Some(Output::Reply { id, reply });
        }
        if let Some(event) = self.events.pop() {
            return Some(Output::Event(event));
        }
        if self.goodbyes == 0 && !self.exit_told {
            self.exit_told = true;
            return Some(Output::Exit);
        }
        None
    }

    /// When [`Input::Tick`] is due, and why.
    pub fn deadline(&self) -> Deadline {
        if self.cloned {
            // Nothing is sent any more.
            return self.due;
        }
        let beat = if self.urgent || self.next_beat <= self.now {
            // A frame was held back because its sequence number would have repeated.
            Instant::from_micros(self.sent) + Duration::from_micros(1)
        } else {
            self.next_beat
        };
        let beat = Deadline { at: self.trial_at().min(beat), timer: Timer::Heartbeat };
        if self.due.at < beat.at { self.due } else { beat }
    }

    /// What falls due next, heartbeats left aside.
    pub(super) fn next_due(&self) -> Deadline {
        let mut soonest = Deadline { at: Instant::NEVER, timer: Timer::Heartbeat };
        let mut consider = |at: Instant, timer: Timer| {
            if at > self.now && at < soonest.at {
                soonest = Deadline { at, timer };
            }
        };
        if !self.ready {
            consider(self.started + self.config.initial_dead, Timer::InitialDead);
        }
        consider(self.doubt_until, Timer::Silence);
        if let Some(at) = self.unsaved_until.filter(|_| self.dirty) {
            consider(at, Timer::Lease);
        }
        if let Some(end) = self.leases_due() {
            consider(end, Timer::Lease);
        }
        if let Some(window) = self.asks_before_ready() {
            consider(window, Timer::Silence);
        }
        for node in self.config.voters() {
            if let Some((at, timer)) = self.fence_deadline(node) {
                consider(at, timer);
            }
            let peer = &self.peers[node.index()];
            for at in peer.deadlines(self.config.warn, self.config.dead).into_iter().flatten() {
                consider(at, Timer::Silence);
            }
        }
        for group in self.config.group_ids() {
            for (at, timer) in self.group_deadlines(group).into_iter().flatten() {
                consider(at, timer);
            }
        }
        soonest
    }

    /// Until when the engine may vouch for `group`: its addresses and services run here by right.
    /// `None`: nothing of it may run here.
    pub fn vouched_until(&self, group: GroupId) -> Option<Instant> {
        let state = &self.groups[group.index()];
        if self.config.rule == Rule::Majority {
            let runs = state.is_up() || state.phase == super::io::Phase::Stopping;
            let more = if on(Mutation::VouchesLonger) { self.config.dead } else { Duration::ZERO };
            let lease = self.lease_until(group).filter(|_| runs).map(|end| end + more);
            // Before the probe has ended: what our predecessor vouched for, not a moment more.
            return state.adoptable.map(|(_, held)| held).or(lease);
        }
        if let Some((term, held)) = state.adoptable {
            // A probe may take longer than our predecessor vouched, and the peer waits for its end:
            // what will be adopted is kept until then.
            let ours = term >= state.term && self.own_vote_is_free(group);
            return Some(if ours { self.now + self.config.dead } else { held });
        }
        let up =
            state.claim.is_some() && (state.is_up() || state.phase == super::io::Phase::Stopping);
        // The node's own vote: `dead` after the last turn of the engine's loop.
        up.then(|| self.now + self.config.dead)
    }

    /// Whether the frame changed anything but counters.
    fn frame(&mut self, link: LinkId, bytes: &[u8]) -> bool {
        let header = match Header::decode(bytes) {
            Ok(header) if header.tag != self.config.tag => {
                self.counters.foreign += 1;
                self.stranger(link, &header, bytes);
                return false;
            }
            Ok(header) if self.config.members().contains(header.node) => header,
            Ok(_)
            | Err(
                DecodeError::Length | DecodeError::Version | DecodeError::Node | DecodeError::Body,
            ) => {
                self.counters.malformed += 1;
                return false;
            }
        };
        let own = header.node == self.config.me && header.incarnation == self.incarnation;
        if own && header.sequence <= self.sent {
            // Broadcasts come back to their sender: not worth opening.
            self.counters.own += 1;
            return false;
        }
        let mut clear = [0; FRAME_MAX];
        let Ok(text) = self.config.keys.open(&header, bytes, &mut clear) else {
            self.counters.unsealed += 1;
            self.tell_unsealed(header.node, link);
            return false;
        };
        if header.node == self.config.me {
            self.own_frame(&header);
            return false;
        }
        let Ok((body, board)) = Body::with_board(text) else {
            self.counters.unreadable += 1;
            return false;
        };
        let changed = self.take(link, &header, body);
        self.peers[header.node.index()].tell_board(&header, board);
        changed
    }

    fn take(&mut self, link: LinkId, header: &Header, mut body: Body) -> bool {
        // Where its list of groups is another, their numbers are too.
        body.align(self.config.names());
        let judge = Judge {
            me: self.config.me,
            now: self.now,
            dead: self.config.dead,
            incarnation: self.incarnation,
            sent: self.sent,
        };
        // The sender names its proven incarnation of us first; either may be our present one.
        let ours = |heard: &&super::wire::Heard| {
            heard.node == self.config.me && heard.incarnation == self.incarnation
        };
        let echo = body.heard.iter().find(ours).copied();
        let asks = body.flags.asks();
        let peer = &mut self.peers[header.node.index()];
        let (before, key) = (peer.incarnation, peer.key);
        let shown = (body.count, peer.silence(self.now));
        let taken = peer.take(&judge, header, body, echo, link);
        let rekeyed = key.is_some_and(|_| peer.key != key);
        self.reception = Reception::of(&judge, header, link, echo, shown, taken);
        self.heard_of(header, taken, echo.map(|echo| echo.sequence));
        match taken {
            Taken::Fresh(new) => {
                self.counters.fresh += 1;
                self.trial_echo(header.node, echo.map(|echo| echo.sequence));
                if rekeyed {
                    self.events.push(Event::PeerKey(header.node, header.key));
                }
                self.heard_on_hung_up(link, echo.map_or(0, |echo| echo.sequence));
                if asks {
                    self.answer();
                }
                self.watch_force(header.node);
                self.watch_agreement(header);
                if new {
                    self.replaced(header.node, before);
                }
                self.count_votes(header);
                self.vote(header);
            }
            Taken::Deaf => {
                self.counters.fresh += 1;
                // After a partition the first frame that passes makes both hear each other.
                self.answer();
                self.vote(header);
            }
            Taken::Doubled => {
                self.counters.doubled += 1;
                self.heard_on_hung_up(link, echo.map_or(0, |echo| echo.sequence));
            }
            Taken::Stale => self.counters.stale += 1,
            Taken::Elsewhere => self.counters.stale += 1,
            Taken::Replaced | Taken::Twin => self.counters.replaced += 1,
            Taken::Unproven => {
                self.counters.stale += 1;
                // So that it can prove itself.
                self.answer();
            }
            Taken::FromTheFuture => {
                self.events.push(Event::Clone(header.node));
                self.cloned = true;
            }
        }
        !matches!(taken, Taken::Stale | Taken::Replaced | Taken::Doubled)
    }

    /// Sends a frame out of turn; but nobody makes us shout.
    fn answer(&mut self) {
        let last = Instant::from_micros(self.sent);
        self.urgent |= self.now.since(last) >= self.config.interval.ratio(1, 4);
    }

    /// A process that stood still must doubt itself before its peers: its own votes are over once
    /// the pause reaches `dead`, and its peers' silence does not count for that time.
    fn notice_pause(&mut self, now: Instant) {
        let late = now.since(self.deadline().at);
        if late < self.config.dead.ratio(1, 2) {
            return;
        }
        self.events.push(Event::Stalled(late));
        self.doubt_until = now + self.config.dead;
        self.next_beat = now;
        for peer in &mut self.peers {
            peer.excuse(late, now);
            peer.has_more_time(late);
        }
        // Under `majority` the votes of others run out by themselves.
        // Under `fencing` nobody took them: a peer needs our vote or a proof that we are off.
        if self.config.rule == Rule::AssumeDead && now.since(self.now) >= self.config.dead {
            self.void_own_votes();
        }
    }

    fn turn(&mut self) {
        self.watch_peers();
        self.watch_names();
        self.watch_ready();
        for node in self.config.others() {
            self.watch_fence(node);
        }
        self.watch_guard();
        self.watch_leases();
        for group in self.config.group_ids() {
            self.decide(group);
        }
        self.watch_end();
        self.due = self.next_due();
    }

    fn watch_ready(&mut self) {
        if self.ready {
            return;
        }
        let seen = |node: NodeId| {
            self.peers[node.index()].alive(self.now, self.config.dead) || self.is_proven(node)
        };
        let over = self.now.since(self.started) >= self.config.initial_dead;
        if over || self.config.others().all(seen) {
            self.ready = true;
            self.events.push(Event::Ready);
        }
    }

    fn watch_peers(&mut self) {
        let (now, warn, dead) = (self.now, self.config.warn, self.config.dead);
        let waiting = !self.ready && now.since(self.started) < self.config.initial_dead;
        for node in self.config.voters() {
            let peer = &mut self.peers[node.index()];
            let state = peer.state(now, warn, dead, waiting);
            let told = ::core::mem::replace(&mut peer.told, state);
            if told != state {
                let silence = peer.silence(now).unwrap_or(now.since(self.started));
                self.tell_node(node, told, state, silence);
            }
            self.watch_links(node);
            let differs = self.differs(node);
            if ::core::mem::replace(&mut self.told_differs[node.index()], differs) != differs {
                self.events.push(if differs {
                    Event::ConfigurationDiffers(node)
                } else {
                    Event::ConfigurationAgrees(node)
                });
            }
        }
    }

    fn tell_node(&mut self, node: NodeId, told: NodeState, state: NodeState, silence: Duration) {
        let was_alive = matches!(told, NodeState::Alive | NodeState::Late);
        if told == NodeState::Dead {
            // While we could not hear it, it may have owned what we own, and misled our clients.
            for group in &mut self.groups {
                group.announce |= group.phase == super::io::Phase::Running;
            }
        }
        let event = match state {
            NodeState::Alive if was_alive => return,
            NodeState::Alive => Event::NodeAlive(node),
            NodeState::Late => Event::NodeLate(node, silence),
            NodeState::Seen if was_alive => Event::NodeDeaf(node),
            NodeState::Seen => Event::NodeSeen(node),
            NodeState::Dead => Event::NodeDead(node, silence),
            NodeState::Left => Event::NodeLeft(node),
            NodeState::Unknown => return,
        };
        self.events.push(event);
    }

    fn watch_links(&mut self, node: NodeId) {
        let (now, dead) = (self.now, self.config.dead);
        if !self.peers[node.index()].alive(now, dead) {
            // Its silence is told of the node; it says nothing about cables.
            return;
        }
        for link in self.config.links().iter() {
            let state = self.peer_link(node, link);
            let told = &mut self.told_links[node.index()][link.index()];
            if state == told.state {
                told.otherwise = None;
                continue;
            }
            let since = match told.otherwise {
                Some((other, since)) if other == state => since,
                _ => now,
            };
            told.otherwise = Some((state, since));
            // One direction is often ahead of the other by a frame: only what lasts is told.
            let settled = state != LinkState::OneWay || now.since(since) >= dead;
            if settled {
                *told = Told { state, otherwise: None };
                self.events.push(Event::PeerLink(node, link, state));
            }
        }
    }

    /// The two-way state of `link` to `node`.
    pub(super) fn peer_link(&self, node: NodeId, link: LinkId) -> LinkState {
        if !self.links_up.contains(link) {
            return LinkState::Down;
        }
        let every = self.config.every.get(link.index()).copied().unwrap_or(1);
        let slack = self.config.dead.max(self.config.interval.times(3 * u64::from(every)));
        self.peers[node.index()].link(link, self.now, slack)
    }

    /// The shutdown ends when everything is stopped; the goodbyes follow, then the exit.
    fn watch_end(&mut self) {
        use super::io::Phase::{Blocked, Stopped};
        let over = |group: GroupId| matches!(self.groups[group.index()].phase, Stopped | Blocked);
        if self.shutting_down && self.goodbyes == GOODBYES && self.config.group_ids().all(over) {
            self.goodbyes = GOODBYES - 1;
            self.forget_goodbyes();
            self.urgent = true;
            self.next_beat = self.now;
        }
    }

    /// Whether frames say goodbye now: everything is stopped, nothing is blocked, and the memory
    /// says so: no goodbye that crosses ours is left in it.
    pub(super) fn says_goodbye(&self) -> bool {
        let stopped =
            |group: GroupId| self.groups[group.index()].phase == super::io::Phase::Stopped;
        self.is_parting() && !self.dirty && self.config.group_ids().all(stopped)
    }

    /// Whether this node has begun to say goodbye.
    pub(super) fn is_parting(&self) -> bool {
        self.goodbyes < GOODBYES
    }

    /// A frame was sent: counts the goodbyes down.
    pub(super) fn farewell(&mut self) {
        if self.goodbyes < GOODBYES {
            self.goodbyes = self.goodbyes.saturating_sub(1);
            self.next_beat = self.now + self.config.interval.ratio(1, 4);
        }
    }

    /// What the watchdog is to be told now.
    pub(super) fn watchdog(&mut self) -> Option<Watchdog> {
        for id in self.config.group_ids() {
            if ::core::mem::take(&mut self.groups[id.index()].reset_unissued) {
                return Some(Watchdog::Reset(id));
            }
        }
        let pet = ::core::mem::take(&mut self.pet);
        (pet && self.may_pet()).then_some(Watchdog::Pet)
    }

    /// The watchdog is due with every heartbeat.
    pub(super) fn pet(&mut self) {
        self.pet = true;
    }

    fn unissued(&mut self, wanted: impl Fn(JobKind) -> bool) -> Option<(GroupId, JobId)> {
        for id in self.config.group_ids() {
            if let Some(job) = &mut self.groups[id.index()].job
                && !job.issued
                && wanted(job.kind)
            {
                job.issued = true;
                return Some((id, job.id));
            }
        }
        None
    }

    /// Gives `group` a new job; a former one is void.
    pub(super) fn order(&mut self, group: GroupId, kind: JobKind) {
        self.jobs = self.jobs.wrapping_add(1);
        let job = Job { id: JobId(self.jobs), kind, issued: false };
        self.groups[group.index()].job = Some(job);
    }

    /// A random span from `span` to twice that (xorshift64*: only for back-off).
    pub(super) fn one_to_two(&mut self, span: Duration) -> Duration {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let draw = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 48;
        span + span.ratio(draw, 1 << 16)
    }
}
