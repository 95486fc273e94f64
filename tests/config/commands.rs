//! What `check` and `keygen` do and say.
use super::*;

#[test]
fn check_says_what_a_good_one_means() {
    let dir = Dir::fixture("pi-and-laptop");
    let outcome = check::check(vec![Source::Heartbeat(dir.0.clone())]);
    assert!(!outcome.failed());
    let text = outcome.text(false);
    for expected in [
        "nodes     pi, debian",
        "192.168.0.20: pi, then debian",
        "192.168.0.20/24 on eth0 → service vsftpd",
        "at most 32s",
        "assume-dead: NOT SAFE in a partition. With every path cut, both nodes will own every",
        "frames    unauthenticated",
        "works; 0 errors and",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing:\n{text}");
    }
    let json = outcome.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["configurations"][0]["summary"]["quorum"]["safe"], false);
    assert_eq!(json["configurations"][0]["summary"]["takeover_us_max"], 32_000_000);
}

#[test]
fn different_keys_are_a_difference() {
    let authkeys = |text| Dir::heartbeat(None, None, Some(text)).load();
    let one = authkeys("auth 1\n1 sha1 the-first-long-secret\n2 sha1 the-second-long-secret\n");
    let two = authkeys("auth 2\n1 sha1 the-first-long-secret\n2 sha1 the-second-long-secret\n");
    let three = authkeys("auth 2\n2 sha1 the-second-long-secret\n");
    assert!(differences(good(&one), good(&two)).is_empty(), "each accepts the other's");
    let lines = differences(good(&one), good(&three));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("does not accept the key"), "{lines:?}");
}

#[test]
fn keygen_makes_a_private_file_once() {
    let dir = Dir::new();
    let path = dir.0.join("new/keys");
    let error = keygen::generate(&path, false).unwrap_err();
    assert!(error.contains("mkdir -p") && !dir.0.join("new").exists(), "{error}");
    fs::create_dir(dir.0.join("new")).unwrap();
    keygen::generate(&path, false).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = fs::read(&path).unwrap();
    let error = keygen::generate(&path, false).unwrap_err();
    assert!(error.contains("is there already; --force"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), first);
    keygen::generate(&path, true).unwrap();
    assert_ne!(fs::read(&path).unwrap(), first);
    let names = fs::read_dir(dir.0.join("new")).unwrap().count();
    assert_eq!(names, 1, "nothing is left over");
    let toml = dir.write("latido.toml", TOML.replace("\"keys\"", "\"new/keys\""));
    good(&load(&Source::Latido(toml)));
}

#[test]
fn source_is_chosen() {
    let (file, dir) = (PathBuf::from("/nowhere/latido.toml"), PathBuf::from("/nowhere"));
    assert!(Source::find(Some(file.clone()), Some(dir.clone())).is_err());
    assert_eq!(Source::find(Some(file.clone()), None), Ok(Source::Latido(file)));
    assert_eq!(Source::find(None, Some(dir.clone())), Ok(Source::Heartbeat(dir)));
}

#[test]
fn a_short_dead_time_is_named_beside_the_lifetime_in_the_kernel() {
    for (dead, said) in [("1s", true), ("1300ms", false), ("2s", false)] {
        let (dir, _) = Dir::toml(&TOML.replace("\"1s\"", &format!("\"{dead}\"")));
        let outcome = check::check(vec![Source::Latido(dir.0.join("latido.toml"))]);
        let text = outcome.text(false);
        assert_eq!(text.contains("owner stays\n          up to about 1.3 s"), said, "{text}");
    }
}

#[test]
fn this_machine_is_looked_for_among_the_nodes() {
    let dir = Dir::heartbeat(None, None, None);
    let outcome = |node| {
        let mut outcome = check::check(vec![Source::Heartbeat(dir.0.clone())]);
        outcome.find_node(node);
        outcome
    };
    dir.write("nodeinfo", "gamma\n");
    let text = outcome(None).text(false);
    assert!(text.contains("this machine is called gamma"), "{text}");
    assert!(text.contains("works; 0 errors and 1 warning"), "{text}");
    assert!(!outcome(None).failed(), "files may have been copied here");
    assert!(outcome(Some("gamma")).failed());
    assert_eq!(outcome(Some("gamma")).json()["configurations"][0]["ok"], false);
    let fine = outcome(Some("Beta"));
    assert!(!fine.failed() && fine.checked[0].1.diagnostics.is_empty());
}

#[test]
fn a_migrated_copy_does_not_name_the_copy() {
    let dir = Dir::fixture("pi-and-laptop");
    let loaded = dir.load();
    let dirs = |place: Option<&Path>| {
        let text = migrate::convert(&dir.0, &loaded, None, place).unwrap();
        let path = dir.write("latido.toml", &text);
        let again = load(&Source::Latido(path));
        let Kind::Service { script_dirs, .. } = &good(&again).groups[0].resources[1].kind else {
            panic!("vsftpd is a service:\n{text}");
        };
        (script_dirs.clone(), text)
    };
    let usual = ["/etc/ha.d/resource.d", "/etc/init.d"].map(PathBuf::from);
    let (found, text) = dirs(None);
    assert_eq!(found, usual);
    assert!(text.contains("has no resource.d"), "{text}");
    assert_eq!(dirs(Some(Path::new("/etc/ha.d"))).0, usual);
    assert_eq!(dirs(Some(Path::new("/opt/ha.d"))).0[0], Path::new("/opt/ha.d/resource.d"));
    fs::create_dir(dir.0.join("resource.d")).unwrap();
    let (found, text) = dirs(None);
    assert_eq!(found[0], dir.0.join("resource.d"));
    assert!(text.contains("migrate again with --as /etc/ha.d"), "{text}");
    assert_eq!(dirs(Some(Path::new("/etc/ha.d"))).0, usual);
}

