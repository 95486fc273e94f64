//! `ha.cf`: lines, words, and the directives that mean something here.
use super::super::diagnostic::{At, Located, Report};
use super::super::suggest::did_you_mean;
use super::super::values;
use super::super::{Failback, Log, Medium};
use super::references::References;
use super::{Word, directives, media, stonith};
use std::path::PathBuf;
use std::time::Duration;

/// What `ha.cf` says.
pub(in super::super) struct HaCf {
    /// Lower-case, in the order of the file, without repetitions.
    pub(super) nodes: Vec<Located<String>>,
    pub(super) keepalive: Option<Located<Duration>>,
    pub(super) deadtime: Option<Located<Duration>>,
    pub(super) warntime: Option<Located<Duration>>,
    pub(super) initdead: Option<Located<Duration>>,
    /// Each of these that is there could be read.
    pub(super) times_readable: bool,
    /// In force for the media lines that follow.
    pub(super) port: u16,
    /// In force for the serial lines that follow.
    pub(super) baud: u32,
    pub(super) media: Vec<Located<Medium>>,
    /// There are media that could not be read, which has been reported.
    pub(super) media_unread: bool,
    pub(super) references: References,
    pub(super) failback: Option<Failback>,
    pub(super) stonith: Vec<stonith::Line>,
    pub(super) watchdog: Option<Located<PathBuf>>,
    pub(super) log: Log,
    pub(super) realtime: bool,
    pub(super) priority: u8,
}

impl Default for HaCf {
    fn default() -> Self {
        HaCf {
            nodes: Vec::new(),
            keepalive: None,
            deadtime: None,
            warntime: None,
            initdead: None,
            times_readable: true,
            port: 694,
            baud: 19_200,
            media: Vec::new(),
            media_unread: false,
            references: References::default(),
            failback: None,
            stonith: Vec::new(),
            watchdog: None,
            log: Log::default(),
            realtime: true,
            priority: 1,
        }
    }
}

/// Parses the text of an `ha.cf` that is registered as `file`.
pub(super) fn parse(text: &str, file: usize, report: &mut Report) -> HaCf {
    let mut hacf = HaCf::default();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        // A `#` anywhere starts a comment: there is no quoting.
        let content = &line[..line.find('#').unwrap_or(line.len())];
        let mut words = split(content, At::span(file, start, start + line.len()), false);
        if words.is_empty() {
            continue;
        }
        let name = words.remove(0);
        if let Some(odd) = words.iter().find(|word| word.text.contains(char::is_control)) {
            report.error(odd.at, "a control character", "remove it");
            continue;
        }
        if !directives::WHOLE_LINE.contains(&name.text) {
            words = words.iter().flat_map(|word| split(word.text, word.at, true)).collect();
        }
        hacf.directive(name, &words, report);
    }
    if hacf.failback.is_none() {
        let message = "auto_failback is not set; Heartbeat then falls back to its `legacy` mode";
        report.warning(
            At::file(file),
            message,
            "it works like `auto_failback on` here: write it so",
        );
    }
    hacf
}

/// Words between blanks, and between commas if `commas`.
fn split(text: &str, at: At, commas: bool) -> Vec<Word<'_>> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c') || (commas && c == ',');
    let mut words = Vec::new();
    let mut start = None;
    for (index, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (blank(c), start) {
            (true, Some(from)) => {
                words.push(Word { text: &text[from..index], at: at.part(from, index - from) });
                start = None;
            }
            (false, None) => start = Some(index),
            _ => {}
        }
    }
    words
}

/// The value that counts; Heartbeat took the last of several.
pub(super) fn last<'a>(name: Word, values: &[Word<'a>], report: &mut Report) -> Option<Word<'a>> {
    let last = values.last()?;
    if values.len() > 1 {
        let message = format!("{} has one value; the last one counts, `{}`", name.text, last.text);
        report.warning(last.at, message, "remove the others");
    }
    Some(*last)
}

