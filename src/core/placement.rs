//! Who should own a group: preference, ability, standby, failback. Pure questions about the tables.
use super::cluster::Cluster;
use super::group::part;
use super::id::{GroupId, NodeId, NodeSet};
use super::io::Phase;
use super::time::{Duration, Instant};

/// The score of a node that can serve a group.
pub(super) const SCORE_ABLE: u8 = 100;

/// A candidate's rank; the smallest wins.
pub(super) type Rank = (bool, bool, u8, usize);

impl Cluster {
    /// How well this node could serve `group`; 0: not at all.
    pub(super) fn score(&self, group: GroupId) -> u8 {
        let state = &self.groups[group.index()];
        let can = state.able && state.failed_until.is_none() && !self.shutting_down;
        let listed = self.config.prefer(group).contains(&self.config.me);
        let connected = if self.config.settle.is_some() { self.guard.references } else { 0 };
        if can && listed { SCORE_ABLE + connected.min(SCORE_ABLE) } else { 0 }
    }

    /// The rank of `node` for `group`; `None` if it cannot take it now.
    pub(super) fn rank(&self, group: GroupId, node: NodeId) -> Option<Rank> {
        self.rank_if(group, node, self.told(group))
    }

    /// The same, where somebody has said (`told`) that differing configurations shall not matter.
    pub(super) fn rank_if(&self, group: GroupId, node: NodeId, told: bool) -> Option<Rank> {
        let place = self.config.prefer(group).iter().position(|listed| *listed == node)?;
        let state = &self.groups[group.index()];
        let (score, last_resort, wanted) = if node == self.config.me {
            let last_resort = self.standby || state.declined;
            (self.score(group), last_resort, state.wanted.is_some())
        } else {
            let peer = &self.peers[node.index()];
            let alive = peer.alive(self.now, self.config.dead) && !self.is_proven(node);
            if !alive || self.differs(node) && !told {
                return None;
            }
            let part = part(&peer.body, group);
            let stuck = matches!(part.phase, Phase::Blocked | Phase::Unknown);
            let score = if peer.body.flags.leaving() || stuck { 0 } else { part.score };
            let last_resort = peer.body.flags.standby() || part.flags.declined();
            (score, last_resort, part.flags.wanted())
        };
        (score > 0).then_some((last_resort, !wanted, u8::MAX - score, place))
    }

    /// All that could own `group` now.
    pub(super) fn candidates(&self, group: GroupId) -> NodeSet {
        self.candidates_if(group, self.told(group))
    }

    /// The same, where somebody has said (`told`) that differing configurations shall not matter.
    pub(super) fn candidates_if(&self, group: GroupId, told: bool) -> NodeSet {
        let can = |node: &NodeId| self.rank_if(group, *node, told).is_some();
        let nodes = self.config.prefer(group).iter().copied();
        nodes.filter(can).fold(NodeSet::EMPTY, NodeSet::with)
    }

    /// How many candidates stand before this node; `None` if it is none itself.
    pub(super) fn place_in_line(&self, group: GroupId) -> Option<u64> {
        let mine = self.rank(group, self.config.me)?;
        let before = self.config.prefer(group).iter();
        let before = before.filter_map(|node| self.rank(group, *node)).filter(|rank| *rank < mine);
        Some(before.count() as u64) // lossless: at most eight
    }

    /// The best node other than this one that could take `group` from it, if the reason to give it
    /// away is `pressing`; otherwise only one that is no last resort and not late: what looks dead
    /// in a moment is given nothing that runs well.
    fn successor(&self, group: GroupId, pressing: bool) -> Option<(Rank, NodeId)> {
        self.successor_if(group, pressing, self.told(group))
    }

    /// The same, where somebody has said (`told`) that differing configurations shall not matter.
    pub(super) fn successor_if(
        &self,
        group: GroupId,
        pressing: bool,
        told: bool,
    ) -> Option<(Rank, NodeId)> {
        let others = self.config.prefer(group).iter().filter(|node| **node != self.config.me);
        let ranked = others.filter_map(|node| Some((self.rank_if(group, *node, told)?, *node)));
        let sound = |rank: &Rank, node: &NodeId| !rank.0 && self.prompt(*node);
        // Whoever must not vote yet could not take it: nothing is handed over in vain.
        let blind = |node: &NodeId| part(&self.peers[node.index()].body, group).flags.blind();
        let ranked = ranked.filter(|(_, node)| !blind(node));
        ranked.filter(|(rank, node)| pressing || sound(rank, node)).min()
    }

