//! What `latido check` says about leases, takeovers, and safety: the times, part by part.
use super::plural;
use crate::config::lease::{Account, Silencer};
use crate::config::{Config, Group, Resource, Rule, format_duration};
use crate::control::safety::{Basis, Gate, Judgement};
use std::fmt::Write as _;
use std::time::Duration;

/// Whether this machine's kernel gives a lease gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tried {
    /// It was not asked, for this reason: the gate is taken for granted.
    Not(&'static str),
    /// It does.
    Works,
    /// It does not, for this reason.
    Missing(String),
    /// The configuration may be another machine's.
    #[default]
    Elsewhere,
}

impl Tried {
    /// Asks the kernel, if that is permitted: nothing is attached, nothing remains.
    pub(super) fn here() -> Tried {
        if !rustix::process::geteuid().is_root() {
            return Tried::Not("that takes root");
        }
        match crate::platform::gate::try_out() {
            Ok(()) => Tried::Works,
            Err(why) => Tried::Missing(why.to_string()),
        }
    }

    fn silencer(&self) -> Silencer {
        match self {
            Tried::Missing(_) => Silencer::Lifetime,
            Tried::Not(_) | Tried::Works | Tried::Elsewhere => Silencer::Gate,
        }
    }

    fn gate(&self) -> Gate {
        match self {
            Tried::Missing(why) => Gate::Missing(why.clone()),
            Tried::Not(_) | Tried::Works | Tried::Elsewhere => Gate::Everywhere,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Tried::Missing(_) => "missing",
            Tried::Works => "works",
            Tried::Not(_) | Tried::Elsewhere => "assumed",
        }
    }
}

/// Each group's lease and worst takeover, part by part.
pub(super) fn text(config: &Config, tried: &Tried) -> String {
    let mut text = String::new();
    let silencer = tried.silencer();
    for group in &config.groups {
        if config.rule == Rule::Majority {
            let lease = config.lease(group, silencer);
            let _ = writeln!(text, "lease     {}: {}", group.name, show(lease.total));
            text.push_str(&parts(&lease));
        }
        let takeover = config.takeover(group, silencer);
        let services = group.resources.iter().any(|one| !one.is_address());
        let _ = writeln!(
            text,
            "takeover  {}: at most {} after a power cut{}",
            group.name,
            show(takeover.total),
            if services { ", and what its services need to start" } else { "" }
        );
        text.push_str(&parts(&takeover));
        text.push_str(&other_way(config, group, silencer));
    }
    if config.rule == Rule::Majority && has_address(config) {
        text.push_str(&assumed(tried));
    }
    text
}

fn parts(account: &Account) -> String {
    let mut text = String::new();
    for part in &account.parts {
        let _ =
            writeln!(text, "            {:<11} {:>9}  {}", part.name, show(part.span), part.source);
    }
    text
}

/// The times with the gate if there is none here, and the other way round, where that matters.
fn other_way(config: &Config, group: &Group, silencer: Silencer) -> String {
    let (other, how) = match silencer {
        Silencer::Gate => (Silencer::Lifetime, "on a node without the lease gate"),
        Silencer::Lifetime => (Silencer::Gate, "on a node with the lease gate"),
    };
    let total = |silencer| config.takeover(group, silencer).total;
    if total(silencer) == total(other) {
        return String::new();
    }
    format!(
        "            {how}: lease {}, takeover at most {}\n",
        show(config.lease(group, other).total),
        show(total(other))
    )
}

fn assumed(tried: &Tried) -> String {
    match tried {
        Tried::Works => "gate      this machine's kernel gives it (tried)\n".into(),
        Tried::Elsewhere => "gate      taken for granted; it was not tried here\n".into(),
        Tried::Not(why) => format!("gate      taken for granted; it was not tried: {why}\n"),
        Tried::Missing(why) => format!("gate      not on this machine: {why}\n"),
    }
}

/// What the rule is worth with this configuration, if everything works.
pub(super) fn judge(config: &Config, tried: &Tried) -> Judgement {
    Basis::of(config, tried.silencer()).as_configured(config, tried.gate())
}

/// The same for people.
pub(super) fn verdict(config: &Config, tried: &Tried) -> String {
    let judged = judge(config, tried);
    if judged.safe {
        return "safety    safe as configured, while all voters hear each other and every clock \
                runs within 1 %:\n          `latido status` says whether that is so\n"
            .into();
    }
    let mut text = format!("safety    NOT SAFE: {}\n", plural(judged.warnings.len(), "reason"));
    for warning in &judged.warnings {
        let _ = writeln!(text, "          * {warning}");
    }
    text
}

/// For programs: a group's lease, its worst takeover and the parts of both.
pub(super) fn json(config: &Config, group: &Group, tried: &Tried) -> serde_json::Value {
    let silencer = tried.silencer();
    let times = |silencer| {
        let lease = (config.rule == Rule::Majority).then(|| config.lease(group, silencer));
        (lease, config.takeover(group, silencer))
    };
    let parts = |account: &Account| -> Vec<serde_json::Value> {
        let part = |part: &crate::config::lease::Part| {
            serde_json::json!({
                "name": part.name, "us": micros(part.span), "source": part.source,
            })
        };
        account.parts.iter().map(part).collect()
    };
    let (lease, takeover) = times(silencer);
    let (without, takeover_without) = times(Silencer::Lifetime);
    serde_json::json!({
        "lease_us": lease.as_ref().map(|lease| micros(lease.total)),
        "lease_ms": lease.as_ref().map(|lease| millis(lease.total)),
        "takeover_us_max": micros(takeover.total),
        "takeover_ms": millis(takeover.total),
        "parts": {
            "lease": lease.as_ref().map(parts),
            "takeover": parts(&takeover),
        },
        "without_gate": {
            "lease_ms": without.map(|lease| millis(lease.total)),
            "takeover_ms": millis(takeover_without.total),
        },
    })
}

/// For programs: what the rule is worth.
pub(super) fn json_quorum(config: &Config, tried: &Tried) -> serde_json::Value {
    let judged = judge(config, tried);
    serde_json::json!({
        "rule": crate::config::rule_name(config.rule),
        "safe": judged.safe,
        "why": judged.why,
        "warnings": judged.warnings,
        "gate": tried.word(),
    })
}

/// The longest of all groups.
pub(super) fn longest(config: &Config, tried: &Tried) -> Duration {
    let takeover = |group| config.takeover(group, tried.silencer()).total;
    let longest = config.groups.iter().map(takeover).max();
    longest.unwrap_or(config.timing.dead + config.timing.interval)
}

fn has_address(config: &Config) -> bool {
    config.groups.iter().flat_map(|group| &group.resources).any(Resource::is_address)
}

/// Below a second as exactly as it matters, else in milliseconds; rounded up.
fn show(span: Duration) -> String {
    let unit = if span < Duration::from_secs(1) { 1_000 } else { 1_000_000 };
    let units = u64::try_from(span.as_nanos().div_ceil(unit)).unwrap_or(u64::MAX);
    format_duration(match unit {
        1_000 => Duration::from_micros(units),
        _ => Duration::from_millis(units),
    })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
