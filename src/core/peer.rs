//! One other voter: its incarnations, what it said last, and whether it is alive.
//!
//! **Fresh or nothing.** A frame counts as *fresh* if it echoes a sequence number of ours that is
//! at most `dead` old: both directions work now. It counts as *timely* if that number plus the age
//! that the peer gives for it is at most `dead` ago: the frame was sent just now, by somebody who
//! no longer hears us. Anything else may be a recording, or years old, and changes nothing.
//!
//! **Newest only.** A frame that is not newer than every one taken from its incarnation is evidence
//! for its link, nothing else.
use super::hangup::Unanswered;
use super::id::{Incarnation, LinkId, LinkSet};
use super::io::{LinkState, NodeState};
use super::limits::LINKS_MAX;
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};
use super::wire::{Body, Header, Heard};
use super::witness::health::Health;
use heapless::Deque;

/// Incarnations that were replaced and are never heard again.
const REPLACED_MAX: usize = 8;

/// What came of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// New, and both directions are proven. True: by a new incarnation.
    Fresh(bool),
    /// New and sent just now, but the peer no longer hears us.
    Deaf,
    /// A second copy, or overtaken by a newer one.
    Doubled,
    /// No echo of ours, or an old one.
    Stale,
    /// By an incarnation that is not proven yet.
    Unproven,
    /// By an incarnation that has been replaced.
    Replaced,
    /// By one that has been replaced, and sent just now all the same: two machines of this name.
    Twin,
    /// New, but it hears another incarnation in our place.
    Elsewhere,
    /// It echoes a frame that we have not sent: a clone of us is about.
    FromTheFuture,
}

/// An incarnation that has not proven that it hears us. Two at a time, so that somebody who replays
/// a recording cannot keep the real one from being answered.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Candidate {
    incarnation: Incarnation,
    sequence: u64,
    at: Instant,
    link: LinkId,
}

/// How a link to the peer does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    pub(super) heard: Option<Instant>,
    rtt: Option<Duration>,
}

/// An incarnation that was replaced.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Replaced {
    incarnation: Incarnation,
    since: Instant,
    /// Its newest sequence number.
    sequence: u64,
}

/// A peer that hears another incarnation in our place.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Elsewhere {
    since: Instant,
    at: Instant,
    sequence: u64,
    /// It has not heard that one for `dead`, either.
    gone: bool,
}

/// The present frame's echo of us.
#[derive(Clone, Copy, Debug)]
struct Echo {
    sequence: u64,
    age: Duration,
    links: LinkSet,
}

/// One other voter.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The incarnation that proved itself last.
    pub(super) incarnation: Option<Incarnation>,
    /// What it said last.
    pub(super) body: Body,
    /// Its newest sequence number.
    pub(super) sequence: u64,
    /// When its heartbeat wire changed last.
    pub(super) beat: Option<Instant>,
    /// It said goodbye.
    pub(super) left: bool,
    /// The state that was last told.
    pub(super) told: NodeState,
    /// When that came.
    pub(super) heard_at: Instant,
    pub(super) fresh_at: Option<Instant>,
    pub(super) timely_at: Option<Instant>,
    pub(super) echoed: u64,
    pub(super) paths: [Path; LINKS_MAX],
    pub(super) hears_us_on: LinkSet,
    pub(super) candidates: [Option<Candidate>; 2],
    pub(super) turn: usize,
    pub(super) replaced: Deque<Replaced, REPLACED_MAX>,
    /// When its present incarnation replaced another one.
    pub(super) renewed_at: Option<Instant>,
    /// When a replaced incarnation was last heard to be there all the same.
    pub(super) twin_at: Option<Instant>,
    /// It was last heard to hear another incarnation in our place.
    pub(super) elsewhere: Option<Elsewhere>,
    /// The number of the key that it seals with: two frames in a row count, for one may be a trial.
    pub(super) key: Option<u8>,
    /// That of the frame before.
    pub(super) latest_key: u8,
    /// It has hung up, and has not answered since.
    pub(super) unanswered: Option<Unanswered>,
    /// What a witness said of its board.
    pub(super) board: Option<Health>,
}

