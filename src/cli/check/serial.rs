//! What `latido check` says of a serial line: speed, frames, turns.
use crate::config::lease::whole_ms;
use crate::config::line::bytes_us;
use crate::config::{Config, Flow, Line, Link, format_duration};
use std::time::Duration;

pub(super) fn describe(config: &Config, link: &Link, baud: u32, line: &Line) -> String {
    let show = |span: Duration| format_duration(whole_ms(span));
    let bytes = config.frame_on_line();
    let frame = Duration::from_micros(bytes_us(bytes, baud));
    let mut text = format!("{} ({baud} baud", link.name);
    if line.flow == Flow::RtsCts {
        text.push_str(", flow control");
    }
    text.push_str(&format!("; a frame of {bytes} bytes takes {}", show(frame)));
    if let Some(bus) = &line.bus {
        let pace = bus.pace(baud);
        text.push_str(&format!(
            "; RS-485: {} nodes, each has its turn at least once in {}, slots of {}",
            pace.stations,
            show(pace.turn()),
            show(Duration::from_micros(pace.slot))
        ));
    }
    match config.every(link) {
        0 | 1 => {}
        every => text.push_str(&format!(
            "; one heartbeat in {every}: every {}",
            show(config.timing.interval * u32::from(every))
        )),
    }
    text.push(')');
    text
}
