//! The scripts of a group: they take their time, and end as they are told to.
use super::machine::{ADDRESS_LIFETIME, Fate, Pending, Runs, Work};
use super::setup::Setup;
use super::trace::Line;
use super::world::{Happening, World};
use crate::core::Rule;
use crate::core::id::{GroupId, JobId};
use crate::core::io::Outcome;

impl World {
    pub(super) fn order(&mut self, node: usize, group: GroupId, job: JobId, work: Work) {
        let name = match work {
            Work::Probe => "probe",
            Work::Start => "start",
            Work::Stop => "stop",
        };
        self.trace.push(self.now, node, Line::Ordered(name, group.index()));
        let now = self.now;
        let service = &mut self.machines[node].services[group.index()];
        let (fate, takes) = match work {
            Work::Probe => (Fate::Works, service.probe_takes),
            Work::Start => (service.start, service.start_takes),
            Work::Stop => (service.stop, service.stop_takes),
        };
        match work {
            Work::Probe => {}
            Work::Start => {
                // What runs is not started again: its keeper takes it over as it is.
                if service.runs == Runs::Nothing {
                    service.runs = Runs::Some;
                }
                service.stuck = false;
                if self.setup.rule != Rule::Majority {
                    service.address_until = now + ADDRESS_LIFETIME.max(2 * self.setup.dead);
                }
            }
            Work::Stop if service.runs != Runs::Nothing => service.runs = Runs::Some,
            Work::Stop => {}
        }
        let takes = if fate == Fate::Hangs { service.limit } else { takes.min(service.limit) };
        let ticket = self.tickets + 1;
        self.machines[node].services[group.index()].work = Some((work, job, ticket));
        self.schedule(now + takes, Happening::Done { node, group: group.index(), ticket });
    }

    pub(super) fn done(&mut self, node: usize, group: usize, ticket: u64) {
        let now = self.now;
        if self.machines[node].suspended.is_some() {
            self.machines[node].postponed.push((group, ticket));
            return;
        }
        let service = &mut self.machines[node].services[group];
        let Some((work, job, _)) = service.work.filter(|work| work.2 == ticket) else { return };
        service.work = None;
        let outcome = match work {
            Work::Probe => match service.runs {
                Runs::Nothing => Outcome::Stopped,
                Runs::All if now < service.address_until => Outcome::Running,
                Runs::All | Runs::Some => Outcome::Partial,
            },
            Work::Start if service.start == Fate::Works => {
                service.runs = Runs::All;
                Outcome::Running
            }
            Work::Stop if service.stop == Fate::Works || service.runs == Runs::Nothing => {
                service.runs = Runs::Nothing;
                service.orphan = false;
                service.stuck = false;
                Outcome::Stopped
            }
            Work::Stop => {
                service.stuck = true;
                Outcome::Failed
            }
            Work::Start => Outcome::Failed,
        };
        self.enqueue(node, Pending::Report { group: Setup::group(group), job, outcome });
    }
}
