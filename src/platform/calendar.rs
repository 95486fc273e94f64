//! The local date and time, for log lines only: nothing is ever decided by it.
use std::time::{Duration, SystemTime};

/// A local date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Year, such as 2026.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: i32,
    /// Day of the month, 1 to 31.
    pub day: i32,
    /// Hour, 0 to 23.
    pub hour: i32,
    /// Minute, 0 to 59.
    pub minute: i32,
    /// Second, 0 to 60.
    pub second: i32,
    /// Milliseconds of the second.
    pub millis: u32,
}

/// The wall clock reads less than this (2024-01-01) only while nobody has set it.
const PLAUSIBLE_S: u64 = 1_704_067_200;

impl Calendar {
    /// `time` in the local time zone; `None` while the wall clock is not set (a machine without
    /// a battery-backed clock, before NTP has answered).
    pub fn local(time: SystemTime) -> Option<Calendar> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since.as_secs() < PLAUSIBLE_S {
            return None;
        }
        broken_down(since.as_secs()).map(|tm| Calendar {
            year: tm.tm_year + 1900,
            month: tm.tm_mon + 1,
            day: tm.tm_mday,
            hour: tm.tm_hour,
            minute: tm.tm_min,
            second: tm.tm_sec,
            millis: since.subsec_millis(),
        })
    }
}

#[allow(unsafe_code)]
fn broken_down(seconds: u64) -> Option<libc::tm> {
    let seconds = libc::time_t::try_from(seconds).ok()?;
    // SAFETY: localtime_r fills the structure it is given and keeps no pointer to it.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        (!libc::localtime_r(&seconds, &mut tm).is_null()).then_some(tm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_has_no_date() {
        assert_eq!(Calendar::local(SystemTime::UNIX_EPOCH + Duration::from_secs(90)), None);
        let set = SystemTime::UNIX_EPOCH + Duration::from_millis(1_793_000_000_250);
        let date = Calendar::local(set).expect("a date");
        assert_eq!((date.year, date.month, date.millis), (2026, 10, 250));
    }
}
