//! Pins: a relay, a watchdog chip, lamps, a button.
//!
//! A pin is written `gpiochip0:17` or `gpiochip0:RELAY` (chip and line of the kernel's character
//! device), `RELAY` (the first line of that name), or `17`: that GPIO of a Raspberry Pi, by its
//! registers; elsewhere that line of the first chip. A `!` in front: active low.
mod kernel;
mod pi;
#[cfg(any(test, feature = "_sim"))]
pub mod simulated;

use std::fmt;
use std::io;

/// A pin as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    chip: Option<String>,
    line: Line,
    active_low: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Number(u32),
    Name(String),
}

impl Pin {
    /// Takes the notation apart; `None`: it is none.
    pub fn parse(text: &str) -> Option<Pin> {
        let (active_low, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (chip, line) = match rest.rsplit_once(':') {
            Some((chip, line)) => (Some(chip), line),
            None => (None, rest),
        };
        let odd = |part: &str| {
            part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if odd(line) || chip.is_some_and(odd) {
            return None;
        }
        let number = line.parse().ok().filter(|_| line.bytes().all(|byte| byte.is_ascii_digit()));
        let line = number.map_or_else(|| Line::Name(line.to_owned()), Line::Number);
        Some(Pin { chip: chip.map(str::to_owned), line, active_low })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.active_low {
            f.write_str("!")?;
        }
        if let Some(chip) = &self.chip {
            write!(f, "{chip}:")?;
        }
        match &self.line {
            Line::Number(number) => write!(f, "{number}"),
            Line::Name(name) => f.write_str(name),
        }
    }
}

/// A pin that this machine drives. Active and inactive, whatever the level is.
pub trait Output: Send {
    /// Drives it.
    ///
    /// # Errors
    /// Those of the kernel.
    fn set(&mut self, active: bool) -> io::Result<()>;
}

/// A pin that something else drives.
pub trait Input: Send {
    /// Whether it is active.
    ///
    /// # Errors
    /// Those of the kernel.
    fn is_active(&mut self) -> io::Result<bool>;
}

/// What pulls a pin that nobody drives: what a broken wire reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It reads active.
    Active,
    /// It reads inactive.
    Inactive,
}

/// Takes a pin to drive it, inactive to begin with.
///
/// # Errors
/// There is no such pin, or somebody else drives it.
pub fn output(pin: &Pin) -> io::Result<Box<dyn Output>> {
    match registers(pin)? {
        Some(gpio) => pi::output(&gpio, pin),
        None => kernel::output(pin),
    }
    .map_err(|error| named(pin, &error))
}

/// Takes a pin to read it.
///
/// # Errors
/// There is no such pin, or somebody else has it.
pub fn input(pin: &Pin, rest: Rest) -> io::Result<Box<dyn Input>> {
    match registers(pin)? {
        Some(gpio) => pi::input(&gpio, pin, rest),
        None => kernel::input(pin, rest),
    }
    .map_err(|error| named(pin, &error))
}

/// A Raspberry Pi's registers, for a bare number.
fn registers(pin: &Pin) -> io::Result<Option<rppal::gpio::Gpio>> {
    if pin.chip.is_some() || !matches!(pin.line, Line::Number(_)) {
        return Ok(None);
    }
    match rppal::gpio::Gpio::new() {
        Ok(gpio) => Ok(Some(gpio)),
        Err(rppal::gpio::Error::UnknownModel) => Ok(None),
        Err(error) => Err(named(pin, &io::Error::other(error.to_string()))),
    }
}

fn named(pin: &Pin, error: &io::Error) -> io::Error {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "see `gpioinfo` for what there is",
        io::ErrorKind::ResourceBusy => "`gpioinfo` names who has it",
        io::ErrorKind::PermissionDenied => "run as root",
        _ => "see `gpioinfo` and the kernel's log",
    };
    io::Error::new(error.kind(), format!("pin {pin}: {error}; {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_they_are_written() {
        for text in ["gpiochip0:17", "!gpiochip0:17", "17", "!RELAY", "/dev/gpiochip4:FAN", "a:b:3"]
        {
            assert_eq!(Pin::parse(text).expect(text).to_string(), text);
        }
        for text in ["", "!", "chip:", ":17", "a b", "gpiochip0: 17"] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pin_that_is_not_there_says_so() {
        for text in ["no-such-line", "gpiochip999:1"] {
            let pin = Pin::parse(text).expect(text);
            let why = output(&pin).err().expect("no such pin").to_string();
            assert!(why.contains(text) && why.contains("gpioinfo"), "{why}");
            assert!(input(&pin, Rest::Active).is_err());
        }
    }
}
