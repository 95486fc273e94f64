//! Both threads against a real kernel, in network namespaces of their own; needs root.
use super::*;
use crate::config::References;
use crate::platform::namespace::new_network;
use crate::platform::netlink::{self, Address, LinkKind, Socket};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const EVERY: crate::core::time::Duration = crate::core::time::Duration::from_millis(5);
const SOON: Duration = Duration::from_secs(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, and a thread that lives in it.
struct Machine {
    jobs: Sender<Job>,
    namespace: OwnedFd,
}

impl Machine {
    fn new() -> Machine {
        let (jobs, work) = channel::<Job>();
        let (ready, namespace) = channel();
        std::thread::spawn(move || {
            new_network().expect("these tests need root: run them as root");
            ready.send(std::fs::File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            work.into_iter().for_each(|job| job());
        });
        Machine { jobs, namespace: namespace.recv().expect("a namespace").into() }
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || _ = done.send(job()))).unwrap();
        result.recv().expect("the job to end well")
    }
}

/// Two machines with a cable between them: `eth0` in each, 10.79.0.1 and .2.
struct Cable {
    here: Machine,
    there: Machine,
}

impl Cable {
    fn new() -> Cable {
        let cable = Cable { here: Machine::new(), there: Machine::new() };
        let there = cable.there.namespace.try_clone().unwrap();
        cable.here.run(move || {
            let peer = Some(netlink::Namespace::Fd(there.as_fd()));
            let veth = LinkKind::Veth { peer: "eth0", peer_namespace: peer };
            Socket::open().unwrap().add_link("eth0", veth).unwrap();
        });
        for (namespace, host) in [(&cable.here, 1), (&cable.there, 2)] {
            namespace.run(move || {
                let mut socket = Socket::open().unwrap();
                for (name, addresses) in [("lo", vec![]), ("eth0", own(host))] {
                    let index = socket.link(name).unwrap().unwrap().index;
                    socket.set_up(index, true).unwrap();
                    for (address, prefix) in addresses {
                        give(&mut socket, address, prefix);
                    }
                }
            });
        }
        cable
    }

    /// Gives the other machine an address, or takes it away.
    fn there_has(&self, address: &str, on: bool) {
        let address: IpAddr = address.parse().unwrap();
        self.there.run(move || {
            let mut socket = Socket::open().unwrap();
            let prefix = if address.is_ipv4() { 24 } else { 64 };
            if on {
                give(&mut socket, address, prefix);
            } else {
                let index = socket.link("eth0").unwrap().unwrap().index;
                socket.delete_address(&Address::new(index, address, prefix)).unwrap();
            }
        });
    }
}

fn own(host: u8) -> Vec<(IpAddr, u8)> {
    let v6: IpAddr = format!("fd79::{host}").parse().unwrap();
    vec![(IpAddr::from([10, 79, 0, host]), 24), (v6, 64)]
}

fn give(socket: &mut Socket, address: IpAddr, prefix: u8) {
    let index = socket.link("eth0").unwrap().unwrap().index;
    let mut address = Address::new(index, address, prefix);
    if address.address.is_ipv6() {
        address.flags = netlink::Flags::NODAD;
    }
    socket.add_address(&address).unwrap();
}

fn hosts(lists: &[&[&str]]) -> References {
    References {
        hosts: lists.iter().map(|list| list.iter().map(|host| (*host).into()).collect()).collect(),
        interval: ms(20),
        dead: ms(300),
        settle: None,
    }
}

/// Starts the threads in `here`.
fn start(cable: &Cable, references: References, addresses: &[&str]) -> (Guards, Receiver<Finding>) {
    let address = |text: &&str| {
        let address = crate::config::Address {
            interface: Some("eth0".into()),
            ..crate::config::Address::new(text.parse().unwrap())
        };
        (GroupId::default(), address)
    };
    let addresses: Vec<_> = addresses.iter().map(address).collect();
    cable.here.run(move || {
        let (sender, receiver) = channel();
        let tell = move |finding| _ = sender.send(finding);
        let mut guards = Guards::idle(&references).unwrap();
        let (shared, board) = (guards.shared.clone(), guards.board.clone());
        let mut pinger = Pinger::new(&references, shared.clone(), board, tell.clone()).unwrap();
        guards.spawn("references", None, move || pinger.run()).unwrap();
        let mut prober = Prober::new(addresses, shared, tell).unwrap();
        guards.spawn("probes", None, move || prober.run()).unwrap();
        (guards, receiver)
    })
}

/// Waits until so many references are within reach; a new cable takes a while to carry anything.
fn reached(findings: &Receiver<Finding>, count: u8) {
    while findings.recv_timeout(SOON).expect("a finding") != Finding::Reached(count) {}
}

