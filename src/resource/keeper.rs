//! Keeps addresses alive, announced, and where they belong — and withdraws them when the engine
//! no longer vouches for their group.
//!
//! What somebody takes away is put back as soon as the kernel tells of it, but never after a stop
//! and never without a right: a stop removes an address from the list and from the machine under
//! the group's lock, and under the same lock every renewal first looks whether the engine vouches
//! for the group now. While a group is being stopped nothing of it is put back, announced or
//! defended either, although the engine vouches for it until the stop is done. What slips between
//! that look and the kernel's answer (a thread that was not scheduled for so long) is silenced by
//! the lease gate, and removed in the next turn.
use super::address::{Plan, lifetime};
use super::announce;
use super::claim::{self, Ears};
use super::held::{Held, Missing, NEVER, REFRESH, culprit};
use super::learn::Check;
use super::lock;
use crate::config::{self, Rule};
use crate::core::limits::GROUPS_MAX;
use crate::platform::gate::Cover;
use crate::platform::netlink::{Change, Link, Monitor, Socket};
use crate::platform::process::{Wake, wait_readable};
use crate::platform::{clock, packet};
use log::{error, info, warn};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// How often the vouching is looked at again after it has ended, in microseconds.
const RECHECK: u64 = 20_000;
/// How often it is tried to listen where that has failed, in microseconds.
const LISTEN_AGAIN: u64 = 1_000_000;
/// The lease gate comes to a new interface within some milliseconds. All other addresses wait
/// for it as well.
const GATE_WAIT: Duration = Duration::from_millis(100);

const _: () = assert!(GROUPS_MAX <= u32::BITS as usize, "one bit for each group");

/// What the workers and the keeper share. A group's lock is held while its addresses are changed,
/// so that no renewal brings back what a stop has just removed.
pub(super) struct Shared {
    pub(super) groups: Vec<Mutex<Vec<Held>>>,
    names: Vec<String>,
    rule: Rule,
    vouch: Arc<[AtomicU64]>,
    announce: AtomicU32,
    /// Groups that are to be stopped, or are stopped: one bit each.
    stopping: AtomicU32,
    /// The lease gate, if there is one.
    pub(super) cover: OnceLock<Cover>,
    quit: AtomicBool,
    wake: Wake,
}

