//! Serves the control socket, on a thread of its own.
use super::fence;
use super::measured;
use super::protocol::{Answer, Order, REQUEST_MAX, Request, TOO_MANY, command, parse, refusal};
use super::report::{Facts, report};
use super::{Peer, Port, Snapshot, connect, hush, ring, watchdog};
use crate::platform::clock;
use crate::tell::{Level, Teller};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Clients at once; more are refused.
const CLIENTS: usize = 16;
/// A client that asks nothing, or does not take its reply, for this long is dropped.
const IDLE: Duration = Duration::from_secs(30);
/// How long the engine may take for a snapshot or a reply.
const ENGINE: Duration = Duration::from_secs(2);
/// Between two looks for the socket's file.
const LOOK: Duration = Duration::from_secs(3);
/// Enough for reading a whole configuration.
const STACK: usize = 512 << 10;
/// Events that are looked through for a report.
const HISTORY: usize = 64;

/// What the server has others do.
pub struct Hooks {
    /// Reads the configuration again and hands it to the engine; true: whoever asks has looked into
    /// what a change of keys means for the peers. Runs on the server's thread, so
    /// it may block. Returns the new facts, and a note for whoever asked; on an error nothing has
    /// changed.
    #[allow(clippy::type_complexity)]
    pub reload: Box<dyn FnMut(bool) -> Result<(Facts, Answer), Answer> + Send>,
    /// Makes the runtime directory again that somebody has removed, before the socket is made
    /// again there. Runs on the server's thread.
    pub restore: Box<dyn FnMut() -> Result<(), String> + Send>,
}

/// The running server. Its socket is removed when it is dropped.
pub struct Server {
    thread: Option<std::thread::JoinHandle<()>>,
    bells: Arc<super::Bells>,
    path: PathBuf,
}

impl Server {
    /// Opens the socket (mode 0600) and serves it; returns the engine's end too. The caller holds
    /// the runtime directory's lock: a socket found there is a dead daemon's, and is replaced.
    ///
    /// # Errors
    /// The socket cannot be made; the path may be too long (107 bytes at most).
    pub fn start(
        path: &Path,
        facts: Facts,
        teller: Teller,
        hooks: Hooks,
    ) -> io::Result<(Server, Port)> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let (listener, place) = bind_private(path)?;
        let (port, peer) = connect()?;
        let bells = peer.bells.clone();
        let desk = Desk {
            peer,
            facts,
            teller,
            hooks,
            clients: Vec::new(),
            next: 0,
            path: path.to_owned(),
            place,
            looked: Instant::now(),
            lost: false,
        };
        let thread = std::thread::Builder::new()
            .name("control".into())
            .stack_size(STACK)
            .spawn(move || desk.serve(listener))?;
        Ok((Server { thread: Some(thread), bells, path: path.to_owned() }, port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.bells.end.store(true, Ordering::Release);
        ring(&self.bells.server);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A socket that nobody else can open, not even between bind and chmod: it is made under a name
/// of its own and renamed once it is private.
fn bind_private(path: &Path) -> io::Result<(UnixListener, Place)> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(".new");
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, place(path)?))
}

/// Device and inode of the socket's file.
type Place = (u64, u64);

fn place(path: &Path) -> io::Result<Place> {
    let known = std::fs::symlink_metadata(path)?;
    Ok((known.dev(), known.ino()))
}

/// What a client waits for.
#[derive(Debug, PartialEq)]
enum Waiting {
    Nothing,
    Snapshot(Instant),
    Reply(u32, Instant),
}

struct Visitor {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    waiting: Waiting,
    active: Instant,
    gone: bool,
}

impl Visitor {
    fn reply(&mut self, reply: &impl Serialize) {
        self.waiting = Waiting::Nothing;
        self.output = serde_json::to_vec(reply).unwrap_or_default();
        self.output.push(b'\n');
        self.push();
    }

