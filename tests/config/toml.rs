//! `latido.toml`, value by value.
use super::*;

/// TOML with one thing replaced.
fn changed(from: &str, to: &str) -> Loaded {
    assert!(TOML.contains(from), "{from}");
    Dir::toml(&TOML.replacen(from, to, 1)).1
}

fn line_of(text: &str) -> usize {
    TOML.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn the_documented_one() {
    let (_dir, loaded) = Dir::toml(TOML);
    let config = good(&loaded);
    assert_eq!(said(&loaded), "");
    assert_eq!(config.cluster, "ftp");
    assert_eq!(config.nodes, ["debian", "pi"], "sorted");
    assert_eq!(config.timing.failback_delay, Duration::from_secs(5));
    assert_eq!(config.groups[0].prefer, [1, 0]);
    let timeouts = config.groups[0].resources.iter().map(|one| one.start_timeout.as_secs());
    assert_eq!(timeouts.collect::<Vec<_>>(), [5, 60]);
    assert!(config.keys.authenticated);
    assert_eq!(config.keys.keys[0].1[..4], [0x01, 0x23, 0x45, 0x67]);
}

#[test]
fn wrong_values_are_named_with_the_cure() {
    for (from, to, message, cure) in [
        (
            "interval     = \"100ms\"",
            "intervall = \"100ms\"",
            "[timing] has no key `intervall`",
            "`interval`",
        ),
        ("warn         =", "baud =", "[timing] has no key `baud`", "belongs in [[link]]"),
        ("baud = 115200", "realtime = 5", "[[link]] has no key `realtime`", "top of the file"),
        ("dead         = \"1s\"", "dead = 1", "`dead = 1` is not a time", "\"1s\" or \"1ms\""),
        ("dead         = \"1s\"", "dead = true", "`dead` is true or false", "time"),
        (
            "\"assume-dead\"",
            "\"majority\"",
            "`majority` with two voters never takes over",
            "add a third node",
        ),
        ("\"assume-dead\"", "\"asume-dead\"", "there is no rule", "did you mean `assume-dead`?"),
        ("udp = \"broadcast\"", "udp = \"brodcast\"", "no udp link of kind", "`broadcast`"),
        ("udp = \"broadcast\"", "udp = \"multicast\"", "needs its `group`", "239."),
        ("udp = \"broadcast\"", "udp = \"unicast\"", "needs its peers", "peers"),
        ("udp = \"broadcast\"", "ethernet = \"eth0\"", "`interface` means nothing", "remove"),
        ("udp = \"broadcast\"", "udp = \"broadcast\"\nserial = \"/dev/x\"", "a link is", "two"),
        ("udp = \"broadcast\"", "port = 694", "this link has no kind", "serial"),
        (
            "interface = \"eth0\"\n",
            "interface = \"eth0\"\nport = 99999\n",
            "`port = 99999` is out of range",
            "65535",
        ),
        (
            "interface = \"eth0\"\n",
            "interface = \"eth0\"\nbaud = 9600\n",
            "`baud` means nothing for a udp",
            "remove",
        ),
        ("interface = \"eth0\"\n\n", "\n", "this link names no interface", "eth0"),
        ("serial = \"/dev/ttyUSB0\"", "serial = \"ttyUSB0\"", "not a full path", "/dev/"),
        (
            "\"pi\", \"debian\"]\nfail",
            "\"pi\", \"debain\"]\nfail",
            "there is no node debain",
            "`debian`",
        ),
        ("\"pi\", \"debian\"]\nfail", "\"pi\", \"pi\"]\nfail", "pi is there twice", "once"),
        ("failback = \"auto\"", "failback = \"on\"", "failback cannot be \"on\"", "`auto`"),
        ("192.168.0.20/24", "192.168.0.20/33", "`/33` is no prefix length", "192.168.0.20/24"),
        ("192.168.0.20/24", "192.168.0.0/24", "is the address of the network", "192.168.0.254"),
        ("192.168.0.20/24", "127.0.0.1/8", "is a loopback address", "clients"),
        ("\"/dev/ttyUSB0\"", "\"/dev\"", "/dev is a directory, not a serial", "/dev/ttyS0"),
        ("\"/dev/ttyUSB0\"", "\"/etc/passwd\"", "is a regular file, not", "/dev/ttyS0"),
        ("192.168.0.20/24", "192.168.0.256/24", "is no address", "192.168.0.20/24"),
        ("{ service = \"vsftpd\" }", "{ sevice = \"vsftpd\" }", "has no key `sevice`", "`service`"),
        (
            "{ service = \"vsftpd\" }",
            "{ script = \"vsftpd\" }",
            "is not a full path",
            "script_dirs",
        ),
        (
            "{ service = \"vsftpd\" }",
            "{ service = \"a\", args = [\"b\"] }",
            "`args` means nothing",
            "remove",
        ),
        (
            "{ service = \"vsftpd\" }",
            "{ service = \"a\", start_timeout = \"0s\" }",
            "cannot be kept",
            "1ms",
        ),
        (
            "{ service = \"vsftpd\" }",
            "{ service = \"a\", script = \"/b\" }",
            "service and script at once",
            "each",
        ),
        ("nodes = [\"pi\", \"debian\"]", "nodes = [\"pi\", 3]", "`nodes` is a number", "texts"),
        ("file = \"keys\"", "file = \"key\"", "there is no such file", "keygen"),
        ("[keys]\nfile = \"keys\"", "", "[keys] is missing", "keygen"),
        ("[quorum]\nrule = \"assume-dead\"", "", "nothing says who may own", "assume-dead"),
        ("[[group]]", "[group]", "`group` is a table", "[[group]]"),
    ] {
        let loaded = changed(from, to);
        let found = find(&loaded, message);
        assert_eq!(found.severity, Severity::Error, "{to}");
        assert!(found.cure.contains(cure), "wanted `{cure}`:\n{}", said(&loaded));
        assert!(loaded.config.is_none(), "{to}");
    }
}

#[test]
fn places() {
    let loaded = changed("dead         = \"1s\"", "dead         = \"1x\"");
    let found = find(&loaded, "is not a time");
    assert_eq!((found.line, found.column, found.length), (line_of("dead "), 16, 4));
    assert_eq!(found.source, "dead         = \"1x\"");
}

#[test]
fn everything_is_said_at_once() {
    let text = TOML
        .replace("interval  ", "intervall ")
        .replace("assume-dead", "fensing")
        .replace("115200", "\"fast\"")
        .replace("auto", "always");
    let (_dir, loaded) = Dir::toml(&text);
    let lines: Vec<usize> = errors(&loaded).iter().map(|one| one.line).collect();
    let expected = ["interval ", "rule = ", "baud = ", "failback = "].map(line_of);
    assert_eq!(lines, expected, "{}", said(&loaded));
}

#[test]
fn syntax_errors_have_a_place() {
    let loaded = changed("name  = \"ftp\"", "name  = ftp");
    let found = errors(&loaded)[0];
    assert!(found.message.starts_with("this is not TOML"), "{found:?}");
    assert_eq!(found.line, 2);
}

#[test]
fn relations() {
    for (from, to, message) in [
        ("dead         = \"1s\"", "dead = \"200ms\"", "more than two intervals"),
        ("\"300ms\"", "\"100ms\"", "must lie between interval (100ms) and dead (1s)"),
        ("\"30s\"", "\"500ms\"", "initial dead (500ms) is shorter than dead (1s)"),
        ("\"pi\", \"debian\"]\n\n", "\"pi\"]\n\n", "one node is no cluster"),
        ("\"debian\"]\n\n", "\"debian\", \"c\"]\n\n", "exactly two"),
    ] {
        let loaded = changed(from, to);
        assert!(loaded.config.is_none(), "{to}");
        find(&loaded, message);
    }
    let loaded = changed("dead         = \"1s\"", "dead = \"400ms\"");
    assert_eq!(find(&loaded, "only 4.0 intervals: 3 lost heartbeats").severity, Severity::Warning);
    good(&loaded);
}

#[test]
fn a_single_path_is_a_warning() {
    let loaded = changed("[[link]]\nserial = \"/dev/ttyUSB0\"\nbaud = 115200\n", "");
    good(&loaded);
    assert_eq!(find(&loaded, "a single path: everything goes over eth0").line, line_of("[[link]]"));
}

#[test]
fn choices() {
    let loaded = changed("[quorum]", "[quorum]\nstop_failure = \"block\"");
    assert_eq!(good(&loaded).stop_failure, StopFailure::Block);
    let loaded = Dir::toml(&format!("realtime = false\n{TOML}")).1;
    assert_eq!(good(&loaded).realtime, None);
    let loaded = Dir::toml(&format!("realtime = 50\n{TOML}")).1;
    assert_eq!(good(&loaded).realtime, Some(50));
    let loaded = changed("file = \"keys\"", "authenticated = false");
    assert!(!good(&loaded).keys.authenticated);
    find(&loaded, "unauthenticated");
    let loaded = changed("prefer = [\"pi\", \"debian\"]\n", "");
    assert_eq!(good(&loaded).groups[0].prefer, [1, 0], "the order of the nodes");
    let log = "[log]\nfile = \"/var/log/latido\"\nsyslog = \"localo\"\n";
    let loaded = Dir::toml(&format!("{TOML}{log}")).1;
    assert!(find(&loaded, "no syslog facility localo").cure.contains("`local0`"));
}

#[test]
fn key_files_are_private() {
    let (dir, loaded) = Dir::toml(TOML);
    good(&loaded);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(dir.0.join("keys"), fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load(&Source::Latido(dir.0.join("latido.toml")));
        only_error(&loaded, 0, "others than its owner may read or change it", "chmod 600");
    }
}

#[test]
fn digests_see_what_is_cluster_wide() {
    let (_dir, loaded) = Dir::toml(TOML);
    let config = good(&loaded);
    for (from, to, same) in [
        ("\"eth0\"\n\n", "\"eth7\"\n\n", true),
        ("/dev/ttyUSB0", "/dev/ttyS0", true),
        ("\"300ms\"", "\"400ms\"", false),
        ("vsftpd", "proftpd", false),
        ("192.168.0.20/24", "192.168.0.20/25", false),
        ("\"auto\"", "\"manual\"", false),
        ("[\"pi\", \"debian\"]\nfail", "[\"debian\", \"pi\"]\nfail", false),
    ] {
        let loaded = changed(from, to);
        let other = good(&loaded);
        assert_eq!(config.digest() == other.digest(), same, "{to}");
        assert_eq!(differences(config, other).is_empty(), same, "{to}");
        assert_eq!(config.voters_digest(), other.voters_digest(), "{to}");
    }
    let loaded = changed("name  = \"ftp\"", "name  = \"www\"");
    assert_ne!(config.cluster_tag(), good(&loaded).cluster_tag());
}

#[test]
fn the_example_in_the_documentation_is_good() {
    let text = include_str!("../../docs/configuration.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.unwrap().replace("/etc/latido/keys", "keys");
    let (_dir, documented) = Dir::toml(&example);
    assert_eq!(said(&documented), "");
    let (_other, tested) = Dir::toml(TOML);
    assert_eq!(good(&documented).digest(), good(&tested).digest());
}

#[test]
fn a_link_that_cannot_be_read_is_not_missing() {
    let text = TOML.replace("[[link]]\nserial = \"/dev/ttyUSB0\"\nbaud = 115200\n", "");
    let (_dir, loaded) = Dir::toml(&text.replace("udp = ", "upd = "));
    assert!(!said(&loaded).contains("no links"), "{}", said(&loaded));
    assert!(!said(&loaded).contains("single path"), "{}", said(&loaded));
    find(&loaded, "has no key `upd`");
    let (_dir, loaded) = Dir::toml(
        &text.replace("[[link]]", "").replace("udp = \"broadcast\"\ninterface = \"eth0\"\n", ""),
    );
    find(&loaded, "no links");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let (dir, loaded) = Dir::toml(&format!("\u{feff}{TOML}"));
    assert_eq!(said(&loaded), "");
    good(&loaded);
    let keys = fs::read_to_string(dir.0.join("keys")).unwrap();
    dir.write("keys", format!("\u{feff}{keys}"));
    good(&load(&Source::Latido(dir.0.join("latido.toml"))));
    let dir = Dir::heartbeat(None, None, None);
    for name in ["ha.cf", "haresources", "authkeys"] {
        let text = fs::read_to_string(dir.0.join(name)).unwrap();
        dir.write(name, format!("\u{feff}{text}"));
    }
    let loaded = dir.load();
    good(&loaded);
    assert_eq!(said(&loaded), "");
}

#[test]
fn a_log_without_its_directory_is_a_warning() {
    let (_dir, loaded) = Dir::toml(&format!("{TOML}\n[log]\nfile = \"/no-such-dir/log\"\n"));
    good(&loaded);
    let found = find(&loaded, "there is no directory /no-such-dir");
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.cure.contains("mkdir -p /no-such-dir"), "{found}");
}

/// The documented one with this instead of its first link.
fn with_link(lines: &str) -> Loaded {
    changed("udp = \"broadcast\"\ninterface = \"eth0\"", lines)
}

#[test]
fn raw_ethernet_links() {
    let link = |lines| good(&with_link(lines)).links[0].clone();
    let plain = link("ethernet = \"eth1\"");
    assert_eq!(plain.name, "eth1 ethernet");
    let interface = || "eth1".to_owned();
    let medium = |vlan, peers: &[&str], ethertype| {
        let peers = peers.iter().map(|peer| peer.parse().expect("an address")).collect();
        Medium::Ethernet { interface: interface(), vlan, peers, ethertype }
    };
    assert_eq!(plain.medium, medium(None, &[], 0x88B5));
    let full = link(
        "ethernet = \"eth1\"\nvlan = 42\nethertype = 0x88b6\n\
         peers = [\"52-54-00-AA-00-01\", \"52:54:00:aa:00:02\"]",
    );
    assert_eq!(full.name, "eth1 ethernet vlan 42");
    let peers = ["52:54:00:aa:00:01", "52:54:00:aa:00:02"];
    assert_eq!(full.medium, medium(Some(42), &peers, 0x88B6));
}

#[test]
fn wrong_raw_ethernet_links_are_named_with_the_cure() {
    for (lines, message, cure) in [
        ("vlan = 0", "`vlan = 0` is out of range", "from 1 to 4094"),
        ("vlan = 4095", "`vlan = 4095` is out of range", "from 1 to 4094"),
        ("vlan = \"42\"", "`vlan` is a text", "a number from 1 to 4094"),
        ("ethertype = 1500", "`ethertype = 1500` is out of range", "from 1536"),
        ("ethertype = 0x0800", "EtherType 0x0800 is that of IPv4", "0x88b5"),
        ("ethertype = 0x8100", "EtherType 0x8100 is that of VLAN tags", "0x88b5"),
        ("peers = []", "no peers", "remove `peers` for broadcast"),
        ("peers = [\"10.0.0.1\"]", "`10.0.0.1` is no Ethernet address", "`ip link` shows"),
        ("peers = [\"ff:ff:ff:ff:ff:ff\"]", "is no Ethernet address", "without `peers`"),
        (
            "peers = [\"52:54:00:aa:00:01\", \"52-54-00-AA-00-01\"]",
            "52:54:00:aa:00:01 is there twice",
            "once",
        ),
        ("port = 694", "`port` means nothing for a raw Ethernet link", "remove"),
        ("vlam = 42", "[[link]] has no key `vlam`", "did you mean `vlan`?"),
        ("udp = \"broadcast\"", "a link is either", "two links"),
        ("[[link]]\nethernet = \"eth1\"", "the same link as in line", "remove one"),
        ("[[link]]\nethernet = \"eth1\"\nethertype = 0x88b5", "the same link as in", "remove"),
    ] {
        let loaded = with_link(&format!("ethernet = \"eth1\"\n{lines}"));
        let found = find(&loaded, message);
        assert_eq!(found.severity, Severity::Error, "{lines}");
        assert!(found.cure.contains(cure), "wanted `{cure}`:\n{}", said(&loaded));
    }
    for (lines, message) in [
        ("ethernet = \"eth1:0\"", "`eth1:0` is no interface"),
        ("ethernet = 1", "`ethernet` is a number"),
        ("udp = \"broadcast\"\ninterface = \"eth0\"\nvlan = 42", "`vlan` means nothing for a udp"),
        ("serial = \"/dev/ttyS8\"\nethertype = 0x88b5", "`ethertype` means nothing for a serial"),
    ] {
        let loaded = with_link(lines);
        assert_eq!(find(&loaded, message).severity, Severity::Error, "{lines}");
    }
}

#[test]
fn raw_ethernet_links_of_one_interface_are_told_apart() {
    let text = "ethernet = \"eth1\"\n[[link]]\nethernet = \"eth1\"\nvlan = 42\n[[link]]\n\
                ethernet = \"eth1\"\nvlan = 42\nethertype = 0x88b6";
    let loaded = with_link(text);
    let names: Vec<&str> = good(&loaded).links.iter().map(|link| link.name.as_str()).collect();
    let vlan = |kind| format!("eth1 ethernet vlan 42 type {kind}");
    let expected =
        ["eth1 ethernet".to_owned(), vlan("0x88b5"), vlan("0x88b6"), "/dev/ttyUSB0".to_owned()];
    assert_eq!(names, expected);
}

#[test]
fn the_same_links_in_another_order_are_a_difference() {
    const ETH0: &str = "[[link]]\nudp = \"broadcast\"\ninterface = \"eth0\"";
    const ETH1: &str = "[[link]]\nudp = \"broadcast\"\ninterface = \"eth1\"";
    const LAN: &str = "[[link]]\nudp = \"broadcast\"\ninterface = \"enp3s0\"";
    const RAW: &str = "[[link]]\nethernet = \"eth1\"";
    const TTY: &str = "[[link]]\nserial = \"/dev/ttyS0\"";
    const USB: &str = "[[link]]\nserial = \"/dev/ttyUSB0\"";
    let start = TOML.find("[[link]]").expect("links");
    let end = TOML.find("[[group]]").expect("groups");
    let load = |links: &[&str]| {
        let text = format!("{}{}\n{}", &TOML[..start], links.join("\n"), &TOML[end..]);
        Dir::toml(&text).1
    };
    for (one, two, same) in [
        (&[ETH0, TTY][..], &[ETH0, TTY][..], true),
        (&[ETH0, TTY], &[LAN, USB], true),
        (&[ETH0, ETH1], &[LAN, ETH0], true),
        (&[ETH0, RAW, TTY], &[ETH0, RAW], true),
        (&[ETH0, TTY], &[TTY, ETH0], false),
        (&[ETH0, TTY], &[USB, LAN], false),
        (&[ETH0, ETH1], &[ETH1, ETH0], false),
        (&[ETH0, RAW, TTY], &[ETH0, USB, RAW], false),
    ] {
        let (here, there) = (load(one), load(two));
        let (here, there) = (good(&here), good(&there));
        assert_eq!(here.digest(), there.digest(), "links are each node's own");
        let lines = differences(here, there);
        assert_eq!(lines.is_empty(), same, "{one:?} {two:?}: {lines:?}");
        let order = |line: &String| line.contains("the order of the links");
        assert!(lines.iter().all(order), "{lines:?}");
    }
}
