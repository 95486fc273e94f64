//! Whole groups against the real kernel, each test in a network namespace of its own.
use super::*;
use crate::config::{Address, Failback, Group, Kind, Resource};
use crate::platform::netlink::{self, LinkKind, Socket};
use crate::platform::process::enter_new_network_namespace;
use crate::platform::{clock, packet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr,
    Ipv6Packet, NdiscNeighborFlags, NdiscRepr,
};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const FOREVER: u64 = u64::MAX;

/// A directory for scripts, a cable `veth0` – `peer0`, and the threads under test.
struct Lab {
    dir: PathBuf,
    socket: Socket,
    veth: u32,
    peer: u32,
    vouch: Arc<[AtomicU64]>,
    resources: Option<Resources>,
    reports: Receiver<Report>,
    jobs: u32,
}

fn group() -> GroupId {
    GroupId::new(0).expect("the first group")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address(text: &str) -> Resource {
    let kind = Kind::Address(Address {
        address: ip(text),
        prefix: None,
        interface: None,
        label: None,
        broadcast: None,
    });
    resource(text, kind, Duration::from_secs(5))
}

fn resource(name: &str, kind: Kind, timeout: Duration) -> Resource {
    Resource { name: name.into(), kind, start_timeout: timeout, stop_timeout: timeout }
}

impl Lab {
    /// An empty namespace with 192.168.7.1/24 and fd00:7::1/64 on `veth0`.
    fn new(name: &str) -> Self {
        enter_new_network_namespace().expect("these tests need root: run them as root");
        let dir = std::env::temp_dir().join(format!("latido-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut socket = Socket::open().expect("netlink");
        let kind = LinkKind::Veth { peer: "peer0", peer_namespace: None };
        let veth = socket.add_link("veth0", kind).expect("a cable");
        let peer = socket.link("peer0").expect("asked").expect("there").index;
        for index in [veth, peer] {
            socket.set_up(index, true).expect("switched on");
        }
        let base = netlink::Address::new(veth, ip("192.168.7.1"), 24);
        socket.add_address(&base).expect("added");
        let mut base = netlink::Address::new(veth, ip("fd00:7::1"), 64);
        base.flags = netlink::Flags::NODAD;
        socket.add_address(&base).expect("added");
        let vouch = Arc::from([AtomicU64::new(FOREVER)]);
        Lab { dir, socket, veth, peer, vouch, resources: None, reports: channel().1, jobs: 0 }
    }

    fn run(&mut self, resources: Vec<Resource>) {
        let group =
            Group { name: "web".into(), prefer: vec![0], failback: Failback::Auto, resources };
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).expect("the test waits");
        let dir = Some(self.dir.as_path());
        let vouch = Arc::clone(&self.vouch);
        self.resources = Some(Resources::new(&[group], "pi", dir, vouch, report).expect("threads"));
        self.reports = reports;
    }

    fn ask(&mut self, call: impl Fn(&Resources, GroupId, JobId)) -> JobId {
        self.jobs += 1;
        call(self.resources.as_ref().expect("running"), group(), JobId(self.jobs));
        JobId(self.jobs)
    }

    /// The outcome of a job; other reports are passed over.
    fn outcome(&self, job: JobId) -> Outcome {
        loop {
            let report =
                self.reports.recv_timeout(Duration::from_secs(20)).expect("a report in time");
            assert_eq!(report.group, group());
            if report.job == job {
                return report.outcome;
            }
        }
    }

    fn start(&mut self) -> Outcome {
        let job = self.ask(Resources::start);
        self.outcome(job)
    }

    fn stop(&mut self) -> Outcome {
        let job = self.ask(Resources::stop);
        self.outcome(job)
    }

    fn probe(&mut self) -> Outcome {
        let job = self.ask(Resources::probe);
        self.outcome(job)
    }

    fn find(&mut self, text: &str) -> Option<netlink::Address> {
        let all = self.socket.addresses().expect("a list");
        all.into_iter().find(|address| address.address == ip(text))
    }

    /// A script that writes `NAME ARGS` of each call to the file `calls`, then does `body`, where
    /// `$action` is what is wanted and `$state` a file of its own.
    fn script(&self, name: &str, body: &str, timeout: Duration) -> Resource {
        let path = self.dir.join(name);
        let dir = self.dir.display();
        let text = format!(
            "#!/bin/sh\nfor action; do :; done\necho {name} \"$@\" >>{dir}/calls\n\
             state={dir}/{name}.state\n{body}\n"
        );
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
        let args = vec!["one".into(), "two".into()];
        let kind = Kind::Script { script: path, args, script_dirs: vec![] };
        resource(name, kind, timeout)
    }

    /// A well-behaved service.
    fn good(&self, name: &str) -> Resource {
        self.script(name, GOOD, Duration::from_secs(10))
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        let short = |line: &str| line.replace(" one two", "");
        text.lines().map(short).filter(|line| !line.ends_with("status")).collect()
    }

    /// A process id that a script wrote.
    fn pid(&self, file: &str) -> i32 {
        let path = self.dir.join(file);
        wait_until("the script wrote its process id", || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
        });
        std::fs::read_to_string(&path).expect("there").trim().parse().expect("a number")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.resources.take());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const GOOD: &str = "case $action in
start) touch $state;;
stop) rm -f $state;;
status) if [ -e $state ]; then echo running; else echo stopped; exit 3; fi;;
esac";

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// ARP operations heard so far for an address, with the sender's Ethernet address.
fn heard_arp(socket: &packet::Socket, wanted: &str) -> Vec<ArpOperation> {
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    while let Some(bytes) = socket.receive(&mut buffer).expect("received") {
        let frame = EthernetFrame::new_checked(bytes).expect("a frame");
        assert_eq!(frame.ethertype(), EthernetProtocol::Arp);
        let packet = ArpPacket::new_checked(frame.payload()).expect("ARP");
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&packet).expect("ARP")
        else {
            continue;
        };
        if IpAddr::V4(source_protocol_addr) == ip(wanted) {
            assert_eq!(source_protocol_addr, target_protocol_addr, "gratuitous");
            assert_eq!(source_hardware_addr, frame.src_addr());
            assert!(frame.dst_addr().is_broadcast());
            heard.push(operation);
        }
    }
    heard
}

