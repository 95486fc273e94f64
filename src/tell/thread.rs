//! The thread that writes the log, and the two queues that lead to it.
use super::limit::{Limit, Verdict};
use super::sink::{Line, Settings, Sinks};
use super::text::{self, Names, Sentence};
use super::{Level, Notice};
use crate::core::time::{Duration, Instant};
use heapless::spsc::{Consumer, Producer, Queue};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Notices that may wait.
const NOTICES: usize = 256;
/// Log records that may wait.
const RECORDS: usize = 256;
/// Events kept for `latido status`.
const KEPT: usize = 64;
/// Between two complaints of a log file that cannot be written.
const TELL_APART: std::time::Duration = std::time::Duration::from_secs(3600);
/// Longest text of one record, in bytes: a script may print anything.
const TEXT_MAX: usize = 512;

/// An event of the past, or a resource's last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When, on the wall clock (not to be trusted, hence only shown).
    pub wall: SystemTime,
    /// When, since the machine's start.
    pub at: Instant,
    /// How much it matters.
    pub level: Level,
    /// What.
    pub text: String,
    /// Of the news why a node is silent: the cause in one word.
    pub cause: Option<&'static str>,
}

impl Past {
    /// The local time, or the uptime while nobody had set the clock.
    pub fn stamp(&self) -> String {
        super::sink::stamp(self.wall, self.at.since(Instant::default()))
    }
}

/// The last events, oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Past>>);

impl History {
    /// The last `count` of them, oldest first.
    pub fn last(&self, count: usize) -> Vec<Past> {
        let past = self.lock();
        past.iter().skip(past.len().saturating_sub(count)).cloned().collect()
    }

