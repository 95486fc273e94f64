//! The loop itself: wait, read the clock once, drain every link, then let the timers decide.
use super::gate::LeaseGate;
use super::group_ids;
use super::reload::RESTART;
use super::senses::Sense;
use super::watchdog::Keeper;
use super::wires::Wires;
use crate::control::{Port as Control, Snapshot, Trouble, Troubles};
use crate::core::MEMORY_MAX;
use crate::core::id::{GroupSet, JobId, LinkId, LinkSet, NodeId};
use crate::core::io::{Command, Fenced, Input, Output, Watchdog};
use crate::core::limits::{FRAME_MAX, LINKS_MAX, VOTERS_MAX};
use crate::core::time::{Duration, Instant};
use crate::core::wire::FrameBuf;
use crate::core::{self, Cluster};
use crate::fence::{self, Fences, Own};
use crate::link::{Loss, Opener, Port, Received, Sent};
use crate::platform::clock;
use crate::platform::mailbox::Mailbox;
use crate::platform::signal::{self, Signals};
use crate::quality::Recorder;
use crate::reference::{Case, Finding, Guards, Inquest};
use crate::resource::{Report, Resources};
use crate::runtime::{Memory, Vouch};
use crate::tell::notify::Notify;
use crate::tell::{Notice, Tongue};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames taken from one link before the others and the timers get their turn.
const FRAMES_PER_TURN: usize = 64;
/// Events taken from the kernel at once: all descriptors there are.
const EVENTS: usize = 2 * LINKS_MAX + 8;
/// The id of commands that come from a signal: nobody waits for their reply.
const NOBODY: u32 = u32::MAX;

/// Tokens of the descriptors in the epoll set; links are `0..LINKS_MAX`.
const OPENER: u64 = 100;
const REPORTS: u64 = 101;
const SENSES: u64 = 102;
const CONTROL: u64 = 103;
const SIGNALS: u64 = 104;
const TIMER: u64 = 105;
const GUARDIAN: u64 = 106;
const FENCES: u64 = 107;
const FINDINGS: u64 = 108;
const KEYS: u64 = 109;

/// What the loop works with.
pub(super) struct Parts {
    pub(super) cluster: Cluster,
    pub(super) groups: usize,
    pub(super) interval: Duration,
    pub(super) resources: Resources,
    pub(super) opener: Opener,
    pub(super) reports: Mailbox<Report>,
    pub(super) senses: Mailbox<Sense>,
    // Before the threads that put into it: none of them may wait for it when they are to end.
    pub(super) findings: Mailbox<Finding>,
    pub(super) guards: Guards,
    pub(super) inquest: Inquest,
    pub(super) recorder: Recorder,
    pub(super) control: Control,
    pub(super) troubles: Troubles,
    pub(super) signals: Signals,
    pub(super) guardian: Option<OwnedFd>,
    /// Notes that the list of voters is in force.
    pub(super) voters: std::sync::mpsc::SyncSender<()>,
    /// Notes the longest leases, and says which order was carried out last.
    pub(super) leases: super::leases::Notary,
    pub(super) notify: Notify,
    pub(super) tongue: Tongue,
    pub(super) vouch: Vouch,
    pub(super) shared: Arc<[AtomicU64]>,
    pub(super) running: Arc<AtomicU64>,
    pub(super) gate: LeaseGate,
    pub(super) fences: Fences,
    pub(super) fenced: Mailbox<fence::Report>,
    pub(super) own: Option<Own>,
    pub(super) ring: super::keys::Ring,
    pub(super) watchdog: Keeper,
    pub(super) wires: Wires,
}

