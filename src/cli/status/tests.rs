use super::*;
use crate::control::report::{
    EventReport, GateReport, LinkReport, PeerLinkReport, Quorum, ResourceReport, TermReport,
};

fn well() -> Report {
    let link = |name: &str, rtt_us| PeerLinkReport {
        name: name.into(),
        state: "up".into(),
        rtt_us: Some(rtt_us),
        ..PeerLinkReport::default()
    };
    let links = vec![link("eth0 broadcast", 310), link("/dev/ttyUSB0", 12_400)];
    let up = |name: &str| LinkReport { name: name.into(), up: true, error: None, modem: None };
    Report {
        ok: true,
        schema: 1,
        node: "pi".into(),
        version: "0.1.0".into(),
        ready: true,
        authenticated: true,
        uptime_s: 11_520,
        quorum: Quorum {
            rule: "assume-dead".into(),
            safe: false,
            why: "when every path between the nodes is cut, both take all groups".into(),
            ..Quorum::default()
        },
        nodes: vec![
            NodeReport {
                name: "debian".into(),
                state: "alive".into(),
                links,
                ..NodeReport::default()
            },
            NodeReport {
                name: "pi".into(),
                state: "alive".into(),
                me: true,
                ..NodeReport::default()
            },
        ],
        links: vec![up("eth0 broadcast"), up("/dev/ttyUSB0")],
        groups: vec![GroupReport {
            name: "ftp".into(),
            owner: Some("pi".into()),
            state: "running".into(),
            local: "running".into(),
            able: true,
            prefer: vec!["pi".into(), "debian".into()],
            candidates: vec!["debian".into(), "pi".into()],
            term: TermReport { count: 3, node: "pi".into() },
            resources: vec![
                ResourceReport { name: "192.168.0.20/24".into(), kind: "address".into() },
                ResourceReport { name: "vsftpd".into(), kind: "service".into() },
            ],
            ..GroupReport::default()
        }],
        events: vec![EventReport {
            time: "2026-11-03 12:00:01.123".into(),
            text: "group ftp: running here, term 3/pi".into(),
            ..EventReport::default()
        }],
        ..Report::default()
    }
}

#[test]
fn all_is_well_on_one_screen_without_colour() {
    let expected = "\
pi (this node), ready, up 3 h 12 min, latido 0.1.0
quorum assume-dead: NOT safe: when every path between the nodes is cut, both
  take all groups

NODE             STATE      LINKS (round trip ± jitter, loss, last frame)
debian           alive      eth0 broadcast 310 µs, /dev/ttyUSB0 12 ms
pi               this node

GROUP            STATE      OWNER            TERM
ftp              running    pi               3/pi
  192.168.0.20/24, vsftpd

LAST EVENTS
12:00:01.123 group ftp: running here, term 3/pi
";
    assert_eq!(screen(&well(), true), expected);
}

#[test]
fn problems_stand_first_with_what_to_do() {
    let mut report = well();
    report.nodes[0].state = "dead".into();
    report.nodes[0].silence_ms = Some(12_000);
    report.links[1].up = false;
    report.links[1].error = Some("No such file or directory".into());
    report.groups[0].state = "blocked".into();
    report.authenticated = false;
    let text = screen(&report, false);
    let expected = "\
PROBLEMS
  ! ftp is blocked on pi: a resource could not be stopped, so nobody may start
    it. Stop it there by hand, then there: latido failback --group ftp
  ! debian is dead: silent on every link for 12 s. Look at its power and its
    cables; until it is back there is no second node. If it runs: the same key
    and the same [cluster] name on both?
  ! link /dev/ttyUSB0 is down here: No such file or directory. Look at its cable
    and its name.
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("unauthenticated"), "{text}");
    assert!(!text.contains('\x1b'));
    assert!(screen(&report, true).starts_with("\x1b[1;31mPROBLEMS\x1b[0m\n"));
}

#[test]
fn a_missing_gate_is_said_in_one_line() {
    let mut report = well();
    report.gate = GateReport { active: true, why: String::new() };
    assert!(!screen(&report, false).contains("gate"));
    report.gate = GateReport { active: false, why: "cannot load it: not permitted".into() };
    let text = screen(&report, false);
    assert!(text.contains("\nlease gate: off: cannot load it: not permitted. "), "{text}");
    report.gate = GateReport { active: true, why: "not on eth1: busy".into() };
    let text = screen(&report, false);
    assert!(text.contains("\nlease gate: incomplete: not on eth1: busy. "), "{text}");
}

