//! A witness: the voter's half of the rule `majority`, and nothing else.
//!
//! It owns nothing, has no configuration but its name and its keys, and keeps nothing on disk: the
//! same type runs on Linux and on a microcontroller. Three calls, as [`Cluster`](super::Cluster)
//! has: [`Witness::handle`], [`Witness::poll`], [`Witness::deadline`].
//!
//! **Which cluster, which voter.** The header's tag says which cluster a frame is of, and its keys
//! must open it. Every node lists the names of its witnesses: the place of ours in that list is our
//! number for that node.
//!
//! **Fresh or nothing**, as between nodes (`peer`): nothing is taken from an incarnation before it
//! has echoed our present one, nothing from a frame that is not newer than every one taken from its
//! incarnation, and a replaced incarnation is never heard again. A witness has no `dead`. How old
//! an echo may be it derives from the frame: the longest lease that it claims (which is longer than
//! `dead`), otherwise ten seconds. That is enough, because age costs only time here, never safety:
//! a claim binds our vote from its *receipt*, its owner counts from its *sending*, which was
//! earlier, however late it comes; and whoever has sent a release counts nothing granted before.
//! An owner that is dead and whose last frame somebody held back keeps our vote for twice the lease
//! at most.
//!
//! **It forgets everything when it starts**: then it grants nothing for ten seconds or the longest
//! lease that it has heard of, whichever is longer: every node tells in every frame of the longest
//! that may be about, claimed or not. What it granted before has ended by then.
//! Meanwhile an owner keeps its lease by the votes of the nodes.
//!
//! **One vote, whatever the list of voters.** While a list of voters changes, nodes with the old
//! and with the new one are about. Nodes are told apart by list *and* number; each is answered in
//! the terms of its own list: our number in it, the digest of it, and only those nodes that have
//! it (the numbers of the others mean somebody else to it). Nodes count only grants that are shown
//! with the digest of their own list, so a frame meant for another list says nothing to them. But
//! the vote itself is one for all lists: bound to an incarnation (which has one list for life), it
//! goes to no other before it has ended. Lists differ by one voter, so a majority of the one and a
//! majority of the other share a voter, and if that is us it has one holder: never two owners. A
//! node that restarts with another list has no predecessor: what it held runs out by itself.
//!
//! **Groups are named by their hash**, so a changed list of groups calls none by another's name. A
//! group that is new to us is bound to nobody; one that is listed no more keeps its grant until
//! that has ended, and its place until another one needs it.
//!
//! **It speaks when it is spoken to.** Every frame that counts is answered at once, on all links;
//! those that prove nothing only twenty times a second, so nobody can make it shout. Otherwise it
//! speaks on its own only when a vote that somebody waits for becomes free.
mod body;
pub mod health;
#[cfg(any(test, feature = "_sim"))]
mod identity;
mod table;

use super::id::{Incarnation, LinkId, LinkSet, NodeId};
use super::io::Phase;
use super::limits::FRAME_MAX;
use super::seal;
use super::time::Instant;
use super::wire::{
    BODY_MAX, FrameBuf, GrantPart, GroupFlags, GroupPart, HEADER_LEN, Header, Heard, NameHash,
    NodeFlags,
};
use body::{Reader, Writer};
use chacha20poly1305::XChaCha20Poly1305;
use health::Health;
use heapless::{Deque, Vec};
use table::{Address, Due, Group, Judge, Table, Taken};

/// Keys that one cluster may accept at once, as far as a witness goes.
pub const KEYS_MAX: usize = 8;
/// Events that were not told yet.
const NOTES_MAX: usize = 8;
/// Unproven incarnations that one frame answers.
const UNPROVEN_MAX: usize = 2;

type Ciphers = Vec<(u8, XChaCha20Poly1305), KEYS_MAX>;

