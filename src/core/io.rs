//! The whole surface of the core: what goes in, what comes out, and what can be looked at.
use super::id::{GroupId, GroupSet, Incarnation, JobId, LinkId, LinkSet, NodeId, NodeSet, Term};
use super::limits::{GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use super::seal::Keys;
use super::time::{Duration, Instant};
use super::witness::health::Health;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time has passed. Harmless at any moment; due at the latest at [`Deadline::at`].
    Tick,
    /// Bytes arrived on a link; anything at all, from anybody.
    Frame {
        /// Where.
        link: LinkId,
        /// What.
        bytes: &'a [u8],
    },
    /// A link was opened or lost (carrier, device, socket).
    Link {
        /// Which.
        link: LinkId,
        /// Whether it can carry frames now.
        up: bool,
    },
    /// The modem lines of a serial link have dropped: its other end has lost its power, closed the
    /// port, or is unplugged. [`Input::Link`] tells when they are up again.
    HungUp {
        /// Which.
        link: LinkId,
    },
    /// Whether this node could serve a group's clients now (carrier of its addresses' interfaces).
    Able {
        /// Which group.
        group: GroupId,
        /// Whether it could.
        able: bool,
    },
    /// A job that the core asked for has ended.
    Report {
        /// Which group.
        group: GroupId,
        /// The job's number; an outdated one is ignored.
        job: JobId,
        /// What it came to.
        outcome: Outcome,
    },
    /// A fence that the core asked for has ended.
    Fenced {
        /// Whom.
        node: NodeId,
        /// The request's number; an outdated one is ignored.
        request: JobId,
        /// What it came to.
        outcome: Fenced,
    },
    /// How many references this node reaches now (changes are told; a group of them counts one).
    References {
        /// How many.
        reached: u8,
    },
    /// So many references have answered a question that was sent since [`Output::Ask`] began.
    Confirmed {
        /// How many.
        references: u8,
    },
    /// Somebody on the LAN, not this node, answered for an address of the group.
    Answered {
        /// Which group.
        group: GroupId,
    },
    /// The heartbeat wire of a node changed: its loop turns. Proves nothing.
    Beat {
        /// Whose.
        node: NodeId,
    },
    /// [`Output::Remember`] could not be carried out: it is asked for again, and nothing is granted
    /// meanwhile that is not written down.
    NotRemembered,
    /// [`Output::Note`] was carried out.
    Noted {
        /// The request's number; an outdated one is ignored.
        number: JobId,
    },
    /// From now on these keys: nothing else changes, no frame is left out and none repeats.
    Keys {
        /// All that are accepted, and the one that seals.
        keys: &'a Keys,
    },
    /// Somebody wants something. Answered by one [`Output::Reply`].
    Command {
        /// Chosen by the caller, returned in the reply.
        id: u32,
        /// What.
        command: Command,
    },
}

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// Everything of the group runs (after a start or a probe).
    Running,
    /// Nothing of the group runs (after a stop or a probe).
    Stopped,
    /// Some of it runs (after a probe).
    Partial,
    /// The start or the stop failed or ran out of time; what runs is not known.
    Failed,
}

/// What a fence came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fenced {
    /// Its power was certainly off at some moment since the fence was asked for.
    Confirmed,
    /// Nothing is certain.
    Failed,
}

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// This node hands its groups over and takes nothing while another node can.
    Standby,
    /// This node hands these groups over; they stay with the new owner until a failback.
    HandOver(GroupSet),
    /// This node asks for these groups; they stay with it until a failback.
    Takeover(GroupSet),
    /// These groups return to their preferred nodes; ends this node's standby and its failures.
    Failback(GroupSet),
    /// Switches a node's power off and on, now.
    Fence(NodeId),
    /// The operator vouches that a node is off and runs nothing. Refused under `majority`.
    ConfirmDead(NodeId),
    /// Finds out who accepts the key of this number: [`Status::trial`] tells. Nobody loses a
    /// heartbeat by it.
    TryKey(u8),
    /// Hands everything over, says goodbye, ends.
    Shutdown,
}

/// The answer to a command. `Ok` means begun: the outcome is seen in [`Status`].
pub type Reply = Result<(), Refusal>;

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// The node has not heard its peers yet, and `initial dead` is not over.
    Starting,
    /// The node is shutting down.
    ShuttingDown,
    /// No other node is alive, willing and able to take this group.
    NobodyToTake(GroupId),
    /// This node is not able to run this group (a failed start, no carrier, not in its list).
    NotAble(GroupId),
    /// The preferred node of this group is not alive, willing and able.
    PreferredAway(GroupId),
    /// The nodes' configurations differ.
    ConfigurationsDiffer,
    /// This group is blocked: a resource could not be stopped on its owner.
    Blocked(GroupId),
    /// There is no such other node that could own groups.
    NoSuchNode(NodeId),
    /// A fence of this node is under way.
    Fencing(NodeId),
    /// This node is there: it was heard within `dead`.
    NodeIsThere(NodeId),
    /// Under `majority` nobody's word counts for a node's.
    WordDoesNotCount,
    /// No key of this number is accepted here.
    NoSuchKey(u8),
}

