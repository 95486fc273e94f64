//! The whole core, fed with arbitrary inputs: frames of its peers that are plausible often enough
//! to get far, frames of strangers, reports, commands, links, jumps of the clock, restarts.
use super::bytes::Bytes;
use latido::core::id::{GroupId, GroupSet, Incarnation, JobId, LinkId, LinkSet, NodeId, Term};
use latido::core::io::{Command, Fenced, Input, Outcome, Output, Phase, Watchdog};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use latido::core::seal::Keys;
use latido::core::time::{Duration, Instant};
use latido::core::wire::{
    Body, ClaimPart, GrantPart, GroupFlags, GroupPart, Header, Heard, NameHash, NodeFlags,
};
use latido::core::{Cluster, Config, Identity, MEMORY_MAX, Rule, Settings, StopFailure};
use latido::sim::Setup;

/// One input costs the fuzzer some microseconds: enough for any story.
const STEPS_MAX: usize = 2_000;
/// Outputs of one input: some once, some for each group, and a full ring of events. What is written
/// down lets the core go on within the same drain: all that twice.
const OUTPUTS_MAX: usize = 2 * (20 + 3 * GROUPS_MAX + 64);
/// The first witness' name.
const WITNESS: NameHash = NameHash(77);
/// Beyond it sums of times saturate, and the deadline may be "never".
const FAR: u64 = 1 << 62;

/// A node's life by any bytes; a digest of all that it said.
pub(crate) fn cluster(data: &[u8]) -> u64 {
    let mut bytes = Bytes::new(data);
    let mut play = Play::new(&mut bytes);
    play.drain(None);
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        play.step(&mut bytes);
    }
    play.said
}

struct Play {
    config: Config,
    cluster: Cluster,
    incarnation: u64,
    now: u64,
    /// Clock of the peers, which started elsewhere.
    ahead: u64,
    /// Sequence number of the last frame sent.
    sent: u64,
    /// That frame.
    last: Vec<u8>,
    /// The last authentic frame of a peer.
    heard: Vec<u8>,
    links_up: LinkSet,
    /// Of these, those whose other end has hung up since they were opened.
    hung_up: LinkSet,
    jobs: Vec<(GroupId, JobId)>,
    fences: Vec<(NodeId, JobId)>,
    /// The note that was asked for.
    notes: Option<JobId>,
    /// The runtime directory cannot be written.
    full: bool,
    said: u64,
}

fn keys() -> Keys {
    Keys::new(1, &[(1, [42; 32])]).expect("one key")
}

fn node(index: usize) -> NodeId {
    NodeId::new(index % VOTERS_MAX).expect("within the table")
}

fn group(index: usize) -> GroupId {
    GroupId::new(index % GROUPS_MAX).expect("within the table")
}

fn link(index: usize) -> LinkId {
    LinkId::new(index % LINKS_MAX).expect("within the table")
}

/// One of many configurations.
fn config(bytes: &mut Bytes<'_>) -> Config {
    let rule = bytes.pick(&[Rule::AssumeDead, Rule::Majority, Rule::Majority, Rule::Fencing]);
    let two = rule != Rule::Majority;
    let witnesses = if two { 0 } else { bytes.pick(&[0, 1, 2]) };
    let nodes = if two { 2 } else { bytes.pick(&[3 - witnesses.min(1), 3, 5, 6]) };
    let setup = Setup {
        nodes,
        links: bytes.pick(&[1, 2, 2, 3, LINKS_MAX, 0]),
        groups: bytes.pick(&[1, 2, 2, 3, GROUPS_MAX, 0]),
        // Two nodes and a witness are a majority only when the witness is there.
        rule: if nodes == 2 { Rule::AssumeDead } else { rule },
        failback: bytes.bool(),
        ..Setup::default()
    };
    let millis = |millis: u64| Duration::from_millis(millis);
    let resets = bytes.rarely(64);
    let plain = setup.config(bytes.below(nodes));
    let mut settings: Settings = (*plain).clone();
    settings.rule = rule;
    settings.witnesses = (0..witnesses).map(|index| NameHash(WITNESS.0 + index as u32)).collect();
    settings.in_force = !bytes.rarely(32);
    settings.stop_failure = match bytes.below(4) {
        0 => StopFailure::Release,
        1 => StopFailure::Fence,
        2 if resets => StopFailure::Reset,
        _ => StopFailure::Block,
    };
    settings.fence_delay = millis(u64::from(bytes.u8()) * 2);
    settings.fence_retry = millis(300);
    settings.reset_takes = resets.then_some(millis(20));
    settings.watchdog = bytes.rarely(64).then_some(millis(100));
    settings.references = bytes.pick(&[0, 0, 1, 2]);
    settings.settle = bytes.rarely(96).then_some(millis(100));
    let asks = bytes.u8();
    for (index, group) in settings.groups.iter_mut().enumerate() {
        group.ask = asks >> (index % 8) & 1 == 1;
        group.reset = resets && index.is_multiple_of(2);
    }
    Config::new(settings).expect("right in itself")
}

