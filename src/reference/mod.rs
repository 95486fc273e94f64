//! Is it them, or is it us? References asked by ICMP echo, and addresses probed on the LAN.
//!
//! Under `assume-dead` silence is all that a takeover rests on. Two more witnesses are heard before
//! it: references, which tell a node that lost its own connection; and the LAN, where the owner's
//! kernel still answers for its addresses when only the heartbeats are lost.
//!
//! Two threads, each with its sockets open from the start: one asks the references all the time,
//! the other waits until the core wants a group's addresses probed. What they find goes to the
//! engine through a mailbox.
mod board;
mod echo;
mod frames;
mod names;
mod pinger;
mod prober;

#[cfg(test)]
mod tests;

pub use board::{Board, Seen};

use crate::config::{Config, Kind};
use crate::core::id::GroupId;
use crate::core::limits::GROUPS_MAX;
use crate::platform::process::Wake;
use crate::platform::sched;
use pinger::Pinger;
use prober::Prober;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

/// Small, because locked memory is paid for in full.
const STACK: usize = 128 * 1024;

const _: () = assert!(GROUPS_MAX <= u32::BITS as usize, "one bit for each group");

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// So many references are within reach now.
    Reached(u8),
    /// Another machine on the LAN says that it has an address of this group.
    Answered(GroupId),
}

/// Owns the threads that ask. Dropping it ends them.
pub struct Guards {
    shared: Arc<Shared>,
    board: Board,
    threads: Vec<JoinHandle<()>>,
}

/// What the engine tells the threads. Written without locks, so that no thread can ever hold up
/// the engine.
struct Shared {
    /// Groups whose peer is late: one bit each.
    asked: AtomicU32,
    quit: AtomicBool,
    pinger: Wake,
    prober: Wake,
}

/// How fast things are asked while a peer is late, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two probes, or two requests to a reference.
    every: u64,
    /// From being asked to until it is decided.
    window: u64,
}

impl Pace {
    /// The answers must be there between `warn` and `dead`.
    fn of(config: &Config) -> Pace {
        let window = micros(config.timing.dead.saturating_sub(config.timing.warn));
        Pace { every: (window / 8).clamp(2_000, 50_000), window }
    }
}

impl Guards {
    /// Starts what the configuration asks for; it acts in the network namespace of the calling
    /// thread. `tell` is called by the threads, never by the caller of [`Guards::ask`].
    ///
    /// # Errors
    /// No sockets (they need CAP_NET_RAW), descriptors or threads to be had.
    pub fn start(
        config: &Config,
        tell: impl Fn(Finding) + Send + Clone + 'static,
    ) -> io::Result<Guards> {
        let shared = Arc::new(Shared {
            asked: AtomicU32::new(0),
            quit: AtomicBool::new(false),
            pinger: Wake::new()?,
            prober: Wake::new()?,
        });
        let board = Board::of(&config.references);
        let mut guards = Guards { shared: shared.clone(), board: board.clone(), threads: vec![] };
        let pace = Pace::of(config);
        if !config.references.hosts.is_empty() {
            let references = &config.references;
            let mut pinger = Pinger::new(references, pace, shared.clone(), board, tell.clone())?;
            guards.spawn("references", config.realtime, move || pinger.run())?;
        }
        let addresses: Vec<_> = config
            .groups
            .iter()
            .zip(GroupId::all())
            .flat_map(|(group, id)| group.resources.iter().map(move |resource| (id, resource)))
            .filter_map(|(id, resource)| match &resource.kind {
                Kind::Address(address) => Some((id, address.clone())),
                Kind::Service { .. } | Kind::Script { .. } => None,
            })
            .collect();
        if config.probe && !addresses.is_empty() {
            let mut prober = Prober::new(addresses, pace, shared, tell)?;
            guards.spawn("probes", config.realtime, move || prober.run())?;
        }
        Ok(guards)
    }

    fn spawn(
        &mut self,
        name: &str,
        priority: Option<u8>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let builder = std::thread::Builder::new().name(name.into()).stack_size(STACK);
        self.threads.push(builder.spawn(move || {
            if let Some(Err(error)) = priority.map(sched::realtime) {
                log::warn!(target: "reference", "for the references' threads: {error}");
            }
            run();
        })?);
        Ok(())
    }

    /// From now on (or no longer) it is to be found out at once whether anybody has the addresses
    /// of this group, and whether this node is connected: the node that owns it is late. Never
    /// blocks, never allocates.
    pub fn ask(&self, group: GroupId, on: bool) {
        let bit = 1 << group.index();
        if on {
            self.shared.asked.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.shared.asked.fetch_and(!bit, Ordering::AcqRel);
        }
        self.shared.prober.set();
        self.shared.pinger.set();
    }

    /// What is known of each reference, for people.
    pub fn board(&self) -> Board {
        self.board.clone()
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::Release);
        self.shared.prober.set();
        self.shared.pinger.set();
        for thread in self.threads.drain(..) {
            // A panic of it was printed by itself; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Acquire)
    }

    fn quits(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
