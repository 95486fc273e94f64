//! Where an address goes, and whether it is there.
use crate::config;
use crate::platform::netlink::{Address, Flags, Lifetime, Link, Socket};
use crate::platform::virtual_mac;
use std::net::{IpAddr, Ipv4Addr};

/// The loopback interface of every namespace. An address there is none of ours unless the
/// configuration says so: real servers behind a load balancer keep their service address on it.
const LOOPBACK: u32 = 1;

/// An address as the kernel gets it, and the interfaces it goes on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) address: Address,
    /// The interface that has it.
    pub(super) link: Link,
    /// The interface by which it is reached: the same, but for a virtual MAC.
    pub(super) lan: Link,
    pub(super) wanted: config::Address,
    /// The interface was made just now.
    pub(super) fresh: bool,
}

impl Plan {
    /// The interface that has the address, on `lan`: that itself, or the one with the virtual MAC,
    /// which is made if it is not there (then true).
    pub(super) fn carrier_on(
        socket: &mut Socket,
        wanted: &config::Address,
        lan: &Link,
    ) -> Result<(Link, bool), String> {
        match wanted.virtual_mac {
            Some(mac) => virtual_mac::ensure(socket, lan, mac, wanted.address),
            None => Ok((lan.clone(), false)),
        }
    }
}

/// Lifetime of an address in the kernel; it is renewed four times a second. One second is the
/// shortest that the kernel offers.
///
/// IPv6 addresses are deprecated from the start, so that connections which this machine opens
/// take an address that stays (RFC 6724, rule 3); they are still used when there is no other, and
/// for everything that arrives. IPv4 knows no such preference — a second address of a network is
/// never chosen — and some tools take a deprecated one for unusable, so there both are equal.
pub(super) fn lifetime(address: IpAddr) -> Lifetime {
    Lifetime { preferred: if address.is_ipv4() { 1 } else { 0 }, valid: 1 }
}

/// Every place where the address is now.
pub(super) fn places(
    socket: &mut Socket,
    wanted: &config::Address,
) -> Result<Vec<Address>, String> {
    let mut all = socket.addresses().map_err(|error| error.to_string())?;
    let on_loopback = wanted.interface.as_deref() == Some("lo");
    all.retain(|address| {
        address.address == wanted.address && (address.index == LOOPBACK) == on_loopback
    });
    Ok(all)
}

/// Finds interface and prefix: as configured, else where the address is already, else from the
/// routing table.
pub(super) fn resolve(
    socket: &mut Socket,
    wanted: &config::Address,
    places: &[Address],
) -> Result<Plan, String> {
    let ip = wanted.address;
    let lan = find_link(socket, wanted, places)?;
    if !lan.up {
        return Err(format!(
            "the interface {name} is switched off; switch it on (ip link set {name} up), and see \
             that it is on after a restart of the machine",
            name = lan.name
        ));
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let (link, fresh) = Plan::carrier_on(socket, wanted, &lan)?;
    let there = places.iter().find(|place| place.index == link.index);
    // Where the interface itself leads to that network a second way would only confuse.
    let beside = wanted.virtual_mac.is_some() && leads_to(socket, ip, lan.index);
    let prefix = match (wanted.prefix, there) {
        _ if beside => bits,
        (Some(prefix), _) => prefix,
        (None, Some(there)) => there.prefix,
        (None, None) => match socket.route_to(ip, Some(lan.index)) {
            Ok(Some(route)) if on_link(&route, lan.index) => route.prefix,
            Ok(_) => bits,
            Err(error) => return Err(error.to_string()),
        },
    };
    let broadcast = match (ip, wanted.broadcast) {
        (_, Some(broadcast)) => Some(broadcast),
        (IpAddr::V4(v4), None) if prefix < 31 => Some(usual_broadcast(v4, prefix).into()),
        _ => None,
    };
    let address = Address {
        broadcast,
        label: wanted.label.clone(),
        flags: if ip.is_ipv6() { Flags::NODAD } else { Flags::NONE },
        lifetime: lifetime(ip),
        ..Address::new(link.index, ip, prefix)
    };
    Ok(Plan { address, link, lan, wanted: wanted.clone(), fresh })
}

fn find_link(
    socket: &mut Socket,
    wanted: &config::Address,
    places: &[Address],
) -> Result<Link, String> {
    let ip = wanted.address;
    if let Some(name) = &wanted.interface {
        return match socket.link(name) {
            Ok(Some(link)) => Ok(link),
            Ok(None) => Err(format!("there is no interface {name} on this machine")),
            Err(error) => Err(error.to_string()),
        };
    }
    let index = match places.first() {
        Some(place) => place.index,
        None => match socket.route_to(ip, None).map_err(|error| error.to_string())? {
            Some(route) => route.index,
            None => {
                return Err(format!(
                    "no interface is named for {ip}, and no route leads to it; name the interface, \
                     or give one of this machine's interfaces an address of that network"
                ));
            }
        },
    };
    let mut found = socket.link_by_index(index);
    if let Ok(Some(link)) = &found
        && virtual_mac::is_ours(link)
        && let Some(parent) = link.parent
    {
        found = socket.link_by_index(parent);
    }
    match found {
        Ok(Some(link)) => Ok(link),
        Ok(None) => Err(format!("the interface with index {index} has just gone")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the address belongs to a network of the interface.
fn leads_to(socket: &mut Socket, ip: IpAddr, index: u32) -> bool {
    socket.route_to(ip, Some(index)).is_ok_and(|found| found.is_some_and(|r| on_link(&r, index)))
}

pub(super) fn on_link(route: &crate::platform::netlink::Route, index: u32) -> bool {
    route.index == index && route.gateway.is_none() && !route.local && route.prefix > 0
}

fn usual_broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) | host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_broadcast_address() {
        let of = |prefix| usual_broadcast(Ipv4Addr::new(192, 168, 9, 20), prefix);
        assert_eq!(of(24), Ipv4Addr::new(192, 168, 9, 255));
        assert_eq!(of(30), Ipv4Addr::new(192, 168, 9, 23));
        assert_eq!(of(0), Ipv4Addr::BROADCAST);
        assert_eq!(of(32), Ipv4Addr::new(192, 168, 9, 20));
    }
}
