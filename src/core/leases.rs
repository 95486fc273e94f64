//! The longest lease that may be about: what a voter waits for that has forgotten its grants.
//!
//! Whoever lost its memory does not know to whom it granted, nor for how long: its configuration
//! may have been shortened since. So each node notes on its disk, for each group, the longest lease
//! that it was ever configured with or that was ever claimed, and **grants nothing longer than its
//! note says**. The configured time ([`Settings::blackout`](super::Settings::blackout)) needs no
//! note. A witness has no disk: every frame tells it the longest lease that its sender knows of.
//!
//! The note becomes shorter only after all nodes were heard showing one configuration that differs
//! from the one that the note was made under, and the longest lease has run once since.
use super::cluster::Cluster;
use super::config::Rule;
use super::id::{GroupId, JobId, NodeId, NodeSet};
use super::limits::GROUPS_MAX;
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};
use super::wire::Header;

/// What this node knows of the leases that may be about, for each group.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Leases {
    /// What the note said when this node started.
    recalled: [Duration; GROUPS_MAX],
    /// The longest one known.
    longest: [Duration; GROUPS_MAX],
    /// The longest one heard of or configured since this node's start, or since all agreed.
    lately: [Duration; GROUPS_MAX],
    /// What stands on the disk.
    noted: [Duration; GROUPS_MAX],
    /// The note was made under the present configuration: it does not become shorter.
    settled: bool,
    /// The nodes whose latest frame showed our configuration.
    agreeing: NodeSet,
    /// Since when all of them are.
    agreed_since: Option<Instant>,
    /// The note that was asked for: its number, and what it says.
    asked: Option<(JobId, [Duration; GROUPS_MAX])>,
    /// The disk has another note than it should have.
    due: bool,
    /// The note of an earlier start was taken over, if there is one.
    pub(super) awake: bool,
}

impl Leases {
    /// Nothing noted.
    pub(super) const EMPTY: Leases = Leases {
        recalled: [Duration::ZERO; GROUPS_MAX],
        longest: [Duration::ZERO; GROUPS_MAX],
        lately: [Duration::ZERO; GROUPS_MAX],
        noted: [Duration::ZERO; GROUPS_MAX],
        settled: true,
        agreeing: NodeSet::EMPTY,
        agreed_since: None,
        asked: None,
        due: false,
        awake: false,
    };
}

impl Cluster {
    /// Takes over what stands on the disk, our own leases among it; at the start, before anything
    /// else. `settled`: it was noted under the present configuration.
    pub fn recall_leases(&mut self, noted: &[Duration; GROUPS_MAX], settled: bool) {
        if on(Mutation::ForgetsLeases) {
            return;
        }
        self.leases.settled = settled;
        for id in self.config.group_ids() {
            let noted = noted.get(id.index()).copied().unwrap_or_default();
            let longest = noted.max(self.config.lease(id));
            self.leases.recalled[id.index()] = noted;
            self.leases.longest[id.index()] = longest;
            self.leases.noted[id.index()] = longest;
        }
        self.due = self.next_due();
    }

    /// The longest lease of `group` that may be about: what is to be noted.
    pub fn longest_lease(&self, group: GroupId) -> Duration {
        self.leases.longest[group.index()]
    }

    /// Whether the note is of the present configuration.
    pub fn leases_settled(&self) -> bool {
        self.leases.settled
    }

    /// Our own leases, known without a note.
    pub(super) fn know_own_leases(&mut self) {
        for id in self.config.group_ids() {
            let own = self.config.lease(id);
            self.leases.longest[id.index()] = own;
            self.leases.lately[id.index()] = own;
            self.leases.noted[id.index()] = own;
        }
    }

    /// What frames tell a witness, in whole milliseconds.
    pub(super) fn longest_told(&self) -> u32 {
        if self.config.rule != Rule::Majority || on(Mutation::ForgetsLeases) {
            return 0;
        }
        let longest = self.leases.longest.iter().copied().max().unwrap_or_default();
        u32::try_from(longest.micros().div_ceil(1000)).unwrap_or(u32::MAX)
    }

