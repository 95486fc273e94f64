//! The runtime directory (`/run/latido`): what must outlive the engine's process, but not the
//! machine's boot.
//!
//! | file | content |
//! |---|---|
//! | `lock` | held by the running engine: one daemon for each directory |
//! | `control.sock` | where the `latido` commands ask |
//! | `memory` | the core's memory ([`Memory`]) |
//! | `vouch` | words that outlive SIGKILL ([`Vouch`]) |
//! | `supervisor` | process and start time of the engine's supervisor ([`supervisor`]) |
//! | `not-stopped` | what the last engine left running ([`not_stopped`]) |
//! | `addresses` | what the supervisor removes when the engine cannot be restarted |
//! | `gaps` | how long the peers were silent between two heartbeats ([`Gaps`]) |
mod gaps;
mod memory;
mod notes;

pub use gaps::Gaps;
pub use memory::{MEMORY_MAX, Memory};
pub use notes::{not_stopped, supervisor};

use crate::core::id::Incarnation;
use crate::platform::words::Words;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the runtime directory is unless the command line says otherwise.
pub const DEFAULT_DIR: &str = "/run/latido";

/// What must outlive the machine's start is noted here unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/latido";

/// How long a lock may stay with a predecessor that is just ending.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// Tells one boot of the machine from another: `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// This boot's.
    ///
    /// # Errors
    /// `/proc` is not mounted, or holds something else.
    pub fn current() -> Result<BootId, Error> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(path, error, "mount /proc"))?;
        BootId::parse(&text).ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::InvalidData, "not a boot id");
            Error::new(path, error, "mount the real /proc")
        })
    }

    fn parse(text: &str) -> Option<BootId> {
        let hex: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
        let hex = std::str::from_utf8(&hex).ok()?;
        u128::from_str_radix(hex, 16)
            .ok()
            .filter(|_| hex.len() == 32)
            .map(|value| BootId(value.to_be_bytes()))
    }
}

/// Something in the runtime directory cannot be used. Nothing was started.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    error: io::Error,
    cure: String,
}

impl Error {
    fn new(path: &Path, error: io::Error, cure: impl Into<String>) -> Error {
        let cure = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "its file system is full: make room there (`df`), or choose another directory with \
                 --runtime-dir"
                    .to_owned()
            }
            _ => cure.into(),
        };
        Error { path: path.to_owned(), error, cure }
    }

    /// Whether another daemon runs on this directory.
    pub fn busy(&self) -> bool {
        self.error.kind() == io::ErrorKind::WouldBlock
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.busy() {
            let path = self.path.parent().unwrap_or(&self.path).display();
            return write!(f, "another latido runs on {path}: {}", self.cure);
        }
        write!(f, "{}: {}: {}", self.path.display(), self.error, self.cure)
    }
}

impl std::error::Error for Error {}

/// A runtime directory that this process has locked for itself.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    boot: BootId,
    // The lock ends with the descriptor, hence with the process, however it dies.
    _lock: rustix::fd::OwnedFd,
}

impl RuntimeDir {
    /// Makes the directory (mode 0755) if need be, and locks it.
    ///
    /// # Errors
    /// It cannot be made or written, or another daemon holds it ([`Error::busy`]).
    pub fn open(path: &Path) -> Result<RuntimeDir, Error> {
        let cure = "run as root, or choose a directory you may write with --runtime-dir";
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| Error::new(path, error, cure))?;
        let lock_path = path.join("lock");
        let lock = create(&lock_path).map_err(|error| Error::new(&lock_path, error, cure))?;
        lock_within(&lock, LOCK_PATIENCE).map_err(|error| {
            let cure = "stop it first (`latido stop`), or give this one its own --runtime-dir";
            Error::new(&lock_path, error, cure)
        })?;
        Ok(RuntimeDir { path: path.to_owned(), boot: BootId::current()?, _lock: lock })
    }

    /// The same directory and the same lock, for another thread.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn share(&self) -> io::Result<RuntimeDir> {
        let lock = rustix::io::fcntl_dupfd_cloexec(&self._lock, 3)?;
        Ok(RuntimeDir { path: self.path.clone(), boot: self.boot, _lock: lock })
    }

    /// Makes directory and lock again where somebody has removed them; true: it had to be done.
    ///
    /// # Errors
    /// Those of [`RuntimeDir::open`]; [`Error::busy`]: another daemon was quicker.
    pub fn restore(&mut self) -> Result<bool, Error> {
        let mine = rustix::fs::fstat(&self._lock);
        let there = rustix::fs::stat(self.path.join("lock"));
        if let (Ok(mine), Ok(there)) = (mine, there)
            && (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
        {
            return Ok(false);
        }
        *self = RuntimeDir::open(&self.path)?;
        Ok(true)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the control socket is.
    pub fn socket(&self) -> PathBuf {
        socket_path(&self.path)
    }

    /// Opens the memory file; the second value is what the last engine of this boot wrote.
    ///
    /// # Errors
    /// The file cannot be made or read.
    pub fn memory(&self) -> Result<(Memory, Option<Vec<u8>>), Error> {
        let path = self.path.join("memory");
        create(&path)
            .and_then(|file| Memory::open(file, self.boot))
            .map_err(|error| Error::new(&path, error, "make the runtime directory writable"))
    }

    /// Opens the vouch words; those of another boot are cleared.
    ///
    /// # Errors
    /// The file cannot be made or mapped.
    pub fn vouch(&self) -> Result<Vouch, Error> {
        let path = self.path.join("vouch");
        create(&path)
            .and_then(|file| Vouch::open(&file, self.boot))
            .map_err(|error| Error::new(&path, error, "make the runtime directory writable"))
    }

    /// Notes the addresses of all groups, for [`noted_addresses`]. Not for the real-time loop.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_addresses(&self, addresses: &[NotedAddress]) -> Result<(), Error> {
        let path = self.path.join("addresses");
        let next = self.path.join("addresses.new");
        let text: String = addresses
            .iter()
            .map(|noted| {
                format!("{} {}\n", noted.address, noted.interface.as_deref().unwrap_or("-"))
            })
            .collect();
        if std::fs::read_to_string(&path).is_ok_and(|noted| noted == text) {
            return Ok(());
        }
        // A reader sees the old list or the new one, never half of one.
        std::fs::write(&next, text)
            .and_then(|()| std::fs::rename(&next, &path))
            .map_err(|error| Error::new(&path, error, "make the runtime directory writable"))
    }
}

