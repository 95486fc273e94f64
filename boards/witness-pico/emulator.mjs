// node emulator.mjs IMAGE.uf2 STORE DEVICE0 DEVICE1: the Pico's image, as it is flashed, in the
// emulator rp2040js (npm, MIT), paced to wall time. UART0 and UART1 are two terminals; the last two
// sectors of the flash are kept in the file STORE, so they outlive the emulator as they outlive a
// loss of power. The hardware watchdog resets the chip.
//
// rp2040js comes without the chip's boot ROM. What the firmware calls of it stands here: the table
// of functions, and behind each name a breakpoint that JavaScript answers.
import { createReadStream, existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [image, store, ...devices] = process.argv.slice(2);
const modules = process.env.LATIDO_RP2040JS ?? process.cwd();
const { Simulator } = createRequire(join(modules, 'x.js'))('rp2040js');
const FLASH = 0x10000000, STORE_LEN = 8192, STORE = 2 * 1024 * 1024 - STORE_LEN, BYTE_NS = 86806;

const pages = [];
const uf2 = readFileSync(image);
for (let at = 0; at + 512 <= uf2.length; at += 512) {
  if (uf2.readUInt32LE(at) !== 0x0a324655) throw new Error(`${image} is no UF2`);
  pages.push([uf2.readUInt32LE(at + 12) - FLASH, uf2.subarray(at + 32, at + 32 + uf2.readUInt32LE(at + 16))]);
}
let kept = existsSync(store) ? new Uint8Array(readFileSync(store)) : new Uint8Array(STORE_LEN).fill(255);

const { rp2040: mcu, clock } = new Simulator();
const keep = () => { kept = mcu.flash.slice(STORE, STORE + STORE_LEN); writeFileSync(store, kept); };
const rom = {
  IF() {}, EX() {}, FC() {}, CX() {},
  RE: (at, len) => { mcu.flash.fill(255, at, at + len); keep(); },
  RP: (at, from, len) => {
    for (let i = 0; i < len; i++) mcu.flash[at + i] &= mcu.readUint8(from + i);
    keep();
  },
};
const names = Object.keys(rom);
mcu.bootrom.fill(0);
// At 0x14 the table, which is never read; at 0x18 the function that looks one up.
mcu.bootrom[5] = 0x100;
mcu.bootrom[6] = 0x81;
mcu.bootrom[0x80 / 4] = 0x4770beff; // bkpt 255; bx lr
names.forEach((_, i) => { mcu.bootrom[0x100 / 4 + i] = 0x4770be00 | i; });
mcu.onBreak = (number) => {
  const r = mcu.core.registers;
  if (number !== 255) { r[0] = rom[names[number]](r[0], r[1], r[2]) ?? 0; return; }
  const name = String.fromCharCode(r[1] & 255, (r[1] >> 8) & 255), place = names.indexOf(name);
  if (place < 0) throw new Error(`the boot ROM's function ${name} is not there`);
  r[0] = 0x101 + 4 * place;
};

// Behind the second stage of the boot, which only sets up the flash chip.
function boot() {
  const scratch = mcu.readUint32(0x4005800c);
  mcu.reset();
  mcu.writeUint32(0x40058000, 0);
  mcu.ppb.reset();
  mcu.core.waiting = false;
  mcu.core.PM = false;
  mcu.writeUint32(0x4005800c, scratch);
  for (const [at, bytes] of pages) mcu.flash.set(bytes, at);
  mcu.flash.set(kept, STORE);
  mcu.core.VTOR = FLASH + 0x100;
  mcu.core.SP = mcu.flashView.getUint32(0x100, true);
  mcu.core.PC = mcu.flashView.getUint32(0x104, true) & ~1;
}
mcu.logger = { debug() {}, info() {}, warn() {}, error: (where, what) => console.log(where, what) };
mcu.gpio[22].setInputValue(true); // nobody holds the button
boot();
const watchdog = mcu.watchdog ?? mcu.peripherals[0x40058];
watchdog.onWatchdogTrigger = () => { console.log('reset by the watchdog'); boot(); };

const received = [[], []], next = [0, 0];
devices.forEach((device, line) => {
  const out = openSync(device, 'w');
  mcu.uart[line].onByte = (byte) => { try { writeSync(out, Buffer.from([byte])); } catch { /* full: lost */ } };
  createReadStream(device).on('data', (data) => received[line].push(...data));
});

const began = process.hrtime.bigint();
const wall = () => Number(process.hrtime.bigint() - began);
function slice() {
  const until = Math.min(wall(), clock.nanos + 20e6);
  while (clock.nanos < until) {
    for (let step = 0; step < 64 && clock.nanos < until; step++) {
      if (mcu.core.waiting) {
        clock.tick(Math.min(Math.max(clock.nanosToNextAlarm, 1000), 50000));
        if (mcu.core.checkForInterrupts()) mcu.core.waiting = false;
        break;
      }
      clock.tick(mcu.core.executeInstruction() * 8);
    }
    for (const line of [0, 1]) {
      if (received[line].length && clock.nanos >= next[line]) {
        mcu.uart[line].feedByte(received[line].shift());
        next[line] = clock.nanos + BYTE_NS;
      }
    }
  }
  if (wall() - clock.nanos > 1e6) setImmediate(slice); else setTimeout(slice, 1);
}
slice();