/// Something to do. Poll until `None` after every input, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write [`Cluster::memory`](super::Cluster::memory) to the runtime directory before anything
    /// that comes after this.
    Remember,
    /// Stop everything of the group, last resource first; aborts a start that is under way.
    Stop {
        /// Which group.
        group: GroupId,
        /// The number the report must carry.
        job: JobId,
    },
    /// Find out what of the group runs, changing nothing.
    Probe {
        /// Which group.
        group: GroupId,
        /// The number the report must carry.
        job: JobId,
    },
    /// Send the first `len` bytes of the frame buffer on every one of these links.
    Transmit {
        /// Links to send on.
        links: LinkSet,
        /// Bytes of the frame.
        len: u16,
    },
    /// Start everything of the group, first resource first.
    Start {
        /// Which group.
        group: GroupId,
        /// The number the report must carry.
        job: JobId,
    },
    /// Ask the LAN for the addresses of these groups (RFC 5227) and the references for an answer,
    /// at once and again `every` so long, until told otherwise; no groups: only the references.
    /// `on` false: stop asking.
    Ask {
        /// Begin, or end.
        on: bool,
        /// Whose addresses.
        groups: GroupSet,
        /// How often.
        every: Duration,
    },
    /// Switch a node's power off, confirm it, then on. Answered by [`Input::Fenced`].
    Fence {
        /// Whom.
        node: NodeId,
        /// The number the report must carry.
        request: JobId,
    },
    /// For the watchdog, before anything else.
    Watchdog(Watchdog),
    /// The list of voters is in force: note it on disk.
    InForce,
    /// Note on disk, where it outlives a reboot, what [`Cluster::longest_lease`] and
    /// [`Cluster::leases_settled`] say now. Answered by [`Input::Noted`].
    ///
    /// [`Cluster::longest_lease`]: super::Cluster::longest_lease
    /// [`Cluster::leases_settled`]: super::Cluster::leases_settled
    Note {
        /// The number the answer must carry.
        number: JobId,
    },
    /// Announce the group's addresses again: a rival was heard, or has gone.
    Announce {
        /// Which group.
        group: GroupId,
    },
    /// The answer to a command.
    Reply {
        /// The command's id.
        id: u32,
        /// The answer.
        reply: Reply,
    },
    /// Something worth telling.
    Event(Event),
    /// A clone of this node is about: forget the memory and start anew with another incarnation.
    Restart,
    /// Another machine had our name, and is gone: start anew with another incarnation, and with
    /// the memory.
    Renew,
    /// Everything is stopped and the goodbye is sent: the program may end.
    Exit,
}

/// What the watchdog is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Watchdog {
    /// All is well for one more timeout.
    Pet,
    /// Reset this machine now: this group could not be stopped in time.
    Reset(GroupId),
}

