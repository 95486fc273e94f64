//! A switch in user space: it loses, delays, doubles, records and repeats frames as told.
//!
//! It learns addresses as a switch does. A frame takes some tens of microseconds longer through it
//! than through the kernel's bridge.
use super::error::{Doing, Result};
use crate::platform::tap::{OFFLOAD_HEADER, TAP_FRAME_MAX, Tap};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec};
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames that wait for their time; a further one is lost.
const DELAYED_MAX: usize = 65_536;
/// Frames kept by a recording; later ones are not recorded.
const RECORDED_MAX: usize = 262_144;
const WAKE: u64 = u64::MAX;
/// Frames taken from one port before the others have their turn.
const BURST: usize = 64;

/// What happens to frames from one port to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fate {
    /// Share that is lost, 0 to 1, each by itself at random.
    pub loss: f64,
    /// Share that arrives twice, 0 to 1.
    pub doubled: f64,
    /// How much later all of them arrive.
    pub delay: Duration,
    /// Up to how much later still, evenly at random; they overtake each other then.
    pub jitter: Duration,
}

impl Fate {
    /// Nothing gets through.
    pub const LOST: Fate =
        Fate { loss: 1.0, doubled: 0.0, delay: Duration::ZERO, jitter: Duration::ZERO };

    /// This share, 0 to 1, is lost.
    pub fn loss(share: f64) -> Fate {
        Fate { loss: share, ..Fate::default() }
    }
}

/// A frame that came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Instant,
    /// Who sent it.
    pub from: String,
    /// The frame, from its Ethernet header on.
    pub frame: Vec<u8>,
}

/// The switch. It stops when dropped.
#[derive(Debug)]
pub struct Relay {
    state: Arc<Mutex<State>>,
    poll: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    ports: BTreeMap<u64, Port>,
    next_port: u64,
    /// Behind which port an Ethernet address was last seen.
    learned: BTreeMap<[u8; 6], u64>,
    fates: BTreeMap<(String, String), Fate>,
    fate_of_all: Fate,
    delayed: BinaryHeap<Delayed>,
    recording: Option<Vec<Recorded>>,
    random: u64,
    stopped: bool,
}

#[derive(Debug)]
struct Port {
    name: String,
    tap: Arc<Tap>,
}

#[derive(Debug, PartialEq, Eq)]
struct Delayed {
    at: Instant,
    to: u64,
    frame: Vec<u8>,
}

