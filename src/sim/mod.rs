//! The simulator: real [`Cluster`](crate::core::Cluster)s, simulated machines, clocks and cables.
//!
//! Everything follows from one seed. Virtual time jumps to the next event; after each one the
//! invariants of `checker` are looked at, and a violation comes with the trace that led to it.
//!
//! * [`world`]: the machines, what happens next, the engine's contract with the core;
//! * [`fault`]: what can go wrong, and how it is put right;
//! * [`network`], [`clock`], [`machine`]: the parts;
//! * [`swarm`]: each seed draws its own settings and its own mix of faults.

mod checker;
pub mod clock;
mod engine;
pub mod fault;
pub mod harsh;
pub mod machine;
pub mod network;
mod power;
pub mod random;
mod script;
mod setup;
pub mod swarm;
mod trace;
mod witness;
pub mod world;

pub use fault::Fault;
pub use power::Device;
pub use setup::Setup;
pub use world::{Violation, World};
