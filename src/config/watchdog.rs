//! `[watchdog]`: what resets this machine when the engine no longer vouches for it.
use super::diagnostic::{At, Report};
use super::raw::Raw;
use super::{Config, format_duration};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first device of the kernel.
const DEVICE: &str = "/dev/watchdog0";
/// Its timeout unless something else is written; every board's watchdog takes it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A machine that cannot stop something is reset so long after that was noticed, where no
/// `[self_fence]` says otherwise.
const RESET_TAKES: Duration = Duration::from_secs(1);
/// Longest timeout that makes sense.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// The device.
    pub device: PathBuf,
    /// What is asked of it; once it runs, what it says itself.
    pub timeout: Duration,
    /// The kernel is warned so long before the reset.
    pub pretimeout: Option<Duration>,
    /// Instead of the device: the pin that a watchdog chip watches.
    pub gpio: Option<String>,
    /// The pin that starts that chip and stops it.
    pub enable: Option<String>,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        let (device, timeout) = (DEVICE.into(), TIMEOUT);
        Watchdog { device, timeout, pretimeout: None, gpio: None, enable: None }
    }
}

/// What was written about it.
pub(super) struct RawWatchdog {
    pub(super) at: At,
    pub(super) watchdog: Watchdog,
}

impl Config {
    /// How long this machine's own reset takes, if it can reset itself.
    pub fn reset_takes(&self) -> Option<Duration> {
        let own = self.fencing.own.as_ref().map(|own| own.takes);
        own.or(self.watchdog.as_ref().map(|_| RESET_TAKES))
    }

    /// The `[watchdog]` table as `latido.toml` has it; empty without one.
    pub(super) fn watchdog_table(&self, quote: impl Fn(&Path) -> String) -> String {
        let Some(watchdog) = &self.watchdog else { return String::new() };
        let mut text = "\n[watchdog]\n".to_owned();
        match &watchdog.gpio {
            None => text.push_str(&format!("device = {}\n", quote(&watchdog.device))),
            Some(pin) => text.push_str(&format!("gpio = {}\n", quote(Path::new(pin)))),
        }
        if let Some(pin) = &watchdog.enable {
            text.push_str(&format!("enable = {}\n", quote(Path::new(pin))));
        }
        for (key, span) in
            [("timeout", Some(watchdog.timeout)), ("pretimeout", watchdog.pretimeout)]
        {
            if let Some(span) = span {
                text.push_str(&format!("{key} = \"{}\"\n", format_duration(span)));
            }
        }
        text
    }
}

/// Checks what was written.
pub(super) fn check(raw: &Raw, report: &mut Report) {
    let Some(RawWatchdog { at, watchdog }) = &raw.watchdog else { return };
    let (show, timeout) = (format_duration, watchdog.timeout);
    if timeout < Duration::from_secs(1) || timeout > TIMEOUT_MAX {
        let message = format!("a watchdog's timeout cannot be {}", show(timeout));
        report.error(*at, message, "from 1s to 1h, in whole seconds; 10s suits most boards");
        return;
    }
    if let Some(span) = watchdog.pretimeout
        && (span >= timeout || span < Duration::from_secs(1))
    {
        let message = format!("the pretimeout ({}) does not lie within the timeout", show(span));
        report.error(*at, message, format!("from 1s to less than {}", show(timeout)));
    }
    if !raw.timing.readable {
        return;
    }
    let (interval, dead) = (raw.timing.interval.value, raw.timing.dead.value);
    if timeout <= interval * 2 {
        let message = format!(
            "the watchdog ({}) is petted with every heartbeat, once in {}: it would reset a sound \
             machine",
            show(timeout),
            show(interval)
        );
        let cure = format!("more than two intervals: {} or more", show(interval * 5));
        report.error(*at, message, cure);
    } else if timeout < dead {
        let message = format!(
            "the watchdog ({}) is quicker than dead ({}): a stall that costs no takeover resets \
             this machine",
            show(timeout),
            show(dead)
        );
        report.warning(*at, message, "dead or more is advised");
    }
}
