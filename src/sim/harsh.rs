//! The worst days: short runs where partitions, frames that come much too late, restarted voters,
//! claims in quick succession, copied machines, pauses, late fences and resets meet.
//!
//! Each step draws what it does and to whom when its time has come, the owner more often than not.
use super::fault::Fault;
use super::machine::Fate;
use super::network::Wire;
use super::power::Device;
use super::random::Random;
use super::setup::Setup;
use super::swarm::{self, Summary};
use super::world::{Violation, World};
use crate::core::id::{GroupSet, NodeId};
use crate::core::io::Command;
use crate::core::{Rule, StopFailure};

/// Kinds of steps.
const KINDS: usize = 18;
const SCRIPTS: usize = 15;

/// The settings that follow from `seed`.
pub fn setup(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x4a25);
    let interval = [5_000, 10_000, 20_000, 50_000][random.index(4)];
    let dead = interval * random.between(4, 10);
    let nodes = [3, 3, 3, 4, 5][random.index(5)];
    let limit = [dead / 2, 2 * dead, 8 * dead][random.index(3)];
    let latency = random.between(1, 300);
    let stop_budget = limit * 51 / 50 + 2 * latency + 100;
    let lease = (dead + 2 * interval + stop_budget) * 98 / 96;
    Setup {
        seed,
        nodes,
        clones: if random.chance(300_000) { 1 } else { 0 },
        witnesses: 0,
        links: 1 + random.index(2),
        groups: 1,
        interval,
        warn: interval * 2,
        dead,
        initial_dead: dead * random.between(1, 3),
        failback_delay: dead * random.between(1, 3),
        failback: random.chance(300_000),
        stop_failure: StopFailure::Block,
        fence_delay: 0,
        watchdog: None,
        reset_takes: None,
        rule: Rule::Majority,
        stop_budget,
        stretch: [1, 4, 8][Random::new(seed ^ 0x1ea5e).index(3)],
        blackout: if random.chance(800_000) { 0 } else { 2 * lease },
        drift: (0..=nodes).map(|_| swarm::drift(&mut random)).collect(),
        latency,
    }
}

/// The same with watchdogs of whole seconds: what runs counts until it is stopped or reset.
pub fn setup_watchdog(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0xd06);
    let timeout = 1_000_000 * random.between(1, 3);
    let setup = setup(seed);
    let reset_takes = random.chance(500_000).then_some(setup.dead / 2);
    let stop_failure = match reset_takes {
        Some(_) if random.chance(500_000) => StopFailure::Reset,
        _ => StopFailure::Block,
    };
    let blackout = if setup.blackout > 0 { 3 * timeout } else { 0 };
    Setup { clones: 0, watchdog: Some(timeout), reset_takes, stop_failure, blackout, ..setup }
}

/// Two to four nodes and as many witnesses as make the number of voters odd.
pub fn setup_witness(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x317);
    let [nodes, witnesses] = [[2, 1], [2, 1], [3, 2], [4, 1]][random.index(4)];
    let drift = (0..nodes + witnesses).map(|_| swarm::drift(&mut random)).collect();
    Setup { nodes, clones: 0, witnesses, drift, ..setup(seed) }
}

/// The settings of a pair under `fencing` that follow from `seed`.
pub fn setup_fencing(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0xfe2c);
    let setup = setup(seed);
    let stop_failure = if random.chance(500_000) { StopFailure::Block } else { StopFailure::Fence };
    Setup {
        nodes: 2,
        clones: 0,
        groups: 1 + random.index(2),
        rule: Rule::Fencing,
        stop_failure,
        // Longer than a fence takes, and two intervals.
        fence_delay: 2 * setup.interval + 50_000,
        blackout: 0,
        ..setup
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run(seed: u64) -> Result<Summary, Violation> {
    swarm::run_with(setup(seed), |world| play(world, seed))
}

/// Runs one seed with watchdogs to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run_watchdog(seed: u64) -> Result<Summary, Violation> {
    swarm::run_with(setup_watchdog(seed), |world| play(world, seed))
}

/// Runs one seed with witnesses to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run_witness(seed: u64) -> Result<Summary, Violation> {
    swarm::run_with(setup_witness(seed), |world| play(world, seed))
}

/// Runs one seed of a pair under `fencing` to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run_fencing(seed: u64) -> Result<Summary, Violation> {
    swarm::run_with(setup_fencing(seed), |world| play(world, seed))
}

/// What a seed has drawn.
struct Day {
    random: Random,
    /// How often each kind of step is taken.
    weights: [u64; KINDS],
    /// How long a script may take.
    limit: u64,
    lease: u64,
}

