//! What a client's record says: silences, unanswered requests, who served.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Requests kept: over half an hour at one each millisecond; older ones are forgotten.
const KEPT_MAX: usize = 2_000_000;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// When it was sent.
    pub(super) asked: Instant,
    /// When it was answered, and by which of the record's servers; `None`: never in time.
    pub(super) answer: Option<(Instant, u8)>,
}

/// Everything that a client has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    servers: Vec<String>,
    /// In the order of their ends.
    attempts: Vec<Attempt>,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it was sent: the answer was given after that.
    pub asked: Instant,
    /// When the answer came: it was given before that.
    pub at: Instant,
    /// Who answered.
    pub server: String,
}

/// What a client missed in some period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Requests sent in the period whose outcome is known.
    pub asked: u64,
    /// Those that were never answered, or too late.
    pub unanswered: u64,
    /// The longest time without any answer; it began in the period. The outage, if there was one.
    pub silence: Duration,
    /// The longest time between two requests: silences up to that are the client's own doing.
    pub own_pause: Duration,
    /// Answers to requests of the period, by server.
    pub served: BTreeMap<String, u64>,
    /// Who served, in order of first answers, the same name again only after another's.
    pub order: Vec<String>,
    /// From the first answer of one server to the last of another that had answered before it:
    /// zero after a clean handover, else both served at once.
    pub both: Duration,
}

impl Record {
    /// The number of a server's name.
    pub(super) fn server(&mut self, name: &str) -> u8 {
        let known = self.servers.iter().position(|server| server == name);
        let index = known.unwrap_or_else(|| {
            // Names come from the network: 255 of them are enough for anybody.
            if self.servers.len() < usize::from(u8::MAX) {
                self.servers.push(name.to_owned());
            }
            self.servers.len() - 1
        });
        u8::try_from(index).unwrap_or(u8::MAX)
    }

    pub(super) fn note(&mut self, attempt: Attempt) {
        if self.attempts.len() >= KEPT_MAX {
            self.attempts.drain(..KEPT_MAX / 2);
        }
        self.attempts.push(attempt);
    }

    pub(super) fn last_answer(&self) -> Option<(String, Instant)> {
        // Ends are recorded in order, and so answers are, too.
        let last = self.attempts.iter().rev().find_map(|attempt| attempt.answer)?;
        Some((self.servers.get(usize::from(last.1))?.clone(), last.0))
    }

    /// The answers that came from `from` until `to`, as they came.
    pub fn answers(&self, from: Instant, to: Instant) -> Vec<Answer> {
        let answer = |attempt: &Attempt| {
            let (at, server) = attempt.answer.filter(|(at, _)| (from..to).contains(at))?;
            let server = self.servers.get(usize::from(server))?.clone();
            Some(Answer { asked: attempt.asked, at, server })
        };
        self.attempts.iter().filter_map(answer).collect()
    }

    /// What was missed from `from` until `to`.
    pub fn missed(&self, from: Instant, to: Instant) -> Missed {
        let mut asked: Vec<Attempt> = self
            .attempts
            .iter()
            .filter(|attempt| (from..to).contains(&attempt.asked))
            .copied()
            .collect();
        asked.sort_by_key(|attempt| attempt.asked);
        let mut missed = Missed {
            asked: asked.len() as u64,
            unanswered: asked.iter().filter(|attempt| attempt.answer.is_none()).count() as u64,
            silence: self.silence(from, to),
            own_pause: longest_gap(asked.iter().map(|attempt| attempt.asked)),
            ..Missed::default()
        };
        let mut spans: Vec<(Instant, Instant)> = vec![(to, from); self.servers.len()];
        for (at, server, when_asked) in asked.iter().filter_map(|one| {
            let (at, server) = one.answer?;
            Some((at, usize::from(server), one.asked))
        }) {
            let Some(name) = self.servers.get(server) else { continue };
            *missed.served.entry(name.clone()).or_default() += 1;
            if missed.order.last() != Some(name) {
                missed.order.push(name.clone());
            }
            // By the times of asking: an answer may have been long on its way.
            let span = &mut spans[server];
            *span = (span.0.min(when_asked), span.1.max(at));
        }
        missed.both = overlap(&spans);
        missed
    }

