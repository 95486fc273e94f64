//! Whose turn it is on a bus that carries one frame at a time (RS-485).
//!
//! ```text
//!  frame of 0 ─┤ slot of 1 │ slot of 2 │ slot of 0 │ slot of 1 …      nobody says anything
//!  frame of 0 ─┤ slot of 1 │ frame of 2 ───────────┤ slot of 0 │ …    1 is missing: costs a slot
//! ```
//!
//! Nobody is the master. The end of every frame starts the count anew: first the node after its
//! sender, then the next, each for one slot; who begins within its slot has the bus, and all others
//! wait for the end of that frame. A missing node costs its slot.
//!
//! Two that began together cannot hear each other. Whoever has heard nobody since its own frame
//! waits for a time that grows with its number, by more than a frame from one to the next: the
//! first of them is heard by the others. A node that has just come listens as long.
//!
//! Only times and numbers: no clock, no device. All times in microseconds.
use crate::config::Pace;

/// What ended last on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// A frame of this node, heard here.
    Frame(u8),
    /// Our own frame, or our coming: nobody was heard since.
    Ours,
    /// Bytes that were no frame.
    Noise,
}

/// When to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// Now.
    Now,
    /// Ask again then.
    At(u64),
}

/// One node's view of the bus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pace: Pace,
    last: Last,
    /// When that ended.
    since: u64,
    /// Bytes came after that: the first and the latest.
    noise: Option<(u64, u64)>,
    /// Noise without end is no reason to be silent for ever.
    impatient: bool,
    /// Our own frame is on the wire until then.
    sending: u64,
}

impl Turn {
    /// A node that comes to the bus at `now`.
    pub(super) fn new(pace: Pace, now: u64) -> Turn {
        Turn { pace, last: Last::Ours, since: now, noise: None, impatient: false, sending: now }
    }

    /// Bytes came that complete no frame.
    pub(super) fn bytes(&mut self, now: u64) {
        // What comes while we send is our own echo, or lost anyway.
        if now >= self.sending && !self.impatient {
            let first = self.noise.map_or(now, |(first, _)| first);
            self.noise = Some((first, now));
        }
    }

    /// A whole frame of `station` came; `ours`: the echo of our own.
    pub(super) fn frame(&mut self, now: u64, station: u8, ours: bool) {
        self.noise = None;
        self.impatient = false;
        self.since = now;
        self.last = if ours { Last::Ours } else { Last::Frame(station) };
    }

    /// We have begun to send so many bytes.
    pub(super) fn sent(&mut self, now: u64, bytes: usize) {
        self.sending = now.saturating_add(self.pace.byte.saturating_mul(bytes as u64));
        self.since = self.sending;
        self.last = Last::Ours;
        self.noise = None;
        self.impatient = false;
    }

    /// Until when our own frame is on the wire.
    pub(super) fn sending(&self) -> u64 {
        self.sending
    }

    /// Whether the node `me` may begin now, or when to ask again.
    pub(super) fn chance(&mut self, now: u64, me: u8) -> Chance {
        if now < self.sending {
            return Chance::At(self.sending);
        }
        let Pace { stations, frame, slot, .. } = self.pace;
        if let Some((first, latest)) = self.noise {
            let patience = self.pace.turn().as_micros().try_into().unwrap_or(u64::MAX);
            if now.saturating_sub(first) > patience {
                self.impatient = true;
                (self.last, self.since, self.noise) = (Last::Ours, now, None);
            } else if now < latest.saturating_add(slot) {
                return Chance::At(latest.saturating_add(slot));
            } else {
                (self.last, self.since, self.noise) = (Last::Noise, latest + slot, None);
            }
        }
        let (stations, me) = (u64::from(stations.max(1)), u64::from(me));
        // The transceivers turn round, and slow ones hear the end later.
        let gap = slot / 4;
        let round = stations * slot;
        let (first, period) = match self.last {
            Last::Frame(station) => {
                let after = me + stations - (u64::from(station) + 1) % stations;
                (after % stations * slot, round)
            }
            // After the rounds of those who made it, if they were two: they have not heard it.
            Last::Noise => (round + me * slot, 2 * round),
            // Our own slot in the others' rounds is the last; then so many rounds that a frame of
            // the next number would end before.
            Last::Ours => {
                let apart = (frame + slot).div_ceil(round) * round;
                (round - slot + me * apart, stations * apart)
            }
        };
        let first = gap + first;
        let Some(into) = now.saturating_sub(self.since).checked_sub(first) else {
            return Chance::At(self.since.saturating_add(first));
        };
        let into = into % period;
        // Later than that, the next one may not notice before its own slot begins.
        if into <= slot / 2 { Chance::Now } else { Chance::At(now.saturating_add(period - into)) }
    }
}
