//! What a machine feels of itself: voltage, temperature, its disks. Reads only, from sysfs and
//! `/proc`; what a machine does not have is not felt.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where the Raspberry Pi's firmware tells of throttling.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
/// Bits of that: at this moment.
const UNDER_VOLTAGE: u32 = 1;
const THROTTLING: u32 = 1 << 2;

/// One look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feeling {
    /// The hottest zone, in thousandths of a degree Celsius.
    pub temperature: Option<i64>,
    /// The supply is too weak at this moment.
    pub under_voltage: Option<bool>,
    /// The processor is slowed down at this moment, for heat or voltage.
    pub throttled: Option<bool>,
    /// Of the paths that must be writable: those that are not.
    pub read_only: Vec<String>,
    /// Errors that file systems have met since they were made.
    pub disk_errors: Option<u64>,
}

/// Why a machine is not fit; shared by whoever looks and whoever tells.
#[derive(Clone, Debug, Default)]
pub struct Unfit(Arc<Mutex<Vec<String>>>);

impl Unfit {
    /// The reasons; none: it is fit.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().map(|list| list.clone()).unwrap_or_default()
    }

    /// Notes the reasons.
    pub fn note(&self, reasons: Vec<String>) {
        if let Ok(mut list) = self.0.lock() {
            *list = reasons;
        }
    }
}

/// Looks at a machine.
#[derive(Clone, Debug)]
pub struct Senses {
    root: PathBuf,
}

impl Default for Senses {
    fn default() -> Senses {
        Senses::at(Path::new("/"))
    }
}

impl Senses {
    /// Of the machine whose `/sys` and `/proc` are there.
    pub fn at(root: &Path) -> Senses {
        Senses { root: root.to_owned() }
    }

    /// One look. `writable`: what must be.
    pub fn feel(&self, writable: &[String]) -> Feeling {
        let flags = self
            .text(THROTTLED)
            .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let alarm = self.entries("sys/class/hwmon").into_iter().find_map(|chip| {
            let name = fs::read_to_string(chip.join("name")).ok()?;
            let alarm = fs::read_to_string(chip.join("in0_lcrit_alarm")).ok()?;
            (name.trim() == "rpi_volt").then_some(alarm.trim() == "1")
        });
        let low = flags.map(|flags| flags & UNDER_VOLTAGE != 0);
        Feeling {
            temperature: self.hottest(),
            under_voltage: match (low, alarm) {
                (None, None) => None,
                (low, alarm) => Some(low == Some(true) || alarm == Some(true)),
            },
            throttled: flags.map(|flags| flags & THROTTLING != 0),
            read_only: self.read_only(writable),
            disk_errors: self.disk_errors(),
        }
    }

    fn hottest(&self) -> Option<i64> {
        let zones = self.entries("sys/class/thermal").into_iter();
        let zones = zones.filter(|zone| {
            zone.file_name().is_some_and(|name| name.to_string_lossy().starts_with("thermal_zone"))
        });
        zones.filter_map(|zone| number(&zone.join("temp"))).max()
    }

    fn disk_errors(&self) -> Option<u64> {
        let counts = self.entries("sys/fs/ext4").into_iter();
        let counts: Vec<u64> = counts
            .filter_map(|disk| number(&disk.join("errors_count")))
            .filter_map(|count| u64::try_from(count).ok())
            .collect();
        (!counts.is_empty()).then(|| counts.iter().sum())
    }

    /// The kernel mounts a disk read-only when it no longer trusts it.
    fn read_only(&self, writable: &[String]) -> Vec<String> {
        let mounts = self.text("proc/mounts").unwrap_or_default();
        // The last one of a place is the one that is seen.
        let mount = |path: &str| {
            let parts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let fits = |place: &str| {
                place == "/" || path == place || {
                    path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
                }
            };
            let place = |parts: &Vec<&str>| parts.get(1).is_some_and(|place| fits(place));
            parts.filter(place).max_by_key(|parts| parts.get(1).map_or(0, |place| place.len()))
        };
        let locked = |path: &&String| {
            mount(path).is_some_and(|parts| {
                parts.get(3).is_some_and(|options| options.split(',').any(|one| one == "ro"))
            })
        };
        writable.iter().filter(locked).cloned().collect()
    }

    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn entries(&self, path: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

fn number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str) -> Machine {
            let name = format!("latido-senses-{name}-{}", std::process::id());
            let root = std::env::temp_dir().join(name);
            fs::create_dir_all(&root).expect("a root");
            Machine(root)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        }

        fn feel(&self) -> Feeling {
            Senses::at(&self.0).feel(&["/".into(), "/var/lib/db".into()])
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_not_there_is_not_felt() {
        assert_eq!(Machine::new("bare").feel(), Feeling::default());
    }

    #[test]
    fn a_raspberry_pi_tells_how_it_is() {
        let pi = Machine::new("pi");
        pi.write("sys/class/thermal/thermal_zone0/temp", "48312\n");
        pi.write("sys/class/thermal/thermal_zone1/temp", "61000\n");
        pi.write("sys/class/thermal/cooling_device0/temp", "99000\n");
        // Since the boot, not now.
        pi.write(THROTTLED, "50000\n");
        pi.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        pi.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        pi.write("sys/fs/ext4/mmcblk0p2/errors_count", "3\n");
        pi.write("sys/fs/ext4/features/lazy_itable_init", "supported\n");
        let mounts = "/dev/root / ext4 rw,noatime 0 0\n/dev/sda1 /var/lib ext4 rw 0 0\n\
                      /dev/sda1 /var/lib ext4 ro,noatime 0 0\n/dev/sdb /var/libel ext4 ro 0 0\n";
        pi.write("proc/mounts", mounts);
        let well = pi.feel();
        let expected = Feeling {
            temperature: Some(61_000),
            under_voltage: Some(false),
            throttled: Some(false),
            read_only: vec!["/var/lib/db".into()],
            disk_errors: Some(3),
        };
        assert_eq!(well, expected);
        pi.write(THROTTLED, "0x50005\n");
        assert_eq!((pi.feel().under_voltage, pi.feel().throttled), (Some(true), Some(true)));
        pi.write(THROTTLED, "0\n");
        pi.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        assert_eq!(pi.feel().under_voltage, Some(true));
        pi.write("proc/mounts", "/dev/root / ext4 ro 0 0\n");
        assert_eq!(pi.feel().read_only, ["/", "/var/lib/db"]);
    }

    #[test]
    fn this_machine_answers() {
        let feeling = Senses::default().feel(&["/proc".into()]);
        assert!(feeling.read_only.is_empty(), "{feeling:?}");
    }
}
