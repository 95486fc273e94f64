//! Frames out, frames in, and what came.
use super::Plan;
use crate::config::{UNAUTHENTICATED_ID, UNAUTHENTICATED_KEY};
use crate::core::id::{Incarnation, LinkId, LinkSet, NodeId};
use crate::core::limits::{FRAME_MAX, VOTERS_MAX};
use crate::core::seal::{Keys, VerifyError};
use crate::core::wire::{Body, DecodeError, FrameBuf, Header, Heard, NodeFlags};
use crate::link::{Port, Received, Sent};
use crate::platform::clock;
use crate::runtime::draw_incarnation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// After both directions are proven: whatever else comes.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// Damaged runs that are more than a start in the middle of a frame.
const NOISE: u64 = 3;

/// What came.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Frames that went out.
    pub(super) sent: u64,
    /// The kernel's last refusal to send.
    pub(super) refusal: Option<rustix::io::Errno>,
    /// The device went away.
    pub(super) lost: Option<String>,
    /// Whole frames of whatever kind.
    pub(super) frames: u64,
    /// Bytes that were no frame, in runs.
    pub(super) damaged: u64,
    /// Our own, come back.
    pub(super) own: u64,
    /// By each other voter: frames that our key opens.
    pub(super) heard: [u64; VOTERS_MAX],
    /// Who has said that it hears us, the round trip of its first word.
    pub(super) hears_us: [Option<Duration>; VOTERS_MAX],
    /// Of this node's name, but not ours: our own daemon, or a namesake.
    pub(super) namesakes: u64,
    /// Of our cluster, not opened: the number of its key and whether we have one of that number.
    pub(super) unopened: Option<(u8, bool)>,
    /// Of another cluster: its tag, and whether our key opens it.
    pub(super) other_cluster: Option<(u32, bool)>,
    /// Of another version of the format.
    pub(super) other_version: u64,
}

impl Findings {
    /// Something comes, and nothing of it is a frame.
    pub(super) fn is_noise(&self) -> bool {
        self.frames == 0 && self.damaged >= NOISE
    }

    fn both_ways(&self) -> bool {
        self.hears_us.iter().any(Option::is_some)
    }
}

/// The test's own voice.
pub(super) struct Probe {
    keys: Keys,
    tag: u32,
    me: NodeId,
    incarnation: Incarnation,
    sent: u64,
    count: u16,
    every: Duration,
    /// Other tests, to be echoed.
    tests: Vec<Heard>,
    /// Without a configuration nothing can be opened.
    keyed: bool,
}

impl Probe {
    pub(super) fn new(plan: &Plan) -> Result<Probe, String> {
        let incarnation =
            draw_incarnation().map_err(|error| format!("no random numbers: {error}"))?;
        let config = plan.config.as_ref();
        let public = [(UNAUTHENTICATED_ID, UNAUTHENTICATED_KEY)];
        let keys = match config {
            Some((config, _)) => Keys::new(config.keys.active, &config.keys.keys),
            None => Keys::new(UNAUTHENTICATED_ID, &public),
        };
        // A line of 9600 baud carries ten of our frames a second.
        let slow = Duration::from_millis(250);
        let every = config.map_or(slow, |(config, _)| config.timing.interval);
        let least = u64::from(plan.link.medium.every(Duration::from_millis(50))) * 50;
        let every =
            every.clamp(Duration::from_millis(least), slow.max(Duration::from_millis(least)));
        Ok(Probe {
            keys: keys.ok_or("the key that seals is not among the keys: latido check")?,
            tag: config.map_or(0, |(config, _)| config.cluster_tag()),
            me: config.and_then(|(_, me)| NodeId::new(*me)).unwrap_or_default(),
            incarnation,
            sent: 0,
            count: 0,
            every,
            tests: Vec::new(),
            keyed: config.is_some(),
        })
    }

    /// Sends and listens until both directions are proven, or patience ends.
    pub(super) fn exchange(
        &mut self,
        port: &mut Port,
        patience: Duration,
    ) -> Result<Findings, String> {
        let mut found = Findings::default();
        let begun = Instant::now();
        let (mut next, mut end) = (begun, begun + patience);
        let mut proven = false;
        while Instant::now() < end && found.lost.is_none() {
            if Instant::now() >= next {
                next = Instant::now() + self.every;
                self.send(port, &mut found);
            }
            self.take(port, &mut found, next.min(end))?;
            if found.both_ways() && !proven {
                proven = true;
                // The other test, if it is one, needs our echo as we needed its.
                end = end.min(Instant::now() + AFTERWARDS.max(self.every * 3));
            }
        }
        Ok(found)
    }

