//! What `latido check` says of serial lines.
use crate::world;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Checks a cluster of these nodes with this `[[link]]`: exit code and all that was said.
fn check(nodes: &[&str], dead: &str, link: &str) -> (i32, String) {
    let number = std::process::id();
    let name: String = link.chars().filter(char::is_ascii_alphanumeric).collect();
    let dir = std::env::temp_dir().join(format!("latido-check-{number}-{name}-{dead}"));
    fs::create_dir_all(&dir).unwrap();
    let rule = if nodes.len() > 2 { "majority" } else { "assume-dead" };
    let text = format!(
        "[cluster]\nname = \"wired\"\nnodes = {nodes:?}\n\
         [timing]\ninterval = \"100ms\"\ndead = \"{dead}\"\nwarn = \"300ms\"\n\
         initial_dead = \"30s\"\n[quorum]\nrule = \"{rule}\"\n[keys]\nfile = \"keys\"\n\
         [[link]]\nserial = \"/dev/ttyS77\"\n{link}\n\
         [[link]]\nudp = \"broadcast\"\ninterface = \"eth0\"\n\
         [[group]]\nname = \"web\"\nprefer = {nodes:?}\n\
         resources = [{{ address = \"192.168.7.9/24\" }}]\n"
    );
    fs::write(dir.join("latido.toml"), text).unwrap();
    fs::write(dir.join("keys"), format!("use 1\n1 {}\n", "5a".repeat(32))).unwrap();
    fs::set_permissions(dir.join("keys"), fs::Permissions::from_mode(0o600)).unwrap();
    let file = dir.join("latido.toml").display().to_string();
    let (code, out, err) = world::run(&["check", "--config", &file]);
    fs::remove_dir_all(&dir).unwrap();
    // Long sentences are broken at the edge of the screen.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    (code, words(&format!("{out} {err}")))
}

#[test]
fn a_bus_says_how_often_everybody_has_a_turn() {
    let nodes = ["pi", "laptop", "shed"];
    let (code, said) = check(&nodes, "2s", "baud = 115200\nmode = \"rs485\"");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("RS-485: 3 nodes, each has its turn at least once in 1"), "{said}");
    assert!(said.contains("one heartbeat in 2"), "{said}");
}

#[test]
fn a_bus_that_cannot_work_is_refused_with_the_cure() {
    let nodes = ["pi", "laptop", "shed"];
    let (code, said) = check(&nodes, "2s", "baud = 9600\nmode = \"rs485\"");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("must be longer than four of them"), "{said}");
    assert!(
        said.contains("a higher speed on all nodes, a shorter `slot`, or dead above"),
        "{said}"
    );
    let (code, said) = check(&nodes, "4s", "baud = 9600\nmode = \"rs485\"\nslot = \"10ms\"");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_slow_cable_says_what_it_carries() {
    let (code, said) = check(&["pi", "laptop"], "2s", "baud = 9600");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("9600 baud are too slow for a heartbeat every 100ms"), "{said}");
    assert!(said.contains("(9600 baud; a frame of 1"), "{said}");
    assert!(said.contains("one heartbeat in 2: every 200ms"), "{said}");
    let (_, said) = check(&["pi", "laptop"], "400ms", "baud = 9600");
    assert!(said.contains("or this line alone cannot keep the nodes together"), "{said}");
}

#[test]
fn what_is_written_wrong_is_named() {
    let pair = ["pi", "laptop"];
    for (link, says) in [
        ("flow = \"xonxoff\"", "`flow` is not \"xonxoff\""),
        ("mode = \"rs458\"", "did you mean"),
        ("slot = \"5ms\"", "`slot` means nothing for a RS-232 link"),
        ("mode = \"rs485\"\nflow = \"rtscts\"", "`flow` means nothing for a RS-485 link"),
        ("mode = \"rs485\"\nslot = \"5s\"", "a slot that cannot be kept"),
        ("modem_lines = \"on\"", "`modem_lines` is not \"on\""),
        ("baud = 10", "baud"),
    ] {
        let (code, said) = check(&pair, "2s", link);
        assert!(code == 1 && said.contains(says), "{link}: {said}");
    }
    let (code, said) = check(&pair, "2s", "flow = \"rtscts\"");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a peer that is dead stops our own heartbeats"), "{said}");
}
