//! `latido run`: a small parent that only waits.
//!
//! It starts the engine as a process of its own, passes signals on, and starts it again within
//! milliseconds when it dies: the new engine adopts what runs, so that a crash is no failover.
//! When the engine cannot be started again the supervisor removes the groups' addresses. It reads
//! no configuration and never waits for the engine to do anything.
//!
//! Killed alone it leaves the engine running; the engine notices ([`guardian`]) and says so.
mod release;

pub use release::{Release, addresses, release_addresses, release_noted};

use crate::platform::signal::{self, Signals};
use crate::tell::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Exit code of an engine whose configuration is not valid (`EX_CONFIG` of sysexits.h), or that was
/// refused what it needs before it ever ran: starting it again would not help.
pub const EXIT_CONFIG: u8 = 78;
/// Exit code of an engine that has not got its runtime directory (`EX_TEMPFAIL`): another engine
/// holds it, or it cannot be written. What runs may be the other one's: nothing is removed.
pub const EXIT_BUSY: u8 = 75;
/// Exit code of an engine that wants to be started again at once: its configuration has changed, or
/// its incarnation is used up. That is no failure.
pub const EXIT_AGAIN: u8 = 76;

/// An engine that wants to be started again sooner than this is going round in circles.
const AGAIN_APART: Duration = Duration::from_secs(1);

/// The engine finds its supervisor's process number in this environment variable.
const ENV: &str = "LATIDO_SUPERVISOR";
/// Set for every engine but the first.
const AGAIN: &str = "LATIDO_AGAIN";
/// Signals that a new engine must not miss.
static FORWARDED: [i32; 3] = [signal::TERMINATE, signal::INTERRUPT, signal::HANGUP];

/// How the engine is started, and how patiently.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Start it with the signals held back that are passed on to it; it lets them through with
    /// [`Signals::install`], so that none is lost while it starts.
    pub hold_back: bool,
    /// When it is started again.
    pub patience: Patience,
}

/// When an engine that has died is started again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// An engine that lived shorter died quickly.
    pub quick: Duration,
    /// After so many quick deaths in a row it is still started again at once.
    pub free: u32,
    /// The first wait after that; it doubles each time.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Before a wait this long or longer the addresses are removed.
    pub release_from: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            quick: Duration::from_secs(10),
            free: 3,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
            release_from: Duration::from_secs(1),
        }
    }
}

/// What the supervisor does besides waiting.
pub trait Hands {
    /// Removes the groups' addresses; returns those removed, or what went wrong.
    fn release(&mut self) -> Result<Vec<String>, String>;
    /// Tells people. Must not block.
    fn say(&mut self, level: Level, text: &str);
}

/// For the engine: a descriptor that becomes readable when its supervisor has gone. `None`: there
/// is no supervisor (the engine was started by hand), or it has gone already.
pub fn guardian() -> Option<OwnedFd> {
    let told: u32 = std::env::var(ENV).ok()?.parse().ok()?;
    let parent = rustix::process::getppid()?;
    (parent.as_raw_nonzero().get() as u32 == told)
        .then(|| rustix::process::pidfd_open(parent, PidfdFlags::empty()).ok())
        .flatten()
}

/// For the engine: the supervisor's process number, if it was told one.
pub fn guardian_pid() -> Option<u32> {
    std::env::var(ENV).ok()?.parse().ok()
}

/// For the engine: whether one before it has run under the same supervisor.
pub fn is_started_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Waits until the engine has ended for good. Returns the exit code: that of an orderly engine
/// (0), else 1.
pub fn run(plan: &Plan, signals: &Signals, hands: &mut dyn Hands) -> u8 {
    let mut watch = Watch { plan, signals, hands, quick_deaths: 0, stopping: false, again: false };
    loop {
        let started = Instant::now();
        let (status, lived) = match watch.start() {
            Ok(child) => {
                watch.again = true;
                watch.announce(started);
                (watch.attend(child), started.elapsed())
            }
            Err(error) => match watch.cannot_start(&error) {
                Some(code) => return code,
                None => continue,
            },
        };
        if let Some(code) = watch.judge(status, lived) {
            return code;
        }
    }
}

struct Watch<'a> {
    plan: &'a Plan,
    signals: &'a Signals,
    hands: &'a mut dyn Hands,
    quick_deaths: u32,
    stopping: bool,
    again: bool,
}

