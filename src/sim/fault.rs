//! What can go wrong with the machines and the cables, and how it is put right.
use super::machine::{Engine, Fate, Pending, Runs};
use super::network::Wire;
use super::power::Device;
use super::trace::Line;
use super::world::{Happening, World};
use crate::core::Rule;
use crate::core::id::{LinkId, NodeId};
use crate::core::io::Command;
use crate::core::time::Instant;

/// One thing done to the cluster. Times in µs, chances in parts per million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The machine boots, its daemon starts.
    PowerOn(usize),
    /// The machine stops at once and forgets its runtime directory.
    PowerOff(usize),
    /// The engine is killed.
    Kill(usize),
    /// It is started again, with what the runtime directory has.
    Revive(usize),
    /// The runtime directory is lost; the machine runs on.
    Forget(usize),
    /// All processes of the machine stand still; the kernel goes on.
    Freeze(usize),
    /// They go on.
    Thaw(usize),
    /// The machine stands still as a whole, its services too; true: its clock as well, as when a
    /// hypervisor pauses it. Without that a laptop sleeps: its clock steps when it wakes up.
    Suspend(usize, bool),
    /// It goes on.
    Resume(usize),
    /// A node's engine is started again with this version of the configuration.
    Configure(usize, u32),
    /// How the device behaves that switches a machine.
    Device(usize, Device),
    /// Whether the runtime directory can be written to.
    Disk(usize, bool),
    /// The operator vouches on a node that another machine is off, if it is.
    Word(usize, usize),
    /// One direction of one link: cut or mended.
    Cut {
        /// Which link.
        link: usize,
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// Cut, or mended.
        cut: bool,
    },
    /// One direction of one link is like this from now on (a cut stays as it is).
    Wire {
        /// Which link.
        link: usize,
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// How it is.
        wire: Wire,
    },
    /// Every wire of a link is like this from now on (cuts stay as they are).
    Quality(usize, Wire),
    /// A machine's link loses or regains its carrier.
    Carrier(usize, usize, bool),
    /// The modem lines of a machine's link drop, or come up again.
    Lines(usize, usize, bool),
    /// A machine can, or cannot, serve a group's clients.
    Able(usize, usize, bool),
    /// How a group's start ends on a machine.
    Starts(usize, usize, Fate),
    /// How a group's stop ends on a machine.
    Stops(usize, usize, Fate),
    /// An operator's command.
    Command(usize, Command),
    /// Everything is mended: cables, scripts, power; what stood still goes on.
    Mend,
}

impl World {
    /// Does it now.
    pub fn apply(&mut self, fault: Fault) {
        self.trace.push(self.now, 0, Line::Fault(fault));
        *self.faults.entry(fault.kind()).or_default() += 1;
        match fault {
            Fault::PowerOn(node) => self.power_on(node),
            Fault::PowerOff(node) => self.power_off(node),
            Fault::Kill(node) => self.kill(node),
            Fault::Revive(node) => self.revive(node),
            Fault::Forget(node) => {
                self.machines[node].memory = None;
                self.machines[node].life += 1;
                self.machines[node].held_until = Default::default();
            }
            Fault::Freeze(node) => {
                let machine = &mut self.machines[node];
                machine.frozen = true;
                machine.services.iter_mut().for_each(|service| service.orphan = true);
            }
            Fault::Thaw(node) => self.thaw(node),
            Fault::Suspend(node, stands) => self.suspend(node, stands),
            Fault::Resume(node) => self.resume(node),
            Fault::Configure(node, version) => {
                let machine = &mut self.machines[node];
                machine.version = version;
                let in_force = machine.in_force == (version >= super::Setup::SHORTER);
                machine.config = self.setup.version(node, version, in_force);
                self.kill(node);
                self.revive(node);
            }
            Fault::Device(node, device) => self.devices[node] = device,
            Fault::Disk(node, works) => self.machines[node].disk = works,
            Fault::Word(node, about) => {
                let id = NodeId::new(about).expect("nodes are few");
                if !self.machines[about].on {
                    self.command_sent(node, Command::ConfirmDead(id));
                }
            }
            Fault::Wire { link, from, to, wire } => {
                let place = self.network.wire(link, from, to);
                *place = Wire { cut: place.cut, ..wire };
            }
            Fault::Cut { link, from, to, cut } => self.network.wire(link, from, to).cut = cut,
            Fault::Quality(link, quality) => self.quality(link, quality),
            Fault::Carrier(node, link, up) => self.carrier(node, link, up),
            Fault::Lines(node, link, up) => self.lines(node, link, up),
            Fault::Able(node, group, able) => {
                self.machines[node].services[group].able = able;
                self.enqueue(node, Pending::Able { group: super::Setup::group(group), able });
            }
            Fault::Starts(node, group, fate) => self.machines[node].services[group].start = fate,
            Fault::Stops(node, group, fate) => self.machines[node].services[group].stop = fate,
            Fault::Command(node, command) => {
                self.command_sent(node, command);
            }
            Fault::Mend => self.mend(),
        }
        self.judge_conditions();
    }

