//! The laboratory itself: what the tests of the whole program stand on.
#![cfg(target_os = "linux")]
use latido::lab::client::{Client, Probe, Question};
use latido::lab::relay::Fate;
use latido::lab::{CLIENT, CROSSOVER, Exit, LAN, Lab, Plan, Switch, wait};
use latido::platform::netlink::{Address, Socket};
use latido::platform::tap::{OFFLOAD_HEADER, Tap};
use rustix::process::Signal;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_latido");
const VIRTUAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));
const PORT: u16 = 8080;
const SOON: Duration = Duration::from_secs(10);

fn pair(switch: Switch) -> Lab {
    let lab = Lab::new(&Plan::pair(PROGRAM, ["pi", "laptop"]).with_switch(switch)).unwrap();
    for node in lab.nodes() {
        node.power_on().unwrap();
    }
    lab
}

/// Starts the service on every node.
fn serve(lab: &Lab) {
    for node in lab.nodes() {
        let port = PORT.to_string();
        let address = VIRTUAL.to_string();
        node.spawn("service", [PROGRAM, "lab-serve", node.name(), &port, &address]).unwrap();
    }
}

fn target(address: IpAddr) -> SocketAddr {
    SocketAddr::from((address, PORT))
}

/// Gives the virtual address to a node, or takes it away, as the daemon would.
fn set_virtual(lab: &Lab, node: &str, present: bool) {
    lab.node(node)
        .inside(move || {
            let mut netlink = Socket::open().unwrap();
            let index = netlink.link("eth0").unwrap().unwrap().index;
            let address = Address::new(index, VIRTUAL, 24);
            if present {
                netlink.add_address(&address).unwrap();
            } else {
                assert!(netlink.delete_address(&address).unwrap());
            }
        })
        .unwrap();
}

/// Announces the virtual address at a node by a gratuitous ARP request (RFC 5227).
fn announce(lab: &Lab, node: &str) {
    lab.node(node)
        .inside(|| {
            let mac = Socket::open().unwrap().link("eth0").unwrap().unwrap().mac.unwrap();
            let IpAddr::V4(address) = VIRTUAL else { unreachable!() };
            let mut frame = vec![0; OFFLOAD_HEADER];
            frame.extend([0xff; 6]);
            frame.extend(mac);
            frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(mac);
            frame.extend(address.octets());
            frame.extend([0; 6]);
            frame.extend(address.octets());
            Tap::open("eth0").unwrap().send(&frame).unwrap();
        })
        .unwrap();
}

/// Whether an interface of a node has a carrier.
fn carrier(lab: &Lab, node: &str, interface: &'static str) -> bool {
    lab.node(node)
        .inside(move || Socket::open().unwrap().link(interface).unwrap().unwrap().carrier)
        .unwrap()
}

fn answered_by(client: &Client, name: &str) {
    wait::until(SOON, format!("an answer of {name}"), || {
        client.last_answer().filter(|(server, _)| server == name)
    })
    .unwrap();
}

/// Waits until everything asked before now has its outcome.
fn settle() -> Instant {
    let now = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    now
}

