//! Sealing and opening of frames: XChaCha20-Poly1305 over the body, the header authenticated.
//!
//! The nonce is node ‖ incarnation ‖ sequence (17 of 24 bytes, hence the extended nonce). Under one
//! key it never comes twice:
//!
//! * **Two nodes**: the node's number is in it. (Two machines that run under one name differ by
//!   their incarnations.)
//! * **Two starts**, be it of the machine, of the daemon, or of the engine for a reload: each start
//!   draws 64 random bits from the kernel (`runtime::draw_incarnation`); nothing of it is read from
//!   a disk. Even two equal draws, one start in 2^64, would do harm only if the clock, which is the
//!   sequence number, also showed the same microsecond in both: within one boot it does not.
//! * **Within one start**: the sequence number is the clock in µs, and a frame is sent only if its
//!   number is larger than the one before (`Cluster::transmit`, the only caller of [`Keys::seal`]).
//!   A clock that stands still or goes back holds frames back; one that jumps (suspend) skips
//!   numbers.
//! * **Another key**, and back: [`Input::Keys`](super::io::Input::Keys) changes nothing but the
//!   keys. The incarnation goes on and its numbers go on, so that a key which is used again finds
//!   all of them larger. A trial of a key takes a number of its own.
//! * **A machine that was copied while it ran** (a clone, a restored snapshot) has the incarnation
//!   twice, which no program can see from inside. The two go on with one clock, so their numbers
//!   may meet until either hears of the other: by a frame of its own that it has not sent, or by
//!   a peer's echo of one. Then it sends nothing more before it has drawn anew. What one such
//!   meeting tells an eavesdropper: the difference of two bodies; forging needs both frames and a
//!   receiver who has taken neither.
//!
//! `rekey::tests` plays all of this at random and collects every nonce.
use super::wire::{BODY_MAX, Body, FRAME_MIN, FrameBuf, HEADER_LEN, Header, SEAL_LEN};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use heapless::Vec;

/// Keys that may be accepted at once.
pub const KEYS_MAX: usize = 16;

/// The accepted keys, and the one that sends.
#[derive(Clone)]
pub struct Keys {
    sealing: u8,
    accepted: Vec<(u8, XChaCha20Poly1305), KEYS_MAX>,
}

/// Why a frame could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VerifyError {
    /// None of our keys has its number.
    UnknownKey,
    /// The seal does not fit: another key, or damaged on the way, or forged.
    Seal,
}

impl ::core::fmt::Debug for Keys {
    /// The numbers alone.
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        let numbers = self.accepted.iter().map(|key| key.0);
        write!(f, "Keys({}", self.sealing)?;
        numbers.filter(|number| *number != self.sealing).try_for_each(|n| write!(f, ", {n}"))?;
        f.write_str(")")
    }
}

impl Keys {
    /// Keys by number; `sealing` seals what is sent. `None` if it is not among them, or if there
    /// are more than [`KEYS_MAX`].
    pub fn new(sealing: u8, keys: &[(u8, [u8; 32])]) -> Option<Keys> {
        if keys.len() > KEYS_MAX || !keys.iter().any(|key| key.0 == sealing) {
            return None;
        }
        let accepted = keys.iter().map(|(number, key)| (*number, cipher(key))).collect();
        Some(Keys { sealing, accepted })
    }

    /// The number of the key that seals.
    pub fn sealing(&self) -> u8 {
        self.sealing
    }

    fn cipher(&self, number: u8) -> Option<&XChaCha20Poly1305> {
        self.accepted.iter().find(|key| key.0 == number).map(|key| &key.1)
    }

    /// Writes the whole frame, sealed by the key that the header names, into `out` and returns its
    /// length; `None` if the body does not fit or there is no such key.
    pub fn seal(&self, header: &Header, body: &Body, out: &mut FrameBuf) -> Option<usize> {
        let len = body.encode(out.get_mut(HEADER_LEN..)?.get_mut(..BODY_MAX)?)?;
        close(self.cipher(header.key)?, header, len, out)
    }

    /// Whether the key of this number is accepted.
    pub fn accepts(&self, number: u8) -> bool {
        self.cipher(number).is_some()
    }

    /// Opens `frame`, whose header was read before, and returns the body's bytes in `out`.
    ///
    /// # Errors
    /// [`VerifyError`] if the frame is not by somebody who has one of our keys.
    pub fn open<'a>(
        &self,
        header: &Header,
        frame: &[u8],
        out: &'a mut FrameBuf,
    ) -> Result<&'a [u8], VerifyError> {
        open(self.cipher(header.key).ok_or(VerifyError::UnknownKey)?, header, frame, out)
    }
}

