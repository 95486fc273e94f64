//! UDP links between machines of a laboratory, and links that a daemon uses.
use crate::world::{PROGRAM, SOON, Scene};
use crate::{CONFIG, said};
use latido::lab::{Exit, LAN};
use serde_json::Value;

fn scene() -> Scene {
    let scene = Scene::pair();
    scene.toml(&CONFIG.replace("SERIAL", "{serial}"));
    scene
}

/// The verdict of a test on this node.
fn test(scene: &Scene, node: &str, args: &[&str]) -> (i32, Value) {
    let machine = scene.lab.node(node);
    let config = machine.dir().join("latido.toml").display().to_string();
    let runtime = machine.runtime_dir().display().to_string();
    let mut all = vec![PROGRAM, "link", "test", "--json", "--config", &config];
    all.extend(["--runtime-dir", &runtime]);
    if !args.contains(&"--seconds") {
        all.extend(["--seconds", "3"]);
    }
    all.extend(args);
    let (exit, text) = machine.run(all, SOON).expect("it runs");
    let Exit::Code(code) = exit else { panic!("{exit:?}: {text}") };
    let verdict = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{args:?}: {text}"));
    (code, verdict)
}

#[test]
fn a_daemon_at_the_other_end_answers_and_the_one_here_is_asked() {
    let scene = scene();
    said(&test(&scene, "pi", &["udp", "eth0"]), 1, "silence", &["nothing received", "firewall"]);
    scene.start("laptop");
    scene.wait_status("laptop", "it is ready", |status| status["ok"].as_bool().map(drop));
    let serial = scene.lab.node("pi").serial_device().expect("a cable").display().to_string();
    for link in [&["udp", "eth0"][..], &["eth0", "broadcast"], &["serial", &serial]] {
        said(&test(&scene, "pi", link), 0, "none", &["laptop hears us"]);
    }
    // The daemon has answered a test, and believes in no node by it.
    let status = scene.status("laptop");
    let state = &crate::world::node_of(&status, "pi").expect("pi")["state"];
    assert!(state != "alive" && state != "late", "{status:#}");

    scene.start("pi");
    scene.met();
    for link in [&["udp", "eth0"][..], &[&serial]] {
        scene.wait("the daemon's word", || {
            let found = test(&scene, "pi", link);
            (found.1["fault"] == "none").then(|| {
                said(&found, 0, "none", &["works both ways with laptop", "running daemon"]);
            })
        });
    }
    assert!(!scene.log("laptop").contains("somebody else sends"), "{}", scene.log("laptop"));
    assert!(!scene.log("pi").contains("somebody else sends"), "{}", scene.log("pi"));
    scene.lab.split(LAN, true).expect("it is a network");
    scene.wait("the daemon to say so", || {
        let (code, verdict) = test(&scene, "pi", &["udp", "eth0"]);
        (code == 1 && verdict["fault"] == "silence" && verdict["by_daemon"] == true).then_some(())
    });
}

#[test]
fn two_tests_answer_each_other_and_a_missing_carrier_is_named() {
    let scene = scene();
    let serial = scene.lab.node("pi").serial_device().expect("a cable").display().to_string();
    let other = scene.lab.node("laptop").serial_device().expect("a cable").display().to_string();
    for (link, far) in [
        (["udp", "eth1"], ["udp", "eth1"]),
        (["ethernet", "eth1"], ["ethernet", "eth1"]),
        (["serial", &serial], ["serial", &other]),
    ] {
        std::thread::scope(|scope| {
            let there = scope
                .spawn(|| test(&scene, "laptop", &[&far[..], &["--seconds", "20"]].concat()[..]));
            let here = test(&scene, "pi", &[&link[..], &["--seconds", "20"]].concat()[..]);
            said(&here, 0, "none", &["laptop hears us"]);
            said(&there.join().expect("it ends"), 0, "none", &["pi hears us"]);
        });
    }
    scene.lab.node("laptop").set_cable(LAN, false).expect("it has a cable");
    scene.lab.node("pi").set_cable(LAN, false).expect("it has a cable");
    said(&test(&scene, "pi", &["udp", "eth0"]), 1, "no-carrier", &["eth0 has no carrier"]);
    said(&test(&scene, "pi", &["udp", "eth9"]), 1, "not-opened", &["no interface eth9"]);
}
