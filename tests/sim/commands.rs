//! What operators ask for, and what they are refused.
use crate::scene::*;
use latido::core::Settings;
use latido::core::io::{Command, Event, Refusal, StopReason};
use latido::core::wire::NameHash;
use latido::sim::machine::Fate;
use latido::sim::{Fault, Setup, World};

#[test]
fn standby_hands_over_and_takes_only_when_alone() {
    let mut world = pair(Setup { failback: true, ..Setup::default() });
    let at = world.now;
    assert_eq!(ask(&mut world, 0, Command::Standby), Ok(()));
    run(&mut world, 10 * SECOND);
    assert!(when(&world, 1, at, starting) - at < 4 * MS);
    assert_eq!((world.serving(0), world.moves), (vec![1], 2), "no failback to a standby");
    assert!(world.status(1).unwrap().nodes[0].standby);
    world.apply(Fault::PowerOff(1));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [0], "better than nobody");
    world.apply(Fault::PowerOn(1));
    run(&mut world, 5 * SECOND);
    assert_eq!(world.serving(0), [1], "a standby gives it back as soon as it can");
    assert_eq!(ask(&mut world, 0, Command::Failback(groups(&[0]))), Ok(()));
    run(&mut world, 5 * SECOND);
    assert_eq!(world.serving(0), [0]);
}

#[test]
fn takeover_is_pinned_until_a_failback() {
    let mut world = pair(Setup { failback: true, ..Setup::default() });
    let at = world.now;
    assert_eq!(ask(&mut world, 1, Command::Takeover(groups(&[0]))), Ok(()));
    run(&mut world, 60 * SECOND);
    assert!(when(&world, 1, at, starting) - at < 4 * MS);
    assert_eq!((world.serving(0), world.moves), (vec![1], 2), "pinned");
    assert!(world.status(0).unwrap().groups[0].pinned);
    let at = world.now;
    assert_eq!(ask(&mut world, 1, Command::Failback(groups(&[0]))), Ok(()));
    run(&mut world, SECOND);
    assert!(when(&world, 0, at, starting) - at < 4 * MS);
    assert_eq!(world.serving(0), [0]);
}

#[test]
fn handing_over_keeps_it_away_until_a_failback() {
    let mut world = pair(Setup { failback: true, groups: 2, ..Setup::default() });
    assert_eq!(ask(&mut world, 0, Command::HandOver(groups(&[0]))), Ok(()));
    run(&mut world, 30 * SECOND);
    assert_eq!((world.serving(0), world.serving(1)), (vec![1], vec![1]));
    assert_eq!(ask(&mut world, 0, Command::Failback(groups(&[0]))), Ok(()));
    run(&mut world, 2 * SECOND);
    assert_eq!((world.serving(0), world.serving(1)), (vec![0], vec![1]));
}

#[test]
fn refusals_change_nothing() {
    let mut world = World::new(Setup::default());
    let first = Setup::group(0);
    world.apply(Fault::PowerOn(0));
    run(&mut world, 100 * MS);
    assert_eq!(ask(&mut world, 0, Command::Standby), Err(Refusal::Starting));
    run(&mut world, 4 * SECOND);
    let set = groups(&[0]);
    assert_eq!(ask(&mut world, 0, Command::Standby), Err(Refusal::NobodyToTake(first)));
    assert_eq!(ask(&mut world, 0, Command::HandOver(set)), Err(Refusal::NobodyToTake(first)));
    world.apply(Fault::PowerOn(1));
    run(&mut world, SECOND);
    world.apply(Fault::Able(1, 0, false));
    run(&mut world, MS);
    assert_eq!(ask(&mut world, 1, Command::Takeover(set)), Err(Refusal::NotAble(first)));
    assert_eq!(ask(&mut world, 0, Command::Standby), Err(Refusal::NobodyToTake(first)));
    world.apply(Fault::Able(1, 0, true));
    run(&mut world, MS);
    assert_eq!(ask(&mut world, 1, Command::Takeover(set)), Ok(()));
    run(&mut world, SECOND);
    world.apply(Fault::PowerOff(0));
    run(&mut world, SECOND);
    assert_eq!(ask(&mut world, 1, Command::Failback(set)), Err(Refusal::PreferredAway(first)));
    world.apply(Fault::PowerOn(0));
    run(&mut world, SECOND);
    world.service(1, 0).stop = Fate::Fails;
    assert_eq!(ask(&mut world, 1, Command::Failback(set)), Ok(()));
    run(&mut world, SECOND);
    assert_eq!(ask(&mut world, 0, Command::Takeover(set)), Err(Refusal::Blocked(first)));
    assert_eq!(ask(&mut world, 1, Command::HandOver(set)), Err(Refusal::Blocked(first)));
    assert_eq!(ask(&mut world, 0, Command::Shutdown), Ok(()));
    assert_eq!(ask(&mut world, 0, Command::Standby), Err(Refusal::ShuttingDown));
}

