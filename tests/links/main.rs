//! Pairs that live on raw Ethernet, or on a null-modem cable, alone: the whole program, in network
//! namespaces; needs root.
#![cfg(target_os = "linux")]
mod alone;
mod figures;
mod firewall;
mod order;
mod scene;
mod wire;
#[path = "../world/mod.rs"]
mod world;
