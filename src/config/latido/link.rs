//! `[[link]]`.
mod serial;

use super::super::diagnostic::{Located, Report};
use super::super::suggest::did_you_mean;
use super::super::{Mac, Medium, Wire, values};
use super::panel;
use super::table::{Table, keys_of};
use std::net::IpAddr;
use std::path::PathBuf;

/// Heartbeat's port, registered with IANA as `ha-cluster`.
pub const PORT: u16 = 694;
/// Local Experimental EtherType 1 (IEEE Std 802, 9.2.4): for everybody's own use.
pub const ETHERTYPE: u16 = 0x88B5;
const SERIAL_ONLY: [&str; 6] = ["baud", "flow", "mode", "direction", "slot", "modem_lines"];
const KINDS: [&str; 3] = ["broadcast", "multicast", "unicast"];

/// Reads all links.
pub(super) fn read(document: &Table, report: &mut Report) -> (Vec<Located<Medium>>, Wires) {
    let (mut links, mut wires) = (Vec::new(), Vec::new());
    for table in document.tables("link", "[[link]]", report) {
        table.only(keys_of("[[link]]"), report);
        if table.has("gpio") {
            wires.extend(read_wire(&table, report));
            continue;
        }
        refuse(&table, &["watch"], "udp, ethernet or serial", report);
        let mut kinds = ["udp", "ethernet", "serial"].into_iter().filter(|kind| table.has(kind));
        let medium = match (kinds.next(), kinds.next()) {
            (Some("udp"), None) => read_udp(&table, report),
            (Some("ethernet"), None) => read_ethernet(&table, report),
            (Some(_), None) => read_serial(&table, report),
            (Some(_), Some(second)) => {
                report.error(
                    table.at(second),
                    "a link is either `udp`, `ethernet` or `serial`",
                    "make two links of it",
                );
                None
            }
            (None, _) => {
                let cure = "add `udp = \"broadcast\"` (or \"multicast\", \"unicast\"), \
                            `ethernet = \"eth1\"` or `serial = \"/dev/ttyUSB0\"`";
                report.error(table.at, "this link has no kind", cure);
                None
            }
        };
        links.extend(medium.map(|medium| Located::new(medium, table.at)));
    }
    (links, wires)
}

type Wires = Vec<Located<Wire>>;

/// A heartbeat wire: no medium, for it carries no frames.
fn read_wire(table: &Table, report: &mut Report) -> Option<Located<Wire>> {
    let others = ["udp", "ethernet", "serial", "interface", "port", "group", "ttl", "peers"];
    refuse(table, &others, "gpio", report);
    refuse(table, &["vlan", "ethertype"], "gpio", report);
    refuse(table, &SERIAL_ONLY, "gpio", report);
    if !table.has("watch") {
        let cure = "add `watch = \"…\"`, the pin that the other node's is wired to";
        report.error(table.at, "a heartbeat wire is a pair of pins", cure);
    }
    let drive = panel::pin(table, "gpio", report)?;
    let watch = panel::pin(table, "watch", report)?;
    Some(Located::new(Wire { drive, watch }, table.at))
}

/// Reports the keys that mean nothing for this kind of link.
fn refuse(table: &Table, keys: &[&'static str], kind: &str, report: &mut Report) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.error(
            table.at(key),
            format!("`{key}` means nothing for a {kind} link"),
            "remove it",
        );
    }
}

fn read_serial(table: &Table, report: &mut Report) -> Option<Medium> {
    const OTHERS: [&str; 7] = ["interface", "port", "group", "ttl", "peers", "vlan", "ethertype"];
    refuse(table, &OTHERS, "serial", report);
    let device = table.string("serial", report)?;
    if !device.value.starts_with('/') {
        let message = format!("`{}` is not a full path", device.value);
        report.error(device.at, message, "name the device, such as \"/dev/ttyUSB0\"");
    }
    // A value that is wrong is reported; the link is kept, so that more can be found out.
    let baud = table.integer("baud", 50..=4_000_000, report).unwrap_or(115_200);
    let line = serial::read(table, report);
    Some(Medium::Serial { device: PathBuf::from(device.value), baud, line })
}

fn read_udp(table: &Table, report: &mut Report) -> Option<Medium> {
    refuse(table, &["vlan", "ethertype"], "udp", report);
    refuse(table, &SERIAL_ONLY, "udp", report);
    let kind = table.string("udp", report)?;
    if !KINDS.contains(&kind.value.as_str()) {
        let all = "\"broadcast\", \"multicast\" or \"unicast\"";
        let cure = did_you_mean(&kind.value, &KINDS, all);
        report.error(kind.at, format!("there is no udp link of kind \"{}\"", kind.value), cure);
        return None;
    }
    if !table.has("interface") {
        let cure =
            "add `interface = \"eth0\"`: a link is one path, so it is bound to one interface";
        report.error(table.at, "this link names no interface", cure);
    }
    let interface = table.string("interface", report)?;
    if let Err(cure) = values::interface(&interface.value) {
        report.error(interface.at, format!("`{}` is no interface", interface.value), cure);
    }
    let interface = interface.value;
    let port = table.integer("port", 1..=65_535, report);
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT);
    match kind.value.as_str() {
        "broadcast" => {
            refuse(table, &["group", "ttl", "peers"], "broadcast", report);
            Some(Medium::Broadcast { interface, port })
        }
        "multicast" => {
            refuse(table, &["peers"], "multicast", report);
            let group = read_group(table, report)?;
            let ttl = table.integer("ttl", 1..=255, report).unwrap_or(1);
            let ttl = u8::try_from(ttl).unwrap_or(1);
            Some(Medium::Multicast { interface, port, group, ttl })
        }
        _ => {
            refuse(table, &["group", "ttl"], "unicast", report);
            let peers = read_peers(table, report);
            Some(Medium::Unicast { interface, port, peers })
        }
    }
}

