//! Typed access to the tables of a TOML document, with places; every miss is reported.
use super::super::diagnostic::{At, Located, Report};
use super::super::suggest::suggest;
use super::super::values;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys of every table, for "belongs in …".
const KEYS: [(&str, &[&str]); 14] = [
    ("[cluster]", &["name", "nodes"]),
    ("[[witness]]", &["name"]),
    ("[timing]", &["interval", "warn", "dead", "initial_dead", "failback_delay"]),
    ("[quorum]", &["rule", "stop_failure", "fence_delay", "probe", "takeover_max"]),
    ("[references]", &["hosts", "interval", "dead", "settle"]),
    ("[keys]", &["file", "authenticated"]),
    (
        "[[link]]",
        &[
            "udp",
            "ethernet",
            "serial",
            "interface",
            "port",
            "group",
            "ttl",
            "peers",
            "vlan",
            "ethertype",
            "baud",
            "flow",
            "mode",
            "direction",
            "slot",
            "modem_lines",
            "gpio",
            "watch",
        ],
    ),
    (
        "[[group]]",
        &["name", "prefer", "failback", "resources", "reannounce", "announce_check", "neighbours"],
    ),
    (
        "[[fence]]",
        &[
            "node",
            "nodes",
            "command",
            "agent",
            "stonith",
            "gpio",
            "pulse",
            "sense",
            "settle",
            "options",
            "params",
            "params_file",
            "method",
            "timeout",
            "tries",
            "test_every",
            "on",
        ],
    ),
    ("[self_fence]", &["command", "takes"]),
    ("[watchdog]", &["device", "timeout", "pretimeout", "gpio", "enable"]),
    (
        "[health]",
        &[
            "temperature",
            "under_voltage",
            "throttled",
            "writable",
            "disk_errors",
            "lasts",
            "recovers",
        ],
    ),
    ("[panel]", &["owner", "standby", "alarm", "button"]),
    ("[log]", &["file", "debug_file", "syslog", "debug"]),
];

/// Keys that stand before the first table.
pub(super) const TOP: [&str; 15] = [
    "realtime",
    "cluster",
    "witness",
    "timing",
    "quorum",
    "references",
    "keys",
    "link",
    "group",
    "fence",
    "self_fence",
    "watchdog",
    "panel",
    "health",
    "log",
];

/// The keys of one kind of table.
pub(super) fn keys_of(table: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| keys)
}

/// A table of the document.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) table: &'a DeTable<'a>,
    /// How people call it: `[timing]`.
    pub(super) name: &'static str,
    pub(super) at: At,
    file: usize,
}

/// A value of a table.
pub(super) struct Value<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) at: At,
    key: &'a str,
}

fn at_of<T>(file: usize, spanned: &Spanned<T>) -> At {
    At::span(file, spanned.span().start, spanned.span().end)
}

impl<'a> Table<'a> {
    /// The document itself.
    pub(super) fn document(table: &'a DeTable<'a>, file: usize) -> Self {
        Table { table, name: "the file", at: At::file(file), file }
    }

