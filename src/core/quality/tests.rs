use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000;

fn link(index: usize) -> LinkId {
    LinkId::new(index).expect("in range")
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// A frame on the first link, sent when the peer's clock showed `sequence`.
fn frame(count: u64, sequence: u64) -> Reception {
    Reception {
        node: NodeId::default(),
        incarnation: Incarnation(1),
        link: link(0),
        sequence,
        count: (count & 0xffff) as u16, // cast: masked
        gap: None,
        echo: None,
        rtt: None,
    }
}

/// Heartbeats every 100 ms, of which those come that `comes` names.
fn talk(peer: &mut PeerQuality, counts: std::ops::Range<u64>, comes: impl Fn(u64) -> bool) {
    for count in counts.filter(|count| comes(*count)) {
        peer.heard(at(count * 100 * MS + 500), &frame(count, count * 100 * MS), 1);
    }
}

#[test]
fn buckets_follow_each_other_without_a_hole() {
    for bucket in 0..BUCKETS {
        let (from, to) = Histogram::bounds(bucket);
        assert!(from < to, "{bucket}");
        assert_eq!(Histogram::bucket(from), bucket);
        assert_eq!(Histogram::bucket(us(to.micros() - 1)), bucket);
        // At most an eighth wide.
        assert!((to - from).micros() * 8 <= from.micros().max(8), "{bucket}");
    }
    assert_eq!(Histogram::bucket(Duration::from_micros(u64::MAX)), BUCKETS - 1);
    assert_eq!(Histogram::lower(usize::MAX), Histogram::lower(BUCKETS));
}

#[test]
fn a_full_bucket_halves_everything_and_keeps_the_rates() {
    let mut histogram = Histogram::default();
    let (short, long) = (us(100), us(1_000_000));
    histogram.restore(Histogram::bucket(short), u32::MAX);
    histogram.restore(Histogram::bucket(long), 1000);
    histogram.restore_sums(1 << 40, long);
    let bucket = histogram.record(short);
    assert_eq!(histogram.count(bucket), u32::MAX / 2 + 1);
    assert_eq!(histogram.count(Histogram::bucket(long)), 500);
    assert_eq!(histogram.sum(), (1 << 39) + 100);
    assert_eq!(histogram.longest(), long);
}

#[test]
fn loss_is_counted_by_the_senders_numbers_over_the_wrap() {
    let mut peer = PeerQuality::default();
    talk(&mut peer, 65_000..66_001, |count| !count.is_multiple_of(10));
    let quality = peer.link(link(0), at(66_000 * 100 * MS + 500), 1);
    // From the first that came to the last.
    assert_eq!(quality.total, Loss { sent: 998, lost: 99 });
    assert_eq!(quality.total.ppm(), Some(99_198));
    assert!((300..=600).contains(&quality.recent.sent), "{quality:?}");
    assert!(quality.recent.sent.abs_diff(quality.recent.lost * 10) <= 10, "{quality:?}");
}

#[test]
fn what_was_overtaken_is_not_lost_and_what_is_doubled_is_not_found() {
    let mut peer = PeerQuality::default();
    for count in [1, 2, 4, 3, 3, 4, 6] {
        peer.heard(at(count * MS), &frame(count, count), 1);
    }
    assert_eq!(peer.link(link(0), at(7 * MS), 1).total, Loss { sent: 5, lost: 1 });
}

#[test]
fn a_silent_link_loses_what_the_others_carry() {
    let mut peer = PeerQuality::default();
    talk(&mut peer, 1..11, |_| true);
    for count in 1..=40 {
        let other = Reception { link: link(1), ..frame(count, count * 100 * MS) };
        peer.heard(at(count * 100 * MS), &other, 1);
    }
    let quality = peer.link(link(0), at(4_000 * MS), 1);
    assert_eq!(quality.total, Loss { sent: 9 + 29, lost: 29 });
    assert_eq!(quality.silence, Some(us(3_000 * MS - 500)));
    assert_eq!(peer.link(link(1), at(4_000 * MS), 1).total.lost, 0);
    assert_eq!(peer.link(link(2), at(4_000 * MS), 1), LinkQuality::default());
}

#[test]
fn a_slow_link_that_carries_every_third_heartbeat_loses_none() {
    let mut peer = PeerQuality::default();
    for count in (0..30).filter(|count| count % 3 == 0) {
        peer.heard(at(count * 100 * MS), &frame(count, count), 3);
    }
    assert_eq!(peer.link(link(0), at(3_000 * MS), 3).total, Loss { sent: 9, lost: 0 });
}

#[test]
fn a_restarted_peer_has_lost_nothing() {
    let mut peer = PeerQuality::default();
    talk(&mut peer, 500..600, |_| true);
    let gap = Some(us(5_000 * MS));
    for count in 0..10 {
        let new = Reception { incarnation: Incarnation(2), gap, ..frame(count, count * MS) };
        peer.heard(at(70_000 * MS + count * 100 * MS), &new, 1);
    }
    assert_eq!(peer.link(link(0), at(71_000 * MS), 1).total.lost, 0);
    // The silence of its restart is no silence of the network's.
    assert_eq!(peer.gaps().total(), 9);
}

#[test]
fn an_outage_is_counted_apart() {
    let mut peer = PeerQuality::default();
    let second = Reception { gap: Some(us(100 * MS)), ..frame(2, 2) };
    let third = Reception { gap: Some(OUTAGE), ..frame(3, 3) };
    peer.heard(at(1), &frame(1, 1), 1);
    peer.heard(at(100 * MS), &second, 1);
    peer.heard(at(40_000 * MS), &third, 1);
    assert_eq!((peer.gaps().total(), peer.outages()), (1, 1));
    assert_eq!(peer.gaps().sum(), 100 * MS);
}

#[test]
fn jitter_is_none_on_a_steady_way_and_grows_to_what_it_is() {
    let mut peer = PeerQuality::default();
    talk(&mut peer, 1..200, |_| true);
    let quality = peer.link(link(0), at(0), 1);
    assert_eq!(quality.jitter, Some(Duration::ZERO));
    // In turns 0 and 8 ms late: each step is 8 ms.
    for count in 200..400 {
        let late = (count % 2) * 8 * MS;
        peer.heard(at(count * 100 * MS + late), &frame(count, count * 100 * MS), 1);
    }
    let jitter = peer.link(link(0), at(0), 1).jitter.expect("known").micros();
    assert!((7_900..=8_000).contains(&jitter), "{jitter}");
}

#[test]
fn the_round_trip_is_smoothed_and_its_peak_is_forgotten_after_a_minute() {
    let mut peer = PeerQuality::default();
    for count in 1..=10 {
        let rtt = Some(us(if count == 5 { 9_000 } else { 1_000 }));
        peer.heard(at(count * MS), &Reception { rtt, ..frame(count, count) }, 1);
    }
    let quality = peer.link(link(0), at(20 * MS), 1);
    let mean = quality.rtt_mean.expect("known").micros();
    assert!((1_000..2_500).contains(&mean), "{mean}");
    assert_eq!(quality.rtt_max, Some(us(9_000)));
    for second in 1..=62 {
        let later = Reception { rtt: Some(us(1_000)), ..frame(10 + second, second) };
        peer.heard(at(second * 1_000 * MS), &later, 1);
    }
    assert_eq!(peer.link(link(0), at(62_000 * MS), 1).rtt_max, Some(us(1_000)));
}

proptest! {
    #[test]
    fn whatever_comes_is_no_panic_and_no_more_is_lost_than_was_sent(
        frames in proptest::collection::vec(
            (any::<u64>(), any::<u16>(), any::<u64>(), 0..3u64, 0..LINKS_MAX, any::<u8>()), 0..200),
    ) {
        let mut peer = PeerQuality::default();
        let mut last = 0;
        for (when, count, sequence, incarnation, index, every) in frames {
            last = last.max(when);
            let any = Reception {
                incarnation: Incarnation(incarnation),
                link: link(index),
                count,
                gap: Some(us(sequence)),
                echo: Some(us(sequence)),
                rtt: Some(us(sequence)),
                ..frame(0, sequence)
            };
            peer.heard(at(last), &any, every);
            let quality = peer.link(link(index), at(last), every);
            prop_assert!(quality.total.lost <= quality.total.sent);
            prop_assert!(quality.recent.lost <= quality.recent.sent);
        }
    }
}
