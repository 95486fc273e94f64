//! The chip: clocks, lines, pins, watchdog. Ten of its blocks, by the addresses of its data sheet.
use crate::{stack, store};
use latido::core::time::Instant;
use latido::core::witness::health::Cause;
use witness::{Board, Flash, LINES, NOISE_LEN};

const RESETS: usize = 0x4000_C000;
const RESETS_DONE: usize = RESETS + 8;
const CLOCKS: usize = 0x4000_8000;
const POWER: usize = 0x4001_0000;
const PINS: usize = 0x4001_4000;
const PADS: usize = 0x4001_C000;
const CRYSTAL: usize = 0x4002_4000;
const PLL_SYS: usize = 0x4002_8000;
const PLL_USB: usize = 0x4002_C000;
const UARTS: [usize; LINES] = [0x4003_4000, 0x4003_8000];
const ADC: usize = 0x4004_C000;
const TIMER: usize = 0x4005_4000;
const WATCHDOG: usize = 0x4005_8000;
const RING: usize = 0x4006_0000;
const CHIP_RESET: usize = 0x4006_4008;
const SIO: usize = 0xD000_0000;
const SYSTICK: usize = 0xE000_E010;
const ICSR: usize = 0xE000_ED04;
/// Writing to a register's place this far on clears the bits that are written.
const CLEAR: usize = 0x3000;
/// And here sets them.
const SET: usize = 0x2000;

/// ADC, pins and pads, both PLLs, timer, both UARTs.
const BLOCKS: u32 = 1 | 1 << 5 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 21 | 1 << 22 | 1 << 23;
const PLLS: u32 = 1 << 12 | 1 << 13;

const LAMP: usize = 25;
const BUTTON: usize = 22;
/// It sees a third of the supply (on a Pico W the radio uses it).
const SUPPLY: usize = 29;
const SUPPLY_INPUT: u32 = 3;
/// Transmits and receives of each line.
const LINE_PINS: [[usize; 2]; LINES] = [[0, 1], [4, 5]];

/// What a pin is connected to.
const TO_UART: u32 = 2;
const TO_SIO: u32 = 5;
const TO_NOTHING: u32 = 31;
/// A pad: input with hysteresis, 4 mA; pulled up: what is not connected is an idle line.
const PLAIN: u32 = 0b0101_0010;
const PULLED_UP: u32 = PLAIN | 1 << 3;
const OFF: u32 = 1 << 7;

/// 125 MHz by 115,200 baud by 16 is 67 and 52/64.
const BAUD: [u32; 2] = [67, 52];
const SLEEP_TICKS: u32 = 125_000;
/// A second, counted twice in each microsecond (erratum E1).
const WATCHDOG_LOAD: u32 = 2_000_000;
/// Before a wanted reset, in a register that survives it.
const ASKED: u32 = 0x1a71_d002;

/// A register of 32 bits.
#[derive(Clone, Copy)]
struct Register(usize);

impl Register {
    fn read(self) -> u32 {
        // SAFETY: the addresses in this file are registers of this chip.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    fn write(self, value: u32) {
        // SAFETY: the same.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }

    /// Waits until all these bits are set. Before the watchdog runs a chip whose clock never comes
    /// is as good as one without power.
    fn wait(self, bits: u32) {
        while self.read() & bits != bits {}
    }
}

pub(crate) struct Machine {
    cause: Cause,
}

/// Starts the chip anew.
pub(crate) fn restart() -> ! {
    const TRIGGER: u32 = 1 << 31;
    Register(POWER + 8).write(0x0001_FFFC);
    loop {
        Register(WATCHDOG).write(TRIGGER);
    }
}

fn cause() -> Cause {
    let scratch = Register(WATCHDOG + 0xC);
    let asked = scratch.read() == ASKED;
    scratch.write(0);
    if Register(WATCHDOG + 8).read() & 0b11 != 0 {
        return if asked { Cause::Asked } else { Cause::Watchdog };
    }
    let by_pin = Register(CHIP_RESET).read() & 1 << 16 != 0;
    if by_pin { Cause::Pin } else { Cause::Power }
}

/// 12 MHz times `times`, through both dividers.
fn pll(base: usize, times: u32, dividers: [u32; 2]) {
    let power = Register(base + 4);
    power.write(0b10_1101);
    Register(base).write(1);
    Register(base + 8).write(times);
    // The oscillator, and when it is stable its dividers.
    power.write(0b00_1100);
    Register(base).wait(1 << 31);
    Register(base + 0xC).write(dividers[0] << 16 | dividers[1] << 12);
    power.write(0b00_0100);
}

fn clocks() {
    // The crystal, then everything that was set up before is let go of.
    Register(CRYSTAL + 0xC).write(47);
    Register(CRYSTAL).write(0x00FA_BAA0);
    Register(CRYSTAL + 4).wait(1 << 31);
    Register(CLOCKS + 0x3C).write(0);
    Register(CLOCKS + 0x44).wait(1);
    Register(CLOCKS + 0x30).write(2);
    Register(CLOCKS + 0x38).wait(1 << 2);
    // Into reset what is used and may have run before.
    Register(RESETS + SET).write(BLOCKS);
    Register(RESETS + CLEAR).write(BLOCKS);
    Register(RESETS_DONE).wait(PLLS);
    pll(PLL_SYS, 125, [6, 2]);
    pll(PLL_USB, 100, [5, 5]);
    // The core, the UARTs from the same, the ADC from its own.
    Register(CLOCKS + 0x3C).write(0);
    Register(CLOCKS + 0x3C).write(1);
    Register(CLOCKS + 0x44).wait(1 << 1);
    Register(CLOCKS + 0x48).write(1 << 11);
    Register(CLOCKS + 0x60).write(1 << 11);
    Register(RESETS_DONE).wait(BLOCKS);
    // Microseconds.
    Register(WATCHDOG + 0x2C).write(12 | 1 << 9);
}

fn pin(number: usize, to: u32, pad: u32) {
    Register(PADS + 4 + 4 * number).write(pad);
    Register(PINS + 4 + 8 * number).write(to);
}

impl Machine {
    pub(crate) fn begin() -> Machine {
        let cause = cause();
        clocks();
        for (uart, pins) in UARTS.into_iter().zip(LINE_PINS) {
            Register(uart + 0x24).write(BAUD[0]);
            Register(uart + 0x28).write(BAUD[1]);
            // Eight bits, one stop bit, with the FIFOs.
            Register(uart + 0x2C).write(0x70);
            Register(uart + 0x30).write(0x301);
            pin(pins[0], TO_UART, PLAIN);
            pin(pins[1], TO_UART, PULLED_UP);
        }
        pin(LAMP, TO_SIO, PLAIN);
        pin(BUTTON, TO_SIO, PULLED_UP);
        pin(SUPPLY, TO_NOTHING, OFF);
        Register(SIO + 0x24).write(1 << LAMP);
        Register(ADC).write(1);
        // Only its coming matters, every millisecond: it ends a sleep.
        Register(SYSTICK + 4).write(SLEEP_TICKS - 1);
        Register(SYSTICK + 8).write(0);
        Register(SYSTICK).write(0b111);
        // Everything but the oscillators is reset by the watchdog.
        Register(POWER + 8).write(0x0001_FFFC);
        Register(WATCHDOG + 4).write(WATCHDOG_LOAD);
        // It stands still while a debugger has stopped the core.
        Register(WATCHDOG).write(1 << 30 | 0b111 << 24);
        Machine { cause }
    }
}

impl Board for Machine {
    const NAME: &'static str = "Pico (RP2040)";

