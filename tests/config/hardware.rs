//! Relays, watchdog chips, the panel, health.
use super::*;
use latido::config::{DeviceKind, Health, Method, Panel, Relay};

const RELAY: &str = "
[[fence]]
node = \"pi\"
gpio = \"!gpiochip0:RELAY\"
sense = \"gpiochip0:27\"
settle = \"500ms\"
[[fence]]
node = \"debian\"
gpio = \"17\"
pulse = \"3s\"
[watchdog]
gpio = \"WDI\"
enable = \"!WDEN\"
timeout = \"2s\"
[panel]
owner = \"gpiochip0:5\"
button = \"!6\"
[health]
temperature = 80
disk_errors = false
writable = [\"/\", \"/srv\"]
lasts = \"5s\"
";

fn fencing(tables: &str) -> (Dir, Loaded) {
    Dir::toml(&format!("{}{tables}", TOML.replace("\"assume-dead\"", "\"fencing\"")))
}

#[test]
fn pins_and_thresholds_are_read_and_written_back() {
    let (_dir, loaded) = fencing(RELAY);
    let config = good(&loaded);
    let relay = |index: usize| match &config.fencing.devices[index].kind {
        DeviceKind::Gpio(relay) => relay.clone(),
        other => panic!("{other:?}"),
    };
    let held = Relay {
        pin: "!gpiochip0:RELAY".into(),
        pulse: None,
        sense: Some("gpiochip0:27".into()),
        settle: Duration::from_millis(500),
    };
    assert_eq!(relay(0), held);
    assert_eq!(relay(1).pulse, Some(Duration::from_secs(3)));
    let methods: Vec<Method> = config.fencing.devices.iter().map(|one| one.method).collect();
    assert_eq!(methods, [Method::Off, Method::Reset], "a pulse is off and on in one");
    let watchdog = config.watchdog.clone().expect("a chip");
    assert_eq!(watchdog.gpio.as_deref(), Some("WDI"));
    let panel =
        Panel { owner: Some("gpiochip0:5".into()), button: Some("!6".into()), ..Panel::default() };
    assert_eq!(config.panel, panel);
    let health = Health {
        temperature: Some(80),
        disk_errors: None,
        writable: vec!["/".into(), "/srv".into()],
        lasts: Duration::from_secs(5),
        ..Health::default()
    };
    assert_eq!(config.health, Some(health));
    assert!(said(&loaded).contains("counts as the proof"), "without a sense: {}", said(&loaded));
    let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
    let again = good(&again);
    assert_eq!(again.fencing, config.fencing);
    assert_eq!(again.watchdog, config.watchdog);
    assert_eq!((&again.panel, &again.health), (&config.panel, &config.health));
}

#[test]
fn what_cannot_work_is_named() {
    let relay = "[[fence]]\nnodes = [\"pi\", \"debian\"]\ngpio = \"17\"\n";
    for (tables, message) in [
        (format!("{relay}pulse = \"500ms\"\n"), "ends before the power is gone"),
        (format!("{relay}timeout = \"900ms\"\n"), "ends before the relay has done its work"),
        (format!("{relay}method = \"reset\"\n"), "`method` means nothing for a relay"),
        (relay.replace("\"17\"", "\"a pin\""), "`a pin` is no pin"),
        (
            relay.replace("gpio = \"17\"", "command = [\"/p\"]\nsense = \"17\""),
            "`sense` means nothing for a device that is no relay",
        ),
        (format!("{relay}[watchdog]\ngpio = \"4\"\n"), "nothing says when this chip bites"),
        (
            format!("{relay}[watchdog]\ngpio = \"4\"\ntimeout = \"2s\"\ndevice = \"/dev/x\"\n"),
            "`device` means nothing for a chip on a pin",
        ),
        (format!("{relay}[watchdog]\nenable = \"4\"\n"), "`enable` belongs to a chip"),
        (format!("{relay}[panel]\nlamp = \"4\"\n"), "no key `lamp`"),
        (format!("{relay}[health]\ntemperature = 20\n"), "out of range"),
        (format!("{relay}[health]\nwritable = [\"srv\"]\n"), "`srv` is not a full path"),
        (format!("{relay}[health]\nlasts = \"10ms\"\n"), "`lasts` cannot be kept"),
    ] {
        let (_dir, loaded) = fencing(&tables);
        assert!(loaded.config.is_none(), "{tables}");
        assert!(said(&loaded).contains(message), "{tables}: {}", said(&loaded));
    }
}

#[test]
fn a_heartbeat_wire_is_a_pair_of_pins_of_a_pair() {
    let wire = "[[link]]\ngpio = \"gpiochip0:5\"\nwatch = \"!6\"\n";
    let (_dir, loaded) = Dir::toml(&format!("{TOML}\n{wire}"));
    let config = good(&loaded);
    assert_eq!(config.links.len(), 2, "it carries no frames");
    assert_eq!(
        (config.wires[0].drive.as_str(), config.wires[0].watch.as_str()),
        ("gpiochip0:5", "!6")
    );
    let (_dir, again) = Dir::toml(&to_toml(config).replace("/etc/latido/keys", "keys"));
    assert_eq!(good(&again).wires, config.wires);
    for (tables, message) in [
        (wire.replace("watch = \"!6\"\n", ""), "a pair of pins"),
        (format!("{wire}baud = 9600\n"), "`baud` means nothing for a gpio link"),
    ] {
        let (_dir, loaded) = Dir::toml(&format!("{TOML}\n{tables}"));
        assert!(loaded.config.is_none() && said(&loaded).contains(message), "{}", said(&loaded));
    }
    let (_dir, loaded) = fencing(&format!("{RELAY}{wire}"));
    assert!(said(&loaded).contains("carries no votes"), "{}", said(&loaded));
}
