//! What the simulator checks after every event; no part of the real thing.
use super::cluster::Cluster;
use super::id::{GroupId, Incarnation, NodeId, Term};
use super::io::Phase;

/// One group as the node's tables have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What it does with it.
    pub phase: Phase,
    /// The ownership that it claims.
    pub claim: Option<Term>,
    /// To whom its vote is bound.
    pub grant: Option<(NodeId, Incarnation)>,
}

impl Cluster {
    /// One group as it stands.
    pub fn inspect(&self, group: GroupId) -> Inspected {
        let state = &self.groups[group.index()];
        Inspected {
            phase: state.phase,
            claim: state.claim.map(|claim| claim.term),
            grant: state.binding(self.now).map(|grant| (grant.node, grant.incarnation)),
        }
    }

    /// Whether `node` is alive to this one.
    pub fn hears(&self, node: NodeId) -> bool {
        self.peers[node.index()].alive(self.now, self.config.dead)
    }

    /// Whether claims are made.
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}