/// The voter that owns nothing, for up to `CLUSTERS` clusters.
#[derive(Clone)]
pub struct Witness<const CLUSTERS: usize> {
    name: NameHash,
    incarnation: Incarnation,
    started: Instant,
    now: Instant,
    /// Sequence number of the last frame sent.
    sent: u64,
    links_up: LinkSet,
    tables: Vec<Table, CLUSTERS>,
    notes: Notes,
    counters: Counters,
    cloned: bool,
    /// Told with every frame, if there is any. (No `Option`: a witness that has not begun is all
    /// zeros, so that a microcontroller need not keep a picture of it in its flash.)
    health: Health,
    healthy: bool,
}

/// One key of one cluster.
#[derive(Clone, Copy)]
pub struct Key {
    /// Hash of the cluster's name.
    pub tag: u32,
    /// The key's number.
    pub number: u8,
    /// The key.
    pub key: [u8; 32],
}

/// Why keys are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// More clusters than this witness has tables for.
    Clusters,
    /// More than [`KEYS_MAX`] keys of one cluster.
    Keys,
    /// Two keys of one cluster have the same number.
    Twice,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time has passed. Due at the latest at [`Witness::deadline`].
    Tick,
    /// Bytes arrived on a link; anything at all, from anybody.
    Frame {
        /// Where.
        link: LinkId,
        /// What.
        bytes: &'a [u8],
    },
    /// A link was opened or lost.
    Link {
        /// Which.
        link: LinkId,
        /// Whether it can carry frames now.
        up: bool,
    },
}

/// Something to do. Poll until `None` after every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the first `len` bytes of the frame buffer on every one of these links.
    Transmit {
        /// Links to send on.
        links: LinkSet,
        /// Bytes of the frame.
        len: u16,
    },
    /// Something worth telling; never needed for correctness.
    Event(Note),
    /// Our incarnation is not ours alone: begin anew with another one.
    Restart,
}

/// An event and the cluster that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The cluster's tag.
    pub tag: u32,
    /// What happened.
    pub event: Event,
}

/// Something worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A node is there: both directions are proven.
    Alive(NodeId),
    /// A node has fallen silent.
    Silent(NodeId),
    /// A node said goodbye: it runs nothing.
    Left(NodeId),
    /// A node has a new incarnation.
    Restarted(NodeId),
    /// The vote for a group was given to a node, until then if it is not renewed.
    Granted(NodeId, NameHash, Instant),
    /// A frame of a cluster came that we have no keys of.
    UnknownCluster(LinkId),
    /// Frames in a node's name come, but none of our keys opens them.
    Unsealed(NodeId, LinkId),
    /// Another witness of our name answers the nodes that call us by this number.
    Namesake(NodeId),
    /// A node does not list this witness.
    NotListed(NodeId),
    /// A node named a group, or came itself, for which there is no room.
    Full(NodeId),
    /// So many events were lost because too many happened at once.
    Lost(u32),
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Frames sent.
    pub sent: u64,
    /// Frames that counted.
    pub fresh: u64,
    /// Second copies, and frames overtaken by newer ones.
    pub doubled: u64,
    /// Authentic frames that prove nothing (yet).
    pub unproven: u64,
    /// Frames of an incarnation that has been replaced.
    pub replaced: u64,
    /// Frames of newcomers for which there was no room.
    pub refused: u64,
    /// Too short, too long, or of another version.
    pub malformed: u64,
    /// Of a cluster that we have no keys of.
    pub foreign: u64,
    /// Unknown key, or a seal that does not fit.
    pub unsealed: u64,
    /// Of nodes that do not list this witness, and of other witnesses.
    pub unlisted: u64,
    /// Our own, come back.
    pub own: u64,
    /// Of another witness of our name.
    pub namesakes: u64,
}

impl Counters {
    const NONE: Counters = Counters {
        sent: 0,
        fresh: 0,
        doubled: 0,
        unproven: 0,
        replaced: 0,
        refused: 0,
        malformed: 0,
        foreign: 0,
        unsealed: 0,
        unlisted: 0,
        own: 0,
        namesakes: 0,
    };
}

/// A bounded ring of events: a full one only counts what it lost.
#[derive(Clone, Debug)]
struct Notes {
    ring: Deque<Note, NOTES_MAX>,
    lost: u32,
}

