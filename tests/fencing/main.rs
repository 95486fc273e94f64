//! The rule fencing with real daemons: a strip of outlets switches the nodes' power. Needs root.
#![cfg(target_os = "linux")]
mod broken;
mod scene;
mod shots;
#[path = "../world/mod.rs"]
mod world;
