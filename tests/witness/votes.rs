//! What the third vote is good for, and what its loss costs.
use crate::scene::{GROUP, LONG, NODES, Trio, VIRTUAL, WITNESS, Way};

#[test]
fn the_plug_of_the_owner_pulled() {
    for way in [Way::Udp, Way::Serial] {
        let trio = Trio::running(way);
        let cut = trio.cut("pi");
        let taken = trio.taken_by("laptop");
        trio.within_bound(&format!("{way:?}: taken over"), cut, taken);
        trio.never_two();
        println!("{way:?}: taken over after {:?}", taken - cut);
        // Back again, the two have a majority without the witness, and nothing moves.
        trio.boot("pi");
        trio.wait_status("pi", "it knows the owner", |status| {
            (status["groups"][0]["owner"] == "laptop").then_some(())
        });
        trio.stays(Some("laptop"), trio.bound * 4);
    }
}

#[test]
fn a_restarted_witness_moves_nothing() {
    let trio = Trio::running(Way::Udp);
    for _ in 0..2 {
        let from = trio.told();
        trio.kill_witness();
        trio.start_witness();
        trio.witness_is("alive");
        trio.stays(Some("pi"), trio.bound);
        trio.votes(from);
    }
    // After its blackout it is worth as much as before.
    let cut = trio.cut("pi");
    trio.within_bound("taken over", cut, trio.taken_by("laptop"));
    trio.never_two();
}

#[test]
fn without_the_witness_nothing_moves_and_nobody_takes_over() {
    let trio = Trio::running(Way::Udp);
    trio.kill_witness();
    trio.witness_is("dead");
    trio.stays(Some("pi"), trio.bound * 2);
    let problem = trio.wait_status("pi", "what a dead witness means", |status| {
        let problems = status["problems"].as_array()?;
        let text = problems.iter().filter_map(|problem| problem.as_str());
        text.into_iter().find(|text| text.contains("witness pico is dead")).map(str::to_owned)
    });
    assert!(problem.contains("another failure stops every group"), "{problem}");
    trio.cut("pi");
    trio.wait("the address to go", || trio.holders(VIRTUAL).is_empty().then_some(()));
    trio.stays(None, trio.bound * 6);
    let from = trio.told();
    trio.start_witness();
    trio.votes(from);
    trio.taken_by("laptop");
    trio.never_two();
}

#[test]
fn nodes_that_see_only_the_witness_have_one_owner() {
    for way in [Way::Udp, Way::Serial] {
        let trio = Trio::running(way);
        trio.lab.node("laptop").set_cable("pair", false).unwrap();
        for (node, peer) in [NODES, [NODES[1], NODES[0]]].map(|pair| (pair[0], pair[1])) {
            trio.wait_status(node, "the peer is dead", |status| {
                let nodes = status["nodes"].as_array()?;
                let peer = nodes.iter().find(|one| one["name"] == peer)?;
                (peer["state"] == "dead").then_some(())
            });
        }
        trio.stays(Some("pi"), trio.bound * 4);
        // The owner loses the witness too.
        match way {
            Way::Udp => trio.lab.node("pi").set_cable("left", false).unwrap(),
            Way::Serial => {
                use latido::lab::cable::End;
                let cable = trio.lab.cable(0).expect("pi's");
                cable.set(End::First, false);
                cable.set(End::Second, false);
            }
        }
        trio.taken_by("laptop");
        trio.stays(Some("laptop"), trio.bound * 2);
        trio.lab.node("laptop").set_cable("pair", true).unwrap();
        trio.settled(GROUP, "laptop");
        trio.never_two();
    }
}

#[test]
fn a_stranger_is_told_about_and_gets_no_vote() {
    let trio = Trio::running(Way::Udp);
    let from = trio.told();
    trio.kill_witness();
    trio.write(WITNESS, "keys", &format!("use 1\n1 {}\n", "6b".repeat(32)));
    trio.start_witness();
    trio.logged(WITNESS, from, &["no key here opens", "copy the key file"]);
    trio.witness_is("dead");
    trio.stays(Some("pi"), LONG);
}