/// Three nodes under `majority`, with these resources and this line in `[quorum]`.
fn three(resources: &str, quorum: &str) -> String {
    let text = TOML.replace("[\"pi\", \"debian\"]\n\n", "[\"pi\", \"debian\", \"tower\"]\n\n");
    let text = text.replace("\"assume-dead\"", &format!("\"majority\"\n{quorum}"));
    let start = text.find("resources = [").unwrap();
    format!("{}resources = [{resources}]\n", &text[..start])
}

const ADDRESS: &str = "{ address = \"192.168.0.20/24\", interface = \"eth0\" }";

#[test]
fn check_shows_where_each_part_of_a_lease_comes_from() {
    let service = format!("{ADDRESS}, {{ service = \"vsftpd\", stop_timeout = \"9s\" }}");
    let (dir, _) = Dir::toml(&three(&service, ""));
    let outcome = check::check(vec![Source::Latido(dir.0.join("latido.toml"))]);
    let text = outcome.text(false);
    for line in [
        "lease     ftp: 10.413s",
        "dead               1s  [timing] dead",
        "interval        100ms  [timing] interval",
        "round trip      100ms",
        "stop               9s  vsftpd 9s; the lease gate silences addresses",
        "takeover  ftp: at most 10.618s after a power cut, and what its services need to start",
        "slow clock  ",
        "safety    NOT SAFE: 1 reason",
        "nothing ends vsftpd where the daemon was killed or hangs",
        "taken for granted; it was not tried here",
    ] {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
    let json = &outcome.json()["configurations"][0]["summary"];
    let group = &json["groups"][0];
    assert_eq!((&group["lease_ms"], &group["takeover_ms"]), (&10_413.into(), &10_618.into()));
    for (sum, total) in [("lease", "lease_us"), ("takeover", "takeover_us_max")] {
        let parts = group["parts"][sum].as_array().unwrap();
        let us: u64 = parts.iter().map(|part| part["us"].as_u64().unwrap()).sum();
        let total = group[total].as_u64().unwrap();
        assert!(us <= total && total - us <= parts.len() as u64, "{parts:?}: {total}");
    }
    assert_eq!(
        (&json["quorum"]["safe"], &json["quorum"]["gate"]),
        (&false.into(), &"assumed".into())
    );
}

#[test]
fn addresses_alone_are_quick_and_safe_behind_the_gate() {
    let (dir, _) = Dir::toml(&three(ADDRESS, ""));
    let mut outcome = check::check(vec![Source::Latido(dir.0.join("latido.toml"))]);
    let text = outcome.text(false);
    for line in [
        "lease     ftp: 1.225s",
        "stop               0s  nothing but addresses; the lease gate silences addresses",
        "on a node without the lease gate: lease 2.553s, takeover at most 2.678s",
        "safety    safe as configured, while all voters hear each other",
    ] {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
    let quorum = &outcome.json()["configurations"][0]["summary"]["quorum"];
    assert_eq!(quorum["safe"], true, "{quorum}");
    outcome.gate = check::Tried::Missing("cannot load it: not permitted".into());
    let text = outcome.text(false);
    for line in [
        "lease     ftp: 2.553s",
        "stop             1.3s  no lease gate: 1.3s until the kernel drops an address",
        "gate      not on this machine: cannot load it: not permitted",
        "safety    safe as configured",
    ] {
        assert!(text.contains(line), "`{line}` is missing:\n{text}");
    }
}

#[test]
fn a_takeover_that_takes_too_long_is_refused_with_what_takes_long() {
    let service = format!("{ADDRESS}, {{ service = \"vsftpd\" }}");
    let limit = "takeover_max = \"5s\"";
    let (_dir, loaded) = Dir::toml(&three(&service, limit));
    let found = find(&loaded, "longer than 5s");
    assert!(loaded.config.is_none() && found.is_error());
    assert!(found.message.contains("most of it: stop 1m (vsftpd 1m"), "{}", found.message);
    assert!(found.cure.contains("stop_timeout"), "{}", found.cure);
    let (_dir, loaded) = Dir::toml(&three(ADDRESS, limit));
    assert_eq!(said(&loaded), "");
    let (_dir, loaded) = Dir::toml(&three(ADDRESS, "takeover_max = \"2s\""));
    let found = find(&loaded, "without the lease gate a takeover takes up to 2.678s");
    assert!(loaded.config.is_some() && !found.is_error());
    let (_dir, loaded) = Dir::toml(&three(ADDRESS, "takeover_max = \"soon\""));
    assert!(find(&loaded, "is not a time").is_error());
    let (_dir, loaded) =
        Dir::toml(&TOML.replace("\"assume-dead\"", "\"assume-dead\"\ntakeover_max = \"1s\""));
    assert!(find(&loaded, "most of it: dead 1s").cure.contains("[timing] dead"));
}
