//! Keeps the log small whatever happens: token buckets for each source, and for everything.
use std::time::{Duration, Instant};

/// Sources that are told apart; the one that was silent longest makes room for a new one.
const SOURCES: usize = 64;
/// Lines that one source may write at once.
const BURST: f64 = 20.0;
/// Lines per second of one source in the long run.
const LINES_PER_S: f64 = 0.2;
/// Bytes that all sources together may write at once.
const BURST_BYTES: f64 = 32_768.0;
/// Bytes per second of all sources together in the long run.
const BYTES_PER_S: f64 = 800.0;
/// Suppressed lines are confessed at the latest after this.
const CONFESS_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Source {
    key: u64,
    tokens: f64,
    last: Instant,
    suppressed: u32,
    since: Instant,
}

/// Decides which lines are written.
#[derive(Debug)]
pub(super) struct Limit {
    sources: Vec<Source>,
    tokens: f64,
    last: Instant,
    suppressed: u32,
    /// More for those who asked for debug output.
    factor: f64,
}

/// Whether a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is; and so many lines of its source were not, before.
    Write(u32),
    /// It is not, and was counted.
    Suppress,
}

impl Limit {
    pub(super) fn new(now: Instant, factor: f64) -> Limit {
        Limit {
            sources: Vec::with_capacity(SOURCES),
            tokens: BURST_BYTES * factor,
            last: now,
            suppressed: 0,
            factor,
        }
    }

    /// Judges a line of `bytes` bytes from the source `key`.
    pub(super) fn judge(&mut self, now: Instant, key: u64, bytes: usize) -> Verdict {
        let gained = now.duration_since(self.last).as_secs_f64() * BYTES_PER_S * self.factor;
        self.tokens = (self.tokens + gained).min(BURST_BYTES * self.factor);
        self.last = now;
        let factor = self.factor;
        let enough = self.tokens >= bytes as f64;
        let source = self.source(now, key);
        let gained = now.duration_since(source.last).as_secs_f64() * LINES_PER_S * factor;
        source.tokens = (source.tokens + gained).min(BURST * factor);
        source.last = now;
        if source.tokens < 1.0 || !enough {
            if source.suppressed == 0 {
                source.since = now;
            }
            source.suppressed = source.suppressed.saturating_add(1);
            return Verdict::Suppress;
        }
        source.tokens -= 1.0;
        let before = std::mem::take(&mut source.suppressed);
        self.tokens -= bytes as f64;
        Verdict::Write(before)
    }

    /// How many lines were suppressed long enough ago to be confessed now; each is counted once.
    pub(super) fn confess(&mut self, now: Instant) -> u32 {
        let mut sum = std::mem::take(&mut self.suppressed);
        for source in &mut self.sources {
            if source.suppressed > 0 && now.duration_since(source.since) >= CONFESS_AFTER {
                sum = sum.saturating_add(std::mem::take(&mut source.suppressed));
            }
        }
        sum
    }

    fn source(&mut self, now: Instant, key: u64) -> &mut Source {
        let fresh =
            || Source { key, tokens: BURST * self.factor, last: now, suppressed: 0, since: now };
        let place = match self.sources.iter().position(|source| source.key == key) {
            Some(place) => place,
            None if self.sources.len() < SOURCES => {
                self.sources.push(fresh());
                self.sources.len() - 1
            }
            None => {
                let silent = |place: &usize| self.sources[*place].last;
                let place = (0..SOURCES).min_by_key(silent).unwrap_or(0);
                let gone = std::mem::replace(&mut self.sources[place], fresh());
                self.suppressed = self.suppressed.saturating_add(gone.suppressed);
                place
            }
        };
        &mut self.sources[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(keys: impl Fn(u64) -> u64, seconds: u64) -> (usize, u32) {
        let start = Instant::now();
        let mut limit = Limit::new(start, 1.0);
        let (mut bytes, mut confessed) = (0, 0);
        for line in 0..seconds * 1000 {
            let now = start + Duration::from_millis(line);
            match limit.judge(now, keys(line), 100) {
                Verdict::Write(before) => {
                    bytes += 100;
                    confessed += before;
                }
                Verdict::Suppress => {}
            }
            confessed += limit.confess(now);
        }
        (bytes, confessed)
    }

    #[test]
    fn one_noisy_source_stays_below_a_kilobyte_per_second() {
        let (bytes, confessed) = written(|_| 1, 20);
        assert!((2000..=2600).contains(&bytes), "{bytes} bytes in 20 s");
        assert!(confessed > 5_000, "{confessed} confessed");
    }

    #[test]
    fn a_thousand_sources_stay_below_a_kilobyte_per_second_in_the_long_run() {
        let (bytes, _) = written(|line| line % 1000, 300);
        assert!(bytes < 300 * 1000, "{bytes} bytes in 300 s");
    }

    #[test]
    fn a_quiet_source_is_heard_while_another_is_noisy() {
        let start = Instant::now();
        let mut limit = Limit::new(start, 1.0);
        for _ in 0..500 {
            limit.judge(start, 1, 100);
        }
        assert_eq!(limit.judge(start, 1, 100), Verdict::Suppress);
        assert_eq!(limit.judge(start, 2, 100), Verdict::Write(0));
    }

    #[test]
    fn nothing_is_suppressed_without_being_told() {
        let start = Instant::now();
        let mut limit = Limit::new(start, 1.0);
        let mut lines = 0;
        for _ in 0..100 {
            lines += u32::from(limit.judge(start, 1, 10) == Verdict::Suppress);
        }
        assert_eq!(lines, 80);
        assert_eq!(limit.confess(start + Duration::from_secs(1)), 0);
        assert_eq!(limit.confess(start + CONFESS_AFTER), 80);
        assert_eq!(limit.confess(start + CONFESS_AFTER * 2), 0);
    }
}
