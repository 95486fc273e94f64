//! All of the owner's daemons stopped or killed at once; its service, its kernel and its cables
//! live on.
use crate::long;
use crate::scene::{FAST, Trio, ms};
use rustix::process::Signal;
use std::time::Instant;

/// How often each is done.
fn runs() -> u64 {
    if long() { 100 } else { 6 }
}

fn strike_again_and_again(signal: Signal) {
    let trio = Trio::running(FAST, ms(1));
    for run in 0..runs() {
        let owner = trio.owner();
        let other = Trio::peer_of(owner);
        trio.steady(owner);
        trio.answered(owner);
        // Never at the same moment between two heartbeats.
        std::thread::sleep(ms(run * 7 % 10));
        let from = Instant::now();
        let struck = trio.strike(owner, signal);
        trio.answered(other);
        // Now and then until the kernel has taken the old address away, too.
        std::thread::sleep(if run % 25 == 5 { ms(1500) } else { trio.bound });
        if signal == Signal::STOP {
            trio.strike(owner, Signal::CONT);
        } else {
            trio.gone(owner);
            trio.start(owner);
        }
        trio.steady(other);
        trio.answered(other);
        let to = Instant::now();
        trio.never_two(&format!("run {run}, SIG{signal:?} of {owner}"), from, to);
        let first = trio.first_answer(other, struck).expect("it has answered");
        println!("run {run}: {owner} struck, {other} after {:.1?}", first - struck);
    }
}

#[test]
fn a_stopped_owner_never_answers_after_its_successor() {
    strike_again_and_again(Signal::STOP);
}

#[test]
fn a_killed_owner_never_answers_after_its_successor() {
    strike_again_and_again(Signal::KILL);
}
