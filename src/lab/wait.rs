//! Waiting for conditions instead of sleeping.
use super::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether everything that waits is to give up.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes everything that waits, in all threads, give up with an error from now on, so that the
/// laboratory is taken down by its owner in the usual way.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

fn go_on() -> Result<()> {
    if is_interrupted() { Err(Error::new("interrupted")) } else { Ok(()) }
}

/// Lets time pass.
///
/// # Errors
/// When interrupted.
pub fn pass(period: Duration) -> Result<()> {
    never(period, "", || None::<()>)
}

/// Asks `look` every millisecond until it returns something; that is returned.
///
/// # Errors
/// After `limit`, with `what` was waited for; when interrupted.
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
        go_on()?;
        std::thread::sleep(PAUSE);
    }
}

/// Makes sure that `look` finds nothing for as long as `period`.
///
/// # Errors
/// As soon as it finds something, with what it found; when interrupted.
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
        go_on()?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
