//! `latido status --json`: everything there is to know, with names instead of numbers.
//!
//! Within one `schema` number fields are only added; a reader ignores those it does not know.
use super::board::BoardReport;
use super::fence::{self, FenceReport};
use super::guards::{self, ReferenceReport};
pub use super::quorum::Quorum;
pub use super::watchdog::WatchdogReport;

use super::quorum;
use super::safety::{Basis, Gate};
use super::{LinesReport, Snapshot, Troubles};
use crate::config::lease::Silencer;
use crate::config::{Config, Kind, Source, rule_name};
use crate::core::id::{GroupId, LinkId, NodeId};
use crate::core::io::{Counters, GroupStatus, LinkState, NodeState, PeerLink, Phase};
use crate::core::quality::LinkQuality;
use crate::core::time::{Duration, Instant};
use crate::platform::gate::Ungated;
use crate::platform::health::Unfit;
use crate::platform::watchdog;
use crate::tell::{Names, Past};
use crate::{fence as devices, reference};
use serde::{Deserialize, Serialize};

/// The version of this format.
pub const SCHEMA: u32 = 1;

/// For so long a stranger is worth a word: few of its frames are let through.
const STRANGER: Duration = Duration::from_millis(600_000);
/// Events in a report.
const EVENTS: usize = 20;

/// What does not change while the daemon runs, except by a reload.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Names of nodes, links and groups.
    pub names: Names,
    /// Where the configuration was read.
    pub source: String,
    /// Digest of what must be the same on all nodes, in hexadecimal.
    pub digest: String,
    /// False: anybody can make frames.
    pub authenticated: bool,
    /// The quorum rule's name.
    pub rule: String,
    /// What else it takes to be safe.
    pub basis: Basis,
    /// The resources of each group: name and kind.
    pub resources: Vec<Vec<ResourceReport>>,
    /// The nodes of each group, best first.
    pub prefer: Vec<Vec<String>>,
    /// How the engine is scheduled.
    pub realtime: Realtime,
    /// When the engine started.
    pub started: Instant,
    /// The supervisor's process, if there is one.
    pub supervisor: Option<u32>,
    /// The lease gate.
    pub gate: GateFact,
    /// Why links could not be opened.
    pub troubles: Troubles,
    /// This node.
    pub node: String,
    /// The devices that fence the other nodes.
    pub fences: devices::Board,
    /// The references.
    pub references: reference::Board,
    /// The configuration is Heartbeat's.
    pub heartbeat: bool,
    /// The times in force.
    pub times: crate::quality::Now,
    /// What the heartbeats have shown.
    pub gaps: crate::quality::Board,
    /// Why the peers fell silent.
    pub inquests: reference::Inquests,
    /// The watchdog.
    pub watchdog: watchdog::Board,
    /// Why this machine is not fit.
    pub unfit: Unfit,
}

/// What is known of the lease gate.
#[derive(Clone, Debug, Default)]
pub enum GateFact {
    /// No group has an address.
    #[default]
    Unneeded,
    /// There is none, for this reason.
    Off(String),
    /// It is there.
    On {
        /// Except on these interfaces; kept up to date.
        ungated: Ungated,
        /// And not where these addresses are.
        outside: Vec<String>,
    },
}

impl GateFact {
    /// Where it does not stand at this moment.
    fn gaps(&self) -> Vec<String> {
        match self {
            GateFact::Unneeded | GateFact::Off(_) => Vec::new(),
            GateFact::On { ungated, outside } => {
                let mut places = ungated.list();
                places.extend(outside.iter().cloned());
                places
            }
        }
    }

    /// Where it stands at this moment.
    pub(super) fn stands(&self) -> Gate {
        match self {
            GateFact::Unneeded => Gate::Unneeded,
            GateFact::Off(why) => Gate::Missing(why.clone()),
            GateFact::On { .. } => match self.gaps() {
                gaps if gaps.is_empty() => Gate::Everywhere,
                gaps => Gate::Gaps(gaps),
            },
        }
    }

    fn report(&self) -> GateReport {
        match self {
            GateFact::Unneeded => GateReport::default(),
            GateFact::Off(why) => GateReport { active: false, why: why.clone() },
            GateFact::On { .. } => {
                let places = self.gaps();
                let places: Vec<String> =
                    places.iter().map(|place| format!("not on {place}")).collect();
                GateReport { active: true, why: places.join("; ") }
            }
        }
    }
}

