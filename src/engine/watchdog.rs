//! What resets this machine when the engine no longer vouches for it: chosen at the start, in the
//! order of trust, and petted from the loop itself when the core permits it.
use crate::config::{self, Config, format_duration};
use crate::core::id::GroupSet;
use crate::core::time::{Duration, Instant};
use crate::platform::gpio::{self, Output, Pin};
use crate::platform::watchdog::{Applies, Armed, Board, Fact, Info, Wanted};
use crate::platform::watchdog::{holder, known, open, software, stop};
use crate::tell::notify::Notify;
use crate::tell::{Level, Teller};
use std::path::{Path, PathBuf};

/// Noted in the runtime directory while a device runs: the next engine of this boot must go on
/// petting it, or stop it.
const NOTE: &str = "watchdog";
/// Set by the drop-in of `latido watchdog setup --manager`, beside `FailureAction=`.
const MANAGER_REBOOTS: &str = "LATIDO_FAILURE_ACTION";

/// What is petted.
enum Dog {
    /// Nothing; a stop that hangs may still end the machine.
    Nothing,
    Device(Armed),
    /// A chip that watches a pin for changes; its level, and what starts and stops the chip.
    Chip(Box<dyn Output>, bool, Option<Box<dyn Output>>),
    Manager,
}

/// Keeps the watchdog.
pub(super) struct Keeper {
    dog: Dog,
    board: Board,
    /// More often would be work for nothing.
    every: Duration,
    next: Instant,
    note: PathBuf,
    majority: bool,
}

impl Keeper {
    /// Chooses by what is configured and what is there. What was chosen is said, and why nothing
    /// better was.
    pub(super) fn choose(config: &Config, runtime: &Path, teller: &Teller) -> Keeper {
        let note = runtime.join(NOTE);
        let wanted = config.watchdog.as_ref().filter(|one| one.gpio.is_none()).map(wanted);
        let here = |left: &Path| wanted.as_ref().is_some_and(|one| one.device == left);
        let left = std::fs::read_to_string(&note).ok().map(PathBuf::from);
        if let Some(left) = left.filter(|left| !here(left)) {
            // The configuration names it no longer, and nobody else would pet it.
            match stop(&left) {
                Ok(()) => drop(std::fs::remove_file(&note)),
                Err(error) => teller.say(Level::Error, format!("watchdog: {error}")),
            }
        }
        let (dog, fact) = match &config.watchdog {
            None => (Dog::Nothing, Fact::default()),
            Some(watchdog) => find(watchdog),
        };
        if let (Dog::Device(_), Applies::Device(info)) = (&dog, &fact.applies)
            && let Err(error) = std::fs::write(&note, info.device.display().to_string())
        {
            teller.say(Level::Warning, format!("the watchdog is not noted: {error}"));
        }
        for (level, text) in told(&fact) {
            teller.say(level, text);
        }
        let board = Board::default();
        let every = super::settings::span(fact.bound.unwrap_or_default()).ratio(1, 16);
        board.choose(fact);
        let majority = config.rule == config::Rule::Majority;
        Keeper { dog, board, every, next: Instant::default(), note, majority }
    }

    pub(super) fn board(&self) -> Board {
        self.board.clone()
    }

    /// The configuration with the bound that was found: what the leases count with.
    pub(super) fn counted(&self, config: &Config) -> Config {
        let mut counted = config.clone();
        if let Some(watchdog) = &mut counted.watchdog {
            // Zero counts for nothing: the machine can still reset itself.
            watchdog.timeout = self.board.fact().bound.unwrap_or_default();
        }
        counted
    }

