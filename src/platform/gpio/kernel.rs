//! The kernel's character device (`/dev/gpiochip*`, uAPI v2).
use super::{Input, Line, Output, Pin, Rest};
use gpiocdev::Request;
use gpiocdev::line::{Bias, Value};
use gpiocdev::request::Builder;
use std::io;
use std::path::{Path, PathBuf};

const CONSUMER: &str = "latido";
const FIRST: &str = "gpiochip0";

struct Requested {
    request: Request,
    line: u32,
}

impl Output for Requested {
    fn set(&mut self, active: bool) -> io::Result<()> {
        let value = if active { Value::Active } else { Value::Inactive };
        self.request.set_value(self.line, value).map(drop).map_err(os_error)
    }
}

impl Input for Requested {
    fn is_active(&mut self) -> io::Result<bool> {
        let value = self.request.value(self.line).map_err(os_error)?;
        Ok(value == Value::Active)
    }
}

pub(super) fn output(pin: &Pin) -> io::Result<Box<dyn Output>> {
    Ok(Box::new(request(pin, |builder| _ = builder.as_output(Value::Inactive))?))
}

pub(super) fn input(pin: &Pin, rest: Rest) -> io::Result<Box<dyn Input>> {
    let bias = if (rest == Rest::Active) != pin.active_low { Bias::PullUp } else { Bias::PullDown };
    // A chip without pull resistors ignores it: whoever wires that brings some.
    Ok(Box::new(request(pin, |builder| _ = builder.as_input().with_bias(bias))?))
}

fn request(pin: &Pin, direct: impl Fn(&mut Builder)) -> io::Result<Requested> {
    let (chip, line) = find(pin)?;
    let mut builder = Request::builder();
    builder.on_chip(&chip).with_consumer(CONSUMER).with_line(line);
    direct(&mut builder);
    if pin.active_low {
        builder.as_active_low();
    }
    let request = builder.request().map_err(os_error)?;
    Ok(Requested { request, line })
}

/// The chip's device and the line's number on it.
fn find(pin: &Pin) -> io::Result<(PathBuf, u32)> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such line");
    let device = |chip: &str| match chip.starts_with('/') {
        true => PathBuf::from(chip),
        false => Path::new("/dev").join(chip),
    };
    match (&pin.chip, &pin.line) {
        (None, Line::Name(name)) => {
            let found = gpiocdev::find_named_line(name).ok_or_else(missing)?;
            Ok((found.chip, found.info.offset))
        }
        (Some(chip), Line::Name(name)) => {
            let path = device(chip);
            let open = gpiocdev::Chip::from_path(&path).map_err(os_error)?;
            let line = open.find_line_info(name).ok_or_else(missing)?;
            Ok((path, line.offset))
        }
        (chip, Line::Number(number)) => {
            let path = device(chip.as_deref().unwrap_or(FIRST));
            // The crate's own error for this has no kind.
            std::fs::metadata(&path)?;
            Ok((path, *number))
        }
    }
}

fn os_error(error: gpiocdev::Error) -> io::Error {
    match error {
        gpiocdev::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        gpiocdev::Error::Uapi(_, inner) => io::Error::other(inner.to_string()),
        other => io::Error::other(other.to_string()),
    }
}
