//! A null-modem cable: two pseudo-terminals and a thread that carries bytes between them.
use super::error::{Doing, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes on their way in one direction; a sender that is faster than the line has to wait then.
const BUFFER_MAX: usize = 4096;
/// A UART's FIFO: bytes are delivered in pieces of about this size.
const FIFO: usize = 16;
/// Between two looks at an end that no process has open.
const CLOSED_PAUSE: Duration = Duration::from_millis(5);

/// One of a cable's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the node named first.
    First,
    /// At the node named second.
    Second,
}

impl End {
    fn index(self) -> usize {
        match self {
            End::First => 0,
            End::Second => 1,
        }
    }
}

/// A serial cable that can be cut, unplugged, and disturbed.
#[derive(Debug)]
pub struct NullModem {
    state: Arc<Mutex<State>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// Bytes per second; `None`: as fast as they come.
    speed: Option<f64>,
    /// Where the nodes find their devices: links to the pseudo-terminals.
    paths: [PathBuf; 2],
    masters: [Option<Arc<OwnedFd>>; 2],
    /// By sender: what leaves this end is lost.
    lost: [bool; 2],
    /// By sender.
    ways: [Way; 2],
    stopped: bool,
}

/// One direction.
#[derive(Debug)]
struct Way {
    queue: VecDeque<u8>,
    /// Until when the line is busy with what was delivered.
    busy_until: Instant,
    carried: u64,
}

impl Default for Way {
    fn default() -> Way {
        Way { queue: VecDeque::new(), busy_until: Instant::now(), carried: 0 }
    }
}

impl NullModem {
    /// Joins two devices that will be found at `paths`. `baud` limits the speed as a real line
    /// does, at ten bits per byte; `None` does not.
    pub fn new(paths: [PathBuf; 2], baud: Option<u32>) -> Result<NullModem> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .doing("creating a cable")?;
        let masters = [Some(pseudo_terminal(&paths[0])?), Some(pseudo_terminal(&paths[1])?)];
        let state = Arc::new(Mutex::new(State {
            speed: baud.map(|baud| f64::from(baud) / 10.0),
            paths,
            masters,
            lost: [false; 2],
            ways: Default::default(),
            stopped: false,
        }));
        let wake = Arc::new(wake);
        let shared = (Arc::clone(&state), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("null-modem".into())
            .spawn(move || pump(&shared.0, &shared.1))
            .doing("starting the cable's thread")?;
        Ok(NullModem { state, wake, thread: Some(thread) })
    }

    /// The device at an end.
    pub fn path(&self, end: End) -> PathBuf {
        self.lock().paths[end.index()].clone()
    }

    /// Whether what an end sends arrives. `set(First, false)` and `set(Second, false)` together
    /// are a cut cable, one alone is a broken wire.
    pub fn set(&self, sender: End, arrives: bool) {
        let mut state = self.lock();
        state.lost[sender.index()] = !arrives;
        if !arrives {
            state.ways[sender.index()].queue.clear();
        }
        drop(state);
        self.wake();
    }

    /// Pulls a USB adapter out: the device vanishes under whoever has it open.
    pub fn unplug(&self, end: End) {
        let mut state = self.lock();
        let _ = fs::remove_file(&state.paths[end.index()]);
        state.masters[end.index()] = None;
        state.ways.iter_mut().for_each(|way| way.queue.clear());
        drop(state);
        self.wake();
    }

    /// Plugs it in again, as a new device under the same name.
    pub fn plug(&self, end: End) -> Result<()> {
        self.unplug(end);
        let mut state = self.lock();
        let master = pseudo_terminal(&state.paths[end.index()])?;
        state.masters[end.index()] = Some(master);
        drop(state);
        self.wake();
        Ok(())
    }

    /// Lets bytes arrive at an end that nobody has sent: noise, or what a test makes up. More than
    /// the line can hold is lost.
    pub fn inject(&self, receiver: End, bytes: &[u8]) {
        let mut state = self.lock();
        let queue = &mut state.ways[1 - receiver.index()].queue;
        let room = BUFFER_MAX.saturating_sub(queue.len());
        queue.extend(bytes.iter().take(room));
        drop(state);
        self.wake();
    }

