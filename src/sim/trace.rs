//! The last things that happened, written out only when something went wrong.
use super::fault::Fault;
use crate::core::id::LinkSet;
use crate::core::io::{Command, Event, Fenced, Outcome, Reply};
use std::collections::VecDeque;
use std::fmt;

const KEPT: usize = 300;

/// One line of the trace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    Fault(Fault),
    Sent(LinkSet),
    Heard(usize, usize),
    Link(usize, bool),
    Able(usize, bool),
    Report(usize, Outcome),
    Fenced(usize, Fenced),
    Command(Command),
    Reply(Reply),
    Ordered(&'static str, usize),
    Told(Event),
    Noted(crate::core::witness::Event),
    Note(&'static str),
}

/// A ring of lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    ring: VecDeque<(u64, usize, Line)>,
}

impl Trace {
    pub(super) fn push(&mut self, now: u64, node: usize, line: Line) {
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back((now, node, line));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node, line) in &self.ring {
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            write!(f, "{seconds:>6}.{micros:06}  ")?;
            match line {
                Line::Fault(fault) => writeln!(f, "** {fault:?}")?,
                Line::Sent(links) => writeln!(f, "n{node} sends on {:#b}", links.0)?,
                Line::Heard(link, len) => writeln!(f, "n{node} reads {len} bytes on l{link}")?,
                Line::Link(link, up) => writeln!(f, "n{node} l{link} up: {up}")?,
                Line::Able(group, able) => writeln!(f, "n{node} g{group} able: {able}")?,
                Line::Report(group, outcome) => writeln!(f, "n{node} g{group} is {outcome:?}")?,
                Line::Fenced(target, outcome) => {
                    writeln!(f, "n{node} learns: the fence of n{target} is {outcome:?}")?;
                }
                Line::Command(command) => writeln!(f, "n{node} is asked: {command:?}")?,
                Line::Reply(reply) => writeln!(f, "n{node} answers: {reply:?}")?,
                Line::Ordered(what, group) => writeln!(f, "n{node} g{group}: {what}")?,
                Line::Told(event) => writeln!(f, "n{node} tells {event:?}")?,
                Line::Noted(event) => writeln!(f, "n{node} notes {event:?}")?,
                Line::Note(note) => writeln!(f, "n{node} {note}")?,
            }
        }
        Ok(())
    }
}
