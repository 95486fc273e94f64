//! The gate on interfaces, with a neighbour who asks; by both ways of attaching.
use super::*;
use crate::platform::netlink::{Address, Flags, Hook, LinkKind, Namespace};
use crate::platform::packet;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::sleep;

const WAYS: [Way; 2] = [Way::Tcx, Way::Clsact];
const LONG: u64 = 60_000_000;
const MS: Duration = Duration::from_millis(1);

/// A namespace that lives as long as a thread in it; things are done there by that thread.
struct Place {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    file: File,
}

impl Place {
    fn new() -> Place {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (report, arrived) = mpsc::channel();
        std::thread::spawn(move || {
            new_network().expect("these tests need root: run them as root");
            report.send(File::open("/proc/thread-self/ns/net").expect("/proc")).expect("heard");
            for job in queue {
                job();
            }
        });
        Place { jobs, file: arrived.recv().expect("a namespace") }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (report, arrived) = mpsc::channel();
        self.jobs.send(Box::new(move || drop(report.send(job())))).expect("it lives");
        arrived.recv().expect("it did not panic")
    }

    fn socket(&self) -> Socket {
        self.run(|| Socket::open().expect("netlink"))
    }

    /// Runs a program there; what it printed.
    fn command(&self, line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let output = self
            .run(move || Command::new(&words[0]).args(&words[1..]).output())
            .expect("iproute2 is installed");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Two nodes on a cable: `near0` with the gated addresses, `far0` who asks.
struct Lab {
    node: Place,
    client: Place,
    near: u32,
    far: u32,
}

impl Lab {
    fn new() -> Lab {
        let (node, client) = (Place::new(), Place::new());
        let (near, far) = cable(&node, &client, "near0", "far0");
        for (place, index, texts) in [
            (&node, near, ["192.0.2.2", "2001:db8::2"]),
            (&client, far, ["192.0.2.1", "2001:db8::1"]),
        ] {
            for text in texts {
                give(place, index, text);
            }
        }
        give(&node, near, V4);
        give(&node, near, V6);
        let lab = Lab { node, client, near, far };
        // Whoever is asked answers by UDP, from the address that was asked.
        for text in ["192.0.2.2", V4, "2001:db8::2", V6] {
            lab.serve(text);
        }
        lab
    }

    fn serve(&self, text: &str) {
        let address = SocketAddr::new(text.parse().expect("an address"), 700);
        let socket = self.node.run(move || UdpSocket::bind(address)).expect("bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }

    fn gate(&self, way: Way) -> Gate {
        self.node.run(move || Gate::open_by(way, Tag::of(b"living"), &groups())).expect("a gate")
    }

    /// Asks an address; true if it answers.
    fn asks(&self, text: &'static str) -> bool {
        self.asks_for(text, 60 * MS)
    }

    fn asks_for(&self, text: &'static str, patience: Duration) -> bool {
        self.client.run(move || {
            let target = SocketAddr::new(text.parse().expect("an address"), 700);
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("bound");
            socket.set_read_timeout(Some(patience)).expect("set");
            socket.send_to(b"who", target).expect("sent");
            socket.recv_from(&mut [0; 64]).is_ok()
        })
    }

    /// Asks until it answers, each time from the Ethernet address on.
    fn hears(&self, text: &'static str) {
        until(text, || {
            self.forget();
            self.asks(text)
        });
    }

    /// Forgets who has which Ethernet address, so that it must be asked for again.
    fn forget(&self) {
        self.client.command("ip neigh flush dev far0");
    }

    fn programs(&self) -> String {
        let node = self.node.socket().links().expect("links");
        let mut text = String::new();
        for link in node {
            let index = link.index;
            let count: usize = self.node.run(move || {
                Direction::BOTH.map(|side| bpf_attached(index, side).len()).iter().sum()
            });
            text.push_str(&format!("{} tcx {count}; ", link.name));
            for side in ["ingress", "egress"] {
                text.push_str(
                    &self.node.command(&format!("tc filter show dev {} {side}", link.name)),
                );
            }
            text.push_str(&self.node.command(&format!("tc qdisc show dev {}", link.name)));
        }
        text
    }
}

/// An Ethernet cable between two namespaces, switched on at both ends; the two indices.
fn cable(one: &Place, other: &Place, near: &str, far: &str) -> (u32, u32) {
    let mut socket = one.socket();
    let there = Some(Namespace::Fd(other.file.as_fd()));
    let kind = LinkKind::Veth { peer: far, peer_namespace: there };
    let near = socket.add_link(near, kind).expect("a cable");
    socket.set_up(near, true).expect("on");
    let mut socket = other.socket();
    let far = socket.link(far).expect("asked").expect("there").index;
    socket.set_up(far, true).expect("on");
    (near, far)
}

fn give(place: &Place, index: u32, text: &str) {
    let address: IpAddr = text.parse().expect("an address");
    let mut wanted = Address::new(index, address, if address.is_ipv4() { 24 } else { 64 });
    wanted.flags = Flags::NODAD;
    place.socket().add_address(&wanted).expect("added");
}

fn take(place: &Place, index: u32, text: &str) {
    let address: IpAddr = text.parse().expect("an address");
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    place.socket().delete_address(&Address::new(index, address, prefix)).expect("removed");
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "never: {what}");
        sleep(MS);
    }
}

#[test]
fn an_address_speaks_while_somebody_vouches_for_it() {
    for way in WAYS {
        let lab = Lab::new();
        // Before there is a gate.
        for text in [V4, V6, "192.0.2.2", "2001:db8::2"] {
            lab.hears(text);
        }
        let gate = lab.gate(way);
        assert_eq!(gate.ungated().list(), [""; 0]);
        assert!(!lab.asks(V4) && !lab.asks(V6), "{way:?}: closed is how it starts");
        assert!(lab.asks("192.0.2.2") && lab.asks("2001:db8::2"), "other addresses");
        lab.forget();
        assert!(!lab.asks(V4) && !lab.asks(V6), "{way:?}: nor by ARP or NDP");
        let table = lab.client.command("ip neigh show dev far0");
        for line in table.lines().filter(|line| line.starts_with(V4) || line.starts_with(V6)) {
            assert!(line.contains("INCOMPLETE") || line.contains("FAILED"), "{way:?}: {line}");
        }
        gate.vouch(1, in_micros(LONG));
        lab.hears(V4);
        lab.hears(V6);
        gate.close(1);
        assert!(!lab.asks(V4) && !lab.asks(V6), "{way:?}: closed again");
        gate.vouch(0, in_micros(LONG));
        assert!(!lab.asks(V4), "another group's deadline");
    }
}

#[test]
fn it_closes_by_itself_within_a_few_milliseconds() {
    for way in WAYS {
        let lab = Lab::new();
        let gate = lab.gate(way);
        gate.vouch(1, in_micros(LONG));
        lab.hears(V4);
        for _ in 0..5 {
            let end = in_micros(50_000);
            gate.vouch(1, end);
            let mut last = clock::now();
            loop {
                let asked = clock::now();
                if lab.asks_for(V4, 5 * MS) {
                    last = asked;
                } else if asked > end {
                    break;
                }
            }
            assert!(last < end, "{way:?}: answered {:?} after its end", last.since(end));
        }
    }
}

#[test]
fn a_client_on_the_silent_node_reaches_the_owner() {
    for way in WAYS {
        let lab = Lab::new();
        for text in [V4, V6] {
            take(&lab.node, lab.near, text);
            give(&lab.client, lab.far, text);
        }
        let _gate = lab.gate(way);
        let owner = lab.client.run(|| UdpSocket::bind((V4, 701)).expect("bound"));
        let owner_v6 = lab.client.run(|| UdpSocket::bind((V6, 701)).expect("bound"));
        for owner in [owner, owner_v6] {
            let target = owner.local_addr().expect("bound");
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let asker = lab.node.run(move || UdpSocket::bind(any).expect("bound"));
            for socket in [&owner, &asker] {
                socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
            }
            asker.send_to(b"who", target).expect("sent");
            let (_, from) = owner.recv_from(&mut [0; 8]).expect("the question arrives");
            owner.send_to(b"me", from).expect("sent");
            asker.recv_from(&mut [0; 8]).expect("the answer arrives");
        }
    }
}

#[test]
fn a_router_between_owner_and_client_forwards() {
    for way in WAYS {
        let lab = Lab::new();
        for text in [V4, V6] {
            take(&lab.node, lab.near, text);
        }
        // client — node (router, gated) — owner
        let owner = Place::new();
        let (side, end) = cable(&lab.node, &owner, "side0", "end0");
        give(&lab.node, side, "198.18.0.1");
        give(&owner, end, "198.18.0.2");
        give(&owner, end, V4);
        lab.node.command("ip route add 192.0.2.20/32 via 198.18.0.2");
        lab.client.command("ip route add 192.0.2.20/32 via 192.0.2.2");
        owner.command("ip route add 192.0.2.1/32 via 198.18.0.1");
        lab.node.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
        });
        let echo = owner.run(|| UdpSocket::bind((V4, 700)).expect("bound"));
        std::thread::spawn(move || {
            while let Ok((length, from)) = echo.recv_from(&mut [0; 64]) {
                let _ = echo.send_to(&[0; 64][..length], from);
            }
        });
        lab.hears(V4);
        let gate = lab.gate(way);
        assert!(lab.asks(V4), "{way:?}: closed, but the address is somebody else's");
        // Now it is this machine's own.
        lab.node.command("ip route del 192.0.2.20/32");
        give(&lab.node, lab.near, V4);
        assert!(!lab.asks(V4));
        gate.vouch(1, in_micros(LONG));
        lab.hears(V4);
    }
}

