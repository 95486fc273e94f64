//! Scripts that fail or hang.
use crate::scene::{Pair, SOON, Setup, VIRTUAL, ms};
use latido::lab::{process, wait};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What each node's status said about its own part of the group, while something was waited for.
struct Watched {
    running_at_pi: Cell<bool>,
}

impl Watched {
    fn look(&self, pair: &Pair) {
        let status = pair.status("laptop");
        let group = &status["groups"][0];
        let claimed = group["owner"] == "pi" && group["state"] == "running";
        let own = pair.status("pi")["groups"][0]["local"] == "running";
        self.running_at_pi.set(self.running_at_pi.get() | claimed | own);
    }
}

/// Starts a pair whose preferred node cannot start the group, and returns when the other runs it.
fn start_trouble(kind: &str) -> Pair {
    let pair = Pair::powered(Setup { start_timeout: ms(1500), ..Setup::default() });
    pair.trouble("pi", kind, true);
    let begin = Instant::now();
    pair.start_all();
    let watched = Watched { running_at_pi: Cell::new(false) };
    pair.wait("laptop to run the group", || {
        watched.look(&pair);
        (pair.status("laptop")["groups"][0]["local"] == "running").then_some(())
    });
    assert!(!watched.running_at_pi.get(), "a group that never started was said to run");
    pair.settled("laptop");
    let log = pair.log("pi");
    assert!(log.contains("start failed on this node"), "{log}");
    assert!(!log.contains("running here"), "{log}");
    assert_eq!(pair.status("pi")["groups"][0]["failed_here"], true);
    // What was started before it is stopped: the address came first.
    assert_eq!(pair.holders(), ["laptop"]);
    let held = pair.lab.ownership().held(VIRTUAL, begin, Instant::now());
    assert_eq!(held.both, Duration::ZERO, "{held:?}");
    assert_eq!(pair.record(), ["pi start", "pi stop", "laptop start"]);
    pair
}

#[test]
fn a_group_whose_start_fails_goes_to_the_other_node() {
    let pair = start_trouble("fail-start");
    let log = pair.log("pi");
    // The line names the script, its exit code, and what it said last.
    assert!(log.contains("recorder: start failed: ended with exit code 1: made to fail"), "{log}");
    // Mended, it is wanted back by hand.
    pair.trouble("pi", "fail-start", false);
    let (code, said) = pair.latido("pi", &["failback", "--group", "web"]);
    assert_eq!(code, 0, "{said}");
    pair.settled("pi");
}

#[test]
fn a_group_whose_start_hangs_is_released_when_its_time_is_over() {
    let pair = start_trouble("hang-start");
    let log = pair.log("pi");
    assert!(log.contains("ran out of time and was killed"), "{log}");
    assert_no_sleeper(&pair, "pi");
}

/// No hanging script is left behind.
fn assert_no_sleeper(pair: &Pair, node: &str) {
    wait::until(SOON, "the hanging script to be gone", || {
        let all = pair.node(node).processes();
        all.iter().all(|one| !one.command.iter().any(|word| word == "sleep")).then_some(())
    })
    .unwrap();
}

/// The owner is told to hand over, but its stop does not work; the other node takes over all the
/// same, since `stop_failure = "release"`.
fn stop_trouble(kind: &str) -> Pair {
    let setup = Setup { stop_timeout: ms(2000), ..Setup::default() };
    let pair = Pair::running(setup);
    pair.trouble("pi", kind, true);
    let ours = pair.mark("pi");
    pair.clear_record();
    let (_, said) = pair.latido("pi", &["standby"]);
    pair.settled("laptop");
    pair.answered_by("laptop");
    ours.wait("a resource could not be stopped here; released all the same");
    drop(ours);
    assert!(pair.log("pi").contains("recorder: stop failed"), "{said}");
    let record = pair.record();
    assert_eq!(record.last().map(String::as_str), Some("laptop start"), "{record:?}");
    assert!(record.iter().any(|call| call == "pi stop"), "{record:?}");
    // The address was taken away although the script before it failed.
    assert_eq!(pair.holders(), ["laptop"]);
    pair
}

#[test]
fn a_group_whose_stop_fails_is_released_and_said_to_run_twice() {
    stop_trouble("fail-stop");
}

#[test]
fn a_group_whose_stop_hangs_is_released_when_its_time_is_over() {
    let pair = stop_trouble("hang-stop");
    assert_no_sleeper(&pair, "pi");
}

#[test]
fn a_group_that_cannot_be_stopped_stays_blocked_if_so_wanted() {
    let setup = Setup { stop_timeout: ms(1500), block_on_stop_failure: true, ..Setup::default() };
    let pair = Pair::running(setup);
    pair.trouble("pi", "fail-stop", true);
    let (ours, theirs) = (pair.mark("pi"), pair.mark("laptop"));
    pair.clear_record();
    let (code, said) = pair.latido("pi", &["standby"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("blocked"), "{said}");
    ours.wait("blocked: a resource could not be stopped here");
    pair.wait_status("laptop", "blocked at pi", |status| {
        let group = &status["groups"][0];
        (group["owner"] == "pi" && group["state"] == "blocked").then_some(())
    });
    wait::never(pair.setup.dead * 3, "a start of a blocked group", || {
        let record = pair.record();
        record.iter().any(|call| call.starts_with("laptop")).then_some(record)
    })
    .unwrap();
    theirs.never("claimed by this node");
    // Stopped by hand, and told so: the group moves.
    pair.trouble("pi", "fail-stop", false);
    let (code, said) = pair.latido("pi", &["failback", "--group", "web"]);
    assert_eq!(code, 0, "{said}");
    pair.wait("the group to run somewhere", || (pair.holders().len() == 1).then_some(()));
}

#[test]
fn both_nodes_failing_to_start_leave_the_group_alone_and_say_so() {
    let pair = Pair::powered(Setup::default());
    for node in ["pi", "laptop"] {
        pair.trouble(node, "fail-start", true);
    }
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    pair.start_all();
    for mark in &marks {
        mark.wait("start failed on this node");
        mark.wait("no node is able and willing to run it");
    }
    // Nobody tries again and again.
    let record = pair.record();
    wait::never(pair.setup.dead * 2, "another attempt", || {
        Some(pair.record()).filter(|now| *now != record)
    })
    .unwrap();
    assert_eq!(record, ["pi start", "pi stop", "laptop start", "laptop stop"]);
    assert!(pair.holders().is_empty());
}

#[test]
fn an_engine_killed_in_the_middle_of_a_start_leaves_no_script_behind() {
    let pair = Pair::powered(Setup::default());
    pair.trouble("pi", "hang-start", true);
    pair.start_all();
    pair.wait("the start to hang", || pair.record().contains(&"pi start".to_owned()).then_some(()));
    let hangs = |all: Vec<process::Process>| {
        all.into_iter().find(|one| one.command.iter().any(|word| word == "300"))
    };
    pair.wait("the script to sleep", || hangs(pair.node("pi").processes()));
    let ours = pair.mark("pi");
    pair.kill("pi", pair.node("pi").engine().expect("an engine").pid);
    // Whatever it left half done is stopped first; a start that went on behind the daemon's back
    // could end after that stop, and the service would run where nobody knows of it.
    pair.trouble("pi", "hang-start", false);
    ours.wait("engine started again");
    pair.settled("pi");
    assert!(hangs(pair.node("pi").processes()).is_none(), "the old start script still runs");
    assert_eq!(pair.record(), ["pi start", "pi stop", "pi start"]);
}
