//! The machines, the cables, true time; and every choice that chance has.
use crate::machine::{Frame, Machine, Shot, Turn};
use crate::setup::{Begin, Faults, INTERVAL, PROMPT, QUICK, SLOW, Setup};
use latido::core::Rule;
use latido::core::id::{GroupSet, NodeId};
use latido::core::io::{Command, Fenced, Phase};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What chance may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The frame arrives at once.
    Pass,
    /// It arrives so late.
    Late(usize),
    /// It is lost.
    Lose,
    /// It arrives at once, and again so late.
    Double(usize),
    /// Nothing (more) happens at this moment.
    Wait,
    /// The daemon is killed.
    Kill(usize),
    /// It is started again.
    Revive(usize),
    /// The same, but the runtime directory is lost.
    ReviveBlank(usize),
    /// The power is cut.
    PowerOff(usize),
    /// It comes back.
    PowerOn(usize),
    /// All processes of the machine stand still.
    Freeze(usize),
    /// They go on.
    Thaw(usize),
    /// These directions carry nothing from now on.
    Cut(u16),
    /// All carry again.
    Mend,
    /// The owner is told to hand the group over.
    HandOver(usize),
    /// The daemon is told to end.
    Shutdown(usize),
    /// The runtime directory cannot be written.
    Fill(usize),
    /// It can again.
    Empty(usize),
    /// A node is told to fence the other one.
    FenceByHand(usize),
    /// A node is told that the other one, which is off, is off.
    ConfirmDead(usize),
    /// The fence does what it should, at once.
    Strike,
    /// The power goes off late.
    StrikeLate,
    /// The power goes off at once, and it is told late.
    ReportLate,
    /// Nothing happens, and that is told.
    Fail,
    /// The power goes off, but nothing is certain.
    StrikeUncertain,
}

/// A frame under way.
#[derive(Clone, Debug)]
struct Flight {
    at: u64,
    from: usize,
    to: usize,
    frame: Frame,
}

/// All of it at one moment.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) machines: Vec<Arc<Machine>>,
    flights: Vec<Flight>,
    /// Sent just now; chance has not said yet what becomes of it.
    undecided: Vec<Flight>,
    shots: Vec<Shot>,
    /// Asked for just now.
    unshot: Vec<Shot>,
    /// Directions that carry nothing: bit `from * nodes + to`.
    cut: u16,
    left: Faults,
    /// The next moment at which something may go wrong.
    grid: u64,
    /// That moment is now.
    at_grid: bool,
    end: u64,
    /// Whatever has gone wrong by then, has: the same begins anew with every heartbeat.
    settled: u64,
    over: bool,
    pub(crate) broken: Option<Arc<str>>,
    /// Who did what when, if it is wanted.
    pub(crate) story: Option<Vec<String>>,
}

impl World {
    /// All machines off, nothing goes wrong.
    fn dark(setup: &Setup) -> World {
        let machine = |node| Arc::new(Machine::off(setup, node));
        World {
            now: 0,
            machines: (0..setup.machines()).map(machine).collect(),
            flights: Vec::new(),
            undecided: Vec::new(),
            shots: Vec::new(),
            unshot: Vec::new(),
            cut: 0,
            left: Faults::NONE,
            grid: u64::MAX,
            at_grid: false,
            end: u64::MAX,
            settled: u64::MAX,
            over: false,
            broken: None,
            story: None,
        }
    }

    /// Where the search begins.
    pub(crate) fn begin(setup: &Setup) -> World {
        let mut world = World::dark(setup);
        // Heartbeats of different nodes fall between the moments at which something goes wrong.
        let phase = |node: usize| INTERVAL / 11 * (1 + 3 * node as u64); // lossless: few
        match setup.begin {
            Begin::Steady => {
                let blind = setup.config(0).lease(Setup::group()).micros();
                world.end = 3 * (setup.initial_dead + blind) / INTERVAL * INTERVAL;
                for node in 0..setup.machines() {
                    world.now = phase(node);
                    world.touch(setup, node, |machine, now, turn| {
                        machine.power_on(now, setup, turn);
                    });
                }
                world.run(setup);
                let owner = world.machines[0].core();
                let owner = owner.map(|core| core.inspect(Setup::group()).phase);
                assert_eq!(owner, Some(Phase::Running), "node 0 owns the group");
                assert!(world.broken.is_none(), "{:?}", world.broken);
                world.over = false;
                world.grid = world.end;
                world.settled = world.end + INTERVAL;
            }
            Begin::Boot => {
                for node in 0..setup.machines() {
                    world.now = phase(node);
                    world.touch(setup, node, |machine, now, turn| {
                        machine.power_on(now, setup, turn);
                    });
                }
                world.grid = INTERVAL;
                world.end = 0;
            }
        }
        world.left = setup.faults;
        world.end += setup.horizon;
        world.run(setup);
        world
    }