impl Shared {
    pub(super) fn new(
        groups: &[config::Group],
        rule: Rule,
        vouch: Arc<[AtomicU64]>,
    ) -> io::Result<Self> {
        Ok(Shared {
            groups: groups.iter().map(|g| Vec::with_capacity(g.resources.len()).into()).collect(),
            names: groups.iter().map(|group| group.name.clone()).collect(),
            rule,
            vouch,
            announce: AtomicU32::new(0),
            stopping: AtomicU32::new(0),
            cover: OnceLock::new(),
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

    /// The group is to be stopped, or (not) started or looked at after that.
    pub(super) fn set_stopping(&self, group: usize, stopping: bool) {
        let bit = 1 << group;
        if stopping {
            self.stopping.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.stopping.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    fn is_stopping(&self, group: usize) -> bool {
        self.stopping.load(Ordering::Acquire) >> group & 1 != 0
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
    /// The gate did not come in time: nobody waits for it again in this turn.
    gate_late: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let packets = packet::Socket::sender()
            .inspect_err(|error| {
                error!(target: "resource", "addresses will not be announced, neighbours may keep \
                    the other node's Ethernet address for minutes: no packet socket: {error}");
            })
            .ok();
        let (socket, monitor) = (Socket::open()?, Monitor::open()?);
        Ok(Keeper { shared, socket, monitor, packets, gate_late: false })
    }

    pub(super) fn run(&mut self) {
        use rustix::fd::AsFd;
        while !self.shared.quit.load(Ordering::Acquire) {
            let (next, sockets) = self.turn();
            // Our own changes are among them: read here, they wake nobody.
            if self.read_monitor() {
                continue;
            }
            let limit = match next {
                NEVER => None,
                next => Some(Duration::from_micros(next.saturating_sub(clock::now().micros()))),
            };
            let mut fds = vec![Some(self.shared.wake.as_fd()), Some(self.monitor.fd())];
            fds.extend(sockets.iter().map(|socket| Some(socket.as_fd())));
            wait_readable(&fds, limit);
            self.shared.wake.clear();
            self.read_monitor();
        }
    }

    /// Does what is due; returns when the next thing is, and what else may bring something.
    fn turn(&mut self) -> (u64, Vec<Arc<packet::Socket>>) {
        let shared = Arc::clone(&self.shared);
        let announce = shared.announce.swap(0, Ordering::AcqRel);
        let (mut next, mut sockets) = (NEVER, Vec::new());
        self.gate_late = false;
        for (index, group) in shared.groups.iter().enumerate() {
            let mut all = lock(group);
            for held in all.iter_mut() {
                let now = clock::now().micros();
                let until = shared.vouched_until(index);
                if announce & (1 << index) != 0 {
                    held.teach(now);
                }
                let name = &shared.names[index];
                if now >= until {
                    next = next.min(self.withdraw(name, held, now));
                    continue;
                }
                if shared.is_stopping(index) {
                    next = next.min(self.last_renewals(name, held, now)).min(until);
                    continue;
                }
                self.keep(name, held, now);
                self.listen(name, held, now);
                self.check(name, held, now);
                next = next.min(held.next(now)).min(until);
                sockets.extend(held.ears.as_ref().and_then(|ears| ears.socket(now)));
                sockets.extend(held.check.iter().flat_map(Check::sockets));
            }
        }
        (next, sockets)
    }

    /// What is still there stays until the stop comes to it; returns when to renew it again.
    fn last_renewals(&mut self, group: &str, held: &mut Held, now: u64) -> u64 {
        held.be_silent(now);
        if now >= held.refresh_at {
            held.refresh_at = now + REFRESH;
            if held.missing.is_none()
                && !held.moved
                && let Err(error) = self.socket.replace_address(&held.plan.address)
                && held.complain(now)
            {
                error!(target: "resource", "{group}: {error}");
            }
        }
        held.refresh_at
    }

    /// Renews, puts back and announces what is due.
    fn keep(&mut self, group: &str, held: &mut Held, now: u64) {
        // The kernel drops IPv6 addresses of an interface that is off.
        let waits = !held.up && held.plan.address.address.is_ipv6();
        if (held.missing.is_some() || now >= held.refresh_at) && !waits {
            held.refresh_at = now + REFRESH;
            match self.refresh(held, now) {
                Ok(()) => put_back(group, held, now),
                Err(why) => {
                    if self.gate_late {
                        held.refresh_at = now + RECHECK;
                    }
                    let gone = held.moved && !self.gate_late;
                    let again = gone && std::mem::replace(&mut held.said_gone, true);
                    if !again && (gone || held.complain(now)) {
                        error!(target: "resource", "{group}/{}: not renewed: {why}",
                            held.plan.address.address);
                    }
                }
            }
        } else if waits {
            held.refresh_at = now + REFRESH;
        }
        if now >= held.announce_at {
            if held.missing.is_none() {
                self.announce(group, held);
            }
            held.announced(now);
        }
    }

    /// Renews the lifetime; follows an interface that was made anew under the same name.
    fn refresh(&mut self, held: &mut Held, now: u64) -> Result<(), String> {
        if !held.moved {
            let error = match self.socket.replace_address(&held.plan.address) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let there = self.socket.link_by_index(held.plan.address.index);
            if !matches!(there, Ok(None)) {
                return Err(error.to_string());
            }
        }
        self.follow(held, now)?;
        self.socket.replace_address(&held.plan.address).map_err(|error| error.to_string())
    }

    /// Finds the interface of an address anew; it returns gated or not at all.
    fn follow(&mut self, held: &mut Held, now: u64) -> Result<(), String> {
        held.moved = true;
        held.missing.get_or_insert(Missing::InterfaceGone);
        let name = &held.plan.lan.name;
        let lan = match self.socket.link(name).map_err(|error| error.to_string())? {
            Some(lan) if lan.up => lan,
            Some(_) => return Err(format!("its interface {name} is switched off")),
            None => return Err(format!("its interface {name} has gone; it returns with that")),
        };
        let (link, _) = Plan::carrier_on(&mut self.socket, &held.plan.wanted, &lan)?;
        if let Some(cover) = self.shared.cover.get()
            && (self.gate_late || !cover.wait(GATE_WAIT))
        {
            self.gate_late = true;
            return Err(format!("the lease gate has not come to the new {} yet", link.name));
        }
        let mut plan = held.plan.clone();
        plan.address.index = link.index;
        plan.address.lifetime = lifetime(plan.address.address);
        (plan.link, plan.lan) = (link, lan);
        held.move_to(plan, now);
        Ok(())
    }

    /// Removes an address that nobody vouches for; returns when to look again.
    fn withdraw(&mut self, group: &str, held: &mut Held, now: u64) -> u64 {
        if held.missing != Some(Missing::Withdrawn) {
            held.be_silent(now);
            match self.socket.delete_address(&held.plan.address) {
                Ok(_) => {
                    held.missing = Some(Missing::Withdrawn);
                    warn!(target: "resource", "{group}/{}: removed from {}: the engine has not \
                        vouched for the group in time", held.plan.address.address,
                        held.plan.lan.name);
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
        let (index, ip) = (held.plan.address.index, held.plan.address.address);
        let Some(link) = self.ethernet(index) else { return };
        let (Some(packets), Some(mac)) = (&self.packets, link.mac) else { return };
        if let Err(error) = announce::send(packets, index, mac, ip)
            && held.complain(clock::now().micros())
        {
            warn!(target: "resource", "{group}/{ip}: not announced on {}: {error}", link.name);
        }
    }

    /// An interface with ARP. Its Ethernet address may have changed since it was last looked at
    /// (bonding), or it may have gone.
    fn ethernet(&mut self, index: u32) -> Option<Link> {
        let link = self.socket.link_by_index(index).ok().flatten();
        link.filter(|link| !link.no_arp && !link.loopback && link.mac.is_some())
    }

    /// Answers whoever says to have the address.
    fn listen(&mut self, group: &str, held: &mut Held, now: u64) {
        let Some(ears) = &mut held.ears else {
            if now >= held.listen_at {
                held.listen_at = NEVER;
                if self.ethernet(held.plan.lan.index).is_some() {
                    held.ears = Ears::open(&held.plan).ok();
                    held.listen_at = now + LISTEN_AGAIN;
                }
            }
            return;
        };
        let (socket, mut macs) = (&mut self.socket, None);
        let ours = |mac| {
            let links = || socket.links().unwrap_or_default();
            macs.get_or_insert_with(links).iter().any(|link: &Link| link.mac == Some(mac))
        };
        let Some(claim) = ears.hear(&held.plan, now, ours) else { return };
        let text = claim::meaning(claim, &held.plan, self.shared.rule);
        warn!(target: "resource", "{group}/{}: conflict: {text}", held.plan.address.address);
        if held.missing.is_none() {
            self.announce(group, held);
            // Whom the claim has misled is to be told by more than that.
            held.check_wanted = true;
        }
    }

    /// Asks the neighbours whether they have learnt where the address is.
    fn check(&mut self, group: &str, held: &mut Held, now: u64) {
        let ready = held.carrier && held.missing.is_none();
        if held.check_wanted && ready {
            held.check_wanted = false;
            if let Some(mac) = self.ethernet(held.plan.address.index).and_then(|link| link.mac)
                && held.plan.wanted.announcing.check
            {
                let begun = Check::begin(&mut self.socket, &held.plan, mac, now);
                held.check = begun.unwrap_or_else(|error| {
                    warn!(target: "resource", "{group}/{}: neighbours cannot be asked whether they \
                        have learnt where it is: {error}", held.plan.address.address);
                    None
                });
            }
        }
        let (Some(check), Some(packets)) = (&mut held.check, &self.packets) else { return };
        for learnt in check.turn(packets, now) {
            let address = held.plan.address.address;
            match learnt.told(address) {
                (true, text) => warn!(target: "resource", "{group}/{address}: {text}"),
                (false, text) => info!(target: "resource", "{group}/{address}: {text}"),
            }
        }
        if check.is_over() {
            held.check = None;
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
        let (ours, lan) = (held.plan.address.index, held.plan.lan.index);
        match change {
            Change::Address { index, address, added: false, by, .. }
                if index == ours
                    && address == held.plan.address.address
                    && held.missing.is_none() =>
            {
                // It may be the echo of an earlier stop: look.
                let there = self
                    .socket
                    .addresses()
                    .is_ok_and(|all| all.iter().any(|a| a.index == index && a.address == address));
                if !there {
                    held.missing = Some(Missing::Taken(by));
                }
                !there
            }
            Change::Link { index, gone: true, .. } if index == ours || index == lan => {
                held.moved = true;
                if held.missing != Some(Missing::Withdrawn) {
                    held.missing = Some(Missing::InterfaceGone);
                }
                // If only the one with the virtual MAC has gone, it is made anew at once.
                index != lan
            }
            Change::Link { index, carrier, name, up, .. } if index == lan => {
                let back = carrier && !held.carrier;
                let on = up && !held.up;
                (held.carrier, held.up) = (carrier, up);
                if back {
                    info!(target: "resource", "{name} has a carrier again: {} is announced",
                        held.plan.address.address);
                    held.teach(clock::now().micros());
                }
                if on {
                    held.refresh_at = 0;
                }
                back || on || (up && held.moved)
            }
            Change::Link { name, up: true, .. } => {
                let again = held.moved && name.as_str() == held.plan.lan.name;
                held.up |= again;
                again
            }
            Change::Overrun => {
                held.refresh_at = 0;
                true
            }
            _ => false,
        }
    }
}

/// Says why an address was put back, if it was.
fn put_back(group: &str, held: &mut Held, now: u64) {
    let Some(missing) = held.missing.take() else { return };
    let (address, name) = (held.plan.address.address, held.plan.lan.name.clone());
    held.unsaid += 1;
    match missing {
        Missing::Withdrawn => warn!(target: "resource", "{group}/{address}: put back: the engine \
            vouches for the group again"),
        Missing::InterfaceGone => {
            let made =
                if held.plan.wanted.virtual_mac.is_some() { " or its virtual MAC" } else { "" };
            warn!(target: "resource", "{group}/{address}: put back: its interface {name}{made} had \
                gone and has returned");
            held.teach(now);
        }
        Missing::Taken(by) if held.complain(now) => {
            let times = match std::mem::take(&mut held.unsaid) {
                1 => String::new(),
                times => format!(" for the {times}th time since the last such line"),
            };
            warn!(target: "resource", "{group}/{address}: was taken away from {name}{times}, {}; \
                put back", culprit(by));
        }
        Missing::Taken(_) => {}
    }
    held.announce_anew(now);
}
