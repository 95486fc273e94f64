//! Nodes on a simulated bus: nothing but times.
use crate::config::{Bus, Direction, Pace};
use crate::link::turn::{Chance, Turn};
use proptest::prelude::*;
use std::collections::VecDeque;

/// The simulation's step in microseconds.
const STEP: u64 = 500;
const FRAME: u16 = 180;

#[derive(Clone, Copy, Debug)]
enum Heard {
    Bytes,
    Frame(usize),
}

struct Station {
    /// None: it is off.
    turn: Option<Turn>,
    waits: bool,
    next_beat: u64,
    /// It looks again then.
    wake: u64,
    inbox: VecDeque<(u64, Heard)>,
    /// When its last whole frame ended, and the longest time between two of them.
    last: u64,
    longest: u64,
}

struct Sending {
    from: usize,
    begin: u64,
    end: u64,
    damaged: bool,
}

struct World {
    now: u64,
    pace: Pace,
    interval: u64,
    stations: Vec<Station>,
    wire: Vec<Sending>,
    /// Every wake-up and every delivery is late by up to so much.
    late: u64,
    /// Their own bytes come back to them.
    echo: bool,
    random: u64,
    collisions: u64,
}

impl World {
    fn new(stations: u8, baud: u32, late: u64, echo: bool, seed: u64) -> World {
        let bus = Bus { direction: Direction::Auto, slot: None, stations, frame: FRAME };
        let pace = bus.pace(baud);
        let interval = u64::try_from(pace.turn().as_micros()).expect("short");
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let station = || Station {
            turn: None,
            waits: false,
            next_beat: 0,
            wake: 0,
            inbox: VecDeque::new(),
            last: 0,
            longest: 0,
        };
        let stations = (0..stations).map(|_| station()).collect();
        let wire = Vec::new();
        World { now: 0, pace, interval, stations, wire, late, echo, random, collisions: 0 }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    /// Begins to measure.
    fn forget(&mut self) {
        let now = self.now;
        self.collisions = 0;
        for station in &mut self.stations {
            (station.last, station.longest) = (now, 0);
        }
    }

    fn run(&mut self, turns: u64) {
        let end = self.now + turns * self.interval;
        while self.now < end {
            self.now += STEP;
            self.carry();
            for index in 0..self.stations.len() {
                self.live(index);
            }
        }
        for station in self.stations.iter_mut().filter(|station| station.turn.is_some()) {
            station.longest = station.longest.max(self.now - station.last);
        }
    }

    fn carry(&mut self) {
        let now = self.now;
        let busy = self.wire.iter().filter(|one| one.end > now).count();
        for one in self.wire.iter_mut().filter(|one| one.end > now && busy > 1) {
            self.collisions += u64::from(!one.damaged);
            one.damaged = true;
        }
        let fifo = 16 * self.pace.byte;
        for sending in std::mem::take(&mut self.wire) {
            let (from, age) = (sending.from, now - sending.begin);
            if sending.end <= now && !sending.damaged {
                self.deliver(from, Heard::Frame(from));
                let station = &mut self.stations[from];
                station.longest = station.longest.max(now - station.last);
                station.last = now;
            } else if sending.end <= now || age / fifo != age.saturating_sub(STEP) / fifo {
                self.deliver(from, Heard::Bytes);
            }
            if sending.end > now {
                self.wire.push(sending);
            }
        }
    }

    fn deliver(&mut self, from: usize, heard: Heard) {
        for index in 0..self.stations.len() {
            if index == from && !self.echo {
                continue;
            }
            let at = self.now + self.draw(self.late + 1);
            let before = self.stations[index].inbox.back().map_or(0, |last| last.0);
            self.stations[index].inbox.push_back((at.max(before), heard));
        }
    }

    fn live(&mut self, index: usize) {
        let (now, pace, interval) = (self.now, self.pace, self.interval);
        let late = self.draw(self.late + 1);
        let station = &mut self.stations[index];
        while station.inbox.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, heard)) = station.inbox.pop_front() else { break };
            station.wake = now;
            let Some(turn) = &mut station.turn else { continue };
            match heard {
                Heard::Bytes => turn.bytes(now),
                Heard::Frame(by) => turn.frame(now, by as u8, by == index),
            }
        }
        let Some(turn) = &mut station.turn else { return };
        if now >= station.next_beat {
            station.next_beat += interval;
            station.waits = true;
            station.wake = now;
        }
        if !station.waits || now < station.wake {
            return;
        }
        match turn.chance(now, index as u8) {
            Chance::At(at) => {
                assert!(at > now, "asked to look again at once");
                station.wake = at + late;
            }
            Chance::Now => {
                station.waits = false;
                turn.sent(now, usize::from(FRAME));
                let end = now + pace.byte * u64::from(FRAME);
                self.wire.push(Sending { from: index, begin: now, end, damaged: false });
            }
        }
    }

    fn switch(&mut self, index: usize, on: bool) {
        let (now, pace) = (self.now, self.pace);
        let station = &mut self.stations[index];
        station.turn = on.then(|| Turn::new(pace, now));
        station.waits = false;
        station.next_beat = now;
        station.wake = now;
        (station.last, station.longest) = (now, 0);
    }

    /// Switches everybody on, at moments of their own.
    fn start(&mut self) {
        for index in 0..self.stations.len() {
            self.switch(index, true);
            let later = self.draw(self.interval);
            self.stations[index].next_beat += later;
        }
        self.run(20);
        self.forget();
    }

    /// The longest silence of anybody who is on, in per cent of a turn.
    fn worst(&self) -> u64 {
        let on = self.stations.iter().filter(|station| station.turn.is_some());
        on.map(|station| station.longest).max().expect("somebody") * 100 / self.interval
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Everybody speaks at least once in two turns and a half (a frame may come just after the
    /// chance), whatever the speed, however late within the slot, with and without echo.
    #[test]
    fn everybody_has_its_turn(
        stations in 2u8..=8, fast in any::<bool>(), echo in any::<bool>(), seed in any::<u64>(),
    ) {
        let baud = if fast { 115_200 } else { 9_600 };
        let mut world = World::new(stations, baud, 4_000, echo, seed);
        world.start();
        world.run(50);
        prop_assert!(world.worst() <= 250, "{} % of a turn", world.worst());
        prop_assert!(world.collisions <= 4, "{} frames collided", world.collisions);
    }

    /// One goes and comes: the others lose nothing by that for long.
    #[test]
    fn missing_nodes_hold_nobody_up(
        stations in 3u8..=6, gone in 0usize..3, echo in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut world = World::new(stations, 19_200, 4_000, echo, seed);
        world.start();
        world.switch(gone, false);
        world.run(50);
        prop_assert!(world.worst() <= 300, "{} % without {gone}", world.worst());
        world.switch(gone, true);
        world.run(20);
        world.forget();
        world.run(50);
        prop_assert!(world.worst() <= 250, "{} % with {gone} again", world.worst());
        prop_assert!(world.collisions <= 4, "{} frames collided", world.collisions);
    }

    /// All begin at the same moment, after a power cut of everything.
    #[test]
    fn a_common_start_ends_in_order(
        stations in 2u8..=8, echo in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut world = World::new(stations, 115_200, 4_000, echo, seed);
        (0..usize::from(stations)).for_each(|index| world.switch(index, true));
        world.run(4);
        world.forget();
        world.run(20);
        prop_assert!(world.worst() <= 350, "{} % of a turn", world.worst());
    }

    /// A machine that is overloaded wakes up anywhere within several slots: frames collide, but
    /// nobody is silent for ever.
    #[test]
    fn nodes_that_wake_up_late_recover(
        stations in 2u8..=4, echo in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut world = World::new(stations, 115_200, 30_000, echo, seed);
        world.start();
        world.run(100);
        prop_assert!(world.worst() <= 2500, "{} % of a turn", world.worst());
    }
}

#[test]
fn two_that_began_together_come_apart() {
    for echo in [false, true] {
        let mut world = World::new(3, 9_600, 0, echo, 1);
        world.start();
        // Both believe that they have the bus.
        let (now, frame) = (world.now, usize::from(FRAME));
        for index in [0, 1] {
            let end = now + world.pace.byte * u64::from(FRAME);
            world.wire.push(Sending { from: index, begin: now, end, damaged: false });
            world.stations[index].turn.as_mut().expect("on").sent(now, frame);
        }
        world.run(3);
        world.forget();
        world.run(20);
        assert_eq!(world.collisions, 0, "echo {echo}");
        assert!(world.worst() <= 250, "{} % of a turn", world.worst());
    }
}

#[test]
fn noise_without_end_silences_nobody_for_ever() {
    let bus = Bus { direction: Direction::Auto, slot: None, stations: 2, frame: FRAME };
    let mut turn = Turn::new(bus.pace(9600), 0);
    let (mut now, mut sent) = (0, 0);
    while now < 100_000_000 {
        now += 5000;
        turn.bytes(now);
        if turn.chance(now, 1) == Chance::Now {
            turn.sent(now, usize::from(FRAME));
            sent += 1;
        }
    }
    assert!(sent >= 30, "{sent} frames in 100 s");
}
