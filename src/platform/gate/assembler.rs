//! A small assembler for eBPF (RFC 9669): instructions by name, jumps to labels.
//!
//! Registers: `R0` result, `R1`–`R5` arguments (lost in every call), `R6`–`R9` kept, `FP` the end
//! of the stack. Numbers are in the machine's byte order, as the kernel wants them.
use std::os::fd::{AsRawFd, BorrowedFd};

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Reg {
    R0 = 0,
    R1 = 1,
    R2 = 2,
    R3 = 3,
    R4 = 4,
    R6 = 6,
    R7 = 7,
    R8 = 8,
    R9 = 9,
    Fp = 10,
}

/// How many bytes a load or store moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// When a conditional jump is taken; comparisons are unsigned.
#[derive(Clone, Copy, Debug)]
pub(super) enum If {
    Equal = 0x10,
    AtLeast = 0x30,
    NotEqual = 0x50,
    AtMost = 0xb0,
}

/// A place in the program that jumps go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

// Instruction classes and modes.
const STORE_NUMBER: u8 = 0x62;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const LOAD_64: u8 = 0x18;
const ADD: u8 = 0x07;
const ADD_REG: u8 = 0x0f;
const SUB32: u8 = 0x14;
const SUB32_REG: u8 = 0x1c;
const AND: u8 = 0x57;
const SHIFT_LEFT: u8 = 0x67;
const SHIFT_RIGHT: u8 = 0x77;
const MOVE: u8 = 0xb7;
const MOVE_REG: u8 = 0xbf;
const JUMP: u8 = 0x05;
const JUMP_64: u8 = 0x05;
const JUMP_32: u8 = 0x06;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The number of `LOAD_64` is a map's descriptor, or that of a map whose value is meant.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_VALUE: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    number: i32,
}

impl Instruction {
    fn encode(self) -> [u8; 8] {
        let registers = if cfg!(target_endian = "little") {
            self.to | self.from << 4
        } else {
            self.to << 4 | self.from
        };
        let (offset, number) = (self.offset.to_ne_bytes(), self.number.to_ne_bytes());
        let [a, b, c, d] = number;
        [self.code, registers, offset[0], offset[1], a, b, c, d]
    }
}