/// An address that belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its interface, if the configuration names one; else it is looked for on all.
    pub interface: Option<String>,
}

/// The addresses noted by the last engine on this directory; none if there are no notes.
pub fn noted_addresses(dir: &Path) -> Vec<NotedAddress> {
    let Ok(text) = std::fs::read_to_string(dir.join("addresses")) else { return Vec::new() };
    text.lines()
        .filter_map(|line| {
            let (address, interface) = line.split_once(' ')?;
            let interface = (interface != "-").then(|| interface.to_owned());
            Some(NotedAddress { address: address.parse().ok()?, interface })
        })
        .collect()
}

/// Where the control socket of a runtime directory is.
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Whether an engine holds the directory at this moment.
pub fn is_locked(dir: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(dir.join("lock"), flags, Mode::empty()) else { return false };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Draws an incarnation; never 0, which stands for "none".
///
/// # Errors
/// Those of `getrandom(2)`.
pub fn draw_incarnation() -> io::Result<Incarnation> {
    loop {
        let mut bytes = [0u8; 8];
        let drawn = getrandom(&mut bytes, GetRandomFlags::empty())?;
        let number = u64::from_le_bytes(bytes);
        if drawn == bytes.len() && number != 0 {
            return Ok(Incarnation(number));
        }
    }
}

/// 32 words that outlive the engine, even when it is killed: a store is one instruction.
#[derive(Debug)]
pub struct Vouch {
    words: Words,
}

impl Vouch {
    /// How many words there are.
    pub const WORDS: usize = 32;
    /// The words in front: two of the boot id.
    const HEADER: usize = 2;

    fn open(file: &rustix::fd::OwnedFd, boot: BootId) -> io::Result<Vouch> {
        let words = Words::map(file, Self::HEADER + Self::WORDS)?;
        let boot = u128::from_be_bytes(boot.0);
        let halves = [boot as u64, (boot >> 64) as u64];
        if [words.get(0), words.get(1)] != halves {
            // Cleared before the boot id vouches for them: a kill in between clears them again.
            words.set(0, 0);
            words.set(1, 0);
            (Self::HEADER..Self::HEADER + Self::WORDS).for_each(|index| words.set(index, 0));
            words.set(1, halves[1]);
            words.set(0, halves[0]);
        }
        Ok(Vouch { words })
    }

    /// The word at `index` (below [`Vouch::WORDS`]; else 0).
    pub fn get(&self, index: usize) -> u64 {
        if index < Self::WORDS { self.words.get(Self::HEADER + index) } else { 0 }
    }

    /// Stores a word; an `index` of [`Vouch::WORDS`] or more is ignored.
    pub fn set(&self, index: usize, value: u64) {
        if index < Self::WORDS {
            self.words.set(Self::HEADER + index, value);
        }
    }
}

fn create(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    // NOFOLLOW: in a directory that others may write, a planted link must not be followed.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

fn lock_within(file: &rustix::fd::OwnedFd, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            // A predecessor that was killed this instant, or its half-started child.
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
