//! The control socket: what people and programs ask the running daemon, and what it answers.
//!
//! One thread serves the socket ([`Server`]); the engine holds a [`Port`]. Between them lie three
//! bounded wait-free queues and an eventfd each way: the engine never waits for a client, takes
//! no lock and allocates nothing. A [`Snapshot`] is made only when somebody has asked for one.
pub mod board;
mod client;
mod fence;
pub(crate) mod guards;
mod measured;
mod modem;
mod problems;
mod protocol;
pub mod quorum;
pub mod report;
pub mod safety;
mod server;
mod watchdog;

pub use client::{Client, ClientError};
pub use fence::{DeviceReport, FenceReport, LastReport};
pub use measured::MeasuredReport;
pub use modem::LinesReport;
pub use problems::problems;
pub use protocol::{Answer, Order, Request, refusal};
pub use server::{Hooks, Server};

use crate::core::id::{GroupSet, LinkId};
use crate::core::io::{Command, Reply, Status};
use crate::core::limits::LINKS_MAX;
use crate::core::time::Instant;
use crate::link::LinesSeen;
use heapless::spsc::{Consumer, Producer, Queue};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Requests and answers that may be under way at once; more than clients.
const QUEUE: usize = 32;
/// Snapshots that may be under way at once.
const SNAPSHOTS: usize = 3;

/// What the engine knows at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Instant,
    /// The core's view.
    pub status: Status,
    /// Why each link is down, as the kernel's `errno`; 0: it is not, or nobody knows.
    pub link_errno: [i32; LINKS_MAX],
    /// The modem lines of the serial links that have any.
    pub lines: [Option<LinesSeen>; LINKS_MAX],
    /// How good each path is.
    pub quality: crate::quality::Qualities,
}

/// Why links could not be opened, in words. Rarely written, so a lock will do: the engine only
/// tries it, and moves into it what the opener has written.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<[Option<Trouble>; LINKS_MAX]>>);

/// What stands in the way of a link, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What stands in the way.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

impl Troubles {
    /// Notes a trouble, or its end. Never waits; what cannot be noted now is told by the log.
    pub fn note(&self, link: LinkId, trouble: Option<Trouble>) {
        if let Ok(mut troubles) = self.0.try_lock() {
            troubles[link.index()] = trouble;
        }
    }

    /// The trouble of a link.
    pub fn of(&self, link: LinkId) -> Option<Trouble> {
        self.0.lock().ok()?[link.index()].clone()
    }
}

/// What the server shares with the engine besides the queues.
#[derive(Debug)]
struct Bells {
    /// Rings the engine.
    engine: OwnedFd,
    /// Rings the server.
    server: OwnedFd,
    /// Somebody waits for a snapshot.
    wanted: AtomicBool,
    /// The engine was told by a signal to read the configuration again.
    reload: AtomicBool,
    /// The server's thread is to end.
    end: AtomicBool,
}

fn ring(bell: &OwnedFd) {
    // Non-blocking: a full counter means that it has been rung long ago.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

fn hush(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0u8; 8]);
}

/// The engine's end. Every call returns at once.
pub struct Port {
    commands: Consumer<'static, (u32, Command)>,
    replies: Producer<'static, (u32, Reply)>,
    snapshots: Producer<'static, Snapshot>,
    bells: Arc<Bells>,
}

/// The server's end of the queues.
struct Peer {
    commands: Producer<'static, (u32, Command)>,
    replies: Consumer<'static, (u32, Reply)>,
    snapshots: Consumer<'static, Snapshot>,
    bells: Arc<Bells>,
}

fn connect() -> io::Result<(Port, Peer)> {
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    let bells = Arc::new(Bells {
        engine: eventfd(0, flags)?,
        server: eventfd(0, flags)?,
        wanted: AtomicBool::new(false),
        reload: AtomicBool::new(false),
        end: AtomicBool::new(false),
    });
    // Leaked on purpose, once for each daemon: both ends live as long as the process.
    let commands: &'static mut Queue<(u32, Command), QUEUE> = Box::leak(Box::default());
    let replies: &'static mut Queue<(u32, Reply), QUEUE> = Box::leak(Box::default());
    let snapshots: &'static mut Queue<Snapshot, SNAPSHOTS> = Box::leak(Box::default());
    let (commands_in, commands_out) = commands.split();
    let (replies_in, replies_out) = replies.split();
    let (snapshots_in, snapshots_out) = snapshots.split();
    let port = Port {
        commands: commands_out,
        replies: replies_in,
        snapshots: snapshots_in,
        bells: bells.clone(),
    };
    let peer =
        Peer { commands: commands_in, replies: replies_out, snapshots: snapshots_out, bells };
    Ok((port, peer))
}

impl AsFd for Port {
    /// Readable when a command waits or a snapshot is wanted; see [`Port::hush`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bells.engine.as_fd()
    }
}

impl Port {
    /// Makes the descriptor unreadable again; to be called before [`Port::take`].
    pub fn hush(&self) {
        hush(&self.bells.engine);
    }

    /// The next command with its id. `None`: none waits.
    pub fn take(&mut self) -> Option<(u32, Command)> {
        self.commands.dequeue()
    }

    /// Hands the core's reply to whoever gave the command.
    pub fn answer(&mut self, id: u32, reply: Reply) {
        // There are fewer clients than places, and each has one command under way.
        let _ = self.replies.enqueue((id, reply));
        ring(&self.bells.server);
    }

    /// Whether somebody waits for a snapshot.
    pub fn wanted(&self) -> bool {
        self.bells.wanted.load(Ordering::Acquire)
    }

    /// Publishes a snapshot, if one is wanted.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        if self.bells.wanted.swap(false, Ordering::AcqRel) {
            // Full only if the server has not taken the last two: they are fresh enough.
            let _ = self.snapshots.enqueue(*snapshot);
            ring(&self.bells.server);
        }
    }

    /// Has the configuration read again, on the server's thread (after SIGHUP).
    pub fn ask_reload(&self) {
        self.bells.reload.store(true, Ordering::Release);
        ring(&self.bells.server);
    }
}

/// The groups of these names, or the first name that is none.
fn group_set(names: &[String], known: &[String]) -> Result<GroupSet, String> {
    if names.is_empty() {
        return Ok(GroupSet::first(known.len()));
    }
    names.iter().try_fold(GroupSet::EMPTY, |set, name| {
        known
            .iter()
            .position(|group| group == name)
            .and_then(crate::core::id::GroupId::new)
            .map(|group| set.with(group))
            .ok_or_else(|| name.clone())
    })
}