#[test]
fn a_power_cut_shows_as_an_outage_of_the_time_it_took() {
    let lab = pair(Switch::Bridge);
    serve(&lab);
    set_virtual(&lab, "pi", true);
    for probe in [Probe::Http, Probe::Udp] {
        let question = Question::every_millisecond(probe, target(VIRTUAL));
        let client = Client::start(lab.client(CLIENT), question).unwrap();
        answered_by(&client, "pi");
        let begin = Instant::now();
        wait::until(SOON, "a history of answers", || {
            (client.missed(begin, Instant::now()).asked > 100).then_some(())
        })
        .unwrap();
        let cut = lab.node("pi").power_cut().unwrap();
        assert!(lab.ownership().holders(VIRTUAL).is_empty());
        let away = Duration::from_millis(400);
        let left = away.saturating_sub(cut.elapsed());
        wait::never(left, "an answer from a dead node", || {
            client.last_answer().filter(|(_, at)| *at > cut + Duration::from_millis(50))
        })
        .unwrap();
        set_virtual(&lab, "laptop", true);
        // The client's own neighbour cache is part of the measurement: unannounced, the new
        // owner is not asked.
        wait::never(Duration::from_millis(300), "an answer before the announcement", || {
            client.last_answer().filter(|(server, _)| server == "laptop")
        })
        .unwrap();
        announce(&lab, "laptop");
        answered_by(&client, "laptop");
        let end = settle();
        let missed = client.missed(begin, end);
        assert!(missed.silence >= away, "{missed:?}");
        assert!(missed.unanswered >= 100, "{missed:?}");
        assert_eq!(missed.order, ["pi", "laptop"], "{missed:?}");
        assert_eq!(missed.both, Duration::ZERO);
        let held = lab.ownership().held(VIRTUAL, begin, end);
        assert!(held.nobody >= away && held.nobody < away + SOON, "{held:?}");
        assert_eq!(held.both, Duration::ZERO);
        // The node returns as a fresh one: without its service, without its address.
        set_virtual(&lab, "laptop", false);
        lab.node("pi").power_on().unwrap();
        assert!(lab.node("pi").processes().is_empty());
        lab.node("laptop").power_cut().unwrap();
        lab.node("laptop").power_on().unwrap();
        serve(&lab);
        set_virtual(&lab, "pi", true);
        announce(&lab, "pi");
    }
}

#[test]
fn two_owners_at_once_are_measured() {
    let lab = pair(Switch::Bridge);
    let begin = Instant::now();
    set_virtual(&lab, "pi", true);
    wait::until(SOON, "the first owner", || {
        (lab.ownership().holders(VIRTUAL) == ["pi"]).then_some(())
    })
    .unwrap();
    set_virtual(&lab, "laptop", true);
    std::thread::sleep(Duration::from_millis(100));
    set_virtual(&lab, "pi", false);
    wait::until(SOON, "the second owner", || {
        (lab.ownership().holders(VIRTUAL) == ["laptop"]).then_some(())
    })
    .unwrap();
    let held = lab.ownership().held(VIRTUAL, begin, Instant::now());
    assert!(held.both >= Duration::from_millis(95), "{held:?}");
    assert_eq!(held.arrivals, 2);
}

#[test]
fn pulled_cables_show_as_lost_carriers() {
    let lab = pair(Switch::Bridge);
    assert!(carrier(&lab, "pi", "eth1") && carrier(&lab, "laptop", "eth1"));
    lab.node("pi").set_cable(LAN, false).unwrap();
    assert!(!carrier(&lab, "pi", "eth0"));
    assert!(carrier(&lab, "pi", "eth1") && carrier(&lab, "laptop", "eth0"));
    lab.set_cables(CROSSOVER, false).unwrap();
    assert!(!carrier(&lab, "pi", "eth1") && !carrier(&lab, "laptop", "eth1"));
    lab.set_cables(CROSSOVER, true).unwrap();
    assert!(carrier(&lab, "pi", "eth1") && carrier(&lab, "laptop", "eth1"));
}

#[test]
fn a_split_separates_the_nodes_but_not_the_client() {
    for switch in [Switch::Bridge, Switch::Relay] {
        let lab = pair(switch);
        serve(&lab);
        lab.split(LAN, true).unwrap();
        for node in [[10, 77, 0, 1], [10, 77, 0, 2]] {
            let question = Question::every_millisecond(Probe::Http, target(node.into()));
            let client = Client::start(lab.client(CLIENT), question).unwrap();
            wait::until(SOON, "an answer in spite of the split", || client.last_answer()).unwrap();
        }
        let reached = |lab: &Lab| {
            lab.node("pi")
                .inside(|| {
                    let peer = SocketAddr::from(([10, 77, 0, 2], PORT));
                    std::net::TcpStream::connect_timeout(&peer, Duration::from_millis(500)).is_ok()
                })
                .unwrap()
        };
        assert!(!reached(&lab), "{switch:?}");
        lab.split(LAN, false).unwrap();
        let again = wait::until(SOON, "the healed network", || reached(&lab).then_some(()));
        again.unwrap();
    }
}

