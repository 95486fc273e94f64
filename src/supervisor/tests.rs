use super::*;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

struct Recorder(Sender<String>);

impl Hands for Recorder {
    fn release(&mut self) -> Result<Vec<String>, String> {
        let _ = self.0.send("RELEASE".into());
        Ok(vec!["192.0.2.1".into()])
    }

    fn say(&mut self, _: Level, text: &str) {
        let _ = self.0.send(text.into());
    }
}

struct Scene {
    dir: PathBuf,
    writer: OwnedFd,
    said: Receiver<String>,
    thread: Option<std::thread::JoinHandle<u8>>,
}

const PATIENCE: Patience = Patience {
    quick: Duration::from_secs(600),
    free: 3,
    first_wait: Duration::from_millis(20),
    longest_wait: Duration::from_millis(100),
    release_from: Duration::from_millis(40),
};

/// A supervisor whose engine is a shell script; `$DIR` is a directory of its own.
fn scene(name: &str, script: &str) -> Scene {
    let dir = std::env::temp_dir().join(format!("latido-sup-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).expect("directory");
    let script = format!("DIR={}; echo $$ >>$DIR/pids; {script}", dir.display());
    start(dir, Path::new("/bin/sh"), vec!["-c".into(), script.into()])
}

fn start(dir: PathBuf, program: &Path, args: Vec<OsString>) -> Scene {
    let (signals, writer) = Signals::from_pipe().expect("pipe");
    let (sender, said) = channel();
    let plan = Plan { program: program.into(), args, hold_back: false, patience: PATIENCE };
    let thread = std::thread::spawn(move || run(&plan, &signals, &mut Recorder(sender)));
    Scene { dir, writer, said, thread: Some(thread) }
}

impl Scene {
    fn signal(&self, number: i32) {
        rustix::io::write(&self.writer, &[number as u8]).expect("signal");
    }

    /// Waits until so many lines stand in a file of the scene's directory.
    fn lines(&self, file: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(self.dir.join(file)).unwrap_or_default();
            if text.ends_with('\n') && text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(Instant::now() < deadline, "{file}: {text:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill(&self, pid: &str) {
        let pid = Pid::from_raw(pid.parse().expect("pid")).expect("pid");
        rustix::process::kill_process(pid, Signal::KILL).expect("kill");
    }

    fn end(mut self) -> (u8, Vec<String>) {
        let code = self.thread.take().expect("thread").join().expect("supervisor");
        let _ = std::fs::remove_dir_all(&self.dir);
        (code, self.said.try_iter().collect())
    }
}

const TRAPS: &str = "trap 'echo term >>$DIR/got; exit 0' TERM; trap 'echo hup >>$DIR/got' HUP; \
                     echo ready >>$DIR/ready; while :; do sleep 0.01; done";

#[test]
fn an_orderly_end_is_not_repeated() {
    let (code, said) = scene("orderly", "exit 0").end();
    assert_eq!((code, said), (0, vec![]));
}

#[test]
fn signals_are_passed_on_and_the_engine_ends_in_order() {
    let scene = scene("signals", TRAPS);
    scene.lines("ready", 1);
    scene.signal(signal::HANGUP);
    assert_eq!(scene.lines("got", 1), ["hup"]);
    scene.signal(signal::INTERRUPT);
    assert_eq!(scene.lines("got", 2), ["hup", "term"]);
    let (code, said) = scene.end();
    assert_eq!((code, said), (0, vec![]));
}

#[test]
fn a_killed_engine_is_back_at_once_with_its_guardian() {
    let scene = scene("killed", &format!("echo $LATIDO_SUPERVISOR >>$DIR/guardian; {TRAPS}"));
    for death in 1..=3 {
        let pid = scene.lines("pids", death)[death - 1].clone();
        scene.lines("ready", death);
        let killed = Instant::now();
        scene.kill(&pid);
        scene.lines("pids", death + 1);
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    }
    scene.lines("ready", 4);
    assert_eq!(scene.lines("guardian", 4)[3], std::process::id().to_string());
    scene.signal(signal::TERMINATE);
    let (code, said) = scene.end();
    assert_eq!(code, 0);
    let killed = said.iter().filter(|text| text.contains("killed by signal 9")).count();
    assert_eq!((killed, said.contains(&"RELEASE".to_owned())), (3, false), "{said:?}");
}

#[test]
fn an_engine_that_keeps_dying_is_started_ever_more_rarely_and_its_addresses_removed() {
    let scene = scene("dying", "exit 101");
    scene.lines("pids", 7);
    scene.signal(signal::TERMINATE);
    let (code, said) = scene.end();
    assert_eq!(code, 1);
    let first_release = said.iter().position(|text| text == "RELEASE").expect("released");
    let deaths = said[..first_release].iter().filter(|text| text.contains("code 101")).count();
    // Three restarts at once, one after 20 ms; before 40 ms the addresses go.
    assert_eq!(deaths, 5, "{said:?}");
    assert!(said.iter().any(|text| text.contains("addresses removed: 192.0.2.1")), "{said:?}");
}

#[test]
fn a_wrong_configuration_is_not_tried_again() {
    let (code, said) = scene("config", "echo x >>$DIR/tries; exit 78").end();
    assert_eq!((code, said[0].as_str(), said.len()), (1, "RELEASE", 2), "{said:?}");
    assert!(said[1].contains("cannot start"), "{said:?}");
}

#[test]
fn an_engine_that_wants_to_start_anew_is_started_anew_and_nothing_is_said() {
    let script = "if [ -e $DIR/once ]; then exit 0; fi; echo x >$DIR/once; sleep 1.1; exit 76";
    let (code, said) = scene("again", script).end();
    assert_eq!((code, said), (0, vec![]));
    let scene = scene("circles", "exit 76");
    scene.lines("pids", 5);
    scene.signal(signal::TERMINATE);
    let (code, said) = scene.end();
    assert_eq!((code, said.contains(&"RELEASE".to_owned())), (1, true), "{said:?}");
}

#[test]
fn a_second_daemon_ends_and_touches_nothing() {
    let (code, said) = scene("busy", "exit 75").end();
    assert_eq!((code, said), (1, vec![]));
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let dir = std::env::temp_dir().join(format!("latido-sup-none-{}", std::process::id()));
    let (code, said) = start(dir, Path::new("/nonexistent/latido"), vec![]).end();
    assert_eq!((code, said[0].as_str()), (1, "RELEASE"), "{said:?}");
    assert!(said[1].contains("cannot start /nonexistent/latido"), "{said:?}");
}

#[test]
fn an_engine_that_dies_while_ending_is_not_started_again() {
    let scene = scene(
        "ending",
        "trap 'kill -9 $$' TERM; echo ready >>$DIR/ready; \
                                 while :; do sleep 0.01; done",
    );
    scene.lines("ready", 1);
    scene.signal(signal::TERMINATE);
    let (code, said) = scene.end();
    assert_eq!((code, said[0].as_str()), (1, "RELEASE"), "{said:?}");
    assert!(said[1].contains("services may still run"), "{said:?}");
}

#[test]
fn signals_are_held_back_in_the_child_alone() {
    let blocked = |hold: bool| {
        // Not through a shell: some clear the mask when they start.
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]);
        if hold {
            signal::hold_back_in(&mut command, &FORWARDED);
        }
        let text = String::from_utf8(command.output().expect("grep").stdout).expect("utf-8");
        let hex = text.trim().rsplit('\t').next().expect("a mask");
        u64::from_str_radix(hex, 16).expect("hexadecimal")
    };
    let expected = FORWARDED.iter().fold(0u64, |mask, signal| mask | 1 << (signal - 1));
    assert_eq!(blocked(true), expected);
    assert_eq!(blocked(false), 0, "nothing is held back in the parent");
}