#[test]
fn an_address_is_added_announced_renewed_and_removed() {
    let mut lab = Lab::new("address");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.label = Some("veth0:0".into());
    }
    lab.run(vec![wanted]);
    assert_eq!(lab.probe(), Outcome::Stopped);
    let begin = Instant::now();
    assert_eq!(lab.start(), Outcome::Running);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(50), "{took:?} on the path of a takeover");
    // At the time of the report it is on the wire already.
    assert_eq!(heard_arp(&ears, "192.168.7.20"), [ArpOperation::Request, ArpOperation::Reply]);
    let found = lab.find("192.168.7.20").expect("there");
    assert_eq!((found.index, found.prefix), (lab.veth, 24), "found from the routing table");
    assert_eq!(found.label.as_deref(), Some("veth0:0"));
    assert_eq!(found.broadcast, Some(ip("192.168.7.255")));
    assert_eq!(found.lifetime.valid, 1);
    assert_eq!(lab.probe(), Outcome::Running);
    let mut later = Vec::new();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert!(lab.find("192.168.7.20").is_some(), "renewed in time");
        later.extend(heard_arp(&ears, "192.168.7.20"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(later.len(), 4, "again after 0.1 and 1 s: {later:?}");
    lab.ask(|resources, group, _| resources.announce(group));
    wait_until("it is announced on demand", || !heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(lab.find("192.168.7.20").is_none());
    assert!(lab.find("192.168.7.1").is_some(), "the machine's own address stays");
    heard_arp(&ears, "192.168.7.20");
    std::thread::sleep(Duration::from_millis(300));
    assert!(lab.find("192.168.7.20").is_none() && heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped, "a second stop is no error");
}

#[test]
fn an_ipv6_address_is_usable_at_once_and_overrides_neighbours() {
    let mut lab = Lab::new("ipv6");
    let ears = packet::Socket::receiver(lab.peer, 0x86dd).expect("a packet socket");
    lab.run(vec![address("fd00:7::20")]);
    assert_eq!(lab.start(), Outcome::Running);
    let found = lab.find("fd00:7::20").expect("there");
    assert_eq!((found.index, found.prefix), (lab.veth, 64));
    assert!(!found.flags.contains(netlink::Flags::TENTATIVE));
    assert!(found.flags.contains(netlink::Flags::DEPRECATED), "no source of new connections");
    let mac = lab.socket.link("veth0").expect("asked").expect("there").mac.expect("Ethernet");
    let mut seen = false;
    let mut buffer = [0; 2048];
    while let Some(bytes) = ears.receive(&mut buffer).expect("received") {
        let frame = EthernetFrame::new_checked(bytes).expect("a frame");
        let ip_packet = Ipv6Packet::new_checked(frame.payload()).expect("IPv6");
        if IpAddr::V6(ip_packet.src_addr()) != ip("fd00:7::20") {
            continue;
        }
        let icmp = Icmpv6Packet::new_checked(ip_packet.payload()).expect("ICMPv6");
        let repr = Icmpv6Repr::parse(
            &ip_packet.src_addr(),
            &ip_packet.dst_addr(),
            &icmp,
            &ChecksumCapabilities::default(),
        );
        if let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr })) =
            repr
        {
            assert_eq!(flags, NdiscNeighborFlags::OVERRIDE);
            assert_eq!(IpAddr::V6(target_addr), ip("fd00:7::20"));
            assert_eq!(lladdr.expect("given").as_bytes(), mac);
            assert_eq!(ip_packet.hop_limit(), 255);
            seen = true;
        }
    }
    assert!(seen, "announced by the time of the report");
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(lab.find("fd00:7::20").is_none());
}

