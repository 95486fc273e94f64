//! Semihosting: what the emulator does for its guest. The numbers are Arm's.
use core::ffi::CStr;

const OPEN: usize = 0x01;
const WRITE: usize = 0x05;
const READ: usize = 0x06;
const SEEK: usize = 0x0A;
const COMMAND_LINE: usize = 0x15;

const MODE_READ: usize = 1;
const MODE_UPDATE: usize = 3;

/// A file of the host.
pub(crate) struct File(usize);

fn call(number: usize, block: &mut [usize]) -> usize {
    // SAFETY: the block holds what the call of this number asks for; the host writes only to the
    // buffers named in it, which the callers borrow mutably.
    unsafe { cortex_m::asm::semihosting_syscall(number as u32, block.as_mut_ptr() as u32) as usize }
}

impl File {
    pub(crate) fn open(path: &CStr, update: bool) -> Option<File> {
        let mode = if update { MODE_UPDATE } else { MODE_READ };
        let handle = call(OPEN, &mut [path.as_ptr() as usize, mode, path.to_bytes().len()]);
        (handle != usize::MAX).then_some(File(handle))
    }

    pub(crate) fn seek(&mut self, to: usize) {
        call(SEEK, &mut [self.0, to]);
    }

    pub(crate) fn read(&mut self, bytes: &mut [u8]) {
        call(READ, &mut [self.0, bytes.as_mut_ptr() as usize, bytes.len()]);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        call(WRITE, &mut [self.0, bytes.as_ptr() as usize, bytes.len()]);
    }
}

/// The command line that QEMU was given for its guest.
pub(crate) fn command_line(buffer: &mut [u8]) -> Option<&CStr> {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    (call(COMMAND_LINE, &mut block) == 0).then_some(())?;
    CStr::from_bytes_until_nul(buffer).ok()
}
