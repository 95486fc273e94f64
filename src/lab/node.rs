//! A node: a machine with processes, which can lose power, freeze, and be unplugged.
use super::cable::{End, NullModem};
use super::error::{Doing, Error, Result};
use super::init::{self, Launch, MESSAGE_MAX, Order, Report};
use super::namespace::Namespace;
use super::network::{Network, Plug, set_up_loopback};
use super::ownership::{Ownership, Watch};
use super::process::{self, Process};
use crate::platform;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a node may take to start itself or a process. Busy machines are slow.
const START_MAX: Duration = Duration::from_secs(20);

/// Its serial devices, below its directory; the node itself sees them in one of this name below
/// the laboratory's directory, so that all nodes can have the same configuration.
pub(super) const DEV: &str = "dev";
/// The same for configurations.
pub(super) const ETC: &str = "etc";

/// A node of the laboratory. It is off until [`Node::power_on`].
#[derive(Debug)]
pub struct Node {
    name: String,
    number: usize,
    program: PathBuf,
    dir: PathBuf,
    plugs: Vec<(Arc<Network>, Plug)>,
    cables: Vec<(Arc<NullModem>, End)>,
    ownership: Ownership,
    boot: Mutex<Option<Boot>>,
}

/// What exists only while the power is on.
#[derive(Debug)]
struct Boot {
    namespace: Namespace,
    init: i32,
    control: Arc<OwnedFd>,
    table: Arc<(Mutex<Table>, Condvar)>,
    reader: Option<JoinHandle<()>>,
    watch: Option<Watch>,
    next_id: u64,
}

/// What process 1 has reported.
#[derive(Debug, Default)]
struct Table {
    ready: Option<std::result::Result<Vec<String>, String>>,
    answers: BTreeMap<u64, std::result::Result<i32, String>>,
    ended: BTreeMap<i32, Exit>,
    closed: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What a node is made of.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) plugs: Vec<(Arc<Network>, Plug)>,
    pub(super) cables: Vec<(Arc<NullModem>, End)>,
    pub(super) ownership: Ownership,
}

