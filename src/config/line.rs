//! Serial lines: how they are wired, what a frame costs on them, and how the nodes of one bus take
//! turns.
use super::{Config, Link, Medium};
use crate::core::framing;
use crate::core::id::{Incarnation, LinkSet, NodeId, Term};
use crate::core::limits::{FRAME_MAX, GROUPS_MAX, VOTERS_MAX};
use crate::core::wire::{
    BODY_MAX, Body, ClaimPart, FRAME_MIN, GrantPart, GroupPart, Heard, NameHash,
};
use std::path::PathBuf;
use std::time::Duration;

/// Bits on the line for each byte: start, eight, stop.
const BITS_PER_BYTE: u64 = 10;
/// Bytes that a UART collects before it reports them, at worst: those of its FIFO.
const FIFO: u64 = 16;
/// Until a node that was woken up writes, and its adapter passes that on. Most USB adapters report
/// what came after 16 ms at the latest.
const LATENCY: Duration = Duration::from_millis(20);
/// Turns that must fit into `dead`: two in a row may be lost, and one is under way.
const TURNS: u32 = 4;

/// How a serial line is wired and used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Hardware flow control.
    pub flow: Flow,
    /// Which modem lines tell of the peer.
    pub modem: Modem,
    /// RS-485: several nodes on one pair of wires.
    pub bus: Option<Bus>,
}

/// Whether the peer may stop us by its RTS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Nobody stops us: a dead peer holds no line ready.
    #[default]
    None,
    /// RTS and CTS, for adapters that lose bytes without.
    RtsCts,
}

/// Where DSR, DCD and CTS are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Modem {
    /// From the device.
    #[default]
    Device,
    /// Nowhere.
    Off,
    /// From a file, for tests: its words are the lines that are up.
    File(PathBuf),
}

/// An RS-485 bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    /// What switches the driver on.
    pub direction: Direction,
    /// Between two nodes' beginnings when the first of them stays silent; `None`: by the speed.
    pub slot: Option<Duration>,
    /// Nodes on the bus: all voters.
    pub stations: u8,
    /// Bytes of a usual frame on the line.
    pub frame: u16,
}

/// What switches an RS-485 transceiver to sending and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The driver of the port if it can, else the adapter by itself.
    #[default]
    Auto,
    /// Latido, by RTS.
    Rts,
}

/// The times of a bus, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Nodes that take turns.
    pub stations: u8,
    /// One byte on the wire.
    pub byte: u64,
    /// A usual frame on the wire.
    pub frame: u64,
    /// Between two nodes' beginnings when the first of them stays silent.
    pub slot: u64,
}

impl Bus {
    /// The times at this speed.
    pub fn pace(&self, baud: u32) -> Pace {
        let byte = BITS_PER_BYTE * 1_000_000 / u64::from(baud.max(1));
        let own = micros(LATENCY) + FIFO * byte;
        Pace {
            stations: self.stations.max(2),
            byte: byte.max(1),
            frame: bytes_us(u64::from(self.frame), baud),
            slot: self.slot.map_or(own, micros).max(1000),
        }
    }
}

impl Pace {
    /// The longest time from a node's turn to its next: everybody sends a usual frame.
    pub fn turn(&self) -> Duration {
        let each = self.frame.saturating_add(self.slot);
        Duration::from_micros(each.saturating_mul(u64::from(self.stations)))
    }

    /// What `dead` must exceed.
    pub fn least_dead(&self) -> Duration {
        self.turn() * TURNS
    }
}

impl Medium {
    /// Which of the heartbeats a link carries if a frame has `bytes`: every one, or every n-th if
    /// it is too slow.
    pub(super) fn every_of(&self, interval: Duration, bytes: u64) -> u8 {
        let Medium::Serial { baud, line, .. } = self else { return 1 };
        let needed = match &line.bus {
            Some(bus) => micros(bus.pace(*baud).turn()),
            // A fifth of the line's time stays free for frames out of turn.
            None => bytes_us(bytes, *baud).saturating_mul(5) / 4,
        };
        u8::try_from(needed.div_ceil(micros(interval).max(1)).max(1)).unwrap_or(u8::MAX)
    }
}

impl Config {
    /// Which of the heartbeats `link` carries: every one, or every n-th if it is too slow.
    pub fn every(&self, link: &Link) -> u8 {
        link.medium.every_of(self.timing.interval, self.frame_on_line())
    }

    /// Bytes of a usual frame on a serial line.
    pub fn frame_on_line(&self) -> u64 {
        let voters = self.nodes.len() + self.witnesses.len();
        frame_on_line(voters, self.witnesses.len(), self.groups.len())
    }
}

