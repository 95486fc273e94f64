//! What a witness keeps of one cluster, and the rules by which it gives its vote.
use super::body::Reader;
use super::{Ciphers, Event, Note, Notes};
use crate::core::config::Config;
use crate::core::id::{Incarnation, NodeId, Term};
use crate::core::io::Phase;
use crate::core::limits::{GROUPS_MAX, VOTERS_MAX};
use crate::core::mutation::{Mutation, on};
use crate::core::time::{Duration, Instant};
use crate::core::wire::{ClaimPart, GroupPart, Header, NameHash};
use heapless::Vec;

/// How old an echo may be in a frame that claims nothing, and the shortest blackout.
pub(super) const PATIENCE: Duration = Duration::from_millis(10_000);
/// Frames that prove nothing are answered at most so often.
const SPACING: Duration = Duration::from_millis(50);
/// Incarnations of one node that were replaced and are never heard again.
const REPLACED_MAX: usize = 4;
/// Unproven incarnations of all nodes together.
const CANDIDATES_MAX: usize = VOTERS_MAX;

/// One cluster.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) tag: u32,
    pub(super) ciphers: Ciphers,
    pub(super) voters: Vec<Voter, VOTERS_MAX>,
    pub(super) candidates: Vec<Candidate, CANDIDATES_MAX>,
    pub(super) groups: Vec<Group, GROUPS_MAX>,
    /// The longest lease that was claimed, or told of.
    pub(super) longest: Duration,
    /// When a frame that proved nothing was answered last.
    pub(super) spaced: Option<Instant>,
    /// Frames sent.
    pub(super) sent: u16,
}

/// Whom an answer goes to. Nodes with different lists of voters call this witness and each other by
/// different numbers, and nodes in the middle of a key's rotation may know different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// Digest of their list of voters.
    pub(super) voters: u32,
    /// This witness's number in it.
    pub(super) me: NodeId,
    /// The key that they seal with.
    pub(super) key: u8,
}

/// What is to be sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Due {
    Nothing,
    /// An answer, at once.
    Now,
    /// An answer to what proved nothing: when it is its turn.
    Later,
}

/// One node of one list of voters, whose present incarnation has proven that it hears us.
#[derive(Clone, Debug)]
pub(super) struct Voter {
    pub(super) node: NodeId,
    pub(super) address: Address,
    pub(super) incarnation: Incarnation,
    /// Its newest sequence number.
    pub(super) sequence: u64,
    /// When that came.
    pub(super) heard_at: Instant,
    /// The newest of our sequence numbers that any of its incarnations echoed.
    pub(super) echoed: u64,
    pub(super) left: bool,
    pub(super) told: bool,
    pub(super) due: Due,
    pub(super) replaced: [Option<Incarnation>; REPLACED_MAX],
}

/// An incarnation that has not proven that it hears us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    pub(super) address: Address,
    pub(super) incarnation: Incarnation,
    pub(super) sequence: u64,
    pub(super) at: Instant,
    pub(super) due: bool,
}

/// One group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) name: NameHash,
    /// The highest ownership known.
    pub(super) term: Term,
    /// Our vote.
    pub(super) grant: Option<Grant>,
    /// Who else claims it.
    pub(super) rival: Option<Grant>,
    /// When a node listed it last.
    pub(super) listed: Instant,
}

/// To whom the vote is bound, or would be: a claim that stands while the vote is bound elsewhere or
/// nothing may be granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// The claim frame that set the expiry.
    pub(super) sequence: u64,
    pub(super) until: Instant,
    /// It owned the group already when it claimed.
    pub(super) owns: bool,
}

/// What came of an authentic frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Fresh,
    /// A second copy, or overtaken by a newer one.
    Doubled,
    /// It proves nothing (yet), but is answered.
    Unproven,
    Replaced,
    /// There is no room for one more node.
    Full,
    /// It echoes what we have not sent.
    FromTheFuture,
    /// It took another witness for us, which is gone: it will never listen to us again.
    Missed,
}

/// What is needed of the witness to judge a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    pub(super) now: Instant,
    pub(super) started: Instant,
    pub(super) incarnation: Incarnation,
    pub(super) sent: u64,
}

