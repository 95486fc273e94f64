//! A Raspberry Pi's registers.
use super::{Input, Line, Output, Pin, Rest};
use rppal::gpio::{Gpio, InputPin, OutputPin};
use std::io;

struct Driven {
    pin: OutputPin,
    active_low: bool,
}

impl Output for Driven {
    fn set(&mut self, active: bool) -> io::Result<()> {
        if active == self.active_low {
            self.pin.set_low();
        } else {
            self.pin.set_high();
        }
        Ok(())
    }
}

struct Read {
    pin: InputPin,
    active_low: bool,
}

impl Input for Read {
    fn is_active(&mut self) -> io::Result<bool> {
        Ok(self.pin.is_high() != self.active_low)
    }
}

fn take(gpio: &Gpio, pin: &Pin) -> io::Result<rppal::gpio::Pin> {
    let Line::Number(number) = pin.line else { return Err(io::ErrorKind::InvalidInput.into()) };
    let number = u8::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    gpio.get(number).map_err(|error| io::Error::other(error.to_string()))
}

pub(super) fn output(gpio: &Gpio, pin: &Pin) -> io::Result<Box<dyn Output>> {
    let free = take(gpio, pin)?;
    let active_low = pin.active_low;
    let pin = if active_low { free.into_output_high() } else { free.into_output_low() };
    Ok(Box::new(Driven { pin, active_low }))
}

pub(super) fn input(gpio: &Gpio, pin: &Pin, rest: Rest) -> io::Result<Box<dyn Input>> {
    let free = take(gpio, pin)?;
    let active_low = pin.active_low;
    let up = (rest == Rest::Active) != active_low;
    let pin = if up { free.into_input_pullup() } else { free.into_input_pulldown() };
    Ok(Box::new(Read { pin, active_low }))
}
