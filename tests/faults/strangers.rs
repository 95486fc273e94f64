//! Strangers: what a third machine on the LAN, or noise on the cable, can send.
use crate::scene::{Pair, STRANGER, Setup, VIRTUAL, ms};
use latido::core::seal::Keys;
use latido::core::wire::{Body, HEADER_LEN, Header};
use latido::lab::cable::End;
use latido::lab::{CROSSOVER, LAN, Switch, process, wait};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PORT: u16 = 694;
const EVERYBODY: (Ipv4Addr, u16) = (Ipv4Addr::BROADCAST, PORT);
/// Frames per second of a flood.
const FLOOD: u32 = 20_000;

/// The stranger's socket: it hears what the nodes broadcast, and can broadcast itself.
fn stranger(pair: &Pair) -> UdpSocket {
    pair.lab
        .client(STRANGER)
        .run(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_broadcast(true)?;
            socket.bind_device(Some(b"eth0"))?;
            socket.bind(&SocketAddr::from(EVERYBODY).into())?;
            socket.set_read_timeout(Some(ms(100)))?;
            Ok::<_, std::io::Error>(UdpSocket::from(socket))
        })
        .unwrap()
}

/// What the stranger hears for so long.
fn capture(socket: &UdpSocket, period: Duration) -> Vec<Vec<u8>> {
    let (begin, mut frames) = (Instant::now(), Vec::new());
    let mut buffer = [0; 2048];
    while begin.elapsed() < period {
        if let Ok(length) = socket.recv(&mut buffer) {
            frames.push(buffer[..length].to_vec());
        }
    }
    assert!(frames.len() > 10, "the stranger heard {} frames", frames.len());
    frames
}

/// Evenly distributed numbers (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Makes up bad frames from what was overheard.
struct Forger {
    heard: Vec<Vec<u8>>,
    keys: Keys,
    random: Random,
    turn: usize,
}

impl Forger {
    fn new(heard: Vec<Vec<u8>>) -> Forger {
        // The number of the true key, and another secret.
        let keys = Keys::new(1, &[(1, [0x66; 32])]).unwrap();
        Forger { heard, keys, random: Random(0x1d0_5eed), turn: 0 }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut frame = self.heard[self.random.below(self.heard.len())].clone();
        self.turn += 1;
        match self.turn % 5 {
            // As it was.
            0 => {}
            // Sealed with a wrong key, in the name and incarnation of a node, and newer.
            1 => {
                let mut header = Header::decode(&frame).unwrap();
                header.sequence += 1_000_000 + self.turn as u64;
                let mut out = [0; latido::core::limits::FRAME_MAX];
                let length = self.keys.seal(&header, &Body::default(), &mut out).unwrap();
                frame = out[..length].to_vec();
            }
            2 => frame.truncate(self.random.below(frame.len())),
            // One bit.
            3 => {
                let at = self.random.below(frame.len());
                frame[at] ^= 1 << self.random.below(8);
            }
            _ => {
                let length = self.random.below(1400);
                frame = (0..length).map(|_| self.random.next().to_le_bytes()[3]).collect();
            }
        }
        frame
    }
}

