//! The clusters of `tests/fixtures`, as their builders documented them.
use super::*;

fn address(config: &Config) -> &latido::config::Address {
    match &config.groups[0].resources[0].kind {
        Kind::Address(address) => address,
        other => panic!("no address: {other:?}"),
    }
}

fn names(config: &Config) -> Vec<&str> {
    config.groups[0].resources.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn pi_and_laptop() {
    let loaded = Dir::fixture("pi-and-laptop").load();
    let config = good(&loaded);
    assert_eq!(config.cluster, "heartbeat:debian,pi");
    assert_eq!(config.nodes, ["debian", "pi"]);
    assert_eq!(config.timing.interval, Duration::from_secs(2));
    assert_eq!(config.timing.warn, Duration::from_secs(10));
    assert_eq!(config.timing.dead, Duration::from_secs(30));
    assert_eq!(config.timing.initial_dead, Duration::from_secs(120));
    assert_eq!((config.rule, config.stop_failure), (Rule::AssumeDead, StopFailure::Release));
    let media: Vec<&Medium> = config.links.iter().map(|link| &link.medium).collect();
    let interface = || "eth0".to_string();
    assert_eq!(media[0], &Medium::Broadcast { interface: interface(), port: 694 });
    let group = IpAddr::from([225, 0, 0, 1]);
    assert_eq!(media[1], &Medium::Multicast { interface: interface(), port: 694, group, ttl: 1 });
    let peers = vec!["192.168.0.21".to_string()];
    assert_eq!(media[2], &Medium::Unicast { interface: interface(), port: 694, peers });
    assert_eq!(config.log.syslog.as_deref(), Some("local0"));
    assert_eq!(config.realtime, Some(1));
    assert_eq!(config.groups.len(), 1);
    assert_eq!(config.groups[0].name, "192.168.0.20");
    assert_eq!(config.groups[0].failback, Failback::Auto);
    assert_eq!(config.groups[0].prefer, [1, 0], "pi, then debian");
    assert_eq!(names(config), ["192.168.0.20/24", "vsftpd"]);
    assert_eq!(address(config).interface.as_deref(), Some("eth0"));
    assert_eq!(find(&loaded, "a single path").line, 7);
    assert_eq!(find(&loaded, "unauthenticated").line, 2);
    assert!(!config.keys.authenticated);
    assert_eq!(config.keys.keys[0].1, UNAUTHENTICATED_KEY);
}

#[test]
fn pi_and_laptop_mistyped() {
    let loaded = Dir::fixture("pi-and-laptop-mistyped").load();
    assert!(loaded.config.is_none());
    assert_eq!(errors(&loaded).len(), 2, "{}", said(&loaded));
    let agent = find(&loaded, "there is no agent `IPadrrs`");
    assert_eq!((agent.line, agent.column), (1, 4));
    assert!(agent.cure.contains("did you mean `IPaddr`?"));
    let glued = find(&loaded, "`vsftpd` is no broadcast address");
    assert_eq!((glued.line, glued.column, glued.length), (1, 34, 6));
    assert!(glued.cure.contains("blank: `pi IPaddr::192.168.0.20/24/eth0 vsftpd`"));
    let text = glued.render(false);
    assert!(text.contains("haresources:1:34"), "{text}");
    assert!(text.contains("pi IPadrrs::192.168.0.20/24/eth0/vsftpd"), "{text}");
}

#[test]
fn web_mail_dns() {
    let loaded = Dir::fixture("web-mail-dns").load();
    let config = good(&loaded);
    assert_eq!(config.timing.interval, Duration::from_secs(1), "Heartbeat's default");
    assert_eq!(config.timing.warn, Duration::from_secs(5), "half of deadtime");
    assert_eq!(config.timing.initial_dead, Duration::from_secs(20), "twice deadtime");
    let line = latido::config::Line::default();
    let serial = Medium::Serial { device: PathBuf::from("/dev/ttyS0"), baud: 19_200, line };
    assert_eq!(config.links[0].medium, serial);
    assert_eq!(config.links[1].name, "eth1 broadcast");
    assert_eq!(names(config), ["10.0.0.100", "named", "httpd", "sendmail"]);
    assert_eq!((address(config).prefix, &address(config).interface), (None, &None));
    assert_eq!(config.groups[0].failback, Failback::Auto, "what `legacy` comes to");
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/var/log/ha-log")));
    assert_eq!(config.log.debug_file.as_deref(), Some(Path::new("/var/log/ha-debug")));
    assert_eq!(config.log.syslog, None);
    let typo = find(&loaded, "there is no syslog facility `localo`");
    assert_eq!((typo.line, typo.column, typo.cure.as_str()), (3, 13, "did you mean `local0`?"));
    assert!(find(&loaded, "auto_failback is not set").cure.contains("auto_failback on"));
    assert!(!loaded.diagnostics.iter().any(|one| one.message.contains("single path")));
}

#[test]
fn web_two_routers() {
    let dir = Dir::fixture("web-two-routers");
    let loaded = dir.load();
    let config = good(&loaded);
    assert_eq!(config.nodes, ["corman", "rabiuss"]);
    let links: Vec<&str> = config.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(links, ["eth0 broadcast", "eth2 broadcast"]);
    assert_eq!(address(config).interface.as_deref(), Some("eth0"));
    assert_eq!(address(config).label.as_deref(), Some("eth0:0"));
    let disk = &config.groups[0].resources[4];
    assert_eq!(disk.name, "Filesystem::/dev/drbd0::/data::ext3");
    match &disk.kind {
        Kind::Script { script, args, script_dirs } => {
            assert_eq!(script, Path::new("Filesystem"));
            assert_eq!(args, &["/dev/drbd0", "/data", "ext3"]);
            assert_eq!(script_dirs[0], dir.0.join("resource.d"));
            assert_eq!(script_dirs[2], Path::new("/etc/init.d"));
        }
        other => panic!("no script: {other:?}"),
    }
    assert_eq!(config.log.syslog.as_deref(), Some("daemon"), "comments are stripped");
    let key = derive(b"clavesecreta", "heartbeat:corman,rabiuss");
    assert_eq!((config.keys.authenticated, &config.keys.keys), (true, &vec![(1, key)]));
    assert_eq!(config.references.hosts, [["192.168.1.1"]]);
    let seconds = Duration::from_secs;
    assert_eq!((config.references.interval, config.references.dead), (seconds(2), seconds(10)));
    assert_eq!(config.references.settle, Some(seconds(20)), "ipfail");
    assert!(config.probe);
    assert!(find(&loaded, "started before its disk: drbddisk").cure.contains("drbddisk before"));
    assert_eq!(find(&loaded, "a secret of 12 bytes").line, 2);
    assert!(!said(&loaded).contains("clavesecreta"), "a secret is never shown");
}

#[test]
fn web_two_routers_slides() {
    let loaded = Dir::fixture("web-two-routers-slides").load();
    only_error(&loaded, 2, "there is no method `sha`", "did you mean `sha1`?");
    assert_eq!(find(&loaded, "letters outside ASCII").line, 3);
    assert!(!said(&loaded).contains("clave"), "a secret is never shown");
}

#[test]
fn web_two_vms_differ() {
    let (master, slave) = (Dir::fixture("web-two-vms/master"), Dir::fixture("web-two-vms/slave"));
    let (one, two) = (master.load(), slave.load());
    assert_eq!(find(&one, "the same link as in line 5").line, 8);
    assert!(find(&one, "the same link").cure.contains("`udp` is an old word for `bcast`"));
    assert!(find(&one, "only 2.5 intervals").cure.contains("10s or more"));
    let (one, two) = (good(&one), good(&two));
    assert_eq!(one.cluster_tag(), two.cluster_tag());
    assert_eq!(one.voters_digest(), two.voters_digest());
    assert_ne!(one.digest(), two.digest(), "noticed between running nodes");
    let lines = differences(one, two);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("preferred nodes of group 172.23.19.48: "), "{lines:?}");
    assert!(lines[0].contains("`master-cluster, then slave-cluster`"), "{lines:?}");

    let sources = [&master, &slave].map(|dir| Source::Heartbeat(dir.0.clone())).to_vec();
    let outcome = check::check(sources);
    assert!(outcome.failed());
    let text = outcome.text(false);
    assert!(text.contains("the nodes differ in preferred nodes of group 172.23.19.48"), "{text}");
    assert!(text.contains("use the same haresources"), "{text}");
    assert_eq!(outcome.json()["ok"], false);
}

