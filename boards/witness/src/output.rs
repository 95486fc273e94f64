//! The frame that goes out, on one line or on all of them.
//!
//! There is one buffer. The next frame is made when the last one is out: a witness's frames say
//! what is so now, so a line that is slower than the nodes talk gets fewer, and none that is old.
use crate::{Board, LINES};
use latido::core::framing::{ENCODED_MAX, FRAME_AT, encode_in_place};
use latido::core::limits::FRAME_MAX;
use latido::core::time::{Duration, Instant};
use latido::core::wire::FrameBuf;

/// A line that takes no byte for so long has nobody at its end: the rest is dropped.
const STUCK: Duration = Duration::from_millis(50);

pub(crate) struct Outgoing {
    bytes: [u8; ENCODED_MAX],
    len: usize,
    /// The next byte of each line.
    next: [usize; LINES],
    moved_at: Instant,
}

const _: () = assert!(FRAME_AT + FRAME_MAX <= ENCODED_MAX);

impl Outgoing {
    pub(crate) const NEW: Outgoing = Outgoing {
        bytes: [0; ENCODED_MAX],
        len: 0,
        next: [0; LINES],
        moved_at: Instant::from_micros(0),
    };

    /// Whether a line has not got all of it.
    pub(crate) fn busy(&self) -> bool {
        self.next.iter().any(|next| *next < self.len)
    }

    /// Where the next frame is to be written; only while none is on its way. Always there.
    pub(crate) fn frame(&mut self) -> Option<&mut FrameBuf> {
        self.bytes.get_mut(FRAME_AT..)?.first_chunk_mut()
    }

    /// Sends the first `len` bytes of [`frame`](Self::frame) on these lines.
    pub(crate) fn start(&mut self, len: usize, now: Instant, on: impl Fn(usize) -> bool) {
        self.len = encode_in_place(&mut self.bytes, len).unwrap_or(0);
        for (line, next) in self.next.iter_mut().enumerate() {
            *next = if on(line) { 0 } else { self.len };
        }
        self.moved_at = now;
    }

    /// The first `len` bytes of [`frame`](Self::frame) as they go on a line, to be kept elsewhere.
    pub(crate) fn encode(&mut self, len: usize) -> Option<&[u8]> {
        self.drop_all();
        let len = encode_in_place(&mut self.bytes, len)?;
        self.bytes.get(..len)
    }

    /// Forgets what is on its way.
    pub(crate) fn drop_all(&mut self) {
        self.len = 0;
        self.next = [0; LINES];
    }

    /// Gives each line what it takes.
    pub(crate) fn advance<B: Board>(&mut self, board: &mut B, now: Instant) {
        let mut moved = false;
        for (line, next) in self.next.iter_mut().enumerate() {
            while let Some(byte) = self.bytes.get(..self.len).and_then(|all| all.get(*next)) {
                if !board.put(line, *byte) {
                    break;
                }
                *next += 1;
                moved = true;
            }
        }
        if moved {
            self.moved_at = now;
        } else if now.since(self.moved_at) > STUCK {
            self.drop_all();
        }
    }
}
