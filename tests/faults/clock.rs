//! Clocks that are wrong, and clocks that are set.
use crate::scene::{Pair, Setup, ms};
use crate::world::PROGRAM;
use std::path::{Path, PathBuf};

/// The wall clock cannot be set for a test without setting the machine's; so the other half is
/// shown: nothing that decides knows it. It is read where lines get their time stamps, and in the
/// tests' own laboratory, nowhere else.
#[test]
fn nothing_that_decides_reads_the_wall_clock() {
    const STAMPS: [&str; 3] = ["platform/calendar.rs", "tell/", "lab/"];
    // What the standard library, rustix and libc call it.
    const WALL_CLOCK: [&str; 9] = [
        "SystemTime",
        "UNIX_EPOCH",
        "ClockId::Realtime",
        "CLOCK_REALTIME",
        "TimerfdClockId::Realtime",
        "gettimeofday",
        "localtime",
        "libc::time(",
        "calendar::",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut read, mut stamps) = (0, 0);
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            read += 1;
            for (number, line) in (1..).zip(text.lines()) {
                let code = line.split("//").next().unwrap_or_default();
                let Some(word) = WALL_CLOCK.iter().find(|word| code.contains(**word)) else {
                    continue;
                };
                let allowed = STAMPS.iter().any(|allowed| name.starts_with(allowed));
                assert!(allowed, "src/{name}:{number} uses {word}: only {STAMPS:?} may");
                stamps += 1;
            }
        }
    }
    // It looked, and it would have found something.
    assert!(read > 80 && stamps > 0, "{read} files, {stamps} places");
}

/// Days between two machines' starts: the clocks that count have nothing in common.
#[test]
fn nodes_that_were_switched_on_days_apart_work_together() {
    let mut pair = Pair::powered(Setup::default());
    // A time namespace (time_namespaces(7)) moves the clock that counts from the machine's start.
    let run = pair.node("laptop").runtime_dir().display().to_string();
    let mut command: Vec<String> =
        ["unshare", "--time", "--fork", "--kill-child", "--boottime", "864000"]
            .map(str::to_owned)
            .to_vec();
    command.extend([PROGRAM, "run"].map(str::to_owned));
    command.extend(pair.config_args("laptop"));
    command.extend(["--runtime-dir".to_owned(), run]);
    pair.node("laptop").spawn("daemon", command).unwrap();
    pair.start("pi");
    pair.settled("pi");
    let uptime = |node: &str| {
        let events = pair.status(node)["events"].as_array().cloned().unwrap_or_default();
        events.last().and_then(|event| event["boottime_s"].as_f64()).expect("an event")
    };
    let apart = uptime("laptop") - uptime("pi");
    assert!(apart > 863_000.0, "the clocks are {apart} s apart: no time namespace here?");
    // The service was started with the daemon on `pi`; the other node's is still to come.
    pair.serve_on("laptop");
    pair.ask();
    pair.still().for_as_long_as(ms(2000));
    pair.node("pi").power_cut().unwrap();
    pair.owned("laptop");
    pair.answered_by("laptop");
    // And back, by hand.
    pair.boot("pi");
    pair.settled("laptop");
    let (code, said) = pair.latido("pi", &["takeover"]);
    assert_eq!(code, 0, "{said}");
    pair.settled("pi");
    pair.answered_by("pi");
}
