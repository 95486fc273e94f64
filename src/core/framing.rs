//! Frames on a serial line: `0x00 COBS(frame ‖ CRC-32) 0x00`.
//!
//! A line delivers bytes, some of them wrong, and starts in the middle. Consistent Overhead Byte
//! Stuffing keeps 0x00 out of a frame, so that 0x00 is always a boundary; the CRC (iSCSI's, RFC
//! 3720 §B.4, little endian) throws damage away before any cryptography. The delimiter stands in
//! front of a frame as well, so that noise before it costs only the noise.
//!
//! Nothing here panics, whatever the bytes: the line is open to everybody.
use super::limits::FRAME_MAX;
use cobs::{CobsEncoder, DecodeResult, DecoderState};
use crc::{CRC_32_ISCSI, Crc, Table};

/// Bytes of the check value.
const CHECK_LEN: usize = 4;
const DECODED_MAX: usize = FRAME_MAX + CHECK_LEN;
/// Bytes of the longest frame on the line: frame, check, stuffing and both delimiters.
pub const ENCODED_MAX: usize = cobs::max_encoding_length(DECODED_MAX) + 2;

// A table makes it eight times as fast for 1 KiB; a microcontroller's flash is dearer than that.
#[cfg(feature = "std")]
static CHECK: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);
#[cfg(not(feature = "std"))]
static CHECK: Crc<u32, Table<0>> = Crc::<u32, Table<0>>::new(&CRC_32_ISCSI);

/// Writes `frame` to `out` as it goes on the line and returns the length.
///
/// `None` if the frame is empty or longer than [`FRAME_MAX`], or if `out` is too small;
/// [`ENCODED_MAX`] bytes always suffice.
pub fn encode(frame: &[u8], out: &mut [u8]) -> Option<usize> {
    if frame.is_empty() || frame.len() > FRAME_MAX {
        return None;
    }
    let (first, rest) = out.split_first_mut()?;
    let mut encoder = CobsEncoder::new(rest);
    encoder.push(frame).ok()?;
    encoder.push(&CHECK.checksum(frame).to_le_bytes()).ok()?;
    let len = encoder.finalize();
    *first = 0;
    *rest.get_mut(len)? = 0;
    Some(len.saturating_add(2))
}

/// Where a frame stands in a buffer for [`encode_in_place`]: stuffing moves it forward.
pub const FRAME_AT: usize = ENCODED_MAX - DECODED_MAX - 1;

/// The same without a second buffer, for a machine with little memory: the frame of `len` bytes
/// stands at [`FRAME_AT`], and what goes on the line then stands at the start.
pub fn encode_in_place(buffer: &mut [u8; ENCODED_MAX], len: usize) -> Option<usize> {
    if len == 0 || len > FRAME_MAX {
        return None;
    }
    let frame = buffer.get_mut(FRAME_AT..)?.get_mut(..len.saturating_add(CHECK_LEN))?;
    let (text, check) = frame.split_last_chunk_mut::<CHECK_LEN>()?;
    *check = CHECK.checksum(text).to_le_bytes();
    let end = FRAME_AT.saturating_add(len).saturating_add(CHECK_LEN);
    // The code of a block stands before it, and is known at its end.
    let (mut code_at, mut write, mut code) = (1_usize, 2_usize, 1_u8);
    *buffer.first_mut()? = 0;
    for read in FRAME_AT..end {
        if code == u8::MAX {
            *buffer.get_mut(code_at)? = code;
            (code_at, write, code) = (write, write.saturating_add(1), 1);
        }
        let byte = *buffer.get(read)?;
        if byte == 0 {
            *buffer.get_mut(code_at)? = code;
            (code_at, code) = (write, 1);
        } else {
            *buffer.get_mut(write)? = byte;
            code = code.saturating_add(1);
        }
        write = write.saturating_add(1);
    }
    *buffer.get_mut(code_at)? = code;
    *buffer.get_mut(write)? = 0;
    Some(write.saturating_add(1))
}

/// What came over a line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tally {
    /// Frames whose check was right.
    pub good: u64,
    /// Runs of bytes between two delimiters that were no frame: noise, halves, too long, damaged.
    pub damaged: u64,
}

/// Finds the frames in a stream of bytes, however it is cut into pieces.
pub struct Deframer {
    buffer: [u8; DECODED_MAX],
    len: usize,
    state: DecoderState,
    /// The run is no frame already: skip to the next delimiter.
    skipping: bool,
    /// Something other than a delimiter has come since the last delimiter.
    begun: bool,
    tally: Tally,
    /// Bytes of the frame that was complete last.
    last: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// A deframer that has seen nothing; it takes a frame from the first byte on.
    pub const fn new() -> Self {
        Deframer {
            buffer: [0; DECODED_MAX],
            len: 0,
            state: DecoderState::Idle,
            skipping: false,
            begun: false,
            tally: Tally { good: 0, damaged: 0 },
            last: 0,
        }
    }

