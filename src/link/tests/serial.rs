use super::*;
use crate::core::framing::{Deframer, ENCODED_MAX, encode};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::path::PathBuf;

/// The far end of a line: the master of a pseudo-terminal.
struct Line {
    master: OwnedFd,
    device: PathBuf,
}

impl Line {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).expect("non-blocking");
        let name = ptsname(&master, Vec::new()).expect("its name");
        Line { master, device: name.into_string().expect("UTF-8").into() }
    }

    fn link(&self, baud: u32) -> Link {
        let line = config::Line::default();
        link("serial", Medium::Serial { device: self.device.clone(), baud, line })
    }

    fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) => panic!("the line is full: {error}"),
            }
        }
    }

    /// What has come so far.
    fn read(&self) -> Vec<u8> {
        let mut found = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(len) => found.extend(&buffer[..len]),
                Err(Errno::AGAIN) => return found,
                Err(error) => panic!("master: {error}"),
            }
        }
    }
}

fn encoded(frame: &[u8]) -> Vec<u8> {
    let mut out = [0; ENCODED_MAX];
    let len = encode(frame, &mut out).expect("fits");
    out[..len].to_vec()
}

fn decoded(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::new();
    let mut found = Vec::new();
    while let Some(frame) = deframer.push(&mut bytes) {
        found.push(frame.to_vec());
    }
    assert_eq!(deframer.tally().damaged, 0, "what we write is whole");
    found
}

fn rs232(device: &std::path::Path) -> Medium {
    Medium::Serial { device: device.to_owned(), baud: 9600, line: config::Line::default() }
}

fn open(line: &Line, baud: u32) -> Port {
    Port::open(&line.link(baud), &FILTER).expect("opens")
}

#[test]
fn frames_cross_a_null_modem_both_ways() {
    let (left, right) = (Line::new(), Line::new());
    let (mut one, mut two) = (open(&left, 115_200), open(&right, 115_200));
    for mark in 0..50 {
        let sent = frame(mark, 39 + 25 * mark as usize);
        assert_eq!(one.send(&sent), Sent::Done);
        right.write(&left.read());
        assert_eq!(await_frame(&mut two), Ok(sent.clone()));
        assert_eq!(two.send(&sent), Sent::Done);
        left.write(&right.read());
        assert_eq!(await_frame(&mut one), Ok(sent));
    }
    assert_eq!((one.tally().sent, one.tally().received, one.tally().damaged), (50, 50, 0));
    assert_eq!(two.fd().try_clone_to_owned().map(drop).map_err(|_| ()), Ok(()));
}

#[test]
fn any_speed_is_set_and_told() {
    for baud in [9600, 12_345, 250_000, 3_000_000] {
        assert_eq!(open(&Line::new(), baud).bits_per_second(), Some(baud));
    }
}

