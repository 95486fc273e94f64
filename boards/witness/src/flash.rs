//! What a board remembers: its settings, and how often it has started.
//!
//! Settings are one frame as on a serial line, with its check. The count is a number and a row of
//! marks behind it, one of which is written at each start, so that a sector is erased once in four
//! thousand starts.
use crate::{Board, NOISE_LEN};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use latido::core::framing::{Deframer, ENCODED_MAX};
use latido::core::id::Incarnation;
use latido::core::provision::{self, Settings};
use latido::core::time::Duration;

/// Bytes that are erased together.
pub const SECTOR_LEN: usize = 4096;
/// Sectors that a board has to give.
pub const SECTORS: usize = 2;

const SETTINGS: usize = 0;
const STARTS: usize = 1;
/// What erased flash reads as.
const ERASED: u8 = 0xFF;
const BASE_LEN: usize = 4;
const PIECE: usize = 64;
/// How long the button must be held at a start to erase everything.
const HELD: Duration = Duration::from_millis(3_000);

/// Flash memory that outlives a loss of power. Nothing of it fails by itself: what was written is
/// read back where it matters.
pub trait Flash {
    /// Reads from a place in a sector.
    fn read(&mut self, sector: usize, offset: usize, bytes: &mut [u8]);
    /// Turns bits to zero.
    fn program(&mut self, sector: usize, offset: usize, bytes: &[u8]);
    /// Turns all bits of a sector to one.
    fn erase(&mut self, sector: usize);
}

/// Counts this start.
pub(crate) fn count_start(flash: &mut impl Flash) -> u32 {
    let mut base = [0; BASE_LEN];
    flash.read(STARTS, 0, &mut base);
    let number = if base == [ERASED; BASE_LEN] { 0 } else { u32::from_le_bytes(base) };
    let marks = marks(flash);
    let starts = number.saturating_add(marks).saturating_add(1);
    let place = BASE_LEN + usize::try_from(marks).unwrap_or(SECTOR_LEN);
    if place < SECTOR_LEN {
        flash.program(STARTS, place, &[0]);
    } else {
        flash.erase(STARTS);
        flash.program(STARTS, 0, &starts.to_le_bytes());
    }
    starts
}

/// Marks that were written.
fn marks(flash: &mut impl Flash) -> u32 {
    let mut marks = 0;
    let mut offset = BASE_LEN;
    while offset < SECTOR_LEN {
        let mut piece = [ERASED; PIECE];
        let len = PIECE.min(SECTOR_LEN - offset);
        flash.read(STARTS, offset, piece.get_mut(..len).unwrap_or_default());
        for mark in piece {
            if mark == ERASED {
                return marks;
            }
            marks += 1;
        }
        offset += len;
    }
    marks
}

/// Forgets the settings.
pub(crate) fn erase(flash: &mut impl Flash) {
    flash.erase(SETTINGS);
}

/// Keeps settings; whether they read back as they were written.
pub(crate) fn save(flash: &mut impl Flash, frame: &[u8]) -> bool {
    flash.erase(SETTINGS);
    flash.program(SETTINGS, 0, frame);
    let mut offset = 0;
    frame.chunks(PIECE).all(|part| {
        let mut piece = [0; PIECE];
        let Some(read) = piece.get_mut(..part.len()) else { return false };
        flash.read(SETTINGS, offset, read);
        offset += part.len();
        read == part
    })
}

/// The settings, if there are any; `deframer` has seen nothing yet.
pub(crate) fn load(flash: &mut impl Flash, deframer: &mut Deframer) -> Option<Settings> {
    let mut piece = [0; 1];
    flash.read(SETTINGS, 0, &mut piece);
    if piece == [ERASED] {
        return None;
    }
    for offset in 0..ENCODED_MAX {
        flash.read(SETTINGS, offset, &mut piece);
        if let Some(frame) = deframer.push(&mut &piece[..]) {
            return provision::decode(frame)?.ok();
        }
    }
    // Whatever this was, the next frame begins anew.
    let _ = deframer.push(&mut &[0][..]);
    None
}

/// The incarnation of a start: noise may be poor, but its start's number is new and the key secret.
pub(crate) fn incarnation(
    settings: &Settings,
    starts: u32,
    noise: &[u8; NOISE_LEN],
) -> Incarnation {
    let mut nonce = [0; 24];
    let parts = starts.to_le_bytes().into_iter().chain(*noise);
    nonce.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
    if let Some(last) = nonce.last_mut() {
        // The nonces of frames end in zeros: this is none of them.
        *last |= 1;
    }
    let mut bytes = [0; 8];
    if let Some((_, key)) = settings.keys.first() {
        let cipher = XChaCha20Poly1305::new(&(*key).into());
        // Cannot fail: it is short.
        let _ = cipher.encrypt_inout_detached(&XNonce::from(nonce), &[], (&mut bytes[..]).into());
    }
    Incarnation(u64::from_le_bytes(bytes))
}

/// Whether the button is held at the start, for long enough that it is no accident.
pub(crate) fn button_held(board: &mut impl Board) -> bool {
    let start = board.now();
    while board.button() {
        board.pet();
        // A flicker that nothing else makes.
        let now = board.now();
        board.light((now.micros() / 50_000).is_multiple_of(2));
        if now.since(start) >= HELD {
            return true;
        }
    }
    false
}
