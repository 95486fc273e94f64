//! `latido witness`: a vote without a node. A real-time loop around [`core::witness`].
//!
//! It writes nothing to any disk and remembers nothing: after a start it gives its vote to nobody
//! until whatever it promised before has ended.
//!
//! [`core::witness`]: crate::core::witness
mod words;

use crate::config::{CLUSTERS_MAX, Log, WitnessConfig, name_hash, tag_of};
use crate::core::id::{LinkId, LinkSet};
use crate::core::limits::{FRAME_MAX, LINKS_MAX};
use crate::core::time::{Duration, Instant};
use crate::core::wire::{FrameBuf, NameHash, VERSION};
use crate::core::witness::{Input, Key, Output, Witness};
use crate::link::{Opener, Port, Received, Sent};
use crate::platform::filter::{HeaderFilter, TAGS_MAX};
use crate::platform::signal::{self, Signals};
use crate::platform::{clock, sched};
use crate::runtime::draw_incarnation;
use crate::tell::notify::Notify;
use crate::tell::{self, Level, Names, Teller};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use words::Words;

const _: () = assert!(CLUSTERS_MAX <= TAGS_MAX, "the kernel's filter knows every cluster");

/// Frames taken from one link before the others and the timers get their turn.
const FRAMES_PER_TURN: usize = 64;
/// Events taken from the kernel at once: all descriptors there are.
const EVENTS: usize = LINKS_MAX + 4;
/// The lowest real-time priority: it suffices to come before all ordinary processes.
const PRIORITY: u8 = 1;
/// How often it is checked that interfaces and devices are still those that were opened.
const LOOK: Duration = Duration::from_millis(2_000);

/// Tokens of the descriptors in the epoll set; links are `0..LINKS_MAX`.
const OPENER: u64 = 100;
const SIGNALS: u64 = 101;
const TIMER: u64 = 102;

/// Runs until a signal ends it; the exit code.
///
/// # Errors
/// Why it cannot begin.
pub fn run(config: &WitnessConfig, debug: u8) -> Result<u8, String> {
    let say = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let wanted = [signal::TERMINATE, signal::INTERRUPT];
    let signals = Signals::install(&wanted).map_err(say("cannot take signals"))?;
    let keys = keys(config);
    let witness = start(config, &keys)?;
    let tags: Vec<u32> = config.clusters.iter().map(|ward| tag_of(&ward.cluster)).collect();
    let settings = tell::Settings::new(Log { debug, ..Log::default() });
    let links: Vec<String> = config.links.iter().map(|link| link.name.clone()).collect();
    let names = Names { links, ..Names::default() };
    let (teller, _) = tell::start(settings, names).map_err(say("cannot start the log"))?;
    teller.receive_log(debug);
    introduce(config, &teller);
    // Other threads start before the priority is raised: only the loop's own is.
    let filter = HeaderFilter::new(VERSION, &tags);
    let opener = Opener::new(config.links.clone(), filter).map_err(say("cannot open links"))?;
    become_real_time(&teller);
    let words = Words::new(config, teller.clone());
    let mut engine =
        Engine::new(witness, opener, signals, words).map_err(say("cannot start the loop"))?;
    loop {
        let ended = engine.run().map_err(say("cannot wait for events"))?;
        match ended {
            Ended::Signal => {
                teller.say(Level::Notice, "asked to end: this vote is missing from now on");
                teller.finish();
                return Ok(0);
            }
            Ended::NotAlone => engine.witness = start(config, &keys)?,
        }
    }
}

fn keys(config: &WitnessConfig) -> Vec<Key> {
    let of = |ward: &crate::config::Ward| {
        let tag = tag_of(&ward.cluster);
        ward.keys
            .keys
            .iter()
            .map(move |(number, key)| Key { tag, number: *number, key: *key })
            .collect::<Vec<_>>()
    };
    config.clusters.iter().flat_map(of).collect()
}

/// A witness that remembers nothing.
fn start(config: &WitnessConfig, keys: &[Key]) -> Result<Box<Witness<CLUSTERS_MAX>>, String> {
    let name = NameHash(name_hash(&config.name));
    let incarnation = draw_incarnation().map_err(|error| format!("no random numbers: {error}"))?;
    let witness = Witness::new(name, keys, incarnation, clock::now());
    // Cannot fail: the configuration check has the same limits.
    witness.map(Box::new).map_err(|error| format!("these keys cannot be used: {error:?}"))
}