/// An echo of ours in a frame.
#[derive(Clone, Copy, Debug)]
struct Echo {
    sequence: u64,
    age: Duration,
}

impl Group {
    /// The grant, if it still binds at `now`.
    pub(super) fn binding(&self, now: Instant) -> Option<Grant> {
        self.grant.filter(|grant| now < grant.until)
    }

    fn standing(&self, now: Instant) -> Option<Grant> {
        self.rival.filter(|rival| now < rival.until)
    }

    /// The claim that stands gets the vote.
    fn pass(&mut self, now: Instant) -> Option<Grant> {
        self.grant = self.standing(now);
        self.rival = None;
        self.grant
    }
}

impl Grant {
    fn holds(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.node == node && self.incarnation == incarnation
    }
}

impl Table {
    /// A constant, so that it is made in its place.
    pub(super) const EMPTY: Table = Table {
        tag: 0,
        ciphers: Ciphers::new(),
        voters: Vec::new(),
        candidates: Vec::new(),
        groups: Vec::new(),
        longest: Duration::ZERO,
        spaced: None,
        sent: 0,
    };

    /// Judges an authentic frame and takes from it what may be taken.
    pub(super) fn take(
        &mut self,
        judge: &Judge,
        header: &Header,
        body: &Reader<'_>,
        me: NodeId,
        notes: &mut Notes,
    ) -> Taken {
        let address = Address { voters: body.voters, me, key: header.key };
        let same =
            |voter: &Voter| voter.node == header.node && voter.address.voters == address.voters;
        let place = self.voters.iter().position(same);
        let voter = place.and_then(|place| self.voters.get_mut(place));
        let replaced = |voter: &Voter| voter.replaced.contains(&Some(header.incarnation));
        if voter.as_deref().is_some_and(replaced) {
            return Taken::Replaced;
        }
        let ours = |heard: &crate::core::wire::Heard| {
            heard.node == me && heard.incarnation == judge.incarnation
        };
        let echo = body.heard.iter().find(ours);
        let echo =
            echo.map(|echo| Echo { sequence: echo.sequence, age: Duration::from_micros(echo.age) });
        if echo.is_some_and(|echo| echo.sequence > judge.sent) {
            return Taken::FromTheFuture;
        }
        let limit = bound(body, self.longest);
        let old = |sequence: u64| judge.now.since(Instant::from_micros(sequence));
        let fresh = echo.filter(|echo| old(echo.sequence) <= limit || on(Mutation::StaleEcho));
        let Some(voter) = voter else {
            return match fresh {
                Some(echo) => self.admit(judge, header, body, address, echo, notes),
                None => self.consider(judge, header, address),
            };
        };
        if voter.incarnation != header.incarnation {
            let Some(echo) = fresh.filter(|echo| echo.sequence > voter.echoed) else {
                return self.consider(judge, header, address);
            };
            let before = voter.replace(header.incarnation);
            voter.accept(judge, header, body, address, echo.sequence);
            self.replaced(judge.now, header, body, before, notes);
            self.vote(judge, header, body, notes);
            return Taken::Fresh;
        }
        // The age was measured by the node's clock, which may differ from ours by 2 %.
        let timely = echo.filter(|echo| {
            let sent = Instant::from_micros(echo.sequence) + echo.age;
            judge.now.since(sent) <= limit + echo.age.ratio(2, 98)
        });
        if header.sequence <= voter.sequence && !on(Mutation::NewestOnly) {
            return Taken::Doubled;
        }
        let Some(echo) = fresh.or(timely) else {
            let other = body.heard.iter().find(|heard| heard.node == me);
            let gone = other.is_some_and(|other| {
                let age = Duration::from_micros(other.age);
                other.incarnation != judge.incarnation && age > PATIENCE
            });
            // Not again and again.
            if gone && judge.now.since(judge.started) > PATIENCE.times(2) {
                return Taken::Missed;
            }
            if voter.due == Due::Nothing {
                voter.due = Due::Later;
            }
            return Taken::Unproven;
        };
        voter.accept(judge, header, body, address, echo.sequence);
        self.vote(judge, header, body, notes);
        Taken::Fresh
    }

