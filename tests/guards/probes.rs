//! The LAN is asked before a silent node is presumed dead.
use crate::scene::{Pair, Setup, VIRTUAL, ms};
use latido::lab::wait;
use std::time::{Duration, Instant};

#[test]
fn heartbeats_lost_while_the_lan_is_whole_move_nothing() {
    let pair = Pair::running(Setup { lan: false, settle: None, ..Setup::default() });
    let (begin, from) = (Instant::now(), pair.end_of_log("laptop"));
    pair.cut_crossover_and_serial(true);
    // The interface of the owner: its address in the laboratory.
    let words =
        ["heartbeats lost, but the peer still answers for 10.77.0.100", "02:00:4c:61:00:00"];
    pair.logged("laptop", from, &words);
    pair.wait_status("laptop", "it holds itself back", |status| {
        let why = status["groups"][0]["held_back"].as_str()?;
        let problems = status["problems"].as_array()?.iter().filter_map(|one| one.as_str());
        let said = problems.filter(|one| one.contains("web is not taken over")).count();
        (why == "pi still answers for its addresses" && said == 1).then_some(())
    });
    wait::never(pair.setup.dead * 5, "another owner", || {
        let holders = pair.holders();
        (holders != ["pi"]).then_some(holders)
    })
    .unwrap();
    let log = pair.log_since("laptop", from);
    assert_eq!(log.matches("heartbeats lost, but the peer").count(), 1, "{log}");
    // The owner may be cut off later: then it is taken over.
    pair.cut_crossover_and_serial(false);
    pair.met();
    pair.settled("web", "pi");
    pair.answered_by("pi");
    assert_eq!(pair.arrivals_since(begin), 0);
    assert_eq!(pair.servers_since(begin), ["pi".to_owned()].into());
}

#[test]
fn an_owner_that_goes_down_while_its_heartbeats_are_lost_is_taken_over() {
    let pair = Pair::running(Setup { lan: false, settle: None, ..Setup::default() });
    let from = pair.end_of_log("laptop");
    pair.cut_crossover_and_serial(true);
    pair.logged("laptop", from, &["heartbeats lost, but the peer still answers"]);
    pair.lab.node("pi").power_cut().unwrap();
    pair.owned("laptop");
    pair.answered_by("laptop");
}

#[test]
fn a_frozen_owner_is_taken_over_once_its_kernel_is_silent() {
    let pair = Pair::running(Setup { settle: None, ..Setup::default() });
    let frozen = pair.lab.node("pi").freeze();
    pair.answered_by("laptop");
    // Whatever the client was told by the frozen node's kernel came before.
    let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from;
    assert!(taken - frozen >= pair.setup.dead - pair.setup.interval, "{:?}", taken - frozen);
    pair.lab.node("pi").thaw();
    pair.owned("laptop");
    pair.met();
}

/// Prints by how much the probe delays a takeover after a power cut: not at all, if it is answered
/// by nobody between `warn` and `dead`.
#[test]
fn a_power_cut_is_taken_over_with_and_without_the_probe() {
    let mut medians = Vec::new();
    for probe in [false, true] {
        let mut outages: Vec<Duration> = Vec::new();
        for _ in 0..5 {
            let setup =
                Setup { interval: ms(10), dead: ms(60), probe, settle: None, ..Setup::default() };
            let pair = Pair::running(setup);
            let cut = pair.lab.node("pi").power_cut().unwrap();
            pair.owned("laptop");
            pair.answered_by("laptop");
            let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from;
            outages.push(taken - cut);
        }
        outages.sort();
        medians.push(outages[outages.len() / 2]);
    }
    println!(
        "power cut, interval 10 ms, dead 60 ms: address taken over after {:?} without the probe, \
         {:?} with it (medians of 5)",
        medians[0], medians[1]
    );
}