#[test]
fn noise_costs_only_the_noise() {
    let line = Line::new();
    let mut port = open(&line, 115_200);
    let noise: Vec<u8> =
        (0..1500u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for mark in 0..20 {
        let good = frame(mark, 90);
        let other = encoded(&frame(1000 + mark, 90));
        line.write(&noise);
        line.write(&encoded(&good));
        line.write(&other[..40]);
        assert_eq!(await_frame(&mut port), Ok(good.clone()));
        line.write(&[0; 300]);
        // Two frames in one read.
        line.write(&[encoded(&good), encoded(&good)].concat());
        assert_eq!(await_frame(&mut port), Ok(good.clone()));
        assert_eq!(await_frame(&mut port), Ok(good));
        assert_eq!(drain(&mut port), Vec::<Vec<u8>>::new());
    }
    assert!(port.tally().damaged >= 40, "{:?}", port.tally());
}

#[test]
fn a_full_line_never_blocks_and_carries_the_newest_next() {
    let line = Line::new();
    let mut port = open(&line, 115_200);
    let len = 1000;
    let (mut mark, mut streak) = (0, 0);
    // The kernel moves bytes on towards the reader a while after it said that it was full.
    while streak < 500 {
        streak = if port.send(&frame(mark, len)) == Sent::Busy { streak + 1 } else { 0 };
        mark += 1;
        assert!(mark < 100_000, "nobody reads, and the line is never full");
    }
    let newest = mark - 1;
    assert!(port.wants_write());
    assert!(!readable(port.fd(), Duration::ZERO), "nothing to do while the line is full");
    assert!(port.tally().busy >= 500, "{:?}", port.tally());

    let mut bytes = line.read();
    let mut buffer = [0; FRAME_MAX];
    while port.wants_write() {
        assert!(readable(port.fd(), PATIENCE), "room wakes the port");
        assert_eq!(port.receive(&mut buffer), Received::Nothing);
        bytes.extend(line.read());
    }
    let marks: Vec<u64> = decoded(&bytes)
        .iter()
        .map(|found| u64::from_le_bytes(found[15..23].try_into().expect("eight bytes")))
        .collect();
    assert!(marks.is_sorted_by(|one, two| one < two), "{marks:?}");
    assert_eq!(marks.last(), Some(&newest));
    let stale = marks.iter().filter(|&&mark| mark > newest - 499 && mark < newest).count();
    assert_eq!(stale, 0, "one frame was on its way, and the newest replaced the others: {marks:?}");
    assert!(!readable(port.fd(), Duration::ZERO), "and then it is quiet");
}

#[test]
fn a_line_that_is_hung_up_is_lost() {
    let line = Line::new();
    let mut port = open(&line, 115_200);
    assert!(port.still_valid());
    drop(line);
    assert!(!port.still_valid());
    assert_eq!(await_frame(&mut port), Err(Loss::HangUp));
    assert_eq!(port.send(&frame(1, 90)), Sent::Lost(Loss::HangUp));
}

#[test]
fn a_device_that_comes_back_is_opened_again() {
    let folder = std::env::temp_dir().join(format!("latido-serial-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory");
    let device = folder.join("ttyUSB0");
    let _ = std::fs::remove_file(&device);
    let usb = link("usb", rs232(&device));
    let mut opener = Opener::new(vec![usb], FILTER).expect("threads");

    let (id, absent) = await_opened(&mut opener);
    let absent = absent.expect_err("not plugged in").to_string();
    assert!(absent.contains("there is no") && absent.contains("plug the adapter in"), "{absent}");

    for mark in 0..3 {
        let line = Line::new();
        std::os::unix::fs::symlink(&line.device, &device).expect("plugs it in");
        let mut port = loop {
            // Half plugged in, an attempt may meet the device that is just going.
            if let (_, Ok(port)) = await_opened(&mut opener) {
                break port;
            }
        };
        line.write(&encoded(&frame(mark, 90)));
        assert_eq!(await_frame(&mut port), Ok(frame(mark, 90)));
        std::fs::remove_file(&device).expect("unplugs it");
        drop(line);
        assert_eq!(await_frame(&mut port), Err(Loss::HangUp));
        opener.reopen(id, port);
    }
    std::fs::remove_dir_all(&folder).expect("cleans up");
}

#[test]
fn what_is_no_free_serial_line_is_named() {
    let line = Line::new();
    let held = open(&line, 9600);
    let taken = Port::open(&line.link(9600), &FILTER).expect_err("in use").to_string();
    assert!(taken.contains("in use") && taken.contains("fuser"), "{taken}");
    drop(held);
    open(&line, 9600);

    let file = link("file", rs232("/etc/passwd".as_ref()));
    let error = Port::open(&file, &FILTER).expect_err("a file").to_string();
    assert!(error.contains("not a serial device"), "{error}");
    let null = link("null", rs232("/dev/null".as_ref()));
    let error = Port::open(&null, &FILTER).expect_err("no line").to_string();
    assert!(error.contains("cannot be set up"), "{error}");
}

/// Random numbers that are the same each time.
fn draw(random: &mut u64, below: u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) % below
}

/// What a line brings that is no frame: noise, another speed, an open wire, a torn frame.
fn garbage(random: &mut u64) -> Vec<u8> {
    let len = draw(random, 600) as usize;
    match draw(random, 4) {
        0 => (0..len).map(|_| draw(random, 256) as u8).collect(),
        1 => (0..len).map(|at| if at % 3 == 0 { 0xf8 } else { 0x80 }).collect(),
        2 => vec![0; len],
        _ => encoded(&frame(u64::MAX, 200))[..len.min(150)].to_vec(),
    }
}

#[test]
fn garbage_at_full_rate_costs_no_frame_and_little_processor() {
    let line = Line::new();
    let mut port = open(&line, 3_000_000);
    let (mut random, mut bytes) = (1, 0);
    let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let begin = cpu();
    for mark in 0..900 {
        let noise = garbage(&mut random);
        let whole = [noise, encoded(&frame(mark, 120))].concat();
        bytes += whole.len();
        // Cut anywhere.
        let (one, two) = whole.split_at(draw(&mut random, whole.len() as u64) as usize);
        line.write(one);
        let early = drain(&mut port);
        line.write(two);
        let found = if early.is_empty() { await_frame(&mut port) } else { Ok(early[0].clone()) };
        assert_eq!(found, Ok(frame(mark, 120)));
        assert_eq!(drain(&mut port), Vec::<Vec<u8>>::new());
    }
    let end = cpu();
    let used = (end.tv_sec - begin.tv_sec) as f64 + (end.tv_nsec - begin.tv_nsec) as f64 / 1e9;
    // Without optimisation, the writing end included.
    let lasts = bytes as f64 / 300_000.0;
    assert!(used < lasts, "{bytes} bytes last {lasts} s and cost {used} s of a processor");
}

fn bus(line: &Line, slot: Duration) -> Port {
    let direction = config::Direction::Auto;
    let bus = config::Bus { direction, slot: Some(slot), stations: 3, frame: 100 };
    let wired = config::Line { bus: Some(bus), ..config::Line::default() };
    let device = line.device.clone();
    let medium = Medium::Serial { device, baud: 115_200, line: wired };
    Port::open(&link("bus", medium), &FILTER).expect("opens")
}

/// A frame by a node of the bus.
fn spoken(node: u8, mark: u64) -> Vec<u8> {
    let mut spoken = frame(mark, 90);
    spoken[0] = crate::core::wire::VERSION;
    spoken[6] = node;
    spoken
}

#[test]
fn on_a_bus_a_port_waits_for_its_turn_and_does_not_hear_itself() {
    let line = Line::new();
    let mut port = bus(&line, Duration::from_millis(200));
    assert_eq!(port.send(&spoken(1, 1)), Sent::Done);
    assert_eq!(line.read(), Vec::<u8>::new(), "it listens first");
    // Node 2 has spoken: 0 has its slot, then 1.
    line.write(&encoded(&spoken(2, 7)));
    assert_eq!(await_frame(&mut port), Ok(spoken(2, 7)));
    assert_eq!(port.send(&spoken(1, 2)), Sent::Done, "a newer one replaces it");
    let mut buffer = [0; FRAME_MAX];
    let mut sent = line.read();
    while sent.is_empty() {
        assert!(readable(port.fd(), PATIENCE), "its turn wakes the port");
        assert_eq!(port.receive(&mut buffer), Received::Nothing);
        sent = line.read();
    }
    assert_eq!(decoded(&sent), [spoken(1, 2)]);
    // The adapter hears what it sends.
    line.write(&sent);
    line.write(&encoded(&spoken(0, 9)));
    assert_eq!(await_frame(&mut port), Ok(spoken(0, 9)));
}

#[test]
fn lines_that_drop_and_rise_are_told_once_each() {
    let path = std::env::temp_dir().join(format!("latido-modem-{}", std::process::id()));
    std::fs::write(&path, "DSR DCD CTS").expect("a file");
    let line = Line::new();
    let wired =
        config::Line { modem: config::Modem::File(path.clone()), ..config::Line::default() };
    let medium = Medium::Serial { device: line.device.clone(), baud: 9600, line: wired };
    let mut port = Port::open(&link("lines", medium), &FILTER).expect("opens");
    let told = |port: &mut Port| {
        let mut buffer = [0; FRAME_MAX];
        loop {
            match port.receive(&mut buffer) {
                Received::Lines(up) => return up,
                Received::Nothing => assert!(readable(port.fd(), PATIENCE), "nothing is told"),
                other => panic!("{other:?}"),
            }
        }
    };
    while port.lines().expect("watched").up.names().count() < 3 {
        std::thread::yield_now();
    }
    for gone in ["DSR DCD", "DSR CTS", "DCD CTS", ""] {
        std::fs::write(&path, gone).expect("a file");
        assert!(!told(&mut port), "with {gone}");
        std::fs::write(&path, "DSR DCD CTS").expect("a file");
        assert!(told(&mut port));
    }
    std::fs::remove_file(&path).expect("removed");
}