#[test]
fn every_interface_is_gated_and_those_that_come_later() {
    for way in WAYS {
        let lab = Lab::new();
        let gate = lab.gate(way);
        // Linux answers for the address on any interface; here on one that is new.
        let (second, other) = cable(&lab.node, &lab.client, "near1", "far1");
        let there = |index: u32| {
            let programs = lab.node.run(move || match way {
                Way::Tcx => Direction::BOTH
                    .map(|side| bpf_attached(index, side))
                    .iter()
                    .filter(|ids| !ids.is_empty())
                    .count(),
                Way::Clsact => {
                    let mut socket = Socket::open().expect("netlink");
                    let hooks = [false, true].map(|egress| Hook { index, egress });
                    let filters = hooks.map(|hook| socket.filters(hook).expect("listed"));
                    filters.iter().filter(|filters| !filters.is_empty()).count()
                }
            });
            programs == 2
        };
        until("gated", || there(second));
        let hears = |index| packet::Socket::receiver(index, 0x0806).expect("a socket");
        let ears = lab.client.run(move || hears(other));
        let request = arp_request();
        let mut buffer = [0; 128];
        let mut answered = |frame: &[u8], patience: Duration| {
            ears.send(other, frame).expect("sent");
            let start = std::time::Instant::now();
            while start.elapsed() < patience {
                while let Some(bytes) = ears.receive(&mut buffer).expect("received") {
                    if bytes.len() > 22 && bytes[20..22] == [0, 2] {
                        return true;
                    }
                }
                sleep(MS);
            }
            false
        };
        assert!(!answered(&request, 30 * MS), "{way:?}: on the second interface");
        gate.vouch(1, in_micros(LONG));
        assert!(answered(&request, Duration::from_secs(2)), "{way:?}");
        // A port of a bridge is not gated, the bridge is.
        let bridge = lab.node.socket().add_link("bridge0", LinkKind::Bridge).expect("a bridge");
        lab.node.socket().set_master(second, Some(bridge)).expect("a port");
        until("the bridge instead", || there(bridge) && !there(second));
    }
}

