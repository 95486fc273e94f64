//! A relay on a pin of this machine, in another node's power line.
use super::program::Action;
use crate::config::Relay as Settings;
use crate::platform::gpio::{self, Input, Output, Pin, Rest};
use std::time::{Duration, Instant};

/// Between two looks at the sense line.
const LOOK: Duration = Duration::from_millis(10);

/// What became of an action.
pub(super) enum Deed {
    /// It is done; what the sense line says of the power, if there is one.
    Done(Option<bool>),
    /// It is not: why.
    Failed(String),
    /// It was broken off.
    Aborted,
}

/// The coil, and the sense line.
type Pins = (Box<dyn Output>, Option<Box<dyn Input>>);

/// The pins, once they are taken.
pub(super) struct Relay {
    settings: Settings,
    pins: Option<Pins>,
}

impl Relay {
    /// The pins are taken by the first action: another program may have them still.
    pub(super) fn new(settings: Settings) -> Relay {
        Relay { settings, pins: None }
    }

    #[cfg(test)]
    pub(super) fn of(
        settings: Settings,
        coil: Box<dyn Output>,
        sense: Option<Box<dyn Input>>,
    ) -> Relay {
        Relay { settings, pins: Some((coil, sense)) }
    }

    fn take(&mut self) -> Result<(), String> {
        if self.pins.is_some() {
            return Ok(());
        }
        let pin = |text: &str| Pin::parse(text).ok_or_else(|| format!("`{text}` is no pin"));
        let say = |error: std::io::Error| error.to_string();
        let coil = gpio::output(&pin(&self.settings.pin)?).map_err(say)?;
        // A broken wire must read as power: it proves nothing.
        let sense = self.settings.sense.as_deref();
        let sense =
            sense.map(|text| gpio::input(&pin(text)?, Rest::Active).map_err(say)).transpose()?;
        self.pins = Some((coil, sense));
        Ok(())
    }

    /// Carries out an action until `deadline`, unless `aborts` says otherwise.
    pub(super) fn act(
        &mut self,
        action: Action,
        deadline: Instant,
        aborts: &dyn Fn() -> bool,
    ) -> Deed {
        let outcome = self.take().and_then(|()| match action {
            Action::Monitor | Action::Status => self.power().map(Deed::Done),
            Action::On => self.drive(false).map(|()| Deed::Done(None)),
            Action::Off => self.cut(deadline, aborts),
            Action::Reset => {
                let end = Instant::now() + self.settings.pulse.unwrap_or_default();
                let cut = self.cut(deadline, aborts);
                if let Ok(Deed::Done(_)) = cut {
                    // Proven already: nothing breaks it off, or the node would stay dark.
                    std::thread::sleep(end.saturating_duration_since(Instant::now()));
                }
                self.drive(false).and(cut)
            }
        });
        outcome.unwrap_or_else(Deed::Failed)
    }

    fn drive(&mut self, active: bool) -> Result<(), String> {
        let Some((coil, _)) = &mut self.pins else { return Err("no pin".into()) };
        coil.set(active).map_err(|error| format!("the relay cannot be switched: {error}"))
    }

    fn power(&mut self) -> Result<Option<bool>, String> {
        let Some((_, Some(sense))) = &mut self.pins else { return Ok(None) };
        let power = sense.is_active();
        power.map(Some).map_err(|error| format!("the sense line cannot be read: {error}"))
    }

    /// Cuts the power, and sees that it is gone: for as long as what is stored in the node lasts.
    fn cut(&mut self, deadline: Instant, aborts: &dyn Fn() -> bool) -> Result<Deed, String> {
        self.drive(true)?;
        let mut since = Instant::now();
        loop {
            let power = self.power()?;
            if power == Some(true) {
                since = Instant::now();
            }
            if since.elapsed() >= self.settings.settle {
                return Ok(Deed::Done(power));
            }
            if aborts() {
                return Ok(Deed::Aborted);
            }
            if Instant::now() >= deadline {
                return Err(match power {
                    Some(true) => "the relay is switched, but the sense line still says power: is \
                                   it wired to this node?"
                        .into(),
                    _ => "the time limit is shorter than `settle`".into(),
                });
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::gpio::simulated::Wire;

    fn settings(pulse: Option<u64>, sense: bool) -> Settings {
        Settings {
            pin: "17".into(),
            pulse: pulse.map(Duration::from_millis),
            sense: sense.then(|| "27".into()),
            settle: Duration::from_millis(30),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// A relay whose sense line is wired to this node's power, or to something else.
    fn wired(pulse: Option<u64>) -> (Relay, Wire, Wire) {
        let (coil, sense) = (Wire::default(), Wire::default());
        sense.drive(true);
        let inner = Some(Box::new(sense.clone()) as Box<dyn Input>);
        (Relay::of(settings(pulse, true), Box::new(coil.clone()), inner), coil, sense)
    }

    #[test]
    fn the_power_is_off_only_when_the_sense_line_says_so() {
        let (mut relay, coil, sense) = wired(None);
        let never = || false;
        assert!(matches!(relay.act(Action::Monitor, soon(), &never), Deed::Done(Some(true))));
        let late = Instant::now() + Duration::from_millis(60);
        let Deed::Failed(why) = relay.act(Action::Off, late, &never) else { panic!("proven") };
        assert!(why.contains("still says power"), "{why}");
        let (follower, driver) = (sense.clone(), coil.clone());
        let thread = std::thread::spawn(move || {
            while !driver.is_active() {
                std::thread::yield_now();
            }
            follower.drive(false);
        });
        assert!(matches!(relay.act(Action::Off, soon(), &never), Deed::Done(Some(false))));
        thread.join().expect("joined");
        assert!(coil.is_active(), "held");
        assert!(matches!(relay.act(Action::On, soon(), &never), Deed::Done(None)));
        assert!(!coil.is_active());
    }

    #[test]
    fn a_pulse_gives_the_power_back_whatever_comes_of_it() {
        let (coil, never) = (Wire::default(), || false);
        let mut relay = Relay::of(settings(Some(50), false), Box::new(coil.clone()), None);
        assert!(matches!(relay.act(Action::Reset, soon(), &never), Deed::Done(None)));
        assert_eq!(coil.history(), [true, false]);
        let (mut relay, coil, _sense) = wired(Some(50));
        let late = Instant::now() + Duration::from_millis(60);
        assert!(matches!(relay.act(Action::Reset, late, &never), Deed::Failed(_)));
        assert_eq!(coil.history(), [true, false], "not left in the dark");
        let (mut relay, coil, _sense) = wired(Some(50));
        assert!(matches!(relay.act(Action::Reset, soon(), &|| true), Deed::Aborted));
        assert_eq!(coil.history(), [true, false]);
    }

    #[test]
    fn broken_wires_prove_nothing() {
        let (mut relay, coil, sense) = wired(None);
        let never = || false;
        sense.refuse(true);
        assert!(matches!(relay.act(Action::Monitor, soon(), &never), Deed::Failed(_)));
        assert!(matches!(relay.act(Action::Off, soon(), &never), Deed::Failed(_)));
        coil.refuse(true);
        let Deed::Failed(why) = relay.act(Action::Off, soon(), &never) else { panic!("proven") };
        assert!(why.contains("cannot be switched"), "{why}");
        let mut relay =
            Relay::new(Settings { pin: "no-such-line".into(), ..settings(None, false) });
        assert!(matches!(relay.act(Action::Monitor, soon(), &never), Deed::Failed(_)));
    }
}