/// What a peer needs to know of us to judge its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    pub(super) me: super::id::NodeId,
    pub(super) now: Instant,
    pub(super) dead: Duration,
    pub(super) incarnation: Incarnation,
    /// The newest sequence number that we sent.
    pub(super) sent: u64,
}

impl Peer {
    /// Judges an authentic frame and takes from it what may be taken. `me` is our entry in `heard`.
    pub(super) fn take(
        &mut self,
        judge: &Judge,
        header: &Header,
        body: Body,
        me: Option<Heard>,
        link: LinkId,
    ) -> Taken {
        let ours = me.filter(|heard| heard.incarnation == judge.incarnation);
        let echo = ours.map(|heard| Echo {
            sequence: heard.sequence,
            age: Duration::from_micros(heard.age),
            links: heard.links,
        });
        // The age was measured by the peer's clock, which may differ from ours by 2 %.
        let timely = echo.is_some_and(|echo| {
            let slack = judge.dead + echo.age.ratio(2, 98);
            judge.now.since(Instant::from_micros(echo.sequence) + echo.age) <= slack
        });
        let old = self.replaced.iter_mut().find(|old| old.incarnation == header.incarnation);
        if let Some(old) = old {
            // What was under way when it ended has arrived by then.
            let over = judge.now > old.since + judge.dead;
            if !timely || !over || header.sequence <= old.sequence {
                return Taken::Replaced;
            }
            old.sequence = header.sequence;
            self.twin_at = Some(judge.now);
            return Taken::Twin;
        }
        if echo.is_some_and(|echo| echo.sequence > judge.sent) {
            return Taken::FromTheFuture;
        }
        if body.flags.testing() {
            // Our frames answer it; it says nothing for the node, whatever it echoes.
            return self.consider(judge, header, link);
        }
        let known = self.incarnation == Some(header.incarnation);
        let fresh = echo.is_some_and(|_| on(Mutation::StaleEcho))
            || echo.is_some_and(|echo| {
                judge.now.since(Instant::from_micros(echo.sequence)) <= judge.dead
            });
        if !known {
            return match echo {
                Some(echo) if fresh && echo.sequence > self.echoed => {
                    self.replace(header.incarnation, judge.now);
                    self.accept(judge, header, body, echo, link);
                    Taken::Fresh(true)
                }
                _ => self.consider(judge, header, link),
            };
        }
        let Some(echo) = echo.filter(|_| fresh || timely) else {
            let other = body.heard.iter().find(|heard| heard.node == judge.me);
            return other.map_or(Taken::Stale, |other| self.elsewhere(judge, header, other));
        };
        if header.sequence <= self.sequence && !on(Mutation::NewestOnly) {
            self.path(judge, echo, link, fresh);
            return Taken::Doubled;
        }
        if fresh {
            self.accept(judge, header, body, echo, link);
            return Taken::Fresh(false);
        }
        self.path(judge, echo, link, false);
        self.sealed_by(header.key);
        self.sequence = header.sequence;
        self.heard_at = judge.now;
        self.timely_at = Some(judge.now);
        self.left |= body.flags.goodbye();
        self.body = body;
        Taken::Deaf
    }

    /// A frame echoes nothing of ours: is it because another machine has taken our place?
    fn elsewhere(&mut self, judge: &Judge, header: &Header, other: &Heard) -> Taken {
        let newest = self.elsewhere.map_or(0, |known| known.sequence).max(self.sequence);
        if other.incarnation == judge.incarnation || header.sequence <= newest {
            return Taken::Stale;
        }
        self.elsewhere = Some(Elsewhere {
            since: self.elsewhere.map_or(judge.now, |known| known.since),
            at: judge.now,
            sequence: header.sequence,
            gone: Duration::from_micros(other.age) >= judge.dead,
        });
        Taken::Elsewhere
    }

    /// Whether it is there, but hears another machine in our place.
    pub(super) fn is_elsewhere(&self, now: Instant, dead: Duration) -> bool {
        self.elsewhere.is_some_and(|known| now.since(known.at) < dead)
    }

    /// The same in several frames in a row: one may name what is not proven, such as a link test.
    pub(super) fn is_long_elsewhere(&self, now: Instant, dead: Duration, span: Duration) -> bool {
        let long = |known: &Elsewhere| now.since(known.since) >= span;
        self.is_elsewhere(now, dead) && self.elsewhere.as_ref().is_some_and(long)
    }

