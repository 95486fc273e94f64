//! The one lamp, and what its codes mean: docs/witness-board.md has the table.
use latido::core::id::NodeSet;
use latido::core::time::Instant;
use latido::core::witness::Event;

/// A lamp that blinks a number in every period.
pub(crate) struct Lamp {
    provisioned: bool,
    alive: NodeSet,
}

/// One blink: on and off.
const BLINK_US: u64 = 250_000;
const PERIOD: u64 = 8;

impl Lamp {
    pub(crate) const NEW: Lamp = Lamp { provisioned: false, alive: NodeSet::EMPTY };

    pub(crate) fn provisioned(&mut self, provisioned: bool) {
        self.provisioned = provisioned;
    }

    pub(crate) fn event(&mut self, event: Event) {
        match event {
            Event::Alive(node) => self.alive.set(node, true),
            Event::Silent(node) | Event::Left(node) => self.alive.set(node, false),
            _ => {}
        }
    }

    /// Whether it shines now.
    pub(crate) fn on(&self, now: Instant) -> bool {
        let step = now.micros() / (BLINK_US / 2);
        let (blink, half) = ((step / 2) % PERIOD, step % 2);
        match (self.provisioned, self.alive.len()) {
            // Nobody has given it a key: it flickers.
            (false, _) => half == 0,
            // Two nodes or more: all is well, a steady light.
            (true, 2..) => true,
            // One node: two blinks in two seconds; none: one.
            (true, count) => half == 0 && blink <= u64::from(count),
        }
    }
}
