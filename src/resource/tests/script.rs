//! Services and scripts: order, time limits, what they inherit and what they leave behind.
use super::*;

#[test]
fn scripts_start_left_to_right_and_stop_right_to_left() {
    let mut lab = Lab::new("order");
    lab.run(vec![
        lab.good("first"),
        address("192.168.7.20"),
        lab.good("second"),
        lab.good("third"),
    ]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(lab.probe(), Outcome::Running);
    assert_eq!(lab.start(), Outcome::Running, "what runs is not started again");
    std::fs::remove_file(lab.dir.join("second.state")).expect("it dies");
    assert_eq!(lab.probe(), Outcome::Partial);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.probe(), Outcome::Stopped);
    let wanted = ["first start", "second start", "third start"];
    assert_eq!(lab.calls()[..3], wanted);
    assert_eq!(lab.calls()[3..], ["third stop", "second stop", "first stop"]);
}

#[test]
fn a_script_gets_its_arguments_and_a_clean_environment() {
    let mut lab = Lab::new("environment");
    // Something that a script must not inherit, under a number that no shell uses.
    let null = std::fs::File::open("/dev/null").expect("open");
    let leak = rustix::io::fcntl_dupfd_cloexec(&null, 700).expect("a copy");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("no close-on-exec");
    let body = format!(
        "[ $action = status ] && exit 3
        exec 9>$state; echo \"$@\" >&9; env | grep -E '^(HA|LATIDO)_' >&9
        [ -e /proc/$$/fd/{} ] && echo leaked >&9
        grep '^SigBlk' /proc/self/status >&9; cut -d' ' -f5,6,41 /proc/$$/stat >&9
        readlink /proc/$$/fd/0 >&9; echo pid $$ >&9; pwd >&9; echo end >&9",
        rustix::fd::AsRawFd::as_raw_fd(&leak)
    );
    let script = lab.script("probe", &body, Duration::from_secs(5));
    lab.run(vec![script]);
    assert_eq!(lab.start(), Outcome::Running);
    let text = std::fs::read_to_string(lab.dir.join("probe.state")).expect("written");
    let line = |word: &str| text.lines().find(|line| line.starts_with(word)).unwrap_or_default();
    assert_eq!(text.lines().next(), Some("one two start"));
    for wanted in ["LATIDO_NODE=pi", "LATIDO_GROUP=web", "LATIDO_ACTION=start", "HA_CURHOST=pi"] {
        assert_eq!(line(wanted), wanted, "in {text}");
    }
    assert_eq!(line("HA_DIR="), format!("HA_DIR={}", lab.dir.display()));
    assert_eq!(line("leaked"), "", "a descriptor of ours");
    assert_eq!(line("end"), "end");
    assert_eq!(line("SigBlk").split_whitespace().last(), Some("0000000000000000"));
    let pid = line("pid ").trim_start_matches("pid ").to_string();
    let scheduling = format!("{pid} {pid} 0"); // group, session, policy
    assert!(text.lines().any(|line| line == scheduling), "no {scheduling} in {text}");
    assert!(text.contains("\n/dev/null\n") && text.contains("\n/\n"), "{text}");
}

/// Everything that the resources of all tests log.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "resource"
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            lock(&LOG).push(format!("{} {}", record.level(), record.args()));
        }
    }
    fn flush(&self) {}
}

#[test]
fn what_a_script_prints_and_why_it_failed_is_in_the_log() {
    log::set_logger(&Collector).expect("no other unit test sets a logger");
    log::set_max_level(log::LevelFilter::Debug);
    let mut lab = Lab::new("log");
    let body = "case $action in start) echo to stdout; echo to stderr >&2; printf 'unfinished';
        sleep 60;; stop) echo bye;; *) exit 3;; esac";
    lab.run(vec![lab.script("chatty", body, Duration::from_millis(600))]);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.stop(), Outcome::Stopped);
    let log = lock(&LOG);
    for wanted in [
        "INFO web/chatty: to stdout",
        "INFO web/chatty: to stderr",
        "INFO web/chatty: unfinished",
        "ERROR web/chatty: start failed: ran out of time and was killed; it had printed last: \
         unfinished",
        "INFO web/chatty: bye",
        "INFO web/chatty: stopped",
    ] {
        assert_eq!(log.iter().filter(|line| *line == wanted).count(), 1, "{wanted} in {log:#?}");
    }
}

