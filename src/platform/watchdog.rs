//! A watchdog: what resets this machine when nobody pets it any more.
//!
//! The kernel's devices (`/dev/watchdog*`) are single-open: whoever has one open pets it. Opening
//! one starts it; closing it stops it only after a magic `V`, and not at all where the kernel was
//! told so (`nowayout`).
mod board;
mod holder;
mod kernel;

pub use board::{Applies, Board, Fact};
pub use holder::{Holder, holder};
pub use kernel::{Kernel, Known, known, software};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `WDIOC_GETSUPPORT` tells in `options`.
const SETTIMEOUT: u32 = 0x0080;
const MAGICCLOSE: u32 = 0x0100;
const PRETIMEOUT: u32 = 0x0200;
/// The last reset was a watchdog's: `WDIOC_GETBOOTSTATUS`.
const CARDRESET: u32 = 0x0020;
/// How the kernel's own timer calls itself.
const SOFTDOG: &str = "Software Watchdog";

/// What a device can do, and how it calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// Bits of `WDIOF_*`.
    pub options: u32,
    /// Its name.
    pub identity: String,
}

/// A watchdog device. Times are whole seconds: the kernel knows no others.
pub trait Driver: Send {
    /// What it can do.
    ///
    /// # Errors
    /// As all of them: those of the device.
    fn support(&self) -> io::Result<Support>;
    /// Bits of `WDIOF_*` about the last reset.
    #[allow(clippy::missing_errors_doc)]
    fn boot_status(&self) -> io::Result<u32>;
    /// Asks for a timeout; what comes of it, [`timeout`](Driver::timeout) tells.
    #[allow(clippy::missing_errors_doc)]
    fn set_timeout(&self, seconds: u32) -> io::Result<()>;
    /// The timeout that is in force.
    #[allow(clippy::missing_errors_doc)]
    fn timeout(&self) -> io::Result<u32>;
    /// Asks for a warning so long before the reset.
    #[allow(clippy::missing_errors_doc)]
    fn set_pretimeout(&self, seconds: u32) -> io::Result<()>;
    /// The warning that is in force.
    #[allow(clippy::missing_errors_doc)]
    fn pretimeout(&self) -> io::Result<u32>;
    /// All is well for one more timeout. Allocates nothing.
    #[allow(clippy::missing_errors_doc)]
    fn pet(&self) -> io::Result<()>;
    /// The next close stops it (where `nowayout` is not set).
    #[allow(clippy::missing_errors_doc)]
    fn allow_close(&self) -> io::Result<()>;
}

/// What is asked of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its path.
    pub device: PathBuf,
    /// Its timeout.
    pub timeout: Duration,
    /// A warning so long before.
    pub pretimeout: Option<Duration>,
}

/// What is known of a running watchdog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its path.
    pub device: PathBuf,
    /// How it calls itself.
    pub identity: String,
    /// This machine is reset so long after the last pet: as the device itself says.
    pub timeout: Duration,
    /// The kernel is warned so long before that.
    pub pretimeout: Option<Duration>,
    /// It can be stopped again: neither `nowayout` nor a driver without magic close.
    pub stoppable: bool,
    /// A timer of the kernel, not hardware.
    pub software: bool,
    /// It says that the machine's last start was its doing.
    pub bitten: bool,
    /// What is not as it was asked for.
    pub remarks: Vec<String>,
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// What to do about it.
    pub cure: String,
    /// Who has it open.
    pub holder: Option<Holder>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.cure)
    }
}

impl std::error::Error for Refused {}

/// A watchdog that runs: it must be petted from now on.
pub struct Armed<D: Driver = Kernel> {
    driver: D,
    info: Info,
}

/// Opens a device, which starts it, and asks for its timeout.
///
/// # Errors
/// It is not there, held by somebody else, or does not say when it resets this machine.
pub fn open(wanted: &Wanted) -> Result<Armed, Refused> {
    let driver = Kernel::open(&wanted.device)?;
    Armed::arm(driver, known(&wanted.device).nowayout, wanted)
}