/// A program under construction.
#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Where each label stands.
    places: Vec<Option<usize>>,
    /// Jumps whose distance is not known yet.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Assembler::default()
    }

    fn put(&mut self, code: u8, to: Reg, from: u8, offset: i16, number: i32) {
        self.code.push(Instruction { code, to: to as u8, from, offset, number });
    }

    /// A label that stands nowhere yet.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Lets a label stand here.
    pub(super) fn here(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(self.code.len());
        }
    }

    /// `to = number`.
    pub(super) fn set(&mut self, to: Reg, number: i32) {
        self.put(MOVE, to, 0, 0, number);
    }

    /// `to = from`.
    pub(super) fn copy(&mut self, to: Reg, from: Reg) {
        self.put(MOVE_REG, to, from as u8, 0, 0);
    }

    /// `to = from + number`: an address.
    pub(super) fn address(&mut self, to: Reg, from: Reg, number: i16) {
        self.copy(to, from);
        self.add(to, i32::from(number));
    }

    /// `to += number`.
    pub(super) fn add(&mut self, to: Reg, number: i32) {
        self.put(ADD, to, 0, 0, number);
    }

    /// `to += from`.
    pub(super) fn add_reg(&mut self, to: Reg, from: Reg) {
        self.put(ADD_REG, to, from as u8, 0, 0);
    }

    /// `to -= number`, modulo 2³².
    pub(super) fn subtract(&mut self, to: Reg, number: i32) {
        self.put(SUB32, to, 0, 0, number);
    }

    /// `to -= from`, modulo 2³².
    pub(super) fn subtract_reg(&mut self, to: Reg, from: Reg) {
        self.put(SUB32_REG, to, from as u8, 0, 0);
    }

    /// `to &= number`.
    pub(super) fn mask(&mut self, to: Reg, number: i32) {
        self.put(AND, to, 0, 0, number);
    }

    /// `to <<= bits`.
    pub(super) fn shift_left(&mut self, to: Reg, bits: i32) {
        self.put(SHIFT_LEFT, to, 0, 0, bits);
    }

    /// `to >>= bits`.
    pub(super) fn shift_right(&mut self, to: Reg, bits: i32) {
        self.put(SHIFT_RIGHT, to, 0, 0, bits);
    }

    /// `to = *(base + offset)`.
    pub(super) fn load(&mut self, size: Size, to: Reg, base: Reg, offset: i16) {
        self.put(LOAD | size as u8, to, base as u8, offset, 0);
    }

    /// `*(base + offset) = from`.
    pub(super) fn store(&mut self, size: Size, base: Reg, offset: i16, from: Reg) {
        self.put(STORE | size as u8, base, from as u8, offset, 0);
    }

    /// `*(base + offset) = number`.
    pub(super) fn store_number(&mut self, size: Size, base: Reg, offset: i16, number: i32) {
        self.put(STORE_NUMBER | size as u8, base, 0, offset, number);
    }

    /// `to = map`, for calls.
    pub(super) fn map(&mut self, to: Reg, map: BorrowedFd<'_>) {
        self.put(LOAD_64, to, PSEUDO_MAP, 0, map.as_raw_fd());
        self.code.push(Instruction::default());
    }

    /// `to =` the address of the only value of an array.
    pub(super) fn map_value(&mut self, to: Reg, map: BorrowedFd<'_>) {
        self.put(LOAD_64, to, PSEUDO_VALUE, 0, map.as_raw_fd());
        self.code.push(Instruction::default());
    }

    /// Calls a function of the kernel by its number in `linux/bpf.h`.
    pub(super) fn call(&mut self, helper: i32) {
        self.put(CALL, Reg::R0, 0, 0, helper);
    }

    /// Goes on at `label`.
    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.put(JUMP, Reg::R0, 0, 0, 0);
    }

    /// Goes on at `label` if `left` compares so to `right`.
    pub(super) fn jump_if(&mut self, left: Reg, how: If, right: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.put(JUMP_64 | how as u8, left, 0, 0, right);
    }

    /// As [`jump_if`](Self::jump_if), on the lower 32 bits.
    pub(super) fn jump_if_32(&mut self, left: Reg, how: If, right: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.put(JUMP_32 | how as u8, left, 0, 0, right);
    }

    /// `return number`.
    pub(super) fn leave(&mut self, number: i32) {
        self.set(Reg::R0, number);
        self.exit();
    }

    /// `return R0`.
    pub(super) fn exit(&mut self) {
        self.put(EXIT, Reg::R0, 0, 0, 0);
    }

    /// The program as the kernel wants it; `None` if a jump goes nowhere or too far.
    pub(super) fn finish(mut self) -> Option<Vec<[u8; 8]>> {
        for (at, label) in std::mem::take(&mut self.jumps) {
            let place = i64::try_from((*self.places.get(label.0)?)?).ok()?;
            let next = i64::try_from(at).ok()? + 1;
            self.code.get_mut(at)?.offset = i16::try_from(place - next).ok()?;
        }
        Some(self.code.into_iter().map(Instruction::encode).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    /// One instruction in hexadecimal, as in the manuals (little endian).
    fn hex(build: impl FnOnce(&mut Assembler)) -> String {
        let mut code = Assembler::new();
        build(&mut code);
        let code = code.finish().expect("no jumps");
        let text = |word: &[u8; 8]| word.map(|byte| format!("{byte:02x}")).join("");
        code.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_encoded_as_rfc_9669_says() {
        use Reg::*;
        assert_eq!(hex(|c| c.set(R0, -1)), "b7000000ffffffff");
        assert_eq!(hex(|c| c.copy(R6, R1)), "bf16000000000000");
        assert_eq!(hex(|c| c.address(R2, Fp, -16)), "bfa2000000000000 07020000f0ffffff");
        assert_eq!(hex(|c| c.add_reg(R7, R1)), "0f17000000000000");
        assert_eq!(hex(|c| c.subtract(R1, 1)), "1401000001000000");
        assert_eq!(hex(|c| c.subtract_reg(R2, R0)), "1c02000000000000");
        assert_eq!(hex(|c| c.mask(R1, 31)), "570100001f000000");
        assert_eq!(hex(|c| c.shift_left(R1, 3)), "6701000003000000");
        assert_eq!(hex(|c| c.shift_right(R0, 16)), "7700000010000000");
        assert_eq!(hex(|c| c.load(Size::Byte, R8, Fp, -32)), "71a8e0ff00000000");
        assert_eq!(hex(|c| c.load(Size::Half, R8, Fp, -32)), "69a8e0ff00000000");
        assert_eq!(hex(|c| c.load(Size::Word, R1, R0, 4)), "6101040000000000");
        assert_eq!(hex(|c| c.load(Size::Double, R1, R0, 4)), "7901040000000000");
        assert_eq!(hex(|c| c.store(Size::Word, Fp, -4, R1)), "631afcff00000000");
        assert_eq!(hex(|c| c.store_number(Size::Double, Fp, -8, 7)), "7a0af8ff07000000");
        assert_eq!(hex(|c| c.call(125)), "850000007d000000");
        assert_eq!(hex(|c| c.leave(2)), "b700000002000000 9500000000000000");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn maps_are_named_by_their_descriptor() {
        let file = std::fs::File::open("/dev/null").expect("there is one");
        let number = file.as_fd().as_raw_fd().to_le_bytes().map(|b| format!("{b:02x}")).join("");
        let rest = " 0000000000000000";
        assert_eq!(hex(|c| c.map(Reg::R1, file.as_fd())), format!("18110000{number}{rest}"));
        assert_eq!(hex(|c| c.map_value(Reg::R9, file.as_fd())), format!("18290000{number}{rest}"));
    }

    #[test]
    fn jumps_count_from_the_next_instruction_both_ways() {
        let mut code = Assembler::new();
        let (back, ahead) = (code.label(), code.label());
        code.here(back);
        code.jump_if(Reg::R1, If::Equal, 5, ahead);
        code.jump_if_32(Reg::R2, If::AtMost, 1, back);
        code.jump(ahead);
        code.leave(0);
        code.here(ahead);
        code.leave(1);
        let code = code.finish().expect("both labels stand");
        let offset = |at: usize| i16::from_ne_bytes([code[at][2], code[at][3]]);
        assert_eq!((offset(0), offset(1), offset(2)), (4, -2, 2));
        assert_eq!((code[0][0], code[1][0], code[2][0]), (0x15, 0xb6, 0x05));
    }

    #[test]
    fn a_jump_to_nowhere_is_no_program() {
        let mut code = Assembler::new();
        let label = code.label();
        code.jump(label);
        assert_eq!(code.finish(), None);
    }
}
