//! References, and what the guards of `assume-dead` hold back, for `latido status`.
use super::report::{GroupReport, Report};
use crate::core::io::{Doubt, GroupStatus};
use crate::core::time::{Duration, Instant};
use crate::reference::{Board, Seen};
use crate::tell::{Names, span};
use serde::{Deserialize, Serialize};

/// One reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReferenceReport {
    /// Its host, or its hosts: `192.168.0.2 or 192.168.0.3`.
    pub name: String,
    /// It answers; none: not known yet.
    pub reached: Option<bool>,
    /// For how long it has done so, or not.
    pub since_ms: Option<u64>,
    /// Round trip of the last answer, in microseconds.
    pub rtt_us: Option<u64>,
    /// What stands in the way, if that is known.
    pub why: Option<String>,
}

/// All references, in the order of the configuration.
pub(super) fn references(board: &Board, now: Instant) -> Vec<ReferenceReport> {
    let report = |seen: Seen| ReferenceReport {
        since_ms: seen.reached.map(|_| now.since(seen.since).millis()),
        name: seen.name,
        reached: seen.reached,
        rtt_us: seen.rtt,
        why: seen.why,
    };
    board.look().into_iter().map(report).collect()
}

/// Why a group is not taken over from a silent node.
pub(super) fn held_back(known: &GroupStatus, names: &Names) -> Option<String> {
    let (node, doubt) = known.held_back?;
    let node = names.node(node);
    Some(match doubt {
        Doubt::Answers => format!("{node} still answers for its addresses"),
        Doubt::Beats => format!("the heartbeat wire of {node} still beats"),
        Doubt::References(ours, theirs) => {
            format!("this node reaches {ours} references, {node} reached {theirs}: it is us")
        }
    })
}

/// What needs somebody.
pub(super) fn problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    for group in &report.groups {
        problems.extend(held_back_problem(group));
    }
    let silent: Vec<&ReferenceReport> =
        report.references.iter().filter(|one| one.reached == Some(false)).collect();
    if silent.is_empty() {
        return problems;
    }
    let all = report.references.len();
    let ours = report.references.iter().filter(|one| one.reached == Some(true)).count();
    let heard = |state: &str| matches!(state, "alive" | "late");
    let others = report.nodes.iter().filter(|node| !node.me && heard(&node.state));
    let best = others.max_by_key(|node| node.references);
    let theirs = best.map_or(0, |node| usize::from(node.references));
    let us = format!("this node reaches {ours} of {all} references");
    match best {
        Some(node) if theirs > ours => problems.push(format!(
            "{us}: it is us, {} reaches {theirs}. Look at this node's network cable and switch.",
            node.name
        )),
        None if ours == 0 => problems.push(format!(
            "{us}: it is us, or all of them are off. Look at this node's network cable and switch."
        )),
        _ => {
            let name = |one: &&ReferenceReport| match &one.why {
                Some(why) => format!("{} ({why})", one.name),
                None => one.name.clone(),
            };
            let names: Vec<String> = silent.iter().map(name).collect();
            problems.push(format!(
                "references that do not answer: {}. Look at them; where no node reaches them, \
                 nothing moves for it.",
                names.join(", ")
            ));
        }
    }
    problems
}

fn held_back_problem(group: &GroupReport) -> Option<String> {
    let why = group.held_back.as_ref()?;
    let cure = if why.ends_with("it is us") {
        "Look at this node's network."
    } else {
        "Look at the heartbeat links; if that node is certainly off: latido confirm-dead."
    };
    Some(format!("{} is not taken over although its owner is silent: {why}. {cure}", group.name))
}

/// The line of a reference on the screen, without its indent.
pub(crate) fn line(reference: &ReferenceReport) -> String {
    let since = reference.since_ms.map(|ms| span(Duration::from_millis(ms))).unwrap_or_default();
    let rtt =
        reference.rtt_us.map(|us| format!(", round trip {}", span(Duration::from_micros(us))));
    let why = reference.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match reference.reached {
        Some(true) => format!("reached for {since}{}", rtt.unwrap_or_default()),
        Some(false) => format!("not reached for {since}{why}"),
        None => format!("not known yet{why}"),
    }
}
