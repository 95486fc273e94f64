//! Tells people what happens: log lines, and the last events for `latido status`.
//!
//! The engine hands over [`Notice`]s, small `Copy` values, through a bounded queue; one thread
//! makes sentences of them and writes them wherever the configuration says. Nobody who has
//! something to say ever waits: what does not fit is counted, and the count is told.
mod keys;
mod limit;
pub mod notify;
mod safety;
mod sink;
mod text;
mod thread;

pub(crate) use keys::other_cluster;
pub use sink::{Settings, stderr};
pub(crate) use text::{NAMESAKE, span};
pub use text::{Names, Sentence, event};
pub use thread::{History, Past, Teller, Tongue, start};

use crate::core::id::LinkId;
use crate::core::io::Event;
use crate::core::time::Duration;

/// How much a line matters; the numbers are those of syslog (RFC 3164).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody has to look.
    Error = 3,
    /// Not as it should be, but the service goes on.
    Warning = 4,
    /// A change that one wants to read about afterwards.
    Notice = 5,
    /// The usual course of things.
    Info = 6,
    /// For the developer.
    Debug = 7,
}

/// Something worth telling, from the engine. `Copy`, so that handing it over allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice {
    /// The core's.
    Core(Event),
    /// A link cannot be opened or was lost, with the kernel's `errno`.
    LinkTrouble(LinkId, i32),
    /// The engine's turn came this much too late.
    Overslept(Duration),
    /// The supervisor is gone: nobody starts the engine again if it dies.
    SupervisorGone,
    /// The runtime directory could not be written, with the kernel's `errno`.
    CannotRemember(i32),
    /// The engine was asked to end by a signal.
    AskedToEnd,
}
