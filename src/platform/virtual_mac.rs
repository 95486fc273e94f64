//! An Ethernet address that moves with an IP address: a macvlan interface of its own.
//!
//! Whatever else the machine has must not answer in its stead, nor it for anything else. What that
//! takes is set here, on the macvlan and on the interface below it, and is undone when the last
//! macvlan there goes. What has to be undone is noted in the kernel, with the macvlan itself, so
//! that it survives the process.
use super::netlink::{Ipv4Setting, Link, LinkKind, Socket};
use std::io;
use std::net::IpAddr;

/// How the notes of our interfaces begin.
const NOTE: &str = "latido";
/// What is set on the interface below: it answers for its own addresses only, and asks with them.
const BELOW: [(Ipv4Setting, u32); 2] = [(Ipv4Setting::ArpIgnore, 1), (Ipv4Setting::ArpAnnounce, 2)];
/// The same on the macvlan; and packets come in there whose way back leads through the interface
/// below, which a strict filter would drop.
const OURS: [(Ipv4Setting, u32); 3] =
    [(Ipv4Setting::ArpIgnore, 1), (Ipv4Setting::ArpAnnounce, 2), (Ipv4Setting::RpFilter, 2)];

/// The name of the interface that has this Ethernet address: 14 bytes.
pub fn name(mac: [u8; 6]) -> String {
    let [_, _, a, b, c, d] = mac;
    format!("latido{a:02x}{b:02x}{c:02x}{d:02x}")
}

/// Whether it was made here.
pub fn is_ours(link: &Link) -> bool {
    link.kind.as_deref() == Some("macvlan")
        && link.alias.as_deref().is_some_and(|alias| alias.starts_with(NOTE))
}

/// The macvlan with this Ethernet address on `parent`, switched on; made if it is not there yet
/// (then true). It is for `address`, and does not have it yet.
///
/// # Errors
/// For people: the kernel's, or what stands in the way.
pub fn ensure(
    socket: &mut Socket,
    parent: &Link,
    mac: [u8; 6],
    address: IpAddr,
) -> Result<(Link, bool), String> {
    let name = name(mac);
    if let Some(link) = socket.link(&name).map_err(text)? {
        if !is_ours(&link) {
            return Err(format!("there is an interface {name} that is not ours: remove it"));
        }
        if link.parent == Some(parent.index) && link.mac == Some(mac) && link.up {
            return Ok((link, false));
        }
        remove(socket, mac)?;
    }
    let index = socket
        .add_link(&name, LinkKind::Macvlan { parent: parent.index })
        .map_err(|error| format!("no virtual MAC on {}: {error}", parent.name))?;
    let made = set_up(socket, parent, index, (&name, mac), address);
    match made {
        Ok(link) => Ok((link, true)),
        Err(why) => {
            let _ = remove(socket, mac);
            Err(why)
        }
    }
}

fn set_up(
    socket: &mut Socket,
    parent: &Link,
    index: u32,
    (name, mac): (&str, [u8; 6]),
    address: IpAddr,
) -> Result<Link, String> {
    socket.set_mac(index, mac).map_err(text)?;
    let mut note = NOTE.to_owned();
    if address.is_ipv4() {
        let mut changes = Vec::new();
        for (setting, wanted) in BELOW {
            let before = socket.ipv4_setting(parent.index, setting).map_err(text)?;
            if let Some(before) = before.filter(|before| *before < wanted) {
                note.push_str(&format!(" {}={before}", setting as u16));
                changes.push((setting, wanted));
            }
        }
        // Noted first: whoever comes after a crash in between sets back what was never changed.
        socket.set_alias(index, &note).map_err(text)?;
        if !changes.is_empty() {
            socket.set_ipv4(parent.index, &changes).map_err(text)?;
        }
        socket.set_ipv4(index, &OURS).map_err(text)?;
    } else {
        socket.set_alias(index, &note).map_err(text)?;
    }
    if let Err(error) = quieten_ipv6(name, address) {
        log::warn!(
            target: "resource",
            "{name}: it may get IPv6 addresses of its own, which do no harm but are not meant: \
             /proc/sys/net/ipv6 cannot be written: {error}"
        );
    }
    socket.set_up(index, true).map_err(text)?;
    match socket.link_by_index(index).map_err(text)? {
        Some(link) => Ok(link),
        None => Err(format!("{name} has just gone")),
    }
}

/// No addresses that nobody asked for: none at all, or (for an IPv6 address) none made up.
fn quieten_ipv6(name: &str, address: IpAddr) -> io::Result<()> {
    let dir = std::path::Path::new("/proc/sys/net/ipv6/conf").join(name);
    if !dir.exists() {
        return Ok(()); // no IPv6 in this kernel
    }
    let settings: &[(&str, &str)] = match address {
        IpAddr::V4(_) => &[("disable_ipv6", "1")],
        IpAddr::V6(_) => &[("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0")],
    };
    settings.iter().try_for_each(|(file, value)| std::fs::write(dir.join(file), value))
}

/// Removes the macvlan with this Ethernet address, if it is there and ours; sets back what was
/// changed for it.
///
/// # Errors
/// For people: the kernel's.
pub fn remove(socket: &mut Socket, mac: [u8; 6]) -> Result<bool, String> {
    match socket.link(&name(mac)).map_err(text)? {
        Some(link) if is_ours(&link) => remove_link(socket, &link).map(|()| true),
        _ => Ok(false),
    }
}

