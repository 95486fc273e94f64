//! How good the paths to a peer are: loss, round trip, jitter, and how long it is silent between
//! two heartbeats.
//!
//! Bounded, without heap and without floats, like the rest of the core; but kept by whoever drives
//! it: [`Cluster::received`](super::Cluster::received) tells what each frame has shown, and
//! [`PeerQuality::heard`] counts it. Nothing is decided by any of this.
use super::cluster::Cluster;
use super::id::{Incarnation, LinkId, NodeId};
use super::limits::LINKS_MAX;
use super::peer::{Judge, Taken};
use super::time::{Duration, Instant};
use super::wire::{Header, Heard};

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = 240;
/// Sub-buckets of an octave, as a power of two: a bucket is at most 12.5 % wide.
const SUB_BITS: u32 = 3;
const SUBS: u64 = 1 << SUB_BITS;
/// From here on everything is in the last bucket: 71 minutes.
const CLAMP: u64 = (1 << 32) - 1;

/// A silence of so long is an outage: no time that one could wait would bridge it.
pub const OUTAGE: Duration = Duration::from_millis(30_000);
/// Half of the window over which loss and the longest round trip are shown.
const HALF_WINDOW: Duration = Duration::from_millis(30_000);

/// What one authentic frame of a peer has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// Whose it is.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Where it came.
    pub link: LinkId,
    /// Its sender's clock when it was sent, in microseconds.
    pub sequence: u64,
    /// Its number among its sender's frames, modulo 2^16.
    pub count: u16,
    /// The silence that it ended, over all links, as the failure detector saw it; `None`: a second
    /// copy, overtaken, by somebody who does not hear us, or the first of its incarnation.
    pub gap: Option<Duration>,
    /// How old the echo in it is; `None`: older than `dead`.
    pub echo: Option<Duration>,
    /// The echo's way there and back, without the peer's thinking time.
    pub rtt: Option<Duration>,
}

impl Cluster {
    /// What the frame of the last [`Input::Frame`](super::io::Input::Frame) has shown, once; `None`
    /// if it was worth nothing.
    pub fn received(&mut self) -> Option<Reception> {
        self.reception.take()
    }
}

impl Reception {
    /// `echo`: what the frame says of us. `before`: its count, and the silence until it came.
    pub(super) fn of(
        judge: &Judge,
        header: &Header,
        link: LinkId,
        echo: Option<Heard>,
        before: (u16, Option<Duration>),
        taken: Taken,
    ) -> Option<Reception> {
        if !matches!(taken, Taken::Fresh(_) | Taken::Deaf | Taken::Doubled) {
            return None;
        }
        let age = |heard: &Heard| judge.now.since(Instant::from_micros(heard.sequence));
        let echo = echo.filter(|heard| age(heard) <= judge.dead);
        let (count, silence) = before;
        Some(Reception {
            node: header.node,
            incarnation: header.incarnation,
            link,
            sequence: header.sequence,
            count,
            gap: silence.filter(|_| taken == Taken::Fresh(false)),
            echo: echo.as_ref().map(age),
            rtt: echo.map(|heard| age(&heard) - Duration::from_micros(heard.age)),
        })
    }
}

/// How often spans of each length were seen. Buckets grow with the span, 8 in each octave.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    /// All spans together, in microseconds.
    sum: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts a span; its bucket. When a bucket is full all counts are halved, and the sum with
    /// them: shares and rates stay what they were.
    pub fn record(&mut self, span: Duration) -> usize {
        let bucket = Self::bucket(span);
        if self.count(bucket) == u32::MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.sum /= 2;
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(span.micros());
        self.longest = self.longest.max(span);
        bucket
    }

    /// Takes over what an earlier one has counted in `bucket`.
    pub fn restore(&mut self, bucket: usize, count: u32) {
        if let Some(place) = self.counts.get_mut(bucket) {
            *place = count;
        }
    }

    /// Takes over an earlier one's sum in microseconds, and its longest span.
    pub fn restore_sums(&mut self, sum: u64, longest: Duration) {
        (self.sum, self.longest) = (sum, longest);
    }

    /// How many spans are in `bucket`.
    pub fn count(&self, bucket: usize) -> u32 {
        self.counts.get(bucket).copied().unwrap_or(0)
    }

    /// All spans together, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The longest span.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// How many spans there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum + u64::from(*count))
    }

    /// The bucket of a span.
    pub fn bucket(span: Duration) -> usize {
        let us = span.micros().min(CLAMP);
        if us < SUBS {
            return us as usize; // below SUBS
        }
        let octave = us.ilog2() - SUB_BITS;
        // At most 29 · 8 + 7 = 239.
        (octave as usize + 1) * SUBS as usize + ((us >> octave) & (SUBS - 1)) as usize
    }

    /// The shortest span of a bucket, and the shortest of the next one.
    pub fn bounds(bucket: usize) -> (Duration, Duration) {
        (Self::lower(bucket), Self::lower(bucket.saturating_add(1)))
    }

    fn lower(bucket: usize) -> Duration {
        let bucket = bucket.min(BUCKETS) as u64;
        Duration::from_micros(match bucket / SUBS {
            0 => bucket,
            octave => (SUBS + bucket % SUBS) << (octave - 1),
        })
    }
}