    /// Whether a node other than this one is alive and not late.
    pub(super) fn prompt(&self, node: NodeId) -> bool {
        self.peers[node.index()].alive(self.now, self.config.warn)
    }

    /// Whether this node, which runs `group`, should hand it over, and to whom.
    pub(super) fn should_hand_over(&self, group: GroupId) -> Option<NodeId> {
        let state = &self.groups[group.index()];
        let unable = self.score(group) == 0;
        if unable && let Some((_, node)) = self.successor(group, true) {
            return Some(node);
        }
        let (rank, node) = self.successor(group, false)?;
        let asked = !rank.1 || state.hand_back && rank.3 < self.own_place(group);
        let unwilling = self.standby || state.declined;
        let due = self.failback_at(group).is_some_and(|at| self.now >= at);
        let connected = self.connected_at(group).is_some_and(|at| self.now >= at);
        (asked || unwilling || due || connected).then_some(node)
    }

    fn own_place(&self, group: GroupId) -> usize {
        let prefer = self.config.prefer(group);
        prefer.iter().position(|node| *node == self.config.me).unwrap_or(prefer.len())
    }

    /// Notes since when a better placed node could take `group`, if it may return on its own.
    pub(super) fn watch_better(&mut self, group: GroupId) {
        let state = &self.groups[group.index()];
        let returns = self.config.groups.get(group.index()).is_some_and(|group| group.failback);
        let may = returns && state.claim.is_some() && !state.pinned;
        if !may {
            self.groups[group.index()].better = None;
            return;
        }
        let mine = self.own_place(group);
        let as_well = |rank: &Rank| rank.2 <= u8::MAX - self.score(group);
        let successor = self.successor(group, false);
        let better = successor.filter(|(rank, _)| rank.3 < mine && as_well(rank));
        let same = |node: NodeId| state.better.filter(|(known, _)| *known == node);
        self.groups[group.index()].better =
            better.map(|(_, node)| same(node).unwrap_or((node, self.now)));
    }

    /// Notes since when a better connected node could take `group`.
    pub(super) fn watch_connected(&mut self, group: GroupId) {
        let state = &self.groups[group.index()];
        if self.config.settle.is_none() || state.claim.is_none() {
            self.groups[group.index()].connected = None;
            return;
        }
        let worst = u8::MAX - self.score(group);
        let better = self.successor(group, false).filter(|(rank, _)| rank.2 < worst);
        let same = |node: NodeId| state.connected.filter(|(known, _)| *known == node);
        self.groups[group.index()].connected =
            better.map(|(_, node)| same(node).unwrap_or((node, self.now)));
    }

    /// When `group` goes to a better connected node, if nothing changes until then.
    pub(super) fn connected_at(&self, group: GroupId) -> Option<Instant> {
        let (_, since) = self.groups[group.index()].connected?;
        Some(since + self.config.settle?)
    }

    /// When `group` returns on its own to a better placed node, if nothing changes until then.
    pub(super) fn failback_at(&self, group: GroupId) -> Option<Instant> {
        let (_, since) = self.groups[group.index()].better?;
        Some(since + self.failback_delay(group))
    }

    /// The delay before a failback, doubled for each one that did not last.
    fn failback_delay(&self, group: GroupId) -> Duration {
        let unsteady = self.groups[group.index()].unsteady.min(6);
        self.config.failback_delay.times(1 << unsteady)
    }

    /// Whether somebody has moved `group` by hand, here or there: then it moves between nodes whose
    /// configurations differ, too.
    pub(super) fn told(&self, group: GroupId) -> bool {
        let state = &self.groups[group.index()];
        let here = self.standby || state.declined || state.hand_back || state.wanted.is_some();
        here || self.config.others().any(|node| {
            let peer = &self.peers[node.index()];
            let flags = part(&peer.body, group).flags;
            let there = flags.wanted() || flags.declined() || peer.body.flags.standby();
            there && peer.speaks(self.now, self.config.dead)
        })
    }

    /// Whether a living node has other voters: then nothing can be moved to or from it.
    pub(super) fn incomparable(&self, node: NodeId) -> bool {
        let other = self.peers[node.index()].body.voters != self.config.voters_digest;
        other && self.differs(node)
    }

    /// Whether a living node's configuration differs from ours.
    pub(super) fn differs(&self, node: NodeId) -> bool {
        let peer = &self.peers[node.index()];
        let body = &peer.body;
        // A witness has no configuration: its frames answer each node in that one's own terms.
        let other = body.digest != self.config.digest || body.voters != self.config.voters_digest;
        let other = other && !body.flags.witness();
        other && peer.speaks(self.now, self.config.dead)
    }
}
