//! Digests, and what differs between two nodes' configurations.
//!
//! Two nodes must agree on what is cluster-wide: nodes, times, rule, groups. Links, devices, paths
//! and the log are each node's own.
use super::check::format_prefixed;
use super::{
    Address, Config, Failback, Group, Kind, Medium, Resource, Rule, StopFailure, format_duration,
};
use sha2::{Digest, Sha256};

impl Config {
    /// Tells this cluster's frames from another's; from the name alone.
    pub fn cluster_tag(&self) -> u32 {
        tag_of(&self.cluster)
    }

    /// Of everything cluster-wide. Equal on two nodes whose files are equal.
    pub fn digest(&self) -> u32 {
        let facts = self.facts();
        digest(facts.iter().flat_map(|fact| [fact.what.as_str(), fact.value.as_str()]))
    }

    /// Of the list of voters.
    pub fn voters_digest(&self) -> u32 {
        digest(["voters"].into_iter().chain(self.voters()))
    }

    /// The names of all who vote.
    pub fn voters(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().chain(&self.witnesses).map(String::as_str)
    }

    /// Everything cluster-wide, in a fixed order.
    fn facts(&self) -> Vec<Fact> {
        let timing = &self.timing;
        let time = |what: &str, span| Fact::new(what, format_duration(span));
        let mut facts = vec![
            Fact::new("cluster", self.cluster.clone()),
            Fact::new("nodes", self.nodes.join(", ")),
            Fact::new("witnesses, in this order", self.witnesses.join(", ")),
            time("interval (keepalive)", timing.interval),
            time("warn (warntime)", timing.warn),
            time("dead (deadtime)", timing.dead),
            time("initial dead (initdead)", timing.initial_dead),
            time("failback delay", timing.failback_delay),
            Fact::new("rule", rule_name(self.rule)),
            Fact::new("stop failure", stop_failure_name(self.stop_failure)),
        ];
        facts.extend(self.guard_facts().into_iter().map(|(what, value)| Fact::new(what, value)));
        if self.rule == Rule::Fencing {
            facts.push(time("fence delay", self.fencing.delay));
        }
        let names: Vec<&str> = self.groups.iter().map(|group| group.name.as_str()).collect();
        facts.push(Fact::new("groups, in this order", names.join(", ")));
        for group in &self.groups {
            facts.extend(self.group_facts(group));
        }
        facts
    }

    fn group_facts(&self, group: &Group) -> [Fact; 3] {
        let nodes: Vec<&str> = group
            .prefer
            .iter()
            .filter_map(|node| self.nodes.get(*node))
            .map(String::as_str)
            .collect();
        let resources: Vec<String> = group.resources.iter().map(describe).collect();
        let about = |what: &str| format!("{what} of group {}", group.name);
        [
            Fact::new(about("preferred nodes"), nodes.join(", then ")),
            Fact::new(about("failback"), failback_name(group.failback)),
            Fact::new(about("resources"), resources.join(" → ")),
        ]
    }
}

/// One cluster-wide setting.
struct Fact {
    what: String,
    value: String,
}

impl Fact {
    fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Fact { what: what.into(), value: value.into() }
    }
}

/// The first 32 bits of SHA-256 over the parts, each preceded by its length.
fn digest<'a>(parts: impl Iterator<Item = &'a str>) -> u32 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let sum = hash.finalize();
    u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])
}

/// What a group or a witness is called in frames and in the memory: CRC-32C of its name.
pub fn name_hash(name: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(name.as_bytes())
}

/// The tag of the cluster of this name.
pub fn tag_of(cluster: &str) -> u32 {
    digest(["cluster", cluster].into_iter())
}

/// The name with this tag, if it is `name` in another spelling. A tag is only a hash: others have
/// to be asked for theirs.
pub(crate) fn other_spelling(name: &str, tag: u32) -> Option<String> {
    let lower = name.to_lowercase();
    let mut letters = lower.chars();
    let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect());
    let capital: String = capital.unwrap_or_default();
    let bare = name.trim().to_owned();
    let spellings = [lower, capital, name.to_uppercase(), bare, format!("{name} ")];
    let others = [
        name.replace('-', "_"),
        name.replace('_', "-"),
        name.replace(['-', '_', ' '], ""),
        name.replace(' ', "-"),
    ];
    let mut all = spellings.into_iter().chain(others);
    all.find(|other| other != name && tag_of(other) == tag)
}

