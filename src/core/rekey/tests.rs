use super::*;
use crate::core::config::{Config, Identity, Rule, Settings, StopFailure};
use crate::core::id::Incarnation;
use crate::core::io::{Command, Event, Input, NodeState, Output, Refusal, Stranger};
use crate::core::limits::{FRAME_MAX, GROUPS_MAX};
use crate::core::wire::{Body, Header};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::prelude::v1::*;

const INTERVAL: u64 = 10_000;
const LINK: LinkId = match LinkId::new(0) {
    Some(link) => link,
    None => panic!(),
};

fn node(index: usize) -> NodeId {
    NodeId::new(index).unwrap()
}

/// Keys of these numbers; each number is one key, whoever has it.
fn keys(sealing: u8, numbers: &[u8]) -> Keys {
    let keys: Vec<(u8, [u8; 32])> = numbers.iter().map(|n| (*n, [*n + 1; 32])).collect();
    Keys::new(sealing, &keys).unwrap()
}

fn born(me: usize, incarnation: u64, keys: Keys, tag: u32, now: u64) -> Cluster {
    let span = |ms| Duration::from_millis(ms);
    let config = Config::new(Settings {
        me: node(me),
        nodes: 2,
        witnesses: heapless::Vec::new(),
        in_force: true,
        interval: Duration::from_micros(INTERVAL),
        warn: span(30),
        dead: span(100),
        initial_dead: span(300),
        failback_delay: span(50),
        rule: Rule::AssumeDead,
        blackout: Duration::ZERO,
        stop_failure: StopFailure::Block,
        fence_delay: span(0),
        fence_retry: span(300),
        reset_takes: None,
        watchdog: None,
        references: 0,
        settle: None,
        groups: heapless::Vec::new(),
        every: [1].into_iter().collect(),
        tag,
        digest: 2,
        voters_digest: 3,
        keys,
    })
    .unwrap();
    let identity = Identity {
        incarnation: Incarnation(incarnation),
        memory: None,
        held_until: [Instant::default(); GROUPS_MAX],
        seed: 5,
    };
    let mut cluster = Cluster::new(config, &identity, Instant::from_micros(now));
    cluster.handle(Instant::from_micros(now), Input::Link { link: LINK, up: true });
    cluster
}

/// What it has to say now: frames and events.
fn drained(cluster: &mut Cluster) -> (Vec<Vec<u8>>, Vec<Event>, bool) {
    let mut frame = [0; FRAME_MAX];
    let (mut frames, mut events, mut restart) = (Vec::new(), Vec::new(), false);
    while let Some(output) = cluster.poll(&mut frame) {
        match output {
            Output::Transmit { len, .. } => frames.push(frame[..usize::from(len)].to_vec()),
            Output::Event(event) => events.push(event),
            Output::Restart => restart = true,
            _ => {}
        }
    }
    (frames, events, restart)
}

/// Both go on to `until`; everything that one sends the other hears 200 µs later.
fn run(pair: &mut [Cluster; 2], from: &mut u64, until: u64) -> Vec<(usize, Event)> {
    let mut told = Vec::new();
    let mut air: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    loop {
        for (index, cluster) in pair.iter_mut().enumerate() {
            let (frames, events, _) = drained(cluster);
            air.extend(frames.into_iter().map(|frame| (*from + 200, 1 - index, frame)));
            told.extend(events.into_iter().map(|event| (index, event)));
        }
        let due = pair.iter().map(|cluster| cluster.deadline().at.micros());
        let next = due.chain(air.iter().map(|frame| frame.0)).min().unwrap().max(*from + 1);
        if next > until {
            *from = until;
            return told;
        }
        *from = next;
        let now = Instant::from_micros(next);
        let (arrived, rest) = air.into_iter().partition(|frame| frame.0 <= next);
        air = rest;
        for (_, to, bytes) in arrived {
            let bytes = &bytes[..];
            pair[to].handle(now, Input::Frame { link: LINK, bytes });
            let (frames, events, _) = drained(&mut pair[to]);
            air.extend(frames.into_iter().map(|frame| (next + 200, 1 - to, frame)));
            told.extend(events.into_iter().map(|event| (to, event)));
        }
        for cluster in pair.iter_mut() {
            cluster.handle(now, Input::Tick);
        }
    }
}

