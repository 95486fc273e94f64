//! `latido advise`: times that suit the network, from what the heartbeats have shown.
use super::Where;
use crate::control::{Client, ClientError, MeasuredReport};
use crate::core::time::Duration;
use crate::quality::{Advice, Bound, Measured, Now, Peer, TARGET, TOO_FEW, Verdict, advise, lines};
use crate::tell::span;
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;

const AFTER: &str = "\
Each daemon measures for itself, as long as it runs: ask on every node and take the longest times.
docs/tuning.md explains the method, and what may be claimed after how long.

Exit codes: 0 recommended, 1 too little data, 3 no daemon runs, 4 it cannot be asked";

/// Recommend interval, warn and dead, from the silences between the heartbeats so far.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Args {
    /// For programs: one line of JSON, the histograms with it.
    #[arg(long)]
    json: bool,
    /// False alarms that are put up with, in a year.
    #[arg(long, value_name = "N", default_value_t = TARGET, value_parser = alarms)]
    alarms: f64,
    #[command(flatten)]
    place: Where,
}

fn alarms(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0, such as 0.1 or 12".into())
}

#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    node: &'a str,
    source: &'a str,
    /// In force now.
    times: Now,
    advice: &'a Advice,
    measured: &'a Measured,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let asked = Client::connect(&args.place.runtime_dir).and_then(|mut client| client.measured());
    let report = match asked {
        Ok(report) => report,
        Err(error) => {
            super::complain(&error);
            return ExitCode::from(match error {
                ClientError::NotRunning(_) => super::NOT_RUNNING,
                ClientError::NotPermitted(_) | ClientError::Lost(..) | ClientError::Refused(_) => {
                    super::UNKNOWN
                }
            });
        }
    };
    let advice = advise(&report.measured, &report.times, args.alarms);
    if args.json {
        let answer = Answer {
            schema: report.schema,
            node: &report.node,
            source: &report.source,
            times: report.times,
            advice: &advice,
            measured: &report.measured,
        };
        println!("{}", serde_json::to_string(&answer).unwrap_or_default());
    } else {
        print!("{}", screen(&report, &advice));
    }
    ExitCode::from(if advice.recommended.is_some() { super::DONE } else { super::FAILED })
}

fn screen(report: &MeasuredReport, advice: &Advice) -> String {
    let mut text = basis(report);
    text.push_str(
        "\nSILENCE BETWEEN HEARTBEATS    half below   99.9 % below   longest      count\n",
    );
    for peer in &report.measured.peers {
        text.push_str(&peer_lines(peer));
    }
    text.push('\n');
    let Some(times) = &advice.recommended else {
        text.push_str(&too_little(report));
        return text;
    };
    let year = |rate: f64| figure(rate);
    let show = |us: u64| span(Duration::from_micros(us));
    let _ = writeln!(
        text,
        "dead = {} now:         about {} false alarms a year",
        show(report.times.dead_us),
        year(advice.alarms_per_year_now)
    );
    let _ = writeln!(
        text,
        "dead = {} recommended: about {} false alarms and {} warnings a year",
        show(times.dead_us),
        year(advice.alarms_per_year),
        year(advice.warnings_per_year)
    );
    let _ = writeln!(text, "  {}", why(advice));
    let _ = writeln!(
        text,
        "  By the data alone, without its tail carried on: at most {} a year (95 %).",
        year(advice.proven_per_year)
    );
    if advice.verdict == Verdict::Short {
        let _ = writeln!(
            text,
            "  Measured for {} only: {} a year cannot be claimed before {}. Ask again then.",
            seconds(advice.measured_s),
            year(advice.target_per_year),
            seconds(advice.needed_s)
        );
    }
    let file = if report.heartbeat { "ha.cf" } else { "latido.toml" };
    let source = if report.source.is_empty() { file } else { &report.source };
    let _ = writeln!(text, "\nFor {source}, the same on every node, then `latido reload`:\n");
    text.push_str(&lines(times, report.heartbeat));
    text
}

/// Which data it rests on.
fn basis(report: &MeasuredReport) -> String {
    let measured = &report.measured;
    let starts = match measured.starts {
        0 | 1 => String::new(),
        count => format!(" over {count} starts of its engine"),
    };
    format!(
        "Measured by {} since {} ago{starts}, with interval = {}.\n\
         A reboot, or another interval, node or link, begins anew.\n",
        report.node,
        seconds(measured.since_s),
        span(Duration::from_micros(report.times.interval_us))
    )
}

