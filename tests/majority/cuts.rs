//! Cables cut in turn, in pairs, and around each voter, while both clients ask every 2 ms.
use crate::scene::{CLIENTS, NODES, Third, Timing, Trio, VIRTUAL, WITNESS, ms, wire, wires};
use crate::strikes::revive;
use crate::{long, signal};
use latido::lab::trunk::{Way, Wire};
use rustix::process::Signal;
use std::time::{Duration, Instant};

const TIMING: Timing = Timing { interval: ms(10), dead: ms(30), stop: ms(10) };

/// The switches of the LAN from west to east, each with the voter on it.
const LAN: [(&str, &str); 3] = [("west", "pi"), ("middle", WITNESS), ("east", "laptop")];

/// Whether frames pass both ways between a switch of the LAN and a node.
fn reaches(from: &str, node: &str, cut: &[Wire]) -> bool {
    let place = |name: &str| {
        let found = LAN.iter().position(|(switch, voter)| name == *switch || name == *voter);
        found.expect("on the LAN")
    };
    let (one, two) = (place(from), place(node));
    let trunks = LAN[one.min(two)..=one.max(two)].windows(2);
    let mut path: Vec<Wire> = trunks.map(|pair| wire(pair[0].0, pair[1].0)).collect();
    path.push(wire(node, LAN[two].0));
    path.iter().all(|wire| !cut.contains(wire))
}

/// The clients on whose side `node` is.
fn clients_of(node: &str, cut: &[Wire]) -> Vec<&'static str> {
    CLIENTS.into_iter().filter(|client| reaches(client, node, cut)).collect()
}

/// All cables over which heartbeats come to a voter from the others: `near` it, so that it is
/// alone, or behind its switch, so that the client there is with it.
fn around(voter: &str, near: bool) -> Vec<Wire> {
    let switch = LAN.iter().find(|(_, name)| *name == voter).expect("on the LAN").0;
    let between = [("pi", "laptop"), ("pi", WITNESS), ("laptop", WITNESS)];
    let cables = between.into_iter().filter(|(one, two)| [*one, *two].contains(&voter));
    let mut all: Vec<Wire> = cables.map(|(one, two)| wire(one, two)).collect();
    let trunks = [("west", "middle"), ("middle", "east")];
    if near {
        all.push(wire(voter, switch));
    } else {
        let ours = trunks.into_iter().filter(|(one, two)| [*one, *two].contains(&switch));
        all.extend(ours.map(|(one, two)| wire(one, two)));
    }
    all
}

fn name(cut: &[Wire]) -> String {
    let names = cut.iter().map(|wire| match wire {
        Wire::Port { machine, network } => format!("{machine} at {network}"),
        Wire::Trunk(name) => name.clone(),
    });
    names.collect::<Vec<_>>().join(" and ")
}

/// Longer than whatever could follow from a cut.
fn hold(trio: &Trio) -> Duration {
    trio.bound * 2 + trio.timing.dead
}

/// Waits until the clients on the owner's side are answered by it.
fn serves(trio: &Trio, cut: &[Wire]) {
    let since = Instant::now();
    trio.wait("whoever reaches the owner to be answered by it", || {
        let owner = trio.owner();
        let answered = |client: &str| {
            let last = trio.client(client).last_answer();
            last.is_some_and(|(server, at)| server == owner && at > since)
        };
        clients_of(owner, cut).into_iter().all(answered).then_some(())
    });
}

/// Cuts, lets time pass, mends, and waits until all is well again. One or two cables leave every
/// voter a way to a majority, so whoever is on the owner's side of the LAN is served throughout.
fn cut_and_mend(trio: &Trio, cut: &[Wire], what: &str) {
    let from = Instant::now();
    trio.set_cut(cut, true);
    let done = Instant::now();
    std::thread::sleep(hold(trio));
    serves(trio, cut);
    let mended = Instant::now();
    trio.set_cut(cut, false);
    let owner = trio.settle();
    let to = Instant::now();
    trio.never_two(what, from, to);
    // What is cut is cut.
    for client in CLIENTS {
        let across = trio
            .client(client)
            .answers(done, mended)
            .into_iter()
            .find(|answer| answer.asked > done && !reaches(client, &answer.server, cut));
        assert_eq!(across, None, "{what}: {client} was answered across it");
    }
    // One that stood still for a moment, because the machine did, may have lost the group; even
    // so those who reach both nodes are without an answer for no longer than the bound.
    for client in CLIENTS
        .iter()
        .filter(|client| NODES.iter().all(|node| clients_of(node, cut).contains(client)))
    {
        let missed = trio.client(client).missed(done, mended);
        let allowed = trio.bound + missed.own_pause * 2 + ms(20);
        assert!(missed.silence <= allowed, "{what}: {client} {missed:?}, bound {:?}", trio.bound);
    }
    println!("{what}: {owner} serves; mended in {:.0?}", to - mended);
}

