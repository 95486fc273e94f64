//! Whether serial lines can carry what is asked of them.
use super::super::diagnostic::{Located, Report};
use super::super::line::frame_on_line;
use super::super::raw::Raw;
use super::super::values::format_duration;
use super::super::{Flow, Medium};

/// Tells every bus how many nodes are on it, and how much they say.
pub(super) fn seat(raw: &mut Raw) {
    let (nodes, groups) = (raw.nodes.len(), raw.groups.len());
    let frame = frame_on_line(nodes + raw.witnesses.len(), raw.witnesses.len(), groups);
    for link in &mut raw.links {
        if let Medium::Serial { line, .. } = &mut link.value
            && let Some(bus) = &mut line.bus
        {
            bus.stations = u8::try_from(nodes).unwrap_or(u8::MAX);
            bus.frame = u16::try_from(frame).unwrap_or(u16::MAX);
        }
    }
}

pub(super) fn check(link: &Located<Medium>, raw: &Raw, report: &mut Report) {
    check_device(link, report);
    let Medium::Serial { device, baud, line } = &link.value else { return };
    let (interval, dead) = (raw.timing.interval.value, raw.timing.dead.value);
    let shown = device.display();
    if let Some(bus) = line.bus {
        let pace = bus.pace(*baud);
        if dead <= pace.least_dead() {
            let message = format!(
                "{shown}: with {} nodes at {baud} baud each has its turn once in {}: dead ({}) \
                 must be longer than four of them",
                pace.stations,
                format_duration(super::super::lease::whole_ms(pace.turn())),
                format_duration(dead)
            );
            let least = super::super::lease::whole_ms(pace.least_dead());
            let cure = format!(
                "a higher speed on all nodes, a shorter `slot`, or dead above {}",
                format_duration(least)
            );
            report.error(link.at, message, cure);
        }
    }
    if line.flow == Flow::RtsCts {
        report.warning(
            link.at,
            format!("{shown}: with flow control a peer that is dead stops our own heartbeats"),
            "leave `flow` away, unless the adapter loses bytes without it",
        );
    }
    let frame =
        frame_on_line(raw.nodes.len() + raw.witnesses.len(), raw.witnesses.len(), raw.groups.len());
    let every = link.value.every_of(interval, frame);
    let least = interval * u32::from(every) * 2;
    if every > 1 && dead <= least && line.bus.is_none() {
        let message = format!(
            "{shown}: {baud} baud carry a heartbeat once in {}: dead ({}) must be longer than two \
             of them, or this line alone cannot keep the nodes together",
            format_duration(interval * u32::from(every)),
            format_duration(dead)
        );
        report.warning(link.at, message, "a higher speed on both ends, or a longer dead");
    } else if every > 1 {
        let message = format!(
            "{shown}: {baud} baud are too slow for a heartbeat every {}: it carries one in {every}",
            format_duration(interval)
        );
        report.warning(link.at, message, "a higher speed on both ends, or a longer interval");
    }
}

/// A device that is not there may be plugged in later; what is there must be one.
fn check_device(link: &Located<Medium>, report: &mut Report) {
    let Medium::Serial { device, .. } = &link.value else { return };
    let Ok(metadata) = device.metadata() else { return };
    let what = match metadata.file_type() {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a regular file",
        _ => return,
    };
    let message = format!("{} is {what}, not a serial line", device.display());
    report.error(link.at, message, "name the device, such as /dev/ttyS0 or /dev/ttyUSB0");
}
