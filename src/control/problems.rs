//! What needs somebody: the sentences that stand first in `latido status`.
use super::report::{GroupReport, NodeReport, Report};
use crate::core::time::Duration;
use crate::tell::span;

/// What needs somebody, most urgent first, each with what to do.
pub fn problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(daemon_problems(report));
    problems.extend(super::watchdog::problems(report));
    problems.extend(report.unfit.iter().map(|why| {
        format!("{} is not fit: {why}. Its groups go to another node, if one can.", report.node)
    }));
    let (urgent, later): (Vec<_>, Vec<_>) =
        report.groups.iter().partition(|group| group.state == "blocked" || group.failed_here);
    problems.extend(urgent.into_iter().filter_map(|group| group_problem(group, report)));
    // It may be why groups run nowhere.
    for node in report.nodes.iter().filter(|node| node.config_differs) {
        problems.push(format!(
            "{} has another configuration. Copy the file and `latido reload`, or say so: `latido \
             takeover`",
            node.name
        ));
    }
    let missing =
        |node: &NodeReport| !node.me && !matches!(&*node.state, "alive" | "late" | "left");
    if report.nodes.iter().chain(&report.witnesses).any(missing) {
        problems.extend(report.stranger.iter().map(|stranger| format!("{stranger}.")));
    }
    problems.extend(report.quorum.urgent.iter().map(|warning| format!("{warning}.")));
    problems.extend(super::guards::problems(report));
    problems.extend(later.into_iter().filter_map(|group| group_problem(group, report)));
    for node in report.nodes.iter().filter(|node| !node.me) {
        problems.extend(super::fence::problems(node, report));
        problems.extend(node_problems(node, report));
    }
    for witness in &report.witnesses {
        problems.extend(witness_problem(witness, report));
    }
    for link in report.links.iter().filter(|link| !link.up) {
        let why = link.error.as_deref().unwrap_or("no carrier, or the device is missing");
        problems.push(format!(
            "link {} is down here: {why}. Look at its cable and its name.",
            link.name
        ));
    }
    for node in report.nodes.iter().filter(|node| node.standby) {
        problems.push(format!(
            "{} is in standby and takes nothing. To end that, there: latido failback",
            node.name
        ));
    }
    problems.extend(report.log_trouble.clone());
    for warning in &report.realtime.warnings {
        problems.push(warning.clone());
    }
    problems
}

fn daemon_problems(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    if report.supervisor_gone {
        problems.push(
            "the supervisor is gone: nobody starts the engine again if it dies. At a quiet \
             moment: `latido stop`, then start the service again."
                .to_owned(),
        );
    }
    if let Some(time) = &report.namesake {
        problems.push(format!(
            "somebody else sends with our key as {} (last told at {time}): is another machine \
             running under this name (--node, `uname -n`)? Rename one of them.",
            report.node
        ));
    }
    problems
}

fn group_problem(group: &GroupReport, report: &Report) -> Option<String> {
    let name = &group.name;
    let mend = format!("Mend it, then: latido failback --group {name}");
    if group.state == "blocked" {
        let owner = group.owner.as_deref().unwrap_or(&report.node);
        return Some(format!(
            "{name} is blocked on {owner}: a resource could not be stopped, so nobody may start \
             it. Stop it there by hand, then there: latido failback --group {name}"
        ));
    }
    if group.failed_here {
        return Some(format!(
            "{name} failed to start on this node; its log names the resource. {mend}"
        ));
    }
    if group.owner.is_none() && report.ready && !report.shutting_down {
        let silent = report.nodes.iter().find(|node| {
            node.name != report.node && node.state == "dead" && group.prefer.contains(&node.name)
        });
        let text = if let Some(node) = silent.filter(|_| !group.candidates.is_empty()) {
            return Some(format!(
                "{name} runs on no node that is heard here; {}, which is silent, may still run it.",
                node.name
            ));
        } else if group.candidates.is_empty() {
            "runs nowhere: no node is alive, willing and able. Look at the problems below, at \
             failed starts and at standby"
        } else {
            "runs nowhere yet"
        };
        return Some(format!("{name} {text}."));
    }
    let mine = group.prefer.contains(&report.node);
    (mine && !group.able && report.ready).then(|| {
        format!(
            "{name} cannot run on this node: an interface of its addresses has no carrier. Look \
             at the LAN cable."
        )
    })
}

