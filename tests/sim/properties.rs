//! Arbitrary inputs, authentic frames with arbitrary contents included: no panic, no endless loop.
use latido::core::id::{GroupId, GroupSet, Incarnation, JobId, LinkId, LinkSet, NodeId, Term};
use latido::core::io::{Command, Event, Fenced, Input, Outcome, Output, Phase};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX, LINKS_MAX};
use latido::core::seal::Keys;
use latido::core::time::{Duration, Instant};
use latido::core::wire::{
    Body, ClaimPart, GrantPart, GroupFlags, GroupPart, Header, Heard, NameHash,
};
use latido::core::{
    Cluster, Config, GroupSettings, Identity, MEMORY_MAX, Rule, Settings, StopFailure,
};
use latido::sim::random::Random;
use proptest::prelude::*;

const START: u64 = 1_000_000;
const OURS: Incarnation = Incarnation(0xaaaa);

fn keys() -> Keys {
    Keys::new(1, &[(1, [3; 32])]).unwrap()
}

fn node(index: usize) -> NodeId {
    NodeId::new(index).unwrap()
}

fn name(index: usize) -> NameHash {
    NameHash(u32::try_from(index).unwrap())
}

fn config(rule: Rule, groups: usize, links: usize) -> Config {
    let group = |index: usize| GroupSettings {
        name: name(index),
        prefer: [node(index % 2), node((index + 1) % 2)].into_iter().collect(),
        failback: index.is_multiple_of(3),
        stop_budget: Duration::from_millis(100),
        ask: index.is_multiple_of(2),
        reset: rule == Rule::Majority && index.is_multiple_of(3),
    };
    Config::new(Settings {
        me: node(0),
        nodes: 2,
        witnesses: (rule == Rule::Majority).then_some(NameHash(77)).into_iter().collect(),
        in_force: false,
        interval: Duration::from_millis(10),
        warn: Duration::from_millis(30),
        dead: Duration::from_millis(100),
        initial_dead: Duration::from_millis(300),
        failback_delay: Duration::from_millis(50),
        rule,
        blackout: Duration::ZERO,
        stop_failure: match rule {
            Rule::AssumeDead => StopFailure::Block,
            Rule::Fencing => StopFailure::Fence,
            Rule::Majority => StopFailure::Reset,
        },
        fence_delay: Duration::from_millis(200),
        fence_retry: Duration::from_millis(300),
        reset_takes: Some(Duration::from_millis(20)),
        watchdog: (rule == Rule::Majority).then_some(Duration::from_millis(150)),
        references: 2,
        settle: Some(Duration::from_millis(100)),
        groups: (0..groups).map(group).collect(),
        every: (0..links).map(|link| u8::try_from(link % 3 + 1).unwrap()).collect(),
        tag: 1,
        digest: 2,
        voters_digest: 3,
        keys: keys(),
    })
    .unwrap()
}

fn born(rule: Rule, groups: usize, links: usize, memory: Option<&[u8]>, now: u64) -> Cluster {
    let held_until = [Instant::from_micros(now + 50_000); GROUPS_MAX];
    let identity = Identity { incarnation: OURS, memory, held_until, seed: 5 };
    Cluster::new(config(rule, groups, links), &identity, Instant::from_micros(now))
}

