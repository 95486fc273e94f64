//! The lease gate: an address is silent when its daemon's word is over, not a second later.
use crate::scene::{Pair, Setup, ms};
use latido::platform::bpf::{Direction, attached};
use latido::platform::netlink::Socket;
use rustix::process::Signal;
use std::time::Instant;

const FAST: Setup = Setup {
    interval: ms(10),
    dead: ms(30),
    initial_dead: ms(3000),
    paths: &[crate::scene::Path::Lan, crate::scene::Path::Crossover],
    switch: latido::lab::Switch::Bridge,
    block_on_stop_failure: false,
    start_timeout: ms(20_000),
    stop_timeout: ms(20_000),
    baud: 115_200,
};

/// How many programs are on the interfaces of a node.
fn programs(pair: &Pair, node: &str) -> usize {
    let count = || {
        let links = Socket::open().expect("netlink").links().expect("a list");
        let sides = links.iter().flat_map(|link| Direction::BOTH.map(|side| (link.index, side)));
        sides.map(|(index, side)| attached(index, side).expect("Linux 6.6").len()).sum()
    };
    pair.node(node).inside(count).unwrap()
}

/// The owner's daemons are struck; its service, its kernel and its cables live on.
fn strike(signal: Signal) {
    let pair = Pair::running(FAST);
    assert_eq!(pair.status("pi")["gate"]["active"], true, "{}", pair.status("pi")["gate"]);
    let daemon = pair.node("pi").daemon().expect("a daemon").pid;
    let from = Instant::now();
    pair.node("pi").signal_family(daemon, signal);
    let struck = Instant::now();
    pair.answered_by("laptop");
    std::thread::sleep(ms(1500));
    let end = Instant::now();
    // Its last word holds for `dead`; a request takes a moment, this machine now and then a few.
    let late = pair.client().missed(struck + FAST.dead + ms(10), end);
    println!("SIG{signal:?}: {:?}", pair.client().missed(from, end));
    assert_eq!(late.served.get("pi"), None, "it still answers: {late:?}");
    assert!(late.served["laptop"] > 1000, "{late:?}");
    // Nobody is left, and it stays shut: the kernel has its address for a second more.
    assert!(programs(&pair, "pi") >= 4, "two interfaces, two sides");
}

#[test]
fn a_stopped_owner_is_silent_when_its_word_is_over() {
    strike(Signal::STOP);
}

#[test]
fn a_killed_owner_is_silent_when_its_word_is_over() {
    strike(Signal::KILL);
}

#[test]
fn without_a_successor_it_is_silent_just_as_soon() {
    // Nobody draws the client away, so only the gate can end the answers before the lifetime does.
    for signal in [Signal::STOP, Signal::KILL] {
        let pair = Pair::running(FAST);
        pair.node("laptop").power_cut().unwrap();
        pair.wait("pi to know that it is alone", || {
            (pair.peer_state("pi") == "dead").then_some(())
        });
        pair.answered_by("pi");
        let daemon = pair.node("pi").daemon().expect("a daemon").pid;
        pair.node("pi").signal_family(daemon, signal);
        let struck = Instant::now();
        std::thread::sleep(ms(600));
        let late = pair.client().missed(struck + FAST.dead + ms(10), Instant::now() - ms(100));
        assert_eq!(pair.holders(), ["pi"], "the address itself is still there");
        assert!(late.asked > 100 && late.served.is_empty(), "SIG{signal:?}: {late:?}");
    }
}

#[test]
fn a_new_engine_takes_the_gate_over_and_no_client_notices() {
    let pair = Pair::running(Setup::default());
    for _ in 0..3 {
        let ours = pair.mark("pi");
        let before = programs(&pair, "pi");
        let from = Instant::now();
        pair.kill("pi", pair.node("pi").engine().expect("an engine").pid);
        ours.wait("found running here and kept");
        std::thread::sleep(ms(300));
        let missed = pair.client().missed(from, Instant::now() - ms(50));
        assert!(missed.silence < ms(20) + missed.own_pause, "{missed:?}");
        assert_eq!(programs(&pair, "pi"), before);
    }
}

#[test]
fn an_orderly_stop_leaves_nothing_and_a_standby_reaches_the_owner() {
    let pair = Pair::running(Setup::default());
    assert!(programs(&pair, "laptop") >= 4);
    let address = crate::scene::VIRTUAL;
    let asked = pair.node("laptop").inside(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("bound");
        socket.set_read_timeout(Some(ms(2000))).expect("set");
        socket.send_to(b"who", (address, crate::world::PORT)).expect("sent");
        socket.recv_from(&mut [0; 64]).map(|_| ())
    });
    asked.unwrap().expect("the other node is a client like any other");
    for node in ["pi", "laptop"] {
        let (code, said) = pair.latido(node, &["stop"]);
        assert_eq!(code, 0, "{said}");
        pair.wait_for_end(node);
        assert_eq!(programs(&pair, node), 0, "{node}");
    }
}
