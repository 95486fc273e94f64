//! Against programs that speak the protocols as the real ones do.
use super::program::{Action, Program};
use super::*;
use crate::config::{self, Source};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// A directory with devices, and what they have recorded.
struct Bench {
    dir: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Bench {
    fn new(name: &str) -> Bench {
        let dir = std::env::temp_dir().join(format!("latido-fence-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        Bench { dir }
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        let text = text.replace("{dir}", &self.dir.display().to_string());
        fs::write(&path, format!("#!/bin/sh\ndir={}\n{text}", self.dir.display()))
            .expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        path.display().to_string()
    }

    fn touch(&self, name: &str) {
        fs::write(self.dir.join(name), "").expect("written");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).expect("removed");
    }

    fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    fn record(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("record")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The nodes `a` and `b`; the devices for both, `{dir}` replaced.
    fn config(&self, devices: &str) -> Config {
        let keys = self.dir.join("keys");
        fs::write(&keys, format!("use 1\n1 {}\n", "5a".repeat(32))).expect("keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("mode");
        let text = format!(
            "[cluster]\nname = \"t\"\nnodes = [\"a\", \"b\"]\n[quorum]\nrule = \"fencing\"\n\
             [keys]\nfile = \"keys\"\n[[link]]\nudp = \"broadcast\"\ninterface = \"eth0\"\n{}",
            devices.replace("{dir}", &self.dir.display().to_string())
        );
        let file = self.dir.join("latido.toml");
        fs::write(&file, text).expect("configuration");
        let loaded = config::load(&Source::Latido(file));
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    fn start(&self, devices: &str) -> (Fences, Receiver<Report>) {
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).unwrap_or(());
        (Fences::start(&self.config(devices), 0, report).expect("threads"), reports)
    }
}

fn b() -> NodeId {
    NodeId::new(1).expect("in range")
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < SOON, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn tested(fences: &Fences, device: usize) -> Test {
    wait("a self-test", || {
        let state = fences.board().of(b());
        let test = state.devices.get(device)?.test.clone();
        (test != Test::Pending).then_some(test)
    })
}

/// A power plug as an external command: records how it is called; `broken-ACTION` makes it fail,
/// `hang-ACTION` hang.
const PLUG: &str = r#"
echo "$# $* $LATIDO_ACTION $LATIDO_NODE $LATIDO_FROM" >> $dir/record
if [ -e $dir/hang-$LATIDO_ACTION ]; then sleep 300 & echo $! > $dir/child; wait; fi
if [ -e $dir/broken-$LATIDO_ACTION ]; then echo "no answer from the plug"; exit 1; fi
case $LATIDO_ACTION in
off) : > $dir/is-off;;
on) while [ -e $dir/hold-on ]; do sleep 0.01; done; rm -f $dir/is-off; : > $dir/was-on;;
esac
exit 0
"#;

/// A fence agent: options from standard input only, `status` ends with 2 when the power is off.
/// `lazy`: the power goes a while after `off` has ended.
const AGENT: &str = r#"
while IFS= read -r line; do
  case $line in action=*) action=${line#action=};; plug=*) plug=${line#plug=};;
  passwd=*) passwd=${line#passwd=};; esac
done
echo "$# $action $plug $passwd" >> $dir/record
if [ -e $dir/broken-$action ]; then echo "Failed: unable to connect" >&2; exit 1; fi
case $action in
off) if [ -e $dir/lazy ]; then (sleep 0.3; : > $dir/is-off) >/dev/null 2>&1 & exit 0; fi
  if [ ! -e $dir/stuck ]; then : > $dir/is-off; fi;;
on) rm -f $dir/is-off;;
status) if [ -e $dir/is-off ]; then echo "Status: OFF"; exit 2; fi; echo "Status: ON";;
esac
exit 0
"#;

#[test]
fn a_command_switches_off_is_believed_and_switches_on_again() {
    let bench = Bench::new("command");
    bench.script("plug", PLUG);
    let (fences, reports) = bench.start(
        "[[fence]]\nnodes = [\"a\", \"b\"]\ncommand = [\"{dir}/plug\", \"outlet\", \"3 4\"]\n",
    );
    assert_eq!(tested(&fences, 0), Test::Good);
    bench.touch("hold-on");
    assert!(fences.fence(b(), JobId(7)));
    let report = reports.recv_timeout(SOON).expect("a report");
    assert_eq!(report, Report { node: b(), request: JobId(7), confirmed: true });
    // The proof did not wait for the power to return.
    assert!(bench.has("is-off") && !bench.has("was-on"));
    bench.remove("hold-on");
    wait("the power to return", || (!bench.has("is-off")).then_some(()));
    let called = |action: &str| format!("4 outlet 3 4 {action} b {action} b a");
    assert_eq!(bench.record(), ["monitor", "off", "on"].map(called));
    let last = wait("the outcome", || fences.board().of(b()).last);
    assert_eq!((last.outcome.is_ok(), last.dark), (true, None));
    assert!(!fences.fence(NodeId::new(0).expect("in range"), JobId(1)), "nobody shoots himself");
}