#[test]
fn an_address_that_nobody_renews_vanishes_by_itself() {
    let mut lab = Lab::new("expiry");
    lab.run(vec![address("192.168.7.20"), address("fd00:7::20")]);
    assert_eq!(lab.start(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(600));
    drop(lab.resources.take()); // as if the daemon was killed: nothing is stopped
    let begin = Instant::now();
    assert!(lab.find("192.168.7.20").is_some());
    wait_until("both are gone", || {
        lab.find("192.168.7.20").is_none() && lab.find("fd00:7::20").is_none()
    });
    assert!(begin.elapsed() < Duration::from_millis(1300), "{:?}", begin.elapsed());
    assert!(lab.find("192.168.7.1").is_some());
}

#[test]
fn an_address_is_withdrawn_at_once_when_nobody_vouches_and_returns_with_the_vouching() {
    let mut lab = Lab::new("vouch");
    lab.run(vec![address("192.168.7.20")]);
    let until = clock::now().micros() + 400_000;
    lab.vouch[0].store(until, Ordering::Relaxed);
    assert_eq!(lab.start(), Outcome::Running);
    wait_until("it is withdrawn", || lab.find("192.168.7.20").is_none());
    let late = clock::now().micros().saturating_sub(until);
    assert!(clock::now().micros() >= until && late < 100_000, "{late} µs late");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    lab.vouch[0].store(FOREVER, Ordering::Relaxed);
    wait_until("it is put back", || lab.find("192.168.7.20").is_some());
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    lab.vouch[0].store(0, Ordering::Relaxed);
    wait_until("it is withdrawn", || lab.find("192.168.7.20").is_none());
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_that_somebody_takes_away_is_put_back_and_announced() {
    let mut lab = Lab::new("guard");
    lab.run(vec![address("192.168.7.20")]);
    assert_eq!(lab.start(), Outcome::Running);
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    let found = lab.find("192.168.7.20").expect("there");
    let begin = Instant::now();
    assert!(lab.socket.delete_address(&found).expect("removed"));
    wait_until("it is back", || lab.find("192.168.7.20").is_some());
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    // A carrier that returns: neighbours may have learnt something else meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    lab.socket.set_up(lab.peer, false).expect("the cable is pulled");
    std::thread::sleep(Duration::from_millis(50));
    lab.socket.set_up(lab.peer, true).expect("and plugged in again");
    let ears = packet::Socket::receiver(lab.peer, 0x0806).expect("a packet socket");
    wait_until("it is announced", || !heard_arp(&ears, "192.168.7.20").is_empty());
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_left_by_a_crashed_daemon_is_adopted_without_a_gap() {
    let mut lab = Lab::new("adopt");
    let mut left = netlink::Address::new(lab.veth, ip("192.168.7.20"), 24);
    left.lifetime = netlink::Lifetime { preferred: 1, valid: 1 };
    lab.socket.add_address(&left).expect("added");
    let mut copy = netlink::Address::new(lab.peer, ip("192.168.7.20"), 32);
    copy.lifetime = netlink::Lifetime { preferred: 9, valid: 9 };
    lab.socket.add_address(&copy).expect("added");
    let mut monitor = netlink::Monitor::open().expect("a monitor");
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.interface = Some("veth0".into());
    }
    lab.run(vec![wanted]);
    assert_eq!(lab.probe(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(1300)); // a slow probe of something else
    assert_eq!(lab.start(), Outcome::Running);
    std::thread::sleep(Duration::from_millis(1300));
    let veth = lab.veth;
    while let Some(change) = monitor.next() {
        if let netlink::Change::Address { index, address, added: false, .. } = change {
            assert!(index != veth || address != ip("192.168.7.20"), "there was a gap");
        }
    }
    let all = lab.socket.addresses().expect("a list");
    let places: Vec<_> = all.iter().filter(|a| a.address == ip("192.168.7.20")).collect();
    assert_eq!(places.len(), 1, "the second copy is removed: {places:?}");
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn an_address_without_a_place_fails_with_a_reason() {
    let mut lab = Lab::new("noplace");
    lab.run(vec![address("10.99.0.1")]);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.stop(), Outcome::Stopped);
    let mut wanted = address("192.168.7.20");
    if let Kind::Address(address) = &mut wanted.kind {
        address.interface = Some("veth0".into());
    }
    lab.socket.set_up(lab.veth, false).expect("switched off");
    lab.run(vec![wanted]);
    assert_eq!(lab.start(), Outcome::Failed, "nobody could reach it there");
    assert!(lab.find("192.168.7.20").is_none());
}

#[test]
fn scripts_start_left_to_right_and_stop_right_to_left() {
    let mut lab = Lab::new("order");
    lab.run(vec![
        lab.good("first"),
        address("192.168.7.20"),
        lab.good("second"),
        lab.good("third"),
    ]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(lab.probe(), Outcome::Running);
    assert_eq!(lab.start(), Outcome::Running, "what runs is not started again");
    std::fs::remove_file(lab.dir.join("second.state")).expect("it dies");
    assert_eq!(lab.probe(), Outcome::Partial);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.probe(), Outcome::Stopped);
    let wanted = ["first start", "second start", "third start"];
    assert_eq!(lab.calls()[..3], wanted);
    assert_eq!(lab.calls()[3..], ["third stop", "second stop", "first stop"]);
}

#[test]
fn a_script_gets_its_arguments_and_a_clean_environment() {
    let mut lab = Lab::new("environment");
    // Something that a script must not inherit, under a number that no shell uses.
    let null = std::fs::File::open("/dev/null").expect("open");
    let leak = rustix::io::fcntl_dupfd_cloexec(&null, 700).expect("a copy");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("no close-on-exec");
    let body = format!(
        "[ $action = status ] && exit 3
        exec 9>$state; echo \"$@\" >&9; env | grep -E '^(HA|LATIDO)_' >&9
        [ -e /proc/$$/fd/{} ] && echo leaked >&9
        grep '^SigBlk' /proc/self/status >&9; cut -d' ' -f5,6,41 /proc/$$/stat >&9
        readlink /proc/$$/fd/0 >&9; echo pid $$ >&9; pwd >&9; echo end >&9",
        rustix::fd::AsRawFd::as_raw_fd(&leak)
    );
    let script = lab.script("probe", &body, Duration::from_secs(5));
    lab.run(vec![script]);
    assert_eq!(lab.start(), Outcome::Running);
    let text = std::fs::read_to_string(lab.dir.join("probe.state")).expect("written");
    let line = |word: &str| text.lines().find(|line| line.starts_with(word)).unwrap_or_default();
    assert_eq!(text.lines().next(), Some("one two start"));
    for wanted in ["LATIDO_NODE=pi", "LATIDO_GROUP=web", "LATIDO_ACTION=start", "HA_CURHOST=pi"] {
        assert_eq!(line(wanted), wanted, "in {text}");
    }
    assert_eq!(line("HA_DIR="), format!("HA_DIR={}", lab.dir.display()));
    assert_eq!(line("leaked"), "", "a descriptor of ours");
    assert_eq!(line("end"), "end");
    assert_eq!(line("SigBlk").split_whitespace().last(), Some("0000000000000000"));
    let pid = line("pid ").trim_start_matches("pid ").to_string();
    let scheduling = format!("{pid} {pid} 0"); // group, session, policy
    assert!(text.lines().any(|line| line == scheduling), "no {scheduling} in {text}");
    assert!(text.contains("\n/dev/null\n") && text.contains("\n/\n"), "{text}");
}

#[test]
fn a_failed_start_ends_there_and_everything_is_stopped_all_the_same() {
    let mut lab = Lab::new("failed");
    let bad = "case $action in start) echo no such file; exit 5;; status) echo stopped;; esac";
    let bad = lab.script("bad", bad, Duration::from_secs(5));
    lab.run(vec![lab.good("first"), bad, lab.good("never")]);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.calls(), ["first start", "bad start"]);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.calls()[2..], ["never stop", "bad stop", "first stop"]);
}

#[test]
fn a_hanging_start_is_killed_with_its_children_at_its_time() {
    let mut lab = Lab::new("hang");
    // A grandchild in a process group of its own that ignores every request to end.
    let body = "[ $action = status ] && exit 3; [ $action = stop ] && exit 0
        set -m; (trap '' TERM HUP INT; echo $$ >/dev/null; exec sleep 77) & echo $! >$state.new
        mv $state.new $state; echo waiting for godot; trap '' TERM; while :; do sleep 1; done";
    let script = lab.script("hang", body, Duration::from_millis(800));
    lab.run(vec![script]);
    let begin = Instant::now();
    assert_eq!(lab.start(), Outcome::Failed);
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(3), "{took:?}");
    let grandchild = lab.pid("hang.state");
    wait_until("the grandchild is gone", || !runs(grandchild));
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn a_stop_breaks_off_a_start() {
    let mut lab = Lab::new("abort");
    let body = "case $action in start) echo $$ >$state; sleep 60;; stop) rm -f $state;;
        status) [ -e $state ] && echo running || exit 3;; esac";
    let script = lab.script("slow", body, Duration::from_secs(90));
    lab.run(vec![lab.good("first"), script, lab.good("never")]);
    lab.ask(Resources::start);
    let pid = lab.pid("slow.state");
    assert!(runs(pid));
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!runs(pid));
    let calls = lab.calls();
    assert!(!calls.contains(&"never start".into()), "{calls:?}");
    assert_eq!(calls[calls.len() - 3..], ["never stop", "slow stop", "first stop"]);
}

