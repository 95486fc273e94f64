//! Waiting for conditions instead of sleeping.
use super::error::{Error, Result};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Asks `look` every millisecond until it returns something; that is returned.
///
/// # Errors
/// After `limit`, with `what` was waited for.
pub fn until<T>(
    limit: Duration,
    what: impl std::fmt::Display,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() >= limit {
            return Err(Error::new(format!("waited {limit:?} in vain for {what}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Makes sure that `look` finds nothing for as long as `period`.
///
/// # Errors
/// As soon as it finds something, with what it found.
pub fn never<T: std::fmt::Debug>(
    period: Duration,
    what: impl std::fmt::Display,
    mut look: impl FnMut() -> Option<T>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        if let Some(found) = look() {
            let after = start.elapsed();
            return Err(Error::new(format!("{what} after {after:?}: {found:?}")));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
