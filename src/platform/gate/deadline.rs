//! Deadlines as the kernel's program reads them: two 32-bit words that overlap.
//!
//! ```text
//!  nanoseconds since boot   63        40 39        16 15         0
//!  upper word: the era      [.. 63 .. 40]
//!  lower word: ticks               [47 ........... 16]
//! ```
//!
//! The lower word alone decides, modulo 2³² ticks of 65.5 µs; so renewing is one store that no
//! machine can tear. By itself it would come round after 78 hours and open the gate for a daemon
//! that died long ago: the era, which changes every 18 minutes, ends that for good. It is stored
//! first, and both the present and the next one count, so the two stores need not be one.
use crate::core::time::Instant;

/// A tick is 2¹⁶ ns.
pub(super) const TICK_BITS: i32 = 16;
/// An era is 2²⁴ ticks.
pub(super) const ERA_BITS: i32 = 24;
/// A deadline lies at most so many ticks ahead: 4.6 minutes.
pub(super) const AHEAD_MAX: u32 = 1 << 22;
/// The furthest deadline, in microseconds from now: a little less, clocks are read twice.
const FURTHEST: u64 = (AHEAD_MAX as u64 - 16) * 65;

/// The words of a gate that is closed. They mean the first instant after boot.
pub(super) const CLOSED: (u32, u32) = (0, 0);

/// (lower, upper) word for a deadline; one that is far away is brought nearer. Rounded down.
/// `ahead`: by how many nanoseconds our clock is ahead of the kernel's own, see [`clock_ahead`].
pub(super) fn words(until: Instant, now: Instant, ahead: i64) -> (u32, u32) {
    if until <= now {
        return CLOSED;
    }
    let micros = until.micros().min(now.micros().saturating_add(FURTHEST));
    let nanos = micros.saturating_mul(1000).saturating_add_signed(ahead.saturating_neg());
    let ticks = nanos >> TICK_BITS;
    (ticks as u32, (ticks >> ERA_BITS) as u32) // cut on purpose
}

/// By how many nanoseconds `CLOCK_BOOTTIME` of this process is ahead of the one that programs in
/// the kernel see: a time namespace (time_namespaces(7)) has a clock of its own, they have not.
pub(super) fn clock_ahead() -> i64 {
    // Without time namespaces there is no such file.
    let text = std::fs::read_to_string("/proc/thread-self/timens_offsets");
    parse_offset(
        &text.or_else(|_| std::fs::read_to_string("/proc/self/timens_offsets")).unwrap_or_default(),
    )
}

fn parse_offset(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or("").split_whitespace().map(|word| word.parse::<i64>());
    let (Some(Ok(seconds)), Some(Ok(nanos))) = (numbers.next(), numbers.next()) else { return 0 };
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Whether the first deadline is not after the second.
pub(super) fn nearer(one: (u32, u32), other: (u32, u32)) -> bool {
    ticks(one) <= ticks(other)
}

fn ticks((lower, upper): (u32, u32)) -> u64 {
    u64::from(upper) << ERA_BITS | u64::from(lower & ((1 << ERA_BITS) - 1))
}

/// What the program decides at `now`.
#[cfg(test)]
pub(super) fn is_open((lower, upper): (u32, u32), now_nanos: u64) -> bool {
    let ticks = now_nanos >> TICK_BITS;
    let ahead = lower.wrapping_sub(ticks as u32).wrapping_sub(1);
    ahead < AHEAD_MAX && upper.wrapping_sub((ticks >> ERA_BITS) as u32) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn closed_is_closed_from_the_first_instant_on() {
        for nanos in [0, 1, 1 << 16, 1 << 38, 1 << 39, 1 << 40, (1 << 48) - 1, 1 << 48, 1 << 60] {
            assert!(!is_open(CLOSED, nanos), "{nanos}");
        }
    }

    #[test]
    fn a_deadline_of_long_ago_never_comes_round() {
        let now = at(4_000_000_000_000);
        let words = words(at(4_000_000_030_000), now, 0);
        assert!(is_open(words, 4_000_000_029_000_000));
        // The lower word looks ahead again a little before each full turn.
        let turn = 1u64 << 48;
        for turns in 1..1000 {
            assert!(!is_open(words, 4_000_000_029_000_000 + turns * turn), "after {turns} turns");
        }
    }

    #[test]
    fn the_nearer_of_two_is_found_across_eras() {
        let eras = 1 << (16 + 24);
        let early = words(at(eras / 1000 - 5000), at(0), 0);
        let late = words(at(eras / 1000 * 300), at(eras / 1000 * 300 - 10), 0);
        assert!(nearer(early, late) && !nearer(late, early) && nearer(CLOSED, early));
    }

    #[test]
    fn the_clock_of_a_time_namespace_is_translated() {
        assert_eq!(parse_offset("monotonic 5 7\nboottime        -86400         250000000\n"), {
            -86_400 * 1_000_000_000 + 250_000_000
        });
        assert_eq!(parse_offset("monotonic  0 0\nboottime   0   0\n"), 0);
        assert_eq!((parse_offset(""), parse_offset("boottime x y")), (0, 0));
        // Three days ahead: the kernel's clock says 100 s.
        let ahead = 3 * 86_400 * 1_000_000_000;
        let now = 100_000_000 + 3 * 86_400_000_000;
        let words = words(at(now + 30_000), at(now), ahead);
        assert!(is_open(words, 100_029_000_000) && !is_open(words, 100_030_000_000));
    }

    proptest! {
        #[test]
        fn it_ends_at_most_a_tick_early_and_never_late(
            now in 0..1u64 << 50, lead in 1..200_000_000u64, look in 0..400_000_000u64,
        ) {
            let words = words(at(now + lead), at(now), 0);
            let open = is_open(words, (now + look) * 1000);
            if look >= lead {
                prop_assert!(!open);
            } else if look + 132 < lead {
                prop_assert!(open);
            }
        }

        #[test]
        fn half_stored_it_is_the_old_or_the_new_one(
            now in 0..1u64 << 50, step in 1..60_000_000u64, lead in 1..1_000_000u64,
        ) {
            // Renewed after `step`: the upper word has been stored, the lower not yet.
            let old = words(at(now + lead), at(now), 0);
            let new = words(at(now + step + lead), at(now + step), 0);
            let nanos = (now + step) * 1000;
            prop_assert_eq!(is_open((old.0, new.1), nanos), is_open(old, nanos));
        }
    }
}
