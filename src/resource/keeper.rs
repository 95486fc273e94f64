//! Keeps addresses alive, announced, and where they belong — and withdraws them when the engine
//! no longer vouches for their group.
use super::address::Plan;
use super::announce::{self, AGAIN};
use super::lock;
use crate::config;
use crate::core::limits::GROUPS_MAX;
use crate::platform::netlink::{Change, Monitor, Socket};
use crate::platform::process::{Wake, wait_readable};
use crate::platform::{clock, packet};
use log::{error, info, warn};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lifetimes are renewed this often, in microseconds: one may fail before an address vanishes.
const REFRESH: u64 = 400_000;
/// How often the vouching is looked at again after it has ended, in microseconds.
const RECHECK: u64 = 20_000;
/// A complaint about the same address is not repeated sooner, in microseconds.
const COMPLAIN: u64 = 5_000_000;
const NEVER: u64 = u64::MAX;

const _: () = assert!(GROUPS_MAX <= u32::BITS as usize, "one bit for each group");

/// An address that should be there.
pub(super) struct Held {
    pub(super) plan: Plan,
    /// When its lifetime is renewed.
    refresh_at: u64,
    /// Removed because nobody vouched for it.
    withdrawn: bool,
    /// Removed by somebody else.
    vanished: bool,
    /// When it is announced again, and which of [`AGAIN`] comes after that.
    announce_at: u64,
    announce_from: u64,
    step: usize,
    /// The interface had a carrier when it was last looked at.
    carrier: bool,
    complained: u64,
}

impl Held {
    /// An address that was added just now, and was announced (`announced`) or not.
    pub(super) fn new(plan: Plan, announced: bool) -> Self {
        let now = clock::now().micros();
        let carrier = plan.link.carrier;
        let mut held = Held {
            plan,
            refresh_at: now + REFRESH,
            withdrawn: false,
            vanished: false,
            announce_at: NEVER,
            announce_from: now,
            step: 0,
            carrier,
            complained: 0,
        };
        if announced {
            held.announce_at = now + AGAIN[0];
            held.step = 1;
        }
        held
    }

    fn announce_anew(&mut self, now: u64) {
        (self.announce_from, self.announce_at, self.step) = (now, now, 0);
    }

    /// Whether a complaint is due; at most one each [`COMPLAIN`].
    fn complain(&mut self, now: u64) -> bool {
        let due = self.complained == 0 || now >= self.complained.saturating_add(COMPLAIN);
        if due {
            self.complained = now;
        }
        due
    }
}

/// What the workers and the keeper share. A group's lock is held while its addresses are changed,
/// so that no renewal brings back what a stop has just removed.
pub(super) struct Shared {
    pub(super) groups: Vec<Mutex<Vec<Held>>>,
    names: Vec<String>,
    vouch: Arc<[AtomicU64]>,
    announce: AtomicU32,
    quit: AtomicBool,
    wake: Wake,
}

impl Shared {
    pub(super) fn new(groups: &[config::Group], vouch: Arc<[AtomicU64]>) -> io::Result<Self> {
        Ok(Shared {
            groups: groups.iter().map(|g| Vec::with_capacity(g.resources.len()).into()).collect(),
            names: groups.iter().map(|group| group.name.clone()).collect(),
            vouch,
            announce: AtomicU32::new(0),
            quit: AtomicBool::new(false),
            wake: Wake::new()?,
        })
    }

    /// The engine vouches for the group now.
    pub(super) fn vouched(&self, group: usize) -> bool {
        clock::now().micros() < self.vouched_until(group)
    }

    fn vouched_until(&self, group: usize) -> u64 {
        self.vouch.get(group).map_or(0, |until| until.load(Ordering::Relaxed))
    }

    /// Lets the keeper look at a change.
    pub(super) fn kick(&self) {
        self.wake.set();
    }

    pub(super) fn announce_again(&self, group: usize) {
        self.announce.fetch_or(1 << group, Ordering::AcqRel);
        self.wake.set();
    }

    pub(super) fn quit(&self) {
        self.quit.store(true, Ordering::Release);
        self.wake.set();
    }
}

