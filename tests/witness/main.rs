//! Two nodes and `latido witness` with the real programs, in network namespaces; needs root.
#![cfg(target_os = "linux")]
mod clusters;
mod scene;
#[path = "../majority/stalls.rs"]
mod stalls;
mod votes;
#[path = "../world/mod.rs"]
mod world;
