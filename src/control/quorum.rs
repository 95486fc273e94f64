//! What `latido status` says of the quorum rule: whether it is safe now, and why.
use super::Snapshot;
use super::report::Facts;
use super::safety::{Basis, Doubts, Evidence, Judgement, Power, Voter, judge};
use crate::core::Config;
use crate::core::id::NodeId;
use crate::platform::slew;
use serde::{Deserialize, Serialize};

/// Who may own a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quorum {
    /// The rule's name.
    pub rule: String,
    /// Whether two nodes can never own one group at once.
    pub safe: bool,
    /// Why, or why not: one sentence.
    pub why: String,
    /// Everything that stands against it, most important first, each with its cure.
    pub warnings: Vec<String>,
    /// Those of them that ask for somebody now and are not among the nodes' and links' problems.
    pub urgent: Vec<String>,
    /// Every voter was heard showing this list of voters.
    pub in_force: bool,
}

/// Whether two nodes can never own one group at once, as far as this node knows now.
pub(super) fn report(snapshot: &Snapshot, facts: &Facts) -> Quorum {
    let status = &snapshot.status;
    let named = |(index, name)| Some((NodeId::new(index)?, name, false));
    let nodes = || facts.names.nodes.iter().enumerate().filter_map(named);
    let witnesses = facts.names.witnesses.iter().enumerate();
    let witnesses =
        witnesses.filter_map(|(place, name)| Some((Config::witness(place)?, name, true)));
    let others = nodes().chain(witnesses).filter(|(node, ..)| *node != status.me);
    let voter = |(node, name, witness): (NodeId, &String, bool)| {
        let known = &status.nodes[node.index()];
        Voter {
            name: name.clone(),
            witness,
            state: known.state,
            differs: known.differs,
            other_voters: known.other_voters,
            doubts: Doubts { lied: known.lied, elsewhere: known.elsewhere, twins: known.twins },
        }
    };
    let power = |node: NodeId, name: &str| Power {
        node: name.to_owned(),
        devices: facts.fences.of(node).devices,
    };
    let basis = Basis { watchdog: facts.watchdog.works(), ..facts.basis.clone() };
    let Judgement { safe, why, warnings, urgent } = judge(&Evidence {
        basis: &basis,
        gate: facts.gate.stands(),
        slew: slew::look().map_err(|error| error.to_string()),
        voters: others.map(voter).collect(),
        power: nodes().map(|(node, name, _)| power(node, name)).collect(),
        in_force: status.in_force,
        unsaved: status.unsaved,
    });
    let rule = facts.rule.clone();
    Quorum { rule, safe, why, warnings, urgent, in_force: status.in_force }
}
