//! Comparing what was written with itself: the only maker of a [`Config`].
mod serial;

use super::compare::rule_name;
use super::diagnostic::{At, Located, Report};
use super::fence;
use super::raw::{Raw, RawGroup, RawResource, RawTiming};
use super::references;
use super::suggest::did_you_mean;
use super::values::{INTERFACE_MAX, format_duration, hosts, unusable};
use super::watchdog;
use super::{Address, Config, Group, Kind, Link, Medium, Resource, Rule, Source, Timing};
use crate::core::limits::{GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Longest time that a start or stop of a service or script may take, unless written.
pub(super) const SERVICE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for an address.
pub(super) const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Resources of one group.
const RESOURCES_MAX: usize = 64;
/// Bytes of a usual frame on a serial line (design §4: at most 128), framing included.
const SERIAL_FRAME_BYTES: u64 = 150;

/// Checks a configuration; `None` if there is any error, now or reported before.
pub(super) fn check(mut raw: Raw, report: &mut Report) -> Option<Config> {
    check_nodes(&raw, report);
    check_timing(&raw.timing, report);
    serial::seat(&mut raw);
    let links = check_links(&raw, report);
    check_groups(&raw, report);
    let timing = raw.timing.values();
    let references = references::check(&raw.references, &timing, &raw.groups, report);
    fence::check(&raw, report);
    watchdog::check(&raw, report);
    check_wires(&raw, report);
    let mut nodes: Vec<String> = raw.nodes.iter().map(|node| node.value.clone()).collect();
    nodes.sort();
    let fencing = fence::make(&raw, &nodes);
    let groups: Vec<Group> =
        raw.groups.into_iter().map(|group| make_group(group, &nodes)).collect();
    let keys = raw.keys?;
    if report.errors() > 0 {
        return None;
    }
    let config = Config {
        source: raw.source,
        cluster: raw.cluster,
        nodes,
        witnesses: raw.witnesses.into_iter().map(|witness| witness.value).collect(),
        timing,
        rule: raw.rule,
        stop_failure: raw.stop_failure,
        probe: raw.probe,
        references,
        fencing,
        watchdog: raw.watchdog.map(|written| written.watchdog),
        wires: raw.wires.into_iter().map(|wire| wire.value).collect(),
        panel: raw.panel,
        health: raw.health,
        keys,
        links,
        groups,
        log: raw.log,
        realtime: raw.realtime,
    };
    if let Some(limit) = &raw.takeover_max {
        config.check_takeover(limit, report);
    }
    (report.errors() == 0).then_some(config)
}

impl RawTiming {
    fn values(&self) -> Timing {
        Timing {
            interval: self.interval.value,
            warn: self.warn.value,
            dead: self.dead.value,
            initial_dead: self.initial_dead.value,
            failback_delay: self.failback_delay.value,
        }
    }
}

fn check_nodes(raw: &Raw, report: &mut Report) {
    check_witnesses(raw, report);
    let (count, voters) = (raw.nodes.len(), raw.nodes.len() + raw.witnesses.len());
    let at = raw.nodes.last().map_or(raw.whole, |node| node.at);
    match count {
        0 => report.error(raw.whole, "no nodes", "name both nodes, as `uname -n` prints them"),
        1 => report.error(at, "one node is no cluster", "name the other node too"),
        2 if raw.rule == Rule::Majority && voters == 2 => report.error(
            at,
            "`majority` with two voters never takes over: one of two is no majority",
            "add a witness (`[[witness]]` and `name = \"…\"`: see `latido witness --help`), or \
             add a third node, or write `rule = \"assume-dead\"` if a silent node may be presumed \
             dead, or \"fencing\" if each can switch the other off",
        ),
        3..=VOTERS_MAX if raw.rule != Rule::Majority => report.error(
            at,
            format!("{count} nodes: the rule {} works with exactly two", rule_name(raw.rule)),
            "keep two; more nodes need the rule `majority`, in a latido.toml",
        ),
        2..=VOTERS_MAX if voters > VOTERS_MAX => {
            let message = format!("{voters} voters, witnesses among them: at most {VOTERS_MAX}");
            report.error(at, message, "remove some");
        }
        2..=VOTERS_MAX if raw.rule == Rule::Majority && voters.is_multiple_of(2) => {
            let message = format!(
                "{voters} voters survive the loss of {}, no more than {} would",
                voters / 2 - 1,
                voters - 1
            );
            report.warning(at, message, "an odd number of voters is advised");
        }
        2..=VOTERS_MAX => {}
        _ => report.error(at, format!("{count} nodes: at most {VOTERS_MAX}"), "remove some"),
    }
}

fn check_witnesses(raw: &Raw, report: &mut Report) {
    for (index, witness) in raw.witnesses.iter().enumerate() {
        let name = &witness.value;
        if raw.nodes.iter().any(|node| node.value == *name) {
            let cure = "give it a name of its own: a node has a vote already";
            report.error(witness.at, format!("{name} is a node"), cure);
        }
        if raw.witnesses[..index].iter().any(|other| other.value == *name) {
            report.error(witness.at, format!("witness {name} is there twice"), "name it once");
        }
    }
    if let Some(first) = raw.witnesses.first()
        && raw.rule != Rule::Majority
    {
        let message = format!("the rule {} asks no witness", rule_name(raw.rule));
        report.error(first.at, message, "write `rule = \"majority\"`, or remove [[witness]]");
    }
}

fn check_timing(timing: &RawTiming, report: &mut Report) {
    let RawTiming { readable, interval, warn, dead, initial_dead, failback_delay } = timing;
    if !readable {
        return;
    }
    let show = format_duration;
    if interval.value < Duration::from_millis(1) || interval.value > Duration::from_secs(3600) {
        let message = format!("an interval of {} cannot be kept", show(interval.value));
        report.error(interval.at, message, "from 1ms to 1h; 100ms suits most networks");
        return;
    }
    if dead.value > Duration::from_secs(86_400) {
        report.error(dead.at, "a node that is silent for a day is dead", "at most 24h");
    } else if dead.value <= interval.value * 2 {
        let message = format!(
            "dead ({}) must be more than two intervals ({})",
            show(dead.value),
            show(interval.value)
        );
        let cure = format!("dead = {} or more is advised", show(interval.value * 5));
        report.error(dead.at, message, cure);
    } else if dead.value < interval.value * 5 {
        let intervals = dead.value.as_secs_f64() / interval.value.as_secs_f64();
        let message = format!(
            "dead ({}) is only {intervals:.1} intervals: {} lost heartbeats in a row end in a \
             takeover",
            show(dead.value),
            (intervals.ceil() as u64).saturating_sub(1)
        );
        let cure = format!("{} or more, or a shorter interval", show(interval.value * 5));
        report.warning(dead.at, message, cure);
    }
    if warn.value <= interval.value || warn.value >= dead.value {
        let message = format!(
            "warn ({}) must lie between interval ({}) and dead ({})",
            show(warn.value),
            show(interval.value),
            show(dead.value)
        );
        report.error(warn.at, message, "half of dead is usual");
    }
    if initial_dead.value < dead.value {
        let message = format!(
            "initial dead ({}) is shorter than dead ({})",
            show(initial_dead.value),
            show(dead.value)
        );
        report.error(initial_dead.at, message, "as long as the slower machine needs to start");
    }
    if initial_dead.value > Duration::from_secs(86_400)
        || failback_delay.value > Duration::from_secs(86_400)
    {
        let longer =
            if initial_dead.value > failback_delay.value { initial_dead } else { failback_delay };
        report.error(longer.at, "longer than a day", "at most 24h");
    }
}

/// What a heartbeat wire can say matters to one rule only.
fn check_wires(raw: &Raw, report: &mut Report) {
    if let Some(first) = raw.wires.first()
        && raw.rule != Rule::AssumeDead
    {
        let message = format!(
            "a heartbeat wire carries no votes: the rule {} asks it nothing",
            rule_name(raw.rule)
        );
        report.error(first.at, message, "use a serial null-modem, which carries frames");
    }
}

fn check_links(raw: &Raw, report: &mut Report) -> Vec<Link> {
    let media = &raw.links;
    if media.is_empty() && !raw.links_unread {
        let cure = match raw.source {
            Source::Latido(_) => {
                "add `[[link]]` with `udp = \"broadcast\"` and `interface = \"eth0\"`"
            }
            Source::Heartbeat(_) => "add a line such as `bcast eth0` or `serial /dev/ttyS0`",
        };
        report.error(raw.whole, "no links: the nodes cannot hear each other", cure);
    }
    if let Some(extra) = media.get(LINKS_MAX) {
        let message = format!("{} links: at most {LINKS_MAX}", media.len());
        report.error(extra.at, message, "remove some");
    }
    for (index, link) in media.iter().enumerate() {
        if let Some(first) =
            media[..index].iter().find(|other| same_path(&other.value, &link.value))
        {
            let line = report.line(first.at);
            report.error(link.at, format!("the same link as in line {line}"), "remove one of them");
        }
        serial::check(link, raw, report);
    }
    let paths: Vec<&Path> = media.iter().map(|link| path_of(&link.value)).collect();
    if let Some(first) = paths.first()
        && !raw.links_unread
        && paths.iter().all(|path| path == first)
    {
        let cost = match raw.rule {
            Rule::AssumeDead => "both nodes will own every group",
            Rule::Fencing => "one node shoots the other, sound as it is",
            Rule::Majority => "no node has a majority, and every group is stopped",
        };
        let message = format!(
            "a single path: everything goes over {}; when it is cut, {cost}",
            first.display()
        );
        let cure = "add a second, different one: a crossover cable or a null-modem cable";
        report.warning(media[0].at, message, cure);
    }
    name_links(media.iter().map(|link| &link.value))
}

/// What has to be cut to cut the link.
fn path_of(medium: &Medium) -> &Path {
    match medium {
        Medium::Broadcast { interface, .. }
        | Medium::Multicast { interface, .. }
        | Medium::Unicast { interface, .. }
        | Medium::Ethernet { interface, .. } => Path::new(interface),
        Medium::Serial { device, .. } => device,
    }
}

/// Whether two links would use the same socket or line.
fn same_path(a: &Medium, b: &Medium) -> bool {
    match (a, b) {
        (Medium::Serial { device, .. }, Medium::Serial { device: other, .. }) => device == other,
        (
            Medium::Unicast { interface, port, .. },
            Medium::Unicast { interface: other, port: other_port, .. },
        ) => interface == other && port == other_port,
        (
            Medium::Ethernet { interface, vlan, ethertype, .. },
            Medium::Ethernet { interface: other, vlan: other_vlan, ethertype: other_type, .. },
        ) => interface == other && vlan == other_vlan && ethertype == other_type,
        _ => a == b,
    }
}

impl Medium {
    /// Which of the heartbeats a link carries, for a usual pair: every one, or every n-th if it is
    /// too slow.
    pub fn every(&self, interval: Duration) -> u8 {
        self.every_of(interval, SERIAL_FRAME_BYTES)
    }
}

/// Names the links: interface and kind; port and group only where they tell two apart.
pub(super) fn name_links<'a>(media: impl Iterator<Item = &'a Medium> + Clone) -> Vec<Link> {
    let short = |medium: &Medium| match medium {
        Medium::Broadcast { interface, .. } => format!("{interface} broadcast"),
        Medium::Multicast { interface, .. } => format!("{interface} multicast"),
        Medium::Unicast { interface, .. } => format!("{interface} unicast"),
        Medium::Ethernet { interface, vlan: None, .. } => format!("{interface} ethernet"),
        Medium::Ethernet { interface, vlan: Some(vlan), .. } => {
            format!("{interface} ethernet vlan {vlan}")
        }
        Medium::Serial { device, .. } => device.display().to_string(),
    };
    let long = |medium: &Medium| match medium {
        Medium::Broadcast { port, .. } | Medium::Unicast { port, .. } => {
            format!("{} port {port}", short(medium))
        }
        Medium::Multicast { port, group, ttl, .. } => {
            format!("{} {group} port {port} ttl {ttl}", short(medium))
        }
        Medium::Ethernet { ethertype, .. } => format!("{} type {ethertype:#06x}", short(medium)),
        Medium::Serial { .. } => short(medium),
    };
    media
        .clone()
        .map(|medium| {
            let alike = media.clone().filter(|other| short(other) == short(medium)).count();
            let name = if alike > 1 { long(medium) } else { short(medium) };
            Link { name, medium: medium.clone() }
        })
        .collect()
}

