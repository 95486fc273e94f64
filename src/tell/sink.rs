//! Where lines go: stderr, files, syslog.
use super::Level;
use crate::config::Log;
use crate::core::time::{Duration, Instant};
use crate::platform::calendar::Calendar;
use crate::platform::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Between two tries to open a log file.
const OPEN_APART: Duration = Duration::from_millis(60_000);

/// Where the log goes, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What the configuration says.
    pub log: Log,
    /// Whether stderr is the journal's (`JOURNAL_STREAM` is set): lines then carry `<N>`.
    pub journal: bool,
}

impl Settings {
    /// For this process: asks the environment whether stderr is the journal's.
    pub fn new(log: Log) -> Settings {
        Settings { log, journal: std::env::var_os("JOURNAL_STREAM").is_some() }
    }
}

/// The open sinks.
#[derive(Debug)]
pub(super) struct Sinks {
    settings: Settings,
    file: Journal,
    debug_file: Journal,
    syslog: Option<UnixDatagram>,
    facility: u8,
    dev_log: PathBuf,
}

/// A log file, open or not.
#[derive(Debug, Default)]
struct Journal {
    path: Option<PathBuf>,
    file: Option<File>,
    tried: Option<Instant>,
    /// Why the last line is not in it.
    trouble: Option<String>,
}

impl Journal {
    fn new(path: Option<PathBuf>) -> Journal {
        Journal { path, ..Journal::default() }
    }

    fn open(&mut self) {
        let Some(path) = &self.path else { return };
        self.tried = Some(clock::now());
        match append_to(path) {
            Ok(file) => (self.file, self.trouble) = (Some(file), None),
            Err(why) => (self.file, self.trouble) = (None, Some(why)),
        }
    }

    fn write(&mut self, text: &[u8]) {
        if self.file.is_none() && self.tried.is_some_and(|at| clock::now().since(at) > OPEN_APART) {
            self.open();
        }
        let (Some(file), Some(path)) = (&mut self.file, &self.path) else { return };
        self.trouble = file.write_all(text).err().map(|error| {
            format!(
                "log file {}: {error}; lines are missing there: make room (`df`) or mend its \
                 directory",
                path.display()
            )
        });
    }
}

/// One line, ready to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) wall: SystemTime,
    /// Since the machine's start; shown while the wall clock is not set.
    pub(super) uptime: Duration,
    pub(super) text: &'a str,
}

impl Sinks {
    /// Opens everything; the rest is used where a file cannot be opened ([`Sinks::trouble`]).
    pub(super) fn open(settings: Settings) -> (Sinks, Vec<String>) {
        let mut sinks = Sinks {
            facility: settings.log.syslog.as_deref().and_then(facility).unwrap_or(3),
            file: Journal::new(settings.log.file.clone()),
            debug_file: Journal::new(settings.log.debug_file.clone()),
            settings,
            syslog: None,
            dev_log: PathBuf::from("/dev/log"),
        };
        let complaints = sinks.reopen();
        (sinks, complaints)
    }

    /// Opens the files anew (after log rotation). Returns what else is wrong.
    pub(super) fn reopen(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for journal in [&mut self.file, &mut self.debug_file] {
            journal.open();
        }
        if let Some(name) = self.settings.log.syslog.as_deref() {
            if facility(name).is_none() {
                complaints.push(format!("syslog facility {name} is unknown: daemon is used"));
            }
            self.syslog = UnixDatagram::unbound().ok();
            if let Some(socket) = &self.syslog {
                let _ = socket.set_nonblocking(true);
            }
        }
        complaints
    }

    /// The most detailed level that any sink wants.
    pub(super) fn wanted(&self) -> Level {
        if self.settings.log.debug > 0 { Level::Debug } else { Level::Info }
    }

    /// Why a log file is not written, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.file.trouble.clone().or_else(|| self.debug_file.trouble.clone())
    }

    /// Writes a line everywhere it belongs. What a file does not take is not kept for later; see
    /// [`Sinks::trouble`].
    pub(super) fn write(&mut self, line: Line<'_>) {
        if self.settings.journal {
            let text = journal(line);
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
        let human = human(line);
        if !self.settings.journal {
            let _ = std::io::stderr().lock().write_all(human.as_bytes());
        }
        if line.level <= Level::Info {
            self.file.write(human.as_bytes());
        }
        self.debug_file.write(human.as_bytes());
        if let Some(socket) = &self.syslog {
            // Unconnected, so that a syslog daemon may be restarted.
            let _ = socket.send_to(syslog(line, self.facility).as_bytes(), &self.dev_log);
        }
    }
}

/// Writes one line to stderr at once, without the thread: for the supervisor, and before the
/// thread runs. When stderr is a pipe that nobody empties, the line is dropped.
pub fn stderr(level: Level, text: &str) {
    let error = std::io::stderr();
    let mut ready = [PollFd::new(&error, PollFlags::OUT)];
    if !matches!(poll(&mut ready, Some(&Timespec::default())), Ok(1..)) {
        return;
    }
    let uptime = crate::platform::clock::now().since(Instant::default());
    let line = Line { level, wall: SystemTime::now(), uptime, text };
    let text =
        if std::env::var_os("JOURNAL_STREAM").is_some() { journal(line) } else { human(line) };
    let _ = error.lock().write_all(text.as_bytes());
}

fn append_to(path: &Path) -> Result<File, String> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(|error| {
        format!(
            "log file {}: {error}; the log goes on without it: make its directory writable",
            path.display()
        )
    })
}

