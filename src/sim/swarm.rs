//! Each seed draws its own settings and its own mix of faults; then everything is mended, and
//! every group must find exactly one owner in time, and stay there.
use super::fault::Fault;
use super::machine::Fate;
use super::network::Wire;
use super::random::Random;
use super::setup::Setup;
use super::world::{Violation, World};
use crate::core::id::GroupSet;
use crate::core::io::Command;
use crate::core::{Rule, StopFailure};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SECOND: u64 = 1_000_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Simulated time, in µs.
    pub simulated: u64,
    /// Inputs handled.
    pub handled: u64,
    /// Ownerships begun.
    pub moves: u64,
    /// The longest time with two owners, in µs, in all and in good conditions.
    pub longest_two: (u64, u64),
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Which kinds of faults a seed has.
struct Mix {
    power: bool,
    crash: bool,
    freeze: bool,
    cables: bool,
    quality: bool,
    carrier: bool,
    ability: bool,
    scripts: bool,
    commands: bool,
}

impl Mix {
    /// Nothing at all.
    const CALM: Mix = Mix {
        power: false,
        crash: false,
        freeze: false,
        cables: false,
        quality: false,
        carrier: false,
        ability: false,
        scripts: false,
        commands: false,
    };

    fn draw(random: &mut Random, slow: bool) -> Mix {
        let mut half = || random.chance(500_000);
        Mix {
            power: half(),
            crash: half(),
            freeze: half(),
            cables: half(),
            quality: half(),
            carrier: half(),
            ability: half(),
            // A failed start is remembered for minutes, which are many heartbeats.
            scripts: half() && slow,
            commands: half(),
        }
    }
}

/// The settings that follow from `seed`.
pub fn setup(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x5eed);
    let interval = [10_000, 20_000, 50_000, 100_000][random.index(4)];
    let dead = interval * random.between(4, 12);
    Setup {
        seed,
        nodes: 2,
        clones: 0,
        witnesses: 0,
        links: 1 + random.index(3),
        groups: 1 + random.index(3),
        interval,
        warn: interval * 2,
        dead,
        initial_dead: dead * random.between(1, 6),
        failback_delay: dead * random.between(1, 5),
        failback: random.chance(500_000),
        stop_failure: if random.chance(500_000) {
            StopFailure::Release
        } else {
            StopFailure::Block
        },
        fence_delay: 0,
        watchdog: None,
        reset_takes: None,
        rule: Rule::AssumeDead,
        stop_budget: 200_000,
        stretch: 1,
        blackout: 0,
        drift: (0..2).map(|_| random.between(0, 20_000).cast_signed() - 10_000).collect(),
        latency: random.between(1, 300),
    }
}

/// The settings of three to five nodes under `majority` that follow from `seed`.
pub fn setup_majority(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x70b0);
    let pair = setup(seed);
    let nodes = [3, 3, 4, 5][random.index(4)];
    let latency = random.between(1, 300);
    // What a stop takes at most, by a clock that is slow, and the wake before it.
    let stop_budget = 2 * pair.dead * 51 / 50 + 2 * latency + 100;
    let lease = (pair.dead + 2 * pair.interval + stop_budget) * 98 / 96;
    Setup {
        nodes,
        links: 1 + random.index(2),
        groups: 1 + random.index(2),
        rule: Rule::Majority,
        stop_budget,
        blackout: if random.chance(800_000) { 0 } else { 2 * lease },
        drift: (0..nodes).map(|_| drift(&mut random)).collect(),
        latency,
        ..pair
    }
}

/// Within the bound that the core counts on, and at it more often than not.
pub(super) fn drift(random: &mut Random) -> i64 {
    match random.below(4) {
        0 => 10_000,
        1 => -10_000,
        _ => random.between(0, 20_000).cast_signed() - 10_000,
    }
}

/// Runs one seed of a pair under `assume-dead` to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run(seed: u64) -> Result<Summary, Violation> {
    run_with(setup(seed), |world| play(world, seed))
}

/// Runs one seed of three to five nodes under `majority` to its end.
///
/// # Errors
/// The first [`Violation`], a panic of the core included.
pub fn run_majority(seed: u64) -> Result<Summary, Violation> {
    run_with(setup_majority(seed), |world| play(world, seed))
}