fn bpf_attached(index: u32, direction: Direction) -> Vec<u32> {
    crate::platform::bpf::attached(index, direction).unwrap_or_default()
}

/// Who has 192.0.2.20? Tell 192.0.2.1.
fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9]);
    frame.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 20]);
    frame
}

#[test]
fn the_next_one_takes_over_without_a_gap() {
    for way in WAYS {
        let lab = Lab::new();
        let first = lab.gate(way);
        let end = in_micros(1_500_000);
        first.vouch(1, end);
        lab.hears(V4);
        drop(first);
        // Asked all the time while it is exchanged, several times.
        for _ in 0..5 {
            let next = {
                let (node, client) = (&lab.node, &lab);
                std::thread::scope(|scope| {
                    let opened = scope.spawn(move || {
                        node.run(move || Gate::open_by(way, Tag::of(b"living"), &groups()))
                    });
                    while !opened.is_finished() {
                        assert!(client.asks_for(V4, 200 * MS), "{way:?}: a gap");
                    }
                    opened.join().expect("no panic").expect("a gate")
                })
            };
            drop(next);
        }
        assert!(clock::now() < end, "the machine is too slow for this test");
        until("the old deadline still holds", || !lab.asks(V4));
        assert!(clock::now() >= Instant::from_micros(end.micros() - 200));
        assert!(!lab.asks(V6), "it stays closed");
        // Other addresses in other places: nothing opens by mistake.
        let last = lab.gate(way);
        last.vouch(0, in_micros(LONG));
        last.vouch(1, in_micros(LONG));
        drop(last);
        let moved = vec![vec![V4.parse().expect("one"), "203.0.113.9".parse().expect("new")]];
        let gate =
            lab.node.run(move || Gate::open_by(way, Tag::of(b"living"), &moved)).expect("a gate");
        assert!(!lab.asks(V4), "{way:?}: an address of its group was not vouched for");
        lab.hears(V6); // no longer a group's
        drop(gate);
    }
}

