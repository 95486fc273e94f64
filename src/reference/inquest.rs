//! Why is it silent? What can be found out about a dead peer, within a second, for people.
//!
//! It begins when the peer counts as dead, decides nothing and holds up nobody: a thread of its own
//! asks the peer's machine (ICMP echo and ARP, at the addresses that its frames came from) and this
//! node's references, and joins the answers with what the engine knows of its links.
use super::board::Board;
use super::echo::{self, MESSAGE_MAX, Mark, Reply};
use crate::config::{Config, Link, Medium};
use crate::core::id::{LinkId, LinkSet, NodeId};
use crate::core::limits::{LINKS_MAX, VOTERS_MAX};
use crate::platform::icmp::Echo;
use crate::platform::neighbour::{self, ARP_SENDER_AT, ETHERTYPE_ARP};
use crate::platform::process::wait_readable;
use crate::platform::{clock, local, netlink, packet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long answers are waited for, in microseconds.
const PATIENCE: u64 = 600_000;
/// Between two questions, in microseconds.
const AGAIN: u64 = 150_000;
/// Cases that may wait: more than there are peers.
const CASES: usize = 2 * VOTERS_MAX;
const PACKET_MAX: usize = 60 + MESSAGE_MAX;
const FRAME_MAX: usize = 128;

/// A peer that has just been found dead, and what the engine knows. `Copy`, so that handing it over
/// allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Who.
    pub node: NodeId,
    /// From where its frames came, on each link.
    pub sources: [Option<SocketAddr>; LINKS_MAX],
    /// Links whose interface has no carrier here.
    pub no_carrier: LinkSet,
    /// Serial links whose modem lines say that the other end is gone.
    pub lines_down: LinkSet,
}

/// What a peer's silence comes from, as far as can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None of our own references answers either: it is us.
    Us,
    /// Its machine answers (ICMP, ARP), but no heartbeat comes: hung or stopped.
    Hung,
    /// No carrier on a link to it.
    Carrier,
    /// The modem lines of a serial link dropped.
    Lines,
    /// Nothing at all on any path.
    Silent,
}

impl Cause {
    /// In one word, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Us => "us",
            Cause::Hung => "hung",
            Cause::Carrier => "carrier",
            Cause::Lines => "lines",
            Cause::Silent => "silent",
        }
    }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// About whom.
    pub node: NodeId,
    /// The cause.
    pub cause: Cause,
    /// In words, for people.
    pub text: String,
}

/// What was found out last about each peer. Neither lock nor threads are the engine's.
#[derive(Clone, Debug, Default)]
pub struct Inquests(Arc<Mutex<[Option<Found>; VOTERS_MAX]>>);

impl Inquests {
    /// What was found out about a peer when it last died.
    pub fn of(&self, node: NodeId) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[node.index()].clone()
    }

    fn note(&self, node: NodeId, found: Option<Found>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[node.index()] = found;
    }
}

/// The engine's end: hands cases over.
pub struct Inquest {
    cases: SyncSender<Case>,
    board: Inquests,
}

impl Inquest {
    /// Starts the thread; it acts in the network namespace of the calling thread. `tell` is called
    /// by it with each result. It ends when the engine's end is dropped.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(
        config: &Config,
        references: Board,
        tell: impl Fn(&Found) + Send + 'static,
    ) -> io::Result<Inquest> {
        let (cases, received) = sync_channel(CASES);
        let board = Inquests::default();
        let names = config.nodes.clone();
        let examiner = Examiner {
            cases: received,
            board: board.clone(),
            names,
            witnesses: config.witnesses.clone(),
            links: config.links.clone(),
            references,
        };
        let builder = std::thread::Builder::new().name("inquest".into()).stack_size(super::STACK);
        builder.spawn(move || examiner.run(tell))?;
        Ok(Inquest { cases, board })
    }

    /// Asks why a peer is silent. Never blocks; a case too many is dropped.
    pub fn open(&self, case: Case) {
        let _ = self.cases.try_send(case);
    }

    /// What was found out, for people.
    pub fn board(&self) -> Inquests {
        self.board.clone()
    }
}

struct Examiner {
    cases: Receiver<Case>,
    board: Inquests,
    names: Vec<String>,
    witnesses: Vec<String>,
    links: Vec<Link>,
    references: Board,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Addresses of the peer that were asked.
    pub(super) asked: Vec<IpAddr>,
    /// Those that answered an echo request.
    pub(super) echoed: Vec<IpAddr>,
    /// Those whose kernel answered an ARP request.
    pub(super) resolved: Vec<IpAddr>,
    /// How many references were asked.
    pub(super) references: usize,
    /// How many of them answered.
    pub(super) reached: usize,
    /// Names of links without a carrier.
    pub(super) no_carrier: Vec<String>,
    /// There are several links with interfaces, and none of these has a carrier.
    pub(super) all_carriers: bool,
    /// Names of serial links whose lines dropped.
    pub(super) lines_down: Vec<String>,
}

