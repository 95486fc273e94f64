//! A bounded ring of events: a full one delays no decision, it only counts what it lost.
use super::io::Event;
use heapless::Deque;

const EVENTS_MAX: usize = 64;

/// Events that were not told yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    ring: Deque<Event, EVENTS_MAX>,
    lost: u32,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.ring.push_back(event).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.ring.pop_front().or_else(|| {
            let lost = ::core::mem::take(&mut self.lost);
            (lost > 0).then_some(Event::Lost(lost))
        })
    }
}