#[test]
fn a_failed_start_ends_there_and_everything_is_stopped_all_the_same() {
    let mut lab = Lab::new("failed");
    let bad = "case $action in start) echo no such file; exit 5;; status) echo stopped;; esac";
    let bad = lab.script("bad", bad, Duration::from_secs(5));
    lab.run(vec![lab.good("first"), bad, lab.good("never")]);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.calls(), ["first start", "bad start"]);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.calls()[2..], ["never stop", "bad stop", "first stop"]);
}

#[test]
fn a_hanging_start_is_killed_with_its_children_at_its_time() {
    let mut lab = Lab::new("hang");
    // A grandchild in a process group of its own that ignores every request to end.
    let body = "[ $action = status ] && exit 3; [ $action = stop ] && exit 0
        set -m; (trap '' TERM HUP INT; echo $$ >/dev/null; exec sleep 77) & echo $! >$state.new
        mv $state.new $state; echo waiting for godot; trap '' TERM; while :; do sleep 1; done";
    let script = lab.script("hang", body, Duration::from_millis(800));
    lab.run(vec![script]);
    let begin = Instant::now();
    assert_eq!(lab.start(), Outcome::Failed);
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(3), "{took:?}");
    let grandchild = lab.pid("hang.state");
    wait_until("the grandchild is gone", || !runs(grandchild));
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn a_stop_breaks_off_a_start() {
    let mut lab = Lab::new("abort");
    let body = "case $action in start) echo $$ >$state; sleep 60;; stop) rm -f $state;;
        status) [ -e $state ] && echo running || exit 3;; esac";
    let script = lab.script("slow", body, Duration::from_secs(90));
    lab.run(vec![lab.good("first"), script, lab.good("never")]);
    lab.ask(Resources::start);
    let pid = lab.pid("slow.state");
    assert!(runs(pid));
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!runs(pid));
    let calls = lab.calls();
    assert!(!calls.contains(&"never start".into()), "{calls:?}");
    assert_eq!(calls[calls.len() - 3..], ["never stop", "slow stop", "first stop"]);
}

#[test]
fn a_failing_stop_is_judged_by_its_status() {
    let mut lab = Lab::new("badstop");
    // Not as LSB wants it: stop fails when there is nothing to stop.
    let picky = "case $action in start) touch $state;; stop) rm $state;;
        status) [ -e $state ] && echo running || echo not running;; esac";
    let picky = lab.script("picky", picky, Duration::from_secs(10));
    let stuck = "case $action in stop) exit 1;; status) echo running;; esac";
    let stuck = lab.script("stuck", stuck, Duration::from_millis(1500));
    lab.run(vec![lab.good("first"), picky.clone()]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(2));
    std::fs::remove_file(lab.dir.join("calls")).expect("there");
    lab.run(vec![lab.good("first"), stuck, picky]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Failed, "it runs, and nobody can stop it");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(lab.calls().last().map(String::as_str), Some("first stop"), "all the same");
    assert!(lab.calls().iter().filter(|call| *call == "stuck stop").count() >= 2, "tried again");
}

#[test]
fn a_hanging_stop_is_killed_and_fails_within_its_time() {
    let mut lab = Lab::new("hangstop");
    let body = "case $action in stop) echo $$ >$state; sleep 60;; status) echo running;; esac";
    let script = lab.script("hang", body, Duration::from_secs(2));
    lab.run(vec![script]);
    let begin = Instant::now();
    assert_eq!(lab.stop(), Outcome::Failed);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let pid = lab.pid("hang.state");
    assert!(!runs(pid));
}

