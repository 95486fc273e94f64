//! defmt's frames go out on UART0. (The usual crates for it panic when they are entered twice; here
//! nothing can interrupt, so nothing enters twice.)
use crate::machine::{Register, UART0};
use core::cell::UnsafeCell;

struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: there is one thread of execution, and interrupts are never taken.
unsafe impl Sync for Encoder {}

static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

#[defmt::global_logger]
struct Logger;

impl Logger {
    fn encoder() -> *mut defmt::Encoder {
        ENCODER.0.get()
    }
}

fn put(bytes: &[u8]) {
    const TX_FULL: u32 = 1;
    let (data, state) = (Register(UART0), Register(UART0 + 4));
    for byte in bytes {
        // QEMU's line is as fast as the host; a stuck one costs a little of the log.
        let _ = (0..10_000).find(|_| state.read() & TX_FULL == 0);
        data.write(u32::from(*byte));
    }
}

// SAFETY: one thread of execution, no interrupts: `acquire` is never entered twice.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: see above.
        unsafe { (*Self::encoder()).start_frame(put) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see above.
        unsafe { (*Self::encoder()).end_frame(put) }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see above.
        unsafe { (*Self::encoder()).write(bytes, put) }
    }
}
