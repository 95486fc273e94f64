//! Process 1 of a node: starts what the laboratory asks for and reaps what is left behind.
//!
//! It talks to the laboratory over the packet socket that is its standard input, in JSON. When the
//! laboratory goes away, by whatever way, it ends, and the kernel ends every process of the node.
use super::error::{Doing, Error, Result};
use crate::platform::namespace;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitOptions};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Write, stderr, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the longest message in either direction.
pub(super) const MESSAGE_MAX: usize = 64 * 1024;

/// What a node is to look like to its processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    /// Its host name.
    pub(super) name: String,
    /// A file that is to be seen as `/proc/sys/kernel/random/boot_id`.
    pub(super) boot_id: PathBuf,
    /// Directories that are to be seen at another place: where they are, and that place.
    pub(super) binds: Vec<(PathBuf, PathBuf)>,
}

/// What a process is started from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) id: u64,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) log: PathBuf,
}

/// From the laboratory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Start a process.
    Start(Launch),
}

/// To the laboratory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The node is set up; what could not be had.
    Ready { warnings: Vec<String> },
    /// It cannot be set up.
    Unfit { why: String },
    /// An order was carried out.
    Started { id: u64, pid: i32 },
    /// An order was not carried out.
    Failed { id: u64, why: String },
    /// A process has ended: exit code, or the signal that killed it.
    Ended { pid: i32, code: Option<i32>, signal: Option<i32> },
}

/// Runs the node's process 1. `args` are those after the hidden subcommand: one JSON `Machine`.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = report(&Report::Unfit { why: why.to_string() });
            let _ = writeln!(stderr(), "latido lab-init: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing("asking to be killed with the laboratory")?;
    let machine = args.next().ok_or_else(|| Error::new("is started by the laboratory only"))?;
    let machine: Machine = serde_json::from_str(&machine).doing("reading the arguments")?;
    if std::process::id() != 1 {
        return Err(Error::new("must be process 1 of a PID namespace"));
    }
    let warnings = set_up(&machine)?;
    let starting = Arc::new(Mutex::new(()));
    let (started, wake) = channel();
    let lock = Arc::clone(&starting);
    std::thread::Builder::new()
        .name("reaper".into())
        .spawn(move || {
            // Without children there is nothing to wait for until the next one was started.
            while wake.recv().is_ok() {
                reap_all(&lock);
            }
        })
        .doing("starting the reaper")?;
    report(&Report::Ready { warnings })?;
    serve(&starting, &started)
}

/// Carries out orders until the laboratory is gone.
fn serve(starting: &Mutex<()>, started: &Sender<()>) -> Result<()> {
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let (length, _) = match rustix::net::recv(stdin(), &mut buffer[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.doing("waiting for orders")?,
        };
        let Some(message) = buffer.get(..length).filter(|message| !message.is_empty()) else {
            return Ok(());
        };
        let Order::Start(launch) = serde_json::from_slice(message).doing("reading an order")?;
        let id = launch.id;
        // The lock keeps the reaper from taking a child of which the laboratory was not yet told.
        let guard = locked(starting);
        match start(&launch) {
            Ok(pid) => report(&Report::Started { id, pid })?,
            Err(why) => report(&Report::Failed { id, why: why.to_string() })?,
        }
        drop(guard);
        let _ = started.send(());
    }
}

fn locked(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(launch: &Launch) -> Result<i32> {
    let (program, args) =
        launch.command.split_first().ok_or_else(|| Error::new("an empty command"))?;
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(&launch.log)
        .doing(format!("opening {}", launch.log.display()))?;
    let errors = log.try_clone().doing("sharing the log")?;
    let child = Command::new(program)
        .args(args)
        .envs(launch.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .doing(format!("starting {program}"))?;
    i32::try_from(child.id()).doing("its number")
}

/// Reaps children, adopted ones included, until none is left.
fn reap_all(starting: &Mutex<()>) {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match rustix::process::waitid(WaitId::All, peek) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let guard = locked(starting);
        let ended = rustix::process::wait(WaitOptions::NOHANG);
        drop(guard);
        let Ok(Some((pid, status))) = ended else { continue };
        let told = report(&Report::Ended {
            pid: pid.as_raw_nonzero().get(),
            code: status.exit_status(),
            signal: status.terminating_signal(),
        });
        if told.is_err() {
            return;
        }
    }
}

fn report(message: &Report) -> Result<()> {
    let text = serde_json::to_vec(message).doing("writing a report")?;
    rustix::net::send(stdin(), &text, SendFlags::NOSIGNAL).doing("reporting")?;
    Ok(())
}

/// Makes this process look like a machine of its own. Returns what it has to do without.
fn set_up(machine: &Machine) -> Result<Vec<String>> {
    namespace::new_machine().doing("leaving the host's mounts and host name")?;
    rustix::system::sethostname(machine.name.as_bytes()).doing("setting the host name")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing("separating the mounts")?;
    let mut warnings = Vec::new();
    let proc_flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(why) = rustix::mount::mount("proc", "/proc", "proc", proc_flags, None) {
        warnings.push(format!("/proc shows the host's process numbers ({why})"));
    }
    let boot_id = Path::new("/proc/sys/kernel/random/boot_id");
    if let Err(why) = rustix::mount::mount_bind(&machine.boot_id, boot_id) {
        warnings.push(format!("a reboot keeps the boot id ({why})"));
    }
    // sysfs shows the interfaces of the namespace that mounted it.
    if let Err(why) = rustix::mount::mount("sysfs", "/sys", "sysfs", proc_flags, None) {
        warnings.push(format!("/sys shows the host's interfaces ({why})"));
    }
    for (from, to) in &machine.binds {
        rustix::mount::mount_bind(from, to).doing(format!(
            "showing {} as {}",
            from.display(),
            to.display()
        ))?;
    }
    hide_host(&mut warnings);
    Ok(warnings)
}

/// A node must neither command the host's services nor arm its watchdog.
fn hide_host(warnings: &mut Vec<String>) {
    for dir in ["/run/systemd", "/run/dbus", "/run/latido", "/etc/latido", "/etc/ha.d"] {
        if Path::new(dir).is_dir() {
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            if let Err(why) = rustix::mount::mount("tmpfs", dir, "tmpfs", flags, None) {
                warnings.push(format!("{dir} is the host's ({why})"));
            }
        }
    }
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    for device in devices {
        if device.file_name().to_string_lossy().starts_with("watchdog")
            && let Err(why) = rustix::mount::mount_bind("/dev/null", device.path())
        {
            warnings.push(format!("{} is the host's ({why})", device.path().display()));
        }
    }
}