#[test]
fn a_failing_stop_is_judged_by_its_status() {
    let mut lab = Lab::new("badstop");
    // Not as LSB wants it: stop fails when there is nothing to stop.
    let picky = "case $action in start) touch $state;; stop) rm $state;;
        status) [ -e $state ] && echo running || echo not running;; esac";
    let picky = lab.script("picky", picky, Duration::from_secs(10));
    let stuck = "case $action in stop) exit 1;; status) echo running;; esac";
    let stuck = lab.script("stuck", stuck, Duration::from_millis(1500));
    lab.run(vec![lab.good("first"), picky.clone()]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(2));
    std::fs::remove_file(lab.dir.join("calls")).expect("there");
    lab.run(vec![lab.good("first"), stuck, picky]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Failed, "it runs, and nobody can stop it");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(lab.calls().last().map(String::as_str), Some("first stop"), "all the same");
    assert!(lab.calls().iter().filter(|call| *call == "stuck stop").count() >= 2, "tried again");
}

#[test]
fn a_hanging_stop_is_killed_and_fails_within_its_time() {
    let mut lab = Lab::new("hangstop");
    let body = "case $action in stop) echo $$ >$state; sleep 60;; status) echo running;; esac";
    let script = lab.script("hang", body, Duration::from_secs(2));
    lab.run(vec![script]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Failed);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let pid = lab.pid("hang.state");
    assert!(!runs(pid));
}

