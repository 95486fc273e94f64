//! Asks the references, all the time; more often while a peer is late.
//!
//! A host that was within reach is lost when it has not answered for `dead`. While a peer is late
//! that is too long: whether this node is cut off must be known before the peer counts as dead.
//! All hosts are then asked at once and every few milliseconds, and it is told how many references
//! have answered any of that.
use super::board::Board;
use super::echo::{self, MESSAGE_MAX, Mark, Reply};
use super::names::Names;
use super::{Asking, Finding, Shared, micros};
use crate::config::{References, format_duration};
use crate::core::time::Instant;
use crate::platform::clock;
use crate::platform::icmp::Echo;
use crate::platform::netlink;
use crate::platform::process::wait_readable;
use log::{info, warn};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Replies taken before the timers get their turn.
const REPLIES_PER_TURN: usize = 256;
/// A change of the same reference is not logged sooner, in microseconds.
const QUIET: u64 = 10_000_000;
/// So many quick questions to a reference that does not answer, then it is asked as usual.
const QUESTIONS: u64 = 50;
/// Bytes of a reply that matter: IP header with all options, and the message.
const PACKET_MAX: usize = 60 + MESSAGE_MAX;

pub(super) struct Pinger<T> {
    shared: Arc<Shared>,
    /// For IPv4 and IPv6, or why there is none.
    sockets: [io::Result<Echo>; 2],
    hosts: Vec<Host>,
    references: Vec<Reference>,
    names: Option<Names>,
    interval: u64,
    dead: u64,
    mark: Mark,
    sequence: u16,
    began: u64,
    /// Which asking is under way, since when, and how many references it has confirmed.
    asked: Option<(Asking, u64, u8)>,
    next: u64,
    told: Option<u8>,
    board: Board,
    tell: T,
}

/// One machine that is asked.
struct Host {
    reference: usize,
    name: String,
    /// Its number among the names, if it is not an address.
    lookup: Option<usize>,
    address: Option<IpAddr>,
    answered: Option<u64>,
    /// When the latest request was sent that it has answered.
    confirmed: Option<u64>,
    /// Has not answered in time since it last did.
    lost: bool,
    why: Option<String>,
}

/// A host or several, of which one suffices.
struct Reference {
    name: String,
    reached: Option<bool>,
    /// Until when no change is logged.
    quiet: u64,
}

impl<T: Fn(Finding)> Pinger<T> {
    /// # Errors
    /// No raw socket is to be had, or no random numbers.
    pub(super) fn new(
        references: &References,
        shared: Arc<Shared>,
        board: Board,
        tell: T,
    ) -> io::Result<Self> {
        let mut random = [0; 10];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let [a, b, cookie @ ..] = random;
        let mark = Mark { identifier: u16::from_be_bytes([a, b]), cookie };
        let v4 = Echo::open(false, mark.identifier)?;
        // A kernel without IPv6 is no reason not to ask the others.
        let v6 = Echo::open(true, mark.identifier);
        let (hosts, names) = hosts(references);
        warn_of_own(&hosts);
        let wake = Arc::clone(&shared);
        let names = match names.is_empty() {
            true => None,
            false => Some(Names::look_up(names, move || wake.pinger.set())?),
        };
        let reference = |index| Reference { name: references.name(index), reached: None, quiet: 0 };
        let now = clock::now().micros();
        Ok(Pinger {
            shared,
            sockets: [Ok(v4), v6],
            hosts,
            references: (0..references.hosts.len()).map(reference).collect(),
            names,
            interval: micros(references.interval),
            dead: micros(references.dead),
            mark,
            sequence: 0,
            began: now,
            asked: None,
            next: now,
            told: None,
            board,
            tell,
        })
    }

    pub(super) fn run(&mut self) {
        while !self.shared.quits() {
            self.shared.pinger.clear();
            self.look_up();
            self.receive();
            let now = clock::now().micros();
            self.heed(now);
            if now >= self.next {
                self.send(now);
                self.next = now + self.pause(now);
            }
            self.judge(now);
            let until = self.due(now).saturating_sub(clock::now().micros());
            let [v4, v6] = &self.sockets;
            let fds = [
                Some(self.shared.pinger.as_fd()),
                v4.as_ref().ok().map(AsFd::as_fd),
                v6.as_ref().ok().map(AsFd::as_fd),
            ];
            wait_readable(&fds, Some(Duration::from_micros(until)));
        }
    }

