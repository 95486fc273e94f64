//! Probes the LAN for a group's addresses while its owner is late.
//!
//! Sockets, frames and kernel filters are made at the start and whenever an interface changes, so
//! that between the core's wish and the first probe on the wire lie a wake-up and a `sendto`.
use super::{Finding, Shared};
use crate::config::Address;
use crate::core::id::GroupId;
use crate::platform::neighbour::{
    self, ADVERTISEMENT, ARP_SENDER_AT, ETHERTYPE_ARP, ETHERTYPE_IPV6, Holder, TARGET_END_AT,
};
use crate::platform::netlink::{Link, Monitor, Socket};
use crate::platform::process::wait_readable;
use crate::platform::{clock, packet};
use log::{debug, warn};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Frames taken before the next probes are due.
const FRAMES_PER_TURN: usize = 256;
const FRAME_MAX: usize = 128;

pub(super) struct Prober<T> {
    shared: Arc<Shared>,
    addresses: Vec<(GroupId, Address)>,
    netlink: Socket,
    monitor: Monitor,
    /// Addresses of our own interfaces: an answer from there is our own kernel's.
    macs: Vec<[u8; 6]>,
    places: Vec<Place>,
    /// Groups that are asked for now: one bit each.
    asked: u32,
    /// What cannot be probed has been said.
    said: bool,
    tell: T,
}

/// The addresses of one interface and family, and the socket that probes them.
struct Place {
    index: u32,
    socket: packet::Socket,
    probes: Vec<Probe>,
}

struct Probe {
    group: GroupId,
    address: IpAddr,
    frame: Vec<u8>,
}

impl<T: Fn(Finding)> Prober<T> {
    /// # Errors
    /// No netlink or packet socket is to be had.
    pub(super) fn new(
        addresses: Vec<(GroupId, Address)>,
        shared: Arc<Shared>,
        tell: T,
    ) -> io::Result<Self> {
        // What an address without an interface goes by may change with any other address, but our
        // own addresses change several times a second: those are looked up when they are needed.
        let mut prober = Prober {
            shared,
            addresses,
            netlink: Socket::open()?,
            monitor: Monitor::links_only()?,
            macs: Vec::new(),
            places: Vec::new(),
            asked: 0,
            said: false,
            tell,
        };
        // Refused here, it is refused for good.
        drop(packet::Socket::sender()?);
        prober.plan();
        Ok(prober)
    }

    pub(super) fn run(&mut self) {
        let mut next = 0;
        while !self.shared.quits() {
            self.shared.prober.clear();
            let now = clock::now().micros();
            if self.heed() {
                next = now;
            }
            let asking = self.asked != 0;
            if asking && now >= next {
                if !self.send() {
                    self.plan();
                }
                next = now + self.shared.every();
            }
            if asking {
                self.receive();
            }
            if self.changed() {
                self.plan();
            }
            let left = next.saturating_sub(clock::now().micros());
            let limit = asking.then_some(Duration::from_micros(left));
            let mut fds = vec![Some(self.shared.prober.as_fd()), Some(self.monitor.fd())];
            if asking {
                fds.extend(self.places.iter().map(|place| Some(place.socket.as_fd())));
            }
            wait_readable(&fds, limit);
        }
    }

    /// Takes over what is asked for; true: something new is.
    fn heed(&mut self) -> bool {
        let asked = self.shared.asked();
        let asked = if asked.on { asked.groups } else { 0 };
        let before = std::mem::replace(&mut self.asked, asked);
        if before == 0 && asked != 0 {
            self.forget();
        }
        asked & !before != 0
    }

    fn asks_for(&self, group: GroupId) -> bool {
        self.asked >> group.index() & 1 != 0
    }

    /// Sends a probe for each address that is asked for; false: an interface has changed.
    fn send(&self) -> bool {
        let mut good = true;
        for place in &self.places {
            for probe in place.probes.iter().filter(|probe| self.asks_for(probe.group)) {
                if let Err(error) = place.socket.send(place.index, &probe.frame) {
                    debug!(target: "reference", "cannot probe {}: {error}", probe.address);
                    good = false;
                }
            }
        }
        good
    }

