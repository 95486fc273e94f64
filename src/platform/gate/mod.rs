//! The lease gate: an address cannot outlive its group's deadline.
//!
//! A daemon that was killed, stopped or hangs cannot take its address down, so the kernel keeps
//! the address silent: a small program on every Ethernet-like interface drops what is from or for
//! it once the deadline is over (`program` says exactly what). Renewing is one store into shared
//! memory. No process holds the programs: they outlive engine and supervisor, and closed is how a
//! gate starts. The next engine finds them and takes over: deadlines that still run go on, each
//! interface's program is exchanged in one step.
//!
//! Linux 5.8 or newer with `CONFIG_BPF_SYSCALL` and either tcx (6.6) or `CONFIG_NET_CLS_BPF` and
//! `CONFIG_NET_SCH_INGRESS`; CAP_BPF and CAP_NET_ADMIN in the first user namespace, CAP_SYS_ADMIN
//! for tcx and to go on with a predecessor's deadlines. Everything happens in the network
//! namespace of the thread that calls [`Gate::open`].
mod assembler;
mod attach;
mod cover;
mod deadline;
mod program;

pub use attach::Tag;
pub use cover::Cover;

use super::bpf::{Direction, Map, Program, SharedWords};
use super::clock;
use super::netlink::{Monitor, Socket};
use super::process::{Wake, wait_readable};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::Instant;
use attach::{Attacher, Way};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Addresses of one group.
pub const ADDRESSES_MAX: usize = 8;
/// Two words for each group.
const WORDS: usize = 2 * GROUPS_MAX;
const BYTES: usize = WORDS * 4;
const GROUPS_MAP: &str = "latido_groups";
const DEADLINES_MAP: &str = "latido_due";
/// How often the interfaces are looked at although nothing was heard of them: somebody may have
/// taken a program off.
const AUDIT: Duration = Duration::from_secs(10);
/// Small, because locked memory is paid for in full.
const STACK: usize = 128 * 1024;

/// Why there is no gate: for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

impl Unavailable {
    fn new(what: &str, error: &io::Error, verifier: &str) -> Self {
        let cure = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) if verifier.is_empty() => {
                "it takes CAP_BPF and CAP_NET_ADMIN outside of user namespaces (root has them), \
                 and before Linux 5.11 LimitMEMLOCK=infinity"
            }
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOENT) => {
                "it takes Linux 5.8 or newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and \
                 CONFIG_NET_SCH_INGRESS"
            }
            _ => "",
        };
        let mut text = format!("cannot {what}: {error}");
        for part in [verifier, cure].iter().filter(|part| !part.is_empty()) {
            text.push_str("; ");
            text.push_str(part);
        }
        Unavailable(text)
    }
}

/// The gate. Dropping it leaves it in the kernel, where it closes as each deadline ends.
pub struct Gate {
    deadlines: SharedWords,
    addresses: Vec<IpAddr>,
    tag: Tag,
    quit: Arc<Quit>,
    cover: Cover,
    thread: Option<JoinHandle<()>>,
    ungated: Ungated,
    /// Nanoseconds by which our clock is ahead of the kernel's.
    clock_ahead: i64,
}

/// Interfaces that are not gated, each with the reason; kept up to date.
#[derive(Clone, Debug, Default)]
pub struct Ungated(Arc<Mutex<Vec<String>>>);

impl Ungated {
    /// What they are now.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores what they are; returns those that are new.
    fn set(&self, places: Vec<String>) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = places.iter().filter(|place| !known.contains(place)).cloned().collect();
        *known = places;
        new
    }
}

struct Quit {
    wanted: AtomicBool,
    wake: Wake,
}

impl Gate {
    /// Puts the gate in front of the addresses of each group: closed, or open as long as that of
    /// a predecessor with the same `tag` was, which it replaces.
    ///
    /// # Errors
    /// Why the kernel does not give it. Nothing is left in it then, not even a predecessor's.
    pub fn open(tag: Tag, groups: &[Vec<IpAddr>]) -> Result<Gate, Unavailable> {
        Gate::open_by(Way::of_this_kernel(), tag, groups)
    }

    fn open_by(way: Way, tag: Tag, groups: &[Vec<IpAddr>]) -> Result<Gate, Unavailable> {
        Gate::put(way, tag, groups).inspect_err(|_| {
            // A closed gate of a predecessor would silence addresses that nobody can vouch for.
            let _ = sweep(tag);
        })
    }

