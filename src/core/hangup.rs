//! The peer has hung up on a link: the modem lines of a serial cable dropped.
//!
//! Only a loss of power, an ended program or a pulled cable explain that, and which of them is
//! found out by asking: every frame says so until the peers that were heard on the link have
//! answered one that was sent since, on whatever link. Frames go out on the link itself all the
//! same, and one that comes there shows that only a wire is broken.
//!
//! Nobody is dead because a line dropped. But from whoever answers nothing, silence is believed
//! after `warn` instead of `dead`, for as long as its lines stay down.
use super::cluster::Cluster;
use super::id::{LinkId, LinkSet};
use super::io::Event;
use super::limits::LINKS_MAX;
use super::peer::Peer;
use super::time::{Duration, Instant};

/// Links whose other end has hung up, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HungUp([Option<Instant>; LINKS_MAX]);

impl HungUp {
    pub(super) fn links(&self) -> LinkSet {
        let hung = |link: &LinkId| self.0[link.index()].is_some();
        LinkId::all().filter(hung).fold(LinkSet::EMPTY, LinkSet::with)
    }

    /// The lines are up again, or the link is lost altogether.
    pub(super) fn end(&mut self, link: LinkId) {
        self.0[link.index()] = None;
    }
}

/// A peer that has hung up and has not answered since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unanswered {
    link: LinkId,
    at: Instant,
    /// It has so long to answer.
    until: Instant,
    /// So much silence is believed then.
    warn: Duration,
}

impl Cluster {
    /// A link was opened or lost. Whether anything has changed.
    pub(super) fn link(&mut self, link: LinkId, up: bool) -> bool {
        if !self.config.links().contains(link) {
            return false;
        }
        if up {
            self.picked_up(link);
        } else {
            self.hung_up.end(link);
        }
        if self.links_up.contains(link) == up {
            return false;
        }
        self.links_up.set(link, up);
        if up {
            self.events.push(Event::LinkUp(link));
            self.urgent = true;
        } else {
            self.events.push(Event::LinkDown(link));
            for peer in &mut self.peers {
                peer.forget_link(link);
            }
            // The others learn at once on the links that are left.
            self.urgent = true;
        }
        true
    }

    /// The modem lines of `link` have dropped. Whether anything has changed.
    pub(super) fn hang_up(&mut self, link: LinkId) -> bool {
        if !self.links_up.contains(link) {
            return false;
        }
        let (now, dead) = (self.now, self.config.dead);
        let until = now + dead.ratio(1, 4).max(self.config.interval.times(2));
        self.links_up.set(link, false);
        self.hung_up.0[link.index()] = Some(now);
        for peer in &mut self.peers {
            let heard = peer.paths[link.index()].heard;
            if heard.is_some_and(|heard| now.since(heard) < dead) && peer.unanswered.is_none() {
                peer.unanswered = Some(Unanswered { link, at: now, until, warn: self.config.warn });
            }
            peer.forget_link(link);
        }
        self.events.push(Event::HungUp(link));
        self.urgent = true;
        true
    }

    /// The lines of `link` are up again: whoever is there has time to be heard.
    pub(super) fn picked_up(&mut self, link: LinkId) {
        self.hung_up.end(link);
        for peer in &mut self.peers {
            peer.unanswered = peer.unanswered.filter(|asked| asked.link != link);
        }
    }

    /// A fresh frame, or its second copy, came on `link` that echoes our frame `sequence`.
    pub(super) fn heard_on_hung_up(&mut self, link: LinkId, sequence: u64) {
        let Some(at) = self.hung_up.0[link.index()] else { return };
        if sequence >= at.micros() {
            self.picked_up(link);
            self.links_up.set(link, true);
            self.events.push(Event::LinkUp(link));
        }
    }

    /// Whether somebody is asked to answer at once.
    pub(super) fn asks_at_once(&self) -> bool {
        self.config.voters().any(|node| self.peers[node.index()].unanswered.is_some())
    }
}

impl Peer {
    /// It echoes our frame `sequence`.
    pub(super) fn answers(&mut self, sequence: u64) {
        self.unanswered = self.unanswered.filter(|asked| sequence < asked.at.micros());
    }

    /// When its silence is believed although it has not lasted for `dead`.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        let asked = self.unanswered?;
        let heard = self.fresh_at.max(self.timely_at)?;
        Some(asked.until.max(heard + asked.warn))
    }

    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        self.given_up_at().is_some_and(|at| now >= at)
    }

    /// We stood still for `pause`: it had no time to answer.
    pub(super) fn has_more_time(&mut self, pause: Duration) {
        if let Some(asked) = &mut self.unanswered {
            asked.until = asked.until + pause;
        }
    }
}
