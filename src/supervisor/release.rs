//! Removing the groups' addresses when nobody is left to look after them.
use super::Hands;
use crate::config::{Config, Kind};
use crate::platform::gate::{self, Tag};
use crate::platform::netlink::Socket;
use crate::platform::virtual_mac;
use crate::runtime::{NotedAddress, noted_addresses};
use crate::tell::{Level, stderr};
use std::path::{Path, PathBuf};

/// The supervisor's hands on a real machine.
#[derive(Clone, Debug)]
pub struct Release {
    /// Where the engine has noted the addresses.
    pub runtime_dir: PathBuf,
}

impl Hands for Release {
    fn release(&mut self) -> Result<Vec<String>, String> {
        release_noted(&self.runtime_dir)
    }

    fn say(&mut self, level: Level, text: &str) {
        stderr(level, text);
    }
}

/// Removes the addresses that the last engine on this runtime directory has noted; returns those
/// that were there. Unlike the configuration the notes are what that engine really used. The lease
/// gate goes when none of them is left.
///
/// # Errors
/// The kernel refuses; the other addresses are removed all the same.
pub fn release_noted(runtime_dir: &Path) -> Result<Vec<String>, String> {
    let noted = noted_addresses(runtime_dir);
    let removed = remove(&noted)?;
    // The gate keeps silent what is still here, if only on another interface.
    let present = Socket::open().and_then(|mut socket| Ok(socket.addresses()?));
    let gone = |present: Vec<crate::platform::netlink::Address>| {
        !present.iter().any(|left| noted.iter().any(|noted| noted.address == left.address))
    };
    if present.is_ok_and(gone) {
        gate::sweep(Tag::of_directory(runtime_dir))
            .map_err(|error| format!("addresses removed, but not their lease gate: {error}"))?;
    }
    Ok(removed)
}

/// Removes the addresses of all groups of a configuration; returns those that were there.
///
/// # Errors
/// The kernel refuses; the other addresses are removed all the same.
pub fn release_addresses(config: &Config) -> Result<Vec<String>, String> {
    remove(&addresses(config))
}

/// The addresses of all groups, for [`note_addresses`](crate::runtime::RuntimeDir::note_addresses).
pub fn addresses(config: &Config) -> Vec<NotedAddress> {
    let resources = config.groups.iter().flat_map(|group| &group.resources);
    resources
        .filter_map(|resource| match &resource.kind {
            Kind::Address(address) => Some(NotedAddress {
                address: address.address,
                interface: address.interface.clone(),
            }),
            Kind::Service { .. } | Kind::Script { .. } => None,
        })
        .collect()
}

