//! What one heartbeat costs the core: `cargo bench --no-default-features --features _sim`.
//!
//! Real peers exchange real frames; what is measured is one frame of one of them, handled by a copy
//! of another in the steady state.
use divan::Bencher;
use divan::counter::BytesCount;
use latido::core::framing::{Deframer, ENCODED_MAX, encode};
use latido::core::id::{Incarnation, LinkId};
use latido::core::io::{Input, Outcome, Output, Phase};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX};
use latido::core::time::Instant;
use latido::core::{Cluster, Identity, Rule};
use latido::sim::Setup;
use std::hint::black_box;

/// Voters and groups.
const SIZES: [(usize, usize); 3] = [(2, 2), (3, 3), (8, 32)];

fn main() {
    for (nodes, groups) in SIZES {
        let talk = Talk::new(nodes, groups);
        println!(
            "frame of {nodes} voters, {groups} groups: {} bytes, {} on a serial line",
            talk.frame.len(),
            line(&talk.frame).len()
        );
    }
    divan::main();
}

/// Nodes in the steady state, and the frame that the last of them has just sent.
struct Talk {
    clusters: Vec<Cluster>,
    frame: Vec<u8>,
    now: u64,
    link: LinkId,
}

impl Talk {
    fn new(nodes: usize, groups: usize) -> Talk {
        let rule = if nodes == 2 { Rule::AssumeDead } else { Rule::Majority };
        // Times as on a LAN; the machines have been up for a day.
        let setup = Setup {
            nodes,
            groups,
            links: 2,
            rule,
            interval: 100_000,
            warn: 300_000,
            dead: 1_000_000,
            ..Setup::default()
        };
        let now = 86_400_000_000;
        let born = |node: usize| {
            let held_until = [Instant::default(); GROUPS_MAX];
            let incarnation = Incarnation(0x9abc_def0_1234_5678 + node as u64);
            let identity = Identity { incarnation, memory: None, held_until, seed: 5 };
            Cluster::new(setup.config(node), &identity, Instant::from_micros(now))
        };
        let link = LinkId::new(0).expect("the first link");
        let mut clusters: Vec<Cluster> = (0..nodes).map(born).collect();
        for cluster in &mut clusters {
            cluster.handle(Instant::from_micros(now), Input::Link { link, up: true });
        }
        let mut talk = Talk { clusters, frame: Vec::new(), now, link };
        while talk.now < now + 20_000_000 || talk.frame.is_empty() {
            talk.round();
        }
        let running = |cluster: &Cluster| {
            let groups = cluster.status().groups;
            groups.iter().filter(|group| group.local == Phase::Running).count()
        };
        assert_eq!(talk.clusters.iter().map(running).sum::<usize>(), groups, "not settled");
        talk
    }

