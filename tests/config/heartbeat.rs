//! Heartbeat's files, value by value.
use super::*;

/// HA_CF with one more line; the line is number 7.
fn with(line: &str) -> Loaded {
    Dir::heartbeat(Some(&format!("{HA_CF}{line}\n")), None, None).load()
}

fn resources(line: &str) -> Loaded {
    Dir::heartbeat(None, Some(line), None).load()
}

#[test]
fn a_good_one_has_nothing_to_be_said() {
    let loaded = with("");
    good(&loaded);
    assert_eq!(said(&loaded), "");
}

#[test]
fn times() {
    for (value, millis) in [
        ("2", 2_000),
        ("1s", 1_000),
        ("500ms", 500),
        (".5", 500),
        ("500MSEC", 500),
        ("1.5s", 1_500),
    ] {
        let loaded = with(&format!("keepalive {value}"));
        assert_eq!(good(&loaded).timing.interval, Duration::from_millis(millis), "{value}");
    }
    for value in ["x", "0", "-1", "1x", "1..5"] {
        let loaded = with(&format!("keepalive {value}"));
        assert!(loaded.config.is_none(), "{value}");
        assert_eq!(errors(&loaded)[0].line, 7, "{value}");
    }
    let loaded = with("deadtime 30s\ninitdead 2m");
    assert_eq!(good(&loaded).timing.dead, Duration::from_secs(30));
    assert_eq!(good(&loaded).timing.initial_dead, Duration::from_secs(120));
    let loaded = with("deadtime 8 20");
    assert_eq!(good(&loaded).timing.dead, Duration::from_secs(20), "the last counts");
    assert!(find(&loaded, "the last one counts, `20`").line == 7);
}

#[test]
fn defaults_of_initdead() {
    for (dead, initial) in [("5", 12), ("8", 16), ("10", 20), ("11", 11), ("30", 30)] {
        let loaded = with(&format!("deadtime {dead}"));
        assert_eq!(good(&loaded).timing.initial_dead, Duration::from_secs(initial), "{dead}");
    }
}

#[test]
fn relations_of_times() {
    only_error(&with("deadtime 2"), 7, "dead (2s) must be more than two intervals", "5s");
    only_error(&with("initdead 5"), 7, "initial dead (5s) is shorter than dead (10s)", "");
    let loaded = with("warntime 60");
    assert_eq!(good(&loaded).timing.warn, Duration::from_secs(5));
    assert!(find(&loaded, "warntime does not lie between").cure.contains("5s is used"));
}

#[test]
fn wrong_values_are_named_with_the_cure() {
    for (line, message, cure) in [
        ("udpport 99999", "`99999` is no UDP port", "65535"),
        ("udpport 0", "`0` is no UDP port", "694"),
        ("baud fast", "`fast` is no speed", "19200"),
        ("serial ttyS1", "`ttyS1` is not a full path", "/dev/ttyS1"),
        ("bcast eth0:1", "`eth0:1` is no interface", "`eth0`"),
        ("ucast eth0", "ucast has an interface and one peer", "ucast eth0 192"),
        ("ucast eth0 10.0.0.300", "`10.0.0.300` is no peer", "host name"),
        ("ucast6 eth1 fe80::1%eth0", "the scope of `fe80::1%eth0` is not eth1", "%eth1"),
        ("mcast eth0 225.0.0.1 694 1", "mcast has five values", "694 1 0"),
        ("mcast eth0 10.0.0.1 694 1 0", "`10.0.0.1` is no multicast", "225"),
        ("mcast eth0 225.0.0.1 694 1 2", "loop cannot be `2`", "0"),
        ("auto_failback maybe", "auto_failback cannot be `maybe`", "`on` or `off`"),
        ("realtime maybe", "realtime cannot be `maybe`", "`on` or `off`"),
        ("rtprio 100", "`100` is no real-time priority", "99"),
        ("debug x", "`x` is no debug level", "255"),
        ("Keepalive 2", "there is no directive `Keepalive`", "small letters: `keepalive`"),
        ("keepalvie 2", "there is no directive `keepalvie`", "did you mean `keepalive`?"),
        ("apphbd on", "there is no directive `apphbd`", ""),
        ("crm yes", "this is a Pacemaker cluster", "haresources"),
        ("autojoin any", "nodes do not join on their own", "node"),
        ("node n[1-3]", "`n[1-3]` is no node name", "patterns"),
        ("node gamma", "3 nodes: the rule assume-dead works with exactly two", "majority"),
        ("respawn hacluster ipfail", "`ipfail` is not a full path", "/"),
        ("ping_group routers", "ping_group names no address", "router"),
        ("ping 300.0.0.1", "`300.0.0.1` is no address", "host name"),
        ("ping6 192.168.1.1", "192.168.1.1 is no IPv6 address", "`ping`"),
        ("ping 10.1.1.5", "10.1.1.5 tells nothing: 10.1.1.5/24 moves", "router"),
        ("ping 127.0.0.1", "127.0.0.1 tells nothing", "router"),
        ("watchdog watchdog", "`watchdog` is not a full path", "/dev/watchdog"),
    ] {
        only_error(&with(line), 7, message, cure);
    }
}

