//! Waiting until the gate stands on interfaces that have just come.
use super::Quit;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells when every interface has been gated. Clones wait for the same gate.
#[derive(Clone)]
pub struct Cover(Arc<Inner>);

struct Inner {
    quit: Arc<Quit>,
    rounds: Mutex<Rounds>,
    changed: Condvar,
}

/// Rounds over all interfaces, counted from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    asked: u64,
    done: u64,
}

impl fmt::Debug for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cover({:?})", *self.lock())
    }
}

impl Cover {
    pub(super) fn new(quit: Arc<Quit>) -> Cover {
        Cover(Arc::new(Inner { quit, rounds: Mutex::default(), changed: Condvar::new() }))
    }

    /// Returns true when the gate has been put on every interface that is there now; where that
    /// is refused, [`Ungated`](super::Ungated) says so. False: it has not come to it within
    /// `limit`. Blocks: not for the engine's thread.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut rounds = self.lock();
        rounds.asked += 1;
        let mine = rounds.asked;
        self.0.quit.wake.set();
        let waiting = |rounds: &mut Rounds| rounds.done < mine;
        let waited = self.0.changed.wait_timeout_while(rounds, limit, waiting);
        let (rounds, _) = waited.unwrap_or_else(PoisonError::into_inner);
        rounds.done >= mine
    }

    pub(super) fn quit(&self) -> &Quit {
        &self.0.quit
    }

    /// A round begins: it is for everybody who has asked until now.
    pub(super) fn begin(&self) -> u64 {
        self.lock().asked
    }

    pub(super) fn done(&self, round: u64) {
        self.lock().done = round;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.0.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