/// A thread that sends until it is told to end; returns how many frames it sent.
struct Flood {
    end: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flood {
    fn begin(socket: UdpSocket, mut forger: Forger) -> Flood {
        let end = Arc::new(AtomicBool::new(false));
        // Made before, so that an unoptimised forger is fast enough.
        let frames: Vec<Vec<u8>> = (0..FLOOD).map(|_| forger.next()).collect();
        let stop = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let (begin, mut sent) = (Instant::now(), 0);
            let mut frames = frames.iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                let due = (begin.elapsed() * FLOOD).as_secs();
                // A busy machine is behind; it does not catch up with more than a burst.
                let burst = usize::try_from((due - sent).min(400)).unwrap();
                for frame in frames.by_ref().take(burst) {
                    let _ = socket.send_to(frame, EVERYBODY);
                    sent += 1;
                }
                std::thread::sleep(ms(1));
            }
            sent
        });
        Flood { end, thread }
    }

    fn end(self) -> u64 {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn counter(pair: &Pair, node: &str, names: &[&str]) -> u64 {
    let counters = pair.status(node)["counters"].clone();
    names.iter().map(|name| counters[*name].as_u64().expect("a counter")).sum()
}

#[test]
fn a_flood_of_forged_and_replayed_frames_changes_nothing_but_counters() {
    let pair = Pair::running(Setup::default());
    let socket = stranger(&pair);
    let heard = capture(&socket, ms(1000));
    let forger = Forger::new(heard);
    // What is replayed is older than the dead time, as a recording is.
    std::thread::sleep(pair.setup.dead);
    let still = pair.still();
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    let engines = ["pi", "laptop"].map(|node| pair.node(node).engine().expect("an engine").pid);
    let cpu = |index: usize| process::usage(engines[index]).unwrap().cpu;
    let before: Vec<_> = ["pi", "laptop"]
        .map(|node| {
            let fresh = counter(&pair, node, &["fresh", "doubled"]);
            (fresh, counter(&pair, node, &["unsealed"]), counter(&pair, node, &["stale"]))
        })
        .to_vec();
    let cpu_before = [cpu(0), cpu(1)];
    let begin = Instant::now();
    let flood = Flood::begin(socket, forger);
    still.for_as_long_as(ms(5000));
    let took = begin.elapsed();
    let sent = flood.end();
    let per_s = |used: Duration| used.as_secs_f64() / took.as_secs_f64() * 100.0;
    eprintln!(
        "{:.0} frames per second for {took:?}; engines: {:.0} % and {:.0} % of a CPU",
        sent as f64 / took.as_secs_f64(),
        per_s(cpu(0) - cpu_before[0]),
        per_s(cpu(1) - cpu_before[1]),
    );
    assert!(sent > u64::from(FLOOD), "a flood of {sent} frames is none");
    for ((node, mark), (fresh, unsealed, stale)) in
        ["pi", "laptop"].into_iter().zip(&marks).zip(before)
    {
        // The peer's heartbeats came through: 20 a second on each of three links.
        let heartbeats = counter(&pair, node, &["fresh", "doubled"]) - fresh;
        assert!(heartbeats > 100, "{node} took {heartbeats} heartbeats in {took:?}");
        assert!(counter(&pair, node, &["unsealed"]) > unsealed + 1000);
        assert!(counter(&pair, node, &["stale"]) > stale + 1000);
        mark.never("is dead");
        mark.never("claimed by this node");
        let written = mark.since().len();
        let limit = 1024.0 * took.as_secs_f64();
        assert!((written as f64) < limit, "{written} bytes in {took:?}:\n{}", mark.since());
    }
    pair.settled("pi");
    still.check();
}

#[test]
fn a_flood_does_not_keep_a_dead_node_alive() {
    let pair = Pair::running(Setup::default());
    let socket = stranger(&pair);
    let forger = Forger::new(capture(&socket, ms(1000)));
    let theirs = pair.mark("laptop");
    let flood = Flood::begin(socket, forger);
    pair.node("pi").power_cut().unwrap();
    theirs.wait("node pi is dead");
    pair.owned("laptop");
    pair.answered_by("laptop");
    flood.end();
}

#[test]
fn noise_on_the_serial_cable_changes_nothing() {
    let pair = Pair::running(Setup::default());
    let still = pair.still();
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    let cable = pair.lab.cable(0).unwrap();
    let mut random = Random(0xcab1e);
    let begin = Instant::now();
    while begin.elapsed() < ms(4000) {
        for end in [End::First, End::Second] {
            let noise: Vec<u8> = (0..200).map(|_| random.next().to_le_bytes()[5]).collect();
            cable.inject(end, &noise);
        }
        std::thread::sleep(ms(50));
    }
    still.check();
    for mark in &marks {
        mark.never("is dead");
        mark.never("claimed by this node");
        let limit = 1024.0 * begin.elapsed().as_secs_f64();
        let written = mark.since();
        assert!((written.len() as f64) < limit, "{written}");
    }
    // The line works again when it is quiet.
    pair.settled("pi");
    still.check();
}

/// Frames of heartbeats (UDP over IPv4) among recorded ones. Their checksum is left out (0): the
/// sender's kernel had left it to the network card, and the receiver's would drop them.
fn heartbeats(recorded: Vec<latido::lab::relay::Recorded>) -> Vec<Vec<u8>> {
    let frames = recorded.into_iter().filter(|one| one.from == "pi" || one.from == "laptop");
    let to_port = |frame: &Vec<u8>| {
        // Ethernet 14, IPv4 20, the destination port at 2.
        frame.get(12..14) == Some(&[8, 0])
            && frame.get(23) == Some(&17)
            && frame.get(36..38) == Some(&PORT.to_be_bytes()[..])
            && frame.len() > 42 + HEADER_LEN
    };
    let mut heartbeats: Vec<Vec<u8>> = frames.map(|one| one.frame).filter(to_port).collect();
    heartbeats.iter_mut().for_each(|frame| frame[40..42].fill(0));
    heartbeats
}

#[test]
fn a_capture_of_the_dead_peer_does_not_convince_a_fresh_node() {
    let setup = Setup {
        switch: Switch::Relay,
        initial_dead: ms(3000),
        paths: &[crate::scene::Path::Lan, crate::scene::Path::Crossover],
        ..Setup::default()
    };
    let pair = Pair::running(setup);
    let networks = [LAN, CROSSOVER];
    for network in networks {
        pair.lab.relay(network).unwrap().record();
    }
    std::thread::sleep(ms(2000));
    let captured = networks.map(|network| heartbeats(pair.lab.relay(network).unwrap().recorded()));
    assert!(captured.iter().all(|frames| frames.len() > 40), "too little was captured");
    pair.node("pi").power_cut().unwrap();
    pair.node("laptop").power_cut().unwrap();
    pair.clear_record();
    let theirs = pair.mark("laptop");
    let booted = Instant::now();
    pair.boot("laptop");
    // Everything that was ever said is said again, exactly as it was, several times a second.
    let mut frames = captured.iter().map(|frames| frames.iter().cycle()).collect::<Vec<_>>();
    let mut replay = || {
        for (network, frames) in networks.iter().zip(&mut frames) {
            let relay = pair.lab.relay(network).unwrap();
            for frame in frames.take(5) {
                relay.inject(Some("laptop"), frame);
            }
        }
        std::thread::sleep(ms(5));
    };
    wait::until(crate::scene::SOON, "the fresh node to take over", || {
        replay();
        if pair.node("laptop").status().is_ok() {
            let state = pair.peer_state("laptop");
            assert!(
                !["alive", "late"].contains(&state.as_str()),
                "it believes in the dead: {state}"
            );
        }
        (pair.holders() == ["laptop"]).then_some(())
    })
    .unwrap();
    let taken = pair.lab.ownership().of(VIRTUAL).last().unwrap().from - booted;
    // With the initial dead time: not before it, and not prolonged by what was replayed.
    assert!(taken >= pair.setup.initial_dead, "{taken:?}");
    assert!(taken < pair.setup.initial_dead * 3, "{taken:?}");
    pair.owned("laptop");
    let still = pair.still();
    let begin = Instant::now();
    while begin.elapsed() < pair.setup.dead * 2 {
        replay();
    }
    still.check();
    theirs.never("node pi is alive");
    assert_eq!(pair.record(), ["laptop start"]);
    let judged = counter(&pair, "laptop", &["stale", "replaced", "own"]);
    assert!(judged > 500, "only {judged} replayed frames arrived");
}