/// How long `bytes` take, in microseconds.
pub fn bytes_us(bytes: u64, baud: u32) -> u64 {
    bytes.saturating_mul(BITS_PER_BYTE).saturating_mul(1_000_000).div_ceil(u64::from(baud).max(1))
}

/// Bytes on the line of a frame that an owner of all groups sends while everybody hears everybody,
/// with delimiters, check and stuffing.
pub fn frame_on_line(voters: usize, witnesses: usize, groups: usize) -> u64 {
    // Sequence numbers count microseconds since the start: four months.
    const SEQUENCE: u64 = 10_000_000_000_000;
    const AGE: u64 = 1_000_000;
    let mut body =
        Body { count: u16::MAX, predecessor: Some(Incarnation(u64::MAX)), ..Body::default() };
    for _ in 0..witnesses.min(VOTERS_MAX) {
        let _ = body.witnesses.push(NameHash::default());
    }
    for _ in 1..voters.min(VOTERS_MAX) {
        let _ = body.heard.push(Heard {
            node: NodeId::default(),
            incarnation: Incarnation(u64::MAX),
            sequence: SEQUENCE,
            age: AGE,
            links: LinkSet::EMPTY,
        });
    }
    let claim = Some(ClaimPart { behind: SEQUENCE, lease: 10 * AGE });
    for _ in 0..groups.min(GROUPS_MAX) {
        let _ = body.groups.push(GroupPart {
            claim,
            term: Term { count: 1000, ..Term::default() },
            ..GroupPart::default()
        });
        let _ = body.grants.push(GrantPart::Heard { node: NodeId::default(), behind: AGE });
    }
    let len = body.encode(&mut [0; BODY_MAX]).unwrap_or(BODY_MAX) + FRAME_MIN;
    let mut out = [0; framing::ENCODED_MAX];
    let frame = [0xff; FRAME_MAX];
    let encoded = framing::encode(frame.get(..len).unwrap_or(&frame), &mut out);
    encoded.unwrap_or(framing::ENCODED_MAX) as u64
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_frame_is_as_small_as_promised() {
        // docs/how-it-works.md and docs/cables.md count with it.
        let frame = frame_on_line(2, 0, 2);
        assert!((90..=150).contains(&frame), "{frame}");
        let mut before = 0;
        for voters in 2..=VOTERS_MAX {
            let frame = frame_on_line(voters, 0, 1);
            assert!(frame > before, "{voters} voters: {frame} bytes");
            before = frame;
        }
        assert!(frame_on_line(VOTERS_MAX, 0, GROUPS_MAX) <= framing::ENCODED_MAX as u64);
    }

    /// docs/cables.md says what these lines compute.
    fn table() -> String {
        use std::fmt::Write as _;
        let (pair, three) = (frame_on_line(2, 0, 1), frame_on_line(3, 0, 1));
        let mut text = format!(
            "| baud | frame of a pair, {pair} bytes | heartbeats a second | three nodes on RS-485, \
             {three} bytes: a turn | dead above |\n|---:|---:|---:|---:|---:|\n"
        );
        let tenths = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
        for baud in [9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600, 3_000_000] {
            let frame = bytes_us(pair, baud);
            let bus = Bus { direction: Direction::Auto, slot: None, stations: 3, frame: 0 };
            let pace = Bus { frame: u16::try_from(three).expect("short"), ..bus }.pace(baud);
            let _ = writeln!(
                text,
                "| {baud} | {} | {} | {} | {} |",
                tenths(frame),
                4_000_000 / (frame * 5),
                tenths(micros(pace.turn())),
                tenths(micros(pace.least_dead()))
            );
        }
        text
    }

    #[test]
    fn the_speeds_of_the_documentation_are_the_real_ones() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cables.md");
        let text = std::fs::read_to_string(docs).expect("docs/cables.md");
        assert!(text.contains(&table()), "docs/cables.md should have:\n{}", table());
    }

    #[test]
    fn a_turn_is_everybodys_frame_and_slot() {
        let bus = Bus { direction: Direction::Auto, slot: None, stations: 3, frame: 150 };
        // At 9600 baud a byte takes 1.04 ms, a frame 156 ms, a slot 20 + 16 bytes.
        let pace = bus.pace(9600);
        assert_eq!((pace.frame, pace.slot), (156_250, 20_000 + 16 * 1041));
        assert_eq!(pace.turn(), Duration::from_micros(3 * (156_250 + 36_656)));
        assert_eq!(pace.least_dead(), pace.turn() * 4);
        let quick = Bus { slot: Some(Duration::from_millis(5)), ..bus };
        assert_eq!(quick.pace(115_200).slot, 5000);
    }
}
