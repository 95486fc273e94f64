//! Changing keys under way, and finding out who accepts one.
//!
//! **A trial** answers "may I seal with key n?" without anything in the frames for it: between two
//! heartbeats one more frame goes out, sealed with key n. Whoever echoes *its* number has opened
//! it, so it has that very key, not only one of that number. Whoever has not misses nothing: the
//! heartbeats before and after it are sealed as ever.
use super::cluster::Cluster;
use super::id::{LinkId, LinkSet, NodeId, NodeSet};
use super::io::{Reply, Trial};
use super::seal::Keys;
use super::time::{Duration, Instant};

/// Fewest frames of one trial: one is enough where nothing is lost.
const TRIES: u64 = 24;
/// A trial lasts at least so long: a machine with much to do may miss many of them.
const LASTS: Duration = Duration::from_millis(2000);
/// Numbers of trial frames that an echo may still name.
const RECENT: usize = 4;

/// A trial of a key that is under way, or was the latest.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Trying {
    key: u8,
    left: u64,
    at: Instant,
    sent: [u64; RECENT],
    opened: NodeSet,
    /// A last answer may come until then.
    until: Instant,
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
        let beats = LASTS.micros() / self.config.interval.micros().max(1);
        let slowest = self.config.every.iter().copied().max().unwrap_or(1);
        self.trying = Some(Trying {
            key,
            left: TRIES.max(beats) * u64::from(slowest),
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

    /// A heartbeat was sent. The next trial frame follows at once, so that it is the newest that
    /// the others have heard for the whole interval, whatever step their heartbeats keep with ours;
    /// and the last of the two where both are read at a time.
    pub(super) fn next_trial(&mut self) {
        if let Some(trying) = &mut self.trying {
            trying.at = self.now;
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
}

#[cfg(test)]
mod tests;