fn play(world: &mut World, seed: u64) -> Result<(), Violation> {
    let mut random = Random::new(seed ^ 0xda1);
    let lease = world.setup.lease();
    let limit = (world.setup.stop_budget - 2 * world.setup.latency - 100) * 50 / 51;
    let quick = random.chance(500_000);
    for node in 0..world.setup.nodes + world.setup.clones {
        for group in 0..world.setup.groups {
            let start = random.between(100, if quick { 3_000 } else { limit });
            let stop = random.between(100, if quick { 3_000 } else { limit });
            let service = world.service(node, group);
            (service.start_takes, service.stop_takes, service.limit) = (start, stop, limit);
        }
    }
    let copies = world.setup.copies();
    for node in (0..world.setup.machines()).filter(|node| !copies.contains(node)) {
        world.plan(random.between(0, world.setup.dead), Fault::PowerOn(node));
    }
    let mut weights = [0; KINDS];
    weights.fill_with(|| if random.chance(500_000) { random.between(1, 4) } else { 0 });
    weights[0] += 1;
    if world.setup.rule == Rule::Majority && !world.setup.is_strict() {
        // What a failed stop leaves behind is nobody's to end.
        weights[SCRIPTS] = 0;
    }
    let mut day = Day { random, weights, limit, lease };
    world.run_until(world.setup.initial_dead + world.setup.blackout + 3 * lease)?;
    let pause = day.random.between(lease / 8, lease);
    for _ in 0..day.random.between(10, 40) {
        day.step(world);
        world.run_until(world.now + day.random.between(1, 2 * pause))?;
    }
    for node in 0..world.setup.nodes {
        world.apply(Fault::Device(node, Device::GOOD));
    }
    // What was begun ends first; then the last change of the configuration reaches everybody.
    world.run_until(world.now + 8 * lease + 30 * world.setup.dead)?;
    while !world.is_peaceful() {
        world.run_until(world.now + lease)?;
    }
    for node in 0..world.setup.nodes {
        world.apply(Fault::Configure(node, 0));
    }
    world.apply(Fault::Mend);
    for node in 0..world.setup.nodes {
        let at = world.now + world.setup.initial_dead + 6 * lease;
        let failback = Command::Failback(GroupSet::first(world.setup.groups));
        world.plan(at, Fault::Command(node, failback));
    }
    swarm::settle(world)
}