    /// A millisecond: whoever is due sends; the last frame of the last node is not delivered.
    fn round(&mut self) {
        if !self.frame.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            self.deliver(self.clusters.len() - 1, &frame);
        }
        self.now += 1_000;
        for node in 0..self.clusters.len() {
            let at = self.now + node as u64;
            self.clusters[node].handle(Instant::from_micros(at), Input::Tick);
            if let Some(frame) = carry_out(&mut self.clusters[node], at) {
                if node + 1 == self.clusters.len() {
                    self.frame = frame;
                } else {
                    self.deliver(node, &frame);
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, bytes: &[u8]) {
        let at = Instant::from_micros(self.now + 200);
        for (node, cluster) in self.clusters.iter_mut().enumerate() {
            if node != from {
                cluster.handle(at, Input::Frame { link: self.link, bytes });
            }
        }
    }

    /// The node that hears the frame: all its outputs are drained.
    fn hearer(&self) -> Cluster {
        self.clusters[0].clone()
    }
}

/// Does what the core says, at once and with success; the frame that it sends.
fn carry_out(cluster: &mut Cluster, now: u64) -> Option<Vec<u8>> {
    let mut buffer = [0; FRAME_MAX];
    let mut frame = None;
    while let Some(output) = cluster.poll(&mut buffer) {
        let (group, job, outcome) = match output {
            Output::Start { group, job } => (group, job, Outcome::Running),
            Output::Stop { group, job } | Output::Probe { group, job } => {
                (group, job, Outcome::Stopped)
            }
            Output::Transmit { len, .. } => {
                frame = Some(buffer[..usize::from(len)].to_vec());
                continue;
            }
            _ => continue,
        };
        cluster.handle(Instant::from_micros(now), Input::Report { group, job, outcome });
    }
    frame
}

fn line(frame: &[u8]) -> Vec<u8> {
    let mut out = [0; ENCODED_MAX];
    let len = encode(frame, &mut out).expect("a frame fits");
    out[..len].to_vec()
}

/// A heartbeat of a peer: unsealed, judged, every decision taken, everything said polled.
#[divan::bench(args = SIZES)]
fn handle_heartbeat(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let talk = Talk::new(nodes, groups);
    let at = Instant::from_micros(talk.now + 200);
    bencher.with_inputs(|| talk.hearer()).bench_local_refs(|cluster| {
        cluster.handle(at, Input::Frame { link: talk.link, bytes: black_box(&talk.frame) });
        let mut buffer = [0; FRAME_MAX];
        while let Some(output) = cluster.poll(&mut buffer) {
            black_box(output);
        }
    });
}

/// The second copy of it, by another link.
#[divan::bench(args = SIZES)]
fn handle_second_copy(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let talk = Talk::new(nodes, groups);
    let at = Instant::from_micros(talk.now + 200);
    let mut hearer = talk.hearer();
    hearer.handle(at, Input::Frame { link: talk.link, bytes: &talk.frame });
    carry_out(&mut hearer, talk.now + 200);
    let at = Instant::from_micros(talk.now + 210);
    bencher.with_inputs(|| hearer.clone()).bench_local_refs(|cluster| {
        cluster.handle(at, Input::Frame { link: talk.link, bytes: black_box(&talk.frame) });
        let mut buffer = [0; FRAME_MAX];
        while let Some(output) = cluster.poll(&mut buffer) {
            black_box(output);
        }
    });
}

/// A frame of a stranger who has no key.
#[divan::bench(args = SIZES)]
fn refuse_forgery(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let mut talk = Talk::new(nodes, groups);
    let at = Instant::from_micros(talk.now + 200);
    let last = talk.frame.len() - 1;
    talk.frame[last] ^= 1;
    let mut cluster = talk.hearer();
    bencher.bench_local(|| {
        cluster.handle(at, Input::Frame { link: talk.link, bytes: black_box(&talk.frame) });
    });
}

/// The node's own heartbeat: the turn, the frame, its seal.
#[divan::bench(args = SIZES)]
fn send_heartbeat(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let talk = Talk::new(nodes, groups);
    let idle = talk.hearer();
    let due = idle.deadline().at;
    bencher.with_inputs(|| idle.clone()).bench_local_refs(|cluster| {
        cluster.handle(due, Input::Tick);
        let mut buffer = [0; FRAME_MAX];
        while let Some(output) = cluster.poll(&mut buffer) {
            black_box(output);
        }
        buffer
    });
}

/// A tick at which nothing is due: what the turn alone costs.
#[divan::bench(args = SIZES)]
fn idle_tick(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let talk = Talk::new(nodes, groups);
    let mut cluster = talk.hearer();
    let mut now = talk.now + 200;
    let due = cluster.deadline().at;
    bencher.bench_local(|| {
        // Time must pass for anything to happen; a heartbeat must not fall due.
        now += 1;
        let at = Instant::from_micros(now);
        if at < due {
            cluster.handle(at, Input::Tick);
        } else {
            now = talk.now + 200;
            cluster = talk.hearer();
        }
    });
}

/// A frame as it goes on a serial line.
#[divan::bench(args = SIZES)]
fn line_encode(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let frame = Talk::new(nodes, groups).frame;
    let mut out = [0; ENCODED_MAX];
    bencher
        .counter(BytesCount::of_slice(&frame))
        .bench_local(|| encode(black_box(&frame), black_box(&mut out)));
}

/// The same, found again in the bytes of the line.
#[divan::bench(args = SIZES)]
fn line_decode(bencher: Bencher<'_, '_>, (nodes, groups): (usize, usize)) {
    let line = line(&Talk::new(nodes, groups).frame);
    let mut deframer = Deframer::new();
    bencher.counter(BytesCount::of_slice(&line)).bench_local(|| {
        let mut bytes = black_box(&line[..]);
        deframer.push(&mut bytes).map(<[u8]>::len)
    });
}