    /// Sends what the socket takes.
    fn push(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return self.gone = true,
                Ok(len) => {
                    self.output.drain(..len);
                    self.active = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.gone = true,
            }
        }
    }

    /// Takes what has come; a line that is too long ends the visit.
    fn pull(&mut self) {
        let mut buffer = [0u8; 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.gone = true,
            Ok(len) => {
                self.input.extend_from_slice(&buffer[..len]);
                if self.input.len() > REQUEST_MAX {
                    self.gone = true;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next whole line, unless a request is still under way.
    fn line(&mut self) -> Option<Vec<u8>> {
        if self.waiting != Waiting::Nothing || !self.output.is_empty() || self.gone {
            return None;
        }
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let rest = self.input.split_off(end + 1);
        self.active = Instant::now();
        Some(std::mem::replace(&mut self.input, rest))
    }

    fn events(&self) -> PollFlags {
        if !self.output.is_empty() {
            PollFlags::OUT
        } else if self.waiting == Waiting::Nothing {
            PollFlags::IN
        } else {
            PollFlags::empty()
        }
    }
}

struct Desk {
    peer: Peer,
    facts: Facts,
    teller: Teller,
    hooks: Hooks,
    clients: Vec<Visitor>,
    next: u32,
    path: PathBuf,
    place: Place,
    /// When the socket's file was last looked for.
    looked: Instant,
    /// It could not be made again, which has been told.
    lost: bool,
}

impl Desk {
    fn serve(mut self, mut listener: UnixListener) {
        while !self.peer.bells.end.load(Ordering::Acquire) {
            self.wait(&listener);
            hush(&self.peer.bells.server);
            if let Some(anew) = self.look_for_socket() {
                listener = anew;
            }
            self.admit(&listener);
            if self.peer.bells.reload.swap(false, Ordering::AcqRel) {
                self.reload(false);
                ring(&self.peer.bells.engine);
            }
            self.answers();
            for index in 0..self.clients.len() {
                self.attend(index);
            }
            self.clients.retain(|visitor| !visitor.gone);
        }
        // What the engine answered last, such as to `stop`.
        self.answers();
    }

    fn wait(&self, listener: &UnixListener) {
        let mut fds = vec![
            PollFd::new(&self.peer.bells.server, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        for visitor in &self.clients {
            fds.push(PollFd::from_borrowed_fd(visitor.stream.as_fd(), visitor.events()));
        }
        // Without clients only the look for the socket's file falls due.
        let patience = if self.clients.is_empty() { LOOK } else { Duration::from_millis(500) };
        let patience = Timespec::try_from(patience).ok();
        let _ = poll(&mut fds, patience.as_ref());
    }

    /// Makes the socket again if its file has gone: without it no command reaches the daemon.
    fn look_for_socket(&mut self) -> Option<UnixListener> {
        if self.looked.elapsed() < LOOK {
            return None;
        }
        self.looked = Instant::now();
        if place(&self.path).is_ok_and(|place| place == self.place) {
            return None;
        }
        let restored = (self.hooks.restore)()
            .and_then(|()| bind_private(&self.path).map_err(|error| error.to_string()));
        let path = self.path.display();
        match restored {
            Ok((listener, place)) => {
                self.teller.say(
                    Level::Error,
                    format!(
                        "{path} was removed while the daemon runs; it is there again, but what \
                         must survive a crash of the engine is lost: at a quiet moment `latido \
                         stop`, then start the service again"
                    ),
                );
                (self.place, self.lost) = (place, false);
                Some(listener)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.lost, true) {
                    self.teller.say(
                        Level::Error,
                        format!(
                            "{path} was removed while the daemon runs, and cannot be made again \
                             ({error}): no command reaches this daemon; end it with SIGTERM to \
                             process {}, then start the service again",
                            self.facts.supervisor.unwrap_or_else(std::process::id)
                        ),
                    );
                }
                None
            }
        }
    }

    fn admit(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut visitor = Visitor {
                stream,
                input: Vec::new(),
                output: Vec::new(),
                waiting: Waiting::Nothing,
                active: Instant::now(),
                gone: false,
            };
            if self.clients.len() < CLIENTS {
                self.clients.push(visitor);
            } else {
                visitor.reply(&Answer::no(TOO_MANY, "end some of them, try again"));
            }
        }
    }

    fn attend(&mut self, index: usize) {
        let now = Instant::now();
        let visitor = &mut self.clients[index];
        visitor.push();
        if visitor.waiting == Waiting::Nothing && visitor.output.is_empty() {
            visitor.pull();
        }
        let overdue = match visitor.waiting {
            Waiting::Nothing => false,
            Waiting::Snapshot(since) | Waiting::Reply(_, since) => now - since > ENGINE,
        };
        if overdue {
            visitor.reply(&Answer::no(
                format!("the engine has not answered for {} s", ENGINE.as_secs()),
                "it hangs or the machine is overloaded: see its log, `latido status` again",
            ));
        }
        // At most one request each turn: no client keeps the others waiting.
        if let Some(line) = visitor.line() {
            match parse(&line) {
                Ok(request) => self.request(index, &request, now),
                Err(answer) => self.clients[index].reply(&answer),
            }
        }
        let visitor = &mut self.clients[index];
        visitor.gone |= now.saturating_duration_since(visitor.active) > IDLE;
    }

    fn request(&mut self, index: usize, request: &Request, now: Instant) {
        if matches!(request.command, Order::WatchdogTest | Order::WatchdogResume) {
            let begin = request.command == Order::WatchdogTest;
            let answer = watchdog::test(&self.facts.watchdog, begin, request.sure);
            return self.clients[index].reply(&answer);
        }
        let command = match request.command {
            Order::Fence | Order::ConfirmDead => fence::command(request, &self.facts).map(Some),
            _ => command(request, &self.facts.names),
        };
        let command = match command {
            Ok(command) => command,
            Err(answer) => return self.clients[index].reply(&answer),
        };
        match (request.command, command) {
            (_, Some(command)) => {
                let id = self.next;
                self.next = self.next.wrapping_add(1);
                if self.peer.commands.enqueue((id, command)).is_err() {
                    let answer = Answer::no("the engine is busy", "try again in a moment");
                    return self.clients[index].reply(&answer);
                }
                self.clients[index].waiting = Waiting::Reply(id, now);
                ring(&self.peer.bells.engine);
            }
            (Order::Reload, None) => {
                let answer = self.reload(request.sure);
                self.clients[index].reply(&answer);
                // Only now: the engine may end at once, so as to start anew.
                ring(&self.peer.bells.engine);
            }
            (Order::Advise, None) => {
                let measured = measured::report(&self.facts, clock::now());
                self.clients[index].reply(&measured);
            }
            (_, None) => {
                self.clients[index].waiting = Waiting::Snapshot(now);
                self.peer.bells.wanted.store(true, Ordering::Release);
                ring(&self.peer.bells.engine);
            }
        }
    }

    fn reload(&mut self, sure: bool) -> Answer {
        match (self.hooks.reload)(sure) {
            Ok((facts, answer)) => {
                self.teller.rename(facts.names.clone());
                self.facts = facts;
                self.teller.reopen();
                let note = answer.note.as_deref().unwrap_or("in force");
                self.teller.say(Level::Notice, format!("configuration read again: {note}"));
                answer
            }
            Err(answer) => {
                // Log files are opened anew all the same: SIGHUP means that to log rotation.
                self.teller.reopen();
                self.teller.say(
                    Level::Error,
                    format!(
                        "configuration not changed: {}; {}",
                        answer.why.as_deref().unwrap_or("it is not valid"),
                        answer.cure.as_deref().unwrap_or("see `latido check`")
                    ),
                );
                answer
            }
        }
    }

    /// Passes on what the engine has answered.
    fn answers(&mut self) {
        while let Some((id, reply)) = self.peer.replies.dequeue() {
            let answer = match reply {
                Ok(()) => Answer::done(None),
                Err(why) => refusal(why, &self.facts.names),
            };
            let asker = self
                .clients
                .iter_mut()
                .find(|visitor| matches!(visitor.waiting, Waiting::Reply(asked, _) if asked == id));
            if let Some(visitor) = asker {
                visitor.reply(&answer);
            }
        }
        let mut newest: Option<Snapshot> = None;
        while let Some(snapshot) = self.peer.snapshots.dequeue() {
            newest = Some(snapshot);
        }
        let Some(snapshot) = newest else { return };
        let waits = |visitor: &Visitor| matches!(visitor.waiting, Waiting::Snapshot(_));
        if !self.clients.iter().any(waits) {
            return;
        }
        let events = self.teller.history().last(HISTORY);
        let reply = report(&snapshot, &self.facts, events, self.teller.trouble());
        for visitor in self.clients.iter_mut().filter(|visitor| waits(visitor)) {
            visitor.reply(&reply);
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
