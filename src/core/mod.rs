//! The state machine that decides everything: bytes and time in, decisions out.
//!
//! No heap, no clock, no I/O, no panic on any input, bounded work and tables; the same inputs give
//! the same outputs on every machine. [`Cluster`] has three calls:
//!
//! * [`Cluster::handle`]`(now, input)`: one mutation;
//! * [`Cluster::poll`]`(frame)`: drained to `None` before the next `handle`;
//! * [`Cluster::deadline`]`()`: when `handle(at, Input::Tick)` is due.
#![forbid(unsafe_code)]

mod cluster;
mod command;
pub mod config;
mod events;
mod fence;
pub mod framing;
mod group;
mod guard;
mod hangup;
pub mod id;
#[cfg(any(test, feature = "_sim"))]
mod inspect;
pub mod io;
mod leases;
pub mod limits;
mod memory;
#[cfg_attr(not(feature = "_mutate"), allow(dead_code, unreachable_pub))]
pub mod mutation;
mod names;
mod ownership;
mod peer;
mod placement;
pub mod provision;
pub mod quality;
mod rekey;
pub mod seal;
mod strangers;
pub mod time;
mod transmit;
mod voter;
pub mod wire;
pub mod witness;

pub use cluster::Cluster;
pub use config::{Config, ConfigError, GroupSettings, Identity, Rule, Settings, StopFailure};
#[cfg(any(test, feature = "_sim"))]
pub use inspect::{Inspected, identify_body};
pub use memory::MEMORY_MAX;
pub use witness::Witness;
