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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::NodeReport;
    use crate::control::{DeviceReport, FenceReport, LastReport};

    #[test]
    fn devices_and_fences_have_a_line_each_and_nothing_has_none() {
        assert_eq!(lines(&Report::default()), "");
        let device = |name: &str, test: &str, error: Option<&str>| DeviceReport {
            name: name.into(),
            test: test.into(),
            error: error.map(str::to_owned),
            tested_ago_ms: (test != "pending").then_some(125_000),
            power: None,
        };
        let last =
            LastReport { ago_ms: 3_000, confirmed: true, text: "plug".into(), stays_off: None };
        let devices = vec![
            device("plug", "passed", None),
            device("relay", "failed", Some("no such device")),
            device("board", "pending", None),
        ];
        let fence = FenceReport { devices, last: Some(last), ..FenceReport::default() };
        let nodes = vec![NodeReport { name: "pi".into(), fence, ..NodeReport::default() }];
        assert_eq!(
            lines(&Report { nodes, ..Report::default() }),
            "\nFENCING          DEVICE\n\
             pi               plug: ready, tested 2 min ago\n\
             pi               relay: FAILED its self-test 2 min ago: no such device\n\
             pi               board: is being tested\n\
             pi               fenced 3.00 s ago by plug\n"
        );
    }
}
