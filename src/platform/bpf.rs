//! Programs and maps in the kernel: bpf(2), as much of it as the lease gate needs.
//!
//! Every call has its arguments in one block of bytes, `union bpf_attr` of `linux/bpf.h`; the
//! offsets stand beside each call. A block longer than an old kernel's is accepted as long as the
//! rest is zero.
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_TEST_RUN: i32 = 10;
const PROG_BY_ID: i32 = 13;
const MAP_BY_ID: i32 = 14;
const INFO: i32 = 15;
const PROG_QUERY: i32 = 16;

const TYPE_HASH: u32 = 1;
const TYPE_ARRAY: u32 = 2;
const FLAG_MMAPABLE: u32 = 1 << 10;
const TYPE_SCHED_CLS: u32 = 3;
const ATTACH_BEFORE: u32 = 1 << 3;
const ATTACH_REPLACE: u32 = 1 << 2;
/// Programs on one side of one interface that a query can tell of; the kernel allows 64.
const QUERY_MAX: usize = 64;
/// Maps of one program that are looked at.
const MAPS_MAX: usize = 8;
/// Bytes of an object's name, with its final NUL.
const NAME: usize = 16;
/// Bytes of the verifier's explanation that are kept.
const LOG: usize = 64 * 1024;

/// `union bpf_attr`.
struct Attributes([u64; 16]);

impl Attributes {
    fn new() -> Self {
        Attributes([0; 16])
    }

    fn bytes(&mut self, at: usize, value: &[u8]) {
        for (index, byte) in value.iter().enumerate() {
            let (word, shift) = ((at + index) / 8, (at + index) % 8);
            let mut bytes = self.0[word].to_ne_bytes();
            bytes[shift] = *byte;
            self.0[word] = u64::from_ne_bytes(bytes);
        }
    }

    fn number(mut self, at: usize, value: u32) -> Self {
        self.bytes(at, &value.to_ne_bytes());
        self
    }

    fn fd(self, at: usize, fd: impl AsFd) -> Self {
        self.number(at, fd.as_fd().as_raw_fd() as u32) // an open one is never negative
    }

    fn pointer<T>(mut self, at: usize, to: *const T) -> Self {
        self.bytes(at, &(to.expose_provenance() as u64).to_ne_bytes());
        self
    }

    /// A name of at most 15 bytes; a longer one is cut.
    fn name(mut self, at: usize, name: &str) -> Self {
        let name = name.as_bytes();
        self.bytes(at, &name[..name.len().min(NAME - 1)]);
        self
    }

    fn read(&self, at: usize) -> u32 {
        let bytes = self.0[at / 8].to_ne_bytes();
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| bytes[at % 8 + index]);
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// bpf(2).
///
/// # Safety
/// Every pointer in `attributes` must be valid for what `command` reads and writes there.
#[allow(unsafe_code)]
unsafe fn bpf(command: i32, attributes: &mut Attributes) -> io::Result<i32> {
    loop {
        // SAFETY: the block is as long as said; what it points to is the caller's promise.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                attributes.0.as_mut_ptr(),
                size_of_val(&attributes.0),
            )
        };
        if result >= 0 {
            return Ok(result as i32); // a descriptor or 0
        }
        let error = io::Error::last_os_error();
        // EAGAIN: the verifier was interrupted by a signal.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
            return Err(error);
        }
    }
}

/// As [`bpf`], for commands that return a new descriptor.
///
/// # Safety
/// As [`bpf`].
#[allow(unsafe_code)]
unsafe fn bpf_open(command: i32, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attributes)? };
    // SAFETY: these commands return a new descriptor (close-on-exec) that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A map: a table that programs and processes share.
pub struct Map(OwnedFd);

impl Map {
    /// A hash table with 16-byte keys and 32-bit values.
    ///
    /// # Errors
    /// bpf(2)'s: `PERM` without CAP_BPF (also when memory may not be locked, before Linux 5.11).
    pub fn hash(name: &str, entries: u32) -> io::Result<Map> {
        Self::create(TYPE_HASH, 16, 4, entries, 0, name)
    }

    /// One value of so many bytes that can be mapped into memory (Linux 5.5).
    ///
    /// # Errors
    /// bpf(2)'s; `INVAL` from an older kernel.
    pub fn shared(name: &str, bytes: u32) -> io::Result<Map> {
        Self::create(TYPE_ARRAY, 4, bytes, 1, FLAG_MMAPABLE, name)
    }

