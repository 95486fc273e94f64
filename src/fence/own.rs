//! The machine ends itself, by a command that was made ready at the start, or at once.
use crate::config::SelfFence;
use crate::platform::prepared::Prepared;
use crate::platform::process::{End, Wake, wait_readable};
use crate::platform::reset;
use log::error;
use rustix::fd::AsFd;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the command.
const LOOK: Duration = Duration::from_millis(10);
/// Between two tries, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// The lowest real-time priority comes before all ordinary processes.
const PRIORITY: u8 = 1;

/// What the engine holds.
pub struct Own(Arc<Trigger>);

struct Trigger {
    pulled: AtomicBool,
    wake: Wake,
}

impl Own {
    /// Makes the command ready (without one the machine is reset at once), and a thread that waits
    /// for the moment.
    ///
    /// # Errors
    /// No thread or no eventfd is to be had.
    pub fn start(own: Option<&SelfFence>, node: &str) -> io::Result<Own> {
        let prepare = |own: &SelfFence| -> io::Result<(Prepared, Duration)> {
            let seconds = own.takes.as_secs().max(1).to_string();
            let added = [
                ("LATIDO_ACTION", "reset"),
                ("LATIDO_NODE", node),
                ("LATIDO_FROM", node),
                ("LATIDO_TIMEOUT", &seconds),
            ];
            Ok((Prepared::new(&own.command, &added)?, own.takes))
        };
        let ready = own.map(prepare).transpose()?;
        let trigger = Arc::new(Trigger { pulled: AtomicBool::new(false), wake: Wake::new()? });
        let shared = trigger.clone();
        let builder = std::thread::Builder::new().name("self-fence".into());
        builder.stack_size(super::STACK).spawn(move || {
            // It must come to its turn whatever else the machine does. Where that is not permitted
            // it goes without.
            let _ = crate::platform::sched::realtime(PRIORITY);
            while !shared.pulled.load(Ordering::Acquire) {
                wait_readable(&[Some(shared.wake.as_fd())], None);
            }
            loop {
                match &ready {
                    Some((prepared, takes)) => end_machine(prepared, *takes),
                    None => reset_machine(),
                }
            }
        })?;
        Ok(Own(trigger))
    }

    /// Ends this machine. Never blocks, allocates nothing; cannot be called off.
    pub fn reset(&self) {
        self.0.pulled.store(true, Ordering::Release);
        self.0.wake.set();
    }
}

/// One try. It returns only if that was in vain.
fn reset_machine() {
    let why = reset::now();
    error!(
        target: "event",
        "this machine must reset itself (a resource could not be stopped), and cannot: {why}; it \
         is tried again: pull the plug"
    );
    std::thread::sleep(PAUSE);
}

/// One try. It returns only if that was in vain.
fn end_machine(prepared: &Prepared, takes: Duration) {
    let begun = Instant::now();
    // First the command, then words.
    let running = prepared.run();
    error!(target: "event", "this machine resets itself: a resource could not be stopped");
    match running {
        Ok(running) => {
            let mut end = None;
            while begun.elapsed() < takes && end.is_none() {
                std::thread::sleep(LOOK.min(takes));
                end = running.ended();
            }
            let how = match end {
                Some(End::Exited(0)) => "it ended as if all were well".to_owned(),
                Some(End::Exited(code)) => format!("it ended with exit code {code}"),
                Some(End::Signalled(signal)) => format!("it was killed by signal {signal}"),
                None => "it still runs".to_owned(),
            };
            std::thread::sleep(takes.saturating_sub(begun.elapsed()));
            error!(
                target: "event",
                "the self_fence command has not ended this machine after {}: {how}; it is tried \
                 again: pull the plug",
                crate::config::format_duration(takes)
            );
            if end.is_none() {
                running.kill();
                let _ = running.ended();
            }
        }
        Err(why) => error!(
            target: "event",
            "the self_fence command cannot be run: {why}; it is tried again: pull the plug"
        ),
    }
    std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
}