    /// A node's first incarnation, if there is room: of the silent ones the longest silent goes.
    fn admit(
        &mut self,
        judge: &Judge,
        header: &Header,
        body: &Reader<'_>,
        address: Address,
        echo: Echo,
        notes: &mut Notes,
    ) -> Taken {
        let kept = PATIENCE.max(self.longest);
        let mut voter = Voter {
            node: header.node,
            address,
            incarnation: header.incarnation,
            sequence: header.sequence,
            heard_at: judge.now,
            echoed: 0,
            left: false,
            told: false,
            due: Due::Now,
            replaced: [None; REPLACED_MAX],
        };
        voter.accept(judge, header, body, address, echo.sequence);
        if let Err(voter) = self.voters.push(voter) {
            let silent = self.voters.iter_mut().min_by_key(|voter| voter.heard_at);
            let Some(silent) = silent.filter(|old| judge.now.since(old.heard_at) > kept) else {
                notes.push(Note::new(self.tag, Event::Full(header.node)));
                return Taken::Full;
            };
            *silent = voter;
        }
        self.forget_candidates(header.node, address.voters);
        self.vote(judge, header, body, notes);
        Taken::Fresh
    }

    /// Remembers an unproven incarnation, so that our frames answer it and it can prove itself.
    fn consider(&mut self, judge: &Judge, header: &Header, address: Address) -> Taken {
        let new = Candidate {
            node: header.node,
            address,
            incarnation: header.incarnation,
            sequence: header.sequence,
            at: judge.now,
            due: true,
        };
        let same = |known: &&mut Candidate| {
            known.incarnation == new.incarnation && known.address.voters == address.voters
        };
        if let Some(known) = self.candidates.iter_mut().find(same) {
            if new.sequence > known.sequence {
                *known = new;
            }
            return Taken::Unproven;
        }
        if self.candidates.push(new).is_err()
            && let Some(oldest) = self.candidates.iter_mut().min_by_key(|known| known.at)
        {
            *oldest = new;
        }
        Taken::Unproven
    }

    fn forget_candidates(&mut self, node: NodeId, voters: u32) {
        self.candidates.retain(|known| known.node != node || known.address.voters != voters);
    }

    /// A new incarnation of a node: grants to the old one pass on if it is its successor.
    fn replaced(
        &mut self,
        now: Instant,
        header: &Header,
        body: &Reader<'_>,
        before: Incarnation,
        notes: &mut Notes,
    ) {
        self.forget_candidates(header.node, body.voters);
        let successor = body.predecessor == Some(before) || on(Mutation::AnySuccessor);
        for group in &mut self.groups {
            // Its claims were another's; its own follow.
            group.rival = group.rival.filter(|rival| !rival.holds(header.node, before));
            if let Some(grant) = &mut group.grant
                && grant.holds(header.node, before)
                && successor
                && now < grant.until
            {
                grant.incarnation = header.incarnation;
            }
        }
        notes.push(Note::new(self.tag, Event::Restarted(header.node)));
    }

    /// Grants, renews or frees the vote by the newest frame of a node.
    fn vote(&mut self, judge: &Judge, header: &Header, body: &Reader<'_>, notes: &mut Notes) {
        self.longest = self.longest.max(Duration::from_millis(u64::from(body.longest)));
        for part in body.groups.iter() {
            if let Some(claim) = part.claim {
                self.longest = self.longest.max(Duration::from_micros(claim.lease));
            }
        }
        for part in body.groups.iter() {
            let Some(place) = self.place(judge.now, part.name) else {
                notes.push(Note::new(self.tag, Event::Full(header.node)));
                continue;
            };
            let blind = judge.now < self.blind_until(judge.started);
            let Some(group) = self.groups.get_mut(place) else { continue };
            group.listed = judge.now;
            group.term = group.term.max(part.term);
            let claimed = match part.claim {
                Some(claim) => group.claim(judge.now, header, &part, claim, blind),
                None => group.released(judge.now, header, &part, blind),
            };
            self.told(claimed, part.name, notes);
        }
        if body.flags.goodbye() {
            self.farewell(judge, header, notes);
        }
    }

