//! One port on an RS-485 bus: waits for its turn, switches the transceiver, skips its own echo.
use super::turn::{Chance, Turn};
use crate::config::{self, Direction};
use crate::core::id::Incarnation;
use crate::core::wire::Header;
use crate::platform::{clock, modem};
use rustix::fd::BorrowedFd;

/// So few stray bytes are the crackle of a transceiver that is switched.
const CRACKLE: usize = 2;

/// A port's part of the bus.
#[derive(Debug)]
pub(super) struct Bus {
    turn: Turn,
    /// Our number on the bus, and who we are: by the first frame that we send.
    me: Option<(u8, Incarnation)>,
    /// We switch the transceiver by RTS.
    by_hand: bool,
    raised: bool,
    /// Bytes since the last frame that are no delimiters.
    stray: usize,
}

/// What a frame on the bus is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Theirs,
}

impl Bus {
    /// Makes a port that has just been opened one of a bus.
    pub(super) fn new(bus: &config::Bus, baud: u32, port: BorrowedFd<'_>) -> Bus {
        let by_hand = bus.direction == Direction::Rts;
        if by_hand {
            // Listening. A port without RTS has an adapter that switches by itself.
            let _ = modem::set(port, modem::Own::Rts, false);
        } else if !modem::kernel_rs485(port) {
            log::info!("RS-485: the driver does not switch the transceiver; its adapter must");
        }
        let turn = Turn::new(bus.pace(baud), clock::now().micros());
        Bus { turn, me: None, by_hand, raised: false, stray: 0 }
    }

    /// A frame of ours waits: what it says of us.
    pub(super) fn learn(&mut self, frame: &[u8]) {
        if let Ok(header) = Header::decode(frame) {
            self.me = Some((header.node.into(), header.incarnation));
        }
    }

    /// Bytes came; frames among them follow by [`Bus::frame`].
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.stray += bytes.iter().filter(|byte| **byte != 0).count();
        if self.stray > CRACKLE {
            self.turn.bytes(clock::now().micros());
        }
    }

    /// A whole frame came.
    pub(super) fn frame(&mut self, frame: &[u8]) -> Whose {
        self.stray = 0;
        let Ok(header) = Header::decode(frame) else { return Whose::Theirs };
        let station = u8::from(header.node);
        let ours = self.me == Some((station, header.incarnation));
        self.turn.frame(clock::now().micros(), station, ours);
        if ours { Whose::Ours } else { Whose::Theirs }
    }

    /// Whether we may send now; if not, after how many microseconds to ask again.
    pub(super) fn chance(&mut self) -> Result<(), u64> {
        let now = clock::now().micros();
        let Some((me, _)) = self.me else { return Ok(()) };
        match self.turn.chance(now, me) {
            Chance::Now => Ok(()),
            Chance::At(at) => Err(at.saturating_sub(now)),
        }
    }

    /// We begin to send so many bytes.
    pub(super) fn begin(&mut self, port: BorrowedFd<'_>, bytes: usize) {
        if self.by_hand {
            self.raised = modem::set(port, modem::Own::Rts, true).is_ok();
        }
        self.turn.sent(clock::now().micros(), bytes);
    }

    /// Ends sending when the last byte is out; after how many microseconds to look again.
    pub(super) fn end(&mut self, port: BorrowedFd<'_>, queued: usize) -> Option<u64> {
        if !self.raised {
            return None;
        }
        let left = self.turn.sending().saturating_sub(clock::now().micros());
        if left > 0 || queued > 0 {
            return Some(left.max(200));
        }
        self.raised = false;
        // A device that is gone sends nothing any more.
        let _ = modem::set(port, modem::Own::Rts, false);
        None
    }
}