    /// What chance may do.
    pub(crate) fn actions(&self, setup: &Setup, actions: &mut Vec<Action>) {
        if self.over || self.broken.is_some() {
            return;
        }
        if !self.undecided.is_empty() {
            actions.push(Action::Pass);
            if self.left.all > 0 && self.left.frames > 0 {
                actions.push(Action::Lose);
                actions.extend((0..setup.late.len()).map(Action::Late));
                actions.extend((0..setup.late.len()).map(Action::Double));
            }
            return;
        }
        if !self.unshot.is_empty() {
            actions.push(Action::Strike);
            if self.left.all > 0 && self.left.shots > 0 {
                actions.extend([Action::StrikeLate, Action::ReportLate]);
                actions.extend([Action::Fail, Action::StrikeUncertain]);
            }
            return;
        }
        if self.at_grid {
            actions.push(Action::Wait);
            self.faults(setup, actions);
        }
    }

    fn faults(&self, setup: &Setup, actions: &mut Vec<Action>) {
        let left = if self.left.all > 0 { self.left } else { Faults::NONE };
        for machine in &self.machines {
            let node = machine.node;
            if !machine.on {
                actions.push(Action::PowerOn(node));
            } else if machine.engine.is_none() {
                actions.push(Action::Revive(node));
                if left.cuts > 0 {
                    actions.push(Action::ReviveBlank(node));
                }
            } else {
                if machine.frozen {
                    actions.push(Action::Thaw(node));
                } else if left.freezes > 0 {
                    actions.push(Action::Freeze(node));
                }
                if left.kills > 0 {
                    actions.push(Action::Kill(node));
                }
                if left.commands > 0 && !machine.frozen && node < setup.nodes {
                    actions.push(Action::HandOver(node));
                    actions.push(Action::Shutdown(node));
                    if setup.rule == Rule::Fencing {
                        actions.push(Action::FenceByHand(node));
                        if !self.machines[1 - node].on {
                            actions.push(Action::ConfirmDead(node));
                        }
                    }
                }
            }
            if machine.full {
                actions.push(Action::Empty(node));
            } else if machine.on && left.writes > 0 && node < setup.nodes {
                actions.push(Action::Fill(node));
            }
            if machine.on && left.cuts > 0 {
                actions.push(Action::PowerOff(node));
            }
        }
        if self.cut != 0 {
            actions.push(Action::Mend);
        }
        if left.cables > 0 {
            let more = |cut: &u16| self.cut | cut != self.cut;
            actions.extend(cuts(setup.machines()).into_iter().filter(more).map(Action::Cut));
        }
    }

    /// What follows from `action`, up to the next choice.
    pub(crate) fn next(&self, setup: &Setup, action: Action) -> World {
        let mut world = self.clone();
        world.act(setup, action);
        world.run(setup);
        world
    }

