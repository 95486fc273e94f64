//! Each machine's own clock: it starts anew at each boot and runs up to 1 % fast or slow.
use crate::core::time::Instant;

const PPM: u128 = 1_000_000;

/// `CLOCK_BOOTTIME` of one boot of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// True time at which it showed `start`.
    booted: u64,
    start: u64,
    /// Its microseconds in a true second.
    rate: u64,
}

impl Clock {
    /// Shows `start` at true time `booted` and gains `drift` µs in a second.
    pub fn new(booted: u64, start: u64, drift: i64) -> Clock {
        Clock { booted, start, rate: 1_000_000_u64.saturating_add_signed(drift) }
    }

    /// It stood still for `span`.
    pub fn stood_still(&mut self, span: u64) {
        self.booted = self.booted.saturating_add(span);
    }

    /// What it shows at true time `at`.
    pub fn local(&self, at: u64) -> Instant {
        let span = u128::from(at.saturating_sub(self.booted)) * u128::from(self.rate) / PPM;
        Instant::from_micros(self.start.saturating_add(u64::try_from(span).unwrap_or(u64::MAX)))
    }

    /// The first true time at which it shows `local` or more.
    pub fn when(&self, local: Instant) -> u64 {
        let span = u128::from(local.micros().saturating_sub(self.start)) * PPM;
        let span = span.div_ceil(u128::from(self.rate));
        self.booted.saturating_add(u64::try_from(span).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_hardly_late() {
        for drift in [-10_000, -37, 0, 12, 10_000] {
            let clock = Clock::new(1_000, 77, drift);
            for local in [77, 78, 1_000, 123_457, 98_765_432_109] {
                let at = clock.when(Instant::from_micros(local));
                assert!(clock.local(at) >= Instant::from_micros(local));
                assert!(at == 1_000 || clock.local(at - 1) < Instant::from_micros(local));
            }
        }
    }
}