impl Day {
    fn step(&mut self, world: &mut World) {
        let all: u64 = self.weights.iter().sum();
        let mut drawn = self.random.below(all);
        let chosen = self.weights.iter().position(|weight| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        let one = self.somebody(world);
        let other = self.other(world, one);
        let span = self.random.between(self.lease / 8, 3 * self.lease);
        match chosen.unwrap_or(0) {
            0 => {
                let other = self.voter(world, one);
                self.part(world, [one, other], span);
            }
            1 => self.isolate(world, one, span),
            2 => self.restart(world, one),
            3 => {
                let other = self.voter(world, one);
                self.restart(world, other);
            }
            4 => self.flap(world, one),
            5 => self.slow(world, one, span),
            6 => self.ask(world, [one, other]),
            7 => {
                let one = if self.random.chance(700_000) { one } else { self.voter(world, one) };
                world.apply(Fault::Freeze(one));
                world.plan(world.now + span / 2, Fault::Thaw(one));
            }
            8 => self.copy(world, span),
            9 => {
                world.apply(Fault::Suspend(one, self.random.chance(500_000)));
                world.plan(world.now + span / 2, Fault::Resume(one));
            }
            10 => {
                let other = u32::from(self.random.chance(500_000));
                // Rolling: one node after the other, there or back.
                let voters = world.setup.nodes + world.setup.witnesses;
                let shorter = world.setup.witnesses > 0 && voters > 3;
                let shorter = shorter && self.random.chance(600_000);
                let version = other + if shorter { Setup::SHORTER } else { 0 };
                if self.random.chance(500_000) {
                    let at = world.now + self.random.between(0, span);
                    for node in 0..world.setup.nodes {
                        let at = at + self.random.between(0, self.lease);
                        world.plan(at, Fault::Configure(node, version));
                    }
                }
                world.apply(Fault::Configure(one, version));
            }
            11 => self.device(world, one, span),
            12 => {
                world.apply(Fault::PowerOff(one));
                let back = self.random.between(world.setup.dead / 2, 3 * self.lease);
                world.plan(world.now + self.random.between(0, back), Fault::Word(other, one));
                world.plan(world.now + back, Fault::PowerOn(one));
            }
            13 => {
                let id = NodeId::new(one).expect("nodes are few");
                world.apply(Fault::Command(other, Command::Fence(id)));
            }
            14 => {
                world.apply(Fault::Disk(one, false));
                world.plan(world.now + span, Fault::Disk(one, true));
                let at = world.now + self.random.between(0, span);
                self.plan_restart(world, one, at);
            }
            SCRIPTS => {
                let fate = if self.random.chance(500_000) { Fate::Fails } else { Fate::Hangs };
                let group = self.random.index(world.setup.groups);
                world.apply(Fault::Stops(one, group, fate));
                world.plan(world.now + span, Fault::Stops(one, group, Fate::Works));
                self.flap(world, one);
            }
            16 => self.relive(world, one),
            _ => self.lag(world, one, span),
        }
    }

    /// The node that serves the group, or any.
    fn somebody(&mut self, world: &World) -> usize {
        let owner = world.serving(0).first().copied();
        let any = self.random.index(world.setup.nodes);
        owner.filter(|_| self.random.chance(600_000)).unwrap_or(any) % world.setup.nodes
    }

    /// Another voter, perhaps a witness.
    fn voter(&mut self, world: &World, one: usize) -> usize {
        let witnesses = world.setup.witnesses;
        if witnesses > 0 && self.random.chance(500_000) {
            return world.setup.copies().end + self.random.index(witnesses);
        }
        self.other(world, one)
    }

    fn other(&mut self, world: &World, one: usize) -> usize {
        (one + 1 + self.random.index(world.setup.nodes - 1)) % world.setup.nodes
    }

    fn cut(&mut self, world: &mut World, [from, to]: [usize; 2], span: u64) {
        for link in 0..world.setup.links {
            world.apply(Fault::Cut { link, from, to, cut: true });
            world.plan(world.now + span, Fault::Cut { link, from, to, cut: false });
        }
    }

    /// Two do not hear each other, or one does not hear the other; a third may restart meanwhile.
    fn part(&mut self, world: &mut World, [one, other]: [usize; 2], span: u64) {
        self.cut(world, [one, other], span);
        if self.random.chance(800_000) {
            self.cut(world, [other, one], span);
        }
        if self.random.chance(500_000) {
            let third = self.voter(world, one);
            let at = world.now + self.random.between(0, span);
            self.plan_restart(world, third, at);
        }
    }

    /// One side is cut off from the other.
    fn isolate(&mut self, world: &mut World, one: usize, span: u64) {
        let machines = world.setup.machines();
        let sides =
            if self.random.chance(500_000) { 1 << one } else { self.random.below(1 << machines) };
        let side = |node: usize| sides >> node & 1;
        for (from, to) in (0..machines).flat_map(|from| (0..machines).map(move |to| (from, to))) {
            if side(from) != side(to) {
                self.cut(world, [from, to], span);
            }
        }
        if self.random.chance(500_000) {
            let at = world.now + self.random.between(0, span.min(self.lease));
            self.plan_restart(world, one, at);
        }
    }

    fn restart(&mut self, world: &mut World, node: usize) {
        self.plan_restart(world, node, world.now);
    }

    /// The daemon or the machine, with or without its memory, soon or later.
    fn plan_restart(&mut self, world: &mut World, node: usize, at: u64) {
        let soon = self.random.between(100, world.setup.dead / 2);
        let late = self.random.between(world.setup.dead, 2 * self.lease);
        let back = at + if self.random.chance(800_000) { soon } else { late };
        match self.random.below(3) {
            0 => {
                world.plan(at, Fault::PowerOff(node));
                world.plan(back, Fault::PowerOn(node));
            }
            kind => {
                world.plan(at, Fault::Kill(node));
                if kind == 1 {
                    world.plan(at, Fault::Forget(node));
                }
                world.plan(back, Fault::Revive(node));
            }
        }
    }

    /// Unable for moments: claims are given up and renewed in quick succession.
    fn flap(&mut self, world: &mut World, node: usize) {
        let mut at = world.now;
        for _ in 0..self.random.between(1, 5) {
            world.plan(at, Fault::Able(node, 0, false));
            at += self.random.between(100, self.limit + world.setup.dead);
            world.plan(at, Fault::Able(node, 0, true));
            at += self.random.between(100, world.setup.dead);
        }
    }

    /// Frames into or out of a machine, or of a link, come late, twice, out of order.
    fn slow(&mut self, world: &mut World, node: usize, span: u64) {
        let dead = world.setup.dead;
        let longest = if self.random.chance(250_000) { 6 * dead } else { dead };
        let wire = Wire {
            delay: self.random.between(50, longest),
            jitter: self.random.between(0, dead),
            loss: self.random.between(0, 200_000),
            doubled: self.random.between(0, 300_000),
            ..Wire::GOOD
        };
        let link = self.random.index(world.setup.links);
        let machines = world.setup.machines();
        let which = self.random.below(3);
        for (from, to) in (0..machines).flat_map(|from| (0..machines).map(move |to| (from, to))) {
            let meant = match which {
                0 => from == node,
                1 => to == node,
                _ => true,
            };
            if meant && from != to {
                world.apply(Fault::Wire { link, from, to, wire });
                let good = Fault::Wire { link, from, to, wire: Wire::GOOD };
                world.plan(world.now + 2 * span, good);
            }
        }
    }

    /// The device of a machine is broken, slow or late for a while; and somebody may need it.
    fn device(&mut self, world: &mut World, node: usize, span: u64) {
        let late = if self.random.chance(500_000) { self.lease } else { 20 * self.lease };
        let slowest = if self.random.chance(500_000) { late } else { 20_000 };
        let device = Device {
            strikes: self.random.chance(800_000),
            knows: self.random.chance(800_000),
            lies: false,
            off_after: self.random.between(100, slowest),
            dark: self.random.between(world.setup.dead / 4, self.lease),
            report_after: self.random.between(100, late),
        };
        world.apply(Fault::Device(node, device));
        world.plan(world.now + 6 * span, Fault::Device(node, Device::GOOD));
        if self.random.chance(500_000) {
            let at = world.now + self.random.between(0, span);
            self.plan_restart(world, node, at);
        }
    }

    /// An isolated owner's engine is killed and started again before it would have let go.
    fn relive(&mut self, world: &mut World, node: usize) {
        for other in (0..world.setup.machines()).filter(|other| *other != node) {
            self.cut(world, [node, other], 2 * self.lease);
            self.cut(world, [other, node], 2 * self.lease);
        }
        let at = world.now + self.random.between(0, world.setup.dead + 2 * world.setup.interval);
        world.plan(at, Fault::Kill(node));
        let back = at + self.random.between(100, world.setup.dead / 10);
        world.plan(back, Fault::Revive(node));
    }

    /// A machine's frames take longer than `dead`, on all links; then it is gone.
    fn lag(&mut self, world: &mut World, node: usize, span: u64) {
        let dead = world.setup.dead;
        let wire = Wire { delay: self.random.between(dead, 8 * dead), ..Wire::GOOD };
        let (nodes, links) = (world.setup.machines(), world.setup.links);
        let others = (0..nodes).filter(|other| *other != node);
        for (link, to) in others.flat_map(|to| (0..links).map(move |link| (link, to))) {
            world.apply(Fault::Wire { link, from: node, to, wire });
            let good = Fault::Wire { link, from: node, to, wire: Wire::GOOD };
            world.plan(world.now + 20 * dead + span, good);
        }
        let at = world.now + self.random.between(0, 10 * dead);
        world.plan(at, Fault::PowerOff(node));
        world.plan(at + 6 * dead, Fault::PowerOn(node));
    }

    fn ask(&mut self, world: &mut World, nodes: [usize; 2]) {
        let groups = GroupSet::first(world.setup.groups);
        let mut at = world.now;
        for _ in 0..self.random.between(1, 4) {
            let node = nodes[self.random.index(2)];
            let command = [
                Command::Standby,
                Command::HandOver(groups),
                Command::Takeover(groups),
                Command::Failback(groups),
                Command::Shutdown,
            ][self.random.index(5)];
            world.plan(at, Fault::Command(node, command));
            if command == Command::Shutdown {
                world.plan(
                    at + self.random.between(self.limit, 2 * self.lease),
                    Fault::Revive(node),
                );
            }
            at += self.random.between(100, self.limit + world.setup.dead);
        }
    }

    /// A copy of a machine is switched on somewhere.
    fn copy(&mut self, world: &mut World, span: u64) {
        if world.setup.clones == 0 {
            return;
        }
        let copy = world.setup.nodes;
        // Out of the original's sight more often than not, or even in its place.
        if self.random.chance(700_000) {
            self.cut(world, [copy, 0], 2 * span);
            self.cut(world, [0, copy], 2 * span);
        }
        if self.random.chance(500_000) {
            let other = 1 + self.random.index(world.setup.nodes - 1);
            self.cut(world, [other, 0], 2 * span);
            self.cut(world, [0, other], 2 * span);
        }
        world.apply(Fault::PowerOn(copy));
        if self.random.chance(500_000) {
            let at = world.now + self.random.between(0, span);
            world.plan(at, Fault::Command(copy, Command::Shutdown));
        }
        world.plan(world.now + 2 * span, Fault::PowerOff(copy));
    }
}
