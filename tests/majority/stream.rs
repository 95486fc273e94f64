//! Established TCP connections through the address: when it has moved, nothing more comes out of
//! those to the old owner, whatever its kernel and its services still want to send.
use crate::scene::{FAST, Third, Trio, VIRTUAL, WITNESS, ms};
use crate::strikes::revive;
use crate::verdict::changes_received;
use crate::world::PORT;
use crate::{long, signal};
use latido::lab::namespace::Namespace;
use latido::lab::wait;
use latido::platform::sched;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// Where the streams are served.
const STREAMS: u16 = 9000;
/// Connections that the caller keeps open.
const OPEN: usize = 6;
/// Below the daemons': they must not wait for their measurement.
const PRIORITY: u8 = 1;

/// A thread that ends with this.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Worker {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // Where it is not permitted the worker is slower, and sees less.
            let _ = sched::realtime(PRIORITY);
            work(&told);
        });
        Worker { stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A service on a node that talks without being asked: its name, on every connection, each
/// millisecond. It lives on when the node's daemons are struck.
fn talker(trio: &Trio, node: &'static str) -> Worker {
    let listener = trio
        .node(node)
        .inside(|| {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, STREAMS))?;
            listener.set_nonblocking(true).map(|()| listener)
        })
        .unwrap()
        .expect("listening");
    Worker::start(move |stop| {
        let mut open: Vec<TcpStream> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).expect("set");
                stream.set_nodelay(true).expect("set");
                open.push(stream);
            }
            open.retain_mut(|stream| match stream.write(format!("{node}\n").as_bytes()) {
                Ok(_) => !matches!(stream.read(&mut [0; 4096]), Ok(0)),
                Err(why) => why.kind() == ErrorKind::WouldBlock,
            });
            std::thread::sleep(ms(1));
        }
    })
}

/// Who was heard, in the order in which the caller received, and on how many connections that had
/// been established before.
#[derive(Default)]
struct Heard {
    servers: Vec<(Instant, &'static str)>,
    /// Connections that ended in a reset or a close.
    ended: usize,
}

/// One client machine with connections that stay open, and a datagram each millisecond that tells
/// who has the address. All in one thread, which looks at everything in every turn: what was heard
/// first is first in the list.
struct Caller {
    heard: Arc<Mutex<Heard>>,
    _worker: Worker,
}

impl Caller {
    fn start(namespace: &Namespace) -> Caller {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let list = Arc::clone(&heard);
        // A thread starts in the namespace of the one that starts it.
        let _worker = namespace.run(move || {
            Worker::start(move |stop| {
                let mut calls = Calls::new(list);
                while !stop.load(Ordering::Relaxed) {
                    calls.turn();
                }
            })
        });
        Caller { heard, _worker }
    }

    /// What was heard since, in order.
    fn since(&self, from: Instant) -> Vec<&'static str> {
        let heard = self.heard.lock().unwrap();
        heard.servers.iter().filter(|(at, _)| *at >= from).map(|(_, server)| *server).collect()
    }

    fn ended(&self) -> usize {
        self.heard.lock().unwrap().ended
    }

    /// Waits until `server` talks on this many connections and answers datagrams.
    fn talks(&self, server: &str, connections: usize) {
        let since = Instant::now();
        let what = format!("{server} to talk");
        wait::until(crate::world::SOON, what, || {
            let heard = self.since(since);
            let times = heard.iter().filter(|name| **name == server).count();
            // In a few milliseconds: not one connection alone.
            (times > 10 * connections).then_some(())
        })
        .unwrap();
    }
}

struct Calls {
    heard: Arc<Mutex<Heard>>,
    datagrams: UdpSocket,
    streams: Vec<Option<(TcpStream, Vec<u8>)>>,
    asked: Instant,
}

impl Calls {
    fn new(heard: Arc<Mutex<Heard>>) -> Calls {
        let datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
        datagrams.set_nonblocking(true).expect("set");
        datagrams.connect((VIRTUAL, PORT)).expect("connected");
        let streams = (0..OPEN).map(|_| None).collect();
        Calls { heard, datagrams, streams, asked: Instant::now() }
    }

