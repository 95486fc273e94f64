//! An RS-485 bus of pseudo-terminals: one byte at a time, and who speaks together is damaged.
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looked at so often; bytes of two ends within one look overlap.
const STEP: Duration = Duration::from_millis(1);

/// What has passed.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Bytes that arrived whole.
    pub(crate) whole: AtomicU64,
    /// Bytes that were sent while another end sent.
    pub(crate) damaged: AtomicU64,
}

/// The bus, until it is dropped.
pub(crate) struct Hub {
    pub(crate) passed: Arc<Passed>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct End {
    master: OwnedFd,
    queue: VecDeque<u8>,
}

impl Hub {
    /// A bus with an end at each path. `echo`: the adapters hear their own bytes.
    pub(crate) fn new(paths: &[PathBuf], baud: u32, echo: bool) -> Hub {
        let mut ends: Vec<End> = paths
            .iter()
            .map(|path| End { master: terminal(path), queue: VecDeque::new() })
            .collect();
        let (passed, stop) = (Arc::<Passed>::default(), Arc::<AtomicBool>::default());
        let shared = (passed.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            // It would not share a processor with the daemons in reality.
            let _ = latido::platform::sched::realtime(1);
            let speed = f64::from(baud) / 10.0;
            let mut last = Instant::now();
            let mut credit = 0.0;
            while !shared.1.load(Ordering::Relaxed) {
                std::thread::sleep(STEP);
                let now = Instant::now();
                credit += now.duration_since(last).as_secs_f64() * speed;
                last = now;
                credit -= carry(&mut ends, credit as usize, echo, &shared.0) as f64;
                // An idle bus saves nothing up.
                credit = credit.min(speed * 0.02);
            }
        });
        Hub { passed, stop, thread: Some(thread) }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves up to `room` byte times; how many were used.
fn carry(ends: &mut [End], room: usize, echo: bool, passed: &Passed) -> usize {
    for end in ends.iter_mut() {
        let mut bytes = [0; 4096];
        if let Ok(len) = rustix::io::read(&end.master, &mut bytes) {
            end.queue.extend(&bytes[..len]);
        }
    }
    let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
    for (index, end) in ends.iter_mut().enumerate().filter(|(_, end)| !end.queue.is_empty()) {
        pieces.push((index, end.queue.drain(..room.min(end.queue.len())).collect()));
    }
    let used = pieces.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(room);
    let collide = pieces.len() > 1;
    let heard: Vec<u8> = match &pieces[..] {
        [] => return room,
        [(_, bytes)] => bytes.clone(),
        all => (0..used)
            .map(|at| all.iter().filter_map(|(_, bytes)| bytes.get(at)).fold(0x5a, |a, b| a ^ b))
            .collect(),
    };
    let count = if collide { &passed.damaged } else { &passed.whole };
    count.fetch_add(heard.len() as u64, Ordering::Relaxed);
    for (index, end) in ends.iter().enumerate() {
        let speaks = pieces.iter().any(|(from, _)| *from == index);
        if (!speaks || echo) && is_open(&end.master) {
            let _ = rustix::io::write(&end.master, &heard);
        }
    }
    used
}

fn is_open(master: &OwnedFd) -> bool {
    let mut look = [PollFd::new(master, PollFlags::empty())];
    let _ = rustix::event::poll(&mut look, Some(&Timespec::default()));
    !look[0].revents().contains(PollFlags::HUP)
}

/// A raw pseudo-terminal, linked to from `path`.
fn terminal(path: &Path) -> OwnedFd {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let master = master.expect("a pseudo-terminal");
    unlockpt(&master).expect("unlocks");
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).expect("non-blocking");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let name = PathBuf::from(name.into_string().expect("UTF-8"));
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(&name)
        .expect("opens");
    let mut settings = rustix::termios::tcgetattr(&slave).expect("settings");
    settings.make_raw();
    let now = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(&slave, now, &settings).expect("raw");
    symlink(name, path).expect("a link");
    master
}

#[test]
fn whoever_speaks_alone_is_heard_and_two_together_are_not() {
    let dir = std::env::temp_dir().join(format!("latido-hub-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let paths = ["a", "b", "c"].map(|name| dir.join(name));
    let hub = Hub::new(&paths, 9600, false);
    let open = |path: &PathBuf| {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags.bits().cast_signed();
        File::options().read(true).write(true).custom_flags(flags).open(path).expect("opens")
    };
    let ends = paths.each_ref().map(open);
    let hear = |end: &File, len: usize| {
        let mut heard = Vec::new();
        latido::lab::wait::until(crate::world::SOON, "the bytes", || {
            let mut bytes = [0; 256];
            let len_now = rustix::io::read(end, &mut bytes).unwrap_or(0);
            heard.extend_from_slice(&bytes[..len_now]);
            (heard.len() >= len).then_some(())
        })
        .unwrap();
        heard
    };
    let begin = Instant::now();
    rustix::io::write(&ends[0], &[7; 96]).expect("writes");
    assert_eq!([hear(&ends[1], 96), hear(&ends[2], 96)], [vec![7; 96], vec![7; 96]]);
    // Ten bits a byte: 100 ms. The first 20 ms of an idle bus may have been saved up.
    assert!(begin.elapsed() >= Duration::from_millis(75), "faster than 9600 baud");
    rustix::io::write(&ends[0], &[7; 96]).expect("writes");
    rustix::io::write(&ends[1], &[9; 96]).expect("writes");
    let heard = hear(&ends[2], 96);
    let whole = |byte: u8| heard.windows(90).any(|part| part.iter().all(|one| *one == byte));
    assert!(!whole(7) && !whole(9), "both were heard: {heard:?}");
    assert!(hub.passed.damaged.load(Ordering::Relaxed) > 0);
    std::fs::remove_dir_all(&dir).expect("removed");
}