impl HaCf {
    fn directive(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let known = directives::HONOURED.contains(&name.text);
        if known && words.is_empty() {
            let message = format!("{} has no value and no effect", name.text);
            report.warning(name.at, message, "give it a value, or remove the line");
            return;
        }
        match name.text {
            "node" => self.nodes(words, report),
            "keepalive" | "deadtime" | "warntime" | "initdead" => self.time(name, words, report),
            "udpport" => self.udpport(name, words, report),
            "baud" => self.baud(name, words, report),
            "bcast" | "udp" | "ucast" | "ucast6" | "mcast" | "mcast6" | "serial" => {
                let errors = report.errors();
                media::read(self, name, words, report);
                self.media_unread |= report.errors() > errors;
            }
            "auto_failback" => self.auto_failback(name, words, report),
            "nice_failback" => self.nice_failback(name, report),
            "logfile" | "debugfile" | "logfacility" | "debug" => {
                self.logging(name, words, report);
            }
            "realtime" => {
                let value = last(name, words, report);
                if let Some(on) = value.and_then(|word| boolean(name, word, report)) {
                    self.realtime = on;
                }
            }
            "rtprio" => match last(name, words, report).map(|word| (word, word.text.parse())) {
                Some((_, Ok(priority @ 1..=99))) => self.priority = priority,
                Some((word, _)) => {
                    let message = format!("`{}` is no real-time priority", word.text);
                    report.error(word.at, message, "from 1 to 99; 1 suffices");
                }
                None => {}
            },
            "ping" | "ping6" | "ping_group" => self.references.read(name, words, report),
            "deadping" => self.references.read_dead(name, words, report),
            "respawn" if self.references.read_ipfail(words) => {}
            "watchdog" => match last(name, words, report) {
                Some(word) if word.text.starts_with('/') => {
                    self.watchdog = Some(Located::new(word.text.into(), word.at));
                }
                Some(word) => {
                    let message = format!("`{}` is not a full path", word.text);
                    report.error(word.at, message, "such as /dev/watchdog");
                }
                None => {}
            },
            "stonith" | "stonith_host" => stonith::read(self, name, words, report),
            _ => directives::other(name, words, report),
        }
    }

    fn time(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let value = time(name, words, report);
        self.times_readable &= value.is_some();
        match name.text {
            "keepalive" => set(&mut self.keepalive, value),
            "deadtime" => set(&mut self.deadtime, value),
            "warntime" => set(&mut self.warntime, value),
            _ => set(&mut self.initdead, value),
        }
    }

    fn nodes(&mut self, words: &[Word], report: &mut Report) {
        for word in words {
            let name = word.text.to_ascii_lowercase();
            if let Err(cure) = values::node_name(&name) {
                report.error(word.at, format!("`{}` is no node name", word.text), cure);
            } else if self.nodes.iter().any(|node| node.value == name) {
                report.warning(word.at, format!("node {name} is there twice"), "name it once");
            } else {
                self.nodes.push(Located::new(name, word.at));
            }
        }
    }

    fn udpport(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let Some(word) = last(name, words, report) else { return };
        match word.text.parse::<u16>() {
            Ok(port) if port > 0 => self.port = port,
            _ => {
                let message = format!("`{}` is no UDP port", word.text);
                report.error(word.at, message, "from 1 to 65535; Heartbeat's own is 694");
            }
        }
        let udp =
            |medium: &Medium| matches!(medium, Medium::Broadcast { .. } | Medium::Unicast { .. });
        if self.media.iter().any(|link| udp(&link.value)) {
            let message = "udpport counts for the bcast and ucast lines below it only";
            report.warning(word.at, message, "move it above them");
        }
    }