#[test]
fn every_cable_and_every_two_cables_cut_leave_one_owner() {
    let trio = Trio::running(Third::Witness, TIMING, ms(2));
    let all = wires();
    for (index, one) in all.iter().enumerate() {
        cut_and_mend(&trio, std::slice::from_ref(one), &name(std::slice::from_ref(one)));
        for two in &all[index + 1..] {
            let cut = [one.clone(), two.clone()];
            cut_and_mend(&trio, &cut, &name(&cut));
        }
    }
}

/// What a voter still has to do with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    /// Nothing.
    Whole,
    /// It is heard, and hears nothing.
    Deaf,
    /// It hears, and nothing is heard of it.
    Mute,
}

impl Isolation {
    /// The directions that are cut of a cable of the voter; of a trunk as well, if it names the
    /// voter's switch first.
    fn ways(self, first: bool) -> Vec<Way> {
        match self {
            Isolation::Whole => Way::BOTH.to_vec(),
            Isolation::Deaf if first => vec![Way::Back],
            Isolation::Mute if !first => vec![Way::Back],
            Isolation::Deaf | Isolation::Mute => vec![Way::There],
        }
    }
}

/// Cuts a voter off. A cable between two voters starts at the one that its name names first.
fn set_isolated(trio: &Trio, voter: &str, near: bool, isolation: Isolation, cut: bool) {
    let switch = LAN.iter().find(|(_, name)| *name == voter).expect("on the LAN").0;
    for wire in around(voter, near) {
        let first = match &wire {
            Wire::Port { machine, .. } => machine == voter,
            Wire::Trunk(name) => name.starts_with(switch),
        };
        for way in isolation.ways(first) {
            trio.lab.set_cut(&wire, way, cut).unwrap();
        }
    }
}

/// Isolates a voter. The group moves if it was the owner, within the bound, and else it does not.
fn isolate(trio: &Trio, voter: &'static str, near: bool, isolation: Isolation) {
    let owner = trio.owner();
    let side = if near { "alone" } else { "with its client" };
    let what = format!("{voter}, {owner} being the owner, isolated {side}: {isolation:?}");
    let cut = around(voter, near);
    let from = Instant::now();
    set_isolated(trio, voter, near, isolation, true);
    let done = Instant::now();
    let expected = if voter == owner { Trio::peer_of(owner) } else { owner };
    // In one direction datagrams of clients are lost as well: nobody answers across.
    let served = trio.first_answer(expected, done);
    std::thread::sleep(hold(trio));
    serves(trio, &cut);
    trio.within_bound(&format!("{what}: served"), served - done, done);
    let mended = Instant::now();
    set_isolated(trio, voter, near, isolation, false);
    trio.settle();
    let to = Instant::now();
    trio.never_two(&what, from, to);
    println!("{what}: served after {:.1?}; mended in {:.0?}", served - done, to - mended);
}

#[test]
fn an_isolated_voter_never_answers_beside_the_majority() {
    let trio = Trio::running(Third::Witness, TIMING, ms(2));
    for _ in 0..if long() { 4 } else { 1 } {
        for near in [true, false] {
            for isolation in [Isolation::Whole, Isolation::Deaf, Isolation::Mute] {
                // The owner, thereby the other; the one that owns nothing; the third vote.
                isolate(&trio, trio.owner(), near, isolation);
                isolate(&trio, trio.owner(), near, isolation);
                isolate(&trio, Trio::peer_of(trio.owner()), near, isolation);
                isolate(&trio, WITNESS, near, isolation);
            }
        }
    }
}

