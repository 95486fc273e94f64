//! A witness, fed with arbitrary frames of the nodes of two clusters, of strangers, and noise.
use super::bytes::Bytes;
use latido::core::id::{Incarnation, LinkId, LinkSet, NodeId, Term};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use latido::core::seal::Keys;
use latido::core::time::Instant;
use latido::core::wire::{
    Body, ClaimPart, GrantPart, GroupPart, Header, Heard, NameHash, NodeFlags,
};
use latido::core::witness::{Input, Key, Output, Witness};

const STEPS_MAX: usize = 2_000;
/// Every list of voters of both clusters answered, unproven ones too, and a full ring of events.
const OUTPUTS_MAX: usize = 128;
const NAME: NameHash = NameHash(77);
const TAGS: [u32; 2] = [0x5151, 0x7272];
/// Beyond it sums of times saturate.
const FAR: u64 = 1 << 62;

/// A witness' life by any bytes; a digest of all that it said.
pub(crate) fn witness(data: &[u8]) -> u64 {
    let mut bytes = Bytes::new(data);
    let mut play = Play::new();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        play.step(&mut bytes);
    }
    play.said
}

struct Play {
    witness: Witness<2>,
    incarnation: u64,
    now: u64,
    /// Sequence number of the last frame sent.
    sent: u64,
    last: Vec<u8>,
    heard: Vec<u8>,
    links_up: LinkSet,
    said: u64,
}

fn secret(tag: u32) -> [u8; 32] {
    [tag as u8; 32]
}

fn keys(tag: u32) -> Keys {
    Keys::new(1, &[(1, secret(tag))]).expect("one key")
}

fn born(incarnation: u64, now: u64) -> Witness<2> {
    let keys = TAGS.map(|tag| Key { tag, number: 1, key: secret(tag) });
    let now = Instant::from_micros(now);
    Witness::new(NAME, &keys, Incarnation(incarnation), now).expect("two clusters with a key each")
}

fn node(bytes: &mut Bytes<'_>) -> NodeId {
    NodeId::new(bytes.below(VOTERS_MAX)).expect("within the table")
}

