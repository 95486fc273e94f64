//! The witness on a Raspberry Pi Pico: UART0 (GPIO 0 and 1) and UART1 (GPIO 4 and 5) go to the
//! nodes, the lamp is the board's own, GPIO 22 is the button that erases.
//!
//! Interrupts are never taken: they only wake the loop from its sleep.
#![no_std]
#![no_main]

mod log;
mod machine;
mod rom;
#[path = "../../witness-qemu/src/stack.rs"]
mod stack;
mod store;

use machine::Machine;
use witness::Loop;

/// The second stage of the boot: reads flash by the command that every chip knows, as the ROM's
/// own functions do. The witness runs from a small cache; speed is no matter.
#[unsafe(link_section = ".boot2")]
#[unsafe(no_mangle)]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_GENERIC_03H;

static mut LOOP: Loop = Loop::NEW;

#[cortex_m_rt::entry]
fn main() -> ! {
    cortex_m::interrupt::disable();
    log::begin();
    let mut machine = Machine::begin();
    let state = &raw mut LOOP;
    // SAFETY: this is called once, by the start code, and nothing else runs.
    let state = unsafe { &mut *state };
    state.run(&mut machine)
}

/// Never taken, as interrupts are off; an emulator that takes it all the same comes back from it.
#[cortex_m_rt::exception]
fn SysTick() {}

/// `boards/check` shows that there is no way to get here but one that cannot be: a keystream of
/// 256 GiB at its end.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    machine::restart()
}
