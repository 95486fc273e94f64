//! Names, interfaces, and programs that think addresses are theirs.
use super::{Level, Patient};
use crate::config::interface_of;

/// The name that a card has before somebody gives it one.
const DEFAULT_NAMES: [&str; 3] = ["raspberrypi", "localhost", "debian"];

pub(super) fn look(patient: &mut Patient<'_>) {
    name(patient);
    interfaces(patient);
    manager(patient);
}

fn name(patient: &mut Patient<'_>) {
    let Some(name) = patient.word("proc/sys/kernel/hostname") else { return };
    let bare = name.split('.').next().unwrap_or(&name).to_ascii_lowercase();
    if let Some(config) = patient.config {
        let known = |node: &String| node.eq_ignore_ascii_case(&name);
        if config.nodes.iter().any(known) {
            patient.good("name", format!("this node is {name}"));
        } else {
            let what = format!("{name} is no node of the configuration");
            let cure = format!("it has: {}; set it with hostnamectl", config.nodes.join(", "));
            patient.say("name", Level::Fault, what, cure);
        }
    } else if DEFAULT_NAMES.contains(&bare.as_str()) {
        patient.say(
            "name",
            Level::Warning,
            format!("{name} is what many machines are called: two nodes need two names"),
            "hostnamectl set-hostname NAME",
        );
    }
}

fn interfaces(patient: &mut Patient<'_>) {
    let wanted: Vec<String> = match patient.config {
        Some(config) => {
            let used = config.links.iter().filter_map(|link| interface_of(&link.medium));
            used.map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let there = patient.names("sys/class/net");
    for name in &wanted {
        if !there.contains(name) {
            let what = format!("interface {name} is not there");
            let cure = format!("there are: {}", there.join(", "));
            patient.say("network", Level::Fault, what, cure);
        }
    }
    for name in there {
        let used = wanted.is_empty() || wanted.contains(&name);
        if used && patient.exists(&format!("sys/class/net/{name}/wireless")) {
            patient.say(
                "network",
                Level::Warning,
                format!("{name} is Wi-Fi: it sleeps between frames and loses broadcasts"),
                format!(
                    "iw dev {name} set power_save off; never as the only link, a serial cable or \
                     Ethernet beside it"
                ),
            );
        }
        if wanted.contains(&name)
            && patient.word(&format!("sys/class/net/{name}/carrier")).as_deref() == Some("0")
        {
            let what = format!("{name} has no carrier");
            patient.say("network", Level::Fault, what, "plug the cable in, at both ends");
        }
    }
}

fn manager(patient: &mut Patient<'_>) {
    for (file, program) in [
        ("run/NetworkManager", "NetworkManager"),
        ("run/dhcpcd", "dhcpcd"),
        ("run/systemd/netif/links", "systemd-networkd"),
    ] {
        if patient.exists(file) {
            patient.say(
                "network",
                Level::Note,
                format!("{program} manages interfaces here"),
                "if it takes an owned address away, Latido puts it back and names it in an event",
            );
        }
    }
}
