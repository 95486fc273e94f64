//! Serial lines: there, free of consoles and services, wide awake.
use super::{Level, Patient};

/// Where the boot loader's configuration stands, newest first.
const BOOT_FILES: [&str; 2] = ["boot/firmware/config.txt", "boot/config.txt"];

pub(super) fn look(patient: &mut Patient<'_>) {
    let devices = patient.serial_devices();
    if devices.is_empty() {
        patient.say(
            "serial",
            Level::Note,
            "no serial link is configured",
            "a null-modem cable is the path that network trouble does not touch: docs/cables.md",
        );
    }
    for device in &devices {
        one(patient, device);
    }
    boot(patient, &devices);
    services(patient, &devices);
}

fn one(patient: &mut Patient<'_>, device: &str) {
    if !patient.exists(device) {
        let cure = match patient.profile.filter(|profile| profile.uart.device == device) {
            Some(profile) if !profile.uart.boot.is_empty() => {
                format!("{} in config.txt, then start anew", profile.uart.boot.join(" and "))
            }
            _ => "plug the adapter in; `ls /dev/serial/by-id` shows names that stay".into(),
        };
        // Missed only where a configuration names it.
        let level = if patient.config.is_some() { Level::Fault } else { Level::Note };
        patient.say("serial", level, format!("{device} is not there"), cure);
        return;
    }
    if console(patient, device) {
        return;
    }
    let holders = patient.holders(device);
    let others: Vec<String> = holders
        .iter()
        .filter(|(_, name)| !name.starts_with("latido") && name != "exe")
        .map(|(pid, name)| format!("{name} (process {pid})"))
        .collect();
    if others.is_empty() {
        patient.good("serial", format!("{device} is free for heartbeats"));
    } else {
        let what = format!("{device} is held by {}", others.join(", "));
        patient.say("serial", Level::Fault, what, "stop and disable that program");
    }
    if device.starts_with("/dev/ttyUSB") || device.starts_with("/dev/ttyACM") {
        let what = format!("{device} is a number that changes when it is plugged in anew");
        patient.say("serial", Level::Warning, what, "use its name under /dev/serial/by-id");
    }
    asleep(patient, device);
}

/// Says if a console or a login is on the line.
fn console(patient: &mut Patient<'_>, device: &str) -> bool {
    let name = device.rsplit('/').next().unwrap_or(device).to_owned();
    let mut names = vec![name.clone()];
    if let Some(profile) = patient.profile.filter(|profile| profile.uart.device == device) {
        names.extend(profile.uart.console.iter().cloned());
    }
    let line = patient.word("proc/cmdline").unwrap_or_default();
    let consoles = line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("console="));
    let consoles = consoles.map(|word| word.split(',').next().unwrap_or(word).to_owned());
    if let Some(console) = consoles.into_iter().find(|console| names.contains(console)) {
        patient.say(
            "serial",
            Level::Fault,
            format!("{device} is the kernel's console ({console}): its messages go to the peer"),
            format!("take console={console},… out of cmdline.txt (PC: GRUB_CMDLINE_LINUX)"),
        );
        return true;
    }
    let logins = patient.names("run/systemd/generator/getty.target.wants");
    let wanted = patient.names("etc/systemd/system/getty.target.wants");
    let login = logins
        .into_iter()
        .chain(wanted)
        .find(|unit| names.iter().any(|name| *unit == format!("serial-getty@{name}.service")));
    if let Some(unit) = login {
        patient.say(
            "serial",
            Level::Fault,
            format!("a login waits on {device} ({unit}): it answers heartbeats with a prompt"),
            format!("systemctl disable --now {unit}"),
        );
        return true;
    }
    false
}

/// USB adapters that are put to sleep lose the first bytes after it.
fn asleep(patient: &mut Patient<'_>, device: &str) {
    let path = patient.root.join(device.trim_start_matches('/'));
    let Some(name) = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_owned()))
    else {
        return;
    };
    let name = name.to_string_lossy().into_owned();
    // …/usb1/1-1/1-1:1.0/ttyUSB0: the device is two above the line.
    let link = patient.root.join(format!("sys/class/tty/{name}/device"));
    let Ok(at) = link.canonicalize() else { return };
    for above in at.ancestors().take(4) {
        let control = std::fs::read_to_string(above.join("power/control")).unwrap_or_default();
        if above.join("idVendor").exists() && control.trim() == "auto" {
            patient.say(
                "serial",
                Level::Warning,
                format!("{device}: the kernel may put the adapter to sleep"),
                "udev rule: ACTION==\"add\", SUBSYSTEM==\"usb\", TEST==\"power/control\", \
                 ATTR{power/control}=\"on\"",
            );
        }
    }
}

/// What the boot loader has to be told.
fn boot(patient: &mut Patient<'_>, devices: &[String]) {
    let Some(profile) = patient.profile else { return };
    let uart = profile.uart.clone();
    if uart.boot.is_empty() || !devices.contains(&uart.device) {
        return;
    }
    let file = BOOT_FILES.into_iter().find(|file| patient.exists(file));
    let Some(file) = file else {
        let what = "config.txt of the boot loader was not found";
        patient.say("boot", Level::Note, what, format!("it must say: {}", uart.boot.join(", ")));
        return;
    };
    let text = patient.read(file).unwrap_or_default();
    let has = |wanted: &str| {
        text.lines().any(|line| line.split('#').next().unwrap_or("").trim() == wanted)
    };
    let missing: Vec<&str> =
        uart.boot.iter().map(String::as_str).filter(|line| !has(line)).collect();
    if missing.is_empty() {
        patient.good("boot", format!("/{file} gives the good UART to the pins"));
    } else {
        let what = format!("/{file} lacks: {}", missing.join(", "));
        patient.say("boot", Level::Warning, what, "add the lines and start the machine anew");
    }
}

fn services(patient: &mut Patient<'_>, devices: &[String]) {
    let Some(profile) = patient.profile else { return };
    if devices.is_empty() {
        return;
    }
    for unit in profile.uart.services.clone() {
        let wanted = patient.names("etc/systemd/system/multi-user.target.wants");
        if wanted.contains(&unit) {
            patient.say(
                "serial",
                Level::Warning,
                format!("{unit} talks to serial lines as if they were its own"),
                format!("systemctl disable --now {unit}"),
            );
        }
    }
}