/// A witness that does not vote: what the next failure costs.
fn witness_problem(witness: &NodeReport, report: &Report) -> Option<String> {
    let name = &witness.name;
    let silent = witness.silence_ms.map_or("a while".into(), |ms| span(Duration::from_millis(ms)));
    let state = match witness.state.as_str() {
        "dead" => format!("is dead: silent on every link for {silent}"),
        "seen" => "is heard but does not hear us".to_owned(),
        "unknown" if report.ready => {
            "was never heard: does it run, with this cluster's key and name, on one of these links?"
                .to_owned()
        }
        _ => return None,
    };
    let all = || report.nodes.iter().chain(&report.witnesses);
    let votes = |node: &&NodeReport| node.me || matches!(node.state.as_str(), "alive" | "late");
    let (left, voters) = (all().filter(votes).count(), all().count());
    let cost = match left.checked_sub(voters / 2 + 1) {
        None => "too few voters are left: every group is stopped, or about to be".to_owned(),
        Some(0) => "another failure stops every group".to_owned(),
        Some(more) => format!("{left} of {voters} voters are left, {more} more may fail"),
    };
    Some(format!("witness {name} {state}. Look at its power and its cables; {cost}."))
}

fn node_problems(node: &NodeReport, report: &Report) -> Vec<String> {
    let name = &node.name;
    let silent = node.silence_ms.map_or("a while".into(), |ms| span(Duration::from_millis(ms)));
    let mut problems = Vec::new();
    let unsealed = report.counters.unsealed;
    let same = if unsealed == 0 {
        " If it runs: the same key and the same [cluster] name on both?"
    } else {
        ""
    };
    let state = match node.state.as_str() {
        "dead" => Some(format!(
            "{name} is dead: silent on every link for {silent}. Look at its power and its cables; \
             until it is back there is no second node.{same}"
        )),
        "late" => Some(format!("{name} is late: silent for {silent}. Watch it.")),
        "left" => Some(format!(
            "{name} was stopped on purpose. Start it again: no second node till then."
        )),
        "seen" => Some(format!(
            "{name} is heard but does not hear us. Look at our transmitting side and its firewall."
        )),
        "unknown" if report.ready => Some(format!(
            "{name} was never heard. Is latido running there, are cables and keys the same?"
        )),
        _ => None,
    };
    problems.extend(state);
    if unsealed > 0 && !matches!(node.state.as_str(), "alive" | "late" | "left") {
        problems.push(format!(
            "frames arrive that our key does not open ({unsealed} so far): is the key file the \
             same on {name} and here?"
        ));
    }
    if matches!(node.state.as_str(), "alive" | "late") {
        let one_way = || node.links.iter().filter(|link| link.state == "one-way");
        // It hears us and we hear it, yet on no link both: broken twice, or taken for another.
        let crossed = one_way().count() > 1 && node.links.iter().all(|link| link.state != "up");
        if crossed {
            let names: Vec<&str> = one_way().map(|link| link.name.as_str()).collect();
            problems.push(format!(
                "links {} to {name} each work one way only, yet {name} and we hear each other: \
                 does its configuration list the links in another order? A link is known by its \
                 place. `latido check --config OURS --config THEIRS` compares; else look at cables \
                 and firewalls.",
                names.join(" and ")
            ));
        }
        let told = |state: &str| state == "up" || crossed && state == "one-way";
        for link in node.links.iter().filter(|link| !told(&link.state)) {
            let how = if link.state == "one-way" { "works one way only" } else { "is silent" };
            problems.push(format!(
                "link {} to {name} {how}; other links go on. Look at its cable and firewalls.",
                link.name
            ));
        }
    }
    problems
}
