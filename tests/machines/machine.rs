//! One emulated PC: Debian's kernel, busybox, this program, and a script that it plays.
//!
//! What is needed is fetched with apt (nothing is installed) into `$LATIDO_MACHINES_CACHE`, or
//! `target/machines`. Without KVM a machine needs some seconds to start, and its clock is rough:
//! tests judge by order, not by milliseconds.
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_latido");
const INIT: &str = include_str!("init.sh");
/// Drivers that a test may ask for.
const DRIVERS: &str = "kernel/drivers";

/// What apt has fetched.
struct Parts {
    kernel: PathBuf,
    modules: PathBuf,
    busybox: PathBuf,
}

/// Fails in words where a tool is missing: the flag was given, so nothing is skipped.
fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let target = Path::new(PROGRAM).ancestors().nth(2).expect("a target directory");
        let cache = std::env::var_os("LATIDO_MACHINES_CACHE");
        let cache = cache.map_or_else(|| target.join("machines"), PathBuf::from);
        fetch(&cache).unwrap_or_else(|why| panic!("no emulated machine: {why}"))
    })
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}; install it"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn fetch(cache: &Path) -> Result<Parts, String> {
    run(Command::new("qemu-system-x86_64").arg("--version"))
        .map_err(|why| format!("{why} (Debian: apt install qemu-system-x86)"))?;
    let root = cache.join("root");
    let busybox = root.join("bin/busybox");
    let fail = |error: std::io::Error| format!("{}: {error}", cache.display());
    if !busybox.exists() {
        fs::create_dir_all(&root).map_err(fail)?;
        let depends = run(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
        let image = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        let image = image.ok_or("apt knows no linux-image-amd64: `apt update`")?.to_owned();
        run(Command::new("apt-get")
            .args(["download", &image, "busybox-static"])
            .current_dir(cache))?;
        let packages = fs::read_dir(cache).map_err(fail)?.flatten().map(|entry| entry.path());
        for package in packages.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
            run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
            fs::remove_file(&package).map_err(fail)?;
        }
    }
    let boot = fs::read_dir(root.join("boot")).map_err(fail)?.flatten();
    let image = boot.map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    });
    let image = image.ok_or("no kernel was fetched")?;
    let name = image.file_name().unwrap_or_default().to_string_lossy().replace("vmlinuz-", "");
    let kernel = cache.join(format!("vmlinux-{name}"));
    if !kernel.exists() {
        fs::write(&kernel, bare_kernel(&image)?).map_err(fail)?;
    }
    let modules = root.join("lib/modules").join(name);
    let modules = if modules.exists() { modules } else { root.join("usr").join(modules) };
    Ok(Parts { kernel, modules, busybox })
}

/// The kernel without its decompressor: QEMU starts it by itself, which takes 2 s instead of 6.
fn bare_kernel(image: &Path) -> Result<Vec<u8>, String> {
    const XZ: &[u8] = b"\xfd7zXZ\0";
    let bytes = fs::read(image).map_err(|error| error.to_string())?;
    let start = bytes.windows(XZ.len()).position(|part| part == XZ).ok_or("no xz in vmlinuz")?;
    let mut child = Command::new("xz")
        .args(["--decompress", "--stdout", "--single-stream"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("xz: {error}; install xz-utils"))?;
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let feed = std::thread::spawn(move || stdin.write_all(&bytes[start..]));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    // What follows the kernel is no more of xz.
    let _ = feed.join();
    let elf = output.stdout.starts_with(b"\x7fELF");
    elf.then_some(output.stdout).ok_or("the kernel could not be unpacked".to_owned())
}

/// What a machine is made of.
pub(crate) struct Plan<'a> {
    /// Drivers to load, such as `watchdog/i6300esb`, each with its options.
    pub(crate) drivers: &'a [&'a str],
    /// Options of QEMU.
    pub(crate) hardware: &'a [&'a str],
    /// Path and content of each file.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// What is played once it has started.
    pub(crate) script: &'a str,
}

