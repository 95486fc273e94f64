use super::advice::Bound;
use super::measured;
use super::*;
use crate::core::id::Incarnation;
use crate::core::quality::Histogram as Counts;
use crate::runtime::RuntimeDir;
use crate::sim::random::Random;

const INTERVAL: u64 = 100_000;
const YEAR: f64 = 365.25 * 86_400.0;

fn now() -> Now {
    Now { interval_us: INTERVAL, warn_us: 300_000, dead_us: 1_000_000, initial_dead_us: 10_000_000 }
}

/// A number between 0 and 1, neither of them.
fn unit(random: &mut Random) -> f64 {
    (random.below(1 << 52) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// What lies between two heartbeats, in microseconds.
type Draw = fn(&mut Random) -> f64;

/// Kinds of networks.
const NETWORKS: [(&str, Draw); 6] = [
    ("quiet", |random| 100_000.0 + 400.0 * unit(random)),
    ("evenly late by up to 60 ms", |random| 70_000.0 + 60_000.0 * unit(random)),
    ("exponentially late, 10 ms in the mean", |random| 95_000.0 - 10_000.0 * unit(random).ln()),
    ("a twentieth is lost", |random| {
        let mut gap = 100_000.0 + 2_000.0 * unit(random);
        while unit(random) < 0.05 {
            gap += 100_000.0;
        }
        gap
    }),
    ("a heavy tail", |random| 90_000.0 + 10_000.0 * unit(random).powf(-1.0 / 3.0)),
    ("a pause now and then", |random| match unit(random) < 0.001 {
        true => 100_000.0 + 400_000.0 * unit(random),
        false => 100_000.0 + 1_000.0 * unit(random),
    }),
];

fn measure(draw: Draw, gaps: u64, random: &mut Random) -> Measured {
    let mut counts = Counts::default();
    for _ in 0..gaps {
        counts.record(Duration::from_micros(draw(random) as u64));
    }
    let gaps = measured::Histogram::of(&counts);
    let since_s = gaps.observed_s;
    let peer = Peer { name: "laptop".into(), gaps, ..Peer::default() };
    Measured { since_s, starts: 1, peers: vec![peer] }
}

#[test]
fn a_replay_has_no_more_false_alarms_than_told() {
    const MEASURED: u64 = 300_000;
    const REPLAYED: u64 = 1_000_000;
    for (name, draw) in NETWORKS {
        let mut random = Random::new(7);
        let measured = measure(draw, MEASURED, &mut random);
        // One alarm in four hours is put up with, half the measured time.
        let advice = advise(&measured, &now(), YEAR / 14_400.0);
        let recommended = advice.recommended.unwrap_or_else(|| panic!("{name}: nothing"));
        assert!(advice.verdict == Verdict::Enough, "{name}: {advice:?}");
        // What is recommended, and times that are too short for some of the networks.
        let told = [110_000, 130_000, 170_000, 230_000, 400_000, 700_000].map(|dead_us| {
            (dead_us, advise(&measured, &Now { dead_us, ..now() }, 1.0).alarms_per_year_now)
        });
        let all = told.into_iter().chain([(recommended.dead_us, advice.alarms_per_year)]);
        let mut all: Vec<(u64, f64, f64)> = all.map(|(dead, told)| (dead, told, 0.0)).collect();
        let mut time = 0.0;
        for _ in 0..REPLAYED {
            let gap = draw(&mut random);
            time += gap / 1e6;
            for (dead, _, alarms) in &mut all {
                *alarms += f64::from(u8::from(gap >= *dead as f64));
            }
        }
        for (dead, told, alarms) in all {
            // Three standard deviations of what was measured and of what is replayed.
            let told = told / YEAR * time;
            let chance = 3.0 * (told * (1.0 + REPLAYED as f64 / MEASURED as f64)).sqrt() + 1.0;
            assert!(alarms <= told + chance, "{name}, {dead} µs: {alarms} alarms, told {told}");
        }
    }
}

#[test]
fn no_more_is_asked_for_than_the_network_needs() {
    let dead = |name: &str| {
        let (_, draw) = NETWORKS.iter().find(|(known, _)| *known == name).expect("known");
        let measured = measure(*draw, 300_000, &mut Random::new(7));
        let advice = advise(&measured, &now(), TARGET);
        (advice.recommended.expect("enough data").dead_us, advice.bound)
    };
    // Exact answers for one alarm a year, 3.2e8 heartbeats: 290 ms, 750 ms and 6.9 s.
    assert_eq!(dead("quiet"), (500_000, Bound::Interval));
    assert!((200_000..=800_000).contains(&dead("exponentially late, 10 ms in the mean").0));
    assert!((700_000..=4_000_000).contains(&dead("a twentieth is lost").0));
    assert!((4_000_000..=20_000_000).contains(&dead("a heavy tail").0));
}

#[test]
fn a_year_cannot_be_claimed_after_an_hour() {
    let measured = measure(NETWORKS[0].1, 36_000, &mut Random::new(1));
    let advice = advise(&measured, &now(), TARGET);
    assert_eq!(advice.verdict, Verdict::Short);
    // Once in a hundred times the hour.
    assert!((87.0..88.5).contains(&advice.alarms_per_year), "{advice:?}");
    assert!((advice.needed_s - YEAR / 100.0).abs() < 1.0);
    // Nothing in an hour: at most 3 an hour.
    assert!((advice.proven_per_year - 3.0 * YEAR / 3_600.0).abs() < 300.0, "{advice:?}");
}

#[test]
fn too_few_silences_say_nothing_and_who_was_never_heard_does_not_count() {
    let mut measured = measure(NETWORKS[0].1, TOO_FEW - 1, &mut Random::new(1));
    assert_eq!(advise(&measured, &now(), TARGET).recommended, None);
    assert_eq!(advise(&Measured::default(), &now(), TARGET).verdict, Verdict::TooLittle);
    measured = measure(NETWORKS[0].1, TOO_FEW, &mut Random::new(1));
    measured.peers.push(Peer { name: "away".into(), ..Peer::default() });
    assert!(advise(&measured, &now(), TARGET).recommended.is_some());
}

#[test]
fn the_worst_peer_decides_and_a_present_dead_that_is_too_short_is_seen() {
    let mut measured = measure(NETWORKS[0].1, 300_000, &mut Random::new(1));
    let worse = measure(NETWORKS[4].1, 300_000, &mut Random::new(2));
    measured.peers.push(Peer { name: "far".into(), ..worse.peers[0].clone() });
    let short = Now { dead_us: 150_000, warn_us: 120_000, ..now() };
    let advice = advise(&measured, &short, TARGET);
    assert_eq!(advice.peer, "far");
    assert!(advice.alarms_per_year_now > 1e5, "{advice:?}");
    let times = advice.recommended.expect("enough data");
    assert!(times.interval_us < times.warn_us && times.warn_us < times.dead_us, "{times:?}");
    assert!(times.initial_dead_us >= 2 * times.dead_us, "{times:?}");
}

#[test]
fn a_long_way_is_bridged() {
    let mut measured = measure(NETWORKS[0].1, 10_000, &mut Random::new(1));
    let mut echoes = Counts::default();
    (0..10_000).for_each(|_| _ = echoes.record(Duration::from_millis(700)));
    measured.peers[0].echoes = measured::Histogram::of(&echoes);
    let advice = advise(&measured, &now(), TARGET);
    assert_eq!(advice.bound, Bound::Echo);
    assert!(advice.recommended.expect("enough data").dead_us >= 900_000);
}

#[test]
fn the_lines_are_read_back_as_what_was_recommended() {
    let times = Now {
        interval_us: 50_000,
        warn_us: 400_000,
        dead_us: 1_200_000,
        initial_dead_us: 30_000_000,
    };
    let text = lines(&times, false);
    let table: toml::Table = text.parse().expect("TOML");
    let read = |name: &str| table["timing"][name].as_str().expect("text").to_owned();
    assert_eq!([read("interval"), read("warn"), read("dead")], ["50ms", "400ms", "1.2s"]);
    assert_eq!(read("initial_dead"), "30s");
    assert_eq!(
        lines(&times, true),
        "keepalive 50ms\nwarntime 400ms\ndeadtime 1200ms\ninitdead 30000ms\n"
    );
}

fn config() -> Config {
    let text = "[cluster]\nname = \"q\"\nnodes = [\"a\", \"b\"]\n[timing]\ninterval = \"100ms\"\n\
         [quorum]\nrule = \"assume-dead\"\n[keys]\nfile = \"keys\"\n\
         [[link]]\nudp = \"broadcast\"\ninterface = \"eth0\"\n";
    let dir = scratch("config");
    let (file, keys) = (dir.join("latido.toml"), dir.join("keys"));
    std::fs::write(&file, text).expect("written");
    std::fs::write(&keys, format!("use 1\n1 {}\n", "5a".repeat(32))).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&keys, mode).expect("mode");
    let loaded = crate::config::load(&crate::config::Source::Latido(file));
    std::fs::remove_dir_all(&dir).expect("removed");
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("latido-quality-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

#[test]
fn the_next_engine_goes_on_and_another_interval_begins_anew() {
    let (mut config, dir) = (config(), scratch("runtime"));
    let runtime = RuntimeDir::open(&dir).expect("runtime directory");
    let at = |ms: u64| Instant::from_micros(1_000_000 + ms * 1000);
    let frame = |count: u16, gap| Reception {
        node: NodeId::new(1).expect("in range"),
        incarnation: Incarnation(5),
        link: LinkId::default(),
        sequence: u64::from(count) * 100_000,
        count,
        gap,
        echo: Some(Duration::from_millis(3)),
        rtt: Some(Duration::from_millis(2)),
    };
    let gap = Some(Duration::from_millis(100));
    for start in 1..=2 {
        let mut recorder = Recorder::open(&runtime, &config, 0, at(0)).expect("opened");
        recorder.heard(at(0), &frame(1, None));
        (2..=11).for_each(|count| recorder.heard(at(100), &frame(count, gap)));
        recorder.heard(at(60_000), &frame(12, Some(Duration::from_millis(40_000))));
        let measured = recorder.board().look(at(90_000));
        let peer = &measured.peers[0];
        assert_eq!((measured.starts, peer.name.as_str()), (start, "b"));
        assert_eq!((peer.gaps.count, peer.outages), (10 * start, u32::try_from(start).unwrap()));
        assert!((peer.gaps.observed_s - start as f64).abs() < 1e-6);
        assert_eq!((peer.gaps.longest_us, peer.echoes.count), (100_000, 11 * start));
        assert_eq!(peer.links[0].gaps.count, 10 * start);
        assert!((measured.since_s - 90.0).abs() < 1e-6);
        let quality = recorder.look(at(60_005))[1][0];
        assert_eq!(quality.silence, Some(Duration::from_millis(5)));
    }
    config.timing.interval *= 2;
    let recorder = Recorder::open(&runtime, &config, 0, at(0)).expect("opened");
    let measured = recorder.board().look(at(0));
    assert_eq!((measured.starts, measured.peers[0].gaps.count), (1, 0));
    std::fs::remove_dir_all(&dir).expect("removed");
}
