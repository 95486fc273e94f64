//! Media lines of `ha.cf`: each interface or device becomes a link.
use super::super::diagnostic::{Located, Report};
use super::super::{Line, Medium, values};
use super::Word;
use super::hacf::HaCf;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Reads a media line.
pub(super) fn read(hacf: &mut HaCf, name: Word, words: &[Word], report: &mut Report) {
    match name.text {
        "serial" => serial(hacf, words, report),
        "ucast" | "ucast6" => ucast(hacf, name, words, report),
        "mcast" | "mcast6" => mcast(hacf, name, words, report),
        _ => bcast(hacf, name, words, report),
    }
}

/// Adds a link; one that is there already is named and left out, as it would only be sent twice.
fn add(hacf: &mut HaCf, medium: Medium, name: Word, word: Word, report: &mut Report) {
    let same = |link: &&Located<Medium>| match (&link.value, &medium) {
        (Medium::Serial { device, .. }, Medium::Serial { device: other, .. }) => device == other,
        (known, new) => known == new,
    };
    if let Some(first) = hacf.media.iter().find(same) {
        let line = report.line(first.at);
        let message = format!("the same link as in line {line}; it is used once");
        let cure = if name.text == "udp" {
            "`udp` is an old word for `bcast`: remove this line"
        } else {
            "remove one of them"
        };
        report.warning(word.at, message, cure);
    } else {
        if name.text == "udp" {
            report.warning(name.at, "`udp` is an old word for `bcast`", "write `bcast`");
        }
        hacf.media.push(Located::new(medium, word.at));
    }
}

/// Whether `word` is an interface name; reports it if not.
fn is_interface(word: Word, report: &mut Report) -> bool {
    let checked = values::interface(word.text);
    if let Err(cure) = &checked {
        report.error(word.at, format!("`{}` is no interface", word.text), cure.as_str());
    }
    checked.is_ok()
}

fn bcast(hacf: &mut HaCf, name: Word, words: &[Word], report: &mut Report) {
    for word in words {
        if is_interface(*word, report) {
            let medium = Medium::Broadcast { interface: word.text.to_string(), port: hacf.port };
            add(hacf, medium, name, *word, report);
        }
    }
}

fn serial(hacf: &mut HaCf, words: &[Word], report: &mut Report) {
    for word in words {
        if word.text.starts_with('/') {
            let (device, line) = (PathBuf::from(word.text), Line::default());
            let medium = Medium::Serial { device, baud: hacf.baud, line };
            add(hacf, medium, *word, *word, report);
        } else {
            let message = format!("`{}` is not a full path", word.text);
            report.error(word.at, message, format!("write `/dev/{}`", word.text));
        }
    }
}

/// All lines of one interface and port are one link with several peers.
fn ucast(hacf: &mut HaCf, name: Word, words: &[Word], report: &mut Report) {
    let [interface, peer] = words else {
        let message = format!("{} has an interface and one peer", name.text);
        report.error(
            name.at,
            message,
            format!("`{} eth0 192.168.0.21`, one line for each peer", name.text),
        );
        return;
    };
    let (mut target, scope) = match peer.text.split_once('%') {
        Some((target, scope)) => (target, Some(scope)),
        None => (peer.text, None),
    };
    if scope.is_some_and(|scope| scope != interface.text) {
        let message = format!("the scope of `{}` is not {}", peer.text, interface.text);
        report.error(peer.at, message, format!("write `{target}%{}`", interface.text));
    }
    if let Err(cure) = values::peer(target) {
        report.error(peer.at, format!("`{}` is no peer", peer.text), cure);
        target = "";
    }
    if name.text == "ucast6" && target.parse::<Ipv4Addr>().is_ok() {
        report.error(peer.at, format!("`{target}` is an IPv4 address"), "write `ucast` for it");
    }
    if !is_interface(*interface, report) || target.is_empty() {
        return;
    }
    let port = hacf.port;
    let known = hacf.media.iter_mut().find_map(|link| match &mut link.value {
        Medium::Unicast { interface: other, port: other_port, peers }
            if other == interface.text && *other_port == port =>
        {
            Some(peers)
        }
        _ => None,
    });
    match known {
        Some(peers) if peers.iter().any(|peer| peer == target) => {
            report.warning(peer.at, format!("{target} is there twice"), "remove this line");
        }
        Some(peers) if peers.len() >= 2 * crate::core::limits::VOTERS_MAX => {
            report.error(peer.at, "more peers than a cluster has nodes", "remove some");
        }
        Some(peers) => peers.push(target.to_string()),
        None => {
            let interface = interface.text.to_string();
            let medium = Medium::Unicast { interface, port, peers: vec![target.to_string()] };
            add(hacf, medium, name, *peer, report);
        }
    }
}

fn mcast(hacf: &mut HaCf, name: Word, words: &[Word], report: &mut Report) {
    let [interface, group, port, ttl, repeat] = words else {
        let message = format!("{} has five values: interface, group, port, ttl, loop", name.text);
        let cure = if name.text == "mcast" {
            "`mcast eth0 225.0.0.1 694 1 0`"
        } else {
            "`mcast6 eth0 ff02::694 694 1 0`"
        };
        report.error(name.at, message, cure);
        return;
    };
    let errors = report.errors();
    is_interface(*interface, report);
    let address = if name.text == "mcast" {
        group.text.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        group.text.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    if !address.as_ref().is_ok_and(IpAddr::is_multicast) {
        let cure = if name.text == "mcast" { "such as 225.0.0.1" } else { "such as ff02::694" };
        report.error(group.at, format!("`{}` is no multicast address", group.text), cure);
    }
    let number = port.text.parse::<u16>().ok().filter(|port| *port > 0);
    if number.is_none() {
        let message = format!("`{}` is no UDP port", port.text);
        report.error(port.at, message, "from 1 to 65535; Heartbeat's own is 694");
    }
    let hops = ttl.text.parse::<u8>().ok();
    match hops {
        None => report.error(ttl.at, format!("`{}` is no ttl", ttl.text), "1 in one network"),
        Some(0) => {
            report.warning(ttl.at, "with ttl 0 nothing leaves this machine; 1 is used", "write 1");
        }
        Some(_) => {}
    }
    match repeat.text {
        "0" => {}
        "1" => report.warning(repeat.at, "loop 1 is not needed: own frames are ignored", "write 0"),
        other => report.error(repeat.at, format!("loop cannot be `{other}`"), "write 0"),
    }
    if let (Ok(group), Some(port), Some(hops)) = (address, number, hops)
        && report.errors() == errors
    {
        let interface = interface.text.to_string();
        let medium = Medium::Multicast { interface, port, group, ttl: hops.max(1) };
        add(hacf, medium, name, words[1], report);
    }
}
