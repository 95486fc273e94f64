//! A pair with nothing but a null-modem cable: slow, under load, in noise.
use crate::scene::{Pair, Path, Setup, VIRTUAL, ms};
use crate::stalls::Stalls;
use latido::lab::cable::End;
use latido::lab::wait;
use std::fs;
use std::time::{Duration, Instant};

/// How long a pair must hold.
fn period() -> Duration {
    let soak = std::env::var_os("LATIDO_SOAK").is_some_and(|value| value == "1");
    Duration::from_secs(if soak { 600 } else { 20 })
}

/// Two processes on each node that take all they get.
fn load(pair: &Pair) {
    for node in ["pi", "laptop"] {
        for number in 0..2 {
            let name = format!("load{number}");
            pair.node(node).spawn(&name, ["/bin/sh", "-c", "while :; do :; done"]).unwrap();
        }
    }
}

/// Says at the end, however it comes, how long this machine kept everybody waiting meanwhile.
struct Meanwhile(Stalls, Instant);

impl Drop for Meanwhile {
    fn drop(&mut self) {
        let worst = self.0.worst(self.1, Instant::now());
        println!("meanwhile this machine stood still for at most {} ms", worst.as_millis());
    }
}

fn counter(pair: &Pair, node: &str, name: &str) -> u64 {
    pair.status(node)["counters"][name].as_u64().unwrap_or_default()
}

fn holds(baud: u32, interval: u64, dead: u64) {
    let (interval, dead) = (ms(interval), ms(dead));
    let setup = Setup { paths: &[Path::Serial], baud, interval, dead, ..Setup::default() };
    // No client: its thousand questions a second would compete with the cable for this process.
    let pair = Pair::powered(setup);
    pair.start_all();
    pair.settled("pi");
    load(&pair);
    let _meanwhile = Meanwhile(Stalls::start(), Instant::now());
    let term = || pair.status("pi")["groups"][0]["term"].clone();
    let owned = (Instant::now(), term());
    let marks = [pair.mark("pi"), pair.mark("laptop")];
    let before = ["pi", "laptop"].map(|node| counter(&pair, node, "fresh"));
    // Whatever happens is in the logs and in the kernel's record of the address.
    std::thread::sleep(period());
    let held = pair.lab.ownership().held(VIRTUAL, owned.0, Instant::now());
    assert_eq!((held.both, held.nobody, held.arrivals), (ms(0), ms(0), 0), "{held:?}");
    assert_eq!((pair.holders(), term()), (vec!["pi".to_owned()], owned.1));
    // What `check` and docs/cables.md count with is what goes over the cable.
    let (sent, carried) = (counter(&pair, "pi", "sent"), pair.lab.cable(0).unwrap());
    let frame = carried.carried(End::First) / sent.max(1);
    let counted = latido::config::line::frame_on_line(2, 0, 1);
    assert!((counted * 3 / 4..=counted).contains(&frame), "{frame} bytes, not {counted}");
    for ((node, mark), before) in ["pi", "laptop"].into_iter().zip(&marks).zip(before) {
        mark.never("is dead");
        mark.never("claim");
        let fresh = counter(&pair, node, "fresh") - before;
        let log = mark.since();
        let late = log.lines().filter(|line| line.contains("late")).count();
        let slept = log.lines().filter(|line| line.contains("too late")).count();
        println!(
            "{baud} baud, dead {} ms, {} s under load: {node} took {fresh} frames, told {late} \
             times of a late one ({slept} of its own wake-ups)",
            dead.as_millis(),
            period().as_secs()
        );
        assert!(fresh > 0);
    }
}

#[test]
fn a_pair_at_9600_baud_with_dead_2s_holds_under_load() {
    holds(9_600, 200, 2_000);
}

#[test]
fn a_pair_at_115200_baud_with_dead_200ms_holds_under_load() {
    holds(115_200, 20, 200);
}

/// Processor time that a node's engine has used, in hundredths of a second.
fn ticks(pair: &Pair, node: &str) -> u64 {
    let pid = pair.node(node).engine().expect("an engine").pid;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its statistics");
    let rest = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<u64> = rest.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    fields.iter().sum()
}

#[test]
fn garbage_at_full_rate_costs_no_valid_frame_and_little_processor() {
    let setup = Setup { paths: &[Path::Serial], dead: ms(2000), ..Setup::default() };
    let pair = Pair::running(setup);
    let still = pair.still();
    let (sent, fresh) = (counter(&pair, "pi", "sent"), counter(&pair, "laptop", "fresh"));
    let (begin, used) = (Instant::now(), ticks(&pair, "laptop"));
    let cable = pair.lab.cable(0).unwrap();
    let mut random = 1u64;
    let mut injected = 0;
    wait::never(Duration::from_secs(6), "a takeover", || {
        // What the frames leave free of 11,520 bytes a second.
        let due = begin.elapsed().as_millis() as usize * 8;
        while injected < due {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise: Vec<u8> = match random >> 62 {
                // Another speed, an open wire, a frame that was cut off, and noise.
                0 => (0..100).map(|n| if n % 3 == 0 { 0xf8 } else { 0x80 }).collect(),
                1 => vec![0; 100],
                2 => [vec![0, 9], vec![2; 98]].concat(),
                _ => (0..100u64).map(|n| (random.rotate_left(n as u32 % 64) >> 7) as u8).collect(),
            };
            cable.inject(End::Second, &noise);
            injected += noise.len();
        }
        (pair.holders() != ["pi"]).then_some(())
    })
    .unwrap();
    still.check();
    let (sent, fresh) =
        (counter(&pair, "pi", "sent") - sent, counter(&pair, "laptop", "fresh") - fresh);
    let share = (ticks(&pair, "laptop") - used) as f64 / begin.elapsed().as_secs_f64();
    println!("{injected} bytes of garbage: {fresh} of {sent} frames, {share:.1} % of a processor");
    // The last few are under way.
    assert!(fresh + 5 >= sent, "{fresh} of {sent} frames came through");
    assert!(share < 25.0, "{share} % of a processor");
}
