//! Modem lines in a report.
use crate::link::LinesSeen;
use serde::{Deserialize, Serialize};

/// The peer's modem lines, as a serial port of this node has seen them since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinesReport {
    /// Those that were up at some time: they are wired.
    pub wired: Vec<String>,
    /// Of these, those that are up.
    pub up: Vec<String>,
    /// Of these, those that drop so often that they are not believed.
    pub ignored: Vec<String>,
}

impl LinesReport {
    pub(super) fn of(seen: LinesSeen) -> LinesReport {
        let names = |lines: crate::platform::modem::Lines| lines.names().map(str::to_owned);
        LinesReport {
            wired: names(seen.wired).collect(),
            up: names(seen.up).collect(),
            ignored: names(seen.ignored).collect(),
        }
    }

    /// For people.
    pub fn line(&self, link: &str) -> String {
        if self.wired.is_empty() {
            return format!("{link}: no modem lines seen: the peer is off, or they are not wired");
        }
        let down = |name: &&String| !self.up.contains(name) && !self.ignored.contains(name);
        let down: Vec<&str> = self.wired.iter().filter(down).map(String::as_str).collect();
        let mut text = format!("{link}: modem lines seen: {}", self.wired.join(", "));
        if !down.is_empty() {
            text.push_str(&format!("; down now: {}", down.join(", ")));
        }
        if !self.ignored.is_empty() {
            text.push_str(&format!(
                "; not believed, they drop on and on: {}",
                self.ignored.join(", ")
            ));
        }
        text
    }
}
