//! A bounded queue into an event loop: other threads put, the loop finds its descriptor readable.
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// The loop's end.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// The other threads' end.
#[derive(Debug)]
pub struct Sender<T> {
    queue: SyncSender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

/// A mailbox of `places` places.
///
/// # Errors
/// No eventfd is to be had.
pub fn mailbox<T>(places: usize) -> io::Result<(Mailbox<T>, Sender<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, queue) = sync_channel(places);
    Ok((Mailbox { queue, bell: bell.clone() }, Sender { queue: sender, bell }))
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl<T> Mailbox<T> {
    /// Makes the descriptor unreadable again; to be called before [`Mailbox::take`].
    pub fn hush(&self) {
        let _ = rustix::io::read(&*self.bell, &mut [0u8; 8]);
    }

    /// The oldest letter. Never blocks, allocates nothing.
    pub fn take(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }
}

impl<T> Sender<T> {
    /// Puts a letter in; waits while the mailbox is full. False: the loop has ended.
    pub fn put(&self, letter: T) -> bool {
        let put = match self.queue.try_send(letter) {
            Ok(()) => true,
            Err(TrySendError::Full(letter)) => self.queue.send(letter).is_ok(),
            Err(TrySendError::Disconnected(_)) => false,
        };
        // Non-blocking: a full counter means that the loop has been rung long ago.
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        put
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn letters_ring_and_come_in_order() {
        let (mailbox, sender) = mailbox(4).unwrap();
        assert!(!readable(mailbox.as_fd()));
        assert!(sender.put(1) && sender.clone().put(2));
        assert!(readable(mailbox.as_fd()));
        mailbox.hush();
        assert_eq!((mailbox.take(), mailbox.take(), mailbox.take()), (Some(1), Some(2), None));
        assert!(!readable(mailbox.as_fd()));
        drop(mailbox);
        assert!(!sender.put(3));
    }
}
