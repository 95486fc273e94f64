//! No input makes a reader panic; what is written is read back.
use super::*;
use proptest::prelude::*;

/// Pieces of real files among random bytes: they reach deeper than noise alone.
fn text(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
        2 => proptest::sample::select(&[" ", "\n", "\t", "::", "/", "#", "\\\n", "\"", ","][..])
            .prop_map(|word| word.as_bytes().to_vec()),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

const HA_WORDS: &[&str] = &[
    "keepalive ",
    "deadtime ",
    "warntime ",
    "initdead ",
    "node alpha beta\n",
    "bcast eth0\n",
    "mcast eth0 225.0.0.1 694 1 0\n",
    "ucast eth0 10.0.0.1\n",
    "ucast6 eth0 fe80::1%eth0\n",
    "serial /dev/ttyS0\n",
    "baud ",
    "udpport ",
    "logfacility ",
    "auto_failback on\n",
    "1s",
    "2",
    "99999999999999999999",
    "ping ",
    "ping 10.0.0.9\n",
    "ping_group x 10.0.0.7 10.0.0.8\n",
    "deadping 3\n",
    "respawn root /x/ipfail\n",
    "respawn ",
    "é",
    "stonith_host * ",
    "hopfudge x\n",
];
const RESOURCE_WORDS: &[&str] = &[
    "alpha ",
    "beta ",
    "IPaddr::",
    "IPaddr2::10.0.0.5/24/eth0:0",
    "10.0.0.6",
    "/24",
    "/eth0",
    "Filesystem::/dev/x::/y",
    "apache2",
    "IPadrrs::",
    "IPv6addr::2001:db8::1/64",
    "é",
    "-",
    ":",
];
const KEY_WORDS: &[&str] = &[
    "auth 1\n",
    "1 sha1 ",
    "2 md5 ",
    "3 crc\n",
    "use 1\n",
    "1 ",
    "secret",
    "é",
    "0123456789abcdef",
];
const TOML_WORDS: &[&str] = &[
    "[cluster]\n",
    "name = \"a\"\n",
    "nodes = [\"a\", \"b\"]\n",
    "[timing]\n",
    "interval = \"1s\"\n",
    "dead = 3\n",
    "[[link]]\n",
    "ethernet = \"eth1\"\n",
    "vlan = ",
    "peers = [\"02:00:00:00:00:01\"]\n",
    "udp = \"broadcast\"\n",
    "interface = \"eth0\"\n",
    "[[group]]\n",
    "resources = [",
    "{ address = \"10.0.0.1/24\" }",
    "]\n",
    "\"",
    "= ",
    "[keys]\n",
    "é",
    "1e999",
];

fn look(loaded: &Loaded) {
    let has_errors = loaded.diagnostics.iter().any(|one| one.severity == Severity::Error);
    assert_eq!(has_errors, loaded.config.is_none(), "{}", said(loaded));
    for one in &loaded.diagnostics {
        one.render(true);
    }
}

/// A good configuration of any shape.
fn config() -> impl Strategy<Value = String> {
    let millis = 1u64..5_000;
    let link = prop_oneof![
        (0..4u8, 1..=65_535u16).prop_map(|(n, port)| format!(
            "udp = \"broadcast\"\ninterface = \"eth{n}\"\nport = {port}"
        )),
        (0..4u8, 0..=255u8, 1..=255u8).prop_map(|(n, last, ttl)| format!(
            "udp = \"multicast\"\ninterface = \"eth{n}\"\ngroup = \"239.1.1.{last}\"\nttl = {ttl}"
        )),
        (0..4u8, 1..200u16).prop_map(|(n, port)| format!(
            "udp = \"unicast\"\ninterface = \"eth{n}\"\nport = {port}\npeers = [\"10.0.0.1\", \"fe80::2\"]"
        )),
        (0..4u8, any::<bool>(), 1..=4094u16, 0x88B5..=0x88B7u16).prop_map(
            |(n, tagged, vlan, kind)| {
                let tag = if tagged { format!("vlan = {vlan}\n") } else { String::new() };
                let to = format!("peers = [\"02:00:00:00:00:0{n}\", \"02-AB-cd-00-00-1{n}\"]\n");
                let to = if vlan % 2 == 0 { to } else { String::new() };
                format!("ethernet = \"eth{n}\"\n{tag}{to}ethertype = {kind:#x}")
            }
        ),
        (0..4u8, 50..4_000_000u32)
            .prop_map(|(n, baud)| format!("serial = \"/dev/ttyS{n}\"\nbaud = {baud}")),
    ];
    let name = "[a-z\"\\\\é:#]{1,12}";
    let group = (name, any::<bool>(), 1..1_000u32, proptest::option::of(1..100_000u64));
    (
        (millis, 3..20u64, 0..90_000u64),
        proptest::collection::vec(link, 1..5),
        proptest::collection::vec(group, 0..5),
        any::<bool>(),
    )
        .prop_map(|((interval, factor, more), links, groups, block)| {
            let dead = interval * factor;
            let stop_failure = if block { "block" } else { "release" };
            let mut text = format!(
                "[cluster]\nname = \"c\"\nnodes = [\"b\", \"a\"]\n[timing]\n\
                 interval = \"{interval}ms\"\ndead = \"{dead}ms\"\nwarn = \"{}us\"\n\
                 initial_dead = \"{}ms\"\n[quorum]\nrule = \"assume-dead\"\n\
                 stop_failure = \"{stop_failure}\"\n[keys]\nfile = \"keys\"\n",
                (interval + dead) * 500 + 7,
                dead + more
            );
            for link in links {
                text.push_str(&format!("[[link]]\n{link}\n"));
            }
            for (index, (name, manual, number, limit)) in groups.into_iter().enumerate() {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                let failback = if manual { "manual" } else { "auto" };
                let limit =
                    limit.map_or(String::new(), |ms| format!(", start_timeout = \"{ms}ms\""));
                text.push_str(&format!(
                    "[[group]]\nname = \"{index}{name}\"\nfailback = \"{failback}\"\n\
                     resources = [{{ address = \"10.{index}.{}.{}/16\" }}, \
                     {{ script = \"/x/{index}\", args = [\"{name}\"]{limit} }}]\n",
                    number / 250,
                    number % 250 + 1
                ));
            }
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_heartbeat_files_panic(
        hacf in text(HA_WORDS), resources in text(RESOURCE_WORDS), keys in text(KEY_WORDS),
    ) {
        let dir = Dir::heartbeat(None, None, None);
        dir.write("haresources", &resources);
        dir.write("authkeys", &keys);
        look(&dir.load());
        dir.write("ha.cf", &hacf);
        look(&dir.load());
    }

    #[test]
    fn no_latido_files_panic(toml in text(TOML_WORDS), keys in text(KEY_WORDS)) {
        let (dir, loaded) = Dir::toml(TOML);
        good(&loaded);
        dir.write("keys", &keys);
        look(&load(&Source::Latido(dir.0.join("latido.toml"))));
        look(&load(&Source::Latido(dir.write("other.toml", &toml))));
    }

    #[test]
    fn what_is_written_is_read_back(text in config()) {
        let (dir, loaded) = Dir::toml(&text);
        // Random links may be the same twice, which is refused.
        prop_assume!(loaded.config.is_some() || said(&loaded).contains("the same link"));
        if let Some(config) = &loaded.config {
            let written = migrate_with_keys(config, Path::new("keys"));
            let again = load(&Source::Latido(dir.write("again.toml", &written)));
            let mut back = good(&again).clone();
            back.source = config.source.clone();
            prop_assert_eq!(&back, config, "{}", written);
            prop_assert!(to_toml(config).contains("file = \"/etc/latido/keys\""));
        }
    }
}