    /// Takes bytes from the front of `bytes` until a frame is complete, and returns that frame.
    ///
    /// `None`: all bytes were taken. Call again with what is left until then. A frame is 1 to
    /// [`FRAME_MAX`] bytes long and its check was right; who sent it is not known yet.
    pub fn push(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        self.push_mut(bytes).map(|frame| &*frame)
    }

    /// The same; the frame may be changed where it stands.
    pub fn push_mut(&mut self, bytes: &mut &[u8]) -> Option<&mut [u8]> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if byte != 0 {
                self.take(byte);
            } else if let Some(len) = self.finish() {
                self.last = len;
                return self.buffer.get_mut(..len);
            }
        }
        None
    }

    /// The frame that was complete last, until more bytes come.
    pub fn last(&self) -> &[u8] {
        self.buffer.get(..self.last).unwrap_or_default()
    }

    /// What was counted since the start.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes a byte that is no delimiter.
    fn take(&mut self, byte: u8) {
        self.begun = true;
        self.last = 0;
        if self.skipping {
            return;
        }
        match self.state.feed(byte) {
            Ok(DecodeResult::DataContinue(data)) => match self.buffer.get_mut(self.len) {
                Some(place) => {
                    *place = data;
                    self.len = self.len.saturating_add(1);
                }
                None => self.skipping = true,
            },
            Ok(DecodeResult::NoData) => {}
            // Only a delimiter completes or breaks a run; should the crate ever think otherwise,
            // the run is lost and nothing else.
            Ok(DecodeResult::DataComplete) | Err(_) => self.skipping = true,
        }
    }

    /// A delimiter came: judges the run before it and starts anew.
    fn finish(&mut self) -> Option<usize> {
        let begun = ::core::mem::take(&mut self.begun);
        let skipped = ::core::mem::take(&mut self.skipping);
        let len = ::core::mem::take(&mut self.len);
        let mut state = ::core::mem::replace(&mut self.state, DecoderState::Idle);
        if !begun {
            return None;
        }
        let whole = !skipped && matches!(state.feed(0), Ok(DecodeResult::DataComplete));
        let frame_len = if whole { self.checked(len) } else { None };
        match frame_len {
            Some(_) => self.tally.good = self.tally.good.saturating_add(1),
            None => self.tally.damaged = self.tally.damaged.saturating_add(1),
        }
        frame_len
    }

    /// The length of the frame in the first `len` bytes, if its check is right.
    fn checked(&self, len: usize) -> Option<usize> {
        let (frame, check) = self.buffer.get(..len)?.split_last_chunk::<CHECK_LEN>()?;
        let right = CHECK.checksum(frame).to_le_bytes() == *check;
        (right && !frame.is_empty()).then_some(frame.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(frame: &[u8]) -> Vec<u8> {
        let mut out = [0xAA; ENCODED_MAX];
        let len = encode(frame, &mut out).expect("fits");
        out[..len].to_vec()
    }

    fn frames(deframer: &mut Deframer, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(frame) = deframer.push(&mut bytes) {
            found.push(frame.to_vec());
        }
        assert!(bytes.is_empty());
        found
    }

    /// Lengths around the block size of COBS and at both ends, contents heavy in 0x00 and 0xFF.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let len = prop_oneof![
            1usize..64,
            245usize..262,
            500usize..516,
            Just(FRAME_MAX - 1),
            Just(FRAME_MAX)
        ];
        let byte = prop_oneof![Just(0u8), Just(0xFFu8), any::<u8>(), 1u8..=255];
        len.prop_flat_map(move |len| prop::collection::vec(byte.clone(), len))
    }

    /// Noise that ends somewhere: any bytes, also delimiters.
    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            prop::collection::vec(Just(0u8), 0..80),
            prop::collection::vec(1u8..=255, 1..3000),
        ]
    }

    #[test]
    fn the_bytes_on_the_line_are_these() {
        // CRC-32C of "123456789" is the catalogue's check value 0xE3069283.
        let line = encoded(b"123456789");
        let expected = [&[0, 14][..], b"123456789", &[0x83, 0x92, 0x06, 0xE3, 0]].concat();
        assert_eq!(line, expected);
    }

    #[test]
    fn frames_that_cannot_be_are_refused() {
        let mut out = [0; ENCODED_MAX];
        assert_eq!(encode(&[], &mut out), None);
        assert_eq!(encode(&[7; FRAME_MAX + 1], &mut out), None);
        for len in 0..16 {
            assert_eq!(encode(b"123456789", &mut out[..len]), None, "{len} bytes of room");
        }
        assert_eq!(encode(b"123456789", &mut out[..16]), Some(16));
        assert_eq!(encode(&[7; FRAME_MAX], &mut out), Some(ENCODED_MAX));
    }

    #[test]
    fn an_endless_run_is_one_damage_and_the_next_frame_is_whole() {
        let mut deframer = Deframer::new();
        for _ in 0..100 {
            assert!(frames(&mut deframer, &[0x55; 4096]).is_empty());
        }
        assert_eq!(frames(&mut deframer, &encoded(b"here")), [b"here"]);
        assert_eq!(deframer.tally(), Tally { good: 1, damaged: 1 });
    }

    #[test]
    fn delimiters_alone_are_no_damage() {
        let mut deframer = Deframer::new();
        assert!(frames(&mut deframer, &[0; 10_000]).is_empty());
        assert_eq!(deframer.tally(), Tally::default());
    }

    #[test]
    fn a_check_without_a_frame_is_damage() {
        // The check of nothing is 0: four zero bytes are five times "next byte is zero".
        let mut deframer = Deframer::new();
        assert!(frames(&mut deframer, &[0, 1, 1, 1, 1, 1, 0]).is_empty());
        assert_eq!(deframer.tally(), Tally { good: 0, damaged: 1 });
    }

    proptest! {
        #[test]
        fn round_trip(frame in frame()) {
            let line = encoded(&frame);
            prop_assert!(line.len() <= ENCODED_MAX);
            prop_assert!(!line[1..line.len() - 1].contains(&0));
            prop_assert_eq!(frames(&mut Deframer::new(), &line), [frame]);
        }

        #[test]
        fn in_place_is_the_same(frame in frame()) {
            let mut buffer = [0xAA; ENCODED_MAX];
            buffer[FRAME_AT..FRAME_AT + frame.len()].copy_from_slice(&frame);
            let len = encode_in_place(&mut buffer, frame.len()).expect("fits");
            prop_assert_eq!(&buffer[..len], encoded(&frame));
        }

        #[test]
        fn garbage_between_frames_loses_none(
            parts in prop::collection::vec((garbage(), frame()), 1..6),
        ) {
            let mut deframer = Deframer::new();
            let mut found = Vec::new();
            for (garbage, frame) in &parts {
                found.extend(frames(&mut deframer, garbage));
                found.extend(frames(&mut deframer, &encoded(frame)));
            }
            let sent: Vec<_> = parts.into_iter().map(|part| part.1).collect();
            // Garbage that is a frame by chance would have to guess 32 bits.
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn a_half_frame_costs_only_itself(one in frame(), two in frame(), cut in 0usize..1200) {
            let half = encoded(&one);
            let half = &half[..cut.min(half.len() - 2)];
            let mut deframer = Deframer::new();
            prop_assert!(frames(&mut deframer, half).is_empty());
            prop_assert_eq!(frames(&mut deframer, &encoded(&two)), [two]);
        }

        #[test]
        fn a_flipped_bit_is_never_a_frame(
            frame in frame(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut line = encoded(&frame);
            let at = 1 + at.index(line.len() - 2);
            line[at] ^= 1 << bit;
            let mut deframer = Deframer::new();
            for found in frames(&mut deframer, &line) {
                prop_assert_eq!(&found, &frame);
            }
            prop_assert_eq!(deframer.tally().good, 0);
            prop_assert!(deframer.tally().damaged > 0);
        }

        #[test]
        fn arbitrary_bytes_in_arbitrary_pieces_give_the_same_frames(
            parts in prop::collection::vec((garbage(), frame()), 0..4),
            sizes in prop::collection::vec(1usize..300, 1..20),
        ) {
            let line: Vec<u8> = parts
                .iter()
                .flat_map(|(noise, frame)| [noise.clone(), encoded(frame)].concat())
                .collect();
            let mut whole = Deframer::new();
            let at_once = frames(&mut whole, &line);
            let mut pieces = Deframer::new();
            let (mut found, mut rest) = (Vec::new(), &line[..]);
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at(rest.len().min(*size));
                found.extend(frames(&mut pieces, piece));
                rest = tail;
            }
            prop_assert_eq!(found, at_once);
            prop_assert_eq!(pieces.tally(), whole.tally());
        }
    }
}
