//! Opens links, and opens them again after a loss, in threads of its own.
//!
//! Opening may block: a name server that does not answer, a driver that resets its adapter. So
//! may closing a serial line. Links whose peers are names have a thread of their own, so that no
//! name server holds up the others.
use super::udp::Resolved;
use super::{OpenError, Port};
use crate::config::{self, Medium};
use crate::core::id::LinkId;
use crate::core::limits::LINKS_MAX;
use crate::platform::filter::HeaderFilter;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// Before the second attempt; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A link that lived so long is opened again at once; a shorter life counts as a failed attempt.
const PROVEN: Duration = Duration::from_secs(2);
/// How often the names of an open link are looked up again.
const LOOKUP: Duration = Duration::from_secs(60);
/// `getaddrinfo` needs a good part of it; the default of 2 MiB would count against a memory lock.
const STACK: usize = 256 * 1024;

/// A port to hand over, or why there is none.
type Opened = (LinkId, Result<Port, OpenError>);
/// A lost port to close and open again.
type Lost = (LinkId, Port);

/// Opens the configured links and hands them over.
#[derive(Debug)]
pub struct Opener {
    opened: Receiver<Opened>,
    ready: Arc<OwnedFd>,
    /// For each link the thread that opens it.
    lost: Vec<SyncSender<Lost>>,
}

impl Opener {
    /// Starts opening `links`; `LinkId` is the place in the list, links beyond the table are left
    /// out. The threads work in the calling thread's network namespace, ignore the signals that
    /// it blocks, and end when this is dropped (an attempt under way is finished first, alone).
    ///
    /// Errors: no descriptor or no thread to be had.
    pub fn new(links: Vec<config::Link>, filter: HeaderFilter) -> io::Result<Self> {
        let ready = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        // Room for a port and a replacement of each link; a thread waits when it is full.
        let (send, opened) = mpsc::sync_channel(2 * LINKS_MAX);
        let links: Vec<_> = (0..).map_while(LinkId::new).zip(links).collect();
        let mut threads: [Option<SyncSender<Lost>>; 2] = [None, None];
        let mut lost = Vec::new();
        for (_, link) in &links {
            let slow = has_names(link);
            let thread = &mut threads[usize::from(slow)];
            if let Some(sender) = thread {
                lost.push(sender.clone());
                continue;
            }
            let mine = links.iter().filter(|(_, link)| has_names(link) == slow);
            let jobs = mine.map(|(id, link)| Job::new(*id, link.clone())).collect();
            // A link has one port at a time, so reopen() never meets a full channel.
            let (sender, receiver) = mpsc::sync_channel(2 * LINKS_MAX);
            let work = Work { jobs, filter, send: send.clone(), ready: ready.clone() };
            std::thread::Builder::new()
                .name(if slow { "open-names" } else { "open-links" }.into())
                .stack_size(STACK)
                .spawn(move || work.run(&receiver))?;
            *thread = Some(sender.clone());
            lost.push(sender);
        }
        Ok(Opener { opened, ready, lost })
    }

    /// For epoll: readable when [`Opener::take`] has something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// A link that was opened, or why it could not be: once for each distinct reason, while the
    /// attempts go on. Call until `None`.
    ///
    /// A port for a link that has one replaces it: its peers' names stand for other addresses now.
    pub fn take(&mut self) -> Option<(LinkId, Result<Port, OpenError>)> {
        if let Ok(opened) = self.opened.try_recv() {
            return Some(opened);
        }
        // Empty: silence the descriptor, then look again for what came in between.
        let _ = rustix::io::read(&self.ready, &mut [0u8; 8]);
        self.opened.try_recv().ok()
    }

    /// Hands back a port that was lost, or that is [no longer valid](Port::still_valid): closes
    /// it and opens the link again. Does not block.
    pub fn reopen(&self, link: LinkId, lost: Port) {
        if let Some(thread) = self.lost.get(link.index()) {
            // It fails only when the thread has ended, and then there is nobody to open links.
            let _ = thread.try_send((link, lost));
        }
    }
}

/// Whether opening a link has to look up names.
fn has_names(link: &config::Link) -> bool {
    match &link.medium {
        Medium::Unicast { peers, .. } => peers.iter().any(|peer| {
            let address = peer.split('%').next().unwrap_or(peer);
            address.parse::<IpAddr>().is_err()
        }),
        Medium::Broadcast { .. }
        | Medium::Multicast { .. }
        | Medium::Ethernet { .. }
        | Medium::Serial { .. } => false,
    }
}

/// One link that a thread looks after.
struct Job {
    id: LinkId,
    link: config::Link,
    /// When to do something about it; `None`: open, and nothing to look up.
    due: Option<Instant>,
    /// Wait before the next attempt but one.
    retry: Duration,
    /// Since when it is open.
    open_since: Option<Instant>,
    /// What its peers stood for when it was opened.
    resolved: Resolved,
    /// Reported last, and not yet overcome.
    reported: Option<OpenError>,
}

impl Job {
    fn new(id: LinkId, link: config::Link) -> Self {
        Job {
            id,
            link,
            due: Some(Instant::now()),
            retry: RETRY_MIN,
            open_since: None,
            resolved: Resolved::default(),
            reported: None,
        }
    }