fn check_groups(raw: &Raw, report: &mut Report) {
    let groups = &raw.groups;
    // If some could not be read, that has been said.
    if groups.is_empty() && report.errors() == 0 {
        report.warning(raw.whole, "no groups: there is nothing to take over", "");
    }
    if let Some(extra) = groups.get(GROUPS_MAX) {
        let message = format!("{} groups: at most {GROUPS_MAX}", groups.len());
        report.error(extra.name.at, message, "join some: what moves together is one group");
    }
    let mut seen: Vec<(&RawResource, usize)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let name = &group.name;
        if let Some(first) = groups[..index].iter().find(|other| other.name.value == name.value) {
            let line = report.line(first.name.at);
            let message = format!("group {} is in line {line} already", name.value);
            report.error(name.at, message, "join the two, or give one another name");
        }
        if group.resources.is_empty() {
            let cure = "add `resources = [{ address = \"192.168.0.20/24\" }]`, or remove the group";
            report.error(name.at, format!("group {} has no resources", name.value), cure);
        }
        if group.resources.len() > RESOURCES_MAX {
            let message = format!("more than {RESOURCES_MAX} resources in a group");
            report.error(name.at, message, "split the group");
        }
        check_preference(group, &raw.nodes, report);
        for resource in &group.resources {
            if let Kind::Address(address) = &resource.kind {
                check_address(address, resource.at, report);
            }
            check_unique(resource, index, &seen, groups, report);
            seen.push((resource, index));
        }
        check_order(group, report);
    }
}

