//! Rule `majority`: three voters with the real daemon, in network namespaces; needs root.
//!
//! However they are struck and whichever cables are cut: whoever asks the address never gets an
//! answer of the old owner after one of the new.
#![cfg(target_os = "linux")]
mod cuts;
mod figures;
mod scene;
mod stream;
mod strikes;
mod verdict;
#[path = "../world/mod.rs"]
mod world;

/// Whether time is no matter (`LATIDO_LONG_TESTS=1`, as in CI).
fn long() -> bool {
    std::env::var_os("LATIDO_LONG_TESTS").is_some_and(|value| value != "0")
}
