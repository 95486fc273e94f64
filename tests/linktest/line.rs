//! A serial line whose other end is played here: a daemon's voice, an echo, noise, silence.
use crate::KEY;
use latido::core::framing::{Deframer, ENCODED_MAX, encode};
use latido::core::id::{Incarnation, LinkSet, NodeId};
use latido::core::limits::FRAME_MAX;
use latido::core::seal::Keys;
use latido::core::wire::{Body, Header, Heard};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the other end does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Far {
    /// A daemon speaks there.
    pub(crate) speaks: bool,
    /// It hears us.
    pub(crate) hears: bool,
    /// What we send comes back.
    pub(crate) echo: bool,
    /// The speed at its end; at another one bytes are damaged both ways.
    pub(crate) baud: u32,
    /// Its key, and the tag of its cluster.
    pub(crate) key: u8,
    pub(crate) cluster: &'static str,
    /// It babbles.
    pub(crate) noise: bool,
}

/// Nothing at all.
pub(crate) const NOBODY: Far = Far {
    speaks: false,
    hears: false,
    echo: false,
    baud: 115_200,
    key: KEY,
    cluster: crate::CLUSTER,
    noise: false,
};

/// A daemon that hears us.
pub(crate) const DAEMON: Far = Far { speaks: true, hears: true, ..NOBODY };

pub(crate) struct Line {
    pub(crate) device: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    pub(crate) fn new(far: Far) -> Line {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).expect("non-blocking");
        let device = ptsname(&master, Vec::new()).expect("its name");
        let device = device.into_string().expect("UTF-8").into();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut end = End::new(master, far);
            while !ended.load(Ordering::Acquire) {
                end.turn();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Line { device, stop, thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> String {
        self.device.display().to_string()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the line's end");
        }
    }
}

struct End {
    master: OwnedFd,
    far: Far,
    keys: Keys,
    deframer: Deframer,
    begun: Instant,
    next: Instant,
    heard: Option<Heard>,
    random: u32,
}

impl End {
    fn new(master: OwnedFd, far: Far) -> End {
        let keys = Keys::new(1, &[(1, [far.key; 32])]).expect("a key");
        let now = Instant::now();
        let deframer = Deframer::new();
        End { master, far, keys, deframer, begun: now, next: now, heard: None, random: 1 }
    }

    fn turn(&mut self) {
        let mut bytes = [0; 4096];
        // Nobody has the device open: an error, and nothing to do.
        let len = rustix::io::read(&self.master, &mut bytes).unwrap_or(0);
        let mut sent = bytes[..len].to_vec();
        if self.far.echo {
            let _ = rustix::io::write(&self.master, &sent);
        }
        self.distort(&mut sent);
        let mut rest = &sent[..];
        while let Some(frame) = self.deframer.push(&mut rest) {
            let Ok(header) = Header::decode(frame) else { continue };
            let mut clear = [0; FRAME_MAX];
            if self.far.hears && self.keys.open(&header, frame, &mut clear).is_ok() {
                self.heard = Some(Heard {
                    node: header.node,
                    incarnation: header.incarnation,
                    sequence: header.sequence,
                    age: 0,
                    links: LinkSet(1),
                });
            }
        }
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_millis(50);
        if self.far.noise {
            let noise: Vec<u8> = (0..60).map(|_| self.draw()).collect();
            let _ = rustix::io::write(&self.master, &noise);
        }
        if self.far.speaks {
            let mut bytes = self.voice();
            self.distort(&mut bytes);
            let _ = rustix::io::write(&self.master, &bytes);
        }
    }

    /// A heartbeat of node `laptop`.
    fn voice(&mut self) -> Vec<u8> {
        let since = self.begun.elapsed().as_micros();
        let header = Header {
            key: 1,
            tag: latido::config::tag_of(self.far.cluster),
            node: NodeId::new(0).expect("a node"),
            incarnation: Incarnation(77),
            sequence: 1_000_000 + u64::try_from(since).expect("short"),
        };
        let body = Body { heard: self.heard.into_iter().collect(), ..Body::default() };
        let mut frame = [0; FRAME_MAX];
        let len = self.keys.seal(&header, &body, &mut frame).expect("it fits");
        let mut line = [0; ENCODED_MAX];
        let len = encode(&frame[..len], &mut line).expect("it fits");
        line[..len].to_vec()
    }

    /// At another speed every byte is another one. The master sees the speed that is set.
    fn distort(&mut self, bytes: &mut [u8]) {
        let speed = rustix::termios::tcgetattr(&self.master).map(|it| it.output_speed());
        if speed.is_ok_and(|speed| speed != self.far.baud) {
            for byte in bytes {
                *byte ^= self.draw() | 1;
            }
        }
    }

    fn draw(&mut self) -> u8 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 24) as u8
    }
}
