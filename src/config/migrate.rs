//! A checked configuration as `latido.toml`.
mod fence;

use super::check::default_timeout;
use super::compare::{failback_name, rule_name, stop_failure_name};
use super::{
    Address, Config, ETHERTYPE, Group, Kind, Link, Log, Medium, Resource, Rule, Source, Wire,
    format_duration,
};
use std::path::Path;

/// Where the keys of a migrated configuration are expected.
pub const KEYS_FILE: &str = "/etc/latido/keys";

/// The configuration as the text of a `latido.toml` that means the same.
///
/// It expects the keys (see [`super::key_file`]) in `/etc/latido/keys`, or where the original
/// `latido.toml` had them is not known any more.
pub fn migrate(config: &Config) -> String {
    migrate_with_keys(config, Path::new(KEYS_FILE))
}

/// The same, with the keys in another file.
pub fn migrate_with_keys(config: &Config, keys: &Path) -> String {
    let mut text = String::new();
    match config.realtime {
        Some(priority) => text.push_str(&format!("realtime = {priority}\n")),
        None => text.push_str("realtime = false\n"),
    }
    let nodes: Vec<String> = config.nodes.iter().map(|node| quote(node)).collect();
    text.push_str(&format!(
        "\n[cluster]\nname  = {}\nnodes = [{}]\n",
        quote(&config.cluster),
        nodes.join(", ")
    ));
    for witness in &config.witnesses {
        text.push_str(&format!("\n[[witness]]\nname = {}\n", quote(witness)));
    }
    let timing = &config.timing;
    text.push_str("\n[timing]\n");
    for (key, span) in [
        ("interval      ", timing.interval),
        ("warn          ", timing.warn),
        ("dead          ", timing.dead),
        ("initial_dead  ", timing.initial_dead),
        ("failback_delay", timing.failback_delay),
    ] {
        text.push_str(&format!("{key} = \"{}\"\n", format_duration(span)));
    }
    text.push_str(&format!(
        "\n[quorum]\nrule = \"{}\"   # {}\nstop_failure = \"{}\"\n",
        rule_name(config.rule),
        match config.rule {
            Rule::AssumeDead => "with every path cut, both nodes will own every group",
            Rule::Fencing => "nobody takes over before the other's power is proven to be off",
            Rule::Majority => "one owner in every partition",
        },
        stop_failure_name(config.stop_failure)
    ));
    if config.probe != super::references::probe_by_default(config.rule) {
        text.push_str(&format!("probe = {}\n", config.probe));
    }
    text.push_str(&config.references_table(quote));
    if config.rule == Rule::Fencing {
        text.push_str(&format!("fence_delay = \"{}\"\n", format_duration(config.fencing.delay)));
    }
    if config.keys.authenticated {
        text.push_str(&format!("\n[keys]\nfile = {}\n", quote_path(keys)));
    } else {
        text.push_str("\n[keys]\nauthenticated = false   # anybody can take the cluster over\n");
    }
    config.links.iter().for_each(|link| write_link(&mut text, link));
    config.groups.iter().for_each(|group| write_group(&mut text, config, group));
    fence::write(&mut text, config);
    text.push_str(&config.watchdog_table(quote_path));
    for Wire { drive, watch } in &config.wires {
        let (drive, watch) = (quote(drive), quote(watch));
        text.push_str(&format!("\n[[link]]\ngpio = {drive}\nwatch = {watch}\n"));
    }
    text.push_str(&config.panel.table(quote));
    text.extend(config.health.as_ref().map(|health| health.table(quote)));
    write_log(&mut text, &config.log);
    text
}

