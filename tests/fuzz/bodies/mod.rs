//! What the fuzzer runs, and what the tests run with bytes of their own: one function a target.
//!
//! Each takes any bytes and panics if a promise is broken.
mod bytes;
mod cluster;
#[cfg(feature = "std")]
mod files;
mod frame;
mod line;
mod witness;

pub(crate) use cluster::cluster;
#[cfg(feature = "std")]
pub(crate) use files::{authkeys, ha_cf, haresources, key_file, latido_toml};
pub(crate) use frame::frame;
pub(crate) use line::line;
pub(crate) use witness::witness;
