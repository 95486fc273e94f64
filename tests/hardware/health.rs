//! A node that is not well hands over while it still can.
use crate::PAIR;
use crate::world::{Scene, node_of};
use latido::lab::Exit;
use serde_json::Value;
use std::time::Duration;

const HEALTH: &str = r#"
[health]
temperature = false
under_voltage = false
disk_errors = false
writable = ["{dir}/card"]
lasts = "1s"
recovers = "2s"
"#;

fn on_pi(scene: &Scene, command: &[&str]) {
    let (exit, output) = scene
        .lab
        .node("pi")
        .run(command.iter().copied(), Duration::from_secs(10))
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(exit, Exit::Code(0), "{command:?}: {output}");
}

fn standby(status: &Value) -> bool {
    node_of(status, "pi").is_some_and(|node| node["standby"] == true)
}

#[test]
fn a_disk_that_turns_read_only_costs_the_groups_until_it_is_mended() {
    let scene = Scene::pair();
    scene.toml(&format!("{PAIR}{HEALTH}"));
    let card = scene.lab.node("pi").dir().join("card").display().to_string();
    on_pi(&scene, &["mkdir", "-p", &card]);
    on_pi(&scene, &["mount", "-t", "tmpfs", "card", &card]);
    scene.start_all();
    scene.met();
    scene.settled("web", "pi");
    on_pi(&scene, &["mount", "-o", "remount,ro", &card]);
    scene.settled("web", "laptop");
    let told = scene.wait_status("pi", "the reason", |status: &Value| {
        let problems = status["problems"].to_string();
        problems.contains("mounted read-only").then_some(problems)
    });
    assert!(told.contains("pi is not fit"), "{told}");
    on_pi(&scene, &["mount", "-o", "remount,rw", &card]);
    scene.wait_status("pi", "the end of the standby", |status: &Value| {
        (!standby(status) && status["unfit"].as_array().is_some_and(Vec::is_empty)).then_some(())
    });
    // It fails back by itself: so it is configured.
    scene.settled("web", "pi");
}

#[test]
fn where_nobody_else_can_a_sick_node_goes_on() {
    let scene = Scene::pair();
    scene.toml(&format!("{PAIR}{HEALTH}").replace("\"30s\"", "\"2s\""));
    let card = scene.lab.node("pi").dir().join("card").display().to_string();
    on_pi(&scene, &["mkdir", "-p", &card]);
    on_pi(&scene, &["mount", "-t", "tmpfs", "-o", "ro", "card", &card]);
    scene.start("pi");
    scene.settled("web", "pi");
    scene.logged("pi", 0, &["not fit", "nothing is handed over"]);
    scene.settled("web", "pi");
    // The other one comes, and takes it from there.
    scene.start("laptop");
    scene.settled("web", "laptop");
}