#[test]
fn frozen_processes_stand_still_until_thawed() {
    let lab = pair(Switch::Bridge);
    serve(&lab);
    let question = Question::every_millisecond(Probe::Udp, target(VIRTUAL));
    set_virtual(&lab, "pi", true);
    let client = Client::start(lab.client(CLIENT), question).unwrap();
    answered_by(&client, "pi");
    let frozen = lab.node("pi").freeze();
    let period = Duration::from_millis(300);
    wait::never(period, "an answer of a frozen node", || {
        // One may have been on its way.
        client.last_answer().filter(|(_, at)| *at > frozen + Duration::from_millis(100))
    })
    .unwrap();
    lab.node("pi").thaw();
    wait::until(SOON, "an answer after the thaw", || {
        client.last_answer().filter(|(_, at)| *at > frozen + period)
    })
    .unwrap();
}

#[test]
fn a_node_is_a_machine_of_its_own() {
    let lab = pair(Switch::Bridge);
    let limit = Duration::from_secs(10);
    let boot_id = |node: &str| {
        let command = ["cat", "/proc/sys/kernel/random/boot_id"];
        lab.node(node).run(command, limit).unwrap().1
    };
    let (exit, name) = lab.node("pi").run(["uname", "-n"], limit).unwrap();
    assert_eq!((exit, name.as_str()), (Exit::Code(0), "pi\n"));
    assert_eq!(lab.node("pi").run(["sh", "-c", "exit 7"], limit).unwrap().0, Exit::Code(7));
    let before = boot_id("pi");
    assert_eq!(before.trim().len(), 36);
    assert_ne!(before, boot_id("laptop"));
    std::fs::write(lab.node("pi").runtime_dir().join("state"), "x").unwrap();
    lab.node("pi").power_cut().unwrap();
    lab.node("pi").power_on().unwrap();
    assert_ne!(before, boot_id("pi"));
    assert!(!lab.node("pi").runtime_dir().join("state").exists());
    let missing = lab.node("pi").spawn("x", ["/no/such/program"]).unwrap_err().to_string();
    assert!(missing.contains("/no/such/program"), "{missing}");
}

#[test]
fn orphans_are_reaped_and_everything_dies_with_the_power() {
    let lab = pair(Switch::Bridge);
    let node = lab.node("pi");
    node.spawn("orphans", ["sh", "-c", "(sleep 300 &) ; sleep 300"]).unwrap();
    let sleepers = || {
        let all = node.processes();
        let found = all.iter().filter(|one| one.command == ["sleep", "300"]);
        found.map(|one| one.pid).collect::<Vec<i32>>()
    };
    wait::until(SOON, "two sleepers", || (sleepers().len() == 2).then_some(())).unwrap();
    let pids = sleepers();
    node.signal(pids[0], Signal::KILL).unwrap();
    wait::until(SOON, "the killed one to be reaped", || {
        node.processes().iter().all(|one| one.pid != pids[0]).then_some(())
    })
    .unwrap();
    node.power_cut().unwrap();
    for pid in pids {
        let gone = !std::path::Path::new(&format!("/proc/{pid}")).exists();
        assert!(gone, "process {pid} has survived the power cut");
    }
}

