//! Events as English sentences: which node, link and group, why, and what to do about it.
use super::{Level, Notice};
use crate::config::Config;
use crate::core::id::{GroupId, LinkId, NodeId, Term};
use crate::core::io::{Doubt, Event, LinkState, Reason, StopReason};
use crate::core::time::Duration;

/// How the sentence about a namesake begins.
pub(crate) const NAMESAKE: &str = "somebody else sends with our key";

/// The names that the core knows only as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the cluster.
    pub cluster: String,
    /// Of the nodes, in the order of `NodeId`.
    pub nodes: Vec<String>,
    /// Of the witnesses; their `NodeId`s go from the last one downwards.
    pub witnesses: Vec<String>,
    /// Of the links, in the order of `LinkId`.
    pub links: Vec<String>,
    /// Of the groups, in the order of `GroupId`.
    pub groups: Vec<String>,
}

impl Names {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Names {
        Names {
            cluster: config.cluster.clone(),
            nodes: config.nodes.clone(),
            witnesses: config.witnesses.clone(),
            links: config.links.iter().map(|link| link.name.clone()).collect(),
            groups: config.groups.iter().map(|group| group.name.clone()).collect(),
        }
    }

    /// A node's name, or a witness's.
    pub fn node(&self, node: NodeId) -> &str {
        let witness = || {
            let number = |place: &usize| crate::core::Config::witness(*place) == Some(node);
            self.witnesses.get((0..self.witnesses.len()).find(number)?)
        };
        self.nodes.get(node.index()).or_else(witness).map_or("an unknown node", String::as_str)
    }

    /// `node pi`, or `witness pico`.
    pub(super) fn voter(&self, node: NodeId) -> String {
        let what = if node.index() < self.nodes.len() { "node" } else { "witness" };
        format!("{what} {}", self.node(node))
    }

    /// A link's name.
    pub fn link(&self, link: LinkId) -> &str {
        self.links.get(link.index()).map_or("an unknown link", String::as_str)
    }

    /// A group's name.
    pub fn group(&self, group: GroupId) -> &str {
        self.groups.get(group.index()).map_or("an unknown group", String::as_str)
    }

    pub(super) fn term(&self, term: Term) -> String {
        format!("term {}/{}", term.count, self.node(term.node))
    }
}

/// A line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// How much it matters.
    pub level: Level,
    /// What happened, and what to do if somebody has to.
    pub text: String,
}

pub(super) fn say(level: Level, text: impl Into<String>) -> Sentence {
    Sentence { level, text: text.into() }
}

/// A time span as people say it: `380 µs`, `1.25 s`, `3 h 12 min`.
pub(crate) fn span(duration: Duration) -> String {
    let us = duration.micros();
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        1_000_000..10_000_000 => format!("{:.2} s", us as f64 / 1e6),
        10_000_000..120_000_000 => format!("{} s", us / 1_000_000),
        120_000_000..7_200_000_000 => format!("{} min", us / 60_000_000),
        7_200_000_000..172_800_000_000 => {
            format!("{} h {} min", us / 3_600_000_000, us / 60_000_000 % 60)
        }
        _ => format!("{} days", us / 86_400_000_000),
    }
}