    #[allow(unsafe_code)]
    fn create(
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        name: &str,
    ) -> io::Result<Map> {
        // map_type, key_size, value_size, max_entries, map_flags, map_name
        let mut attributes = Attributes::new()
            .number(0, kind)
            .number(4, key)
            .number(8, value)
            .number(12, entries)
            .number(16, flags)
            .name(28, name);
        // SAFETY: no pointers.
        unsafe { bpf_open(MAP_CREATE, &mut attributes) }.map(Map)
    }

    #[allow(unsafe_code)]
    fn by_id(id: u32) -> io::Result<Map> {
        let mut attributes = Attributes::new().number(0, id);
        // SAFETY: no pointers.
        unsafe { bpf_open(MAP_BY_ID, &mut attributes) }.map(Map)
    }

    /// Sets the value of a key in a [`hash`](Self::hash).
    ///
    /// # Errors
    /// bpf(2)'s: `2BIG` if it is full.
    #[allow(unsafe_code)]
    pub fn insert(&self, key: &[u8; 16], value: u32) -> io::Result<()> {
        // map_fd, key, value, flags
        let mut attributes =
            Attributes::new().fd(0, &self.0).pointer(8, key).pointer(16, &raw const value);
        // SAFETY: a map of 16-byte keys and 4-byte values; both live until the call returns.
        unsafe { bpf(MAP_UPDATE, &mut attributes) }.map(|_| ())
    }

    /// The value of a key in a [`hash`](Self::hash).
    ///
    /// # Errors
    /// bpf(2)'s, but not that there is none.
    pub fn get(&self, key: &[u8; 16]) -> io::Result<Option<u32>> {
        let mut value = [0; 4];
        Ok(self.look_up(key, &mut value)?.then(|| u32::from_ne_bytes(value)))
    }

    /// The bytes of a [`shared`](Self::shared) value; `INVAL` if they are not that many.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn read<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut value = [0; N];
        self.look_up(&[0; 4], &mut value)?;
        Ok(value)
    }

    /// Copies the value of `key` if there is one. The kernel's word on the sizes is asked first:
    /// the map may be another program's.
    #[allow(unsafe_code)]
    fn look_up(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        let info = self.info()?;
        let sizes = (info.word(8) as usize, info.word(12) as usize);
        if sizes != (key.len(), value.len()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = Attributes::new()
            .fd(0, &self.0)
            .pointer(8, key.as_ptr())
            .pointer(16, value.as_mut_ptr());
        // SAFETY: key and value are as long as the map's (checked above), and live long enough.
        match unsafe { bpf(MAP_LOOKUP, &mut attributes) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The name it was given.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn name(&self) -> io::Result<String> {
        Ok(self.info()?.text(24))
    }

    fn info(&self) -> io::Result<Info> {
        Info::of(self.0.as_fd(), None)
    }

    /// Maps a [`shared`](Self::shared) value of `words` 32-bit words into this process.
    ///
    /// # Errors
    /// mmap(2)'s.
    pub fn words(&self, words: usize) -> io::Result<SharedWords> {
        SharedWords::map(&self.0, words)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `struct bpf_prog_info` or `struct bpf_map_info`, as much of it as is looked at.
struct Info([u64; 16]);

impl Info {
    /// `maps`: room for the numbers of a program's maps.
    #[allow(unsafe_code)]
    fn of(fd: BorrowedFd<'_>, maps: Option<&mut [u32; MAPS_MAX]>) -> io::Result<Info> {
        let mut info = Attributes::new();
        if let Some(maps) = maps {
            // nr_map_ids, map_ids
            info = info.number(52, MAPS_MAX as u32).pointer(56, maps.as_mut_ptr());
        }
        let mut info = Info(info.0);
        // bpf_fd, info_len, info
        let mut attributes = Attributes::new()
            .fd(0, fd)
            .number(4, size_of_val(&info.0) as u32)
            .pointer(8, info.0.as_mut_ptr());
        // SAFETY: the block is as long as said, and the only pointer in it that is not null has
        // room for as many numbers as stand beside it.
        unsafe { bpf(INFO, &mut attributes)? };
        Ok(info)
    }

    fn word(&self, at: usize) -> u32 {
        Attributes(self.0).read(at)
    }

    fn text(&self, at: usize) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = bytes.get(at..at + NAME).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    }
}

/// 32-bit words that a program in the kernel reads: a store is one instruction, no system call.
pub struct SharedWords {
    start: NonNull<AtomicU32>,
    words: usize,
}

#[allow(unsafe_code)]
// SAFETY: the words are only reached as atomics.
unsafe impl Send for SharedWords {}
#[allow(unsafe_code)]
// SAFETY: the words are only reached as atomics.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    #[allow(unsafe_code)]
    fn map(fd: &OwnedFd, words: usize) -> io::Result<SharedWords> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice, which refuses one
        // that is longer than the map.
        let start =
            unsafe { mmap(std::ptr::null_mut(), words * 4, protection, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedWords { start, words })
    }

    /// Stores `value` at `index`; past the end nothing happens.
    #[allow(unsafe_code)]
    pub fn set(&self, index: usize, value: u32) {
        if index < self.words {
            // SAFETY: within the mapping, page-aligned start, alive as long as self.
            unsafe { self.start.add(index).as_ref() }.store(value, Ordering::Release);
        }
    }

    /// What is stored at `index`; 0 past the end.
    #[allow(unsafe_code)]
    pub fn get(&self, index: usize) -> u32 {
        if index >= self.words {
            return 0;
        }
        // SAFETY: within the mapping, page-aligned start, alive as long as self.
        unsafe { self.start.add(index).as_ref() }.load(Ordering::Acquire)
    }
}

impl Drop for SharedWords {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; references to it end with self.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * 4) };
    }
}

