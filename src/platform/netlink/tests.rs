//! Against the real kernel, each test in a network namespace of its own.
use super::*;
use crate::platform::namespace::new_network;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::IpAddr;
use std::time::Instant;

/// A socket in a new, empty network namespace; the test thread stays in it.
fn lab() -> Socket {
    new_network().expect("these tests need root: run them as root");
    Socket::open().expect("netlink works")
}

/// An interface of this name (its other end is named after it); its index.
fn cable(socket: &mut Socket, name: &str) -> u32 {
    let peer = format!("{name}-peer");
    let kind = LinkKind::Veth { peer: &peer, peer_namespace: None };
    socket.add_link(name, kind).expect("a pair")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn up(socket: &mut Socket, name: &str) -> u32 {
    let index = socket.link(name).expect("asked").expect("it is there").index;
    socket.set_up(index, true).expect("switched on");
    index
}

/// The next change that `wanted` accepts, within two seconds.
fn wait_for(monitor: &mut Monitor, wanted: impl Fn(&Change) -> bool) -> Change {
    let start = Instant::now();
    loop {
        while let Some(change) = monitor.next() {
            if wanted(&change) {
                return change;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(2), "the change never came");
        let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = poll(&mut [PollFd::from_borrowed_fd(monitor.fd(), PollFlags::IN)], Some(&limit));
    }
}

#[test]
fn links_are_made_found_changed_and_deleted() {
    let mut socket = lab();
    let here = LinkKind::Veth { peer: "peer0", peer_namespace: None };
    let veth = socket.add_link("veth0", here).expect("a pair");
    let bridge = socket.add_link("bridge0", LinkKind::Bridge).expect("a bridge");
    let dummy = cable(&mut socket, "dummy0");
    socket.add_link("macvlan0", LinkKind::Macvlan { parent: dummy }).expect("a macvlan");

    let names: Vec<String> = socket.links().expect("a list").into_iter().map(|l| l.name).collect();
    for name in ["lo", "veth0", "peer0", "bridge0", "dummy0", "macvlan0"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing in {names:?}");
    }
    socket.set_master(veth, Some(bridge)).expect("a port");
    socket.set_isolated(veth, true).expect("isolated");
    socket.set_mac(dummy, [2, 0, 0, 0, 0, 9]).expect("an Ethernet address");
    let link = socket.link_by_index(veth).expect("asked").expect("there");
    assert_eq!((link.name.as_str(), link.master), ("veth0", Some(bridge)));
    assert_eq!(link.kind.as_deref(), Some("veth"));
    assert!(!link.up && !link.carrier && !link.loopback);
    assert!(socket.link("lo").expect("asked").expect("there").loopback);
    let link = socket.link("dummy0").expect("asked").expect("there");
    assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 9]));

    socket.set_master(veth, None).expect("free again");
    socket.rename(dummy, "other0").expect("renamed");
    assert_eq!(socket.link("dummy0").expect("asked"), None);
    assert_eq!(socket.link("other0").expect("asked").map(|link| link.index), Some(dummy));
    assert_eq!(socket.link("a-name-longer-than-any").expect("asked"), None);
    socket.delete_link(veth).expect("deleted");
    assert_eq!(socket.link("peer0").expect("asked"), None, "the other end goes with it");
}

#[test]
fn a_link_has_a_note_a_parent_and_settings() {
    let mut socket = lab();
    let parent = cable(&mut socket, "lato0");
    let index = socket.add_link("macvlan0", LinkKind::Macvlan { parent }).expect("a macvlan");
    let link = socket.link_by_index(index).expect("asked").expect("there");
    assert_eq!((link.parent, link.alias), (Some(parent), None));
    socket.set_alias(index, "of the test").expect("noted");
    let link = socket.link_by_index(index).expect("asked").expect("there");
    assert_eq!(link.alias.as_deref(), Some("of the test"));
    socket.set_alias(index, "").expect("taken away");
    assert_eq!(socket.link_by_index(index).expect("asked").expect("there").alias, None);

    let wanted = [
        (Ipv4Setting::RpFilter, 2, "rp_filter"),
        (Ipv4Setting::ArpAnnounce, 2, "arp_announce"),
        (Ipv4Setting::ArpIgnore, 1, "arp_ignore"),
    ];
    let values = wanted.map(|(setting, value, _)| (setting, value));
    socket.set_ipv4(index, &values).expect("set");
    for (setting, value, name) in wanted {
        assert_eq!(socket.ipv4_setting(index, setting), Ok(Some(value)), "{setting:?}");
        let path = format!("/proc/sys/net/ipv4/conf/macvlan0/{name}");
        let text = std::fs::read_to_string(path).expect("of this namespace");
        assert_eq!(text.trim(), value.to_string(), "the number is that of {name}");
    }
}