/// The loop's state.
pub(super) struct Engine {
    parts: Parts,
    epoll: OwnedFd,
    timer: OwnedFd,
    ports: [Option<Port>; LINKS_MAX],
    /// Links whose interface has a carrier (serial lines always).
    carrier: LinkSet,
    /// Links whose port waits to be written.
    writing: LinkSet,
    /// Links lost while sending: dealt with after the outputs are drained.
    lost: LinkSet,
    link_errno: [i32; LINKS_MAX],
    /// Serial links whose modem lines say that the other end is gone.
    lines_down: LinkSet,
    /// From where each node's frames came, on each link.
    sources: [[Option<SocketAddr>; LINKS_MAX]; VOTERS_MAX],
    frame: Box<FrameBuf>,
    received: Box<FrameBuf>,
    remembered: Box<[u8; MEMORY_MAX]>,
    now: Instant,
    armed: Instant,
    next_pet: Instant,
    /// Groups that could not be stopped, and were released all the same while ending.
    abandoned: GroupSet,
    /// Groups that could not be stopped, and are not released.
    blocked: GroupSet,
    /// A fence that nothing here can carry out.
    unarmed: Option<(NodeId, JobId)>,
    /// The note of the longest leases that is being written.
    noting: Option<JobId>,
    /// A clone is about: this engine writes no memory any more.
    forgotten: bool,
    exit: Option<u8>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> io::Result<Engine> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let now = clock::now();
        let engine = Engine {
            epoll,
            timer,
            ports: Default::default(),
            carrier: LinkSet(u8::MAX),
            writing: LinkSet::EMPTY,
            lost: LinkSet::EMPTY,
            link_errno: [0; LINKS_MAX],
            lines_down: LinkSet::EMPTY,
            sources: [[None; LINKS_MAX]; VOTERS_MAX],
            frame: Box::new([0; FRAME_MAX]),
            received: Box::new([0; FRAME_MAX]),
            remembered: Box::new([0; MEMORY_MAX]),
            now,
            armed: Instant::NEVER,
            next_pet: now,
            abandoned: GroupSet::EMPTY,
            blocked: GroupSet::EMPTY,
            unarmed: None,
            noting: None,
            forgotten: false,
            exit: None,
            parts,
        };
        engine.watch(OPENER, engine.parts.opener.fd())?;
        engine.watch(REPORTS, engine.parts.reports.as_fd())?;
        engine.watch(SENSES, engine.parts.senses.as_fd())?;
        engine.watch(FINDINGS, engine.parts.findings.as_fd())?;
        engine.watch(CONTROL, engine.parts.control.as_fd())?;
        engine.watch(SIGNALS, engine.parts.signals.as_fd())?;
        engine.watch(TIMER, engine.timer.as_fd())?;
        engine.watch(KEYS, engine.parts.ring.as_fd())?;
        engine.watch(FENCES, engine.parts.fenced.as_fd())?;
        if let Some(guardian) = &engine.parts.guardian {
            engine.watch(GUARDIAN, guardian.as_fd())?;
        }
        Ok(engine)
    }

    /// Ends everything but the gate, which comes last. `orderly`: no other engine follows.
    pub(super) fn dismiss(mut self, orderly: bool) -> LeaseGate {
        if orderly {
            self.parts.fences.finish();
            self.parts.watchdog.finish(self.blocked);
        }
        self.parts.gate
    }

    fn watch(&self, token: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Runs until the core says that the end has come; the exit code.
    pub(super) fn run(&mut self, memory: &mut Memory) -> u8 {
        let mut events =
            [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        self.now = clock::now();
        // What was sensed and opened before the loop began belongs before the first frame.
        self.senses();
        self.take_opened(memory);
        self.feed(Input::Tick, memory);
        // What our predecessor vouched for ends soon.
        self.vouch();
        self.parts.notify.ready();
        loop {
            self.arm();
            let count = match epoll::wait(&self.epoll, &mut events[..], None) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    log::error!("the engine cannot wait for events: {error}");
                    return 1;
                }
            };
            self.now = clock::now();
            self.note_lateness();
            let ready = events.get(..count).unwrap_or_default();
            // Links first: no timer decides before what has arrived is read.
            for event in ready {
                self.link_ready(event.data.u64(), event.flags, memory);
            }
            for event in ready {
                self.other_ready(event.data.u64(), memory);
            }
            self.take_noted(memory);
            self.feed(Input::Tick, memory);
            self.vouch();
            self.publish();
            if let Some(code) = self.exit {
                return code;
            }
        }
    }

    fn link_ready(&mut self, token: u64, flags: EventFlags, memory: &mut Memory) {
        let Some(link) = usize::try_from(token).ok().and_then(LinkId::new) else { return };
        if flags.contains(EventFlags::OUT)
            && let Some(port) = &mut self.ports[link.index()]
            && let Sent::Lost(loss) = port.flush()
        {
            self.lose(link, loss);
        }
        for _ in 0..FRAMES_PER_TURN {
            let Some(port) = &mut self.ports[link.index()] else { break };
            match port.receive(&mut self.received) {
                Received::Frame(len) => {
                    let Some(bytes) = self.received.get(..len) else { continue };
                    let source = port.source();
                    self.parts.cluster.handle(self.now, Input::Frame { link, bytes });
                    if let Some(heard) = self.parts.cluster.received() {
                        self.sources[heard.node.index()][link.index()] = source;
                        self.parts.recorder.heard(self.now, &heard);
                    }
                    self.act(memory);
                }
                Received::Lines(up) => {
                    self.lines_down.set(link, !up);
                    let up = up && self.carrier.contains(link);
                    let lines = if up { Input::Link { link, up } } else { Input::HungUp { link } };
                    self.parts.cluster.handle(self.now, lines);
                    self.act(memory);
                }
                Received::Nothing => break,
                Received::Lost(loss) => {
                    self.lose(link, loss);
                    break;
                }
            }
        }
        self.drop_lost(memory);
        self.rewatch(link);
    }

    fn other_ready(&mut self, token: u64, memory: &mut Memory) {
        match token {
            OPENER => self.take_opened(memory),
            REPORTS => {
                self.parts.reports.hush();
                while let Some(Report { group, job, outcome }) = self.parts.reports.take() {
                    self.feed(Input::Report { group, job, outcome }, memory);
                }
            }
            SENSES => self.senses_ready(memory),
            FINDINGS => self.findings(memory),
            CONTROL => {
                self.parts.control.hush();
                while let Some((id, command)) = self.parts.control.take() {
                    self.feed(Input::Command { id, command }, memory);
                }
                if self.parts.running.load(Ordering::Acquire) & RESTART != 0 {
                    self.exit = Some(super::EXIT_AGAIN);
                }
            }
            FENCES => self.take_fenced(memory),
            KEYS => {
                while let Some(keys) = self.parts.ring.take() {
                    self.feed(Input::Keys { keys: &keys }, memory);
                }
            }
            SIGNALS => self.signals(memory),
            // Setting it anew makes it unreadable again: no need to read it.
            TIMER => self.armed = Instant::default(),
            GUARDIAN => {
                self.parts.tongue.tell(self.now, Notice::SupervisorGone);
                if let Some(guardian) = self.parts.guardian.take() {
                    let _ = epoll::delete(&self.epoll, &guardian);
                }
            }
            _ => {}
        }
    }

    fn signals(&mut self, memory: &mut Memory) {
        while let Some(number) = self.parts.signals.take() {
            match number {
                signal::TERMINATE | signal::INTERRUPT => {
                    self.parts.tongue.tell(self.now, Notice::AskedToEnd);
                    self.parts.notify.stopping();
                    let command = Command::Shutdown;
                    self.feed(Input::Command { id: NOBODY, command }, memory);
                }
                signal::HANGUP => self.parts.control.ask_reload(),
                _ => {}
            }
        }
    }

    fn findings(&mut self, memory: &mut Memory) {
        self.parts.findings.hush();
        while let Some(finding) = self.parts.findings.take() {
            match finding {
                Finding::Reached(reached) => self.feed(Input::References { reached }, memory),
                Finding::Confirmed(asking, references) if self.parts.guards.is_present(asking) => {
                    self.feed(Input::Confirmed { references }, memory);
                }
                Finding::Confirmed(..) => {}
                Finding::Answered(group) => self.feed(Input::Answered { group }, memory),
            }
        }
    }

    fn senses_ready(&mut self, memory: &mut Memory) {
        self.senses();
        self.act(memory);
        self.drop_lost(memory);
    }

    fn senses(&mut self) {
        self.parts.senses.hush();
        while let Some(sense) = self.parts.senses.take() {
            match sense {
                Sense::Able(group, able) => {
                    self.parts.cluster.handle(self.now, Input::Able { group, able });
                }
                Sense::Carrier(link, carrier) => {
                    self.carrier.set(link, carrier);
                    let up = carrier && self.ports[link.index()].is_some();
                    self.parts.cluster.handle(self.now, Input::Link { link, up });
                }
                Sense::Beat(node) => self.parts.cluster.handle(self.now, Input::Beat { node }),
                Sense::Gone(link) => self.lost.set(link, true),
            }
        }
    }

    fn take_opened(&mut self, memory: &mut Memory) {
        while let Some((link, opened)) = self.parts.opener.take() {
            match opened {
                Ok(port) => {
                    let token = link.index() as u64; // lossless: below LINKS_MAX
                    if self.watch(token, port.fd()).is_err() {
                        self.parts.opener.reopen(link, port);
                        continue;
                    }
                    self.ports[link.index()] = Some(port);
                    self.link_errno[link.index()] = 0;
                    self.parts.troubles.note(link, None);
                    let up = self.carrier.contains(link);
                    self.feed(Input::Link { link, up }, memory);
                }
                Err(error) => {
                    let trouble = Trouble { why: error.why, cure: error.cure };
                    self.parts.troubles.note(link, Some(trouble));
                }
            }
        }
    }

    fn lose(&mut self, link: LinkId, loss: Loss) {
        self.lost.set(link, true);
        self.link_errno[link.index()] = errno(loss);
        self.parts.tongue.tell(self.now, Notice::LinkTrouble(link, errno(loss)));
    }

    /// Hands lost ports back to be opened again.
    fn drop_lost(&mut self, memory: &mut Memory) {
        let lost = std::mem::replace(&mut self.lost, LinkSet::EMPTY);
        for link in lost.iter() {
            if let Some(port) = self.ports[link.index()].take() {
                let _ = epoll::delete(&self.epoll, port.fd());
                self.writing.set(link, false);
                self.parts.opener.reopen(link, port);
            }
            self.feed(Input::Link { link, up: false }, memory);
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

    fn feed(&mut self, input: Input<'_>, memory: &mut Memory) {
        self.parts.cluster.handle(self.now, input);
        self.act(memory);
        if !self.lost.is_empty() {
            self.drop_lost(memory);
        }
    }

    /// The note of the longest leases stands on the disk.
    fn take_noted(&mut self, memory: &mut Memory) {
        let done = JobId(self.parts.leases.1.load(Ordering::Acquire));
        if let Some(number) = self.noting.take_if(|number| *number == done) {
            self.feed(Input::Noted { number }, memory);
        }
    }

    fn take_fenced(&mut self, memory: &mut Memory) {
        self.parts.fenced.hush();
        while let Some(fence::Report { node, request, confirmed }) = self.parts.fenced.take() {
            let outcome = if confirmed { Fenced::Confirmed } else { Fenced::Failed };
            self.feed(Input::Fenced { node, request, outcome }, memory);
        }
    }

    /// Carries out everything that the core says.
    fn act(&mut self, memory: &mut Memory) {
        self.drain(memory);
        while let Some((node, request)) = self.unarmed.take() {
            let outcome = Fenced::Failed;
            self.parts.cluster.handle(self.now, Input::Fenced { node, request, outcome });
            self.drain(memory);
        }
    }

    fn drain(&mut self, memory: &mut Memory) {
        while let Some(output) = self.parts.cluster.poll(&mut self.frame) {
            match output {
                Output::Remember if self.forgotten => {}
                Output::Remember => self.remember(memory),
                Output::Stop { group, job } => self.parts.resources.stop(group, job),
                Output::Probe { group, job } => {
                    // As for a start: what is found vouched for is kept alive from then on.
                    self.vouch();
                    self.parts.resources.probe(group, job);
                }
                Output::Start { group, job } => {
                    // Vouched for before the worker looks.
                    self.vouch();
                    self.parts.resources.start(group, job);
                }
                Output::Transmit { links, len } => self.transmit(links, usize::from(len)),
                // Full: it is being noted.
                Output::InForce => drop(self.parts.voters.try_send(())),
                Output::Note { number } => {
                    self.noting = Some(number);
                    let order = super::leases::Order::of(&self.parts.cluster, number);
                    // One at a time: there is room.
                    let _ = self.parts.leases.0.try_send(order);
                }
                Output::Fence { node, request } => {
                    if !self.parts.fences.fence(node, request) {
                        self.unarmed = Some((node, request));
                    }
                }
                Output::Watchdog(Watchdog::Reset(_)) => {
                    if let Some(own) = &self.parts.own {
                        own.reset();
                    }
                }
                Output::Watchdog(Watchdog::Pet) => {
                    self.parts.watchdog.pet(self.now, &self.parts.notify);
                }
                Output::Ask { on, groups, every } => self.parts.guards.ask(on, groups, every),
                Output::Announce { group } => self.parts.resources.announce(group),
                Output::Reply { id: NOBODY, reply: _ } => {}
                Output::Reply { id, reply } => self.parts.control.answer(id, reply),
                Output::Event(event) => {
                    self.note_stop(event);
                    self.note_return(event);
                    self.note_death(event);
                    if let core::io::Event::HeldBack(group, _, core::io::Doubt::Answers) = event {
                        self.parts.guards.held_back(group);
                    }
                    self.parts.tongue.tell(self.now, Notice::Core(event));
                }
                Output::Restart => {
                    // The next engine must not take this memory for its own.
                    let _ = memory.write(&[]);
                    self.forgotten = true;
                    self.exit = Some(super::EXIT_AGAIN);
                }
                Output::Renew => self.exit = Some(super::EXIT_AGAIN),
                Output::Exit => self.exit = Some(0),
            }
        }
    }

    /// Keeps in mind what could not be stopped while ending.
    fn note_stop(&mut self, event: core::io::Event) {
        match event {
            core::io::Event::StopFailed(group, released) => {
                let set = if released { &mut self.abandoned } else { &mut self.blocked };
                set.set(group, self.parts.cluster.status().shutting_down || !released);
            }
            core::io::Event::Released(group) => self.blocked.set(group, false),
            core::io::Event::Running(group, _) | core::io::Event::Adopted(group, _) => {
                self.abandoned.set(group, false);
                self.blocked.set(group, false);
            }
            _ => {}
        }
    }

    /// A way to another node is back: behind it may be clients who still send to whoever owned the
    /// address before it was cut. What is not owned here is not announced.
    fn note_return(&self, event: core::io::Event) {
        use core::io::{Event, LinkState};
        if matches!(event, Event::NodeAlive(_) | Event::PeerLink(_, _, LinkState::Up)) {
            group_ids(self.parts.groups).for_each(|group| self.parts.resources.announce(group));
        }
    }

    /// People will ask why.
    fn note_death(&self, event: core::io::Event) {
        if let core::io::Event::NodeDead(node, _) = event {
            let links = (0..LINKS_MAX).filter_map(LinkId::new);
            let dark = links.filter(|link| !self.carrier.contains(*link));
            self.parts.inquest.open(Case {
                node,
                sources: self.sources[node.index()],
                no_carrier: dark.fold(LinkSet::EMPTY, LinkSet::with),
                lines_down: self.lines_down,
            });
        }
    }

    /// Groups that may still run here although this engine is ending: those given to the others
    /// all the same, and those that are blocked.
    pub(super) fn not_stopped(&self) -> (GroupSet, GroupSet) {
        (self.abandoned, self.blocked)
    }

    fn remember(&mut self, memory: &mut Memory) {
        let Some(len) = self.parts.cluster.memory(&mut self.remembered[..]) else { return };
        let bytes = self.remembered.get(..len).unwrap_or_default();
        if let Err(error) = memory.write(bytes) {
            let errno = error.raw_os_error().unwrap_or(0);
            self.parts.tongue.tell(self.now, Notice::CannotRemember(errno));
            self.parts.cluster.handle(self.now, Input::NotRemembered);
        }
    }

    fn transmit(&mut self, links: LinkSet, len: usize) {
        let Some(frame) = self.frame.get(..len) else { return };
        self.parts.wires.beat();
        for link in links.iter() {
            let Some(port) = &mut self.ports[link.index()] else { continue };
            if let Sent::Lost(loss) = port.send(frame) {
                self.lost.set(link, true);
                self.link_errno[link.index()] = errno(loss);
            }
        }
        for link in links.iter() {
            self.rewatch(link);
        }
    }

    /// Stores until when each group may run here: for the kernel's gate, for the resources'
    /// threads, and for the next engine of this boot.
    fn vouch(&mut self) {
        let mut running = 0;
        for group in group_ids(self.parts.groups) {
            let until = self.parts.cluster.vouched_until(group);
            running |= u64::from(until.is_some()) << group.index();
            self.parts.gate.vouch(group.index(), until);
            self.parts.vouch.set(group.index(), until.map_or(0, Instant::micros));
            if let Some(word) = self.parts.shared.get(group.index()) {
                let until = until.map(|until| self.parts.gate.renewed_until(until));
                word.store(until.map_or(0, Instant::micros), Ordering::Release);
            }
        }
        let before = self.parts.running.load(Ordering::Acquire);
        if before & !RESTART != running {
            self.parts.running.fetch_and(RESTART, Ordering::AcqRel);
            self.parts.running.fetch_or(running, Ordering::AcqRel);
        }
    }

    fn publish(&mut self) {
        self.parts.ring.note(&self.parts.cluster);
        if self.parts.control.wanted() {
            let status = self.parts.cluster.status();
            let lines = self.ports.each_ref().map(|port| port.as_ref()?.lines());
            let quality = self.parts.recorder.look(self.now);
            let link_errno = self.link_errno;
            let snapshot = Snapshot { at: self.now, status, link_errno, lines, quality };
            self.parts.control.publish(&snapshot);
        }
        if let Some(interval) = self.parts.notify.watchdog_interval()
            && self.now >= self.next_pet
            && !self.parts.watchdog.is_manager()
        {
            self.next_pet = self.now + super::settings::span(interval).ratio(1, 2);
            self.parts.notify.watchdog();
        }
    }

    fn note_lateness(&mut self) {
        let late = self.now.since(self.armed);
        if late > Duration::from_millis(10) && late > self.parts.interval {
            self.parts.tongue.tell(self.now, Notice::Overslept(late));
        }
    }

    fn arm(&mut self) {
        let at = self.parts.cluster.deadline().at;
        if at == self.armed && at > self.now {
            return;
        }
        self.armed = at;
        // Zero would disarm it.
        let micros = at.micros().max(1);
        let value = Timespec {
            tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::from(u32::try_from(micros % 1_000_000).unwrap_or(0)) * 1000,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: never, it_value: value };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec);
    }
}

/// The kernel's number for why a link was lost.
fn errno(loss: Loss) -> i32 {
    match loss {
        Loss::Interface => rustix::io::Errno::NODEV.raw_os_error(),
        Loss::HangUp => rustix::io::Errno::NXIO.raw_os_error(),
        Loss::Failed(error) => error.raw_os_error(),
    }
}
