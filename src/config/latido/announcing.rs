//! `reannounce`, `announce_check` and `neighbours`, of a group or of one of its addresses.
use super::super::announcing::{Announcing, NEIGHBOURS_MAX};
use super::super::diagnostic::{At, Located, Report};
use super::table::Table;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use toml::de::DeValue;

const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(86_400);

/// What is written of it.
#[derive(Clone, Default)]
pub(super) struct Announced {
    every: Option<Duration>,
    check: Option<Located<bool>>,
    neighbours: Option<Located<Vec<Ipv4Addr>>>,
}

impl Announced {
    pub(super) fn read(table: &Table, report: &mut Report) -> Announced {
        let check = table.boolean("announce_check", report);
        Announced {
            every: read_every(table, report),
            check: check.map(|check| Located::new(check, table.at("announce_check"))),
            neighbours: read_neighbours(table, report),
        }
    }

    /// What is not written here holds as written there.
    pub(super) fn or(self, other: &Announced) -> Announced {
        let other = other.clone();
        Announced {
            every: self.every.or(other.every),
            check: self.check.or(other.check),
            neighbours: self.neighbours.or(other.neighbours),
        }
    }

    /// Reports what an address cannot have.
    pub(super) fn check_family(&self, address: IpAddr, report: &mut Report) {
        if address.is_ipv4() {
            return;
        }
        let cure = "remove it: neighbours take up an unsolicited advertisement (RFC 4861, 7.2.6)";
        let refuse = |at: At, key: &str, report: &mut Report| {
            report.error(at, format!("`{key}` means nothing for an IPv6 address"), cure);
        };
        if let Some(check) = self.check.as_ref().filter(|check| check.value) {
            refuse(check.at, "announce_check", report);
        }
        if let Some(neighbours) = &self.neighbours {
            refuse(neighbours.at, "neighbours", report);
        }
    }

    pub(super) fn announcing(self) -> Announcing {
        let usual = Announcing::default();
        Announcing {
            every: self.every.unwrap_or(usual.every),
            check: self.check.map_or(usual.check, |check| check.value),
            neighbours: self.neighbours.map_or(usual.neighbours, |all| all.value),
        }
    }
}

fn read_every(table: &Table, report: &mut Report) -> Option<Duration> {
    let value = table.value("reannounce")?;
    match value.value {
        DeValue::Boolean(false) => return Some(Duration::ZERO),
        DeValue::Integer(number) if number.as_str() == "0" => return Some(Duration::ZERO),
        _ => {}
    }
    let every = table.duration("reannounce", report)?;
    if !every.value.is_zero() && !(EVERY_MIN..=EVERY_MAX).contains(&every.value) {
        report.error(every.at, "`reannounce` cannot be kept", "from 1s to 24h, or 0 for never");
    }
    Some(every.value)
}

fn read_neighbours(table: &Table, report: &mut Report) -> Option<Located<Vec<Ipv4Addr>>> {
    let texts = table.strings("neighbours", report)?;
    if let Some(extra) = texts.get(NEIGHBOURS_MAX) {
        let message = format!("{} neighbours: at most {NEIGHBOURS_MAX}", texts.len());
        report.error(extra.at, message, "name those that matter; the gateway is asked anyway");
    }
    let mut neighbours = Vec::new();
    for text in &texts {
        match text.value.parse::<Ipv4Addr>() {
            Ok(address) => neighbours.push(address),
            Err(_) => {
                let cure = "such as \"192.168.0.1\": neighbours are named by IPv4 addresses";
                report.error(text.at, format!("`{}` is no IPv4 address", text.value), cure);
            }
        }
    }
    Some(Located::new(neighbours, table.at("neighbours")))
}
