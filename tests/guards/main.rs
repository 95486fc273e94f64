//! The guards of `assume-dead`: references and probes, with real daemons in network namespaces;
//! needs root.
#![cfg(target_os = "linux")]
mod partitions;
mod probes;
mod references;
mod scene;
#[path = "../world/mod.rs"]
mod world;