/// Which way the packets go that a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Arriving.
    Ingress,
    /// Leaving.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

    /// `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`.
    fn tcx(self) -> u32 {
        match self {
            Direction::Ingress => 46,
            Direction::Egress => 47,
        }
    }
}

/// A program that the kernel's verifier has accepted.
pub struct Program(OwnedFd);

/// Why a program was not loaded.
#[derive(Debug)]
pub struct LoadError {
    /// The kernel's error.
    pub error: io::Error,
    /// The end of what the verifier said.
    pub log: String,
}

impl Program {
    /// Loads a traffic classifier (`BPF_PROG_TYPE_SCHED_CLS`). `licence` decides which helpers it
    /// may call.
    ///
    /// # Errors
    /// `PERM` without CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8) in the first user
    /// namespace; `INVAL` or `ACCES` from the verifier, with what it said.
    #[allow(unsafe_code)]
    pub fn load(
        name: &str,
        code: &[[u8; 8]],
        licence: &std::ffi::CStr,
    ) -> Result<Program, LoadError> {
        // prog_type, insn_cnt, insns, license, prog_name
        let attributes = || {
            Attributes::new()
                .number(0, TYPE_SCHED_CLS)
                .number(4, u32::try_from(code.len()).unwrap_or(u32::MAX))
                .pointer(8, code.as_ptr())
                .pointer(16, licence.as_ptr())
                .name(48, name)
        };
        // SAFETY: as many instructions as said, a licence that ends with NUL; both live on.
        let error = match unsafe { bpf_open(PROG_LOAD, &mut attributes()) } {
            Ok(program) => return Ok(Program(program)),
            Err(error) => error,
        };
        let mut log = vec![0u8; LOG];
        // log_level, log_size, log_buf
        let mut again =
            attributes().number(24, 1).number(28, LOG as u32).pointer(32, log.as_mut_ptr());
        // SAFETY: as above, and a log of the length said.
        if let Ok(program) = unsafe { bpf_open(PROG_LOAD, &mut again) } {
            return Ok(Program(program));
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG);
        let text = String::from_utf8_lossy(&log[..end]);
        let lines: Vec<&str> = text.lines().collect();
        let log = lines[lines.len().saturating_sub(6)..].join(" | ");
        Err(LoadError { error, log })
    }

    #[allow(unsafe_code)]
    fn by_id(id: u32) -> io::Result<Program> {
        let mut attributes = Attributes::new().number(0, id);
        // SAFETY: no pointers.
        unsafe { bpf_open(PROG_BY_ID, &mut attributes) }.map(Program)
    }