/// The keeper's thread.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    socket: Socket,
    monitor: Monitor,
    packets: Option<packet::Socket>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let packets = packet::Socket::sender()
            .inspect_err(|error| {
                error!(target: "resource", "addresses will not be announced, neighbours may keep \
                    the other node's Ethernet address for minutes: no packet socket: {error}");
            })
            .ok();
        Ok(Keeper { shared, socket: Socket::open()?, monitor: Monitor::open()?, packets })
    }

    pub(super) fn run(&mut self) {
        while !self.shared.quit.load(Ordering::Acquire) {
            let next = self.turn();
            // Our own changes are among them: read here, they wake nobody.
            if self.read_monitor() {
                continue;
            }
            let limit = match next {
                NEVER => None,
                next => Some(Duration::from_micros(next.saturating_sub(clock::now().micros()))),
            };
            use rustix::fd::AsFd;
            wait_readable(&[Some(self.shared.wake.as_fd()), Some(self.monitor.fd())], limit);
            self.shared.wake.clear();
            self.read_monitor();
        }
    }

    /// Does what is due; returns when the next thing is.
    fn turn(&mut self) -> u64 {
        let shared = Arc::clone(&self.shared);
        let announce = shared.announce.swap(0, Ordering::AcqRel);
        let mut next = NEVER;
        for (index, group) in shared.groups.iter().enumerate() {
            let mut held = lock(group);
            if held.is_empty() {
                continue;
            }
            let now = clock::now().micros();
            let until = shared.vouched_until(index);
            for held in held.iter_mut() {
                if announce & (1 << index) != 0 {
                    held.announce_anew(now);
                }
                let name = &shared.names[index];
                let at = if now < until {
                    self.keep(name, held, now).min(until)
                } else {
                    self.withdraw(name, held, now)
                };
                next = next.min(at);
            }
        }
        next
    }

    /// Renews, puts back and announces what is due; returns when it wants to be called again.
    fn keep(&mut self, group: &str, held: &mut Held, now: u64) -> u64 {
        if held.withdrawn || held.vanished || now >= held.refresh_at {
            match self.refresh(held) {
                Ok(()) => {
                    let address = &held.plan.address;
                    if held.withdrawn {
                        warn!(target: "resource", "{group}/{}: put back: the engine vouches for \
                            the group again", address.address);
                    } else if held.vanished && held.complain(now) {
                        let address = &held.plan.address;
                        warn!(target: "resource", "{group}/{}: was taken away from {} by somebody \
                            else (a network manager?), or not renewed in time; put back",
                            address.address, held.plan.link.name);
                    }
                    if held.withdrawn || held.vanished {
                        held.announce_anew(now);
                    }
                    (held.withdrawn, held.vanished) = (false, false);
                }
                Err(why) => {
                    if held.complain(now) {
                        error!(target: "resource", "{group}/{}: not renewed: {why}",
                            held.plan.address.address);
                    }
                }
            }
            held.refresh_at = now + REFRESH;
        }
        if now >= held.announce_at {
            self.announce(group, held);
            held.announce_at = match AGAIN.get(held.step) {
                Some(after) => held.announce_from + after,
                None => NEVER,
            };
            held.step += 1;
        }
        held.refresh_at.min(held.announce_at)
    }

    /// Renews the lifetime; follows an interface that was made anew under the same name.
    fn refresh(&mut self, held: &mut Held) -> Result<(), String> {
        let error = match self.socket.replace_address(&held.plan.address) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match self.socket.link(&held.plan.link.name) {
            Ok(Some(link)) if link.index != held.plan.address.index => {
                held.plan.address.index = link.index;
                held.plan.link = link;
                held.vanished = true;
                self.socket.replace_address(&held.plan.address).map_err(|error| error.to_string())
            }
            _ => Err(error.to_string()),
        }
    }

    /// Removes an address that nobody vouches for; returns when to look again.
    fn withdraw(&mut self, group: &str, held: &mut Held, now: u64) -> u64 {
        if !held.withdrawn {
            match self.socket.delete_address(&held.plan.address) {
                Ok(_) => {
                    held.withdrawn = true;
                    warn!(target: "resource", "{group}/{}: removed from {}: the engine has not \
                        vouched for the group in time", held.plan.address.address,
                        held.plan.link.name);
                }
                Err(error) if held.complain(now) => {
                    error!(target: "resource", "{group}: {error}; its lifetime ends in a second");
                }
                Err(_) => {}
            }
        }
        now + RECHECK
    }

    fn announce(&mut self, group: &str, held: &mut Held) {
        let Some(packets) = &self.packets else { return };
        let (index, ip) = (held.plan.address.index, held.plan.address.address);
        // The Ethernet address may have changed since (bonding), the interface may have gone.
        let link = self.socket.link_by_index(index).ok().flatten();
        let Some(link) = link.filter(|link| !link.no_arp && !link.loopback) else { return };
        let Some(mac) = link.mac else { return };
        if let Err(error) = announce::send(packets, index, mac, ip)
            && held.complain(clock::now().micros())
        {
            warn!(target: "resource", "{group}/{ip}: not announced on {}: {error}", link.name);
        }
    }

    /// Notes what changed; returns whether something is to be done about it.
    fn read_monitor(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut any = false;
        while let Some(change) = self.monitor.next() {
            for group in &shared.groups {
                for held in lock(group).iter_mut() {
                    any |= self.note(held, change);
                }
            }
        }
        any
    }

    fn note(&mut self, held: &mut Held, change: Change) -> bool {
        let ours = held.plan.address.index;
        match change {
            Change::Address { index, address, added: false, .. }
                if index == ours && address == held.plan.address.address && !held.withdrawn =>
            {
                // It may be the echo of an earlier stop: look.
                let there = self
                    .socket
                    .addresses()
                    .is_ok_and(|all| all.iter().any(|a| a.index == index && a.address == address));
                held.vanished |= !there;
                held.vanished
            }
            Change::Link { index, carrier, name, .. } if index == ours => {
                let back = carrier && !held.carrier;
                held.carrier = carrier;
                if back {
                    info!(target: "resource", "{name} has a carrier again: {} is announced",
                        held.plan.address.address);
                    held.announce_anew(clock::now().micros());
                }
                back
            }
            Change::Overrun => {
                held.refresh_at = 0;
                true
            }
            _ => false,
        }
    }
}
