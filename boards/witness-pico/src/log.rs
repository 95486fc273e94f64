//! defmt's frames in a ring in memory that a debugger reads (Segger's RTT). A full ring loses what
//! comes: the witness never waits for a reader. (The usual crate for it panics when it is entered
//! twice; here nothing can interrupt, so nothing enters twice.)
use core::cell::UnsafeCell;
use core::ptr;

const RING_LEN: usize = 512;

/// What the debugger looks for, in Segger's layout.
#[repr(C)]
struct Control {
    id: [u8; 16],
    up_count: u32,
    down_count: u32,
    name: *const u8,
    ring: *mut u8,
    size: u32,
    write: u32,
    read: u32,
    flags: u32,
}

#[unsafe(link_section = ".log")]
#[unsafe(no_mangle)]
static mut _SEGGER_RTT: Control = Control {
    id: [0; 16],
    up_count: 0,
    down_count: 0,
    name: ptr::null(),
    ring: ptr::null_mut(),
    size: 0,
    write: 0,
    read: 0,
    flags: 0,
};

#[unsafe(link_section = ".log")]
static mut RING: [u8; RING_LEN] = [0; RING_LEN];

static NAME: &[u8; 6] = b"defmt\0";

struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: there is one thread of execution, and interrupts are never taken.
unsafe impl Sync for Encoder {}

static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

/// Makes the ring known; its memory is not cleared by the start code.
pub(crate) fn begin() {
    let control = &raw mut _SEGGER_RTT;
    // SAFETY: called once, before anything is logged; a debugger only reads. The name comes last,
    // when all the rest is in place.
    unsafe {
        (&raw mut (*control).up_count).write_volatile(1);
        (&raw mut (*control).down_count).write_volatile(0);
        (&raw mut (*control).name).write_volatile(NAME.as_ptr());
        (&raw mut (*control).ring).write_volatile((&raw mut RING).cast());
        (&raw mut (*control).size).write_volatile(RING_LEN as u32);
        (&raw mut (*control).write).write_volatile(0);
        (&raw mut (*control).read).write_volatile(0);
        (&raw mut (*control).flags).write_volatile(0);
        (&raw mut (*control).id).write_volatile(*b"SEGGER RTT\0\0\0\0\0\0");
    }
}

fn put(bytes: &[u8]) {
    let control = &raw mut _SEGGER_RTT;
    for byte in bytes {
        // SAFETY: one thread of execution; the debugger moves `read` only, to a place in the ring,
        // and the place that is written is taken modulo the ring's length.
        unsafe {
            let write = (&raw const (*control).write).read_volatile();
            let next = (write + 1) % RING_LEN as u32;
            if next == (&raw const (*control).read).read_volatile() {
                return;
            }
            let ring: *mut u8 = (&raw mut RING).cast();
            ring.add(write as usize % RING_LEN).write_volatile(*byte);
            (&raw mut (*control).write).write_volatile(next);
        }
    }
}

#[defmt::global_logger]
struct Logger;

// SAFETY: one thread of execution, no interrupts: `acquire` is never entered twice.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).start_frame(put) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).end_frame(put) }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).write(bytes, put) }
    }
}
