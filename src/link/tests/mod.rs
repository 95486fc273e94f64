//! Links on real kernels: network namespaces of our own (root needed) and pseudo-terminals.
mod ethernet;
mod serial;
mod turn;
mod udp;

use super::*;
use crate::config::{Link, Medium};
use crate::core::id::LinkId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

const TAG: u32 = 0x8A5C_1F03;
/// Of a link of two clusters.
const FILTER: HeaderFilter = HeaderFilter::new(1, &[0x0102_0304, TAG]);

fn link(name: &str, medium: Medium) -> Link {
    Link { name: name.into(), medium }
}

/// A frame of `len` bytes with our header, told apart by `mark`.
fn frame(mark: u64, len: usize) -> Vec<u8> {
    let mut frame = vec![1, 1];
    frame.extend(TAG.to_le_bytes());
    frame.push(0);
    frame.extend(7u64.to_le_bytes());
    frame.extend(mark.to_le_bytes());
    frame.resize(len.max(frame.len()), 0x5A);
    frame.truncate(len);
    frame
}

/// Waits until `fd` is readable; false when patience is over.
fn readable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: patience.as_secs().try_into().expect("small"),
        tv_nsec: patience.subsec_nanos().into(),
    };
    poll(&mut polled, Some(&timeout)).expect("poll") > 0
}

/// The next frame, or the loss, that comes within patience.
fn await_frame(port: &mut Port) -> Result<Vec<u8>, Loss> {
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; FRAME_MAX];
    loop {
        match port.receive(&mut buffer) {
            Received::Frame(len) => return Ok(buffer[..len].to_vec()),
            Received::Lost(loss) => return Err(loss),
            Received::Lines(_) => {}
            Received::Nothing => {
                let left = end.saturating_duration_since(Instant::now());
                let came = !left.is_zero() && readable(port.fd(), left);
                assert!(came, "nothing came on {port:?}");
            }
        }
    }
}

/// Everything that has come so far.
fn drain(port: &mut Port) -> Vec<Vec<u8>> {
    let mut buffer = [0; FRAME_MAX];
    let mut found = Vec::new();
    while let Received::Frame(len) = port.receive(&mut buffer) {
        found.push(buffer[..len].to_vec());
    }
    found
}

/// What the opener has next.
fn await_opened(opener: &mut Opener) -> (LinkId, Result<Port, OpenError>) {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(opened) = opener.take() {
            return opened;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(readable(opener.fd(), left), "the opener has nothing");
    }
}
