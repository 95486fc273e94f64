//! The board's registers.
use crate::host::{File, command_line};
use crate::stack;
use core::mem::MaybeUninit;
use latido::core::time::Instant;
use latido::core::witness::health::Cause;
use witness::{Board, Flash, LINES, NOISE_LEN, SECTOR_LEN};

pub(crate) const UART0: usize = 0x4000_4000;
const UARTS: [usize; LINES] = [0x4000_5000, 0x4000_6000];
/// Interrupts of what the UARTs receive.
const RECEIVES: u32 = 1 << 2 | 1 << 4;
/// Runs down from all ones at the core's clock.
const TIMER: usize = 0x4000_0000;
const WATCHDOG: usize = 0x4000_8000;
/// A lamp, for whoever looks at the emulator's board.
const LAMP: usize = 0x4002_8000;
const MICROSECOND: u32 = 25;
/// It resets at the second expiry.
const WATCHDOG_HALF: u32 = 500_000 * MICROSECOND;
/// What the memory that no start clears holds while the loop turns, and before a wanted reset.
const RUNNING: u32 = 0x1a71_d001;
const ASKED: u32 = 0x1a71_d002;

// Parts of a core that every Cortex-M has.
const SYSTICK: usize = 0xE000_E010;
const NVIC_ENABLE: usize = 0xE000_E100;
const NVIC_CLEAR: usize = 0xE000_E280;
const ICSR: usize = 0xE000_ED04;
const ICSR_CLEAR_TICK: u32 = 1 << 25;

#[unsafe(link_section = ".uninit")]
static mut MARK: MaybeUninit<u32> = MaybeUninit::uninit();

/// A register of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Register(pub(crate) usize);

impl Register {
    pub(crate) fn read(self) -> u32 {
        // SAFETY: the addresses in this file are registers of this board.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    pub(crate) fn write(self, value: u32) {
        // SAFETY: the same.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}

pub(crate) struct Machine {
    cause: Cause,
    ticks: u64,
    last: u32,
    flash: Option<File>,
}

impl Machine {
    pub(crate) fn begin() -> Machine {
        let mark = Register(&raw const MARK as usize);
        let cause = match mark.read() {
            RUNNING => Cause::Watchdog,
            ASKED => Cause::Asked,
            _ => Cause::Power,
        };
        mark.write(RUNNING);
        for uart in UARTS.into_iter().chain([UART0]) {
            Register(uart + 0x10).write(217);
            Register(uart + 8).write(if uart == UART0 { 0b01 } else { 0b1011 });
        }
        Register(TIMER + 8).write(u32::MAX);
        Register(TIMER + 4).write(u32::MAX);
        Register(TIMER).write(1);
        Register(NVIC_ENABLE).write(RECEIVES);
        Register(SYSTICK + 4).write(1000 * MICROSECOND - 1);
        Register(SYSTICK + 8).write(0);
        Register(SYSTICK).write(0b111);
        Register(WATCHDOG + 0xC00).write(0x1ACC_E551);
        Register(WATCHDOG).write(WATCHDOG_HALF);
        Register(WATCHDOG + 8).write(0b11);
        let mut buffer = [0; 160];
        let path = command_line(&mut buffer);
        let flash = path.and_then(|path| File::open(path, true));
        Machine { cause, ticks: 0, last: u32::MAX, flash }
    }

    fn received(line: usize) -> bool {
        UARTS.get(line).is_some_and(|uart| Register(uart + 4).read() & 2 != 0)
    }
}

impl Board for Machine {
    const NAME: &'static str = "mps2-an385";

    fn now(&mut self) -> Instant {
        let value = Register(TIMER + 4).read();
        // It wraps after 171 s; the loop asks a thousand times a second.
        self.ticks += u64::from(self.last.wrapping_sub(value));
        self.last = value;
        Instant::from_micros(self.ticks / u64::from(MICROSECOND))
    }

    fn get(&mut self, line: usize) -> Option<u8> {
        let uart = *UARTS.get(line)?;
        Self::received(line).then(|| Register(uart).read().to_le_bytes()[0])
    }

    fn put(&mut self, line: usize, byte: u8) -> bool {
        let Some(uart) = UARTS.get(line) else { return true };
        let free = Register(uart + 4).read() & 1 == 0;
        if free {
            Register(*uart).write(u32::from(byte));
        }
        free
    }

    fn rest(&mut self) {
        // A byte that comes between these two is pending already, and ends the sleep at once.
        if !(0..LINES).any(Self::received) {
            cortex_m::asm::wfi();
        }
        for uart in UARTS {
            Register(uart + 0xC).write(0b1111);
        }
        Register(NVIC_CLEAR).write(RECEIVES);
        Register(ICSR).write(ICSR_CLEAR_TICK);
    }

    fn pet(&mut self) {
        Register(WATCHDOG + 0xC).write(1);
    }

    fn noise(&mut self, noise: &mut [u8; NOISE_LEN]) {
        if let Some(mut random) = File::open(c"/dev/urandom", false) {
            random.read(noise);
        }
    }

    fn light(&mut self, on: bool) {
        Register(LAMP).write(u32::from(on));
    }

    fn button(&mut self) -> bool {
        // Of FPGAIO; QEMU's are never pressed.
        Register(LAMP + 8).read() & 1 != 0
    }

    fn cause(&self) -> Cause {
        self.cause
    }

    fn serial(&self) -> Option<u64> {
        None
    }

    fn millivolts(&mut self) -> Option<u16> {
        None
    }

    fn memory(&self) -> (Option<u16>, u16) {
        stack::used()
    }

    fn reset(&mut self) -> ! {
        Register(&raw const MARK as usize).write(ASKED);
        cortex_m::peripheral::SCB::sys_reset()
    }
}

impl Flash for Machine {
    fn read(&mut self, sector: usize, offset: usize, bytes: &mut [u8]) {
        bytes.fill(0xFF);
        if let Some(file) = &mut self.flash {
            file.seek(sector * SECTOR_LEN + offset);
            file.read(bytes);
        }
    }

    fn program(&mut self, sector: usize, offset: usize, bytes: &[u8]) {
        if let Some(file) = &mut self.flash {
            file.seek(sector * SECTOR_LEN + offset);
            file.write(bytes);
        }
    }

    fn erase(&mut self, sector: usize) {
        for offset in (0..SECTOR_LEN).step_by(64) {
            self.program(sector, offset, &[0xFF; 64]);
        }
    }
}