fn check_preference(group: &RawGroup, nodes: &[Located<String>], report: &mut Report) {
    let known: Vec<&str> = nodes.iter().map(|node| node.value.as_str()).collect();
    for (index, node) in group.prefer.iter().enumerate() {
        if !known.contains(&node.value.as_str()) {
            let all = format!("write one of the nodes: {}", known.join(", "));
            let cure = did_you_mean(&node.value, &known, &all);
            report.error(node.at, format!("there is no node {}", node.value), cure);
        }
        if group.prefer[..index].iter().any(|other| other.value == node.value) {
            report.error(node.at, format!("{} is there twice", node.value), "name it once");
        }
    }
    if group.prefer.len() == 1 && known.len() > 1 {
        let message = format!("only {} may own group {}", group.prefer[0].value, group.name.value);
        report.warning(
            group.prefer[0].at,
            message,
            "name the other node as well, or nobody takes over",
        );
    }
}

fn check_address(address: &Address, at: At, report: &mut Report) {
    if let Some(why) = unusable(address.address, address.prefix) {
        let cure = match hosts(address.address, address.prefix) {
            Some((first, last)) => {
                format!("choose one that no machine has, from {first} to {last}")
            }
            None => "give the address that clients use, such as 192.168.0.20/24".to_string(),
        };
        report.error(at, format!("{} {why}", address.address), cure);
    }
    if let Some(label) = &address.label {
        if label.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            report.error(at, format!("`{label}` is no label"), "such as `eth0:0`");
        }
        if label.len() > INTERFACE_MAX {
            let message = format!("the label {label} is longer than {INTERFACE_MAX} bytes");
            report.error(at, message, "shorten what comes after the `:`");
        }
        if address.address.is_ipv6() {
            report.error(at, "an IPv6 address has no label", "remove the label");
        }
        if let Some(interface) = &address.interface
            && label.strip_prefix(interface.as_str()).is_none_or(|rest| !rest.starts_with(':'))
        {
            let message = format!("the label {label} does not name the interface {interface}");
            report.error(at, message, format!("write it as `{interface}:0`"));
        }
    }
    if address.virtual_mac.is_some() && address.label.is_some() {
        let message = "a label names the interface, and with `virtual_mac` that is another one";
        report.error(at, message, "remove the label");
    }
    if address.virtual_mac.is_some() && address.interface.as_deref() == Some("lo") {
        report.error(at, "the loopback interface has no Ethernet", "remove `virtual_mac`");
    }
    if address.broadcast.is_some_and(|broadcast| !broadcast.is_ipv4() || address.address.is_ipv6())
    {
        report.error(at, "only an IPv4 address has a broadcast address", "remove it");
    }
}

