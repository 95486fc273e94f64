//! Fencing, as `latido.toml` and Heartbeat's `ha.cf` write it.
use super::*;
use latido::config::{DeviceKind, Method, Parameters};

const DEVICES: &str = "
[[fence]]
node = \"pi\"
command = [\"/usr/local/sbin/plug\", \"3\"]
timeout = \"4s\"
tries = 2

[[fence]]
nodes = [\"pi\", \"debian\"]
agent = \"fence_ipmilan\"
options = { ip = \"10.0.0.5\", passwd = \"hunter2\", lanplus = true, port = 7 }
timeout = \"3s\"
test_every = \"1h\"
on = false
";

/// [`TOML`] under the rule fencing, with these lines in `[quorum]` and at the end.
fn fencing(quorum: &str, devices: &str) -> (Dir, Loaded) {
    let quorum = format!("rule = \"fencing\"\n{quorum}");
    Dir::toml(&format!("{}{devices}", TOML.replace("rule = \"assume-dead\"", &quorum)))
}

#[test]
fn devices_are_read_checked_compared_and_written() {
    let (_dir, loaded) = fencing("", DEVICES);
    let config = good(&loaded);
    assert_eq!(said(&loaded), "");
    assert_eq!((config.rule, config.stop_failure), (Rule::Fencing, StopFailure::Fence));
    let [pi, debian] = [1, 0]
        .map(|node| config.devices_of(node).map(latido::config::Device::name).collect::<Vec<_>>());
    assert_eq!(pi, ["/usr/local/sbin/plug", "fence_ipmilan 10.0.0.5 7"]);
    assert_eq!(debian, ["fence_ipmilan 10.0.0.5 7"]);
    // 2 x 4 s + 3 s, two intervals and dead.
    assert_eq!(config.fence_time(1), Duration::from_secs(11));
    assert_eq!(config.fencing.delay, Duration::from_millis(12_200));
    let DeviceKind::Agent { options, .. } = &config.fencing.devices[1].kind else {
        panic!("an agent")
    };
    assert!(options.0.contains(&("lanplus".into(), "1".into())), "{options:?}");
    // What is written means the same.
    let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
    assert_eq!(good(&again).fencing, config.fencing);
    assert_eq!(differences(config, good(&again)), Vec::<String>::new());
    // Devices are each node's own, the delay is not.
    let delay = "fence_delay = \"12200ms\"";
    let (_dir, other) =
        fencing(delay, "[[fence]]\nnodes = [\"pi\", \"debian\"]\ncommand = [\"/p\"]\n");
    assert_eq!(differences(config, good(&other)), Vec::<String>::new());
    let (_dir, other) = fencing("fence_delay = \"1m\"", DEVICES);
    let lines = differences(config, good(&other));
    assert!(lines.len() == 1 && lines[0].starts_with("fence delay: `12.2s`"), "{lines:?}");
    assert_ne!(config.digest(), good(&other).digest());
}

#[test]
fn check_tells_who_switches_whom_and_how_long_a_takeover_takes() {
    let (dir, _loaded) = fencing("", DEVICES);
    let outcome = check::check(vec![Source::Latido(dir.0.join("latido.toml"))]);
    let text = outcome.text(false);
    for words in [
        "pi: /usr/local/sbin/plug (off and on, 2 x 4s, tested every 10m), then fence_ipmilan",
        "debian: fence_ipmilan 10.0.0.5 7 (off, stays off, 1 x 3s, tested every 1h); at most 3s",
        "the owner of the first group shoots at once, the other node 12.2s later",
        "takeover  ftp: at most 24.3s after",
    ] {
        assert!(text.contains(words), "no `{words}` in\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let json = outcome.json().to_string();
    assert!(json.contains("\"delay_us\":12200000") && !json.contains("hunter2"), "{json}");
}

#[test]
fn a_delay_that_is_too_short_is_computed_for_the_reader() {
    let at = line_of_rule() + 1;
    let (_dir, loaded) = fencing("fence_delay = \"11.2s\"", DEVICES);
    only_error(
        &loaded,
        at,
        "2 x 4s (/usr/local/sbin/plug) + 1 x 3s (fence_ipmilan 10.0.0.5 7) + 2 x 100ms = 11.2s",
        "12.2s or more",
    );
    let (_dir, loaded) = fencing("fence_delay = \"12s\"", DEVICES);
    good(&loaded);
    assert_eq!(find(&loaded, "shorter than the longest fence").line, at);
    let (_dir, loaded) = fencing("fence_delay = \"12.2s\"", DEVICES);
    assert_eq!(said(&loaded), "");
}

fn line_of_rule() -> usize {
    TOML.lines().position(|line| line.starts_with("rule")).unwrap() + 1
}

#[test]
fn what_is_wrong_with_a_device_is_named_with_the_cure() {
    let rest = "[[fence]]\nnodes = [\"pi\", \"debian\"]\ncommand = [\"/p\"]\n";
    let first = TOML.lines().count() + 1;
    for (device, line, message, cure) in [
        ("", 1, "this device has no kind", "agent = "),
        ("agent = \"a\"\ncommand = [\"/p\"]", 1, "not command and agent at once", "[[fence]]"),
        ("command = [\"/p\"]\ntris = 2", 4, "has no key `tris`", "did you mean `tries`?"),
        ("command = [\"plug\"]", 3, "`plug` is not a full path", "/"),
        ("command = []", 3, "an empty command", "full path"),
        ("command = [\"/p\"]\noptions = { a = 1 }", 4, "`options` means nothing", "remove"),
        ("agent = \"fence x\"", 3, "`fence x` is no agent", "fence_ipmilan"),
        ("agent = \"a\"\noptions = { action = \"on\" }", 4, "`action` among the options", "remove"),
        ("agent = \"a\"\noptions = { x = \"a\\nb\" }", 4, "`x` contains a control", "remove"),
        ("agent = \"fence_scsi\"", 1, "fence_scsi takes disks away", "a fence is power"),
        ("stonith = \"-x\"", 3, "`-x` is no stonith plug-in", "external/ipmi"),
        ("stonith = \"x\"\nparams = \"a\"\noptions = {}", 4, "either options or params", "names"),
        ("command = [\"/p\"]\ntries = 0", 4, "`tries = 0` is out of range", "from 1"),
        ("command = [\"/p\"]\ntimeout = \"2h\"", 4, "`timeout` cannot be kept", "1h"),
        ("command = [\"/p\"]\nmethod = \"rest\"", 4, "method cannot be", "did you mean `reset`?"),
        ("command = [\"/p\"]\nmethod = \"reset\"\non = true", 5, "`on` means nothing", "remove"),
    ] {
        let device = format!("[[fence]]\nnode = \"pi\"\n{device}\n");
        let (_dir, loaded) = fencing("", &format!("{device}{rest}"));
        only_error(&loaded, first + line, message, cure);
    }
    let (_dir, loaded) = fencing("", "[[fence]]\nnode = \"pj\"\ncommand = [\"/p\"]\n");
    only_error(&loaded, first + 2, "there is no node pj", "did you mean `pi`?");
    let (_dir, loaded) = fencing("", "[[fence]]\ncommand = [\"/p\"]\n");
    only_error(&loaded, first + 1, "nothing says whose power", "node = ");
    let (_dir, loaded) = fencing("", "[[fence]]\nnode = \"pi\"\ncommand = [\"/p\"]\n");
    only_error(&loaded, line_of_rule(), "nothing can switch debian off", "[[fence]]");
    // An option's value never shows, not even in the line that is wrong.
    let agent = "agent = \"a\"\noptions = { passwd = \"hunter2\", action = \"x\" }";
    let (_dir, loaded) = fencing("", &format!("[[fence]]\nnode = \"pi\"\n{agent}\n{rest}"));
    assert!(!said(&loaded).contains("hunter2"), "{}", said(&loaded));
}

#[test]
fn what_cannot_be_stopped() {
    let own = "[self_fence]\ncommand = [\"/sbin/reboot\", \"-f\"]\ntakes = \"3s\"\n";
    let line = line_of_rule() + 1;
    let with = |quorum: &str, rest: &str| {
        let quorum = format!("rule = \"assume-dead\"\n{quorum}");
        Dir::toml(&format!("{}{rest}", TOML.replace("rule = \"assume-dead\"", &quorum))).1
    };
    let loaded = with("stop_failure = \"reset\"", own);
    let config = good(&loaded);
    assert_eq!(config.stop_failure, StopFailure::Reset);
    assert_eq!(config.fencing.own.as_ref().unwrap().takes, Duration::from_secs(3));
    let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
    assert_eq!(good(&again).fencing, config.fencing);
    assert_eq!(good(&with("", own)).stop_failure, StopFailure::Release, "as the rule has it");
    only_error(
        &with("stop_failure = \"reset\"", ""),
        line,
        "nothing says how this machine resets",
        "[self_fence]",
    );
    only_error(
        &with("stop_failure = \"fence\"", ""),
        line,
        "stop_failure = \"fence\" needs the rule fencing",
        "reset",
    );
    only_error(
        &with("fence_delay = \"1m\"", ""),
        line,
        "`fence_delay` means nothing without the rule fencing",
        "rule = \"fencing\"",
    );
    let loaded = with("", DEVICES);
    good(&loaded);
    find(&loaded, "used only by hand");
}

fn stonith(lines: &str) -> Loaded {
    Dir::heartbeat(Some(&format!("{HA_CF}{lines}\n")), None, None).load()
}

#[test]
fn heartbeats_stonith_lines_are_devices() {
    let loaded = stonith("stonith_host * baytech 10.0.0.3 user hunter2");
    let config = good(&loaded);
    assert_eq!(said(&loaded), "");
    assert_eq!((config.rule, config.stop_failure), (Rule::Fencing, StopFailure::Fence));
    let device = &config.fencing.devices[0];
    assert_eq!((device.nodes.as_slice(), device.method), (&[0, 1][..], Method::Reset));
    let DeviceKind::Stonith { plugin, parameters: Parameters::Line(line) } = &device.kind else {
        panic!("{device:?}")
    };
    assert_eq!((plugin.as_str(), line.as_str()), ("baytech", "10.0.0.3 user hunter2"));
    let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
    assert_eq!(good(&again).fencing, config.fencing);

    let loaded = stonith("stonith baytech /etc/ha.d/conf/baytech");
    let device = &good(&loaded).fencing.devices[0];
    assert_eq!(device.nodes, [0, 1]);
    assert!(matches!(&device.kind, DeviceKind::Stonith { parameters: Parameters::File(path), .. }
        if path == Path::new("/etc/ha.d/conf/baytech")));
}

#[test]
fn each_node_shoots_with_its_last_device() {
    let loaded = stonith(
        "stonith_host alpha rps10 /dev/ttyS1 beta 0\nstonith_host beta rps10 /dev/ttyS1 alpha 0\n\
         stonith_host gamma null beta",
    );
    let config = good(&loaded);
    let shot: Vec<_> = config.fencing.devices.iter().map(|one| one.nodes.as_slice()).collect();
    assert_eq!(shot, [&[1][..], &[0]], "alpha's device shoots beta, and the reverse");
    assert_eq!(find(&loaded, "gamma is no node").line, 9);
    let loaded = stonith("stonith_host * null a\nstonith_host * baytech 10.0.0.3 u hunter2");
    assert_eq!(good(&loaded).fencing.devices.len(), 1);
    assert_eq!(find(&loaded, "the last device that a node has is its only one").line, 7);
    assert!(!said(&loaded).contains("hunter2"));
    only_error(
        &stonith("stonith_host alpha baytech 10.0.0.3 u hunter2"),
        7,
        "beta has no device",
        "stonith_host beta",
    );
    assert!(!said(&stonith("stonith_host alpha baytech 10.0.0.3 u hunter2")).contains("hunter2"));
    only_error(&stonith("stonith_host *"), 7, "names no type of device", "stonith_host * TYPE");
    only_error(&stonith("stonith baytech"), 7, "stonith names no file", "/path/to/file");
}
