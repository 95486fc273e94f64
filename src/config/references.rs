//! References: addresses that tell whether a node itself is still connected, and the probe of an
//! address before it is taken over.
use super::check::resource_name;
use super::diagnostic::{At, Located, Report};
use super::raw::RawGroup;
use super::{Config, Kind, Rule, Timing, format_duration, values};
use std::net::IpAddr;
use std::time::Duration;

/// References of one configuration; each is a host, or a list of hosts.
const REFERENCES_MAX: usize = 16;
/// Hosts of all references together.
const HOSTS_MAX: usize = 64;
/// Routers answer echo requests when they have nothing better to do: below this time a missing
/// answer says little. While a peer is late it is asked more often, whatever this time is.
const DEAD_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What tells whether this node is connected (Heartbeat's `ping` nodes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The references; of each, one of its hosts (addresses or names) has to answer.
    pub hosts: Vec<Vec<String>>,
    /// Between two echo requests to a host.
    pub interval: Duration,
    /// Without an answer for so long, a host is out of reach (Heartbeat's `deadping`).
    pub dead: Duration,
    /// How long another node must have reached more references before the groups go there;
    /// `None`: references only hold back takeovers (Heartbeat without `ipfail`).
    pub settle: Option<Duration>,
}

impl References {
    /// How people call one of them: `192.168.0.1`, `192.168.0.2 or 192.168.0.3`.
    pub fn name(&self, index: usize) -> String {
        self.hosts.get(index).map_or_else(String::new, |hosts| hosts.join(" or "))
    }
}

/// References as written; times that are not written have defaults.
#[derive(Default)]
pub(super) struct RawReferences {
    /// Where they stand, if they do.
    pub(super) at: Option<At>,
    pub(super) hosts: Vec<Vec<Located<String>>>,
    pub(super) interval: Option<Located<Duration>>,
    pub(super) dead: Option<Located<Duration>>,
    pub(super) settle: Settle,
}

/// When groups go to a node that reaches more references.
#[derive(Default)]
pub(super) enum Settle {
    /// After the usual time.
    #[default]
    Usual,
    /// After this time.
    After(Located<Duration>),
    /// They do not.
    Never,
}

/// Checks the references and fills in their times.
pub(super) fn check(
    raw: &RawReferences,
    timing: &Timing,
    groups: &[RawGroup],
    report: &mut Report,
) -> References {
    let Some(at) = raw.at else { return References::default() };
    check_hosts(&raw.hosts, at, groups, report);
    let written = |time: &Option<Located<Duration>>| time.as_ref().map(|time| time.value);
    let dead = written(&raw.dead).unwrap_or(timing.dead.max(DEAD_MIN));
    let interval = written(&raw.interval).unwrap_or((dead / 5).min(INTERVAL_MAX));
    // Two nodes notice the same loss at most `dead` and an interval apart.
    let settle = match &raw.settle {
        Settle::Usual => Some(dead * 2),
        Settle::After(time) => Some(time.value),
        Settle::Never => None,
    };
    let place = |time: &Option<Located<Duration>>| time.as_ref().map_or(at, |time| time.at);
    let show = format_duration;
    if interval < Duration::from_millis(1) || interval > Duration::from_secs(3600) {
        let message = format!("references cannot be asked every {}", show(interval));
        report.error(place(&raw.interval), message, "from 1ms to 1h; a fifth of `dead` is usual");
    } else if dead <= interval * 2 {
        let message = format!(
            "the references' dead time ({}) must be more than two of their intervals ({})",
            show(dead),
            show(interval)
        );
        let here = if raw.dead.is_some() { &raw.dead } else { &raw.interval };
        report.error(place(here), message, "five intervals are usual");
    }
    if dead > Duration::from_secs(86_400) {
        report.error(place(&raw.dead), "longer than a day", "at most 24h");
    }
    if let Settle::After(time) = &raw.settle {
        if time.value > Duration::from_secs(86_400) {
            report.error(time.at, "longer than a day", "at most 24h; `settle = false`: never");
        } else if time.value < interval * 2 {
            let message = format!(
                "settle ({}) is shorter than two of the references' intervals ({}): groups move \
                 whenever one node notices a loss before the other",
                show(time.value),
                show(interval)
            );
            report.warning(time.at, message, format!("{} or more", show(dead)));
        }
    }
    let hosts = |list: &Vec<Located<String>>| list.iter().map(|host| host.value.clone()).collect();
    References { hosts: raw.hosts.iter().map(hosts).collect(), interval, dead, settle }
}

