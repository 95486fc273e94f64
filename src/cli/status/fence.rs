//! The devices on the screen of `latido status`.
use super::wrapped;
use crate::control::report::Report;
use crate::core::time::Duration;
use crate::tell::span;

/// A line for each device, and one for the latest fence of each node.
pub(super) fn lines(report: &Report) -> String {
    let mut text = String::new();
    let ago = |ms: u64| format!("{} ago", span(Duration::from_millis(ms)));
    for node in &report.nodes {
        let name = &node.name;
        for device in &node.fence.devices {
            let tested = device.tested_ago_ms.map(ago).unwrap_or_default();
            let state = match (device.test.as_str(), &device.error) {
                ("passed", _) => format!("ready, tested {tested}"),
                ("failed", Some(why)) => format!("FAILED its self-test {tested}: {why}"),
                _ => "is being tested".to_owned(),
            };
            let head = format!("{name:<16} ");
            text.push_str(&wrapped(&head, &" ".repeat(17), &format!("{}: {state}", device.name)));
        }
        if let Some(last) = &node.fence.last {
            let outcome = if last.confirmed {
                format!("fenced {} by {}", ago(last.ago_ms), last.text)
            } else {
                format!("a fence failed {}: {}", ago(last.ago_ms), last.text)
            };
            text.push_str(&wrapped(&format!("{name:<16} "), &" ".repeat(17), &outcome));
        }
    }
    if text.is_empty() { text } else { format!("\nFENCING          DEVICE\n{text}") }
}