impl Facts {
    /// What a configuration says. `silencer`: by what the leases are counted here.
    pub fn of(config: &Config, silencer: Silencer, realtime: Realtime, started: Instant) -> Facts {
        let source = match &config.source {
            Source::Latido(path) | Source::Heartbeat(path) => path.display().to_string(),
        };
        let resources = |group: &crate::config::Group| {
            group
                .resources
                .iter()
                .map(|resource| ResourceReport {
                    name: resource.name.clone(),
                    kind: match resource.kind {
                        Kind::Address(_) => "address",
                        Kind::Service { .. } => "service",
                        Kind::Script { .. } => "script",
                    }
                    .to_owned(),
                })
                .collect()
        };
        let prefer = |group: &crate::config::Group| {
            group.prefer.iter().filter_map(|node| config.nodes.get(*node).cloned()).collect()
        };
        Facts {
            names: Names::of(config),
            source,
            digest: format!("{:08x}", config.digest()),
            authenticated: config.keys.authenticated,
            rule: rule_name(config.rule).to_owned(),
            basis: Basis::of(config, silencer),
            resources: config.groups.iter().map(resources).collect(),
            prefer: config.groups.iter().map(prefer).collect(),
            realtime,
            started,
            supervisor: None,
            gate: GateFact::Unneeded,
            troubles: Troubles::default(),
            node: String::new(),
            fences: devices::Board::default(),
            references: reference::Board::default(),
            heartbeat: matches!(config.source, Source::Heartbeat(_)),
            times: times(config),
            gaps: crate::quality::Board::default(),
            inquests: reference::Inquests::default(),
            watchdog: watchdog::Board::default(),
            unfit: Unfit::default(),
        }
    }
}

fn times(config: &Config) -> crate::quality::Now {
    let timing = &config.timing;
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    crate::quality::Now {
        interval_us: micros(timing.interval),
        warn_us: micros(timing.warn),
        dead_us: micros(timing.dead),
        initial_dead_us: micros(timing.initial_dead),
    }
}

/// The whole report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// True; false stands in an [`Answer`](super::Answer) instead.
    pub ok: bool,
    /// [`SCHEMA`].
    pub schema: u32,
    /// This node's name.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// The engine's process.
    pub pid: u32,
    /// The supervisor's process, if there is one.
    pub supervisor: Option<u32>,
    /// There was a supervisor, and it is gone.
    pub supervisor_gone: bool,
    /// When a frame of another machine in this node's name was last told of, if within an hour.
    pub namesake: Option<String>,
    /// Why a log file is not written, if it is not.
    pub log_trouble: Option<String>,
    /// What needs somebody, most urgent first, each with what to do.
    pub problems: Vec<String>,
    /// Claims may be made: `initial dead` is over or all nodes were seen.
    pub ready: bool,
    /// This node is handing over and ending.
    pub shutting_down: bool,
    /// Seconds since the engine's start.
    pub uptime_s: u64,
    /// Which configuration is in force.
    pub config: ConfigReport,
    /// Who may own a group.
    pub quorum: Quorum,
    /// False: frames carry no secret, anybody can make them.
    pub authenticated: bool,
    /// The number of the key that seals our frames.
    pub key: u8,
    /// Who has opened frames of the key that was tried last.
    pub trial: Option<TrialReport>,
    /// Who was heard within the last minutes with our key under another cluster's name, while a
    /// peer was missing, and what to do.
    pub stranger: Option<String>,
    /// Every node of the cluster.
    pub nodes: Vec<NodeReport>,
    /// Every witness: it votes, and owns nothing.
    pub witnesses: Vec<NodeReport>,
    /// This node's links.
    pub links: Vec<LinkReport>,
    /// What tells this node whether it is connected.
    pub references: Vec<ReferenceReport>,
    /// Every group.
    pub groups: Vec<GroupReport>,
    /// What was counted since the start.
    pub counters: CounterReport,
    /// Whether the kernel silences addresses that nobody vouches for.
    pub gate: GateReport,
    /// What resets this machine when the engine no longer vouches for it.
    pub watchdog: WatchdogReport,
    /// Why this machine is not fit to serve, as far as it feels.
    pub unfit: Vec<String>,
    /// How the engine is scheduled.
    pub realtime: Realtime,
    /// The last events, oldest first.
    pub events: Vec<EventReport>,
}