#[test]
fn what_is_not_done_is_named() {
    for (line, message) in [
        ("hopfudge 1", "hopfudge is not used"),
        ("hopfudge x", "`hopfudge x` is no number"),
        ("deadping 10", "deadping is not used: there are no references"),
        ("respawn hacluster /usr/lib/heartbeat/ipfail", "ipfail without references"),
        ("respawn root /usr/bin/thing", "/usr/bin/thing is not started"),
        ("failfast root /usr/bin/thing", "/usr/bin/thing is not started"),
        ("apiauth ipfail gid=haclient uid=hacluster", "apiauth is not used"),
        ("env STOPRETRYMAX=3", "env is not used"),
        ("use_logd yes", "use_logd is not used"),
        ("compression bz2", "compression is not used"),
        ("cluster mine", "cluster is not used"),
        ("nice_failback on", "nice_failback is obsolete"),
        ("auto_failback legacy", "auto_failback legacy"),
        ("logfacility local9", "there is no syslog facility `local9`"),
        ("logfile ha-log", "`ha-log` is not a full path"),
        ("node alpha", "node alpha is there twice"),
        ("keepalive", "keepalive has no value"),
        ("bcast eth0", "the same link as in line 4"),
        ("baud 9600", "baud counts for the serial lines below it only"),
        ("udpport 700", "udpport counts for the bcast and ucast lines below it only"),
    ] {
        let loaded = with(line);
        good(&loaded);
        assert_eq!(find(&loaded, message).line, 7, "{line}");
    }
    for line in ["use_logd off", "crm off", "autojoin none", "logfacility none"] {
        assert_eq!(said(&with(line)), "", "{line}: it is how it is");
    }
}

#[test]
fn links() {
    let loaded = with(
        "udpport 700\nbaud 9600\nbcast eth1,eth2 eth3\nucast eth1 10.0.0.1\n\
         ucast eth1 10.0.0.2\nucast6 eth1 fe80::2%eth1\nserial /dev/ttyUSB0",
    );
    let names: Vec<_> = good(&loaded).links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "eth0 broadcast",
            "/dev/ttyS0",
            "eth1 broadcast",
            "eth2 broadcast",
            "eth3 broadcast",
            "eth1 unicast",
            "/dev/ttyUSB0"
        ]
    );
    let peers = ["10.0.0.1", "10.0.0.2", "fe80::2"].map(str::to_string).to_vec();
    let unicast = Medium::Unicast { interface: "eth1".into(), port: 700, peers };
    assert_eq!(good(&loaded).links[5].medium, unicast);
    let line = latido::config::Line::default();
    let serial = Medium::Serial { device: "/dev/ttyUSB0".into(), baud: 9_600, line };
    assert_eq!(good(&loaded).links[6].medium, serial);
    let many = with("bcast a1 a2 a3 a4 a5 a6 a7");
    only_error(&many, 7, "9 links: at most 8", "remove");
    let slow = with("keepalive 100ms\ndeadtime 1\nwarntime 500ms\nbaud 9600\nserial /dev/ttyS1");
    assert_eq!(find(&slow, "9600 baud are too slow").line, 11);
    assert!(find(&slow, "9600 baud").message.contains("one in 2"));
}

