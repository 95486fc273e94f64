//! Frames of somebody who should not be there: another machine of our name, a node with another
//! key, another cluster that has our key. They decide nothing; people are told.
use super::cluster::Cluster;
use super::id::{LinkId, NodeId};
use super::io::{Event, Stranger};
use super::limits::FRAME_MAX;
use super::time::{Duration, Instant};
use super::wire::{Body, Header};

/// Another cluster's frames are looked into so often, however many come.
const LISTEN: Duration = Duration::from_millis(1000);

/// Other clusters' frames that our key opens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strangers {
    pub(super) last: Option<Stranger>,
    count: u32,
    next: Instant,
}

impl Cluster {
    /// An authentic frame in our name that we did not send: another machine of that name, or an old
    /// recording.
    pub(super) fn own_frame(&mut self, header: &Header) {
        self.counters.own += 1;
        if header.incarnation == self.incarnation {
            // Newer than what we sent, or it would not have been opened: we are there twice.
            self.events.push(Event::Clone(header.node));
            self.cloned = true;
            return;
        }
        // Told at the first, the second, the fourth …: a recording must not fill the log.
        let told = !self.counters.own.is_power_of_two();
        if Some(header.incarnation) != self.predecessor && !told {
            self.events.push(Event::Namesake(header.node));
        }
    }

    /// A peer that is not there, but whose frames come: told at the 4th, the 8th, the 16th …, so
    /// that nobody can fill the log.
    pub(super) fn tell_unsealed(&mut self, node: NodeId, link: LinkId) {
        let count = self.counters.unsealed;
        let there = self.peers[node.index()].alive(self.now, self.config.dead);
        if count >= 4 && count.is_power_of_two() && !there && node != self.config.me {
            self.events.push(Event::Unsealed(node, link));
        }
    }

    /// A frame of another cluster. While one of ours is missing, it is worth knowing whether that
    /// is it, with our key and another name: looked into now and then. What it says counts for
    /// nothing, and may be a recording.
    pub(super) fn stranger(&mut self, link: LinkId, header: &Header, bytes: &[u8]) {
        let (now, dead) = (self.now, self.config.dead);
        if now < self.strangers.next {
            return;
        }
        self.strangers.next = now + LISTEN;
        if self.config.voters().all(|node| self.peers[node.index()].speaks(now, dead)) {
            return;
        }
        let mut clear = [0; FRAME_MAX];
        let Ok(text) = self.config.keys.open(header, bytes, &mut clear) else { return };
        let voters = Body::decode(text).map(|body| body.voters);
        let stranger = Stranger {
            node: header.node,
            tag: header.tag,
            same_voters: voters == Ok(self.config.voters_digest),
            at: now,
        };
        self.strangers.last = Some(stranger);
        self.strangers.count = self.strangers.count.saturating_add(1);
        // Told at the first, the second, the fourth …
        if self.strangers.count.is_power_of_two() {
            self.events.push(Event::OtherCluster(link, stranger));
        }
    }
}