    fn act(&mut self, setup: &Setup, action: Action) {
        match action {
            Action::Pass | Action::Late(_) | Action::Lose | Action::Double(_) => {
                let flight = self.undecided.remove(0);
                self.carry(setup, flight, action);
                return;
            }
            Action::Wait => {
                self.at_grid = false;
                return;
            }
            Action::Strike
            | Action::StrikeLate
            | Action::ReportLate
            | Action::Fail
            | Action::StrikeUncertain => {
                let shot = self.unshot.remove(0);
                self.shoot(setup, shot, action);
                return;
            }
            _ => {}
        }
        let text = self.what(setup, action);
        self.tell(None, || text);
        self.pay(action);
        match action {
            Action::Kill(node) => self.touch(setup, node, |machine, _, _| machine.kill()),
            Action::PowerOff(node) => {
                self.touch(setup, node, |machine, _, _| machine.power_off());
            }
            Action::Revive(node) => {
                self.touch(setup, node, |machine, now, turn| machine.revive(now, setup, turn));
            }
            Action::ReviveBlank(node) => self.touch(setup, node, |machine, now, turn| {
                machine.forget();
                machine.revive(now, setup, turn);
            }),
            Action::PowerOn(node) => {
                self.touch(setup, node, |machine, now, turn| machine.power_on(now, setup, turn));
            }
            Action::Freeze(node) => self.touch(setup, node, |machine, _, _| machine.freeze()),
            Action::Fill(node) => self.touch(setup, node, |machine, _, _| machine.full = true),
            Action::Empty(node) => self.touch(setup, node, |machine, _, _| machine.full = false),
            Action::Thaw(node) => {
                self.touch(setup, node, |machine, now, turn| machine.thaw(now, setup, turn));
            }
            Action::HandOver(node)
            | Action::Shutdown(node)
            | Action::FenceByHand(node)
            | Action::ConfirmDead(node) => {
                let other = NodeId::new((node + 1) % setup.nodes).expect("nodes are few");
                let command = match action {
                    Action::Shutdown(_) => Command::Shutdown,
                    Action::FenceByHand(_) => Command::Fence(other),
                    Action::ConfirmDead(_) => Command::ConfirmDead(other),
                    _ => Command::HandOver(GroupSet::EMPTY.with(Setup::group())),
                };
                self.touch(setup, node, |machine, now, turn| {
                    machine.command(now, setup, command, turn);
                });
            }
            Action::Cut(mask) => self.cut |= mask,
            Action::Mend => self.cut = 0,
            _ => {}
        }
    }

    /// Decides what becomes of a fence.
    fn shoot(&mut self, setup: &Setup, shot: Shot, action: Action) {
        let text = self.what(setup, action);
        self.tell(Some(shot.by), || format!("fences n{}: {text}", shot.target));
        self.pay(action);
        let quick = self.now + QUICK;
        let (strikes, reports) = match action {
            Action::StrikeLate => (Some(self.now + SLOW), self.now + SLOW + QUICK),
            Action::ReportLate => (Some(quick), self.now + SLOW),
            Action::Fail => (None, quick),
            _ => (Some(quick), quick + QUICK),
        };
        let failed = matches!(action, Action::Fail | Action::StrikeUncertain);
        let outcome = if failed { Fenced::Failed } else { Fenced::Confirmed };
        self.shots.push(Shot { strikes, reports, outcome, ..shot });
    }

    fn pay(&mut self, action: Action) {
        let left = &mut self.left;
        let kind = match action {
            Action::Late(_) | Action::Lose | Action::Double(_) => &mut left.frames,
            Action::Kill(_) => &mut left.kills,
            Action::PowerOff(_) | Action::ReviveBlank(_) => &mut left.cuts,
            Action::Freeze(_) => &mut left.freezes,
            Action::Cut(_) => &mut left.cables,
            Action::Fill(_) => &mut left.writes,
            Action::HandOver(_)
            | Action::Shutdown(_)
            | Action::FenceByHand(_)
            | Action::ConfirmDead(_) => &mut left.commands,
            Action::StrikeLate | Action::ReportLate | Action::Fail | Action::StrikeUncertain => {
                &mut left.shots
            }
            Action::Strike
            | Action::Pass
            | Action::Wait
            | Action::Revive(_)
            | Action::PowerOn(_)
            | Action::Thaw(_)
            | Action::Empty(_)
            | Action::Mend => return,
        };
        *kind -= 1;
        left.all -= 1;
    }

    fn carry(&mut self, setup: &Setup, flight: Flight, action: Action) {
        if action != Action::Pass {
            let text = self.what(setup, action);
            let (from, to) = (flight.from, flight.to);
            self.tell(None, || format!("the frame of n{from} to n{to} {text}"));
        }
        self.pay(action);
        let mut put = |after: u64| {
            self.flights.push(Flight { at: self.now + after, ..flight.clone() });
        };
        match action {
            Action::Late(class) => put(setup.late[class]),
            Action::Double(class) => {
                put(PROMPT);
                put(setup.late[class]);
            }
            Action::Lose => {}
            _ => put(PROMPT),
        }
    }

