//! A pair with one link only, no IP address between its nodes, and the power of one cut.
use crate::scene::{Bare, DEAD, GROUP, SERVED, forget_ip, link};
use crate::world::{PROGRAM, SOON};
use latido::lab::Pair;
use latido::lab::pair::{Expect, Link, Settings};
use std::path::Path;

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

#[test]
fn pairs_of_the_laboratory_have_any_one_kind_of_link() {
    for links in [vec![Link::Ethernet(None)], vec![Link::Ethernet(Some(42))], vec![Link::Serial]] {
        let settings = Settings { dead: DEAD, links, ..Settings::default() };
        let pair = Pair::start(Path::new(PROGRAM), &settings).unwrap_or_else(|why| panic!("{why}"));
        let owner = pair.ready(SOON).unwrap_or_else(|why| panic!("{why}"));
        let other = pair.peer_of(&owner);
        let cut = |pair: &Pair| pair.lab.node(&owner).power_cut().map(drop);
        let step = pair.step("power cut", &Expect::Owner(other.clone()), cut);
        let step = step.unwrap_or_else(|why| panic!("{:?}: {why}", settings.links));
        assert_eq!(step.owners, [Some(owner), Some(other)]);
        assert_eq!(step.missed.order.last(), step.owners[1].as_ref(), "{:?}", settings.links);
    }
}
