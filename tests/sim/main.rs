//! The real core in the simulator: scenarios with exact times, and a swarm of random ones.
mod commands;
mod failures;
mod majority;
mod partitions;
mod properties;
mod scene;
mod speed;
mod starts;
mod steady;
mod strangers;
mod swarm;
#[cfg(feature = "_mutate")]
mod teeth;
