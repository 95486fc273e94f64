//! What is known of each reference, for `latido status`.
use crate::config::References;
use crate::core::time::Instant;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared between the thread that asks and those who want to see. Neither is the engine's.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<Seen>>>);

/// One reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its host, or its hosts.
    pub name: String,
    /// Whether it answers; `None`: not known yet.
    pub reached: Option<bool>,
    /// Since when.
    pub since: Instant,
    /// Round trip of the last answer, in microseconds.
    pub rtt: Option<u64>,
    /// What stands in the way, if the kernel or a name server says so.
    pub why: Option<String>,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

impl Board {
    pub(super) fn of(references: &References) -> Board {
        let seen = |index: usize| Seen {
            name: references.name(index),
            addresses: references.hosts[index]
                .iter()
                .filter_map(|host| host.parse().ok())
                .collect(),
            ..Seen::default()
        };
        Board(Arc::new(Mutex::new((0..references.hosts.len()).map(seen).collect())))
    }

    /// All references, in the order of the configuration.
    pub fn look(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The known addresses of each reference that has any.
    pub(super) fn addresses(&self) -> Vec<Vec<IpAddr>> {
        let all = self.look().into_iter().map(|seen| seen.addresses);
        all.filter(|addresses| !addresses.is_empty()).collect()
    }

    pub(super) fn change(&self, index: usize, change: impl FnOnce(&mut Seen)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(index).map(change);
    }
}