#[test]
fn a_link_moves_to_another_namespace() {
    let mut socket = lab();
    let kind = LinkKind::Veth { peer: "peer0", peer_namespace: None };
    socket.add_link("veth0", kind).expect("a pair");
    let (mut there, namespace) = std::thread::spawn(|| {
        new_network().expect("root");
        let file = std::fs::File::open("/proc/thread-self/ns/net").expect("/proc");
        (Socket::open().expect("netlink"), file)
    })
    .join()
    .expect("no panic");
    let peer = socket.link("peer0").expect("asked").expect("there").index;
    socket.move_to(peer, Namespace::Fd(namespace.as_fd())).expect("moved");
    assert_eq!(socket.link("peer0").expect("asked"), None);
    assert!(there.link("peer0").expect("asked").is_some());
    let kind =
        LinkKind::Veth { peer: "far0", peer_namespace: Some(Namespace::Fd(namespace.as_fd())) };
    socket.add_link("near0", kind).expect("a pair across");
    assert!(there.link("far0").expect("asked").is_some());
}

#[test]
fn refusals_carry_the_errno_and_what_was_tried() {
    let mut socket = lab();
    cable(&mut socket, "dummy0");
    let error = socket.add_link("dummy0", LinkKind::Bridge).expect_err("the name is taken");
    assert_eq!(error.errno(), Errno::EXIST);
    assert!(error.to_string().contains("dummy0"), "{error}");
    let lo = up(&mut socket, "lo");
    let error = socket.add_address(&Address::new(lo, ip("10.0.0.1"), 77)).expect_err("77 bits");
    assert!(error.to_string().contains("10.0.0.1/77"), "{error}");
    // The kernel explains this one in its own words (extended acknowledgement).
    assert!(error.to_string().to_lowercase().contains("prefix"), "{error}");
}

#[test]
fn addresses_are_added_listed_refreshed_and_removed() {
    let mut socket = lab();
    cable(&mut socket, "dummy0");
    let index = up(&mut socket, "dummy0");
    let mut v4 = Address::new(index, ip("192.168.7.20"), 24);
    v4.label = Some("dummy0:0".into());
    v4.broadcast = Some(ip("192.168.7.255"));
    v4.lifetime = Lifetime { preferred: 60, valid: 60 };
    socket.add_address(&v4).expect("added");
    assert_eq!(socket.add_address(&v4).expect_err("twice").errno(), Errno::EXIST);
    let mut v6 = Address::new(index, ip("fd00::20"), 64);
    v6.flags = Flags::NODAD;
    v6.lifetime = Lifetime { preferred: 0, valid: 60 };
    socket.add_address(&v6).expect("added");

    let list = socket.addresses().expect("a list");
    let found = list.iter().find(|a| a.address == v4.address).expect("listed");
    assert_eq!((found.prefix, found.index, found.scope), (24, index, Scope::Global));
    assert_eq!(found.label.as_deref(), Some("dummy0:0"));
    assert_eq!(found.broadcast, v4.broadcast);
    assert!(!found.flags.contains(Flags::PERMANENT) && found.lifetime.valid <= 60);
    let found = list.iter().find(|a| a.address == v6.address).expect("listed");
    assert!(found.flags.contains(Flags::DEPRECATED) && !found.flags.contains(Flags::TENTATIVE));

    v4.lifetime = Lifetime { preferred: 600, valid: 600 };
    socket.replace_address(&v4).expect("refreshed");
    let list = socket.addresses().expect("a list");
    let found: Vec<_> = list.iter().filter(|a| a.address == v4.address).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].lifetime.valid > 60);

    for address in [&v4, &v6] {
        assert!(socket.delete_address(address).expect("removed"));
        assert!(!socket.delete_address(address).expect("removed"), "it was gone already");
    }
    assert!(!socket.delete_address(&Address::new(4711, ip("10.1.1.1"), 32)).expect("no interface"));
}

