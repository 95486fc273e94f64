//! Cards and disks: read-only, worn, failing.
use super::{Level, Patient};

pub(super) fn look(patient: &mut Patient<'_>) {
    root(patient);
    errors(patient);
    wear(patient);
    journal(patient);
}

/// The mount of `/`: device and options.
fn root(patient: &mut Patient<'_>) {
    let Some(mounts) = patient.read("proc/mounts") else { return };
    let last = mounts.lines().rev().find(|line| line.split(' ').nth(1) == Some("/"));
    let Some(line) = last else { return };
    let mut words = line.split(' ');
    let device = words.next().unwrap_or("").to_owned();
    let options = words.nth(2).unwrap_or("").to_owned();
    let has = |wanted: &str| options.split(',').any(|option| option == wanted);
    let remounted = has("ro") && options.contains("errors=remount-ro");
    if remounted {
        patient.say(
            "storage",
            Level::Fault,
            format!("{device} is mounted read-only: the kernel met errors on it, or wants none"),
            "dmesg says why; replace the card; an overlay on purpose is fine",
        );
    } else {
        patient.good("storage", format!("/ is on {device}"));
    }
    let card = device.starts_with("/dev/mmcblk");
    if card && !has("ro") && !has("noatime") {
        patient.say(
            "storage",
            Level::Note,
            "reading writes: the card is mounted without noatime",
            "add noatime to its line in /etc/fstab",
        );
    }
}

fn errors(patient: &mut Patient<'_>) {
    for name in patient.names("sys/fs/ext4") {
        let count = patient.word(&format!("sys/fs/ext4/{name}/errors_count"));
        if let Some(count) = count.filter(|count| count != "0") {
            let what = format!("{name}: the file system has met {count} errors");
            patient.say("storage", Level::Fault, what, "check it (fsck), and replace the card");
        }
    }
}

/// Cards and eMMC that say how worn they are: tenths of their life, and their reserve.
fn wear(patient: &mut Patient<'_>) {
    for name in patient.names("sys/block").iter().filter(|name| name.starts_with("mmcblk")) {
        let at = format!("sys/block/{name}/device");
        if let Some(text) = patient.word(&format!("{at}/life_time")) {
            let parts = text.split_ascii_whitespace();
            let tenths = parts
                .filter_map(|part| u32::from_str_radix(part.trim_start_matches("0x"), 16).ok());
            match tenths.max() {
                Some(tenths @ 8..) => {
                    let what = format!("{name} has used {} % of its life", (tenths * 10).min(100));
                    patient.say("storage", Level::Warning, what, "replace it soon");
                }
                Some(tenths) if tenths > 0 => {
                    patient
                        .good("storage", format!("{name} has used {} % of its life", tenths * 10));
                }
                _ => {}
            }
        }
        if let Some("0x02" | "0x03") = patient.word(&format!("{at}/pre_eol_info")).as_deref() {
            let what = format!("{name}: its reserve of blocks is almost used up");
            patient.say("storage", Level::Fault, what, "replace it now");
        }
    }
}

fn journal(patient: &mut Patient<'_>) {
    let card = patient.names("sys/block").iter().any(|name| name.starts_with("mmcblk"));
    if card && patient.exists("var/log/journal") {
        patient.say(
            "storage",
            Level::Note,
            "the journal is written to the card",
            "Storage=volatile in /etc/systemd/journald.conf spares it; logs end with a reboot",
        );
    }
}