#[test]
fn node_local_lines_may_differ() {
    // The two ha.cf name each other's address; with one haresources that is all right.
    let (master, slave) = (Dir::fixture("web-two-vms/master"), Dir::fixture("web-two-vms/slave"));
    slave.write("haresources", fs::read(master.0.join("haresources")).unwrap());
    let (one, two) = (master.load(), slave.load());
    assert_eq!(good(&one).digest(), good(&two).digest());
    assert_eq!(differences(good(&one), good(&two)), Vec::<String>::new());
}

#[test]
fn every_good_one_survives_migration() {
    for name in ["pi-and-laptop", "web-mail-dns", "web-two-routers", "web-two-vms/slave"] {
        let dir = Dir::fixture(name);
        // Without one, only the usual places would be written.
        fs::create_dir(dir.0.join("resource.d")).unwrap();
        let loaded = dir.load();
        let config = good(&loaded);
        let keys = dir.write("keys", key_file(&config.keys));
        let text = migrate::convert(&dir.0, &loaded, Some(&keys), None).unwrap();
        let path = dir.write("latido.toml", &text);
        let again = load(&Source::Latido(path));
        let mut back = good(&again).clone();
        back.source = config.source.clone();
        assert_eq!(&back, config, "{text}");
        assert_eq!(back.digest(), config.digest());
        let line = "# What to know about the original:";
        assert!(text.contains(line), "{text}");
    }
}
