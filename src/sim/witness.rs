//! Witnesses: machines without groups, whose voter forgets everything when it starts.
use super::machine::SOCKET_BUFFER;
use super::trace::Line;
use super::world::{Happening, World};
use crate::core::id::{Incarnation, LinkId};
use crate::core::limits::FRAME_MAX;
use crate::core::time::Instant;
use crate::core::wire::NameHash;
use crate::core::witness::{Input, Key, Output, Witness};
use std::collections::VecDeque;
use std::rc::Rc;

/// The process on a witness.
pub(super) struct Voter {
    witness: Witness<1>,
    mail: VecDeque<(LinkId, Rc<[u8]>)>,
    /// When it listens next.
    wakes_at: Option<u64>,
}

impl World {
    /// Whether this machine is a witness.
    pub(super) fn is_witness(&self, node: usize) -> bool {
        node >= self.setup.nodes + self.setup.clones
    }

    /// The name of the witness of this place.
    pub(super) fn witness_name(place: usize) -> NameHash {
        NameHash(1_000 + u32::try_from(place).expect("witnesses are few"))
    }

    /// Starts the voter of a witness.
    pub(super) fn revive_witness(&mut self, node: usize) {
        let incarnation = Incarnation(self.random.bits());
        let name = World::witness_name(node - self.setup.nodes - self.setup.clones);
        let machine = &mut self.machines[node];
        if machine.voter.is_some() || !machine.on {
            return;
        }
        let now = machine.clock.local(self.now);
        let key = Key { tag: super::setup::TAG, number: 1, key: super::setup::KEY };
        let mut witness = Witness::new(name, &[key], incarnation, now).expect("one key");
        for (index, up) in machine.carrier.iter().enumerate() {
            let link = LinkId::new(index).expect("few links");
            witness.handle(now, Input::Link { link, up: *up });
        }
        machine.voter = Some(Voter { witness, mail: VecDeque::new(), wakes_at: None });
        self.listen_at(node, self.now + 1);
    }

    pub(super) fn mail(&mut self, node: usize, link: LinkId, bytes: Rc<[u8]>) {
        let latency = self.random.between(1, self.setup.latency.max(1));
        let Some(voter) = &mut self.machines[node].voter else { return };
        if voter.mail.len() < SOCKET_BUFFER {
            voter.mail.push_back((link, bytes));
            self.listen_at(node, self.now + latency);
        }
    }

    pub(super) fn listen_at(&mut self, node: usize, at: u64) {
        let Some(voter) = &mut self.machines[node].voter else { return };
        if voter.wakes_at.is_none_or(|due| at < due) {
            voter.wakes_at = Some(at);
            self.schedule(at, Happening::Listen { node });
        }
    }

    /// The turn of a witness.
    pub(super) fn listen(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(voter) = &mut machine.voter else { return };
        if voter.wakes_at != Some(self.now) {
            return;
        }
        voter.wakes_at = None;
        if machine.frozen {
            return;
        }
        let now = machine.clock.local(self.now);
        let mail = std::mem::take(&mut voter.mail);
        for (link, bytes) in mail {
            self.handled += 1;
            self.tell_witness(node, now, Input::Frame { link, bytes: &bytes });
        }
        let due = |machine: &super::machine::Machine| {
            machine.voter.as_ref().map(|voter| voter.witness.deadline())
        };
        if due(&self.machines[node]).is_some_and(|due| due <= now) {
            self.tell_witness(node, now, Input::Tick);
        }
        if let Some(due) = due(&self.machines[node]).filter(|due| *due < Instant::NEVER) {
            let at = self.machines[node].clock.when(due).max(self.now + 1);
            self.listen_at(node, at);
        }
    }

    fn tell_witness(&mut self, node: usize, now: Instant, input: Input<'_>) {
        let mut frame = [0; FRAME_MAX];
        if let Some(voter) = &mut self.machines[node].voter {
            voter.witness.handle(now, input);
        }
        while let Some(voter) = &mut self.machines[node].voter
            && let Some(output) = voter.witness.poll(&mut frame)
        {
            match output {
                Output::Transmit { links, len } => {
                    self.send(node, links, &frame[..usize::from(len)]);
                }
                Output::Event(note) => self.trace.push(self.now, node, Line::Noted(note.event)),
                Output::Restart => {
                    self.machines[node].voter = None;
                    self.revive_witness(node);
                }
            }
        }
    }
}
