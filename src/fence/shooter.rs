//! The thread of one node: tests its devices, and fences it.
use super::board::{Board, Test};
use super::program::{Action, Program};
use super::relay::{Deed, Relay};
use super::{Report, Slot};
use crate::config::{Config, DeviceKind};
use crate::core::id::{JobId, NodeId};
use crate::platform::output::Output;
use crate::platform::process::{Child, End, spawn, spawn_told, wait_readable};
use log::{Level, error, info, warn};
use rustix::fd::AsFd;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries, at most; it is taken from the time of the try before.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks whether the power has gone.
const LOOK: Duration = Duration::from_millis(200);
/// Between SIGTERM and SIGKILL, at most; it is part of the time limit.
const GRACE: Duration = Duration::from_millis(500);
/// After a failed self-test the next comes at the latest so soon.
const TEST_AGAIN: Duration = Duration::from_secs(60);

/// What may break a program off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Abort {
    /// A waiting request, or the end of the daemon.
    Any,
    /// Only the end of the daemon.
    OnQuit,
    /// Only a waiting request: a node is not left without power.
    OnRequest,
}

/// Why a program did not do what it should.
enum Broken {
    /// In words.
    Because(String),
    /// It was broken off.
    Aborted,
}

struct Ran {
    end: End,
    head: Vec<u8>,
    last: String,
}

/// A node's thread.
pub(super) struct Shooter<R> {
    node: NodeId,
    name: String,
    programs: Vec<Program>,
    /// When each is to be tested.
    due: Vec<Instant>,
    /// Why the word of a device proves nothing: it does not know the node.
    strange: Vec<Option<String>>,
    slot: Arc<Slot>,
    board: Board,
    report: R,
}

impl<R: Fn(Report)> Shooter<R> {
    pub(super) fn new(
        config: &Config,
        me: usize,
        node: NodeId,
        slot: Arc<Slot>,
        board: Board,
        report: R,
    ) -> Self {
        let name = |index: usize| config.nodes.get(index).cloned().unwrap_or_default();
        let programs: Vec<Program> = config
            .devices_of(node.index())
            .map(|device| Program {
                device: device.clone(),
                me: name(me),
                node: name(node.index()),
                relay: match &device.kind {
                    DeviceKind::Gpio(relay) => Some(RefCell::new(Relay::new(relay.clone()))),
                    _ => None,
                },
            })
            .collect();
        let due = vec![Instant::now(); programs.len()];
        let (strange, name) = (vec![None; programs.len()], name(node.index()));
        Shooter { node, name, programs, due, strange, slot, board, report }
    }

    pub(super) fn run(&mut self) {
        while !self.slot.quits() {
            if let Some(request) = self.slot.take() {
                self.fence(request);
                continue;
            }
            let now = Instant::now();
            let first = self.due.iter().enumerate().min_by_key(|(_, due)| **due);
            match first.map(|(index, due)| (index, *due)) {
                Some((index, due)) if due <= now => self.test(index),
                due => self.wait(due.map(|(_, due)| due - now)),
            }
        }
    }

    fn wait(&self, limit: Option<Duration>) {
        wait_readable(&[Some(self.slot.wake.as_fd())], limit);
        self.slot.wake.clear();
    }