/// The sentence for one of the core's events.
pub fn event(event: Event, names: &Names) -> Sentence {
    use Level::{Notice, Warning};
    match event {
        Event::NodeSeen(_)
        | Event::NodeAlive(_)
        | Event::NodeLate(..)
        | Event::NodeDead(..)
        | Event::NodeDeaf(_)
        | Event::NodeLeft(_)
        | Event::NodeRestarted(_)
        | Event::ConfigurationDiffers(_)
        | Event::ConfigurationAgrees(_)
        | Event::Clone(_)
        | Event::Namesake(_)
        | Event::Unsealed(..) => node(event, names),
        Event::PeerLink(node, link, state) => peer_link(node, link, state, names),
        Event::LinkUp(link) => say(Notice, format!("link {} is open", names.link(link))),
        Event::LinkDown(link) => say(
            Warning,
            format!("link {} is lost here: look at its cable and interface", names.link(link)),
        ),
        Event::HungUp(link) => say(
            Warning,
            format!(
                "link {}: the peer's modem lines have dropped (its power, its program, or the \
                 cable): it is asked on every link",
                names.link(link)
            ),
        ),
        Event::Stalled(by) => say(
            Warning,
            format!(
                "this node stood still for {}: it doubts itself, not its peers; look for what \
                 held it up (load, a paused machine)",
                span(by)
            ),
        ),
        Event::Ready => say(Notice, "ready: from now on this node claims groups"),
        Event::Rival(..)
        | Event::HeldBack(..)
        | Event::Fencing(_)
        | Event::FenceWaits(..)
        | Event::Proven(..)
        | Event::FenceLate(_)
        | Event::FenceFailed(_)
        | Event::FenceUnseen(_)
        | Event::Refuted(..)
        | Event::Twins(_)
        | Event::Reset(_)
        | Event::NotRemembered
        | Event::InForce => super::safety::event(event, names),
        Event::OtherCluster(..) | Event::PeerKey(..) => super::keys::event(event, names),
        Event::Lost(count) => say(Warning, format!("{count} events were lost: too many at once")),
        Event::Claim(..)
        | Event::ClaimWithdrawn(_)
        | Event::Starting(..)
        | Event::Running(..)
        | Event::Adopted(..)
        | Event::Stopping(..)
        | Event::Released(_)
        | Event::StartFailed(_)
        | Event::StopFailed(..)
        | Event::NobodyAble(_) => group(event, names),
    }
}

/// What happens to a node.
fn node(event: Event, names: &Names) -> Sentence {
    use Level::{Error, Info, Notice, Warning};
    match event {
        Event::NodeSeen(node) => {
            say(Info, format!("{} is heard, but does not hear us yet", names.voter(node)))
        }
        Event::NodeAlive(node) => say(Notice, format!("{} is alive", names.voter(node))),
        Event::NodeLate(node, silence) => say(
            Warning,
            format!(
                "{} is late: silent for {}; if this repeats, `dead` is too short for these \
                 links",
                names.voter(node),
                span(silence)
            ),
        ),
        Event::NodeDead(node, silence) => say(
            Error,
            format!(
                "{} is dead: silent on every link for {}; look at its power and its cables",
                names.voter(node),
                span(silence)
            ),
        ),
        Event::NodeDeaf(node) => say(
            Error,
            format!(
                "{} does not hear us, but we hear it: look at our transmitting side and at \
                 its firewall",
                names.voter(node)
            ),
        ),
        Event::NodeLeft(node) => {
            say(Notice, format!("node {} said goodbye: it runs nothing now", names.node(node)))
        }
        Event::NodeRestarted(node) => {
            say(Notice, format!("node {}: its daemon was restarted", names.node(node)))
        }
        Event::ConfigurationDiffers(node) => say(
            Error,
            format!(
                "the configuration of node {} differs from ours: no new claim is made against it \
                 until both agree; copy the file and run `latido reload`",
                names.node(node)
            ),
        ),
        Event::ConfigurationAgrees(node) => {
            say(Notice, format!("the configuration of node {} agrees with ours", names.node(node)))
        }
        Event::Clone(node) => say(
            Error,
            format!(
                "node {} has heard a frame of ours that we have not sent: a second machine runs \
                 under our name (a clone or a restored snapshot); stop one of them",
                names.node(node)
            ),
        ),
        Event::Unsealed(node, link) => say(
            Error,
            format!(
                "frames of node {} come on link {}, but our key does not open them: is the key \
                 file the same on both nodes?",
                names.node(node),
                names.link(link)
            ),
        ),
        Event::Namesake(node) => say(
            Error,
            format!(
                "{NAMESAKE} as node {}: is another machine running under \
                 this name (--node, `uname -n`)? Or somebody replays what we sent before a restart",
                names.node(node)
            ),
        ),
        _ => say(Level::Debug, format!("{event:?}")),
    }
}

