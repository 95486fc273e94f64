//! The witness's firmware on an emulated board, between two nodes with the real daemon; needs root,
//! `qemu-system-arm`, and the firmware that `boards/build` has made.
#![cfg(target_os = "linux")]
mod cable;
mod scene;
#[path = "../majority/stalls.rs"]
mod stalls;
#[path = "../witness/scene.rs"]
#[allow(dead_code)]
mod trio;
mod votes;
#[path = "../world/mod.rs"]
mod world;
