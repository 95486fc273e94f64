//! A pair whose key is changed under load: every heartbeat is there, in order, and nothing moves.
use crate::world::Scene;
use crate::{WEB, key, keys_of, pair};
use latido::core::id::NodeId;
use latido::core::limits::FRAME_MAX;
use latido::core::seal::Keys;
use latido::core::wire::{Body, Header};
use latido::lab::{CLIENT, Probe};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Everything that the nodes broadcast on the LAN, in order.
struct Ear {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Ear {
    fn open(scene: &Scene) -> Ear {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = stop.clone();
        let thread = scene.lab.client(CLIENT).run(move || {
            let socket = UdpSocket::bind("255.255.255.255:694").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            std::thread::spawn(move || {
                let (mut heard, mut buffer) = (Vec::new(), [0; FRAME_MAX]);
                while !shared.load(Ordering::Acquire) {
                    if let Ok(len) = socket.recv(&mut buffer) {
                        heard.push(buffer[..len].to_vec());
                    }
                }
                heard
            })
        });
        Ear { stop, thread }
    }

    fn close(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("it listened")
    }
}

fn hex(text: &str) -> [u8; 32] {
    let bytes: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    bytes.try_into().expect("32 bytes")
}

/// The key of this number in a key file.
fn secret(text: &str, number: u8) -> [u8; 32] {
    let start = format!("{number} ");
    let line = text.lines().find(|line| line.starts_with(&start)).expect("a line");
    hex(line[start.len()..].trim())
}

/// Of one node: one incarnation, numbers that grow, no frame missing; the keys in order.
fn unbroken(frames: &[Vec<u8>], node: usize, keys: &Keys) -> Vec<u8> {
    let (mut last, mut used): (Option<(Header, u16)>, Vec<u8>) = (None, Vec::new());
    let mut clear = [0; FRAME_MAX];
    for frame in frames {
        let header = Header::decode(frame).expect("a frame of ours");
        if Some(header.node) != NodeId::new(node) {
            continue;
        }
        let body = Body::decode(keys.open(&header, frame, &mut clear).expect("by our keys"));
        let count = body.expect("of this version").count;
        if let Some((before, counted)) = last {
            assert_eq!(before.incarnation, header.incarnation, "no new start");
            assert!(header.sequence > before.sequence, "no number comes twice");
            assert_eq!(count, counted.wrapping_add(1), "no heartbeat is missing");
        }
        used.push(header.key);
        last = Some((header, count));
    }
    assert!(used.len() > 100, "it was heard: {}", used.len());
    used
}

fn undisturbed(scene: &Scene, since: Instant, pids: &[serde_json::Value]) {
    for (node, pid) in ["pi", "laptop"].into_iter().zip(pids) {
        let (log, status) = (scene.log(node), scene.status(node));
        assert!(!log.contains("is late") && !log.contains("is dead"), "{log}");
        assert_eq!(status["pid"], *pid, "the engine goes on");
        assert_eq!(status["counters"]["unsealed"], 0, "{}", status["counters"]);
    }
    let held = scene.lab.ownership().held(WEB, since, Instant::now());
    assert_eq!((held.nobody, held.arrivals), (Duration::ZERO, 0), "{held:?}");
}

#[test]
fn a_running_pair_gets_another_key_without_a_lost_heartbeat_or_a_takeover() {
    let scene = pair();
    let client = scene.client(Probe::Udp, WEB);
    scene.answered_by(&client, "pi");
    let pids = ["pi", "laptop"].map(|node| scene.status(node)["pid"].clone());
    let (since, ear) = (Instant::now(), Ear::open(&scene));

    let file = scene.lab.node("pi").dir().join("keys");
    let text = key(&scene, "pi", &["add"]);
    let line = keys_of(&scene, "pi");
    let new = line.lines().find(|line| line.starts_with("2 ")).expect("key 2").to_owned();
    assert!(!text.contains(&new[2..]), "the secret is not shown: {text}");
    assert!(text.contains("latido key use 2") && text.contains("laptop"), "{text}");
    let mode = std::fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // As scp does it.
    let copy = scene.lab.node("laptop").dir().join("copy");
    std::fs::copy(&file, &copy).expect("copied");
    let text = key(&scene, "laptop", &["add", "--from", &copy.display().to_string()]);
    assert!(text.contains("key 2 added"), "{text}");
    for node in ["pi", "laptop"] {
        let text = key(&scene, node, &["use", "2"]);
        assert!(text.contains("latido key retire 1"), "{text}");
    }
    for (node, other) in [("pi", "laptop"), ("laptop", "pi")] {
        scene.wait_status(node, "the other seals with the new key", |status| {
            (crate::world::node_of(status, other)?["key"] == 2).then_some(())
        });
    }
    let listed = key(&scene, "pi", &["list"]);
    assert!(listed.contains("key 2; used here; used by laptop; accepted by laptop"), "{listed}");
    let both = keys_of(&scene, "pi");
    for node in ["laptop", "pi"] {
        key(&scene, node, &["retire", "1"]);
        assert_eq!(keys_of(&scene, node), format!("use 2\n{new}\n"));
    }
    for node in ["pi", "laptop"] {
        let sent = |status: &serde_json::Value| status["counters"]["sent"].as_u64();
        let before = sent(&scene.status(node)).expect("a count");
        scene.wait_status(node, "a while of heartbeats", |status| {
            (sent(status)? > before + 60).then_some(())
        });
    }

    let heard = ear.close();
    let all = Keys::new(1, &[(1, secret(&both, 1)), (2, secret(&both, 2))]).expect("keys");
    // Nodes are numbered in the order of their names.
    for node in [0, 1] {
        let used = unbroken(&heard, node, &all);
        let last = used.iter().rposition(|key| *key == 1).expect("it began with the old key");
        assert_eq!(used[0], 1);
        assert!(used.len() > last + 20, "and ended with the new one");
    }
    undisturbed(&scene, since, &pids);
    scene.answered_by(&client, "pi");
    assert_eq!(client.missed(since, Instant::now()).order, ["pi"], "served by pi all the time");
    scene.logged("pi", 0, &["laptop", "seals its frames with key 2"]);
    // A new start goes by the new keys alone.
    scene.lab.node("laptop").power_cut().expect("it was on");
    scene.boot("laptop");
    scene.met();
}