    fn push(&self, event: Past) {
        let mut past = self.lock();
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Past>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's end: hands notices over without waiting and without allocating.
pub struct Tongue {
    queue: Producer<'static, (Instant, Notice)>,
    shared: Arc<Shared>,
}

impl Tongue {
    /// Tells what happened at `now`. What does not fit is counted.
    pub fn tell(&mut self, now: Instant, notice: Notice) {
        if self.queue.enqueue((now, notice)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.ring();
    }
}

/// Everybody else's end: the settings, the end, and the [`log`] facade's receiver.
#[derive(Clone)]
pub struct Teller {
    records: SyncSender<Record>,
    shared: Arc<Shared>,
}

impl Teller {
    /// Writes a line. What does not fit is counted.
    pub fn say(&self, level: Level, text: impl Into<String>) {
        self.record(level, text.into(), false, None);
    }

    /// Writes a line and keeps it among the events, with its cause in one word.
    pub fn explain(&self, level: Level, text: impl Into<String>, cause: &'static str) {
        self.record(level, text.into(), true, Some(cause));
    }

    fn record(&self, level: Level, mut text: String, keep: bool, cause: Option<&'static str>) {
        let source = kin(&text);
        shorten(&mut text);
        self.send(Record { level, source, text, keep, cause });
    }

    /// Opens the log files anew, as after log rotation.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.shared.ring();
    }

    /// Other names from now on (after a reload).
    pub fn rename(&self, names: Names) {
        *self.shared.names.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }

    /// Why a log file is not written, if it is not.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events kept.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// Makes this the receiver of the [`log`] macros. Once for each process; later calls are void.
    pub fn receive_log(&self, debug: u8) {
        if log::set_boxed_logger(Box::new(self.clone())).is_ok() {
            log::set_max_level(match debug {
                0 => log::LevelFilter::Info,
                1 => log::LevelFilter::Debug,
                2.. => log::LevelFilter::Trace,
            });
        }
    }

    /// Writes what waits, and ends the thread; returns when that is done, or after a second.
    pub fn finish(&self) {
        self.shared.end.store(true, Ordering::Release);
        self.shared.ring();
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(1);
        while !self.shared.ended.load(Ordering::Acquire) && std::time::Instant::now() < patience {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn send(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.ring();
    }
}

impl log::Log for Teller {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warning,
            log::Level::Info => Level::Info,
            log::Level::Debug | log::Level::Trace => Level::Debug,
        };
        // Which resource failed, and its last words; and what its sender calls an event.
        let failed = record.target() == "resource" && level <= Level::Warning;
        let keep = failed || record.target() == "event";
        self.record(level, record.args().to_string(), keep, None);
    }

    fn flush(&self) {}
}

struct Record {
    level: Level,
    source: u64,
    text: String,
    /// Among the events, too.
    keep: bool,
    cause: Option<&'static str>,
}

struct Shared {
    bell: OwnedFd,
    lost: AtomicU32,
    reopen: AtomicBool,
    end: AtomicBool,
    ended: AtomicBool,
    names: Mutex<Arc<Names>>,
    history: History,
    /// Why a log file is not written, if it is not.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn ring(&self) {
        // Non-blocking: a full counter means that the thread has been rung long ago.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// The default of 2 MiB would be locked in memory with the rest.
const STACK: usize = 192 << 10;

/// Starts the thread.
///
/// # Errors
/// No thread or no eventfd is to be had.
pub fn start(settings: Settings, names: Names) -> std::io::Result<(Teller, Tongue)> {
    let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    // Leaked on purpose, once for each process: both ends live as long as it does.
    let queue: &'static mut Queue<(Instant, Notice), NOTICES> = Box::leak(Box::default());
    let (producer, notices) = queue.split();
    let (sender, records) = sync_channel(RECORDS);
    let shared = Arc::new(Shared {
        bell,
        lost: AtomicU32::new(0),
        reopen: AtomicBool::new(false),
        end: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        names: Mutex::new(Arc::new(names)),
        history: History::default(),
        trouble: Mutex::default(),
    });
    let factor = if settings.log.debug > 0 { 16.0 } else { 1.0 };
    let (sinks, complaints) = Sinks::open(settings);
    let limit = Limit::new(std::time::Instant::now(), factor);
    let scribe = Scribe { shared: shared.clone(), notices, records, sinks, limit, told: None };
    let builder = std::thread::Builder::new().name("tell".into()).stack_size(STACK);
    builder.spawn(move || scribe.run())?;
    let teller = Teller { records: sender, shared: shared.clone() };
    for complaint in complaints {
        teller.say(Level::Warning, complaint);
    }
    Ok((teller, Tongue { queue: producer, shared }))
}

struct Scribe {
    shared: Arc<Shared>,
    notices: Consumer<'static, (Instant, Notice)>,
    records: Receiver<Record>,
    sinks: Sinks,
    limit: Limit,
    /// When a log file was last complained of.
    told: Option<std::time::Instant>,
}

impl Scribe {
    fn run(mut self) {
        loop {
            let ending = self.shared.end.load(Ordering::Acquire);
            self.drain();
            if ending {
                self.shared.ended.store(true, Ordering::Release);
                return;
            }
            // Suppressed lines are confessed even if nothing else happens; else nobody wakes us.
            let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
            let mut fds = [PollFd::new(&self.shared.bell, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&patience));
            let _ = rustix::io::read(&self.shared.bell, &mut [0u8; 8]);
        }
    }

    fn drain(&mut self) {
        if self.shared.reopen.swap(false, Ordering::AcqRel) {
            for complaint in self.sinks.reopen() {
                self.put(Level::Warning, kin(&complaint), &complaint, uptime());
            }
        }
        while let Some((at, notice)) = self.notices.dequeue() {
            let names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Sentence { level, text } = text::notice(notice, &names);
            let past = Past { wall: SystemTime::now(), at, level, text, cause: None };
            self.put(level, text::source(notice), &past.text, at.since(Instant::default()));
            self.shared.history.push(past);
        }
        while let Ok(Record { level, source, text, keep, cause }) = self.records.try_recv() {
            let written = level <= self.sinks.wanted() && self.put(level, source, &text, uptime());
            // What was too much for the log would drive the events out of their places.
            if keep && written {
                self.keep(level, text, cause);
            }
        }
        self.look_at_files();
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} lines were lost: too many at once");
            self.put(Level::Warning, kin("lost"), &text, uptime());
        }
        let suppressed = self.limit.confess(std::time::Instant::now());
        if suppressed > 0 {
            self.confess(suppressed, uptime());
        }
    }

    fn keep(&mut self, level: Level, text: String, cause: Option<&'static str>) {
        let at = crate::platform::clock::now();
        self.shared.history.push(Past { wall: SystemTime::now(), at, level, text, cause });
    }

    /// A log file that cannot be written is told on the other ways, once an hour.
    fn look_at_files(&mut self) {
        let trouble = self.sinks.trouble();
        let mut shown = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != trouble {
            shown.clone_from(&trouble);
        }
        drop(shown);
        let Some(text) = trouble else { return };
        let now = std::time::Instant::now();
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_APART) {
            return;
        }
        self.told = Some(now);
        self.put(Level::Warning, kin(&text), &text, uptime());
        self.keep(Level::Warning, text, None);
    }