/// An authentic frame of anybody, saying anything: plausible often enough to get far.
fn frame(random: &mut Random, now: u64, groups: usize) -> Vec<u8> {
    let phases = [
        Phase::Unknown,
        Phase::Stopped,
        Phase::Starting,
        Phase::Running,
        Phase::Stopping,
        Phase::Blocked,
    ];
    let part = |random: &mut Random, index: usize| GroupPart {
        name: name(if random.chance(950_000) { index } else { random.index(40) }),
        phase: phases[random.index(6)],
        flags: GroupFlags::default()
            .with_wanted(random.chance(200_000))
            .with_declined(random.chance(200_000))
            .with_pinned(random.chance(200_000)),
        claim: random.chance(500_000).then(|| ClaimPart {
            behind: random.below(100_000),
            lease: if random.chance(900_000) { 200_000 } else { random.bits() },
        }),
        term: Term {
            count: if random.chance(990_000) { random.below(9) as u32 } else { u32::MAX },
            node: node(random.index(8)),
        },
        score: if random.chance(300_000) { 0 } else { 100 },
    };
    let heard = |random: &mut Random| Heard {
        node: node(if random.chance(900_000) { 0 } else { random.index(8) }),
        incarnation: if random.chance(900_000) { OURS } else { Incarnation(random.below(3)) },
        sequence: if random.chance(990_000) {
            now.saturating_sub(random.below(150_000))
        } else {
            random.bits()
        },
        age: if random.chance(900_000) { random.below(100_000) } else { random.bits() },
        links: LinkSet(random.bits() as u8),
    };
    let grant = |random: &mut Random| match random.below(3) {
        0 => GrantPart::None,
        1 => GrantPart::Heard { node: node(random.index(2)), behind: random.below(200_000) },
        _ => GrantPart::Other {
            node: node(random.index(8)),
            incarnation: OURS,
            sequence: random.bits(),
        },
    };
    let body = Body {
        count: random.bits() as u16,
        digest: if random.chance(950_000) { 2 } else { 9 },
        voters: if random.chance(950_000) { 3 } else { 9 },
        predecessor: random.chance(300_000).then(|| Incarnation(random.below(4))),
        heard: (0..random.below(4)).map(|_| heard(random)).collect(),
        references: random.below(4) as u8,
        groups: (0..groups).map(|index| part(random, index)).collect(),
        grants: (0..groups).map(|_| grant(random)).collect(),
        ..Body::default()
    };
    let sequence =
        if random.chance(990_000) { 7_000_000 + now + random.below(50) } else { random.bits() };
    let header = Header {
        key: 1,
        tag: 1,
        node: node(if random.chance(750_000) { 1 } else { random.index(8) }),
        incarnation: Incarnation(random.below(12)),
        sequence,
    };
    let mut out = [0; FRAME_MAX];
    let len = keys().seal(&header, &body, &mut out).unwrap_or(0);
    let mut bytes = out[..len].to_vec();
    if random.chance(50_000) && len > 0 {
        bytes[random.index(len)] ^= 1;
    }
    bytes
}

/// Drains the outputs; the jobs that were ordered.
fn drain(cluster: &mut Cluster, jobs: &mut Vec<(GroupId, JobId)>) -> usize {
    drain_with(cluster, jobs, &mut Vec::new())
}

/// The same; the fences, too.
fn drain_with(
    cluster: &mut Cluster,
    jobs: &mut Vec<(GroupId, JobId)>,
    fences: &mut Vec<(NodeId, JobId)>,
) -> usize {
    let mut buffer = [0; FRAME_MAX];
    let mut polled = 0;
    while let Some(output) = cluster.poll(&mut buffer) {
        polled += 1;
        assert!(polled < 1_000, "poll does not end: {output:?}");
        match output {
            Output::Start { group, job }
            | Output::Stop { group, job }
            | Output::Probe { group, job } => jobs.push((group, job)),
            Output::Fence { node, request } => fences.push((node, request)),
            Output::Transmit { len, .. } => {
                let header = Header::decode(&buffer[..usize::from(len)]).unwrap();
                let mut clear = [0; FRAME_MAX];
                let text = keys().open(&header, &buffer[..usize::from(len)], &mut clear);
                assert!(Body::decode(text.unwrap()).is_ok(), "our own frame cannot be read");
            }
            Output::Remember => {
                let mut memory = [0; MEMORY_MAX];
                assert!(cluster.memory(&mut memory).is_some(), "the memory does not fit");
            }
            _ => {}
        }
    }
    polled
}