#[test]
fn links_that_differ_only_in_their_port_have_different_names() {
    let loaded = with("udpport 700\nbcast eth0");
    let names: Vec<_> = good(&loaded).links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["eth0 broadcast port 694", "/dev/ttyS0", "eth0 broadcast port 700"]);
}

#[test]
fn resources_are_read_as_they_stand() {
    for (line, name, expected) in [
        ("alpha 10.1.1.5", "10.1.1.5", vec!["10.1.1.5"]),
        ("ALPHA 10.1.1.5/24/eth0:web", "10.1.1.5", vec!["10.1.1.5/24"]),
        ("alpha IPaddr::10.1.1.5/255.255.0.0/eth0", "10.1.1.5", vec!["10.1.1.5/16"]),
        ("alpha IPv6addr::2001:db8::5/64/eth0", "2001:db8::5", vec!["2001:db8::5/64"]),
        ("alpha 2001:db8::5/64", "2001:db8::5", vec!["2001:db8::5/64"]),
        ("alpha drbddisk::r0 # comment", "drbddisk::r0", vec!["drbddisk::r0"]),
        ("alpha MailTo::root::::down", "MailTo::root::::down", vec!["MailTo::root::down"]),
        ("alpha 10.1.1.5 \\\n  drbddisk::r0\n", "10.1.1.5", vec!["10.1.1.5", "drbddisk::r0"]),
        ("alpha 10.1.\\\n1.5\r\n", "10.1.1.5", vec!["10.1.1.5"]),
    ] {
        let loaded = resources(line);
        let group = &good(&loaded).groups[0];
        assert_eq!(group.name, name, "{line}");
        let names: Vec<_> = group.resources.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, expected, "{line}");
        assert_eq!(said(&loaded), "", "{line}");
    }
    let loaded =
        resources("beta IPaddr2::10.1.1.5/24/eth0:0/10.1.1.127\n\nalpha 10.1.2.5/24/10.1.2.9\n");
    let config = good(&loaded);
    assert_eq!(config.groups[0].prefer, [1, 0]);
    assert_eq!(config.groups[1].prefer, [0, 1]);
    let broadcast = |group: usize| match &config.groups[group].resources[0].kind {
        Kind::Address(address) => address.broadcast,
        _ => None,
    };
    assert_eq!(broadcast(0), Some(IpAddr::from([10, 1, 1, 127])));
    assert_eq!(broadcast(1), Some(IpAddr::from([10, 1, 2, 9])));
}

#[test]
fn wrong_resources() {
    for (line, message, cure) in [
        ("gamma 10.1.1.5", "there is no node `gamma`", "alpha, beta"),
        ("alhpa 10.1.1.5", "there is no node `alhpa`", "did you mean `alpha`?"),
        ("alpha 10.1.1.500", "`10.1.1.500` is no address", "192.168.0.20"),
        ("alpha 10.1.1.5/33", "`33` is no prefix length", "1 to 32"),
        ("alpha 10.1.1.0/24", "10.1.1.0 is the address of the network itself", ""),
        ("alpha 127.0.0.1", "loopback", ""),
        ("alpha IPaddr", "IPaddr has no address", "IPaddr::"),
        (
            "alpha 10.1.1.5/24/eth0/apache2",
            "`apache2` is no broadcast",
            "`alpha 10.1.1.5/24/eth0 apache2`",
        ),
        ("alpha 10.1.1.5/apache2", "`apache2` is no prefix length", "`alpha 10.1.1.5 apache2`"),
        ("alpha Fliesystem::/dev/sda1::/data", "there is no agent `Fliesystem`", "`Filesystem`"),
        ("alpha 10.1.1.5 drbddisk::r0 \\ ", "only as its very last character", "blanks"),
        ("alpha 10.1.1.5/24/sixteen-bytes-xx", "is no interface", "15 bytes"),
        ("alpha 10.1.1.5/24/eth0:a-long-label-xx", "is longer than 15 bytes", "shorten"),
        ("alpha IPv6addr::2001:db8::5/64/eth0:0", "an IPv6 address has no label", "remove"),
        ("alpha 10.1.1.5 drbddisk::r0 drbddisk::r0", "in this group twice", "once"),
    ] {
        only_error(&resources(line), 1, message, cure);
    }
    only_error(
        &resources("alpha drbddisk::r0\nbeta drbddisk::r0"),
        2,
        "group drbddisk::r0 is in line 1 already",
        "join",
    );
    only_error(
        &resources("alpha drbddisk::r0 10.1.1.5\nbeta drbddisk::r1 10.1.1.5/24"),
        2,
        "10.1.1.5/24 belongs to group drbddisk::r0 already (line 1)",
        "one group",
    );
}