#[test]
fn an_agent_is_believed_only_when_the_power_is_off() {
    let bench = Bench::new("agent");
    bench.script("agent", AGENT);
    bench.touch("lazy");
    let (fences, reports) = bench.start(
        "[[fence]]\nnodes = [\"a\", \"b\"]\nagent = \"{dir}/agent\"\non = false\n\
         options = { plug = \"{node}-outlet\", passwd = \"a b=c\" }\n",
    );
    assert_eq!(tested(&fences, 0), Test::Good);
    assert_eq!(fences.board().of(b()).devices[0].power, Some(true));
    fences.fence(b(), JobId(1));
    assert!(reports.recv_timeout(SOON).expect("a report").confirmed);
    assert!(bench.has("is-off"));
    let record = bench.record();
    assert_eq!(
        record[..3],
        ["0 monitor", "0 status", "0 off"].map(|it| format!("{it} b-outlet a b=c"))
    );
    assert!(record.len() > 4, "asked until it was off: {record:?}");
    assert!(record[3..].iter().all(|line| line.starts_with("0 status")), "{record:?}");
}

#[test]
fn an_agent_that_leaves_the_power_on_proves_nothing_and_the_next_device_does() {
    let bench = Bench::new("next");
    bench.script("agent", AGENT);
    bench.script("plug", PLUG);
    bench.touch("stuck");
    let (fences, reports) = bench.start(
        "[[fence]]\nnodes = [\"a\", \"b\"]\nagent = \"{dir}/agent\"\ntimeout = \"400ms\"\n\
         tries = 2\n\
         [[fence]]\nnodes = [\"a\", \"b\"]\ncommand = [\"{dir}/plug\"]\ntries = 1\n",
    );
    tested(&fences, 1);
    fences.fence(b(), JobId(1));
    assert!(reports.recv_timeout(SOON).expect("a report").confirmed);
    let record = bench.record();
    let offs: Vec<&String> = record.iter().filter(|line| line.contains(" off ")).collect();
    assert_eq!(offs.len(), 3, "two tries of the first, one of the second: {offs:?}");
    assert!(offs[2].starts_with("2 off b"), "{offs:?}");
    assert!(reports.try_recv().is_err(), "one report");
}

#[test]
fn when_every_device_fails_or_hangs_that_is_told_and_nothing_is_left() {
    let bench = Bench::new("fail");
    bench.script("plug", PLUG);
    let (fences, reports) = bench.start(
        "[[fence]]\nnodes = [\"a\", \"b\"]\ncommand = [\"{dir}/plug\"]\ntimeout = \"500ms\"\n",
    );
    tested(&fences, 0);
    bench.touch("hang-off");
    fences.fence(b(), JobId(3));
    let report = reports.recv_timeout(SOON).expect("a report");
    assert_eq!(report, Report { node: b(), request: JobId(3), confirmed: false });
    let why = fences.board().of(b()).last.expect("an outcome").outcome.expect_err("it failed");
    assert!(why.contains("`off` was not done within 500ms"), "{why}");
    let child = fs::read_to_string(bench.dir.join("child")).expect("its child");
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    wait("its child to be killed with it", gone);
    bench.remove("hang-off");
    bench.touch("broken-off");
    fences.fence(b(), JobId(4));
    assert!(!reports.recv_timeout(SOON).expect("a report").confirmed);
    let state = fences.board().of(b());
    let why = state.last.expect("an outcome").outcome.expect_err("it failed");
    assert!(why.contains("exit code 1: no answer from the plug"), "{why}");
    assert_eq!((state.count, state.since), (2, None));
    assert!(!bench.record().iter().any(|line| line.contains(" on b ")), "not off, not on");
}

#[test]
fn a_node_that_stays_dark_is_told_and_the_proof_stands() {
    let bench = Bench::new("dark");
    bench.script("plug", PLUG);
    bench.touch("broken-on");
    let (fences, reports) =
        bench.start("[[fence]]\nnodes = [\"a\", \"b\"]\ncommand = [\"{dir}/plug\"]\ntries = 1\n");
    fences.fence(b(), JobId(1));
    assert!(reports.recv_timeout(SOON).expect("a report").confirmed);
    let dark = wait("the failure", || fences.board().of(b()).last?.dark);
    assert!(dark.contains("no answer from the plug"), "{dark}");
    assert!(reports.try_recv().is_err(), "it changes nothing");
}

