//! The engine's contract with the core: one clock reading for each turn, inputs, the timers, and
//! everything that the core says carried out in its order.
use super::fault::Fault;
use super::machine::{ADDRESS_LIFETIME, Engine, Pending, Runs, Service, Work};
use super::setup::Setup;
use super::trace::Line;
use super::world::{Happening, Violation, World};
use crate::core::id::{GroupId, Incarnation, JobId, LinkId, LinkSet};
use crate::core::io::{Input, Output, Phase};
use crate::core::limits::{FRAME_MAX, LINKS_MAX};
use crate::core::time::Instant;
use crate::core::{Cluster, Identity, MEMORY_MAX, Rule};
use std::collections::VecDeque;
use std::rc::Rc;

/// More outputs than this after one input is an endless loop.
const OUTPUTS_MAX: usize = 512;

impl World {
    /// The engine's turn: reads its clock once, drains what waits, then lets the timers decide.
    pub(super) fn wake(&mut self, node: usize, ticket: u64) -> Result<(), Violation> {
        let machine = &mut self.machines[node];
        let Some(engine) = &mut machine.engine else { return Ok(()) };
        if engine.wake.is_none_or(|(_, due)| due != ticket) {
            return Ok(());
        }
        engine.wake = None;
        if machine.frozen {
            return Ok(());
        }
        let now = machine.clock.local(self.now);
        let process = machine.process;
        engine.queued_frames = [0; LINKS_MAX];
        let mut queue = std::mem::replace(&mut engine.queue, std::mem::take(&mut self.spare));
        for pending in queue.drain(..) {
            self.feed(node, now, pending)?;
            if self.machines[node].process != process {
                return Ok(());
            }
        }
        self.spare = queue;
        let due = self.machines[node].engine.as_ref().map(|engine| engine.cluster.deadline().at);
        if due.is_some_and(|due| now >= due) {
            self.check_ticks(node)?;
            self.give(node, now, Input::Tick)?;
        }
        if self.machines[node].process == process {
            self.sleep(node, now);
        }
        Ok(())
    }

    /// The end of a turn: vouches for what runs, and sleeps until the core's deadline.
    fn sleep(&mut self, node: usize, now: Instant) {
        let true_now = self.now;
        let machine = &mut self.machines[node];
        let Some(engine) = &machine.engine else { return };
        for (index, service) in machine.services.iter_mut().enumerate() {
            let held = engine.cluster.vouched_until(Setup::group(index));
            machine.held_until[index] = held.unwrap_or_default();
            // Until the probe has ended, what is there is kept; what has vanished is not put back.
            let phase = engine.cluster.inspect(Setup::group(index)).phase;
            let there = phase != Phase::Unknown || service.serves(true_now);
            if self.setup.rule == Rule::Majority {
                // The gate: open until the lease ends, not a moment longer. A lease that becomes
                // shorter, for a new configuration wants that, shortens what was stored before.
                if let Some(held) = held {
                    let until = machine.clock.when(held);
                    // What a predecessor vouched for is nothing new.
                    service.orphan &= until <= service.address_until.max(true_now);
                    service.address_until = until;
                }
            } else if held.is_some_and(|held| held > now) && service.runs != Runs::Nothing && there
            {
                service.address_until = true_now + ADDRESS_LIFETIME.max(2 * self.setup.dead);
            }
        }
        let due = machine.clock.when(engine.cluster.deadline().at) + machine.late;
        self.wake_at(node, due.max(true_now + 1));
    }

