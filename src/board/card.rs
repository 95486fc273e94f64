//! Puts Latido onto a mounted Raspberry Pi OS card: program, unit, configuration, UART.
use super::Profile;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const UNIT: &str = include_str!("../../packaging/systemd/latido.service");
const TMPFILES: &str = include_str!("../../packaging/tmpfiles.d/latido.conf");
/// Where the unit is wanted when it is enabled.
const WANTS: &str = "etc/systemd/system/multi-user.target.wants";
/// Machine of an ELF program, in the order of `e_machine`: AArch64, ARM.
const AARCH64: u16 = 183;
const ARM: u16 = 40;

/// What goes onto the card.
#[derive(Clone, Debug)]
pub struct Cargo<'a> {
    /// The program for the card's machine.
    pub program: &'a Path,
    /// Configuration to put there.
    pub config: Option<&'a Path>,
    /// Key file to put there.
    pub keys: Option<&'a Path>,
    /// Whether the daemon starts with the machine.
    pub enable: bool,
}

/// What was done, line by line.
pub type Done = Vec<String>;

/// Puts `cargo` onto the card whose boot partition is mounted at `boot` and whose file system
/// is at `root`. Repeating it changes nothing more.
///
/// # Errors
/// What does not fit, before anything was written, or what could not be written.
pub fn add(profile: &Profile, boot: &Path, root: &Path, cargo: &Cargo<'_>) -> Result<Done, String> {
    look(profile, boot, root, cargo)?;
    let mut done = Vec::new();
    let mut put = |bytes: &[u8], place: &str, mode: u32| -> Result<(), String> {
        done.push(write(bytes, &root.join(place), mode)?);
        Ok(())
    };
    put(&read(cargo.program)?, "usr/bin/latido", 0o755)?;
    put(UNIT.as_bytes(), "etc/systemd/system/latido.service", 0o644)?;
    put(TMPFILES.as_bytes(), "etc/tmpfiles.d/latido.conf", 0o644)?;
    if let Some(config) = cargo.config {
        put(&read(config)?, "etc/latido/latido.toml", 0o644)?;
    }
    if let Some(keys) = cargo.keys {
        put(&read(keys)?, "etc/latido/keys", 0o600)?;
    }
    if cargo.enable {
        done.push(enable(root)?);
    }
    done.extend(uart(profile, boot, root)?);
    Ok(done)
}

/// Everything that can be wrong, before the first byte is written.
fn look(profile: &Profile, boot: &Path, root: &Path, cargo: &Cargo<'_>) -> Result<(), String> {
    if !root.join("etc").is_dir() || !root.join("usr").is_dir() {
        return Err(format!(
            "{} is no Linux system: mount the card's second partition there, and \
                            name that directory with --root",
            root.display()
        ));
    }
    if !profile.uart.boot.is_empty() && !boot.join("config.txt").is_file() {
        return Err(format!(
            "{} has no config.txt: mount the card's first partition there, and \
                            name that directory with --boot",
            boot.display()
        ));
    }
    let program = read(cargo.program)?;
    let machine = program.get(18..20).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let elf = program.starts_with(b"\x7fELF");
    let wide = profile.targets.iter().any(|target| target.starts_with("aarch64"));
    let narrow = profile.targets.iter().any(|target| target.starts_with("arm"));
    match machine.filter(|_| elf) {
        Some(AARCH64) if wide => {}
        Some(ARM) if narrow => {}
        _ => {
            return Err(format!(
                "{} is no program for {}: build one with `cross build --release --target {}`",
                cargo.program.display(),
                profile.title,
                profile.targets.first().map_or("", String::as_str)
            ));
        }
    }
    // A 64-bit program needs a 64-bit kernel; the user land may be of either kind.
    for file in [cargo.config, cargo.keys].into_iter().flatten() {
        read(file)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Complete or not at all, and not at all if it is there already.
fn write(bytes: &[u8], place: &Path, mode: u32) -> Result<String, String> {
    let say = |error: io::Error| format!("{}: {error}", place.display());
    if fs::read(place).is_ok_and(|there| there == bytes) {
        return Ok(format!("{} was there already", place.display()));
    }
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir).map_err(say)?;
    }
    let mut new = place.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, bytes).map_err(say)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).map_err(say)?;
    fs::File::open(&new).and_then(|file| file.sync_all()).map_err(say)?;
    fs::rename(&new, place).map_err(say)?;
    Ok(format!("{} written", place.display()))
}

fn enable(root: &Path) -> Result<String, String> {
    let link = root.join(WANTS).join("latido.service");
    if link.symlink_metadata().is_ok() {
        return Ok("latido.service was enabled already".into());
    }
    let say = |error: io::Error| format!("{}: {error}", link.display());
    fs::create_dir_all(root.join(WANTS)).map_err(say)?;
    symlink("/etc/systemd/system/latido.service", &link).map_err(say)?;
    Ok("latido.service enabled: it starts with the machine".into())
}

