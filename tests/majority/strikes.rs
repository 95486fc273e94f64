//! All of the owner's daemons stopped or killed at once; its service, its kernel and its cables
//! live on.
use crate::scene::{FAST, Third, Trio, ms};
use crate::{long, signal};
use rustix::process::Signal;
use std::time::Instant;

/// How often: half of them stopped, half of them killed.
fn runs() -> u64 {
    if long() { 200 } else { 12 }
}

#[test]
fn a_struck_owner_never_answers_after_its_successor() {
    let trio = Trio::running(Third::Witness, FAST, ms(1));
    for run in 0..runs() {
        let owner = trio.settle();
        let other = Trio::peer_of(owner);
        // Never at the same moment between two heartbeats.
        std::thread::sleep(ms(run * 7 % 10));
        let from = Instant::now();
        let struck = trio.strike(owner, signal(run));
        let first = trio.first_answer(other, struck);
        let what = format!("run {run}, SIG{:?} of {owner}", signal(run));
        trio.within_bound(&format!("{what}: {other} answered"), first - struck, struck);
        // Now and then until the kernel has taken the old address away, too.
        std::thread::sleep(if run % 16 == 8 { ms(1500) } else { trio.bound });
        revive(&trio, owner, signal(run));
        trio.settle();
        trio.never_two(&what, from, Instant::now());
        println!("{what}: {other} after {:.1?}", first - struck);
    }
    // The plug pulled: nothing of the old owner is left that could answer.
    let owner = trio.settle();
    let cut = trio.power_cut(owner);
    let first = trio.first_answer(Trio::peer_of(owner), cut);
    trio.within_bound("the plug pulled: answered", first - cut, cut);
    trio.never_two("the plug pulled", cut, Instant::now());
}

/// Lets a struck node go on, or starts its daemon again.
pub(crate) fn revive(trio: &Trio, node: &str, signal: Signal) {
    if signal == Signal::STOP {
        trio.strike(node, Signal::CONT);
    } else {
        trio.gone(node);
        trio.start(node);
    }
}
