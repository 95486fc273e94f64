//! The event for a dead peer says what was seen of it.
use crate::scene::{Links, running};
use crate::world::{Scene, node_of};
use latido::lab::cable::End;
use latido::lab::{CROSSOVER, LAN, Switch};

/// Waits until `laptop` says this of `pi`: in its status, among its events, and in its log.
fn said(scene: &Scene, from: usize, cause: &str, words: &[&str]) {
    scene.wait_status("laptop", format!("pi is silent because: {cause}"), |status| {
        let pi = node_of(status, "pi")?;
        let why = &pi["why"];
        let text = why["text"].as_str()?;
        let events = status["events"].as_array()?;
        let told = events.iter().any(|event| event["cause"] == cause && event["text"] == text);
        let words = words.iter().all(|word| text.contains(word));
        (pi["state"] == "dead" && why["cause"] == cause && told && words).then_some(())
    });
    scene.logged("laptop", from, &["why node pi is silent: "]);
    let (code, screen) = scene.latido("laptop", &["status"]);
    assert!(code == 0 && screen.contains("why node pi is silent: "), "{screen}");
}

fn scene() -> (Scene, usize) {
    let scene = running(Switch::Bridge, Links::All, 100);
    let from = scene.log("laptop").len();
    (scene, from)
}

fn cut_serial(scene: &Scene) {
    let cable = scene.lab.cable(0).expect("a cable");
    for end in [End::First, End::Second] {
        cable.set(end, false);
    }
}

#[test]
fn a_stopped_daemon_on_a_living_machine_hangs() {
    let (scene, from) = scene();
    scene.lab.node("pi").freeze();
    said(&scene, from, "hung", &["still answers", "10.77."]);
    // It is told no longer once it is back.
    scene.lab.node("pi").thaw();
    scene.met();
    let status = scene.status("laptop");
    assert!(node_of(&status, "pi").expect("pi")["why"].is_null(), "{status}");
}

#[test]
fn a_machine_without_power_is_silent_on_every_path() {
    let (scene, from) = scene();
    scene.lab.node("pi").power_cut().unwrap();
    said(&scene, from, "silent", &["answers neither ICMP nor ARP", "1 of our 1 references"]);
}

#[test]
fn a_pulled_cable_is_named() {
    let (scene, from) = scene();
    scene.lab.set_cables(CROSSOVER, false).unwrap();
    scene.logged("laptop", from, &["link eth1 broadcast is lost here"]);
    cut_serial(&scene);
    // No carrier is lost on the LAN, where the gateway answers.
    scene.lab.split(LAN, true).unwrap();
    said(&scene, from, "carrier", &["no carrier on eth1 broadcast"]);
}

#[test]
fn who_is_cut_off_says_that_it_is_us() {
    let (scene, from) = scene();
    let laptop = scene.lab.node("laptop");
    laptop.set_cable(LAN, false).unwrap();
    laptop.set_cable(CROSSOVER, false).unwrap();
    cut_serial(&scene);
    said(&scene, from, "us", &["0 of 1", "no carrier here on eth0 broadcast", "it is us"]);
}
