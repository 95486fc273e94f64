//! `[health]`.
use super::super::Health;
use super::super::diagnostic::Report;
use super::table::{Table, keys_of};
use std::time::Duration;
use toml::de::DeValue;

/// Shorter than two looks.
const SHORTEST: Duration = Duration::from_secs(1);

/// Reads `[health]`.
pub(super) fn read(document: &Table, report: &mut Report) -> Option<Health> {
    let table = document.table("health", "[health]", report)?;
    table.only(keys_of("[health]"), report);
    let mut health = Health::default();
    health.temperature = number(&table, "temperature", 30..=150, health.temperature, report);
    health.disk_errors = number(&table, "disk_errors", 1..=1_000_000, health.disk_errors, report);
    health.under_voltage = table.boolean("under_voltage", report).unwrap_or(health.under_voltage);
    health.throttled = table.boolean("throttled", report).unwrap_or(health.throttled);
    if let Some(paths) = table.strings("writable", report) {
        for path in paths.iter().filter(|path| !path.value.starts_with('/')) {
            let message = format!("`{}` is not a full path", path.value);
            report.error(path.at, message, "start it with `/`");
        }
        health.writable = paths.into_iter().map(|path| path.value).collect();
    }
    for (key, span) in [("lasts", &mut health.lasts), ("recovers", &mut health.recovers)] {
        let Some(written) = table.duration(key, report) else { continue };
        if written.value < SHORTEST {
            report.error(written.at, format!("`{key}` cannot be kept"), "1s or more");
        }
        *span = written.value;
    }
    Some(health)
}

/// A number, or false for none at all.
fn number<'a>(
    table: &Table<'a>,
    key: &'a str,
    range: std::ops::RangeInclusive<u32>,
    default: Option<u32>,
    report: &mut Report,
) -> Option<u32> {
    let Some(value) = table.value(key) else { return default };
    match value.value {
        DeValue::Boolean(false) => None,
        _ => table.integer(key, range, report).or(default),
    }
}
