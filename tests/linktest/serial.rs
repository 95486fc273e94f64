//! Serial lines: each wiring fault.
use crate::line::{DAEMON, Far, Line, NOBODY};
use crate::{Place, said, world};
use std::process::{Command, Stdio};

/// The verdict on a line with this other end.
fn verdict(name: &str, far: Far, args: &[&str]) -> (i32, serde_json::Value) {
    let line = Line::new(far);
    let place = Place::new(name, &line.device);
    place.test(&[&["serial", &line.path(), "--seconds", "2"], args].concat())
}

#[test]
fn a_good_line_works_both_ways_without_the_daemon_taking_us_for_its_peer() {
    let found = verdict("good", DAEMON, &[]);
    said(&found, 0, "none", &["works both ways", "laptop hears us", "round trip"]);
    assert_eq!(found.1["heard_by"][0][0], "laptop");
    // By its name in the configuration too.
    let line = Line::new(DAEMON);
    let place = Place::new("named", &line.device);
    said(&place.test(&[&line.path()]), 0, "none", &["laptop hears us"]);
}

#[test]
fn silence_is_told_with_where_to_look() {
    let found = verdict("silence", NOBODY, &[]);
    said(&found, 1, "silence", &["nothing received", "null-modem", "pins 2 and 3"]);
}

#[test]
fn an_echo_is_a_loopback_plug_or_a_bus_that_hears_itself() {
    let found = verdict("echo", Far { echo: true, ..NOBODY }, &[]);
    said(&found, 0, "loopback", &["own echo", "loopback plug", "RS-485"]);
    let found = verdict("bus", Far { echo: true, ..DAEMON }, &[]);
    said(&found, 0, "none", &["laptop hears us", "hears itself"]);
}

#[test]
fn the_wrong_speed_is_named_with_the_right_one() {
    let found = verdict("speed", Far { baud: 38_400, ..DAEMON }, &["--baud", "9600"]);
    said(&found, 1, "wrong-speed", &["at 9600 baud only noise", "at 38400 baud frames do"]);
    assert_eq!(found.1["works_at"], 38_400);
}

#[test]
fn noise_at_every_speed_is_noise() {
    let found = verdict("noise", Far { noise: true, ..NOBODY }, &[]);
    said(&found, 1, "noise", &["no whole frame", "other speeds", "ground wire"]);
}

#[test]
fn one_direction_is_named() {
    let found = verdict("deaf", Far { hears: false, ..DAEMON }, &[]);
    let expected = ["one direction only", "laptop is heard", "does not hear us", "our TX"];
    said(&found, 1, "not-heard", &expected);
}

#[test]
fn wrong_keys_and_other_clusters_are_told_apart() {
    let found = verdict("key", Far { key: 0x77, ..DAEMON }, &[]);
    said(&found, 1, "wrong-key", &["sealed with a key 1 that is not ours", "latido key list"]);
    let found = verdict("name", Far { cluster: "home", ..DAEMON }, &[]);
    said(&found, 1, "other-cluster", &["right key", "\"home\", not \"Home\""]);
    let found = verdict("both", Far { cluster: "office", key: 0x77, ..DAEMON }, &[]);
    said(&found, 1, "other-cluster", &["only frames of another cluster", "right machine?"]);
}

#[test]
fn without_a_configuration_the_port_can_be_tested_all_the_same() {
    for (far, code, fault) in [
        (Far { echo: true, ..NOBODY }, 0, "loopback"),
        (DAEMON, 1, "no-key"),
        (NOBODY, 1, "silence"),
    ] {
        let line = Line::new(far);
        // An empty place instead of /etc.
        let none = ["--runtime-dir", "/nonexistent/latido"];
        let path = line.path();
        let args = [&["link", "test", "--json", "serial", &path, "--seconds", "1"], &none[..]];
        let (exit, text, errors) = world::run(&args.concat());
        let verdict =
            serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}{errors}"));
        said(&(exit, verdict), code, fault, &[]);
    }
}

#[test]
fn who_holds_the_port_is_named() {
    let line = Line::new(DAEMON);
    let place = Place::new("held", &line.device);
    let port = std::fs::File::open(&line.device).expect("the device");
    let mut holder =
        Command::new("sleep").arg("60").stdin(Stdio::from(port)).spawn().expect("a process");
    let found = place.test(&["serial", &line.path()]);
    let pid = holder.id();
    holder.kill().expect("it runs");
    holder.wait().expect("it ended");
    said(&found, 1, "held", &["is held by sleep", &format!("process {pid}")]);
    said(&place.test(&["serial", &line.path()]), 0, "none", &[]);
}

#[test]
fn what_cannot_be_a_line_is_told() {
    let place = Place::new("none", "/dev/ttyUSB99".as_ref());
    said(&place.test(&["serial", "/dev/ttyUSB99"]), 1, "not-opened", &["no /dev/ttyUSB99"]);
    said(&place.test(&["serial", "/etc/passwd"]), 1, "not-opened", &["not a serial device"]);
    assert_eq!(world::run(&["link", "test"]).0, 2);
    assert_eq!(world::run(&["link", "test", "serial", "/dev/null", "--baud", "x"]).0, 2);
    let (code, _, errors) = world::run(&["link", "test", "serial"]);
    assert_eq!(code, 1);
    assert!(errors.contains("which?"), "{errors}");
}
