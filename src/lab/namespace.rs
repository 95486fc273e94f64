//! A network namespace with a thread that lives in it.
use super::error::{Doing, Error, Result};
use crate::platform;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace of its own. It has no name in the file system, so it vanishes with the last
/// process and descriptor in it, whatever becomes of the laboratory.
///
/// A socket belongs for ever to the namespace of the thread that opened it: [`Namespace::run`]
/// opens sockets here that any thread can use.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new, empty namespace. `name` is for messages and the thread's name.
    pub fn new(name: &str) -> Result<Namespace> {
        let (jobs, queue) = channel::<Job>();
        let (report, arrived) = channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let file = platform::namespace::new_network()
                    .and_then(|()| File::open("/proc/thread-self/ns/net"));
                let failed = file.is_err();
                if report.send(file).is_err() || failed {
                    return;
                }
                for job in queue {
                    job();
                }
            })
            .doing(format!("starting the thread of {name}"))?;
        let file = arrived
            .recv()
            .map_err(|_| Error::new(format!("the thread of {name} died")))?
            .doing(format!("creating the network namespace of {name}"))?;
        Ok(Namespace { file, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `job` in the namespace and returns what it returns.
    ///
    /// # Panics
    /// When `job` panicked, in this call or an earlier one.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (report, arrived) = channel();
        let job: Job = Box::new(move || {
            // The caller waits below; it cannot have gone away.
            let _ = report.send(job());
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        assert!(sent, "the namespace's thread has panicked");
        arrived.recv().expect("the job panicked")
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
