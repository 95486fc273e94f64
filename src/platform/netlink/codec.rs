//! Bytes of rtnetlink(7): requests are built into, and replies read from, bounded buffers.
//!
//! A request that does not fit, or a reply that is cut short or lies about its lengths, ends the
//! iteration; nothing here can panic on what the kernel (or a fuzzer) says.

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// The largest request that can be built.
const REQUEST_MAX: usize = 1024;

/// A request under construction.
pub(super) struct Request {
    buffer: [u8; REQUEST_MAX],
    len: usize,
    fits: bool,
}

/// Where a nested attribute begins; given back to [`Request::end`].
pub(super) struct Nest(usize);

impl Request {
    /// A request of this message type with these `NLM_F_*` flags (`NLM_F_REQUEST` is added).
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut request = Request { buffer: [0; REQUEST_MAX], len: HEADER, fits: true };
        request.buffer[4..6].copy_from_slice(&kind.to_ne_bytes());
        request.buffer[6..8].copy_from_slice(&(flags | super::NLM_F_REQUEST).to_ne_bytes());
        request
    }

    /// Appends bytes and pads to the next multiple of four.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len().next_multiple_of(4);
        if end > REQUEST_MAX {
            self.fits = false;
            return;
        }
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len = end;
    }

    /// Appends an attribute.
    pub(super) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        let Ok(length) = u16::try_from(payload.len() + 4) else {
            self.fits = false;
            return;
        };
        let mut header = [0; 4];
        header[..2].copy_from_slice(&length.to_ne_bytes());
        header[2..].copy_from_slice(&kind.to_ne_bytes());
        self.put(&header);
        self.put(payload);
    }

    /// Appends a 32-bit attribute in the machine's byte order.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends a text attribute with its final NUL.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = [0; 64];
        if text.len() >= bytes.len() {
            self.fits = false;
            return;
        }
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        self.attribute(kind, &bytes[..=text.len()]);
    }

    /// Begins a nested attribute.
    pub(super) fn nest(&mut self, kind: u16) -> Nest {
        let start = self.len;
        self.attribute(kind, &[]);
        Nest(start)
    }

    /// Ends a nested attribute.
    pub(super) fn end(&mut self, nest: Nest) {
        let length = (self.len - nest.0) as u16; // at most REQUEST_MAX
        if self.fits {
            self.buffer[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// The finished request, or `None` if something did not fit.
    pub(super) fn finish(&mut self, sequence: u32) -> Option<&[u8]> {
        let length = self.len as u32; // at most REQUEST_MAX
        self.buffer[..4].copy_from_slice(&length.to_ne_bytes());
        self.buffer[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.fits.then_some(&self.buffer[..self.len])
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// Of the socket that asked for it; 0: nobody did.
    pub(super) port: u32,
    pub(super) payload: &'a [u8],
}

/// The first message of `bytes` and what follows it.
pub(super) fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    if length < HEADER {
        return None;
    }
    let message = Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        port: u32_at(bytes, 12)?,
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

/// The attributes in `bytes`: type (without the nested and byte-order bits) and payload.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

/// The 16-bit number at `offset`.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

/// The 32-bit number at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

/// A text attribute up to its NUL; bytes that are not UTF-8 are replaced.
pub(super) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_reads_back_as_it_was_built() {
        let mut request = Request::new(16, 0x300);
        request.put(&[1, 2, 3, 4]);
        request.text(3, "eth0");
        let nest = request.nest(18);
        request.number(1, 0xdead_beef);
        request.attribute(2, &[9]);
        request.end(nest);
        let bytes = request.finish(77).expect("it fits");
        let (message, rest) = message(bytes).expect("a whole message");
        assert!(rest.is_empty());
        assert_eq!((message.kind, message.flags, message.sequence), (16, 0x301, 77));
        assert_eq!(message.payload[..4], [1, 2, 3, 4]);
        let read: Vec<_> = attributes(&message.payload[4..]).collect();
        assert_eq!(read[0], (3, &b"eth0\0"[..]));
        let nested: Vec<_> = attributes(read[1].1).collect();
        assert_eq!(nested, [(1, &0xdead_beef_u32.to_ne_bytes()[..]), (2, &[9][..])]);
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_request_that_does_not_fit_is_refused_whole() {
        let mut request = Request::new(16, 0);
        request.attribute(1, &[0; 600]);
        request.attribute(1, &[0; 600]);
        request.attribute(2, &[1]);
        assert!(request.finish(1).is_none());
        let mut request = Request::new(16, 0);
        request.text(3, &"x".repeat(64));
        assert!(request.finish(1).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut rest = &bytes[..];
            let mut turns = 0;
            while let Some((message, next)) = message(rest) {
                for (_, payload) in attributes(message.payload) {
                    let _ = (text(payload), u16_at(payload, 0), u32_at(payload, 2));
                    turns += 1;
                }
                turns += 1;
                prop_assert!(next.len() < rest.len());
                rest = next;
            }
            prop_assert!(turns <= bytes.len());
        }
    }
}