/// A running machine. It is switched off when it is dropped.
pub(crate) struct Machine {
    dir: PathBuf,
    qemu: Child,
    events: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    pub(crate) fn start(plan: &Plan<'_>) -> Machine {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("latido-pc-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let parts = parts();
        let disk = dir.join("initrd");
        initrd(&disk, parts, plan).expect("an initrd");
        let errors = File::create(dir.join("qemu")).expect("a file");
        let qemu = Command::new("qemu-system-x86_64")
            .args("-M q35 -accel tcg -cpu max -m 320 -display none -nodefaults".split(' '))
            .args(["-no-reboot", "-action", "watchdog=reset"])
            .arg("-kernel")
            .arg(&parts.kernel)
            .arg("-initrd")
            .arg(&disk)
            .args(["-append", "console=ttyS0 quiet panic=0 tsc=reliable no_timer_check"])
            .arg("-chardev")
            .arg(format!("file,id=console,path={}", dir.join("console").display()))
            .args(["-device", "isa-serial,chardev=console"])
            .arg("-chardev")
            .arg(format!("socket,id=one,server=on,wait=off,path={}", dir.join("cable").display()))
            .arg("-chardev")
            .arg(format!("socket,id=two,reconnect=1,path={}", dir.join("cable").display()))
            .args(["-device", "isa-serial,chardev=one", "-device", "isa-serial,chardev=two"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", dir.join("qmp").display()))
            .args(plan.hardware)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("QEMU starts");
        let events = Arc::new(Mutex::new(Vec::new()));
        let machine = Machine { dir, qemu, events };
        machine.listen();
        machine
    }

    /// Keeps the names of the events that QEMU tells.
    fn listen(&self) {
        let path = self.dir.join("qmp");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}: {}", self.told()),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").expect("QEMU listens");
        let events = self.events.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(event) = value["event"].as_str() {
                    events.lock().expect("events").push(event.to_owned());
                }
            }
        });
    }

    /// What QEMU has told so far.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().expect("events").clone()
    }

    /// Whether the machine's watchdog has bitten.
    pub(crate) fn bitten(&self) -> bool {
        self.events().iter().any(|event| event == "WATCHDOG")
    }

    /// What stands on its screen.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(self.dir.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    fn told(&self) -> String {
        let qemu = fs::read_to_string(self.dir.join("qemu")).unwrap_or_default();
        format!("events {:?}\n{qemu}\n{}", self.events(), self.console())
    }

    /// Waits for a word of the script.
    pub(crate) fn until(&mut self, word: &str, limit: Duration) {
        let line = format!("MARK {word}");
        let deadline = Instant::now() + limit;
        while !self.console().contains(&line) {
            let ended = self.qemu.try_wait().expect("QEMU").is_some();
            // It may have been written just before.
            let there = self.console().contains(&line);
            assert!(there || !ended, "it ended before `{word}`: {}", self.told());
            assert!(Instant::now() < deadline, "`{word}` did not come: {}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the machine was reset or has switched itself off: both end QEMU.
    pub(crate) fn until_it_ends(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.qemu.try_wait().expect("QEMU").is_none() {
            assert!(Instant::now() < deadline, "it goes on: {}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
        // The thread that listens has the last lines to read.
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            eprintln!("the machine's files are kept: {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The machine's file system.
fn initrd(path: &Path, parts: &Parts, plan: &Plan<'_>) -> std::io::Result<()> {
    let mut archive = Archive::default();
    archive.add("init", INIT.as_bytes(), 0o755);
    archive.add("bin/busybox", &fs::read(&parts.busybox)?, 0o755);
    archive.add("script", plan.script.as_bytes(), 0o755);
    let mut list = String::new();
    for driver in plan.drivers {
        let (name, options) = driver.split_once(' ').unwrap_or((driver, ""));
        let file = parts.modules.join(DRIVERS).join(format!("{name}.ko"));
        let short = name.rsplit('/').next().unwrap_or(name);
        let own = Path::new(name).is_absolute().then(|| PathBuf::from(name));
        let content = fs::read(own.as_ref().unwrap_or(&file))?;
        let short = short.trim_end_matches(".ko");
        archive.add(&format!("modules/{short}.ko"), &content, 0o644);
        list.push_str(&format!("/modules/{short}.ko {options}\n"));
    }
    archive.add("modules/list", list.as_bytes(), 0o644);
    archive.add("bin/latido", &fs::read(PROGRAM)?, 0o755);
    // A program with libraries brings them along.
    let libraries = run(Command::new("ldd").arg(PROGRAM)).unwrap_or_default();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        archive.add(library.trim_start_matches('/'), &fs::read(library)?, 0o755);
    }
    for (name, content) in plan.files {
        let mode = if content.starts_with("#!") { 0o755 } else { 0o600 };
        archive.add(name.trim_start_matches('/'), content.as_bytes(), mode);
    }
    fs::write(path, archive.finish())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// A cpio archive (newc), as the kernel unpacks it.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: Vec<String>,
    number: u32,
}

impl Archive {
    fn add(&mut self, name: &str, content: &[u8], mode: u32) {
        let mut at = 0;
        while let Some(slash) = name[at..].find('/') {
            at += slash;
            let folder = name[..at].to_owned();
            if !self.folders.contains(&folder) {
                self.entry(&folder, &[], 0o040_755);
                self.folders.push(folder);
            }
            at += 1;
        }
        self.entry(name, content, 0o100_000 | mode);
    }

    fn entry(&mut self, name: &str, content: &[u8], mode: u32) {
        self.number += 1;
        let (number, size, length) = (self.number, content.len(), name.len() + 1);
        let header = format!(
            "070701{number:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}\
             {0:08x}{0:08x}{length:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", &[], 0);
        self.bytes
    }
}