impl Watch<'_> {
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.plan.program);
        command.arg0("latido").args(&self.plan.args);
        command.env(ENV, std::process::id().to_string());
        if self.again {
            command.env(AGAIN, "1");
        }
        if self.plan.hold_back {
            signal::hold_back_in(&mut command, &FORWARDED);
        }
        command.spawn()
    }

    fn announce(&mut self, started: Instant) {
        if self.quick_deaths > 0 {
            let took = started.elapsed().as_secs_f64() * 1e3;
            let text = format!("engine started again ({took:.1} ms); it adopts what runs");
            self.hands.say(Level::Notice, &text);
        }
    }

    /// Passes signals on until the engine has ended.
    fn attend(&mut self, mut child: Child) -> ExitStatus {
        let pid = Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
        loop {
            // First of all: it may have died before the descriptor was there.
            match child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) => {}
                // Reaped by somebody else; nothing is known but that it has gone.
                Err(_) => return ExitStatus::from_raw(libc::SIGKILL),
            }
            self.wait(pidfd.as_ref(), None);
            while let Some(number) = self.signals.take() {
                self.pass_on(number, pid);
            }
            reap_orphans(pid);
        }
    }

    fn pass_on(&mut self, number: i32, engine: Pid) {
        let signal = match number {
            signal::TERMINATE | signal::INTERRUPT => {
                self.stopping = true;
                Signal::TERM
            }
            signal::HANGUP => Signal::HUP,
            _ => return,
        };
        // The child is not reaped yet, so its number cannot be somebody else's.
        let _ = rustix::process::kill_process(engine, signal);
    }

    /// Sleeps until a signal comes, the engine ends, or the time is over.
    fn wait(&self, pidfd: Option<&OwnedFd>, at_most: Option<Duration>) {
        let limit = at_most.and_then(|time| Timespec::try_from(time).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        fds.extend(pidfd.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let _ = poll(&mut fds, limit.as_ref());
    }

    /// Decides what follows from an end; `Some`: the supervisor ends with this code.
    fn judge(&mut self, status: ExitStatus, lived: Duration) -> Option<u8> {
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => return Some(0),
            Some(EXIT_BUSY) => return Some(1),
            // 2: the command line is wrong.
            Some(EXIT_CONFIG | 2) => {
                self.release("the engine cannot start: see above");
                return Some(1);
            }
            Some(EXIT_AGAIN) if !self.stopping => {
                self.quick_deaths = if lived < AGAIN_APART { self.quick_deaths + 1 } else { 0 };
                return self.back_off();
            }
            Some(_) | None => {}
        }
        let death = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("the engine was killed by signal {signal}"),
            (None, code) => format!("the engine failed with code {}", code.unwrap_or(-1)),
        };
        if self.stopping {
            self.release(&format!("{death} while it was ending: services may still run here"));
            return Some(1);
        }
        self.hands.say(Level::Error, &death);
        self.quick_deaths =
            if lived < self.plan.patience.quick { self.quick_deaths + 1 } else { 1 };
        self.back_off()
    }

    fn cannot_start(&mut self, error: &io::Error) -> Option<u8> {
        let text = format!("cannot start {}: {error}", self.plan.program.display());
        match error.kind() {
            // No memory or no process to be had just now.
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => {
                self.hands.say(Level::Error, &text);
                self.quick_deaths += 1;
                self.back_off()
            }
            _ => {
                self.release(&text);
                Some(1)
            }
        }
    }

    /// Waits as long as so many quick deaths deserve.
    fn back_off(&mut self) -> Option<u8> {
        let patience = self.plan.patience;
        let excess = self.quick_deaths.checked_sub(patience.free + 1)?;
        let factor = 1u32 << excess.min(16);
        let wait = patience.first_wait.saturating_mul(factor).min(patience.longest_wait);
        if wait >= patience.release_from {
            let count = self.quick_deaths;
            self.release(&format!(
                "the engine died {count} times in a row; next try in {} s",
                wait.as_secs_f64()
            ));
        }
        let until = Instant::now() + wait;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.wait(None, Some(left));
            while let Some(number) = self.signals.take() {
                match number {
                    signal::TERMINATE | signal::INTERRUPT => {
                        self.release("asked to end while the engine was not running");
                        return Some(1);
                    }
                    // Somebody has mended the configuration and does not want to wait.
                    signal::HANGUP => return None,
                    _ => {}
                }
            }
        }
        None
    }

    fn release(&mut self, why: &str) {
        let done = match self.hands.release() {
            Ok(removed) if removed.is_empty() => "no address of a group was here".to_owned(),
            Ok(removed) => format!("addresses removed: {}", removed.join(", ")),
            Err(error) => format!("addresses could NOT be removed ({error}): do it by hand"),
        };
        self.hands.say(Level::Error, &format!("{why}; {done}"));
    }
}

/// Process 1 of a container inherits every orphan.
fn reap_orphans(engine: Pid) {
    if std::process::id() != 1 {
        return;
    }
    while let Some(ended) = signal::ended_child().and_then(Pid::from_raw) {
        if ended == engine {
            return;
        }
        let _ = rustix::process::waitpid(Some(ended), WaitOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests;
