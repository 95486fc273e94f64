//! How fast the clock is made to run: `adjtimex(2)`.
//!
//! `CLOCK_BOOTTIME` cannot be set, but whoever keeps the time of day (chrony, ntpd, timesyncd)
//! makes it run faster or slower; chrony by up to 8 % when it has much to make up for.
use std::io;

/// The kernel moves the clock by at most so much for an offset that it was told, in parts per
/// million.
const OFFSET_PPM: u64 = 500;
/// The offset counts as nanoseconds.
const STA_NANO: i32 = 0x2000;

/// What the kernel adds to each second of its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slew {
    /// The most by which the clock runs wrong on purpose, in parts per million.
    pub ppm: u64,
}

/// How fast the clock runs now.
///
/// # Errors
/// Those of `adjtimex(2)`: a container may forbid it.
pub fn look() -> io::Result<Slew> {
    // SAFETY: every field is a number, or an array of numbers: zero is a value of each.
    #[allow(unsafe_code)]
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is a whole `struct timex` of this libc, ours alone; with `modes` 0 the kernel
    // changes nothing and only fills it in.
    #[allow(unsafe_code)]
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let unit = if timex.status & STA_NANO != 0 { 1 } else { 1000 };
    // A c_long has 32 bits on some machines.
    #[allow(clippy::useless_conversion)]
    let [tick, freq, offset] = [timex.tick, timex.freq, timex.offset].map(i64::from);
    Ok(Slew { ppm: judge(tick, freq, offset * unit) })
}

/// `tick`: microseconds added to the clock a hundred times a second; `freq`: in 2⁻¹⁶ ppm on top of
/// that; `offset`: nanoseconds that are still to be made up for.
fn judge(tick: i64, freq: i64, offset: i64) -> u64 {
    let tick = tick.saturating_sub(10_000).saturating_mul(100);
    let rate = tick.saturating_add(freq / 65_536).unsigned_abs();
    // Rounded up.
    let rate = rate + u64::from(freq % 65_536 != 0);
    // No more per second than there is left.
    rate + offset.unsigned_abs().div_ceil(1000).min(OFFSET_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_make_a_clock_run_wrong_counts() {
        for (tick, freq, offset, ppm) in [
            (10_000, 0, 0, 0),
            (10_000, 20 << 16, 0, 20),
            (10_000, -(20 << 16), 0, 20),
            (10_000, 1, 0, 1),
            (10_000, 0, 3_000, 3),
            (10_000, 0, -90_000_000, 500),
            // chrony making up for a second.
            (10_833, -(10 << 16), 0, 83_290),
            (9_167, 0, 0, 83_300),
            (10_099, 100 << 16, 0, 10_000),
        ] {
            assert_eq!(judge(tick, freq, offset), ppm, "{tick} {freq} {offset}");
        }
        assert!(judge(i64::MAX, i64::MAX, i64::MIN) > 1_000_000, "no overflow");
    }

    #[test]
    fn the_kernel_answers() {
        // Whatever it is: the kernel allows a tenth and 500 ppm, and as much for an offset.
        let slew = look().expect("adjtimex is not forbidden here");
        assert!(slew.ppm <= 101_001, "{slew:?}");
    }
}
