//! What the heartbeats themselves tell: how good each path is, and which times suit it.
//!
//! ```text
//!  engine ── Recorder ── core's PeerQuality ──► Snapshot ──► latido status
//!               └─────── Gaps, mapped words ──► Measured ──► latido advise
//! ```
//!
//! The engine counts each frame in the core's type and stores the one changed bucket in a mapped
//! file: the control socket's thread reads it there, and the next engine goes on from it.
mod advice;
mod measured;
#[cfg(test)]
mod tests;

pub use advice::{Advice, Bound, Now, TARGET, TOO_FEW, Verdict, advise, lines};
pub use measured::{Board, Histogram as MeasuredGaps, Link, Measured, Peer};

use crate::config::Config;
use crate::core::id::{LinkId, NodeId};
use crate::core::limits::{LINKS_MAX, VOTERS_MAX};
use crate::core::quality::{BUCKETS, Histogram, LinkQuality, PeerQuality, Reception};
use crate::core::time::{Duration, Instant};
use crate::runtime::{self, Gaps, RuntimeDir};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What is known of every path, for people.
pub type Qualities = [[LinkQuality; LINKS_MAX]; VOTERS_MAX];

/// Words of a histogram: two counts in each, the sum, the longest.
const HISTOGRAM: usize = BUCKETS / 2 + 2;
/// How often an engine has begun, and when the first one did.
const STARTS: usize = 0;
const SINCE: usize = 1;
const PEERS: usize = 2;

/// Where each peer's counts are.
#[derive(Clone, Debug)]
struct Layout {
    peers: Vec<(NodeId, String)>,
    links: Vec<String>,
}

impl Layout {
    fn of(config: &Config, me: usize) -> Layout {
        let nodes = config.nodes.iter().enumerate().filter(|(index, _)| *index != me);
        let nodes = nodes.filter_map(|(index, name)| Some((NodeId::new(index)?, name.clone())));
        let witnesses = config.witnesses.iter().enumerate();
        let witnesses = witnesses
            .filter_map(|(index, name)| Some((crate::core::Config::witness(index)?, name.clone())));
        Layout {
            peers: nodes.chain(witnesses).collect(),
            links: config.links.iter().map(|link| link.name.clone()).collect(),
        }
    }

    /// Names this layout, and what the counts were measured with.
    fn key(&self, config: &Config) -> u64 {
        let mut hasher = DefaultHasher::new();
        (BUCKETS, config.timing.interval, &self.links).hash(&mut hasher);
        self.peers.iter().for_each(|(node, name)| (node.index(), name).hash(&mut hasher));
        hasher.finish()
    }

    /// Outages, silences over all links, echoes; silences on each link.
    fn peer_words(&self) -> usize {
        1 + HISTOGRAM * (2 + self.links.len())
    }

    fn words(&self) -> usize {
        PEERS + self.peers.len() * self.peer_words()
    }

    fn outages(&self, place: usize) -> usize {
        PEERS + place * self.peer_words()
    }

    fn gaps(&self, place: usize) -> usize {
        self.outages(place) + 1
    }

    fn echoes(&self, place: usize) -> usize {
        self.gaps(place) + HISTOGRAM
    }

    fn link(&self, place: usize, link: usize) -> usize {
        self.echoes(place) + HISTOGRAM * (1 + link)
    }
}

/// The engine's end.
pub struct Recorder {
    layout: Layout,
    gaps: Arc<Gaps>,
    /// The place of each voter among the peers.
    places: [Option<usize>; VOTERS_MAX],
    peers: Box<[PeerQuality]>,
    every: [u8; LINKS_MAX],
}

