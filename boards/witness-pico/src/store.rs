//! The last two sectors of the flash. While the flash is written nothing can be read from it, not
//! even the program: what writes runs from RAM, and nothing interrupts it.
use crate::rom::Rom;
use witness::SECTOR_LEN;

/// Where flash is read.
const FLASH: usize = 0x1000_0000;
const FLASH_LEN: usize = 2 * 1024 * 1024;
/// Where the sectors begin, from the flash's start.
const STORE: usize = FLASH_LEN - witness::SECTORS * SECTOR_LEN;
/// The chip writes pages, and erases sectors by this command.
const PAGE_LEN: usize = 256;
const ERASE_SECTOR: u8 = 0x20;

/// Erases the sector at `at`, or programs the page there.
///
/// # Safety
/// Interrupts are off, the other core sleeps, and `at` is in the store.
#[inline(never)]
#[unsafe(link_section = ".data.write_flash")]
unsafe fn write_flash(rom: &Rom, at: u32, page: Option<&[u8; PAGE_LEN]>) {
    // SAFETY: in the order that the chip's data sheet has (2.8.3.1.3); the page is in RAM. At the
    // end flash is read as the second stage of the boot had set it up.
    unsafe {
        (rom.connect)();
        (rom.leave)();
        match page {
            Some(page) => (rom.program)(at, page.as_ptr(), PAGE_LEN),
            None => (rom.erase)(at, SECTOR_LEN, SECTOR_LEN as u32, ERASE_SECTOR),
        }
        (rom.flush)();
        (rom.enter)();
    }
}

pub(crate) fn read(sector: usize, offset: usize, bytes: &mut [u8]) {
    let start = FLASH + STORE + sector * SECTOR_LEN + offset;
    for (at, byte) in (start..FLASH + FLASH_LEN).zip(bytes) {
        // SAFETY: it is flash.
        *byte = unsafe { (at as *const u8).read_volatile() };
    }
}

/// Page by page; bytes around stay as they are, because ones change nothing.
#[inline(never)]
pub(crate) fn program(sector: usize, offset: usize, bytes: &[u8]) {
    let rom = Rom::look_up();
    let mut offset = offset;
    let mut rest = bytes;
    while !rest.is_empty() && sector < witness::SECTORS && offset < SECTOR_LEN {
        let within = offset % PAGE_LEN;
        let mut page = [0xFF; PAGE_LEN];
        let len = rest.len().min(PAGE_LEN - within);
        let Some((part, behind)) = rest.split_at_checked(len) else { return };
        page.iter_mut().skip(within).zip(part).for_each(|(place, byte)| *place = *byte);
        let at = STORE + sector * SECTOR_LEN + offset - within;
        // SAFETY: `main` has turned interrupts off, nothing starts the other core, and the place
        // was checked.
        unsafe { write_flash(&rom, at as u32, Some(&page)) }
        rest = behind;
        offset += len;
    }
}

pub(crate) fn erase(sector: usize) {
    if sector < witness::SECTORS {
        let at = STORE + sector * SECTOR_LEN;
        // SAFETY: as above.
        unsafe { write_flash(&Rom::look_up(), at as u32, None) }
    }
}
