//! Commands that change something: they wait for the outcome and report it.
use super::Where;
use crate::control::report::{GroupReport, Report};
use crate::control::{Client, ClientError, Order};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at the status.
const LOOK: Duration = Duration::from_millis(10);

/// How long a new engine may take after a reload.
const ENGINE_BACK: Duration = Duration::from_secs(10);

const STANDBY: &str = "\
Without --group this node hands everything over and takes nothing while another node can, until
`latido failback`. With --group only these groups move; they stay with the new owner until
`latido failback --group NAME`.

Example:  latido standby --group ftp    ->  standby: ftp handed over to debian in 0.21 s

Exit codes: 0 handed over, 1 refused or failed (nobody able to take it: nothing has changed),
3 no daemon runs here";
const TAKEOVER: &str = "\
The owner stops the groups and releases them, then they start here; they stay until `latido
failback`. Without --group: all groups.

Exit codes: 0 they run here, 1 refused or failed, 3 no daemon runs here";
const FAILBACK: &str = "\
Ends this node's standby, forgets failed starts here, and returns groups to the first node of
their list that is able. Without --group: all groups.

Exit codes: 0 they run there, 1 refused or failed, 3 no daemon runs here";
const STOP: &str = "\
Groups go to another node where one is able; everything else is stopped; no address and no
process stays behind. The same happens on SIGTERM.

Exit codes: 0 ended, or nothing ran; 1 refused or failed, or a group could not be stopped";
const RELOAD: &str = "\
A bad file changes nothing and is told. The same happens on SIGHUP.

Exit codes: 0 in force, 1 not changed, 3 no daemon runs here";

/// Where, and how long to wait.
#[derive(clap::Args, Clone, Debug)]
struct Patience {
    /// Wait at most so long for the outcome.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u32,
    #[command(flatten)]
    place: Where,
}

/// Which groups.
#[derive(clap::Args, Clone, Debug)]
struct Groups {
    /// Only this group; may be given several times.
    #[arg(long = "group", value_name = "NAME")]
    names: Vec<String>,
}

macro_rules! moving {
    ($name:ident, $help:expr) => {
        #[derive(clap::Args, Clone, Debug)]
        #[command(after_help = $help)]
        pub(super) struct $name {
            #[command(flatten)]
            groups: Groups,
            #[command(flatten)]
            patience: Patience,
        }
    };
}
moving!(StandbyArgs, STANDBY);
moving!(TakeoverArgs, TAKEOVER);
moving!(FailbackArgs, FAILBACK);

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = STOP)]
pub(super) struct StopArgs {
    #[command(flatten)]
    patience: Patience,
}

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = RELOAD)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    place: Where,
}

pub(super) fn standby(args: &StandbyArgs) -> ExitCode {
    conclude(Order::Standby, move_groups(Order::Standby, &args.groups.names, &args.patience))
}

pub(super) fn takeover(args: &TakeoverArgs) -> ExitCode {
    conclude(Order::Takeover, move_groups(Order::Takeover, &args.groups.names, &args.patience))
}

pub(super) fn failback(args: &FailbackArgs) -> ExitCode {
    conclude(Order::Failback, move_groups(Order::Failback, &args.groups.names, &args.patience))
}

pub(super) fn stop(args: &StopArgs) -> ExitCode {
    let outcome = match end_daemon(&args.patience) {
        Err(Trouble::Client(ClientError::NotRunning(path))) => {
            match crate::runtime::supervisor(&args.patience.place.runtime_dir) {
                Some((pid, process)) => end_supervisor(pid, &process, args.patience.wait),
                None => Ok(format!("nothing to do: no daemon answers at {}", path.display())),
            }
        }
        outcome => outcome,
    };
    conclude(Order::Stop, outcome)
}

pub(super) fn reload(args: &ReloadArgs) -> ExitCode {
    conclude(Order::Reload, read_again(&args.place.runtime_dir, false))
}

/// What has changed is in force once a new engine answers.
pub(super) fn read_again(runtime_dir: &Path, sure: bool) -> Result<String, Trouble> {
    let mut client = Client::connect(runtime_dir)?;
    let before = client.status()?.pid;
    let answer = client.reload(sure)?;
    if !answer.restarts {
        return Ok(answer.note.unwrap_or_else(|| "in force".into()));
    }
    let started = Instant::now();
    while started.elapsed() < ENGINE_BACK {
        let status = Client::connect(runtime_dir).and_then(|mut client| client.status());
        if status.is_ok_and(|report| report.pid != before) {
            return Ok(timed("in force", started));
        }
        std::thread::sleep(LOOK);
    }
    Err(Trouble::Failed(format!(
        "the new engine does not answer after {} s; see its log",
        ENGINE_BACK.as_secs()
    )))
}

/// Why a command did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    Client(ClientError),
    Failed(String),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Trouble::Client(error)
    }
}

pub(super) fn conclude(order: Order, outcome: Result<String, Trouble>) -> ExitCode {
    let word = order.word();
    let (text, code) = match outcome {
        Ok(text) => {
            println!("{word}: {text}");
            return ExitCode::from(super::DONE);
        }
        Err(Trouble::Client(ClientError::Refused(answer))) => {
            (format!("refused: {}", ClientError::Refused(answer)), super::FAILED)
        }
        Err(Trouble::Client(ClientError::NotRunning(path))) => {
            (ClientError::NotRunning(path).to_string(), super::NOT_RUNNING)
        }
        Err(Trouble::Client(error)) => (error.to_string(), super::FAILED),
        Err(Trouble::Failed(why)) => (why, super::FAILED),
    };
    super::complain(format_args!("{word}: {text}"));
    ExitCode::from(code)
}

fn move_groups(order: Order, names: &[String], patience: &Patience) -> Result<String, Trouble> {
    let mut client = Client::connect(&patience.place.runtime_dir)?;
    let mut course = Course::new(order, client.status()?, names);
    client.order(order, names)?;
    let started = Instant::now();
    let deadline = started + Duration::from_secs(patience.wait.into());
    let mut last = None;
    loop {
        match client.status() {
            Ok(report) => match course.look(&report) {
                Verdict::Done(text) => return Ok(timed(&text, started)),
                Verdict::Failed(text) => return Err(Trouble::Failed(text)),
                Verdict::Pending(text) => last = Some(text),
            },
            // The engine may have been started again: it is back within milliseconds.
            Err(_) => {
                if let Ok(again) = Client::connect(&patience.place.runtime_dir) {
                    client = again;
                }
            }
        }
        if Instant::now() >= deadline {
            let state = last.unwrap_or_else(|| "the daemon does not answer".into());
            return Err(Trouble::Failed(format!(
                "not done after {} s: {state}; see `latido status`",
                patience.wait
            )));
        }
        std::thread::sleep(LOOK);
    }
}

fn timed(text: &str, started: Instant) -> String {
    format!("{text} in {:.2} s", started.elapsed().as_secs_f64())
}

/// What has become of a command so far.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pending(String),
    Done(String),
    Failed(String),
}

/// One command on its way.
struct Course {
    order: Order,
    /// The groups to look at, and whether each has left this node meanwhile.
    groups: Vec<(String, bool)>,
}

impl Course {
    fn new(order: Order, before: Report, names: &[String]) -> Course {
        let mine = |group: &GroupReport| group.owner.as_deref() == Some(before.node.as_str());
        let concerned = |group: &&GroupReport| {
            let named = names.is_empty() || names.contains(&group.name);
            // What others own is not ours to hand over.
            named && (order != Order::Standby || mine(group))
        };
        let groups = before
            .groups
            .iter()
            .filter(concerned)
            .map(|group| (group.name.clone(), !mine(group)))
            .collect();
        Course { order, groups }
    }

    fn look(&mut self, now: &Report) -> Verdict {
        if self.groups.is_empty() {
            return Verdict::Done("this node owned nothing to hand over; accepted".into());
        }
        let (mut done, mut pending) = (Vec::new(), Vec::new());
        for (name, left) in &mut self.groups {
            let Some(group) = now.groups.iter().find(|group| group.name == *name) else {
                return Verdict::Failed(format!("{name} is not configured any more"));
            };
            let verdict = match self.order {
                Order::Standby => handed_over(group, now, left),
                _ => arrived(self.order, group, now),
            };
            match verdict {
                Verdict::Done(text) => done.push(text),
                Verdict::Pending(text) => pending.push(text),
                Verdict::Failed(text) => return Verdict::Failed(text),
            }
        }
        if pending.is_empty() {
            Verdict::Done(done.join(", "))
        } else {
            Verdict::Pending(pending.join(", "))
        }
    }
}

fn handed_over(group: &GroupReport, now: &Report, left: &mut bool) -> Verdict {
    let name = &group.name;
    if group.local == "blocked" {
        return Verdict::Failed(blocked(name, &now.node));
    }
    match group.owner.as_deref() {
        Some(owner) if owner != now.node => {
            *left = true;
            if group.state == "running" && group.local == "stopped" {
                return Verdict::Done(format!("{name} handed over to {owner}"));
            }
        }
        Some(_) if *left && group.state == "running" => {
            return Verdict::Failed(format!(
                "{name} came back to {}: the other node did not keep it; see its log",
                now.node
            ));
        }
        Some(_) => {}
        None => *left = true,
    }
    Verdict::Pending(state(group))
}

fn arrived(order: Order, group: &GroupReport, now: &Report) -> Verdict {
    let name = &group.name;
    let target = if order == Order::Takeover {
        &now.node
    } else {
        let able = group.prefer.iter().find(|node| group.candidates.contains(node));
        able.or(group.prefer.first()).unwrap_or(&now.node)
    };
    if group.state == "blocked" || group.local == "blocked" {
        return Verdict::Failed(blocked(name, group.owner.as_deref().unwrap_or(&now.node)));
    }
    if group.failed_here && *target == now.node {
        return Verdict::Failed(format!(
            "{name} failed to start here: the daemon's log names the resource; mend it, then: \
             latido failback --group {name}"
        ));
    }
    if group.owner.as_ref() == Some(target) && group.state == "running" {
        return Verdict::Done(format!("{name} runs on {target}"));
    }
    Verdict::Pending(state(group))
}

fn blocked(name: &str, node: &str) -> String {
    format!(
        "{name} is blocked on {node}: a resource could not be stopped; stop it there by hand, then \
         there: latido failback --group {name}"
    )
}

fn state(group: &GroupReport) -> String {
    let owner = group.owner.as_deref().unwrap_or("nobody");
    format!("{} is {} (owner: {owner})", group.name, group.state)
}

fn end_daemon(patience: &Patience) -> Result<String, Trouble> {
    let mut client = Client::connect(&patience.place.runtime_dir)?;
    let before = client.status()?;
    // Opened while they surely are these processes: numbers are used again.
    let pids = [Some(before.pid), before.supervisor];
    let processes: Vec<OwnedFd> = pids.into_iter().flatten().filter_map(watch).collect();
    client.order(Order::Stop, &[])?;
    let started = Instant::now();
    let deadline = started + Duration::from_secs(patience.wait.into());
    let mut last = before;
    for process in &processes {
        while !ended(process) {
            if let Ok(report) = client.status() {
                last = report;
            }
            if Instant::now() >= deadline {
                let busy = last.groups.iter().filter(|group| group.local != "stopped").map(state);
                return Err(Trouble::Failed(format!(
                    "not ended after {} s: {}; it goes on by itself, see its log",
                    patience.wait,
                    busy.collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
    outcome_of_end(&last.node, &crate::runtime::not_stopped(&patience.place.runtime_dir), started)
}

fn outcome_of_end(node: &str, not_stopped: &[String], started: Instant) -> Result<String, Trouble> {
    if not_stopped.is_empty() {
        return Ok(timed(&format!("{node} has ended"), started));
    }
    Err(Trouble::Failed(format!(
        "{node} has ended, but {}; stop it by hand, its log names the resource",
        not_stopped.join(", ")
    )))
}

/// Ends a supervisor whose engine does not stay up.
fn end_supervisor(pid: u32, process: &OwnedFd, wait: u32) -> Result<String, Trouble> {
    let started = Instant::now();
    match pidfd_send_signal(process, Signal::TERM) {
        // It has ended meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            let why = format!("cannot end the supervisor, process {pid}: {error}; ask as root");
            return Err(Trouble::Failed(why));
        }
    }
    while !ended(process) {
        if started.elapsed() >= Duration::from_secs(wait.into()) {
            let why = format!("the supervisor, process {pid}, has not ended after {wait} s");
            return Err(Trouble::Failed(format!("{why}; see its log")));
        }
    }
    let text = "the supervisor has ended; its engine had not stayed up, so look (and in the log) \
                whether services still run here; ended";
    Ok(timed(text, started))
}

fn watch(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn ended(process: &OwnedFd) -> bool {
    let limit = Timespec::try_from(LOOK).unwrap_or_default();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&limit)), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of `pi` with groups given as (name, owner, state, local).
    fn report(groups: &[(&str, &str, &str, &str)]) -> Report {
        let groups = groups
            .iter()
            .map(|(name, owner, state, local)| GroupReport {
                name: (*name).into(),
                owner: (!owner.is_empty()).then(|| (*owner).into()),
                state: (*state).into(),
                local: (*local).into(),
                prefer: vec!["debian".into(), "pi".into()],
                candidates: vec!["debian".into(), "pi".into()],
                ..GroupReport::default()
            })
            .collect();
        Report { node: "pi".into(), groups, ..Report::default() }
    }

    fn done(text: &str) -> Verdict {
        Verdict::Done(text.into())
    }

    #[test]
    fn standby_is_done_when_the_other_node_runs_it() {
        let before =
            report(&[("ftp", "pi", "running", "running"), ("web", "debian", "running", "stopped")]);
        let mut course = Course::new(Order::Standby, before, &[]);
        for (owner, state, local) in [
            ("pi", "running", "running"),
            ("pi", "stopping", "stopping"),
            ("", "stopped", "stopped"),
            ("debian", "starting", "stopped"),
        ] {
            let look = course.look(&report(&[("ftp", owner, state, local)]));
            assert!(matches!(look, Verdict::Pending(_)), "{owner} {state}: {look:?}");
        }
        let look = course.look(&report(&[("ftp", "debian", "running", "stopped")]));
        assert_eq!(look, done("ftp handed over to debian"));
    }

    #[test]
    fn standby_that_comes_back_or_blocks_has_failed() {
        let before = || report(&[("ftp", "pi", "running", "running")]);
        let mut course = Course::new(Order::Standby, before(), &[]);
        assert!(matches!(course.look(&before()), Verdict::Pending(_)));
        course.look(&report(&[("ftp", "debian", "starting", "stopped")]));
        let look = course.look(&before());
        assert!(
            matches!(look, Verdict::Failed(ref text) if text.contains("came back")),
            "{look:?}"
        );
        let mut course = Course::new(Order::Standby, before(), &[]);
        let look = course.look(&report(&[("ftp", "pi", "blocked", "blocked")]));
        assert!(matches!(look, Verdict::Failed(ref text) if text.contains("by hand")), "{look:?}");
    }

    #[test]
    fn takeover_and_failback_are_done_at_their_targets() {
        let before = || report(&[("ftp", "debian", "running", "stopped")]);
        let mut course = Course::new(Order::Takeover, before(), &["ftp".into()]);
        assert!(matches!(course.look(&before()), Verdict::Pending(_)));
        let here = report(&[("ftp", "pi", "running", "running")]);
        assert_eq!(course.look(&here), done("ftp runs on pi"));
        let mut failed = before();
        failed.groups[0].failed_here = true;
        assert!(matches!(course.look(&failed), Verdict::Failed(_)));

        let mut course = Course::new(Order::Failback, here, &[]);
        assert_eq!(course.look(&before()), done("ftp runs on debian"));
        // The first of the list is away: the next one is the target.
        let mut alone = report(&[("ftp", "pi", "running", "running")]);
        alone.groups[0].candidates = vec!["pi".into()];
        assert_eq!(course.look(&alone), done("ftp runs on pi"));
    }

    #[test]
    fn nothing_to_hand_over_is_said() {
        let before = report(&[("ftp", "debian", "running", "stopped")]);
        let mut course = Course::new(Order::Standby, before.clone(), &["ftp".into()]);
        assert!(matches!(course.look(&before), Verdict::Done(text) if text.contains("nothing")));
    }

    #[test]
    fn an_end_that_left_a_group_running_has_failed() {
        assert!(outcome_of_end("pi", &[], Instant::now()).is_ok());
        let left = ["group ftp could not be stopped here and is blocked".to_owned()];
        let text = match outcome_of_end("pi", &left, Instant::now()) {
            Err(Trouble::Failed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(text.contains("group ftp") && text.contains("by hand"), "{text}");
    }

    #[test]
    fn the_end_of_a_process_is_noticed() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat");
        let process = watch(child.id()).expect("pidfd");
        assert!(!ended(&process));
        drop(child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ended(&process) {
            assert!(Instant::now() < deadline);
        }
        child.wait().expect("reaped");
    }
}
