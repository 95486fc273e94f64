//! The real core in the simulator: scenarios with exact times, and a swarm of random ones.
mod commands;
mod doubles;
mod failures;
mod fences;
mod hangup;
mod leases;
mod majority;
mod partitions;
mod power;
mod properties;
mod scene;
mod speed;
mod starts;
mod steady;
mod strangers;
mod swarm;
#[cfg(feature = "_mutate")]
mod teeth;
mod wires;
mod witnesses;
