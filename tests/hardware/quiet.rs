//! Nothing is written to a disk while nothing happens: an SD card lives on writes.
use crate::PAIR;
use crate::world::{PROGRAM, Scene, run};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Heartbeats of each node that go by meanwhile.
const HEARTBEATS: u64 = 100;

struct Quiet {
    scene: Scene,
    runtime: PathBuf,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

impl Quiet {
    /// A pair whose runtime directories are on a tmpfs, as `/run` is.
    fn start() -> Quiet {
        let scene = Scene::pair();
        scene.toml(PAIR);
        let runtime = Path::new("/dev/shm").join(format!("latido-quiet-{}", std::process::id()));
        let quiet = Quiet { scene, runtime };
        for node in ["pi", "laptop"] {
            let machine = quiet.scene.lab.node(node);
            let mut command = vec![PROGRAM.to_owned(), "run".to_owned()];
            command.extend(quiet.scene.config_args(node));
            command.extend(["--runtime-dir".to_owned(), quiet.runtime_of(node)]);
            let state = machine.dir().join("state").display().to_string();
            command.extend(["--state-dir".to_owned(), state]);
            fs::create_dir_all(quiet.runtime_of(node)).expect("a runtime directory");
            machine.spawn("daemon", command).unwrap_or_else(|why| panic!("{why}"));
        }
        quiet
    }

    fn runtime_of(&self, node: &str) -> String {
        self.runtime.join(node).display().to_string()
    }

    fn status(&self, node: &str) -> Option<Value> {
        let (_, text, _) = run(&["status", "--json", "--runtime-dir", &self.runtime_of(node)]);
        serde_json::from_str(&text).ok()
    }

    fn sent(&self, node: &str) -> Option<u64> {
        self.status(node)?["counters"]["sent"].as_u64()
    }

    /// Bytes that a node's processes have had written to disks, each with its name.
    fn written(&self, node: &str) -> Vec<(i32, u64)> {
        let machine = self.scene.lab.node(node);
        let processes = [machine.daemon(), machine.engine()].into_iter().flatten();
        let bytes = |pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("its account");
            let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
            line.and_then(|number| number.parse().ok()).expect("a number")
        };
        processes.map(|process| (process.pid, bytes(process.pid))).collect()
    }
}

#[test]
fn a_quiet_pair_writes_nothing() {
    let quiet = Quiet::start();
    quiet.scene.wait("a quiet pair", || {
        let status = quiet.status("pi")?;
        let peer = status["nodes"]
            .as_array()?
            .iter()
            .all(|node| node["me"] == true || node["state"] == "alive");
        (peer && status["groups"][0]["state"] == "running").then_some(())
    });
    // What the start has left to be written is written.
    let pass = |heartbeats: u64| {
        for node in ["pi", "laptop"] {
            let before = quiet.sent(node).expect("a status");
            quiet.scene.wait("heartbeats", || {
                quiet.sent(node).filter(|sent| *sent >= before + heartbeats)
            });
        }
    };
    pass(HEARTBEATS);
    let before = ["pi", "laptop"].map(|node| quiet.written(node));
    assert!(before.iter().all(|processes| processes.len() == 2), "{before:?}");
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
    let changes = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MODIFY
        | WatchFlags::MOVE
        | WatchFlags::ATTRIB;
    for node in ["pi", "laptop"] {
        let machine = quiet.scene.lab.node(node);
        let state = machine.dir().join("state");
        fs::create_dir_all(&state).expect("a state directory");
        for dir in [PathBuf::from(quiet.runtime_of(node)), state, machine.log("daemon")] {
            inotify::add_watch(&watch, &dir, changes).expect("watched");
        }
    }
    pass(HEARTBEATS);
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = reader.next() {
        let flags: ReadFlags = event.events();
        seen.push(format!("{:?} {flags:?}", event.file_name()));
    }
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(["pi", "laptop"].map(|node| quiet.written(node)), before);
}