    fn now(&mut self) -> Instant {
        let (high, low) = (Register(TIMER + 0x24), Register(TIMER + 0x28));
        loop {
            let (before, value, after) = (high.read(), low.read(), high.read());
            if before == after {
                return Instant::from_micros(u64::from(before) << 32 | u64::from(value));
            }
        }
    }

    fn get(&mut self, line: usize) -> Option<u8> {
        let uart = *UARTS.get(line)?;
        let empty = Register(uart + 0x18).read() & 1 << 4 != 0;
        // Errors stand beside the byte; the check of its frame throws it away anyway.
        (!empty).then(|| Register(uart).read().to_le_bytes()[0])
    }

    fn put(&mut self, line: usize, byte: u8) -> bool {
        let Some(uart) = UARTS.get(line) else { return true };
        let free = Register(uart + 0x18).read() & 1 << 5 == 0;
        if free {
            Register(*uart).write(u32::from(byte));
        }
        free
    }

    fn rest(&mut self) {
        // Wakes within a millisecond; until then a line's FIFO of 32 bytes holds all that comes.
        cortex_m::asm::wfi();
        Register(ICSR).write(1 << 25);
    }

    fn pet(&mut self) {
        Register(WATCHDOG + 4).write(WATCHDOG_LOAD);
    }

    fn noise(&mut self, noise: &mut [u8; NOISE_LEN]) {
        for byte in noise {
            for _ in 0..8 {
                // The ring oscillator's jitter, taken seldom enough that it has moved.
                cortex_m::asm::delay(1_000);
                let bit = Register(RING + 0x1C).read() & 1;
                *byte = *byte << 1 | bit.to_le_bytes()[0];
            }
        }
    }

    fn light(&mut self, on: bool) {
        Register(SIO + if on { 0x14 } else { 0x18 }).write(1 << LAMP);
    }

    fn button(&mut self) -> bool {
        Register(SIO + 4).read() & 1 << BUTTON == 0
    }

    fn cause(&self) -> Cause {
        self.cause
    }

    fn serial(&self) -> Option<u64> {
        None
    }

    fn millivolts(&mut self) -> Option<u16> {
        const READY: u32 = 1 << 8;
        Register(ADC).write(1 | 1 << 2 | SUPPLY_INPUT << 12);
        (0..10_000).find(|_| Register(ADC).read() & READY != 0)?;
        // A third of it, against 3.3 V, in twelve bits.
        u16::try_from((Register(ADC + 4).read() & 0xFFF) * 3 * 3_300 / 4_096).ok()
    }

    fn memory(&self) -> (Option<u16>, u16) {
        stack::used()
    }

    fn reset(&mut self) -> ! {
        Register(WATCHDOG + 0xC).write(ASKED);
        restart()
    }
}

impl Flash for Machine {
    fn read(&mut self, sector: usize, offset: usize, bytes: &mut [u8]) {
        store::read(sector, offset, bytes);
    }

    fn program(&mut self, sector: usize, offset: usize, bytes: &[u8]) {
        store::program(sector, offset, bytes);
    }

    fn erase(&mut self, sector: usize) {
        store::erase(sector);
    }
}
