//! Hands over before this machine dies of what it feels: a thread of its own, which asks for a
//! standby as any command does.
use crate::config::Health;
use crate::control::{Client, Order};
use crate::platform::health::{Feeling, Senses, Unfit};
use crate::tell::{Level, Teller};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// A standby that was refused, because nobody can take over, is asked for again after so long.
const AGAIN: Duration = Duration::from_secs(10);
/// Degrees below the threshold at which a hot machine counts as cool.
const COOL: i64 = 5;
/// Noted in the runtime directory while a standby is ours: the next engine ends it.
const NOTE: &str = "unfit";
const STACK: usize = 128 << 10;

/// One thing that can be wrong: it counts when it has lasted, and is over when it has been well for
/// long enough.
#[derive(Debug, Default)]
struct Judge {
    since: Option<Instant>,
    well: Option<Instant>,
    unfit: Option<String>,
}

impl Judge {
    /// `bad`: why, if it is; `well`: it certainly is not. In between nothing changes.
    fn look(&mut self, bad: Option<String>, well: bool, settings: &Health, now: Instant) {
        let lasted = |since: Instant, span| now.saturating_duration_since(since) >= span;
        if let Some(why) = bad {
            self.well = None;
            let since = *self.since.get_or_insert(now);
            if lasted(since, settings.lasts) {
                self.unfit = Some(why);
            }
            return;
        }
        self.since = None;
        if well {
            let since = *self.well.get_or_insert(now);
            if lasted(since, settings.recovers) {
                self.unfit = None;
            }
        }
    }
}

/// Everything that can be wrong.
#[derive(Debug, Default)]
struct Judges {
    heat: Judge,
    voltage: Judge,
    throttled: Judge,
    read_only: Judge,
    disk: Judge,
    /// Disk errors there were before.
    errors: Option<u64>,
}

impl Judges {
    /// Why this machine is not fit.
    fn look(&mut self, felt: &Feeling, settings: &Health, now: Instant) -> Vec<String> {
        if let (Some(limit), Some(heat)) = (settings.temperature, felt.temperature) {
            let limit = i64::from(limit) * 1000;
            let why = format!("it is {} °C hot", heat / 1000);
            let cool = heat <= limit - COOL * 1000;
            self.heat.look((heat >= limit).then_some(why), cool, settings, now);
        }
        let weak = felt.under_voltage == Some(true) && settings.under_voltage;
        let why = "its supply is too weak (under-voltage): look at the adapter and its cable";
        self.voltage.look(weak.then(|| why.to_owned()), !weak, settings, now);
        let slow = felt.throttled == Some(true) && settings.throttled;
        let why = "its processor is slowed down, for heat or voltage";
        self.throttled.look(slow.then(|| why.to_owned()), !slow, settings, now);
        let locked = felt
            .read_only
            .first()
            .map(|path| format!("{path} is mounted read-only: look at its disk or card (`dmesg`)"));
        let well = locked.is_none();
        self.read_only.look(locked, well, settings, now);
        if let (Some(limit), Some(errors)) = (settings.disk_errors, felt.disk_errors) {
            let before = *self.errors.get_or_insert(errors);
            let new = errors.saturating_sub(before);
            // They do not go away: only a restart of the daemon, after a look, forgets them.
            let bad = new >= u64::from(limit);
            let why = format!("its file systems met {new} errors: look at its disk or card");
            self.disk.look(bad.then_some(why), !bad, settings, now);
        }
        let all = [&self.heat, &self.voltage, &self.throttled, &self.read_only, &self.disk];
        all.into_iter().filter_map(|judge| judge.unfit.clone()).collect()
    }
}

/// Whom the thread asks.
trait Station {
    /// Whether this node is in standby; `None`: nobody answers.
    fn standby(&mut self) -> Option<bool>;
    fn order(&mut self, fit: bool) -> Result<(), String>;
    /// Whether the present standby is ours.
    fn ours(&mut self, ours: Option<bool>) -> bool;
}

struct Daemon {
    runtime: PathBuf,
}

impl Station for Daemon {
    fn standby(&mut self) -> Option<bool> {
        let report = Client::connect(&self.runtime).ok()?.status().ok()?;
        report.nodes.iter().find(|node| node.me).map(|node| node.standby)
    }