    fn feed(&mut self, node: usize, now: Instant, pending: Pending) -> Result<(), Violation> {
        match pending {
            Pending::Frame { link, bytes } => {
                self.trace.push(self.now, node, Line::Heard(link.index(), bytes.len()));
                self.give(node, now, Input::Frame { link, bytes: &bytes })
            }
            Pending::Link { link, up } => {
                self.trace.push(self.now, node, Line::Link(link.index(), up));
                self.give(node, now, Input::Link { link, up })
            }
            Pending::HungUp { link } => {
                self.trace.push(self.now, node, Line::Link(link.index(), false));
                self.give(node, now, Input::HungUp { link })
            }
            Pending::Able { group, able } => {
                self.trace.push(self.now, node, Line::Able(group.index(), able));
                self.give(node, now, Input::Able { group, able })
            }
            Pending::Report { group, job, outcome } => {
                self.trace.push(self.now, node, Line::Report(group.index(), outcome));
                self.give(node, now, Input::Report { group, job, outcome })
            }
            Pending::Fenced { node: target, request, outcome } => {
                self.trace.push(self.now, node, Line::Fenced(target.index(), outcome));
                self.give(node, now, Input::Fenced { node: target, request, outcome })
            }
            Pending::Beat { node: beating } => self.give(node, now, Input::Beat { node: beating }),
            Pending::Noted { number } => self.give(node, now, Input::Noted { number }),
            Pending::Command { id, command } => {
                self.trace.push(self.now, node, Line::Command(command));
                self.give(node, now, Input::Command { id, command })
            }
        }
    }

    fn give(&mut self, node: usize, now: Instant, input: Input<'_>) -> Result<(), Violation> {
        self.handled += 1;
        if let Some(engine) = &mut self.machines[node].engine {
            engine.cluster.handle(now, input);
        }
        self.drain(node)
    }

    /// Polls to the end and carries out what comes.
    fn drain(&mut self, node: usize) -> Result<(), Violation> {
        let mut frame = [0; FRAME_MAX];
        for _ in 0..OUTPUTS_MAX {
            let Some(engine) = &mut self.machines[node].engine else { return Ok(()) };
            let Some(output) = engine.cluster.poll(&mut frame) else { return Ok(()) };
            match output {
                Output::Remember => self.remember(node),
                Output::Stop { group, job } => self.order(node, group, job, Work::Stop),
                Output::Probe { group, job } => self.order(node, group, job, Work::Probe),
                Output::Start { group, job } => self.order(node, group, job, Work::Start),
                Output::Transmit { links, len } => {
                    self.send(node, links, &frame[..usize::from(len)]);
                }
                Output::InForce => self.note_in_force(node),
                Output::Note { number } => self.note_leases(node, number),
                Output::Fence { node: target, request } => self.fence(node, target, request),
                Output::Watchdog(told) => self.watchdog(node, told),
                // No LAN to be asked yet.
                Output::Ask { .. } => {}
                Output::Announce { group } => {
                    self.trace.push(self.now, node, Line::Ordered("announce", group.index()));
                    self.machines[node].announced += 1;
                }
                Output::Reply { id, reply } => {
                    self.trace.push(self.now, node, Line::Reply(reply));
                    self.machines[node].replies.push((id, reply));
                }
                Output::Event(event) => {
                    self.trace.push(self.now, node, Line::Told(event));
                    self.machines[node].events.push((self.now, event));
                    self.check_event(node, event)?;
                }
                Output::Restart => {
                    self.machines[node].memory = None;
                    self.apply(Fault::Kill(node));
                    self.apply(Fault::Revive(node));
                }
                Output::Renew => {
                    self.apply(Fault::Kill(node));
                    self.apply(Fault::Revive(node));
                }
                Output::Exit => {
                    self.trace.push(self.now, node, Line::Note("ends"));
                    // The runtime directory stays as long as the machine runs: it has the terms.
                    self.machines[node].exited = true;
                    // Closed in order, a watchdog sleeps; but not with something left.
                    if !self.machines[node].services.iter().any(Service::is_there) {
                        self.machines[node].bites_at = None;
                    }
                    self.apply(Fault::Kill(node));
                }
            }
        }
        Err(self.violation(format!("n{node}: more than {OUTPUTS_MAX} outputs after one input")))
    }