impl Note {
    fn new(tag: u32, event: Event) -> Note {
        Note { tag, event }
    }
}

impl Notes {
    fn push(&mut self, note: Note) {
        if self.ring.push_back(note).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<Note> {
        self.ring.pop_front().or_else(|| {
            let lost = ::core::mem::take(&mut self.lost);
            (lost > 0).then_some(Note { tag: 0, event: Event::Lost(lost) })
        })
    }
}

impl<const CLUSTERS: usize> Witness<CLUSTERS> {
    /// A witness that starts at `now`; `incarnation`: 64 random bits, drawn at this start.
    ///
    /// # Errors
    /// [`KeyError`]: there are more keys than places for them, or two of one number.
    pub fn new(
        name: NameHash,
        keys: &[Key],
        incarnation: Incarnation,
        now: Instant,
    ) -> Result<Self, KeyError> {
        let mut witness = Self::DUMB;
        witness.begin(name, incarnation, now);
        keys.iter().try_for_each(|key| witness.accept(key))?;
        Ok(witness)
    }

    /// A witness without name and keys, which nobody hears. A microcontroller has no room to make
    /// one and then move it: it begins with this, calls [`begin`](Self::begin) and
    /// [`accept`](Self::accept).
    pub const DUMB: Self = Witness {
        name: NameHash(0),
        incarnation: Incarnation(0),
        started: Instant::from_micros(0),
        now: Instant::from_micros(0),
        sent: 0,
        links_up: LinkSet::EMPTY,
        tables: Vec::new(),
        notes: Notes { ring: Deque::new(), lost: 0 },
        counters: Counters::NONE,
        cloned: false,
        health: Health::NONE,
        healthy: false,
    };

    /// Gives a [`DUMB`](Self::DUMB) witness what [`new`](Self::new) takes.
    pub fn begin(&mut self, name: NameHash, incarnation: Incarnation, now: Instant) {
        self.name = name;
        self.incarnation = incarnation;
        self.started = now;
        self.now = now;
        self.sent = now.micros();
    }

    /// Takes one more key.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn accept(&mut self, key: &Key) -> Result<(), KeyError> {
        if !self.tables.iter().any(|table| table.tag == key.tag) {
            self.tables.push(Table::EMPTY).map_err(|_| KeyError::Clusters)?;
            self.tables.last_mut().ok_or(KeyError::Clusters)?.tag = key.tag;
        }
        let table = self.tables.iter_mut().find(|table| table.tag == key.tag);
        let table = table.ok_or(KeyError::Clusters)?;
        if table.ciphers.iter().any(|known| known.0 == key.number) {
            return Err(KeyError::Twice);
        }
        let cipher = seal::cipher(&key.key);
        table.ciphers.push((key.number, cipher)).map_err(|_| KeyError::Keys)
    }

