//! Devices that fail: told before they are needed, and never a reason to take a group.
use crate::scene::{GROUP, Pair, VIRTUAL};
use latido::lab::wait;
use std::time::Duration;

#[test]
fn a_device_that_fails_its_self_test_shows_before_it_is_needed() {
    let pair = Pair::running();
    let safe = |wanted: bool| {
        pair.wait_status("laptop", format!("safe: {wanted}"), |status| {
            (status["quorum"]["safe"] == wanted).then(|| status["quorum"]["why"].clone())
        })
    };
    safe(true);
    pair.break_strip(true);
    let text = pair.problem("laptop", &["could not fence pi if it were needed"]);
    assert!(text.contains("the strip does not answer"), "{text}");
    assert!(text.contains("nobody would take over from it"), "{text}");
    let why = safe(false).to_string();
    assert!(why.contains("the strip does not answer"), "{why}");
    pair.logged("laptop", 0, &["could not fence node pi", "the self-test failed"]);
    let (code, screen) = pair.latido("laptop", &["status"]);
    assert_eq!(code, 0);
    assert!(screen.contains("NOT safe") && screen.contains("FAILED its self-test"), "{screen}");
    pair.break_strip(false);
    safe(true);
    pair.logged("laptop", 0, &["could fence node pi again"]);
    assert!(pair.orders().is_empty(), "tests switch nothing");
    pair.settled(GROUP, "pi");
}

#[test]
fn nobody_takes_over_while_the_device_fails_until_somebody_vouches() {
    let pair = Pair::running();
    pair.break_strip(true);
    pair.lab.node("pi").power_cut().unwrap();
    let text = pair.problem("laptop", &["pi is silent and could not be fenced"]);
    assert!(text.contains("nothing is taken over from it"), "{text}");
    assert!(text.contains("the strip does not answer"), "{text}");
    assert!(text.contains("latido confirm-dead pi"), "{text}");
    let taken = || pair.holders(VIRTUAL).first().cloned();
    wait::never(Duration::from_secs(3), "a takeover without proof", taken).unwrap();
    let (code, said) = pair.latido("laptop", &["confirm-dead", "pi"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("you vouch that pi is off"), "{said}");
    assert!(pair.holders(VIRTUAL).is_empty(), "it only told what that means");
    let (code, said) = pair.latido("laptop", &["confirm-dead", "pi", "--yes-really"]);
    assert_eq!(code, 0, "{said}");
    pair.owned("laptop");
    assert_eq!(pair.fence_of("laptop", "pi")["proof"], "word");
    // The word is over as soon as the node is heard again; it leaves the group where it is.
    pair.boot("pi");
    pair.met();
    pair.settled(GROUP, "laptop");
    assert!(pair.fence_of("laptop", "pi")["proof"].is_null());
    assert!(pair.orders().is_empty());
    pair.never_both();
}

#[test]
fn a_device_that_works_again_is_used_without_being_asked() {
    let pair = Pair::running();
    pair.break_strip(true);
    pair.lab.node("pi").power_cut().unwrap();
    pair.problem("laptop", &["pi is silent and could not be fenced"]);
    pair.break_strip(false);
    pair.owned("laptop");
    assert_eq!(pair.orders()[0], "off pi");
    pair.met();
    pair.settled(GROUP, "laptop");
    pair.never_both();
}