    /// The longest stretch without an answer that began in the period; one that has not ended by
    /// `to` counts until `to`.
    fn silence(&self, from: Instant, to: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last: Option<Instant> = None;
        for (at, _) in self.attempts.iter().filter_map(|attempt| attempt.answer) {
            if let Some(before) = last.filter(|before| (from..to).contains(before)) {
                longest = longest.max(at.saturating_duration_since(before));
            }
            // The silence into which the period began counts from the period's beginning.
            if last.is_none_or(|before| before < from) && at >= from {
                longest = longest.max(at.min(to).saturating_duration_since(from));
            }
            last = Some(last.map_or(at, |before| before.max(at)));
        }
        let since = last.map_or(from, |before| before.max(from));
        longest.max(to.saturating_duration_since(since))
    }
}

fn longest_gap(times: impl Iterator<Item = Instant>) -> Duration {
    let mut last: Option<Instant> = None;
    let mut longest = Duration::ZERO;
    for time in times {
        if let Some(before) = last {
            longest = longest.max(time.saturating_duration_since(before));
        }
        last = Some(time);
    }
    longest
}

/// How long the spans of any two overlap, at most.
fn overlap(spans: &[(Instant, Instant)]) -> Duration {
    let mut longest = Duration::ZERO;
    for (index, one) in spans.iter().enumerate() {
        for other in spans.iter().take(index) {
            let both = one.1.min(other.1).checked_duration_since(one.0.max(other.0));
            longest = longest.max(both.unwrap_or_default());
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A request each millisecond from 0 to `end`, answered at once by what `server` says.
    fn record(start: Instant, end: u64, server: impl Fn(u64) -> Option<&'static str>) -> Record {
        let mut record = Record::default();
        for ms in 0..end {
            let answer = server(ms).map(|name| (at(start, ms), record.server(name)));
            record.note(Attempt { asked: at(start, ms), answer });
        }
        record
    }

    #[test]
    fn a_takeover_shows_as_silence_between_two_servers() {
        let start = Instant::now();
        let record = record(start, 200, |ms| match ms {
            0..50 => Some("pi"),
            50..90 => None,
            _ => Some("laptop"),
        });
        let missed = record.missed(start, at(start, 200));
        assert_eq!(missed.silence, Duration::from_millis(41));
        assert_eq!((missed.asked, missed.unanswered), (200, 40));
        assert_eq!(missed.order, ["pi", "laptop"]);
        assert_eq!(missed.served["laptop"], 110);
        assert_eq!(missed.both, Duration::ZERO);
        assert_eq!(record.last_answer().unwrap().0, "laptop");
    }

    #[test]
    fn an_outage_that_never_ends_counts_until_the_end() {
        let start = Instant::now();
        let record = record(start, 300, |ms| (ms < 100).then_some("pi"));
        assert_eq!(record.missed(start, at(start, 300)).silence, Duration::from_millis(201));
        // A later period in which nobody answers is silent throughout.
        let later = record.missed(at(start, 150), at(start, 300));
        assert_eq!(later.silence, Duration::from_millis(150));
        assert_eq!(later.unanswered, 150);
    }

    #[test]
    fn a_silence_belongs_to_the_period_it_began_in() {
        let start = Instant::now();
        let record = record(start, 300, |ms| (!(90..130).contains(&ms)).then_some("pi"));
        assert_eq!(record.missed(start, at(start, 100)).silence, Duration::from_millis(41));
        assert_eq!(record.missed(at(start, 140), at(start, 300)).silence, Duration::from_millis(1));
    }

    #[test]
    fn two_servers_at_once_are_seen() {
        let start = Instant::now();
        let record = record(start, 100, |ms| match ms {
            0..40 => Some("pi"),
            40..60 => Some(if ms % 2 == 0 { "laptop" } else { "pi" }),
            _ => Some("laptop"),
        });
        let missed = record.missed(start, at(start, 100));
        assert_eq!(missed.both, Duration::from_millis(19));
        assert!(missed.order.len() > 2);
    }
}