#[test]
fn routes_tell_interface_and_prefix() {
    let mut socket = lab();
    cable(&mut socket, "dummy0");
    cable(&mut socket, "dummy1");
    let (first, second) = (up(&mut socket, "dummy0"), up(&mut socket, "dummy1"));
    assert_eq!(socket.route_to(ip("192.168.7.20"), None).expect("asked"), None);
    socket.add_address(&Address::new(first, ip("192.168.7.1"), 24)).expect("added");
    let mut v6 = Address::new(second, ip("fd00:1::1"), 48);
    v6.flags = Flags::NODAD;
    socket.add_address(&v6).expect("added");

    let route = socket.route_to(ip("192.168.7.20"), None).expect("asked").expect("on the link");
    assert_eq!((route.index, route.prefix, route.gateway, route.local), (first, 24, None, false));
    let route = socket.route_to(ip("fd00:1::20"), None).expect("asked").expect("on the link");
    assert_eq!((route.index, route.prefix), (second, 48));
    assert!(socket.route_to(ip("192.168.7.1"), None).expect("asked").expect("ours").local);
    assert_eq!(socket.route_to(ip("10.9.9.9"), None).expect("asked"), None);
    socket.add_default_route(ip("192.168.7.254"), first).expect("added");
    let route = socket.route_to(ip("10.9.9.9"), None).expect("asked").expect("by default");
    assert_eq!((route.prefix, route.gateway), (0, Some(ip("192.168.7.254"))));
    socket.add_route((ip("10.9.0.0"), 16), None, second).expect("added");
    let route = socket.route_to(ip("10.9.9.9"), None).expect("asked").expect("on the link");
    assert_eq!((route.index, route.prefix, route.gateway), (second, 16, None));
}

#[test]
fn the_monitor_hears_carrier_addresses_and_the_end() {
    let mut socket = lab();
    let mut monitor = Monitor::open().expect("a monitor");
    assert_eq!(monitor.next(), None);
    let kind = LinkKind::Veth { peer: "peer0", peer_namespace: None };
    let index = socket.add_link("veth0", kind).expect("a pair");
    up(&mut socket, "veth0");
    let peer = up(&mut socket, "peer0");
    let ours = |change: &Change| matches!(change, Change::Link { index: i, .. } if *i == index);
    let change =
        wait_for(&mut monitor, |c| matches!(c, Change::Link { carrier: true, .. }) && ours(c));
    assert!(matches!(change, Change::Link { name, up: true, .. } if name.as_str() == "veth0"));
    socket.set_up(peer, false).expect("the other end is switched off");
    wait_for(&mut monitor, |c| {
        matches!(c, Change::Link { carrier: false, up: true, .. }) && ours(c)
    });

    let address = Address::new(index, ip("192.168.7.20"), 24);
    socket.add_address(&address).expect("added");
    let of = |is_added: bool| {
        move |change: &Change| {
            let (wanted, prefix) = (ip("192.168.7.20"), 24);
            matches!(*change, Change::Address { index: i, address: a, prefix: p, added, by }
                if (i, a, p, added) == (index, wanted, prefix, is_added) && by != 0)
        }
    };
    wait_for(&mut monitor, of(true));
    socket.delete_address(&address).expect("removed");
    wait_for(&mut monitor, of(false));
    socket.delete_link(index).expect("deleted");
    wait_for(&mut monitor, |c| matches!(c, Change::Link { gone: true, .. }) && ours(c));
}

#[test]
fn leaving_a_bridge_is_not_taken_for_the_end_of_an_interface() {
    let mut socket = lab();
    let bridge = socket.add_link("bridge0", LinkKind::Bridge).expect("a bridge");
    let port = cable(&mut socket, "dummy0");
    socket.set_master(port, Some(bridge)).expect("a port");
    let mut monitor = Monitor::open().expect("a monitor");
    socket.set_master(port, None).expect("free again");
    while let Some(change) = monitor.next() {
        assert!(!matches!(change, Change::Link { gone: true, .. }), "{change:?}");
    }
    assert!(socket.link_by_index(port).expect("asked").is_some());
}

#[test]
fn a_monitor_that_was_not_read_says_that_it_lost_changes() {
    let mut socket = lab();
    let mut monitor = Monitor::open().expect("a monitor");
    let index = cable(&mut socket, "dummy0");
    rustix::net::sockopt::set_socket_recv_buffer_size(monitor.fd(), 4096).expect("a small buffer");
    for turn in 0..200 {
        socket.set_up(index, turn % 2 == 0).expect("switched");
    }
    wait_for(&mut monitor, |change| *change == Change::Overrun);
}
