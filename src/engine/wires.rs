//! Heartbeat wires: a pin changes with every heartbeat, and the other node watches it.
//!
//! A wire carries no frame, so it grants nothing and proves nothing: it says that a loop turns.
use super::senses::Sense;
use crate::config::{self, Config};
use crate::core::id::NodeId;
use crate::platform::gpio::{self, Input, Output, Pin, Rest};
use crate::platform::mailbox::Sender;
use crate::tell::{Level, Teller};
use std::time::{Duration, Instant};

const STACK: usize = 64 << 10;
/// Between two looks at a wire.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// The pins that this node drives, and their levels.
#[derive(Default)]
pub(super) struct Wires(Vec<(Box<dyn Output>, bool)>);

impl Wires {
    /// A heartbeat goes out.
    pub(super) fn beat(&mut self) {
        for (pin, level) in &mut self.0 {
            *level = !*level;
            // A wire that cannot be driven is one that the other node sees as silent.
            let _ = pin.set(*level);
        }
    }
}

/// What is watched.
struct Watched {
    name: String,
    pin: Box<dyn Input>,
    level: bool,
    changed: Instant,
    beats: bool,
}

impl Watched {
    fn new(name: String, pin: Box<dyn Input>, now: Instant) -> Watched {
        Watched { name, pin, level: false, changed: now, beats: false }
    }

    /// Whether it has changed, and whether it has begun or ended to beat.
    fn look(&mut self, dead: Duration, now: Instant) -> (bool, Option<bool>) {
        let changed = self.pin.is_active().is_ok_and(|level| level != self.level);
        if changed {
            (self.level, self.changed) = (!self.level, now);
        }
        let beats = changed || now.saturating_duration_since(self.changed) < dead && self.beats;
        let before = std::mem::replace(&mut self.beats, beats);
        (changed, (before != beats).then_some(beats))
    }
}

/// Takes the pins and starts to watch. A wire that cannot be used is said; the others work.
///
/// # Errors
/// No thread is to be had.
pub(super) fn start(
    config: &Config,
    me: usize,
    senses: Sender<Sense>,
    teller: &Teller,
) -> std::io::Result<Wires> {
    let mut wires = Wires::default();
    let Some(peer) = (0..config.nodes.len()).find(|node| *node != me).and_then(NodeId::new) else {
        return Ok(wires);
    };
    let mut watched = Vec::new();
    for wire in &config.wires {
        match take(wire) {
            Ok((drives, watches)) => {
                wires.0.push((drives, false));
                watched.push(Watched::new(wire.watch.clone(), watches, Instant::now()));
            }
            Err(why) => teller.say(Level::Warning, format!("heartbeat wire: {why}")),
        }
    }
    if watched.is_empty() {
        return Ok(wires);
    }
    let (dead, teller) = (config.timing.dead, teller.clone());
    let pause = (config.timing.interval / 4).clamp(LOOKS[0], LOOKS[1]);
    std::thread::Builder::new().name("wires".into()).stack_size(STACK).spawn(move || {
        loop {
            for wire in &mut watched {
                let (changed, told) = wire.look(dead, Instant::now());
                if changed && !senses.put(Sense::Beat(peer)) {
                    return;
                }
                let name = &wire.name;
                match told {
                    Some(true) => {
                        teller.say(Level::Notice, format!("heartbeat wire {name}: beats"));
                    }
                    Some(false) => {
                        teller.say(Level::Warning, format!("heartbeat wire {name}: is still"));
                    }
                    None => {}
                }
            }
            std::thread::sleep(pause);
        }
    })?;
    Ok(wires)
}

/// Both ends at this node.
type Ends = (Box<dyn Output>, Box<dyn Input>);

fn take(wire: &config::Wire) -> Result<Ends, String> {
    let parse = |text: &str| Pin::parse(text).ok_or_else(|| format!("`{text}` is no pin"));
    let drives = gpio::output(&parse(&wire.drive)?).map_err(|error| error.to_string())?;
    let watches = gpio::input(&parse(&wire.watch)?, Rest::Inactive);
    Ok((drives, watches.map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::gpio::simulated::Wire;

    #[test]
    fn a_wire_beats_while_the_other_loop_turns() {
        let (wire, start) = (Wire::default(), Instant::now());
        let mut ours = Wires(vec![(Box::new(wire.clone()), false)]);
        let mut theirs = Watched::new("17".into(), Box::new(wire.clone()), start);
        let dead = Duration::from_millis(100);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(theirs.look(dead, at(0)), (false, None), "nothing yet");
        ours.beat();
        assert_eq!(theirs.look(dead, at(10)), (true, Some(true)));
        assert_eq!(theirs.look(dead, at(20)), (false, None));
        ours.beat();
        assert_eq!(theirs.look(dead, at(60)), (true, None));
        assert_eq!(theirs.look(dead, at(159)), (false, None));
        assert_eq!(theirs.look(dead, at(161)), (false, Some(false)), "whatever its level is");
        wire.refuse(true);
        ours.beat();
        assert_eq!(theirs.look(dead, at(200)), (false, None), "a broken one says nothing");
        wire.refuse(false);
        ours.beat();
        ours.beat();
        assert!(theirs.look(dead, at(210)).0);
    }
}
