//! The faults that `latido demo` can bring about.
use crate::lab::error::{Error, Result};
use crate::lab::node::Node;
use crate::lab::pair::{Expect, Pair, Step};
use crate::lab::relay::Fate;
use crate::lab::{CROSSOVER, LAN, Switch, cable::End, wait};
use clap::ValueEnum;
use rustix::process::Signal;
use std::time::Duration;

/// What can be done to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Fault {
    /// The owner hands over on purpose, and takes back.
    Switchover,
    /// The owner loses its power, and returns.
    PowerCut,
    /// The owner's daemon is told to end (SIGTERM), and started again.
    Stop,
    /// The owner's engine is killed (SIGKILL); its supervisor starts it again.
    KillEngine,
    /// The owner's engine and supervisor are killed at once.
    KillAll,
    /// The owner's daemon is stopped (SIGSTOP) for three dead times, then goes on.
    Freeze,
    /// The owner's LAN cable is pulled; the crossover lives.
    LanCable,
    /// The crossover cable is pulled.
    CrossoverCable,
    /// The serial cable is pulled.
    SerialCable,
    /// On the LAN the other node does not hear the owner, but is heard.
    OneWay,
    /// All paths between the nodes are cut for three dead times; the client reaches both.
    Partition,
    /// Every network loses 20 % of all frames for the time of `--seconds`.
    Loss,
    /// Nothing happens for the time of `--seconds`: what the daemons use.
    Steady,
}

impl Fault {
    /// The switch that it needs.
    pub(super) fn switch(self) -> Switch {
        match self {
            Fault::OneWay | Fault::Loss => Switch::Relay,
            _ => Switch::Bridge,
        }
    }
}

/// What a fault needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) dead: Duration,
    pub(super) seconds: Duration,
    /// Whether the group returns to the preferred node by itself.
    pub(super) failback: bool,
}

/// Tells what is about to happen, in a line for newcomers.
pub(super) type Tell<'a> = &'a mut dyn FnMut(&str);

/// Brings a fault about and lets it end. Each step measured is told to `report`.
pub(super) fn run(
    fault: Fault,
    pair: &Pair,
    measure: Measure,
    tell: Tell<'_>,
    report: &mut dyn FnMut(Step),
) -> Result<()> {
    let owner = pair.owner().ok_or_else(|| Error::new("nobody owns the address"))?;
    let peer = pair.peer_of(&owner);
    let mut scene = Scene { pair, owner: pair.lab.node(&owner), peer, measure, tell, report };
    match fault {
        Fault::Switchover => scene.switchover(),
        Fault::PowerCut => scene.power_cut(),
        Fault::Stop => scene.stop(),
        Fault::KillEngine => scene.kill_engine(),
        Fault::KillAll => scene.kill_all(),
        Fault::Freeze => scene.freeze(),
        Fault::LanCable => scene.lan_cable(),
        Fault::CrossoverCable => scene.quiet_cable("crossover cable pulled", |pair, plugged| {
            pair.lab.set_cables(CROSSOVER, plugged)
        }),
        Fault::SerialCable => scene.quiet_cable("serial cable pulled", |pair, plugged| {
            let none = || Error::new("this configuration has no serial cable");
            pair.lab.cable(0).ok_or_else(none)?;
            set_serial(pair, plugged);
            Ok(())
        }),
        Fault::OneWay => scene.one_way(),
        Fault::Partition => scene.partition(),
        Fault::Loss => scene.loss(),
        Fault::Steady => scene.steady(),
    }
}

struct Scene<'a> {
    pair: &'a Pair,
    owner: &'a Node,
    peer: String,
    measure: Measure,
    tell: Tell<'a>,
    report: &'a mut dyn FnMut(Step),
}