/// Which configuration is in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigReport {
    /// File or directory.
    pub source: String,
    /// Digest, hexadecimal.
    pub digest: String,
}

/// One node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// unknown, seen, alive, late, dead or left.
    pub state: String,
    /// It is the node that reports.
    pub me: bool,
    /// It takes nothing.
    pub standby: bool,
    /// Milliseconds since its last fresh frame; none for ourselves, or if never heard.
    pub silence_ms: Option<u64>,
    /// Its configuration differs from ours.
    pub config_differs: bool,
    /// It has another list of voters.
    pub other_voters: bool,
    /// References that it reaches, or reached when it was heard last.
    pub references: u8,
    /// The number of the key that its last frame was sealed with.
    pub key: Option<u8>,
    /// Our links to it.
    pub links: Vec<PeerLinkReport>,
    /// While it is dead: what was found out about that.
    pub why: Option<WhyReport>,
    /// How it can be fenced, and was.
    pub fence: FenceReport,
    /// The board that it runs on, if it is a witness on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardReport>,
}

/// Who accepts a key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialReport {
    /// Its number.
    pub key: u8,
    /// Nodes and witnesses that have opened a frame sealed with it.
    pub opened: Vec<String>,
    /// No more answers are waited for.
    pub over: bool,
}

/// One link to one peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerLinkReport {
    /// Its name.
    pub name: String,
    /// down, one-way or up.
    pub state: String,
    /// Round trip in microseconds: the last one.
    pub rtt_us: Option<u64>,
    /// Smoothed.
    pub rtt_mean_us: Option<u64>,
    /// The longest one of the last half to one minute.
    pub rtt_max_us: Option<u64>,
    /// How much the travelling time varies, as RFC 3550 has it, in microseconds.
    pub jitter_us: Option<u64>,
    /// Out of a million frames that the peer has sent in the last half to one minute, so many did
    /// not come on this link.
    pub loss_ppm: Option<u32>,
    /// Frames that the peer has sent since this engine's start, by its own count.
    pub sent: u64,
    /// So many of them did not come on this link.
    pub lost: u64,
    /// Milliseconds since the last frame on it.
    pub last_ms: Option<u64>,
}

/// Why a node is silent, as far as could be found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyReport {
    /// us, hung, carrier, lines or silent: docs/how-it-works.md names what each means.
    pub cause: String,
    /// In words.
    pub text: String,
}

/// One of this node's links.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkReport {
    /// Its name.
    pub name: String,
    /// It can carry frames.
    pub up: bool,
    /// Why not.
    pub error: Option<String>,
    /// The peer's modem lines, if this is a serial link that has any.
    pub modem: Option<LinesReport>,
}

/// One group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// stopped, starting, running, stopping, blocked or unknown: what its owner does with it.
    pub state: String,
    /// The present or latest ownership.
    pub term: TermReport,
    /// What this node does with it.
    pub local: String,
    /// What is left of this node's lease.
    pub lease_left_ms: Option<u64>,
    /// This node failed to start it.
    pub failed_here: bool,
    /// Why this node does not take it from a silent one.
    pub held_back: Option<String>,
    /// It was moved by hand and does not fail back on its own.
    pub pinned: bool,
    /// This node could serve its clients.
    pub able: bool,
    /// Nodes that could own it now.
    pub candidates: Vec<String>,
    /// Nodes that may own it, best first.
    pub prefer: Vec<String>,
    /// What it consists of.
    pub resources: Vec<ResourceReport>,
}

/// Names one ownership.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TermReport {
    /// Its number; 0: never owned.
    pub count: u32,
    /// Who claimed it.
    pub node: String,
}

/// One resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceReport {
    /// Its name.
    pub name: String,
    /// address, service or script.
    pub kind: String,
}

/// What was counted since the start; see the core's `Counters`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct CounterReport {
    pub sent: u64,
    pub fresh: u64,
    pub doubled: u64,
    pub stale: u64,
    pub malformed: u64,
    pub foreign: u64,
    pub unsealed: u64,
    pub unreadable: u64,
    pub own: u64,
    pub replaced: u64,
    pub outdated_reports: u64,
}

