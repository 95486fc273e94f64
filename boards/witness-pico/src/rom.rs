//! The functions that the chip's ROM has for writing its flash.
use core::mem::transmute;

/// Where the ROM names its table of functions, and the function that looks one up.
const TABLE: *const u16 = 0x14 as *const u16;
const LOOK_UP: *const u16 = 0x18 as *const u16;

type Address = *const ();
type LookUp = unsafe extern "C" fn(*const u16, u32) -> Address;
pub(crate) type Plain = unsafe extern "C" fn();
pub(crate) type Erase = unsafe extern "C" fn(u32, usize, u32, u8);
pub(crate) type Program = unsafe extern "C" fn(u32, *const u8, usize);

/// Looked up while flash can still be read.
pub(crate) struct Rom {
    pub(crate) connect: Plain,
    pub(crate) leave: Plain,
    pub(crate) erase: Erase,
    pub(crate) program: Program,
    pub(crate) flush: Plain,
    pub(crate) enter: Plain,
}

fn find(code: [u8; 2]) -> Address {
    // SAFETY: the two places hold what the data sheet says (2.8.3), in every version of the ROM.
    unsafe {
        let (table, look_up) = (TABLE.read_volatile(), LOOK_UP.read_volatile());
        let look_up: LookUp = transmute(look_up as usize as Address);
        look_up(table as usize as *const u16, u32::from(u16::from_le_bytes(code)))
    }
}

impl Rom {
    pub(crate) fn look_up() -> Rom {
        // SAFETY: the functions under these names have these types (2.8.3.1.3).
        unsafe {
            Rom {
                connect: transmute::<Address, Plain>(find(*b"IF")),
                leave: transmute::<Address, Plain>(find(*b"EX")),
                erase: transmute::<Address, Erase>(find(*b"RE")),
                program: transmute::<Address, Program>(find(*b"RP")),
                flush: transmute::<Address, Plain>(find(*b"FC")),
                enter: transmute::<Address, Plain>(find(*b"CX")),
            }
        }
    }
}