impl Ord for Delayed {
    /// The earliest is the greatest: the heap gives it first.
    fn cmp(&self, other: &Delayed) -> std::cmp::Ordering {
        other.at.cmp(&self.at).then(other.to.cmp(&self.to))
    }
}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Delayed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Relay {
    /// A switch without ports.
    pub fn new() -> Result<Relay> {
        let make = || {
            let poll = epoll::create(CreateFlags::CLOEXEC)?;
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let wake = rustix::event::eventfd(0, flags)?;
            epoll::add(&poll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
            Ok::<_, rustix::io::Errno>((Arc::new(poll), Arc::new(wake)))
        };
        let (poll, wake) = make().doing("creating a switch")?;
        let state = Arc::new(Mutex::new(State {
            ports: BTreeMap::new(),
            next_port: 0,
            learned: BTreeMap::new(),
            fates: BTreeMap::new(),
            fate_of_all: Fate::default(),
            delayed: BinaryHeap::new(),
            recording: None,
            random: 0x9e37_79b9_7f4a_7c15,
            stopped: false,
        }));
        let shared = (Arc::clone(&state), Arc::clone(&poll), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || switch(&shared.0, &shared.1, &shared.2))
            .doing("starting a switch's thread")?;
        Ok(Relay { state, poll, wake, thread: Some(thread) })
    }

    /// Adds a port for the machine `name`, or replaces it.
    pub fn connect(&self, name: &str, tap: Tap) -> Result<()> {
        let mut state = self.lock();
        state.ports.retain(|_, port| port.name != name);
        let number = state.next_port;
        state.next_port += 1;
        let tap = Arc::new(tap);
        epoll::add(&self.poll, &*tap, EventData::new_u64(number), EventFlags::IN)
            .doing("adding a port")?;
        state.ports.insert(number, Port { name: name.to_owned(), tap });
        Ok(())
    }

    /// Decides over all frames between machines that have no fate of their own.
    pub fn set_all(&self, fate: Fate) {
        self.lock().fate_of_all = fate;
    }

    /// Decides over the frames that go from one machine to another, in this direction only.
    pub fn set(&self, from: &str, to: &str, fate: Fate) {
        self.lock().fates.insert((from.to_owned(), to.to_owned()), fate);
    }

    /// Everything gets through again.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.fates.clear();
        state.fate_of_all = Fate::default();
    }

    /// Begins to record every frame, from the beginning.
    pub fn record(&self) {
        self.lock().recording = Some(Vec::new());
    }

    /// Ends the recording and returns it.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.lock().recording.take().unwrap_or_default()
    }

    /// Sends a frame to the machine `to`, or to all: what a stranger on the LAN could send. Its
    /// sender's address is not learned.
    pub fn inject(&self, to: Option<&str>, frame: &[u8]) {
        let state = self.lock();
        let mut whole = vec![0; OFFLOAD_HEADER];
        whole.extend_from_slice(frame);
        for port in state.ports.values().filter(|port| to.is_none_or(|to| to == port.name)) {
            // A port that is down loses it, as cables do.
            let _ = port.tap.send(&whole);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.lock().stopped = true;
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn switch(state: &Mutex<State>, poll: &OwnedFd, wake: &OwnedFd) {
    super::machine_of_its_own();
    let mut buffer = vec![0; TAP_FRAME_MAX];
    loop {
        let timeout = lock(state).release(Instant::now());
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = Vec::with_capacity(64);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(poll, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut state = lock(state);
        if state.stopped {
            return;
        }
        for event in events {
            let data = event.data;
            if data.u64() == WAKE {
                let _ = rustix::io::read(wake, &mut [0; 8]);
                continue;
            }
            let Some(tap) = state.ports.get(&data.u64()).map(|port| Arc::clone(&port.tap)) else {
                continue;
            };
            for _ in 0..BURST {
                // "Network is down" is reported once when the port goes down, and cleared by it.
                let Ok(length) = tap.receive(&mut buffer) else { break };
                state.forward(data.u64(), &buffer[..length]);
            }
        }
    }
}

impl State {
    fn forward(&mut self, from: u64, frame: &[u8]) {
        let Some(header) = frame.get(OFFLOAD_HEADER..OFFLOAD_HEADER + 12) else { return };
        let (Some(to), Some(source)) = (header.first_chunk::<6>(), header.last_chunk::<6>()) else {
            return;
        };
        let group_bit = |address: &[u8; 6]| address[0] & 1 == 1;
        if !group_bit(source) {
            self.learned.insert(*source, from);
        }
        let only = if group_bit(to) { None } else { self.learned.get(to).copied() };
        let name = match self.ports.get(&from) {
            Some(port) => port.name.clone(),
            None => return,
        };
        if let Some(recording) = self.recording.as_mut().filter(|all| all.len() < RECORDED_MAX) {
            let frame = frame[OFFLOAD_HEADER..].to_vec();
            recording.push(Recorded { at: Instant::now(), from: name.clone(), frame });
        }
        let targets: Vec<u64> = self
            .ports
            .keys()
            .copied()
            .filter(|&port| port != from && only.is_none_or(|only| only == port))
            .collect();
        for target in targets {
            self.pass(&name, target, frame);
        }
    }

    fn pass(&mut self, from: &str, target: u64, frame: &[u8]) {
        let Some(port) = self.ports.get(&target) else { return };
        let (to, tap) = (port.name.clone(), Arc::clone(&port.tap));
        let own = self.fates.get(&(from.to_owned(), to)).copied();
        let fate = own.unwrap_or(self.fate_of_all);
        if fate.loss > 0.0 && self.chance() < fate.loss {
            return;
        }
        let copies = if fate.doubled > 0.0 && self.chance() < fate.doubled { 2 } else { 1 };
        for _ in 0..copies {
            let delay = fate.delay + fate.jitter.mul_f64(self.chance());
            if delay.is_zero() {
                let _ = tap.send(frame);
            } else if self.delayed.len() < DELAYED_MAX {
                let at = Instant::now() + delay;
                self.delayed.push(Delayed { at, to: target, frame: frame.to_vec() });
            }
        }
    }

    /// Sends what is due. Returns after how long something else will be.
    fn release(&mut self, now: Instant) -> Option<Duration> {
        while let Some(first) = self.delayed.peek() {
            if first.at > now {
                return Some(first.at - now);
            }
            let Some(due) = self.delayed.pop() else { break };
            if let Some(port) = self.ports.get(&due.to) {
                let _ = port.tap.send(&due.frame);
            }
        }
        None
    }

    /// Evenly from 0 to 1 (xorshift64*): the laboratory's losses need no better randomness.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}