#[test]
fn a_gate_of_another_runtime_directory_is_noticed() {
    for way in WAYS {
        let lab = Lab::new();
        let strangers = |tag: &'static [u8]| {
            lab.node.run(move || super::super::strangers(Tag::of(tag))).expect("looked")
        };
        assert_eq!(strangers(b"other"), [""; 0]);
        let gate = lab.gate(way);
        assert_eq!(strangers(b"living"), [""; 0], "{way:?}: ours");
        drop(gate);
        let name = Tag::of(b"living").to_string();
        let found = strangers(b"other");
        assert!(!found.is_empty() && found.iter().all(|place| place.contains(&name)), "{found:?}");
    }
}

#[test]
fn nothing_is_left_behind_and_others_stay() {
    for way in WAYS {
        let lab = Lab::new();
        let before = lab.programs();
        let gate = lab.gate(way);
        assert_ne!(lab.programs(), before);
        let removed = lab.node.run(move || gate.remove());
        let error = removed.expect_err("the address is still there");
        assert!(error.to_string().contains("is still on this machine"), "{error}");
        assert!(!lab.asks(V4), "{way:?}: it stays closed");
        for text in [V4, V6] {
            take(&lab.node, lab.near, text);
        }
        let gate = lab.gate(way);
        lab.node.run(move || gate.remove()).expect("removed");
        assert_eq!(lab.programs(), before, "{way:?}");

        // Somebody else's clsact and filters: one that accepts all, and before it one that drops.
        lab.node.socket().add_clsact(lab.near).expect("a clsact");
        for egress in [false, true] {
            let hook = Hook { index: lab.near, egress };
            for (handle, program) in [(1, theirs(None)), (2, theirs(Some([192, 0, 2, 77])))] {
                lab.node.socket().put_filter(hook, (1, handle), "theirs", program).expect("put");
            }
        }
        let before = lab.programs();
        let gate = lab.gate(way);
        give(&lab.node, lab.near, "192.0.2.77");
        give(&lab.node, lab.near, "192.0.2.78");
        give(&lab.node, lab.near, V4);
        lab.serve("192.0.2.77");
        lab.serve("192.0.2.78");
        assert!(!lab.asks("192.0.2.77"), "{way:?}: their filter works");
        lab.hears("192.0.2.78");
        assert!(!lab.asks(V4), "{way:?}: and so does ours, in front of one that accepts");
        take(&lab.node, lab.near, V4);
        lab.node.run(move || gate.remove()).expect("removed");
        assert_eq!(lab.programs(), before, "{way:?}");
    }
}

