//! Frames on a serial line: the accumulator of bytes.
use super::bytes::Bytes;
use latido::core::framing::{Deframer, ENCODED_MAX, encode};
use latido::core::limits::FRAME_MAX;

/// Any bytes on a line, cut into any pieces, with a frame after them.
pub(crate) fn line(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let sizes: Vec<usize> = (0..4).map(|_| 1 + usize::from(bytes.u8())).collect();
    let noise = bytes.take(data.len());

    let mut whole = Deframer::new();
    let found = frames(&mut whole, noise);
    assert_eq!(whole.tally().good, found.len() as u64);
    for frame in &found {
        assert!((1..=FRAME_MAX).contains(&frame.len()));
        assert_eq!(&frames(&mut Deframer::new(), &encoded(frame)), std::slice::from_ref(frame));
    }

    let mut pieces = Deframer::new();
    let (mut again, mut rest) = (Vec::new(), noise);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(rest.len().min(*size));
        again.extend(frames(&mut pieces, piece));
        rest = tail;
    }
    assert_eq!(again, found, "pieces of {sizes:?}");
    assert_eq!(pieces.tally(), whole.tally());

    // Whatever came before, the next frame is whole. (What came before may be one that lacked
    // nothing but the delimiter.)
    let next = &noise[..noise.len().min(FRAME_MAX)];
    let next = if next.is_empty() { b"frame" } else { next };
    let after = frames(&mut whole, &encoded(next));
    assert!((1..=2).contains(&after.len()));
    assert_eq!(after.last().map(Vec::as_slice), Some(next));
}

fn encoded(frame: &[u8]) -> Vec<u8> {
    let mut out = [0xaa; ENCODED_MAX];
    let len = encode(frame, &mut out).expect("a frame fits");
    assert_eq!((out[0], out[len - 1]), (0, 0));
    assert!(!out[1..len - 1].contains(&0));
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
