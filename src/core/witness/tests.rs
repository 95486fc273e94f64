//! Two real nodes and a witness, wired directly; and a witness alone against anything.
use super::{Event, Input, Key, KeyError, Note, Output, Witness};
use crate::core::config::{Config, GroupSettings, Identity, Rule, Settings, StopFailure};
use crate::core::id::{GroupId, Incarnation, LinkId, LinkSet, NodeId, Term};
use crate::core::io::{self, NodeState, Outcome, Phase};
use crate::core::limits::FRAME_MAX;
use crate::core::seal::Keys;
use crate::core::time::{Duration, Instant};
use crate::core::wire::{
    Body, ClaimPart, FrameBuf, GroupPart, Header, Heard, NameHash, NodeFlags, SEAL_LEN,
};
use crate::core::{Cluster, MEMORY_MAX};
use proptest::prelude::*;
use std::vec::Vec;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const TAG: u32 = 0x77;
const PICO: NameHash = NameHash(0x9999);
const GROUP: NameHash = NameHash(0x4242);
const W: usize = 2;

fn keys() -> Keys {
    Keys::new(1, &[(1, [9; 32])]).unwrap()
}

fn node(index: usize) -> NodeId {
    NodeId::new(index).unwrap()
}

fn link() -> LinkId {
    LinkId::new(0).unwrap()
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn witness(incarnation: u64, now: u64) -> Witness<1> {
    let key = Key { tag: TAG, number: 1, key: [9; 32] };
    let mut witness = Witness::new(PICO, &[key], Incarnation(incarnation), at(now)).unwrap();
    witness.handle(at(now), Input::Link { link: link(), up: true });
    witness
}

fn config(me: usize) -> Config {
    let group = GroupSettings {
        name: GROUP,
        prefer: [node(0), node(1)].into_iter().collect(),
        failback: false,
        stop_budget: Duration::from_millis(50),
        ask: false,
        reset: false,
    };
    Config::new(Settings {
        me: node(me),
        nodes: 2,
        witnesses: [PICO].into_iter().collect(),
        in_force: true,
        interval: Duration::from_millis(100),
        warn: Duration::from_millis(300),
        dead: Duration::from_millis(1000),
        initial_dead: Duration::from_millis(3000),
        failback_delay: Duration::from_millis(10_000),
        rule: Rule::Majority,
        blackout: Duration::ZERO,
        stop_failure: StopFailure::Block,
        fence_delay: Duration::ZERO,
        fence_retry: Duration::from_millis(10_000),
        reset_takes: None,
        watchdog: None,
        references: 0,
        settle: None,
        groups: [group].into_iter().collect(),
        every: [1].into_iter().collect(),
        tag: TAG,
        digest: 7,
        voters_digest: 9,
        keys: keys(),
    })
    .unwrap()
}

fn lease() -> u64 {
    config(0).lease(GroupId::new(0).unwrap()).micros()
}

struct Scene {
    now: u64,
    nodes: [Option<Cluster>; 2],
    memories: [Option<Vec<u8>>; 2],
    witness: Option<Witness<1>>,
    runs: [bool; 2],
    /// `cut[from][to]`: frames are lost.
    cut: [[bool; 3]; 3],
    under_way: Vec<(u64, usize, Vec<u8>)>,
    starts: Vec<(u64, usize)>,
    events: Vec<(u64, usize, io::Event)>,
    notes: Vec<(u64, Note)>,
    from_witness: Vec<(u64, Vec<u8>)>,
    from_nodes: Vec<(u64, usize, Vec<u8>)>,
    born: u64,
}

impl Scene {
    /// Everything on, and long enough after that.
    fn settled() -> Scene {
        let mut scene = Scene {
            now: SECOND,
            nodes: [None, None],
            memories: [None, None],
            witness: Some(witness(500, SECOND)),
            runs: [false; 2],
            cut: [[false; 3]; 3],
            under_way: Vec::new(),
            starts: Vec::new(),
            events: Vec::new(),
            notes: Vec::new(),
            from_witness: Vec::new(),
            from_nodes: Vec::new(),
            born: 1000,
        };
        scene.power_on(0);
        scene.power_on(1);
        scene.run(15 * SECOND);
        assert_eq!((scene.runs, scene.starts.len()), ([true, false], 1));
        scene
    }

    /// The machine starts: nothing runs on it, and nothing is remembered.
    fn power_on(&mut self, index: usize) {
        self.memories[index] = None;
        self.runs[index] = false;
        self.begin(index);
    }

    fn power_off(&mut self, index: usize) {
        self.nodes[index] = None;
        self.runs[index] = false;
    }

    /// The daemon starts, with what an earlier one of this boot remembers.
    fn begin(&mut self, index: usize) {
        self.born += 1;
        let memory = self.memories[index].clone();
        let identity = Identity {
            incarnation: Incarnation(self.born),
            memory: memory.as_deref(),
            held_until: [at(self.now + SECOND); crate::core::limits::GROUPS_MAX],
            seed: self.born,
        };
        let mut cluster = Cluster::new(config(index), &identity, at(self.now));
        cluster.handle(at(self.now), io::Input::Link { link: link(), up: true });
        self.nodes[index] = Some(cluster);
        self.drain(index);
    }

    fn restart_witness(&mut self) {
        self.born += 1;
        self.witness = Some(witness(self.born, self.now));
    }

    fn run(&mut self, span: u64) {
        let end = self.now + span;
        while self.now < end {
            self.now += MS;
            self.step();
            assert!(self.runs != [true, true], "two owners at {} µs", self.now);
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, _) =
            self.under_way.drain(..).partition(|(arrives, ..)| *arrives <= now);
        self.under_way = later;
        for (_, to, bytes) in due {
            self.receive(to, &bytes);
        }
        for index in 0..2 {
            if let Some(cluster) = &mut self.nodes[index]
                && cluster.deadline().at <= at(now)
            {
                cluster.handle(at(now), io::Input::Tick);
                self.drain(index);
            }
        }
        if let Some(witness) = &mut self.witness
            && witness.deadline() <= at(now)
        {
            witness.handle(at(now), Input::Tick);
            self.drain_witness();
        }
    }

    fn receive(&mut self, to: usize, bytes: &[u8]) {
        let now = at(self.now);
        if to == W {
            let Some(witness) = &mut self.witness else { return };
            witness.handle(now, Input::Frame { link: link(), bytes });
            self.drain_witness();
        } else if let Some(cluster) = &mut self.nodes[to] {
            cluster.handle(now, io::Input::Frame { link: link(), bytes });
            self.drain(to);
        }
    }

    fn send(&mut self, from: usize, bytes: &[u8]) {
        for to in (0..3).filter(|to| *to != from && !self.cut[from][*to]) {
            self.under_way.push((self.now + MS, to, bytes.to_vec()));
        }
    }

    fn drain_witness(&mut self) {
        let mut frame = [0; FRAME_MAX];
        while let Some(output) = self.witness.as_mut().and_then(|known| known.poll(&mut frame)) {
            match output {
                Output::Transmit { len, .. } => {
                    let bytes = frame[..usize::from(len)].to_vec();
                    self.from_witness.push((self.now, bytes.clone()));
                    self.send(W, &bytes);
                }
                Output::Event(note) => self.notes.push((self.now, note)),
                Output::Restart => panic!("no clone is about"),
            }
        }
        let deadline = self.witness.as_ref().unwrap().deadline();
        assert!(deadline > at(self.now), "due again at once");
    }

    fn drain(&mut self, index: usize) {
        let mut frame = [0; FRAME_MAX];
        let now = at(self.now);
        loop {
            let Some(cluster) = &mut self.nodes[index] else { return };
            let Some(output) = cluster.poll(&mut frame) else { return };
            let report = match output {
                io::Output::Remember => {
                    let mut memory = [0; MEMORY_MAX];
                    let len = cluster.memory(&mut memory).unwrap();
                    self.memories[index] = Some(memory[..len].to_vec());
                    None
                }
                io::Output::Transmit { len, .. } => {
                    let bytes = frame[..usize::from(len)].to_vec();
                    self.from_nodes.push((self.now, index, bytes.clone()));
                    self.send(index, &bytes);
                    None
                }
                io::Output::Start { group, job } => {
                    if !self.runs[index] {
                        self.starts.push((self.now, index));
                    }
                    self.runs[index] = true;
                    Some((group, job, Outcome::Running))
                }
                io::Output::Stop { group, job } => {
                    self.runs[index] = false;
                    Some((group, job, Outcome::Stopped))
                }
                io::Output::Probe { group, job } => {
                    let runs = self.runs[index];
                    Some((group, job, if runs { Outcome::Running } else { Outcome::Stopped }))
                }
                io::Output::Event(event) => {
                    self.events.push((self.now, index, event));
                    None
                }
                _ => None,
            };
            if let Some((group, job, outcome)) = report {
                let cluster = self.nodes[index].as_mut().unwrap();
                cluster.handle(now, io::Input::Report { group, job, outcome });
            }
        }
    }

    fn isolate(&mut self, one: usize, other: usize, cut: bool) {
        self.cut[one][other] = cut;
        self.cut[other][one] = cut;
    }

    fn state(&self, of: usize, seen_by: usize) -> NodeState {
        self.nodes[seen_by].as_ref().unwrap().status().nodes[of].state
    }
}

#[test]
fn power_cut_is_taken_over_when_the_lease_ends() {
    for offset in 0..20 {
        let mut scene = Scene::settled();
        scene.run(offset * 7 * MS);
        assert_eq!(scene.state(7, 0), NodeState::Alive);
        let cut = scene.now;
        scene.power_off(0);
        scene.run(2 * lease());
        let (took, who) = *scene.starts.last().unwrap();
        assert_eq!((scene.runs, who), ([false, true], 1));
        // The last frame is under way for 1 ms, and so is the grant; one more for each step.
        assert!(took - cut <= lease() + 4 * MS, "{} µs", took - cut);
    }
}

#[test]
fn a_restarted_witness_moves_nothing_and_serves_after_its_blackout() {
    let mut scene = Scene::settled();
    for _ in 0..3 {
        scene.restart_witness();
        scene.run(4 * SECOND);
    }
    assert_eq!((scene.runs, scene.starts.len()), ([true, false], 1));
    scene.restart_witness();
    scene.run(SECOND);
    let restarted = scene.now - SECOND;
    // During the blackout it does not help anybody …
    scene.power_off(0);
    scene.run(8 * SECOND);
    assert_eq!(scene.runs, [false, false]);
    // … and what has stood since is granted then.
    scene.run(12 * SECOND);
    assert_eq!(scene.runs, [false, true]);
    assert!(scene.starts.last().unwrap().0 >= restarted + 10 * SECOND);
}

#[test]
fn a_restarted_witness_waits_for_the_longest_lease_that_anybody_knows() {
    let mut witness = witness(1, SECOND);
    let mut one = Fake::new(0, 10, 9);
    one.longest = 60_000;
    one.meet(&mut witness, 2 * SECOND);
    // It may have promised its vote for a minute, whatever is claimed now.
    assert!(!one.claim(&mut witness, 12 * SECOND, Phase::Stopped, SECOND));
    assert!(!one.claim(&mut witness, 60 * SECOND, Phase::Stopped, SECOND));
    assert!(one.claim(&mut witness, 61 * SECOND, Phase::Stopped, SECOND));
}

#[test]
fn a_dead_witness_moves_nothing_but_then_nobody_takes() {
    let mut scene = Scene::settled();
    scene.witness = None;
    scene.run(10 * SECOND);
    assert_eq!(scene.runs, [true, false]);
    assert_eq!(scene.state(7, 0), NodeState::Dead);
    scene.power_off(0);
    scene.run(30 * SECOND);
    assert_eq!(scene.runs, [false, false]);
    // The witness is back: after its blackout it helps.
    scene.restart_witness();
    scene.run(20 * SECOND);
    assert_eq!(scene.runs, [false, true]);
}

#[test]
fn nodes_that_see_only_the_witness_have_one_owner() {
    let mut scene = Scene::settled();
    scene.isolate(0, 1, true);
    scene.run(30 * SECOND);
    assert_eq!((scene.runs, scene.starts.len()), ([true, false], 1));
    // The owner loses the witness too: the other takes over, once the lease is over.
    scene.isolate(0, W, true);
    scene.run(10 * SECOND);
    assert_eq!(scene.runs, [false, true]);
    scene.isolate(0, 1, false);
    scene.isolate(0, W, false);
    scene.run(30 * SECOND);
    assert_eq!((scene.runs, scene.starts.len()), ([false, true], 2));
}

#[test]
fn a_release_passes_the_vote_at_once() {
    let mut scene = Scene::settled();
    let now = at(scene.now);
    let command = io::Input::Command { id: 1, command: io::Command::Standby };
    scene.nodes[0].as_mut().unwrap().handle(now, command);
    scene.drain(0);
    let before = scene.now;
    scene.run(SECOND);
    assert_eq!(scene.runs, [false, true]);
    assert!(scene.starts.last().unwrap().0 - before <= 20 * MS);
}

#[test]
fn a_goodbye_frees_the_vote() {
    let mut scene = Scene::settled();
    let now = at(scene.now);
    let command = io::Input::Command { id: 1, command: io::Command::Shutdown };
    scene.nodes[0].as_mut().unwrap().handle(now, command);
    scene.drain(0);
    scene.run(SECOND);
    assert_eq!(scene.runs, [false, true]);
    assert!(scene.notes.iter().any(|(_, note)| note.event == Event::Left(node(0))));
}

#[test]
fn a_restarted_daemon_keeps_its_vote() {
    let mut scene = Scene::settled();
    scene.isolate(0, 1, true);
    scene.run(5 * SECOND);
    // Only the witness's vote keeps it, and that passes on to the successor.
    scene.begin(0);
    scene.run(20 * SECOND);
    assert_eq!((scene.runs, scene.starts.len()), ([true, false], 1));
    // A machine that was off has no predecessor: its vote has to run out first.
    scene.power_off(0);
    scene.power_on(0);
    let cut = scene.now;
    scene.run(20 * SECOND);
    assert!(scene.starts.last().unwrap().0 >= cut + lease() - 200 * MS);
}

#[test]
fn a_replay_changes_nothing_and_is_not_answered_for_ever() {
    let mut scene = Scene::settled();
    // Those sent last are still under way.
    let arrived = scene.now - 5 * MS;
    let recorded = scene.from_nodes.iter().filter(|(sent, ..)| *sent < arrived);
    let recorded: Vec<_> = recorded.map(|(_, _, bytes)| bytes.clone()).collect();
    let witness = scene.witness.as_mut().unwrap();
    let before = *witness.counters();
    let now = scene.now + MS;
    for bytes in &recorded {
        witness.handle(at(now), Input::Frame { link: link(), bytes });
    }
    let mut frame = [0; FRAME_MAX];
    assert_eq!(witness.poll(&mut frame), None);
    assert_eq!(witness.counters().fresh, before.fresh);
    // The machines are replaced by recordings of themselves: nobody is kept alive.
    scene.restart_witness();
    scene.power_off(0);
    scene.power_off(1);
    let start = scene.now;
    let mut sent = 0;
    for step in 0..30_000 {
        scene.now = start + step * MS;
        let bytes = recorded[usize::try_from(step).unwrap() % recorded.len()].clone();
        let before = scene.from_witness.len();
        scene.receive(W, &bytes);
        scene.step();
        sent += scene.from_witness.len() - before;
    }
    assert_eq!(scene.witness.as_ref().unwrap().counters().fresh, 0);
    assert!(sent <= 30 * 20 + 2, "{sent} answers in 30 s");
}

#[test]
fn its_frames_are_small_and_it_speaks_only_when_spoken_to() {
    let mut scene = Scene::settled();
    let (asked, answered) = (scene.from_nodes.len(), scene.from_witness.len());
    scene.run(10 * SECOND);
    let asked = scene.from_nodes.len() - asked;
    let answered = scene.from_witness.len() - answered;
    assert!(answered <= asked && answered + 10 >= asked, "{asked} frames, {answered} answers");
    assert!(scene.from_witness.iter().all(|(_, bytes)| bytes.len() <= 160));
    scene.power_off(0);
    scene.power_off(1);
    scene.run(SECOND);
    let before = scene.from_witness.len();
    scene.run(60 * SECOND);
    assert_eq!(scene.from_witness.len(), before);
    let silent: Vec<_> = scene.notes.iter().rev().take(2).map(|(_, note)| note.event).collect();
    assert!(silent.contains(&Event::Silent(node(0))) && silent.contains(&Event::Silent(node(1))));
}

/// A hand-made node, with any list of voters.
struct Fake {
    node: NodeId,
    incarnation: Incarnation,
    voters: u32,
    witnesses: Vec<NameHash>,
    heard: Option<Heard>,
    predecessor: Option<Incarnation>,
    longest: u32,
}

impl Fake {
    fn new(index: usize, incarnation: u64, voters: u32) -> Fake {
        Fake {
            node: node(index),
            incarnation: Incarnation(incarnation),
            voters,
            witnesses: [PICO].to_vec(),
            heard: None,
            predecessor: None,
            longest: 0,
        }
    }

    fn frame(&self, now: u64, phase: Phase, lease: Option<u64>) -> Vec<u8> {
        let claim = lease.map(|lease| ClaimPart { behind: 0, lease });
        let part = GroupPart { name: GROUP, phase, claim, ..GroupPart::default() };
        let body = Body {
            voters: self.voters,
            predecessor: self.predecessor,
            longest: self.longest,
            witnesses: self.witnesses.iter().copied().collect(),
            heard: self.heard.into_iter().collect(),
            groups: [part].into_iter().collect(),
            grants: [crate::core::wire::GrantPart::None].into_iter().collect(),
            ..Body::default()
        };
        self.seal(&body, now)
    }

    fn seal(&self, body: &Body, now: u64) -> Vec<u8> {
        let header = Header {
            key: 1,
            tag: TAG,
            node: self.node,
            incarnation: self.incarnation,
            sequence: now,
        };
        let mut out = [0; FRAME_MAX];
        let len = keys().seal(&header, body, &mut out).unwrap();
        out[..len].to_vec()
    }

    /// Sends to the witness and reads its answers; the grants shown with our list of voters.
    fn tell(&mut self, witness: &mut Witness<1>, now: u64, bytes: &[u8]) -> Vec<(Header, Body)> {
        witness.handle(at(now), Input::Frame { link: link(), bytes });
        let answers = answers(witness);
        for (header, body) in answers.iter().filter(|(_, body)| body.voters == self.voters) {
            if body.heard.iter().any(|heard| heard.incarnation == self.incarnation) {
                self.heard = Some(Heard {
                    node: header.node,
                    incarnation: header.incarnation,
                    sequence: header.sequence,
                    age: 0,
                    links: LinkSet::EMPTY,
                });
            }
        }
        answers
    }

    /// Proves itself.
    fn meet(&mut self, witness: &mut Witness<1>, now: u64) {
        for step in 0..3 {
            let bytes = self.frame(now + step * 60 * MS, Phase::Stopped, None);
            self.tell(witness, now + step * 60 * MS, &bytes);
        }
        assert!(self.heard.is_some());
    }

    /// Claims; whether the answer shows the grant.
    fn claim(&mut self, witness: &mut Witness<1>, now: u64, phase: Phase, lease: u64) -> bool {
        let bytes = self.frame(now, phase, Some(lease));
        let answers = self.tell(witness, now, &bytes);
        let to_us = |body: &Body| body.grant(GroupId::new(0).unwrap());
        answers.iter().any(|(_, body)| {
            let ours = body.voters == self.voters;
            ours && to_us(body) == Some((self.node, self.incarnation, now))
        })
    }
}

fn answers(witness: &mut Witness<1>) -> Vec<(Header, Body)> {
    let (mut frame, mut clear): (FrameBuf, FrameBuf) = ([0; FRAME_MAX], [0; FRAME_MAX]);
    let mut answers = Vec::new();
    while let Some(output) = witness.poll(&mut frame) {
        if let Output::Transmit { len, .. } = output {
            let bytes = &frame[..usize::from(len)];
            let header = Header::decode(bytes).unwrap();
            let text = keys().open(&header, bytes, &mut clear).unwrap();
            answers.push((header, Body::decode(text).unwrap()));
        }
    }
    answers
}

/// A witness whose blackout is over, and two nodes that it knows.
fn met(voters: [u32; 2]) -> (Witness<1>, Fake, Fake) {
    let mut witness = witness(1, SECOND);
    let mut one = Fake::new(0, 10, voters[0]);
    let mut other = Fake::new(1, 11, voters[1]);
    one.meet(&mut witness, 20 * SECOND);
    other.meet(&mut witness, 20 * SECOND + 500 * MS);
    (witness, one, other)
}

#[test]
fn one_vote_whatever_the_list_of_voters() {
    let (mut witness, mut one, mut other) = met([9, 10]);
    let start = 21 * SECOND;
    assert!(one.claim(&mut witness, start, Phase::Stopped, SECOND));
    assert!(!other.claim(&mut witness, start + 10, Phase::Stopped, SECOND));
    // Each hears only of those that have its own list.
    let bytes = other.frame(start + 20, Phase::Stopped, Some(SECOND));
    for (_, body) in other.tell(&mut witness, start + 20, &bytes) {
        assert_eq!(body.voters, 10);
        assert!(body.heard.iter().all(|heard| heard.incarnation == Incarnation(11)));
        assert_eq!(body.grant(GroupId::new(0).unwrap()), None);
    }
    // The vote passes the moment it is free, without another frame.
    let end = start + SECOND;
    assert_eq!(witness.deadline(), at(end));
    witness.handle(at(end), Input::Tick);
    let answers = answers(&mut witness);
    assert_eq!(answers.len(), 1);
    let (header, body) = &answers[0];
    assert_eq!((header.node, body.voters), (node(7), 10));
    let grant = body.grant(GroupId::new(0).unwrap());
    assert_eq!(grant, Some((node(1), Incarnation(11), start + 20)));
}

#[test]
fn another_list_calls_it_by_another_number() {
    let (mut witness, mut one, mut other) = met([9, 9]);
    other.voters = 10;
    other.heard = None;
    other.incarnation = Incarnation(12);
    other.node = node(0);
    other.witnesses = [NameHash(5), PICO].to_vec();
    other.meet(&mut witness, 22 * SECOND);
    let bytes = other.frame(23 * SECOND, Phase::Stopped, None);
    let told = other.tell(&mut witness, 23 * SECOND, &bytes);
    assert!(told.iter().all(|(header, body)| header.node == node(6) && body.voters == 10));
    // The two nodes with one number do not drive each other out.
    assert!(one.claim(&mut witness, 24 * SECOND, Phase::Stopped, 5 * SECOND));
    assert!(!other.claim(&mut witness, 24 * SECOND + 1, Phase::Stopped, 5 * SECOND));
    assert!(one.claim(&mut witness, 24 * SECOND + 2, Phase::Running, 5 * SECOND));
}

#[test]
fn another_witness_of_its_name_is_told_of() {
    let (mut ours, mut one, _) = met([9, 9]);
    let mut theirs = witness(2, SECOND);
    let mut met_by_both = Fake::new(0, 10, 9);
    met_by_both.meet(&mut theirs, 21 * SECOND);
    let now = 22 * SECOND;
    let bytes = met_by_both.frame(now, Phase::Stopped, None);
    theirs.handle(at(now), Input::Frame { link: link(), bytes: &bytes });
    let mut frame: FrameBuf = [0; FRAME_MAX];
    let Some(Output::Transmit { len, .. }) = theirs.poll(&mut frame) else { panic!("no answer") };
    let answer = frame[..usize::from(len)].to_vec();
    let told = |witness: &mut Witness<1>, frame: &mut FrameBuf| {
        std::iter::from_fn(|| witness.poll(frame)).collect::<Vec<_>>()
    };
    told(&mut ours, &mut frame);
    ours.handle(at(now), Input::Frame { link: link(), bytes: &answer });
    let namesake = Output::Event(Note { tag: TAG, event: Event::Namesake(node(7)) });
    assert!(told(&mut ours, &mut frame).contains(&namesake));

    // Taken for the other one as long as that one is heard, and for good: it begins anew then.
    let mine = one.heard.unwrap();
    for (age, restarts) in [(SECOND, false), (11 * SECOND, true)] {
        one.heard = Some(Heard { incarnation: Incarnation(2), age, ..mine });
        let now = 30 * SECOND + age;
        let bytes = one.frame(now, Phase::Stopped, None);
        ours.handle(at(now), Input::Frame { link: link(), bytes: &bytes });
        assert_eq!(told(&mut ours, &mut frame).contains(&Output::Restart), restarts);
    }
}

#[test]
fn an_owner_comes_before_a_wish() {
    let (mut witness, mut one, mut other) = met([9, 9]);
    let mut third = Fake::new(2, 12, 9);
    third.meet(&mut witness, 21 * SECOND);
    let start = 22 * SECOND;
    assert!(one.claim(&mut witness, start, Phase::Running, 5 * SECOND));
    assert!(!other.claim(&mut witness, start + 1, Phase::Stopped, 5 * SECOND));
    assert!(!third.claim(&mut witness, start + 2, Phase::Running, 5 * SECOND));
    assert!(!other.claim(&mut witness, start + 3, Phase::Stopped, 5 * SECOND));
    let bytes = one.frame(start + 4, Phase::Stopped, None);
    let told = one.tell(&mut witness, start + 4, &bytes);
    let grant = told[0].1.grant(GroupId::new(0).unwrap());
    assert_eq!(grant, Some((node(2), Incarnation(12), start + 2)));
}

#[test]
fn only_stopped_without_a_claim_is_a_release() {
    let (mut witness, mut one, mut other) = met([9, 9]);
    let start = 21 * SECOND;
    assert!(one.claim(&mut witness, start, Phase::Running, SECOND));
    for phase in [Phase::Unknown, Phase::Stopping, Phase::Blocked, Phase::Running] {
        let bytes = one.frame(start + 10, phase, None);
        one.tell(&mut witness, start + 10, &bytes);
        assert!(!other.claim(&mut witness, start + 20, Phase::Stopped, SECOND));
    }
    // A successor inherits; a stranger by its number does not, and cannot release.
    let mut next = Fake::new(0, 20, 9);
    next.meet(&mut witness, start + 100 * MS);
    assert!(!other.claim(&mut witness, start + 400 * MS, Phase::Stopped, SECOND));
    assert!(other.claim(&mut witness, start + SECOND, Phase::Stopped, SECOND));
    let mut after = Fake::new(1, 21, 9);
    after.predecessor = Some(Incarnation(11));
    after.meet(&mut witness, start + SECOND + 100 * MS);
    assert!(next.claim(&mut witness, start + SECOND + 500 * MS, Phase::Stopped, 5 * SECOND));
}

#[test]
fn an_old_echo_proves_nothing() {
    let (mut witness, mut one, mut other) = met([9, 9]);
    // Ten seconds without a claim; a claim must be younger than its lease.
    let echo = one.heard.unwrap().sequence;
    let late = echo + 2 * SECOND;
    assert!(!one.claim(&mut witness, late, Phase::Stopped, SECOND));
    assert!(other.claim(&mut witness, late + 1, Phase::Stopped, 5 * SECOND));
}

#[test]
fn keys_that_do_not_fit() {
    let key = |tag, number| Key { tag, number, key: [1; 32] };
    let new = |keys: &[Key]| Witness::<2>::new(PICO, keys, Incarnation(1), at(0)).map(|_| ());
    assert_eq!(new(&[key(1, 1), key(1, 2), key(2, 1)]), Ok(()));
    assert_eq!(new(&[key(1, 1), key(1, 1)]), Err(KeyError::Twice));
    assert_eq!(new(&[key(1, 1), key(2, 1), key(3, 1)]), Err(KeyError::Clusters));
    let many: Vec<_> = (0..9).map(|number| key(1, number)).collect();
    assert_eq!(new(&many), Err(KeyError::Keys));
}

#[test]
fn full_tables_refuse_newcomers_and_drop_no_grant() {
    let (mut witness, mut one, _) = met([9, 9]);
    let start = 21 * SECOND;
    assert!(one.claim(&mut witness, start, Phase::Running, 9 * SECOND));
    let mut all = Vec::new();
    for index in 0..12u64 {
        let mut fake = Fake::new(3, 100 + index, 1000 + u32::try_from(index).unwrap());
        for step in 0..3 {
            let now = start + index * 200 * MS + step * 60 * MS;
            let bytes = fake.frame(now, Phase::Stopped, Some(SECOND));
            fake.tell(&mut witness, now, &bytes);
        }
        all.push(fake);
    }
    assert!(witness.counters().refused > 0);
    let now = start + 5 * SECOND;
    for name in 0..40 {
        let part = GroupPart { name: NameHash(name), ..GroupPart::default() };
        let body = Body {
            voters: 9,
            witnesses: [PICO].into_iter().collect(),
            heard: one.heard.into_iter().collect(),
            groups: [part].into_iter().collect(),
            ..Body::default()
        };
        let bytes = one.seal(&body, now + u64::from(name));
        one.tell(&mut witness, now + u64::from(name), &bytes);
    }
    assert!(!all[0].claim(&mut witness, now + SECOND, Phase::Running, 9 * SECOND));
    assert!(one.claim(&mut witness, now + SECOND + 1, Phase::Running, 9 * SECOND));
}

#[test]
fn one_cluster_fits_a_microcontroller() {
    let (witness, table) = (size_of::<Witness<1>>(), size_of::<super::table::Table>());
    std::println!("Witness<1>: {witness} bytes, of which its cluster: {table}");
    assert!(witness <= 5 * 1024, "{witness} bytes");
}

fn any_body() -> impl Strategy<Value = Body> {
    let heard = (0..8usize, 0..4u64, 0..40_000_000u64, 0..1_000_000u64);
    let group = (0..4u32, 0..6u8, any::<Option<(u64, u64)>>(), any::<u32>());
    (
        (0..3u32, 0..32u8, any::<Option<u64>>()),
        proptest::collection::vec(heard, 0..4),
        proptest::collection::vec(group, 0..6),
    )
        .prop_map(|(head, heard, groups)| Body {
            voters: head.0,
            flags: NodeFlags::default().with_goodbye(head.1 == 1).with_witness(head.1 == 2),
            predecessor: head.2.map(Incarnation),
            witnesses: [PICO].into_iter().collect(),
            heard: heard
                .into_iter()
                .map(|(_, incarnation, sequence, age)| Heard {
                    node: node(7),
                    incarnation: Incarnation(incarnation),
                    sequence,
                    age,
                    links: LinkSet::EMPTY,
                })
                .collect(),
            groups: groups
                .into_iter()
                .map(|(name, phase, claim, count)| GroupPart {
                    name: NameHash(name),
                    phase: postcard::from_bytes(&[phase]).unwrap(),
                    claim: claim.map(|(behind, lease)| ClaimPart { behind, lease: lease >> 40 }),
                    term: Term { count, node: node(1) },
                    ..GroupPart::default()
                })
                .collect(),
            ..Body::default()
        })
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut witness = witness(1, SECOND);
        witness.handle(at(2 * SECOND), Input::Frame { link: link(), bytes: &bytes });
        prop_assert!(answers(&mut witness).is_empty());
    }

    #[test]
    fn a_damaged_frame_is_nothing(place in 0..60usize, bit in 0..8u8) {
        let mut witness = witness(1, SECOND);
        let mut bytes = Fake::new(0, 10, 9).frame(5, Phase::Stopped, None);
        let place = place % bytes.len();
        prop_assume!(bytes.len() > SEAL_LEN);
        bytes[place] ^= 1 << bit;
        witness.handle(at(2 * SECOND), Input::Frame { link: link(), bytes: &bytes });
        prop_assert!(answers(&mut witness).is_empty());
    }

    /// Whatever authentic nodes say, a vote is bound to one of them until it has ended or its
    /// holder has let go; nothing stops the witness, and it never asks to be called again at once.
    #[test]
    fn any_authentic_frames(
        frames in proptest::collection::vec(
            (0..9usize, 0..4u64, 0..2_000_000u64, any_body()), 1..60),
    ) {
        let mut witness = witness(1, SECOND);
        let mut now = SECOND;
        let mut held: Option<(Incarnation, u64)> = None;
        for (index, incarnation, pause, body) in frames {
            now += pause;
            let fake = Fake::new(index.min(7), 10 + incarnation, 9);
            let bytes = fake.seal(&body, now);
            witness.handle(at(now), Input::Frame { link: link(), bytes: &bytes });
            for (header, _) in answers(&mut witness) {
                prop_assert!(header.sequence >= now);
            }
            prop_assert!(witness.deadline() > at(now));
            for table in &witness.tables {
                for group in table.groups.iter().filter(|group| group.name == NameHash(1)) {
                    let binding = group.binding(at(now));
                    let new = binding.map(|grant| (grant.incarnation, grant.until.micros()));
                    if let Some((before, until)) = held.filter(|(_, until)| now < *until) {
                        let kept = new.is_some_and(|(holder, _)| holder == before);
                        let own = fake.incarnation == before;
                        let heir = body.predecessor == Some(before);
                        prop_assert!(kept || own || heir, "{before:?} until {until}: {new:?}");
                    }
                    prop_assert!(new.is_none() || now >= 11 * SECOND, "no memory, no vote");
                    held = new;
                }
            }
        }
    }
}