    fn order(&mut self, fit: bool) -> Result<(), String> {
        let order = if fit { Order::Fit } else { Order::Unfit };
        let mut client = Client::connect(&self.runtime).map_err(|error| error.to_string())?;
        client.order(order, &[]).map(drop).map_err(|error| error.to_string())
    }

    fn ours(&mut self, ours: Option<bool>) -> bool {
        let note = self.runtime.join(NOTE);
        match ours {
            Some(true) => _ = std::fs::write(&note, "standby\n"),
            Some(false) => _ = std::fs::remove_file(&note),
            None => {}
        }
        note.exists()
    }
}

struct Watch<S> {
    settings: Health,
    judges: Judges,
    station: S,
    /// The standby was asked for, or an operator's word stands against it.
    settled: bool,
    asked: Option<Instant>,
    told: Vec<String>,
}

impl<S: Station> Watch<S> {
    /// One look; why this machine is not fit, and what there is to say.
    fn turn(&mut self, felt: &Feeling, now: Instant) -> (Vec<String>, Vec<(Level, String)>) {
        let reasons = self.judges.look(felt, &self.settings, now);
        let mut lines = Vec::new();
        for new in reasons.iter().filter(|why| !self.told.contains(why)) {
            lines.push((Level::Warning, format!("this machine is not fit: {new}")));
        }
        if reasons.is_empty() && !self.told.is_empty() {
            lines.push((Level::Notice, "this machine is fit again".to_owned()));
        }
        self.told.clone_from(&reasons);
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= AGAIN);
        if reasons.is_empty() {
            self.settled = false;
            if self.station.ours(None) && due {
                self.asked = Some(now);
                self.end_standby(&mut lines);
            }
        } else if !self.settled && due {
            self.asked = Some(now);
            match self.station.standby() {
                // Somebody else's: it is not ended when this is over.
                Some(true) => self.settled = true,
                Some(false) => match self.station.order(false) {
                    Ok(()) => {
                        self.settled = true;
                        self.station.ours(Some(true));
                    }
                    Err(why) => lines.push((
                        Level::Warning,
                        format!("not fit, but nothing is handed over: {why}"),
                    )),
                },
                None => {}
            }
        }
        (reasons, lines)
    }

    fn end_standby(&mut self, lines: &mut Vec<(Level, String)>) {
        match self.station.standby() {
            Some(true) => match self.station.order(true) {
                Ok(()) => _ = self.station.ours(Some(false)),
                Err(why) => lines.push((
                    Level::Warning,
                    format!("fit again, but the standby does not end: {why}"),
                )),
            },
            // An operator has ended it.
            Some(false) => _ = self.station.ours(Some(false)),
            None => {}
        }
    }
}

