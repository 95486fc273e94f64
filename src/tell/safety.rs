//! Sentences about fences, proofs, guards and rivals: what keeps two nodes from owning one group.
use super::Level::{self, Error, Notice, Warning};
use super::Names;
use super::text::{Sentence, say, span};
use crate::core::id::{GroupId, NodeId, Term};
use crate::core::io::{Doubt, Event, Held, Proof};

/// The sentence for one of the core's events about safety.
pub(super) fn event(event: Event, names: &Names) -> Sentence {
    match event {
        Event::Rival(group, node, term, held) => rival((group, node, term, held), names),
        Event::HeldBack(group, node, doubt) => held_back(group, node, doubt, names),
        Event::Reset(group) => say(
            Error,
            format!(
                "group {}: it could not be stopped in time: this machine resets itself",
                names.group(group)
            ),
        ),
        Event::NotRemembered => say(
            Error,
            "what this node must not forget could not be written to the runtime directory: it \
             grants nothing new until that works; make room there",
        ),
        Event::InForce => say(Notice, "every node has shown this list of voters: it is in force"),
        Event::Twins(node) => say(
            Error,
            format!(
                "two machines send under the name {}: only the one that was started last is \
                 listened to; stop one of them, or give it a name of its own",
                names.node(node)
            ),
        ),
        other => fence(other, names),
    }
}

fn rival((group, node, term, held): (GroupId, NodeId, Term, Held), names: &Names) -> Sentence {
    say(
        Error,
        format!(
            "group {}: node {} owned it at the same time as we did: it for {}, we for {}; {} \
             wins, the other lets go. Was every link cut?",
            names.group(group),
            names.node(node),
            span(held.theirs),
            span(held.ours),
            names.term(term)
        ),
    )
}

fn held_back(group: GroupId, node: NodeId, doubt: Doubt, names: &Names) -> Sentence {
    let (group, node) = (names.group(group), names.node(node));
    match doubt {
        Doubt::Answers => say(
            Error,
            format!(
                "group {group}: heartbeats lost, but node {node} still answers for its addresses: \
                 not taken over; look at the heartbeat links. If it is certainly off: `latido \
                 confirm-dead {node}`"
            ),
        ),
        Doubt::Beats => say(
            Error,
            format!(
                "group {group}: heartbeats lost, but the heartbeat wire of node {node} still \
                 beats: its daemon runs, the links are the fault; not taken over yet, look at them"
            ),
        ),
        Doubt::References(ours, theirs) => say(
            Error,
            format!(
                "group {group}: heartbeats of node {node} lost, but this node reaches {ours} \
                 references, and that one reached {theirs}: it is us; not taken over. Look at \
                 this node's network"
            ),
        ),
    }
}

/// The sentences about fences.
fn fence(event: Event, names: &Names) -> Sentence {
    let plain = |level: Level, node: NodeId, rest: &str| {
        say(level, format!("node {}: {rest}", names.node(node)))
    };
    match event {
        Event::Fencing(node) => plain(Warning, node, "fencing it: its power is switched off"),
        Event::FenceWaits(node, delay) => say(
            Warning,
            format!(
                "node {}: silent: it is fenced in {}, unless it shoots first",
                names.node(node),
                span(delay)
            ),
        ),
        Event::Proven(node, Proof::Fence) => {
            plain(Notice, node, "fenced: its power was certainly off, it runs nothing")
        }
        Event::Proven(node, Proof::Goodbye) => plain(Notice, node, "said goodbye: it runs nothing"),
        Event::Proven(node, Proof::Word) => {
            plain(Warning, node, "an operator vouches that it is off and runs nothing")
        }
        Event::FenceLate(node) => plain(
            Warning,
            node,
            "the fence was confirmed, but the node has come back meanwhile: it proves nothing",
        ),
        Event::FenceFailed(node) => say(
            Error,
            format!(
                "node {0}: it could not be fenced: nothing is taken from it, and the fence is \
                 tried again; look at the fence device. If the node is certainly off: `latido \
                 confirm-dead {0}`",
                names.node(node)
            ),
        ),
        Event::FenceUnseen(node) => say(
            Error,
            format!(
                "node {0}: silent, and not seen since this machine started: it is not fenced, and \
                 nothing is taken from it. If it is certainly off: `latido confirm-dead {0}`; to \
                 switch it off: `latido fence {0}`",
                names.node(node)
            ),
        ),
        Event::Refuted(node, Proof::Fence) => say(
            Error,
            format!(
                "node {0}: the device said that its power was off, but it has run all the time: \
                 its word does not count any more; find out what it switches, then try it: \
                 `latido fence {0}`",
                names.node(node)
            ),
        ),
        Event::Refuted(node, _) => {
            plain(Error, node, "was said to be off, but it has run all the time")
        }
        // Only the events above come here.
        other => say(Level::Debug, format!("{other:?}")),
    }
}
