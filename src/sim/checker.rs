//! The invariants, looked at after every event.
use super::machine::{Machine, Runs};
use super::world::{Violation, World};
use crate::core::Rule;
use crate::core::id::{NodeId, Term};
use crate::core::io::{Event, Phase, StopReason};
use std::collections::BTreeMap;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Checker {
    /// Every ownership ever started: group and term, node and boot.
    terms: BTreeMap<(usize, Term), (usize, u64)>,
    /// Since when two nodes serve a group.
    two_since: Vec<Option<u64>>,
    /// Since when the cables and machines have been good without a break.
    pub(super) good_since: Option<u64>,
    /// The longest time that two nodes served one group, and its part in good conditions.
    pub(super) longest_two: u64,
    pub(super) longest_two_good: u64,
}

impl World {
    /// Notes whether some link passes every frame both ways between all, and all of them run.
    pub(super) fn judge_conditions(&mut self) {
        let now = self.now;
        // Who cannot write down who it is has no successor that takes over its lease.
        let run = |machine: &Machine| {
            machine.on && !machine.frozen && machine.disk && machine.engine.is_some()
        };
        let nodes = &self.machines[..self.setup.nodes];
        let copied = self.machines[self.setup.copies()].iter().any(|copy| copy.on);
        // With two lists of voters about, neither may have its majority.
        let list = |machine: &Machine| machine.version >= super::Setup::SHORTER;
        let one_list = nodes.iter().all(|machine| list(machine) == list(&nodes[0]));
        let machines_run = nodes.iter().all(run) && !copied && one_list;
        let good = machines_run && (0..self.network.links()).any(|link| self.link_good(link, now));
        if !good {
            self.checker.good_since = None;
        } else if self.checker.good_since.is_none() {
            self.checker.good_since = Some(now);
        }
    }