/// Something worth telling. For people and alerts; never needed for correctness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A node was heard for the first time, or again, not yet both ways.
    NodeSeen(NodeId),
    /// A node is alive: both directions are proven.
    NodeAlive(NodeId),
    /// A node's heartbeat was late by this much silence.
    NodeLate(NodeId, Duration),
    /// A node fell silent for the dead time.
    NodeDead(NodeId, Duration),
    /// A node hears nothing of us, but we hear it.
    NodeDeaf(NodeId),
    /// A node said goodbye: it runs nothing.
    NodeLeft(NodeId),
    /// A node's daemon restarted and named its predecessor.
    NodeRestarted(NodeId),
    /// A peer's link changed its two-way state.
    PeerLink(NodeId, LinkId, LinkState),
    /// One of our links was opened.
    LinkUp(LinkId),
    /// One of our links was lost.
    LinkDown(LinkId),
    /// The other end of a link has hung up: the peer is asked on all links.
    HungUp(LinkId),
    /// This node stood still for so long; it doubts itself before its peers.
    Stalled(Duration),
    /// `initial dead` is over, or all nodes were seen: claims are made from now on.
    Ready,
    /// A node's configuration differs from ours.
    ConfigurationDiffers(NodeId),
    /// A node's configuration agrees with ours again.
    ConfigurationAgrees(NodeId),
    /// This node claims a group, for this reason.
    Claim(GroupId, Term, Reason),
    /// A claim was withdrawn: another node's was better, or a majority did not come.
    ClaimWithdrawn(GroupId),
    /// This node starts a group.
    Starting(GroupId, Term),
    /// This node runs a group.
    Running(GroupId, Term),
    /// A restarted daemon found its group running and keeps it.
    Adopted(GroupId, Term),
    /// This node stops a group, for this reason.
    Stopping(GroupId, StopReason),
    /// This node has stopped a group and released it.
    Released(GroupId),
    /// A start failed on this node.
    StartFailed(GroupId),
    /// A stop failed on this node: released all the same (true), or blocked (false).
    StopFailed(GroupId, bool),
    /// Two nodes owned a group: the rival, the winner's term, and how long each has owned it.
    Rival(GroupId, NodeId, Term, Held),
    /// A silent node is not presumed dead, for this reason.
    HeldBack(GroupId, NodeId, Doubt),
    /// A node is fenced now.
    Fencing(NodeId),
    /// A node will be fenced after so long, if it stays silent: it may shoot first.
    FenceWaits(NodeId, Duration),
    /// A node is certainly off: fenced, or by the operator's word.
    Proven(NodeId, Proof),
    /// A fence was confirmed, but the node has come back meanwhile: it proves nothing.
    FenceLate(NodeId),
    /// A fence failed; it is tried again.
    FenceFailed(NodeId),
    /// A silent node cannot be fenced: it was not seen since this machine's start.
    FenceUnseen(NodeId),
    /// This node resets itself: the group could not be stopped in time.
    Reset(GroupId),
    /// What must be remembered could not be written down: nothing new is granted.
    NotRemembered,
    /// All nodes were heard showing this list of voters: it is in force.
    InForce,
    /// Nobody able and willing is left for this group.
    NobodyAble(GroupId),
    /// A peer has heard a frame of ours that we have not sent: a clone of this node is about.
    Clone(NodeId),
    /// A frame in our own name came that is not ours, or another node hears somebody else in our
    /// place: another machine of this name, or a recording.
    Namesake(NodeId),
    /// Two machines send under this node's name.
    Twins(NodeId),
    /// A node was said to be off, and was not.
    Refuted(NodeId, Proof),
    /// Frames in this node's name come on this link, but our key does not open them.
    Unsealed(NodeId, LinkId),
    /// Our key opens frames of another cluster's that come on this link, while a peer is missing.
    OtherCluster(LinkId, Stranger),
    /// A node seals with the key of this number from now on.
    PeerKey(NodeId, u8),
    /// So many events were lost because too many happened at once.
    Lost(u32),
}

/// How long two nodes have owned a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Held {
    /// This node.
    pub ours: Duration,
    /// The rival.
    pub theirs: Duration,
}

/// Why a silent node is not presumed dead under `assume-dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Doubt {
    /// Somebody still answers for an address of the group.
    Answers,
    /// This node reaches fewer references than that one did: so many, of so many.
    References(u8, u8),
    /// Its heartbeat wire still beats.
    Beats,
}

/// Somebody who has our key, and calls its cluster by another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stranger {
    /// Its number among the nodes of its list.
    pub node: NodeId,
    /// Hash of the name of its cluster.
    pub tag: u32,
    /// Its list of voters is ours: the number means the node that it means here.
    pub same_voters: bool,
    /// When it was last heard; it is listened for now and then only.
    pub at: Instant,
}

/// Who has opened frames that were sealed with a key to try it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Trial {
    /// The key's number.
    pub key: u8,
    /// Who has opened one.
    pub opened: NodeSet,
    /// No more of them are sent.
    pub over: bool,
}

/// Where the certainty comes from that a node runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Proof {
    /// Its power was off.
    Fence,
    /// It said goodbye.
    Goodbye,
    /// The operator says so.
    Word,
}

/// Why a group was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// Nobody owns it, and this node is the best placed.
    Free,
    /// Its owner is dead.
    OwnerDead(NodeId),
    /// Its owner handed it over.
    HandedOver,
}

/// Why a group is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StopReason {
    /// The lease is over or about to be.
    LeaseOver,
    /// Another node owns it by a higher term.
    Rival(NodeId),
    /// Another node is better connected.
    Connected,
    /// It goes to a node that is better placed.
    HandOver,
    /// A start failed.
    StartFailed,
    /// It was found partly running, or running without a lease, when the daemon started.
    Leftover,
    /// The daemon is shutting down.
    Shutdown,
    /// A stop that failed is tried again.
    Again,
}

/// When [`Input::Tick`] is due, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Deadline {
    /// At the latest then.
    pub at: Instant,
    /// What falls due.
    pub timer: Timer,
}

/// What falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Timer {
    /// The next heartbeat is to be sent.
    Heartbeat,
    /// A node becomes late or dead, or a link silent.
    Silence,
    /// `initial dead` ends.
    InitialDead,
    /// A lease ends, or a grant.
    Lease,
    /// A node is to be fenced, or this one to reset itself.
    Fence,
    /// A group may fail back, or a failure is forgotten.
    Placement,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NodeState {
    /// Never heard.
    #[default]
    Unknown,
    /// Heard, but it does not hear us (yet).
    Seen,
    /// Heard both ways within `warn`.
    Alive,
    /// Alive, but silent for `warn`.
    Late,
    /// Silent for `dead`.
    Dead,
    /// Said goodbye.
    Left,
}