/// `2026-11-03 12:00:01.123 latido: warning: …`
fn human(line: Line<'_>) -> String {
    let level = match line.level {
        Level::Error => "error: ",
        Level::Warning => "warning: ",
        Level::Notice | Level::Info => "",
        Level::Debug => "debug: ",
    };
    format!("{} latido: {level}{}\n", stamp(line.wall, line.uptime), line.text)
}

/// The local time, or the uptime while nobody has set the clock.
pub(super) fn stamp(wall: SystemTime, uptime: Duration) -> String {
    match Calendar::local(wall) {
        Some(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
            at.year, at.month, at.day, at.hour, at.minute, at.second, at.millis
        ),
        None => format!("up {:.3} s", uptime.micros() as f64 / 1e6),
    }
}

/// What the text begins with where others put the time before it: they take it from the same clock.
fn unset(line: Line<'_>) -> String {
    match Calendar::local(line.wall) {
        Some(_) => String::new(),
        None => format!("{}: ", stamp(line.wall, line.uptime)),
    }
}

/// sd-daemon(3): the level in front, the journal adds the time.
fn journal(line: Line<'_>) -> String {
    format!("<{}>{}{}\n", line.level as u8, unset(line), line.text)
}

/// RFC 3164 as `/dev/log` takes it: no host name.
fn syslog(line: Line<'_>, facility: u8) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let priority = facility * 8 + line.level as u8;
    let pid = std::process::id();
    let stamp = Calendar::local(line.wall).map_or(String::new(), |at| {
        let month = MONTHS[(at.month - 1).clamp(0, 11) as usize];
        format!("{month} {:2} {:02}:{:02}:{:02} ", at.day, at.hour, at.minute, at.second)
    });
    format!("<{priority}>{stamp}latido[{pid}]: {}{}", unset(line), line.text)
}

/// A facility's number, by its name in syslog.conf(5).
fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp",
    ];
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("log_").unwrap_or(&name);
    if let Some(number) = name.strip_prefix("local") {
        return number.parse::<u8>().ok().filter(|number| *number < 8).map(|number| 16 + number);
    }
    NAMES.iter().position(|known| *known == name).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, text: &str) -> Line<'_> {
        let wall = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
        Line { level, wall, uptime: Duration::from_millis(5250), text }
    }

    #[test]
    fn an_unset_clock_shows_the_uptime() {
        assert_eq!(human(line(Level::Warning, "x")), "up 5.250 s latido: warning: x\n");
        assert_eq!(journal(line(Level::Warning, "x")), "<4>up 5.250 s: x\n");
    }

    #[test]
    fn a_set_clock_shows_the_date_and_leaves_it_to_the_journal() {
        let wall = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_793_000_000_250);
        let set = Line { wall, ..line(Level::Info, "x") };
        let text = human(set);
        assert!(text.starts_with("2026-10-") && text.ends_with(".250 latido: x\n"), "{text}");
        assert_eq!(journal(set), "<6>x\n");
    }

    #[test]
    fn files_get_their_levels_and_are_reopened_after_rotation() {
        let dir = std::env::temp_dir().join(format!("latido-sink-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("directory");
        let log = Log {
            file: Some(dir.join("log")),
            debug_file: Some(dir.join("debug")),
            syslog: Some("local0".into()),
            debug: 1,
        };
        let (mut sinks, complaints) = Sinks::open(Settings { log, journal: false });
        assert_eq!(complaints, [""; 0]);
        let socket = UnixDatagram::bind(dir.join("dev-log")).expect("bind");
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("timeout");
        sinks.dev_log = dir.join("dev-log");
        sinks.write(line(Level::Info, "first"));
        sinks.write(line(Level::Debug, "detail"));
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).expect("file");
        assert_eq!(read("log").lines().count(), 1);
        assert_eq!(read("debug").lines().count(), 2);
        std::fs::rename(dir.join("log"), dir.join("log.1")).expect("rotate");
        assert_eq!(sinks.reopen(), [""; 0]);
        sinks.write(line(Level::Error, "second"));
        assert!(read("log").ends_with("error: second\n") && !read("log").contains("first"));
        let mut buffer = [0u8; 200];
        let len = socket.recv(&mut buffer).expect("syslog");
        let text = std::str::from_utf8(&buffer[..len]).expect("utf-8");
        assert_eq!(text, format!("<134>latido[{}]: up 5.250 s: first", std::process::id()));
        std::fs::remove_dir_all(&dir).expect("remove");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_with_a_cure() {
        let log = Log { file: Some("/nonexistent/latido/log".into()), ..Log::default() };
        let (sinks, _) = Sinks::open(Settings { log, journal: true });
        let told = sinks.trouble().expect("told");
        assert!(told.contains("/nonexistent/latido/log"), "{told}");
        assert!(told.contains("writable"), "{told}");
    }

    #[test]
    fn a_file_that_takes_no_more_is_told_until_it_does() {
        // Every write to it says that no space is left.
        let log = Log { file: Some("/dev/full".into()), ..Log::default() };
        let (mut sinks, complaints) = Sinks::open(Settings { log, journal: false });
        assert!(complaints.is_empty() && sinks.trouble().is_none());
        sinks.write(line(Level::Info, "lost"));
        let trouble = sinks.trouble().expect("told");
        assert!(trouble.contains("/dev/full") && trouble.contains("make room"), "{trouble}");
        sinks.file.file = Some(File::options().write(true).open("/dev/null").expect("open"));
        sinks.write(line(Level::Info, "there"));
        assert_eq!(sinks.trouble(), None);
    }

    #[test]
    fn facilities_by_name() {
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("LOG_LOCAL7"), Some(23));
        assert_eq!(facility("local8"), None);
        assert_eq!(facility("none"), None);
    }
}
