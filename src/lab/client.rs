//! A client that asks an address, through its own stack and ARP cache, every millisecond.
use super::error::{Doing, Result};
use super::namespace::Namespace;
use super::record::{Answer, Attempt, Missed, Record};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests in the air; with more the oldest counts as unanswered.
const OUTSTANDING_MAX: usize = 512;
const TICK: u64 = u64::MAX;

/// How the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET / HTTP/1.0` on a new TCP connection each time.
    Http,
    /// A numbered datagram, to be echoed.
    Udp,
}

/// What the client asks, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// How.
    pub probe: Probe,
    /// Whom.
    pub target: SocketAddr,
    /// Between two requests; 1 ms is the laboratory's measure.
    pub interval: Duration,
    /// How long a request may take before it counts as unanswered.
    pub patience: Duration,
}

impl Question {
    /// Asks `target` every millisecond and waits 250 ms for each answer.
    pub fn every_millisecond(probe: Probe, target: SocketAddr) -> Question {
        Question {
            probe,
            target,
            interval: Duration::from_millis(1),
            patience: Duration::from_millis(250),
        }
    }
}

/// A running client. It stops asking when dropped.
#[derive(Debug)]
pub struct Client {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Begins to ask, from inside `namespace`.
    pub fn start(namespace: &Namespace, question: Question) -> Result<Client> {
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&record), Arc::clone(&stop));
        // A thread starts in the namespace of the one that starts it.
        let thread = namespace.run(move || {
            let (record, stop) = shared;
            let asker = Asker::new(question, record).doing("starting the client")?;
            std::thread::Builder::new()
                .name("client".into())
                .spawn(move || asker.run(&stop))
                .doing("starting the client's thread")
        })?;
        Ok(Client { record, stop, thread: Some(thread) })
    }

    /// What was missed from `from` until `to`. Requests of the last [`Question::patience`] before
    /// `to` may still be in the air when asked too early; they are not counted then.
    pub fn missed(&self, from: Instant, to: Instant) -> Missed {
        self.lock().missed(from, to)
    }

    /// Who answered last, and when.
    pub fn last_answer(&self) -> Option<(String, Instant)> {
        self.lock().last_answer()
    }

    /// The answers that came from `from` until `to`, as they came.
    pub fn answers(&self, from: Instant, to: Instant) -> Vec<Answer> {
        self.lock().answers(from, to)
    }

    /// Everything up to now.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection on its way.
struct Open {
    stream: TcpStream,
    sent: bool,
    reply: Vec<u8>,
}

struct Asker {
    question: Question,
    record: Arc<Mutex<Record>>,
    poll: OwnedFd,
    timer: OwnedFd,
    /// The socket of [`Probe::Udp`].
    datagrams: Option<UdpSocket>,
    /// Requests in the air, oldest first, by number, with the time of asking.
    waiting: VecDeque<(u64, Instant, Option<Open>)>,
    next: u64,
}