    /// The core vouches for one more timeout.
    pub(super) fn pet(&mut self, now: Instant, notify: &Notify) {
        if now < self.next || self.board.is_held_back() {
            return;
        }
        self.next = now + self.every;
        let petted = match &mut self.dog {
            Dog::Nothing => Ok(()),
            Dog::Manager => {
                notify.watchdog();
                Ok(())
            }
            Dog::Device(armed) => armed.pet(),
            Dog::Chip(pin, level, _) => {
                *level = !*level;
                pin.set(*level)
            }
        };
        self.board.note(petted.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
    }

    /// Whether the service manager's watchdog is petted only when the core permits it.
    pub(super) fn is_manager(&self) -> bool {
        matches!(self.dog, Dog::Manager)
    }

    /// No engine follows. What may still run here is a reason to let it bite: under `majority`
    /// another node takes those groups when their leases end.
    pub(super) fn finish(self, blocked: GroupSet) {
        let Applies::Device(info) = self.board.fact().applies else { return };
        let device = info.device.display();
        if blocked != GroupSet::EMPTY && self.majority {
            log::error!(
                "the watchdog {device} is left running: what could not be stopped ends with this \
                 machine"
            );
            return;
        }
        let stopped = match self.dog {
            Dog::Device(armed) => armed.disarm(),
            Dog::Chip(_, _, Some(mut enable)) => enable.set(false).is_ok(),
            Dog::Chip(_, _, None) | Dog::Manager | Dog::Nothing => false,
        };
        if stopped {
            let _ = std::fs::remove_file(&self.note);
        } else {
            log::error!(
                "the watchdog {device} cannot be stopped: it resets this machine unless Latido is \
                 started again in time"
            );
        }
    }
}

fn wanted(watchdog: &config::Watchdog) -> Wanted {
    Wanted {
        device: watchdog.device.clone(),
        timeout: watchdog.timeout,
        pretimeout: watchdog.pretimeout,
    }
}

/// In the order of trust: the device, the service manager, the kernel's timer, our own reboot.
fn find(watchdog: &config::Watchdog) -> (Dog, Fact) {
    let wanted = &wanted(watchdog);
    let device = |armed: Armed, passed_over: Vec<String>| {
        let info = armed.info().clone();
        let bound = Some(info.timeout);
        (Dog::Device(armed), Fact { applies: Applies::Device(info), bound, passed_over })
    };
    let mut passed_over = Vec::new();
    let chip = watchdog.gpio.as_deref().map(|pin| take_chip(pin, watchdog));
    match chip {
        Some(Ok((dog, info))) => {
            let bound = Some(info.timeout);
            return (dog, Fact { applies: Applies::Device(info), bound, passed_over });
        }
        Some(Err(why)) => passed_over.push(why),
        None => match open(wanted) {
            Ok(armed) => return device(armed, passed_over),
            Err(refused) => passed_over.push(refused.to_string()),
        },
    }
    let reboots = std::env::var(MANAGER_REBOOTS).is_ok_and(|action| action.starts_with("reboot-"));
    if let Some(half) = Notify::from_env().watchdog_interval().filter(|_| reboots) {
        let service = half * 2;
        // The init system's own hang is ended by its device.
        let machine = holder(&wanted.device).filter(|holder| holder.is_init());
        let machine = machine.and_then(|_| known(&wanted.device).timeout).unwrap_or(0);
        let bound = Some(service + std::time::Duration::from_secs(machine.into()));
        return (Dog::Manager, Fact { applies: Applies::Manager(service), bound, passed_over });
    }
    let softdog = software().filter(|device| *device != wanted.device);
    match softdog.map(|device| open(&Wanted { device, ..wanted.clone() })) {
        Some(Ok(armed)) => return device(armed, passed_over),
        Some(Err(refused)) => passed_over.push(refused.to_string()),
        None => {}
    }
    (Dog::Nothing, Fact { applies: Applies::Reboot, bound: None, passed_over })
}

/// A chip on a pin: it cannot be asked anything.
fn take_chip(pin: &str, watchdog: &config::Watchdog) -> Result<(Dog, Info), String> {
    let take = |text: &str| {
        let pin = Pin::parse(text).ok_or_else(|| format!("`{text}` is no pin"))?;
        gpio::output(&pin).map_err(|error| error.to_string())
    };
    let watched = take(pin)?;
    let mut enable = watchdog.enable.as_deref().map(take).transpose()?;
    if let Some(enable) = &mut enable {
        enable.set(true).map_err(|error| error.to_string())?;
    }
    let info = Info {
        device: format!("pin {pin}").into(),
        identity: "a chip".to_owned(),
        timeout: watchdog.timeout,
        stoppable: enable.is_some(),
        ..Info::default()
    };
    Ok((Dog::Chip(watched, false, enable), info))
}

/// What the log says of the choice.
fn told(fact: &Fact) -> Vec<(Level, String)> {
    let mut lines: Vec<_> =
        fact.passed_over.iter().map(|why| (Level::Warning, format!("watchdog: {why}"))).collect();
    match &fact.applies {
        Applies::Nothing => {}
        Applies::Device(info) => {
            let text = format!(
                "watchdog {} ({}): resets this machine {} after the engine last vouched for it",
                info.device.display(),
                info.identity,
                format_duration(info.timeout)
            );
            lines.push((Level::Info, text));
            let remark = |remark: &String| (Level::Warning, format!("watchdog: {remark}"));
            lines.extend(info.remarks.iter().map(remark));
            if info.bitten {
                let text = "the watchdog says that it reset this machine the last time";
                lines.push((Level::Warning, text.to_owned()));
            }
            if !info.stoppable {
                let text = "the watchdog cannot be stopped any more (nowayout, or a chip without \
                            `enable`): `latido stop` ends in a reset of this machine unless Latido \
                            is started again in time";
                lines.push((Level::Warning, text.to_owned()));
            }
        }
        Applies::Manager(limit) => {
            let text = format!(
                "the service manager is to reboot this machine when the engine has not vouched for \
                 it for {}; that is no proof: it waits for processes that cannot be killed",
                format_duration(*limit)
            );
            lines.push((Level::Warning, text));
        }
        Applies::Reboot => {
            let text = "no watchdog: this machine reboots itself when it cannot stop something, \
                        but nothing ends it when Latido itself hangs or is killed";
            lines.push((Level::Error, text.to_owned()));
        }
    }
    lines
}
