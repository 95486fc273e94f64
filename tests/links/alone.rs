//! A pair with one link only, no IP address between its nodes, and the power of one cut.
use crate::scene::{Bare, GROUP, SERVED, forget_ip, link};

/// The power of the owner is cut: the other takes over and clients are answered. It comes back,
/// and the two agree again.
fn lives_and_takes_over(links: &str) {
    let bare = Bare::at_work(links);
    for (node, peer) in [("pi", "laptop"), ("laptop", "pi")] {
        bare.wait_link(node, peer, 0, "up");
    }
    let client = bare.ask();
    bare.answered_by(&client, "pi");

    bare.node("pi").power_cut().expect("it was on");
    bare.answered_by(&client, "laptop");
    bare.settled(GROUP, "laptop");
    assert_eq!(bare.holders(SERVED), ["laptop"]);

    bare.node("pi").power_on().expect("it was off");
    forget_ip(bare.node("pi"));
    bare.start("pi");
    bare.met();
    bare.settled(GROUP, "laptop");
    bare.answered_by(&client, "laptop");
    assert_eq!(bare.holders(SERVED), ["laptop"], "one owner, and the one that has it keeps it");
}

#[test]
fn on_raw_ethernet() {
    lives_and_takes_over(&link("ethernet = \"eth1\""));
}

#[test]
fn on_a_null_modem_cable() {
    lives_and_takes_over(&link("serial = \"{serial}\"\nbaud = 115200"));
}