/// The two-way state of a link to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkState {
    /// Nothing comes.
    #[default]
    Down,
    /// One direction only.
    OneWay,
    /// Both directions.
    Up,
}

/// What a node does with a group. The frames carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Phase {
    /// Not known yet: the daemon has just started.
    #[default]
    Unknown,
    /// Nothing of it runs here.
    Stopped,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It could not be stopped.
    Blocked,
}

/// A snapshot for people: what [`Cluster::status`](super::Cluster::status) returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// This node.
    pub me: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Claims may be made: `initial dead` is over or all nodes were seen.
    pub ready: bool,
    /// This node is in standby.
    pub standby: bool,
    /// This node is shutting down.
    pub shutting_down: bool,
    /// What is known of each node (ours included); as many as are configured.
    pub nodes: [NodeStatus; VOTERS_MAX],
    /// What is known of each group; as many as are configured.
    pub groups: [GroupStatus; GROUPS_MAX],
    /// Which of our links can carry frames.
    pub links_up: LinkSet,
    /// References that this node reaches.
    pub references: u8,
    /// The list of voters is in force.
    pub in_force: bool,
    /// The last memory could not be written.
    pub unsaved: bool,
    /// The number of the key that seals.
    pub key: u8,
    /// The latest trial of a key.
    pub trial: Option<Trial>,
    /// Who was last heard with our key under another cluster's name.
    pub stranger: Option<Stranger>,
    /// What was counted since the start.
    pub counters: Counters,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeStatus {
    /// Its state.
    pub state: NodeState,
    /// Silence since its last fresh frame.
    pub silence: Duration,
    /// It says that it is in standby.
    pub standby: bool,
    /// Its configuration differs from ours.
    pub differs: bool,
    /// It has another list of voters.
    pub other_voters: bool,
    /// References that it reaches, or reached when it was heard last.
    pub references: u8,
    /// It is certainly off.
    pub proof: Option<Proof>,
    /// It is being fenced.
    pub fencing: bool,
    /// Its device has said that it was off when it was not.
    pub lied: bool,
    /// It is there, but hears another machine in our place.
    pub elsewhere: bool,
    /// Two machines send under its name.
    pub twins: bool,
    /// It was seen since this machine's start: it may be fenced.
    pub seen: bool,
    /// The number of the key that its last frame was sealed with.
    pub key: Option<u8>,
    /// What it says of its board, if it is a witness on one.
    pub board: Option<Health>,
    /// Its links to us.
    pub links: [PeerLink; LINKS_MAX],
}

/// One link to one peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerLink {
    /// Its two-way state.
    pub state: LinkState,
    /// Round trip of the last fresh frame, without the peer's thinking time; `None`: not measured.
    pub rtt: Option<Duration>,
}

/// What is known of one group.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupStatus {
    /// Who owns it: the node with a claim, a phase other than stopped, and the highest term.
    pub owner: Option<NodeId>,
    /// What the owner does with it; ours if nobody owns it.
    pub phase: Phase,
    /// What this node does with it.
    pub local: Phase,
    /// The present or latest ownership.
    pub term: Term,
    /// What is left of this node's lease, if it holds one.
    pub lease_left: Option<Duration>,
    /// This node failed to start it and will not try until told to, or until the failure is old.
    pub failed_here: bool,
    /// Why it is not taken from a silent node.
    pub held_back: Option<(NodeId, Doubt)>,
    /// It was moved by hand and does not fail back on its own.
    pub pinned: bool,
    /// This node could serve its clients (carrier of its addresses' interfaces).
    pub able: bool,
    /// Nodes that could own it now, as far as this node knows.
    pub candidates: NodeSet,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Frames sent.
    pub sent: u64,
    /// Frames that counted.
    pub fresh: u64,
    /// Second copies, and frames overtaken by newer ones: evidence for their link, nothing else.
    pub doubled: u64,
    /// Authentic frames that do not echo anything we sent lately.
    pub stale: u64,
    /// Too short, too long, or of another version.
    pub malformed: u64,
    /// Of another cluster.
    pub foreign: u64,
    /// Unknown key, or a seal that does not fit.
    pub unsealed: u64,
    /// Authentic, but the body could not be read: another version of Latido.
    pub unreadable: u64,
    /// Authentic frames in our own name: a loop, or a clone.
    pub own: u64,
    /// Frames of an incarnation that has been replaced.
    pub replaced: u64,
    /// Reports with an outdated job number.
    pub outdated_reports: u64,
}
