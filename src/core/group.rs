//! What this node knows and does of one group.
//!
//! ```text
//!             claim             lease              report
//!  Stopped ----------> Stopped -------> Starting ---------> Running
//!     ^      (no claim) (claim)            |                   |
//!     |                                    | lost, rival,      |
//!     |            report: stopped         v handed over       v
//!     +--------------------------------- Stopping <------------+
//!                                           | report: failed
//!                                           v
//!  Unknown --probe--> Stopped|Running    Blocked (or released, as configured)
//! ```
use super::id::{GroupId, Incarnation, JobId, NodeId, Term};
use super::io::{Doubt, Phase, StopReason};
use super::limits::VOTERS_MAX;
use super::mutation::{Mutation, on};
use super::time::{Duration, Instant};

/// A claim of ours.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Claim {
    /// Sequence number of the first frame that carried it; `None`: not sent yet.
    pub(super) number: Option<u64>,
    /// When it was made.
    pub(super) since: Instant,
    /// Since when its votes could have come.
    pub(super) waits_since: Instant,
    /// The ownership it stands for.
    pub(super) term: Term,
}

/// Our vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// The claim frame that set the expiry.
    pub(super) sequence: u64,
    /// Number of that claim.
    pub(super) number: u64,
    /// The lease that the claim asked for.
    pub(super) lease: Duration,
    /// Until when it binds us.
    pub(super) until: Instant,
    /// It is written down: it may be told.
    pub(super) saved: bool,
}

/// A job that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) kind: JobKind,
    /// Whether the output was polled.
    pub(super) issued: bool,
}

/// The kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum JobKind {
    Probe,
    Start,
    /// A start of what runs already.
    Adopt,
    Stop(StopReason),
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) job: Option<Job>,
    pub(super) claim: Option<Claim>,
    pub(super) grant: Option<Grant>,
    /// No memory of this boot told to whom this node granted it: since when.
    pub(super) forgotten: Option<Instant>,
    /// Adopted, and until then by right of our predecessor's lease.
    pub(super) inherited: Option<Instant>,
    /// Until when each voter's grant for the present claim counts.
    pub(super) votes: [Option<Instant>; VOTERS_MAX],
    /// The highest ownership known.
    pub(super) term: Term,
    /// It could serve its clients here.
    pub(super) able: bool,
    /// A start failed here: not again before then.
    pub(super) failed_until: Option<Instant>,
    /// Moved by hand: no failback on its own.
    pub(super) pinned: bool,
    /// Given away by hand: taken only when nobody else can.
    pub(super) declined: bool,
    /// Asked of its owner until then; true: to be pinned.
    pub(super) wanted: Option<(Instant, bool)>,
    /// To be handed back to its preferred node now.
    pub(super) hand_back: bool,
    /// Its addresses are to be announced again.
    pub(super) announce: bool,
    /// Who else owns it, while two do.
    pub(super) rival: Option<NodeId>,
    /// The owner seen last.
    pub(super) last_owner: Option<NodeId>,
    /// Since when nobody claims it.
    pub(super) free_since: Option<Instant>,
    /// No new claim before then.
    pub(super) back_off_until: Option<Instant>,
    /// A blocked stop is tried again then.
    pub(super) retry_at: Option<Instant>,
    /// What an earlier incarnation of ours owned and may be adopted, until the probe has ended: by
    /// which term, and until when that one vouched for it.
    pub(super) adoptable: Option<(Term, Instant)>,
    /// The better placed node that could take it, and since when without a break.
    pub(super) better: Option<(NodeId, Instant)>,
    /// Failbacks that did not last double the delay: it is shifted left by so much.
    pub(super) unsteady: u32,
    /// When it was handed back last.
    pub(super) handed_back: Option<Instant>,
    /// It was told that nobody is able.
    pub(super) told_nobody: bool,
    /// Since when the LAN is asked for its addresses.
    pub(super) asked_since: Option<Instant>,
    /// When somebody answered last.
    pub(super) answered: Option<Instant>,
    /// What holds this node back from taking it from a silent one.
    pub(super) held_back: Option<(NodeId, Doubt)>,
    /// The better connected node that could take it, and since when without a break.
    pub(super) connected: Option<(NodeId, Instant)>,
    /// It could not be stopped: this machine must be reset.
    pub(super) reset_now: bool,
    /// The reset was told of.
    pub(super) reset_told: bool,
    /// It is still to be carried out.
    pub(super) reset_unissued: bool,
}

impl Group {
    /// Whether it runs here, or is on its way up.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    /// Nothing that was granted to a former claim counts any more.
    pub(super) fn forget_votes(&mut self) {
        if !on(Mutation::ClaimNumbered) {
            self.votes = Default::default();
        }
        self.inherited = None;
    }

    /// The grant, if it still binds at `now`.
    pub(super) fn binding(&self, now: Instant) -> Option<Grant> {
        self.grant.filter(|grant| now < grant.until)
    }
}

/// A group of another node's frame, or the empty one.
pub(super) fn part(body: &super::wire::Body, group: GroupId) -> super::wire::GroupPart {
    body.groups.get(group.index()).copied().unwrap_or_default()
}
