//! What the demo prints at the end.
use super::{Args, Run};
use crate::lab::pair::Step;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// Three numbers of many.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// `None` of nothing.
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Spread { median: (low + high) / 2.0, min, max })
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// A measured quantity of a step.
type Quantity = (&'static str, fn(&Step) -> Option<f64>);

/// In milliseconds, except for the counts.
const QUANTITIES: [Quantity; 7] = [
    ("silence_ms", |step| Some(ms(step.missed.silence))),
    ("unanswered", |step| Some(step.missed.unanswered as f64)),
    ("moved_after_ms", |step| step.moved_after.map(ms)),
    ("nobody_ms", |step| Some(ms(step.held.nobody))),
    ("both_ms", |step| Some(ms(step.held.both))),
    ("both_served_ms", |step| Some(ms(step.missed.both))),
    ("own_pause_ms", |step| Some(ms(step.missed.own_pause))),
];

fn ms(duration: Duration) -> f64 {
    // Tenths: the kernel's wake-ups are not finer.
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// What a step came to, in a sentence.
pub(super) fn sentence(step: &Step) -> String {
    let without = if step.held.both.is_zero() { "nobody" } else { "more than one node" };
    let owner = step.owners[1].as_deref().unwrap_or(without);
    let moved = match (&step.owners, step.moved_after) {
        ([before, after], Some(after_ms)) if before != after => {
            format!("{owner} had the address after {:.0} ms", ms(after_ms))
        }
        ([before, after], None) if before == after => format!("{owner} keeps the address"),
        _ => format!("{owner} has the address"),
    };
    let mut text = format!(
        "→ {moved}; the client was without an answer for {:.0} ms ({} of {} requests lost).",
        ms(step.missed.silence),
        step.missed.unanswered,
        step.missed.asked
    );
    if !step.held.both.is_zero() {
        let _ = write!(text, " Two owners for {:.1} ms.", ms(step.held.both));
    }
    text
}

/// The names of all steps, in the order of their first appearance.
fn names(runs: &[Run]) -> Vec<&str> {
    let mut names = Vec::new();
    for step in runs.iter().flat_map(|run| &run.steps) {
        if !names.contains(&step.name.as_str()) {
            names.push(step.name.as_str());
        }
    }
    names
}

fn spread(runs: &[Run], name: &str, value: fn(&Step) -> Option<f64>) -> Option<Spread> {
    let steps = runs.iter().flat_map(|run| &run.steps).filter(|step| step.name == name);
    Spread::of(steps.filter_map(value).collect())
}

/// The table for people.
pub(super) fn text(runs: &[Run]) -> String {
    let mut text = String::from("\nWhat the client missed");
    if runs.len() > 1 {
        let _ = write!(text, " in {} runs: median (least to most)", runs.len());
    }
    let _ = write!(
        text,
        "\n\n  {:<22} {:>22} {:>14} {:>16} {:>16}  served by\n",
        "step", "longest silence, ms", "unanswered", "nobody owns, ms", "both own, ms"
    );
    for name in names(runs) {
        let cell = |value: fn(&Step) -> Option<f64>| match spread(runs, name, value) {
            Some(one) if runs.len() > 1 => {
                format!("{:.1} ({:.1}-{:.1})", one.median, one.min, one.max)
            }
            Some(one) if one.median.fract() == 0.0 => format!("{:.0}", one.median),
            Some(one) => format!("{:.1}", one.median),
            None => "-".into(),
        };
        let served = runs.iter().flat_map(|run| &run.steps).find(|step| step.name == name);
        let served = served.map(|step| step.missed.order.join(" → ")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {name:<22} {:>22} {:>14} {:>16} {:>16}  {}",
            cell(QUANTITIES[0].1),
            cell(QUANTITIES[1].1),
            cell(QUANTITIES[3].1),
            cell(QUANTITIES[4].1),
            shortened(&served),
        );
    }
    if let Some(pause) = worst_pause(runs) {
        let _ = write!(
            text,
            "\n  The client itself paused for up to {pause:.1} ms: \
             silences up to that mean nothing."
        );
    }
    for (node, used) in runs.iter().flat_map(|run| &run.usage) {
        let minute = used.cpu.as_secs_f64() * 60_000.0 / used.during.as_secs_f64();
        let _ = write!(
            text,
            "\n  The daemon of {node}: {minute:.0} ms of CPU time a minute, \
             {:.1} MiB of memory (PSS).",
            used.pss_kib as f64 / 1024.0
        );
    }
    text
}

/// After a split both may answer in turns, hundreds of times.
fn shortened(order: &str) -> String {
    let names: Vec<&str> = order.split(" → ").collect();
    match names.as_slice() {
        [first, second, _, _, ..] => format!("{first} and {second} in turns"),
        _ => order.to_owned(),
    }
}

fn worst_pause(runs: &[Run]) -> Option<f64> {
    let pauses = runs.iter().flat_map(|run| &run.steps).map(|step| ms(step.missed.own_pause));
    pauses.max_by(f64::total_cmp)
}

/// Everything, for programs.
pub(super) fn json(args: &Args, runs: &[Run]) -> String {
    let step = |step: &Step| {
        let mut object = serde_json::Map::new();
        object.insert("name".into(), json!(step.name));
        object.insert("owners".into(), json!(step.owners));
        for (name, value) in QUANTITIES {
            object.insert(name.into(), json!(value(step)));
        }
        object.insert("asked".into(), json!(step.missed.asked));
        object.insert("served".into(), json!(step.missed.served));
        object.insert("arrivals".into(), json!(step.held.arrivals));
        Value::Object(object)
    };
    let run = |run: &Run| {
        let usage: serde_json::Map<String, Value> = run
            .usage
            .iter()
            .map(|(node, used)| {
                let minute = used.cpu.as_secs_f64() * 60_000.0 / used.during.as_secs_f64();
                let used = json!({ "cpu_ms_per_min": minute, "pss_kib": used.pss_kib });
                (node.clone(), used)
            })
            .collect();
        json!({
            "start_ms": ms(run.start),
            "steps": run.steps.iter().map(step).collect::<Vec<Value>>(),
            "usage": usage,
        })
    };
    let mut summary = serde_json::Map::new();
    for name in names(runs) {
        let mut object = serde_json::Map::new();
        for (quantity, value) in QUANTITIES {
            if let Some(spread) = spread(runs, name, value) {
                object.insert(quantity.into(), spread.json());
            }
        }
        summary.insert(name.into(), Value::Object(object));
    }
    let starts = Spread::of(runs.iter().map(|run| ms(run.start)).collect());
    let value = json!({
        "schema": 1,
        "settings": {
            // Those of --ha-dir stand in its files.
            "interval_ms": args.ha_dir.is_none().then_some(args.interval),
            "dead_ms": args.ha_dir.is_none().then_some(args.dead),
            "links": args.links.iter().map(|link| format!("{link:?}").to_lowercase())
                .collect::<Vec<String>>(),
            "probe": format!("{:?}", args.probe).to_lowercase(),
            "ha_dir": args.ha_dir.as_ref().map(|dir| dir.display().to_string()),
        },
        "runs": runs.iter().map(run).collect::<Vec<Value>>(),
        "start_ms": starts.map(Spread::json),
        "summary": summary,
    });
    // Maps with text keys and finite numbers can always be written.
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(vec![7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn turns_are_told_shortly() {
        assert_eq!(shortened("pi → laptop"), "pi → laptop");
        assert_eq!(shortened("pi → laptop → pi → laptop"), "pi and laptop in turns");
    }
}
