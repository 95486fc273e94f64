//! Who else has a serial port, and what its modem lines say.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that has the device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Modem lines at our end: what the other end switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) cts: bool,
    pub(super) dsr: bool,
    pub(super) dcd: bool,
}

/// Another process that has the device open, whatever its file is called there.
pub(super) fn of(device: &Path) -> Option<Holder> {
    let wanted = std::fs::metadata(device).ok()?;
    let same = |path: PathBuf| {
        // The master's side of a pseudo-terminal is another device.
        std::fs::metadata(path).is_ok_and(|it| it.rdev() == wanted.rdev() && wanted.rdev() != 0)
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if files.flatten().any(|file| same(file.path())) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder { pid, name: name.trim().to_owned() });
        }
    }
    None
}

/// Whether the kernel writes its messages there.
pub(super) fn is_console(device: &Path) -> bool {
    let real = std::fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let Some(name) = real.file_name().and_then(|name| name.to_str()) else { return false };
    let consoles = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
    consoles.lines().any(|line| line.split_whitespace().next() == Some(name))
}

/// The modem lines; `None`: this device has none.
pub(super) fn lines(device: &Path) -> Option<Lines> {
    use serialport::SerialPort;
    let port = serialport::TTYPort::open(&serialport::new(device.to_str()?, 9600));
    let mut port = port.ok()?;
    Some(Lines {
        cts: port.read_clear_to_send().ok()?,
        dsr: port.read_data_set_ready().ok()?,
        dcd: port.read_carrier_detect().ok()?,
    })
}
