//! Reading the configuration again: by command and by SIGHUP.
use crate::world::{Scene, group_of, node_of};
use crate::{MAIL, WEB, config, two_groups};
use latido::lab::wait;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Neither group has left its node since `since`, and its service was not touched; nor will they
/// within the next moments, in which an address that nobody keeps would end its lifetime of 1 s.
fn undisturbed(scene: &Scene, since: Instant, calls: usize) {
    let gone = || [WEB, MAIL].into_iter().find(|address| scene.holders(*address).is_empty());
    wait::never(Duration::from_millis(2500), "an address is gone", gone).unwrap();
    for (address, owner) in [(WEB, "pi"), (MAIL, "laptop")] {
        let held = scene.lab.ownership().held(address, since, Instant::now());
        assert_eq!((held.nobody, held.arrivals), (Duration::ZERO, 0), "{address}: {held:?}");
        assert_eq!(scene.holders(address), [owner]);
    }
    let touched: Vec<_> =
        scene.calls().into_iter().skip(calls).filter(|call| call.action() != "status").collect();
    assert_eq!(touched, [], "the service goes on");
}

fn digest(scene: &Scene, node: &str) -> Value {
    scene.status(node)["config"]["digest"].clone()
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let scene = two_groups("10s");
    let (since, calls) = (Instant::now(), scene.calls().len());
    let (before, pid) = (digest(&scene, "pi"), scene.status("pi")["pid"].clone());
    scene.write(
        "pi",
        "latido.toml",
        &config("10s").replace("dead = \"10s\"", "dead = \"10 apples\""),
    );
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 1, "{text}");
    for words in ["latido.toml", "10 apples", "nothing was changed", "latido check"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    let from = scene.log("pi").len();
    scene.signal("pi", Signal::HUP);
    let line = scene.logged("pi", from, &["not changed"]);
    assert!(line.contains("latido.toml") && line.contains("latido check"), "{line}");
    // A file that is gone is no better.
    std::fs::remove_file(scene.lab.node("pi").dir().join("latido.toml")).expect("it was there");
    assert_eq!(scene.latido("pi", &["reload"]).0, 1);
    assert_eq!(digest(&scene, "pi"), before);
    assert_eq!(scene.status("pi")["pid"], pid, "the engine goes on");
    undisturbed(&scene, since, calls);
    // Not even the engine's death makes the bad file count: its successor goes on by the good one.
    let engine = scene.lab.node("pi").engine().expect("it runs");
    scene.lab.node("pi").signal(engine.pid, Signal::KILL).expect("it runs");
    scene.logged("pi", from, &["going on by the last good configuration"]);
    scene.wait("a new engine answers", || {
        let status = scene.lab.node("pi").status().ok()?;
        (status["pid"] != pid && status["config"]["digest"] == before).then_some(())
    });
    undisturbed(&scene, since, calls);
}

#[test]
fn several_reloads_in_a_row_disturb_nothing() {
    let scene = two_groups("10s");
    let (since, calls) = (Instant::now(), scene.calls().len());
    for interval in ["40ms", "30ms", "60ms", "70ms", "50ms"] {
        let text =
            config("10s").replace("interval = \"50ms\"", &format!("interval = \"{interval}\""));
        scene.toml(&text);
        for node in ["pi", "laptop"] {
            let (code, text) = scene.latido(node, &["reload"]);
            assert_eq!(code, 0, "{text}");
        }
    }
    scene.met();
    undisturbed(&scene, since, calls);
}

#[test]
fn an_unchanged_file_is_no_restart() {
    let scene = two_groups("10s");
    let pid = scene.status("pi")["pid"].clone();
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing in it has changed"), "{text}");
    assert_eq!(scene.status("pi")["pid"], pid);
}

#[test]
fn a_new_interval_and_a_new_group_come_into_force_while_everything_runs() {
    let scene = two_groups("10s");
    let client = scene.client(latido::lab::Probe::Udp, WEB);
    scene.answered_by(&client, "pi");
    let (since, calls) = (Instant::now(), scene.calls().len());
    let before = digest(&scene, "pi");
    let changed = config("10s").replace("interval = \"50ms\"", "interval = \"40ms\"")
        + "[[group]]\nname = \"dns\"\nprefer = [\"laptop\", \"pi\"]\nfailback = \"auto\"\n\
           resources = [{ address = \"10.77.0.102/24\", interface = \"eth0\" }]\n";
    scene.toml(&changed);
    // One by command, one by signal.
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 0, "{text}");
    let after = digest(&scene, "pi");
    assert!(after.is_string() && after != before, "in force when the command returns: {after}");
    scene.wait_status("laptop", "pi has another configuration", |status| {
        (node_of(status, "pi")?["config_differs"] == true).then_some(())
    });
    scene.signal("laptop", Signal::HUP);
    scene.met();
    assert_eq!(digest(&scene, "laptop"), after);
    scene.settled("dns", "laptop");
    scene.settled("web", "pi");
    scene.settled("mail", "laptop");
    undisturbed(&scene, since, calls);
    scene.answered_by(&client, "pi");
    assert_eq!(client.missed(since, Instant::now()).order, ["pi"]);
    for node in ["pi", "laptop"] {
        assert!(!scene.log(node).contains("is dead"), "{}", scene.log(node));
    }
}

#[test]
fn a_running_group_cannot_be_changed_under_way() {
    let scene = two_groups("10s");
    let (since, calls) = (Instant::now(), scene.calls().len());
    let changed = config("10s").replace("10.77.0.100/24", "10.77.0.110/24");
    scene.write("pi", "latido.toml", &changed);
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("web runs here") && text.contains("standby --group web"), "{text}");
    undisturbed(&scene, since, calls);
    // The cure that it names works: move it, then reload on both.
    let (code, text) = scene.latido("pi", &["standby", "--group", "web"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = scene.latido("pi", &["reload"]);
    assert_eq!(code, 0, "{text}");
    assert!(group_of(&scene.status("laptop"), "web").is_some_and(|web| web["owner"] == "laptop"));
    let moves = || (scene.holders(WEB) != ["laptop"]).then(|| scene.holders(WEB));
    wait::never(Duration::from_millis(500), "web moves while the files differ", moves).unwrap();
}