    /// A node has stopped everything, whatever of it its list of groups still names.
    fn farewell(&mut self, judge: &Judge, header: &Header, notes: &mut Notes) {
        let blind = judge.now < self.blind_until(judge.started);
        for place in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(place) else { continue };
            let bound = group.grant.is_some_and(|grant| {
                let any = on(Mutation::AnyGoodbye) && grant.node == header.node;
                any || grant.holds(header.node, header.incarnation)
            });
            group.rival = group.rival.filter(|rival| !rival.holds(header.node, header.incarnation));
            if bound {
                let (name, passed) = (group.name, group.free(judge.now, blind));
                self.told(passed, name, notes);
            }
        }
    }

    /// Tells of a new grant, and has its holder told at once.
    fn told(&mut self, granted: Option<Grant>, group: NameHash, notes: &mut Notes) {
        let Some(grant) = granted else { return };
        let holder = |voter: &&mut Voter| grant.holds(voter.node, voter.incarnation);
        if let Some(voter) = self.voters.iter_mut().find(holder) {
            voter.due = Due::Now;
        }
        notes.push(Note::new(self.tag, Event::Granted(grant.node, group, grant.until)));
    }

    /// Where a group stands. A full table refuses newcomers, unless a group is in it that is bound
    /// to nobody and that no node has listed for long.
    fn place(&mut self, now: Instant, name: NameHash) -> Option<usize> {
        if let Some(place) = self.groups.iter().position(|group| group.name == name) {
            return Some(place);
        }
        let new = Group { name, term: Term::default(), grant: None, rival: None, listed: now };
        if self.groups.push(new).is_ok() {
            return self.groups.len().checked_sub(1);
        }
        let kept = PATIENCE.max(self.longest);
        let unused = |group: &Group| group.binding(now).is_none() && now.since(group.listed) > kept;
        let place = self.groups.iter().position(unused)?;
        *self.groups.get_mut(place)? = new;
        Some(place)
    }

    /// Rule 4: a witness has no memory. Until then it does not know to whom it granted.
    pub(super) fn blind_until(&self, started: Instant) -> Instant {
        if on(Mutation::GrantsBlindly) { started } else { started + PATIENCE.max(self.longest) }
    }

    /// What falls due by `now`: votes that have become free go to the claims that wait for them.
    pub(super) fn turn(&mut self, now: Instant, started: Instant, notes: &mut Notes) {
        let blind = now < self.blind_until(started);
        for place in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(place) else { continue };
            if !blind && group.rival.is_some() && group.binding(now).is_none() {
                let (name, passed) = (group.name, group.pass(now));
                self.told(passed, name, notes);
            }
        }
        let kept = PATIENCE.max(self.longest);
        for voter in &mut self.voters {
            let there = !voter.left && now.since(voter.heard_at) <= kept;
            if ::core::mem::replace(&mut voter.told, there) != there {
                let event = match (there, voter.left) {
                    (true, _) => Event::Alive(voter.node),
                    (false, true) => Event::Left(voter.node),
                    (false, false) => Event::Silent(voter.node),
                };
                notes.push(Note::new(self.tag, event));
            }
        }
    }

    /// When something falls due, if nothing more is heard.
    pub(super) fn deadline(&self, started: Instant) -> Instant {
        let blind = self.blind_until(started);
        let kept = PATIENCE.max(self.longest) + Duration::from_micros(1);
        let passes = self
            .groups
            .iter()
            .filter(|group| group.rival.is_some())
            .map(|group| group.grant.map_or(blind, |grant| grant.until.max(blind)));
        let falls = self.voters.iter().filter(|voter| voter.told && !voter.left);
        let falls = falls.map(|voter| voter.heard_at + kept);
        let turn = self.waits().then(|| self.answers_at());
        passes.chain(falls).chain(turn).min().unwrap_or(Instant::NEVER)
    }

    /// Whether frames that proved nothing wait for their answer.
    fn waits(&self) -> bool {
        self.voters.iter().any(|voter| voter.due == Due::Later)
            || self.candidates.iter().any(|known| known.due)
    }

    fn answers_at(&self) -> Instant {
        self.spaced.map_or(Instant::default(), |last| last + SPACING)
    }

    /// Whom to answer now.
    pub(super) fn next(&self, now: Instant) -> Option<(Address, bool)> {
        let urgent = self.voters.iter().find(|voter| voter.due == Due::Now);
        if let Some(voter) = urgent {
            return Some((voter.address, false));
        }
        if now < self.answers_at() {
            return None;
        }
        let late = self.voters.iter().find(|voter| voter.due == Due::Later);
        let late = late.map(|voter| voter.address);
        let unproven = || {
            let due = self.candidates.iter().filter(|known| known.due);
            due.min_by_key(|known| known.at).map(|known| known.address)
        };
        Some((late.or_else(unproven)?, true))
    }

    /// Whether a frame of a witness is of another one of our name: nodes call it as they call us.
    /// What our predecessor sent has come long ago.
    pub(super) fn is_namesake(
        &self,
        header: &Header,
        body: &Reader<'_>,
        now: Instant,
        started: Instant,
    ) -> bool {
        let same =
            |voter: &Voter| voter.address.voters == body.voters && voter.address.me == header.node;
        now.since(started) > PATIENCE && self.voters.iter().any(same)
    }

    /// How long after its coming an unproven incarnation is still answered.
    pub(super) fn kept(&self) -> Duration {
        PATIENCE.max(self.longest)
    }
}

