//! What the board's vote is good for, and what its failures cost: time, never a second owner.
use crate::scene::{Board, LONG, Site};
use crate::trio::{GROUP, NODES, WITNESS};
use crate::world::PROGRAM;
use latido::lab::cable::End;
use rustix::process::Signal;

#[test]
fn the_plug_of_the_owner_pulled() {
    let site = Site::running();
    let cut = site.cut("pi");
    let taken = site.taken_by("laptop");
    site.within_bound("taken over", cut, taken);
    // The other way round: `pi` has no memory of its votes, and waits as a witness does.
    site.boot("pi");
    site.settled(GROUP, "laptop");
    site.cut("laptop");
    site.taken_by("pi");
    site.never_two();
    site.boot("laptop");
    site.settled(GROUP, "pi");
    let status = site.status("pi");
    let board = site.health(&status).expect("a board");
    assert_eq!(board["firmware"], "0.1.0");
    assert_eq!(board["cause"], "it was told to");
    assert_eq!(board["starts"], 2);
    let (code, said) = site.latido("pi", &["status"]);
    assert!(code == 0 && said.contains("firmware 0.1.0, up"), "{said}");
}

#[test]
fn the_memory_is_enough() {
    let site = Site::running();
    let from = site.cut("pi");
    site.within_bound("taken over", from, site.taken_by("laptop"));
    // `pi` has no daemon now: its line is free for the question.
    site.lab.node("pi").power_on().unwrap();
    let (code, said) = site.board_tool("pi", "identify", &[]);
    assert_eq!(code, 0, "{said}");
    let line = said.lines().find(|line| line.starts_with("memory")).expect("its memory");
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [memory, stack] = numbers[..] else { panic!("{line}") };
    println!("{memory} bytes of memory and {stack} bytes of stack, of 8192");
    assert!(memory + stack + 128 <= 8192, "{line}");
}

#[test]
fn whichever_cable_is_cut_there_is_one_owner() {
    let site = Site::running();
    // Between the nodes: each sees only the board.
    site.lab.node("laptop").set_cable("pair", false).unwrap();
    for (node, peer) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
        site.wait_status(node, "the peer is dead", |status| {
            let nodes = status["nodes"].as_array()?;
            let peer = nodes.iter().find(|one| one["name"] == peer)?;
            (peer["state"] == "dead").then_some(())
        });
    }
    site.stays(Some("pi"), site.bound * 2);
    // And the owner's line to the board: it is alone, the other one is not.
    let line = site.lab.cable(0).unwrap();
    line.set(End::First, false);
    line.set(End::Second, false);
    site.taken_by("laptop");
    site.stays(Some("laptop"), site.bound);
    line.set(End::First, true);
    line.set(End::Second, true);
    site.lab.node("laptop").set_cable("pair", true).unwrap();
    site.settled(GROUP, "laptop");
    // The line of the one that stays: the owner dies, and the other has no majority.
    let line = site.lab.cable(0).unwrap();
    line.set(End::First, false);
    line.set(End::Second, false);
    site.wait_status("pi", "the witness is dead", |status| {
        (status["witnesses"][0]["state"] == "dead").then_some(())
    });
    site.stays(Some("laptop"), site.bound);
    site.cut("laptop");
    site.stays_gone();
    line.set(End::First, true);
    line.set(End::Second, true);
    site.taken_by("pi");
    site.never_two();
}

#[test]
fn a_board_that_is_reset_or_loses_power_moves_nothing() {
    let site = Site::running();
    let starts = |cause: &str, count: u64| {
        for node in NODES {
            site.wait_status(node, format!("the board's start {count}"), |status| {
                let board = site.health(status)?;
                (board["starts"] == count && board["cause"] == cause).then_some(())
            });
        }
    };
    starts("it was told to", 2);
    site.order("system_reset");
    starts("its watchdog", 3);
    site.stays(Some("pi"), site.bound);
    site.cut_board();
    site.witness_is("dead");
    site.stays(Some("pi"), site.bound);
    site.power_board();
    starts("power came on", 4);
    // It remembers nothing: while it waits, two nodes without it are no majority for a takeover.
    site.cut("pi");
    site.stays_gone();
    site.taken_by("laptop");
    site.never_two();
}

#[test]
fn a_frozen_board_moves_nothing() {
    let site = Site::running();
    let board = site.board().expect("a board");
    let node = site.lab.node(WITNESS);
    // Its clock runs on, and its watchdog …
    node.signal(board, Signal::STOP).unwrap();
    site.witness_is("dead");
    site.stays(Some("pi"), site.bound);
    node.signal(board, Signal::CONT).unwrap();
    site.witness_is("alive");
    site.votes();
    // … and stands still: it comes back and knows nothing of the time between.
    site.order("stop");
    site.witness_is("dead");
    let cut = site.cut("pi");
    site.stays_gone();
    site.order("cont");
    let taken = site.taken_by("laptop");
    println!("taken over {:?} after the cut, the board frozen in between", taken - cut);
    site.never_two();
}

#[test]
fn garbage_on_its_lines_costs_nothing() {
    let site = Site::running();
    let noise: Vec<u8> = (0..3000_u32).map(|at| (at * 197 % 251) as u8).collect();
    let mut runs = vec![noise, vec![0x55; 3000], vec![0; 500], vec![0xFF; 3000]];
    // Frames of the cable that nobody prepared it with, and halves of them.
    runs.push([&[0_u8, 3, 0xA5, 0x7F, 0][..], &[0, 2, 0xA5][..], &[0x99; 1400][..], &[0]].concat());
    for bytes in &runs {
        for line in 0..2 {
            site.lab.cable(line).unwrap().inject(End::Second, bytes);
        }
        site.stays(Some("pi"), site.bound / 2);
    }
    site.witness_is("alive");
    let cut = site.cut("pi");
    site.lab.cable(0).unwrap().inject(End::Second, &runs[0]);
    site.within_bound("taken over", cut, site.taken_by("laptop"));
    site.never_two();
}

#[test]
fn a_second_witness_by_mistake_makes_no_second_owner() {
    let site = Site::running();
    let node = site.lab.node("twin");
    site.write("twin", "keys", &format!("use 1\n1 {}\n", "5a".repeat(32)));
    let cluster = format!("test={}", node.dir().join("keys").display());
    let command =
        [PROGRAM, "witness", "--name", WITNESS, "-v", "--cluster", &cluster, "--udp", "eth1"];
    node.spawn("daemon", command).unwrap();
    site.stays(Some("pi"), LONG);
    // Cables cut while both of them vote.
    site.lab.node("laptop").set_cable("pair", false).unwrap();
    site.stays_with_one(LONG);
    site.lab.node("laptop").set_cable("pair", true).unwrap();
    site.lab.node("twin").power_cut().unwrap();
    // The mistake is undone: a board that starts anew is heard again.
    site.order("system_reset");
    site.witness_is("alive");
    site.never_two();
}

#[test]
#[ignore = "needs the emulator rp2040js from npm: ./test --help says how"]
fn the_pico_votes_too() {
    let site = Site::running_on(Board::Pico);
    site.cut("pi");
    // No bound: the emulator is slower than the chip.
    site.taken_by("laptop");
    site.never_two();
    // A loss of power of the board costs its memory, not its key.
    site.cut_board();
    site.power_board();
    site.lab.node("pi").power_on().unwrap();
    let (code, said) = site.board_tool("pi", "identify", &[]);
    assert!(code == 0 && said.contains("start 3") && said.contains("keys 1"), "{said}");
}