fn step(cluster: &mut Cluster, random: &mut Random, now: u64, jobs: &mut Vec<(GroupId, JobId)>) {
    let at = Instant::from_micros(now);
    let group = GroupId::new(random.index(GROUPS_MAX)).unwrap();
    let link = LinkId::new(random.index(LINKS_MAX)).unwrap();
    let outcomes = [Outcome::Running, Outcome::Stopped, Outcome::Partial, Outcome::Failed];
    match random.below(26) {
        25 => cluster.handle(at, Input::Beat { node: node(random.index(8)) }),
        20 => cluster.handle(at, Input::References { reached: random.below(4) as u8 }),
        21 => cluster.handle(at, Input::Confirmed { references: random.below(4) as u8 }),
        22 => cluster.handle(at, Input::Answered { group }),
        23 => cluster.handle(at, Input::NotRemembered),
        24 => {
            let outcome = if random.chance(500_000) { Fenced::Confirmed } else { Fenced::Failed };
            let request = JobId(random.below(60) as u32);
            cluster.handle(at, Input::Fenced { node: node(random.index(8)), request, outcome });
        }
        0..3 => cluster.handle(at, Input::Tick),
        3..13 => {
            let bytes = frame(random, now, random.clone().index(GROUPS_MAX + 1));
            cluster.handle(at, Input::Frame { link, bytes: &bytes });
        }
        13 => cluster.handle(at, Input::Link { link, up: random.chance(700_000) }),
        14 => cluster.handle(at, Input::Able { group, able: random.chance(600_000) }),
        15..20 => {
            let odd = (group, JobId(random.bits() as u32));
            let (group, job) =
                if jobs.is_empty() { odd } else { jobs.swap_remove(random.index(jobs.len())) };
            let outcome = outcomes[random.index(4)];
            cluster.handle(at, Input::Report { group, job, outcome });
        }
        _ => {
            let set = GroupSet(random.bits() as u32);
            let command = match random.below(30) {
                0 => Command::Shutdown,
                1..8 => Command::Standby,
                8..15 => Command::HandOver(set),
                15..20 => Command::Takeover(set),
                20 => Command::Fence(node(random.index(8))),
                21 => Command::ConfirmDead(node(random.index(8))),
                22 => Command::TryKey(random.below(3) as u8),
                _ => Command::Failback(set),
            };
            cluster.handle(at, Input::Command { id: 1, command });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn arbitrary_inputs_never_panic_and_polls_end(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let groups = [0, 1, 2, GROUPS_MAX][random.index(4)];
        let links = [0, 1, LINKS_MAX][random.index(3)];
        let (mut now, mut jobs) = (START, Vec::new());
        let rule = [Rule::AssumeDead, Rule::Fencing, Rule::Majority][random.index(3)];
        let mut cluster = born(rule, groups, links, None, now);
        for _ in 0..300 {
            now += match random.below(10) {
                0 => 0,
                1..8 => random.below(4_000),
                8 => random.below(300_000),
                _ => random.below(40) * random.below(1_000_000),
            };
            step(&mut cluster, &mut random, now, &mut jobs);
            drain(&mut cluster, &mut jobs);
            // One more microsecond lets out what was held back; then the deadline lies ahead.
            now += 1;
            cluster.handle(Instant::from_micros(now), Input::Tick);
            drain(&mut cluster, &mut jobs);
            prop_assert!(cluster.deadline().at > Instant::from_micros(now), "a busy loop");
            let _ = cluster.status();
            for group in GroupId::all() {
                let _ = cluster.vouched_until(group);
            }
            if random.chance(5_000) {
                let mut memory = [0; MEMORY_MAX];
                let len = cluster.memory(&mut memory).unwrap();
                cluster = born(rule, groups, links, Some(&memory[..len]), now);
                drain(&mut cluster, &mut jobs);
            }
        }
    }

    #[test]
    fn any_memory_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut cluster = born(Rule::Fencing, 3, 1, Some(&bytes), START);
        drain(&mut cluster, &mut Vec::new());
    }
}

/// A peer that heard a frame of ours which we have not sent: a snapshot of us runs elsewhere.
#[test]
fn an_echo_from_the_future_restarts_the_clone() {
    let mut cluster = born(Rule::AssumeDead, 1, 1, None, START);
    let (mut jobs, mut random) = (Vec::new(), Random::new(1));
    drain(&mut cluster, &mut jobs);
    let heard = Heard {
        node: node(0),
        incarnation: OURS,
        sequence: START + 1_000_000,
        age: 0,
        links: LinkSet(1),
    };
    let body = Body { heard: [heard].into_iter().collect(), ..Body::default() };
    let incarnation = Incarnation(random.bits());
    let header = Header { key: 1, tag: 1, node: node(1), incarnation, sequence: 77 };
    let mut frame = [0; FRAME_MAX];
    let len = keys().seal(&header, &body, &mut frame).unwrap();
    let link = LinkId::new(0).unwrap();
    let at = Instant::from_micros(START + 1_000);
    cluster.handle(at, Input::Frame { link, bytes: &frame[..len] });
    let mut buffer = [0; FRAME_MAX];
    let outputs: Vec<Output> = std::iter::from_fn(|| cluster.poll(&mut buffer)).collect();
    assert!(outputs.contains(&Output::Restart), "{outputs:?}");
    assert!(outputs.contains(&Output::Event(Event::Clone(node(1)))), "{outputs:?}");
}