/// Frames that a peer has sent, and how many of them did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Sent, by the sender's count.
    pub sent: u64,
    /// Not come, or not yet.
    pub lost: u64,
}

impl Loss {
    fn add(&mut self, sent: u64) {
        self.sent = self.sent.saturating_add(sent);
        self.lost = self.lost.saturating_add(sent);
    }

    fn came(&mut self) {
        self.lost = self.lost.saturating_sub(1);
    }

    fn plus(self, other: Loss) -> Loss {
        Loss {
            sent: self.sent.saturating_add(other.sent),
            lost: self.lost.saturating_add(other.lost),
        }
    }

    /// Lost out of a million; `None`: nothing was sent.
    pub fn ppm(self) -> Option<u32> {
        let ppm = self.lost.min(self.sent).saturating_mul(1_000_000).checked_div(self.sent)?;
        u32::try_from(ppm).ok()
    }
}

/// Half of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    loss: Loss,
    rtt_max: Duration,
}

/// One link to one peer.
#[derive(Clone, Debug, Default)]
pub struct PathQuality {
    heard: Option<Instant>,
    /// The newest count that came, extended to 64 bits, and which of the 64 up to it came.
    newest: u64,
    came: u64,
    /// The present half of the window, and the one before.
    halves: [Half; 2],
    began: Instant,
    total: Loss,
    /// Arrival by our clock less sending by the peer's, of the last frame.
    transit: Option<u64>,
    /// In sixteenths of a microsecond.
    jitter: u64,
    /// In eighths of a microsecond.
    rtt: Option<u64>,
    gaps: Histogram,
}

/// What is known of a path, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkQuality {
    /// Time since its last frame.
    pub silence: Option<Duration>,
    /// Over the last half to one minute.
    pub recent: Loss,
    /// Since the start.
    pub total: Loss,
    /// How much the travelling time varies, as RFC 3550 (section 6.4.1) has it.
    pub jitter: Option<Duration>,
    /// Round trip, smoothed.
    pub rtt_mean: Option<Duration>,
    /// The longest round trip of the last half to one minute.
    pub rtt_max: Option<Duration>,
}

impl PathQuality {
    /// The silences between two frames on this link.
    pub fn gaps(&self) -> &Histogram {
        &self.gaps
    }

    /// The silences, to be restored.
    pub fn gaps_mut(&mut self) -> &mut Histogram {
        &mut self.gaps
    }

    /// Goes on from `count`: what was lost before nobody knows.
    fn restart(&mut self, count: u64) {
        (self.newest, self.came, self.transit) = (count, 1, None);
    }

    fn turn(&mut self, now: Instant) {
        let since = now.since(self.began);
        if since < HALF_WINDOW {
            return;
        }
        let [present, _] = self.halves;
        let last = if since < HALF_WINDOW.times(2) { present } else { Half::default() };
        self.halves = [Half::default(), last];
        self.began = now;
    }

    fn heard(&mut self, now: Instant, frame: &Reception, count: u64, every: u64) -> Option<usize> {
        self.turn(now);
        let before = self.heard.replace(now);
        match before {
            Some(_) => self.number(count, every),
            None => self.restart(count),
        }
        let transit = now.micros().wrapping_sub(frame.sequence);
        if let Some(last) = self.transit.replace(transit) {
            let step = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            self.jitter = self.jitter.saturating_add(step) - (self.jitter / 16);
        }
        if let Some(rtt) = frame.rtt {
            self.rtt = Some(match self.rtt {
                Some(mean) => mean.saturating_add(rtt.micros()) - mean / 8,
                None => rtt.micros().saturating_mul(8),
            });
            let [present, _] = &mut self.halves;
            present.rtt_max = present.rtt_max.max(rtt);
        }
        let gap = now.since(before?);
        (gap < OUTAGE).then(|| self.gaps.record(gap))
    }

    /// A frame of this number came; the link carries every n-th heartbeat.
    fn number(&mut self, count: u64, every: u64) {
        let [present, _] = &mut self.halves;
        if count > self.newest {
            let step = count - self.newest;
            // At least this one was sent here.
            let sent = step.checked_div(every).unwrap_or(step).max(1);
            for loss in [&mut present.loss, &mut self.total] {
                loss.add(sent);
                loss.came();
            }
            self.came = if step < 64 { self.came << step | 1 } else { 1 };
            self.newest = count;
            return;
        }
        // Overtaken, or doubled on its way.
        let age = self.newest - count;
        if age < 64 && self.came >> age & 1 == 0 {
            self.came |= 1 << age;
            present.loss.came();
            self.total.came();
        }
    }