    /// Lets time pass until chance has a choice, or the end has come.
    fn run(&mut self, setup: &Setup) {
        loop {
            if self.broken.is_some() || self.at_grid {
                break;
            }
            if !self.undecided.is_empty() {
                if self.left.all > 0 && self.left.frames > 0 {
                    break;
                }
                for flight in std::mem::take(&mut self.undecided) {
                    self.carry(setup, flight, Action::Pass);
                }
            }
            if !self.unshot.is_empty() {
                if self.left.all > 0 && self.left.shots > 0 {
                    break;
                }
                for shot in std::mem::take(&mut self.unshot) {
                    self.shoot(setup, shot, Action::Strike);
                }
            }
            if !self.step(setup) {
                break;
            }
        }
        for machine in &mut self.machines {
            if machine.identity == 0 {
                Arc::make_mut(machine).identify();
            }
        }
    }

    /// The next thing that happens; false at the end.
    fn step(&mut self, setup: &Setup) -> bool {
        let flight =
            self.flights.iter().enumerate().min_by_key(|(_, flight)| {
                (flight.at, flight.to, flight.from, flight.frame.identity)
            });
        let flight = flight.map(|(index, flight)| (flight.at, index));
        let work = self
            .machines
            .iter()
            .filter_map(|machine| machine.service.work.map(|(_, _, at)| (at, machine.node)));
        let work = work.min();
        let wake = self.machines.iter().map(|machine| (machine.wake, machine.node)).min();
        let shot = self
            .shots
            .iter()
            .enumerate()
            .map(|(index, shot)| (shot.strikes.unwrap_or(u64::MAX).min(shot.reports), index));
        let shot = shot.min();
        let times = [flight, work, wake, shot].map(|next| next.map_or(u64::MAX, |n| n.0));
        let next = times.into_iter().fold(self.grid, u64::min);
        let nothing = next >= self.settled && self.left == setup.faults && setup.faults.all > 0;
        if next >= self.end || nothing {
            self.now = self.end;
            self.over = true;
            return false;
        }
        self.now = next;
        if let Some((_, index)) = shot.filter(|shot| shot.0 == next) {
            self.shot_goes_on(setup, index);
            return true;
        }
        // What waits is read before timers decide.
        if let Some((_, index)) = flight.filter(|flight| flight.0 == next) {
            let flight = self.flights.swap_remove(index);
            let (from, to) = (flight.from, flight.to);
            let said = flight.frame.said.clone();
            self.tell(Some(to), || format!("hears n{from} {}", Said(said.as_deref())));
            self.touch(setup, to, |machine, now, turn| {
                machine.arrive(now, setup, &flight.frame, turn);
            });
        } else if let Some((_, node)) = work.filter(|work| work.0 == next) {
            self.touch(setup, node, |machine, now, turn| machine.work_ends(now, setup, turn));
        } else if let Some((_, node)) = wake.filter(|wake| wake.0 == next) {
            self.touch(setup, node, |machine, now, turn| machine.tick(now, setup, turn));
        } else {
            self.at_grid = true;
            self.grid += setup.grid;
        }
        true
    }

    fn shot_goes_on(&mut self, setup: &Setup, index: usize) {
        let shot = self.shots[index];
        if shot.strikes == Some(self.now) {
            self.shots[index].strikes = None;
            self.tell(None, || format!("the fence cuts the power of n{}", shot.target));
            self.touch(setup, shot.target, |machine, _, _| machine.power_off());
            return;
        }
        self.shots.remove(index);
        self.touch(setup, shot.by, |machine, now, turn| machine.fenced(now, setup, &shot, turn));
    }