/// An address in two places is an error, a service in two groups is doubtful.
fn check_unique(
    resource: &RawResource,
    group: usize,
    seen: &[(&RawResource, usize)],
    groups: &[RawGroup],
    report: &mut Report,
) {
    let same = |other: &&(&RawResource, usize)| match (&resource.kind, &other.0.kind) {
        (Kind::Address(a), Kind::Address(b)) => a.address == b.address,
        (Kind::Service { name: a, .. }, Kind::Service { name: b, .. }) => a == b,
        (a, b) => a == b,
    };
    let Some((first, other)) = seen.iter().find(same) else { return };
    let line = report.line(first.at);
    let name = resource_name(&resource.kind);
    let owner = groups.get(*other).map_or("", |group| &group.name.value);
    match resource.kind {
        Kind::Address(_) => {
            let message = format!("{name} belongs to group {owner} already (line {line})");
            report.error(resource.at, message, "an address belongs to one group");
        }
        Kind::Service { .. } | Kind::Script { .. } if group == *other => {
            let message = format!("{name} is in this group twice (line {line})");
            report.error(resource.at, message, "name it once");
        }
        Kind::Service { .. } | Kind::Script { .. } => {
            let message = format!("{name} is in group {owner} too (line {line})");
            let cure = "where one node owns both groups, stopping one stops it for the other: \
                        put both addresses in one group";
            report.warning(resource.at, message, cure);
        }
    }
}

