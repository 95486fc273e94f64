//! Time as the core sees it: microseconds that the caller passes in.
//!
//! On Linux they are microseconds of `CLOCK_BOOTTIME`, so that a machine's sleep counts as time.
//! All arithmetic saturates: 64 bits of microseconds are 584,000 years.
use ::core::ops::{Add, Sub};
use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since the machine's start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

/// A span of time, in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duration(u64);

impl Instant {
    /// The far future: no deadline.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `micros` µs after the machine's start.
    pub const fn from_micros(micros: u64) -> Self {
        Instant(micros)
    }

    /// Microseconds since the machine's start.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);

    /// A span of `micros` µs.
    pub const fn from_micros(micros: u64) -> Self {
        Duration(micros)
    }

    /// A span of `millis` ms.
    pub const fn from_millis(millis: u64) -> Self {
        Duration(millis.saturating_mul(1000))
    }

    /// Whole microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// `self * factor`.
    pub const fn times(self, factor: u64) -> Self {
        Duration(self.0.saturating_mul(factor))
    }

    /// `self * numerator / denominator`, rounded down; a zero denominator counts as one.
    pub const fn ratio(self, numerator: u64, denominator: u64) -> Self {
        let denominator = if denominator == 0 { 1 } else { denominator };
        Duration(self.0.saturating_mul(numerator) / denominator)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}

impl Add for Duration {
    type Output = Duration;
    fn add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }
}

impl Sub for Duration {
    type Output = Duration;
    fn sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }
}
