//! Looks up the names of references, in a thread of its own: a name server is often behind the
//! very connection that is in doubt, and may take many seconds to stay silent.
use crate::platform::process::{Wake, wait_readable};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a name is looked up again, once it was found, and before.
const AGAIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);
/// `getaddrinfo` needs a good part of it.
const STACK: usize = 256 * 1024;

/// What became of a name.
pub(super) type Found = Result<IpAddr, String>;

/// The addresses of some names. The thread ends some time after this is dropped.
pub(super) struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    found: Mutex<Vec<Option<Found>>>,
    end: Wake,
    ended: AtomicBool,
}

impl Names {
    /// Starts looking up; `changed` is called by the thread after something was found.
    ///
    /// # Errors
    /// No descriptor or no thread to be had.
    pub(super) fn look_up(
        names: Vec<String>,
        changed: impl Fn() + Send + 'static,
    ) -> io::Result<Names> {
        let found = Mutex::new(vec![None; names.len()]);
        let shared = Arc::new(Shared { found, end: Wake::new()?, ended: AtomicBool::new(false) });
        let mine = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("reference-names".into()).stack_size(STACK);
        builder.spawn(move || {
            while !mine.ended.load(Ordering::Acquire) {
                let complete = mine.round(&names, &changed);
                let pause = if complete { AGAIN } else { RETRY };
                wait_readable(&[Some(mine.end.as_fd())], Some(pause));
            }
        })?;
        Ok(Names { shared })
    }

    /// What was found of a name so far.
    pub(super) fn get(&self, index: usize) -> Option<Found> {
        self.shared.found.lock().unwrap_or_else(PoisonError::into_inner).get(index)?.clone()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Not joined: a lookup under way cannot be called off.
        self.shared.ended.store(true, Ordering::Release);
        self.shared.end.set();
    }
}

impl Shared {
    /// Looks up every name once; whether all were found.
    fn round(&self, names: &[String], changed: &impl Fn()) -> bool {
        let mut complete = true;
        for (index, name) in names.iter().enumerate() {
            let found = look_up(name);
            complete &= found.is_ok();
            let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(place) = all.get_mut(index) else { continue };
            // What was found once stays, as long as nothing else is.
            let keep = found.is_err() && matches!(place, Some(Ok(_)));
            if !keep && place.as_ref() != Some(&found) {
                *place = Some(found);
                drop(all);
                changed();
            }
        }
        complete
    }
}

fn look_up(name: &str) -> Found {
    let mut all = (name, 0).to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
    all.next().map(|address| address.ip()).ok_or_else(|| format!("{name} has no address"))
}