fn peer_lines(peer: &Peer) -> String {
    let mut text = String::new();
    let rows = std::iter::once((format!("{}, any link", peer.name), &peer.gaps));
    let links = peer.links.iter().map(|link| (format!("  {}", link.name), &link.gaps));
    for (name, gaps) in rows.chain(links) {
        let quantile = |share| gaps.quantile(share).map_or("-".to_owned(), span);
        let longest = match gaps.count {
            0 => "-".to_owned(),
            _ => span(Duration::from_micros(gaps.longest_us)),
        };
        let _ = writeln!(
            text,
            "{name:<29} {:<12} {:<14} {longest:<12} {}",
            quantile(0.5),
            quantile(0.999),
            gaps.count
        );
    }
    if peer.outages > 0 {
        let _ = writeln!(
            text,
            "  and {} silences of 30 s or longer: outages, not counted",
            peer.outages
        );
    }
    text
}

fn too_little(report: &MeasuredReport) -> String {
    let counts = report.measured.peers.iter().map(|peer| peer.gaps.count);
    let least = counts.filter(|count| *count > 0).min().unwrap_or(0);
    let missing = TOO_FEW.saturating_sub(least) as f64 * report.times.interval_us as f64 / 1e6;
    format!(
        "Too little data: {least} silences, at least {TOO_FEW} are needed. Let the nodes run for \
         {}\nmore, better for days, under their usual load; then ask again.\n",
        seconds(missing)
    )
}

fn why(advice: &Advice) -> String {
    let peer = &advice.peer;
    match advice.bound {
        Bound::Tail => format!("By the tail of the silences of {peer}, carried on."),
        Bound::Longest => format!("Twice the longest silence of {peer}."),
        Bound::Interval => {
            "Five intervals: the network would allow less with a shorter interval.".to_owned()
        }
        Bound::Echo => format!("By the way to {peer} and back, and two intervals."),
    }
}

fn seconds(seconds: f64) -> String {
    span(Duration::from_micros((seconds.max(0.0) * 1e6) as u64))
}

/// Two digits are more than is known.
fn figure(number: f64) -> String {
    match number {
        10.0.. => format!("{:.0}", round(number)),
        1.0.. => format!("{number:.1}"),
        0.01.. => format!("{number:.2}"),
        _ => "less than 0.01".to_owned(),
    }
}

fn round(number: f64) -> f64 {
    let scale = 10_f64.powf(number.log10().floor() - 1.0);
    (number / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::MeasuredGaps;

    fn report(count: u64, heartbeat: bool) -> MeasuredReport {
        let gaps = MeasuredGaps {
            observed_s: count as f64 / 10.0,
            count,
            longest_us: 130_000,
            buckets: vec![(98_304, 106_496, count - count / 10), (122_880, 131_072, count / 10)],
        };
        let peer = Peer { name: "laptop".into(), gaps, ..Peer::default() };
        MeasuredReport {
            ok: true,
            node: "pi".into(),
            heartbeat,
            times: Now {
                interval_us: 100_000,
                warn_us: 300_000,
                dead_us: 1_000_000,
                initial_dead_us: 30_000_000,
            },
            measured: Measured { since_s: 86_400.0, starts: 2, peers: vec![peer] },
            ..MeasuredReport::default()
        }
    }

    fn shown(report: &MeasuredReport) -> String {
        screen(report, &advise(&report.measured, &report.times, TARGET))
    }

    #[test]
    fn too_little_data_says_how_much_more_and_recommends_nothing() {
        let text = shown(&report(400, false));
        assert!(text.contains("Too little data: 400 silences"), "{text}");
        assert!(text.contains("60 s\nmore") && !text.contains("dead ="), "{text}");
    }

    #[test]
    fn the_lines_to_write_stand_last() {
        let text = shown(&report(6_000_000, false));
        assert!(text.contains("since 24 h 0 min ago over 2 starts of its engine"), "{text}");
        assert!(text.contains("For latido.toml") && text.contains("[timing]\n"), "{text}");
        assert!(!text.contains("cannot be claimed"), "{text}");
        let text = shown(&report(6_000_000, true));
        assert!(text.contains("For ha.cf") && text.contains("\nkeepalive 100ms\n"), "{text}");
    }

    #[test]
    fn a_short_measurement_says_what_it_cannot_claim() {
        let text = shown(&report(36_000, false));
        assert!(text.contains("Measured for 60 min only: 1.0 a year cannot be claimed"), "{text}");
    }

    #[test]
    fn figures_have_two_digits() {
        for (number, text) in
            [(0.001, "less than 0.01"), (0.123, "0.12"), (1.26, "1.3"), (8_766.0, "8800")]
        {
            assert_eq!(figure(number), text);
        }
    }
}
