//! What is said on the cable between a witness board and whoever prepares it: in the clear.
//!
//! The same frames as on any serial line ([`framing`](super::framing)); the first byte tells them
//! from sealed ones. A key goes to a board that has none, and never comes back: there is no
//! question for it. A board that has one takes no other before it was erased, and then it is as
//! empty as a new one.
use super::wire::NameHash;
use super::witness::KEYS_MAX;
use super::witness::health::{Cause, Version};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// The first byte of such a frame. A sealed frame begins with the version of its format, which is
/// small.
pub const MARK: u8 = 0xA5;
/// Bytes of a board's name.
pub const BOARD_MAX: usize = 16;

/// To the board.
// There is one at a time, and no heap to keep its large part in.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who are you? The number comes back in the answer.
    Identify(u32),
    /// Be this witness, from now on.
    Provision(Settings),
    /// Forget everything.
    Erase,
}

/// What a witness has to know; the board keeps it in its flash.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Hash of its name.
    pub name: NameHash,
    /// Hash of the cluster's name.
    #[serde(with = "postcard::fixint::le")]
    pub tag: u32,
    /// Keys by number.
    pub keys: Vec<(u8, [u8; 32]), KEYS_MAX>,
}

impl ::core::fmt::Debug for Settings {
    /// Without the keys.
    fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        let mut out = out.debug_struct("Settings");
        out.field("name", &self.name).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// From the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Identify`].
    Identity(Identity),
    /// It is done, and checked by reading it back; the board starts anew.
    Done,
    /// It has a key already: erase it first.
    Provisioned,
    /// Its flash did not keep what was written.
    Flash,
    /// It does not understand: another version.
    What,
}

/// Who a board is and how it does. No key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The number of the question.
    pub question: u32,
    /// What board its firmware is for: text, filled up with zeros.
    pub board: [u8; BOARD_MAX],
    /// The number of its chip, where it has one.
    pub serial: Option<u64>,
    /// Version of its firmware.
    pub version: Version,
    /// Seconds since it started.
    pub uptime: u32,
    /// How often it has started.
    pub starts: u32,
    /// Why it started last.
    pub cause: Cause,
    /// Its supply, where it can be measured.
    pub millivolts: Option<u16>,
    /// The most bytes of stack that were ever used, where that is known.
    pub stack: Option<u16>,
    /// Bytes of memory that are not stack.
    pub memory: u16,
    /// Frames with a wrong check, on all lines.
    pub damaged: u32,
    /// Its settings without the keys.
    pub settings: Option<Known>,
}

/// What may be read of [`Settings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Hash of its name.
    pub name: NameHash,
    /// Hash of the cluster's name.
    #[serde(with = "postcard::fixint::le")]
    pub tag: u32,
    /// Numbers of its keys.
    pub keys: Vec<u8, KEYS_MAX>,
}

/// Writes such a message as a frame, and returns its length; `None` if it does not fit.
pub fn encode<T: Serialize>(message: &T, out: &mut [u8]) -> Option<usize> {
    let (mark, rest) = out.split_first_mut()?;
    *mark = MARK;
    let written = postcard::to_slice(message, rest).ok()?.len();
    Some(written.saturating_add(1))
}

/// The message in a frame: `None` if it is no such frame, an error if it is, but not this message.
#[allow(clippy::result_unit_err)]
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Option<Result<T, ()>> {
    let (mark, rest) = frame.split_first()?;
    (*mark == MARK).then(|| postcard::from_bytes(rest).map_err(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::super::limits::FRAME_MAX;
    use super::super::wire::VERSION;
    use super::*;

    #[test]
    fn messages_come_back_and_are_no_sealed_frames() {
        let keys = (0..8).map(|number| (number, [number; 32])).collect();
        let settings = Settings { name: NameHash(1), tag: 2, keys };
        assert!(!std::format!("{settings:?}").contains('['), "a key in a debug output");
        for request in [Request::Identify(7), Request::Provision(settings), Request::Erase] {
            let mut out = [0; FRAME_MAX];
            let len = encode(&request, &mut out).unwrap();
            assert_eq!(decode::<Request>(&out[..len]), Some(Ok(request)));
            assert_ne!(out[0], VERSION);
        }
        let identity =
            Identity { question: 9, settings: Some(Known::default()), ..Default::default() };
        let mut out = [0; 128];
        let len = encode(&Answer::Identity(identity.clone()), &mut out).unwrap();
        assert_eq!(decode(&out[..len]), Some(Ok(Answer::Identity(identity))));
    }

    #[test]
    fn other_frames_are_none() {
        assert_eq!(decode::<Request>(&[]), None);
        assert_eq!(decode::<Request>(&[VERSION, 0, 0]), None);
        assert_eq!(decode::<Request>(&[MARK, 0x77]), Some(Err(())));
    }
}
