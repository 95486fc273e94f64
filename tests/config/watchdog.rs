//! `[watchdog]`, and Heartbeat's `watchdog`.
use super::*;
use latido::config::Watchdog;
use latido::config::lease::Silencer;

fn watched(table: &str) -> (Dir, Loaded) {
    Dir::toml(&format!("{TOML}\n[watchdog]\n{table}"))
}

#[test]
fn a_table_alone_means_the_first_device_and_is_written_back() {
    for (table, device, timeout, pretimeout) in [
        ("", "/dev/watchdog0", 10, None),
        (
            "device = \"/dev/watchdog1\"\ntimeout = \"15s\"\npretimeout = \"2s\"",
            "/dev/watchdog1",
            15,
            Some(2),
        ),
    ] {
        let (_dir, loaded) = watched(table);
        let config = good(&loaded);
        let expected = Watchdog {
            device: device.into(),
            timeout: Duration::from_secs(timeout),
            pretimeout: pretimeout.map(Duration::from_secs),
            ..Watchdog::default()
        };
        assert_eq!(config.watchdog.as_ref(), Some(&expected));
        let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
        assert_eq!(good(&again).watchdog, config.watchdog);
        // Each node has its own.
        let (_dir, without) = Dir::toml(TOML);
        assert_eq!(differences(config, good(&without)), Vec::<String>::new());
    }
}

#[test]
fn what_would_reset_a_sound_machine_is_refused() {
    for (table, message) in [
        ("timeout = \"500ms\"", "timeout cannot be 500ms"),
        ("timeout = \"2h\"", "timeout cannot be 2h"),
        ("pretimeout = \"10s\"", "the pretimeout (10s) does not lie within"),
        ("device = \"watchdog0\"", "`watchdog0` is not a full path"),
        ("timeuot = \"5s\"", "no key `timeuot`"),
    ] {
        let (_dir, loaded) = watched(table);
        assert!(loaded.config.is_none(), "{table}");
        assert!(said(&loaded).contains(message), "{table}: {}", said(&loaded));
    }
    let slow = TOML
        .replace("interval     = \"100ms\"", "interval = \"5s\"")
        .replace("\"300ms\"", "\"15s\"")
        .replace("dead         = \"1s\"", "dead = \"30s\"");
    let (_dir, loaded) = Dir::toml(&format!("{slow}\n[watchdog]\n"));
    assert!(loaded.config.is_none() && said(&loaded).contains("once in 5s"), "{}", said(&loaded));
    let (_dir, loaded) = Dir::toml(&format!("{slow}\n[watchdog]\ntimeout = \"15s\"\n"));
    assert!(loaded.config.is_some(), "a warning: {}", said(&loaded));
    assert!(said(&loaded).contains("quicker than dead"), "{}", said(&loaded));
}

#[test]
fn a_lease_waits_for_the_watchdog() {
    let toml = TOML
        .replace("rule = \"assume-dead\"", "rule = \"majority\"")
        .replace("[timing]", "[[witness]]\nname = \"w\"\n[timing]");
    let leases = ["", "\n[watchdog]\ntimeout = \"5s\"\n", "\n[watchdog]\ntimeout = \"300s\"\n"]
        .map(|table| {
            let (_dir, loaded) = Dir::toml(&format!("{toml}{table}"));
            let config = good(&loaded).clone();
            let expected = if table.is_empty() { StopFailure::Block } else { StopFailure::Reset };
            assert_eq!(config.stop_failure, expected, "it can reset itself");
            config.lease(&config.groups[0], Silencer::Gate).total
        });
    assert!(leases[2] > Duration::from_secs(300) && leases[2] > leases[1], "{leases:?}");
    let (_dir, loaded) = Dir::toml(
        &format!("{toml}\n[watchdog]\ntimeout = \"300s\"\n")
            .replace("rule = \"majority\"", "rule = \"majority\"\ntakeover_max = \"2m\""),
    );
    assert!(loaded.config.is_none(), "longer than is allowed");
    assert!(said(&loaded).contains("watchdog"), "{}", said(&loaded));
}

#[test]
fn heartbeats_watchdog_has_heartbeats_timeout() {
    for (deadtime, seconds) in [("30", 31), ("2500ms", 3), ("990ms", 1)] {
        let hacf = HA_CF.replace("keepalive 1", "keepalive 100ms").replace(
            "deadtime 10",
            &format!("deadtime {deadtime}\nwarntime 500ms\ninitdead 60\nwatchdog /dev/watchdog"),
        );
        let loaded = Dir::heartbeat(Some(&hacf), None, None).load();
        let watchdog = good(&loaded).watchdog.clone().expect("a watchdog");
        assert_eq!(watchdog.timeout, Duration::from_secs(seconds), "{deadtime}");
        assert_eq!(watchdog.device, Path::new("/dev/watchdog"));
    }
}