    /// Takes what was found of names.
    fn look_up(&mut self) {
        let Some(names) = &self.names else { return };
        for host in &mut self.hosts {
            match host.lookup.and_then(|index| names.get(index)) {
                Some(Ok(address)) if host.address != Some(address) => {
                    let before = host.address.replace(address);
                    self.board.change(host.reference, |seen| {
                        seen.addresses.retain(|known| Some(*known) != before);
                        seen.addresses.push(address);
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(why)) => host.why = Some(why),
                None => {}
            }
        }
    }

    /// Whether a peer is late.
    fn heed(&mut self, now: u64) {
        let asked = self.shared.asked();
        match self.asked {
            _ if !asked.on => self.asked = None,
            Some((asking, ..)) if asking == asked.asking => {}
            _ => (self.asked, self.next) = (Some((asked.asking, now, 0)), now),
        }
    }

    /// Until the next request.
    fn pause(&self, now: u64) -> u64 {
        let every = self.shared.every();
        match self.asked {
            Some((_, since, confirmed))
                if usize::from(confirmed) < self.references.len()
                    && now - since < QUESTIONS * every =>
            {
                every.min(self.interval)
            }
            _ => self.interval,
        }
    }

    fn send(&mut self, now: u64) {
        self.sequence = self.sequence.wrapping_add(1);
        let request = Reply { sequence: self.sequence, sent: now };
        let mut buffer = [0; MESSAGE_MAX];
        for host in &mut self.hosts {
            let Some(address) = host.address else { continue };
            let message = echo::request(&mut buffer, address, self.mark, request);
            let sent = match &self.sockets[usize::from(address.is_ipv6())] {
                Ok(socket) => socket.send(address, message).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            host.why = sent.err();
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; PACKET_MAX];
        for family in 0..self.sockets.len() {
            for _ in 0..REPLIES_PER_TURN {
                let Ok(socket) = &self.sockets[family] else { break };
                match socket.receive(&mut buffer) {
                    Ok(Some((from, packet))) => {
                        if let Some(reply) = echo::reply(from, packet, self.mark) {
                            self.answered(from, reply);
                        }
                    }
                    Ok(None) => break,
                    // An earlier request's; the socket goes on.
                    Err(_) => {}
                }
            }
        }
    }

    fn answered(&mut self, from: IpAddr, reply: Reply) {
        let now = clock::now().micros();
        let age = now.saturating_sub(reply.sent);
        let asked = self.sequence.wrapping_sub(reply.sequence) < u16::MAX / 2;
        if !asked || reply.sent < self.began || age > self.dead {
            return;
        }
        for host in self.hosts.iter_mut().filter(|host| host.address == Some(from)) {
            host.answered = Some(now);
            host.confirmed = host.confirmed.max(Some(reply.sent));
            host.lost = false;
            self.board.change(host.reference, |seen| seen.rtt = Some(age));
        }
    }

    /// When something falls due.
    fn due(&self, now: u64) -> u64 {
        let losses = self.hosts.iter().filter(|host| !host.lost).map(|host| match host.answered {
            Some(at) => at + self.dead,
            None => self.began + self.dead,
        });
        let all = losses.chain([self.next]);
        all.filter(|at| *at > now).min().unwrap_or(now)
    }

    /// Decides which references are within reach, and tells what changed.
    fn judge(&mut self, now: u64) {
        for host in &mut self.hosts {
            host.lost |= now >= host.answered.unwrap_or(self.began) + self.dead;
        }
        for index in 0..self.references.len() {
            let mut hosts = self.hosts.iter().filter(|host| host.reference == index);
            let reached = if hosts.clone().any(|host| !host.lost && host.answered.is_some()) {
                Some(true)
            } else if hosts.all(|host| host.lost) {
                Some(false)
            } else {
                None
            };
            if reached.is_some() && reached != self.references[index].reached {
                self.changed(index, reached == Some(true), now);
            }
        }
        let reached = self.references.iter().filter(|one| one.reached == Some(true)).count();
        let known = self.references.iter().all(|one| one.reached.is_some());
        let reached = u8::try_from(reached).unwrap_or(u8::MAX);
        if known && self.told != Some(reached) {
            self.told = Some(reached);
            (self.tell)(Finding::Reached(reached));
        }
        self.confirm();
    }

    /// Tells how many references have answered since they are asked.
    fn confirm(&mut self) {
        let Some((asking, since, told)) = &mut self.asked else { return };
        let confirmed = |index: &usize| {
            let mut hosts = self.hosts.iter().filter(|host| host.reference == *index);
            hosts.any(|host| host.confirmed.is_some_and(|sent| sent >= *since))
        };
        let count = (0..self.references.len()).filter(confirmed).count();
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        if std::mem::replace(told, count) != count {
            (self.tell)(Finding::Confirmed(*asking, count));
        }
    }

    fn changed(&mut self, index: usize, reached: bool, now: u64) {
        let why = self.hosts.iter().find(|host| host.reference == index && host.why.is_some());
        let why = why.and_then(|host| host.why.clone()).filter(|_| !reached);
        self.board.change(index, |seen| {
            seen.reached = Some(reached);
            seen.since = Instant::from_micros(now);
            seen.rtt = seen.rtt.filter(|_| reached);
            seen.why.clone_from(&why);
        });
        let reference = &mut self.references[index];
        reference.reached = Some(reached);
        if now < reference.quiet {
            return;
        }
        reference.quiet = now + QUIET;
        let name = &reference.name;
        if reached {
            info!(target: "reference", "reference {name} answers");
        } else {
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let dead = format_duration(Duration::from_micros(self.dead));
            warn!(
                target: "reference",
                "reference {name} does not answer for {dead}{why}: look at this node's cable and \
                 switch, and at that machine"
            );
        }
    }
}

/// The hosts of all references, and the names among them.
fn hosts(references: &References) -> (Vec<Host>, Vec<String>) {
    let mut names = Vec::new();
    let mut hosts = Vec::new();
    for (reference, list) in references.hosts.iter().enumerate() {
        for name in list {
            let address: Option<IpAddr> = name.parse().ok();
            let lookup = address.is_none().then(|| {
                names.push(name.clone());
                names.len() - 1
            });
            hosts.push(Host {
                reference,
                name: name.clone(),
                lookup,
                address,
                answered: None,
                confirmed: None,
                lost: false,
                why: None,
            });
        }
    }
    (hosts, names)
}

/// A reference that is this machine always answers, whatever is cut.
fn warn_of_own(hosts: &[Host]) {
    let Ok(mut netlink) = netlink::Socket::open() else { return };
    for host in hosts {
        let route = host.address.map(|address| netlink.route_to(address, None));
        if let Some(Ok(Some(route))) = route
            && route.local
        {
            let name = &host.name;
            warn!(
                target: "reference",
                "reference {name} is this machine itself: it tells nothing here; name another"
            );
        }
    }
}
