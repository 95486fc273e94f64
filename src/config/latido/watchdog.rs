//! `[watchdog]`.
use super::super::diagnostic::Report;
use super::super::watchdog::{RawWatchdog, Watchdog};
use super::panel;
use super::table::{Table, keys_of};

/// Reads `[watchdog]`.
pub(super) fn read(document: &Table, report: &mut Report) -> Option<RawWatchdog> {
    let table = document.table("watchdog", "[watchdog]", report)?;
    table.only(keys_of("[watchdog]"), report);
    let mut watchdog = Watchdog::default();
    if let Some(device) = table.string("device", report) {
        if !device.value.starts_with('/') {
            let message = format!("`{}` is not a full path", device.value);
            report.error(device.at, message, "such as \"/dev/watchdog0\"");
        }
        watchdog.device = device.value.into();
    }
    watchdog.gpio = panel::pin(&table, "gpio", report);
    watchdog.enable = panel::pin(&table, "enable", report);
    for (key, without) in [
        ("device", watchdog.gpio.is_none()),
        ("pretimeout", watchdog.gpio.is_none()),
        ("enable", watchdog.gpio.is_some()),
    ] {
        if table.has(key) && !without {
            let message = match key {
                "enable" => "`enable` belongs to a chip on a pin".to_owned(),
                _ => format!("`{key}` means nothing for a chip on a pin"),
            };
            report.error(table.at(key), message, "name the chip's pin as `gpio`, or remove it");
        }
    }
    if watchdog.gpio.is_some() && !table.has("timeout") {
        let cure = "add `timeout`: what its data sheet says, at its longest";
        report.error(table.at, "nothing says when this chip bites, and it cannot be asked", cure);
    }
    if let Some(timeout) = table.duration("timeout", report) {
        watchdog.timeout = timeout.value;
    }
    watchdog.pretimeout = table.duration("pretimeout", report).map(|span| span.value);
    Some(RawWatchdog { at: table.at, watchdog })
}