    /// Bytes that an end has sent and that arrived.
    pub fn carried(&self, sender: End) -> u64 {
        self.lock().ways[sender.index()].carried
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for NullModem {
    fn drop(&mut self) {
        self.lock().stopped = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for path in &self.lock().paths {
            let _ = fs::remove_file(path);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new pseudo-terminal, raw from the start, linked to from `path`.
fn pseudo_terminal(path: &Path) -> Result<Arc<OwnedFd>> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let make = || {
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&master)?;
        let nonblocking = rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, nonblocking)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let name = PathBuf::from(name.to_string_lossy().into_owned());
        // Until a process has set it up a terminal echoes; an idle UART does not.
        let slave = fs::File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
            .open(&name)?;
        let mut settings = rustix::termios::tcgetattr(&slave)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &settings)?;
        symlink(name, path)?;
        Ok::<_, std::io::Error>(Arc::new(master))
    };
    make().doing(format!("making the serial device {}", path.display()))
}

/// Carries bytes until told to stop.
fn pump(state: &Mutex<State>, wake: &OwnedFd) {
    super::machine_of_its_own();
    loop {
        let (masters, room, pause) = {
            let mut state = lock(state);
            if state.stopped {
                return;
            }
            let pause = state.carry(Instant::now());
            let room = [0, 1].map(|end| state.ways[end].queue.len() < BUFFER_MAX);
            (state.masters.clone(), room, pause)
        };
        let mut fds = vec![PollFd::new(wake, PollFlags::IN)];
        let mut closed = false;
        for (master, room) in masters.iter().zip(room) {
            let Some(master) = master.as_deref() else { continue };
            // An end that nobody has open reports "hung up" without end: look now and then.
            let mut look = [PollFd::new(master, PollFlags::empty())];
            let _ = rustix::event::poll(&mut look, Some(&Timespec::default()));
            if look[0].revents().contains(PollFlags::HUP) {
                closed = true;
            } else if room {
                fds.push(PollFd::new(master, PollFlags::IN));
            }
        }
        let pause =
            if closed { Some(pause.map_or(CLOSED_PAUSE, |p| p.min(CLOSED_PAUSE))) } else { pause };
        let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
        if !matches!(
            rustix::event::poll(&mut fds, timeout.as_ref()),
            Ok(_) | Err(rustix::io::Errno::INTR)
        ) {
            return;
        }
        let _ = rustix::io::read(wake, &mut [0; 8]);
    }
}

impl State {
    /// Moves what can be moved now. Returns after how long there is more to do by itself.
    fn carry(&mut self, now: Instant) -> Option<Duration> {
        let mut pause: Option<Duration> = None;
        for sender in 0..2 {
            self.fetch(sender);
            if let Some(wait) = self.deliver(sender, now) {
                pause = Some(pause.map_or(wait, |pause| pause.min(wait)));
            }
        }
        pause
    }

    fn fetch(&mut self, sender: usize) {
        let Some(master) = &self.masters[sender] else { return };
        let way = &mut self.ways[sender];
        let mut buffer = [0; BUFFER_MAX];
        let room = BUFFER_MAX.saturating_sub(way.queue.len());
        if room > 0
            && let Ok(length) = rustix::io::read(master, &mut buffer[..room])
        {
            way.queue.extend(&buffer[..length]);
        }
    }

