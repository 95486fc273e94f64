//! A few words of memory in a file: what is stored there outlives the process, even SIGKILL.
use rustix::fd::OwnedFd;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared mapping of 64-bit words. A store is one instruction, no system call.
#[derive(Debug)]
pub struct Words {
    start: NonNull<AtomicU64>,
    words: usize,
}

#[allow(unsafe_code)]
// SAFETY: the words are only reached as atomics.
unsafe impl Send for Words {}
#[allow(unsafe_code)]
// SAFETY: the words are only reached as atomics.
unsafe impl Sync for Words {}

impl Words {
    /// Maps so many words of the file, which is made as long as that first. It must not be
    /// truncated afterwards.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`, `fallocate(2)` and `mmap(2)`; no space is left.
    #[allow(unsafe_code)]
    pub fn map(file: &OwnedFd, words: usize) -> io::Result<Words> {
        let len = words.max(1) * size_of::<u64>();
        rustix::fs::ftruncate(file, len as u64)?;
        reserve(file, len)?;
        // SAFETY: a new shared mapping at an address of the kernel's choice, of a file that is
        // long enough; nothing else in this process refers to it.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Words { start, words })
    }

    /// The word at `index`; `None` past the end.
    #[allow(unsafe_code)]
    fn word(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.words {
            return None;
        }
        // SAFETY: within the mapping (checked above), page-aligned start, alive as long as self.
        Some(unsafe { self.start.add(index).as_ref() })
    }

    /// What is stored at `index`; 0 past the end.
    pub fn get(&self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Stores `value` at `index`; past the end nothing happens.
    pub fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Release);
        }
    }
}

/// Has the file system set the space aside: a store into a hole of a full one would be SIGBUS.
fn reserve(file: &OwnedFd, len: usize) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        other => return Ok(other?),
    }
    // Writing back what is there fills the holes too.
    let mut content = vec![0u8; len];
    let mut done = 0;
    while done < len {
        match rustix::io::pread(file, &mut content[done..], done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    let mut done = 0;
    while done < len {
        match rustix::io::pwrite(file, &content[done..], done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}

impl Drop for Words {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; references to it end with self.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words.max(1) * size_of::<u64>()) };
    }
}