/// How the engine is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Realtime {
    /// SCHED_RR priority; none: ordinary scheduling.
    pub priority: Option<u8>,
    /// Its memory cannot be swapped out.
    pub locked: bool,
    /// What was not permitted.
    pub warnings: Vec<String>,
}

/// The lease gate: the kernel silences an address as soon as the engine no longer vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateReport {
    /// It is there.
    pub active: bool,
    /// Why it is not, or where it is not; empty: all is well, or no group has an address.
    pub why: String,
}

/// One event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventReport {
    /// Local time, or the uptime while the clock was not set.
    pub time: String,
    /// Seconds since the machine's start.
    pub boottime_s: f64,
    /// error, warning, notice, info or debug.
    pub level: String,
    /// What happened.
    pub text: String,
    /// Of an event that says why a node is silent: the cause, as in [`WhyReport`].
    pub cause: Option<String>,
}

/// Joins a snapshot, the facts and the last events.
pub fn report(
    snapshot: &Snapshot,
    facts: &Facts,
    events: Vec<Past>,
    log_trouble: Option<String>,
) -> Report {
    let status = &snapshot.status;
    let me = status.me;
    let nodes = (0..facts.names.nodes.len()).filter_map(NodeId::new);
    let witnesses = (0..facts.names.witnesses.len()).filter_map(crate::core::Config::witness);
    let links = (0..facts.names.links.len()).filter_map(LinkId::new);
    let groups = (0..facts.names.groups.len()).filter_map(GroupId::new);
    let older = events.len().saturating_sub(EVENTS);
    let mut report = Report {
        ok: true,
        schema: SCHEMA,
        node: facts.names.node(me).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        supervisor: facts.supervisor,
        supervisor_gone: facts
            .supervisor
            .is_some_and(|pid| pid != std::os::unix::process::parent_id()),
        namesake: namesake(&events, snapshot.at),
        log_trouble,
        problems: Vec::new(),
        ready: status.ready,
        shutting_down: status.shutting_down,
        uptime_s: snapshot.at.since(facts.started).micros() / 1_000_000,
        config: ConfigReport { source: facts.source.clone(), digest: facts.digest.clone() },
        quorum: quorum::report(snapshot, facts),
        authenticated: facts.authenticated,
        key: status.key,
        trial: status.trial.map(|trial| TrialReport {
            key: trial.key,
            opened: trial.opened.iter().map(|node| facts.names.node(node).to_owned()).collect(),
            over: trial.over,
        }),
        stranger: status
            .stranger
            .filter(|stranger| facts.authenticated || stranger.same_voters)
            .filter(|stranger| snapshot.at.since(stranger.at) < STRANGER)
            .map(|stranger| crate::tell::other_cluster(stranger, &facts.names)),
        nodes: nodes.map(|node| node_report(node, me, snapshot, facts)).collect(),
        witnesses: witnesses.map(|node| node_report(node, me, snapshot, facts)).collect(),
        links: links.map(|link| own_link(link, snapshot, facts)).collect(),
        references: guards::references(&facts.references, snapshot.at),
        groups: groups
            .map(|group| group_report(group, &status.groups[group.index()], facts))
            .collect(),
        counters: counters(status.counters),
        gate: facts.gate.report(),
        watchdog: WatchdogReport::of(&facts.watchdog),
        unfit: facts.unfit.list(),
        realtime: facts.realtime.clone(),
        events: events
            .into_iter()
            .skip(older)
            .map(|past| EventReport {
                time: past.stamp(),
                boottime_s: past.at.micros() as f64 / 1e6,
                level: format!("{:?}", past.level).to_lowercase(),
                text: past.text,
                cause: past.cause.map(str::to_owned),
            })
            .collect(),
    };
    report.problems = super::problems(&report);
    report
}

fn own_link(link: LinkId, snapshot: &Snapshot, facts: &Facts) -> LinkReport {
    let up = snapshot.status.links_up.contains(link);
    let errno = snapshot.link_errno[link.index()];
    let trouble = facts.troubles.of(link);
    let trouble = trouble.map(|trouble| format!("{}; {}", trouble.why, trouble.cure));
    let lost = || std::io::Error::from_raw_os_error(errno).to_string();
    let error = trouble.or_else(|| (errno != 0).then(lost)).filter(|_| !up);
    let modem = snapshot.lines[link.index()].map(LinesReport::of);
    LinkReport { name: facts.names.link(link).to_owned(), up, error, modem }
}

