//! Changing keys under way, finding out who accepts one, and hearing those who have our key but
//! another cluster's name.
//!
//! **A trial** answers "may I seal with key n?" without anything in the frames for it: between two
//! heartbeats one more frame goes out, sealed with key n. Whoever echoes *its* number has opened
//! it, so it has that very key, not only one of that number. Whoever has not misses nothing: the
//! heartbeats before and after it are sealed as ever.
use super::cluster::Cluster;
use super::id::{LinkId, LinkSet, NodeId, NodeSet};
use super::io::{Event, Reply, Stranger, Trial};
use super::limits::FRAME_MAX;
use super::seal::Keys;
use super::time::{Duration, Instant};
use super::wire::{Body, Header};

/// Frames of one trial: one is enough where nothing is lost.
const TRIES: u16 = 24;
/// Numbers of trial frames that an echo may still name.
const RECENT: usize = 4;
/// Another cluster's frames are looked into so often, however many come.
const LISTEN: Duration = Duration::from_millis(1000);

/// A trial of a key that is under way, or was the latest.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Trying {
    key: u8,
    left: u16,
    at: Instant,
    sent: [u64; RECENT],
    opened: NodeSet,
    /// A last answer may come until then.
    until: Instant,
}

/// Other clusters' frames that our key opens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strangers {
    pub(super) last: Option<Stranger>,
    count: u32,
    next: Instant,
}

impl Cluster {
    /// Other keys from now on. Incarnation and numbers go on: no nonce comes twice.
    pub(super) fn rekey(&mut self, keys: &Keys) {
        self.config.rekey(keys.clone());
        self.trying = None;
    }

    /// Begins a trial of the key of this number.
    pub(super) fn try_key(&mut self, key: u8) -> Reply {
        if !self.config.keys.accepts(key) {
            return Err(super::io::Refusal::NoSuchKey(key));
        }
        let slowest = self.config.every.iter().copied().max().unwrap_or(1);
        self.trying = Some(Trying {
            key,
            left: TRIES * u16::from(slowest),
            at: self.now,
            sent: [0; RECENT],
            opened: NodeSet::EMPTY,
            until: self.now,
        });
        Ok(())
    }

    /// The number of the key that this node's last frame was sealed with.
    pub fn key_of(&self, node: NodeId) -> Option<u8> {
        self.peers[node.index()].key
    }

    /// What the latest trial has shown.
    pub fn trial(&self) -> Option<Trial> {
        self.trying.map(|trying| {
            let all = self.config.voters().all(|node| trying.opened.contains(node));
            let over = all || trying.left == 0 && self.now >= trying.until;
            Trial { key: trying.key, opened: trying.opened, over }
        })
    }

    /// When the next trial frame is due.
    pub(super) fn trial_at(&self) -> Instant {
        let due = self.trying.filter(|trying| trying.left > 0 && trying.at != Instant::NEVER);
        let next = Instant::from_micros(self.sent) + Duration::from_micros(1);
        due.map_or(Instant::NEVER, |trying| trying.at.max(next))
    }

    /// A heartbeat was sent. The next trial frame follows it soon, so that it is the newest that
    /// the others have heard for most of the interval; not always equally soon, because their
    /// heartbeats may keep step with ours.
    pub(super) fn next_trial(&mut self) {
        if let Some(trying) = &mut self.trying {
            let sixteenths = [1, 5, 9][usize::from(trying.left % 3)];
            trying.at = self.now + self.config.interval.ratio(sixteenths, 16);
        }
    }

    /// The key of the trial frame that is due, if one is, and the links for it.
    pub(super) fn trial_due(&mut self) -> Option<(u8, LinkSet)> {
        if self.is_parting() {
            self.trying = None;
        }
        let (now, dead) = (self.now, self.config.dead);
        let trying = self.trying.as_mut().filter(|trying| trying.left > 0 && now >= trying.at)?;
        trying.left -= 1;
        trying.at = Instant::NEVER;
        trying.until = now + dead;
        trying.sent.rotate_right(1);
        trying.sent[0] = now.micros();
        let key = trying.key;
        // A slow link has time for it half-way between two of its heartbeats.
        let beats = self.beats;
        let spare = |link: &LinkId| {
            let every = u64::from(self.config.every.get(link.index()).copied().unwrap_or(1).max(1));
            beats % every == every / 2
        };
        let links = self.links_up.iter().filter(spare).fold(LinkSet::EMPTY, LinkSet::with);
        (!links.is_empty()).then_some((key, links))
    }

    /// A node echoes one of our numbers.
    pub(super) fn trial_echo(&mut self, node: NodeId, echo: Option<u64>) {
        let Some((trying, echo)) = self.trying.as_mut().zip(echo) else { return };
        if trying.sent.contains(&echo) {
            trying.opened = trying.opened.with(node);
            let opened = trying.opened;
            if self.config.voters().all(|node| opened.contains(node)) {
                trying.left = 0;
            }
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

#[cfg(test)]
mod tests;
