//! Watches the interfaces: which links have a carrier, and which groups this node could serve.
//!
//! A thread of its own, because what it asks the kernel may take a while; the engine gets only
//! what changed.
use crate::config::{Address, Config, Kind, Link, Medium};
use crate::core::id::{GroupId, LinkId, NodeId};
use crate::platform::mailbox::Sender;
use crate::platform::netlink::{Change, Monitor, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;

/// Before another look at the interfaces, when one has failed.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    /// The interface of a link has a carrier, or has none.
    Carrier(LinkId, bool),
    /// The interface of a link was removed: its socket is bound to nothing.
    Gone(LinkId),
    /// The heartbeat wire of a node changed.
    Beat(NodeId),
    /// The clients of a group can be served through its addresses' interfaces, or not.
    Able(GroupId, bool),
}

/// The addresses of a group, each with the interface found for it if it names none; and whether
/// the group's clients could be served through them when that was last told.
type Served = (Vec<(Address, Option<u32>)>, bool);

struct Watch {
    /// The interface of each link; serial lines have none.
    links: Vec<Option<(String, bool)>>,
    groups: Vec<Served>,
    netlink: Socket,
    /// The last look failed: another one is due.
    failed: bool,
    sender: Sender<Sense>,
}

/// Starts watching. Everything counts as connected until the first report says otherwise; that
/// report is made before this returns.
///
/// # Errors
/// No netlink socket or no thread is to be had.
pub(super) fn watch(config: &Config, sender: Sender<Sense>) -> io::Result<()> {
    let mut watch = Watch {
        links: config.links.iter().map(|link| Some((interface(link)?, true))).collect(),
        groups: config.groups.iter().map(|group| (addresses(group), true)).collect(),
        netlink: Socket::open()?,
        failed: false,
        sender,
    };
    // The lifetime of our own addresses changes several times a second: not to be heard in vain.
    let mut monitor = if watch.guesses() { Monitor::open()? } else { Monitor::links_only()? };
    watch.look();
    std::thread::Builder::new().name("senses".into()).stack_size(128 << 10).spawn(move || {
        loop {
            let mut fds = [PollFd::from_borrowed_fd(monitor.fd(), PollFlags::IN)];
            let again = watch.failed.then_some(&AGAIN);
            if poll(&mut fds, again).is_err_and(|error| error != rustix::io::Errno::INTR) {
                log::error!("interfaces are no longer watched: poll failed");
                return;
            }
            let mut changed = watch.failed;
            while let Some(change) = monitor.next() {
                match change {
                    Change::Link { name, gone: true, .. } => {
                        watch.gone(name.as_str());
                        changed = true;
                    }
                    Change::Link { .. } | Change::Overrun => changed = true,
                    // An address may bring the route by which an interface is found.
                    Change::Address { .. } => changed = true,
                }
            }
            if changed && !watch.look() {
                return;
            }
        }
    })?;
    Ok(())
}

fn interface(link: &Link) -> Option<String> {
    match &link.medium {
        Medium::Broadcast { interface, .. }
        | Medium::Multicast { interface, .. }
        | Medium::Unicast { interface, .. }
        | Medium::Ethernet { interface, .. } => Some(interface.clone()),
        Medium::Serial { .. } => None,
    }
}

fn addresses(group: &crate::config::Group) -> Vec<(Address, Option<u32>)> {
    let address = |resource: &crate::config::Resource| match &resource.kind {
        Kind::Address(address) => Some((address.clone(), None)),
        Kind::Service { .. } | Kind::Script { .. } => None,
    };
    group.resources.iter().filter_map(address).collect()
}

impl Watch {
    fn gone(&mut self, name: &str) {
        for (index, link) in self.links.iter().enumerate() {
            if let (Some((interface, _)), Some(id)) = (link, LinkId::new(index))
                && interface == name
            {
                self.sender.put(Sense::Gone(id));
            }
        }
    }

    fn guesses(&self) -> bool {
        let mut addresses = self.groups.iter().flat_map(|group| &group.0);
        addresses.any(|(address, _)| address.interface.is_none())
    }

    /// Compares the kernel's present state with what was told. False: nobody listens any more.
    fn look(&mut self) -> bool {
        let known = match self.netlink.links() {
            Ok(known) => known,
            Err(error) => {
                log::warn!("cannot list the interfaces: {error}; trying again");
                self.failed = true;
                return true;
            }
        };
        self.failed = false;
        let carrier = |name: &str| known.iter().any(|link| link.name == name && link.carrier);
        for (index, link) in self.links.iter_mut().enumerate() {
            let (Some((name, told)), Some(id)) = (link, LinkId::new(index)) else { continue };
            let now = carrier(name);
            if std::mem::replace(told, now) != now && !self.sender.put(Sense::Carrier(id, now)) {
                return false;
            }
        }
        for (index, (addresses, told)) in self.groups.iter_mut().enumerate() {
            let Some(id) = GroupId::new(index) else { continue };
            let netlink = &mut self.netlink;
            let now = addresses.iter_mut().all(|(address, found)| match &address.interface {
                Some(name) => carrier(name),
                None => {
                    *found = routed(netlink, address, *found);
                    known.iter().any(|link| Some(link.index) == *found && link.carrier)
                }
            });
            if std::mem::replace(told, now) != now && !self.sender.put(Sense::Able(id, now)) {
                return false;
            }
        }
        true
    }
}

/// The interface by which an address without one is served; `before`: what was found last time.
fn routed(netlink: &mut Socket, address: &Address, before: Option<u32>) -> Option<u32> {
    match netlink.route_to(address.address, None) {
        // While it is ours, the way to it ends here: what was found before we took it counts.
        Ok(Some(route)) if route.local => before,
        Ok(route) => route.map(|route| route.index),
        Err(error) => {
            log::warn!("cannot look up the way to {}: {error}", address.address);
            before
        }
    }
}
