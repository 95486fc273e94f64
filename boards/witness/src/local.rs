//! What is said on the cable, with little memory: settings are kept as the bytes that came, and
//! decoded only to see that they can be.
use latido::core::provision::{self, MARK, Request};

/// A request without what comes with it.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    Identify(u32),
    Provision,
    Erase,
    Unknown,
}

/// What a frame asks, if it is none for the witness.
pub(crate) fn question(frame: &[u8]) -> Option<Question> {
    (frame.first() == Some(&MARK)).then(|| understood(frame))
}

#[inline(never)]
fn understood(frame: &[u8]) -> Question {
    match provision::decode::<Request>(frame) {
        Some(Ok(Request::Identify(number))) => Question::Identify(number),
        Some(Ok(Request::Provision(settings))) if !settings.keys.is_empty() => Question::Provision,
        Some(Ok(Request::Erase)) => Question::Erase,
        _ => Question::Unknown,
    }
}

/// The bytes of the settings in a request that was understood: they follow the mark and the number
/// of the request.
pub(crate) fn settings(request: &[u8]) -> Option<&[u8]> {
    match request {
        [MARK, _, settings @ ..] => Some(settings),
        _ => None,
    }
}

/// Writes settings as they are kept; the length.
pub(crate) fn copy(settings: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mark, rest) = out.split_first_mut()?;
    *mark = MARK;
    rest.get_mut(..settings.len())?.copy_from_slice(settings);
    Some(settings.len() + 1)
}