/// Starts looking. Without `[health]` only a standby that it has left is ended.
///
/// # Errors
/// No thread is to be had.
pub(super) fn start(
    settings: Option<&Health>,
    runtime: &Path,
    unfit: Unfit,
    teller: &Teller,
) -> std::io::Result<()> {
    let mut station = Daemon { runtime: runtime.to_owned() };
    let nothing = Health {
        temperature: None,
        under_voltage: false,
        writable: Vec::new(),
        ..Health::default()
    };
    let settings = match settings {
        Some(settings) => settings.clone(),
        None if station.ours(None) => Health { disk_errors: None, throttled: false, ..nothing },
        None => return Ok(()),
    };
    let senses = Senses::default();
    let writable = settings.writable.clone();
    let mut watch = Watch {
        settings,
        judges: Judges::default(),
        station,
        settled: false,
        asked: None,
        told: Vec::new(),
    };
    let teller = teller.clone();
    std::thread::Builder::new().name("health".into()).stack_size(STACK).spawn(move || {
        loop {
            let (reasons, lines) = watch.turn(&senses.feel(&writable), Instant::now());
            unfit.note(reasons);
            lines.into_iter().for_each(|(level, text)| teller.say(level, text));
            std::thread::sleep(LOOK);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Bench {
        standby: bool,
        nobody: bool,
        ours: bool,
        orders: Vec<bool>,
    }

    impl Station for Bench {
        fn standby(&mut self) -> Option<bool> {
            Some(self.standby)
        }

        fn order(&mut self, fit: bool) -> Result<(), String> {
            self.orders.push(fit);
            if self.nobody {
                return Err("nobody can take over".into());
            }
            self.standby = !fit;
            Ok(())
        }

        fn ours(&mut self, ours: Option<bool>) -> bool {
            self.ours = ours.unwrap_or(self.ours);
            self.ours
        }
    }

    fn watch() -> (Watch<Bench>, Instant) {
        let station = Bench::default();
        let (settings, judges) = (Health::default(), Judges::default());
        let watch =
            Watch { settings, judges, station, settled: false, asked: None, told: Vec::new() };
        (watch, Instant::now())
    }

    fn degrees(degrees: i64) -> Feeling {
        Feeling { temperature: Some(degrees * 1000), ..Feeling::default() }
    }

    /// Feels the same for so many seconds; the latest reasons.
    fn feel(watch: &mut Watch<Bench>, now: &mut Instant, felt: &Feeling, s: u64) -> Vec<String> {
        let end = *now + Duration::from_secs(s);
        let mut reasons = Vec::new();
        while *now < end {
            reasons = watch.turn(felt, *now).0;
            *now += LOOK;
        }
        reasons
    }

    #[test]
    fn what_lasts_is_handed_over_for_and_what_recovers_is_ended() {
        let (mut watch, mut now) = watch();
        assert!(feel(&mut watch, &mut now, &degrees(90), 8).is_empty(), "a moment");
        assert!(feel(&mut watch, &mut now, &degrees(60), 8).is_empty());
        assert_eq!(feel(&mut watch, &mut now, &degrees(90), 20), ["it is 90 °C hot"]);
        assert!(watch.station.standby && watch.station.ours);
        // Between the threshold and five degrees below nothing changes.
        assert!(!feel(&mut watch, &mut now, &degrees(82), 300).is_empty());
        assert!(!feel(&mut watch, &mut now, &degrees(70), 40).is_empty());
        assert!(feel(&mut watch, &mut now, &degrees(70), 60).is_empty());
        assert!(!watch.station.standby && !watch.station.ours);
        assert_eq!(watch.station.orders, [false, true]);
    }

    #[test]
    fn nobody_to_take_over_is_asked_for_again_and_again() {
        let (mut watch, mut now) = watch();
        watch.station.nobody = true;
        feel(&mut watch, &mut now, &degrees(90), 60);
        let asked = watch.station.orders.len();
        assert!((2..=6).contains(&asked), "{asked}");
        assert!(!watch.station.ours);
        watch.station.nobody = false;
        feel(&mut watch, &mut now, &degrees(90), 60);
        assert!(watch.station.standby && watch.station.orders.len() == asked + 1);
    }

    #[test]
    fn an_operators_word_stands() {
        // A standby of an operator's is not ended.
        let (mut watch, mut now) = watch();
        watch.station.standby = true;
        feel(&mut watch, &mut now, &degrees(90), 30);
        feel(&mut watch, &mut now, &degrees(50), 120);
        assert!(watch.station.standby && watch.station.orders.is_empty());
        // One of ours that an operator has ended is not asked for again.
        watch.station.standby = false;
        feel(&mut watch, &mut now, &degrees(90), 30);
        watch.station.standby = false;
        feel(&mut watch, &mut now, &degrees(90), 120);
        assert_eq!(watch.station.orders, [false]);
        feel(&mut watch, &mut now, &degrees(50), 120);
        assert!(!watch.station.ours);
    }

    #[test]
    fn every_sense_counts_by_itself() {
        for (felt, part) in [
            (Feeling { under_voltage: Some(true), ..Feeling::default() }, "under-voltage"),
            (Feeling { read_only: vec!["/".into()], ..Feeling::default() }, "read-only"),
            (Feeling { disk_errors: Some(9), ..Feeling::default() }, "met 2 errors"),
        ] {
            let (mut watch, mut now) = watch();
            let before = Feeling { disk_errors: Some(7), ..Feeling::default() };
            assert!(feel(&mut watch, &mut now, &before, 30).is_empty(), "old errors");
            let reasons = feel(&mut watch, &mut now, &felt, 30);
            assert!(reasons.len() == 1 && reasons[0].contains(part), "{reasons:?}");
            assert_eq!(watch.station.orders, [false]);
        }
        let (mut watch, mut now) = watch();
        let slow = Feeling { throttled: Some(true), ..Feeling::default() };
        assert!(feel(&mut watch, &mut now, &slow, 60).is_empty(), "only if it is asked for");
    }
}