#[test]
fn scripts_beside_the_configuration_are_found() {
    let dir = Dir::heartbeat(None, Some("alpha 10.1.1.5 pingcheck MyAgent::x"), None);
    assert_eq!(find(&dir.load(), "the service `pingcheck` is not on this machine").line, 1);
    assert_eq!(find(&dir.load(), "the script `MyAgent` is not on this machine").column, 26);
    fs::create_dir(dir.0.join("resource.d")).unwrap();
    dir.write("resource.d/pingcheck", "");
    dir.write("resource.d/MyAgent", "");
    assert_eq!(said(&dir.load()), "");
}

#[test]
fn authkeys() {
    let keys = |text: &[u8]| {
        let dir = Dir::heartbeat(None, None, None);
        dir.write("authkeys", text);
        dir.load()
    };
    let secret = "a-secret-of-some-length";
    for (text, line, message, cure) in [
        (format!("1 sha1 {secret}"), 0, "no line says which key sends", "auth 1"),
        (format!("auth 2\n1 sha1 {secret}"), 1, "key 2 is to be used, but is not in", "2 sha1"),
        (format!("auth 16\n1 sha1 {secret}"), 1, "`auth` needs the number", "auth 1"),
        (format!("auth 1\n1 sha256 {secret}"), 2, "there is no method `sha256`", "sha1"),
        // The method forgotten, the number too, or typed without a blank between.
        (format!("auth 1\n1 {secret}"), 2, "there is no method `********`", "sha1"),
        (format!("auth 1\n1-{secret} sha1"), 2, "`********` is no key number", "SECRET"),
        (format!("auth 1\n{secret}"), 2, "`auth` needs the number", "auth 1"),
        ("auth 1\n1 sha1".to_string(), 2, "sha1 needs a secret", "SECRET"),
        (format!("auth 1\n1 crc {secret}"), 2, "crc uses no secret", "sha1"),
        (format!("auth 1\n1 md5 {secret}\n1 sha1 {secret}"), 3, "is in line 2 already", ""),
    ] {
        let loaded = keys(text.as_bytes());
        let found = find(&loaded, message);
        assert!(loaded.config.is_none(), "{text}");
        assert_eq!((found.line, found.severity), (line, Severity::Error), "{text}");
        assert!(found.cure.contains(cure), "{}", said(&loaded));
        assert!(!said(&loaded).contains(secret), "{}", said(&loaded));
    }
    // The order does not matter, and all are accepted.
    let loaded =
        keys(format!("2 md5 other-{secret}\n# auth 3\n1 sha1 {secret}\nauth 1\n").as_bytes());
    let config = good(&loaded);
    let ids: Vec<u8> = config.keys.keys.iter().map(|key| key.0).collect();
    assert_eq!((config.keys.active, ids), (1, vec![2, 1]));
    let key = derive(secret.as_bytes(), "heartbeat:alpha,beta");
    assert_eq!(config.keys.keys[1].1, key);
    // Bytes are bytes, in any encoding.
    let loaded = keys(b"auth 1\n1 sha1 clave-m\xe1s-secreta-que-otras\n");
    let key = derive(b"clave-m\xe1s-secreta-que-otras", "heartbeat:alpha,beta");
    assert_eq!(good(&loaded).keys.keys[0].1, key);
    assert_eq!(find(&loaded, "letters outside ASCII").line, 2);
    // What would let anybody in is not accepted beside a secret.
    let loaded = keys(format!("auth 1\n1 sha1 {secret}\n2 crc\n").as_bytes());
    assert_eq!(good(&loaded).keys.keys.len(), 1);
    assert_eq!(find(&loaded, "key 2 (crc) is not accepted").line, 3);
    let loaded = keys(format!("auth 1\n1 sha1 {secret} and more\n").as_bytes());
    assert_eq!(find(&loaded, "ends at the first blank").line, 2);
}