/// The cipher of a key.
pub(super) fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*key).into())
}

/// Seals the frame whose body of `len` bytes stands in its place in `out`; the frame's length.
pub(super) fn close(
    cipher: &XChaCha20Poly1305,
    header: &Header,
    len: usize,
    out: &mut FrameBuf,
) -> Option<usize> {
    let head = header.encode();
    let (start, rest) = out.split_first_chunk_mut::<HEADER_LEN>()?;
    *start = head;
    let (text, end) = rest.split_at_mut_checked(len)?;
    let tag = cipher.encrypt_inout_detached(&nonce(header), &head, text.into()).ok()?;
    end.get_mut(..SEAL_LEN)?.copy_from_slice(&tag);
    Some(FRAME_MIN + len)
}

/// Opens `frame`, whose header was read before, and returns the body's bytes in `out`.
pub(super) fn open<'a>(
    cipher: &XChaCha20Poly1305,
    header: &Header,
    frame: &[u8],
    out: &'a mut FrameBuf,
) -> Result<&'a [u8], VerifyError> {
    let copy = out.get_mut(..frame.len()).ok_or(VerifyError::Seal)?;
    copy.copy_from_slice(frame);
    open_in_place(cipher, header, copy)
}

/// Opens `frame`, whose header was read before, where it stands.
pub(super) fn open_in_place<'a>(
    cipher: &XChaCha20Poly1305,
    header: &Header,
    frame: &'a mut [u8],
) -> Result<&'a [u8], VerifyError> {
    let (head, rest) = frame.split_at_mut_checked(HEADER_LEN).ok_or(VerifyError::Seal)?;
    let (text, tag) = rest.split_last_chunk_mut::<SEAL_LEN>().ok_or(VerifyError::Seal)?;
    cipher
        .decrypt_inout_detached(&nonce(header), head, (&mut *text).into(), &Tag::from(*tag))
        .map_err(|_| VerifyError::Seal)?;
    Ok(text)
}

fn nonce(header: &Header) -> XNonce {
    let parts = [u8::from(header.node)].into_iter();
    let parts =
        parts.chain(header.incarnation.0.to_le_bytes()).chain(header.sequence.to_le_bytes());
    let mut nonce = [0; 24];
    nonce.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    nonce.into()
}

#[cfg(test)]
mod tests {
    use super::super::id::{Incarnation, NodeId};
    use super::super::limits::FRAME_MAX;
    use super::*;

    fn header(sequence: u64) -> Header {
        let node = NodeId::new(1).unwrap();
        Header { key: 1, tag: 7, node, incarnation: Incarnation(99), sequence }
    }

    fn sealed(keys: &Keys, sequence: u64) -> (FrameBuf, usize) {
        let mut frame = [0; FRAME_MAX];
        let len = keys.seal(&header(sequence), &Body::default(), &mut frame).unwrap();
        (frame, len)
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let keys = Keys::new(1, &[(1, [5; 32])]).unwrap();
        let (mut frame, len) = sealed(&keys, 12);
        let mut out = [0; FRAME_MAX];
        let body = keys.open(&header(12), &frame[..len], &mut out).unwrap();
        assert_eq!(Body::decode(body), Ok(Body::default()));
        for bit in 0..len * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            let opened = Header::decode(&frame[..len])
                .map(|header| keys.open(&header, &frame[..len], &mut out).is_ok());
            assert_ne!(opened, Ok(true), "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn rotation_accepts_every_listed_key() {
        let old = Keys::new(1, &[(1, [5; 32])]).unwrap();
        let both = Keys::new(2, &[(1, [5; 32]), (2, [6; 32])]).unwrap();
        let mut out = [0; FRAME_MAX];
        let (frame, len) = sealed(&old, 3);
        assert!(both.open(&header(3), &frame[..len], &mut out).is_ok());
        let newer = Header { key: 2, ..header(4) };
        let mut frame = [0; FRAME_MAX];
        let len = both.seal(&newer, &Body::default(), &mut frame).unwrap();
        let opened = old.open(&newer, &frame[..len], &mut out);
        assert_eq!(opened, Err(VerifyError::UnknownKey));
        assert!(Keys::new(3, &[(1, [0; 32])]).is_none());
    }
}
