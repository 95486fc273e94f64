//! From measured silences to `interval`, `warn` and `dead`: docs/tuning.md explains each step.
//!
//! The rate of silences of at least `d` is read off the histogram as far as that reaches. Beyond it
//! the tail is extrapolated as a Pareto tail through its largest values (Hill's estimator), from
//! several thresholds, of which the worst counts. A lighter tail than that (exponential, bounded)
//! has fewer false alarms than told.
use super::measured::{Histogram, Measured, Peer};
use crate::config::format_duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// False alarms in a year that are put up with, unless told otherwise.
pub const TARGET: f64 = 1.0;
/// Fewer silences of a peer than this say nothing.
pub const TOO_FEW: u64 = 1_000;

const YEAR: f64 = 365.25 * 86_400.0;
/// No rate is told that is rarer than once in so many times the measured time.
const REACH: f64 = 100.0;
/// The smallest number of largest silences that a tail is put through.
const TAIL_MIN: u64 = 20;
/// And the largest: one in so many. Further down is no tail, but what is usual.
const TAIL_SHARE: u64 = 100;
/// `dead` bridges so many intervals at least: single losses are no alarm.
const BEATS: u32 = 5;

/// Timing, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Now {
    /// Between two heartbeats.
    pub interval_us: u64,
    /// Silence after which a node is late.
    pub warn_us: u64,
    /// Silence after which a node is dead.
    pub dead_us: u64,
    /// How long a starting node waits for its peers.
    pub initial_dead_us: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advice {
    /// Which of the cases it is.
    pub verdict: Verdict,
    /// The peer whose silences decide.
    pub peer: String,
    /// What was put up with.
    pub target_per_year: f64,
    /// What is recommended; `None`: there is too little data.
    pub recommended: Option<Now>,
    /// False alarms a year with that, all peers together.
    pub alarms_per_year: f64,
    /// Late heartbeats a year that are told of as warnings with that.
    pub warnings_per_year: f64,
    /// False alarms a year with the present `dead`.
    pub alarms_per_year_now: f64,
    /// What the data alone proves with 95 % certainty, no tail extrapolated: at most so many a
    /// year.
    pub proven_per_year: f64,
    /// Seconds over which the least measured peer was heard.
    pub measured_s: f64,
    /// Seconds that must be measured before the target can be claimed.
    pub needed_s: f64,
    /// Whether `dead` is what the tail asks for, or a multiple of the interval or of the longest
    /// silence that is longer.
    pub bound: Bound,
}

/// How much the data is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Fewer than [`TOO_FEW`] silences of a peer, or none at all.
    #[default]
    TooLittle,
    /// Recommended, but the target cannot be claimed yet.
    Short,
    /// Recommended, and the target is met.
    Enough,
}

/// What has decided over `dead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The extrapolated tail.
    #[default]
    Tail,
    /// Twice the longest silence.
    Longest,
    /// Five intervals.
    Interval,
    /// The age of the echoes: the way there and back.
    Echo,
}

/// The silences of a peer as a tail of rates.
struct Tail<'a> {
    gaps: &'a Histogram,
    /// For several thresholds (µs): how often a second they are exceeded, and the tail's index.
    fits: Vec<(f64, f64, f64)>,
}

impl Tail<'_> {
    fn of(gaps: &Histogram) -> Tail<'_> {
        let mut fits = Vec::new();
        let (mut count, mut logs) = (0_u64, 0.0);
        let most = (gaps.count / TAIL_SHARE).max(TAIL_MIN);
        for (place, (from, _, number)) in gaps.buckets.iter().enumerate().rev() {
            // Each bucket's share of the logarithms is known once the threshold is.
            count += number;
            logs += *number as f64 * middle(gaps, place).ln();
            if count < TAIL_MIN {
                continue;
            }
            let threshold = (*from).max(1) as f64;
            let index = logs / count as f64 - threshold.ln();
            fits.push((threshold, count as f64 / gaps.observed_s.max(1e-9), index));
            if count > most {
                break;
            }
        }
        Tail { gaps, fits }
    }

    /// How often a second the silence reaches `dead` µs.
    fn rate(&self, dead: f64) -> f64 {
        let model = self
            .fits
            .iter()
            .filter(|(from, ..)| dead > *from)
            .map(|(from, rate, index)| rate * (dead / from).powf(-1.0 / index.max(1e-3)));
        model.fold(self.seen(dead), f64::max)
    }

    /// How often a second it did; a bucket that `dead` lies in counts whole.
    fn seen(&self, dead: f64) -> f64 {
        if dead > self.gaps.longest_us as f64 {
            return 0.0;
        }
        let reached = self.gaps.buckets.iter().filter(|(_, to, _)| *to as f64 > dead);
        reached.map(|(.., count)| *count).sum::<u64>() as f64 / self.gaps.observed_s.max(1e-9)
    }

    /// The rarest rate that may be told.
    fn reach(&self) -> f64 {
        1.0 / (REACH * self.gaps.observed_s.max(1e-9))
    }
}