    fn baud(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let Some(word) = last(name, words, report) else { return };
        match word.text.parse::<u32>() {
            Ok(baud) if (50..=4_000_000).contains(&baud) => self.baud = baud,
            _ => {
                let message = format!("`{}` is no speed of a serial line", word.text);
                let cure = "from 50 to 4000000, such as 9600, 19200, 38400, 57600 or 115200";
                report.error(word.at, message, cure);
            }
        }
        if self.media.iter().any(|link| matches!(link.value, Medium::Serial { .. })) {
            let message = "baud counts for the serial lines below it only";
            report.warning(word.at, message, "move it above them");
        }
    }

    fn auto_failback(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let Some(word) = last(name, words, report) else { return };
        if word.text.eq_ignore_ascii_case("legacy") {
            let message = "auto_failback legacy is a protocol of old";
            report.warning(word.at, message, "it works like `auto_failback on` here: write it so");
            self.failback = Some(Failback::Auto);
        } else if let Some(on) = boolean(name, word, report) {
            self.failback = Some(if on { Failback::Auto } else { Failback::Manual });
        }
    }

    /// Obsolete: Heartbeat ignores its value; it means `off` after an auto_failback line.
    fn nice_failback(&mut self, name: Word, report: &mut Report) {
        let (failback, word) = match self.failback {
            Some(_) => (Failback::Manual, "off"),
            None => (Failback::Auto, "legacy"),
        };
        self.failback = Some(failback);
        let message =
            format!("nice_failback is obsolete; Heartbeat takes it for `auto_failback {word}`");
        report.warning(name.at, message, "write `auto_failback on` or `auto_failback off` instead");
    }

    fn logging(&mut self, name: Word, words: &[Word], report: &mut Report) {
        let Some(word) = last(name, words, report) else { return };
        match name.text {
            "logfacility" => self.log.syslog = facility(word, report),
            "debug" => match word.text.parse() {
                Ok(level) => self.log.debug = level,
                Err(_) => {
                    let message = format!("`{}` is no debug level", word.text);
                    report.error(word.at, message, "from 0 to 255; 0 is normal");
                }
            },
            _ if !word.text.starts_with('/') => {
                let message =
                    format!("`{}` is not a full path: nothing is written to it", word.text);
                report.warning(word.at, message, "start it with `/`");
            }
            _ => {
                values::directory_of_log(word.text, word.at, report);
                let path = Some(PathBuf::from(word.text));
                if name.text == "logfile" {
                    self.log.file = path;
                } else {
                    self.log.debug_file = path;
                }
            }
        }
    }
}

/// Heartbeat does not start with an unknown facility, but other tools that read the same file did
/// not mind: the cluster matters more than a log, so that it is a warning.
fn facility(word: Word, report: &mut Report) -> Option<String> {
    let name = word.text.to_ascii_lowercase();
    if name == "none" {
        return None;
    }
    // An old name of auth, syslog(3).
    let name = if name == "security" { "auth".to_string() } else { name };
    if values::FACILITIES.contains(&name.as_str()) {
        return Some(name);
    }
    let others = format!("one of {} or none", values::FACILITIES.join(", "));
    let cure = did_you_mean(&name, &values::FACILITIES, &others);
    let message = format!("there is no syslog facility `{}`: nothing is sent to syslog", word.text);
    report.warning(word.at, message, cure);
    None
}

/// The last line counts; one that is wrong has been reported.
fn set<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

pub(super) fn time(name: Word, words: &[Word], report: &mut Report) -> Option<Located<Duration>> {
    let word = last(name, words, report)?;
    match values::duration(word.text, true) {
        Ok(span) if span.is_zero() => {
            report.error(word.at, format!("{} cannot be 0", name.text), "seconds, or `500ms`");
            None
        }
        Ok(span) => Some(Located::new(span, word.at)),
        Err(cure) => {
            report.error(word.at, format!("`{} {}` is not a time", name.text, word.text), cure);
            None
        }
    }
}

pub(super) fn boolean(name: Word, word: Word, report: &mut Report) -> Option<bool> {
    match word.text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => {
            let message = format!("{} cannot be `{}`", name.text, word.text);
            report.error(word.at, message, "`on` or `off`");
            None
        }
    }
}
