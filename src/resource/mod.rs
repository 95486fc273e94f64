//! Starts, stops and probes resources, outside the engine's thread.
//!
//! Every group has a worker thread that does its jobs one after the other; a stop aborts a start
//! or a probe that is under way, and is never called off itself. One more thread, the keeper,
//! renews the lifetimes of the addresses, repeats their announcements and withdraws them when the
//! engine no longer vouches for their group.
mod address;
mod announce;
mod claim;
mod held;
mod keeper;
mod learn;
mod script;
mod worker;

#[cfg(test)]
mod tests;

use crate::config;
use crate::core::id::{GroupId, JobId};
use crate::core::io::Outcome;
use crate::platform::gate::Cover;
use crate::platform::process::Wake;
use crate::platform::sched;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Small, because locked memory is paid for in full.
const STACK: usize = 128 * 1024;
/// Marks a slot as taken.
const TAKEN: u64 = 1 << 63;
const KIND_SHIFT: u32 = 32;

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub group: GroupId,
    /// The number given with the job.
    pub job: JobId,
    /// What it came to.
    pub outcome: Outcome,
}

/// Whose resources they are.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// This node's name, for the scripts' environment.
    pub node: &'a str,
    /// Heartbeat's directory, for the same.
    pub ha_dir: Option<&'a Path>,
    /// What ownership rests on: it tells what somebody else's claim of an address may mean.
    pub rule: config::Rule,
}

/// Owns the threads that start, stop and probe the groups.
pub struct Resources {
    slots: Vec<Arc<Slots>>,
    shared: Arc<keeper::Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A job of a group's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Start(JobId),
    Stop(JobId),
    Probe(JobId),
}

/// What the engine wants of a worker: a stop, and the newest start or probe. Written without
/// locks, so that no worker can ever hold up the engine.
struct Slots {
    stop: AtomicU64,
    next: AtomicU64,
    quit: AtomicBool,
    wake: Wake,
}

impl Slots {
    fn new() -> io::Result<Self> {
        Ok(Slots {
            stop: AtomicU64::new(0),
            next: AtomicU64::new(0),
            quit: AtomicBool::new(false),
            wake: Wake::new()?,
        })
    }

    fn put(&self, slot: &AtomicU64, kind: u64, job: JobId) {
        slot.store(TAKEN | kind << KIND_SHIFT | u64::from(job.0), Ordering::Release);
        self.wake.set();
    }

    /// The job to do next; a stop comes first.
    fn take(&self) -> Option<Job> {
        let job = |word: u64| JobId(word as u32);
        match self.stop.swap(0, Ordering::Acquire) {
            0 => {}
            word => return Some(Job::Stop(job(word))),
        }
        match self.next.swap(0, Ordering::Acquire) {
            0 => None,
            word if word >> KIND_SHIFT & 1 == 0 => Some(Job::Start(job(word))),
            word => Some(Job::Probe(job(word))),
        }
    }

    fn stop_waits(&self) -> bool {
        self.stop.load(Ordering::Acquire) != 0 || self.quits()
    }

    fn quits(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }
}

impl Resources {
    /// Starts the threads. `vouch[g]`: until when (µs of CLOCK_BOOTTIME) the engine vouches for
    /// group g; addresses of a group that it does not vouch for are withdrawn. `report` is called
    /// by the workers. All of it acts in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No sockets, descriptors or threads to be had.
    pub fn new(
        groups: &[config::Group],
        who: Who<'_>,
        vouch: Arc<[AtomicU64]>,
        report: impl Fn(Report) + Send + Sync + Clone + 'static,
    ) -> io::Result<Self> {
        Self::with_priority(groups, who, vouch, report, None)
    }

    /// As [`new`](Self::new), with real-time priority (SCHED_RR, 1 to 99) for the threads; the
    /// scripts run without it. Refused priority is a warning, not an error.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_priority(
        groups: &[config::Group],
        who: Who<'_>,
        vouch: Arc<[AtomicU64]>,
        report: impl Fn(Report) + Send + Sync + Clone + 'static,
        priority: Option<u8>,
    ) -> io::Result<Self> {
        if vouch.len() < groups.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} groups, but only {} vouchers", groups.len(), vouch.len()),
            ));
        }
        let shared = Arc::new(keeper::Shared::new(groups, who.rule, vouch)?);
        let mut all =
            Resources { slots: Vec::new(), shared: Arc::clone(&shared), threads: Vec::new() };
        let mut keeper = keeper::Keeper::new(shared)?;
        all.spawn("keeper".into(), priority, move || keeper.run())?;
        for (group, id) in groups.iter().zip(GroupId::all()) {
            let slots = Arc::new(Slots::new()?);
            let mut worker = worker::Worker::new(
                group.clone(),
                id,
                (who.node, who.ha_dir),
                Arc::clone(&slots),
                Arc::clone(&all.shared),
                report.clone(),
            )?;
            all.slots.push(slots);
            all.spawn(format!("group-{}", group.name), priority, move || worker.run())?;
        }
        Ok(all)
    }

    fn spawn(
        &mut self,
        name: String,
        priority: Option<u8>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let name = name.replace('\0', "");
        let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            if let Some(Err(error)) = priority.map(sched::realtime) {
                log::warn!(target: "resource", "for the resources' threads: {error}");
            }
            run();
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Starts everything of the group, first resource first; what runs already is adopted. Never
    /// blocks, never allocates; a newer start or probe replaces one that has not begun.
    pub fn start(&self, group: GroupId, job: JobId) {
        if let Some(slots) = self.slots.get(group.index()) {
            slots.put(&slots.next, 0, job);
        }
    }

    /// Stops everything of the group, last resource first, even when one fails; aborts a start
    /// that is under way. Never blocks, never allocates.
    pub fn stop(&self, group: GroupId, job: JobId) {
        if let Some(slots) = self.slots.get(group.index()) {
            slots.next.store(0, Ordering::Release);
            slots.put(&slots.stop, 0, job);
            // After that: whoever clears it looks for a waiting stop next.
            self.shared.set_stopping(group.index(), true);
        }
    }

    /// Finds out what of the group runs. Never blocks, never allocates. A group that is found
    /// running and is wanted here is then adopted by [`start`](Self::start).
    pub fn probe(&self, group: GroupId, job: JobId) {
        if let Some(slots) = self.slots.get(group.index()) {
            slots.put(&slots.next, 1, job);
        }
    }

    /// Announces the group's addresses again, at once and three times more. Never blocks.
    pub fn announce(&self, group: GroupId) {
        self.shared.announce_again(group.index());
    }

    /// From now on no address appears on a new interface before the lease gate stands there.
    pub fn wait_for(&self, cover: Cover) {
        // The first one stays: an engine has one gate.
        let _ = self.shared.cover.set(cover);
    }

    /// Ends the threads; a script that runs is killed. Addresses that were not stopped vanish
    /// within a second.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for slots in &self.slots {
            slots.quit.store(true, Ordering::Release);
            slots.wake.set();
        }
        self.shared.quit();
        for thread in self.threads.drain(..) {
            // A panic of it was printed by itself; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Resources {
    fn drop(&mut self) {
        self.end();
    }
}

/// A lock whose data stay good whoever panicked: every change under it is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