    /// Whether the line was written.
    fn put(&mut self, level: Level, source: u64, text: &str, uptime: Duration) -> bool {
        match self.limit.judge(std::time::Instant::now(), source, text.len() + 40) {
            Verdict::Suppress => false,
            Verdict::Write(before) => {
                if before > 0 {
                    self.confess(before, uptime);
                }
                self.sinks.write(Line { level, wall: SystemTime::now(), uptime, text });
                true
            }
        }
    }

    fn confess(&mut self, count: u32, uptime: Duration) {
        let text = format!("{count} repetitions were not written: the log is kept below 1 kB/s");
        let wall = SystemTime::now();
        self.sinks.write(Line { level: Level::Notice, wall, uptime, text: &text });
    }
}

/// Lines that begin alike are of one source: figures and what follows them do not count.
fn kin(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let head = text.chars().take(40).filter(|c| !c.is_ascii_digit());
    head.for_each(|c| c.hash(&mut hasher));
    // Apart from the keys of notices, which are small.
    hasher.finish() | 1 << 63
}

/// One line of bounded length, whatever a script has printed.
fn shorten(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    if text.contains(|c: char| c.is_control()) {
        *text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
}

fn uptime() -> Duration {
    crate::platform::clock::now().since(Instant::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Log;
    use crate::core::id::NodeId;
    use crate::core::io::Event;

    struct Scene {
        path: std::path::PathBuf,
        teller: Teller,
        tongue: Tongue,
    }

    fn scene(name: &str) -> Scene {
        let path = std::env::temp_dir().join(format!("latido-tell-{name}-{}", std::process::id()));
        let log = Log { file: Some(path.clone()), ..Log::default() };
        let names = Names { nodes: vec!["debian".into(), "pi".into()], ..Names::default() };
        let (teller, tongue) = start(Settings { log, journal: true }, names).expect("start");
        Scene { path, teller, tongue }
    }

    impl Scene {
        fn end(self) -> String {
            self.teller.finish();
            let text = std::fs::read_to_string(&self.path).expect("log");
            std::fs::remove_file(&self.path).expect("remove");
            text
        }
    }

    #[test]
    fn events_are_written_in_order_and_kept() {
        let mut scene = scene("order");
        for index in 0..2 {
            let node = NodeId::new(index).expect("in range");
            scene.tongue.tell(Instant::from_micros(7), Notice::Core(Event::NodeAlive(node)));
        }
        scene.teller.say(Level::Debug, "not wanted");
        let teller = scene.teller.clone();
        let text = scene.end();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.find("debian is alive") < text.find("pi is alive"), "{text}");
        let past: Vec<String> =
            teller.history().last(20).into_iter().map(|past| past.text).collect();
        assert_eq!(past, ["node debian is alive", "node pi is alive"]);
        assert_eq!(teller.history().last(1)[0].text, "node pi is alive");
    }

    #[test]
    fn a_flood_is_bounded_and_confessed_and_never_blocks() {
        let mut scene = scene("flood");
        let node = NodeId::default();
        let late = Event::NodeLate(node, Duration::from_millis(5));
        for index in 0..20_000u64 {
            scene.tongue.tell(Instant::from_micros(index), Notice::Core(late));
            scene.teller.say(Level::Warning, format!("frame {index} of a stranger"));
        }
        let teller = scene.teller.clone();
        let text = scene.end();
        assert!(text.len() < 8_000, "{} bytes", text.len());
        assert!(text.contains("were lost") || text.contains("not written"), "{text}");
        assert!(teller.history().last(1000).len() <= KEPT);
    }

    #[test]
    fn what_a_script_prints_becomes_one_bounded_line() {
        let mut text = format!("a\nb\x1b[31m{}", "ü".repeat(600));
        shorten(&mut text);
        assert!(text.len() <= TEXT_MAX + 4 && !text.contains(['\n', '\x1b']), "{text}");
    }

    #[test]
    fn the_last_words_of_a_resource_are_kept_and_no_other_record() {
        use log::Log as _;
        let scene = scene("words");
        let log = |target: &str, level, text: &str| {
            let args = format_args!("{text}");
            scene
                .teller
                .log(&log::Record::builder().target(target).level(level).args(args).build());
        };
        log::set_max_level(log::LevelFilter::Info);
        log("resource", log::Level::Error, "web/httpd: start failed: ended with 1: no such port");
        log("resource", log::Level::Info, "web/httpd: started");
        log("engine", log::Level::Error, "something else");
        let teller = scene.teller.clone();
        scene.end();
        let past: Vec<String> =
            teller.history().last(9).into_iter().map(|past| past.text).collect();
        assert_eq!(past, ["web/httpd: start failed: ended with 1: no such port"]);
        assert_eq!(teller.trouble(), None);
    }
}
