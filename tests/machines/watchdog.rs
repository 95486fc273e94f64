//! A node whose engine hangs, or whose stop does, is really reset; one that is stopped is not.
use crate::START;
use crate::machine::{Machine, Plan};
use std::time::Duration;

/// Far more than the watchdog's timeout.
const LONG: Duration = Duration::from_secs(60);

const KEYS: &str = "use 1\n1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

const PAIR: &str = r#"
[cluster]
name = "test"
nodes = ["alpha", "beta"]
[timing]
interval = "200ms"
warn = "1s"
dead = "3s"
initial_dead = "3s"
[quorum]
rule = "assume-dead"
[keys]
file = "/etc/latido/keys"
[[link]]
serial = "/dev/ttyS1"
[watchdog]
device = "/dev/watchdog0"
timeout = "4s"
[[group]]
name = "web"
prefer = ["alpha", "beta"]
failback = "manual"
resources = [{ script = "/etc/web" }]
"#;

const SERVICE: &str = r#"#!/bin/sh
case $1 in
    start) touch /tmp/web ;;
    stop) [ -e /tmp/hang ] && { echo "MARK the stop hangs" >/dev/console; sleep 1000; }; rm -f /tmp/web ;;
    status) [ -e /tmp/web ] && echo running || { echo stopped; exit 3; } ;;
esac
"#;

/// Starts the daemon, and waits for longer than the watchdog would.
const UP: &str = r#"
latido run --config /etc/latido/latido.toml >/tmp/log 2>&1 &
running "the group runs"
say running
latido status
sleep 8
say petted
"#;

fn play(hardware: &[&str], drivers: &[&str], config: &str, script: &str) -> Machine {
    let script = format!("{UP}{script}");
    Machine::start(&Plan {
        drivers,
        hardware,
        files: &[
            ("etc/latido/keys", KEYS),
            ("etc/latido/latido.toml", config),
            ("etc/web", SERVICE),
            ("var/lib/latido/voters-test-alpha", "alpha\nbeta\nwitness\n"),
        ],
        script: &script,
    })
}

const HARDWARE: (&[&str], &[&str]) =
    (&["-device", "i6300esb"], &["watchdog/watchdog", "watchdog/i6300esb"]);
const SOFTWARE: (&[&str], &[&str]) = (&[], &["watchdog/watchdog", "watchdog/softdog"]);