    fn turn(&mut self) {
        if self.asked.elapsed() >= ms(1) {
            self.asked = Instant::now();
            self.ask();
        }
        {
            let mut fds = vec![PollFd::new(&self.datagrams, PollFlags::IN)];
            let open = self.streams.iter().flatten();
            fds.extend(open.map(|(stream, _)| PollFd::new(stream, PollFlags::IN)));
            let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let _ = poll(&mut fds, Some(&wait));
        }
        // What has come on the old connections when a datagram of the new owner is found, had come
        // before it, or in the same moment: it is in front of it in the list.
        let mut streamed = self.drain();
        let answered = self.answers();
        streamed.extend(self.drain());
        let now = Instant::now();
        let mut heard = self.heard.lock().unwrap();
        heard.servers.extend(streamed.into_iter().chain(answered).map(|server| (now, server)));
    }

    /// Sends a datagram, and a byte on each connection so that it learns of its end; opens those
    /// that have none.
    fn ask(&mut self) {
        let _ = self.datagrams.send(&[0; 8]);
        for slot in &mut self.streams {
            match slot {
                Some((stream, _)) => {
                    let _ = stream.write(b".");
                }
                None => *slot = connect().ok().map(|stream| (stream, Vec::new())),
            }
        }
    }

    /// The names that came on the connections; an unfinished one is not counted yet.
    fn drain(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for slot in &mut self.streams {
            let Some((stream, rest)) = slot else { continue };
            let mut buffer = [0; 4096];
            let ended = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break true,
                    Ok(length) => rest.extend_from_slice(&buffer[..length]),
                    Err(why) => {
                        let open = [ErrorKind::WouldBlock, ErrorKind::NotConnected];
                        break !open.contains(&why.kind());
                    }
                }
            };
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                names.push(known(&line[..end]));
            }
            if ended {
                *slot = None;
                self.heard.lock().unwrap().ended += 1;
            }
        }
        names
    }

    fn answers(&mut self) -> Vec<&'static str> {
        let (mut names, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            match self.datagrams.recv(&mut buffer) {
                Ok(length) => names.push(known(buffer.get(8..length).unwrap_or_default())),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return names,
                // An ICMP error of an earlier datagram; reading has cleared it.
                Err(_) => {}
            }
        }
    }
}

fn known(name: &[u8]) -> &'static str {
    let all = ["pi", "laptop", WITNESS];
    all.into_iter().find(|one| one.as_bytes() == name).expect("a node of the scene")
}

fn connect() -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SocketAddr::from((VIRTUAL, STREAMS)).into()) {
        Err(why) if why.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(why)
        }
        _ => Ok(socket.into()),
    }
}

/// How often: half of them stopped, half of them killed.
fn runs() -> u64 {
    if long() { 100 } else { 8 }
}

#[test]
fn connections_to_a_struck_owner_are_silent_when_its_successor_answers() {
    let trio = Trio::running(Third::Node, FAST, ms(2));
    let _talkers = ["pi", "laptop"].map(|node| talker(&trio, node));
    let caller = Caller::start(trio.lab.client("east"));
    for run in 0..runs() {
        let owner = trio.settle();
        let other = Trio::peer_of(owner);
        caller.talks(owner, OPEN);
        std::thread::sleep(ms(run * 3 % 10));
        let (from, ended) = (Instant::now(), caller.ended());
        trio.strike(owner, signal(run));
        caller.talks(other, 1);
        // The old owner's kernel repeats what was never acknowledged; its service talks on.
        std::thread::sleep(if run % 16 == 4 { ms(1500) } else { trio.bound * 3 });
        caller.talks(other, 1);
        revive(&trio, owner, signal(run));
        trio.settle();
        let heard = caller.since(from);
        let moves = trio.lab.ownership().held(VIRTUAL, from, Instant::now()).arrivals;
        let changes = changes_received(heard.iter().copied());
        let what = format!("run {run}, SIG{:?} of {owner}", signal(run));
        assert!(changes <= moves, "{what}: {changes} changes of who talks, {moves} moves");
        assert!(heard.contains(&owner), "{what}: it talked when it was struck");
        println!("{what}: {} connections ended", caller.ended() - ended);
    }
}
