//! Addresses are put back, but only by whoever may have them, and behind the gate.
use super::*;
use crate::config::Rule;
use crate::platform::clock;
use crate::platform::gate::{Gate, Tag};
use std::sync::atomic::AtomicBool;

/// Takes an address away as fast as it comes, until it is dropped.
struct Vandal(Arc<AtomicBool>, Option<std::thread::JoinHandle<u32>>);

impl Vandal {
    fn of(text: &'static str) -> Vandal {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let (mut socket, mut times) = (Socket::open().expect("netlink"), 0);
            while !seen.load(Ordering::Relaxed) {
                for there in socket.addresses().expect("a list") {
                    if there.address == ip(text) {
                        times += u32::from(socket.delete_address(&there).expect("deleted"));
                    }
                }
                std::thread::sleep(Duration::from_micros(300));
            }
            times
        });
        Vandal(end, Some(thread))
    }

    fn end(&mut self) -> u32 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map_or(0, |thread| thread.join().expect("no panic"))
    }
}

/// For so long anything that was still under way would have come.
fn stays_away(lab: &mut Lab, text: &str) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(600) {
        assert!(lab.find(text).is_none(), "it came back");
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[test]
fn what_is_stopped_while_it_is_deleted_and_put_back_stays_away() {
    let mut lab = Lab::new("race");
    lab.run(vec![address("192.168.7.20")]);
    let mut times = 0;
    for _ in 0..5 {
        assert_eq!(lab.start(), Outcome::Running);
        let mut vandal = Vandal::of("192.168.7.20");
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(lab.stop(), Outcome::Stopped);
        times += vandal.end();
        stays_away(&mut lab, "192.168.7.20");
    }
    assert!(times > 5, "it was put back {times} times before the stops");
}

#[test]
fn what_is_taken_away_in_the_middle_of_a_stop_is_not_put_back() {
    let mut lab = Lab::new("middle");
    let slow = lab.script("slow", "case $action in stop) sleep 1;; esac", Duration::from_secs(9));
    lab.run(vec![address("192.168.7.20"), slow]);
    assert_eq!(lab.start(), Outcome::Running);
    let job = lab.ask(Resources::stop);
    // The engine vouches on, until all is stopped: what is there is renewed.
    std::thread::sleep(Duration::from_millis(500));
    let there = lab.find("192.168.7.20").expect("stopped last");
    assert!(lab.socket.delete_address(&there).expect("deleted"));
    stays_away(&mut lab, "192.168.7.20");
    assert_eq!(lab.outcome(job), Outcome::Stopped);
    assert_eq!(lab.start(), Outcome::Running);
    let there = lab.find("192.168.7.20").expect("there");
    assert!(lab.socket.delete_address(&there).expect("deleted"));
    wait_until("it is guarded again", || lab.find("192.168.7.20").is_some());
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn what_nobody_vouches_for_any_more_is_not_put_back() {
    let mut lab = Lab::new("over");
    lab.run(vec![address("192.168.7.20")]);
    assert_eq!(lab.start(), Outcome::Running);
    let mut vandal = Vandal::of("192.168.7.20");
    std::thread::sleep(Duration::from_millis(60));
    lab.vouch[0].store(clock::now().micros(), Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(60)); // the turn that was under way
    vandal.end();
    stays_away(&mut lab, "192.168.7.20");
    assert_eq!(lab.stop(), Outcome::Stopped);
}

/// The cable of the laboratory, made anew; the new one's first interface.
fn exchange(lab: &mut Lab, pause: Duration) {
    lab.socket.delete_link(lab.veth).expect("deleted");
    std::thread::sleep(pause);
    let kind = LinkKind::Veth { peer: "peer0", peer_namespace: None };
    // Another interface in between, so that the number differs.
    let other = LinkKind::Veth { peer: "other1", peer_namespace: None };
    lab.socket.add_link("other0", other).expect("a cable");
    lab.veth = lab.socket.add_link("veth0", kind).expect("a cable");
    lab.peer = lab.socket.link("peer0").expect("asked").expect("there").index;
    for index in [lab.veth, lab.peer] {
        lab.socket.set_up(index, true).expect("switched on");
    }
}

fn on_veth0(mut wanted: Resource, virtual_mac: Option<[u8; 6]>) -> Resource {
    if let Kind::Address(address) = &mut wanted.kind {
        address.interface = Some("veth0".into());
        address.virtual_mac = virtual_mac;
    }
    wanted
}

#[test]
fn an_interface_that_goes_and_returns_gets_its_addresses_back() {
    let mut lab = Lab::new("return");
    let mac = Some([2, 0, 1, 2, 3, 4]);
    let mut wanted = vec![
        on_veth0(address("192.168.7.20"), None),
        on_veth0(address("192.168.7.21"), mac),
        on_veth0(address("fd00:7::20"), None),
    ];
    for resource in &mut wanted {
        if let Kind::Address(address) = &mut resource.kind {
            address.prefix = Some(if address.address.is_ipv4() { 24 } else { 64 });
        }
    }
    lab.run(wanted);
    assert_eq!(lab.start(), Outcome::Running);
    for pause in [Duration::ZERO, Duration::from_millis(900)] {
        exchange(&mut lab, pause);
        let other = lab.socket.link("other0").expect("asked").expect("there").index;
        lab.socket.delete_link(other).expect("deleted");
        wait_until("all are back", || {
            let there = ["192.168.7.20", "192.168.7.21", "fd00:7::20"].map(|one| lab.find(one));
            there.iter().all(Option::is_some)
        });
        let found = lab.find("192.168.7.20").expect("there");
        assert_eq!(found.index, lab.veth);
        let there = lab.find("192.168.7.21").expect("there").index;
        let link = lab.socket.link_by_index(there).expect("asked").expect("there");
        assert_eq!((link.mac, link.parent), (mac, Some(lab.veth)));
    }
    assert_eq!(lab.stop(), Outcome::Stopped);
    let links = lab.socket.links().expect("a list");
    assert!(!links.iter().any(crate::platform::virtual_mac::is_ours), "{links:?}");
}

#[test]
fn a_virtual_mac_of_a_former_configuration_is_removed() {
    let mut lab = Lab::new("former");
    let ours = |lab: &mut Lab| {
        let links = lab.socket.links().expect("a list");
        links.iter().filter(|link| crate::platform::virtual_mac::is_ours(link)).count()
    };
    lab.run(vec![on_veth0(address("192.168.7.20"), Some([2, 0, 1, 2, 3, 4]))]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(ours(&mut lab), 1);
    let found = lab.find("192.168.7.20").expect("there");
    assert_eq!(found.prefix, 32, "veth0 leads to that network itself");
    drop(lab.resources.take()); // as if the daemon was killed
    lab.run(vec![on_veth0(address("192.168.7.20"), None)]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(lab.find("192.168.7.20").map(|one| one.index), Some(lab.veth));
    assert_eq!(ours(&mut lab), 0);
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn no_address_appears_on_a_new_interface_before_the_gate_stands_there() {
    let mut lab = Lab::new("gated");
    let mut wanted = on_veth0(address("192.168.7.20"), None);
    if let Kind::Address(address) = &mut wanted.kind {
        address.prefix = Some(24);
    }
    lab.run(vec![wanted]);
    let tag = Tag::of(b"the gate of this test");
    let gate = Gate::open(tag, &[vec![ip("192.168.7.20")]]).expect("needs CAP_BPF");
    let cover = gate.cover();
    assert!(cover.wait(Duration::from_secs(5)), "it works");
    lab.resources.as_ref().expect("running").wait_for(cover);
    assert_eq!(lab.start(), Outcome::Running);
    // A gate whose thread has ended never comes to a new interface.
    drop(gate);
    exchange(&mut lab, Duration::ZERO);
    stays_away(&mut lab, "192.168.7.20");
    assert_eq!(lab.stop(), Outcome::Stopped);
    crate::platform::gate::sweep(tag).expect("swept");
}

#[test]
fn a_claim_is_judged_by_what_ownership_rests_on() {
    use super::super::claim::{Claim, meaning};
    let mut lab = Lab::new("meaning");
    let Kind::Address(mut wanted) = address("192.168.7.20").kind else { panic!("an address") };
    let claim = Claim { mac: [2, 0, 0, 0, 0, 9], more: 3 };
    let mut said = |wanted: &Address, rule| {
        let plan = super::super::address::resolve(&mut lab.socket, wanted, &[]).expect("a plan");
        meaning(claim, &plan, rule)
    };
    for rule in [Rule::Majority, Rule::Fencing] {
        let text = said(&wanted, rule);
        assert!(text.contains("02:00:00:00:00:09") && text.contains("we are right"), "{text}");
        assert!(text.contains("3 times or more"), "{text}");
    }
    let text = said(&wanted, Rule::AssumeDead);
    assert!(text.contains("the other node owns the group as well"), "{text}");
    wanted.virtual_mac = Some(claim.mac);
    let text = said(&wanted, Rule::Majority);
    assert!(text.contains("the other node has it, too"), "{text}");
}
