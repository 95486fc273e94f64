//! The state machine that decides everything.
#![forbid(unsafe_code)]

pub mod framing;
pub mod id;
pub mod io;
pub mod limits;
pub mod time;
