//! Serial links: 8 data bits, no parity, 1 stop bit, and unless asked for no flow control.
//!
//! No flow control, because a peer that is dead or a cable of three wires holds nothing ready: the
//! line would stand still and take our own frames hostage. What a slow line cannot carry is left
//! out instead: at most one frame waits behind the driver's, and a newer one replaces it.
//!
//! DTR and RTS are up for as long as the port is open, and the kernel drops them when it is closed
//! (HUPCL), however the program ends: the peer sees that as its DSR, DCD and CTS.
use super::bus::{Bus, Whose};
use super::lines::{self, LinesSeen, Watch};
use super::{Loss, Obstacle, Received, Sent, Tally};
use crate::config::{Flow, Line, Modem};
use crate::core::framing::{Deframer, ENCODED_MAX, encode};
use crate::core::limits::FRAME_MAX;
use crate::platform::modem::{self, FileLines, Lines};
use crate::platform::tty;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use serialport::{
    ClearBuffer, DataBits, FlowControl, Parity, SerialPort, SerialPortBuilder, StopBits, TTYPort,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads of one call of `receive`: at 3 Mbaud a round of 10 ms brings 3 KiB.
const READS_MAX: usize = 8;
const READ_LEN: usize = 512;
/// Start bit, eight data bits, stop bit.
const BITS_PER_BYTE: u64 = 10;

/// An open serial line.
pub(super) struct Serial {
    // Shared with the thread that reads its lines, which holds it for a look at a time.
    port: Arc<TTYPort>,
    device: PathBuf,
    baud: u32,
    /// Readable when the line is, when it takes bytes again, or when the timer says so.
    ready: OwnedFd,
    /// Fires when the driver has sent enough for the waiting frame.
    timer: OwnedFd,
    /// The timer runs or has fired.
    armed: bool,
    deframer: Deframer,
    input: Piece<READ_LEN>,
    /// Being written: the driver took the part before `from`.
    current: Piece<ENCODED_MAX>,
    /// Waits for the line.
    next: Piece<ENCODED_MAX>,
    /// `ready` also waits for room.
    wants_room: bool,
    /// Several nodes share the line.
    bus: Option<Bus>,
    /// The peer's modem lines, if the port has any.
    watch: Option<Watch>,
}

/// A part of a buffer: `from..to`.
struct Piece<const N: usize> {
    bytes: [u8; N],
    from: usize,
    to: usize,
}

impl<const N: usize> Piece<N> {
    const EMPTY: Self = Piece { bytes: [0; N], from: 0, to: 0 };

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    fn set(&mut self, len: usize) {
        (self.from, self.to) = (0, len);
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").field("device", &self.device).field("baud", &self.baud).finish()
    }
}

impl Serial {
    pub(super) fn open(device: &Path, baud: u32, line: &Line) -> Result<Self, Obstacle> {
        let shown = device.display();
        check_device(device)?;
        let Some(path) = device.to_str() else {
            return Err(Obstacle::new(
                format!("the path {shown} is not UTF-8"),
                "name the device by another path, such as a link in /dev/serial/by-id",
            ));
        };
        let port = open_tty(serialport::new(path, baud), line.flow)
            .map_err(|error| explain(device, baud, &error))?;
        let real = port.baud_rate().unwrap_or(baud);
        // Beyond 3 % the stop bit is missed.
        if u64::from(real.abs_diff(baud)) * 100 > u64::from(baud) * 3 {
            return Err(Obstacle::new(
                format!("{shown} cannot do {baud} baud; the nearest is {real}"),
                "choose a speed that both ends can do, such as 115200",
            ));
        }
        // Pseudo-terminals have none.
        let _ = modem::set(tty::descriptor(&port), modem::Own::Both, true);
        let bus = line.bus.map(|bus| Bus::new(&bus, baud, tty::descriptor(&port)));
        let port = Arc::new(port);
        let kernel = |error: Errno| {
            Obstacle::new(
                format!("{shown}: {error}"),
                "raise the limit of open files (`ulimit -n`)",
            )
        };
        let (ready, timer) = watch(&port).map_err(kernel)?;
        let watch = watch_lines(&port, line, &ready);
        Ok(Serial {
            port,
            device: device.to_owned(),
            baud,
            ready,
            timer,
            armed: false,
            deframer: Deframer::new(),
            input: Piece::EMPTY,
            current: Piece::EMPTY,
            next: Piece::EMPTY,
            wants_room: false,
            bus,
            watch,
        })
    }

    /// What is known of the peer's modem lines; `None`: the port has none, or they are not asked.
    pub(super) fn lines(&self) -> Option<LinesSeen> {
        self.watch.as_ref().map(Watch::seen)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    pub(super) fn baud(&self) -> u32 {
        self.baud
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.current.is_empty() || !self.next.is_empty()
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8; FRAME_MAX], tally: &mut Tally) -> Received {
        if std::mem::take(&mut self.armed) {
            set_timer(&self.timer, 0);
        }
        if let Some(up) = self.watch.as_mut().and_then(Watch::news) {
            return Received::Lines(up);
        }
        if let Sent::Lost(loss) = self.go_on(tally) {
            return Received::Lost(loss);
        }
        for _ in 0..READS_MAX {
            if let Some(len) = self.deframe(buffer) {
                return Received::Frame(len);
            }
            tally.damaged = self.deframer.tally().damaged;
            match rustix::io::read(tty::descriptor(&self.port), &mut self.input.bytes) {
                Ok(0) if self.hung_up() => return Received::Lost(Loss::HangUp),
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return self.plan(tally),
                Ok(len) => self.take(len),
                Err(error) => return Received::Lost(loss(error)),
            }
        }
        match self.deframe(buffer) {
            Some(len) => Received::Frame(len),
            None => self.plan(tally),
        }
    }

    /// So many bytes were read.
    fn take(&mut self, len: usize) {
        self.input.set(len);
        if let Some(bus) = &mut self.bus {
            bus.bytes(self.input.rest());
        }
    }

    /// Nothing more came: on a bus that may have made it our turn, or put it off.
    fn plan(&mut self, tally: &mut Tally) -> Received {
        match self.bus.is_some().then(|| self.go_on(tally)) {
            Some(Sent::Lost(loss)) => Received::Lost(loss),
            _ => Received::Nothing,
        }
    }

    /// Goes on with what waits, if anything does.
    fn go_on(&mut self, tally: &mut Tally) -> Sent {
        if self.wants_write() || self.bus.is_some() { self.flush(tally) } else { Sent::Done }
    }

    /// The next frame in what was read; our own echo on a bus is none.
    fn deframe(&mut self, buffer: &mut [u8; FRAME_MAX]) -> Option<usize> {
        loop {
            let mut rest = self.input.bytes.get(self.input.from..self.input.to)?;
            let frame = self.deframer.push(&mut rest);
            self.input.from = self.input.to.saturating_sub(rest.len());
            let frame = frame?;
            let echo = |bus: &mut Bus| bus.frame(frame) == Whose::Ours;
            if self.bus.as_mut().is_some_and(echo) {
                continue;
            }
            buffer.get_mut(..frame.len())?.copy_from_slice(frame);
            return Some(frame.len());
        }
    }

    pub(super) fn send(&mut self, frame: &[u8], tally: &mut Tally) -> Sent {
        let replaced = !self.next.is_empty();
        let Some(len) = encode(frame, &mut self.next.bytes) else {
            // Longer than a frame can be: the caller's mistake, not the line's.
            self.next.set(0);
            tally.busy += 1;
            return Sent::Busy;
        };
        self.next.set(len);
        if let Some(bus) = &mut self.bus {
            bus.learn(frame);
        }
        let sent = self.flush(tally);
        if replaced || sent == Sent::Busy {
            tally.busy += 1;
        }
        sent
    }

    /// Writes what waits, as far as the line takes it. `Busy`: the newest frame still waits.
    pub(super) fn flush(&mut self, tally: &mut Tally) -> Sent {
        loop {
            if let Err(loss) = self.write_current() {
                return Sent::Lost(loss);
            }
            if !self.current.is_empty() {
                self.want_room(true);
                let waits = !self.next.is_empty();
                return if waits { Sent::Busy } else { Sent::Done };
            }
            self.want_room(false);
            if self.bus.is_some() {
                if !self.has_turn() {
                    return Sent::Done;
                }
                std::mem::swap(&mut self.current, &mut self.next);
                self.next.set(0);
                tally.sent += 1;
                continue;
            }
            if self.next.is_empty() {
                return Sent::Done;
            }
            let len = self.next.rest().len();
            let queued = match self.port.bytes_to_write() {
                Ok(queued) => queued as usize,
                Err(_) if self.hung_up() => return Sent::Lost(Loss::HangUp),
                // A driver that cannot tell: its own limit, a full buffer, must do.
                Err(_) => 0,
            };
            if queued > len {
                self.wake_after(queued - len);
                return Sent::Busy;
            }
            std::mem::swap(&mut self.current, &mut self.next);
            self.next.set(0);
            tally.sent += 1;
        }
    }

    /// On a bus: whether a frame waits and its turn has come. Sees to it that we ask again.
    fn has_turn(&mut self) -> bool {
        let queued = self.port.bytes_to_write().map_or(0, |queued| queued as usize);
        let len = self.next.rest().len();
        let (line, Some(bus)) = (tty::descriptor(&self.port), &mut self.bus) else { return false };
        if let Some(left) = bus.end(line, queued) {
            self.wake_in(left);
            return false;
        }
        if len == 0 {
            return false;
        }
        match bus.chance() {
            Ok(()) => {
                bus.begin(line, len);
                if let Some(left) = bus.end(line, len) {
                    self.wake_in(left);
                }
                true
            }
            Err(left) => {
                self.wake_in(left);
                false
            }
        }
    }

    /// Makes `ready` readable after so many microseconds.
    fn wake_in(&mut self, micros: u64) {
        set_timer(&self.timer, micros.saturating_mul(1000).max(1));
        self.armed = true;
    }

    fn write_current(&mut self) -> Result<(), Loss> {
        while !self.current.is_empty() {
            match rustix::io::write(tty::descriptor(&self.port), self.current.rest()) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Ok(len) => self.current.from += len,
                Err(error) => return Err(loss(error)),
            }
        }
        Ok(())
    }

    /// Makes `ready` wait for room as well, or no longer.
    fn want_room(&mut self, wants: bool) {
        if self.wants_room == wants {
            return;
        }
        let room = if wants { EventFlags::OUT } else { EventFlags::empty() };
        let flags = EventFlags::IN | room;
        let line = tty::descriptor(&self.port);
        // It fails only without memory; then the next frame tries again.
        if epoll::modify(&self.ready, line, EventData::new_u64(0), flags).is_ok() {
            self.wants_room = wants;
        }
    }

    /// Makes `ready` readable when the line has sent `bytes`.
    fn wake_after(&mut self, bytes: usize) {
        let bits = (bytes as u64).saturating_mul(BITS_PER_BYTE);
        let nanos = bits.saturating_mul(1_000_000_000) / u64::from(self.baud.max(1));
        // Not less than a millisecond: drivers report their queue in coarse steps.
        let nanos = nanos.max(1_000_000);
        set_timer(&self.timer, nanos);
        self.armed = true;
    }

    /// Whether the device behind the line has gone.
    fn hung_up(&self) -> bool {
        let line = tty::descriptor(&self.port);
        let mut polled = [PollFd::new(&line, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(gone)
    }

    pub(super) fn still_valid(&self) -> bool {
        let open = rustix::fs::fstat(tty::descriptor(&self.port));
        let named = rustix::fs::stat(&self.device);
        match (open, named) {
            (Ok(open), Ok(named)) => open.st_rdev == named.st_rdev && !self.hung_up(),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// Throws away what the driver has not sent, so that closing does not wait for it.
    pub(super) fn forget_output(&self) {
        // On a device that is gone there is nothing to throw away.
        let _ = self.port.clear(ClearBuffer::Output);
    }
}

/// What an error on an open line means. All others than "not now" end it.
fn loss(error: Errno) -> Loss {
    match error {
        Errno::IO | Errno::NXIO | Errno::NODEV | Errno::PIPE => Loss::HangUp,
        other => Loss::Failed(other),
    }
}

/// Whether `device` is there at all and something that can be a serial line.
pub(super) fn check_device(device: &Path) -> Result<(), Obstacle> {
    let shown = device.display();
    match rustix::fs::stat(device) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice => Ok(()),
        Ok(_) => Err(Obstacle::new(
            format!("{shown} is not a serial device"),
            "name a device such as /dev/ttyUSB0, /dev/ttyS0 or /dev/serial0",
        )),
        Err(Errno::NOENT) => Err(Obstacle::new(
            format!("there is no {shown} now"),
            "plug the adapter in, or look for its name in /dev/serial/by-id; Latido goes on trying",
        )),
        Err(error) => {
            Err(Obstacle::new(format!("{shown}: {error}"), "check the path and its permissions"))
        }
    }
}

pub(super) fn open_tty(builder: SerialPortBuilder, flow: Flow) -> serialport::Result<TTYPort> {
    let flow = match flow {
        Flow::None => FlowControl::None,
        Flow::RtsCts => FlowControl::Hardware,
    };
    let builder = builder
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(flow);
    let port = TTYPort::open(&builder)?;
    // What came at another speed, or before we were there.
    port.clear(ClearBuffer::Input)?;
    hang_up_on_close(tty::descriptor(&port)).map_err(std::io::Error::from)?;
    // The crate opens without blocking and then makes it block.
    rustix::fs::fcntl_setfl(tty::descriptor(&port), OFlags::NONBLOCK)
        .map_err(std::io::Error::from)?;
    Ok(port)
}

/// The kernel drops DTR and RTS when the port is closed: the peer knows at once.
fn hang_up_on_close(port: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut settings = rustix::termios::tcgetattr(port)?;
    settings.control_modes |= rustix::termios::ControlModes::HUPCL;
    rustix::termios::tcsetattr(port, rustix::termios::OptionalActions::Now, &settings)
}

/// Watches the peer's modem lines, if there are any. A line is no worse without.
fn watch_lines(port: &Arc<TTYPort>, line: &Line, ready: &OwnedFd) -> Option<Watch> {
    // The peer's RTS is not its presence where it stops us by it.
    let flow = if line.flow == Flow::RtsCts { Lines::CTS } else { Lines::NONE };
    let watch = match &line.modem {
        Modem::Off => return None,
        Modem::File(path) => Watch::start(lines::reader(FileLines(path.clone()))),
        Modem::Device => {
            modem::read(tty::descriptor(port)).ok()?;
            let port = Arc::downgrade(port);
            Watch::start(move || {
                let port = port.upgrade()?;
                Some(modem::read(tty::descriptor(&port)).map(|lines| lines.without(flow)))
            })
        }
    };
    let watch = watch.ok()?;
    epoll::add(ready, watch.fd(), EventData::new_u64(2), EventFlags::IN).ok()?;
    Some(watch)
}

pub(super) fn explain(device: &Path, baud: u32, error: &serialport::Error) -> Obstacle {
    let shown = device.display();
    match error.kind() {
        serialport::ErrorKind::NoDevice => Obstacle::new(
            format!("{shown} is in use by another program"),
            format!("find it with `fuser -v {shown}`; a login console (getty) is a frequent one"),
        ),
        serialport::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => Obstacle::new(
            format!("{shown} may not be opened ({error})"),
            "run latido as root, or as a member of the device's group (often `dialout`)",
        ),
        serialport::ErrorKind::InvalidInput
        | serialport::ErrorKind::Io(std::io::ErrorKind::InvalidInput) => Obstacle::new(
            format!("{shown} does not take {baud} baud ({error})"),
            "choose a speed that both ends can do: 115200 always works, and most USB adapters \
             take 921600; a UART does its base clock divided by 16 and a whole number",
        ),
        serialport::ErrorKind::Io(_) | serialport::ErrorKind::Unknown => Obstacle::new(
            format!("{shown} cannot be set up: {error}"),
            "check the adapter (`dmesg`), and that it can do this speed; Latido goes on trying",
        ),
    }
}

/// An epoll descriptor that watches the line and a timer, and that timer.
fn watch(port: &TTYPort) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = rustix::time::timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
    )?;
    epoll::add(&ready, tty::descriptor(port), EventData::new_u64(0), EventFlags::IN)?;
    epoll::add(&ready, &timer, EventData::new_u64(1), EventFlags::IN)?;
    Ok((ready, timer))
}

/// Fires once after `nanos`; 0 stops it.
fn set_timer(timer: &OwnedFd, nanos: u64) {
    const SECOND: u64 = 1_000_000_000;
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Timespec { tv_sec: (nanos / SECOND) as i64, tv_nsec: (nanos % SECOND) as _ };
    let once = Itimerspec { it_interval: never, it_value: at };
    // Fails only for times that are none.
    let _ = rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn readable(fd: BorrowedFd<'_>, wait: i64) -> bool {
        let mut polled = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: wait, tv_nsec: 0 })).expect("poll") == 1
    }

    /// A pseudo-terminal tells no queue, so what a UART's queue sets off is tested by itself.
    #[test]
    fn the_line_wakes_the_port_when_it_has_sent_enough_and_only_once() {
        let (_master, slave) = TTYPort::pair().expect("a pseudo-terminal");
        let device = PathBuf::from(slave.name().expect("its name"));
        drop(slave);
        let Ok(mut serial) = Serial::open(&device, 9600, &Line::default()) else { panic!("opens") };
        let begin = Instant::now();
        // 96 bytes at 9600 baud are 100 ms.
        serial.wake_after(96);
        assert!(readable(serial.fd(), 20));
        assert!(begin.elapsed() >= Duration::from_millis(100));
        let mut buffer = [0; FRAME_MAX];
        assert_eq!(serial.receive(&mut buffer, &mut Tally::default()), Received::Nothing);
        assert!(!readable(serial.fd(), 0));
    }
}
