//! How much of the stack was ever used: the start code has painted it.

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_start: u32;
    static _ram_start: u32;
}

const PAINT: u32 = 0xCCCC_CCCC;

/// The most bytes of stack that were ever used, and the bytes of memory below it.
pub(crate) fn used() -> (Option<u16>, u16) {
    let (end, start) = (&raw const _stack_end as usize, &raw const _stack_start as usize);
    // SAFETY: it is memory, and only read; what stands there above the mark means nothing here.
    let painted = |at: &usize| unsafe { (*at as *const u32).read_volatile() } == PAINT;
    let clean = (end..start).step_by(4).take_while(painted).count() * 4;
    let used = start.saturating_sub(end).saturating_sub(clean);
    let other = end.saturating_sub(&raw const _ram_start as usize);
    (u16::try_from(used).ok(), u16::try_from(other).unwrap_or(u16::MAX))
}
