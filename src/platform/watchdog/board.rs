//! What the commands may know of the watchdog, and the one thing that they may ask of it.
use super::Info;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What ends this machine, in the order of trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Applies {
    /// Nothing is configured.
    #[default]
    Nothing,
    /// A device: hardware, or the kernel's timer.
    Device(Info),
    /// The service manager reboots the machine when the service is silent for so long.
    Manager(Duration),
    /// This program reboots the machine when it cannot stop something; nothing does when it hangs.
    Reboot,
}

/// What was chosen when the engine started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// What applies.
    pub applies: Applies,
    /// This machine runs nothing any more so long after the last pet; what the leases count with.
    pub bound: Option<Duration>,
    /// Why what would be better does not apply: each with its cure.
    pub passed_over: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    fact: OnceLock<Fact>,
    held_back: AtomicBool,
    errno: AtomicI32,
}

/// Shared by the engine and the commands.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Shared>);

impl Board {
    /// What was chosen.
    pub fn fact(&self) -> Fact {
        self.0.fact.get().cloned().unwrap_or_default()
    }

    /// Notes what was chosen, once.
    pub fn choose(&self, fact: Fact) {
        let _ = self.0.fact.set(fact);
    }

    /// Whether this machine is certainly reset within the bound once nobody pets it: by a device,
    /// and one that could be petted the last time.
    pub fn works(&self) -> bool {
        let device = matches!(self.fact().applies, Applies::Device(_));
        device && self.errno() == 0 && !self.is_held_back()
    }

    /// For a test: whether nobody is to pet it.
    pub fn is_held_back(&self) -> bool {
        self.0.held_back.load(Ordering::Acquire)
    }

    /// For a test: nobody pets it any more, or again.
    pub fn hold_back(&self, held_back: bool) {
        self.0.held_back.store(held_back, Ordering::Release);
    }

    /// The error of the latest pet; 0: none.
    pub fn errno(&self) -> i32 {
        self.0.errno.load(Ordering::Acquire)
    }

    /// Notes the error of the latest pet.
    pub fn note(&self, errno: i32) {
        self.0.errno.store(errno, Ordering::Release);
    }
}