/// How a rule is written.
pub(crate) fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::AssumeDead => "assume-dead",
        Rule::Fencing => "fencing",
        Rule::Majority => "majority",
    }
}

/// How it is written.
pub(crate) fn stop_failure_name(stop_failure: StopFailure) -> &'static str {
    match stop_failure {
        StopFailure::Release => "release",
        StopFailure::Block => "block",
        StopFailure::Reset => "reset",
        StopFailure::Fence => "fence",
    }
}

/// How it is written.
pub(crate) fn failback_name(failback: Failback) -> &'static str {
    match failback {
        Failback::Auto => "auto",
        Failback::Manual => "manual",
    }
}

/// A resource in words; directories of scripts are left out, they are each node's own.
pub(crate) fn describe(resource: &Resource) -> String {
    let mut text = match &resource.kind {
        Kind::Address(address) => describe_address(address),
        Kind::Service { name, .. } => format!("service {name}"),
        Kind::Script { .. } => format!("script {}", resource.name),
    };
    let default = super::check::default_timeout(&resource.kind);
    if resource.start_timeout != default {
        text.push_str(&format!(" (start within {})", format_duration(resource.start_timeout)));
    }
    if resource.stop_timeout != default {
        text.push_str(&format!(" (stop within {})", format_duration(resource.stop_timeout)));
    }
    text
}

fn describe_address(address: &Address) -> String {
    let mut text = format_prefixed(address.address, address.prefix);
    match (&address.label, &address.interface) {
        (Some(label), _) => text.push_str(&format!(" on {label}")),
        (None, Some(interface)) => text.push_str(&format!(" on {interface}")),
        (None, None) => {}
    }
    if let Some(broadcast) = address.broadcast {
        text.push_str(&format!(" broadcast {broadcast}"));
    }
    if address.virtual_mac.is_some() {
        text.push_str(" with a virtual MAC");
    }
    text
}

/// What two nodes' configurations disagree on, one line each; empty if they can work together.
pub fn differences(a: &Config, b: &Config) -> Vec<String> {
    let (here, there) = (a.source.path().display(), b.source.path().display());
    let (ours, theirs) = (a.facts(), b.facts());
    let mut lines = Vec::new();
    for fact in &ours {
        // A group that only one has shows in the list of groups.
        let other = theirs.iter().find(|other| other.what == fact.what);
        if let Some(other) = other.filter(|other| other.value != fact.value) {
            let (what, value, other) = (&fact.what, &fact.value, &other.value);
            lines.push(format!("{what}: `{value}` in {here}, but `{other}` in {there}"));
        }
    }
    if another_order(a, b) {
        let names = |config: &Config| {
            let names: Vec<&str> = config.links.iter().map(|link| link.name.as_str()).collect();
            names.join(", ")
        };
        lines.push(format!(
            "the order of the links: `{}` in {here}, but `{}` in {there}; a link is known by its \
             place in the list",
            names(a),
            names(b)
        ));
    }
    for (one, two) in [(a, b), (b, a)] {
        let accepted =
            two.keys.keys.iter().any(|key| one.keys.keys.contains(key) && key.0 == one.keys.active);
        if !accepted {
            let (one, two) = (one.source.path().display(), two.source.path().display());
            lines.push(format!("keys: {two} does not accept the key that {one} sends with"));
        }
    }
    lines
}

/// Whether both list the same links, but in another order: each would take a peer's word on one
/// for its word on another. Links that only one of them has are its own affair.
fn another_order(a: &Config, b: &Config) -> bool {
    let differ = |mut ours: Vec<String>, mut theirs: Vec<String>| {
        let differ = ours != theirs;
        ours.sort();
        theirs.sort();
        differ && ours == theirs
    };
    let names = |config: &Config| config.links.iter().map(|link| link.name.clone()).collect();
    // Interfaces and devices may be called otherwise there.
    let ends = |config: &Config| config.links.iter().map(|link| both_ends(&link.medium)).collect();
    differ(names(a), names(b)) || differ(ends(a), ends(b))
}

/// What the two ends of a link have in common.
fn both_ends(medium: &Medium) -> String {
    match medium {
        Medium::Broadcast { port, .. } => format!("broadcast {port}"),
        Medium::Multicast { port, group, .. } => format!("multicast {group} {port}"),
        Medium::Unicast { port, .. } => format!("unicast {port}"),
        Medium::Ethernet { vlan, ethertype, .. } => format!("ethernet {vlan:?} {ethertype}"),
        Medium::Serial { baud, .. } => format!("serial {baud}"),
    }
}
