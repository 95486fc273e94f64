//! What `latido check` says about references and the probe.
use crate::config::{Config, Rule, format_duration};
use std::fmt::Write as _;
use std::time::Duration;

/// What is asked before a takeover, and what moves groups.
pub(super) fn summary(config: &Config) -> String {
    let (show, mut text) = (format_duration, String::new());
    let references = &config.references;
    for index in 0..references.hosts.len() {
        let head = if index == 0 { "reference" } else { "         " };
        let _ = writeln!(text, "{head} {}", references.name(index));
    }
    if !references.hosts.is_empty() {
        let settle = match references.settle {
            Some(settle) => {
                format!("groups go to a node that reaches more of them for {}", show(settle))
            }
            None => "groups do not move for them".to_string(),
        };
        let _ = writeln!(
            text,
            "          asked every {}, lost after {} without an answer; {settle}",
            show(references.interval),
            show(references.dead)
        );
    }
    if config.rule != Rule::AssumeDead {
        return text;
    }
    if !config.probe {
        text.push_str(
            "guards    none on the LAN (probe = false): with the heartbeat links cut, both nodes \
             own every group even if the LAN is whole\n",
        );
        return text;
    }
    text.push_str(
        "guards    a silent node's addresses are probed on the LAN: while somebody answers, \
         nothing is taken over\n",
    );
    let late = later(config);
    if !late.is_zero() {
        let _ = writeln!(
            text,
            "          that takes {} from `warn` on: takeovers begin {} later than `dead`; a \
             shorter `warn` avoids it",
            show(window(config)),
            show(late)
        );
    }
    text
}

/// For how long nobody may have answered; the same as the core's `ask_window`.
fn window(config: &Config) -> Duration {
    (config.timing.dead / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
}

/// By how much the probe delays a takeover from a node whose power was cut.
fn later(config: &Config) -> Duration {
    (config.timing.warn + window(config)).saturating_sub(config.timing.dead)
}

/// For programs.
pub(super) fn json(config: &Config) -> serde_json::Value {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let references = &config.references;
    serde_json::json!({
        "probe": config.probe,
        "references": references.hosts,
        "settle_us": references.settle.map(micros),
    })
}
