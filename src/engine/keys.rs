//! Keys between the control socket's thread, which reads files and waits, and the loop, which does
//! neither.
use crate::core::Cluster;
use crate::core::id::NodeId;
use crate::core::limits::VOTERS_MAX;
use crate::core::seal::Keys;
use crate::platform::mailbox::{Mailbox, Sender, mailbox};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Changes that may wait.
const LETTERS: usize = 2;
/// Nothing is known.
const NONE: u32 = u32::MAX;

/// What the loop last knew: keys as numbers.
#[derive(Debug)]
struct Board {
    /// By node: the key that sealed its last frame.
    sealing: [AtomicU32; VOTERS_MAX],
    /// The key tried last << 8 | the set of those who opened it.
    trial: AtomicU32,
}

/// The loop's end.
pub(super) struct Ring {
    letters: Mailbox<Keys>,
    board: Arc<Board>,
}

/// The other end.
pub(super) struct Clerk {
    letters: Sender<Keys>,
    board: Arc<Board>,
}

pub(super) fn connect() -> io::Result<(Ring, Clerk)> {
    let (letters, sender) = mailbox(LETTERS)?;
    let sealing = std::array::from_fn(|_| AtomicU32::new(NONE));
    let board = Arc::new(Board { sealing, trial: AtomicU32::new(NONE) });
    Ok((Ring { letters, board: board.clone() }, Clerk { letters: sender, board }))
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.letters.as_fd()
    }
}

impl Ring {
    /// The next change; `None`: nothing waits any more.
    pub(super) fn take(&self) -> Option<Keys> {
        self.letters.hush();
        self.letters.take()
    }

    /// Notes what is known now.
    pub(super) fn note(&self, cluster: &Cluster) {
        for (node, place) in NodeId::all().zip(&self.board.sealing) {
            place.store(cluster.key_of(node).map_or(NONE, u32::from), Ordering::Relaxed);
        }
        let trial = cluster.trial();
        let trial = trial.map_or(NONE, |it| u32::from(it.key) << 8 | u32::from(it.opened.0));
        self.board.trial.store(trial, Ordering::Relaxed);
    }
}

impl Clerk {
    /// Hands over keys; false: the loop has ended.
    pub(super) fn put(&self, keys: Keys) -> bool {
        self.letters.put(keys)
    }

    /// The key that sealed this node's last frame.
    pub(super) fn key_of(&self, node: NodeId) -> Option<u8> {
        let known = self.board.sealing.get(node.index())?.load(Ordering::Relaxed);
        u8::try_from(known).ok()
    }

    /// Whether this node has shown that it accepts the key of this number: it seals with it, or has
    /// opened a frame of the latest trial.
    pub(super) fn accepts(&self, node: NodeId, key: u8) -> bool {
        let trial = self.board.trial.load(Ordering::Relaxed);
        let tried = trial != NONE && trial >> 8 == u32::from(key);
        self.key_of(node) == Some(key) || tried && trial & (1 << node.index()) != 0
    }
}
