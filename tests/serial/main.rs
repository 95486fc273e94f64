//! Serial lines: real daemons on an RS-485 bus, on a slow cable alone, with modem lines, in noise.
//! The whole program, in network namespaces; needs root.
//!
//! `LATIDO_SOAK=1` lets the cable-only pairs run for ten minutes each instead of twenty seconds.
#![cfg(target_os = "linux")]
mod bus;
mod cable;
mod check;
mod hub;
mod lines;
#[allow(dead_code, unreachable_pub)]
#[path = "../faults/scene.rs"]
mod scene;
#[path = "../majority/stalls.rs"]
mod stalls;
#[path = "../world/mod.rs"]
mod world;