    /// Throws away what was heard before anybody asked: it may be minutes old.
    fn forget(&self) {
        let mut buffer = [0; FRAME_MAX];
        for place in &self.places {
            for _ in 0..FRAMES_PER_TURN {
                if !matches!(place.socket.receive(&mut buffer), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; FRAME_MAX];
        let mut answered = 0;
        for place in &self.places {
            for _ in 0..FRAMES_PER_TURN {
                let Ok(Some(frame)) = place.socket.receive(&mut buffer) else { break };
                let Some(holder) = neighbour::holder(frame) else { continue };
                if self.macs.contains(&holder.mac) || self.macs.contains(&holder.sender) {
                    continue;
                }
                let named = |probe: &&Probe| probe.address == holder.address;
                let asked = place.probes.iter().filter(named);
                for probe in asked.filter(|probe| self.asks_for(probe.group)) {
                    let bit = 1 << probe.group.index();
                    answered |= bit;
                    if self.shared.held_back.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
                        tell_of(holder);
                    }
                }
            }
        }
        for group in GroupId::all().filter(|group| answered >> group.index() & 1 != 0) {
            (self.tell)(Finding::Answered(group));
        }
    }

    /// Whether an interface has changed.
    fn changed(&mut self) -> bool {
        let mut changed = false;
        while self.monitor.next().is_some() {
            changed = true;
        }
        changed
    }

    /// Opens the sockets and makes the frames.
    fn plan(&mut self) {
        self.places.clear();
        let links = match self.netlink.links() {
            Ok(links) => links,
            Err(error) => {
                warn!(target: "reference", "addresses cannot be probed: {error}");
                return;
            }
        };
        self.macs = links.iter().filter_map(|link| link.mac).collect();
        let mut missing = Vec::new();
        let mut planned: Vec<(&Link, [u8; 6], Vec<Probe>)> = Vec::new();
        for (group, wanted) in &self.addresses {
            let address = wanted.address;
            let found = match &wanted.interface {
                Some(name) => links.iter().find(|link| link.name == *name),
                None => match self.netlink.route_to(address, None) {
                    Ok(Some(route)) if !route.local => {
                        links.iter().find(|link| link.index == route.index)
                    }
                    _ => None,
                },
            };
            let usable = found.filter(|link| link.up && !link.no_arp && !link.loopback);
            let Some((link, mac)) = usable.and_then(|link| Some((link, link.mac?))) else {
                missing.push(address.to_string());
                continue;
            };
            let probe = Probe { group: *group, address, frame: neighbour::probe(mac, address) };
            let same = |place: &&mut (&Link, [u8; 6], Vec<Probe>)| {
                place.0.index == link.index && place.2[0].address.is_ipv6() == address.is_ipv6()
            };
            match planned.iter_mut().find(same) {
                Some(place) => place.2.push(probe),
                None => planned.push((link, mac, vec![probe])),
            }
        }
        for (link, _, probes) in planned {
            match open(link.index, &probes) {
                Ok(socket) => self.places.push(Place { index: link.index, socket, probes }),
                Err(error) => missing.push(format!("those on {} ({error})", link.name)),
            }
        }
        // A missing interface is told of elsewhere, and one that has just come is no news.
        if !missing.is_empty() && !std::mem::replace(&mut self.said, true) {
            let missing = missing.join(", ");
            warn!(
                target: "reference",
                "addresses that cannot be probed before a takeover (no Ethernet interface that is \
                 up leads to them): {missing}"
            );
        }
    }
}

/// A socket that hears of these addresses, and of nothing else.
fn open(index: u32, probes: &[Probe]) -> io::Result<packet::Socket> {
    let last = |address: IpAddr| match address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => (u128::from(v6) & u128::from(u32::MAX)) as u32,
    };
    let values: Vec<u32> = probes.iter().map(|probe| last(probe.address)).collect();
    let v6 = probes.first().is_some_and(|probe| probe.address.is_ipv6());
    let (ethertype, also, at) = match v6 {
        false => (ETHERTYPE_ARP, &[][..], ARP_SENDER_AT),
        true => (ETHERTYPE_IPV6, &ADVERTISEMENT[..], TARGET_END_AT),
    };
    // Bound last: nothing comes in before the filter is there.
    let socket = packet::Socket::sender()?;
    socket.only(also, at, &values)?;
    socket.listen(index, ethertype)?;
    Ok(socket)
}

fn tell_of(holder: Holder) {
    let Holder { address, mac: [a, b, c, d, e, f], .. } = holder;
    warn!(
        target: "reference",
        "heartbeats lost, but the peer still answers for {address} \
         ({a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x})"
    );
}