impl Asker {
    fn new(question: Question, record: Arc<Mutex<Record>>) -> std::io::Result<Asker> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let interval = Timespec::try_from(question.interval)
            .map_err(|_| std::io::Error::other("the interval is too long"))?;
        let each = Itimerspec { it_interval: interval, it_value: interval };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each)?;
        epoll::add(&poll, &timer, EventData::new_u64(TICK), EventFlags::IN)?;
        let datagrams = match question.probe {
            Probe::Http => None,
            Probe::Udp => Some(udp(&poll, question.target)?),
        };
        Ok(Asker { question, record, poll, timer, datagrams, waiting: VecDeque::new(), next: 0 })
    }

    fn run(mut self, stop: &AtomicBool) {
        super::machine_of_its_own();
        while !stop.load(Ordering::Relaxed) {
            let mut events = Vec::with_capacity(256);
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            // Answers first: they have waited for us, and their time is now.
            for event in &events {
                let data = event.data;
                if data.u64() != TICK {
                    self.progress(data.u64());
                }
            }
            if events.iter().any(|event| { event.data }.u64() == TICK) {
                let mut count = [0; 8];
                let _ = rustix::io::read(&self.timer, &mut count);
                self.give_up();
                self.ask();
            }
        }
    }

    /// Asks once more, however many turns the timer has missed: each counts as one late request.
    fn ask(&mut self) {
        if self.waiting.len() >= OUTSTANDING_MAX {
            self.lose_oldest();
        }
        let (number, now) = (self.next, Instant::now());
        self.next += 1;
        let open = match &self.datagrams {
            Some(socket) => {
                // Refused earlier or no route: this one is unanswered, as recorded in time.
                let _ = socket.send(&number.to_be_bytes());
                None
            }
            None => self.connect(number).ok(),
        };
        self.waiting.push_back((number, now, open));
    }

    fn connect(&self, number: u64) -> std::io::Result<Open> {
        let domain = Domain::for_address(self.question.target);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Closing resets: there is no TIME_WAIT to run out of ports with.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&self.question.target.into()) {
            Err(why) if why.raw_os_error() != Some(IN_PROGRESS) => return Err(why),
            _ => {}
        }
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.poll, &socket, EventData::new_u64(number), flags)?;
        Ok(Open { stream: socket.into(), sent: false, reply: Vec::new() })
    }

    /// Something has happened to request `number` (to the datagram socket: to any).
    fn progress(&mut self, number: u64) {
        if self.datagrams.is_some() {
            return self.read_datagrams();
        }
        let Some(index) = self.index(number) else { return };
        let Some((_, asked, open)) = self.waiting.get_mut(index) else { return };
        let asked = *asked;
        match open.as_mut().map(advance) {
            Some(Step::Answered(server)) => {
                self.waiting.remove(index);
                self.note(asked, Some(&server));
            }
            // Recorded as unanswered when its time is over, as if it had never come.
            Some(Step::Failed) => *open = None,
            Some(Step::Waiting) | None => {}
        }
    }

    fn read_datagrams(&mut self) {
        let mut buffer = [0; 64];
        loop {
            let Some(socket) = &self.datagrams else { return };
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(why) if why.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error of an earlier datagram; reading has cleared it.
                Err(_) => continue,
            };
            let Some((number, server)) = buffer[..length].split_first_chunk::<8>() else {
                continue;
            };
            let server = String::from_utf8_lossy(server).into_owned();
            let Some(index) = self.index(u64::from_be_bytes(*number)) else { continue };
            if let Some((_, asked, _)) = self.waiting.remove(index) {
                self.note(asked, Some(&server));
            }
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.0).ok()
    }

    /// Records the requests whose time is over.
    fn give_up(&mut self) {
        while self.waiting.front().is_some_and(|one| one.1.elapsed() > self.question.patience) {
            self.lose_oldest();
        }
    }

    fn lose_oldest(&mut self) {
        if let Some((_, asked, _)) = self.waiting.pop_front() {
            self.note(asked, None);
        }
    }

    fn note(&mut self, asked: Instant, server: Option<&str>) {
        let answered = server.map(|_| Instant::now());
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server.map(|name| record.server(name));
        record.note(Attempt { asked, answer: answered.zip(server) });
    }
}

/// `EINPROGRESS`: the connection is being made.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

fn udp(poll: &OwnedFd, target: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&target.into())?;
    epoll::add(poll, &socket, EventData::new_u64(0), EventFlags::IN)?;
    Ok(socket.into())
}

enum Step {
    Waiting,
    Failed,
    Answered(String),
}

/// Takes a connection as far as it goes without waiting.
fn advance(open: &mut Open) -> Step {
    if !open.sent {
        match open.stream.write(b"GET / HTTP/1.0\r\n\r\n") {
            Ok(_) => open.sent = true,
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Step::Waiting,
            Err(_) => return Step::Failed,
        }
    }
    let mut buffer = [0; 512];
    loop {
        match open.stream.read(&mut buffer) {
            Ok(0) => return Step::Failed,
            Ok(length) => open.reply.extend_from_slice(&buffer[..length]),
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Step::Waiting,
            Err(_) => return Step::Failed,
        }
        if let Some(server) = body(&open.reply) {
            return Step::Answered(server);
        }
        if open.reply.len() > 4096 {
            return Step::Failed;
        }
    }
}

/// The first line of a complete answer's body.
fn body(reply: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(reply).ok()?;
    if !text.starts_with("HTTP/1.") {
        return None;
    }
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some(body.strip_suffix('\n')?.to_owned())
}
