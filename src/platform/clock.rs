//! The clock of everything: `CLOCK_BOOTTIME`, so that a machine's sleep counts as time.
use crate::core::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, in microseconds since the machine's start. Never goes back; it is not set by anybody.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_kernels_uptime_and_moves_forward() {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc is mounted");
        let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).expect("a number");
        let first = now();
        assert!((first.micros() as f64 / 1e6 - seconds).abs() < 1.0, "{first:?} against {seconds}");
        while now() == first {}
        assert!(now() > first);
    }
}