fn remove(wanted: &[NotedAddress]) -> Result<Vec<String>, String> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut socket = Socket::open().map_err(|error| error.to_string())?;
    let links = socket.links().map_err(|error| error.to_string())?;
    let present = socket.addresses().map_err(|error| error.to_string())?;
    let (mut removed, mut trouble) = (Vec::new(), Vec::new());
    for address in present {
        let link = links.iter().find(|link| link.index == address.index);
        let name = link.map_or("?", |link| link.name.as_str());
        let ours = wanted.iter().any(|noted| {
            noted.address == address.address
                && (noted.interface.as_deref().is_none_or(|wanted| wanted == name)
                    || link.is_some_and(virtual_mac::is_ours))
        });
        if !ours {
            continue;
        }
        match socket.delete_address(&address) {
            Ok(true) => removed.push(format!("{} ({name})", address.address)),
            Ok(false) => {}
            Err(error) => trouble.push(error.to_string()),
        }
    }
    // What had a virtual MAC's address has none any more, whoever took that off.
    let left = socket.addresses().map_err(|error| error.to_string())?;
    for link in links.iter().filter(|link| virtual_mac::is_ours(link)) {
        if !left.iter().any(|address| address.index == link.index)
            && let Err(why) = virtual_mac::remove_link(&mut socket, link)
        {
            trouble.push(why);
        }
    }
    if trouble.is_empty() { Ok(removed) } else { Err(trouble.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::bpf::{self, Direction};
    use crate::platform::namespace::new_network;
    use crate::platform::netlink::{Address, LinkKind};
    use crate::runtime::RuntimeDir;

    #[test]
    fn a_virtual_mac_goes_with_its_address_and_without_it() {
        let noted = NotedAddress {
            address: "192.0.2.20".parse().expect("address"),
            interface: Some("lato0".into()),
        };
        std::thread::spawn(move || {
            new_network().expect("needs CAP_SYS_ADMIN");
            let mut socket = Socket::open().expect("netlink");
            let veth = LinkKind::Veth { peer: "peer0", peer_namespace: None };
            let index = socket.add_link("lato0", veth).expect("link");
            socket.set_up(index, true).expect("on");
            for there in [true, false] {
                let parent = socket.link("lato0").expect("asked").expect("there");
                let mac = [2, 1, 2, 3, 4, 5];
                let (link, made) =
                    virtual_mac::ensure(&mut socket, &parent, mac, noted.address).expect("made");
                assert!(made && virtual_mac::is_ours(&link));
                if there {
                    let address = Address::new(link.index, noted.address, 32);
                    socket.add_address(&address).expect("add");
                }
                let removed = remove(std::slice::from_ref(&noted)).expect("released");
                assert_eq!(removed.len(), usize::from(there));
                let links = socket.links().expect("list");
                assert!(!links.iter().any(virtual_mac::is_ours), "{links:?}");
            }
        })
        .join()
        .expect("namespace");
    }

    #[test]
    fn noted_addresses_go_and_others_stay() {
        let dir = std::env::temp_dir().join(format!("latido-release-{}", std::process::id()));
        let runtime = RuntimeDir::open(&dir).expect("directory");
        let noted = |address: &str, interface: Option<&str>| NotedAddress {
            address: address.parse().expect("address"),
            interface: interface.map(str::to_owned),
        };
        let notes = [
            noted("192.0.2.20", Some("lato0")),
            noted("192.0.2.21", Some("elsewhere")),
            noted("2001:db8::20", None),
        ];
        runtime.note_addresses(&notes).expect("notes");
        let done = std::thread::spawn({
            let dir = dir.clone();
            move || {
                new_network().expect("needs CAP_SYS_ADMIN");
                let mut socket = Socket::open().expect("netlink");
                let index = socket.add_link("lato0", LinkKind::Bridge).expect("link");
                for text in ["192.0.2.1", "192.0.2.20", "192.0.2.21", "2001:db8::20"] {
                    let address = text.parse().expect("address");
                    socket.add_address(&Address::new(index, address, 24)).expect("add");
                }
                let gates = move || bpf::attached(index, Direction::Egress).map(|all| all.len());
                let groups = vec![vec!["192.0.2.21".parse().expect("address")]];
                drop(gate::Gate::open(Tag::of_directory(&dir), &groups).expect("gate"));
                let removed = release_noted(&dir).expect("released");
                assert_eq!(gates().expect("list"), 1, "192.0.2.21 is still here: kept silent");
                let left: Vec<String> = socket
                    .addresses()
                    .expect("list")
                    .iter()
                    .filter(|left| left.index == index)
                    .map(|left| left.address.to_string())
                    .collect();
                let last = "192.0.2.21".parse().expect("address");
                socket.delete_address(&Address::new(index, last, 24)).expect("deleted");
                release_noted(&dir).expect("released");
                assert_eq!(gates().expect("list"), 0, "nothing is left");
                (removed, left)
            }
        });
        let (removed, left) = done.join().expect("namespace");
        assert_eq!(removed, ["192.0.2.20 (lato0)", "2001:db8::20 (lato0)"]);
        assert_eq!(left, ["192.0.2.1", "192.0.2.21"]);
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
