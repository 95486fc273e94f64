//! What the simulator and the exhaustive search look at; no part of the real thing.
use super::cluster::Cluster;
use super::fence::{Fence, Request};
use super::group::{Group, Job};
use super::id::{GroupId, Incarnation, LinkSet, NodeId, Term};
use super::io::Phase;
use super::limits::VOTERS_MAX;
use super::peer::Peer;
use super::time::Instant;
use super::wire::Body;
use ::core::hash::{Hash, Hasher};

/// One group as the node's tables have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What it does with it.
    pub phase: Phase,
    /// The ownership that it claims.
    pub claim: Option<Term>,
    /// To whom its vote is bound.
    pub grant: Option<(NodeId, Incarnation)>,
    /// Until when it counts the vote of each other voter for its present claim.
    pub votes: [Option<Instant>; VOTERS_MAX],
}

impl Cluster {
    /// One group as it stands.
    pub fn inspect(&self, group: GroupId) -> Inspected {
        let state = &self.groups[group.index()];
        Inspected {
            phase: state.phase,
            claim: state.claim.map(|claim| claim.term),
            grant: state.binding(self.now).map(|grant| (grant.node, grant.incarnation)),
            votes: state.votes,
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

    /// The start before, if it is remembered.
    pub fn predecessor(&self) -> Option<Incarnation> {
        self.predecessor
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

    /// Feeds everything that what this node does from now on depends on; not the settings, which
    /// whoever compares two nodes must know to be the same. Two nodes that feed the same answer the
    /// same inputs with the same outputs, but for the texts of events, the counters, and the
    /// numbers of jobs, which mean nothing but themselves.
    ///
    /// Every field is named, so that a new one cannot be forgotten.
    pub fn identify(&self, hasher: &mut impl Hasher) {
        let Cluster {
            config,
            incarnation,
            predecessor,
            now,
            started,
            peers,
            groups,
            links_up,
            hung_up,
            standby,
            shutting_down,
            ready,
            doubt_until,
            urgent,
            dirty,
            // Drained after every input.
            events: _,
            // For people, and for texts.
            counters: _,
            next_beat,
            due,
            beats,
            sent,
            cloned,
            restart_told,
            goodbyes,
            exit_told,
            reply,
            jobs: _,
            random,
            // For texts.
            told_links: _,
            told_differs: _,
            // For people.
            reception: _,
            fences,
            guard,
            in_force,
            force_untold,
            showing,
            leases,
            remembering,
            unsaved_until,
            pet,
            renew_at,
            renew_told,
            told_disputed: _,
            trying,
            // For texts, and only without a peer.
            strangers: _,
        } = self;
        // What is past stays past.
        let doubt_until = (now < doubt_until).then_some(doubt_until);
        let started = (!ready).then_some(started);
        // Slow links are skipped by this number.
        let beats = config.every.iter().any(|every| *every > 1).then_some(beats);
        (incarnation, predecessor, now, started, links_up, hung_up, standby).hash(hasher);
        (shutting_down, ready, doubt_until, urgent, dirty, next_beat, due.at, beats, sent)
            .hash(hasher);
        (cloned, restart_told, goodbyes, exit_told, reply.is_some(), random).hash(hasher);
        (guard, in_force, force_untold, showing, remembering, unsaved_until, pet).hash(hasher);
        (trying, leases, renew_at, renew_told).hash(hasher);
        for node in config.voters() {
            peers[node.index()].identify(config.links(), hasher);
            fences[node.index()].identify(hasher);
        }
        for group in config.group_ids() {
            groups[group.index()].identify(hasher);
        }
    }
}

impl Group {
    fn identify(&self, hasher: &mut impl Hasher) {
        let Group {
            phase,
            job,
            claim,
            grant,
            forgotten,
            inherited,
            votes,
            term,
            able,
            failed_until,
            pinned,
            declined,
            wanted,
            hand_back,
            announce,
            rival,
            last_owner,
            free_since,
            back_off_until,
            retry_at,
            adoptable,
            better,
            unsteady,
            handed_back,
            told_nobody,
            asked_since,
            answered,
            held_back,
            connected,
            reset_now,
            reset_told,
            reset_unissued,
        } = self;
        // A report is for the present job or for none: whoever keeps the report tells.
        let job = job.map(|Job { id: _, kind, issued }| (kind, issued));
        (phase, job, claim, grant, forgotten, inherited, votes, term).hash(hasher);
        (able, failed_until, pinned, declined, wanted, hand_back, announce).hash(hasher);
        (rival, last_owner, free_since, back_off_until, retry_at, adoptable).hash(hasher);
        (better, unsteady, handed_back, told_nobody, asked_since, answered).hash(hasher);
        (held_back, connected, reset_now, reset_told, reset_unissued).hash(hasher);
    }
}

/// Feeds a frame's body but for the count of frames, which nobody decides by.
pub fn identify_body(body: &Body, hasher: &mut impl Hasher) {
    let Body {
        count: _,
        flags,
        digest,
        voters,
        predecessor,
        references,
        longest,
        witnesses,
        heard,
        groups,
        grants,
    } = body;
    (flags, digest, voters, predecessor, references, longest, witnesses.as_slice()).hash(hasher);
    (heard.as_slice(), groups.as_slice(), grants.as_slice()).hash(hasher);
}

impl Fence {
    fn identify(&self, hasher: &mut impl Hasher) {
        let Fence { seen, proof, wanted, request, retry_at, told_unseen, spared_until, .. } = self;
        let (struck, lied) = (self.struck, self.lied);
        // An answer is for this request or for none: whoever keeps the answer tells.
        let request = request.map(|request| {
            let Request { id: _, names, outlived, issued, by_hand } = request;
            (names, outlived, issued, by_hand)
        });
        (seen, proof, wanted, request, retry_at, told_unseen, spared_until, struck, lied)
            .hash(hasher);
    }
}

impl Peer {
    fn identify(&self, links: LinkSet, hasher: &mut impl Hasher) {
        let Peer {
            incarnation,
            body,
            sequence,
            beat,
            left,
            told,
            heard_at,
            fresh_at,
            timely_at,
            echoed,
            paths,
            hears_us_on,
            candidates,
            turn,
            // For people.
            key: _,
            latest_key: _,
            replaced,
            renewed_at,
            twin_at,
            elsewhere,
            unanswered,
            // For people.
            board: _,
        } = self;
        (incarnation, sequence, beat, left, told, heard_at, fresh_at, timely_at, echoed)
            .hash(hasher);
        (hears_us_on, candidates, turn, unanswered).hash(hasher);
        (renewed_at, twin_at, elsewhere).hash(hasher);
        identify_body(body, hasher);
        replaced.iter().for_each(|old| old.hash(hasher));
        for link in links.iter() {
            // The round trip is for people.
            paths[link.index()].heard.hash(hasher);
        }
    }
}
