//! References and the probe, in both kinds of configuration.
use super::*;

/// TOML with `[references]` of these lines.
fn toml(lines: &str) -> Loaded {
    Dir::toml(&format!("{TOML}\n[references]\n{lines}\n")).1
}

fn ha_cf(lines: &str) -> Loaded {
    Dir::heartbeat(Some(&format!("{HA_CF}{lines}\n")), None, None).load()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn defaults() {
    let loaded = toml("hosts = [\"192.168.0.1\", [\"192.168.0.2\", \"switch.lan\"]]");
    assert_eq!(said(&loaded), "");
    let references = &good(&loaded).references;
    let expected = [vec!["192.168.0.1"], vec!["192.168.0.2", "switch.lan"]];
    assert_eq!(references.hosts, expected);
    assert_eq!(references.name(1), "192.168.0.2 or switch.lan");
    assert_eq!((references.interval, references.dead), (ms(200), ms(1000)));
    assert_eq!(references.settle, Some(ms(2000)));
    assert!(good(&loaded).probe, "assume-dead probes");
    let (_dir, loaded) = Dir::toml(TOML);
    assert_eq!(good(&loaded).references.hosts.len(), 0);
    // A short dead time of nodes is none for references.
    let times = "interval = \"10ms\"\nwarn = \"20ms\"\ndead = \"50ms\"\ninitial_dead = \"30s\"";
    let text = format!("{TOML}\n[references]\nhosts = [\"192.168.0.1\"]\n");
    let from = text.find("interval ").unwrap();
    let to = text.find("\n\n[quorum]").unwrap();
    let (_dir, loaded) = Dir::toml(&format!("{}{times}{}", &text[..from], &text[to..]));
    assert_eq!(good(&loaded).references.dead, ms(1000));
}

#[test]
fn what_is_written_counts() {
    let loaded = toml(
        "hosts = [\"2001:db8::1\"]\ninterval = \"50ms\"\ndead = \"300ms\"\nsettle = \"500ms\"",
    );
    let references = &good(&loaded).references;
    assert_eq!((references.interval, references.dead), (ms(50), ms(300)));
    assert_eq!(references.settle, Some(ms(500)));
    let loaded = toml("hosts = [\"2001:db8::1\"]\nsettle = false");
    assert_eq!(good(&loaded).references.settle, None);
    let text = TOML.replace("\"assume-dead\"", "\"assume-dead\"\nprobe = false");
    assert!(!good(&Dir::toml(&text).1).probe);
}

#[test]
fn wrong_ones_are_named_with_the_cure() {
    let here = TOML.lines().count() + 3;
    for (lines, message, cure) in [
        ("hosts = []", "no references are named", "router"),
        ("hosts = [[]]", "an empty list", "remove"),
        ("hosts = \"192.168.0.1\"", "`hosts` is a text", "a list of texts and lists"),
        ("hosts = [1]", "`hosts` is a number", "a list of texts and lists"),
        ("hosts = [[1]]", "`hosts` is a number", "a text"),
        ("hosts = [\"192.168.0.300\"]", "`192.168.0.300` is no address", "host name"),
        (
            "hosts = [\"192.168.0.20\"]",
            "192.168.0.20 tells nothing: 192.168.0.20/24 moves with group ftp",
            "router",
        ),
        ("hosts = [\"127.0.0.1\"]", "127.0.0.1 tells nothing", "router"),
        ("hosts = [\"224.0.0.1\"]", "224.0.0.1 tells nothing", "router"),
        ("hosts = [\"fe80::1\"]", "fe80::1 tells nothing", "router"),
        ("hosts = [\"10.0.0.1\", \"10.0.0.1\"]", "10.0.0.1 is there twice", "once"),
        ("host = [\"10.0.0.1\"]", "[references] has no key `host`", "did you mean `hosts`?"),
    ] {
        let loaded = toml(lines);
        let found = find(&loaded, message);
        assert!(found.is_error() && found.line == here, "{lines}: {}", said(&loaded));
        assert!(found.cure.contains(cure), "{lines}: {}", said(&loaded));
    }
    for (line, message) in [
        ("interval = \"400ms\"", "must be more than two of their intervals"),
        ("interval = \"0s\"", "cannot be asked every 0s"),
        ("dead = \"2ms\"", "cannot be asked every 400us"),
        ("dead = \"25h\"", "longer than a day"),
        ("settle = true", "`settle` is true or false"),
        ("settle = \"25h\"", "longer than a day"),
    ] {
        let times = if line.starts_with("interval = \"4") { "\ndead = \"800ms\"" } else { "" };
        let loaded = toml(&format!("hosts = [\"10.0.0.1\"]\n{line}{times}"));
        assert!(find(&loaded, message).is_error(), "{line}: {}", said(&loaded));
    }
    let loaded = toml("hosts = [\"10.0.0.1\"]\nsettle = \"100ms\"");
    good(&loaded);
    assert!(find(&loaded, "settle (100ms) is shorter than two").cure.contains("1s"));
    let three = TOML
        .replace("[\"pi\", \"debian\"]\n\n", "[\"pi\", \"debian\", \"nuc\"]\n\n")
        .replace("\"assume-dead\"", "\"majority\"\nprobe = true");
    let (_dir, loaded) = Dir::toml(&three);
    assert!(find(&loaded, "`probe` means nothing with the rule majority").is_error());
}

#[test]
fn heartbeats_lines() {
    let loaded = ha_cf(
        "ping 10.0.0.1,10.0.0.2\nping6 2001:db8::1\nping_group routers 10.0.0.3 10.0.0.4\n\
         deadping 20\nrespawn hacluster /usr/lib/heartbeat/ipfail",
    );
    assert_eq!(said(&loaded), "");
    let references = &good(&loaded).references;
    let expected =
        [vec!["10.0.0.1"], vec!["10.0.0.2"], vec!["2001:db8::1"], vec!["10.0.0.3", "10.0.0.4"]];
    assert_eq!(references.hosts, expected);
    let timing = good(&loaded).timing;
    assert_eq!((references.interval, references.dead), (timing.interval, ms(20_000)));
    assert_eq!(references.settle, Some(ms(40_000)), "ipfail moves the groups");
    // Without ipfail they move nothing; without deadping deadtime counts.
    let loaded = ha_cf("ping 10.0.0.1");
    let references = &good(&loaded).references;
    assert_eq!((references.settle, references.dead), (None, good(&loaded).timing.dead));
    let loaded = ha_cf("ping 10.0.0.1\nping 10.0.0.1");
    assert_eq!(good(&loaded).references.hosts.len(), 1);
    assert_eq!(find(&loaded, "10.0.0.1 is asked already").line, 8);
}

#[test]
fn two_nodes_must_agree_on_them() {
    let one = toml("hosts = [\"10.0.0.1\"]");
    for other in [
        TOML.to_string(),
        TOML.replace("\"assume-dead\"", "\"assume-dead\"\nprobe = false"),
        format!("{TOML}\n[references]\nhosts = [\"10.0.0.2\"]\n"),
        format!("{TOML}\n[references]\nhosts = [\"10.0.0.1\"]\nsettle = false\n"),
    ] {
        let (_dir, other) = Dir::toml(&other);
        assert_ne!(good(&one).digest(), good(&other).digest());
        assert!(!differences(good(&one), good(&other)).is_empty());
    }
}

#[test]
fn they_survive_migration() {
    for lines in [
        "hosts = [\"10.0.0.1\", [\"10.0.0.2\", \"gate.lan\"]]\nsettle = false",
        "hosts = [\"2001:db8::1\"]\ninterval = \"30ms\"\ndead = \"200ms\"\nsettle = \"7s\"",
    ] {
        let text = format!(
            "{}\n[references]\n{lines}\n",
            TOML.replace("-dead\"", "-dead\"\nprobe = false")
        );
        let (dir, loaded) = Dir::toml(&text);
        let config = good(&loaded);
        let again = migrate_with_keys(config, &dir.0.join("keys"));
        dir.write("latido.toml", &again);
        let again = load(&config.source);
        assert_eq!(good(&again), config, "{}", said(&again));
    }
}
