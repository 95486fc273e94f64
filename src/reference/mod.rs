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
mod inquest;
mod names;
mod pinger;
mod prober;

#[cfg(test)]
mod tests;

pub use board::{Board, Seen};
pub use inquest::{Case, Cause, Found, Inquest, Inquests};

use crate::config::{Config, Kind, References};
use crate::core::id::{GroupId, GroupSet};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::Duration;
use crate::platform::process::Wake;
use crate::platform::sched;
use pinger::Pinger;
use prober::Prober;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Small, because locked memory is paid for in full.
const STACK: usize = 128 * 1024;

/// No more than a thousand questions in a second, in microseconds.
const EVERY_MIN: u64 = 1_000;

const _: () = assert!(GROUPS_MAX <= u32::BITS as usize, "one bit for each group");

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// So many references are within reach now.
    Reached(u8),
    /// So many references have answered something that was sent since this asking began.
    Confirmed(Asking, u8),
    /// Another machine on the LAN says that it has an address of this group.
    Answered(GroupId),
}

/// Names one asking, from [`Guards::ask`] to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asking(u16);

/// Owns the threads that ask. Dropping it ends them.
pub struct Guards {
    shared: Arc<Shared>,
    board: Board,
    threads: Vec<JoinHandle<()>>,
    asking: Asking,
    on: bool,
}

/// What the engine tells the threads. Written without locks, so that no thread can ever hold up
/// the engine.
struct Shared {
    /// What is asked, as [`Asked::word`].
    asked: AtomicU64,
    /// Between two questions, in microseconds.
    every: AtomicU64,
    /// Groups that are not taken over because somebody answers, and the log is to have who: one
    /// bit each.
    held_back: AtomicU32,
    quit: AtomicBool,
    pinger: Wake,
    prober: Wake,
}

/// What is to be asked now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    asking: Asking,
    on: bool,
    /// Whose addresses: one bit for each group.
    groups: u32,
}

impl Asked {
    fn word(self) -> u64 {
        u64::from(self.groups) | u64::from(self.on) << 32 | u64::from(self.asking.0) << 33
    }

    fn of(word: u64) -> Asked {
        Asked { asking: Asking((word >> 33) as u16), on: word >> 32 & 1 != 0, groups: word as u32 }
    }
}

impl Guards {
    /// Without threads.
    fn idle(references: &References) -> io::Result<Guards> {
        let shared = Arc::new(Shared {
            asked: AtomicU64::new(0),
            every: AtomicU64::new(0),
            held_back: AtomicU32::new(0),
            quit: AtomicBool::new(false),
            pinger: Wake::new()?,
            prober: Wake::new()?,
        });
        let (board, asking) = (Board::of(references), Asking::default());
        Ok(Guards { shared, board, threads: Vec::new(), asking, on: false })
    }

    /// Starts what the configuration asks for; it acts in the network namespace of the calling
    /// thread. `tell` is called by the threads, never by the caller of [`Guards::ask`].
    ///
    /// # Errors
    /// No sockets (they need CAP_NET_RAW), descriptors or threads to be had.
    pub fn start(
        config: &Config,
        tell: impl Fn(Finding) + Send + Clone + 'static,
    ) -> io::Result<Guards> {
        let mut guards = Guards::idle(&config.references)?;
        let (shared, board) = (guards.shared.clone(), guards.board.clone());
        if !config.references.hosts.is_empty() {
            let references = &config.references;
            let mut pinger = Pinger::new(references, shared.clone(), board, tell.clone())?;
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
            let mut prober = Prober::new(addresses, shared, tell)?;
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

    /// Asks the LAN for the addresses of these groups, and the references for an answer, at once
    /// and again `every` so long; or (not `on`) no longer. Never blocks, never allocates.
    pub fn ask(&mut self, on: bool, groups: GroupSet, every: Duration) {
        if on && !self.on {
            self.asking.0 = self.asking.0.wrapping_add(1);
        }
        self.on = on;
        let groups = groups.iter().fold(0, |bits, group| bits | 1 << group.index());
        let asked = Asked { asking: self.asking, on, groups };
        self.shared.every.store(every.micros(), Ordering::Relaxed);
        self.shared.asked.store(asked.word(), Ordering::Release);
        self.shared.prober.set();
        self.shared.pinger.set();
    }

    /// Whether it is the present asking that something was found out for.
    pub fn is_present(&self, asking: Asking) -> bool {
        self.on && self.asking == asking
    }

    /// The group is not taken over because somebody answers: the log is to say who. Never blocks,
    /// never allocates.
    pub fn held_back(&self, group: GroupId) {
        self.shared.held_back.fetch_or(1 << group.index(), Ordering::AcqRel);
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
    fn asked(&self) -> Asked {
        Asked::of(self.asked.load(Ordering::Acquire))
    }

    /// Between two questions, in microseconds: what the core wishes, or a little slower.
    fn every(&self) -> u64 {
        self.every.load(Ordering::Relaxed).max(EVERY_MIN)
    }

    fn quits(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