    fn link_good(&mut self, link: usize, now: u64) -> bool {
        let (nodes, prompt) = (self.setup.nodes, self.setup.dead / 4);
        if !self.machines.iter().take(nodes).all(|machine| machine.carrier[link]) {
            return false;
        }
        let mut pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        pairs.all(|(from, to)| from == to || self.network.wire(link, from, to).is_good(now, prompt))
    }

    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.checker.two_since.resize(self.setup.groups, None);
        for group in 0..self.setup.groups {
            self.check_owners(group)?;
        }
        for node in 0..self.machines.len() {
            self.check_votes(node)?;
        }
        if self.setup.rule == Rule::Majority {
            self.check_promises()?;
        }
        Ok(())
    }

    /// No voter is free, or bound to somebody else, as long as an owner counts on its vote.
    fn check_promises(&self) -> Result<(), Violation> {
        for (node, owner) in self.machines.iter().enumerate() {
            let Some(claimant) = owner.engine.as_ref().map(|engine| &engine.cluster) else {
                continue;
            };
            // A clock that stood still breaks every promise that was made to it.
            let excused = self.now < owner.excused_until || owner.suspended.is_some();
            let here = owner.clock.local(self.now);
            for group in (0..self.setup.groups).filter(|_| !excused).map(super::Setup::group) {
                for (voter, machine) in self.machines.iter().take(self.setup.nodes).enumerate() {
                    let id = NodeId::new(voter).expect("nodes are few");
                    // A copied voter is two: which of them promised is not known here.
                    let copied = voter < self.setup.clones || voter == node;
                    let Some(engine) = machine.engine.as_ref().filter(|_| !copied) else {
                        continue;
                    };
                    let counted = claimant.counts(group, id, here);
                    let there = machine.clock.local(self.now);
                    let holder = (claimant.me(), claimant.incarnation());
                    let before = claimant.predecessor().map(|before| (holder.0, before));
                    // What could not be written down may still name the owner's predecessor.
                    let is_true = |holder| engine.cluster.is_true_to(group, holder, there);
                    if counted && !is_true(holder) && !before.is_some_and(is_true) {
                        let grant = engine.cluster.inspect(group).grant;
                        return Err(self.violation(format!(
                            "n{node} counts on n{voter}'s vote for {group:?}, which is bound to \
                             {grant:?}, not to {holder:?}"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// Under `assume-dead` two may serve only as long as they cannot hear each other.
    fn check_owners(&mut self, group: usize) -> Result<(), Violation> {
        let now = self.now;
        if self.setup.rule != Rule::AssumeDead {
            // A copied voter votes twice: nothing keeps both from having a majority.
            let doubled = self.machines[self.setup.copies()].iter().any(|copy| {
                copy.on
                    || copy.off_since > 0 && now < copy.off_since + 3 * self.setup.longest_lease()
            });
            return if doubled { Ok(()) } else { self.check_one_owner(group) };
        }
        let serves = |machine: &&Machine| {
            let service = &machine.services[group];
            machine.runs() && service.serves(now) && !service.stuck
        };
        if self.machines.iter().filter(serves).count() < 2 {
            self.checker.two_since[group] = None;
            return Ok(());
        }
        let since = *self.checker.two_since[group].get_or_insert(now);
        self.checker.longest_two = self.checker.longest_two.max(now - since);
        let Some(good) = self.checker.good_since else { return Ok(()) };
        // Who has heard each other for a while never begins to own the same.
        let known = good + 2 * self.setup.dead + 2 * self.setup.interval;
        if since > known {
            return Err(self.violation(format!(
                "g{group} has a second owner, and nobody was silent since {good} µs"
            )));
        }
        let seen = now - since.max(good);
        self.checker.longest_two_good = self.checker.longest_two_good.max(seen);
        let stop = self.machines.iter().map(|machine| {
            let service = &machine.services[group];
            // A stop that began when stops hung ends at its limit, though they work again since.
            let stopping =
                service.work.is_some_and(|(work, ..)| work == super::machine::Work::Stop);
            let works = service.stop == super::machine::Fate::Works && !stopping;
            service.probe_takes + if works { service.stop_takes } else { service.limit }
        });
        let stop = stop.max().unwrap_or(0);
        // A frame each way to find each other again, one to be told, and the stop.
        let bound = 2 * self.setup.interval + 3 * self.longest_delay() + stop;
        // Started under way: the interval of a clock that is slow, and the engine's latency.
        let bound = bound + bound / 50 + 10 * self.setup.latency;
        if seen > bound {
            return Err(self.violation(format!(
                "g{group} is served by two nodes for {seen} µs of good conditions (bound {bound})"
            )));
        }
        Ok(())
    }

    /// Under `majority` never two, not even for a moment; what is being stopped counts.
    fn check_one_owner(&self, group: usize) -> Result<(), Violation> {
        let in_use = |node: &usize| {
            let machine = &self.machines[*node];
            let excused = self.now < machine.excused_until;
            let service = &machine.services[group];
            // What a watchdog or a fence ends counts until the machine is off.
            let in_use =
                if self.setup.is_strict() { service.is_there() } else { service.in_use(self.now) };
            machine.runs() && !excused && in_use
        };
        let owners: Vec<usize> = (0..self.machines.len()).filter(in_use).collect();
        if owners.len() < 2 {
            return Ok(());
        }
        Err(self.violation(format!("g{group} is in use on more than one node: {owners:?}")))
    }

    /// No lease is lost as long as a link is good both ways between all.
    fn check_lease_over(&self, node: usize, group: usize) -> Result<(), Violation> {
        let Some(good) = self.checker.good_since else { return Ok(()) };
        // Voters that forgot may have been silent for so long.
        let longest = self.setup.longest_lease();
        let known = good + 2 * longest.max(self.setup.blackout);
        // A blocked stop is tried again for the same reason.
        let blocked = self.machines[node].services[group].stuck;
        // Started twice at once, it names a predecessor that nobody has heard.
        let [before, last] = self.machines[node].starts;
        let twice = last - before < 2 * self.setup.dead && self.now < last + 2 * longest;
        if self.setup.rule != Rule::Majority || self.now < known || blocked || twice {
            return Ok(());
        }
        Err(self.violation(format!(
            "n{node} lost its lease of g{group}, and nobody was silent since {good} µs"
        )))
    }

    fn check_votes(&mut self, node: usize) -> Result<(), Violation> {
        let Some(engine) = &self.machines[node].engine else { return Ok(()) };
        for group in 0..self.setup.groups {
            let seen = engine.cluster.inspect(super::Setup::group(group));
            let owns = matches!(seen.phase, Phase::Starting | Phase::Running);
            let elsewhere =
                seen.grant.is_some_and(|grant| grant.0.index() != node % self.setup.nodes);
            if owns && elsewhere {
                return Err(self.violation(format!("n{node} owns g{group}, but grants it away")));
            }
            if owns && seen.claim.is_none() {
                return Err(self.violation(format!("n{node} runs g{group} without a claim")));
            }
            if seen.claim.is_some_and(|term| term.node.index() != node % self.setup.nodes) {
                return Err(self.violation(format!("n{node} claims g{group} by another's term")));
            }
        }
        Ok(())
    }

    /// A term names one ownership, for ever.
    pub(super) fn check_event(&mut self, node: usize, event: Event) -> Result<(), Violation> {
        if let Event::Stopping(group, StopReason::LeaseOver) = event {
            return self.check_lease_over(node, group.index());
        }
        let Event::Starting(group, term) = event else { return Ok(()) };
        self.moves += 1;
        let (group, boot) = (group.index(), self.machines[node].life);
        let nodes = self.setup.nodes;
        match self.checker.terms.insert((group, term), (node, boot)) {
            // Who forgot everything and heard nobody begins at one again; so does a copy.
            Some((owner, then))
                if (owner, then) == (node, boot) || owner % nodes != node % nodes =>
            {
                Err(self.violation(format!("{term:?} of g{group} was n{owner}'s, now n{node}'s")))
            }
            _ => Ok(()),
        }
    }

    /// Whoever has been off for so long is alive to nobody, whatever still comes in its name.
    pub(super) fn check_buried(&mut self, node: usize, since: u64) -> Result<(), Violation> {
        let dead = &self.machines[node];
        if self.is_witness(node) || dead.on || dead.off_since != since || self.setup.clones > 0 {
            return Ok(());
        }
        let id = NodeId::new(node).expect("nodes are few");
        let misled = |machine: &Machine| {
            let watched = machine.runs() && !machine.frozen && machine.awake_since <= since;
            watched && machine.engine.as_ref().is_some_and(|engine| engine.cluster.hears(id))
        };
        match self.machines.iter().position(misled) {
            Some(other) => Err(self.violation(format!(
                "n{node} has been off since {since} µs, but to n{other} it is alive"
            ))),
            None => Ok(()),
        }
    }

    /// The engine slept, and woke at its deadline: how often in this second?
    pub(super) fn check_ticks(&mut self, node: usize) -> Result<(), Violation> {
        let second = self.now / 1_000_000;
        let bound = 8 * (1_000_000 / self.setup.interval) + 200;
        let ticks = &mut self.machines[node].ticks;
        *ticks = if ticks.0 == second { (second, ticks.1 + 1) } else { (second, 1) };
        if ticks.1 > bound {
            let reason = self.machines[node].engine.as_ref().map(|e| e.cluster.deadline());
            return Err(self.violation(format!(
                "n{node} ticked more than {bound} times in a second: {reason:?}"
            )));
        }
        Ok(())
    }

    /// Every group is served by exactly one node, and nothing else of it runs.
    pub(super) fn settled(&self, group: usize) -> bool {
        let runs = |machine: &&Machine| {
            let service = &machine.services[group];
            // What a failed stop left after a release is the operator's to clean.
            machine.on && service.runs != Runs::Nothing && !service.stuck
        };
        let serving = self.machines.iter().filter(|machine| {
            machine.services[group].runs == Runs::All && machine.services[group].serves(self.now)
        });
        self.machines.iter().filter(runs).count() == 1 && serving.count() == 1
    }
}
