//! Faults: what happens to a real pair when something breaks. The whole program, in network
//! namespaces; needs root.
#![cfg(target_os = "linux")]
mod cables;
mod clock;
mod gate;
mod heal;
mod power;
mod scene;
mod scripts;
mod serial;
mod strangers;
#[path = "../world/mod.rs"]
mod world;