fn check_hosts(lists: &[Vec<Located<String>>], at: At, groups: &[RawGroup], report: &mut Report) {
    const CURE: &str = "name what both nodes should reach on the clients' side: a router, a switch";
    if lists.is_empty() {
        report.error(at, "no references are named", CURE);
    }
    if lists.len() > REFERENCES_MAX || lists.iter().flatten().count() > HOSTS_MAX {
        let message = format!("more than {REFERENCES_MAX} references or {HOSTS_MAX} hosts");
        report.error(at, message, "two or three are enough");
    }
    let mut seen: Vec<&str> = Vec::new();
    for host in lists.iter().flatten() {
        if let Err(cure) = values::peer(&host.value) {
            report.error(host.at, format!("`{}` is no address", host.value), cure);
        } else if let Some(why) = useless(&host.value, groups) {
            report.error(host.at, format!("{} tells nothing: {why}", host.value), CURE);
        }
        if seen.contains(&host.value.as_str()) {
            let message = format!("{} is there twice: it would count twice", host.value);
            report.error(host.at, message, "name it once");
        }
        seen.push(&host.value);
    }
}

/// Why a host would say nothing about this node's connection.
fn useless(host: &str, groups: &[RawGroup]) -> Option<String> {
    let address: IpAddr = host.parse().ok()?;
    let moves = |kind: &Kind| matches!(kind, Kind::Address(own) if own.address == address);
    if address.is_loopback() || address.is_unspecified() {
        return Some("every machine is that for itself".to_string());
    }
    if address.is_multicast() || address == IpAddr::from([255; 4]) {
        return Some("it is not the address of one machine".to_string());
    }
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Some("a link-local address is another machine on every interface".to_string());
    }
    let mut resources =
        groups.iter().flat_map(|group| group.resources.iter().map(move |one| (group, one)));
    let (group, resource) = resources.find(|(_, resource)| moves(&resource.kind))?;
    let name = resource_name(&resource.kind);
    Some(format!("{name} moves with group {}", group.name.value))
}

/// Whether addresses are probed before a takeover, if nothing is written.
pub(super) fn probe_by_default(rule: Rule) -> bool {
    rule == Rule::AssumeDead
}

impl Config {
    /// The references and the probe in words, for the comparison of two nodes.
    pub(super) fn guard_facts(&self) -> Vec<(&'static str, String)> {
        let references = &self.references;
        let yes_no = |yes| if yes { "yes" } else { "no" };
        let mut facts = vec![("probe before a takeover", yes_no(self.probe).to_string())];
        let names: Vec<String> =
            (0..references.hosts.len()).map(|index| references.name(index)).collect();
        if names.is_empty() {
            facts.push(("references", "none".to_string()));
            return facts;
        }
        facts.push(("references", names.join(", ")));
        facts.push(("interval of references", format_duration(references.interval)));
        facts.push(("dead of references (deadping)", format_duration(references.dead)));
        let settle = references.settle.map_or("never (no ipfail)".to_string(), format_duration);
        facts.push(("settle of references", settle));
        facts
    }

    /// `[references]` as text, empty without references.
    pub(super) fn references_table(&self, quote: impl Fn(&str) -> String) -> String {
        let References { hosts, interval, dead, settle } = &self.references;
        if hosts.is_empty() {
            return String::new();
        }
        let list = |hosts: &Vec<String>| {
            let quoted: Vec<String> = hosts.iter().map(|host| quote(host)).collect();
            match &quoted[..] {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            }
        };
        let lists: Vec<String> = hosts.iter().map(list).collect();
        let settle = settle
            .map_or("false   # groups stay; only takeovers are held back".into(), |time| {
                format!("\"{}\"", format_duration(time))
            });
        format!(
            "\n[references]\nhosts = [{}]\ninterval = \"{}\"\ndead = \"{}\"\nsettle = {settle}\n",
            lists.join(", "),
            format_duration(*interval),
            format_duration(*dead)
        )
    }
}