fn introduce(config: &WitnessConfig, teller: &Teller) {
    let clusters: Vec<&str> = config.clusters.iter().map(|ward| ward.cluster.as_str()).collect();
    let links: Vec<&str> = config.links.iter().map(|link| link.name.as_str()).collect();
    let text = format!(
        "latido {}: witness {} of {}, on {}; it remembers nothing, so it gives its vote to nobody \
         for the first 10 s",
        env!("CARGO_PKG_VERSION"),
        config.name,
        clusters.join(", "),
        links.join(", ")
    );
    teller.say(Level::Info, text);
    for ward in config.clusters.iter().filter(|ward| !ward.keys.authenticated) {
        let text = format!("cluster {}: unauthenticated: anybody can make frames", ward.cluster);
        teller.say(Level::Warning, text);
    }
}

/// Real-time priority and locked memory, as far as they are permitted: a late vote is a slow
/// takeover, no unsafe one.
fn become_real_time(teller: &Teller) {
    sched::prefault_stack();
    let refused = [sched::realtime(PRIORITY), sched::lock_memory()];
    for refused in refused.into_iter().filter_map(Result::err) {
        teller.say(Level::Warning, refused.to_string());
    }
}

/// Why the loop ended.
enum Ended {
    /// Somebody asked for it.
    Signal,
    /// Somebody else has our incarnation.
    NotAlone,
}

/// The loop's state.
struct Engine {
    witness: Box<Witness<CLUSTERS_MAX>>,
    opener: Opener,
    signals: Signals,
    words: Words,
    notify: Notify,
    epoll: OwnedFd,
    timer: OwnedFd,
    ports: [Option<Port>; LINKS_MAX],
    /// Links whose port waits to be written.
    writing: LinkSet,
    /// Links lost while sending: dealt with after the outputs are drained.
    lost: LinkSet,
    frame: Box<FrameBuf>,
    received: Box<FrameBuf>,
    now: Instant,
    looked: Instant,
    next_pet: Instant,
    ended: Option<Ended>,
}

