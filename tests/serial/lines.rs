//! The peer's modem lines, which a pseudo-terminal has not: a file stands for them.
use crate::scene::{Pair, Path, Setup, ms};
use latido::lab::cable::End;
use std::fs;
use std::time::Instant;

const ALL: &str = "DSR DCD CTS";

/// Long enough that whatever is done at once is certainly done before.
const DEAD: u64 = 20_000;

fn running(paths: &'static [Path]) -> Pair {
    let setup = Setup { dead: ms(DEAD), initial_dead: ms(DEAD), paths, ..Setup::default() };
    let mut pair = Pair::powered(setup);
    let text = pair.text();
    let text = text.replace("baud = 115200", "baud = 115200\nmodem_lines = \"{dir}/lines\"");
    // Half of `dead` would be longer than the tests wait.
    pair.toml(&text.replace("warn = \"10000ms\"", "warn = \"2000ms\""));
    set(&pair, "pi", ALL);
    set(&pair, "laptop", ALL);
    pair.start_all();
    pair.settled("pi");
    for node in ["pi", "laptop"] {
        pair.wait_status(node, "the lines are seen", |status| {
            let modem = status["links"].as_array()?.iter().find_map(|one| one["modem"].as_object());
            let up = modem?["up"].as_array()?;
            (up.len() == 3 && modem?["wired"] == modem?["up"]).then_some(())
        });
    }
    pair.ask();
    pair
}

fn set(pair: &Pair, node: &str, lines: &str) {
    let path = pair.node(node).dir().join("lines");
    let new = path.with_extension("new");
    fs::write(&new, lines).unwrap();
    fs::rename(new, path).unwrap();
}

fn serial_is(pair: &Pair, node: &str, state: &str) {
    pair.wait_status(node, format!("the serial link is {state}"), |status| {
        let peer = status["nodes"].as_array()?.iter().find(|one| one["me"] == false)?;
        let links = peer["links"].as_array()?;
        let serial = links.iter().find(|link| link["name"].to_string().contains("ttyUSB0"))?;
        (serial["state"] == state).then_some(())
    });
}

#[test]
fn each_line_marks_the_link_down_at_once_and_is_no_death() {
    let pair = running(&[Path::Lan, Path::Crossover, Path::Serial]);
    let still = pair.still();
    for gone in ["DSR", "DCD", "CTS"] {
        let rest = ALL.replace(gone, "");
        let cable = pair.lab.cable(0).unwrap();
        let mark = pair.mark("laptop");
        cable.set(End::First, false);
        cable.set(End::Second, false);
        let begin = Instant::now();
        set(&pair, "laptop", &rest);
        serial_is(&pair, "laptop", "down");
        assert!(begin.elapsed() < ms(DEAD), "only silence told it");
        mark.wait("the peer's modem lines have dropped");
        let (_, screen) = pair.latido("laptop", &["status"]);
        assert!(screen.contains(&format!("down now: {gone}")), "{screen}");
        cable.set(End::First, true);
        cable.set(End::Second, true);
        set(&pair, "laptop", ALL);
        serial_is(&pair, "laptop", "up");
        mark.never("node pi is dead");
    }
    still.check();
}

#[test]
fn a_broken_wire_of_a_cable_that_works_costs_nothing() {
    let pair = running(&[Path::Serial]);
    let still = pair.still();
    let mark = pair.mark("laptop");
    set(&pair, "laptop", "DSR DCD");
    mark.wait("the peer's modem lines have dropped");
    serial_is(&pair, "laptop", "up");
    mark.never("is dead");
    still.check();
}

#[test]
fn with_the_peers_power_its_lines_go_and_nobody_waits_for_dead() {
    let pair = running(&[Path::Crossover, Path::Serial]);
    let mark = pair.mark("laptop");
    let begin = Instant::now();
    pair.node("pi").power_cut().unwrap();
    set(&pair, "laptop", "");
    mark.wait("node pi is dead");
    assert!(begin.elapsed() < ms(DEAD), "it waited for `dead`");
    pair.owned("laptop");
    mark.wait("ttyUSB0 dropped, and nothing comes on any other path");
    println!(
        "taken over {} ms after the power cut; dead is {DEAD} ms",
        begin.elapsed().as_millis()
    );
}

#[test]
fn three_wires_have_no_lines_and_need_none() {
    let pair = Pair::running(Setup::default());
    let status = pair.status("pi");
    let links = status["links"].as_array().unwrap();
    assert!(links.iter().all(|link| link["modem"].is_null()), "{status:#}");
}
