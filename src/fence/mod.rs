//! Fencing: switches other nodes off, and finds out before it is needed whether it could.
//!
//! Every node that has devices has a thread here, which tests them now and then, and works through
//! them in their order when the engine wants the node fenced: off, confirmed, reported, and only
//! then on again. A test that is under way is broken off for that.
mod board;
mod own;
mod program;
mod relay;
mod shooter;

#[cfg(test)]
mod tests;

pub use board::{Board, DeviceState, LastFence, NodeState, Test};
pub use own::Own;

use crate::config::Config;
use crate::core::id::{JobId, NodeId};
use crate::core::limits::VOTERS_MAX;
use crate::platform::process::Wake;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Small, because locked memory is paid for in full.
const STACK: usize = 128 * 1024;
/// Marks a request as there.
const ASKED: u64 = 1 << 63;

/// What came of a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub node: NodeId,
    /// The number given with the request.
    pub request: JobId,
    /// It is proven that what ran there when this was asked for runs no more.
    pub confirmed: bool,
}

/// What the engine wants of a node's thread. Written without locks, so that it is never held up.
struct Slot {
    request: AtomicU64,
    quit: AtomicBool,
    wake: Wake,
}

impl Slot {
    fn new() -> io::Result<Slot> {
        let (request, quit) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Slot { request, quit, wake: Wake::new()? })
    }

    fn take(&self) -> Option<JobId> {
        match self.request.swap(0, Ordering::AcqRel) {
            0 => None,
            // cast: the mark lies above.
            word => Some(JobId(word as u32)),
        }
    }

    fn waits(&self) -> bool {
        self.request.load(Ordering::Acquire) != 0
    }

    fn quits(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }
}

/// Owns the threads that fence.
pub struct Fences {
    slots: [Option<Arc<Slot>>; VOTERS_MAX],
    threads: Vec<JoinHandle<()>>,
    board: Board,
}

impl Fences {
    /// Starts a thread for each node but `me` that has devices; the first self-tests begin.
    ///
    /// # Errors
    /// No thread or no eventfd is to be had.
    pub fn start<R>(config: &Config, me: usize, report: R) -> io::Result<Fences>
    where
        R: Fn(Report) + Clone + Send + 'static,
    {
        let board = Board::new(config, me);
        let mut fences = Fences { slots: Default::default(), threads: Vec::new(), board };
        for index in (0..config.nodes.len()).filter(|index| *index != me) {
            let (Some(node), Some(place)) = (NodeId::new(index), fences.slots.get_mut(index))
            else {
                continue;
            };
            if config.devices_of(index).next().is_none() {
                continue;
            }
            let slot = Arc::new(Slot::new()?);
            *place = Some(slot.clone());
            let mut shooter =
                shooter::Shooter::new(config, me, node, slot, fences.board.clone(), report.clone());
            let builder = std::thread::Builder::new().name("fence".into()).stack_size(STACK);
            fences.threads.push(builder.spawn(move || shooter.run())?);
        }
        Ok(fences)
    }

    /// Asks for a node to be fenced. Never blocks, allocates nothing. False: it has no device.
    pub fn fence(&self, node: NodeId, request: JobId) -> bool {
        let Some(Some(slot)) = self.slots.get(node.index()) else { return false };
        slot.request.store(ASKED | u64::from(request.0), Ordering::Release);
        slot.wake.set();
        true
    }

    /// What is known of the devices.
    pub fn board(&self) -> &Board {
        &self.board
    }
}

impl Fences {
    /// Breaks off tests and fences and ends the threads. A node that is being switched on again is
    /// not left without power: that is waited for. For the end of the daemon: a new engine must not
    /// come so late.
    pub fn finish(&mut self) {
        self.quit();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    fn quit(&self) {
        for slot in self.slots.iter().flatten() {
            slot.quit.store(true, Ordering::Release);
            slot.wake.set();
        }
    }
}

impl Drop for Fences {
    fn drop(&mut self) {
        self.quit();
    }
}
