//! `[[link]]`.
use super::super::diagnostic::{Located, Report};
use super::super::suggest::did_you_mean;
use super::super::{Medium, Wire, values};
use super::panel;
use super::table::{Table, keys_of};
use std::net::IpAddr;
use std::path::PathBuf;

/// Heartbeat's port, registered with IANA as `ha-cluster`.
pub const PORT: u16 = 694;
const KINDS: [&str; 3] = ["broadcast", "multicast", "unicast"];

/// Reads all links.
pub(super) fn read(document: &Table, report: &mut Report) -> (Vec<Located<Medium>>, Wires) {
    let (mut links, mut wires) = (Vec::new(), Vec::new());
    for table in document.tables("link", "[[link]]", report) {
        if table.has("ethernet") {
            let cure = "use `udp = \"broadcast\"` until then";
            report.error(table.at("ethernet"), "raw Ethernet links are not in this version", cure);
            continue;
        }
        table.only(keys_of("[[link]]"), report);
        if table.has("gpio") {
            wires.extend(read_wire(&table, report));
            continue;
        }
        let medium = match (table.has("udp"), table.has("serial")) {
            (true, false) => read_udp(&table, report),
            (false, true) => read_serial(&table, report),
            (true, true) => {
                report.error(
                    table.at("serial"),
                    "a link is either `udp` or `serial`",
                    "make two links of it",
                );
                None
            }
            (false, false) => {
                let cure = "add `udp = \"broadcast\"` (or \"multicast\", \"unicast\") or \
                            `serial = \"/dev/ttyUSB0\"`";
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
    let others = ["udp", "serial", "interface", "port", "group", "ttl", "peers", "baud"];
    refuse(table, &others, "gpio", report);
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
    refuse(table, &["interface", "port", "group", "ttl", "peers"], "serial", report);
    let device = table.string("serial", report)?;
    if !device.value.starts_with('/') {
        let message = format!("`{}` is not a full path", device.value);
        report.error(device.at, message, "name the device, such as \"/dev/ttyUSB0\"");
    }
    // A value that is wrong is reported; the link is kept, so that more can be found out.
    let baud = table.integer("baud", 50..=4_000_000, report).unwrap_or(115_200);
    Some(Medium::Serial { device: PathBuf::from(device.value), baud })
}

fn read_udp(table: &Table, report: &mut Report) -> Option<Medium> {
    refuse(table, &["baud"], "udp", report);
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