/// The UART to the pins, and no console on it.
fn uart(profile: &Profile, boot: &Path, root: &Path) -> Result<Done, String> {
    let mut done = Vec::new();
    if profile.uart.boot.is_empty() {
        return Ok(done);
    }
    let file = boot.join("config.txt");
    let text = String::from_utf8_lossy(&read(&file)?).into_owned();
    let has = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
    let missing: Vec<&str> =
        profile.uart.boot.iter().map(String::as_str).filter(|line| !has(line)).collect();
    if missing.is_empty() {
        done.push(format!("{} has the UART on the pins already", file.display()));
    } else {
        let mut new = text.clone();
        if !new.ends_with('\n') && !new.is_empty() {
            new.push('\n');
        }
        // Lines after a section such as [pi4] would count there alone.
        new += "\n[all]\n# Latido: the good UART on pins 8 and 10.\n";
        missing.iter().for_each(|line| new += &format!("{line}\n"));
        done.push(write(new.as_bytes(), &file, 0o755)?);
    }
    let file = boot.join("cmdline.txt");
    if let Ok(text) = fs::read_to_string(&file) {
        let console = |word: &str| {
            let name = word.strip_prefix("console=").and_then(|rest| rest.split(',').next());
            name.is_some_and(|name| profile.uart.console.iter().any(|known| known == name))
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let kept: Vec<&str> = words.iter().copied().filter(|word| !console(word)).collect();
        if kept.len() < words.len() {
            done.push(write((kept.join(" ") + "\n").as_bytes(), &file, 0o755)?);
        }
    }
    for unit in &profile.uart.services {
        let link = root.join("etc/systemd/system").join(unit);
        if link.symlink_metadata().is_err() {
            let say = |error: io::Error| format!("{}: {error}", link.display());
            fs::create_dir_all(root.join("etc/systemd/system")).map_err(say)?;
            symlink("/dev/null", &link).map_err(say)?;
            done.push(format!("{unit} masked: it holds the line"));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::named;

    struct Card(PathBuf);

    impl Card {
        fn new(name: &str) -> Card {
            let dir = std::env::temp_dir().join(format!("latido-{name}-{}", std::process::id()));
            for sub in ["boot", "root/etc", "root/usr"] {
                fs::create_dir_all(dir.join(sub)).expect("a directory");
            }
            let card = Card(dir);
            card.write("boot/config.txt", "dtparam=audio=on\n[pi4]\narm_boost=1\n");
            card.write("boot/cmdline.txt", "console=serial0,115200 console=tty1 root=PARTUUID=1\n");
            card
        }

        fn write(&self, place: &str, text: &str) {
            fs::write(self.0.join(place), text).expect("written");
        }

        fn read(&self, place: &str) -> String {
            fs::read_to_string(self.0.join(place)).expect("readable")
        }

        fn add(&self, machine: u16) -> Result<Done, String> {
            let mut elf = vec![0; 64];
            elf[..4].copy_from_slice(b"\x7fELF");
            elf[18..20].copy_from_slice(&machine.to_le_bytes());
            fs::write(self.0.join("latido"), elf).expect("written");
            self.write("latido.toml", "# a configuration\n");
            self.write("keys", "# keys\n");
            let (program, config) = (self.0.join("latido"), self.0.join("latido.toml"));
            let keys = self.0.join("keys");
            let cargo =
                Cargo { program: &program, config: Some(&config), keys: Some(&keys), enable: true };
            let profile = named("pi-4").expect("known");
            add(&profile, &self.0.join("boot"), &self.0.join("root"), &cargo)
        }
    }

    impl Drop for Card {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_card_gets_everything_once() {
        let card = Card::new("card");
        card.add(AARCH64).expect("it fits");
        let config = card.read("boot/config.txt");
        assert!(config.ends_with(
            "[all]\n# Latido: the good UART on pins 8 and 10.\nenable_uart=1\n\
             dtoverlay=disable-bt\n"
        ));
        assert_eq!(card.read("boot/cmdline.txt"), "console=tty1 root=PARTUUID=1\n");
        assert!(card.read("root/etc/systemd/system/latido.service").contains("latido run"));
        assert_eq!(card.read("root/etc/latido/latido.toml"), "# a configuration\n");
        let keys = fs::metadata(card.0.join("root/etc/latido/keys")).expect("there");
        assert_eq!(keys.permissions().mode() & 0o777, 0o600);
        let wanted = card.0.join("root").join(WANTS).join("latido.service");
        assert!(wanted.symlink_metadata().is_ok());

        let again = card.add(AARCH64).expect("it fits still");
        assert!(again.iter().all(|line| line.contains("already")), "{again:?}");
        assert_eq!(card.read("boot/config.txt"), config);
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let card = Card::new("wrong-card");
        let error = card.add(62).expect_err("a PC's program");
        assert!(error.contains("aarch64-unknown-linux-musl"), "{error}");
        assert!(!card.0.join("root/usr/bin").exists());
        fs::remove_dir_all(card.0.join("root/usr")).expect("removed");
        let error = card.add(AARCH64).expect_err("no system");
        assert!(error.contains("--root"), "{error}");
    }
}