    fn put(way: Way, tag: Tag, groups: &[Vec<IpAddr>]) -> Result<Gate, Unavailable> {
        let failed = |what: &'static str| move |error| Unavailable::new(what, &error, "");
        let most = groups.iter().map(Vec::len).max().unwrap_or(0);
        if groups.len() > GROUPS_MAX || most > ADDRESSES_MAX {
            return Err(Unavailable(format!(
                "the lease gate is for {GROUPS_MAX} groups of {ADDRESSES_MAX} addresses, not for \
                 {} with up to {most}",
                groups.len()
            )));
        }
        let (maps, deadlines) = make_maps(groups).map_err(failed("make the lease gate's maps"))?;
        let mut socket = Socket::open().map_err(failed("open a netlink socket"))?;
        let old = attach::predecessor(&mut socket, tag)
            .map_err(failed("look for a lease gate of before"))?;
        if let Some(old) = old {
            carry_over(&old, groups, &deadlines)
                .map_err(failed("read the lease gate of before"))?;
        }
        let monitor = Monitor::links_only().map_err(failed("watch the interfaces"))?;
        let clock_ahead = deadline::clock_ahead();
        let before = clock::now();
        let ingress = load(tag, Direction::Ingress, &maps)?;
        let loaded = ingress.loaded_at().map_err(failed("look at the lease gate's program"))?;
        check_clock(before, loaded.saturating_add_signed(clock_ahead), clock::now())?;
        let egress = load(tag, Direction::Egress, &maps)?;
        let mut attacher = Attacher { tag, way, ingress, egress, socket };
        let ungated = Ungated::default();
        ungated.set(attacher.attach());
        let wake = Wake::new().map_err(failed("make an event"))?;
        let quit = Arc::new(Quit { wanted: AtomicBool::new(false), wake });
        let cover = Cover::new(Arc::clone(&quit));
        let thread = std::thread::Builder::new()
            .name("gate".into())
            .stack_size(STACK)
            .spawn({
                let (cover, ungated) = (cover.clone(), ungated.clone());
                move || watch(attacher, monitor, &cover, &ungated)
            })
            .map_err(failed("start the lease gate's thread"))?;
        let addresses = groups.iter().flatten().copied().collect();
        let thread = Some(thread);
        Ok(Gate { deadlines, addresses, tag, quit, cover, thread, ungated, clock_ahead })
    }

    /// Interfaces that could not be gated. Those that come after opening are logged, too.
    pub fn ungated(&self) -> &Ungated {
        &self.ungated
    }

    /// For those who put an address on an interface that has just come.
    pub fn cover(&self) -> Cover {
        self.cover.clone()
    }

    /// Lets the addresses of a group speak `until` then (at most 4.6 minutes from now; renew it).
    /// A few instructions, no system call, may be called from any thread.
    pub fn vouch(&self, group: usize, until: Instant) {
        self.store(group, deadline::words(until, clock::now(), self.clock_ahead));
    }

    /// Silences the addresses of a group at once.
    pub fn close(&self, group: usize) {
        self.store(group, deadline::CLOSED);
    }

    fn store(&self, group: usize, (lower, upper): (u32, u32)) {
        let at = 2 * group;
        if self.deadlines.get(at + 1) != upper {
            self.deadlines.set(at + 1, upper);
        }
        self.deadlines.set(at, lower);
    }

    /// Takes everything away again, as after an orderly stop.
    ///
    /// # Errors
    /// The kernel's; or an address is still on this machine: then the gate stays, closed, because
    /// without it the address would answer.
    pub fn remove(mut self) -> io::Result<()> {
        self.stop_watching();
        let mut socket = Socket::open()?;
        let present = socket.addresses()?;
        if let Some(left) = present.iter().find(|left| self.addresses.contains(&left.address)) {
            (0..GROUPS_MAX).for_each(|group| self.close(group));
            return Err(io::Error::other(format!(
                "{} is still on this machine: the lease gate stays and keeps it silent",
                left.address
            )));
        }
        attach::sweep(&mut socket, self.tag)
    }

    fn stop_watching(&mut self) {
        self.quit.wanted.store(true, Ordering::Release);
        self.quit.wake.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop_watching();
    }
}

/// Whether this kernel gives this process a gate: its programs are loaded, attached to nothing, and
/// dropped again.
///
/// # Errors
/// Why not.
pub fn try_out() -> Result<(), Unavailable> {
    let failed = |error| Unavailable::new("make the lease gate's maps", &error, "");
    let (maps, _words) = make_maps(&[]).map_err(failed)?;
    let clock_ahead = deadline::clock_ahead();
    let before = clock::now();
    let ingress = load(Tag::of(b"try"), Direction::Ingress, &maps)?;
    let look = |error| Unavailable::new("look at the lease gate's program", &error, "");
    let loaded = ingress.loaded_at().map_err(look)?;
    check_clock(before, loaded.saturating_add_signed(clock_ahead), clock::now())?;
    load(Tag::of(b"try"), Direction::Egress, &maps).map(|_| ())
}

