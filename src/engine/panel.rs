//! Lamps that show this node's state, and a button that switches over.
//!
//! A thread of its own, which asks as any command does: nothing of it touches the loop.
use crate::config;
use crate::control::report::Report;
use crate::control::{Client, Order};
use crate::platform::gpio::{self, Input, Output, Pin, Rest};
use crate::tell::{Level, Teller};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks at the button: shorter than a push, longer than a contact bounces.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at the state.
const ASK: Duration = Duration::from_millis(500);
/// The button acts when it was held for so long.
const HOLD: Duration = Duration::from_secs(2);
/// Equal looks in a row that count as one level.
const STEADY: u32 = 3;
const STACK: usize = 256 << 10;

/// What the lamps show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    owner: bool,
    standby: bool,
    alarm: bool,
}

impl Shown {
    fn of(report: &Report) -> Shown {
        let mine = |owner: &Option<String>| owner.as_deref() == Some(report.node.as_str());
        let owner = report.groups.iter().any(|group| mine(&group.owner));
        let me = report.nodes.iter().find(|node| node.me);
        let willing = me.is_none_or(|node| !node.standby);
        let able = report.groups.iter().all(|group| group.able && !group.failed_here);
        let standby = !owner && willing && able && report.ready && !report.shutting_down;
        Shown { owner, standby, alarm: !report.problems.is_empty() }
    }

    /// The engine does not answer.
    const UNKNOWN: Shown = Shown { owner: false, standby: false, alarm: true };
}

/// What the panel asks and wants.
trait Station {
    fn shown(&mut self) -> Shown;
    /// Hands over what this node owns; if it owns nothing, asks for everything.
    fn switch_over(&mut self) -> Result<String, String>;
}

/// The daemon's own control socket.
struct Daemon {
    runtime: PathBuf,
    client: Option<Client>,
}

impl Daemon {
    fn report(&mut self) -> Option<Report> {
        if self.client.is_none() {
            self.client = Client::connect(&self.runtime).ok();
        }
        let report = self.client.as_mut()?.status().ok();
        if report.is_none() {
            self.client = None;
        }
        report
    }
}

impl Station for Daemon {
    fn shown(&mut self) -> Shown {
        self.report().as_ref().map_or(Shown::UNKNOWN, Shown::of)
    }

    fn switch_over(&mut self) -> Result<String, String> {
        let report = self.report().ok_or("the engine does not answer")?;
        let mine = |owner: &Option<String>| owner.as_deref() == Some(report.node.as_str());
        let owned = report.groups.iter().filter(|group| mine(&group.owner));
        let owned: Vec<String> = owned.map(|group| group.name.clone()).collect();
        let client = self.client.as_mut().ok_or("the engine does not answer")?;
        let (order, word) = if owned.is_empty() {
            (Order::Takeover, "everything is asked for")
        } else {
            (Order::Standby, "everything is handed over")
        };
        client.order(order, &owned).map(|_| word.to_owned()).map_err(|error| error.to_string())
    }
}

/// A lamp: driven only when it changes.
struct Lamp {
    pin: Box<dyn Output>,
    lit: Option<bool>,
}

impl Lamp {
    fn show(&mut self, lit: bool) {
        if self.lit != Some(lit) && self.pin.set(lit).is_ok() {
            self.lit = Some(lit);
        }
    }
}

/// A button: what it reads counts once it is steady.
struct Button {
    pin: Box<dyn Input>,
    pushed: bool,
    other: u32,
    since: Instant,
    acted: bool,
}

impl Button {
    fn new(pin: Box<dyn Input>, now: Instant) -> Button {
        // A button that is stuck from the beginning is none.
        Button { pin, pushed: true, other: 0, since: now, acted: true }
    }

    /// Whether it was held long enough just now.
    fn look(&mut self, now: Instant) -> bool {
        let Ok(pushed) = self.pin.is_active() else { return false };
        self.other = if pushed == self.pushed { 0 } else { self.other + 1 };
        if self.other >= STEADY {
            (self.pushed, self.other, self.since, self.acted) = (pushed, 0, now, false);
        }
        let held = self.pushed && !self.acted && now.saturating_duration_since(self.since) >= HOLD;
        self.acted |= held;
        held
    }
}

struct Panel<S> {
    owner: Option<Lamp>,
    standby: Option<Lamp>,
    alarm: Option<Lamp>,
    button: Option<Button>,
    station: S,
    asked: Option<Instant>,
}

impl<S: Station> Panel<S> {
    /// One look; what the button came to.
    fn turn(&mut self, now: Instant) -> Option<Result<String, String>> {
        if self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK) {
            self.asked = Some(now);
            let shown = self.station.shown();
            for (lamp, lit) in [
                (&mut self.owner, shown.owner),
                (&mut self.standby, shown.standby),
                (&mut self.alarm, shown.alarm),
            ] {
                if let Some(lamp) = lamp {
                    lamp.show(lit);
                }
            }
        }
        let held = self.button.as_mut().is_some_and(|button| button.look(now));
        held.then(|| self.station.switch_over())
    }
}

