//! Makes sure that neighbours have learnt where an address lives now.
//!
//! An announcement may be lost or ignored. So the gateway and the neighbours that are named are
//! asked from the address: an ordinary ARP request, which everybody has to take up (RFC 826), and
//! a ping. The answer to a ping goes where the neighbour believes that the address lives: when it
//! reaches us, it has learnt.
use super::address::{Plan, on_link};
use super::announce::Asker;
use crate::platform::neighbour::{self, ARP_SENDER_AT, ETHERTYPE_ARP};
use crate::platform::netlink::Socket;
use crate::platform::packet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// How long an answer is waited for before the next attempt, in microseconds.
const WAITS: [u64; 8] =
    [50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000, 6_400_000];
const FRAMES_PER_TURN: usize = 64;
const FRAME_MAX: usize = 128;
const ETHERTYPE_IPV4: u16 = 0x0800;
/// Where a frame has what of an ICMP echo reply without IP options.
const ECHO_REPLY: [(u32, u8); 2] = [(23, 1), (34, 0)];
const IPV4_FROM_AT: u32 = 26;
const IPV4_TO_AT: u32 = 30;
/// An address of nobody (RFC 5737): the way there is the way to everywhere.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The asking after one takeover.
pub(super) struct Check {
    asker: Asker,
    targets: Vec<Target>,
    arp: Arc<packet::Socket>,
    echo: Arc<packet::Socket>,
    ident: u16,
    begun: u64,
}

struct Target {
    address: Ipv4Addr,
    /// Its own Ethernet address, once it has answered.
    mac: Option<[u8; 6]>,
    /// Attempts so far, and when the next one is due.
    tries: usize,
    next: u64,
}

/// What came of asking one neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// It has learnt: after so many microseconds and attempts.
    Yes(Ipv4Addr, u64, usize),
    /// It answers ARP, but no ping came back.
    Unknown(Ipv4Addr),
    /// It does not answer at all.
    Silent(Ipv4Addr),
}

impl Check {
    /// Begins to ask; `None`: there is nobody to be asked.
    ///
    /// # Errors
    /// The packet socket's.
    pub(super) fn begin(
        netlink: &mut Socket,
        plan: &Plan,
        mac: [u8; 6],
        now: u64,
    ) -> io::Result<Option<Check>> {
        let IpAddr::V4(address) = plan.address.address else { return Ok(None) };
        let targets = targets(netlink, plan);
        if targets.is_empty() {
            return Ok(None);
        }
        let senders: Vec<u32> = targets.iter().map(|target| u32::from(*target)).collect();
        let arp = packet::Socket::sender()?;
        arp.only(&[], ARP_SENDER_AT, &senders)?;
        arp.listen(plan.address.index, ETHERTYPE_ARP)?;
        let echo = packet::Socket::sender()?;
        let to = (IPV4_TO_AT..).zip(address.octets());
        let also: Vec<(u32, u8)> = ECHO_REPLY.into_iter().chain(to).collect();
        echo.only(&also, IPV4_FROM_AT, &senders)?;
        echo.listen(plan.address.index, ETHERTYPE_IPV4)?;
        let target = |address| Target { address, mac: None, tries: 0, next: now };
        Ok(Some(Check {
            asker: Asker { index: plan.address.index, mac, address },
            targets: targets.into_iter().map(target).collect(),
            arp: Arc::new(arp),
            echo: Arc::new(echo),
            ident: (now & 0xffff) as u16, // whatever it is, as long as it differs
            begun: now,
        }))
    }

    pub(super) fn sockets(&self) -> [Arc<packet::Socket>; 2] {
        [Arc::clone(&self.arp), Arc::clone(&self.echo)]
    }

    /// When the next attempt is due.
    pub(super) fn next(&self) -> u64 {
        self.targets.iter().map(|target| target.next).min().unwrap_or(u64::MAX)
    }

    pub(super) fn is_over(&self) -> bool {
        self.targets.is_empty()
    }

