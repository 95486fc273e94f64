//! Addresses that are guarded, in network namespaces: whatever is done to one, it is back; whoever
//! claims it is answered; and neighbours find it.
//!
//! Root is needed. `cargo test --test addresses figures -- --ignored --nocapture` prints what
//! docs/addresses.md says of neighbours that ignore announcements.
#[path = "../world/mod.rs"]
mod world;

mod guard;
mod learn;
mod rivals;
mod scene;
mod virtual_mac;