    /// Its number, unique on this machine while it is loaded.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn id(&self) -> io::Result<u32> {
        Ok(Info::of(self.0.as_fd(), None)?.word(4))
    }

    /// When it was loaded: nanoseconds of the kernel's own `CLOCK_BOOTTIME`.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn loaded_at(&self) -> io::Result<u64> {
        Ok(Info::of(self.0.as_fd(), None)?.0[40 / 8])
    }

    /// The loaded program of this number; `None` if it has gone.
    ///
    /// # Errors
    /// `PERM` without CAP_SYS_ADMIN.
    pub fn find(id: u32) -> io::Result<Option<Program>> {
        match Program::by_id(id) {
            Ok(program) => Ok(Some(program)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The name it was given.
    ///
    /// # Errors
    /// bpf(2)'s.
    pub fn name(&self) -> io::Result<String> {
        Ok(Info::of(self.0.as_fd(), None)?.text(64))
    }

    /// The maps it works with, eight at most.
    ///
    /// # Errors
    /// bpf(2)'s; `PERM` without CAP_SYS_ADMIN.
    pub fn maps(&self) -> io::Result<Vec<Map>> {
        let mut ids = [0; MAPS_MAX];
        let info = Info::of(self.0.as_fd(), Some(&mut ids))?;
        let count = (info.word(52) as usize).min(MAPS_MAX);
        ids[..count].iter().map(|id| Map::by_id(*id)).collect()
    }

    /// Runs it on a frame `repeat` times; what it returned, and nanoseconds for one run.
    ///
    /// # Errors
    /// bpf(2)'s.
    #[allow(unsafe_code)]
    pub fn run(&self, frame: &[u8], repeat: u32) -> io::Result<(i32, u32)> {
        // prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration
        let mut attributes = Attributes::new()
            .fd(0, &self.0)
            .number(8, u32::try_from(frame.len()).unwrap_or(u32::MAX))
            .pointer(16, frame.as_ptr())
            .number(32, repeat);
        // SAFETY: the frame is as long as said and lives on; nothing is to be written back.
        unsafe { bpf(PROG_TEST_RUN, &mut attributes)? };
        Ok((attributes.read(4) as i32, attributes.read(36)))
    }

    /// Attaches it to one side of an interface (tcx, Linux 6.6), before all others or in the place
    /// of `old`, in one step. No process holds it: it stays until it is detached.
    ///
    /// # Errors
    /// bpf(2)'s: `EXIST` if it is there already.
    #[allow(unsafe_code)]
    pub fn attach(
        &self,
        index: u32,
        direction: Direction,
        old: Option<&Program>,
    ) -> io::Result<()> {
        // target_ifindex, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd
        let mut attributes =
            Attributes::new().number(0, index).fd(4, &self.0).number(8, direction.tcx());
        attributes = match old {
            Some(old) => attributes.number(12, ATTACH_REPLACE).fd(16, &old.0),
            None => attributes.number(12, ATTACH_BEFORE),
        };
        // SAFETY: no pointers.
        unsafe { bpf(PROG_ATTACH, &mut attributes) }.map(|_| ())
    }

    /// Takes it off one side of an interface (tcx). That it is not there is no error.
    ///
    /// # Errors
    /// bpf(2)'s.
    #[allow(unsafe_code)]
    pub fn detach(&self, index: u32, direction: Direction) -> io::Result<()> {
        let mut attributes =
            Attributes::new().number(0, index).fd(4, &self.0).number(8, direction.tcx());
        // SAFETY: no pointers.
        match unsafe { bpf(PROG_DETACH, &mut attributes) } {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Numbers of the programs on one side of an interface (tcx), in the order in which they run.
///
/// # Errors
/// bpf(2)'s: `INVAL` before Linux 6.6, `NODEV` without the interface.
#[allow(unsafe_code)]
pub fn attached(index: u32, direction: Direction) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; QUERY_MAX];
    // target_ifindex, attach_type, prog_ids, count
    let mut attributes = Attributes::new()
        .number(0, index)
        .number(4, direction.tcx())
        .pointer(16, ids.as_mut_ptr())
        .number(24, QUERY_MAX as u32);
    // SAFETY: the array has room for as many numbers as said.
    match unsafe { bpf(PROG_QUERY, &mut attributes) } {
        Ok(_) => Ok(ids[..(attributes.read(24) as usize).min(QUERY_MAX)].to_vec()),
        // Nothing was ever attached there.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