#[test]
fn the_relay_loses_delays_and_records() {
    let lab = pair(Switch::Relay);
    serve(&lab);
    let own = IpAddr::from([10, 77, 0, 1]);
    let relay = lab.relay(LAN).unwrap();
    // UDP to the node's own address is not served; HTTP is, on every address.
    let question = Question::every_millisecond(Probe::Http, target(own));
    let client = Client::start(lab.client(CLIENT), question).unwrap();
    answered_by(&client, "pi");
    relay.record();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let end = settle();
    let clean = client.missed(begin, end);
    assert!(clean.served.get("pi").is_some_and(|&answers| answers > 100), "{clean:?}");
    let recorded = relay.recorded();
    assert!(recorded.iter().any(|frame| frame.from == "pi"));
    assert!(recorded.iter().any(|frame| frame.from == CLIENT));

    relay.set(CLIENT, "pi", Fate::LOST);
    let begin = Instant::now() + Duration::from_millis(50);
    std::thread::sleep(Duration::from_millis(300));
    let end = settle();
    relay.heal();
    let lost = client.missed(begin, end);
    assert_eq!(lost.served.len(), 0, "{lost:?}");
    // Nothing was asked of the other direction, but it is useless alone.
    wait::until(SOON, "an answer after the healing", || {
        client.last_answer().filter(|(_, at)| *at > end)
    })
    .unwrap();

    relay.set_all(Fate { delay: Duration::from_millis(30), ..Fate::default() });
    std::thread::sleep(Duration::from_millis(100));
    let client = Client::start(lab.client(CLIENT), question).unwrap();
    let begin = Instant::now();
    let (_, first) = wait::until(SOON, "a late answer", || client.last_answer()).unwrap();
    // Connecting and asking: four ways at least.
    assert!(first - begin >= Duration::from_millis(100), "{:?}", first - begin);
}

#[test]
fn a_share_of_frames_is_lost_each_by_itself() {
    let lab = pair(Switch::Relay);
    serve(&lab);
    set_virtual(&lab, "pi", true);
    let question = Question::every_millisecond(Probe::Udp, target(VIRTUAL));
    let client = Client::start(lab.client(CLIENT), question).unwrap();
    answered_by(&client, "pi");
    lab.relay(LAN).unwrap().set(CLIENT, "pi", Fate::loss(0.2));
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(1500));
    let end = settle();
    let missed = client.missed(begin, end);
    let share = missed.unanswered as f64 / missed.asked as f64;
    assert!(missed.asked > 300 && (0.1..0.3).contains(&share), "{share} of {missed:?}");
}

#[test]
fn the_null_modem_joins_the_nodes_and_dies_with_their_power() {
    let lab = pair(Switch::Bridge);
    let open = |node: &str| {
        std::fs::File::options()
            .read(true)
            .write(true)
            .custom_flags((rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK).bits() as i32)
            .open(lab.node(node).serial_device().unwrap())
            .unwrap()
    };
    let (pi, laptop) = (open("pi"), open("laptop"));
    let heard = |bytes: &[u8]| {
        rustix::io::write(&pi, bytes).unwrap();
        wait::until(Duration::from_millis(500), "bytes", || {
            let mut buffer = [0; 16];
            rustix::io::read(&laptop, &mut buffer).ok().filter(|&length| length > 0)
        })
    };
    heard(b"hello").unwrap();
    lab.node("pi").power_cut().unwrap();
    assert!(heard(b"from beyond").is_err());
}

#[test]
fn nothing_is_left_behind_even_by_a_killed_laboratory() {
    // The laboratory of another process, which is then killed without any warning.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "helper_a_laboratory_that_waits_to_be_killed"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mark = format!("latido-lab-{}-0", child.id());
    let dir = std::env::temp_dir().join(&mark);
    let sleeper = || {
        let all = latido::lab::process::descendants(child.id() as i32);
        all.into_iter().find(|one| one.command == ["sleep", "301"])
    };
    let sleeper = wait::until(SOON * 3, "the other laboratory", sleeper);
    child.kill().unwrap();
    child.wait().unwrap();
    let sleeper = sleeper.unwrap();
    wait::until(SOON, "its processes and its directory to vanish", || {
        let process = std::path::PathBuf::from(format!("/proc/{}", sleeper.pid));
        (!process.exists() && !dir.exists()).then_some(())
    })
    .unwrap();
}

#[test]
#[ignore = "not a test: the victim of the one above"]
fn helper_a_laboratory_that_waits_to_be_killed() {
    let lab = pair(Switch::Bridge);
    lab.node("pi").spawn("sleeper", ["sleep", "301"]).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