/// Disks come before what uses them.
fn check_order(group: &RawGroup, report: &mut Report) {
    const DISKS: [&str; 6] = ["Filesystem", "drbddisk", "drbdupper", "LVM", "Raid1", "ServeRAID"];
    let mut service: Option<String> = None;
    for resource in &group.resources {
        match (&resource.kind, &service) {
            (Kind::Service { name, .. }, None) => service = Some(name.clone()),
            (Kind::Script { script, .. }, Some(before))
                if DISKS
                    .iter()
                    .any(|disk| script.file_name().is_some_and(|name| name == *disk)) =>
            {
                let disk = script.display();
                let message =
                    format!("{before} is started before its disk: {disk} comes later in the line");
                let cure = format!("if {before} uses the disk, write {disk} before {before}");
                report.warning(resource.at, message, cure);
            }
            _ => {}
        }
    }
}

fn make_group(group: RawGroup, nodes: &[String]) -> Group {
    let prefer = group
        .prefer
        .iter()
        .filter_map(|node| nodes.iter().position(|known| *known == node.value))
        .collect();
    let resources = group
        .resources
        .into_iter()
        .map(|resource| {
            let default = default_timeout(&resource.kind);
            Resource {
                name: resource_name(&resource.kind),
                kind: resource.kind,
                start_timeout: resource.start_timeout.unwrap_or(default),
                stop_timeout: resource.stop_timeout.unwrap_or(default),
            }
        })
        .collect();
    Group { name: group.name.value, prefer, failback: group.failback, resources }
}

/// How long a start or stop may take unless something else is written.
pub(super) fn default_timeout(kind: &Kind) -> Duration {
    match kind {
        Kind::Address(_) => ADDRESS_TIMEOUT,
        Kind::Service { .. } | Kind::Script { .. } => SERVICE_TIMEOUT,
    }
}

/// How people call a resource.
pub(super) fn resource_name(kind: &Kind) -> String {
    match kind {
        Kind::Address(Address { address, prefix, .. }) => format_prefixed(*address, *prefix),
        Kind::Service { name, .. } => name.clone(),
        Kind::Script { script, args, .. } => {
            let mut name = script.display().to_string();
            for arg in args {
                name.push_str("::");
                name.push_str(arg);
            }
            name
        }
    }
}

/// `192.168.0.20/24`, or without a prefix length if there is none.
pub(super) fn format_prefixed(address: IpAddr, prefix: Option<u8>) -> String {
    match prefix {
        Some(bits) => format!("{address}/{bits}"),
        None => address.to_string(),
    }
}
