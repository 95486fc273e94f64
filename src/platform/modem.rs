//! Modem lines, and RS-485 as the kernel does it.
//!
//! On a null-modem cable our DTR is the peer's DSR and DCD, and our RTS its CTS. A port that is
//! closed, a machine without power and a cable that is pulled drop them at once.
use rustix::fd::{AsRawFd, BorrowedFd};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Lines that tell of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines(u8);

impl Lines {
    /// None of them.
    pub const NONE: Lines = Lines(0);
    /// Clear to send: the peer's RTS.
    pub const CTS: Lines = Lines(1);
    /// Data set ready: the peer's DTR.
    pub const DSR: Lines = Lines(2);
    /// Data carrier detect: the peer's DTR as well.
    pub const DCD: Lines = Lines(4);
    const NAMED: [(Lines, &'static str); 3] =
        [(Lines::DSR, "DSR"), (Lines::DCD, "DCD"), (Lines::CTS, "CTS")];

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Lines) -> Lines {
        Lines(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Lines) -> Lines {
        Lines(self.0 & !other.0)
    }

    /// Whether none of them is up.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As bits, to be kept in an atomic.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From such bits.
    pub const fn from_bits(bits: u8) -> Lines {
        Lines(bits & 7)
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let here = move |(line, _): &(Lines, _)| self.0 & line.0 != 0;
        Self::NAMED.into_iter().filter(here).map(|(_, name)| name)
    }
}

/// Something whose modem lines can be read. May take milliseconds (USB).
pub trait ModemLines: Send {
    /// The lines that are up now.
    ///
    /// # Errors
    /// The device has none, or is gone.
    fn read(&mut self) -> io::Result<Lines>;
}

/// The lines in a file, for tests: its words are the names of those that are up. A missing file has
/// none up.
#[derive(Debug)]
pub struct FileLines(pub PathBuf);

impl ModemLines for FileLines {
    fn read(&mut self) -> io::Result<Lines> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let named = |word: &str| Lines::NAMED.iter().find(|(_, name)| *name == word);
        let up = text.split_whitespace().filter_map(named);
        Ok(up.fold(Lines::NONE, |lines, (line, _)| lines.with(*line)))
    }
}

/// The modem lines of an open serial port (`TIOCMGET`).
///
/// # Errors
/// The device has none (a pseudo-terminal), or is gone.
pub fn read(port: BorrowedFd<'_>) -> io::Result<Lines> {
    let mut bits: libc::c_int = 0;
    // SAFETY: TIOCMGET writes one int, and that is what it gets; the descriptor is open.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCMGET, &raw mut bits) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    let pairs = [
        (libc::TIOCM_CTS, Lines::CTS),
        (libc::TIOCM_DSR, Lines::DSR),
        (libc::TIOCM_CAR, Lines::DCD),
    ];
    let up = pairs.into_iter().filter(|(bit, _)| bits & bit != 0);
    Ok(up.fold(Lines::NONE, |lines, (_, line)| lines.with(line)))
}

/// Our own lines, as the peer sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// DTR and RTS: this node is there.
    Both,
    /// RTS alone: an RS-485 transceiver sends.
    Rts,
}

/// Raises or drops our own lines.
///
/// # Errors
/// The device has none (a pseudo-terminal), or is gone.
pub fn set(port: BorrowedFd<'_>, own: Own, up: bool) -> io::Result<()> {
    let bits: libc::c_int = match own {
        Own::Both => libc::TIOCM_DTR | libc::TIOCM_RTS,
        Own::Rts => libc::TIOCM_RTS,
    };
    let request = if up { libc::TIOCMBIS } else { libc::TIOCMBIC };
    // SAFETY: both requests read one int, and that is what they get; the descriptor is open.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::ioctl(port.as_raw_fd(), request, &raw const bits) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct serial_rs485` of `linux/serial.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

const SER_RS485_ENABLED: u32 = 1;
const SER_RS485_RTS_ON_SEND: u32 = 2;

/// Has the driver switch an RS-485 transceiver by RTS (`TIOCSRS485`). False: it cannot.
pub fn kernel_rs485(port: BorrowedFd<'_>) -> bool {
    let mut wanted =
        SerialRs485 { flags: SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND, ..Default::default() };
    // SAFETY: the request reads and writes one `struct serial_rs485`, whose layout the kernel keeps
    // at eight words; the descriptor is open.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCSRS485, &raw mut wanted) };
    // What it could not do it has taken out of the flags.
    outcome == 0 && wanted.flags & SER_RS485_ENABLED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tty;

    #[test]
    fn names_of_lines() {
        let some = Lines::CTS.with(Lines::DSR);
        assert_eq!(some.names().collect::<Vec<_>>(), ["DSR", "CTS"]);
        assert_eq!(some.without(Lines::DSR), Lines::CTS);
        assert!(Lines::NONE.is_empty() && !some.is_empty());
        assert_eq!(Lines::from_bits(some.bits()), some);
    }

    #[test]
    fn a_file_stands_for_the_lines() {
        let path = std::env::temp_dir().join(format!("latido-lines-{}", std::process::id()));
        let mut lines = FileLines(path.clone());
        assert_eq!(lines.read().expect("none"), Lines::NONE);
        fs::write(&path, "DSR CTS\n").expect("a file");
        assert_eq!(lines.read().expect("two"), Lines::CTS.with(Lines::DSR));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_pseudo_terminal_has_no_lines_and_no_transceiver() {
        let (_master, slave) = serialport::TTYPort::pair().expect("a pseudo-terminal");
        assert!(read(tty::descriptor(&slave)).is_err());
        assert!(set(tty::descriptor(&slave), Own::Both, true).is_err());
        assert!(!kernel_rs485(tty::descriptor(&slave)));
    }
}