    /// Waits, unless the daemon ends.
    fn pause(&self, until: Instant) {
        while !self.slot.quits() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.wait(Some(left));
        }
    }

    fn fence(&mut self, request: JobId) {
        let (node, name) = (self.node, self.name.clone());
        self.board.begun(node);
        let mut last = String::new();
        for index in 0..self.programs.len() {
            let device = self.programs[index].device.name();
            let tries = self.programs[index].device.tries;
            if let Some(why) = &self.strange[index] {
                warn!(target: "event", "{device}: not used to fence node {name}: {why}");
                last = format!("{device}: {why}");
                continue;
            }
            for attempt in 1..=tries {
                let deadline = Instant::now() + self.programs[index].device.timeout;
                match self.off(&self.programs[index], deadline) {
                    Ok(()) => {
                        (self.report)(Report { node, request, confirmed: true });
                        info!(target: "event", "{device}: node {name} is off: confirmed");
                        self.board.ended(node, Ok(device));
                        self.on(index);
                        return;
                    }
                    Err(Broken::Aborted) => return,
                    Err(Broken::Because(why)) => {
                        warn!(
                            target: "event",
                            "{device}: node {name} is not proven to be off, try {attempt} of \
                             {tries}: {why}"
                        );
                        last = format!("{device}: {why}");
                    }
                }
                if attempt < tries {
                    self.pause((Instant::now() + PAUSE).min(deadline));
                }
                if self.slot.quits() {
                    return;
                }
            }
            // What failed is tested soon, so that it shows when it works again.
            self.due[index] = Instant::now();
        }
        error!(target: "event", "node {name} could not be fenced: every device failed; {last}");
        self.board.ended(node, Err(last));
        (self.report)(Report { node, request, confirmed: false });
    }

    /// Switches the node off, and makes sure that it is.
    fn off(&self, program: &Program, deadline: Instant) -> Result<(), Broken> {
        let action = program.deadly();
        let ran = self.act(program, action, deadline, Abort::OnQuit);
        if !program.asks_status() {
            return match ran? {
                Ran { end: End::Exited(0), .. } => Ok(()),
                ran => Err(Broken::Because(told(action, &ran))),
            };
        }
        // What counts is what the device says afterwards, whatever the order came to.
        let mut why = match ran {
            Ok(Ran { end: End::Exited(0), .. }) => "the device still says that it is on".to_owned(),
            Ok(ran) => told(action, &ran),
            Err(Broken::Because(why)) => why,
            Err(Broken::Aborted) => return Err(Broken::Aborted),
        };
        while Instant::now() < deadline {
            let ran = match self.act(program, Action::Status, deadline, Abort::OnQuit) {
                Err(Broken::Because(_)) => break,
                ran => ran?,
            };
            match Program::power(ran.end) {
                Some(false) => return Ok(()),
                Some(true) => {}
                None => why = format!("{why}; {}", told(Action::Status, &ran)),
            }
            self.pause((Instant::now() + LOOK).min(deadline));
            if self.slot.quits() {
                return Err(Broken::Aborted);
            }
            if Program::power(ran.end).is_none() {
                break;
            }
        }
        Err(Broken::Because(why))
    }

    /// Switches the node on again. What comes of it changes nothing about the proof.
    fn on(&mut self, index: usize) {
        let program = &self.programs[index];
        if !program.device.on || program.deadly() == Action::Reset {
            return;
        }
        let (device, name) = (program.device.name(), &self.name);
        let mut why = String::new();
        for _ in 0..program.device.tries {
            let deadline = Instant::now() + program.device.timeout;
            match self.act(program, Action::On, deadline, Abort::OnRequest) {
                Ok(Ran { end: End::Exited(0), .. }) => {
                    info!(target: "event", "{device}: node {name} is switched on again");
                    self.due[index] = Instant::now() + program.device.test_every;
                    return;
                }
                Ok(ran) => why = told(Action::On, &ran),
                Err(Broken::Because(because)) => why = because,
                Err(Broken::Aborted) => return,
            }
            if self.slot.quits() || self.slot.waits() {
                break;
            }
            self.pause((Instant::now() + PAUSE).min(deadline));
        }
        warn!(target: "event", "{device}: node {name} stays off: {why}; switch it on by hand");
        self.board.dark(self.node, why);
    }

    fn test(&mut self, index: usize) {
        let result = match self.monitor(index) {
            Ok(power) => Ok(power),
            Err(Broken::Because(why)) => Err(why),
            // A request came: it is tested afterwards.
            Err(Broken::Aborted) => return,
        };
        let program = &self.programs[index];
        let every = program.device.test_every;
        let next = if result.is_ok() { every } else { every.min(TEST_AGAIN) };
        let (device, name) = (program.device.name(), &self.name);
        let before = self.board.tested(self.node, index, result.clone());
        match (&result, before) {
            (Ok(_), Test::Pending) => {
                info!(target: "event", "{device}: could fence node {name}: self-test passed");
            }
            (Ok(_), Test::Failed(_)) => {
                info!(target: "event", "{device}: could fence node {name} again: self-test passed");
            }
            (Err(_), Test::Failed(_)) | (Ok(_), Test::Good) => {}
            (Err(why), _) => error!(
                target: "event",
                "{device}: could not fence node {name} if it were needed: the self-test failed: \
                 {why}; mend it now"
            ),
        }
        self.due[index] = Instant::now() + next;
    }

    /// A self-test: whether the node has power, as far as it tells.
    fn monitor(&mut self, index: usize) -> Result<Option<bool>, Broken> {
        let program = &self.programs[index];
        let deadline = Instant::now() + program.device.timeout;
        let ran = self.act(program, Action::Monitor, deadline, Abort::Any)?;
        if ran.end != End::Exited(0) {
            return Err(Broken::Because(told(Action::Monitor, &ran)));
        }
        let unknown = program.unknown(&ran.head);
        self.strange[index].clone_from(&unknown);
        if let Some(why) = unknown {
            return Err(Broken::Because(why));
        }
        let program = &self.programs[index];
        if !program.asks_status() {
            return Ok(None);
        }
        let ran = self.act(program, Action::Status, deadline, Abort::Any)?;
        match Program::power(ran.end) {
            None => Err(Broken::Because(told(Action::Status, &ran))),
            power => Ok(power),
        }
    }

    /// Runs a program until it ends, its time is over or it is broken off.
    fn act(
        &self,
        program: &Program,
        action: Action,
        deadline: Instant,
        abort: Abort,
    ) -> Result<Ran, Broken> {
        if let Some(relay) = &program.relay {
            let ran = |code| Ran { end: End::Exited(code), head: Vec::new(), last: String::new() };
            return match relay.borrow_mut().act(action, deadline, &|| self.aborts(abort)) {
                Deed::Done(Some(false)) if action == Action::Status => Ok(ran(2)),
                Deed::Done(_) => Ok(ran(0)),
                Deed::Failed(why) => Err(Broken::Because(why)),
                Deed::Aborted => Err(Broken::Aborted),
            };
        }
        let grace = GRACE.min(program.device.timeout / 4);
        let left = deadline.saturating_duration_since(Instant::now());
        let (command, told) = program.command(action, left);
        let started = if told.is_empty() { spawn(command) } else { spawn_told(command, &told) };
        let (mut child, pipe) = started.map_err(|error| {
            Broken::Because(format!("`{}` could not be run: {error}", action.word()))
        })?;
        let label = format!("fence {} {}", self.name, action.word());
        let quiet = matches!(action, Action::Monitor | Action::Status);
        let level = if quiet { Level::Debug } else { Level::Info };
        let mut output = Output::new(pipe, "fence", label, level);
        let end = loop {
            // In this order: what it printed before its end is in the pipe when the end is seen.
            let end = child.ended();
            output.read();
            if let Some(end) = end {
                break Some(end);
            }
            if self.aborts(abort) {
                child.kill(grace);
                return Err(Broken::Aborted);
            }
            let left = deadline.saturating_duration_since(Instant::now() + grace);
            if left.is_zero() {
                break self.overdue(&mut child, grace);
            }
            child.wait_for_news(output.fd(), &self.slot.wake, left);
            self.slot.wake.clear();
        };
        output.read();
        output.finish();
        let last = output.last().to_owned();
        match end {
            Some(end) => Ok(Ran { end, head: output.head().to_vec(), last }),
            None => {
                let limit = crate::config::format_duration(program.device.timeout);
                let said = if last.is_empty() { "it had printed nothing" } else { &last };
                let word = action.word();
                Err(Broken::Because(format!("`{word}` was not done within {limit}: {said}")))
            }
        }
    }

    /// Kills what takes too long. A last-moment end counts for nothing.
    fn overdue(&self, child: &mut Child, grace: Duration) -> Option<End> {
        child.kill(grace);
        None
    }

    fn aborts(&self, abort: Abort) -> bool {
        match abort {
            Abort::Any => self.slot.waits() || self.slot.quits(),
            Abort::OnQuit => self.slot.quits(),
            Abort::OnRequest => self.slot.waits(),
        }
    }
}

/// What a program that did not end with 0 has said.
fn told(action: Action, ran: &Ran) -> String {
    let word = action.word();
    let how = match ran.end {
        End::Exited(code) => format!("`{word}` ended with exit code {code}"),
        End::Signalled(signal) => format!("`{word}` was killed by signal {signal}"),
    };
    if ran.last.is_empty() { how } else { format!("{how}: {}", ran.last) }
}
