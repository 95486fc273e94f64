//! Which node had which address when, as the kernels told it.
use super::error::{Doing, Result};
use super::namespace::Namespace;
use crate::platform::netlink::{Change, Monitor};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An address at a node for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The node.
    pub node: String,
    /// The address.
    pub address: IpAddr,
    /// The index of its interface.
    pub interface: u32,
    /// Since when.
    pub from: Instant,
    /// Until when; `None`: still.
    pub until: Option<Instant>,
}

/// The history of all addresses.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    holdings: Arc<Mutex<Vec<Holding>>>,
}

/// How an address was held in some period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// For how long two or more nodes had it, in all.
    pub both: Duration,
    /// For how long no node had it, in all.
    pub nobody: Duration,
    /// How often a node that had it not got it.
    pub arrivals: usize,
}

impl Ownership {
    /// Every holding of an address, in the order of their beginnings.
    pub fn of(&self, address: IpAddr) -> Vec<Holding> {
        self.lock().iter().filter(|holding| holding.address == address).cloned().collect()
    }

    /// The nodes that have an address now.
    pub fn holders(&self, address: IpAddr) -> Vec<String> {
        let open = |holding: &&Holding| holding.address == address && holding.until.is_none();
        self.lock().iter().filter(open).map(|holding| holding.node.clone()).collect()
    }

    /// How an address was held from `from` until `to`.
    pub fn held(&self, address: IpAddr, from: Instant, to: Instant) -> Held {
        held(&self.of(address), from, to)
    }

    /// Listens in a node's namespace, which must have no addresses yet.
    pub(super) fn watch(&self, node: &str, namespace: &Namespace) -> Result<Watch> {
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).doing("watching addresses")?;
        let stop = Arc::new(stop);
        let monitor = namespace.run(Monitor::open).doing("watching addresses")?;
        let (history, name, wake) = (self.clone(), node.to_owned(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name(format!("watch {node}"))
            .spawn(move || history.listen(&name, monitor, &wake))
            .doing("watching addresses")?;
        Ok(Watch { history: self.clone(), node: node.to_owned(), stop, thread: Some(thread) })
    }

    fn listen(&self, node: &str, mut monitor: Monitor, stop: &OwnedFd) {
        super::machine_of_its_own();
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(monitor.fd(), PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            let now = Instant::now();
            if fds[1].revents().contains(PollFlags::IN) {
                return;
            }
            while let Some(change) = monitor.next() {
                if let Change::Address { index, address, added, .. } = change {
                    self.note(node, address, index, added, now);
                }
            }
        }
    }

    fn note(&self, node: &str, address: IpAddr, interface: u32, added: bool, now: Instant) {
        let mut holdings = self.lock();
        let open = holdings.iter_mut().find(|holding| {
            holding.until.is_none()
                && holding.node == node
                && holding.address == address
                && holding.interface == interface
        });
        match (open, added) {
            (None, true) => {
                let node = node.to_owned();
                holdings.push(Holding { node, address, interface, from: now, until: None });
            }
            (Some(open), false) => open.until = Some(now),
            // A refreshed lifetime, or the end of something that began before us.
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Holding>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held(holdings: &[Holding], from: Instant, to: Instant) -> Held {
    // Every moment at which something changes, and the period's ends.
    let mut moments = vec![from, to];
    for holding in holdings {
        moments.extend([Some(holding.from), holding.until].into_iter().flatten());
    }
    moments.retain(|moment| (from..=to).contains(moment));
    moments.sort();
    let mut held = Held::default();
    for pair in moments.windows(2) {
        let (start, length) = (pair[0], pair[1] - pair[0]);
        let mut nodes: Vec<&str> = holdings
            .iter()
            .filter(|one| one.from <= start && one.until.is_none_or(|until| until > start))
            .map(|one| one.node.as_str())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        match nodes.len() {
            0 => held.nobody += length,
            1 => {}
            _ => held.both += length,
        }
    }
    held.arrivals = holdings.iter().filter(|one| one.from >= from && one.from < to).count();
    held
}

/// The listening in one boot of a node.
#[derive(Debug)]
pub(super) struct Watch {
    history: Ownership,
    node: String,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// The node is off since `at`: it has no addresses any more.
    pub(super) fn power_off(mut self, at: Instant) {
        self.end();
        let mut holdings = self.history.lock();
        for holding in holdings.iter_mut().filter(|holding| holding.node == self.node) {
            // What was noted after the cut never reached the cable.
            holding.until = Some(holding.until.map_or(at, |until| until.min(at)).max(holding.from));
        }
    }

    fn end(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_and_nobody_are_counted_to_the_moment() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let address = IpAddr::from([10, 0, 0, 1]);
        let hold = |node: &str, from, until| Holding {
            node: node.into(),
            address,
            interface: 2,
            from,
            until,
        };
        let history = [
            hold("pi", at(0), Some(at(40))),
            hold("laptop", at(70), Some(at(100))),
            hold("pi", at(90), None),
        ];
        let all = held(&history, at(0), at(200));
        assert_eq!(all.nobody, Duration::from_millis(30));
        assert_eq!(all.both, Duration::from_millis(10));
        assert_eq!(all.arrivals, 3);
        let later = held(&history, at(95), at(150));
        assert_eq!(later.both, Duration::from_millis(5));
        assert_eq!((later.nobody, later.arrivals), (Duration::ZERO, 0));
        // The same address twice on one node is one owner.
        let twice = [hold("pi", at(0), None), hold("pi", at(10), None)];
        assert_eq!(held(&twice, at(0), at(20)).both, Duration::ZERO);
    }
}
