use super::*;
use crate::board::named;
use std::path::PathBuf;

/// A machine made of files.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Machine {
        let dir = std::env::temp_dir().join(format!("latido-doctor-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        Machine(dir)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// What is said of a topic, the gravest level and the texts.
    fn said(&self, board: &str, topic: &str) -> (Level, String) {
        let profile = named(board).expect("known");
        let found = look(&self.0, Some(&profile), None);
        let about = found.iter().filter(|finding| finding.topic == topic);
        let level = about.clone().map(|finding| finding.level).max().expect("looked at");
        assert!(about.clone().all(|one| one.level == Level::Good || !one.cure.is_empty()));
        let texts: Vec<&str> = about.map(|finding| finding.what.as_str()).collect();
        (level, texts.join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_pi_as_it_comes_has_a_console_on_its_line_and_init_on_its_watchdog() {
    let pi = Machine::new("fresh");
    pi.file("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0");
    assert_eq!(pi.said("pi-4", "serial").0, Level::Note, "no line without enable_uart");
    pi.file("dev/serial0", "");
    pi.file("proc/cmdline", "console=serial0,115200 console=tty1 root=/dev/mmcblk0p2\n");
    pi.file("boot/firmware/config.txt", "enable_uart=1\n");
    let (level, said) = pi.said("pi-4", "serial");
    assert!(level == Level::Fault && said.contains("kernel's console (serial0)"), "{said}");
    let (level, said) = pi.said("pi-4", "boot");
    assert!(level == Level::Warning && said.ends_with("lacks: dtoverlay=disable-bt"), "{said}");

    pi.file("sys/class/watchdog/watchdog0/identity", "Broadcom BCM2835 Watchdog timer\n");
    pi.file("dev/watchdog0", "");
    pi.file("proc/1/comm", "systemd\n");
    fs::create_dir_all(pi.0.join("proc/1/fd")).expect("a directory");
    let watchdog = fs::canonicalize(pi.0.join("dev/watchdog0")).expect("there");
    std::os::unix::fs::symlink(watchdog, pi.0.join("proc/1/fd/9")).expect("a link");
    let (level, said) = pi.said("pi-4", "watchdog");
    assert!(level == Level::Warning && said.contains("held by init"), "{said}");
}

#[test]
fn a_prepared_pi_is_good() {
    let pi = Machine::new("prepared");
    pi.file("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0");
    pi.file("dev/serial0", "");
    pi.file("dev/watchdog0", "");
    pi.file("proc/cmdline", "console=tty1 root=/dev/mmcblk0p2\n");
    pi.file("boot/firmware/config.txt", "enable_uart=1 # pins\ndtoverlay=disable-bt\n");
    pi.file("sys/class/watchdog/watchdog0/identity", "Broadcom BCM2835 Watchdog timer\n");
    pi.file("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
    pi.file("proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n");
    for topic in ["board", "serial", "boot", "watchdog", "power", "storage"] {
        let (level, said) = pi.said("pi-4", topic);
        assert_eq!(level, Level::Good, "{topic}: {said}");
    }
}

#[test]
fn logins_weak_supplies_and_worn_cards_are_found() {
    let pi = Machine::new("ill");
    pi.file("dev/serial0", "");
    pi.file("etc/systemd/system/getty.target.wants/serial-getty@ttyAMA0.service", "");
    let (level, said) = pi.said("pi-4", "serial");
    assert!(level == Level::Fault && said.contains("serial-getty@ttyAMA0"), "{said}");

    pi.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let (level, said) = pi.said("pi-4", "power");
    assert!(level == Level::Fault && said == "now the voltage is too low, it is throttled");
    pi.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n");
    let (level, said) = pi.said("pi-4", "power");
    assert!(level == Level::Warning && said.starts_with("since the start"), "{said}");

    pi.file("sys/block/mmcblk0/device/life_time", "0x09 0x01\n");
    pi.file("proc/mounts", "/dev/mmcblk0p2 / ext4 ro,noatime,errors=remount-ro 0 0\n");
    let (level, said) = pi.said("pi-4", "storage");
    assert!(level == Level::Fault && said.contains("read-only"), "{said}");
    assert!(said.contains("used 90 % of its life"), "{said}");
}

#[test]
fn a_laptop_that_sleeps_when_it_is_closed_is_no_node() {
    let laptop = Machine::new("laptop");
    laptop.file("proc/acpi/button/lid/LID0/state", "state: open\n");
    assert_eq!(laptop.said("x86-laptop", "sleep").0, Level::Fault);
    laptop.file("etc/systemd/logind.conf", "[Login]\nHandleLidSwitch=ignore\n");
    assert_eq!(laptop.said("x86-laptop", "sleep").0, Level::Good);
    laptop.file("sys/class/net/wlan0/wireless/link", "");
    let (level, said) = laptop.said("x86-laptop", "network");
    assert!(level == Level::Warning && said.contains("wlan0 is Wi-Fi"), "{said}");
}