    /// Whether it is there, and the machine is gone that it heard in our place.
    pub(super) fn misses_us(&self, now: Instant, dead: Duration) -> bool {
        self.elsewhere.is_some_and(|known| known.gone && now.since(known.at) < dead)
    }

    /// Whether two machines were heard under its name within `span`.
    pub(super) fn has_twin(&self, now: Instant, span: Duration) -> bool {
        self.twin_at.is_some_and(|at| now.since(at) < span)
    }

    /// Whether its silence says nothing: it takes another machine for us, or one of its name that
    /// we do not listen to any more is there.
    pub(super) fn is_disputed(&self, now: Instant, dead: Duration) -> bool {
        self.is_elsewhere(now, dead) || self.has_twin(now, dead)
    }

    fn accept(&mut self, judge: &Judge, header: &Header, body: Body, echo: Echo, link: LinkId) {
        self.path(judge, echo, link, true);
        self.elsewhere = None;
        self.sealed_by(header.key);
        self.sequence = header.sequence;
        self.echoed = self.echoed.max(echo.sequence);
        self.answers(echo.sequence);
        self.heard_at = judge.now;
        self.fresh_at = Some(judge.now);
        self.timely_at = Some(judge.now);
        self.hears_us_on = echo.links;
        self.left = body.flags.goodbye();
        self.body = body;
    }

    fn sealed_by(&mut self, key: u8) {
        if self.key.is_none() || self.latest_key == key {
            self.key = Some(key);
        }
        self.latest_key = key;
    }

    /// Keeps what the frame that was taken last says of its sender's board.
    pub(super) fn tell_board(&mut self, header: &Header, board: Option<Health>) {
        if self.incarnation == Some(header.incarnation) && self.sequence == header.sequence {
            self.board = board;
        }
    }

    fn path(&mut self, judge: &Judge, echo: Echo, link: LinkId, fresh: bool) {
        let path = &mut self.paths[link.index()];
        path.heard = Some(judge.now);
        if fresh {
            let sent = Instant::from_micros(echo.sequence);
            path.rtt = Some(judge.now.since(sent) - echo.age);
        }
    }

    fn replace(&mut self, incarnation: Incarnation, now: Instant) {
        if let Some(old) = self.incarnation.replace(incarnation) {
            let old = Replaced { incarnation: old, since: now, sequence: self.sequence };
            self.renewed_at = Some(now);
            if self.replaced.is_full() {
                self.replaced.pop_front();
            }
            // Cannot fail: there is room now.
            let _ = self.replaced.push_back(old);
        }
        // What was heard on the links stays: a daemon's restart is no cable's fault.
        self.candidates = [None; 2];
    }

    /// Remembers an unproven incarnation, so that our frames answer it and it can prove itself.
    fn consider(&mut self, judge: &Judge, header: &Header, link: LinkId) -> Taken {
        let candidate = Candidate {
            incarnation: header.incarnation,
            sequence: header.sequence,
            at: judge.now,
            link,
        };
        let same = |slot: &&mut Option<Candidate>| {
            slot.is_some_and(|known| known.incarnation == candidate.incarnation)
        };
        if let Some(slot) = self.candidates.iter_mut().find(same) {
            if slot.is_some_and(|known| header.sequence > known.sequence) {
                *slot = Some(candidate);
            }
            return Taken::Unproven;
        }
        // The slot that has been silent for longer goes.
        let age = |slot: &Option<Candidate>| slot.map_or(Instant::default(), |known| known.at);
        let [first, second] = &mut self.candidates;
        *(if age(first) <= age(second) { first } else { second }) = Some(candidate);
        Taken::Unproven
    }

    /// What we heard of it, for our next frame: the proven incarnation first, then an unproven one.
    pub(super) fn heard(
        &mut self,
        node: super::id::NodeId,
        now: Instant,
        dead: Duration,
    ) -> [Option<Heard>; 2] {
        let proven = self.incarnation.map(|incarnation| Heard {
            node,
            incarnation,
            sequence: self.sequence,
            age: now.since(self.heard_at).micros(),
            links: self.heard_on(now, dead),
        });
        self.turn ^= 1;
        let lately = |slot: &Option<Candidate>| slot.filter(|known| now.since(known.at) <= dead);
        let [first, second] = &self.candidates;
        let (first, second) = (lately(first), lately(second));
        let candidate = if self.turn == 0 { first.or(second) } else { second.or(first) };
        let unproven = candidate.map(|known| Heard {
            node,
            incarnation: known.incarnation,
            sequence: known.sequence,
            age: now.since(known.at).micros(),
            links: LinkSet::EMPTY.with(known.link),
        });
        [proven, unproven]
    }

