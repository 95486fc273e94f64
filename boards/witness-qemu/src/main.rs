//! The witness on the emulated board mps2-an385 (Cortex-M3): UART1 and UART2 go to the nodes, UART0
//! is the log. What QEMU has no hardware for it gets from the host by semihosting: randomness, and
//! a file that is its flash.
//!
//! Interrupts are never taken: they only wake the loop from its sleep.
#![no_std]
#![no_main]

mod host;
mod log;
mod machine;
mod stack;

use machine::Machine;
use witness::Loop;

static mut LOOP: Loop = Loop::NEW;

#[cortex_m_rt::entry]
fn main() -> ! {
    cortex_m::interrupt::disable();
    let mut machine = Machine::begin();
    let state = &raw mut LOOP;
    // SAFETY: this is called once, by the start code, and nothing else runs.
    let state = unsafe { &mut *state };
    state.run(&mut machine)
}

/// `boards/check` shows that there is no way to get here but one that cannot be: a keystream of
/// 256 GiB at its end.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