impl Engine {
    fn new(
        witness: Box<Witness<CLUSTERS_MAX>>,
        opener: Opener,
        signals: Signals,
        words: Words,
    ) -> io::Result<Engine> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let now = clock::now();
        let engine = Engine {
            witness,
            opener,
            signals,
            words,
            notify: Notify::from_env(),
            epoll,
            timer,
            ports: Default::default(),
            writing: LinkSet::EMPTY,
            lost: LinkSet::EMPTY,
            frame: Box::new([0; FRAME_MAX]),
            received: Box::new([0; FRAME_MAX]),
            now,
            looked: now,
            next_pet: now,
            ended: None,
        };
        engine.watch(OPENER, engine.opener.fd())?;
        engine.watch(SIGNALS, engine.signals.as_fd())?;
        engine.watch(TIMER, engine.timer.as_fd())?;
        Ok(engine)
    }

    fn watch(&self, token: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN)?)
    }

    fn run(&mut self) -> io::Result<Ended> {
        let mut events =
            [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        self.now = clock::now();
        // After a restart of the witness its links are there already.
        for link in LinkId::all() {
            let up = self.ports[link.index()].is_some();
            self.feed(Input::Link { link, up });
        }
        self.take_opened();
        self.notify.ready();
        loop {
            if let Some(ended) = self.ended.take() {
                return Ok(ended);
            }
            self.arm();
            let count = match epoll::wait(&self.epoll, &mut events[..], None) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            self.now = clock::now();
            let ready = events.get(..count).unwrap_or_default();
            // Links first: no timer decides before what has arrived is read.
            for event in ready {
                self.link_ready(event.data.u64(), event.flags);
            }
            for event in ready {
                match event.data.u64() {
                    OPENER => self.take_opened(),
                    SIGNALS => self.take_signals(),
                    _ => {}
                }
            }
            self.feed(Input::Tick);
            self.look();
            self.pet();
        }
    }

    fn take_signals(&mut self) {
        while self.signals.take().is_some() {
            self.notify.stopping();
            self.ended = Some(Ended::Signal);
        }
    }

    fn link_ready(&mut self, token: u64, flags: EventFlags) {
        let Some(link) = usize::try_from(token).ok().and_then(LinkId::new) else { return };
        if token != link.index() as u64 {
            return;
        }
        if flags.contains(EventFlags::OUT)
            && let Some(port) = &mut self.ports[link.index()]
            && let Sent::Lost(_) = port.flush()
        {
            self.lost.set(link, true);
        }
        for _ in 0..FRAMES_PER_TURN {
            let Some(port) = &mut self.ports[link.index()] else { break };
            match port.receive(&mut self.received) {
                Received::Frame(len) => {
                    let Some(bytes) = self.received.get(..len) else { continue };
                    self.witness.handle(self.now, Input::Frame { link, bytes });
                    self.drain();
                }
                // A vote is given to whoever is heard: lines tell a witness nothing.
                Received::Lines(_) => {}
                Received::Nothing => break,
                Received::Lost(loss) => {
                    self.words.lost(link, loss);
                    self.lost.set(link, true);
                    break;
                }
            }
        }
        self.drop_lost();
        self.rewatch(link);
    }

    fn take_opened(&mut self) {
        while let Some((link, opened)) = self.opener.take() {
            // Why not, the opener has told.
            let Ok(port) = opened else { continue };
            if let Some(old) = self.ports[link.index()].take() {
                let _ = epoll::delete(&self.epoll, old.fd());
                self.writing.set(link, false);
            }
            let token = link.index() as u64; // lossless: below LINKS_MAX
            if self.watch(token, port.fd()).is_err() {
                self.opener.reopen(link, port);
                continue;
            }
            self.ports[link.index()] = Some(port);
            self.words.opened(link);
            self.feed(Input::Link { link, up: true });
        }
    }

    /// Hands lost ports back to be opened again.
    fn drop_lost(&mut self) {
        let lost = std::mem::replace(&mut self.lost, LinkSet::EMPTY);
        for link in lost.iter() {
            if let Some(port) = self.ports[link.index()].take() {
                let _ = epoll::delete(&self.epoll, port.fd());
                self.writing.set(link, false);
                self.opener.reopen(link, port);
            }
            self.witness.handle(self.now, Input::Link { link, up: false });
            self.drain();
        }
    }

    /// Asks the kernel to say when a half-sent frame can go on, only while there is one.
    fn rewatch(&mut self, link: LinkId) {
        let Some(port) = &self.ports[link.index()] else { return };
        let wants = port.wants_write();
        if wants == self.writing.contains(link) {
            return;
        }
        self.writing.set(link, wants);
        let flags = if wants { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let token = EventData::new_u64(link.index() as u64); // lossless: below LINKS_MAX
        let _ = epoll::modify(&self.epoll, port.fd(), token, flags);
    }

    fn feed(&mut self, input: Input<'_>) {
        self.witness.handle(self.now, input);
        self.drain();
        if !self.lost.is_empty() {
            self.drop_lost();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.witness.poll(&mut self.frame) {
            match output {
                Output::Transmit { links, len } => self.transmit(links, usize::from(len)),
                Output::Event(note) => self.words.tell(self.now, note),
                Output::Restart => {
                    self.words.not_alone();
                    self.ended.get_or_insert(Ended::NotAlone);
                }
            }
        }
    }

    fn transmit(&mut self, links: LinkSet, len: usize) {
        for link in links.iter() {
            let Some(port) = &mut self.ports[link.index()] else { continue };
            let Some(bytes) = self.frame.get(..len) else { return };
            if let Sent::Lost(loss) = port.send(bytes) {
                self.words.lost(link, loss);
                self.lost.set(link, true);
            }
            self.rewatch(link);
        }
    }

    /// A socket on a vanished interface is silent until it sends.
    fn look(&mut self) {
        if self.now.since(self.looked) < LOOK {
            return;
        }
        self.looked = self.now;
        for link in LinkId::all() {
            if self.ports[link.index()].as_ref().is_some_and(|port| !port.still_valid()) {
                self.lost.set(link, true);
            }
        }
        self.drop_lost();
    }

    /// Tells systemd's watchdog that the loop turns.
    fn pet(&mut self) {
        let Some(every) = self.notify.watchdog_interval() else { return };
        if self.now >= self.next_pet {
            self.notify.watchdog();
            let micros = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
            self.next_pet = self.now + Duration::from_micros(micros / 2);
        }
    }

    fn arm(&mut self) {
        let look = self.looked + LOOK;
        let pet = self.notify.watchdog_interval().map_or(look, |_| self.next_pet);
        let at = self.witness.deadline().min(look).min(pet).micros().max(1);
        let value = Timespec {
            tv_sec: i64::try_from(at / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::from(u32::try_from(at % 1_000_000).unwrap_or(0)) * 1000,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: never, it_value: value };
        // Setting it anew also makes it unreadable again.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec);
    }
}
