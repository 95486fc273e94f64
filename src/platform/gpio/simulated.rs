//! Pins that are wires in memory, for tests.
use super::{Input, Output};
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wire: whoever drives it, and whoever reads it.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    active: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    history: Arc<Mutex<Vec<bool>>>,
}

impl Wire {
    /// What it is driven to.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Drives it from outside.
    pub fn drive(&self, active: bool) {
        self.active.store(active, Ordering::SeqCst);
    }

    /// From now on the kernel refuses it.
    pub fn refuse(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Everything that it was set to.
    pub fn history(&self) -> Vec<bool> {
        self.history.lock().map(|history| history.clone()).unwrap_or_default()
    }

    fn check(&self) -> io::Result<()> {
        let broken = self.broken.load(Ordering::SeqCst);
        if broken { Err(io::Error::other("the wire is broken")) } else { Ok(()) }
    }
}

impl Output for Wire {
    fn set(&mut self, active: bool) -> io::Result<()> {
        self.check()?;
        self.drive(active);
        if let Ok(mut history) = self.history.lock() {
            history.push(active);
        }
        Ok(())
    }
}

impl Input for Wire {
    fn is_active(&mut self) -> io::Result<bool> {
        self.check()?;
        Ok(Wire::is_active(self))
    }
}
