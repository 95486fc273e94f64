//! The state machine that decides everything.
#![forbid(unsafe_code)]

pub mod id;
pub mod io;
pub mod limits;
pub mod time;