    /// Its port was lost.
    fn lost(&mut self, now: Instant) {
        let proven = self.open_since.take().is_some_and(|since| now - since >= PROVEN);
        if proven {
            self.retry = RETRY_MIN;
            self.due = Some(now);
        } else {
            self.wait(now);
        }
    }

    /// Waits for the next attempt.
    fn wait(&mut self, now: Instant) {
        self.due = Some(now + self.retry);
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    /// Does what is due. Returns what the engine should hear of it.
    fn attend(&mut self, filter: &HeaderFilter) -> Option<Result<Port, OpenError>> {
        let mut resolved = Resolved::of(&self.link);
        if self.open_since.is_some() {
            resolved.keep_known(&self.resolved);
            if resolved.peers == self.resolved.peers {
                self.look_up_later(&resolved);
                return None;
            }
        }
        let result = Port::open_to(&self.link, filter, &resolved);
        let now = Instant::now();
        match result {
            Ok(port) => {
                // Short-lived ports keep growing the wait; `lost` resets it for a proven one.
                self.open_since = Some(self.open_since.unwrap_or(now));
                self.reported = None;
                self.look_up_later(&resolved);
                self.resolved = resolved;
                Some(Ok(port))
            }
            // The present port goes on with the old addresses.
            Err(_) if self.open_since.is_some() => {
                self.due = Some(now + RETRY_MAX);
                None
            }
            Err(error) => {
                self.wait(now);
                let news = self.reported.as_ref() != Some(&error);
                if news {
                    // Told here: the engine's thread writes no texts.
                    log::warn!("{error}");
                }
                self.reported = Some(error.clone());
                news.then_some(Err(error))
            }
        }
    }

    /// Names may get other addresses; those without one are asked for more often, because a peer
    /// that is off may not have one (mDNS).
    fn look_up_later(&mut self, resolved: &Resolved) {
        let wait = if resolved.unknown.is_empty() { LOOKUP } else { RETRY_MAX };
        self.due = has_names(&self.link).then(|| Instant::now() + wait);
    }
}

/// What a thread works with.
struct Work {
    jobs: Vec<Job>,
    filter: HeaderFilter,
    send: SyncSender<Opened>,
    ready: Arc<OwnedFd>,
}

impl Work {
    /// Until the [`Opener`] is dropped.
    fn run(mut self, lost: &Receiver<Lost>) {
        loop {
            for job in &mut self.jobs {
                if job.due.is_none_or(|due| due > Instant::now()) {
                    continue;
                }
                if let Some(result) = job.attend(&self.filter) {
                    if self.send.send((job.id, result)).is_err() {
                        return;
                    }
                    // The counter cannot overflow; and if it did, it would be readable.
                    let _ = rustix::io::write(&self.ready, &1u64.to_ne_bytes());
                }
            }
            let due = self.jobs.iter().filter_map(|job| job.due).min();
            let news = match due {
                Some(due) => lost.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => lost.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match news {
                Ok((id, port)) => {
                    port.discard();
                    if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
                        job.lost(Instant::now());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const FILTER: HeaderFilter = HeaderFilter::new(1, &[1]);

    fn job(device: &str) -> Job {
        let line = config::Line::default();
        let medium = Medium::Serial { device: PathBuf::from(device), baud: 9600, line };
        let id = LinkId::new(0).expect("the first");
        Job::new(id, config::Link { name: "serial".into(), medium })
    }

    #[test]
    fn each_reason_is_reported_once_and_the_wait_grows_to_two_seconds() {
        let mut job = job("/dev/no-such-device");
        let mut waits = Vec::new();
        for attempt in 0..6 {
            let before = Instant::now();
            let news = job.attend(&FILTER);
            assert_eq!(news.is_some(), attempt == 0, "attempt {attempt}");
            let wait = job.due.expect("tries again") - before;
            waits.push(wait.as_millis() / 200 * 200);
        }
        assert_eq!(waits, [200, 400, 800, 1600, 2000, 2000]);

        let line = config::Line::default();
        job.link.medium = Medium::Serial { device: "/etc/passwd".into(), baud: 9600, line };
        let other = job.attend(&FILTER).expect("another reason").expect_err("still none");
        assert!(other.to_string().starts_with("link serial: /etc/passwd is not"), "{other}");
        assert!(job.attend(&FILTER).is_none(), "the same again");
    }

    #[test]
    fn a_link_that_keeps_failing_is_not_opened_in_a_storm() {
        let mut job = job("/dev/no-such-device");
        let now = Instant::now();
        for wait in [200, 400, 800, 1600, 2000] {
            job.open_since = Some(now);
            job.lost(now + Duration::from_millis(10));
            assert_eq!(job.due, Some(now + Duration::from_millis(10 + wait)));
        }
        job.open_since = Some(now);
        job.lost(now + PROVEN);
        assert_eq!(job.due, Some(now + PROVEN), "one that has worked is opened at once");
        assert_eq!(job.retry, RETRY_MIN);
    }

    #[test]
    fn addresses_need_no_thread_for_names() {
        let link = |peers: &[&str]| config::Link {
            name: "unicast".into(),
            medium: Medium::Unicast {
                interface: "eth0".into(),
                port: 694,
                peers: peers.iter().map(ToString::to_string).collect(),
            },
        };
        assert!(!has_names(&link(&["10.0.0.1", "fd00::1", "fe80::1%eth0"])));
        assert!(has_names(&link(&["10.0.0.1", "debian.local"])));
    }
}
