//! What was measured, as it goes over the control socket.
use super::{BUCKETS, Layout, SINCE, STARTS};
use crate::core::quality::Histogram as Counts;
use crate::core::time::{Duration, Instant};
use crate::runtime::Gaps;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Reads what the engine counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Option<(Arc<Gaps>, Arc<Layout>)>);

/// Everything that `latido advise` goes by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Seconds since the first engine of this boot began to count with this interval, these nodes
    /// and these links.
    pub since_s: f64,
    /// How many engines have counted.
    pub starts: u64,
    /// Every other node, and every witness.
    pub peers: Vec<Peer>,
}

/// One peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Silences between two heartbeats over all links, as the failure detector saw them.
    pub gaps: Histogram,
    /// How old the echoes in them were.
    pub echoes: Histogram,
    /// Silences of 30 s or longer: in no histogram.
    pub outages: u32,
    /// Each link.
    pub links: Vec<Link>,
}

/// One link to a peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Silences on it.
    pub gaps: Histogram,
}

/// How often spans of each length were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// All spans together, in seconds.
    pub observed_s: f64,
    /// How many there are.
    pub count: u64,
    /// The longest, in microseconds.
    pub longest_us: u64,
    /// Buckets that are not empty, the shortest first: from, up to (both in microseconds), count.
    pub buckets: Vec<(u64, u64, u64)>,
}

impl Histogram {
    /// From the core's type.
    pub fn of(counts: &Counts) -> Histogram {
        let buckets: Vec<_> = (0..BUCKETS)
            .filter(|bucket| counts.count(*bucket) > 0)
            .map(|bucket| {
                let (from, to) = Counts::bounds(bucket);
                (from.micros(), to.micros(), u64::from(counts.count(bucket)))
            })
            .collect();
        Histogram {
            observed_s: counts.sum() as f64 / 1e6,
            count: counts.total(),
            longest_us: counts.longest().micros(),
            buckets,
        }
    }

    /// The span that this share (0 to 1) of all spans do not exceed, rounded up to its bucket.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, _, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(_, to, _)| Duration::from_micros((*to).min(self.longest_us)))
    }
}

impl Board {
    pub(super) fn new(gaps: Arc<Gaps>, layout: Layout) -> Board {
        Board(Some((gaps, Arc::new(layout))))
    }

    /// What was counted up to now.
    pub fn look(&self, now: Instant) -> Measured {
        let Some((gaps, layout)) = &self.0 else { return Measured::default() };
        let histogram = |start: usize| {
            let mut counts = Counts::default();
            super::restore(&mut counts, gaps, start);
            Histogram::of(&counts)
        };
        let peer = |(place, (_, name)): (usize, &(_, String))| Peer {
            name: name.clone(),
            gaps: histogram(layout.gaps(place)),
            echoes: histogram(layout.echoes(place)),
            outages: u32::try_from(gaps.get(layout.outages(place))).unwrap_or(u32::MAX),
            links: layout
                .links
                .iter()
                .enumerate()
                .map(|(link, name)| Link {
                    name: name.clone(),
                    gaps: histogram(layout.link(place, link)),
                })
                .collect(),
        };
        let since = Instant::from_micros(gaps.get(SINCE));
        Measured {
            since_s: now.since(since).micros() as f64 / 1e6,
            starts: gaps.get(STARTS),
            peers: layout.peers.iter().enumerate().map(peer).collect(),
        }
    }
}