/// Plays a whole run.
pub(super) fn run_with(
    setup: Setup,
    play: impl Fn(&mut World) -> Result<(), Violation>,
) -> Result<Summary, Violation> {
    let mut world = World::new(setup);
    match catch_unwind(AssertUnwindSafe(|| play(&mut world))) {
        Ok(Ok(())) => Ok(Summary {
            simulated: world.now,
            handled: world.handled,
            moves: world.moves,
            longest_two: world.longest_two(),
            faults: world.faults,
        }),
        Ok(Err(violation)) => Err(violation),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default();
            Err(Violation { what: format!("panicked: {text}"), trace: world.story() })
        }
    }
}

fn play(world: &mut World, seed: u64) -> Result<(), Violation> {
    let mut random = Random::new(seed ^ 0xfa17);
    let mix = Mix::draw(&mut random, world.setup.interval >= 100_000);
    for node in 0..world.setup.nodes {
        for group in 0..world.setup.groups {
            let dead = world.setup.dead;
            let service = world.service(node, group);
            service.start_takes = random.between(100, dead);
            service.stop_takes = random.between(100, dead);
            service.limit = 2 * dead;
        }
        world.plan(random.between(0, world.setup.dead), Fault::PowerOn(node));
    }
    let majority = world.setup.rule == Rule::Majority;
    let unit = unit(&world.setup);
    let storm = unit * random.between(20, 60);
    for _ in 0..random.between(2, if majority { 60 } else { 25 }) {
        plan_one(world, &mut random, &mix, storm);
    }
    world.run_until(storm + 4 * unit)?;
    world.apply(Fault::Mend);
    for node in 0..world.setup.nodes {
        // A standby or a declined group is ended by hand, as an operator does after the storm.
        let groups = GroupSet::first(world.setup.groups);
        if mix.commands || mix.scripts {
            let at = world.now
                + world.setup.initial_dead
                + u64::try_from(4 + node).expect("nodes are few") * unit;
            world.plan(at, Fault::Command(node, Command::Failback(groups)));
        }
    }
    let settle = settle_bound(&world.setup, &mix);
    world.run_until(world.now + settle)?;
    check_settled(world)?;
    let moves = world.moves;
    world.run_until(world.now + 2 * settle_bound(&world.setup, &Mix { scripts: false, ..mix }))?;
    check_settled(world)?;
    if world.moves != moves {
        return Err(world.violation("a group moved in steady conditions".to_owned()));
    }
    Ok(())
}

/// How long it may take until every group has its owner, once everything is mended.
fn settle_bound(setup: &Setup, mix: &Mix) -> u64 {
    // Start anew, find each other, wait for a rival claim to run out and back off, stop, start.
    let patience = setup.dead + 2 * setup.interval;
    let mut moves = setup.initial_dead + 6 * patience + 6 * 2 * setup.dead;
    if setup.rule == Rule::Majority {
        // Voters that forgot, and claims that run out, twice, before all votes come together.
        moves += setup.blackout.max(setup.lease()) + 8 * setup.lease();
        if setup.stretch > 1 {
            moves += 3 * setup.longest_lease();
        }
    }
    // A failback that did not last doubles the delay, six times at most.
    let failback = if setup.failback { 64 * setup.failback_delay } else { 0 };
    // A failed start or a blocked stop is tried again after these times.
    let failed = if mix.scripts { 310 * SECOND } else { 0 };
    (moves + failback + failed) * 51 / 50
}

/// Everything was mended: every group finds its one owner within the bound.
pub(super) fn settle(world: &mut World) -> Result<(), Violation> {
    let bound = world.now + settle_bound(&world.setup, &Mix::CALM);
    let step = world.setup.lease();
    while world.now < bound {
        let settled = (0..world.setup.groups).all(|group| world.settled(group));
        if settled {
            return Ok(());
        }
        world.run_until(world.now + step)?;
    }
    check_settled(world)
}

fn check_settled(world: &World) -> Result<(), Violation> {
    for group in 0..world.setup.groups {
        if !world.settled(group) {
            let serving = world.serving(group);
            return Err(world.violation(format!("g{group} is not settled: served by {serving:?}")));
        }
    }
    Ok(())
}

/// The time that the length of faults is drawn from.
fn unit(setup: &Setup) -> u64 {
    match setup.rule {
        Rule::AssumeDead | Rule::Fencing => setup.dead,
        Rule::Majority => setup.lease(),
    }
}