impl<D: Driver> Armed<D> {
    /// Asks for the timeout, and reads back what came of it. `nowayout`: as far as is known.
    ///
    /// # Errors
    /// It does not say when it resets this machine: that would be a bound that nobody knows. It is
    /// stopped again, if it can be.
    pub fn arm(driver: D, nowayout: Option<bool>, wanted: &Wanted) -> Result<Self, Refused> {
        let support = driver.support().unwrap_or_default();
        let mut remarks = Vec::new();
        let asked = u32::try_from(wanted.timeout.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        if support.options & SETTIMEOUT == 0 {
            remarks.push("its timeout cannot be set".to_owned());
        } else if !settle(&driver, asked) {
            remarks.push(format!("it takes no timeout up to {asked} s"));
        }
        let timeout = match driver.timeout() {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds.into()),
            answer => {
                let _ = driver.allow_close();
                let told = answer.map_or_else(|error| error.to_string(), |_| "0 s".to_owned());
                return Err(Refused {
                    why: format!(
                        "{} does not say when it resets this machine ({told})",
                        wanted.device.display()
                    ),
                    cure: "use another watchdog: without that no lease can be counted".into(),
                    holder: None,
                });
            }
        };
        if timeout != Duration::from_secs(asked.into()) {
            remarks.push(format!("its timeout is {} s, not {asked} s", timeout.as_secs()));
        }
        let pretimeout = wanted.pretimeout.and_then(|span| {
            warn_before(&driver, support.options, span).map_err(|why| remarks.push(why)).ok()
        });
        let stoppable = support.options & MAGICCLOSE != 0 && nowayout != Some(true);
        let info = Info {
            device: wanted.device.clone(),
            software: support.identity == SOFTDOG,
            identity: support.identity,
            timeout,
            pretimeout,
            stoppable,
            bitten: driver.boot_status().is_ok_and(|bits| bits & CARDRESET != 0),
            remarks,
        };
        let armed = Armed { driver, info };
        let _ = armed.pet();
        Ok(armed)
    }

    /// What is known of it.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// All is well for one more timeout. Allocates nothing.
    ///
    /// # Errors
    /// Those of the device: it may not have been petted.
    pub fn pet(&self) -> io::Result<()> {
        self.driver.pet()
    }

    /// Stops it, if it can be stopped. Dropped without this it goes on, and resets the machine
    /// unless somebody opens it again in time.
    pub fn disarm(self) -> bool {
        self.driver.allow_close().is_ok() && self.info.stoppable
    }
}

/// Asks for the timeout, or for the longest below it that the device takes (the Raspberry Pi's
/// takes at most 15 s).
fn settle(driver: &impl Driver, asked: u32) -> bool {
    const TRIES: usize = 600;
    (1..=asked).rev().take(TRIES).any(|seconds| driver.set_timeout(seconds).is_ok())
}

fn warn_before(driver: &impl Driver, options: u32, span: Duration) -> Result<Duration, String> {
    if options & PRETIMEOUT == 0 {
        return Err("it has no pretimeout".to_owned());
    }
    let seconds = u32::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    driver
        .set_pretimeout(seconds)
        .and_then(|()| driver.pretimeout())
        .map(|seconds| Duration::from_secs(seconds.into()))
        .map_err(|error| format!("it takes no pretimeout of {seconds} s ({error})"))
}

/// Stops a watchdog that a predecessor has left running.
///
/// # Errors
/// It cannot be opened, or goes on.
pub fn stop(device: &Path) -> Result<(), Refused> {
    let driver = Kernel::open(device)?;
    let stopped = driver.allow_close().is_ok() && known(device).nowayout != Some(true);
    if stopped {
        return Ok(());
    }
    Err(Refused {
        why: format!("{} goes on: it cannot be stopped (nowayout)", device.display()),
        cure: "it resets this machine unless something pets it".into(),
        holder: None,
    })
}

#[cfg(test)]
mod tests;
