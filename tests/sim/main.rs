//! The real core in the simulator: scenarios with exact times, and a swarm of random ones.
mod swarm;
