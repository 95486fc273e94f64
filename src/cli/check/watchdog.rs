//! What `latido check` says about the watchdog.
use crate::config::{Config, format_duration};
use crate::platform::watchdog::{holder, known};
use std::path::Path;

/// What is configured, and what is found. `elsewhere`: the configuration may be another machine's.
pub(super) fn summary(config: &Config, elsewhere: bool) -> String {
    let Some(watchdog) = &config.watchdog else { return String::new() };
    if let Some(pin) = &watchdog.gpio {
        return format!(
            "watchdog  a chip on pin {pin}: resets this machine {} after the engine last vouched \
             for it\n",
            format_duration(watchdog.timeout)
        );
    }
    let device = &watchdog.device;
    let found = if elsewhere { String::new() } else { format!("; {}", found(device)) };
    format!(
        "watchdog  {}: resets this machine {} after the engine last vouched for it{found}\n",
        device.display(),
        format_duration(watchdog.timeout)
    )
}

/// Nothing is opened: that would start it.
fn found(device: &Path) -> String {
    if !device.exists() {
        return "it is NOT THERE now: load its driver".to_owned();
    }
    let known = known(device);
    let name = known.identity.unwrap_or_else(|| "it is there".to_owned());
    let held = holder(device).map(|holder| format!("; HELD by {holder}: `latido watchdog setup`"));
    let way = if known.nowayout == Some(true) { "; it cannot be stopped (nowayout)" } else { "" };
    format!("{name}{way}{}", held.unwrap_or_default())
}