/// The geometric middle of a bucket; of the last one, with the longest silence as its end.
fn middle(gaps: &Histogram, place: usize) -> f64 {
    let (from, to, _) = gaps.buckets[place];
    let last = place + 1 == gaps.buckets.len();
    let end = if last { gaps.longest_us.max(from) } else { to };
    ((from.max(1) * end.max(1)) as f64).sqrt()
}

/// Judges what was measured against the present times. `target`: false alarms in a year.
pub fn advise(measured: &Measured, now: &Now, target: f64) -> Advice {
    let target = target.max(1e-6);
    let heard = measured.peers.iter().filter(|peer| peer.gaps.count > 0);
    let heard: Vec<&Peer> = heard.collect();
    let least = heard.iter().map(|peer| peer.gaps.observed_s).fold(f64::INFINITY, f64::min);
    let mut advice = Advice {
        target_per_year: target,
        measured_s: if least.is_finite() { least } else { 0.0 },
        needed_s: YEAR / (REACH * target),
        ..Advice::default()
    };
    let tails: Vec<Tail<'_>> = heard.iter().map(|peer| Tail::of(&peer.gaps)).collect();
    let yearly = |dead: f64| -> f64 {
        tails.iter().map(|tail| tail.rate(dead).max(tail.reach()) * YEAR).sum()
    };
    if heard.is_empty() || heard.iter().any(|peer| peer.gaps.count < TOO_FEW) {
        return advice;
    }
    let each = target / tails.len() as f64 / YEAR;
    let (mut dead, mut bound) = (0.0, Bound::Tail);
    for (peer, tail) in heard.iter().zip(&tails) {
        let (wanted, by) = dead_for(peer, tail, now, each);
        if wanted > dead {
            (dead, bound, advice.peer) = (wanted, by, peer.name.clone());
        }
    }
    let dead = rounded_up(dead);
    let warn = rounded_down(dead / 2.0).max(now.interval_us as f64 * 2.0);
    advice.bound = bound;
    advice.alarms_per_year = yearly(dead);
    advice.warnings_per_year = yearly(warn);
    advice.alarms_per_year_now = yearly(now.dead_us as f64);
    // No event in a time: the rule of three.
    advice.proven_per_year = heard.iter().map(|peer| 3.0 / peer.gaps.observed_s * YEAR).sum();
    let enough = advice.alarms_per_year <= target * 1.000_001;
    advice.verdict = if enough { Verdict::Enough } else { Verdict::Short };
    advice.recommended = Some(Now {
        interval_us: now.interval_us,
        warn_us: warn as u64,
        dead_us: dead as u64,
        initial_dead_us: now.initial_dead_us.max(2 * dead as u64),
    });
    advice
}

/// The shortest `dead` (µs) for a peer, and what has decided.
fn dead_for(peer: &Peer, tail: &Tail<'_>, now: &Now, rate: f64) -> (f64, Bound) {
    let longest = peer.gaps.longest_us as f64;
    let (mut low, mut high) = (now.interval_us as f64, 3.6e9);
    // The rate falls as `dead` grows: halving finds the place.
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        match tail.rate(middle) <= rate {
            true => high = middle,
            false => low = middle,
        }
    }
    // An echo is up to an interval older than its way; one in a thousand may be late.
    let echo = peer.echoes.quantile(0.999).map_or(0, |echo| echo.micros()) as f64;
    let floors = [
        (high, Bound::Tail),
        (2.0 * longest, Bound::Longest),
        (f64::from(BEATS) * now.interval_us as f64, Bound::Interval),
        (echo + 2.0 * now.interval_us as f64, Bound::Echo),
    ];
    floors.into_iter().fold((0.0, Bound::Tail), |most, one| if one.0 > most.0 { one } else { most })
}

/// The steps in which times are recommended.
const STEPS: [f64; 11] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

fn rounded_up(micros: f64) -> f64 {
    let decade = 10_f64.powf(micros.max(1.0).log10().floor());
    let step = STEPS.iter().find(|step| **step * decade >= micros * 0.999_999);
    step.unwrap_or(&10.0) * decade
}

fn rounded_down(micros: f64) -> f64 {
    let decade = 10_f64.powf(micros.max(1.0).log10().floor());
    let step = STEPS.iter().rev().find(|step| **step * decade <= micros * 1.000_001);
    step.unwrap_or(&1.0) * decade
}

/// The lines for `latido.toml`, or (`heartbeat`) for `ha.cf`.
pub fn lines(times: &Now, heartbeat: bool) -> String {
    let show = |us: u64| format_duration(Duration::from_micros(us));
    let Now { interval_us, warn_us, dead_us, initial_dead_us } = *times;
    let [interval, warn, dead, initial] =
        [interval_us, warn_us, dead_us, initial_dead_us].map(show);
    if heartbeat {
        let ms = |us: u64| format!("{}ms", us.div_ceil(1000));
        let [interval, warn, dead, initial] =
            [interval_us, warn_us, dead_us, initial_dead_us].map(ms);
        return format!(
            "keepalive {interval}\nwarntime {warn}\ndeadtime {dead}\ninitdead {initial}\n"
        );
    }
    format!(
        "[timing]\ninterval     = \"{interval}\"\nwarn         = \"{warn}\"\n\
         dead         = \"{dead}\"\ninitial_dead = \"{initial}\"\n"
    )
}
