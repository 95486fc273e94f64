//! What the heartbeats tell of the paths, and why a peer is silent, with real daemons in network
//! namespaces; needs root.
#![cfg(target_os = "linux")]
mod advice;
mod scene;
mod why;
#[path = "../world/mod.rs"]
mod world;