#[test]
fn a_self_test_tells_when_a_device_breaks_and_when_it_is_mended() {
    let bench = Bench::new("test");
    bench.script("agent", AGENT);
    bench.touch("broken-status");
    let (fences, _reports) = bench.start(
        "[[fence]]\nnodes = [\"a\", \"b\"]\nagent = \"{dir}/agent\"\ntest_every = \"20ms\"\n",
    );
    let Test::Failed(why) = tested(&fences, 0) else { panic!("it cannot be used") };
    assert!(why.contains("`status` ended with exit code 1: Failed: unable to connect"), "{why}");
    bench.remove("broken-status");
    let good = || (fences.board().of(b()).devices[0].test == Test::Good).then_some(());
    wait("the mended device", good);
    bench.touch("broken-monitor");
    let failed = || matches!(fences.board().of(b()).devices[0].test, Test::Failed(_)).then_some(());
    wait("the broken device", failed);
}

#[test]
fn a_fence_waits_for_no_self_test() {
    let bench = Bench::new("abort");
    bench.script("plug", PLUG);
    bench.touch("hang-monitor");
    let (fences, reports) = bench
        .start("[[fence]]\nnodes = [\"a\", \"b\"]\ncommand = [\"{dir}/plug\"]\ntimeout = \"1h\"\n");
    wait("the test to begin", || bench.has("child").then_some(()));
    fences.fence(b(), JobId(1));
    assert!(reports.recv_timeout(SOON).expect("a report").confirmed);
}

#[test]
fn a_missing_program_is_a_failed_test() {
    let bench = Bench::new("missing");
    let (fences, reports) =
        bench.start("[[fence]]\nnodes = [\"a\", \"b\"]\nagent = \"fence_no_such_agent\"\n");
    let Test::Failed(why) = tested(&fences, 0) else { panic!("it cannot be used") };
    assert!(why.contains("could not be run"), "{why}");
    fences.fence(b(), JobId(1));
    assert!(!reports.recv_timeout(SOON).expect("a report").confirmed);
}

fn program(device: &str) -> Program {
    let bench = Bench::new("program");
    let config = bench.config(&format!("[[fence]]\nnodes = [\"a\", \"b\"]\n{device}\n"));
    let device = config.fencing.devices[0].clone();
    Program { device, me: "a".into(), node: "b".into(), relay: None }
}

#[test]
fn stonith_is_called_as_its_manual_says_and_shows_no_password() {
    let words = |program: &Program, action| {
        let (command, told) = program.command(action, Duration::from_secs(20));
        let words: Vec<String> =
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let passwd = command
            .get_envs()
            .find(|(name, _)| *name == "passwd")
            .and_then(|(_, value)| Some(value?.to_string_lossy().into_owned()));
        (words.join(" "), passwd, String::from_utf8_lossy(&told).into_owned())
    };
    let ipmi = program("stonith = \"external/ipmi\"\noptions = { passwd = \"x\" }");
    let (line, passwd, told) = words(&ipmi, Action::Off);
    assert_eq!(line, "-t external/ipmi -E -T off b");
    assert_eq!((passwd.as_deref(), told.as_str()), (Some("x"), ""));
    assert_eq!(words(&ipmi, Action::Monitor).0, "-t external/ipmi -E -lS");
    let baytech = program("stonith = \"baytech\"\nparams = \"10.0.0.3 u s\"\nmethod = \"reset\"");
    let (line, _, told) = words(&baytech, baytech.deadly());
    assert_eq!(line, "-t baytech -F /dev/stdin -T reset b");
    assert_eq!(told, "10.0.0.3 u s\n");
    let listed = baytech.unknown(b"a c\n").expect("it does not know b");
    assert!(listed.contains("does not switch b") && listed.contains("a, c"), "{listed}");
    assert_eq!(baytech.unknown(b"a\nB\n"), None);
}

#[test]
fn a_machine_ends_itself_and_tries_again_until_it_has() {
    let bench = Bench::new("own");
    let script = bench.script(
        "reset",
        "echo \"$1 $LATIDO_ACTION\" >> $dir/record\n\
         if [ ! -e $dir/first ]; then : > $dir/first; exit 1; fi\n: > $dir/reset-done\n",
    );
    let own = config::SelfFence { command: vec![script, "-f".into()], takes: SOON / 100 };
    let own = Own::start(Some(&own), "a").expect("a thread");
    std::thread::sleep(Duration::from_millis(50));
    assert!(bench.record().is_empty(), "nobody has asked");
    own.reset();
    wait("the second try", || bench.has("reset-done").then_some(()));
    assert_eq!(bench.record()[..2], ["-f reset", "-f reset"]);
}

/// The agent's options never show, wherever a configuration is printed for debugging.
#[test]
fn passwords_do_not_show() {
    let bench = Bench::new("secret");
    let config = bench.config(
        "[[fence]]\nnodes = [\"a\", \"b\"]\nagent = \"fence_ipmilan\"\n\
         options = { ip = \"10.0.0.5\", passwd = \"hunter2\" }\n",
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.fencing.devices[0].name(), "fence_ipmilan 10.0.0.5");
    let open = Path::new(&bench.dir).join("latido.toml");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("mode");
    let loaded = config::load(&Source::Latido(open));
    assert!(loaded.diagnostics.iter().any(|found| found.message.contains("password is in it")));
}
