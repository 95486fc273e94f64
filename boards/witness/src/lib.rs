//! What every witness board does, whatever the board: a loop around `latido::core::witness` that
//! takes bytes from serial lines, answers on them, keeps its settings in flash and never stops.
//!
//! One loop, no interrupt handler, no heap, no recursion, no panic: a board's watchdog is petted
//! only here, once in each turn.
#![no_std]
#![forbid(unsafe_code)]

mod flash;
mod lamp;
mod local;
mod output;

use defmt::{info, warn};
pub use flash::{Flash, SECTOR_LEN, SECTORS};
use heapless::Vec;
use lamp::Lamp;
use latido::core::framing::Deframer;
use latido::core::id::{Incarnation, LinkId};
use latido::core::provision::{self, Answer, BOARD_MAX, Identity, Known};
use latido::core::time::{Duration, Instant};
use latido::core::wire::NameHash;
use latido::core::witness::health::{Cause, Health, Version};
use latido::core::witness::{Input, Key, Output, Witness};
use local::Question;
use output::Outgoing;

/// Serial lines: one to each node.
pub const LINES: usize = 2;
/// Bytes that one line may bring before the others get their turn.
const BYTES_PER_TURN: usize = 64;
/// So long the answer to a request has time to go out.
const RESET_AFTER: Duration = Duration::from_millis(100);
/// Bytes of bad randomness that a board gives at a start.
pub const NOISE_LEN: usize = 20;

/// What a board can do.
pub trait Board {
    /// Its name, for people.
    const NAME: &'static str;

    /// Time since it started; never goes back.
    fn now(&mut self) -> Instant;
    /// The next byte that has come on a line.
    fn get(&mut self, line: usize) -> Option<u8>;
    /// Whether the line took this byte; `false`: later.
    fn put(&mut self, line: usize, byte: u8) -> bool;
    /// Sleeps until a byte may have come, at most for a millisecond or two.
    fn rest(&mut self);
    /// Tells the watchdog that the loop turns.
    fn pet(&mut self);
    /// Fills `noise` with what nobody can foretell; it need not be evenly distributed.
    fn noise(&mut self, noise: &mut [u8; NOISE_LEN]);
    /// The lamp.
    fn light(&mut self, on: bool);
    /// Whether the button that erases everything is held.
    fn button(&mut self) -> bool;
    /// Why it started.
    fn cause(&self) -> Cause;
    /// The number of its chip, where it has one.
    fn serial(&self) -> Option<u64>;
    /// Its supply, where it can be measured.
    fn millivolts(&mut self) -> Option<u16>;
    /// The most bytes of stack that were ever used, and the bytes of memory that are not stack.
    fn memory(&self) -> (Option<u16>, u16);
    /// Starts anew.
    fn reset(&mut self) -> !;
}

/// Everything that the loop keeps. Made once, as a constant, in its place.
pub struct Loop {
    witness: Witness<1>,
    lines: [Deframer; LINES],
    outgoing: Outgoing,
    lamp: Lamp,
    started: u32,
    /// It has settings.
    provisioned: bool,
    /// What may be told of them.
    known: Known,
    /// What was told of the board's health last is of this second.
    told: u32,
    reset_at: Option<Instant>,
}

impl Loop {
    /// A loop that has not begun.
    pub const NEW: Loop = Loop {
        witness: Witness::DUMB,
        lines: [const { Deframer::new() }; LINES],
        outgoing: Outgoing::NEW,
        lamp: Lamp::NEW,
        started: 0,
        provisioned: false,
        known: Known { name: NameHash(0), tag: 0, keys: Vec::new() },
        told: 0,
        reset_at: None,
    };

    /// Runs for good.
    pub fn run<B: Board + Flash>(&mut self, board: &mut B) -> ! {
        self.begin(board);
        loop {
            board.pet();
            let mut busy = false;
            for line in 0..LINES {
                busy |= self.receive(board, line);
            }
            let now = board.now();
            self.health(board, now);
            self.witness.handle(now, Input::Tick);
            self.send(board, now);
            board.light(self.lamp.on(now));
            if self.reset_at.is_some_and(|at| now >= at) {
                board.reset();
            }
            if !busy && !self.outgoing.busy() {
                board.rest();
            }
        }
    }

    /// Settings and randomness of this start. Not inlined, as everything that needs much of the
    /// stack for a moment: else the loop would need it all the time.
    #[inline(never)]
    fn begin<B: Board + Flash>(&mut self, board: &mut B) {
        self.started = flash::count_start(board);
        if flash::button_held(board) {
            warn!("erased by the button");
            flash::erase(board);
        }
        let mut noise = [0; NOISE_LEN];
        board.noise(&mut noise);
        let now = board.now();
        let [first, ..] = &mut self.lines;
        let settings = flash::load(board, first);
        let incarnation = match &settings {
            Some(settings) => flash::incarnation(settings, self.started, &noise),
            None => Incarnation(0),
        };
        if let Some(settings) = &settings {
            self.witness.begin(settings.name, incarnation, now);
            self.known = Known { name: settings.name, tag: settings.tag, ..Known::default() };
            for &(number, key) in &settings.keys {
                // Cannot fail: what does not fit was not taken when it was provisioned.
                let _ = self.witness.accept(&Key { tag: settings.tag, number, key });
                let _ = self.known.keys.push(number);
            }
            self.provisioned = true;
        }
        for link in LinkId::all().take(LINES) {
            self.witness.handle(now, Input::Link { link, up: true });
        }
        self.lamp.provisioned(self.provisioned);
        let cause = board.cause();
        info!(
            "witness on {=str}, start {}, {}: {=bool}",
            B::NAME,
            self.started,
            cause,
            self.provisioned
        );
    }