impl Node {
    pub(super) fn new(parts: Parts) -> Result<Node> {
        let Parts { name, number, program, dir, plugs, cables, ownership } = parts;
        for part in ["log", DEV, ETC] {
            fs::create_dir_all(dir.join(part)).doing(format!("creating {}", dir.display()))?;
        }
        let boot = Mutex::new(None);
        Ok(Node { name, number, program, dir, plugs, cables, ownership, boot })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, kept while the power is off. What is in `etc` below it, the node itself sees
    /// in `etc` below the laboratory's directory: a place for what differs between nodes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its runtime directory: empty after each start, as a tmpfs is.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Where a process started under this name writes to.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(name)
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Switches the power on: a fresh start with a new boot id, nothing running, all cables
    /// plugged in. Returns what the kernel did not permit, one line for each.
    ///
    /// # Errors
    /// When it is on already, or a part of it cannot be had.
    pub fn power_on(&self) -> Result<Vec<String>> {
        let mut slot = self.lock();
        if slot.is_some() {
            return Err(Error::new(format!("{} is on already", self.name)));
        }
        let run = self.runtime_dir();
        let _ = fs::remove_dir_all(&run);
        fs::create_dir_all(&run).doing(format!("creating {}", run.display()))?;
        let boot_id = self.dir.join("boot_id");
        let uuid = fs::read("/proc/sys/kernel/random/uuid").doing("drawing a boot id")?;
        fs::write(&boot_id, uuid).doing(format!("writing {}", boot_id.display()))?;
        let namespace = Namespace::new(&self.name)?;
        set_up_loopback(&namespace)?;
        let watch = self.ownership.watch(&self.name, &namespace)?;
        for (network, plug) in &self.plugs {
            network.connect(&self.name, self.number, &namespace, plug)?;
        }
        for (cable, end) in &self.cables {
            cable.plug(*end)?;
            cable.set(*end, true);
        }
        let bind = |name| (self.dir.join(name), self.dir.with_file_name(name));
        let binds = [DEV, ETC].map(bind).to_vec();
        let machine = init::Machine { name: self.name.clone(), boot_id, binds };
        let boot = Boot::start(&self.program, &self.name, namespace, watch, &machine)?;
        let warnings = boot.ready();
        // Even a half-started node has processes: it must be kept to be ended properly.
        *slot = Some(boot);
        warnings.map_err(|why| Error::new(format!("{} cannot start: {why}", self.name)))
    }

    /// Cuts the power and returns when. Its cables go dark first, then all its processes are
    /// killed: nothing is sent any more, no farewell. Its peer keeps its carriers, as with a
    /// switch between them.
    ///
    /// # Errors
    /// When it is off already.
    pub fn power_cut(&self) -> Result<Instant> {
        let mut slot = self.lock();
        let Some(mut boot) = slot.take() else {
            return Err(Error::new(format!("{} is off already", self.name)));
        };
        let at = Instant::now();
        // The LAN last: a node that saw only its LAN go dark would hand over by another path.
        for (cable, end) in &self.cables {
            cable.set(*end, false);
        }
        for (network, _) in self.plugs.iter().rev() {
            network.set_cable(&self.name, false)?;
        }
        if let Some(watch) = boot.watch.take() {
            watch.power_off(at);
        }
        drop(boot);
        Ok(at)
    }

    /// Starts a process and returns its number as the laboratory sees it (0 when it has ended
    /// meanwhile). Its output is appended
    /// to [`Node::log`] of `log`.
    ///
    /// # Errors
    /// When the node is off or the program cannot be started.
    pub fn spawn<S: Into<String>>(
        &self,
        log: &str,
        command: impl IntoIterator<Item = S>,
    ) -> Result<i32> {
        let inner = self.start(log, command.into_iter().map(Into::into).collect())?;
        let found = self.processes().into_iter().find(|one| one.inner_pid == inner);
        // One that has ended at once has no number here any more.
        Ok(found.map_or(0, |process| process.pid))
    }

    /// Runs a command to its end and returns how it ended and what it wrote.
    ///
    /// # Errors
    /// As [`Node::spawn`], or when it has not ended after `limit`.
    pub fn run<S: Into<String>>(
        &self,
        command: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<(Exit, String)> {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        let name = {
            let mut slot = self.lock();
            let boot = slot.as_mut().ok_or_else(|| self.off())?;
            format!("run-{}-{}", boot.init, boot.next_id)
        };
        let what = command.join(" ");
        let inner = self.start(&name, command)?;
        let exit = super::wait::until(limit, format!("the end of {what}"), || {
            let slot = self.lock();
            let table = slot.as_ref().map(|boot| boot.table())?;
            table.ended.get(&inner).copied()
        })?;
        let output = fs::read_to_string(self.log(&name)).doing("reading its output")?;
        let _ = fs::remove_file(self.log(&name));
        Ok((exit, output))
    }

    /// Its number as the node sees it.
    fn start(&self, log: &str, command: Vec<String>) -> Result<i32> {
        let what = command.join(" ");
        let mut slot = self.lock();
        let boot = slot.as_mut().ok_or_else(|| self.off())?;
        let id = boot.next_id;
        boot.next_id += 1;
        let environment = vec![("LATIDO_LAB".to_owned(), self.name.clone())];
        boot.order(&Order::Start(Launch { id, command, environment, log: self.log(log) }))?;
        boot.answer(id).doing(format!("{}: {what}", self.name))
    }

    /// Every process of the node except process 1, parents before children.
    pub fn processes(&self) -> Vec<Process> {
        let init = self.lock().as_ref().map(|boot| boot.init);
        init.map(process::descendants).unwrap_or_default()
    }

    /// The daemon: a process started here whose command line contains the word `run`.
    pub fn daemon(&self) -> Option<Process> {
        let init = self.lock().as_ref().map(|boot| boot.init)?;
        let ours = |one: &Process| {
            one.parent == init && one.state != 'Z' && one.command.iter().any(|word| word == "run")
        };
        self.processes().into_iter().find(ours)
    }

    /// The daemon's engine: the child of [`Node::daemon`] that runs the same program.
    pub fn engine(&self) -> Option<Process> {
        let daemon = self.daemon()?;
        let program = |pid| fs::read_link(format!("/proc/{pid}/exe")).ok();
        self.processes().into_iter().find(|one| {
            one.parent == daemon.pid && one.state != 'Z' && program(one.pid) == program(daemon.pid)
        })
    }

    /// Sends a signal to a process of this node.
    ///
    /// # Errors
    /// When the node has no such process (any more).
    pub fn signal(&self, pid: i32, signal: Signal) -> Result<()> {
        let none = || Error::new(format!("{} has no process {pid}", self.name));
        if !self.processes().iter().any(|process| process.pid == pid) {
            return Err(none());
        }
        let pid = Pid::from_raw(pid).ok_or_else(none)?;
        rustix::process::kill_process(pid, signal).doing(format!("signalling {}", self.name))
    }

    /// Sends a signal to these processes and all their descendants, parents first.
    pub fn signal_family(&self, pid: i32, signal: Signal) {
        let family = process::descendants(pid);
        for pid in std::iter::once(pid).chain(family.iter().map(|one| one.pid)) {
            // One that has ended meanwhile needs no signal.
            let _ = self.signal(pid, signal);
        }
    }

    /// Stops every process of the node (SIGSTOP), as a machine that hangs. Its kernel still
    /// answers. Returns when the last one stood.
    pub fn freeze(&self) -> Instant {
        loop {
            let moving: Vec<i32> = self
                .processes()
                .iter()
                .filter(|process| !matches!(process.state, 'T' | 'Z' | 'X'))
                .map(|process| process.pid)
                .collect();
            if moving.is_empty() {
                return Instant::now();
            }
            for pid in moving {
                let _ = self.signal(pid, Signal::STOP);
            }
        }
    }

    /// Lets all of them go on (SIGCONT).
    pub fn thaw(&self) {
        for process in self.processes() {
            let _ = self.signal(process.pid, Signal::CONT);
        }
    }

    /// Pulls a cable out of the node (both its interface and the switch's port lose the carrier),
    /// or plugs it in.
    ///
    /// # Errors
    /// When the node has no port in that network.
    pub fn set_cable(&self, network: &str, plugged: bool) -> Result<()> {
        let found = self.plugs.iter().find(|(one, _)| one.name() == network);
        let (network, _) = found
            .ok_or_else(|| Error::new(format!("{} is not in the network {network}", self.name)))?;
        network.set_cable(&self.name, plugged)
    }

    /// Takes the node's interface of a network away, as if the card was pulled out, and puts in a
    /// new one of the same name, with a cable and the addresses of the plan.
    ///
    /// # Errors
    /// When the node is off or has no port in that network.
    pub fn exchange_interface(&self, network: &str) -> Result<()> {
        let slot = self.lock();
        let boot = slot.as_ref().ok_or_else(|| self.off())?;
        let found = self.plugs.iter().find(|(one, _)| one.name() == network);
        let (network, plug) = found
            .ok_or_else(|| Error::new(format!("{} is not in the network {network}", self.name)))?;
        network.connect(&self.name, self.number, &boot.namespace, plug)
    }

    /// The device of its first serial cable, seen from outside. The node itself, and every other
    /// node, finds its own as [`Lab::serial_device`](super::Lab::serial_device).
    pub fn serial_device(&self) -> Option<PathBuf> {
        self.cables.first().map(|(cable, end)| cable.path(*end))
    }

    /// Runs `job` in the node's network namespace: opens sockets there, changes addresses.
    ///
    /// # Errors
    /// When the node is off.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let slot = self.lock();
        Ok(slot.as_ref().ok_or_else(|| self.off())?.namespace.run(job))
    }

    fn off(&self) -> Error {
        Error::new(format!("{} is off", self.name))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Boot>> {
        self.boot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Boot {
    fn start(
        program: &Path,
        name: &str,
        namespace: Namespace,
        watch: Watch,
        machine: &init::Machine,
    ) -> Result<Boot> {
        let doing = || format!("starting process 1 of {name}");
        let (control, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .doing(doing())?;
        let argument = serde_json::to_string(machine).doing(doing())?;
        let mut command = Command::new(program);
        command.args(["lab-init", &argument]).stdin(theirs).stdout(Stdio::null());
        // Ctrl-C is for the laboratory; the nodes then lose their power with it.
        command.process_group(0);
        // The child is killed when the thread that started it ends: the namespace's, not ours.
        let child = namespace
            .run(move || {
                platform::namespace::new_pids_for_children()?;
                command.spawn()
            })
            .doing(format!("{} ({})", doing(), program.display()))?;
        let init = i32::try_from(child.id()).doing(doing())?;
        let table = Arc::new((Mutex::new(Table::default()), Condvar::new()));
        let control = Arc::new(control);
        let shared = (Arc::clone(&control), Arc::clone(&table));
        let reader = std::thread::Builder::new()
            .name(format!("control {name}"))
            .spawn(move || {
                read_reports(&shared.0, &shared.1);
                let mut child = child;
                let _ = child.wait();
            })
            .doing(doing())?;
        let (reader, watch) = (Some(reader), Some(watch));
        Ok(Boot { namespace, init, control, table, reader, watch, next_id: 0 })
    }

    fn order(&self, order: &Order) -> Result<()> {
        let text = serde_json::to_vec(order).doing("writing an order")?;
        if text.len() > MESSAGE_MAX {
            return Err(Error::new("the command line is too long"));
        }
        rustix::net::send(&*self.control, &text, SendFlags::NOSIGNAL)
            .doing("giving process 1 an order")?;
        Ok(())
    }

    fn ready(&self) -> Result<Vec<String>> {
        self.wait(|table| table.ready.clone())?.map_err(Error::new)
    }

    fn answer(&self, id: u64) -> Result<i32> {
        self.wait(|table| table.answers.remove(&id))?.map_err(Error::new)
    }

    fn wait<T>(&self, mut look: impl FnMut(&mut Table) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + START_MAX;
        let mut table = self.table();
        loop {
            if let Some(found) = look(&mut table) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if table.closed || left.is_zero() {
                return Err(Error::new("its process 1 does not answer"));
            }
            let (back, _) =
                self.table.1.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner);
            table = back;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // Killed, not asked: the kernel then kills all others before anything of them runs again.
        if let Some(pid) = Pid::from_raw(self.init) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read_reports(control: &OwnedFd, table: &(Mutex<Table>, Condvar)) {
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let length = match rustix::net::recv(control, &mut buffer[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => 0,
            Ok((length, _)) => length,
        };
        let message = buffer.get(..length).filter(|message| !message.is_empty());
        let mut reports = table.0.lock().unwrap_or_else(PoisonError::into_inner);
        match message.and_then(|message| serde_json::from_slice(message).ok()) {
            Some(Report::Ready { warnings }) => reports.ready = Some(Ok(warnings)),
            Some(Report::Unfit { why }) => reports.ready = Some(Err(why)),
            Some(Report::Started { id, pid }) => {
                reports.answers.insert(id, Ok(pid));
            }
            Some(Report::Failed { id, why }) => {
                reports.answers.insert(id, Err(why));
            }
            Some(Report::Ended { pid, code, signal }) => {
                let exit = signal.map_or(Exit::Code(code.unwrap_or(-1)), Exit::Signal);
                reports.ended.insert(pid, exit);
            }
            None => reports.closed = true,
        }
        let closed = reports.closed;
        drop(reports);
        table.1.notify_all();
        if closed {
            return;
        }
    }
}
