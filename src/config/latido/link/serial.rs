//! How a serial line is wired: `flow`, `mode`, `direction`, `slot`, `modem_lines`.
use super::super::super::diagnostic::Report;
use super::super::super::suggest::did_you_mean;
use super::super::super::{Bus, Direction, Flow, Line, Modem};
use super::super::table::Table;
use super::refuse;
use std::time::Duration;

/// Reads everything but the device and its speed.
pub(super) fn read(table: &Table, report: &mut Report) -> Line {
    let flow = choose(table, "flow", &["none", "rtscts"], report);
    let flow = if flow == Some("rtscts") { Flow::RtsCts } else { Flow::None };
    let mode = choose(table, "mode", &["rs232", "rs485"], report);
    let modem = read_modem(table, report);
    if mode != Some("rs485") {
        refuse(table, &["direction", "slot"], "RS-232", report);
        return Line { flow, modem, bus: None };
    }
    refuse(table, &["flow", "modem_lines"], "RS-485", report);
    let direction = choose(table, "direction", &["auto", "rts"], report);
    let direction = if direction == Some("rts") { Direction::Rts } else { Direction::Auto };
    let slot = table.duration("slot", report).and_then(|slot| {
        let fits = (Duration::from_millis(1)..=Duration::from_secs(1)).contains(&slot.value);
        if !fits {
            let cure = "from 1ms to 1s; without it, it is chosen by the speed";
            report.error(slot.at, "a slot that cannot be kept", cure);
        }
        fits.then_some(slot.value)
    });
    // Who is on the bus is known when the whole file is.
    let bus = Bus { direction, slot, stations: 0, frame: 0 };
    Line { flow: Flow::None, modem: Modem::Off, bus: Some(bus) }
}

/// One of `words`, or nothing if the key is absent or wrong, which is then said.
fn choose(
    table: &Table,
    key: &'static str,
    words: &[&'static str],
    report: &mut Report,
) -> Option<&'static str> {
    let text = table.string(key, report)?;
    let found = words.iter().find(|word| **word == text.value);
    if found.is_none() {
        let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let cure = did_you_mean(&text.value, words, &all.join(" or "));
        report.error(text.at, format!("`{key}` is not \"{}\"", text.value), cure);
    }
    found.copied()
}

fn read_modem(table: &Table, report: &mut Report) -> Modem {
    let Some(text) = table.string("modem_lines", report) else { return Modem::Device };
    match text.value.as_str() {
        "auto" => Modem::Device,
        "off" => Modem::Off,
        // Undocumented on purpose but for tests: a pseudo-terminal has no such lines.
        path if path.starts_with('/') => Modem::File(path.into()),
        other => {
            let cure = "\"auto\" (watch those that were seen) or \"off\"";
            report.error(text.at, format!("`modem_lines` is not \"{other}\""), cure);
            Modem::Device
        }
    }
}