const FREEZE: &str = r#"
kill -STOP $(engine)
say frozen
"#;

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn an_engine_that_hangs_costs_its_machine() {
    let mut machine = play(HARDWARE.0, HARDWARE.1, PAIR, FREEZE);
    machine.until("petted", START);
    assert!(machine.console().contains("i6300ESB"), "status names it: {}", machine.console());
    assert!(!machine.bitten(), "while it is petted: {}", machine.console());
    machine.until("frozen", START);
    machine.until_it_ends(LONG);
    assert!(machine.bitten(), "{:?}: {}", machine.events(), machine.console());
}

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn the_kernels_own_timer_does_it_where_nothing_else_is() {
    // What is configured is not there: the next in the order of trust applies, and status says so.
    let config = PAIR.replace("/dev/watchdog0", "/dev/watchdog7");
    let mut machine = play(SOFTWARE.0, SOFTWARE.1, &config, FREEZE);
    machine.until("petted", START);
    let console = machine.console();
    assert!(console.contains("a timer of the kernel"), "status names it: {console}");
    assert!(console.contains("/dev/watchdog7 is not there"), "{console}");
    machine.until("frozen", START);
    machine.until_it_ends(LONG);
    let console = machine.console();
    assert!(console.contains("Initiating system reboot"), "by softdog: {console}");
}

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn an_orderly_stop_and_a_crash_of_the_engine_reset_nothing() {
    // An engine needs seconds to start here: its successor must be there in time.
    let config = PAIR.replace("\"4s\"", "\"15s\"");
    let script = r#"
old=$(engine)
kill -KILL $old
again() { new=$(engine) && [ -n "$new" ] && [ "$new" != "$old" ]; }
await "another engine" again
running "the group still runs"
sleep 18
say adopted
cat /tmp/log
latido stop
say stopped
sleep 18
say survived
poweroff -f
"#;
    let mut machine = play(HARDWARE.0, HARDWARE.1, &config, script);
    machine.until("adopted", START);
    machine.until("survived", LONG);
    machine.until_it_ends(LONG);
    assert!(!machine.bitten(), "{:?}: {}", machine.events(), machine.console());
}

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn a_lease_that_ends_with_a_hanging_stop_costs_the_machine() {
    // The own reset hangs too, so that the watchdog is the only one left.
    let config = PAIR
        .replace("\"assume-dead\"", "\"majority\"\n[[witness]]\nname = \"witness\"")
        .replace("{ script = \"/etc/web\" }", "{ script = \"/etc/web\", stop_timeout = \"2s\" }")
        + "[self_fence]\ncommand = [\"/bin/sleep\", \"1000\"]\ntakes = \"1s\"\n";
    let witness = "latido witness --name witness --cluster test=/etc/latido/keys \
                   --serial /dev/ttyS2:115200 >/tmp/witness 2>&1 &\nvote=$!\n";
    let script = "touch /tmp/hang\nkill -KILL $vote\nsay the vote is gone\n";
    let machine = Machine::start(&Plan {
        drivers: HARDWARE.1,
        hardware: HARDWARE.0,
        files: &[
            ("etc/latido/keys", KEYS),
            (
                "etc/latido/latido.toml",
                &config
                    .replace("serial = \"/dev/ttyS1\"", "serial = \"/dev/ttyS1\"\nbaud = 115200"),
            ),
            ("etc/web", SERVICE),
            ("var/lib/latido/voters-test-alpha", "alpha\nbeta\nwitness\n"),
        ],
        script: &format!("{witness}{UP}{script}"),
    });
    let mut machine = machine;
    machine.until("petted", START);
    machine.until("the vote is gone", START);
    machine.until("the stop hangs", LONG);
    machine.until_it_ends(LONG);
    assert!(machine.bitten(), "{:?}: {}", machine.events(), machine.console());
}

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn who_cannot_stop_something_resets_itself() {
    let config = PAIR.replace("\"assume-dead\"", "\"majority\"\n[[witness]]\nname = \"witness\"");
    let config = config
        .replace("{ script = \"/etc/web\" }", "{ script = \"/etc/web\", stop_timeout = \"2s\" }");
    let witness = "latido witness --name witness --cluster test=/etc/latido/keys \
                   --serial /dev/ttyS2:115200 >/tmp/witness 2>&1 &\nvote=$!\n";
    // Whoever holds the device is named; what is left is the machine's own reboot.
    let script = "touch /tmp/hang\nkill -KILL $vote\nsay the vote is gone\n";
    let mut machine = Machine::start(&Plan {
        drivers: HARDWARE.1,
        hardware: HARDWARE.0,
        files: &[
            ("etc/latido/keys", KEYS),
            (
                "etc/latido/latido.toml",
                &config
                    .replace("serial = \"/dev/ttyS1\"", "serial = \"/dev/ttyS1\"\nbaud = 115200"),
            ),
            ("etc/web", SERVICE),
            ("var/lib/latido/voters-test-alpha", "alpha\nbeta\nwitness\n"),
        ],
        script: &format!(
            "exec 7>/dev/watchdog0\n(while :; do echo >&7; sleep 1; done) &\n{witness}{UP}{script}"
        ),
    });
    machine.until("petted", START);
    assert!(machine.console().contains("is held by the init system"), "{}", machine.console());
    machine.until("the stop hangs", LONG);
    machine.until_it_ends(LONG);
    assert!(!machine.bitten(), "by itself: {:?}: {}", machine.events(), machine.console());
}

#[test]
#[ignore = "an emulated machine: LATIDO_MACHINES=1 ./test"]
fn the_command_that_proves_it_does() {
    let script = "latido watchdog test || say asked first\nlatido watchdog test --yes-really\n";
    let mut machine = play(HARDWARE.0, HARDWARE.1, PAIR, script);
    machine.until("asked first", START);
    machine.until_it_ends(LONG);
    assert!(machine.bitten(), "{:?}: {}", machine.events(), machine.console());
    assert!(!machine.console().contains("NOT reset"), "{}", machine.console());
}
