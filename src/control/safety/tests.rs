use super::*;

fn voter(name: &str) -> Voter {
    Voter {
        name: name.into(),
        witness: false,
        state: NodeState::Alive,
        differs: false,
        other_voters: false,
        doubts: Doubts::default(),
    }
}

/// Three nodes, one address, all is well.
fn basis() -> Basis {
    Basis {
        rule: Rule::Majority,
        silencer: Silencer::Gate,
        sealed: true,
        releases: false,
        addresses: true,
        others: Vec::new(),
        watchdog: false,
        hollow: Vec::new(),
    }
}

fn well(basis: &Basis) -> Evidence<'_> {
    Evidence {
        basis,
        gate: Gate::Everywhere,
        slew: Ok(Slew { ppm: 23 }),
        voters: vec![voter("laptop"), voter("tower")],
        power: Vec::new(),
        in_force: true,
        unsaved: false,
    }
}

fn device(name: &str, test: Test) -> DeviceState {
    DeviceState { name: name.into(), test, ..DeviceState::default() }
}

fn power(test: Test) -> Vec<Power> {
    vec![Power { node: "laptop".into(), devices: vec![device("relay", test)] }]
}

/// A pair under `fencing`, all is well.
fn fenced(basis: &Basis) -> Evidence<'_> {
    Evidence { voters: vec![voter("laptop")], power: power(Test::Good), ..well(basis) }
}

/// Asserts that exactly this stands against it, and whether that asks for somebody now.
fn unsafe_because(evidence: &Evidence<'_>, what: &str, cure: &str, urgent: bool) {
    let judged = judge(evidence);
    assert!(!judged.safe, "{judged:?}");
    assert!(judged.why.contains(what), "{what}: {judged:?}");
    assert_eq!(judged.warnings.len(), 1, "{judged:?}");
    assert!(judged.warnings[0].starts_with(&judged.why), "{judged:?}");
    assert!(judged.warnings[0].contains(cure), "{cure}: {judged:?}");
    assert_eq!(!judged.urgent.is_empty(), urgent, "{judged:?}");
}

#[test]
fn majority_is_safe_when_everything_is_known_to_be_well() {
    let basis = basis();
    let judged = judge(&well(&basis));
    assert!(judged.safe && judged.warnings.is_empty() && judged.urgent.is_empty(), "{judged:?}");
    assert!(judged.why.contains("all 3 voters are heard and agree"), "{judged:?}");
    assert!(judged.why.contains("each node vouches for its own gate"), "{judged:?}");
    let mut late = well(&basis);
    late.voters[0].state = NodeState::Late;
    assert!(judge(&late).safe, "it is still heard");
}