impl Examiner {
    fn run(self, tell: impl Fn(&Found)) {
        while let Ok(case) = self.cases.recv() {
            self.board.note(case.node, None);
            let found = judge(case.node, &self.voter(case.node), &self.examine(&case));
            self.board.note(case.node, Some(found.clone()));
            tell(&found);
        }
    }

    fn voter(&self, node: NodeId) -> String {
        let mut witnesses = self.witnesses.iter().enumerate();
        let witness =
            witnesses.find(|(index, _)| crate::core::Config::witness(*index) == Some(node));
        match (self.names.get(node.index()), witness) {
            (Some(name), _) => format!("node {name}"),
            (None, Some((_, name))) => format!("witness {name}"),
            (None, None) => "an unknown node".to_owned(),
        }
    }

    fn names_of(&self, links: LinkSet) -> Vec<String> {
        let name = |link: LinkId| self.links.get(link.index()).map(|link| link.name.clone());
        links.iter().filter_map(name).collect()
    }

    fn examine(&self, case: &Case) -> Evidence {
        let networks = self.links.iter().zip(LinkId::all());
        let networks = networks.filter(|(link, _)| interface(link).is_some());
        let networks: Vec<LinkId> = networks.map(|(_, link)| link).collect();
        let dark = networks.iter().all(|link| case.no_carrier.contains(*link));
        let mut evidence = Evidence {
            no_carrier: self.names_of(case.no_carrier),
            // A single cable may be pulled at either end.
            all_carriers: dark && networks.len() > 1,
            lines_down: self.names_of(case.lines_down),
            ..Evidence::default()
        };
        let peers = self.addresses(case);
        let references = self.references.addresses();
        evidence.asked = peers.iter().map(|(address, _)| address.ip()).collect();
        evidence.references = references.len();
        let answers = match Questions::new(&peers, &references) {
            Ok(mut questions) => questions.ask(),
            Err(error) => {
                log::warn!(target: "reference", "cannot ask why a node is silent: {error}");
                evidence.references = 0;
                return Evidence { asked: Vec::new(), ..evidence };
            }
        };
        evidence.echoed = answers.echoed.iter().map(|at| peers[*at].0.ip()).collect();
        evidence.resolved = answers.resolved;
        evidence.reached = answers.reached.iter().filter(|reached| **reached).count();
        evidence
    }

    /// Where the peer can be asked, each with the interface that leads to it.
    fn addresses(&self, case: &Case) -> Vec<(SocketAddr, String)> {
        let own = local::addresses().unwrap_or_default();
        let mut found: Vec<(SocketAddr, String)> = Vec::new();
        for (link, source) in self.links.iter().zip(case.sources) {
            let Some(interface) = interface(link) else { continue };
            // A peer that was never heard: where a pair's unicast link sends to.
            let named = match &link.medium {
                Medium::Unicast { peers, .. } if self.names.len() == 2 => {
                    let peers = peers.iter().filter_map(|peer| peer.parse::<IpAddr>().ok());
                    peers.map(|peer| SocketAddr::new(peer, 0)).collect()
                }
                _ => Vec::new(),
            };
            let all = source.map_or(named, |source| vec![source]);
            for address in all.into_iter().map(plain) {
                let known = found.iter().any(|(known, _)| known.ip() == address.ip());
                if !known && !own.contains(&address.ip()) {
                    found.push((address, interface.to_owned()));
                }
            }
        }
        found
    }
}

fn interface(link: &Link) -> Option<&str> {
    match &link.medium {
        Medium::Broadcast { interface, .. }
        | Medium::Multicast { interface, .. }
        | Medium::Unicast { interface, .. }
        | Medium::Ethernet { interface, .. } => Some(interface),
        Medium::Serial { .. } => None,
    }
}

/// Without the port, and an IPv4 address as such.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), 0),
            None => {
                let mut v6 = v6;
                v6.set_port(0);
                v6.into()
            }
        },
        SocketAddr::V4(v4) => SocketAddr::new((*v4.ip()).into(), 0),
    }
}

/// An IPv4 address of the peer, and the socket that hears who has it.
struct Resolver {
    address: IpAddr,
    index: u32,
    socket: packet::Socket,
    frame: Vec<u8>,
}

struct Questions<'a> {
    peers: &'a [(SocketAddr, String)],
    references: &'a [Vec<IpAddr>],
    mark: Mark,
    sockets: [Option<Echo>; 2],
    resolvers: Vec<Resolver>,
    macs: Vec<[u8; 6]>,
    answers: Answers,
}

