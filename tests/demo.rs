//! `latido demo`, as a newcomer or a program runs it.
#![cfg(target_os = "linux")]
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_latido");

fn demo(args: &[&str]) -> Output {
    Command::new(PROGRAM).arg("demo").args(args).output().expect("the program starts")
}

fn json(args: &[&str]) -> Value {
    let output = demo(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// Directories that a demo has left in the temporary directory.
fn left_behind(child: u32) -> bool {
    std::env::temp_dir().join(format!("latido-lab-{child}-0")).exists()
}

#[test]
fn the_story_is_told_and_nothing_is_left_behind() {
    let child = Command::new(PROGRAM)
        .arg("demo")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pid = child.id();
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let story = String::from_utf8_lossy(&output.stdout);
    for part in ["null-modem", "on purpose", "plug of pi", "switched on again", "longest silence"] {
        assert!(story.contains(part), "no {part:?} in:\n{story}");
    }
    assert!(!left_behind(pid));
}

#[test]
fn a_power_cut_is_measured_run_by_run() {
    let result = json(&["--json", "--runs", "2", "--fault", "power-cut", "--dead", "600"]);
    assert_eq!(result["settings"]["dead_ms"], 600);
    let runs = result["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    for run in runs {
        let cut = &run["steps"][0];
        assert_eq!(cut["name"], "power cut");
        assert_eq!(cut["owners"], serde_json::json!(["pi", "laptop"]));
        // The last heartbeat came at most an interval before the cut. Upwards, the machine that
        // runs the tests decides.
        let silence = cut["silence_ms"].as_f64().expect("a number");
        assert!((480.0..5000.0).contains(&silence), "{cut}");
        assert!(cut["unanswered"].as_u64() > Some(100) || cut["unanswered"].as_f64() > Some(100.0));
        assert_eq!(cut["both_ms"], 0.0);
        assert_eq!(run["steps"][1]["owners"], serde_json::json!(["laptop", "pi"]));
    }
    let summary = &result["summary"]["power cut"]["silence_ms"];
    assert!(summary["min"].as_f64() <= summary["median"].as_f64());
    assert!(summary["median"].as_f64() <= summary["max"].as_f64());
}

#[test]
fn a_switchover_does_not_wait_for_any_dead_time() {
    let result = json(&["--json", "--fault", "switchover", "--dead", "4000"]);
    let step = &result["runs"][0]["steps"][0];
    assert_eq!(step["owners"], serde_json::json!(["pi", "laptop"]));
    assert!(step["silence_ms"].as_f64() < Some(1000.0), "{step}");
}

#[test]
fn interrupted_in_the_middle_it_leaves_nothing_behind() {
    let mut child = Command::new(PROGRAM)
        .args(["demo", "--fault", "steady", "--seconds", "600"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let own = i32::try_from(child.id()).expect("a process number");
    let limit = std::time::Duration::from_secs(30);
    let daemons = || {
        let all = latido::lab::process::descendants(own);
        let found: Vec<i32> = all
            .iter()
            .filter(|one| one.command.iter().any(|word| word == "engine"))
            .map(|one| one.pid)
            .collect();
        (found.len() == 2).then_some(found)
    };
    let daemons = latido::lab::wait::until(limit, "both engines", daemons);
    let pid = rustix::process::Pid::from_raw(own).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    child.wait().expect("it ends");
    let daemons = daemons.expect("both engines");
    latido::lab::wait::until(limit, "everything to vanish", || {
        let alive = daemons.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists());
        (!alive && !left_behind(child.id())).then_some(())
    })
    .expect("nothing is left behind");
}

#[test]
fn an_unknown_fault_is_a_usage_error_that_names_the_faults() {
    let output = demo(&["--fault", "earthquake"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("power-cut") && errors.contains("partition"), "{errors}");
}
