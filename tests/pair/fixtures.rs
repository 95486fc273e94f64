//! Configurations that people really wrote, as pairs: copied, their times shortened, their paths
//! mapped. Interfaces and addresses stay as they are: each laboratory has them to itself.
use crate::world::{PROGRAM, Scene, fixture, node_of, run};
use latido::lab::client::Probe;
use latido::lab::{Plan, wait};
use latido::platform::netlink::Socket;
use rustix::process::Signal;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A fixture on its stage.
struct Cast {
    /// Its folder, for each node.
    folders: [&'static str; 2],
    /// The preferred node, then the other.
    nodes: [&'static str; 2],
    /// Interfaces to the LAN and to the peer alone, with the nodes' addresses.
    lan: (&'static str, [[u8; 4]; 2]),
    crossover: (&'static str, [[u8; 4]; 2]),
    client: [u8; 4],
    /// The virtual address: the group's name too.
    address: [u8; 4],
    /// The scripts, and how they are called, in their order.
    scripts: &'static [&'static str],
    calls: &'static [&'static str],
    /// Lines added to ha.cf.
    added: &'static str,
}

const PI_AND_LAPTOP: Cast = Cast {
    folders: ["pi-and-laptop"; 2],
    nodes: ["pi", "debian"],
    lan: ("eth0", [[192, 168, 0, 21], [192, 168, 0, 22]]),
    crossover: ("eth1", [[10, 78, 0, 1], [10, 78, 0, 2]]),
    client: [192, 168, 0, 3],
    address: [192, 168, 0, 20],
    scripts: &["vsftpd"],
    calls: &["vsftpd"],
    added: "",
};

const WEB_MAIL_DNS: Cast = Cast {
    folders: ["web-mail-dns"; 2],
    nodes: ["clusternodo1", "clusternodo2"],
    lan: ("eth0", [[10, 0, 0, 1], [10, 0, 0, 2]]),
    crossover: ("eth1", [[192, 168, 1, 1], [192, 168, 1, 2]]),
    client: [10, 0, 0, 10],
    address: [10, 0, 0, 100],
    scripts: &["named", "httpd", "sendmail"],
    calls: &["named", "httpd", "sendmail"],
    added: "keepalive 50ms\nwarntime 500ms\n",
};

const WEB_TWO_ROUTERS: Cast = Cast {
    folders: ["web-two-routers"; 2],
    nodes: ["corman", "rabiuss"],
    lan: ("eth0", [[192, 168, 2, 1], [192, 168, 2, 2]]),
    crossover: ("eth2", [[172, 168, 0, 1], [172, 168, 0, 2]]),
    client: [192, 168, 2, 3],
    address: [192, 168, 2, 10],
    scripts: &["apache2", "pingcheck", "drbddisk", "Filesystem"],
    calls: &["apache2", "pingcheck", "drbddisk data", "Filesystem /dev/drbd0 /data ext3"],
    added: "",
};

/// With the master's haresources on both nodes: the slave's, as it stands, differs.
const WEB_TWO_VMS: Cast = Cast {
    folders: ["web-two-vms/master", "web-two-vms/slave"],
    nodes: ["master-cluster", "slave-cluster"],
    lan: ("ens18", [[172, 23, 19, 46], [172, 23, 19, 47]]),
    crossover: ("eth1", [[10, 78, 0, 1], [10, 78, 0, 2]]),
    client: [172, 23, 19, 3],
    address: [172, 23, 19, 48],
    scripts: &["apache2"],
    calls: &["apache2"],
    added: "",
};

impl Cast {
    fn address(&self) -> IpAddr {
        self.address.into()
    }

    fn group(&self) -> String {
        self.address().to_string()
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::pair(PROGRAM, self.nodes);
        for (number, node) in plan.nodes.iter_mut().enumerate() {
            for (port, place) in node.ports.iter_mut().zip([&self.lan, &self.crossover]) {
                port.interface = place.0.into();
                port.addresses = vec![(place.1[number].into(), 24)];
            }
        }
        plan.clients[0].ports[0].addresses = vec![(self.client.into(), 24)];
        plan
    }

    /// Both nodes on, with the configuration (the first's haresources on both, unless each is to
    /// have its `own`); no daemon yet. `dead` as ha.cf writes it.
    fn stage(&self, dead: &str, own: bool) -> Scene {
        let scene = Scene::new(&self.plan());
        scene.serve(self.address());
        let haresources = std::fs::read_to_string(fixture(self.folders[0]).join("haresources"));
        let haresources = haresources.expect("a fixture");
        for (node, folder) in self.nodes.into_iter().zip(self.folders) {
            scene.ha_dir(node, &fixture(folder), |file, text| match file {
                "ha.cf" => format!("{}{}", shortened(&text, dead), self.added),
                "haresources" if !own => haresources.clone(),
                _ => text,
            });
        }
        for script in self.scripts {
            scene.recorder("ha.d/resource.d", script);
        }
        scene
    }

    /// As [`Cast::stage`], with both daemons running and the group at the preferred node.
    fn begin(&self, dead: &str) -> Scene {
        let scene = self.stage(dead, false);
        scene.start_all();
        scene.met();
        scene.settled(&self.group(), self.nodes[0]);
        scene
    }

    /// The scripts were started in order here since call number `from`, each with the address up.
    fn started(&self, scene: &Scene, node: &str, from: usize) {
        assert_eq!(scene.acted(node, "start", from), self.calls, "{:#?}", scene.calls());
        let calls = scene.calls().into_iter().skip(from);
        for call in calls.filter(|call| call.node == node && call.action() == "start") {
            assert!(call.had_address, "{} comes after the address: {call:?}", call.script);
        }
    }

    /// They were stopped in the opposite order, before the address went.
    fn stopped(&self, scene: &Scene, node: &str, from: usize) {
        let reversed: Vec<&str> = self.calls.iter().rev().copied().collect();
        assert_eq!(scene.acted(node, "stop", from), reversed, "{:#?}", scene.calls());
        let calls = scene.calls().into_iter().skip(from);
        for call in calls.filter(|call| call.node == node && call.action() == "stop") {
            assert!(call.had_address, "the address goes last: {call:?}");
        }
    }
}

/// ha.cf with the laboratory's times and paths.
fn shortened(text: &str, dead: &str) -> String {
    let line = |line: &str| {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "keepalive" => "keepalive 50ms".to_owned(),
            "warntime" => "warntime 500ms".to_owned(),
            "deadtime" => format!("deadtime {dead}"),
            "initdead" => "initdead 20".to_owned(),
            "logfile" | "debugfile" => {
                format!("{word} {}", rest.replace("/var/log", "{dir}").trim())
            }
            "serial" => "serial {serial}".to_owned(),
            _ => line.to_owned(),
        }
    };
    let mut text: String = text.lines().map(|each| line(each) + "\n").collect();
    text.push_str("# shortened for the laboratory\n");
    text
}

/// Power cut, takeover, return, failback (or not): what the client and the scripts saw.
fn power_cut_and_return(cast: &Cast, fails_back: bool) {
    let [first, second] = cast.nodes;
    let scene = cast.begin("1");
    let group = cast.group();
    cast.started(&scene, first, 0);
    assert_eq!(scene.acted(second, "start", 0), [""; 0]);
    assert_eq!(scene.holders(cast.address()), [first]);
    let client = scene.client(Probe::Udp, cast.address());
    scene.answered_by(&client, first);

    let calls = scene.calls().len();
    let cut = scene.lab.node(first).power_cut().expect("it was on");
    scene.answered_by(&client, second);
    let silence = client.missed(cut, Instant::now()).silence;
    assert!(silence >= Duration::from_millis(800), "dead is 1 s: {silence:?}");
    scene.settled(&group, second);
    cast.started(&scene, second, calls);
    assert_eq!(scene.holders(cast.address()), [second]);

    let calls = scene.calls().len();
    scene.boot(first);
    scene.met();
    if fails_back {
        scene.settled(&group, first);
        scene.answered_by(&client, first);
        cast.stopped(&scene, second, calls);
        cast.started(&scene, first, calls);
        let held = scene.lab.ownership().held(cast.address(), cut, Instant::now());
        assert_eq!(held.both, Duration::ZERO, "{held:?}");
        assert_eq!(scene.holders(cast.address()), [first]);
    } else {
        // Longer than the delay of a failback, 5 s.
        wait::never(Duration::from_secs(6), "a failback", || {
            std::thread::sleep(Duration::from_millis(10));
            (scene.holders(cast.address()) != [second]).then(|| scene.holders(cast.address()))
        })
        .unwrap();
        scene.settled(&group, second);
        assert_eq!(scene.acted(second, "stop", calls), [""; 0]);
        assert_eq!(scene.acted(first, "start", calls), [""; 0]);
    }
}

/// SIGTERM to `latido run`: the other node serves long before the dead time; nothing stays.
fn graceful_stop(cast: &Cast) {
    let [first, second] = cast.nodes;
    let dead = Duration::from_secs(20);
    let scene = cast.begin("20");
    let client = scene.client(Probe::Http, cast.address());
    scene.answered_by(&client, first);
    let calls = scene.calls().len();
    let asked = Instant::now();
    scene.signal(first, Signal::TERM);
    let answered = scene.answered_by(&client, second);
    assert!(answered - asked < dead / 2, "handed over after {:?}", answered - asked);
    scene.wait_for_end(first);
    scene.settled(&cast.group(), second);
    assert_eq!(scene.holders(cast.address()), [second]);
    cast.stopped(&scene, first, calls);
    cast.started(&scene, second, calls);
    // What stopped had stopped before anything started: never both.
    let order: Vec<String> = scene.calls()[calls..]
        .iter()
        .filter(|call| call.action() != "status")
        .map(|call| call.node.clone())
        .collect();
    let half = order.len() / 2;
    assert!(order[..half].iter().all(|node| node == first), "{order:?}");
    let held = scene.lab.ownership().held(cast.address(), asked, Instant::now());
    assert_eq!(held.both, Duration::ZERO, "{held:?}");
    let log = scene.log(second);
    assert!(log.contains(&format!("node {first} said goodbye")), "{log}");
    assert!(!log.contains("is dead"), "a handover waits for no dead time: {log}");
    // No process, no socket that answers, no address is left; the exit was in order.
    assert_eq!(scene.latido(first, &["status"]).0, 3);
    assert!(scene.lab.node(first).daemon().is_none());
}

#[test]
fn pi_and_laptop_survives_a_power_cut() {
    power_cut_and_return(&PI_AND_LAPTOP, true);
}

#[test]
fn pi_and_laptop_hands_over_when_stopped() {
    graceful_stop(&PI_AND_LAPTOP);
}

#[test]
fn web_mail_dns_survives_a_power_cut() {
    power_cut_and_return(&WEB_MAIL_DNS, true);
}

#[test]
fn web_mail_dns_hands_over_when_stopped() {
    graceful_stop(&WEB_MAIL_DNS);
}

#[test]
fn web_two_routers_survives_a_power_cut() {
    power_cut_and_return(&WEB_TWO_ROUTERS, true);
}

#[test]
fn web_two_routers_hands_over_when_stopped() {
    graceful_stop(&WEB_TWO_ROUTERS);
}

#[test]
fn web_two_vms_survives_a_power_cut() {
    power_cut_and_return(&WEB_TWO_VMS, true);
}

#[test]
fn web_two_vms_hands_over_when_stopped() {
    graceful_stop(&WEB_TWO_VMS);
}

#[test]
fn without_auto_failback_the_group_stays_where_it_is() {
    power_cut_and_return(&Cast { added: "auto_failback off\n", ..PI_AND_LAPTOP }, false);
}

#[test]
fn the_serial_cable_of_web_mail_dns_is_a_link_of_its_own() {
    let scene = WEB_MAIL_DNS.begin("10");
    let node = scene.lab.node(WEB_MAIL_DNS.nodes[0]);
    let device = node.serial_device().expect("a cable").display().to_string();
    scene.wait_status(node.name(), "the cable and the crossover work both ways", |status| {
        let links = node_of(status, WEB_MAIL_DNS.nodes[1])?["links"].as_array()?;
        let names: Vec<&str> = links.iter().filter_map(|link| link["name"].as_str()).collect();
        assert_eq!(names, [device.as_str(), "eth1 broadcast"]);
        links.iter().all(|link| link["state"] == "up" && link["rtt_us"].is_u64()).then_some(())
    });
}

#[test]
fn the_address_of_web_two_routers_has_its_label() {
    let scene = WEB_TWO_ROUTERS.begin("10");
    let address = WEB_TWO_ROUTERS.address();
    let addresses = scene.lab.node(WEB_TWO_ROUTERS.nodes[0]).inside(|| {
        Socket::open().and_then(|mut netlink| Ok(netlink.addresses()?)).expect("netlink")
    });
    let addresses = addresses.expect("it is on");
    let found = addresses.iter().find(|one| one.address == address).expect("the address");
    assert_eq!((found.label.as_deref(), found.prefix), (Some("eth0:0"), 24));
}

#[test]
fn without_a_secret_status_and_log_say_unauthenticated() {
    for (cast, authenticated) in [(&PI_AND_LAPTOP, false), (&WEB_TWO_ROUTERS, true)] {
        let scene = cast.begin("10");
        let node = cast.nodes[0];
        assert_eq!(scene.status(node)["authenticated"], authenticated);
        let (code, text) = scene.latido(node, &["status"]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(text.contains("unauthenticated"), !authenticated, "{text}");
        assert_eq!(scene.log(node).contains("unauthenticated"), !authenticated);
    }
}

#[test]
fn a_migrated_node_and_one_as_it_was_are_a_pair() {
    for cast in [&PI_AND_LAPTOP, &WEB_MAIL_DNS, &WEB_TWO_ROUTERS, &WEB_TWO_VMS] {
        let [first, second] = cast.nodes;
        let scene = cast.stage("1", false);
        let dir = scene.lab.node(first).dir();
        let path = |name: &str| dir.join(name).display().to_string();
        let (code, toml, errors) =
            run(&["migrate", "--ha-dir", &path("ha.d"), "--keys", &path("keys")]);
        assert_eq!(code, 0, "{errors}");
        std::fs::write(dir.join("latido.toml"), &toml).expect("written");
        let (code, text, _) = run(&["check", "--config", &path("latido.toml")]);
        assert_eq!(code, 0, "{text}");
        // Only its scripts are needed now.
        std::fs::remove_file(dir.join("ha.d/ha.cf")).expect("it was there");
        assert_eq!(scene.config_args(first)[0], "--config");
        scene.start_all();
        scene.met();
        scene.settled(&cast.group(), first);
        cast.started(&scene, first, 0);
        let calls = scene.calls().len();
        scene.lab.node(first).power_cut().expect("it was on");
        scene.settled(&cast.group(), second);
        cast.started(&scene, second, calls);
        scene.boot(first);
        scene.met();
    }
}

/// The cured pair of the two virtual machines, as its builder left it.
#[test]
fn two_haresources_that_differ_are_noticed_between_the_running_nodes() {
    let cast = &WEB_TWO_VMS;
    let [master, slave] = cast.nodes;
    let scene = cast.stage("5", true);
    let dir = |node: &str| scene.lab.node(node).dir().join("ha.d").display().to_string();
    let (code, text, _) = run(&["check", "--ha-dir", &dir(master), "--ha-dir", &dir(slave)]);
    assert_eq!(code, 1, "{text}");
    for words in ["the nodes differ in", "preferred nodes", "use the same haresources"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    for node in cast.nodes {
        // Each for itself is all right.
        assert_eq!(run(&["check", "--ha-dir", &dir(node)]).0, 0);
    }

    scene.start_all();
    for (node, other) in [(master, slave), (slave, master)] {
        scene.wait_status(node, "the other's configuration differs", |status| {
            let other = node_of(status, other)?;
            (other["state"] == "alive" && other["config_differs"] == true).then_some(())
        });
        let line = scene.logged(node, 0, &["configuration of node", other, "differs"]);
        assert!(line.contains("latido reload"), "the cure is named: {line}");
        let (_, text) = scene.latido(node, &["status"]);
        assert!(text.contains("PROBLEMS") && text.contains("another configuration"), "{text}");
    }
    wait::never(Duration::from_millis(1500), "a claim against the living peer", || {
        let holders = scene.holders(cast.address());
        (!holders.is_empty()).then_some(holders)
    })
    .unwrap();
    assert_eq!(scene.acted(master, "start", 0), [""; 0]);
    assert_eq!(scene.acted(slave, "start", 0), [""; 0]);

    // The cure works: the same file on both, read again.
    let same = std::fs::read_to_string(fixture(cast.folders[0]).join("haresources"));
    scene.write(slave, "ha.d/haresources", &same.expect("a fixture"));
    let (code, text) = scene.latido(slave, &["reload"]);
    assert_eq!(code, 0, "{text}");
    scene.met();
    scene.settled(&cast.group(), master);
    cast.started(&scene, master, 0);
    scene.logged(master, 0, &["configuration of node", slave, "agrees"]);
}

#[test]
fn differing_nodes_still_take_over_from_the_dead() {
    let cast = &WEB_TWO_VMS;
    let [master, slave] = cast.nodes;
    let scene = cast.stage("1", true);
    scene.start_all();
    scene.wait_status(slave, "the master's configuration differs", |status| {
        (node_of(status, master)?["config_differs"] == true).then_some(())
    });
    // "Until they agree or are told to": the operator's word is enough.
    let (code, text) = scene.latido(master, &["takeover"]);
    assert_eq!(code, 0, "{text}");
    scene.settled(&cast.group(), master);
    scene.lab.node(master).power_cut().expect("it was on");
    scene.settled(&cast.group(), slave);
    cast.started(&scene, slave, 0);
}