#[derive(Default)]
struct Answers {
    /// Places among the peer's addresses.
    echoed: Vec<usize>,
    resolved: Vec<IpAddr>,
    reached: Vec<bool>,
}

impl<'a> Questions<'a> {
    fn new(
        peers: &'a [(SocketAddr, String)],
        references: &'a [Vec<IpAddr>],
    ) -> io::Result<Questions<'a>> {
        let mut random = [0; 10];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let [a, b, cookie @ ..] = random;
        let mark = Mark { identifier: u16::from_be_bytes([a, b]), cookie };
        let links = netlink::Socket::open()?.links().map_err(io::Error::other)?;
        let resolver = |(address, name): &(SocketAddr, String)| {
            let IpAddr::V4(v4) = address.ip() else { return None };
            let link = links.iter().find(|link| link.name == *name)?;
            let usable = link.up && !link.no_arp && !link.loopback;
            let frame = neighbour::probe(link.mac.filter(|_| usable)?, v4.into());
            let socket = packet::Socket::sender().ok()?;
            socket.only(&[], ARP_SENDER_AT, &[u32::from(v4)]).ok()?;
            socket.listen(link.index, ETHERTYPE_ARP).ok()?;
            Some(Resolver { address: v4.into(), index: link.index, socket, frame })
        };
        Ok(Questions {
            peers,
            references,
            mark,
            sockets: [
                Echo::open(false, mark.identifier).ok(),
                Echo::open(true, mark.identifier).ok(),
            ],
            resolvers: peers.iter().filter_map(resolver).collect(),
            macs: links.iter().filter_map(|link| link.mac).collect(),
            answers: Answers { reached: vec![false; references.len()], ..Answers::default() },
        })
    }

    fn ask(&mut self) -> Answers {
        let began = clock::now();
        let end = began.micros() + PATIENCE;
        let (mut next, mut sequence) = (began.micros(), 0);
        loop {
            let now = clock::now().micros();
            self.receive();
            let answered = !self.answers.echoed.is_empty() || !self.answers.resolved.is_empty();
            // Only silence needs the whole time.
            if answered || now >= end {
                return std::mem::take(&mut self.answers);
            }
            if now >= next {
                sequence += 1;
                self.send(sequence, now);
                next = now + AGAIN;
            }
            let mut fds: Vec<Option<BorrowedFd<'_>>> =
                self.sockets.iter().map(|socket| socket.as_ref().map(AsFd::as_fd)).collect();
            fds.extend(self.resolvers.iter().map(|one| Some(one.socket.as_fd())));
            let left = next.min(end).saturating_sub(clock::now().micros());
            wait_readable(&fds, Some(Duration::from_micros(left)));
        }
    }

    fn send(&self, sequence: u16, now: u64) {
        let request = Reply { sequence, sent: now };
        let references = self.references.iter().flatten().map(|ip| SocketAddr::new(*ip, 0));
        for address in self.peers.iter().map(|(address, _)| *address).chain(references) {
            let mut buffer = [0; MESSAGE_MAX];
            let message = echo::request(&mut buffer, address.ip(), self.mark, request);
            if let Some(socket) = &self.sockets[usize::from(address.is_ipv6())] {
                // What cannot be sent is not answered.
                let _ = socket.send_to(address, message);
            }
        }
        for one in &self.resolvers {
            let _ = one.socket.send(one.index, &one.frame);
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; PACKET_MAX];
        for socket in self.sockets.iter().flatten() {
            while let Ok(Some((from, packet))) = socket.receive(&mut buffer) {
                if echo::reply(from, packet, self.mark).is_none() {
                    continue;
                }
                for (place, (peer, _)) in self.peers.iter().enumerate() {
                    if peer.ip() == from && !self.answers.echoed.contains(&place) {
                        self.answers.echoed.push(place);
                    }
                }
                for (hosts, reached) in self.references.iter().zip(&mut self.answers.reached) {
                    *reached |= hosts.contains(&from);
                }
            }
        }
        let mut buffer = [0; FRAME_MAX];
        for one in &self.resolvers {
            while let Ok(Some(frame)) = one.socket.receive(&mut buffer) {
                let Some(holder) = neighbour::holder(frame) else { continue };
                let ours = self.macs.contains(&holder.mac) || self.macs.contains(&holder.sender);
                let news = !self.answers.resolved.contains(&one.address);
                if holder.address == one.address && !ours && news {
                    self.answers.resolved.push(one.address);
                }
            }
        }
    }
}