/// The owner's daemons are struck in the moment in which it is cut off together with a client,
/// who goes on asking it. Without the lease gate it answers, and that is found.
fn strike_and_isolate(trio: &Trio, signal: Signal, gated: bool) {
    let owner = trio.settle();
    let other = Trio::peer_of(owner);
    let what = format!("SIG{signal:?} of {owner}, isolated with its client");
    let from = Instant::now();
    let struck = trio.strike(owner, signal);
    set_isolated(trio, owner, false, Isolation::Whole, true);
    if !gated {
        trio.strip(owner);
    }
    let served = trio.first_answer(other, struck);
    if gated {
        trio.within_bound(&format!("{what}: served"), served - struck, struck);
    }
    std::thread::sleep(hold(trio));
    let to = Instant::now();
    match trio.judge(from, to) {
        Ok(()) => assert!(gated, "{what}: two owners were not found"),
        Err(why) => assert!(!gated, "{what}: {why}"),
    }
    revive(trio, owner, signal);
    trio.wait("the struck node to let go", || (trio.holders(VIRTUAL) == [other]).then_some(()));
    set_isolated(trio, owner, false, Isolation::Whole, false);
    trio.settle();
    if gated {
        trio.never_two(&what, from, Instant::now());
    }
    println!("{what}: served after {:.1?}, gate {gated}", served - struck);
}

#[test]
fn a_struck_owner_alone_with_its_client_is_silent() {
    let trio = Trio::running(Third::Witness, TIMING, ms(2));
    for run in 0..if long() { 40 } else { 8 } {
        std::thread::sleep(ms(run * 3 % 10));
        strike_and_isolate(&trio, signal(run), true);
    }
    strike_and_isolate(&trio, Signal::STOP, false);
}

#[test]
fn three_voters_without_each_other_serve_nobody_until_two_have_met() {
    let trio = Trio::running(Third::Witness, TIMING, ms(2));
    let all = wires();
    let (owner, from) = (trio.owner(), Instant::now());
    trio.set_cut(&all, true);
    let silent = || {
        let answers = |client: &&str| trio.client(client).last_answer().expect("answered before");
        let last = CLIENTS.iter().map(answers).map(|(_, at)| at).max();
        last.filter(|at| at.elapsed() > hold(&trio))
    };
    trio.wait("silence", silent);
    trio.wait("nobody to have the address", || trio.holders(VIRTUAL).is_empty().then_some(()));
    let other = Trio::peer_of(owner);
    // The other one and the third vote meet again, over the LAN alone.
    let switch = LAN.iter().find(|(_, name)| *name == other).expect("on the LAN").0;
    let trunks = [wire("west", "middle"), wire("middle", "east")];
    let ports = [wire(WITNESS, "middle"), wire(other, switch)];
    trio.set_cut(&[trunks, ports].concat(), false);
    for client in CLIENTS {
        trio.answered_by(trio.client(client), other);
    }
    trio.set_cut(&all, false);
    trio.settle();
    trio.never_two("all cables", from, Instant::now());
}

/// A client behind a cable that was cut while the group moved is led to the new owner when the
/// cable is mended, although no node was ever silent.
fn lead_back(trio: &Trio, cut: impl Fn(&Trio, bool), what: &str) {
    let from = Instant::now();
    trio.bring_to("pi");
    cut(trio, true);
    if trio.owner() == "pi" {
        let (code, said) = trio.latido("laptop", &["takeover"]);
        assert_eq!(code, 0, "{said}");
    }
    trio.answered_by(trio.client("east"), "laptop");
    // The new owner has announced itself for the last time, 5 s after it began.
    let begun = trio.lab.ownership().of(VIRTUAL).last().unwrap().from;
    while begun.elapsed() < ms(5500) {
        std::thread::sleep(ms(10));
    }
    let mended = Instant::now();
    cut(trio, false);
    trio.answered_by(trio.client("west"), "laptop");
    // Left alone the client's kernel asks for the old owner for five seconds and more.
    assert!(mended.elapsed() < ms(3000), "{what}: led back after {:?}", mended.elapsed());
    trio.settle();
    trio.never_two(what, from, Instant::now());
    println!("{what}: led back after {:.1?}", mended.elapsed());
}

#[test]
fn clients_behind_a_cut_cable_are_led_to_the_new_owner_when_it_is_mended() {
    // Nothing may move by itself for seconds.
    let timing = Timing { interval: ms(50), dead: ms(500), ..TIMING };
    let trio = Trio::running(Third::Node, timing, ms(2));
    let trunk = |trio: &Trio, cut| trio.set_cut(&[wire("west", "middle")], cut);
    lead_back(&trio, trunk, "a trunk of the LAN");
    if long() {
        // Heard by all the others, all the time.
        let deaf = |trio: &Trio, cut| {
            set_isolated(trio, "pi", false, Isolation::Deaf, cut);
            trio.wait("the end of its lease", || {
                (!cut || trio.holders(VIRTUAL) == ["laptop"]).then_some(())
            });
        };
        lead_back(&trio, deaf, "all cables, towards the owner");
    }
}