/// Cuts between two sides, in one direction or both.
fn plan_partition(world: &mut World, random: &mut Random, at: u64, span: u64) {
    let nodes = world.setup.nodes;
    let sides = random.below(1 << nodes);
    let side = |node: usize| sides >> node & 1;
    let both = random.chance(600_000);
    for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
        if side(from) != side(to) && (both || side(from) == 1) {
            for link in 0..world.setup.links {
                world.plan(at, Fault::Cut { link, from, to, cut: true });
                world.plan(at + span, Fault::Cut { link, from, to, cut: false });
            }
        }
    }
}

/// A bad link for a while.
fn plan_quality(world: &mut World, random: &mut Random, [at, span]: [u64; 2], link: usize) {
    let dead = world.setup.dead;
    let bad = Wire {
        delay: random.between(50, dead / 8),
        jitter: random.between(0, dead / 8),
        loss: random.between(0, 300_000),
        doubled: random.between(0, 300_000),
        bursts: random.between(0, 20_000),
        burst: random.between(0, dead),
        ..Wire::GOOD
    };
    world.plan(at, Fault::Quality(link, bad));
    world.plan(at + span, Fault::Quality(link, Wire::GOOD));
}

fn plan_one(world: &mut World, random: &mut Random, mix: &Mix, storm: u64) {
    let at = random.between(0, storm);
    let dead = world.setup.dead;
    let majority = world.setup.rule == Rule::Majority;
    let span = random.between(dead / 20, 4 * unit(&world.setup));
    let node = random.index(world.setup.nodes);
    // The seeds of a pair draw what they always drew.
    let step = if majority { 1 + random.index(world.setup.nodes - 1) } else { 1 };
    let other = (node + step) % world.setup.nodes;
    let group = random.index(world.setup.groups);
    let link = random.index(world.setup.links);
    let pair = |world: &mut World, begin: Fault, end: Fault| {
        world.plan(at, begin);
        world.plan(at + span, end);
    };
    match random.below(9) {
        0 if mix.power => pair(world, Fault::PowerOff(node), Fault::PowerOn(node)),
        1 if mix.crash => {
            pair(world, Fault::Kill(node), Fault::Revive(node));
            if majority && random.chance(300_000) {
                world.plan(at + 1, Fault::Forget(node));
            }
        }
        2 if mix.freeze => pair(world, Fault::Freeze(node), Fault::Thaw(node)),
        3 if mix.cables && majority && random.chance(600_000) => {
            plan_partition(world, random, at, span);
        }
        3 if mix.cables => plan_cuts(world, random, [at, span], [node, other], link),
        4 if mix.quality => plan_quality(world, random, [at, span], link),
        5 if mix.carrier => {
            pair(world, Fault::Carrier(node, link, false), Fault::Carrier(node, link, true));
        }
        6 if mix.ability => {
            pair(world, Fault::Able(node, group, false), Fault::Able(node, group, true));
            // Both at once: when they can again, each believes the other cannot.
            if random.chance(500_000) {
                pair(world, Fault::Able(other, group, false), Fault::Able(other, group, true));
                world.plan(at, Fault::Command(node, Command::Shutdown));
                world.plan(at + span / 2, Fault::Revive(node));
            }
        }
        7 if mix.scripts => {
            let fate = if random.chance(500_000) { Fate::Fails } else { Fate::Hangs };
            if random.chance(500_000) {
                pair(
                    world,
                    Fault::Starts(node, group, fate),
                    Fault::Starts(node, group, Fate::Works),
                );
            } else {
                let works = Fault::Stops(node, group, Fate::Works);
                pair(world, Fault::Stops(node, group, fate), works);
            }
        }
        8 if mix.commands => {
            let groups = GroupSet::EMPTY.with(Setup::group(group));
            let command = [
                Command::Standby,
                Command::HandOver(groups),
                Command::Takeover(groups),
                Command::Failback(groups),
                Command::Shutdown,
            ][random.index(5)];
            world.plan(at, Fault::Command(node, command));
            if command == Command::Shutdown {
                world.plan(at + span + 4 * dead, Fault::Revive(node));
            }
        }
        _ => {}
    }
}

/// One link or all of them, one direction or both.
fn plan_cuts(
    world: &mut World,
    random: &mut Random,
    [at, span]: [u64; 2],
    [node, other]: [usize; 2],
    link: usize,
) {
    let links = if random.chance(300_000) { link..link + 1 } else { 0..world.setup.links };
    let both = random.chance(600_000);
    for link in links {
        for (from, to) in [(node, other), (other, node)] {
            if both || from == node {
                world.plan(at, Fault::Cut { link, from, to, cut: true });
                world.plan(at + span, Fault::Cut { link, from, to, cut: false });
            }
        }
    }
}
