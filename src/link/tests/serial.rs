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
        link("serial", Medium::Serial { device: self.device.clone(), baud })
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
    let usb = link("usb", Medium::Serial { device: device.clone(), baud: 9600 });
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

    let file = link("file", Medium::Serial { device: "/etc/passwd".into(), baud: 9600 });
    let error = Port::open(&file, &FILTER).expect_err("a file").to_string();
    assert!(error.contains("not a serial device"), "{error}");
    let null = link("null", Medium::Serial { device: "/dev/null".into(), baud: 9600 });
    let error = Port::open(&null, &FILTER).expect_err("no line").to_string();
    assert!(error.contains("cannot be set up"), "{error}");
}