impl Scene<'_> {
    fn step(
        &mut self,
        name: &str,
        expect: &Expect,
        deed: impl FnOnce(&Pair) -> Result<()>,
    ) -> Result<()> {
        let step = self.pair.step(name, expect, deed)?;
        (self.report)(step);
        Ok(())
    }

    fn to_peer(&self) -> Expect {
        Expect::Owner(self.peer.clone())
    }

    fn to_owner(&self) -> Expect {
        Expect::Owner(self.owner.name().to_owned())
    }

    /// Long enough for a takeover to show if one came.
    fn calm(&self) -> Expect {
        Expect::Nothing((self.measure.dead * 3).max(Duration::from_secs(1)))
    }

    fn switchover(&mut self) -> Result<()> {
        let (owner, peer) = (self.owner.name().to_owned(), self.peer.clone());
        (self.tell)(&format!("{owner} hands the address over to {peer}, on purpose."));
        self.step("switchover", &self.to_peer(), |pair| pair.command(&owner, "standby").map(drop))?;
        (self.tell)(&format!("And back: {owner} takes it again."));
        self.step("switch back", &self.to_owner(), |pair| {
            pair.command(&owner, "takeover").map(drop)
        })
    }

    fn power_cut(&mut self) -> Result<()> {
        let (owner, peer) = (self.owner.name().to_owned(), self.peer.clone());
        (self.tell)(&format!("Now the plug of {owner} is pulled: no farewell, just silence."));
        self.step("power cut", &self.to_peer(), |pair| {
            pair.lab.node(&owner).power_cut().map(drop)
        })?;
        (self.tell)(&format!("{owner} is switched on again."));
        self.give_back("return", |pair| pair.power_on(pair.peer_of(&peer).as_str()))
    }

    fn stop(&mut self) -> Result<()> {
        let owner = self.owner.name().to_owned();
        (self.tell)(&format!("The daemon of {owner} is told to end; it hands over first."));
        let node = self.owner;
        self.step("stop", &self.to_peer(), |_| {
            let daemon = node.daemon().ok_or_else(|| Error::new("there is no daemon"))?;
            node.signal(daemon.pid, Signal::TERM)
        })?;
        wait::until(Duration::from_secs(20), "the daemon to end", || {
            node.daemon().is_none().then_some(())
        })?;
        (self.tell)(&format!("It is started again on {owner}."));
        self.give_back("start again", |pair| pair.start_daemon(node.name()).map(drop))
    }

    fn kill_engine(&mut self) -> Result<()> {
        let node = self.owner;
        (self.tell)(&format!(
            "The engine of {} is killed; its supervisor starts it again.",
            node.name()
        ));
        let engine = node.engine().ok_or_else(|| Error::new("there is no engine"))?.pid;
        self.step("engine killed", &self.calm(), |_| node.signal(engine, Signal::KILL))?;
        let back = node.engine().is_some_and(|new| new.pid != engine);
        if back { Ok(()) } else { Err(Error::new("the engine was not started again")) }
    }

    fn kill_all(&mut self) -> Result<()> {
        let node = self.owner;
        (self.tell)(&format!("Every process of the daemon of {} is killed.", node.name()));
        self.step("all killed", &self.to_peer(), |_| {
            let daemon = node.daemon().ok_or_else(|| Error::new("there is no daemon"))?;
            // Stopped first, so that none of them can start another.
            node.signal_family(daemon.pid, Signal::STOP);
            node.signal_family(daemon.pid, Signal::KILL);
            Ok(())
        })?;
        (self.tell)("It is started again.");
        self.give_back("start again", |pair| pair.start_daemon(node.name()).map(drop))
    }

    fn freeze(&mut self) -> Result<()> {
        let node = self.owner;
        (self.tell)(&format!("The daemon of {} is stopped in mid-beat.", node.name()));
        let daemon = node.daemon().ok_or_else(|| Error::new("there is no daemon"))?.pid;
        let frozen = std::time::Instant::now();
        self.step("frozen", &self.to_peer(), |_| {
            node.signal_family(daemon, Signal::STOP);
            Ok(())
        })?;
        std::thread::sleep((self.measure.dead * 3).saturating_sub(frozen.elapsed()));
        (self.tell)("It goes on, and has to find out that it is late.");
        self.give_back("thawed", |_| {
            node.signal_family(daemon, Signal::CONT);
            Ok(())
        })
    }

    fn lan_cable(&mut self) -> Result<()> {
        let node = self.owner;
        (self.tell)(&format!("The LAN cable of {} is pulled; heartbeats still pass.", node.name()));
        self.step("LAN cable pulled", &self.to_peer(), |_| node.set_cable(LAN, false))?;
        (self.tell)("It is plugged in again.");
        self.give_back("plugged in", |_| node.set_cable(LAN, true))
    }

    fn quiet_cable(&mut self, name: &str, set: impl Fn(&Pair, bool) -> Result<()>) -> Result<()> {
        (self.tell)(&format!("{name}: the other paths live, nothing may move."));
        self.step(name, &self.calm(), |pair| set(pair, false))?;
        self.step("plugged in", &self.calm(), |pair| set(pair, true))
    }

    fn one_way(&mut self) -> Result<()> {
        let (owner, peer) = (self.owner.name().to_owned(), self.peer.clone());
        (self.tell)(&format!("On the LAN {peer} does not hear {owner} any more, but is heard."));
        self.step("one way", &self.calm(), |pair| {
            pair.lab.relay(LAN)?.set(&owner, &peer, Fate::LOST);
            Ok(())
        })?;
        self.step("both ways", &self.calm(), |pair| {
            pair.lab.relay(LAN)?.heal();
            Ok(())
        })
    }

    fn partition(&mut self) -> Result<()> {
        (self.tell)("Every path between the nodes is cut. Both live, and the client reaches both.");
        let period = self.measure.dead * 3;
        let address = self.pair.address();
        self.free_step("split", |pair| {
            set_paths(pair, false)?;
            std::thread::sleep(period);
            Ok(())
        })?;
        (self.tell)("The paths are joined again: one of two owners has to let go.");
        let limit = self.measure.dead * 10 + Duration::from_secs(20);
        self.free_step("healed", |pair| {
            set_paths(pair, true)?;
            wait::until(limit, "one owner", || {
                (pair.lab.ownership().holders(address).len() == 1).then_some(())
            })?;
            // Late announcements are part of the story.
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        })
    }

    /// A step of which it is not known who will own.
    fn free_step(&mut self, name: &str, deed: impl FnOnce(&Pair) -> Result<()>) -> Result<()> {
        self.step(name, &Expect::Nothing(Duration::ZERO), deed)
    }

    fn loss(&mut self) -> Result<()> {
        (self.tell)(&format!(
            "Every network loses 20 % of all frames, for {} s.",
            self.measure.seconds.as_secs()
        ));
        self.step("20 % loss", &Expect::Nothing(self.measure.seconds), |pair| {
            for network in pair.lab.networks() {
                pair.lab.relay(network)?.set_all(Fate::loss(0.2));
            }
            Ok(())
        })
    }

    fn steady(&mut self) -> Result<()> {
        (self.tell)(&format!("Nothing happens for {} s.", self.measure.seconds.as_secs()));
        self.step("steady", &Expect::Nothing(self.measure.seconds), |_| Ok(()))
    }

    /// The owner of before may have the group again: by itself, or by command.
    fn give_back(&mut self, name: &str, deed: impl FnOnce(&Pair) -> Result<()>) -> Result<()> {
        if self.measure.failback {
            return self.step(name, &self.to_owner(), deed);
        }
        let (owner, peer) = (self.owner.name().to_owned(), self.peer.clone());
        self.step(name, &Expect::Owner(peer), deed)?;
        let limit = self.measure.dead * 10 + Duration::from_secs(20);
        // Refused until the two have heard each other.
        self.step("failback", &self.to_owner(), |pair| {
            wait::until(limit, format!("{owner} to take over"), || {
                pair.command(&owner, "takeover").ok()
            })
            .map(drop)
        })
    }
}

/// Cuts or joins everything between the nodes; the LAN so that the client reaches both.
fn set_paths(pair: &Pair, joined: bool) -> Result<()> {
    for network in pair.lab.networks() {
        pair.lab.split(network, !joined)?;
    }
    set_serial(pair, joined);
    Ok(())
}

fn set_serial(pair: &Pair, joined: bool) {
    if let Some(cable) = pair.lab.cable(0) {
        cable.set(End::First, joined);
        cable.set(End::Second, joined);
    }
}