fn read_ethernet(table: &Table, report: &mut Report) -> Option<Medium> {
    refuse(table, &["interface", "port", "group", "ttl"], "raw Ethernet", report);
    refuse(table, &SERIAL_ONLY, "raw Ethernet", report);
    let interface = table.string("ethernet", report)?;
    if let Err(cure) = values::interface(&interface.value) {
        report.error(interface.at, format!("`{}` is no interface", interface.value), cure);
    }
    let vlan = table.integer("vlan", 1..=4094, report);
    let vlan = vlan.and_then(|vlan| u16::try_from(vlan).ok());
    let ethertype = table.integer("ethertype", 0x0600..=0xFFFF, report);
    let ethertype = ethertype.and_then(|number| u16::try_from(number).ok()).unwrap_or(ETHERTYPE);
    if let Some(owner) = owner_of(ethertype) {
        let message = format!("EtherType {ethertype:#06x} is that of {owner}");
        let cure = "leave it out (0x88b5), or write 0x88b6: both are for everybody's own use";
        report.error(table.at("ethertype"), message, cure);
    }
    let peers = read_macs(table, report);
    Some(Medium::Ethernet { interface: interface.value, vlan, peers, ethertype })
}

/// What would lose frames, or break, if ours came along under its EtherType.
fn owner_of(ethertype: u16) -> Option<&'static str> {
    Some(match ethertype {
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x8035 => "RARP",
        0x86DD => "IPv6",
        0x8100 | 0x88A8 | 0x9100 => "VLAN tags",
        0x8808 => "flow control",
        0x8809 => "link aggregation",
        0x8863 | 0x8864 => "PPPoE",
        0x888E => "802.1X",
        0x88CC => "LLDP",
        _ => return None,
    })
}

/// No peers: everybody.
fn read_macs(table: &Table, report: &mut Report) -> Vec<Mac> {
    let mut macs = Vec::new();
    let written = table.strings("peers", report);
    if written.as_ref().is_some_and(Vec::is_empty) {
        let cure = "remove `peers` for broadcast, or name the Ethernet addresses of all nodes";
        report.error(table.at("peers"), "no peers", cure);
    }
    for peer in written.unwrap_or_default() {
        match peer.value.parse::<Mac>() {
            Ok(mac) if macs.contains(&mac) => {
                report.error(peer.at, format!("{mac} is there twice"), "name it once");
            }
            Ok(mac) => macs.push(mac),
            Err(cure) => {
                let message = format!("`{}` is no Ethernet address of a machine", peer.value);
                report.error(peer.at, message, cure);
            }
        }
    }
    if macs.len() > 2 * crate::core::limits::VOTERS_MAX {
        report.error(table.at("peers"), "more peers than a cluster has nodes", "remove some");
    }
    macs
}

fn read_group(table: &Table, report: &mut Report) -> Option<IpAddr> {
    const CURE: &str = "such as \"239.255.6.94\" (224.0.0.0/4) or \"ff02::6:94\" (ff00::/8)";
    let Some(text) = table.string("group", report) else {
        if !table.has("group") {
            report.error(table.at, "a multicast link needs its `group`", CURE);
        }
        return None;
    };
    match text.value.parse::<IpAddr>() {
        Ok(group) if group.is_multicast() => Some(group),
        _ => {
            report.error(text.at, format!("`{}` is no multicast address", text.value), CURE);
            None
        }
    }
}

fn read_peers(table: &Table, report: &mut Report) -> Vec<String> {
    let peers = table.strings("peers", report).unwrap_or_default();
    if peers.is_empty() {
        let cure = "add `peers = [\"192.168.0.21\", \"192.168.0.22\"]`: addresses of all nodes; \
                    a node skips its own";
        report.error(table.at("peers"), "a unicast link needs its peers", cure);
    }
    let mut names: Vec<String> = Vec::new();
    for peer in peers {
        if let Err(cure) = values::peer(&peer.value) {
            report.error(peer.at, format!("`{}` is no peer", peer.value), cure);
        }
        if names.contains(&peer.value) {
            report.error(peer.at, format!("{} is there twice", peer.value), "name it once");
        }
        names.push(peer.value);
    }
    if names.len() > 2 * crate::core::limits::VOTERS_MAX {
        report.error(table.at("peers"), "more peers than a cluster has nodes", "remove some");
    }
    names
}