/// A program that drops what is for an address and goes on with the rest; or accepts everything,
/// which ends the list of filters.
fn theirs(dropped: Option<[u8; 4]>) -> Program {
    use super::super::assembler::{Assembler, If, Reg, Size};
    let mut code = Assembler::new();
    if let Some(address) = dropped {
        let other = code.label();
        code.set(Reg::R2, 30);
        code.address(Reg::R3, Reg::Fp, -8);
        code.set(Reg::R4, 4);
        code.call(26);
        code.jump_if(Reg::R0, If::NotEqual, 0, other);
        code.load(Size::Word, Reg::R1, Reg::Fp, -8);
        code.jump_if_32(Reg::R1, If::NotEqual, i32::from_ne_bytes(address), other);
        code.leave(2);
        code.here(other);
        code.leave(-1);
    } else {
        code.leave(0);
    }
    Program::load("theirs", &code.finish().expect("a program"), c"GPL").expect("loaded")
}

/// A program that sends everything out through another interface.
fn diversion(index: u32) -> Program {
    use super::super::assembler::{Assembler, Reg};
    const REDIRECT: i32 = 23;
    let mut code = Assembler::new();
    code.set(Reg::R1, index as i32);
    code.set(Reg::R2, 0);
    code.call(REDIRECT);
    code.exit();
    Program::load("diversion", &code.finish().expect("a program"), c"GPL").expect("loaded")
}

#[test]
fn a_tag_that_stands_beside_the_frame_is_no_obstacle() {
    for way in WAYS {
        let lab = Lab::new();
        let (side, ears) = cable(&lab.node, &lab.client, "side0", "ears0");
        // Linux has taken the first tag off before anybody sees the frame. What passes the gate
        // comes back to us by another cable.
        let hook = Hook { index: lab.near, egress: false };
        let mut socket = lab.node.socket();
        socket.add_clsact(lab.near).expect("a clsact");
        socket.put_filter(hook, (9, 9), "theirs", diversion(side)).expect("put");
        let gate = lab.gate(way);
        let heard = lab.client.run(move || packet::Socket::receiver(ears, 0x0003).expect("ears"));
        let mac = lab.node.socket().link_by_index(lab.near).expect("asked").expect("there").mac;
        let frame = |to: [u8; 4], tags: &[[u8; 4]]| {
            let mut frame = mac.expect("it has one").to_vec();
            frame.extend([2, 0, 0, 0, 0, 9]);
            frame.extend(tags.iter().flatten());
            frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1]);
            frame.extend(to);
            frame.extend([0; 8]);
            frame
        };
        let far = lab.far;
        let mut buffer = [0; 128];
        // The marker comes after: when it is there, all that passed before it is there too.
        let mut passed = |tags: &[[u8; 4]]| {
            heard.send(far, &frame([192, 0, 2, 20], tags)).expect("sent");
            heard.send(far, &frame([192, 0, 2, 99], tags)).expect("sent");
            let mut passed = false;
            until("the marker", || {
                while let Some(bytes) = heard.receive(&mut buffer).expect("received") {
                    let ends = |to: [u8; 4]| bytes.windows(4).any(|four| four == to);
                    passed |= ends([192, 0, 2, 20]);
                    if ends([192, 0, 2, 99]) {
                        return true;
                    }
                }
                false
            });
            passed
        };
        let (inner, outer) = ([0x81, 0, 0, 5], [0x88, 0xa8, 0, 6]);
        for tags in [&[][..], &[inner], &[outer, inner]] {
            gate.close(1);
            assert!(!passed(tags), "{way:?}: {tags:?}");
            gate.vouch(1, in_micros(LONG));
            assert!(passed(tags), "{way:?}: {tags:?}");
        }
    }
}

