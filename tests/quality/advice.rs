//! `latido advise`, and what `latido status` says of the links, on a network made worse.
use crate::scene::{Links, running};
use crate::world::{Scene, node_of, run};
use latido::core::wire::Header;
use latido::lab::relay::Fate;
use latido::lab::{LAN, Switch, wait};
use latido::platform::netlink;
use latido::platform::packet;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const INTERVAL_MS: u64 = 10;
/// A thousand heartbeats, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);
const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethernet, IPv4 without options, UDP.
const HEADERS: usize = 14 + 20 + 8;
const YEAR: f64 = 365.25 * 86_400.0;

fn lan(scene: &Scene, fate: Fate) {
    let relay = scene.lab.relay(LAN).expect("a relay");
    relay.set("pi", "laptop", fate);
    relay.set("laptop", "pi", fate);
}

fn advice(scene: &Scene) -> (i32, Value) {
    // From outside: the node itself is busy with the tap.
    let place = scene.lab.node("laptop").runtime_dir().display().to_string();
    let (code, text, complaint) = run(&["advise", "--json", "--runtime-dir", &place]);
    let answer = serde_json::from_str(&text);
    (code, answer.unwrap_or_else(|why| panic!("{why}: {text}{complaint}")))
}

/// Ends the tap, whatever becomes of the test.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// When each frame of `pi` that was newer than all before it came to `laptop`, as its network
/// interface saw it, until `end`.
fn tap(end: &AtomicBool) -> Vec<Instant> {
    let links = netlink::Socket::open().expect("a socket").links().expect("links");
    let eth0 = links.iter().find(|link| link.name == "eth0").expect("eth0");
    let socket = packet::Socket::receiver(eth0.index, ETHERTYPE_IPV4).expect("a tap");
    let mut buffer = [0; 2048];
    let (mut newest, mut came) = (0, Vec::new());
    while !end.load(Ordering::Acquire) {
        let Ok(Some(frame)) = socket.receive(&mut buffer) else {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        };
        let ours = eth0.mac.is_some_and(|mac| frame.get(6..12) == Some(&mac[..]));
        let Some(Ok(header)) = frame.get(HEADERS..).map(Header::decode) else { continue };
        if !ours && header.sequence > newest {
            newest = header.sequence;
            came.push(Instant::now());
        }
    }
    came
}

#[test]
fn what_is_advised_on_a_jittery_link_is_confirmed_by_a_replay_of_its_gaps() {
    let scene = running(Switch::Relay, Links::Lan, INTERVAL_MS);
    let (code, text) = scene.latido("laptop", &["advise"]);
    assert!(code == 1 && text.contains("Too little data"), "{code}: {text}");
    let jitter = Duration::from_millis(30);
    lan(&scene, Fate { delay: Duration::from_millis(5), jitter, ..Fate::loss(0.02) });
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let laptop = scene.lab.node("laptop");
    let (gaps, answer) = std::thread::scope(|scope| {
        let recorded = scope.spawn(move || laptop.inside(move || tap(&ended)).expect("inside"));
        let ends = Ends(end);
        let enough = wait::until(PATIENCE, "enough data", || {
            let (code, answer) = advice(&scene);
            (code == 0 && answer["measured"]["peers"][0]["gaps"]["count"].as_u64()? >= 1_000)
                .then_some(answer)
        })
        .unwrap();
        // As much again, which the advice has not seen.
        let seen = enough["measured"]["peers"][0]["gaps"]["count"].as_u64().expect("a number");
        wait::until(PATIENCE, "as much again", || {
            let (_, answer) = advice(&scene);
            (answer["measured"]["peers"][0]["gaps"]["count"].as_u64()? >= 2 * seen).then_some(())
        })
        .unwrap();
        drop(ends);
        let came = recorded.join().expect("the tap");
        let gaps: Vec<Duration> = came.windows(2).map(|pair| pair[1] - pair[0]).collect();
        (gaps, enough)
    });
    let advice = &answer["advice"];
    let dead = advice["recommended"]["dead_us"].as_u64().expect("recommended");
    let alarms = |dead: u64| gaps.iter().filter(|gap| **gap >= Duration::from_micros(dead)).count();
    let span: Duration = gaps.iter().sum();
    let told = advice["alarms_per_year"].as_f64().expect("told") / YEAR * span.as_secs_f64();
    eprintln!(
        "{} gaps, the longest {:?}; dead = {dead} µs, told {told} alarms",
        gaps.len(),
        gaps.iter().max()
    );
    assert!(gaps.len() >= 1_500, "{} gaps", gaps.len());
    assert!(alarms(dead) as f64 <= told.ceil(), "{} alarms, told {told}", alarms(dead));
    assert!(told < 1.0, "{answer}");
    // It is no better than it has to be, and what is measured is what was on the wire.
    assert!(alarms(2_500 * INTERVAL_MS) > 10, "the network is not bad enough");
    assert!(dead <= 500_000, "{answer}");
    let longest = answer["measured"]["peers"][0]["gaps"]["longest_us"].as_u64().expect("longest");
    assert!(longest >= 25_000, "{answer}");

    let (code, text) = scene.latido("laptop", &["advise"]);
    assert!(code == 0 && text.contains("[timing]\ninterval     = \"10ms\"\n"), "{text}");
    assert!(text.contains("cannot be claimed before"), "{text}");
}

#[test]
fn what_was_measured_outlives_the_engine() {
    let scene = running(Switch::Relay, Links::Lan, INTERVAL_MS);
    let count = |answer: &Value| answer["measured"]["peers"][0]["gaps"]["count"].as_u64();
    scene.wait("some data", || (count(&advice(&scene).1)? >= 100).then_some(()));
    let engine = scene.lab.node("laptop").engine().expect("an engine");
    scene.lab.node("laptop").signal(engine.pid, Signal::KILL).unwrap();
    scene.wait("the next engine", || {
        let (_, text) = scene.latido("laptop", &["advise", "--json"]);
        let answer: Value = serde_json::from_str(&text).ok()?;
        (answer["measured"]["starts"] == 2 && count(&answer)? >= 110).then_some(())
    });
}

#[test]
fn status_shows_loss_jitter_round_trip_and_the_last_frame() {
    let scene = running(Switch::Relay, Links::All, INTERVAL_MS);
    let delay = Duration::from_millis(4);
    let jitter = Duration::from_millis(8);
    lan(&scene, Fate { delay, jitter, ..Fate::loss(0.2) });
    scene.wait_status("laptop", "the LAN is bad and the others are good", |status| {
        let links = node_of(status, "pi")?["links"].as_array()?;
        let [lan, crossover, serial] = links.as_slice() else { return None };
        let number = |link: &Value, name: &str| link[name].as_u64();
        let bad = (100_000..300_000).contains(&number(lan, "loss_ppm")?)
            && number(lan, "jitter_us")? > 1_000
            && number(lan, "rtt_mean_us")? > 8_000
            && number(lan, "rtt_max_us")? >= number(lan, "rtt_mean_us")?
            && number(lan, "sent")? > 200
            && number(lan, "last_ms")? < 10_000;
        let good = [crossover, serial].iter().all(|link| {
            number(link, "loss_ppm").is_some_and(|ppm| ppm < 50_000) && link["last_ms"].is_u64()
        });
        (bad && good).then_some(())
    });
    let (_, screen) = scene.latido("laptop", &["status"]);
    assert!(screen.contains(" ± ") && screen.contains(" % lost, "), "{screen}");
}