fn met(first: Keys, second: Keys) -> ([Cluster; 2], u64) {
    let mut pair = [born(0, 77, first, 1, 1_000_000), born(1, 78, second, 1, 1_003_000)];
    let mut now = 1_003_000;
    run(&mut pair, &mut now, 1_200_000);
    assert_eq!(pair[0].status().nodes[1].state, NodeState::Alive);
    (pair, now)
}

fn order(cluster: &mut Cluster, now: u64, command: Command) -> Reply {
    cluster.handle(Instant::from_micros(now), Input::Command { id: 1, command });
    let mut frame = [0; FRAME_MAX];
    while let Some(output) = cluster.poll(&mut frame) {
        if let Output::Reply { reply, .. } = output {
            return reply;
        }
    }
    panic!("no reply");
}

#[test]
fn a_trial_tells_who_has_the_key_itself_and_costs_nobody_a_heartbeat() {
    // Of the same number, but another key.
    let other = Keys::new(1, &[(1, [2; 32]), (2, [99; 32])]).unwrap();
    for (second, opened) in [(keys(1, &[1, 2]), true), (keys(1, &[1]), false), (other, false)] {
        let (mut pair, mut now) = met(keys(1, &[1, 2]), second);
        assert_eq!(order(&mut pair[0], now, Command::TryKey(2)), Ok(()));
        let told = run(&mut pair, &mut now, 4_000_000);
        assert_eq!(told, [], "nobody is late");
        let trial = pair[0].status().trial.unwrap();
        assert_eq!((trial.key, trial.over, trial.opened.contains(node(1))), (2, true, opened));
        let sent = pair[1].status().counters;
        assert_eq!(sent.unsealed, if opened { 0 } else { LASTS.micros() / INTERVAL });
    }
    let (mut pair, now) = met(keys(1, &[1]), keys(1, &[1]));
    let refused = order(&mut pair[0], now, Command::TryKey(2));
    assert_eq!(refused, Err(Refusal::NoSuchKey(2)));
}

#[test]
fn a_test_of_a_link_is_answered_and_never_taken_for_the_node() {
    let (mut pair, now) = met(keys(1, &[1]), keys(1, &[1]));
    let us = pair[0].status().incarnation;
    // It even echoes what we sent last, as only a newcomer may that replaces the known one.
    let frame_of = |sequence: u64, testing: bool| {
        let header =
            Header { key: 1, tag: 1, node: node(1), incarnation: Incarnation(4711), sequence };
        let echo = crate::core::wire::Heard {
            node: node(0),
            incarnation: us,
            sequence: pair[0].sent,
            age: 0,
            links: LinkSet(1),
        };
        let flags = crate::core::wire::NodeFlags::default().with_testing(testing);
        let body = Body { flags, heard: [echo].into_iter().collect(), ..Body::default() };
        let mut frame = [0; FRAME_MAX];
        let len = keys(1, &[1]).seal(&header, &body, &mut frame).unwrap();
        frame[..len].to_vec()
    };
    let (test, newcomer) = (frame_of(5, true), frame_of(6, false));
    let at = Instant::from_micros(now + 5_000);
    pair[0].handle(at, Input::Frame { link: LINK, bytes: &test });
    let (frames, events, _) = drained(&mut pair[0]);
    let header = Header::decode(&frames[0]).unwrap();
    let mut clear = [0; FRAME_MAX];
    let text = keys(1, &[1]).open(&header, &frames[0], &mut clear).unwrap().to_vec();
    let heard = Body::decode(&text).unwrap().heard;
    assert!(heard.iter().any(|it| it.incarnation == Incarnation(4711) && it.sequence == 5));
    assert_eq!(pair[0].peers[1].incarnation, Some(Incarnation(78)), "{events:?}");
    // The same without the flag is a daemon that started anew.
    pair[0].handle(at, Input::Frame { link: LINK, bytes: &newcomer });
    assert_eq!(pair[0].peers[1].incarnation, Some(Incarnation(4711)));
}