    fn quality(&mut self, link: usize, quality: Wire) {
        let nodes = self.machines.len();
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            let wire = self.network.wire(link, from, to);
            *wire = Wire { cut: wire.cut, ..quality };
        }
    }

    fn power_on(&mut self, node: usize) {
        let (now, drift) = (self.now, self.setup.drift.get(node).copied().unwrap_or(0));
        let shown = self.random.between(1, 60_000_000);
        let machine = &mut self.machines[node];
        if machine.on {
            return;
        }
        machine.on = true;
        machine.frozen = false;
        machine.boot += 1;
        machine.life += 1;
        machine.clock = super::clock::Clock::new(now, shown, drift);
        self.revive(node);
    }

    fn power_off(&mut self, node: usize) {
        self.kill(node);
        let machine = &mut self.machines[node];
        if machine.on {
            machine.off_since = self.now;
            let long = 2 * self.setup.dead * 104 / 100 + 2 * self.setup.interval;
            let at = self.now + long + 10 * self.setup.latency;
            self.schedule(at, Happening::Buried { node, since: self.now });
        }
        let machine = &mut self.machines[node];
        machine.on = false;
        machine.frozen = false;
        machine.suspended = None;
        machine.memory = None;
        machine.bites_at = None;
        machine.disk = true;
        machine.held_until = [Instant::default(); crate::core::limits::GROUPS_MAX];
        for service in &mut machine.services {
            service.runs = Runs::Nothing;
            service.stuck = false;
            service.orphan = false;
            service.address_until = 0;
        }
    }

    fn kill(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.engine = None;
        machine.voter = None;
        machine.process += 1;
        machine.postponed.clear();
        for service in &mut machine.services {
            // What was half started or half stopped stays so.
            service.work = None;
            service.orphan = true;
        }
    }

    fn thaw(&mut self, node: usize) {
        if self.machines[node].suspended.is_some() {
            return;
        }
        let was = std::mem::take(&mut self.machines[node].frozen);
        if was {
            self.machines[node].awake_since = self.now;
            self.wake_at(node, self.now);
            self.listen_at(node, self.now + 1);
        }
    }

    /// A running machine's copy goes on beside it, processes and all, as after a snapshot.
    pub fn copy_running(&mut self, node: usize, copy: usize) {
        let original = &self.machines[node];
        let engine = original.engine.clone().map(|engine| Engine { wake: None, ..engine });
        let (clock, memory, services) =
            (original.clock, original.memory.clone(), original.services.clone());
        let machine = &mut self.machines[copy];
        (machine.clock, machine.memory, machine.services) = (clock, memory, services);
        machine.engine = engine;
        // No two machines wake in the same microsecond for ever.
        machine.late = 35;
        machine.on = true;
        machine.awake_since = self.now;
        self.wake_at(copy, self.now + 1);
    }

    fn suspend(&mut self, node: usize, stands: bool) {
        let machine = &mut self.machines[node];
        if machine.on && machine.suspended.is_none() {
            machine.frozen = true;
            machine.suspended = Some((self.now, stands));
            machine.services.iter_mut().for_each(|service| service.orphan = true);
        }
    }

    fn resume(&mut self, node: usize) {
        let (rule, lease, strict) =
            (self.setup.rule, self.setup.longest_lease(), self.setup.is_strict());
        let machine = &mut self.machines[node];
        let Some((since, stands)) = machine.suspended.take() else { return };
        if stands {
            let span = self.now - since;
            machine.clock.stood_still(span);
            machine.services.iter_mut().for_each(|service| service.address_until += span);
            machine.bites_at = machine.bites_at.map(|at| at + span);
        }
        // A lease is believed in by a clock that stood still; and where only a watchdog would end
        // what runs, it slept too: what wakes up is stopped as soon as the engine turns.
        if rule == Rule::Majority && (stands || strict) {
            machine.excused_until = self.now + lease * 102 / 100;
        }
        for (group, ticket) in std::mem::take(&mut machine.postponed) {
            self.schedule(self.now + 1, Happening::Done { node, group, ticket });
        }
        self.thaw(node);
    }

    fn carrier(&mut self, node: usize, link: usize, up: bool) {
        self.machines[node].carrier[link] = up;
        if self.is_witness(node) {
            return;
        }
        let link = LinkId::new(link).expect("links are few");
        self.enqueue(node, Pending::Link { link, up });
    }

    fn lines(&mut self, node: usize, link: usize, up: bool) {
        if self.is_witness(node) {
            return;
        }
        let link = LinkId::new(link).expect("links are few");
        let what = if up { Pending::Link { link, up } } else { Pending::HungUp { link } };
        self.enqueue(node, what);
    }

    fn mend(&mut self) {
        for wire in self.network.wires() {
            *wire = Wire::GOOD;
        }
        let copies = self.setup.copies();
        for clone in copies.clone() {
            self.power_off(clone);
        }
        for node in (0..self.machines.len()).filter(|node| !copies.contains(node)) {
            self.devices[node] = Device::GOOD;
            self.machines[node].disk = true;
            for link in 0..self.network.links() {
                if !self.machines[node].carrier[link] {
                    self.carrier(node, link, true);
                }
            }
            let groups = if self.is_witness(node) { 0 } else { self.setup.groups };
            for group in 0..groups {
                self.machines[node].services[group].start = Fate::Works;
                self.machines[node].services[group].stop = Fate::Works;
                if !self.machines[node].services[group].able {
                    self.apply(Fault::Able(node, group, true));
                }
            }
            self.resume(node);
            self.thaw(node);
            if !self.machines[node].on {
                self.power_on(node);
            } else if self.machines[node].engine.is_none() && self.machines[node].voter.is_none() {
                self.revive(node);
            }
        }
    }
}

impl Fault {
    /// Its name, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::PowerOn(_) => "power on",
            Fault::PowerOff(_) => "power off",
            Fault::Kill(_) => "kill",
            Fault::Revive(_) => "revive",
            Fault::Forget(_) => "runtime directory lost",
            Fault::Freeze(_) => "freeze",
            Fault::Thaw(_) => "thaw",
            Fault::Suspend(_, false) => "suspend",
            Fault::Suspend(_, true) => "paused virtual machine",
            Fault::Resume(_) => "resume",
            Fault::Configure(..) => "other configuration",
            Fault::Device(..) => "fence device",
            Fault::Disk(..) => "runtime directory not writable",
            Fault::Word(..) => "operator's word",
            Fault::Wire { .. } => "quality of one direction",
            Fault::Cut { .. } => "cut or mend of one direction",
            Fault::Quality(..) => "quality of a link",
            Fault::Carrier(..) => "carrier",
            Fault::Lines(..) => "modem lines",
            Fault::Able(..) => "ability",
            Fault::Starts(..) => "start script",
            Fault::Stops(..) => "stop script",
            Fault::Command(..) => "command",
            Fault::Mend => "mend",
        }
    }
}
