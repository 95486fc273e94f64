//! The kernel's watchdog devices: `ioctl(2)`, and what sysfs tells without opening one.
use super::{Driver, Refused, SOFTDOG, Support, holder};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CLASS: &str = "/sys/class/watchdog";

/// `struct watchdog_info` of `linux/watchdog.h`.
#[repr(C)]
struct WatchdogInfo {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

const GETSUPPORT: Opcode = opcode::read::<WatchdogInfo>(b'W', 0);
const GETBOOTSTATUS: Opcode = opcode::read::<i32>(b'W', 2);
const SETTIMEOUT: Opcode = opcode::read_write::<i32>(b'W', 6);
const GETTIMEOUT: Opcode = opcode::read::<i32>(b'W', 7);
const SETPRETIMEOUT: Opcode = opcode::read_write::<i32>(b'W', 8);
const GETPRETIMEOUT: Opcode = opcode::read::<i32>(b'W', 9);

/// An open device.
pub struct Kernel(OwnedFd);

impl Kernel {
    /// Opens it, which starts it.
    pub(super) fn open(device: &Path) -> Result<Kernel, Refused> {
        let shown = device.display();
        let refused = |why: String, cure: &str, holder| {
            Err(Refused { why: format!("{shown} {why}"), cure: cure.into(), holder })
        };
        match rustix::fs::open(device, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Kernel(fd)),
            Err(Errno::BUSY) => {
                let held = holder(device);
                let who = held.as_ref().map_or("somebody".to_owned(), ToString::to_string);
                let cure = match &held {
                    Some(holder) if holder.is_init() => {
                        "have it handed over: `latido watchdog setup`"
                    }
                    Some(_) => "end that program: a watchdog has one keeper",
                    None => "find out who (`fuser -v /dev/watchdog*`) and end that",
                };
                refused(format!("is held by {who}"), cure, held)
            }
            Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
                let cure = "load the driver of this machine's watchdog (bcm2835_wdt on a Raspberry \
                            Pi, iTCO_wdt or sp5100_tco on a PC), or `modprobe softdog`";
                refused("is not there".into(), cure, None)
            }
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                refused(format!("cannot be opened ({error})"), "run as root", None)
            }
            Err(error) => {
                let cure = "see the kernel's log (`dmesg`)";
                refused(format!("cannot be opened ({error})"), cure, None)
            }
        }
    }

    #[allow(unsafe_code)]
    fn get<const OPCODE: Opcode>(&self) -> io::Result<u32> {
        // SAFETY: every OPCODE that this is called with makes the kernel write one int.
        let number = unsafe { ioctl(&self.0, Getter::<OPCODE, i32>::new()) }?;
        Ok(u32::try_from(number).unwrap_or(0))
    }

    #[allow(unsafe_code)]
    fn set<const OPCODE: Opcode>(&self, seconds: u32) -> io::Result<()> {
        let mut seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        // SAFETY: every OPCODE that this is called with makes the kernel read one int, and write
        // what came of it back into the same place, which is this call's own.
        Ok(unsafe { ioctl(&self.0, Updater::<OPCODE, i32>::new(&mut seconds)) }?)
    }
}

impl Driver for Kernel {
    #[allow(unsafe_code)]
    fn support(&self) -> io::Result<Support> {
        // SAFETY: the kernel writes one `struct watchdog_info`, whose fields may hold any bits.
        let info = unsafe { ioctl(&self.0, Getter::<GETSUPPORT, WatchdogInfo>::new()) }?;
        let name = info.identity.split(|byte| *byte == 0).next().unwrap_or_default();
        let identity = String::from_utf8_lossy(name).trim().to_owned();
        Ok(Support { options: info.options, identity })
    }

    fn boot_status(&self) -> io::Result<u32> {
        self.get::<GETBOOTSTATUS>()
    }

    fn set_timeout(&self, seconds: u32) -> io::Result<()> {
        self.set::<SETTIMEOUT>(seconds)
    }

    fn timeout(&self) -> io::Result<u32> {
        self.get::<GETTIMEOUT>()
    }

    fn set_pretimeout(&self, seconds: u32) -> io::Result<()> {
        self.set::<SETPRETIMEOUT>(seconds)
    }

    fn pretimeout(&self) -> io::Result<u32> {
        self.get::<GETPRETIMEOUT>()
    }

    fn pet(&self) -> io::Result<()> {
        Ok(rustix::io::write(&self.0, b"\0").map(drop)?)
    }

    fn allow_close(&self) -> io::Result<()> {
        Ok(rustix::io::write(&self.0, b"V").map(drop)?)
    }
}

/// What is known of a device without opening it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How it calls itself.
    pub identity: Option<String>,
    /// Its timeout, in seconds, as it is now.
    pub timeout: Option<u32>,
    /// Closing it does not stop it.
    pub nowayout: Option<bool>,
}

/// What sysfs tells of a device.
pub fn known(device: &Path) -> Known {
    let Some(name) = sysfs_name(device) else { return Known::default() };
    let read = |file: &str| {
        let text = std::fs::read_to_string(Path::new(CLASS).join(&name).join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    Known {
        identity: read("identity"),
        timeout: read("timeout").and_then(|text| text.parse().ok()),
        nowayout: read("nowayout").map(|text| text == "1"),
    }
}

/// The kernel's name of a device: `/dev/watchdog` is `watchdog0`.
fn sysfs_name(device: &Path) -> Option<String> {
    let number = std::fs::metadata(device).ok()?.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    if (major, minor) == (10, 130) {
        return Some("watchdog0".to_owned());
    }
    let wanted = format!("{major}:{minor}");
    let devices = std::fs::read_dir(CLASS).ok()?.flatten();
    let same = |path: &Path| {
        std::fs::read_to_string(path.join("dev")).is_ok_and(|text| text.trim() == wanted)
    };
    devices
        .filter(|entry| same(&entry.path()))
        .find_map(|entry| entry.file_name().into_string().ok())
}

/// The kernel's own timer (`softdog`), if it is loaded.
pub fn software() -> Option<PathBuf> {
    let devices = std::fs::read_dir(CLASS).ok()?.flatten();
    let mut names: Vec<_> = devices.map(|entry| entry.file_name()).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| Path::new("/dev").join(name))
        .find(|device| known(device).identity.as_deref() == Some(SOFTDOG))
}