impl Recorder {
    /// Goes on from what an earlier engine of this boot has counted with the same interval, nodes
    /// and links.
    ///
    /// # Errors
    /// The file cannot be made or mapped.
    pub fn open(
        runtime: &RuntimeDir,
        config: &Config,
        me: usize,
        now: Instant,
    ) -> Result<Recorder, runtime::Error> {
        let layout = Layout::of(config, me);
        let gaps = Arc::new(runtime.gaps(layout.key(config), layout.words())?);
        gaps.set(STARTS, gaps.get(STARTS).saturating_add(1));
        if gaps.get(SINCE) == 0 {
            gaps.set(SINCE, now.micros());
        }
        let mut places = [None; VOTERS_MAX];
        let mut every = [1; LINKS_MAX];
        for (place, (node, _)) in layout.peers.iter().enumerate() {
            places[node.index()] = Some(place);
        }
        for (every, link) in every.iter_mut().zip(&config.links) {
            *every = link.medium.every(config.timing.interval);
        }
        let recall = |place: usize| {
            let mut peer = PeerQuality::default();
            restore(peer.gaps_mut(), &gaps, layout.gaps(place));
            restore(peer.echoes_mut(), &gaps, layout.echoes(place));
            let outages = gaps.get(layout.outages(place));
            peer.restore_outages(u32::try_from(outages).unwrap_or(u32::MAX));
            for link in LinkId::all().take(layout.links.len()) {
                let start = layout.link(place, link.index());
                restore(peer.path_mut(link).gaps_mut(), &gaps, start);
            }
            peer
        };
        let peers = (0..layout.peers.len()).map(recall).collect();
        Ok(Recorder { layout, gaps, places, peers, every })
    }

    /// For whoever wants to read what was counted.
    pub fn board(&self) -> Board {
        Board::new(self.gaps.clone(), self.layout.clone())
    }

    /// Counts a frame. Never blocks, allocates nothing.
    pub fn heard(&mut self, now: Instant, frame: &Reception) {
        let Some(place) = self.places[frame.node.index()] else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        let link = frame.link.index();
        let counted = peer.heard(now, frame, self.every[link]);
        let (gaps, layout) = (&*self.gaps, &self.layout);
        let stores = [
            (counted.gap, peer.gaps(), layout.gaps(place)),
            (counted.echo, peer.echoes(), layout.echoes(place)),
            (counted.link, peer.path(frame.link).gaps(), layout.link(place, link)),
        ];
        for (bucket, histogram, start) in stores {
            if let Some(bucket) = bucket.filter(|_| link < layout.links.len()) {
                store(histogram, gaps, start, bucket);
            }
        }
        gaps.set(layout.outages(place), u64::from(peer.outages()));
    }

    /// What is known of every path now.
    pub fn look(&self, now: Instant) -> Qualities {
        let mut all = Qualities::default();
        for (peer, (node, _)) in self.peers.iter().zip(&self.layout.peers) {
            for link in LinkId::all().take(self.layout.links.len()) {
                let every = self.every[link.index()];
                all[node.index()][link.index()] = peer.link(link, now, every);
            }
        }
        all
    }
}

fn restore(histogram: &mut Histogram, gaps: &Gaps, start: usize) {
    for pair in 0..BUCKETS / 2 {
        let word = gaps.get(start + pair);
        histogram.restore(2 * pair, word as u32);
        histogram.restore(2 * pair + 1, (word >> 32) as u32);
    }
    let longest = Duration::from_micros(gaps.get(start + BUCKETS / 2 + 1));
    histogram.restore_sums(gaps.get(start + BUCKETS / 2), longest);
}

fn store(histogram: &Histogram, gaps: &Gaps, start: usize, bucket: usize) {
    let pair = |pair: usize| {
        let (low, high) = (histogram.count(2 * pair), histogram.count(2 * pair + 1));
        gaps.set(start + pair, u64::from(low) | u64::from(high) << 32);
    };
    pair(bucket / 2);
    let before = gaps.get(start + BUCKETS / 2);
    if histogram.sum() < before {
        // All counts were halved.
        (0..BUCKETS / 2).for_each(pair);
    }
    gaps.set(start + BUCKETS / 2, histogram.sum());
    gaps.set(start + BUCKETS / 2 + 1, histogram.longest().micros());
}