#[test]
fn heartbeats_in_step_do_not_hide_an_answer() {
    for phase in (0..INTERVAL).step_by(250) {
        let start = 1_000_000;
        let both = || keys(1, &[1, 2]);
        let mut pair = [born(0, 7, both(), 1, start), born(1, 8, both(), 1, start + phase)];
        let mut now = start + phase;
        run(&mut pair, &mut now, 1_200_000);
        order(&mut pair[0], now, Command::TryKey(2)).unwrap();
        run(&mut pair, &mut now, 1_600_000);
        assert!(pair[0].status().trial.unwrap().opened.contains(node(1)), "phase {phase}");
    }
}

#[test]
fn a_rotation_is_heard_and_loses_nothing() {
    let (mut pair, mut now) = met(keys(1, &[1]), keys(1, &[1]));
    let steps = [(0, 1, vec![1, 2]), (1, 1, vec![1, 2]), (0, 2, vec![1, 2])];
    let steps = steps.into_iter().chain([(1, 2, vec![1, 2]), (0, 2, vec![2]), (1, 2, vec![2])]);
    let mut told = Vec::new();
    for (who, sealing, numbers) in steps {
        let keys = keys(sealing, &numbers);
        pair[who].handle(Instant::from_micros(now), Input::Keys { keys: &keys });
        let until = now + 300_000;
        told.extend(run(&mut pair, &mut now, until));
    }
    let changed = |index: usize| (1 - index, Event::PeerKey(node(index), 2));
    assert_eq!(told, [changed(0), changed(1)], "and nothing else: nobody was late");
    for cluster in &pair {
        let status = cluster.status();
        assert_eq!((status.counters.unsealed, status.key), (0, 2));
        assert_eq!(status.nodes[1 - status.me.index()].key, Some(2));
    }
}

#[test]
fn our_key_under_another_name_is_told_and_a_stranger_is_not() {
    for (key, voters_known) in [(1, true), (1, false), (5, false)] {
        let ours = born(0, 7, keys(1, &[1]), 1, 1_000_000);
        let numbers = if key == 1 { [1] } else { [key] };
        let mut other = born(1, 8, keys(key, &numbers), 4711, 1_000_000);
        if !voters_known {
            other.config.set_voters_digest(9);
        }
        let mut pair = [ours, other];
        let mut now = 1_000_000;
        let told = run(&mut pair, &mut now, 9_000_000);
        let hints: Vec<Stranger> = told
            .iter()
            .filter_map(|(who, event)| match event {
                Event::OtherCluster(_, stranger) if *who == 0 => Some(*stranger),
                _ => None,
            })
            .collect();
        assert!(hints.len() <= 4, "the log is not filled: {hints:?}");
        assert_eq!(!hints.is_empty(), key == 1);
        if let Some(hint) = pair[0].status().stranger {
            let found = (hint.node, hint.tag, hint.same_voters);
            assert_eq!(found, (node(1), 4711, voters_known));
        }
        let counters = pair[0].status().counters;
        assert!(counters.foreign > 700 && counters.unsealed == 0, "{counters:?}");
    }
}

#[test]
fn a_busy_neighbour_is_nothing_while_the_peer_is_there() {
    let (mut pair, now) = met(keys(1, &[1]), keys(1, &[1]));
    let mut neighbour = born(1, 9, keys(1, &[1]), 4711, now);
    neighbour.handle(Instant::from_micros(now + 1), Input::Tick);
    let frames = drained(&mut neighbour).0;
    assert!(!frames.is_empty());
    for bytes in &frames {
        pair[0].handle(Instant::from_micros(now), Input::Frame { link: LINK, bytes });
    }
    assert_eq!(pair[0].status().stranger, None);
}

/// What happens to a node whose frames are collected.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in µs; the timers run.
    Pass(u64),
    /// The same moment again: everything is tried twice.
    Again,
    /// The link flaps: something to be told out of turn.
    Flap,
    /// It sleeps.
    Suspend(u64),
    /// Keys: the sealing one, of three.
    Rekey(u8),
    /// Tries one of them.
    Try(u8),
    /// The engine starts anew in the same boot (a crash, a reload).
    Restart,
    /// The machine starts anew: its clock too.
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..30_000_u64).prop_map(Step::Pass),
        2 => Just(Step::Again),
        2 => Just(Step::Flap),
        1 => (1_000_000..90_000_000_000_u64).prop_map(Step::Suspend),
        2 => (1..4_u8).prop_map(Step::Rekey),
        2 => (1..4_u8).prop_map(Step::Try),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
    ]
}

/// Under which key, and the nonce's parts.
type Used = (u8, u8, u64, u64);

