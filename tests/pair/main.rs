//! The real daemon in pairs of nodes: configurations that people really wrote, and the commands.
#![cfg(target_os = "linux")]
mod commands;
mod fixtures;
#[path = "../world/mod.rs"]
mod world;