impl Group {
    /// Grants or renews what the newest frame of a node claims, from its receipt on, or notes that
    /// the claim stands. What was granted anew.
    fn claim(
        &mut self,
        now: Instant,
        header: &Header,
        part: &GroupPart,
        claim: ClaimPart,
        blind: bool,
    ) -> Option<Grant> {
        let (node, incarnation) = (header.node, header.incarnation);
        let until = now + Duration::from_micros(claim.lease);
        let owns = part.phase != Phase::Stopped;
        let new = Grant { node, incarnation, sequence: header.sequence, until, owns };
        match self.binding(now) {
            Some(old) if old.holds(node, incarnation) => {
                self.grant = Some(Grant { until: until.max(old.until), ..new });
                None
            }
            None if !blind => {
                self.grant = Some(new);
                self.rival = self.rival.filter(|rival| !rival.holds(node, incarnation));
                Some(new)
            }
            _ => {
                let takes = self
                    .standing(now)
                    .is_none_or(|rival| rival.holds(node, incarnation) || new.owns && !rival.owns);
                if takes {
                    self.rival = Some(new);
                }
                None
            }
        }
    }

    /// The newest frame of a node claims nothing. To whom the vote passes by that.
    fn released(
        &mut self,
        now: Instant,
        header: &Header,
        part: &GroupPart,
        blind: bool,
    ) -> Option<Grant> {
        let theirs = |grant: &Grant| grant.holds(header.node, header.incarnation);
        self.rival = self.rival.filter(|rival| !theirs(rival));
        let held = self.grant.as_ref().is_some_and(theirs);
        if held && part.phase == Phase::Stopped { self.free(now, blind) } else { None }
    }

    fn free(&mut self, now: Instant, blind: bool) -> Option<Grant> {
        self.grant = None;
        if blind { None } else { self.pass(now) }
    }
}

impl Voter {
    fn accept(
        &mut self,
        judge: &Judge,
        header: &Header,
        body: &Reader<'_>,
        address: Address,
        echoed: u64,
    ) {
        self.address = address;
        self.sequence = header.sequence;
        self.heard_at = judge.now;
        self.echoed = self.echoed.max(echoed);
        self.left = body.flags.goodbye();
        self.due = Due::Now;
    }

    fn replace(&mut self, incarnation: Incarnation) -> Incarnation {
        let before = ::core::mem::replace(&mut self.incarnation, incarnation);
        // The oldest goes.
        self.replaced.rotate_right(1);
        if let Some(place) = self.replaced.first_mut() {
            *place = Some(before);
        }
        before
    }
}

/// How old the echo in a frame may be: the longest lease that it claims, or, where it claims
/// nothing, the longest that anybody did, but at least [`PATIENCE`].
fn bound(body: &Reader<'_>, longest: Duration) -> Duration {
    let lease = |part: GroupPart| part.claim.map(|claim| Duration::from_micros(claim.lease));
    body.groups.iter().filter_map(lease).max().unwrap_or(PATIENCE.max(longest))
}

/// This witness's number for whoever has `witnesses` in its list of voters.
pub(super) fn number(name: NameHash, body: &Reader<'_>) -> Option<NodeId> {
    Config::witness(body.witnesses.iter().position(|listed| listed == name)?)
}
