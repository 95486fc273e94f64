//! What a witness on a board of its own says of itself, behind the body of its frames.
//!
//! A body ends where its fields end, and whoever reads one asks for no more: what follows it is
//! for those who know of it. So a node of an older version takes such a frame as any other.
use ::core::fmt;
use serde::{Deserialize, Serialize};

/// How a board does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Health {
    /// Version of its firmware.
    pub version: Version,
    /// Seconds since it started.
    pub uptime: u32,
    /// How often it has started since it was made, this time included.
    pub starts: u32,
    /// Why it started last.
    pub cause: Cause,
    /// Its supply, where it can be measured.
    pub millivolts: Option<u16>,
}

/// Version of a firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version {
    /// Incompatible changes.
    pub major: u8,
    /// Additions.
    pub minor: u8,
    /// Corrections.
    pub patch: u8,
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a board started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Cause {
    /// Power came on.
    #[default]
    Power,
    /// Its watchdog: its loop hung, or somebody asked for a reset that leaves no other mark.
    Watchdog,
    /// It was told to, such as after provisioning.
    Asked,
    /// Its reset pin, or a debugger.
    Pin,
}

impl Cause {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Cause::Power => "power came on",
            Cause::Watchdog => "its watchdog",
            Cause::Asked => "it was told to",
            Cause::Pin => "its reset pin",
        }
    }
}

impl Health {
    pub(super) const NONE: Health = Health {
        version: Version { major: 0, minor: 0, patch: 0 },
        uptime: 0,
        starts: 0,
        cause: Cause::Power,
        millivolts: None,
    };

    /// What follows a body, if it is this.
    pub fn behind(rest: &[u8]) -> Option<Health> {
        postcard::from_bytes(rest).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::{BODY_MAX, Body, NodeFlags};

    #[test]
    fn it_stands_behind_a_body_that_is_read_without_it() {
        let health = Health { uptime: 7, starts: 3, millivolts: Some(4980), ..Health::NONE };
        for witness in [true, false] {
            let flags = NodeFlags::default().with_witness(witness);
            let body = Body { flags, ..Body::default() };
            let mut out = [0; BODY_MAX];
            let len = body.encode(&mut out).unwrap();
            assert_eq!(Body::with_board(&out[..len]), Ok((body.clone(), None)));
            let more = postcard::to_slice(&health, &mut out[len..]).unwrap().len();
            let whole = &out[..len + more];
            assert_eq!(Body::decode(whole), Ok(body.clone()));
            let told = witness.then_some(health);
            assert_eq!(Body::with_board(whole), Ok((body, told)), "only a witness has a board");
        }
    }
}