/// Starts the panel. What cannot be used is said; the rest works.
///
/// # Errors
/// No thread is to be had.
pub(super) fn start(
    settings: &config::Panel,
    runtime: &Path,
    teller: &Teller,
) -> std::io::Result<()> {
    if settings.is_empty() {
        return Ok(());
    }
    let say = |key: &str, why: String| teller.say(Level::Warning, format!("panel, {key}: {why}"));
    let parse = |text: &str| Pin::parse(text).ok_or_else(|| format!("`{text}` is no pin"));
    let lamp = |key: &str, pin: &Option<String>| {
        let taken = pin.as_deref().map(|text| {
            let pin = gpio::output(&parse(text)?).map_err(|error| error.to_string())?;
            Ok::<Lamp, String>(Lamp { pin, lit: None })
        });
        taken?.map_err(|why| say(key, why)).ok()
    };
    let button = settings.button.as_deref().and_then(|text| {
        let pin = parse(text)
            .and_then(|pin| gpio::input(&pin, Rest::Inactive).map_err(|error| error.to_string()));
        pin.map_err(|why| say("button", why)).ok()
    });
    let mut panel = Panel {
        owner: lamp("owner", &settings.owner),
        standby: lamp("standby", &settings.standby),
        alarm: lamp("alarm", &settings.alarm),
        button: button.map(|pin| Button::new(pin, Instant::now())),
        station: Daemon { runtime: runtime.to_owned(), client: None },
        asked: None,
    };
    let pause = if panel.button.is_some() { LOOK } else { ASK };
    let teller = teller.clone();
    std::thread::Builder::new().name("panel".into()).stack_size(STACK).spawn(move || {
        loop {
            match panel.turn(Instant::now()) {
                Some(Ok(what)) => {
                    teller.say(Level::Notice, format!("the button was held: {what}"));
                }
                Some(Err(why)) => {
                    teller.say(Level::Warning, format!("the button was held, in vain: {why}"));
                }
                None => {}
            }
            std::thread::sleep(pause);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::{GroupReport, NodeReport};
    use crate::platform::gpio::simulated::Wire;

    #[derive(Default)]
    struct Bench {
        shown: Shown,
        pushes: u32,
    }

    impl Station for Bench {
        fn shown(&mut self) -> Shown {
            self.shown
        }

        fn switch_over(&mut self) -> Result<String, String> {
            self.pushes += 1;
            Ok("done".into())
        }
    }

    fn panel(wires: &[Wire; 4], start: Instant) -> Panel<Bench> {
        let lamp = |wire: &Wire| Some(Lamp { pin: Box::new(wire.clone()), lit: None });
        Panel {
            owner: lamp(&wires[0]),
            standby: lamp(&wires[1]),
            alarm: lamp(&wires[2]),
            button: Some(Button::new(Box::new(wires[3].clone()), start)),
            station: Bench::default(),
            asked: None,
        }
    }

    /// Looks for so long, in the panel's own steps.
    fn play(panel: &mut Panel<Bench>, now: &mut Instant, span: Duration) {
        let end = *now + span;
        while *now < end {
            let _ = panel.turn(*now);
            *now += LOOK;
        }
    }

    #[test]
    fn lamps_follow_the_state_and_are_driven_only_when_it_changes() {
        let (wires, mut now) = (<[Wire; 4]>::default(), Instant::now());
        let mut panel = panel(&wires, now);
        panel.station.shown = Shown { owner: true, ..Shown::default() };
        play(&mut panel, &mut now, ASK * 3);
        panel.station.shown = Shown { standby: true, alarm: true, ..Shown::default() };
        play(&mut panel, &mut now, ASK * 3);
        assert_eq!(wires[0].history(), [true, false]);
        assert_eq!(wires[1].history(), [false, true]);
        assert_eq!(wires[2].history(), [false, true]);
    }

    #[test]
    fn only_a_button_that_is_held_acts_and_only_once() {
        let (wires, mut now) = (<[Wire; 4]>::default(), Instant::now());
        let mut panel = panel(&wires, now);
        let button = &wires[3];
        play(&mut panel, &mut now, HOLD);
        // It bounces: no look in a row is like the other.
        for index in 0..200 {
            button.drive(index % 2 == 0);
            play(&mut panel, &mut now, LOOK);
        }
        button.drive(true);
        play(&mut panel, &mut now, HOLD / 2);
        button.drive(false);
        play(&mut panel, &mut now, HOLD);
        assert_eq!(panel.station.pushes, 0, "too short");
        button.drive(true);
        play(&mut panel, &mut now, HOLD * 5);
        assert_eq!(panel.station.pushes, 1, "held, and held on");
        button.drive(false);
        play(&mut panel, &mut now, HOLD);
        button.drive(true);
        play(&mut panel, &mut now, HOLD * 2);
        assert_eq!(panel.station.pushes, 2);
    }

    #[test]
    fn a_button_that_is_stuck_from_the_start_does_nothing() {
        let (wires, mut now) = (<[Wire; 4]>::default(), Instant::now());
        wires[3].drive(true);
        let mut panel = panel(&wires, now);
        play(&mut panel, &mut now, HOLD * 3);
        assert_eq!(panel.station.pushes, 0);
    }

    #[test]
    fn the_state_is_read_from_the_status() {
        let group = |owner: &str| GroupReport {
            owner: Some(owner.into()),
            able: true,
            ..GroupReport::default()
        };
        let me = NodeReport { name: "pi".into(), me: true, ..NodeReport::default() };
        let mut report = Report {
            node: "pi".into(),
            ready: true,
            groups: vec![group("laptop")],
            nodes: vec![me],
            ..Report::default()
        };
        assert_eq!(Shown::of(&report), Shown { standby: true, ..Shown::default() });
        report.groups.push(group("pi"));
        assert_eq!(Shown::of(&report), Shown { owner: true, ..Shown::default() });
        report.groups = vec![GroupReport { able: false, ..group("laptop") }];
        report.problems = vec!["no carrier".into()];
        assert_eq!(Shown::of(&report), Shown { alarm: true, ..Shown::default() });
        assert_eq!(Daemon { runtime: "/nowhere".into(), client: None }.shown(), Shown::UNKNOWN);
    }
}
