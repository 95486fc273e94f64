//! Who is shot when, and that nothing runs twice.
use crate::scene::{GROUP, Pair, VIRTUAL};
use latido::lab::wait;
use std::time::Duration;

/// The address came to `owner` only after the strip had been told to switch the other node off.
fn taken_after_off(pair: &Pair, owner: &str, off: &str) {
    let taken = pair.lab.ownership().of(VIRTUAL).last().expect("it was taken").clone();
    assert_eq!(taken.node, owner);
    assert!(taken.from > pair.ordered(off), "it was taken before {off}");
    pair.never_both();
}

#[test]
fn a_power_cut_is_confirmed_before_the_group_is_taken() {
    let pair = Pair::running();
    pair.lab.node("pi").power_cut().unwrap();
    pair.owned("laptop");
    taken_after_off(&pair, "laptop", "off pi");
    // It is switched on again, hears that its peer owns the group, and leaves it there.
    pair.met();
    pair.settled(GROUP, "laptop");
    assert_eq!(pair.orders(), ["off pi", "on pi"]);
    assert_eq!(pair.holders(VIRTUAL), ["laptop"]);
    pair.never_both();
    let fence = pair.fence_of("laptop", "pi");
    assert_eq!(fence["last"]["confirmed"], true, "{fence}");
    assert!(fence["proof"].is_null(), "what came back is not off: {fence}");
}

#[test]
fn a_frozen_owner_is_shot_and_comes_back_in_peace() {
    let pair = Pair::running();
    pair.lab.node("pi").freeze();
    pair.owned("laptop");
    taken_after_off(&pair, "laptop", "off pi");
    pair.met();
    pair.settled(GROUP, "laptop");
    assert_eq!(pair.orders(), ["off pi", "on pi"]);
    pair.never_both();
}

#[test]
fn with_every_path_cut_the_owner_shoots_and_the_other_node_waits_for_it() {
    let pair = Pair::running();
    pair.cut_paths(true);
    pair.wait("laptop to be shot and switched on again", || {
        (pair.orders() == ["off laptop", "on laptop"]).then_some(())
    });
    // It has not seen pi since it started: it neither shoots nor takes anything, and says so.
    let text = pair.problem("laptop", &["pi was not seen since this machine started"]);
    assert!(text.contains("latido confirm-dead pi"), "{text}");
    let moved = || (pair.holders(VIRTUAL) != ["pi"]).then(|| pair.holders(VIRTUAL));
    wait::never(Duration::from_secs(4), "another owner", moved).unwrap();
    pair.served_by("pi");
    pair.cut_paths(false);
    pair.met();
    pair.settled(GROUP, "pi");
    assert_eq!(pair.orders(), ["off laptop", "on laptop"], "nobody fights");
    assert_eq!(pair.lab.ownership().of(VIRTUAL).len(), 1, "the address never moved");
    pair.never_both();
}

#[test]
fn a_node_that_cannot_stop_its_service_is_shot_by_the_other_one() {
    let pair = Pair::running();
    pair.make_stubborn("pi");
    let (code, said) = pair.latido("pi", &["standby", "--wait", "1"]);
    assert_eq!(code, 1, "{said}");
    pair.owned("laptop");
    taken_after_off(&pair, "laptop", "off pi");
    pair.met();
    pair.settled(GROUP, "laptop");
    assert_eq!(pair.orders(), ["off pi", "on pi"]);
}

#[test]
fn a_node_that_cannot_stop_its_service_resets_itself_where_that_is_wanted() {
    let pair = Pair::with("rule = \"assume-dead\"\nstop_failure = \"reset\"");
    pair.make_stubborn("pi");
    // A command would end with the node on which it waits.
    let reply = pair.lab.node("pi").ask(&serde_json::json!({ "command": "standby" })).unwrap();
    assert_eq!(reply["ok"], true, "{reply}");
    pair.owned("laptop");
    taken_after_off(&pair, "laptop", "reset pi");
    pair.boot("pi");
    pair.met();
    pair.settled(GROUP, "laptop");
    assert_eq!(pair.orders(), ["reset pi"]);
}

#[test]
fn the_operator_can_shoot_and_is_asked_first() {
    let pair = Pair::running();
    let (code, said) = pair.latido("pi", &["fence", "laptop"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("switch the power of laptop off and on"), "{said}");
    assert!(said.contains("latido fence laptop --yes-really"), "{said}");
    assert!(pair.orders().is_empty(), "it only told what would happen");
    let (code, said) = pair.latido("pi", &["fence", "laptop", "--yes-really"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("laptop was switched off"), "{said}");
    pair.met();
    assert_eq!(pair.orders(), ["off laptop", "on laptop"]);
    pair.settled(GROUP, "pi");
    let (code, said) = pair.latido("pi", &["confirm-dead", "laptop", "--yes-really"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("it is not dead"), "{said}");
}
