//! Rule `majority`: three voters with the real daemon, in network namespaces; needs root.
//!
//! However they are struck and whichever cables are cut: whoever asks the address never gets an
//! answer of the old owner after one of the new.
#![cfg(target_os = "linux")]
mod cuts;
mod figures;
mod scene;
mod stalls;
mod stream;
mod strikes;
mod verdict;
#[path = "../world/mod.rs"]
mod world;

use rustix::process::Signal;

/// How all of a node's daemons are struck in the run of this number: each of the two nodes in
/// each way.
fn signal(run: u64) -> Signal {
    if run % 4 < 2 { Signal::STOP } else { Signal::KILL }
}

/// Whether time is no matter (`LATIDO_LONG_TESTS=1`, as in CI).
fn long() -> bool {
    std::env::var_os("LATIDO_LONG_TESTS").is_some_and(|value| value != "0")
}
