//! What `latido check` says about fencing.
use crate::config::{Config, Device, Method, Rule, StopFailure, format_duration};
use std::fmt::Write as _;
use std::time::Duration;

/// The devices of each node in their order, and how long they may take.
pub(super) fn summary(config: &Config) -> String {
    let (show, mut text) = (format_duration, String::new());
    for (index, node) in config.nodes.iter().enumerate() {
        let devices: Vec<String> = config.devices_of(index).map(describe).collect();
        if devices.is_empty() {
            continue;
        }
        let head = if text.is_empty() { "fencing  " } else { "         " };
        let time = show(config.fence_time(index));
        let _ = writeln!(text, "{head} {node}: {}; at most {time}", devices.join(", then "));
    }
    if config.rule == Rule::Fencing {
        let _ = writeln!(
            text,
            "          the owner of the first group shoots at once, the other node {} later",
            show(config.fencing.delay)
        );
    }
    if let Some(own) = &config.fencing.own {
        let head = if text.is_empty() { "fencing  " } else { "         " };
        let command = own.command.join(" ");
        let _ = writeln!(text, "{head} itself: {command}; within {}", show(own.takes));
    }
    text
}

fn describe(device: &Device) -> String {
    let how = match (device.method, device.on) {
        (Method::Reset, _) => "reset",
        (Method::Off, true) => "off and on",
        (Method::Off, false) => "off, stays off",
    };
    let (tries, timeout) = (device.tries, format_duration(device.timeout));
    let test = format_duration(device.test_every);
    format!("{} ({how}, {tries} x {timeout}, tested every {test})", device.name())
}

/// What happens with a resource that cannot be stopped.
pub(super) fn stop_failure(config: &Config) -> &'static str {
    match config.stop_failure {
        StopFailure::Release => {
            "          a resource that cannot be stopped is released all the same: it may run \
             twice\n"
        }
        StopFailure::Block => {
            "          a resource that cannot be stopped blocks its group until somebody has \
             looked\n"
        }
        StopFailure::Reset => "          a node that cannot stop a resource resets itself\n",
        StopFailure::Fence => {
            "          a node that cannot stop a resource is fenced by the other one\n"
        }
    }
}

/// For programs.
pub(super) fn json(config: &Config) -> serde_json::Value {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let device = |device: &Device| {
        serde_json::json!({
            "name": device.name(),
            "nodes": device.nodes.iter().filter_map(|node| config.nodes.get(*node))
                .collect::<Vec<_>>(),
            "timeout_us": micros(device.timeout),
            "tries": device.tries,
            "test_every_us": micros(device.test_every),
        })
    };
    serde_json::json!({
        "devices": config.fencing.devices.iter().map(device).collect::<Vec<_>>(),
        "delay_us": (config.rule == Rule::Fencing).then(|| micros(config.fencing.delay)),
        "self_fence": config.fencing.own.as_ref().map(|own| &own.command),
    })
}