/// When a namesake was last told of.
fn namesake(events: &[Past], now: Instant) -> Option<String> {
    let told = |past: &&Past| past.text.starts_with(crate::tell::NAMESAKE);
    // It is told of ever more rarely while it goes on.
    let last = events.iter().rev().find(told)?;
    (now.since(last.at) < Duration::from_millis(3_600_000)).then(|| last.stamp())
}

fn node_report(node: NodeId, me: NodeId, snapshot: &Snapshot, facts: &Facts) -> NodeReport {
    let known = &snapshot.status.nodes[node.index()];
    let is_me = node == me;
    let heard = !is_me && known.state != NodeState::Unknown;
    let links = (0..facts.names.links.len()).filter_map(LinkId::new).filter(|_| !is_me);
    NodeReport {
        name: facts.names.node(node).to_owned(),
        state: match known.state {
            NodeState::Unknown => "unknown",
            NodeState::Seen => "seen",
            NodeState::Alive => "alive",
            NodeState::Late => "late",
            NodeState::Dead => "dead",
            NodeState::Left => "left",
        }
        .to_owned(),
        me: is_me,
        standby: if is_me { snapshot.status.standby } else { known.standby },
        silence_ms: heard.then(|| known.silence.millis()),
        config_differs: known.differs,
        other_voters: known.other_voters,
        fence: fence::report(node, snapshot, facts),
        board: known.board.map(BoardReport::from),
        references: if is_me { snapshot.status.references } else { known.references },
        key: known.key,
        links: links
            .map(|link| {
                let quality = &snapshot.quality[node.index()][link.index()];
                link_report(facts.names.link(link), &known.links[link.index()], quality)
            })
            .collect(),
        why: facts
            .inquests
            .of(node)
            .filter(|_| known.state == NodeState::Dead)
            .map(|found| WhyReport { cause: found.cause.word().to_owned(), text: found.text }),
    }
}

fn link_report(name: &str, peer: &PeerLink, quality: &LinkQuality) -> PeerLinkReport {
    let micros = |span: Option<Duration>| span.map(Duration::micros);
    PeerLinkReport {
        name: name.to_owned(),
        state: match peer.state {
            LinkState::Down => "down",
            LinkState::OneWay => "one-way",
            LinkState::Up => "up",
        }
        .to_owned(),
        rtt_us: micros(peer.rtt),
        rtt_mean_us: micros(quality.rtt_mean),
        rtt_max_us: micros(quality.rtt_max),
        jitter_us: micros(quality.jitter),
        loss_ppm: quality.recent.ppm(),
        sent: quality.total.sent,
        lost: quality.total.lost,
        last_ms: quality.silence.map(Duration::millis),
    }
}

fn group_report(group: GroupId, known: &GroupStatus, facts: &Facts) -> GroupReport {
    let names = &facts.names;
    let configured = |node: &NodeId| node.index() < names.nodes.len();
    GroupReport {
        name: names.group(group).to_owned(),
        owner: known.owner.map(|node| names.node(node).to_owned()),
        state: phase(known.phase).to_owned(),
        term: TermReport { count: known.term.count, node: names.node(known.term.node).to_owned() },
        local: phase(known.local).to_owned(),
        lease_left_ms: known.lease_left.map(|left| left.millis()),
        failed_here: known.failed_here,
        held_back: guards::held_back(known, names),
        pinned: known.pinned,
        able: known.able,
        candidates: known
            .candidates
            .iter()
            .filter(configured)
            .map(|node| names.node(node).to_owned())
            .collect(),
        prefer: facts.prefer.get(group.index()).cloned().unwrap_or_default(),
        resources: facts.resources.get(group.index()).cloned().unwrap_or_default(),
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unknown => "unknown",
        Phase::Stopped => "stopped",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Stopping => "stopping",
        Phase::Blocked => "blocked",
    }
}

fn counters(counters: Counters) -> CounterReport {
    // Named one by one: a new counter must not be forgotten here.
    let Counters {
        sent,
        fresh,
        doubled,
        stale,
        malformed,
        foreign,
        unsealed,
        unreadable,
        own,
        replaced,
        outdated_reports,
    } = counters;
    CounterReport {
        sent,
        fresh,
        doubled,
        stale,
        malformed,
        foreign,
        unsealed,
        unreadable,
        own,
        replaced,
        outdated_reports,
    }
}