fn write_link(text: &mut String, link: &Link) {
    text.push_str("\n[[link]]\n");
    let udp = |kind: &str, interface: &str, port: &u16| {
        format!("udp = \"{kind}\"\ninterface = {}\nport = {port}\n", quote(interface))
    };
    match &link.medium {
        Medium::Broadcast { interface, port } => text.push_str(&udp("broadcast", interface, port)),
        Medium::Multicast { interface, port, group, ttl } => {
            text.push_str(&udp("multicast", interface, port));
            text.push_str(&format!("group = \"{group}\"\nttl = {ttl}\n"));
        }
        Medium::Unicast { interface, port, peers } => {
            let peers: Vec<String> = peers.iter().map(|peer| quote(peer)).collect();
            text.push_str(&udp("unicast", interface, port));
            text.push_str(&format!("peers = [{}]\n", peers.join(", ")));
        }
        Medium::Ethernet { interface, vlan, peers, ethertype } => {
            text.push_str(&format!("ethernet = {}\n", quote(interface)));
            if let Some(vlan) = vlan {
                text.push_str(&format!("vlan = {vlan}\n"));
            }
            if !peers.is_empty() {
                let peers: Vec<String> = peers.iter().map(|mac| format!("\"{mac}\"")).collect();
                text.push_str(&format!("peers = [{}]\n", peers.join(", ")));
            }
            if *ethertype != ETHERTYPE {
                text.push_str(&format!("ethertype = {ethertype:#06x}\n"));
            }
        }
        Medium::Serial { device, baud, .. } => {
            text.push_str(&format!("serial = {}\nbaud = {baud}\n", quote_path(device)));
        }
    }
}

fn write_group(text: &mut String, config: &Config, group: &Group) {
    let prefer: Vec<String> = group
        .prefer
        .iter()
        .filter_map(|node| config.nodes.get(*node))
        .map(|node| quote(node))
        .collect();
    text.push_str(&format!(
        "\n[[group]]\nname = {}\nprefer = [{}]\nfailback = \"{}\"\nresources = [\n",
        quote(&group.name),
        prefer.join(", "),
        failback_name(group.failback)
    ));
    for resource in &group.resources {
        text.push_str(&format!("  {{ {} }},\n", resource_fields(resource).join(", ")));
    }
    text.push_str("]\n");
}

fn resource_fields(resource: &Resource) -> Vec<String> {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let mut fields = Vec::new();
    let dirs = match &resource.kind {
        Kind::Address(address) => {
            let Address { interface, label, broadcast, .. } = address;
            fields.push(format!("address = {}", quote(&resource.name)));
            fields.extend(interface.iter().map(|name| format!("interface = {}", quote(name))));
            fields.extend(label.iter().map(|name| format!("label = {}", quote(name))));
            fields.extend(broadcast.iter().map(|address| format!("broadcast = \"{address}\"")));
            &[][..]
        }
        Kind::Service { name, script_dirs } => {
            fields.push(format!("service = {}", quote(name)));
            script_dirs
        }
        Kind::Script { script, args, script_dirs } => {
            fields.push(format!("script = {}", quote_path(script)));
            if !args.is_empty() {
                let args = args.iter().map(|arg| quote(arg)).collect();
                fields.push(format!("args = {}", list(args)));
            }
            script_dirs
        }
    };
    if !dirs.is_empty() {
        let dirs = dirs.iter().map(|dir| quote_path(dir)).collect();
        fields.push(format!("script_dirs = {}", list(dirs)));
    }
    let default = default_timeout(&resource.kind);
    for (key, span) in
        [("start_timeout", resource.start_timeout), ("stop_timeout", resource.stop_timeout)]
    {
        if span != default {
            fields.push(format!("{key} = \"{}\"", format_duration(span)));
        }
    }
    fields
}

fn write_log(text: &mut String, log: &Log) {
    if *log == Log::default() {
        return;
    }
    text.push_str("\n[log]\n");
    for (key, path) in [("file", &log.file), ("debug_file", &log.debug_file)] {
        if let Some(path) = path {
            text.push_str(&format!("{key} = {}\n", quote_path(path)));
        }
    }
    if let Some(facility) = &log.syslog {
        text.push_str(&format!("syslog = {}\n", quote(facility)));
    }
    if log.debug > 0 {
        text.push_str(&format!("debug = {}\n", log.debug));
    }
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Source {
    /// Whether it is a Heartbeat directory.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self, Source::Heartbeat(_))
    }
}