#[test]
fn a_program_that_somebody_took_off_comes_back() {
    let lab = Lab::new();
    let gate = lab.gate(Way::Clsact);
    assert!(!lab.asks(V4));
    lab.node.command("tc qdisc del dev near0 clsact");
    lab.hears(V4);
    // Any news of an interface makes it look; else it looks every ten seconds.
    lab.node.command("ip link set near0 mtu 1400");
    until("closed again", || !lab.asks(V4));
    drop(gate);
}

#[test]
fn two_capabilities_are_enough() {
    let lab = Lab::new();
    lab.node.run(|| {
        let few = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE;
        set_capabilities(None, CapabilitySets { effective: few, permitted: few, inheritable: few })
            .expect("given up")
    });
    let gate = |tag: &'static [u8]| {
        lab.node.run(move || Gate::open(Tag::of(tag), &groups())).expect("a gate")
    };
    let first = gate(b"living");
    assert!(!lab.asks(V4));
    first.vouch(1, in_micros(LONG));
    lab.hears(V4);
    drop(first);
    let second = gate(b"living");
    assert!(!lab.asks(V4), "closed until it is vouched for");
    second.vouch(1, in_micros(LONG));
    lab.hears(V4);
    for text in [V4, V6] {
        take(&lab.node, lab.near, text);
    }
    lab.node.run(move || second.remove()).expect("removed");
    let qdiscs = lab.node.command("tc qdisc show dev near0");
    assert!(!qdiscs.contains("clsact"), "{qdiscs}");
}

#[test]
fn where_it_is_not_permitted_the_reason_says_so() {
    let error = std::thread::spawn(|| {
        new_network().expect("root");
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).expect("given up");
        Gate::open(Tag::of(b"refused"), &groups()).err()
    })
    .join()
    .expect("no panic");
    let text = error.expect("refused").to_string();
    assert!(text.contains("not permitted") && text.contains("CAP_BPF"), "{text}");
}

/// Name of the environment variable that turns the test below into the process that vouches.
const CHILD: &str = "LATIDO_TEST_VOUCHES";

fn vouching_process(lab: &Lab) -> Child {
    let program = std::env::current_exe().expect("this program");
    lab.node.run(move || {
        Command::new(program)
            .args([
                "--exact",
                "platform::gate::tests::living::whoever_vouches_is_stopped_or_killed",
            ])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    })
}

#[test]
fn whoever_vouches_is_stopped_or_killed() {
    const LEASE: u64 = 40_000;
    if std::env::var_os(CHILD).is_some() {
        let gate = Gate::open(Tag::of(b"living"), &groups()).expect("a gate");
        loop {
            gate.vouch(1, in_micros(LEASE));
            sleep(5 * MS);
        }
    }
    for signal in ["STOP", "KILL"] {
        let lab = Lab::new();
        let mut child = vouching_process(&lab);
        let near = lab.near;
        let gated = || lab.node.run(move || bpf_attached(near, Direction::Egress).len() == 1);
        until("the gate is there", gated);
        lab.hears(V4);
        lab.hears(V6);
        let pid = rustix::process::Pid::from_child(&child);
        let number = if signal == "STOP" {
            rustix::process::Signal::STOP
        } else {
            rustix::process::Signal::KILL
        };
        let struck = clock::now();
        rustix::process::kill_process(pid, number).expect("struck");
        let struck_by = clock::now();
        let mut last = struck;
        while clock::now().since(struck_by).micros() < 4 * LEASE {
            let asked = clock::now();
            if lab.asks_for(V4, 5 * MS) {
                last = asked;
            }
        }
        let silent = last.since(struck_by).micros();
        println!("SIG{signal}: last answer after {} ms", last.since(struck).micros() as f64 / 1e3);
        assert!(silent <= LEASE, "SIG{signal}: answered {silent} µs after it");
        assert!(!lab.asks(V4) && !lab.asks(V6), "SIG{signal}");
        let _ = child.kill();
        let _ = child.wait();
        assert!(!lab.asks(V4), "no process is left, and it is closed");
    }
}