fn changed(world: &World, node: usize) -> latido::core::Config {
    let settings = Settings::clone(&world.setup.config(node));
    latido::core::Config::new(Settings { digest: 8, ..settings }).unwrap()
}

#[test]
fn different_configurations_make_no_new_claims_but_renew() {
    let mut world = pair(Setup { groups: 2, ..Setup::default() });
    let config = changed(&world, 1);
    world.reconfigure(1, config);
    world.apply(Fault::Kill(1));
    run(&mut world, 10 * MS);
    world.apply(Fault::Revive(1));
    run(&mut world, 10 * SECOND);
    for node in [0, 1] {
        let differs = |event: &Event| matches!(event, Event::ConfigurationDiffers(_));
        assert!(told(&world, node, SECOND, differs).is_some());
    }
    assert_eq!((world.serving(0), world.serving(1)), (vec![0], vec![1]), "renewals go on");
    assert_eq!(world.moves, 2);
    world.apply(Fault::Able(0, 0, false));
    run(&mut world, 5 * SECOND);
    assert_eq!(world.serving(0), [0], "nobody claims against a living peer");
    world.apply(Fault::PowerOff(0));
    run(&mut world, SECOND);
    assert_eq!(world.serving(0), [1], "a dead one is no reason to wait");
    assert_eq!(told(&world, 0, 0, stopping(StopReason::HandOver)), None);
}

#[test]
fn the_operators_word_moves_a_group_between_different_configurations() {
    let mut world = pair(Setup { groups: 2, ..Setup::default() });
    let config = changed(&world, 1);
    world.reconfigure(1, config);
    world.apply(Fault::Kill(1));
    run(&mut world, 10 * MS);
    world.apply(Fault::Revive(1));
    run(&mut world, 2 * SECOND);
    assert_eq!(ask(&mut world, 0, Command::HandOver(groups(&[0]))), Ok(()));
    run(&mut world, SECOND);
    assert_eq!((world.serving(0), world.serving(1)), (vec![1], vec![1]));
    assert_eq!(ask(&mut world, 0, Command::Takeover(groups(&[1]))), Ok(()));
    run(&mut world, SECOND);
    assert_eq!((world.serving(0), world.serving(1)), (vec![1], vec![0]));
}

#[test]
fn a_group_that_the_other_node_does_not_know_stays() {
    let mut world = pair(Setup { groups: 2, ..Setup::default() });
    assert_eq!((world.serving(0), world.serving(1)), (vec![0], vec![1]));
    let settings = Settings::clone(&world.setup.config(1));
    let mut others = settings.groups.clone();
    others[0].name = NameHash(55);
    let config = Settings { digest: 9, groups: others, ..settings };
    world.reconfigure(1, latido::core::Config::new(config).unwrap());
    world.apply(Fault::Kill(1));
    run(&mut world, 10 * MS);
    world.apply(Fault::Revive(1));
    run(&mut world, 10 * SECOND);
    assert!(world.serving(0).contains(&0), "what runs on the unchanged node goes on");
    assert_eq!(world.serving(1), [1], "what both know is the same group");
    let rival = |event: &Event| matches!(event, Event::Rival(..));
    assert_eq!(told(&world, 0, SECOND, rival), None);
    let group = latido::core::id::GroupId::new(0).unwrap();
    let refused = ask(&mut world, 0, Command::HandOver(groups(&[0])));
    assert_eq!(refused, Err(Refusal::NobodyToTake(group)));
    assert_eq!(ask(&mut world, 0, Command::Takeover(groups(&[1]))), Ok(()));
    run(&mut world, SECOND);
    assert_eq!(world.serving(1), [0]);
}