#[test]
fn authkeys_that_others_may_read() {
    let dir = Dir::heartbeat(None, None, None);
    let mode = |mode| {
        fs::set_permissions(dir.0.join("authkeys"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    only_error(
        &dir.load(),
        0,
        "others than its owner may read or change it (mode 0644)",
        "chmod 600",
    );
    mode(0o600);
    good(&dir.load());
    // Nothing is secret about a checksum; a file that others may change is another matter.
    dir.write("authkeys", "auth 1\n1 crc\n");
    mode(0o644);
    good(&dir.load());
    mode(0o666);
    only_error(&dir.load(), 0, "may read or change it (mode 0666)", "chmod 600");
}

#[test]
fn missing_files_are_all_named() {
    let dir = Dir::new();
    only_error(&dir.load(), 0, "there is no such file", "--ha-dir");
    dir.write("ha.cf", HA_CF);
    let loaded = dir.load();
    let files: Vec<_> = errors(&loaded).iter().map(|one| one.file.file_name().unwrap()).collect();
    assert_eq!(files, ["haresources", "authkeys"]);
}

#[test]
fn who_am_i() {
    let dir = Dir::heartbeat(None, None, None);
    let loaded = dir.load();
    let config = good(&loaded);
    assert_eq!(config.local_node(Some("BETA")), Ok(1));
    assert_eq!(config.local_node(Some("alpha.example.org")), Ok(0));
    let error = config.local_node(Some("gamma")).unwrap_err();
    assert!(error.contains("the nodes are alpha, beta"), "{error}");
    dir.write("nodeinfo", "Beta\n");
    assert_eq!(config.local_node(None), Ok(1));
}

#[test]
fn every_directive_is_documented() {
    // The directives of Heartbeat 3.0.6: none is unknown, each is in the documentation.
    let documentation = include_str!("../../docs/from-heartbeat.md");
    for name in "node keepalive deadtime warntime initdead deadping hopfudge udpport bcast ucast mcast \
                 ucast6 mcast6 serial baud ping ping6 ping_group hbaping auto_failback nice_failback \
                 respawn failfast apiauth stonith stonith_host watchdog logfile debugfile \
                 logfacility use_logd conn_logd_time syslogmsgfmt log_badpack debug realtime rtprio \
                 memreserve coredumps coreroot msgfmt compression compression_threshold \
                 traditional_compression max_rexmit_delay hbgenmethod uuidfrom autojoin crm pacemaker \
                 cluster quorum_server env use_apphbd udp"
        .split_whitespace()
    {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented");
        let loaded = with(&format!("{name} x"));
        assert!(!said(&loaded).contains("there is no directive"), "{}", said(&loaded));
        // `x` may be an interface or a host, but nothing else.
        let honoured = match name {
            "bcast" => good(&loaded).links.len() == 3,
            "ping" | "ping6" => good(&loaded).references.hosts == [["x"]],
            _ => false,
        };
        assert!(honoured || !said(&loaded).is_empty(), "{name} x is skipped silently");
    }
    for name in [
        "crm_daemon_dir",
        "crmd_spawns_pengine",
        "record_config_changes",
        "record_pengine_inputs",
        "enable_config_writes",
    ] {
        assert!(find(&with(&format!("{name} x")), "Pacemaker").line == 7, "{name}");
    }
}

#[test]
fn a_speed_too_low_is_the_one_the_daemon_reckons_with() {
    let line = latido::config::Line::default;
    let serial = |baud| Medium::Serial { device: "/dev/ttyS0".into(), baud, line: line() };
    let interval = Duration::from_millis(100);
    assert_eq!(serial(115_200).every(interval), 1);
    assert_eq!(serial(9_600).every(interval), 2);
    assert_eq!(serial(1_200).every(Duration::from_millis(1)), 255, "bounded");
}