/// Takes away what an engine with this tag left in the kernel, for those who have removed its
/// addresses.
///
/// # Errors
/// The kernel's.
pub fn sweep(tag: Tag) -> io::Result<()> {
    attach::sweep(&mut Socket::open()?, tag)
}

/// Where gates of other runtime directories stand: whose daemons are gone, they silence addresses
/// for good.
///
/// # Errors
/// The kernel's.
pub fn strangers(tag: Tag) -> io::Result<Vec<String>> {
    attach::strangers(&mut Socket::open()?, tag)
}

/// Attaches to interfaces that appear, and again where somebody has taken a program off.
fn watch(mut attacher: Attacher, mut monitor: Monitor, cover: &Cover, ungated: &Ungated) {
    use rustix::fd::AsFd;
    let quit = cover.quit();
    while !quit.wanted.load(Ordering::Acquire) {
        wait_readable(&[Some(quit.wake.as_fd()), Some(monitor.fd())], Some(AUDIT));
        quit.wake.clear();
        while monitor.next().is_some() {}
        if quit.wanted.load(Ordering::Acquire) {
            return;
        }
        let round = cover.begin();
        for place in ungated.set(attacher.attach()) {
            log::error!("lease gate: not on {place}; a stopped daemon's addresses answer there");
        }
        cover.done(round);
    }
}

/// Our clock and the programs' clock must agree, or the gate would open for too long.
/// `loaded`: when a program was loaded between `before` and `after`, in nanoseconds.
fn check_clock(before: Instant, loaded: u64, after: Instant) -> Result<(), Unavailable> {
    if (before.micros()..=after.micros()).contains(&(loaded / 1000)) {
        return Ok(());
    }
    Err(Unavailable(format!(
        "the clock of this process is not the kernel's: a program loaded between {} and {} s was \
         loaded at {} s; run outside of time namespaces",
        before.micros() as f64 / 1e6,
        after.micros() as f64 / 1e6,
        loaded as f64 / 1e9
    )))
}

struct Maps {
    groups: Map,
    deadlines: Map,
}

fn make_maps(groups: &[Vec<IpAddr>]) -> io::Result<(Maps, SharedWords)> {
    let entries = (GROUPS_MAX * ADDRESSES_MAX) as u32;
    let maps = Maps {
        groups: Map::hash(GROUPS_MAP, entries)?,
        deadlines: Map::shared(DEADLINES_MAP, BYTES as u32)?,
    };
    for (group, addresses) in (0u32..).zip(groups) {
        for address in addresses {
            maps.groups.insert(&key(*address), group)?;
        }
    }
    let words = maps.deadlines.words(WORDS)?;
    Ok((maps, words))
}

/// An address as the program looks it up.
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn load(tag: Tag, direction: Direction, maps: &Maps) -> Result<Program, Unavailable> {
    use rustix::fd::AsFd;
    let what = "load the lease gate's program";
    let maps = program::Maps { groups: maps.groups.as_fd(), deadlines: maps.deadlines.as_fd() };
    let code = program::program(direction, maps)
        .ok_or_else(|| Unavailable(format!("cannot {what}: a jump in it goes nowhere")))?;
    Program::load(&tag.program_name(), &code, program::LICENCE)
        .map_err(|refused| Unavailable::new(what, &refused.error, &refused.log))
}

/// Goes on with the deadlines of the predecessor's program. A group's is the nearest of those that
/// its addresses had; an address that was not gated before had none.
fn carry_over(old: &Program, groups: &[Vec<IpAddr>], deadlines: &SharedWords) -> io::Result<()> {
    let (mut numbers, mut dues) = (None, None);
    for map in old.maps()? {
        match map.name()?.as_str() {
            GROUPS_MAP => numbers = Some(map),
            DEADLINES_MAP => dues = Some(map.read::<BYTES>()),
            _ => {}
        }
    }
    let (Some(numbers), Some(Ok(dues))) = (numbers, dues) else {
        return Ok(()); // of another version: closed until somebody vouches
    };
    let word = |at: usize| {
        let bytes = dues.get(4 * at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    for (group, addresses) in groups.iter().enumerate() {
        let mut nearest = None;
        for address in addresses {
            let old = numbers.get(&key(*address))?.map_or(GROUPS_MAX, |group| group as usize);
            let due = word(2 * old).zip(word(2 * old + 1)).unwrap_or(deadline::CLOSED);
            let nearer = nearest.is_none_or(|nearest| deadline::nearer(due, nearest));
            nearest = if nearer { Some(due) } else { nearest };
        }
        let (lower, upper) = nearest.unwrap_or(deadline::CLOSED);
        deadlines.set(2 * group + 1, upper);
        deadlines.set(2 * group, lower);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
