//! `[health]`: what this machine feels of itself, and when it hands over before it dies.
use super::format_duration;
use std::time::Duration;

/// When a machine is no longer fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// From so many degrees Celsius on; fit again five degrees below. `None`: whatever it is.
    pub temperature: Option<u32>,
    /// While its supply is too weak.
    pub under_voltage: bool,
    /// While its processor is slowed down.
    pub throttled: bool,
    /// While one of these is mounted read-only.
    pub writable: Vec<String>,
    /// After so many new errors of its file systems. `None`: however many.
    pub disk_errors: Option<u32>,
    /// What is bad for so long counts.
    pub lasts: Duration,
    /// What was good for so long is over.
    pub recovers: Duration,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            temperature: Some(85),
            under_voltage: true,
            throttled: false,
            writable: vec!["/".to_owned()],
            disk_errors: Some(1),
            lasts: Duration::from_secs(10),
            recovers: Duration::from_secs(60),
        }
    }
}

impl Health {
    /// The table as `latido.toml` has it.
    pub(super) fn table(&self, quote: impl Fn(&str) -> String) -> String {
        let number = |key: &str, value: Option<u32>| {
            format!("{key} = {}\n", value.map_or("false".to_owned(), |value| value.to_string()))
        };
        let writable: Vec<String> = self.writable.iter().map(|path| quote(path)).collect();
        format!(
            "\n[health]\n{}under_voltage = {}\nthrottled = {}\nwritable = [{}]\n{}lasts = \"{}\"\n\
             recovers = \"{}\"\n",
            number("temperature", self.temperature),
            self.under_voltage,
            self.throttled,
            writable.join(", "),
            number("disk_errors", self.disk_errors),
            format_duration(self.lasts),
            format_duration(self.recovers)
        )
    }
}