    fn look(&self, now: Instant, count: u64, every: u64) -> LinkQuality {
        let [present, last] = self.halves;
        let old = now.since(self.began) >= HALF_WINDOW.times(2);
        // Sent since, as other links tell; the last one may still be on its way.
        let behind = count.saturating_sub(self.newest);
        let behind = behind.checked_div(every).unwrap_or(behind).saturating_sub(1);
        let behind = if self.heard.is_some() { behind } else { 0 };
        let missing = Loss { sent: behind, lost: behind };
        let recent = if old { Loss::default() } else { present.loss.plus(last.loss) };
        let rtt_max = present.rtt_max.max(last.rtt_max);
        LinkQuality {
            silence: self.heard.map(|heard| now.since(heard)),
            recent: recent.plus(missing),
            total: self.total.plus(missing),
            jitter: self.transit.map(|_| Duration::from_micros(self.jitter / 16)),
            rtt_mean: self.rtt.map(|mean| Duration::from_micros(mean / 8)),
            rtt_max: (!old && rtt_max > Duration::ZERO).then_some(rtt_max),
        }
    }
}

/// What is known of all paths to one peer.
#[derive(Clone, Debug, Default)]
pub struct PeerQuality {
    incarnation: Option<Incarnation>,
    /// The newest count, extended to 64 bits.
    count: u64,
    heard: Instant,
    gaps: Histogram,
    echoes: Histogram,
    outages: u32,
    paths: [PathQuality; LINKS_MAX],
}

/// Which buckets a frame was counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Of the silences over all links.
    pub gap: Option<usize>,
    /// Of the echoes' ages.
    pub echo: Option<usize>,
    /// Of the silences on its link.
    pub link: Option<usize>,
}

impl PeerQuality {
    /// Counts a frame. `every`: its link carries every n-th heartbeat.
    pub fn heard(&mut self, now: Instant, frame: &Reception, every: u8) -> Counted {
        let every = u64::from(every.max(1));
        let same = self.incarnation.replace(frame.incarnation) == Some(frame.incarnation);
        // After a long silence nobody knows how often the count has come round.
        if !same || now.since(self.heard) >= OUTAGE {
            self.count = u64::from(frame.count) + (1 << 32);
            for path in &mut self.paths {
                path.restart(self.count);
            }
        }
        self.heard = now;
        // The nearest number that ends so.
        let low = (self.count & 0xffff) as u16; // cast: masked
        let step = i64::from(frame.count.wrapping_sub(low).cast_signed());
        let count = self.count.saturating_add_signed(step);
        self.count = self.count.max(count);
        let mut counted = Counted::default();
        if let Some(gap) = frame.gap.filter(|_| same) {
            match gap < OUTAGE {
                true => counted.gap = Some(self.gaps.record(gap)),
                false => self.outages = self.outages.saturating_add(1),
            }
            counted.echo = frame.echo.map(|echo| self.echoes.record(echo));
        }
        counted.link = self.paths[frame.link.index()].heard(now, frame, count, every);
        counted
    }

    /// What is known of a link, for people. `every`: it carries every n-th heartbeat.
    pub fn link(&self, link: LinkId, now: Instant, every: u8) -> LinkQuality {
        self.paths[link.index()].look(now, self.count, u64::from(every.max(1)))
    }

    /// The silences over all links, as the failure detector saw them.
    pub fn gaps(&self) -> &Histogram {
        &self.gaps
    }

    /// The silences, to be restored.
    pub fn gaps_mut(&mut self) -> &mut Histogram {
        &mut self.gaps
    }

    /// How old the echoes were that made frames count.
    pub fn echoes(&self) -> &Histogram {
        &self.echoes
    }

    /// The echoes, to be restored.
    pub fn echoes_mut(&mut self) -> &mut Histogram {
        &mut self.echoes
    }

    /// Silences of [`OUTAGE`] or longer, which are in no histogram.
    pub fn outages(&self) -> u32 {
        self.outages
    }

    /// Takes over an earlier count of outages.
    pub fn restore_outages(&mut self, outages: u32) {
        self.outages = outages;
    }

    /// One of the paths.
    pub fn path(&self, link: LinkId) -> &PathQuality {
        &self.paths[link.index()]
    }

    /// One of the paths, to be restored.
    pub fn path_mut(&mut self, link: LinkId) -> &mut PathQuality {
        &mut self.paths[link.index()]
    }
}

#[cfg(test)]
mod tests;
