//! What the simulator checks after every event; no part of the real thing.
use super::cluster::Cluster;
use super::id::{GroupId, Incarnation, NodeId, Term};
use super::io::Phase;
use super::time::Instant;

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

    /// This node.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// This start's number.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether a claim of this node's counts on the vote of `voter` at `at`.
    pub fn counts(&self, group: GroupId, voter: NodeId, at: Instant) -> bool {
        let state = &self.groups[group.index()];
        state.claim.is_some() && state.votes[voter.index()].is_some_and(|until| at < until)
    }

    /// Whether at `at` this node gives its vote to nobody but `holder`.
    pub fn is_true_to(&self, group: GroupId, holder: (NodeId, Incarnation), at: Instant) -> bool {
        let blind = self.blind_until(group, self.config.lease(group));
        match self.groups[group.index()].binding(at) {
            Some(grant) => (grant.node, grant.incarnation) == holder,
            None => blind.is_some_and(|end| at < end),
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