#[test]
fn a_service_that_keeps_its_output_open_lives_on() {
    let mut lab = Lab::new("heir");
    let body = "case $action in status) exit 3;; stop) kill $(cat $state) && rm -f $state;;
        start) (while :; do echo still here; sleep 0.05; done) & echo $! >$state;; esac";
    lab.run(vec![lab.script("heir", body, Duration::from_secs(5))]);
    assert_eq!(lab.start(), Outcome::Running);
    let pid = lab.pid("heir.state");
    std::thread::sleep(Duration::from_millis(400));
    assert!(runs(pid), "a closed pipe would have ended it");
    assert_eq!(lab.stop(), Outcome::Stopped);
    wait_until("it is gone", || !runs(pid));
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_a_shell() {
    let mut lab = Lab::new("plain");
    let script = lab.good("plain");
    let path = lab.dir.join("plain");
    let text = std::fs::read_to_string(&path).expect("there").replace("#!/bin/sh\n", "");
    std::fs::write(&path, text).expect("written");
    lab.run(vec![script]);
    assert_eq!(lab.start(), Outcome::Running);
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.calls(), ["plain start", "plain stop"]);
}

#[test]
fn a_missing_script_cannot_start_but_counts_as_stopped() {
    let mut lab = Lab::new("missing");
    let kind =
        Kind::Script { script: "nowhere".into(), args: vec![], script_dirs: vec![lab.dir.clone()] };
    lab.run(vec![resource("nowhere", kind, Duration::from_secs(5))]);
    assert_eq!(lab.probe(), Outcome::Stopped);
    // Where it is not installed nothing of it can run: the node must be able to let go.
    assert_eq!(lab.stop(), Outcome::Stopped);
    assert_eq!(lab.start(), Outcome::Failed);
    assert_eq!(lab.stop(), Outcome::Stopped);
}

#[test]
fn the_newest_start_or_probe_wins_and_a_stop_is_never_lost() {
    let slots = Slots::new().expect("an eventfd");
    slots.put(&slots.next, 0, JobId(1));
    slots.put(&slots.next, 1, JobId(2));
    slots.put(&slots.stop, 0, JobId(3));
    slots.put(&slots.next, 0, JobId(u32::MAX));
    assert!(slots.stop_waits());
    assert_eq!(slots.take(), Some(Job::Stop(JobId(3))));
    assert!(!slots.stop_waits());
    assert_eq!(slots.take(), Some(Job::Start(JobId(u32::MAX))));
    assert_eq!(slots.take(), None);
    slots.put(&slots.next, 1, JobId(0));
    assert_eq!(slots.take(), Some(Job::Probe(JobId(0))));
}

#[test]
fn a_hanging_group_holds_up_no_other() {
    let mut lab = Lab::new("independent");
    let slow = "case $action in start) echo $$ >$state.new; mv $state.new $state; sleep 60;;
        status) exit 3;; esac";
    let slow = lab.script("slow", slow, Duration::from_secs(90));
    let good = lab.good("good");
    lab.run_groups(vec![("stuck", vec![slow]), ("web", vec![good])]);
    let (stuck, web) = (group(), GroupId::new(1).expect("the second group"));
    let resources = lab.resources.as_ref().expect("running");
    resources.start(stuck, JobId(1));
    lab.pid("slow.state");
    resources.start(web, JobId(2));
    let report = lab.reports.recv_timeout(Duration::from_secs(10)).expect("a report");
    assert_eq!(report, Report { group: web, job: JobId(2), outcome: Outcome::Running });
    let begin = Instant::now();
    lab.resources.take().expect("running").shutdown();
    assert!(begin.elapsed() < Duration::from_secs(5), "the end waits for no script");
    let pid = lab.pid("slow.state");
    assert!(!runs(pid));
}