/// What follows from what was seen.
pub(super) fn judge(node: NodeId, name: &str, seen: &Evidence) -> Found {
    let list = |addresses: &[IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let lost_references = seen.references > 0 && seen.reached == 0;
    let carrier = seen.no_carrier.join(", ");
    let (cause, what) = if !seen.echoed.is_empty() || !seen.resolved.is_empty() {
        let by = match (seen.echoed.is_empty(), seen.resolved.is_empty()) {
            (false, _) => format!("ICMP from {}", list(&seen.echoed)),
            (true, _) => format!("ARP for {}", list(&seen.resolved)),
        };
        let text = format!(
            "its machine still answers ({by}), but no heartbeat comes: its daemon hangs or was \
             stopped, or a firewall is in the way; look there at `latido status` and the log"
        );
        (Cause::Hung, text)
    } else if lost_references || seen.all_carriers {
        let references = match seen.references {
            0 => String::new(),
            count => format!("none of our own references answers either (0 of {count}); "),
        };
        let cable = match carrier.as_str() {
            "" => String::new(),
            links => format!("no carrier here on {links}; "),
        };
        let text = format!("{references}{cable}it is us: look at this node's cables and switch");
        (Cause::Us, text)
    } else if !carrier.is_empty() {
        let lines = match seen.lines_down.is_empty() {
            true => String::new(),
            false => format!(", the modem lines of {} dropped", seen.lines_down.join(", ")),
        };
        let text = format!(
            "no carrier on {carrier}{lines}, and nothing on any other path: its power is off, or \
             its cables are pulled"
        );
        (Cause::Carrier, text)
    } else if !seen.lines_down.is_empty() {
        let text = format!(
            "the modem lines of {} dropped, and nothing comes on any other path: its power is off, \
             or its cables are pulled",
            seen.lines_down.join(", ")
        );
        (Cause::Lines, text)
    } else {
        let asked = match seen.asked.is_empty() {
            true => "there is no address to ask it at".to_owned(),
            false => format!("{} answers neither ICMP nor ARP", list(&seen.asked)),
        };
        let ours = match seen.references {
            0 => String::new(),
            count => format!(", while {} of our {count} references answer", seen.reached),
        };
        let text = format!(
            "nothing at all on any path: {asked}{ours}; its power is off, or every cable to it is \
             cut"
        );
        (Cause::Silent, text)
    };
    Found { node, cause, text: format!("why {name} is silent: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(seen: &Evidence) -> (Cause, String) {
        let found = judge(NodeId::default(), "node pi", seen);
        (found.cause, found.text)
    }

    fn asked() -> Evidence {
        Evidence { asked: vec!["10.77.0.1".parse().unwrap()], ..Evidence::default() }
    }

    #[test]
    fn what_is_seen_names_the_cause() {
        let address = asked().asked;
        let carrier = vec!["eth1 broadcast".to_owned()];
        let lines = vec!["/dev/ttyUSB0".to_owned()];
        let lost = Evidence { references: 2, ..asked() };
        let cases = [
            (asked(), Cause::Silent, "10.77.0.1 answers neither ICMP nor ARP"),
            (Evidence::default(), Cause::Silent, "no address to ask it at"),
            (Evidence { reached: 1, ..lost.clone() }, Cause::Silent, "1 of our 2 references"),
            (Evidence { echoed: address.clone(), ..asked() }, Cause::Hung, "ICMP from 10.77.0.1"),
            (Evidence { resolved: address.clone(), ..asked() }, Cause::Hung, "ARP for 10.77.0.1"),
            (lost.clone(), Cause::Us, "0 of 2"),
            (Evidence { no_carrier: carrier.clone(), ..asked() }, Cause::Carrier, "eth1 broadcast"),
            (Evidence { lines_down: lines.clone(), ..asked() }, Cause::Lines, "/dev/ttyUSB0"),
            // What says more comes first.
            (
                Evidence { no_carrier: carrier.clone(), ..lost.clone() },
                Cause::Us,
                "no carrier here",
            ),
            (Evidence { echoed: address, ..lost }, Cause::Hung, "ICMP"),
            (
                Evidence { no_carrier: carrier.clone(), all_carriers: true, ..asked() },
                Cause::Us,
                "it is us",
            ),
            (
                Evidence { no_carrier: carrier, lines_down: lines, ..asked() },
                Cause::Carrier,
                "no carrier on eth1",
            ),
        ];
        for (seen, expected, words) in cases {
            let (cause, text) = cause(&seen);
            assert_eq!(cause, expected, "{seen:?}: {text}");
            assert!(text.starts_with("why node pi is silent: ") && text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_source_is_asked_without_its_port_and_as_the_family_it_is() {
        for (source, expected) in [
            ("10.0.0.1:694", "10.0.0.1:0"),
            ("[::ffff:10.0.0.1]:694", "10.0.0.1:0"),
            ("[fe80::1%3]:694", "[fe80::1%3]:0"),
        ] {
            assert_eq!(plain(source.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