impl Play {
    fn new() -> Play {
        let now = 1_000_000;
        Play {
            witness: born(1, now),
            incarnation: 1,
            now,
            sent: now,
            last: Vec::new(),
            heard: Vec::new(),
            links_up: LinkSet::EMPTY,
            said: 0xcbf2_9ce4_8422_2325,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let due = self.witness.deadline().micros();
        let step = match bytes.below(8) {
            0..=2 => u64::from(bytes.u16()),
            3 => due.saturating_sub(self.now),
            4 => u64::from(bytes.u32()) % 30_000_000,
            5 if bytes.rarely(4) => bytes.u64() >> bytes.below(40),
            _ => 0,
        };
        self.now = self.now.saturating_add(step).min(FAR);
        match bytes.below(16) {
            0 | 1 => self.handle(Input::Tick),
            2 => {
                let link = LinkId::new(bytes.below(LINKS_MAX)).expect("within the table");
                let up = !bytes.rarely(64);
                self.links_up.set(link, up);
                self.handle(Input::Link { link, up });
            }
            3 => self.strange(bytes),
            4 => self.hear(bytes),
            5 if bytes.rarely(32) => self.restart(),
            _ => {
                self.heard = self.frame(bytes);
                self.hear(bytes);
            }
        }
    }

    fn restart(&mut self) {
        self.incarnation += 1;
        self.witness = born(self.incarnation, self.now);
        self.sent = self.now;
        self.links_up = LinkSet::EMPTY;
    }

    fn handle(&mut self, input: Input<'_>) {
        self.witness.handle(Instant::from_micros(self.now), input);
        let mut buffer = [0; FRAME_MAX];
        let mut count = 0;
        while let Some(output) = self.witness.poll(&mut buffer) {
            count += 1;
            assert!(count <= OUTPUTS_MAX, "poll does not end: {output:?}");
            self.note(format!("{output:?}").as_bytes());
            match output {
                Output::Transmit { links, len } => {
                    self.sent_frame(links, &buffer[..usize::from(len)]);
                }
                // The frames that it has not sent may be of anybody who knows the key.
                Output::Restart => self.restart(),
                Output::Event(_) => {}
            }
        }
        let due = self.witness.deadline().micros();
        assert!(due > self.now || self.now == FAR, "a busy loop: due at {due}, now {}", self.now);
    }

    fn sent_frame(&mut self, links: LinkSet, frame: &[u8]) {
        assert!(!links.is_empty());
        assert_eq!(links.0 & !self.links_up.0, 0, "sent on a link that is down");
        let header = Header::decode(frame).expect("our own header");
        assert!(header.sequence > self.sent, "a sequence number was used twice");
        assert_eq!(header.incarnation, Incarnation(self.incarnation));
        let mut clear = [0; FRAME_MAX];
        let text = keys(header.tag).open(&header, frame, &mut clear).expect("sealed by us");
        let body = Body::decode(text).expect("nodes read it");
        assert!(body.flags.witness() && body.groups.len() == body.grants.len());
        for (place, grant) in body.grants.iter().enumerate() {
            assert!(
                !matches!(grant, GrantPart::Heard { .. })
                    || body.grant(latido::core::id::GroupId::new(place).expect("small")).is_some(),
                "a grant to nobody"
            );
        }
        self.sent = header.sequence;
        self.last = frame.to_vec();
        self.note(frame);
    }

    /// FNV-1a: two runs of the same bytes say the same.
    fn note(&mut self, said: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.said = said.iter().fold(self.said, step);
    }

    fn hear(&mut self, bytes: &mut Bytes<'_>) {
        let link = LinkId::new(bytes.below(LINKS_MAX)).expect("within the table");
        let frame = std::mem::take(&mut self.heard);
        self.handle(Input::Frame { link, bytes: &frame });
        self.heard = frame;
    }

    /// Noise, damage, our own frames.
    fn strange(&mut self, bytes: &mut Bytes<'_>) {
        let mut frame = match bytes.below(3) {
            0 => {
                let len = usize::from(bytes.u8());
                bytes.take(len).to_vec()
            }
            1 => self.heard.clone(),
            _ => self.last.clone(),
        };
        if !frame.is_empty() {
            let at = usize::from(bytes.u16()) % frame.len();
            frame[at] ^= 1 << bytes.below(8);
        }
        let link = LinkId::new(bytes.below(LINKS_MAX)).expect("within the table");
        self.handle(Input::Frame { link, bytes: &frame });
    }

    /// A frame of a node, sealed; its body is anything, plausible often enough to get far.
    fn frame(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let tag = bytes.pick(&TAGS);
        let header = Header {
            key: 1,
            tag,
            node: node(bytes),
            incarnation: Incarnation(100 + bytes.pick(&[0, 0, 0, 1, 2, 3])),
            sequence: match bytes.below(16) {
                0 => bytes.u64(),
                1..=3 => self.now.saturating_sub(u64::from(bytes.u16())),
                _ => self.now,
            },
        };
        let body = if bytes.rarely(16) {
            let len = usize::from(bytes.u8());
            Body::decode(bytes.take(len)).unwrap_or_default()
        } else {
            self.body(bytes)
        };
        let mut out = [0; FRAME_MAX];
        let len = keys(tag).seal(&header, &body, &mut out).unwrap_or(0);
        out[..len].to_vec()
    }

    fn body(&self, bytes: &mut Bytes<'_>) -> Body {
        let groups = bytes.pick(&[1, 1, 2, 3, GROUPS_MAX, 0]);
        let lists = [vec![NAME], vec![NameHash(1), NAME], vec![NameHash(1)], vec![]];
        let list = &lists[bytes.pick(&[0, 0, 0, 0, 0, 1, 2, 3])];
        Body {
            count: bytes.u16(),
            flags: NodeFlags::default()
                .with_ready(true)
                .with_goodbye(bytes.rarely(16))
                .with_witness(bytes.rarely(4)),
            voters: bytes.pick(&[9, 9, 9, 10]),
            predecessor: bytes.bool().then(|| Incarnation(100 + u64::from(bytes.u8() % 4))),
            witnesses: list.iter().copied().collect(),
            heard: (0..bytes.pick(&[1, 1, 1, 2, 0])).map(|_| self.echo(bytes)).collect(),
            groups: (0..groups).map(|index| self.part(bytes, index)).collect(),
            grants: (0..groups).map(|_| GrantPart::None).collect(),
            ..Body::default()
        }
    }

    fn echo(&self, bytes: &mut Bytes<'_>) -> Heard {
        // Witnesses are numbered from the last voter downwards.
        let ours = NodeId::new(VOTERS_MAX - 1 - bytes.pick(&[0, 0, 0, 1])).expect("in the table");
        Heard {
            node: if bytes.rarely(16) { node(bytes) } else { ours },
            incarnation: Incarnation(if bytes.rarely(8) { bytes.u64() } else { self.incarnation }),
            sequence: match bytes.below(32) {
                0 => bytes.u64(),
                1..=4 => self.sent.saturating_sub(u64::from(bytes.u32() % 300_000)),
                5 => self.sent.saturating_add(1),
                _ => self.sent,
            },
            age: if bytes.rarely(16) { bytes.u64() } else { self.now.saturating_sub(self.sent) },
            links: LinkSet(bytes.u8()),
        }
    }

    fn part(&self, bytes: &mut Bytes<'_>, index: usize) -> GroupPart {
        let place = if bytes.rarely(8) { usize::from(bytes.u8()) } else { index };
        GroupPart {
            name: NameHash(place as u32),
            claim: bytes.bool().then(|| ClaimPart {
                behind: if bytes.rarely(8) { bytes.u64() } else { u64::from(bytes.u16()) },
                lease: if bytes.rarely(8) { bytes.u64() } else { 50_000 + u64::from(bytes.u16()) },
            }),
            term: Term {
                count: if bytes.rarely(4) { u32::MAX } else { u32::from(bytes.u8() % 16) },
                node: node(bytes),
            },
            score: bytes.u8(),
            ..GroupPart::default()
        }
    }
}