    /// Lets something happen to a machine, and sends what it sends.
    fn touch(
        &mut self,
        setup: &Setup,
        node: usize,
        happen: impl FnOnce(&mut Machine, u64, &mut Turn),
    ) {
        let mut turn = Turn { tell: self.story.is_some(), ..Turn::default() };
        let machine = Arc::make_mut(&mut self.machines[node]);
        machine.identity = 0;
        happen(machine, self.now, &mut turn);
        for text in std::mem::take(&mut turn.told) {
            self.tell(Some(node), || text);
        }
        for frame in turn.sent {
            for to in (0..setup.machines()).filter(|to| *to != node) {
                let deaf = self.machines[to].engine.is_none();
                if !deaf && self.cut & bit(setup.machines(), node, to) == 0 {
                    let frame = frame.clone();
                    self.undecided.push(Flight { at: self.now, from: node, to, frame });
                }
            }
        }
        let process = self.machines[node].process();
        for (target, request) in turn.fences {
            let (reports, outcome) = (0, Fenced::Failed);
            let target = target.index();
            let shot = Shot { by: node, process, target, request, strikes: None, reports, outcome };
            self.unshot.push(shot);
        }
        if self.broken.is_none() {
            self.broken = turn.broken.map(Into::into).or_else(|| self.check(setup));
        }
        if let Some(broken) = self.broken.clone() {
            self.tell(None, || format!("VIOLATION: {broken}"));
        }
    }

    fn check(&self, setup: &Setup) -> Option<Arc<str>> {
        let now = self.now;
        let owners = self.machines.iter().filter(|machine| machine.in_use(setup, now));
        let owners: Vec<usize> = owners.map(|machine| machine.node).collect();
        if owners.len() > 1 {
            return Some(format!("{TWO_OWNERS}: {owners:?}").into());
        }
        if setup.rule == Rule::Majority {
            for voter in 0..setup.machines() {
                let counts = (0..setup.nodes).filter(|node| self.counts(setup, *node, voter));
                let counts: Vec<usize> = counts.collect();
                if counts.len() > 1 {
                    let text = format!("{TWO_HOLDERS}: n{voter}'s is counted by {counts:?}");
                    return Some(text.into());
                }
            }
        }
        for machine in &self.machines {
            let Some(core) = machine.core() else { continue };
            let seen = core.inspect(Setup::group());
            let owns = matches!(seen.phase, Phase::Starting | Phase::Running);
            let elsewhere = seen.grant.is_some_and(|(to, _)| to.index() != machine.node);
            if owns && (seen.claim.is_none() || elsewhere) {
                return Some(format!("n{} runs it without claim or vote", machine.node).into());
            }
        }
        None
    }

    /// Whether `node` counts the vote of `voter` for a claim of its own now.
    fn counts(&self, setup: &Setup, node: usize, voter: usize) -> bool {
        let machine = &self.machines[node];
        let Some(core) = machine.core() else { return false };
        let seen = core.inspect(Setup::group());
        if node == voter {
            return seen.claim.is_some() && seen.grant.is_some_and(|(to, _)| to.index() == node);
        }
        let until = seen.votes[setup.voter(voter).index()];
        seen.claim.is_some() && until.is_some_and(|until| machine.local(self.now) < until)
    }

    fn tell(&mut self, node: Option<usize>, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(story) = &mut self.story {
            let who = node.map_or("--".to_owned(), |node| format!("n{node}"));
            let (ms, us) = (now / 1_000, now % 1_000);
            story.push(format!("{ms:>6}.{us:03} ms  {who}  {}", text()));
        }
    }

    fn what(&self, setup: &Setup, action: Action) -> String {
        match action {
            Action::Pass => "arrives".to_owned(),
            Action::Late(class) => format!("is {} µs late", setup.late[class]),
            Action::Lose => "is lost".to_owned(),
            Action::Double(class) => {
                format!("arrives, and again {} µs later", setup.late[class])
            }
            Action::Wait => "nothing happens".to_owned(),
            Action::Kill(node) => format!("the daemon of n{node} is killed"),
            Action::Revive(node) => format!("the daemon of n{node} is started again"),
            Action::ReviveBlank(node) => {
                format!("the runtime directory of n{node} is lost, its daemon is started again")
            }
            Action::PowerOff(node) => format!("the power of n{node} is cut"),
            Action::PowerOn(node) => format!("the power of n{node} is back"),
            Action::Fill(node) => {
                format!("the runtime directory of n{node} cannot be written from now on")
            }
            Action::Empty(node) => format!("the runtime directory of n{node} can be written again"),
            Action::Freeze(node) => format!("n{node} stands still"),
            Action::Thaw(node) => format!("n{node} goes on"),
            Action::Cut(mask) => {
                let all = setup.machines();
                let pairs = (0..all).flat_map(|from| (0..all).map(move |to| (from, to)));
                let cut = pairs.filter(|(from, to)| mask & bit(all, *from, *to) != 0);
                let cut: Vec<String> = cut.map(|(from, to)| format!("n{from}→n{to}")).collect();
                format!("cables are cut: {}", cut.join(" "))
            }
            Action::Mend => "all cables are mended".to_owned(),
            Action::HandOver(node) => format!("the operator tells n{node} to hand over"),
            Action::Shutdown(node) => format!("the operator shuts n{node}'s daemon down"),
            Action::FenceByHand(node) => format!("the operator tells n{node} to fence the other"),
            Action::ConfirmDead(node) => {
                format!("the operator tells n{node} that the other one is off")
            }
            Action::Strike => "it works".to_owned(),
            Action::StrikeLate => format!("it takes {SLOW} µs"),
            Action::ReportLate => format!("it works, and is told {SLOW} µs later"),
            Action::Fail => "it fails".to_owned(),
            Action::StrikeUncertain => "it works, but is said to have failed".to_owned(),
        }
    }
}