    fn deliver(&mut self, sender: usize, now: Instant) -> Option<Duration> {
        let way = &mut self.ways[sender];
        while !way.queue.is_empty() {
            if way.busy_until > now {
                return Some(way.busy_until - now);
            }
            let length = if self.speed.is_some() { FIFO } else { BUFFER_MAX };
            let piece: Vec<u8> = way.queue.drain(..length.min(way.queue.len())).collect();
            if let Some(speed) = self.speed {
                let time = Duration::from_secs_f64(piece.len() as f64 / speed);
                // From when the line was last free, so that late wake-ups do not slow it down;
                // but an idle line saves nothing up.
                let free = way.busy_until.max(now.checked_sub(CLOSED_PAUSE).unwrap_or(now));
                way.busy_until = free + time;
            }
            let Some(master) = self.masters[1 - sender].as_ref().filter(|_| !self.lost[sender])
            else {
                continue;
            };
            // A receiver that does not read loses bytes: a UART overruns.
            if is_open(master) {
                way.carried += rustix::io::write(master, &piece).unwrap_or(0) as u64;
            }
        }
        None
    }
}

/// Whether a process has the other side of the pseudo-terminal open.
fn is_open(master: &OwnedFd) -> bool {
    let mut look = [PollFd::new(master, PollFlags::empty())];
    let _ = rustix::event::poll(&mut look, Some(&Timespec::default()));
    !look[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    /// A cable in a directory of its own, removed with it.
    struct Bench {
        dir: PathBuf,
        cable: NullModem,
    }

    impl Bench {
        fn new(name: &str, baud: Option<u32>) -> Bench {
            let dir = std::env::temp_dir().join(format!("cable-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let cable = NullModem::new([dir.join("one"), dir.join("two")], baud).unwrap();
            Bench { dir, cable }
        }

        fn open(&self, end: End) -> File {
            File::options()
                .read(true)
                .write(true)
                .custom_flags(
                    (rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK)
                        .bits()
                        .cast_signed(),
                )
                .open(self.cable.path(end))
                .unwrap()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    /// Reads until `length` bytes have come.
    fn read(file: &mut File, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = super::super::wait::until(Duration::from_secs(5), "bytes", || {
            let mut buffer = [0; 4096];
            if let Ok(length) = file.read(&mut buffer) {
                all.extend_from_slice(&buffer[..length]);
            }
            (all.len() >= length).then_some(())
        });
        all
    }

    #[test]
    fn bytes_cross_unchanged_both_ways() {
        let bench = Bench::new("cross", None);
        let (mut one, mut two) = (bench.open(End::First), bench.open(End::Second));
        let all: Vec<u8> = (0..=255).collect();
        one.write_all(&all).unwrap();
        assert_eq!(read(&mut two, 256), all);
        two.write_all(&all).unwrap();
        assert_eq!(read(&mut one, 256), all);
    }

    #[test]
    fn a_slow_line_takes_its_time() {
        let bench = Bench::new("slow", Some(9600));
        let (mut one, mut two) = (bench.open(End::First), bench.open(End::Second));
        let start = Instant::now();
        one.write_all(&[0x55; 480]).unwrap();
        assert_eq!(read(&mut two, 480).len(), 480);
        // 480 bytes at 960 bytes a second; the last piece arrives as its time begins.
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(450), "{took:?}");
    }

    #[test]
    fn a_broken_wire_loses_one_direction_only() {
        let bench = Bench::new("broken", None);
        let (mut one, mut two) = (bench.open(End::First), bench.open(End::Second));
        bench.cable.set(End::First, false);
        one.write_all(b"lost").unwrap();
        two.write_all(b"kept").unwrap();
        assert_eq!(read(&mut one, 4), b"kept");
        bench.cable.set(End::First, true);
        one.write_all(b"again").unwrap();
        assert_eq!(read(&mut two, 5), b"again");
    }

    #[test]
    fn an_unplugged_adapter_is_gone_and_comes_back() {
        let bench = Bench::new("plug", None);
        let (mut one, mut two) = (bench.open(End::First), bench.open(End::Second));
        bench.cable.unplug(End::First);
        assert!(!bench.cable.path(End::First).exists());
        let gone = super::super::wait::until(
            Duration::from_secs(5),
            "the end of the device",
            || match one.read(&mut [0; 8]) {
                Ok(0) => Some(()),
                Err(why) if why.raw_os_error() == Some(5) => Some(()),
                _ => None,
            },
        );
        gone.unwrap();
        bench.cable.plug(End::First).unwrap();
        let mut one = bench.open(End::First);
        two.write_all(b"hello").unwrap();
        assert_eq!(read(&mut one, 5), b"hello");
    }

    #[test]
    fn a_sender_faster_than_the_line_has_to_wait() {
        let bench = Bench::new("full", Some(1200));
        let (mut one, _two) = (bench.open(End::First), bench.open(End::Second));
        let full = super::super::wait::until(Duration::from_secs(5), "a full line", || {
            one.write(&[0; 1024]).err().map(|why| why.kind())
        });
        assert_eq!(full.unwrap(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_injected_arrives() {
        let bench = Bench::new("inject", None);
        let mut two = bench.open(End::Second);
        let _one = bench.open(End::First);
        bench.cable.inject(End::Second, b"\xff\x00noise");
        assert_eq!(read(&mut two, 7), b"\xff\x00noise");
    }
}