    fn note_in_force(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.in_force = machine.version >= Setup::SHORTER;
        machine.config = self.setup.version(node, machine.version, true);
    }

    /// Notes the longest leases on the disk, which outlives the power.
    fn note_leases(&mut self, node: usize, number: JobId) {
        let digest = self.machines[node].config.digest;
        let machine = &mut self.machines[node];
        let Some(engine) = &machine.engine else { return };
        let longest = |index| {
            let group = GroupId::new(index).expect("a group of the table");
            engine.cluster.longest_lease(group)
        };
        let settled = engine.cluster.leases_settled();
        machine.leases.0 = std::array::from_fn(longest);
        machine.leases.1 = if settled { digest } else { machine.leases.1 };
        self.enqueue(node, Pending::Noted { number });
    }

    fn remember(&mut self, node: usize) {
        let mut bytes = [0; MEMORY_MAX];
        let machine = &mut self.machines[node];
        let Some(engine) = &mut machine.engine else { return };
        if !machine.disk {
            // Before anything else is asked of the core.
            engine.cluster.handle(machine.clock.local(self.now), Input::NotRemembered);
            return;
        }
        let len = engine.cluster.memory(&mut bytes).expect("the memory fits");
        machine.memory = Some(bytes[..len].to_vec());
    }

    pub(super) fn send(&mut self, node: usize, links: LinkSet, bytes: &[u8]) {
        self.trace.push(self.now, node, Line::Sent(links));
        let bytes: Rc<[u8]> = bytes.into();
        if let Some(capture) = &mut self.capture {
            capture.push((node, self.now, bytes.clone()));
        }
        for link in links.iter() {
            if !self.machines[node].carrier[link.index()] {
                continue;
            }
            for to in (0..self.machines.len()).filter(|to| *to != node) {
                let path = [link.index(), node, to];
                let arrivals = self.network.carry(&mut self.random, self.now, path);
                for at in arrivals.into_iter().flatten() {
                    let bytes = bytes.clone();
                    self.schedule(at, Happening::Arrive { node: to, link, bytes });
                }
            }
        }
    }

    /// Starts the engine's process.
    pub(super) fn revive(&mut self, node: usize) {
        if self.is_witness(node) {
            return self.revive_witness(node);
        }
        let identity = (Incarnation(self.random.bits()), self.random.bits());
        let machine = &mut self.machines[node];
        if machine.engine.is_some() || !machine.on {
            return;
        }
        machine.exited = false;
        machine.process += 1;
        machine.starts = [machine.starts[1], self.now];
        let identity = Identity {
            incarnation: identity.0,
            memory: machine.memory.as_deref(),
            held_until: machine.held_until,
            seed: identity.1,
        };
        let now = machine.clock.local(self.now);
        let mut cluster = Cluster::new(machine.config.clone(), &identity, now);
        // Its own leases are noted before it begins.
        let settled = [0, machine.config.digest].contains(&machine.leases.1);
        cluster.recall_leases(&machine.leases.0, settled);
        let longest = |index| {
            let group = GroupId::new(index).expect("a group of the table");
            cluster.longest_lease(group)
        };
        machine.leases.0 = std::array::from_fn(longest);
        if settled {
            machine.leases.1 = machine.config.digest;
        }
        let mut queue = VecDeque::new();
        for link in 0..self.setup.links {
            let up = machine.carrier[link];
            queue.push_back(Pending::Link { link: LinkId::new(link).expect("few links"), up });
        }
        for (index, service) in machine.services.iter().enumerate() {
            queue.push_back(Pending::Able { group: Setup::group(index), able: service.able });
        }
        machine.engine = Some(Engine { cluster, queue, queued_frames: [0; LINKS_MAX], wake: None });
        machine.awake_since = self.now;
        machine.ticks = (0, 0);
        self.wake_at(node, self.now + 1);
        self.judge_conditions();
    }
}
