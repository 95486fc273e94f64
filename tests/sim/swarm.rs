//! Random faults from fresh seeds; every seed that ever failed stays here.
//!
//! `LATIDO_SIM_SEED=…` replays one seed, `LATIDO_SIM_SECONDS=…` runs for longer than 30 s.
use latido::sim::{Setup, Violation, harsh, swarm};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seeds that once failed, and why. What a seed draws changes with the swarm: scenarios keep, too,
/// what these taught.
const FAILED_ONCE: &[u64] = &[
    // A term reused after an orderly stop whose memory was thrown away.
    220_042_494_139_638,
    // A leftover of a failed stop that had been released.
    220_073_021_817_802,
    // Adopted by a rival's term.
    220_105_861_869_281,
    // Two owners for the length of a hanging stop.
    220_210_750_531_995,
    // The checker forgot a stop that had begun when stops hung.
    224_766_132_957_331,
];
/// The same, of the swarm of three to five nodes.
const FAILED_ONCE_MAJORITY: &[u64] = &[
    // The simulator took frames that a frozen owner read late for a renewed lease.
    222_849_861_414_874,
    // It took the second try of a blocked stop for a lost lease.
    77,
];
/// The same, of the harsh days.
const FAILED_ONCE_HARSH: &[u64] = &[
    // A voter that forgot, and restarted while it kept silent, granted at once.
    10_395_626_280_119,
    // It expected the successor of an incarnation that could not be written down to keep its lease.
    14_793_245_784_887,
    // A vote was shown to its holder's successor before it was written down.
    16_570_105_377_439,
    // The simulator's gate did not close earlier when a lease became shorter.
    25_713_929_350_738,
    // The checker excused a clock that had stood still for the shorter of two leases only.
    26_893_221_386_464,
];
/// The same, with witnesses.
const FAILED_ONCE_WITNESS: &[u64] = &[
    // A voter that was started again with a longer lease kept silent once more.
    25_318_185_382_391,
    // Terms were forgotten with the votes when the list of voters changed.
    15_712_177_390_340,
    // A voter that restarted twice took an unused place of its memory for a lost one.
    14_898_985_502_392,
    // A restarted voter did not pass its vote on to the holder's successor, which it had not heard
    // before: only its memory knew the old one.
    15_958_938_491_530,
    // The checker expected the second of two quick successors to keep a lease.
    16_570_111_289_872,
    // It forgot that a voter without memory waits for the longest lease of any configuration.
    25_713_933_243_794,
];
/// The same, with watchdogs.
const FAILED_ONCE_WATCHDOG: &[u64] = &[
    // The checker forgot that a watchdog sleeps with its machine.
    13_141_004_581_149,
    14_603_933_426_165,
    14_793_297_427_621,
    // A term was begun that could not be written down, and came again after a restart.
    16_570_109_363_303,
    // A group was started on votes that were older than its watchdog takes.
    27_656_321_560_096,
];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

type Play = fn(u64) -> swarm::Summary;

fn play(seed: u64) -> swarm::Summary {
    let told = "fresh_seeds";
    swarm::run(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &swarm::setup(seed)))
}

fn play_majority(seed: u64) -> swarm::Summary {
    let (told, setup) = ("majority_seeds", swarm::setup_majority(seed));
    swarm::run_majority(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &setup))
}

fn play_harsh(seed: u64) -> swarm::Summary {
    let (told, setup) = ("harsh_seeds", harsh::setup(seed));
    harsh::run(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &setup))
}

fn play_watchdog(seed: u64) -> swarm::Summary {
    let (told, setup) = ("watchdog_seeds", harsh::setup_watchdog(seed));
    harsh::run_watchdog(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &setup))
}

fn play_witness(seed: u64) -> swarm::Summary {
    let (told, setup) = ("witness_seeds", harsh::setup_witness(seed));
    harsh::run_witness(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &setup))
}

fn play_fencing(seed: u64) -> swarm::Summary {
    let (told, setup) = ("fencing_seeds", harsh::setup_fencing(seed));
    harsh::run_fencing(seed).unwrap_or_else(|violation| fail(&violation, seed, told, &setup))
}

fn fail(violation: &Violation, seed: u64, test: &str, setup: &Setup) -> ! {
    panic!(
        "{violation}\nseed {seed}: {setup:?}\nreplay: LATIDO_SIM_SEED={seed} cargo test \
         --no-default-features --features _sim --test sim {test} -- --nocapture"
    )
}

#[test]
fn seeds_that_failed_once() {
    for seed in FAILED_ONCE {
        play(*seed);
    }
    for seed in FAILED_ONCE_MAJORITY {
        play_majority(*seed);
    }
    for seed in FAILED_ONCE_HARSH {
        play_harsh(*seed);
    }
    for seed in FAILED_ONCE_WITNESS {
        play_witness(*seed);
    }
    for seed in FAILED_ONCE_WATCHDOG {
        play_watchdog(*seed);
    }
}

#[test]
fn fresh_seeds() {
    swarm(play);
}

#[test]
fn majority_seeds() {
    swarm(play_majority);
}

#[test]
fn harsh_seeds() {
    swarm(play_harsh);
}

#[test]
fn watchdog_seeds() {
    swarm(play_watchdog);
}

#[test]
fn witness_seeds() {
    swarm(play_witness);
}

#[test]
fn fencing_seeds() {
    swarm(play_fencing);
}

fn swarm(play: Play) {
    if let Some(seed) = variable("LATIDO_SIM_SEED") {
        println!("seed {seed}: {:#?}", play(seed));
        return;
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos());
    let first = u64::try_from(clock & 0xffff_ffff_ffff).expect("masked");
    let span = Duration::from_secs(variable("LATIDO_SIM_SECONDS").unwrap_or(30));
    println!("seeds from {first}, for {span:?}");
    let begun = Instant::now();
    let mut all = swarm::Summary::default();
    let mut seeds = 0_u64;
    while begun.elapsed() < span {
        let one = play(first + seeds);
        seeds += 1;
        all.simulated += one.simulated;
        all.handled += one.handled;
        all.moves += one.moves;
        all.longest_two.0 = all.longest_two.0.max(one.longest_two.0);
        all.longest_two.1 = all.longest_two.1.max(one.longest_two.1);
        for (kind, count) in one.faults {
            *all.faults.entry(kind).or_default() += count;
        }
    }
    let hours = all.simulated / 3_600_000_000;
    println!("{seeds} seeds, {hours} simulated hours, 0 violations: {all:#?}");
    assert!(seeds > 0 && all.moves > 0, "the swarm did nothing");
}
