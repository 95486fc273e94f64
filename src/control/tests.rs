use super::super::{Client, ClientError};
use super::*;
use crate::core::id::{GroupId, NodeId};
use crate::core::io::{Command, NodeState, Phase, Refusal, Reply, Status};
use crate::tell::{Names, Settings};
use std::io::{BufRead, BufReader};

/// A server with an engine that answers as `decide` says.
struct Scene {
    dir: PathBuf,
    server: Option<Server>,
    engine: Option<std::thread::JoinHandle<Vec<Command>>>,
    end: Arc<std::sync::atomic::AtomicBool>,
}

fn scene(name: &str, decide: impl Fn(Command) -> Option<Reply> + Send + 'static) -> Scene {
    let dir = std::env::temp_dir().join(format!("latido-ctl-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).expect("directory");
    let names = Names {
        nodes: vec!["debian".into(), "pi".into()],
        links: vec!["eth0 broadcast".into()],
        groups: vec!["ftp".into(), "web".into()],
        ..Names::default()
    };
    let settings = Settings { journal: true, ..Settings::default() };
    let (teller, _tongue) = crate::tell::start(settings, names.clone()).expect("teller");
    let facts = Facts { names, rule: "assume-dead".into(), ..Facts::default() };
    let again = dir.clone();
    let restore: Box<dyn FnMut() -> Result<(), String> + Send> =
        Box::new(move || std::fs::create_dir(&again).map_err(|error| error.to_string()));
    let mut reloads = 0;
    let reload = {
        let facts = facts.clone();
        move |_sure| {
            reloads += 1;
            match reloads {
                1 => Ok((facts.clone(), Answer::done(Some("2 groups".to_owned())))),
                _ => Err(Answer::no("latido.toml:3: no such key", "remove the line")),
            }
        }
    };
    let hooks = Hooks { reload: Box::new(reload), restore };
    let (server, port) =
        Server::start(&crate::runtime::socket_path(&dir), facts, teller, hooks).expect("server");
    let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = end.clone();
    let engine = std::thread::spawn(move || engine(port, decide, &stop));
    Scene { dir, server: Some(server), engine: Some(engine), end }
}

fn engine(
    mut port: Port,
    decide: impl Fn(Command) -> Option<Reply>,
    end: &std::sync::atomic::AtomicBool,
) -> Vec<Command> {
    let mut taken = Vec::new();
    while !end.load(Ordering::Acquire) {
        let patience = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = poll(&mut [PollFd::new(&port, PollFlags::IN)], Some(&patience));
        port.hush();
        while let Some((id, command)) = port.take() {
            taken.push(command);
            if let Some(reply) = decide(command) {
                port.answer(id, reply);
            }
        }
        if port.wanted() {
            let mut status = Status { me: NodeId::new(1).expect("in range"), ..Status::default() };
            status.nodes[0].state = NodeState::Alive;
            status.groups[0].owner = NodeId::new(1);
            status.groups[0].phase = Phase::Running;
            port.publish(&Snapshot { status, ..Snapshot::default() });
        }
    }
    taken
}

impl Scene {
    fn client(&self) -> Client {
        Client::connect(&self.dir).expect("connect")
    }

    fn raw(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.dir.join("control.sock")).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        BufReader::new(stream)
    }

    fn finish(mut self) -> Vec<Command> {
        self.end.store(true, Ordering::Release);
        let taken = self.engine.take().expect("engine").join().expect("engine");
        drop(self.server.take());
        assert!(!self.dir.join("control.sock").exists(), "the socket is removed");
        let gone = Client::connect(&self.dir).expect_err("nobody there");
        assert!(matches!(gone, ClientError::NotRunning(_)), "{gone}");
        std::fs::remove_dir_all(&self.dir).expect("remove");
        taken
    }
}

#[test]
fn commands_reach_the_engine_and_its_word_comes_back() {
    let group = GroupId::new(1).expect("in range");
    let scene = scene("words", move |command| match command {
        Command::Standby => Some(Ok(())),
        _ => Some(Err(Refusal::NotAble(group))),
    });
    let mode = std::fs::metadata(scene.dir.join("control.sock")).expect("socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let mut client = scene.client();
    assert!(client.order(Order::Standby, &[]).expect("accepted").ok);
    match client.order(Order::Takeover, &["web".into()]) {
        Err(ClientError::Refused(answer)) => {
            assert_eq!(answer.why.as_deref(), Some("this node cannot run web"));
        }
        other => panic!("{other:?}"),
    }
    let unknown = client.order(Order::Takeover, &["mail".into()]).expect_err("unknown group");
    assert!(unknown.to_string().contains("the groups are: ftp, web"), "{unknown}");
    let taken = scene.finish();
    assert_eq!(taken.len(), 2, "the unknown group did not reach the engine: {taken:?}");
}

#[test]
fn status_names_everything() {
    let scene = scene("status", |_| None);
    let mut client = scene.client();
    for _ in 0..50 {
        let report = client.status().expect("status");
        assert_eq!((report.schema, report.node.as_str()), (1, "pi"));
        assert_eq!(report.nodes[0].state, "alive");
        assert_eq!(report.groups[0].owner.as_deref(), Some("pi"));
        assert_eq!((report.groups[0].state.as_str(), report.groups.len()), ("running", 2));
        assert!(!report.quorum.safe);
    }
    let value: serde_json::Value =
        serde_json::from_str(&client.status_line().expect("line")).expect("json");
    assert_eq!(value["ok"], true);
    assert_eq!(value["nodes"][1]["me"], true);
    scene.finish();
}

#[test]
fn reload_runs_beside_the_engine_and_a_bad_file_is_told() {
    let scene = scene("reload", |_| None);
    let mut client = scene.client();
    let answer = client.order(Order::Reload, &[]).expect("good file");
    assert_eq!(answer.note.as_deref(), Some("2 groups"));
    let bad = client.order(Order::Reload, &[]).expect_err("bad file");
    assert_eq!(bad.to_string(), "latido.toml:3: no such key; remove the line");
    assert_eq!(scene.finish(), []);
}

#[test]
fn an_engine_that_hangs_is_reported_within_seconds() {
    let scene = scene("hang", |_| None);
    let started = Instant::now();
    let error = scene.client().order(Order::Stop, &[]).expect_err("no answer");
    assert!(error.to_string().contains("has not answered for 2 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(8));
    scene.finish();
}

#[test]
fn strangers_cannot_occupy_the_server() {
    let scene = scene("strangers", |_| Some(Ok(())));
    // Two requests at once, in pieces, with rubbish in between.
    let mut raw = scene.raw();
    for piece in ["{\"comm", "and\":\"stop\"}\nrubbish\n", "{\"command\":\"standby\"}\n"] {
        raw.get_mut().write_all(piece.as_bytes()).expect("write");
    }
    let mut line = String::new();
    for ok in [true, false, true] {
        line.clear();
        raw.read_line(&mut line).expect("reply");
        assert!(line.starts_with(&format!("{{\"ok\":{ok}")), "{line}");
    }
    // A line without an end is not collected for ever.
    let mut endless = scene.raw();
    let _ = endless.get_mut().write_all(&[b'x'; 3 * REQUEST_MAX]);
    line.clear();
    // Either the end of the stream or a reset, but no reply and no waiting.
    assert_eq!(endless.read_line(&mut line).unwrap_or(0), 0, "{line}");
    drop(endless);
    drop(raw);
    // As many as are admitted, silent; the next one is told, and others are served again later.
    let mut crowd: Vec<_> = (0..CLIENTS).map(|_| scene.raw()).collect();
    let mut refused = String::new();
    while refused.is_empty() {
        let mut next = scene.raw();
        // An earlier connection may not have been closed yet on the server's side.
        next.get_ref().set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        let _ = next.read_line(&mut refused);
        crowd.push(next);
        assert!(crowd.len() < CLIENTS + 10);
    }
    assert!(refused.contains("too many clients"), "{refused}");
    drop(crowd);
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.client().status().is_err() {
        assert!(Instant::now() < deadline, "served again after the crowd has gone");
    }
    scene.finish();
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let path = std::env::temp_dir().join(format!("latido-stale-{}", std::process::id()));
    drop(UnixListener::bind(&path).expect("stale"));
    let again = bind_private(&path).expect("replaced");
    UnixStream::connect(&path).expect("alive");
    drop(again);
    std::fs::remove_file(&path).expect("remove");
}

#[test]
fn the_last_answer_is_delivered_although_the_engine_ends_at_once() {
    let dir = std::env::temp_dir().join(format!("latido-ctl-last-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("directory");
    for _ in 0..20 {
        let settings = Settings { journal: true, ..Settings::default() };
        let (teller, _tongue) = crate::tell::start(settings, Names::default()).expect("teller");
        let hooks = Hooks {
            reload: Box::new(|_| Err(Answer::no("", ""))),
            restore: Box::new(|| Err(String::new())),
        };
        let path = crate::runtime::socket_path(&dir);
        let (server, mut port) =
            Server::start(&path, Facts::default(), teller.clone(), hooks).expect("server");
        let client = std::thread::spawn({
            let dir = dir.clone();
            move || Client::connect(&dir).and_then(|mut client| client.order(Order::Stop, &[]))
        });
        let id = loop {
            port.hush();
            match port.take() {
                Some((id, Command::Shutdown)) => break id,
                Some(other) => panic!("{other:?}"),
                None => {
                    let _ = poll(&mut [PollFd::new(&port, PollFlags::IN)], None);
                }
            }
        };
        port.answer(id, Ok(()));
        drop(server);
        let answer = client.join().expect("client").expect("answered");
        assert!(answer.ok);
        teller.finish();
    }
    std::fs::remove_dir_all(&dir).expect("remove");
}

#[test]
fn a_socket_that_was_removed_is_made_again() {
    let scene = scene("removed", |_| Some(Ok(())));
    scene.client().status().expect("served");
    std::fs::remove_dir_all(&scene.dir).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(20);
    let report = loop {
        match Client::connect(&scene.dir).and_then(|mut client| client.status()) {
            Ok(report) => break report,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(report.node, "pi");
    scene.finish();
}

#[test]
fn a_client_waits_for_a_place() {
    let scene = scene("crowd", |_| Some(Ok(())));
    let crowd: Vec<_> = (0..CLIENTS).map(|_| scene.raw()).collect();
    let dir = scene.dir.clone();
    let (sender, told) = std::sync::mpsc::channel();
    let asker = std::thread::spawn(move || {
        let mut client = Client::connect(&dir).expect("connect");
        sender.send(()).expect("told");
        client.status()
    });
    told.recv().expect("connected");
    // Long enough to be refused at least once, and well within its patience.
    std::thread::sleep(Duration::from_millis(200));
    drop(crowd);
    assert_eq!(asker.join().expect("asker").expect("served at last").node, "pi");
    scene.finish();
}