    fn heard_on(&self, now: Instant, dead: Duration) -> LinkSet {
        let lately = |link: &LinkId| {
            self.paths[link.index()].heard.is_some_and(|heard| now.since(heard) < dead)
        };
        LinkId::all().filter(lately).fold(LinkSet::EMPTY, LinkSet::with)
    }

    /// Whether its frames are fresh: it is there, and it hears us.
    pub(super) fn alive(&self, now: Instant, dead: Duration) -> bool {
        let fresh = self.fresh_at.is_some_and(|fresh| now.since(fresh) < dead);
        fresh && !self.left && !self.is_given_up(now)
    }

    /// Whether it is there, hearing us or not.
    pub(super) fn speaks(&self, now: Instant, dead: Duration) -> bool {
        let timely = self.timely_at.is_some_and(|timely| now.since(timely) < dead);
        timely && !self.left && !self.is_given_up(now)
    }

    /// Whether it said that it hears `node`, less than `dead` ago.
    pub(super) fn hears(&self, node: super::id::NodeId, now: Instant, dead: Duration) -> bool {
        let since = now.since(self.heard_at);
        let lately = |heard: &Heard| Duration::from_micros(heard.age) + since < dead;
        self.body.heard.iter().any(|heard| heard.node == node && lately(heard))
    }

    /// Silence since its last fresh frame.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        self.fresh_at.map(|fresh| now.since(fresh))
    }

    /// Its state now. `waiting`: `initial dead` is not over.
    pub(super) fn state(
        &self,
        now: Instant,
        warn: Duration,
        dead: Duration,
        waiting: bool,
    ) -> NodeState {
        if self.left {
            return NodeState::Left;
        }
        if self.is_given_up(now) {
            return NodeState::Dead;
        }
        match self.silence(now) {
            Some(silence) if silence < warn => NodeState::Alive,
            Some(silence) if silence < dead => NodeState::Late,
            _ if self.speaks(now, dead) => NodeState::Seen,
            Some(_) => NodeState::Dead,
            None if !waiting => NodeState::Dead,
            None if self.candidates.iter().any(Option::is_some) => NodeState::Seen,
            None => NodeState::Unknown,
        }
    }

    /// When its state changes if nothing more is heard: the next of late, dead, mute.
    pub(super) fn deadlines(&self, warn: Duration, dead: Duration) -> [Option<Instant>; 4] {
        let fresh = self.fresh_at;
        let mute = self.timely_at.map(|at| at + dead);
        [fresh.map(|at| at + warn), fresh.map(|at| at + dead), mute, self.given_up_at()]
    }

    /// We stood still for `pause`: that is no silence of the peer's.
    pub(super) fn excuse(&mut self, pause: Duration, now: Instant) {
        let later = |at: Instant| (at + pause).min(now);
        self.fresh_at = self.fresh_at.map(later);
        self.timely_at = self.timely_at.map(later);
    }

    /// One of our links is gone: nothing is heard on it any more.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.paths[link.index()] = Path::default();
    }

    /// The two-way state of a link; `slack`: how long a link may be silent.
    pub(super) fn link(&self, link: LinkId, now: Instant, slack: Duration) -> LinkState {
        let path = self.paths[link.index()];
        let heard = path.heard.is_some_and(|heard| now.since(heard) < slack);
        // A witness numbers its links by itself: where it is heard, it hears.
        let named = self.hears_us_on.contains(link) || self.body.flags.witness() && heard;
        let hears = named && self.alive(now, slack);
        match (heard, hears) {
            (true, true) => LinkState::Up,
            (false, false) => LinkState::Down,
            _ => LinkState::OneWay,
        }
    }

    /// Round trip last measured on a link.
    pub(super) fn rtt(&self, link: LinkId) -> Option<Duration> {
        self.paths[link.index()].rtt
    }
}
