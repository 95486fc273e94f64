//! Two machines of one name: what is told of it, and the way back for the one that was shut out.
//!
//! A new incarnation replaces a known one, and that one is never heard again: so two machines of
//! one name are one node to everybody else, the one that was started last. Neither a fence nor a
//! takeover may follow from that: whoever takes another machine for us is there, and a machine that
//! nobody listens to any more is no silent one. When the other one has gone, the one that was
//! shut out draws a new incarnation, or nobody would ever listen to it again.
use super::cluster::Cluster;
use super::config::Rule;
use super::id::NodeId;
use super::io::Event;
use super::time::Duration;

/// A node that was shut out draws a new incarnation at the earliest so long after its start, so
/// that nothing can make it start again and again.
const RENEWED_AFTER: Duration = Duration::from_millis(10_000);
/// That two machines have one name is shown for so long after it was last seen.
const SHOWN: Duration = Duration::from_millis(10_000);

impl Cluster {
    /// Tells of names that two machines have, and notes when ours is free again.
    pub(super) fn watch_names(&mut self) {
        let (now, dead) = (self.now, self.config.dead);
        for node in self.config.voters() {
            let peer = &self.peers[node.index()];
            let span = self.config.interval.times(3);
            let elsewhere = peer.is_long_elsewhere(now, dead, span);
            let twin = self.has_twin(node);
            let told = self.told_disputed.contains(node);
            self.told_disputed.set(node, elsewhere || twin);
            if told {
                continue;
            }
            if elsewhere {
                self.events.push(Event::Namesake(self.config.me));
            }
            if twin {
                self.events.push(Event::Twins(node));
            }
        }
        let misses = |node: NodeId| self.peers[node.index()].misses_us(now, dead);
        if !self.config.voters().any(misses) {
            self.renew_at = self.renew_at.filter(|_| self.renew_told);
        } else if self.renew_at.is_none() {
            // Not at the same moment as another one of the same name.
            let pause = self.one_to_two(dead);
            self.renew_at = Some((self.started + RENEWED_AFTER).max(now) + pause);
        }
    }

    /// Whether two machines were heard under the name of `node` lately.
    pub(super) fn has_twin(&self, node: NodeId) -> bool {
        self.peers[node.index()].has_twin(self.now, SHOWN.max(self.config.dead))
    }

    /// Whether the silence of `node` says nothing, because two machines have one name. Under
    /// `majority` nothing follows from silence alone.
    pub(super) fn is_disputed(&self, node: NodeId) -> bool {
        let peer = &self.peers[node.index()];
        self.config.rule != Rule::Majority && peer.is_disputed(self.now, self.config.dead)
    }
}
