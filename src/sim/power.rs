//! What switches machines off and on: fence devices, and watchdogs.
use super::fault::Fault;
use super::machine::Pending;
use super::trace::Line;
use super::world::{Happening, World};
use crate::core::id::{JobId, NodeId};
use crate::core::io::{Fenced, Watchdog};
use crate::core::time::Duration;

/// The device that switches one machine. It may be slow, late or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whether it switches at all; if not, it reports a failure.
    pub strikes: bool,
    /// Whether it can tell that it has; if not, it reports a failure all the same.
    pub knows: bool,
    /// Whether it says that it has although it has not.
    pub lies: bool,
    /// From the request to the power's end, in µs.
    pub off_after: u64,
    /// How long the power is off, in µs.
    pub dark: u64,
    /// From the power's end to the report, in µs: it may be long back by then.
    pub report_after: u64,
}

impl Device {
    /// A relay nearby.
    pub const GOOD: Device = Device {
        strikes: true,
        knows: true,
        lies: false,
        off_after: 1_000,
        dark: 20_000,
        report_after: 500,
    };
}

impl World {
    /// `node` asks the device of `target`.
    pub(super) fn fence(&mut self, node: usize, target: NodeId, request: JobId) {
        self.trace.push(self.now, node, Line::Ordered("fence n", target.index()));
        let device = self.devices[target.index()];
        let off = self.now + device.off_after;
        if device.strikes {
            self.striking += 1;
            self.schedule(off, Happening::Strike { target: target.index(), dark: device.dark });
        }
        let told = device.strikes && device.knows && !self.is_twice(target.index());
        let outcome = match told || device.lies {
            true => Fenced::Confirmed,
            false => Fenced::Failed,
        };
        let process = self.machines[node].process;
        let verdict = Happening::Verdict { node, process, target, request, outcome };
        self.schedule(off + device.report_after, verdict);
    }

    /// A copy of the machine runs: no device switches both, and what switches one confirms nothing.
    fn is_twice(&self, target: usize) -> bool {
        target < self.setup.clones && self.machines[self.setup.nodes + target].on
    }

    pub(super) fn strike(&mut self, target: usize, dark: u64) {
        self.striking -= 1;
        self.apply(Fault::PowerOff(target));
        self.plan(self.now + dark, Fault::PowerOn(target));
    }

    /// The device has answered; if the engine that asked is gone, to nobody.
    pub(super) fn verdict(
        &mut self,
        (node, process): (usize, u64),
        target: NodeId,
        request: JobId,
        outcome: Fenced,
    ) {
        let lies = self.devices[target.index()].lies;
        let outcome = if self.is_twice(target.index()) && !lies { Fenced::Failed } else { outcome };
        if self.machines[node].process == process {
            self.enqueue(node, Pending::Fenced { node: target, request, outcome });
        }
    }

    /// No fence is on its way.
    pub(super) fn is_peaceful(&self) -> bool {
        self.striking == 0
    }

    pub(super) fn watchdog(&mut self, node: usize, told: Watchdog) {
        match told {
            Watchdog::Pet => {
                let Some(timeout) = self.setup.watchdog else { return };
                let machine = &mut self.machines[node];
                // It runs by the machine's own crystal.
                let local = machine.clock.local(self.now) + Duration::from_micros(timeout);
                let at = machine.clock.when(local);
                let sleeps = machine.bites_at.is_none();
                machine.bites_at = Some(at);
                let boot = machine.boot;
                if sleeps {
                    self.schedule(at, Happening::Bite { node, boot });
                }
            }
            Watchdog::Reset(group) => {
                self.trace.push(self.now, node, Line::Ordered("reset", group.index()));
                let within = self.setup.reset_takes.unwrap_or(0);
                let at = self.now + self.random.between(0, within);
                self.schedule(at, Happening::Reset { node, boot: self.machines[node].boot });
            }
        }
    }

    /// The watchdog's time may be over.
    pub(super) fn bite(&mut self, node: usize, boot: u64) {
        let machine = &mut self.machines[node];
        let Some(at) = machine.bites_at.filter(|_| machine.on && machine.boot == boot) else {
            return;
        };
        if machine.suspended.is_some() {
            // It stands still with its machine.
            let at = self.now + self.setup.dead;
            self.schedule(at, Happening::Bite { node, boot });
        } else if self.now >= at {
            self.trace.push(self.now, node, Line::Note("is reset by its watchdog"));
            self.reset(node, boot);
        } else {
            self.schedule(at, Happening::Bite { node, boot });
        }
    }

    pub(super) fn reset(&mut self, node: usize, boot: u64) {
        if self.machines[node].on && self.machines[node].boot == boot {
            *self.faults.entry("reset").or_default() += 1;
            self.apply(Fault::PowerOff(node));
            self.plan(self.now + self.setup.dead / 2, Fault::PowerOn(node));
        }
    }
}