#[test]
fn every_single_thing_that_is_not_well_counts() {
    type Change = fn(&mut Evidence<'_>);
    let changes: [(Change, &str, &str, bool); 14] = [
        (
            |it| it.voters[1].state = NodeState::Dead,
            "2 of 3 voters are heard: tower is",
            "ca",
            false,
        ),
        (|it| it.voters[0].state = NodeState::Unknown, "laptop was never heard", "its key", false),
        (|it| it.voters[0].state = NodeState::Seen, "laptop does not hear us", "cables", false),
        (|it| it.voters[0].state = NodeState::Left, "laptop was stopped", "power", false),
        (
            |it| it.voters[1] = Voter { witness: true, state: NodeState::Dead, ..voter("ground") },
            "witness ground is silent",
            "cables",
            false,
        ),
        (|it| it.voters[0].other_voters = true, "laptop has another list", "`latido reload`", true),
        (|it| it.voters[0].differs = true, "laptop has another configuration", "copy", false),
        (|it| it.voters[0].doubts.lied = true, "its fence device lied", "latido fence", true),
        (|it| it.voters[0].doubts.elsewhere = true, "another machine", "--node", true),
        (|it| it.voters[0].doubts.twins = true, "two machines", "stop one", true),
        (|it| it.in_force = false, "not every voter was heard", "start Latido on all", true),
        (|it| it.unsaved = true, "must not forget", "make room", true),
        (|it| it.slew = Ok(Slew { ppm: 83_300 }), "8.3 % wrong", "maxslewrate", true),
        (|it| it.slew = Err("EPERM".into()), "is not known (EPERM)", "adjtimex", false),
    ];
    for (change, what, cure, urgent) in changes {
        let basis = basis();
        let mut evidence = well(&basis);
        change(&mut evidence);
        unsafe_because(&evidence, what, cure, urgent);
    }
    for ppm in [0, 10_000] {
        let basis = basis();
        assert!(judge(&Evidence { slew: Ok(Slew { ppm }), ..well(&basis) }).safe);
    }
    let two = basis();
    let two = Evidence { voters: vec![voter("laptop")], ..well(&two) };
    unsafe_because(&two, "2 voters have no majority", "a third", false);
}

#[test]
fn an_address_needs_the_gate_or_a_lease_that_waits() {
    let gaps = Gate::Gaps(vec!["eth1: busy".into()]);
    let missing = Gate::Missing("cannot load it: not permitted".into());
    let gated = basis();
    unsafe_because(
        &Evidence { gate: gaps.clone(), ..well(&gated) },
        "not on eth1",
        "restart",
        true,
    );
    unsafe_because(
        &Evidence { gate: missing.clone(), ..well(&gated) },
        "no lease gate",
        "docs",
        false,
    );
    let waiting = Basis { silencer: Silencer::Lifetime, ..basis() };
    for gate in [gaps.clone(), missing.clone(), Gate::Everywhere] {
        let judged = judge(&Evidence { gate, ..well(&waiting) });
        assert!(judged.safe && judged.why.contains("every lease waits"), "{judged:?}");
    }
    // Under `fencing` whoever does not fall silent is switched off.
    let fencing = Basis { rule: Rule::Fencing, ..basis() };
    for gate in [gaps, missing] {
        assert!(judge(&Evidence { gate, ..fenced(&fencing) }).safe);
    }
    let none = Basis { addresses: false, ..basis() };
    assert!(judge(&Evidence { gate: Gate::Unneeded, ..well(&none) }).safe);
    // Not to be known is not to be well.
    assert!(!judge(&Evidence { gate: Gate::Unneeded, ..well(&gated) }).safe);
}

#[test]
fn what_is_no_address_needs_a_watchdog_or_a_power_fence() {
    let others = vec!["httpd".to_owned(), "disk".to_owned()];
    let with = Basis { others: others.clone(), ..basis() };
    unsafe_because(&well(&with), "nothing ends httpd and 1 more", "watchdog", false);
    let watched = Basis { watchdog: true, ..with.clone() };
    assert!(judge(&well(&watched)).safe);
    let released = Basis { releases: true, ..watched };
    unsafe_because(&well(&released), "httpd and 1 more may run twice", "stop_failure", false);
    let fencing = Basis { rule: Rule::Fencing, ..with };
    assert!(judge(&fenced(&fencing)).safe);
    let released = Basis { releases: true, ..basis() };
    assert!(judge(&well(&released)).safe, "the gate silences an address that cannot be removed");
}

#[test]
fn fencing_is_as_safe_as_its_devices() {
    let basis = Basis { rule: Rule::Fencing, ..basis() };
    let judged = judge(&fenced(&basis));
    assert!(judged.safe && judged.why.contains("passed its self-test"), "{judged:?}");
    let with = |power| Evidence { power, ..fenced(&basis) };
    let failed = Test::Failed("no route to it".into());
    let what = "no device could fence it (relay: no route to it)";
    unsafe_because(&with(power(failed.clone())), what, "look at the device", false);
    unsafe_because(
        &with(power(Test::Pending)),
        "relay: its self-test has not ended",
        "look",
        false,
    );
    unsafe_because(&with(Vec::new()), "none is configured", "device", false);
    let mut second = power(failed);
    second[0].devices.push(device("board", Test::Good));
    assert!(judge(&with(second)).safe, "one that works is enough");
    let hollow = vec![("stonith null".to_owned(), "switches nothing: it is made for tests")];
    let dummy = Basis { hollow, ..basis.clone() };
    unsafe_because(&fenced(&dummy), "stonith null proves nothing", "an outlet", false);
    // A silent node is what the devices are for.
    let mut silent = fenced(&basis);
    silent.voters[0].state = NodeState::Dead;
    assert!(judge(&silent).safe);
}

#[test]
fn assume_dead_and_open_frames_are_never_safe() {
    let rule = Basis { rule: Rule::AssumeDead, ..basis() };
    unsafe_because(&well(&rule), "every path between the nodes is cut", "third voter", false);
    let open = Basis { sealed: false, ..basis() };
    unsafe_because(&well(&open), "frames are not sealed", "keygen", false);
    assert!(!judge(&well(&Basis::default())).safe, "nothing is known");
}

#[test]
fn all_that_stands_against_it_is_told_most_important_first() {
    let basis = Basis { sealed: false, others: vec!["httpd".into()], ..basis() };
    let mut evidence = well(&basis);
    evidence.voters[0].state = NodeState::Dead;
    evidence.slew = Ok(Slew { ppm: 50_000 });
    let judged = judge(&evidence);
    assert_eq!(judged.warnings.len(), 4, "{judged:?}");
    assert!(judged.why.contains("laptop is silent"), "{judged:?}");
    assert_eq!(judged.urgent.len(), 1, "{judged:?}");
}