    /// The longest lease of `group` that we may have promised and forgotten.
    pub(super) fn recalled_lease(&self, group: GroupId) -> Duration {
        self.leases.recalled[group.index()]
    }

    /// Whatever was promised and forgotten has ended: a longer lease that is configured or claimed
    /// later makes nobody blind again.
    pub(super) fn watch_blindness(&mut self, group: GroupId) {
        let blind = self.is_blind(group);
        let state = &mut self.groups[group.index()];
        if self.leases.awake && !blind && state.forgotten.take().is_some() {
            // It could not be claimed before.
            state.free_since = state.free_since.map(|since| since.max(self.now));
            self.dirty = true;
        }
    }

    /// A claim of such a lease was heard. Whether it may be granted: a longer one is noted first.
    pub(super) fn notes_lease(&mut self, group: GroupId, lease: Duration) -> bool {
        if self.config.rule != Rule::Majority || on(Mutation::ForgetsLeases) {
            return true;
        }
        let place = group.index();
        self.leases.longest[place] = self.leases.longest[place].max(lease);
        self.leases.lately[place] = self.leases.lately[place].max(lease);
        if lease <= self.leases.noted[place].max(self.config.blackout) {
            return true;
        }
        self.leases.due = true;
        false
    }

    /// A frame of a node came: does it show our configuration?
    pub(super) fn watch_agreement(&mut self, header: &Header) {
        let agrees = self.peers[header.node.index()].body.digest == self.config.digest;
        self.leases.agreeing.set(header.node, agrees);
    }

    /// Whether an old note may become shorter now.
    pub(super) fn watch_leases(&mut self) {
        if self.leases.settled || self.config.rule != Rule::Majority {
            return;
        }
        let agrees = |node: NodeId| self.leases.agreeing.contains(node);
        if !self.config.others().all(agrees) {
            self.leases.agreed_since = None;
            return;
        }
        if self.leases.agreed_since.is_none() {
            self.leases.agreed_since = Some(self.now);
            for id in self.config.group_ids() {
                self.leases.lately[id.index()] = self.config.lease(id);
            }
        }
        let blind = self.config.group_ids().any(|id| self.is_blind(id));
        if !blind && self.leases_end().is_some_and(|end| self.now >= end) {
            self.leases.settled = true;
            self.leases.longest = self.leases.lately;
            self.leases.due = true;
        }
    }

    /// When no lease of an earlier configuration is about any more, if no other comes up.
    fn leases_end(&self) -> Option<Instant> {
        let since = self.leases.agreed_since.filter(|_| !self.leases.settled)?;
        let longest = self.leases.longest.iter().copied().max().unwrap_or_default();
        // Two clocks, each 1 % wrong; and the last claim may have been under way.
        Some(since + longest + longest.ratio(2, 98) + self.config.dead)
    }

    /// When the note becomes shorter.
    pub(super) fn leases_due(&self) -> Option<Instant> {
        self.leases_end()
    }

    /// The note that is to be written now: its number.
    pub(super) fn unwritten_note(&mut self) -> Option<JobId> {
        if self.leases.asked.is_some() || !::core::mem::take(&mut self.leases.due) {
            return None;
        }
        self.jobs = self.jobs.wrapping_add(1);
        let number = JobId(self.jobs);
        // What becomes shorter does so before it is written: it may be there at any moment.
        for (noted, longest) in self.leases.noted.iter_mut().zip(self.leases.longest) {
            *noted = (*noted).min(longest);
        }
        self.leases.asked = Some((number, self.leases.longest));
        Some(number)
    }

    /// A note has been written.
    pub(super) fn noted(&mut self, number: JobId) {
        let Some((_, noted)) = self.leases.asked.filter(|asked| asked.0 == number) else {
            self.counters.outdated_reports += 1;
            return;
        };
        self.leases.asked = None;
        self.leases.noted = noted;
        let longer = |(longest, noted): (&Duration, &Duration)| longest > noted;
        self.leases.due |= self.leases.longest.iter().zip(&noted).any(longer);
    }
}