    /// Only listens, until a frame comes.
    pub(super) fn listen(&mut self, port: &mut Port, time: Duration) -> Result<Findings, String> {
        let mut found = Findings::default();
        let end = Instant::now() + time;
        while Instant::now() < end && found.frames == 0 && found.lost.is_none() {
            self.take(port, &mut found, end)?;
        }
        Ok(found)
    }

    fn send(&mut self, port: &mut Port, found: &mut Findings) {
        self.sent = clock::now().micros().max(self.sent + 1);
        let header = Header {
            key: self.keys.sealing(),
            tag: self.tag,
            node: self.me,
            incarnation: self.incarnation,
            sequence: self.sent,
        };
        self.count = self.count.wrapping_add(1);
        let flags = NodeFlags::default().with_testing(true);
        let now = clock::now().micros();
        let heard = self.tests.iter().map(|heard| Heard {
            // `age` holds the moment when it came, until now.
            age: now.saturating_sub(heard.age),
            ..*heard
        });
        let body = Body { count: self.count, flags, heard: heard.collect(), ..Body::default() };
        let mut frame: FrameBuf = [0; FRAME_MAX];
        let Some(len) = self.keys.seal(&header, &body, &mut frame) else { return };
        match port.send(frame.get(..len).unwrap_or_default()) {
            Sent::Done => found.sent += 1,
            Sent::Busy => {}
            Sent::Lost(loss) => found.lost = Some(loss.to_string()),
        }
        found.refusal = port.tally().refusal;
    }

    /// Takes what comes until `end`, or at least one look.
    fn take(&mut self, port: &mut Port, found: &mut Findings, end: Instant) -> Result<(), String> {
        let left = end.saturating_duration_since(Instant::now());
        let fd = port.fd();
        let mut polled = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut polled, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for the link: {error}")),
        }
        let mut buffer: FrameBuf = [0; FRAME_MAX];
        loop {
            match port.receive(&mut buffer) {
                Received::Frame(len) => self.note(buffer.get(..len).unwrap_or_default(), found),
                Received::Nothing => break,
                // Looked at for itself, before anything is sent.
                Received::Lines(_) => {}
                Received::Lost(loss) => {
                    found.lost = Some(loss.to_string());
                    break;
                }
            }
        }
        found.damaged = port.tally().damaged;
        Ok(())
    }

    fn note(&mut self, frame: &[u8], found: &mut Findings) {
        found.frames += 1;
        let header = match Header::decode(frame) {
            Ok(header) => header,
            Err(DecodeError::Version) => return found.other_version += 1,
            Err(_) => return found.damaged += 1,
        };
        let mut clear: FrameBuf = [0; FRAME_MAX];
        let opened = self.keys.open(&header, frame, &mut clear);
        if header.node == self.me && header.incarnation == self.incarnation {
            return found.own += 1;
        }
        if header.tag != self.tag || !self.keyed {
            let ours = self.keyed && opened.is_ok();
            let known = found.other_cluster.is_some_and(|(_, opened)| opened);
            if !known {
                found.other_cluster = Some((header.tag, ours));
            }
            return;
        }
        let text = match opened {
            Ok(text) => text,
            Err(VerifyError::UnknownKey) => return found.unopened = Some((header.key, false)),
            Err(VerifyError::Seal) => return found.unopened = Some((header.key, true)),
        };
        let Ok(body) = Body::decode(text) else { return found.other_version += 1 };
        if header.node == self.me {
            return found.namesakes += 1;
        }
        let place = header.node.index();
        found.heard[place] += 1;
        let ours = |heard: &&Heard| heard.node == self.me && heard.incarnation == self.incarnation;
        if let Some(echo) = body.heard.iter().find(ours)
            && echo.sequence <= self.sent
        {
            let there_and_back = clock::now().micros().saturating_sub(echo.sequence);
            let round_trip = Duration::from_micros(there_and_back.saturating_sub(echo.age));
            found.hears_us[place].get_or_insert(round_trip);
        }
        if body.flags.testing() {
            self.tests.retain(|heard| heard.node != header.node);
            self.tests.push(Heard {
                node: header.node,
                incarnation: header.incarnation,
                sequence: header.sequence,
                age: clock::now().micros(),
                links: LinkSet::EMPTY.with(LinkId::default()),
            });
        }
    }
}