fn peer_link(node: NodeId, link: LinkId, state: LinkState, names: &Names) -> Sentence {
    let (node, link) = (names.node(node), names.link(link));
    match state {
        LinkState::Up => say(Level::Notice, format!("link {link} to {node} works both ways")),
        LinkState::OneWay => say(
            Level::Warning,
            format!(
                "link {link} to {node} works one way only: look at its cable and firewalls; if \
                 several do at once, at the order of the links in both configurations"
            ),
        ),
        LinkState::Down => say(
            Level::Warning,
            format!("link {link} to {node} is silent: look at its cable; other links go on"),
        ),
    }
}

/// The sentences about groups.
fn group(event: Event, names: &Names) -> Sentence {
    use Level::{Error, Info, Notice, Warning};
    match event {
        Event::Claim(group, term, reason) => {
            let why = match reason {
                Reason::Free => "nobody owns it".to_owned(),
                Reason::OwnerDead(node) => format!("its owner {} is dead", names.node(node)),
                Reason::HandedOver => "it was handed over".to_owned(),
            };
            let (group, term) = (names.group(group), names.term(term));
            say(Notice, format!("group {group}: claimed by this node, {term}: {why}"))
        }
        Event::ClaimWithdrawn(group) => say(
            Notice,
            format!(
                "group {}: claim withdrawn: another node's is better, or a majority did not \
                 grant it in time",
                names.group(group)
            ),
        ),
        Event::Starting(group, _) => {
            say(Info, format!("group {}: starting here", names.group(group)))
        }
        Event::Running(group, term) => {
            let (group, term) = (names.group(group), names.term(term));
            say(Notice, format!("group {group}: running here, {term}"))
        }
        Event::Adopted(group, term) => {
            let (group, term) = (names.group(group), names.term(term));
            say(Notice, format!("group {group}: found running here and kept, {term}"))
        }
        Event::Stopping(group, reason) => stopping(group, reason, names),
        Event::Released(group) => {
            say(Notice, format!("group {}: stopped here and released", names.group(group)))
        }
        Event::StartFailed(group) => {
            let name = names.group(group);
            say(
                Error,
                format!(
                    "group {name}: start failed on this node; it is left to others. The lines \
                     above name the resource; once it is mended: `latido failback --group {name}`"
                ),
            )
        }
        Event::StopFailed(group, true) => say(
            Error,
            format!(
                "group {}: a resource could not be stopped here; released all the same, so it may \
                 run twice: stop it by hand",
                names.group(group)
            ),
        ),
        Event::StopFailed(group, false) => {
            let name = names.group(group);
            say(
                Error,
                format!(
                    "group {name}: blocked: a resource could not be stopped here, and no other \
                     node may start it; stop it by hand, then `latido failback --group {name}`"
                ),
            )
        }
        Event::NobodyAble(group) => say(
            Error,
            format!(
                "group {}: no node is able and willing to run it; see `latido status`",
                names.group(group)
            ),
        ),
        // Only the events above come here.
        other => say(Warning, format!("{other:?}")),
    }
}

fn stopping(group: GroupId, reason: StopReason, names: &Names) -> Sentence {
    let why = match reason {
        StopReason::LeaseOver => "our lease is over".to_owned(),
        StopReason::Rival(node) => format!("node {} owns it by a higher term", names.node(node)),
        StopReason::HandOver => "it goes to another node".to_owned(),
        StopReason::Connected => "it goes to a better connected node".to_owned(),
        StopReason::StartFailed => "a start failed".to_owned(),
        StopReason::Leftover => "found running without right when the daemon started".to_owned(),
        StopReason::Shutdown => "the daemon is ending".to_owned(),
        StopReason::Again => "a stop that failed is tried again".to_owned(),
    };
    say(Level::Notice, format!("group {}: stopping here: {why}", names.group(group)))
}

