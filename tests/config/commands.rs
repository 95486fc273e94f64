//! What `check` and `keygen` do and say.
use super::*;

#[test]
fn check_says_what_a_good_one_means() {
    let dir = Dir::fixture("pi-and-laptop");
    let outcome = check::check(vec![Source::Heartbeat(dir.0.clone())]);
    assert!(!outcome.failed());
    let text = outcome.text(false);
    for expected in [
        "nodes     debian, pi",
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