    /// Takes what has come on a line; whether there may be more.
    fn receive<B: Board + Flash>(&mut self, board: &mut B, line: usize) -> bool {
        for _ in 0..BYTES_PER_TURN {
            let Some(byte) = board.get(line) else { return false };
            let Some(deframer) = self.lines.get_mut(line) else { return false };
            let Some(frame) = deframer.push_mut(&mut &[byte][..]) else { continue };
            if let Some(question) = local::question(frame) {
                self.answer(board, line, question);
                return true;
            }
            let Some(link) = LinkId::new(line) else { return false };
            let now = board.now();
            if self.provisioned {
                self.witness.handle_in_place(now, link, frame);
            }
            // An answer is late while the frames behind it are read.
            self.send(board, now);
        }
        true
    }

    /// Hands bytes to the lines, and asks for the next frame when they have all of the last.
    fn send<B: Board>(&mut self, board: &mut B, now: Instant) {
        self.outgoing.advance(board, now);
        while !self.outgoing.busy() {
            let Some(frame) = self.outgoing.frame() else { return };
            match self.witness.poll(frame) {
                Some(Output::Transmit { links, len }) => {
                    self.outgoing.start(usize::from(len), now, |line| {
                        LinkId::new(line).is_some_and(|link| links.contains(link))
                    });
                    self.outgoing.advance(board, now);
                }
                Some(Output::Event(note)) => {
                    info!("{}", note.event);
                    self.lamp.event(note.event);
                }
                Some(Output::Restart) => {
                    warn!("somebody else has our incarnation: starting anew");
                    self.reset_at = Some(now);
                    return;
                }
                None => return,
            }
        }
    }

    fn uptime(now: Instant) -> u32 {
        u32::try_from(now.micros() / 1_000_000).unwrap_or(u32::MAX)
    }

    /// Answers who prepares this board.
    #[inline(never)]
    fn answer<B: Board + Flash>(&mut self, board: &mut B, line: usize, question: Question) {
        let now = board.now();
        let answer = match question {
            Question::Identify(number) => Answer::Identity(self.identity(board, number)),
            Question::Provision if self.provisioned => Answer::Provisioned,
            Question::Provision => self.provision(board, line),
            Question::Erase => {
                warn!("erased, as told");
                flash::erase(board);
                self.reset_at = Some(now + RESET_AFTER);
                Answer::Done
            }
            Question::Unknown => Answer::What,
        };
        // What was on its way to the nodes is lost: the next frame says the same.
        self.outgoing.drop_all();
        let Some(frame) = self.outgoing.frame() else { return };
        if let Some(len) = provision::encode(&answer, frame) {
            self.outgoing.start(len, now, |other| other == line);
        }
    }

    /// Keeps the settings that have come on a line, as they stand there.
    fn provision<B: Board + Flash>(&mut self, board: &mut B, line: usize) -> Answer {
        let request = self.lines.get(line).map(Deframer::last).unwrap_or_default();
        let (Some(settings), Some(frame)) = (local::settings(request), self.outgoing.frame())
        else {
            return Answer::What;
        };
        let stored = local::copy(settings, frame).and_then(|len| self.outgoing.encode(len));
        if !stored.is_some_and(|stored| flash::save(board, stored)) {
            return Answer::Flash;
        }
        info!("provisioned");
        // From now on no other key is taken, even before the reset.
        self.provisioned = true;
        self.reset_at = Some(board.now() + RESET_AFTER);
        Answer::Done
    }

    fn identity<B: Board + Flash>(&mut self, board: &mut B, question: u32) -> Identity {
        let (stack, memory) = board.memory();
        let damaged = self.lines.iter().map(|line| line.tally().damaged).sum::<u64>();
        Identity {
            question,
            board: board_name(B::NAME),
            serial: board.serial(),
            version: VERSION,
            uptime: Self::uptime(board.now()),
            starts: self.started,
            cause: board.cause(),
            millivolts: board.millivolts(),
            stack,
            memory,
            damaged: u32::try_from(damaged).unwrap_or(u32::MAX),
            settings: self.provisioned.then(|| self.known.clone()),
        }
    }

    /// Once a second.
    fn health<B: Board>(&mut self, board: &mut B, now: Instant) {
        let uptime = Self::uptime(now);
        if uptime == self.told && uptime != 0 {
            return;
        }
        self.told = uptime;
        self.witness.set_health(Some(Health {
            version: VERSION,
            uptime,
            starts: self.started,
            cause: board.cause(),
            millivolts: board.millivolts(),
        }));
    }
}

/// This firmware's.
const VERSION: Version = Version {
    major: number(env!("CARGO_PKG_VERSION_MAJOR")),
    minor: number(env!("CARGO_PKG_VERSION_MINOR")),
    patch: number(env!("CARGO_PKG_VERSION_PATCH")),
};

/// The number that a text is.
const fn number(text: &str) -> u8 {
    match u8::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("a part of a version is a small number"),
    }
}

/// A board's name as it goes over the line.
fn board_name(name: &str) -> [u8; BOARD_MAX] {
    let mut out = [0; BOARD_MAX];
    out.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    out
}
