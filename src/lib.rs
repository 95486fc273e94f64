//! Latido: high availability for two to eight Linux machines.
//!
//! `core` decides everything and knows nothing of Linux; the other modules move its frames, carry
//! out its decisions and talk to people. An arrow never points up:
//! `cli → control → engine → {link, resource, reference, fence, platform, config} → core`.
#![cfg_attr(not(any(feature = "std", feature = "_sim", test)), no_std)]

pub mod core;

#[cfg(feature = "std")]
pub mod board;
#[cfg(feature = "std")]
pub mod cli;
#[cfg(feature = "std")]
pub mod config;
#[cfg(feature = "std")]
pub mod control;
#[cfg(feature = "std")]
pub mod engine;
#[cfg(feature = "std")]
pub mod fence;
#[cfg(feature = "std")]
pub mod lab;
#[cfg(feature = "std")]
pub mod link;
#[cfg(feature = "std")]
pub mod linktest;
#[cfg(feature = "std")]
pub mod platform;
#[cfg(feature = "std")]
pub mod quality;
#[cfg(feature = "std")]
pub mod reference;
#[cfg(feature = "std")]
pub mod resource;
#[cfg(feature = "std")]
pub mod runtime;
#[cfg(any(test, feature = "_sim"))]
pub mod sim;
#[cfg(feature = "std")]
pub mod supervisor;
#[cfg(feature = "std")]
pub mod tell;
#[cfg(feature = "std")]
pub mod witness;
