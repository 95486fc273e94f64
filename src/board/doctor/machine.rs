//! Watchdog, clock, scheduling, power, sleep.
use super::{Level, Patient};
use crate::platform::{gate, sched, slew};

/// Clocks that run evenly; others jump or cost too much.
const GOOD_CLOCKS: [&str; 5] = ["tsc", "arch_sys_counter", "kvm-clock", "stc", "timer"];
/// Bits of `get_throttled`: now, and the same since the start 16 bits above.
const THROTTLED: [(u32, &str); 4] = [
    (0, "the voltage is too low"),
    (1, "the frequency is capped"),
    (2, "it is throttled"),
    (3, "it is near its temperature limit"),
];

pub(super) fn look(patient: &mut Patient<'_>) {
    watchdog(patient);
    clock(patient);
    scheduling(patient);
    power(patient);
    sleep(patient);
    kernel(patient);
}

fn watchdog(patient: &mut Patient<'_>) {
    let devices = patient.names("sys/class/watchdog");
    let driver = patient.profile.map(|profile| profile.watchdog.driver.clone());
    if devices.is_empty() {
        let driver = driver.unwrap_or_else(|| "softdog".into());
        patient.say(
            "watchdog",
            Level::Warning,
            "no watchdog: a hung kernel keeps its resources until somebody comes",
            format!(
                "modprobe {driver} (or softdog), and name it in /etc/modules-load.d/latido.conf"
            ),
        );
        return;
    }
    for name in devices {
        let at = format!("sys/class/watchdog/{name}");
        let identity =
            patient.word(&format!("{at}/identity")).unwrap_or_else(|| "a watchdog".into());
        let device = format!("/dev/{name}");
        let holders = patient.holders(&device);
        let holder = holders.iter().find(|(_, name)| !name.starts_with("latido") && name != "exe");
        match holder {
            Some((1, _)) => patient.say(
                "watchdog",
                Level::Warning,
                format!("{device} ({identity}) is held by init (RuntimeWatchdogSec)"),
                "`latido watchdog setup` prints the drop-in that hands it over",
            ),
            Some((pid, program)) => patient.say(
                "watchdog",
                Level::Warning,
                format!("{device} ({identity}) is held by {program}, process {pid}"),
                format!("stop and disable {program}: a watchdog serves one program"),
            ),
            None => patient.good("watchdog", format!("{device}: {identity}")),
        }
        if patient.word(&format!("{at}/nowayout")).as_deref() == Some("1") {
            patient.say(
                "watchdog",
                Level::Note,
                format!("{device} cannot be stopped once it runs (nowayout)"),
                "stopping Latido for longer than its timeout resets the machine",
            );
        }
    }
}

fn clock(patient: &mut Patient<'_>) {
    let at = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    match patient.word(at) {
        Some(clock) if GOOD_CLOCKS.contains(&clock.as_str()) => {
            patient.good("clock", format!("{clock} runs evenly"));
        }
        Some(clock) => patient.say(
            "clock",
            Level::Note,
            format!("the clock is {clock}"),
            "slower to read than others, and some of its kind jump: watch for late heartbeats",
        ),
        None => {}
    }
    if patient.names("sys/class/rtc").is_empty() {
        patient.say(
            "clock",
            Level::Note,
            "no clock of the day: after a start the time is wrong until NTP answers",
            "nothing to do: nothing is decided by it; early log lines carry the uptime",
        );
    }
    if patient.running() {
        match slew::look() {
            Ok(slew) if slew.ppm > 10_000 => patient.say(
                "clock",
                Level::Fault,
                format!("the clock is made to run {} ppm wrong; leases allow 10000", slew.ppm),
                "chrony: `maxslewrate 5000`; wait until the time is right",
            ),
            _ => {}
        }
    }
}

fn scheduling(patient: &mut Patient<'_>) {
    if patient.word("proc/sys/kernel/sched_rt_runtime_us").as_deref() == Some("0") {
        patient.say(
            "realtime",
            Level::Fault,
            "the kernel lends no time to realtime threads (sched_rt_runtime_us is 0)",
            "sysctl kernel.sched_rt_runtime_us=950000",
        );
        return;
    }
    if !patient.running() {
        return;
    }
    // In a thread of its own: the priority ends with it.
    let asked = std::thread::spawn(|| sched::realtime(1)).join();
    match asked {
        Ok(Ok(())) => patient.good("realtime", "realtime scheduling is permitted"),
        Ok(Err(refused)) => {
            let what = format!("{}: {}", refused.what, refused.why);
            patient.say("realtime", Level::Warning, what, refused.cure);
        }
        Err(_) => {}
    }
}

fn power(patient: &mut Patient<'_>) {
    let flags = [
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/devices/platform/axi/axi:firmware/get_throttled",
    ];
    if let Some(text) = flags.into_iter().find_map(|path| patient.word(path)) {
        let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
        let told = |shift: u32| -> Vec<&str> {
            let set = THROTTLED.iter().filter(|(bit, _)| bits >> (bit + shift) & 1 == 1);
            set.map(|(_, what)| *what).collect()
        };
        let (now, once) = (told(0), told(16));
        let cure = "a stronger supply, a shorter and thicker cable, a heat sink";
        if !now.is_empty() {
            patient.say("power", Level::Fault, format!("now {}", now.join(", ")), cure);
        } else if !once.is_empty() {
            let what = format!("since the start {}", once.join(", ").replace("is ", "was "));
            patient.say("power", Level::Warning, what, cure);
        } else {
            patient.good("power", "no under-voltage and no throttling since the start");
        }
    }
    for name in patient.names("sys/class/power_supply") {
        let at = format!("sys/class/power_supply/{name}");
        if patient.word(&format!("{at}/type")).as_deref() == Some("Battery") {
            let state = patient.word(&format!("{at}/status")).unwrap_or_default();
            if state == "Discharging" {
                let what = format!("{name} discharges: this machine runs on its battery");
                patient.say("power", Level::Warning, what, "plug it in");
            } else {
                patient.good("power", format!("{name} ({}): a built-in UPS", state.to_lowercase()));
            }
        }
    }
}

fn sleep(patient: &mut Patient<'_>) {
    let lids = patient.names("proc/acpi/button/lid");
    if lids.is_empty() {
        return;
    }
    let mut text = patient.read("etc/systemd/logind.conf").unwrap_or_default();
    for name in patient.names("etc/systemd/logind.conf.d") {
        text += &patient.read(&format!("etc/systemd/logind.conf.d/{name}")).unwrap_or_default();
    }
    let says = |key: &str| text.lines().any(|line| line.trim() == format!("{key}=ignore"));
    let masked = patient.root.join("etc/systemd/system/suspend.target").read_link();
    let masked = masked.is_ok_and(|target| target.ends_with("dev/null"));
    if masked || says("HandleLidSwitch") {
        patient.good("sleep", "closing the lid changes nothing");
    } else {
        patient.say(
            "sleep",
            Level::Fault,
            "closing the lid suspends this machine: to its peer it is dead",
            "HandleLidSwitch=ignore in /etc/systemd/logind.conf, then \
             `systemctl restart systemd-logind`",
        );
    }
}

fn kernel(patient: &mut Patient<'_>) {
    if !patient.running() {
        return;
    }
    match gate::try_out() {
        Ok(()) => patient.good("gate", "the kernel can silence addresses whose lease is over"),
        Err(why) => patient.say(
            "gate",
            Level::Warning,
            format!("no lease gate: {why}"),
            "addresses have a kernel lifetime instead, and leases are longer: docs/gate.md",
        ),
    }
}
