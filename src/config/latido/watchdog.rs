//! `[watchdog]`.
use super::super::diagnostic::Report;
use super::super::watchdog::{RawWatchdog, Watchdog};
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
    if let Some(timeout) = table.duration("timeout", report) {
        watchdog.timeout = timeout.value;
    }
    watchdog.pretimeout = table.duration("pretimeout", report).map(|span| span.value);
    Some(RawWatchdog { at: table.at, watchdog })
}
