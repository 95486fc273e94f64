//! Who has a watchdog device open.
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl Holder {
    /// Whether it is the init system.
    pub fn is_init(&self) -> bool {
        self.pid == 1
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_init() {
            write!(f, "the init system ({}, process 1; RuntimeWatchdogSec=)", self.name)
        } else {
            write!(f, "{} (process {})", self.name, self.pid)
        }
    }
}

/// Who has this device open, as far as this process may see. `/dev/watchdog` and `/dev/watchdog0`
/// are the same device.
pub fn holder(device: &Path) -> Option<Holder> {
    let wanted = number(device)?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let pid = pids.into_iter().find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.map(|entry| entry.path()).any(|path| number(&path) == Some(wanted))
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().to_owned() })
}

/// The device's number; the old name of the first watchdog counts as its new one.
fn number(path: &Path) -> Option<u64> {
    let known = std::fs::metadata(path).ok().filter(|known| known.file_type().is_char_device())?;
    let legacy = rustix::fs::makedev(10, 130);
    if known.rdev() != legacy {
        return Some(known.rdev());
    }
    Some(std::fs::metadata("/dev/watchdog0").map_or(legacy, |first| first.rdev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_device_open_is_named() {
        // Any character device that nobody else has open will do.
        let (_ours, terminal) = crate::platform::watchdog::tests::terminal();
        let _open = std::fs::File::open(&terminal).expect("opened");
        let found = holder(&terminal).expect("found");
        assert_eq!(found.pid, std::process::id());
        assert!(found.to_string().contains(&format!("process {}", found.pid)), "{found}");
        assert_eq!(holder(Path::new("/nowhere")), None);
        assert!(Holder { pid: 1, name: "systemd".into() }.to_string().contains("RuntimeWatchdog"));
    }
}