impl Play {
    fn new(bytes: &mut Bytes<'_>) -> Play {
        let config = config(bytes);
        let now = 1_000_000;
        let len = if bytes.rarely(32) { bytes.below(200) } else { 0 };
        let memory = (len > 0).then(|| bytes.take(len));
        let identity = Play::identity(1, memory, now);
        let cluster = Cluster::new(config.clone(), &identity, Instant::from_micros(now));
        Play {
            config,
            cluster,
            incarnation: 1,
            now,
            ahead: 7_000_000,
            sent: now,
            last: Vec::new(),
            heard: Vec::new(),
            links_up: LinkSet::EMPTY,
            hung_up: LinkSet::EMPTY,
            jobs: Vec::new(),
            fences: Vec::new(),
            notes: None,
            full: false,
            said: 0xcbf2_9ce4_8422_2325,
        }
    }

    fn identity(incarnation: u64, memory: Option<&[u8]>, now: u64) -> Identity<'_> {
        let held_until = [Instant::from_micros(now + 100_000); GROUPS_MAX];
        Identity { incarnation: Incarnation(incarnation), memory, held_until, seed: 5 }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        self.advance(bytes);
        match bytes.below(16) {
            0 | 1 => self.handle(Input::Tick),
            2..=5 => {
                self.heard = self.frame(bytes, &keys());
                self.hear(bytes);
            }
            6 => self.hear(bytes),
            7 => self.answer(bytes),
            8 => self.strange(bytes),
            9 | 10 => {
                let link = link(bytes.below(LINKS_MAX));
                let up = !bytes.rarely(64);
                if link.index() < self.config.links().len() as usize {
                    self.links_up.set(link, up);
                    self.hung_up.set(link, false);
                }
                self.handle(Input::Link { link, up });
            }
            11 => {
                let group = group(bytes.below(GROUPS_MAX));
                self.handle(Input::Able { group, able: !bytes.rarely(128) });
            }
            12 | 13 => self.report(bytes),
            14 => self.command(bytes),
            _ if bytes.rarely(64) => self.restart(bytes),
            _ => {
                self.full = bytes.rarely(64);
                self.handle(Input::NotRemembered);
            }
        }
    }

    /// Time passes: not at all, a little, until the deadline, or far too much.
    fn advance(&mut self, bytes: &mut Bytes<'_>) {
        let due = self.cluster.deadline().at.micros();
        let step = match bytes.below(16) {
            0..=2 => 0,
            3 => 1,
            4..=6 => u64::from(bytes.u16()) % 5_000,
            7..=11 => due.saturating_sub(self.now),
            12 => due.saturating_sub(self.now) + self.config.dead.micros() / 2,
            13 => u64::from(bytes.u32()) % 5_000_000,
            14 => self.config.dead.micros(),
            _ if bytes.rarely(4) => bytes.u64() >> bytes.below(40),
            _ => self.config.warn.micros(),
        };
        // "Never" is no moment at which anything could come in.
        self.now = self.now.saturating_add(step).min(Instant::NEVER.micros() - 1);
    }

    fn handle(&mut self, input: Input<'_>) {
        let asked = match input {
            Input::Command { id, .. } => Some(id),
            _ => None,
        };
        self.cluster.handle(Instant::from_micros(self.now), input);
        self.drain(asked);
    }

    /// Carries out what the core says, and checks it.
    fn drain(&mut self, asked: Option<u32>) {
        let mut buffer = [0; FRAME_MAX];
        let (mut count, mut transmitted, mut answered) = (0, false, None);
        while let Some(output) = self.cluster.poll(&mut buffer) {
            count += 1;
            assert!(count <= OUTPUTS_MAX, "poll does not end: {output:?}");
            self.note(format!("{output:?}").as_bytes());
            match output {
                Output::Start { group, job }
                | Output::Stop { group, job }
                | Output::Probe { group, job } => {
                    assert!(group.index() < self.config.groups.len(), "{output:?}");
                    self.jobs.push((group, job));
                }
                Output::Announce { group } => assert!(group.index() < self.config.groups.len()),
                Output::Transmit { links, len } => {
                    assert!(!transmitted, "two frames for one input");
                    transmitted = true;
                    self.sent_frame(links, &buffer[..usize::from(len)]);
                }
                Output::Reply { id, .. } => {
                    assert_eq!(answered.replace(id), None, "answered twice");
                }
                Output::Remember => {
                    self.memory();
                    if self.full {
                        self.cluster.handle(Instant::from_micros(self.now), Input::NotRemembered);
                    }
                }
                Output::Fence { node, request } => {
                    assert!(self.config.others().any(|other| other == node), "{output:?}");
                    self.fences.push((node, request));
                }
                Output::Ask { groups, .. } => {
                    assert_eq!(groups.0 & !GroupSet::first(self.config.groups.len()).0, 0);
                }
                Output::Watchdog(Watchdog::Pet) => assert!(self.config.watchdog.is_some()),
                Output::Watchdog(Watchdog::Reset(_)) => {
                    assert!(self.config.reset_takes.is_some(), "cannot reset itself");
                }
                Output::Note { number } => self.notes = Some(number),
                Output::Event(_) | Output::Restart | Output::Renew => {}
                Output::InForce | Output::Exit => {}
            }
        }
        assert_eq!(answered, asked, "each command has one answer");
        assert_eq!(self.cluster.poll(&mut buffer), None, "None is not the end");
        let due = self.cluster.deadline().at.micros();
        assert!(due > self.now || self.now > FAR, "a busy loop: due at {due}, now {}", self.now);
        self.look();
    }

    fn sent_frame(&mut self, links: LinkSet, frame: &[u8]) {
        assert!(!links.is_empty());
        assert_eq!(links.0 & !self.links_up.0, 0, "sent on a link that is down");
        let header = Header::decode(frame).expect("our own header");
        assert_eq!(header.node, self.config.me);
        assert!(header.sequence > self.sent, "a sequence number was used twice");
        assert!(header.sequence <= self.now, "a sequence number of the future");
        let mut clear = [0; FRAME_MAX];
        let text = keys().open(&header, frame, &mut clear).expect("sealed by us");
        let body = Body::decode(text).expect("our own body");
        assert_eq!(body.groups.len(), self.config.groups.len());
        self.sent = header.sequence;
        self.last = frame.to_vec();
        self.note(frame);
    }

    fn memory(&mut self) -> Vec<u8> {
        let mut memory = [0; MEMORY_MAX];
        let len = self.cluster.memory(&mut memory).expect("the memory fits");
        self.note(&memory[..len]);
        memory[..len].to_vec()
    }

    /// What people and the engine ask between two inputs.
    fn look(&mut self) {
        let status = self.cluster.status();
        assert_eq!(status.me, self.config.me);
        // A frame may show that one is there that has hung up.
        let told = status.links_up.0;
        assert_eq!(told & !self.links_up.0, 0);
        assert_eq!(self.links_up.0 & !told & !self.hung_up.0, 0);
        for group in GroupId::all().take(self.config.groups.len()) {
            let until = self.cluster.vouched_until(group);
            self.note(&until.map_or(0, Instant::micros).to_le_bytes());
            let inspected = self.cluster.inspect(group);
            // A group that nobody vouches for may not be on its way up.
            let up = matches!(inspected.phase, Phase::Starting | Phase::Running);
            assert!(!up || until.is_some(), "{group:?} is {:?} for nobody", inspected.phase);
            assert!(!up || inspected.claim.is_some(), "{group:?} runs without a claim");
        }
    }

    /// FNV-1a: two runs of the same bytes say the same.
    fn note(&mut self, said: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.said = said.iter().fold(self.said, step);
    }

    fn hear(&mut self, bytes: &mut Bytes<'_>) {
        let link = link(bytes.below(LINKS_MAX));
        let frame = std::mem::take(&mut self.heard);
        self.handle(Input::Frame { link, bytes: &frame });
        self.heard = frame;
    }

    /// Frames that no peer has made: noise, damage, another key, our own ones.
    fn strange(&mut self, bytes: &mut Bytes<'_>) {
        let link = link(bytes.below(LINKS_MAX));
        let mut frame = match bytes.below(4) {
            0 => {
                let len = usize::from(bytes.u8());
                bytes.take(len).to_vec()
            }
            1 => self.frame(bytes, &Keys::new(1, &[(1, [3; 32])]).expect("one key")),
            2 => self.heard.clone(),
            _ => self.last.clone(),
        };
        if bytes.bool() && !frame.is_empty() {
            let at = usize::from(bytes.u16()) % frame.len();
            frame[at] ^= 1 << bytes.below(8);
        }
        self.handle(Input::Frame { link, bytes: &frame });
    }

    /// What the devices and the LAN say.
    fn answer(&mut self, bytes: &mut Bytes<'_>) {
        let input = match bytes.below(9) {
            8 => Input::Beat { node: node(bytes.below(8)) },
            0 | 1 => Input::References { reached: bytes.u8() >> bytes.below(8) },
            2 => Input::Confirmed { references: bytes.u8() >> bytes.below(8) },
            3 => Input::Answered { group: group(bytes.below(GROUPS_MAX)) },
            4 => {
                let link = link(bytes.below(LINKS_MAX));
                self.hung_up.set(link, true);
                Input::HungUp { link }
            }
            _ => {
                let (node, request) = if self.fences.is_empty() || bytes.rarely(16) {
                    (node(bytes.below(8)), JobId(bytes.u32()))
                } else {
                    self.fences.swap_remove(bytes.below(self.fences.len().min(256)))
                };
                let outcome = if bytes.bool() { Fenced::Confirmed } else { Fenced::Failed };
                Input::Fenced { node, request, outcome }
            }
        };
        self.handle(input);
    }

    fn report(&mut self, bytes: &mut Bytes<'_>) {
        let outcome =
            bytes.pick(&[Outcome::Running, Outcome::Stopped, Outcome::Partial, Outcome::Failed]);
        let (group, job) = if self.jobs.is_empty() || bytes.rarely(16) {
            (group(bytes.below(GROUPS_MAX)), JobId(bytes.u32()))
        } else {
            self.jobs.swap_remove(bytes.below(self.jobs.len().min(256)))
        };
        self.handle(Input::Report { group, job, outcome });
    }

    fn command(&mut self, bytes: &mut Bytes<'_>) {
        let set = GroupSet(if bytes.bool() { u32::MAX } else { bytes.u32() });
        let command = match bytes.below(16) {
            0 => Command::Shutdown,
            1 => Command::Fence(node(bytes.below(8))),
            2 => Command::ConfirmDead(node(bytes.below(8))),
            3 => Command::Standby,
            4..=7 => Command::HandOver(set),
            8..=11 => Command::Takeover(set),
            _ => Command::Failback(set),
        };
        self.handle(Input::Command { id: bytes.u32(), command });
    }

    /// The daemon dies and is started again, with its memory, without it, or with some other.
    fn restart(&mut self, bytes: &mut Bytes<'_>) {
        let mut memory = self.memory();
        match bytes.below(4) {
            0 => memory.clear(),
            1 => {
                let at = bytes.below(256) % memory.len();
                memory[at] ^= bytes.u8();
            }
            _ => {}
        }
        self.incarnation += 1;
        let memory = (!memory.is_empty()).then_some(&memory[..]);
        let identity = Play::identity(self.incarnation, memory, self.now.min(FAR));
        let now = Instant::from_micros(self.now);
        self.cluster = Cluster::new(self.config.clone(), &identity, now);
        self.sent = self.now;
        self.links_up = LinkSet::EMPTY;
        self.hung_up = LinkSet::EMPTY;
        self.jobs.clear();
        self.fences.clear();
        self.notes = None;
        self.drain(None);
    }

    /// A frame of a peer under `keys`, saying anything: plausible often enough to get far.
    fn frame(&self, bytes: &mut Bytes<'_>, keys: &Keys) -> Vec<u8> {
        let body = if bytes.rarely(16) {
            let len = usize::from(bytes.u8());
            Body::decode(bytes.take(len)).unwrap_or_default()
        } else {
            self.body(bytes)
        };
        let peers: Vec<NodeId> = self.config.voters().collect();
        let peer = bytes.pick(&peers);
        let clock = self.ahead.saturating_add(self.now);
        let header = Header {
            key: 1,
            tag: if bytes.rarely(4) { 1 } else { 0x5151 },
            node: if bytes.rarely(8) { node(bytes.below(8)) } else { peer },
            incarnation: Incarnation(100 + bytes.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 3])),
            sequence: match bytes.below(16) {
                0 => bytes.u64(),
                1..=3 => clock.saturating_sub(u64::from(bytes.u16())),
                _ => clock,
            },
        };
        let mut out = [0; FRAME_MAX];
        let len = keys.seal(&header, &body, &mut out).unwrap_or(0);
        out[..len].to_vec()
    }

    fn body(&self, bytes: &mut Bytes<'_>) -> Body {
        let groups =
            if bytes.rarely(8) { bytes.below(GROUPS_MAX + 1) } else { self.config.groups.len() };
        let flags = if bytes.rarely(64) { bytes.u8() } else { 8 };
        Body {
            count: bytes.u16(),
            flags: NodeFlags::default()
                .with_standby(flags & 1 != 0)
                .with_leaving(flags & 2 != 0)
                .with_goodbye(flags & 4 != 0)
                .with_ready(flags & 8 != 0)
                .with_witness(flags & 16 != 0),
            digest: if bytes.rarely(16) { 1 } else { 7 },
            voters: if bytes.rarely(16) { 1 } else { 9 },
            predecessor: bytes.bool().then(|| Incarnation(100 + u64::from(bytes.u8() % 4))),
            heard: (0..bytes.pick(&[1, 1, 1, 2, 3, 0])).map(|_| self.echo(bytes)).collect(),
            references: bytes.u8() % 4,
            longest: bytes.u32(),
            witnesses: if bytes.rarely(16) {
                (0..bytes.below(VOTERS_MAX + 1)).map(|_| NameHash(bytes.u32())).collect()
            } else {
                self.config.witnesses.clone()
            },
            groups: (0..groups).map(|index| self.part(bytes, index)).collect(),
            grants: (0..groups).map(|_| self.vote(bytes)).collect(),
        }
    }

    fn echo(&self, bytes: &mut Bytes<'_>) -> Heard {
        let ours = self.incarnation - u64::from(bytes.rarely(16));
        Heard {
            node: if bytes.rarely(16) { node(bytes.below(8)) } else { self.config.me },
            incarnation: Incarnation(if bytes.rarely(8) { bytes.u64() } else { ours }),
            sequence: match bytes.below(32) {
                0 => bytes.u64(),
                1..=4 => self.sent.saturating_sub(u64::from(bytes.u32() % 300_000)),
                5 => self.sent.saturating_add(1),
                _ => self.sent,
            },
            age: match bytes.below(16) {
                0 => bytes.u64(),
                _ => self.now.saturating_sub(self.sent),
            },
            links: LinkSet(bytes.u8()),
        }
    }

    fn part(&self, bytes: &mut Bytes<'_>, index: usize) -> GroupPart {
        let phases = [
            Phase::Stopped,
            Phase::Running,
            Phase::Starting,
            Phase::Stopping,
            Phase::Blocked,
            Phase::Unknown,
        ];
        let flags = if bytes.rarely(64) { bytes.u8() } else { 0 };
        let lease = self.config.lease(group(index)).micros();
        let place = if bytes.rarely(8) { bytes.below(40) } else { index };
        GroupPart {
            name: NameHash(place as u32),
            phase: bytes.pick(&phases),
            flags: GroupFlags::default()
                .with_wanted(flags & 1 != 0)
                .with_pinned(flags & 2 != 0)
                .with_declined(flags & 4 != 0),
            claim: bytes.bool().then(|| ClaimPart {
                behind: if bytes.rarely(8) { bytes.u64() } else { u64::from(bytes.u16()) },
                lease: if bytes.rarely(8) { bytes.u64() } else { lease },
            }),
            term: Term {
                count: if bytes.rarely(4) { u32::MAX } else { u32::from(bytes.u8() % 16) },
                node: node(bytes.below(8)),
            },
            score: if bytes.rarely(64) { 0 } else { 100 },
        }
    }

    fn vote(&self, bytes: &mut Bytes<'_>) -> GrantPart {
        let to = if bytes.rarely(64) { node(bytes.below(8)) } else { self.config.me };
        match bytes.below(4) {
            0 => GrantPart::None,
            1 => GrantPart::Other {
                node: to,
                incarnation: Incarnation(self.incarnation),
                sequence: bytes.u64() >> bytes.below(64),
            },
            _ => GrantPart::Heard { node: to, behind: u64::from(bytes.u16() >> bytes.below(16)) },
        }
    }
}
