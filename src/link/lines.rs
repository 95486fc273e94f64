//! Watches a serial port's modem lines in a thread of its own: asking a USB adapter may block.
//!
//! A line counts only once it was seen up: one that is not wired never was, and its silence says
//! nothing. It has changed when several looks in a row agree, and one that keeps on dropping is
//! no longer believed until the port is opened again.
use crate::platform::modem::{Lines, ModemLines};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);
/// So many looks in a row must agree: contacts bounce, and long wires catch noise.
const STEADY: u8 = 3;
/// A line that drops more often than this within [`WINDOW`] tells nothing.
const DROPS_MAX: u8 = 5;
/// In looks: a minute.
const WINDOW: u32 = 6000;
/// Reading needs little.
const STACK: usize = 64 * 1024;
const ALL: [Lines; 3] = [Lines::DSR, Lines::DCD, Lines::CTS];

/// What is known of a port's modem lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinesSeen {
    /// Those that were up at some time since the port was opened: they are wired.
    pub wired: Lines,
    /// Of these, those that are up.
    pub up: Lines,
    /// Of these, those that drop so often that nobody believes them.
    pub ignored: Lines,
}

impl LinesSeen {
    /// Lines that have dropped.
    pub fn dropped(&self) -> Lines {
        self.wired.without(self.up).without(self.ignored)
    }

    fn pack(self) -> u32 {
        u32::from_le_bytes([self.wired.bits(), self.up.bits(), self.ignored.bits(), 0])
    }

    fn unpack(bits: u32) -> LinesSeen {
        let [wired, up, ignored, _] = bits.to_le_bytes().map(Lines::from_bits);
        LinesSeen { wired, up, ignored }
    }
}

/// Decides by look after look.
#[derive(Debug, Default)]
struct Watched {
    seen: LinesSeen,
    /// For each line, how many looks in a row it was otherwise.
    otherwise: [u8; 3],
    drops: [u8; 3],
    looks: u32,
}

impl Watched {
    fn look(&mut self, raw: Lines) -> LinesSeen {
        self.looks += 1;
        if self.looks >= WINDOW {
            self.looks = 0;
            self.drops = [0; 3];
        }
        let seen = &mut self.seen;
        for ((line, otherwise), drops) in
            ALL.into_iter().zip(&mut self.otherwise).zip(&mut self.drops)
        {
            let is_in = |lines: Lines| lines.without(line) != lines;
            let (was, is) = (is_in(seen.up), is_in(raw));
            *otherwise = if was == is { 0 } else { otherwise.saturating_add(1) };
            if *otherwise < STEADY {
                continue;
            }
            *otherwise = 0;
            if is {
                seen.up = seen.up.with(line);
                seen.wired = seen.wired.with(line);
                continue;
            }
            seen.up = seen.up.without(line);
            *drops = drops.saturating_add(1);
            if *drops > DROPS_MAX {
                seen.ignored = seen.ignored.with(line);
            }
        }
        *seen
    }
}

/// The watch over one port. Its thread ends soon after this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    /// Whether all lines were up when that was last told.
    told: bool,
}

#[derive(Debug)]
struct Shared {
    bell: OwnedFd,
    seen: AtomicU32,
}

impl Watch {
    /// Begins to watch. `read` gives `None` when its port is closed.
    pub(super) fn start(
        read: impl FnMut() -> Option<io::Result<Lines>> + Send + 'static,
    ) -> io::Result<Watch> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { bell, seen: AtomicU32::new(0) });
        let weak = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("modem-lines".into())
            .stack_size(STACK)
            .spawn(move || watch(read, &weak))?;
        Ok(Watch { shared, told: true })
    }

    /// Becomes readable when [`Watch::news`] has something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }

    pub(super) fn seen(&self) -> LinesSeen {
        LinesSeen::unpack(self.shared.seen.load(Ordering::Acquire))
    }

    /// Whether the lines are all up again, or not all any more, if that has changed.
    pub(super) fn news(&mut self) -> Option<bool> {
        let _ = rustix::io::read(&self.shared.bell, &mut [0u8; 8]);
        let up = self.seen().dropped().is_empty();
        (std::mem::replace(&mut self.told, up) != up).then_some(up)
    }
}

/// Looks until the port is closed, or has no lines.
fn watch(mut read: impl FnMut() -> Option<io::Result<Lines>>, shared: &Weak<Shared>) {
    let mut watched = Watched::default();
    let mut before = LinesSeen::default();
    while let Some(Ok(raw)) = read() {
        let Some(shared) = shared.upgrade() else { return };
        let seen = watched.look(raw);
        if seen != before {
            before = seen;
            shared.seen.store(seen.pack(), Ordering::Release);
            // Full: it was rung long ago.
            let _ = rustix::io::write(&shared.bell, &1u64.to_ne_bytes());
        }
        drop(shared);
        std::thread::sleep(EVERY);
    }
}

/// Lines that need no open port: a file's, in tests.
pub(super) fn reader(
    mut lines: impl ModemLines + 'static,
) -> impl FnMut() -> Option<io::Result<Lines>> + Send + 'static {
    move || Some(lines.read())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(watched: &mut Watched, raw: Lines, count: usize) -> LinesSeen {
        (0..count).map(|_| watched.look(raw)).last().expect("at least one")
    }

    #[test]
    fn a_line_that_was_never_up_has_not_dropped() {
        let mut watched = Watched::default();
        let three_wires = looks(&mut watched, Lines::NONE, 100);
        assert_eq!(three_wires, LinesSeen::default());
        let seen = looks(&mut watched, Lines::DSR, 3);
        assert_eq!((seen.wired, seen.dropped()), (Lines::DSR, Lines::NONE));
        let seen = looks(&mut watched, Lines::NONE, 3);
        assert_eq!(seen.dropped(), Lines::DSR);
        assert_eq!(looks(&mut watched, Lines::DSR, 3).dropped(), Lines::NONE);
    }

    #[test]
    fn bounces_and_crackles_are_no_change() {
        let mut watched = Watched::default();
        looks(&mut watched, Lines::CTS, 3);
        for _ in 0..1000 {
            assert!(looks(&mut watched, Lines::NONE, 2).dropped().is_empty());
            looks(&mut watched, Lines::CTS, 1);
        }
        assert!(looks(&mut watched, Lines::DCD, 2).wired == Lines::CTS);
    }

    #[test]
    fn a_line_that_keeps_dropping_is_not_believed_the_others_are() {
        let both = Lines::DSR.with(Lines::CTS);
        let mut watched = Watched::default();
        looks(&mut watched, both, 3);
        for drop in 1..=DROPS_MAX {
            assert_eq!(looks(&mut watched, Lines::DSR, 3).dropped(), Lines::CTS, "{drop}");
            looks(&mut watched, both, 3);
        }
        let seen = looks(&mut watched, Lines::DSR, 3);
        assert_eq!((seen.ignored, seen.dropped()), (Lines::CTS, Lines::NONE));
        assert_eq!(looks(&mut watched, Lines::NONE, 3).dropped(), Lines::DSR);
    }

    #[test]
    fn an_hour_brings_more_drops_than_a_minute() {
        let mut watched = Watched::default();
        for _ in 0..60 {
            looks(&mut watched, Lines::DSR, 3000);
            assert_eq!(looks(&mut watched, Lines::NONE, 3000).dropped(), Lines::DSR);
        }
    }
}