    /// Reports every key that is not in `known`.
    pub(super) fn only(&self, known: &[&str], report: &mut Report) {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let elsewhere = KEYS.iter().find(|(_, keys)| keys.contains(&word));
            let cure = match (suggest(word, known.iter().copied()), elsewhere) {
                (Some(meant), _) => format!("did you mean `{meant}`?"),
                (None, Some((table, _))) => format!("it belongs in {table}"),
                (None, None) if TOP.contains(&word) => {
                    format!("`{word}` belongs at the top of the file, before the first [table]")
                }
                (None, None) => format!("known here: {}", known.join(", ")),
            };
            let message = format!("{} has no key `{word}`", self.name);
            report.error(at_of(self.file, key), message, cure);
        }
    }

    /// A value of any type.
    pub(super) fn value(&self, key: &'a str) -> Option<Value<'a>> {
        let value = self.table.get(key)?;
        Some(Value { value: value.get_ref(), at: at_of(self.file, value), key })
    }

    /// The place of a value, or else of the table.
    pub(super) fn at(&self, key: &str) -> At {
        self.table.get(key).map_or(self.at, |value| at_of(self.file, value))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn string(&self, key: &'a str, report: &mut Report) -> Option<Located<String>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::String(text) if text.contains('\0') => {
                report.error(value.at, format!("`{key}` contains a zero byte"), "remove it");
                None
            }
            DeValue::String(text) => Some(Located::new(text.to_string(), value.at)),
            _ => value.wrong("a text in quotes", report),
        }
    }

    pub(super) fn duration(&self, key: &'a str, report: &mut Report) -> Option<Located<Duration>> {
        let value = self.value(key)?;
        let text = match value.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_string(),
            _ => return value.wrong("a time such as \"100ms\"", report),
        };
        match values::duration(&text, false) {
            Ok(span) => Some(Located::new(span, value.at)),
            Err(cure) => {
                report.error(value.at, format!("`{key} = {text}` is not a time"), cure);
                None
            }
        }
    }

    pub(super) fn integer(
        &self,
        key: &'a str,
        range: RangeInclusive<u32>,
        report: &mut Report,
    ) -> Option<u32> {
        let value = self.value(key)?;
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value.value else { return value.wrong(&wanted, report) };
        let digits = number.as_str().replace('_', "");
        match u32::from_str_radix(&digits, number.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                report.error(value.at, format!("`{key} = {number}` is out of range"), wanted);
                None
            }
        }
    }

    pub(super) fn boolean(&self, key: &'a str, report: &mut Report) -> Option<bool> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Boolean(yes) => Some(*yes),
            _ => value.wrong("true or false", report),
        }
    }

    /// An array of texts.
    pub(super) fn strings(
        &self,
        key: &'a str,
        report: &mut Report,
    ) -> Option<Vec<Located<String>>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.value else {
            return value.wrong("a list of texts: [\"…\", \"…\"]", report);
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            let at = at_of(self.file, item);
            match item.get_ref() {
                DeValue::String(text) if !text.contains('\0') => {
                    texts.push(Located::new(text.to_string(), at));
                }
                other => {
                    Value { value: other, at, key }.wrong::<()>("a list of texts", report);
                }
            }
        }
        Some(texts)
    }

    /// An array of texts and of arrays of texts: `["a", ["b", "c"]]`; a text is a list of one.
    pub(super) fn lists(
        &self,
        key: &'a str,
        report: &mut Report,
    ) -> Option<Vec<Vec<Located<String>>>> {
        const WANTED: &str = "a list of texts and lists: [\"…\", [\"…\", \"…\"]]";
        let value = self.value(key)?;
        let DeValue::Array(items) = value.value else { return value.wrong(WANTED, report) };
        let mut lists = Vec::new();
        for item in items.iter() {
            let at = at_of(self.file, item);
            match item.get_ref() {
                DeValue::Array(inner) if !inner.is_empty() => {
                    let texts = inner.iter().filter_map(|item| self.text(key, item, report));
                    lists.push(texts.collect());
                }
                DeValue::Array(_) => report.error(at, "an empty list", "remove it"),
                DeValue::String(_) => {
                    lists.extend(self.text(key, item, report).map(|text| vec![text]));
                }
                other => {
                    Value { value: other, at, key }.wrong::<()>(WANTED, report);
                }
            }
        }
        Some(lists)
    }

    fn text(
        &self,
        key: &'a str,
        item: &'a Spanned<DeValue<'a>>,
        report: &mut Report,
    ) -> Option<Located<String>> {
        let at = at_of(self.file, item);
        match item.get_ref() {
            DeValue::String(text) if !text.contains('\0') => {
                Some(Located::new(text.to_string(), at))
            }
            other => Value { value: other, at, key }.wrong("a text", report),
        }
    }

    /// The table `[key]`.
    pub(super) fn table(
        &self,
        key: &'a str,
        name: &'static str,
        report: &mut Report,
    ) -> Option<Table<'a>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Table(table) => Some(Table { table, name, at: value.at, file: self.file }),
            _ => value.wrong(&format!("a table: {name}"), report),
        }
    }

    /// The tables `[[key]]`, or the inline tables of a list.
    pub(super) fn tables(
        &self,
        key: &'a str,
        name: &'static str,
        report: &mut Report,
    ) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let wanted = if name.starts_with('[') {
            format!("a list of tables: write {name} with two brackets on each side")
        } else {
            "a list of tables: [{ address = \"…\" }, { service = \"…\" }]".to_string()
        };
        let DeValue::Array(items) = value.value else {
            value.wrong::<()>(&wanted, report);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let at = at_of(self.file, item);
            match item.get_ref() {
                DeValue::Table(table) => tables.push(Table { table, name, at, file: self.file }),
                other => {
                    Value { value: other, at, key }.wrong::<()>(&wanted, report);
                }
            }
        }
        tables
    }
}

impl Value<'_> {
    /// Reports a value of the wrong type.
    pub(super) fn wrong<T>(&self, wanted: &str, report: &mut Report) -> Option<T> {
        let message = format!("`{}` is {}", self.key, type_name(self.value));
        report.error(self.at, message, format!("it has to be {wanted}"));
        None
    }
}

fn type_name(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