    /// Takes one input. Never fails, does bounded work; drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        // What has ended, has ended before the frame came.
        self.turn();
        match input {
            Input::Tick => {}
            Input::Link { link, up } => self.links_up.set(link, up),
            Input::Frame { link, bytes } => {
                self.copied(link, bytes);
                self.turn();
            }
        }
    }

    /// As [`handle`](Self::handle) of a frame, which is opened where it stands: a microcontroller
    /// has no memory for a copy of it.
    pub fn handle_in_place(&mut self, now: Instant, link: LinkId, bytes: &mut [u8]) {
        self.now = self.now.max(now);
        self.turn();
        self.frame(link, bytes);
        self.turn();
    }

    /// Not inlined: only who calls it pays for the copy.
    #[inline(never)]
    fn copied(&mut self, link: LinkId, bytes: &[u8]) {
        let mut copy = [0; FRAME_MAX];
        match copy.get_mut(..bytes.len()) {
            Some(copy) => {
                copy.copy_from_slice(bytes);
                self.frame(link, copy);
            }
            None => self.counters.malformed += 1,
        }
    }

    fn turn(&mut self) {
        for table in &mut self.tables {
            table.turn(self.now, self.started, &mut self.notes);
        }
    }

    /// The next thing to do, or `None`: wait for the next input.
    #[must_use]
    pub fn poll(&mut self, frame: &mut FrameBuf) -> Option<Output> {
        if ::core::mem::take(&mut self.cloned) {
            return Some(Output::Restart);
        }
        for place in 0..self.tables.len() {
            // Each answer, sent or not, ends what it is due to: the loop does too.
            while let Some(answer) = self.answer(place, frame) {
                if let Some(transmit) = answer {
                    return Some(transmit);
                }
            }
        }
        self.notes.pop().map(Output::Event)
    }

    /// What the frames from now on say of the board: nothing on Linux, whose machine has better
    /// ways to tell.
    pub fn set_health(&mut self, health: Option<Health>) {
        self.healthy = health.is_some();
        self.health = health.unwrap_or(Health::NONE);
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Instant {
        let due = self.tables.iter().map(|table| table.deadline(self.started));
        due.min().unwrap_or(Instant::NEVER)
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn frame(&mut self, link: LinkId, bytes: &mut [u8]) {
        let Ok(header) = Header::decode(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        if header.incarnation == self.incarnation {
            // Broadcasts come back to their sender.
            self.counters.own += 1;
            return;
        }
        let Some(table) = self.tables.iter_mut().find(|table| table.tag == header.tag) else {
            self.counters.foreign += 1;
            if self.counters.foreign.is_power_of_two() {
                self.notes.push(Note::new(header.tag, Event::UnknownCluster(link)));
            }
            return;
        };
        let cipher = table.ciphers.iter().find(|known| known.0 == header.key);
        let text = cipher.and_then(|known| seal::open_in_place(&known.1, &header, bytes).ok());
        let Some(text) = text else {
            self.counters.unsealed += 1;
            if self.counters.unsealed.is_power_of_two() {
                self.notes.push(Note::new(header.tag, Event::Unsealed(header.node, link)));
            }
            return;
        };
        let Some(body) = Reader::new(text) else {
            self.counters.malformed += 1;
            return;
        };
        if body.flags.witness() && table.is_namesake(&header, &body, self.now, self.started) {
            self.counters.namesakes += 1;
            if self.counters.namesakes.is_power_of_two() {
                self.notes.push(Note::new(header.tag, Event::Namesake(header.node)));
            }
        }
        let me = table::number(self.name, &body).filter(|_| !body.flags.witness());
        let Some(me) = me.filter(|me| *me != header.node) else {
            self.counters.unlisted += 1;
            if !body.flags.witness() && self.counters.unlisted.is_power_of_two() {
                self.notes.push(Note::new(header.tag, Event::NotListed(header.node)));
            }
            return;
        };
        let judge = Judge {
            now: self.now,
            started: self.started,
            incarnation: self.incarnation,
            sent: self.sent,
        };
        let count = match table.take(&judge, &header, &body, me, &mut self.notes) {
            Taken::Fresh => &mut self.counters.fresh,
            Taken::Doubled => &mut self.counters.doubled,
            Taken::Unproven => &mut self.counters.unproven,
            Taken::Replaced => &mut self.counters.replaced,
            Taken::Full => &mut self.counters.refused,
            Taken::FromTheFuture | Taken::Missed => {
                self.cloned = true;
                &mut self.counters.own
            }
        };
        *count += 1;
    }

    /// The next frame that is due to nodes of one cluster; `Some(None)`: it cannot be sent.
    fn answer(&mut self, place: usize, frame: &mut FrameBuf) -> Option<Option<Output>> {
        let table = self.tables.get_mut(place)?;
        let (to, unproven) = table.next(self.now)?;
        if unproven {
            table.spaced = Some(self.now);
        }
        // Several frames in one microsecond: all but the first run a little ahead of the clock.
        let sequence = self.now.micros().max(self.sent + 1);
        let header = Header {
            key: to.key,
            tag: table.tag,
            node: to.me,
            incarnation: self.incarnation,
            sequence,
        };
        table.sent = table.sent.wrapping_add(1);
        let health = self.healthy.then_some(self.health);
        let body = frame.get_mut(HEADER_LEN..)?.get_mut(..BODY_MAX)?;
        let blind = self.now < table.blind_until(self.started);
        let len = table.write(&to, self.now, blind, health, body);
        let cipher = table.ciphers.iter().find(|known| known.0 == to.key);
        let sealed = len.zip(cipher).and_then(|(len, known)| {
            seal::close(&known.1, &header, len, frame).and_then(|len| u16::try_from(len).ok())
        });
        self.sent = sequence;
        let links = self.links_up;
        let sent = sealed.filter(|_| !links.is_empty());
        self.counters.sent += u64::from(sent.is_some());
        Some(sent.map(|len| Output::Transmit { links, len }))
    }
}

impl Table {
    /// Writes a frame's body for those with this address, who are answered by it.
    fn write(
        &mut self,
        to: &Address,
        now: Instant,
        blind: bool,
        health: Option<Health>,
        out: &mut [u8],
    ) -> Option<usize> {
        let mut unproven = Vec::<Heard, UNPROVEN_MAX>::new();
        let kept = self.kept();
        self.candidates.retain(|known| now.since(known.at) <= kept);
        for known in &mut self.candidates {
            if known.due && known.address == *to && !unproven.is_full() {
                known.due = false;
                let age = now.since(known.at).micros();
                let heard = heard(known.node, known.incarnation, known.sequence, age);
                // Cannot fail: there is room.
                let _ = unproven.push(heard);
            }
        }
        for voter in &mut self.voters {
            if voter.address == *to {
                voter.due = Due::Nothing;
            }
        }
        let listed = self.voters.iter().filter(|voter| voter.address.voters == to.voters);
        let mut writer = Writer::new(out);
        writer.put(&self.sent)?;
        writer.put(&NodeFlags::default().with_witness(true).with_ready(true))?;
        writer.put(&NameHash(0))?;
        writer.put(&NameHash(to.voters))?;
        writer.put(&None::<Incarnation>)?;
        writer.put(&0u8)?;
        writer.put(&0u32)?;
        writer.count(0)?;
        writer.count(listed.clone().count() + unproven.len())?;
        for voter in listed {
            let age = now.since(voter.heard_at).micros();
            writer.put(&heard(voter.node, voter.incarnation, voter.sequence, age))?;
        }
        for heard in &unproven {
            writer.put(heard)?;
        }
        writer.count(self.groups.len())?;
        for group in &self.groups {
            let (name, term) = (group.name, group.term);
            let (phase, flags) = (Phase::Stopped, GroupFlags::default().with_blind(blind));
            writer.put(&GroupPart { name, phase, flags, term, ..GroupPart::default() })?;
        }
        writer.count(self.groups.len())?;
        for group in &self.groups {
            writer.put(&self.grant_part(group, to.voters, now))?;
        }
        if let Some(health) = health {
            // Where there is no room left, the votes are what matters.
            let _ = writer.put(&health);
        }
        Some(writer.len())
    }

    fn grant_part(&self, group: &Group, voters: u32, now: Instant) -> GrantPart {
        let Some(grant) = group.binding(now) else { return GrantPart::None };
        let mut listed = self.voters.iter().filter(|voter| voter.address.voters == voters);
        let Some(voter) = listed.find(|voter| voter.node == grant.node) else {
            // Its number means somebody else to those who have this list, or it is long silent.
            return GrantPart::None;
        };
        match voter.sequence.checked_sub(grant.sequence) {
            Some(behind) if voter.incarnation == grant.incarnation => {
                GrantPart::Heard { node: grant.node, behind }
            }
            _ => GrantPart::Other {
                node: grant.node,
                incarnation: grant.incarnation,
                sequence: grant.sequence,
            },
        }
    }
}

/// An entry of [`Body::heard`](super::wire::Body::heard). No links: ours have other numbers than
/// the node's; what we hear at all is said of the link that carries our frame.
fn heard(node: NodeId, incarnation: Incarnation, sequence: u64, age: u64) -> Heard {
    Heard { node, incarnation, sequence, age, links: LinkSet::EMPTY }
}

#[cfg(test)]
mod tests;