/// The first words of two violations.
pub(crate) const TWO_OWNERS: &str = "in use on more than one node";
pub(crate) const TWO_HOLDERS: &str = "a vote has more than one holder";

fn bit(nodes: usize, from: usize, to: usize) -> u16 {
    1 << (from * nodes + to)
}

/// A pair, or one machine and all others: both ways, or one.
fn cuts(nodes: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for one in 0..nodes {
        let others = || (0..nodes).filter(|other| *other != one);
        for other in others() {
            all.push(bit(nodes, one, other));
            all.push(bit(nodes, one, other) | bit(nodes, other, one));
        }
        let out = others().fold(0, |mask, other| mask | bit(nodes, one, other));
        let back = others().fold(0, |mask, other| mask | bit(nodes, other, one));
        all.extend([out, back, out | back]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let World {
            now,
            machines,
            flights,
            undecided,
            shots,
            unshot,
            cut,
            left,
            grid,
            at_grid,
            end,
            settled: _,
            over,
            broken: _,
            story: _,
        } = self;
        for shot in shots.iter().chain(unshot) {
            // Its number is that of the one request which is under way.
            let Shot { by, process, target, request: _, strikes, reports, outcome } = shot;
            (by, process, target, strikes, reports, *outcome == Fenced::Failed).hash(hasher);
        }
        (shots.len(), unshot.len()).hash(hasher);
        (now, cut, left, grid, at_grid, end, over).hash(hasher);
        machines.iter().for_each(|machine| machine.identity.hash(hasher));
        let key = |flight: &Flight| (flight.at, flight.to, flight.from, flight.frame.identity);
        let mut under_way: Vec<_> = flights.iter().map(key).collect();
        under_way.sort_unstable();
        under_way.hash(hasher);
        undecided.iter().for_each(|flight| key(flight).hash(hasher));
        self.broken.is_some().hash(hasher);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &World) -> bool {
        let ids = |world: &World| -> Vec<u64> {
            world.machines.iter().map(|machine| machine.identity).collect()
        };
        self.now == other.now
            && self.left == other.left
            && self.cut == other.cut
            && self.at_grid == other.at_grid
            && self.flights.len() == other.flights.len()
            && self.undecided.len() == other.undecided.len()
            && ids(self) == ids(other)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "world at {} µs", self.now)
    }
}

/// What a frame says, in a few words.
struct Said<'a>(Option<&'a (latido::core::wire::Header, latido::core::wire::Body)>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((header, body)) = self.0 else { return Ok(()) };
        write!(f, "(incarnation {}, {} µs", header.incarnation.0, header.sequence)?;
        if let Some(part) = body.groups.first() {
            write!(f, ", {:?}", part.phase)?;
            if let Some(claim) = part.claim {
                let number = header.sequence - claim.behind;
                write!(f, ", claim {number} term {}", part.term.count)?;
            }
        }
        if let Some((node, incarnation, sequence)) = body.grant(Setup::group()) {
            write!(f, ", grants n{}/{} at {sequence}", node.index(), incarnation.0)?;
        }
        if body.flags.goodbye() {
            write!(f, ", goodbye")?;
        }
        write!(f, ")")
    }
}