/// The same of an interface that [`is_ours`].
///
/// # Errors
/// For people: the kernel's.
pub fn remove_link(socket: &mut Socket, link: &Link) -> Result<(), String> {
    let note = link.alias.clone().unwrap_or_default();
    let changed = note.strip_prefix(NOTE).unwrap_or_default();
    socket.delete_link(link.index).map_err(text)?;
    let Some(parent) = link.parent.filter(|_| !changed.is_empty()) else { return Ok(()) };
    let links = socket.links().map_err(text)?;
    let heir = links.iter().find(|other| other.parent == Some(parent) && is_ours(other));
    if let Some(heir) = heir {
        let alias = format!("{}{changed}", heir.alias.as_deref().unwrap_or(NOTE));
        return socket.set_alias(heir.index, &alias).map_err(text);
    }
    for (setting, wanted) in BELOW {
        let number = format!("{}=", setting as u16);
        let before = changed.split(' ').find_map(|word| word.strip_prefix(&number)?.parse().ok());
        let Some(before) = before else { continue };
        // Somebody may have set it to something else meanwhile.
        if socket.ipv4_setting(parent, setting).map_err(text)? == Some(wanted) {
            socket.set_ipv4(parent, &[(setting, before)]).map_err(text)?;
        }
    }
    Ok(())
}

fn text(error: super::netlink::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::namespace::new_network;

    const ONE: [u8; 6] = [2, 0, 1, 1, 1, 1];
    const OTHER: [u8; 6] = [2, 0, 2, 2, 2, 2];

    /// A namespace with a cable whose near end is switched on.
    fn lab() -> (Socket, Link) {
        new_network().expect("these tests need root: run them as root");
        let mut socket = Socket::open().expect("netlink");
        let veth = LinkKind::Veth { peer: "peer0", peer_namespace: None };
        let index = socket.add_link("veth0", veth).expect("a cable");
        socket.set_up(index, true).expect("on");
        let link = socket.link_by_index(index).expect("asked").expect("there");
        (socket, link)
    }

    fn below(socket: &mut Socket, link: &Link) -> [Option<u32>; 2] {
        BELOW.map(|(setting, _)| socket.ipv4_setting(link.index, setting).expect("asked"))
    }

    #[test]
    fn what_was_set_below_is_set_back_with_the_last_one() {
        let (mut socket, parent) = lab();
        let address = IpAddr::from([192, 0, 2, 20]);
        socket.set_ipv4(parent.index, &[(Ipv4Setting::ArpAnnounce, 1)]).expect("set");
        for (first, second) in [(ONE, OTHER), (OTHER, ONE)] {
            let (link, made) = ensure(&mut socket, &parent, first, address).expect("made");
            assert!(made && link.up && link.mac == Some(first));
            assert!(!ensure(&mut socket, &parent, first, address).expect("there").1);
            ensure(&mut socket, &parent, second, address).expect("made");
            assert_eq!(below(&mut socket, &parent), [Some(1), Some(2)]);
            let ours = OURS.map(|(setting, value)| {
                (socket.ipv4_setting(link.index, setting).expect("asked"), Some(value))
            });
            assert!(ours.iter().all(|(is, wanted)| is == wanted), "{ours:?}");
            assert_eq!(remove(&mut socket, first), Ok(true));
            assert_eq!(below(&mut socket, &parent), [Some(1), Some(2)], "one is left");
            assert_eq!(remove(&mut socket, second), Ok(true));
            assert_eq!(below(&mut socket, &parent), [Some(0), Some(1)], "as before");
            assert_eq!(remove(&mut socket, second), Ok(false));
        }
        // What somebody has set meanwhile is not ours to change.
        ensure(&mut socket, &parent, ONE, address).expect("made");
        socket.set_ipv4(parent.index, &[(Ipv4Setting::ArpIgnore, 2)]).expect("set");
        remove(&mut socket, ONE).expect("removed");
        assert_eq!(below(&mut socket, &parent), [Some(2), Some(1)]);
    }

    #[test]
    fn an_interface_that_is_not_ours_is_left_alone() {
        let (mut socket, parent) = lab();
        socket.add_link(&name(ONE), LinkKind::Macvlan { parent: parent.index }).expect("made");
        let refused = ensure(&mut socket, &parent, ONE, IpAddr::from([192, 0, 2, 20]));
        assert!(refused.is_err_and(|why| why.contains("not ours")));
        assert_eq!(remove(&mut socket, ONE), Ok(false));
        assert!(socket.link(&name(ONE)).expect("asked").is_some());
    }

    #[test]
    fn nothing_else_lives_on_it() {
        let (mut socket, parent) = lab();
        for address in [IpAddr::from([192, 0, 2, 20]), "2001:db8::20".parse().expect("one")] {
            let (link, _) = ensure(&mut socket, &parent, ONE, address).expect("made");
            let all = socket.addresses().expect("a list");
            assert!(!all.iter().any(|one| one.index == link.index), "{all:?}");
            remove(&mut socket, ONE).expect("removed");
        }
    }
}