/// The sentence for one of the engine's notices.
pub(super) fn notice(notice: Notice, names: &Names) -> Sentence {
    match notice {
        Notice::Core(inner) => event(inner, names),
        Notice::LinkTrouble(link, errno) => say(
            Level::Warning,
            format!(
                "link {}: {}; it is tried again and again",
                names.link(link),
                std::io::Error::from_raw_os_error(errno)
            ),
        ),
        Notice::Overslept(by) => say(
            Level::Warning,
            format!("the engine woke {} too late: the machine is overloaded or paused", span(by)),
        ),
        Notice::SupervisorGone => say(
            Level::Error,
            "the supervisor is gone: the service goes on, but nobody starts the engine again if it \
             dies; `latido stop`, then start the service again at a quiet moment",
        ),
        Notice::CannotRemember(errno) => say(
            Level::Error,
            format!(
                "cannot write to the runtime directory: {}; make room there",
                std::io::Error::from_raw_os_error(errno)
            ),
        ),
        Notice::AskedToEnd => say(Level::Notice, "asked to end: handing over and releasing"),
    }
}

/// What a notice is about, for the rate limit: the same kind about the same thing.
pub(super) fn source(notice: Notice) -> u64 {
    fn key(kind: u64, a: usize, b: usize) -> u64 {
        kind << 32 | (a as u64) << 16 | b as u64
    }
    match notice {
        Notice::Core(event) => match event {
            Event::NodeSeen(node) => key(1, node.index(), 0),
            Event::NodeAlive(node) => key(2, node.index(), 0),
            Event::NodeLate(node, _) => key(3, node.index(), 0),
            Event::NodeDead(node, _) => key(4, node.index(), 0),
            Event::NodeDeaf(node) => key(5, node.index(), 0),
            Event::NodeLeft(node) => key(6, node.index(), 0),
            Event::NodeRestarted(node) => key(7, node.index(), 0),
            Event::PeerLink(node, link, _) => key(8, node.index(), link.index()),
            Event::LinkUp(link) => key(9, link.index(), 0),
            Event::LinkDown(link) => key(10, link.index(), 0),
            Event::Stalled(_) => key(11, 0, 0),
            Event::Ready => key(12, 0, 0),
            Event::ConfigurationDiffers(node) => key(13, node.index(), 0),
            Event::ConfigurationAgrees(node) => key(14, node.index(), 0),
            Event::Claim(group, ..) => key(15, group.index(), 0),
            Event::ClaimWithdrawn(group) => key(16, group.index(), 0),
            Event::Starting(group, _) => key(17, group.index(), 0),
            Event::Running(group, _) => key(18, group.index(), 0),
            Event::Adopted(group, _) => key(19, group.index(), 0),
            Event::Stopping(group, _) => key(20, group.index(), 0),
            Event::Released(group) => key(21, group.index(), 0),
            Event::StartFailed(group) => key(22, group.index(), 0),
            Event::StopFailed(group, _) => key(23, group.index(), 0),
            Event::Rival(group, ..) => key(24, group.index(), 0),
            Event::NobodyAble(group) => key(25, group.index(), 0),
            Event::Clone(_) => key(26, 0, 0),
            Event::OtherCluster(link, _) => key(60, link.index(), 0),
            Event::PeerKey(node, _) => key(61, node.index(), 0),
            Event::Namesake(_) => key(28, 0, 0),
            Event::Unsealed(node, _) => key(29, node.index(), 0),
            Event::Lost(_) => key(27, 0, 0),
            Event::Twins(node) => key(70, node.index(), 0),
            Event::Refuted(node, _) => key(71, node.index(), 0),
            Event::HeldBack(group, _, doubt) => key(
                30,
                group.index(),
                match doubt {
                    Doubt::References(..) => 0,
                    Doubt::Answers => 1,
                    Doubt::Beats => 2,
                },
            ),
            Event::Fencing(node) => key(31, node.index(), 0),
            Event::FenceWaits(node, _) => key(32, node.index(), 0),
            Event::Proven(node, _) => key(33, node.index(), 0),
            Event::FenceLate(node) => key(34, node.index(), 0),
            Event::FenceFailed(node) => key(35, node.index(), 0),
            Event::FenceUnseen(node) => key(36, node.index(), 0),
            Event::Reset(group) => key(37, group.index(), 0),
            Event::NotRemembered => key(38, 0, 0),
            Event::InForce => key(39, 0, 0),
            Event::HungUp(link) => key(45, link.index(), 0),
        },
        Notice::LinkTrouble(link, _) => key(40, link.index(), 0),
        Notice::Overslept(_) => key(41, 0, 0),
        Notice::SupervisorGone => key(42, 0, 0),
        Notice::CannotRemember(_) => key(43, 0, 0),
        Notice::AskedToEnd => key(44, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            cluster: String::new(),
            nodes: vec!["debian".into(), "pi".into()],
            links: vec!["eth0 broadcast".into(), "/dev/ttyUSB0".into()],
            groups: vec!["ftp".into()],
            witnesses: vec!["pico".into()],
        }
    }

    fn node(index: usize) -> NodeId {
        NodeId::new(index).expect("in range")
    }

    #[test]
    fn sentences_name_who_why_and_the_cure() {
        let (group, link) = (GroupId::default(), LinkId::new(1).expect("in range"));
        let term = Term { count: 4, node: node(1) };
        let cases = [
            (
                Event::NodeDead(node(0), Duration::from_millis(1040)),
                Level::Error,
                "node debian is dead: silent on every link for 1.04 s; look at its power and its \
                 cables",
            ),
            (
                Event::Claim(group, term, Reason::OwnerDead(node(0))),
                Level::Notice,
                "group ftp: claimed by this node, term 4/pi: its owner debian is dead",
            ),
            (
                Event::PeerLink(node(0), link, LinkState::OneWay),
                Level::Warning,
                "link /dev/ttyUSB0 to debian works one way only: look at its cable and firewalls; \
                 if several do at once, at the order of the links in both configurations",
            ),
            (
                Event::Stopping(group, StopReason::Rival(node(0))),
                Level::Notice,
                "group ftp: stopping here: node debian owns it by a higher term",
            ),
        ];
        for (input, level, text) in cases {
            assert_eq!(event(input, &names()), say(level, text));
        }
    }

    #[test]
    fn what_needs_a_human_says_what_to_do() {
        let group = GroupId::default();
        for (input, cure) in [
            (Event::StopFailed(group, false), "latido failback --group ftp"),
            (Event::StopFailed(group, true), "stop it by hand"),
            (Event::StartFailed(group), "latido failback --group ftp"),
            (Event::ConfigurationDiffers(node(0)), "latido reload"),
            (Event::Clone(node(0)), "stop one of them"),
        ] {
            let sentence = event(input, &names());
            assert_eq!(sentence.level, Level::Error);
            assert!(sentence.text.contains(cure), "{}", sentence.text);
        }
    }

    #[test]
    fn a_witness_is_called_by_its_name() {
        let first = crate::core::Config::witness(0).expect("the first");
        assert_eq!(names().node(first), "pico");
        let dead = event(Event::NodeDead(first, Duration::from_millis(1040)), &names());
        assert!(dead.text.starts_with("witness pico is dead"), "{}", dead.text);
        let second = crate::core::Config::witness(1).expect("the second");
        assert_eq!(names().node(second), "an unknown node");
    }

    #[test]
    fn names_past_the_tables_are_no_panic() {
        let far = GroupId::new(31).expect("in range");
        assert!(event(Event::Released(far), &names()).text.contains("an unknown group"));
    }

    #[test]
    fn spans_read_naturally() {
        for (us, text) in [
            (0, "0 µs"),
            (380, "380 µs"),
            (1_250, "1.2 ms"),
            (31_000, "31 ms"),
            (1_250_000, "1.25 s"),
            (59_000_000, "59 s"),
            (600_000_000, "10 min"),
            (11_520_000_000, "3 h 12 min"),
            (864_000_000_000, "10 days"),
        ] {
            assert_eq!(span(Duration::from_micros(us)), text);
        }
    }
}
