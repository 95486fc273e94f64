//! Figures for docs/performance.md, by hand: `cargo test --features _sim --test majority figures --
//! --ignored --nocapture --test-threads=1`, with `LATIDO_RUNS=20` for so many of each kind.
use crate::scene::{FAST, Third, Timing, Trio, VIRTUAL, ms};
use crate::strikes::revive;
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// What ends the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
    Power,
}

/// One takeover, counted from the owner's end.
struct Takeover {
    /// Until the address was at the other node.
    address: Duration,
    /// Until a client was answered by it.
    answer: Duration,
    /// Until the old owner's last answer.
    silent: Duration,
    /// The longest time that the machine stood still meanwhile.
    stalled: Duration,
}

fn end(trio: &Trio, how: End) -> Takeover {
    let owner = trio.settle();
    let other = Trio::peer_of(owner);
    let from = Instant::now();
    let ended = match how {
        End::Stop => trio.strike(owner, Signal::STOP),
        End::Kill => trio.strike(owner, Signal::KILL),
        End::Power => trio.power_cut(owner),
    };
    let answer = trio.first_answer(other, ended) - ended;
    std::thread::sleep(trio.bound);
    let holdings = trio.lab.ownership().of(VIRTUAL);
    let new = holdings.iter().rev().find(|one| one.node == other).expect("it has the address");
    let (address, to) = (new.from - ended, Instant::now());
    let silent = trio.last_answer(owner, from).saturating_duration_since(ended);
    let stalled = trio.stalled(from, to);
    match how {
        End::Stop => revive(trio, owner, Signal::STOP),
        End::Kill => revive(trio, owner, Signal::KILL),
        End::Power => {
            trio.reboot(owner);
            trio.settle();
            // For ten seconds it gives its vote to nobody, not even to itself.
            trio.wait_status(owner, "it has been up for eleven seconds", |status| {
                status["uptime_s"].as_u64().filter(|seconds| *seconds >= 11)
            });
        }
    }
    trio.settle();
    trio.never_two("a figure", from, Instant::now());
    Takeover { address, answer, silent, stalled }
}

fn show(name: &str, mut all: Vec<Duration>) {
    all.sort();
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (least, most) = (all[0], all[all.len() - 1]);
    println!("  {name:<34} {:7.1} ({:.1}–{:.1})", ms(all[all.len() / 2]), ms(least), ms(most));
}

fn takeovers(timing: Timing) {
    let runs = std::env::var("LATIDO_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let trio = Trio::running(Third::Witness, timing, ms(1));
    let load = || fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("interval {:?}, dead {:?}: bound {:?}", timing.interval, timing.dead, trio.bound);
    for how in [End::Stop, End::Kill, End::Power] {
        let all: Vec<Takeover> = (0..runs).map(|_| end(&trio, how)).collect();
        let pick = |of: fn(&Takeover) -> Duration| all.iter().map(of).collect();
        println!("{how:?}, {runs} runs, ms: median (least–most); load {}", load().trim());
        show("the address at its new owner", pick(|one| one.address));
        show("a client answered by it", pick(|one| one.answer));
        show("the last answer of the old owner", pick(|one| one.silent));
        show("the machine stood still", pick(|one| one.stalled));
    }
}

#[test]
#[ignore = "figures, not a verdict: takes minutes"]
fn figures_of_takeovers_10_ms() {
    takeovers(FAST);
}

#[test]
#[ignore = "figures, not a verdict: takes minutes"]
fn figures_of_takeovers_100_ms() {
    takeovers(Timing { interval: ms(100), dead: ms(1000), ..FAST });
}