#[test]
fn references_are_reached_lost_and_reached_again() {
    let cable = Cable::new();
    cable.there_has("10.79.0.9", true);
    // 10.79.0.66 is nobody; the second reference has a member that answers.
    let lists: &[&[&str]] = &[&["10.79.0.2"], &["10.79.0.66", "10.79.0.9"], &["fd79::2"]];
    let (guards, findings) = start(&cable, hosts(lists), &[]);
    reached(&findings, 3);
    assert!(guards.board().look().iter().all(|seen| seen.rtt.is_some()));
    cable.there_has("10.79.0.9", false);
    reached(&findings, 2);
    let seen = &guards.board().look()[1];
    assert_eq!((seen.name.as_str(), seen.reached), ("10.79.0.66 or 10.79.0.9", Some(false)));
    cable.there_has("10.79.0.9", true);
    reached(&findings, 3);
}

#[test]
fn a_name_is_looked_up_and_one_that_is_unknown_holds_up_nothing() {
    let cable = Cable::new();
    let lists: &[&[&str]] = &[&["localhost"], &["nobody.invalid"], &["10.79.0.2"]];
    let (guards, findings) = start(&cable, hosts(lists), &[]);
    reached(&findings, 2);
    let seen = guards.board().look();
    assert_eq!((seen[0].reached, seen[1].reached), (Some(true), Some(false)));
}

#[test]
fn while_a_peer_is_late_references_are_asked_at_once_and_confirmed() {
    let cable = Cable::new();
    let slow = References { interval: SOON * 2, dead: SOON * 10, ..hosts(&[&["10.79.0.2"]]) };
    cable.there_has("10.79.0.2", false);
    let (mut guards, findings) = start(&cable, slow, &[]);
    let confirmed = |asking, count| Finding::Confirmed(Asking(asking), count);
    guards.ask(true, GroupSet::EMPTY, EVERY);
    assert_eq!(findings.recv_timeout(ms(200)).ok(), None);
    cable.there_has("10.79.0.2", true);
    // It need not wait for its usual turn.
    assert_eq!(findings.recv_timeout(SOON), Ok(Finding::Reached(1)));
    assert_eq!(findings.recv_timeout(SOON), Ok(confirmed(1, 1)));
    guards.ask(false, GroupSet::EMPTY, EVERY);
    assert!(!guards.is_present(Asking(1)));
    // What was confirmed then says nothing now.
    cable.there_has("10.79.0.2", false);
    guards.ask(true, GroupSet::EMPTY, EVERY);
    assert_eq!(findings.recv_timeout(ms(200)).ok(), None);
    cable.there_has("10.79.0.2", true);
    assert_eq!(findings.recv_timeout(SOON), Ok(confirmed(2, 1)));
    assert!(guards.is_present(Asking(2)));
}

#[test]
fn who_has_an_address_is_found_out_only_while_it_is_asked_for() {
    let cable = Cable::new();
    for address in ["10.79.0.20", "fd79::20"] {
        cable.there_has(address, true);
        let (mut guards, findings) = start(&cable, hosts(&[&["10.79.0.2"]]), &[address]);
        reached(&findings, 1);
        let (asked, answered) = (Instant::now(), Finding::Answered(GroupId::default()));
        guards.ask(true, GroupSet::first(1), EVERY);
        while findings.recv_timeout(SOON).expect("an answer") != answered {}
        println!("{address}: answered {:?} after it was asked for", asked.elapsed());
        cable.there_has(address, false);
        // What is under way comes in; then it is silent for longer than twenty probes.
        while findings.recv_timeout(ms(300)).is_ok() {}
        cable.there_has(address, true);
        findings.recv_timeout(SOON).expect("an answer again");
        guards.ask(false, GroupSet::first(1), EVERY);
        while findings.recv_timeout(ms(300)).is_ok() {}
        drop(guards);
        cable.there_has(address, false);
    }
}

#[test]
fn our_own_answer_is_none() {
    let cable = Cable::new();
    // The address is ours, and so is the machine that announces it.
    cable.here.run(|| give(&mut Socket::open().unwrap(), "10.79.0.20".parse().unwrap(), 24));
    let (mut guards, findings) = start(&cable, hosts(&[&["10.79.0.2"]]), &["10.79.0.20"]);
    reached(&findings, 1);
    guards.ask(true, GroupSet::first(1), EVERY);
    assert_eq!(findings.recv_timeout(SOON), Ok(Finding::Confirmed(Asking(1), 1)));
    assert_eq!(findings.recv_timeout(ms(300)).ok(), None);
}
