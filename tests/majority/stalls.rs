//! How long this machine stood still: a thread on each processor that does nothing but look.
use latido::platform::sched;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// Less than this is no stall.
const LEAST: Duration = Duration::from_millis(2);
/// As the daemons': what keeps these from running, keeps those.
const PRIORITY: u8 = 1;

/// Every stall since it was started. It stops when dropped.
pub(crate) struct Stalls {
    found: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stalls {
    pub(crate) fn start() -> Stalls {
        let found = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let look = |cpu: usize| {
            let (found, stop) = (Arc::clone(&found), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut set = rustix::thread::CpuSet::new();
                set.set(cpu);
                // Where either is refused it sees what an ordinary thread sees.
                let _ = rustix::thread::sched_setaffinity(None, &set);
                let _ = sched::realtime(PRIORITY);
                let mut last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(PAUSE);
                    let now = Instant::now();
                    if now - last > LEAST {
                        found.lock().expect("no panic while it is held").push((now, now - last));
                    }
                    last = now;
                }
            })
        };
        let threads = (0..count).map(look).collect();
        Stalls { found, stop, threads }
    }

    /// The longest that reached into this period.
    pub(crate) fn worst(&self, from: Instant, to: Instant) -> Duration {
        let found = self.found.lock().expect("no panic while it is held");
        let within = found.iter().filter(|(end, length)| *end >= from && *end - *length <= to);
        within.map(|(_, length)| *length).max().unwrap_or_default()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
