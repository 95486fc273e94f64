//! The machines that Latido knows by name: their lines, pins, watchdogs, and traps.
//!
//! `boards/NAME.toml` are the profiles; they are part of the program.
pub mod card;
pub mod doctor;
mod first;

pub use first::{Wish, first_config};

use serde::Deserialize;
use std::fs;
use std::path::Path;

const PROFILES: [&str; 6] = [
    include_str!("../../boards/pi-zero.toml"),
    include_str!("../../boards/pi-3.toml"),
    include_str!("../../boards/pi-4.toml"),
    include_str!("../../boards/pi-5.toml"),
    include_str!("../../boards/x86-laptop.toml"),
    include_str!("../../boards/qemu-virt-arm64.toml"),
];
/// What a PC is taken for.
const PC: &str = "x86-laptop";

/// What is known of one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// As `--board` names it.
    pub name: String,
    /// As people call it.
    pub title: String,
    /// Beginnings of its model's name in the device tree.
    pub models: Vec<String>,
    /// Rust targets to build for it, best first.
    pub targets: Vec<String>,
    /// Names that its network interface has, most likely first.
    pub interfaces: Vec<String>,
    /// The line for the heartbeat cable.
    pub uart: Uart,
    /// Its watchdog.
    pub watchdog: Watchdog,
    /// Its pins, where it has any.
    pub gpio: Option<Gpio>,
    /// What has cost others an evening.
    #[serde(default, rename = "trap")]
    pub traps: Vec<Trap>,
}

/// A serial line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uart {
    /// Its device.
    pub device: String,
    /// Highest speed, in bit/s.
    pub max: u32,
    /// What its pins bear.
    pub level: String,
    /// Which pins.
    pub pins: String,
    /// Lines that the boot loader's configuration must have.
    pub boot: Vec<String>,
    /// Consoles that must not be on the kernel's command line.
    pub console: Vec<String>,
    /// Services that hold the line.
    pub services: Vec<String>,
}

/// A watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// Its device.
    pub device: String,
    /// The kernel's module.
    pub driver: String,
    /// The longest time it counts.
    pub max: String,
}

/// Pins, by what they are for; numbers are line offsets of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// The chip's label.
    pub label: String,
    /// LED: this node owns a group.
    pub owner: u32,
    /// LED: this node is ready to take over.
    pub standby: u32,
    /// LED: something needs somebody.
    pub alarm: u32,
    /// Push button.
    pub button: u32,
    /// Relay that cuts the peer's power.
    pub relay: u32,
    /// Sees the peer's power.
    pub sense: u32,
    /// Toggles at each heartbeat.
    pub beat_out: u32,
    /// The peer's `beat_out`.
    pub beat_in: u32,
    /// An external watchdog chip.
    pub watchdog: Option<u32>,
}

/// A known trap, and the way around it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trap {
    /// What happens.
    pub what: String,
    /// What to do.
    pub cure: String,
}

/// Every profile, in the order of `boards/`.
///
/// # Panics
/// Never: the profiles are a part of the program, and a test reads them all.
pub fn all() -> Vec<Profile> {
    PROFILES.iter().map(|text| toml::from_str(text).expect("tested")).collect()
}

/// The profile of that name.
///
/// # Errors
/// What names there are.
pub fn named(name: &str) -> Result<Profile, String> {
    let all = all();
    let names: Vec<&str> = all.iter().map(|profile| profile.name.as_str()).collect();
    let known = format!("there is no board {name}; there are: {}", names.join(", "));
    all.iter().find(|profile| profile.name == name).cloned().ok_or(known)
}

/// What the machine says it is (of the device tree, or of DMI), and the profile for it. `root` is
/// where its file system begins.
pub fn detect(root: &Path) -> (Option<String>, Option<Profile>) {
    let tree = read(root, "proc/device-tree/model").or_else(|| {
        // Some kernels show it only here.
        read(root, "sys/firmware/devicetree/base/model")
    });
    if let Some(model) = tree {
        let model = model.trim_end_matches('\0').trim().to_owned();
        let fits = |profile: &Profile| {
            let begins = profile.models.iter().filter(|name| model.starts_with(name.as_str()));
            begins.map(String::len).max()
        };
        let best = all().into_iter().filter_map(|profile| Some((fits(&profile)?, profile)));
        let best = best.max_by_key(|(len, _)| *len).map(|(_, profile)| profile);
        return (Some(model), best);
    }
    let maker = read(root, "sys/class/dmi/id/sys_vendor");
    let product = read(root, "sys/class/dmi/id/product_name");
    let parts: Vec<String> =
        [maker, product].into_iter().flatten().map(|part| part.trim().to_owned()).collect();
    if parts.is_empty() && !cfg!(target_arch = "x86_64") {
        return (None, None);
    }
    let model = (!parts.is_empty()).then(|| parts.join(" "));
    (model, named(PC).ok())
}

/// The text of a file below `root`; `None` if it is not there or cannot be read.
fn read(root: &Path, path: &str) -> Option<String> {
    let bytes = fs::read(root.join(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_read_and_speaks_of_itself() {
        for (profile, text) in all().iter().zip(PROFILES) {
            let name = format!("--board {}`", profile.name);
            assert!(text.contains(&name), "{}", profile.name);
            assert!(!profile.targets.is_empty() && !profile.interfaces.is_empty());
            assert_eq!(named(&profile.name).as_ref(), Ok(profile));
        }
        let error = named("pi-9").expect_err("there is none");
        assert!(
            error.contains("pi-zero, pi-3, pi-4, pi-5, x86-laptop, qemu-virt-arm64"),
            "{error}"
        );
    }

    #[test]
    fn machines_are_known_by_their_device_tree() {
        let dir = std::env::temp_dir().join(format!("latido-board-{}", std::process::id()));
        fs::create_dir_all(dir.join("proc/device-tree")).expect("a directory");
        for (model, board) in [
            ("Raspberry Pi 4 Model B Rev 1.4\0", Some("pi-4")),
            ("Raspberry Pi 400 Rev 1.0\0", Some("pi-4")),
            ("Raspberry Pi 5 Model B Rev 1.0\0", Some("pi-5")),
            ("Raspberry Pi 500 Rev 1.0\0", Some("pi-5")),
            ("Raspberry Pi 3 Model B Plus Rev 1.3\0", Some("pi-3")),
            ("Raspberry Pi Zero 2 W Rev 1.0\0", Some("pi-zero")),
            ("linux,dummy-virt\0", Some("qemu-virt-arm64")),
            ("Banana Pi\0", None),
        ] {
            fs::write(dir.join("proc/device-tree/model"), model).expect("written");
            let (said, found) = detect(&dir);
            assert_eq!(said.as_deref(), Some(model.trim_end_matches('\0')));
            assert_eq!(found.map(|profile| profile.name).as_deref(), board, "{model}");
        }
        fs::remove_dir_all(&dir).expect("removed");
    }
}