#[test]
fn what_stands_against_safety_is_told_once_and_what_is_urgent_first() {
    let mut report = well();
    let clock = "the clock is wrong: wait".to_owned();
    report.quorum.warnings =
        vec!["tower is silent: look".into(), clock.clone(), "no key: make one".into()];
    report.quorum.why = "tower is silent".into();
    report.quorum.urgent = vec![clock];
    let text = screen(&report, false);
    assert!(text.starts_with("PROBLEMS\n  ! the clock is wrong: wait.\n"), "{text}");
    let line = "quorum assume-dead: NOT safe: tower is silent\n  also: no key: make one\n";
    assert!(text.contains(line), "{text}");
    report.quorum = Quorum { rule: "majority".into(), safe: true, ..Quorum::default() };
    report.quorum.why = "one owner in every partition".into();
    let text = screen(&report, false);
    assert!(text.contains("\nquorum majority: safe: one owner in every"), "{text}");
}

#[test]
fn every_state_that_needs_somebody_is_a_problem() {
    type Change = fn(&mut Report);
    let changes: [(Change, &str); 13] = [
        (|report| report.nodes[1].standby = true, "pi is in standby"),
        (|report| report.groups[0].failed_here = true, "latido failback --group ftp"),
        (|report| report.groups[0].able = false, "LAN cable"),
        (|report| report.groups[0].owner = None, "runs nowhere"),
        (|report| report.nodes[0].config_differs = true, "latido reload"),
        (|report| report.nodes[0].state = "seen".into(), "firewall"),
        (|report| report.nodes[0].state = "left".into(), "Start it again"),
        (|report| report.nodes[0].state = "unknown".into(), "never heard"),
        (|report| report.nodes[0].links[0].state = "one-way".into(), "one way only"),
        (|report| report.log_trouble = Some("log file /x: full".into()), "/x"),
        (|report| report.supervisor_gone = true, "supervisor is gone"),
        (|report| report.namesake = Some("12:00".into()), "Rename one"),
        (|report| report.realtime.warnings.push("no real-time priority".into()), "real-time"),
    ];
    assert!(problems(&well()).is_empty());
    for (change, expected) in changes {
        let mut report = well();
        change(&mut report);
        let found = problems(&report);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn links_that_are_taken_for_each_other_are_one_problem() {
    let mut report = well();
    let links = &mut report.nodes[0].links;
    links.iter_mut().for_each(|link| link.state = "one-way".into());
    let names: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
    assert!(names.len() > 1, "{names:?}");
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(names.iter().all(|name| found[0].contains(name)), "{found:?}");
    assert!(found[0].contains("another order") && found[0].contains("latido check"), "{found:?}");
    // One that works proves nothing of the others; one that is silent is silent.
    report.nodes[0].links[0].state = "up".into();
    let found = problems(&report);
    assert!(found.iter().all(|problem| problem.contains("Look at its cable")), "{found:?}");
}

#[test]
fn eight_nodes_and_links_stay_within_80_columns() {
    let mut report = well();
    let links = report.nodes[0].links.clone();
    report.nodes[0].links = links.iter().cycle().take(8).cloned().collect();
    report.nodes[0].name = "a-node-with-a-long-name".into();
    let text = screen(&report, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn frames_under_another_key_and_another_configuration_are_the_first_suspects() {
    let mut report = well();
    report.nodes[0].state = "dead".into();
    assert!(problems(&report)[0].contains("same [cluster] name"), "{:?}", problems(&report));
    report.counters.unsealed = 7;
    let found = problems(&report);
    assert!(found[1].contains("7 so far") && found[1].contains("on debian"), "{found:?}");
    assert!(!found[0].contains("[cluster]"), "{found:?}");

    let mut report = well();
    report.groups[0].owner = None;
    report.nodes[0].config_differs = true;
    let found = problems(&report);
    assert!(found[0].contains("latido takeover") && found[1].contains("runs nowhere"), "{found:?}");
}
