//! Emulated machines: what a container cannot show, such as a watchdog that really resets.
//!
//! They take minutes and packages from Debian, so they are ignored unless asked for:
//! `LATIDO_MACHINES=1 ./test`, or `cargo test --test machines -- --ignored`.
mod machine;
mod watchdog;

use std::time::Duration;

/// Until a machine has started and played the first part of its script; without KVM.
const START: Duration = Duration::from_secs(90);