fn note(frames: &[Vec<u8>], used: &mut BTreeSet<Used>) {
    for frame in frames {
        let header = Header::decode(frame).unwrap();
        let place = (header.key, u8::from(header.node), header.incarnation.0, header.sequence);
        assert!(used.insert(place), "twice: {place:?}");
    }
}

fn play(
    cluster: &mut Cluster,
    steps: &[Step],
    now: &mut u64,
    sealing: &mut u8,
    mut draw: impl FnMut() -> u64,
    used: &mut BTreeSet<Used>,
) {
    for step in steps {
        match step {
            Step::Pass(span) | Step::Suspend(span) => *now += span,
            Step::Again => {}
            Step::Flap => {
                let at = Instant::from_micros(*now);
                cluster.handle(at, Input::Link { link: LINK, up: false });
                note(&drained(cluster).0, used);
                cluster.handle(at, Input::Link { link: LINK, up: true });
            }
            Step::Rekey(key) => {
                *sealing = *key;
                let keys = keys(*key, &[1, 2, 3]);
                cluster.handle(Instant::from_micros(*now), Input::Keys { keys: &keys });
            }
            Step::Try(key) => {
                let command = Command::TryKey(*key);
                cluster.handle(Instant::from_micros(*now), Input::Command { id: 0, command });
            }
            Step::Restart | Step::Reboot => {
                if matches!(step, Step::Reboot) {
                    *now = 1_000_000;
                }
                *cluster = born(0, draw(), keys(*sealing, &[1, 2, 3]), 1, *now);
            }
        }
        note(&drained(cluster).0, used);
        cluster.handle(Instant::from_micros(*now), Input::Tick);
        note(&drained(cluster).0, used);
    }
}

proptest! {
    #[test]
    fn no_nonce_comes_twice_under_one_key(
        steps in proptest::collection::vec(step(), 1..200), seed in any::<u64>(),
    ) {
        let mut random = seed;
        // Distinct, as 64 random bits are.
        let mut draw = move || { random = random.wrapping_add(0x9e37_79b9_7f4a_7c15); random };
        let (mut now, mut sealing, mut used) = (1_000_000, 1, BTreeSet::new());
        let mut cluster = born(0, draw(), keys(1, &[1, 2, 3]), 1, now);
        play(&mut cluster, &steps, &mut now, &mut sealing, draw, &mut used);
    }

    /// Even where the draw gives the same number twice within a boot.
    #[test]
    fn within_a_boot_the_clock_alone_is_enough(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let steps: Vec<Step> = steps.into_iter().map(|step| match step {
            // A start takes longer than a microsecond.
            Step::Restart => Step::Pass(2),
            Step::Reboot => Step::Restart,
            other => other,
        }).flat_map(|step| match step {
            Step::Restart => vec![Step::Pass(2), Step::Restart],
            other => vec![other],
        }).collect();
        let (mut now, mut sealing, mut used) = (1_000_000, 1, BTreeSet::new());
        let mut cluster = born(0, 42, keys(1, &[1, 2, 3]), 1, now);
        play(&mut cluster, &steps, &mut now, &mut sealing, || 42, &mut used);
    }

    /// A machine copied while it ran: the first word of the other ends the incarnation.
    #[test]
    fn a_clone_that_hears_the_other_sends_nothing_more(
        apart in 1..50_000_u64, wait in 1..100_000_u64,
    ) {
        let (mut pair, now) = met(keys(1, &[1]), keys(1, &[1]));
        let mut clone = pair[0].clone();
        let later = Instant::from_micros(now + wait);
        clone.handle(later, Input::Link { link: LINK, up: false });
        clone.handle(later + Duration::from_micros(apart), Input::Link { link: LINK, up: true });
        let (frames, ..) = drained(&mut clone);
        prop_assert!(!frames.is_empty());
        let at = later + Duration::from_micros(apart);
        for bytes in &frames {
            pair[0].handle(at, Input::Frame { link: LINK, bytes });
        }
        let (sent, events, restart) = drained(&mut pair[0]);
        prop_assert!(restart, "it starts anew with another incarnation");
        prop_assert!(events.contains(&Event::Clone(node(0))));
        prop_assert_eq!(sent.len(), 0, "the restart comes before any frame");
    }
}