    /// Reads answers and makes the attempts that are due; returns what became certain.
    pub(super) fn turn(&mut self, packets: &packet::Socket, now: u64) -> Vec<Learnt> {
        self.hear_arp(packets);
        let mut results = self.hear_echo(now);
        let (asker, ident) = (self.asker, self.ident);
        self.targets.retain_mut(|target| {
            if now < target.next {
                return true;
            }
            let Some(wait) = WAITS.get(target.tries) else {
                results.push(match target.mac {
                    Some(_) => Learnt::Unknown(target.address),
                    None => Learnt::Silent(target.address),
                });
                return false;
            };
            target.tries += 1;
            target.next = now + wait;
            // What cannot be sent now is tried again as what was lost.
            let _ = asker.ask(packets, target.address, target.mac);
            target.ping(asker, packets, ident);
            true
        });
        results
    }

    fn hear_arp(&mut self, packets: &packet::Socket) {
        let mut buffer = [0; FRAME_MAX];
        for _ in 0..FRAMES_PER_TURN {
            let Ok(Some(frame)) = self.arp.receive(&mut buffer) else { break };
            let Some(holder) = neighbour::holder(frame) else { continue };
            let wanted = |target: &&mut Target| IpAddr::V4(target.address) == holder.address;
            let Some(target) = self.targets.iter_mut().find(wanted) else { continue };
            if target.mac.replace(holder.mac) != Some(holder.mac) && target.tries > 0 {
                target.ping(self.asker, packets, self.ident);
            }
        }
    }

    fn hear_echo(&mut self, now: u64) -> Vec<Learnt> {
        let mut learnt = Vec::new();
        let mut buffer = [0; FRAME_MAX];
        for _ in 0..FRAMES_PER_TURN {
            let Ok(Some(frame)) = self.echo.receive(&mut buffer) else { break };
            let Some((from, _)) = self.asker.answer(frame, self.ident) else { continue };
            let Some(at) = self.targets.iter().position(|target| target.address == from) else {
                continue;
            };
            let target = self.targets.swap_remove(at);
            learnt.push(Learnt::Yes(from, now.saturating_sub(self.begun), target.tries));
        }
        learnt
    }
}

impl Target {
    fn ping(&self, asker: Asker, packets: &packet::Socket, ident: u16) {
        if let Some(mac) = self.mac {
            let number = self.tries as u16; // at most as many as there are waits
            let _ = asker.ping(packets, (self.address, mac), (ident, number));
        }
    }
}

/// The gateway and the neighbours that are named, as far as they are on this link.
fn targets(netlink: &mut Socket, plan: &Plan) -> Vec<Ipv4Addr> {
    let lan = plan.lan.index;
    let mut found = plan.wanted.announcing.neighbours.clone();
    let way = netlink.route_to(ELSEWHERE, Some(lan)).ok().flatten();
    if let Some(IpAddr::V4(gateway)) = way.and_then(|route| route.gateway) {
        found.push(gateway);
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|target| {
        let target = IpAddr::V4(*target);
        let route = netlink.route_to(target, Some(lan)).ok().flatten();
        target != plan.address.address && route.is_some_and(|route| on_link(&route, lan))
    });
    found
}

impl Learnt {
    /// For people; true: somebody has to look.
    pub(super) fn told(self, address: IpAddr) -> (bool, String) {
        match self {
            Learnt::Yes(neighbour, micros, tries) => {
                let (ms, times) = (micros as f64 / 1000.0, if tries == 1 { "" } else { "s" });
                let told = format!("{ms:.1} ms and {tries} question{times}");
                (false, format!("{neighbour} has learnt where {address} lives now, after {told}"))
            }
            Learnt::Unknown(neighbour) => (
                true,
                format!(
                    "nobody knows whether {neighbour} has learnt where {address} lives now: it \
                     answers ARP, but no ping from {address} came back. If it answers no pings at \
                     all, switch this question off with `announce_check = false`; else its packets \
                     still go to the other node: look at its ARP table"
                ),
            ),
            Learnt::Silent(neighbour) => (
                true,
                format!(
                    "{neighbour} does not answer {address}, neither ARP nor ping: nobody knows \
                     whether it has learnt where that lives now"
                ),
            ),
        }
    }
}