#[test]
fn a_service_that_keeps_its_output_open_lives_on() {
    let mut lab = Lab::new("heir");
    let body = "case $action in status) exit 3;; stop) kill $(cat $state) && rm -f $state;;
        start) (while :; do echo still here; sleep 0.05; done) & echo $! >$state;; esac";
    lab.run(vec![lab.script("heir", body, Duration::from_secs(5))]);
    assert_eq!(lab.start(), Outcome::Running);
    let pid = lab.pid("heir.state");
    std::thread::sleep(Duration::from_millis(400));
    assert!(runs(pid), "a closed pipe would have ended it");
    assert_eq!(lab.stop(), Outcome::Stopped);
    wait_until("it is gone", || !runs(pid));
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_a_shell() {
    let mut lab = Lab::new("plain");
    let script = lab.good("plain");
    let path = lab.dir.join("plain");
    let text = std::fs::read_to_string(&path).expect("there").replace("#!/bin/sh\n", "");
    std::fs::write(&path, text).expect("written");
    lab.run(vec![script]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.calls(), ["plain start", "plain stop"]);
}

#[test]
fn a_missing_script_cannot_start_but_counts_as_stopped() {
    let mut lab = Lab::new("missing");
    let kind =
        Kind::Script { script: "nowhere".into(), args: vec![], script_dirs: vec![lab.dir.clone()] };
    lab.run(vec![resource("nowhere", kind, Duration::from_secs(5))]);
    assert_eq!(lab.probe(), Outcome::Stopped);
    // Where it is not installed nothing of it can run: the node must be able to let go.
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn the_newest_start_or_probe_wins_and_a_stop_is_never_lost() {
    let slots = Slots::new().expect("an eventfd");
    slots.put(&slots.next, 0, JobId(1));
    slots.put(&slots.next, 1, JobId(2));
    slots.put(&slots.stop, 0, JobId(3));
    slots.put(&slots.next, 0, JobId(u32::MAX));
    assert!(slots.stop_waits());
    assert_eq!(slots.take(), Some(Job::Stop(JobId(3))));
    assert!(!slots.stop_waits());
    assert_eq!(slots.take(), Some(Job::Start(JobId(u32::MAX))));
    assert_eq!(slots.take(), None);
    slots.put(&slots.next, 1, JobId(0));
    assert_eq!(slots.take(), Some(Job::Probe(JobId(0))));
}
