//! Scenes for tests of the whole program: nodes of a laboratory that run the real daemon.
//!
//! Root is needed. A failing test shows the nodes' logs, because the laboratory does.
// Each test program uses a part of it, as a module of its own.
#![allow(dead_code, unreachable_pub)]
use latido::lab::client::{Client, Probe, Question};
use latido::lab::{CLIENT, Exit, Lab, Plan, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::fmt::Display;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_latido");
/// For everything that comes sooner or later, on a busy machine too.
pub const SOON: Duration = Duration::from_secs(30);
/// Where the nodes' services answer the client.
pub const PORT: u16 = 8080;

const DAEMON: &str = "daemon";
/// A script that notes each call (with the number of served addresses that the node has) and
/// remembers, until the power goes, whether it was started.
const RECORDER: &str = "#!/bin/sh
for action; do :; done
held=$(grep -c '|-- {address}$' /proc/net/fib_trie)
echo \"$held $(uname -n) ${0##*/} $*\" >> {record}
mark={dir}/run/${0##*/}.mark
case $action in
start) : > $mark; echo started;;
stop) rm -f $mark; echo done;;
status) if [ -e $mark ]; then echo running; else echo stopped; exit 3; fi;;
esac
";

/// One call of a recording script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The node had the address of [`Scene::serve`].
    pub had_address: bool,
    /// The node.
    pub node: String,
    /// The script's name.
    pub script: String,
    /// Its arguments; the last is the action.
    pub args: Vec<String>,
}

impl Call {
    /// `start`, `stop` or `status`.
    pub fn action(&self) -> &str {
        self.args.last().map_or("", String::as_str)
    }
}

/// Two nodes with configurations, and a client. Everything ends when it is dropped.
pub struct Scene {
    /// The laboratory: power, cables, freezing, ownership.
    pub lab: Lab,
    /// When it was switched on.
    pub begun: Instant,
    served: Mutex<Option<SocketAddr>>,
}

impl Scene {
    /// The nodes `pi` and `laptop` of [`Plan::pair`], switched on.
    pub fn pair() -> Scene {
        Scene::new(&Plan::pair(PROGRAM, ["pi", "laptop"]))
    }

    /// All nodes of this plan, switched on; no daemon runs yet.
    pub fn new(plan: &Plan) -> Scene {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests run the real daemon in network namespaces: run them as root"
        );
        let lab = Lab::new(plan).unwrap_or_else(|why| panic!("no laboratory: {why}"));
        for node in lab.nodes() {
            node.power_on().unwrap_or_else(|why| panic!("{why}"));
        }
        Scene { lab, begun: Instant::now(), served: Mutex::new(None) }
    }

    /// Writes a file below a node's directory. In the text `{dir}` is that directory, `{serial}`
    /// its serial device and `{record}` the file that [`Scene::calls`] reads. Key files get mode
    /// 0600, scripts (`resource.d`, `init.d`) 0755.
    pub fn write(&self, node: &str, file: &str, text: &str) {
        let node = self.lab.node(node);
        let path = node.dir().join(file);
        let serial = node.serial_device().unwrap_or_default();
        let text = text
            .replace("{dir}", &node.dir().display().to_string())
            .replace("{serial}", &serial.display().to_string())
            .replace("{record}", &self.record().display().to_string());
        fs::create_dir_all(path.parent().expect("a directory")).expect("making a directory");
        fs::write(&path, text).expect("writing a file");
        let mode = match file.rsplit(['/']).next() {
            Some("keys" | "authkeys") => 0o600,
            _ if file.contains("resource.d/") || file.contains("init.d/") => 0o755,
            _ => 0o644,
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("setting a mode");
    }

    /// The same `latido.toml` for all nodes, with the key file `{dir}/keys` beside it.
    pub fn toml(&self, text: &str) {
        for node in self.lab.nodes() {
            self.write(node.name(), "latido.toml", text);
            self.write(node.name(), "keys", &format!("use 1\n1 {}\n", "5a".repeat(32)));
        }
    }

    /// A copy of a Heartbeat directory as a node's `ha.d`; `change` gets each file's name and text.
    pub fn ha_dir(&self, node: &str, from: &Path, change: impl Fn(&str, String) -> String) {
        for entry in fs::read_dir(from).unwrap_or_else(|why| panic!("{}: {why}", from.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("text");
            self.write(node, &format!("ha.d/{name}"), &change(&name, text));
        }
    }

    /// A recording script of this name in every node's `dir` (such as `ha.d/resource.d`). Call
    /// [`Scene::serve`] first, if at all.
    pub fn recorder(&self, dir: &str, name: &str) {
        let served = self.served.lock().expect("no panic while it is held");
        let address = served.map_or("none".to_owned(), |address| address.ip().to_string());
        let text = RECORDER.replace("{address}", &address);
        for node in self.lab.nodes() {
            self.write(node.name(), &format!("{dir}/{name}"), &text);
        }
    }

    /// Every call of the recording scripts on all nodes, in order.
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.record()).unwrap_or_default();
        let call = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some(Call {
                had_address: words.next()? != "0",
                node: words.next()?,
                script: words.next()?,
                args: words.collect(),
            })
        };
        text.lines().filter_map(call).collect()
    }

    /// The calls with this action on a node, as `script arguments`, from the call number `from` on.
    pub fn acted(&self, node: &str, action: &str, from: usize) -> Vec<String> {
        let calls = self.calls().into_iter().skip(from);
        calls
            .filter(|call| call.node == node && call.action() == action)
            .map(|call| {
                let args = call.args.split_last().map(|(_, args)| args.join(" "));
                format!("{} {}", call.script, args.unwrap_or_default()).trim_end().to_owned()
            })
            .collect()
    }

    fn record(&self) -> PathBuf {
        self.lab.dir().join("record")
    }

    /// The words that name a node's configuration: its `ha.d` if that has an ha.cf, else `latido.toml`.
    pub fn config_args(&self, node: &str) -> [String; 2] {
        let dir = self.lab.node(node).dir();
        let (option, path) = match dir.join("ha.d") {
            ha_dir if ha_dir.join("ha.cf").exists() => ("--ha-dir", ha_dir),
            _ => ("--config", dir.join("latido.toml")),
        };
        [option.to_owned(), path.display().to_string()]
    }

    /// Starts a node's daemon. It need not answer yet.
    pub fn start(&self, node: &str) {
        let machine = self.lab.node(node);
        let mut command = vec![PROGRAM.to_owned(), "run".to_owned()];
        command.extend(self.config_args(node));
        command.extend(["--runtime-dir".to_owned(), self.runtime_dir(node)]);
        let state = machine.dir().join("state").display().to_string();
        command.extend(["--state-dir".to_owned(), state]);
        machine.spawn(DAEMON, command).unwrap_or_else(|why| panic!("{why}"));
        let served = *self.served.lock().expect("no panic while it is held");
        if let Some(address) = served {
            self.spawn_service(node, address);
        }
    }

    /// Starts all daemons.
    pub fn start_all(&self) {
        for node in self.lab.nodes() {
            self.start(node.name());
        }
    }

    /// Switches a node on and starts its daemon.
    pub fn boot(&self, node: &str) {
        self.lab.node(node).power_on().unwrap_or_else(|why| panic!("{why}"));
        self.start(node);
    }

    /// From the next [`Scene::start`] on, each node answers at `address` whenever it has it.
    pub fn serve(&self, address: IpAddr) {
        let address = SocketAddr::from((address, PORT));
        *self.served.lock().expect("no panic while it is held") = Some(address);
    }

    fn spawn_service(&self, node: &str, address: SocketAddr) {
        let node = self.lab.node(node);
        if node.processes().iter().any(|one| one.command.iter().any(|word| word == "lab-serve")) {
            return;
        }
        let (port, address) = (address.port().to_string(), address.ip().to_string());
        let command = [PROGRAM, "lab-serve", node.name(), &port, &address];
        node.spawn("service", command).unwrap_or_else(|why| panic!("{why}"));
    }

    /// A client that asks `address` every millisecond through its own stack.
    pub fn client(&self, probe: Probe, address: IpAddr) -> Client {
        let question = Question::every_millisecond(probe, SocketAddr::from((address, PORT)));
        Client::start(self.lab.client(CLIENT), question).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Waits until the client is answered by `node`, asked after this call; when it was.
    pub fn answered_by(&self, client: &Client, node: &str) -> Instant {
        let since = Instant::now();
        self.wait(format!("the client to be answered by {node}"), || {
            client.last_answer().filter(|(name, at)| name == node && *at > since).map(|(_, at)| at)
        })
    }

    /// Waits for anything; panics with `what` and every node's status after [`SOON`].
    pub fn wait<T>(&self, what: impl Display, look: impl FnMut() -> Option<T>) -> T {
        wait::until(SOON, what, look).unwrap_or_else(|why| {
            for node in self.lab.nodes() {
                eprintln!("--- status of {}: {:#}", node.name(), self.status(node.name()));
            }
            panic!("{why}")
        })
    }

    /// What a node's daemon says; `null` without one.
    pub fn status(&self, node: &str) -> Value {
        self.lab.node(node).status().unwrap_or(Value::Null)
    }

    /// Waits until a node's status is as `look` wants it.
    pub fn wait_status<T>(
        &self,
        node: &str,
        what: impl Display,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        self.wait(format!("{node} to say: {what}"), || {
            let found = look(&self.status(node));
            if found.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            found
        })
    }

    /// Waits until every daemon that runs says that `owner` runs the group.
    pub fn settled(&self, group: &str, owner: &str) {
        let on = self.lab.nodes().iter().filter(|node| node.is_on() && node.daemon().is_some());
        for node in on {
            self.wait_status(node.name(), format!("{group} runs on {owner}"), |status| {
                let group = group_of(status, group)?;
                (group["owner"] == owner && group["state"] == "running").then_some(())
            });
        }
    }

    /// Waits until both daemons see each other alive.
    pub fn met(&self) {
        for node in self.lab.nodes() {
            self.wait_status(node.name(), "all nodes are alive", |status| {
                let nodes = status["nodes"].as_array()?;
                let fine =
                    |node: &Value| node["state"] == "alive" && node["config_differs"] == false;
                let others = nodes.iter().filter(|node| node["me"] == false);
                (status["ready"] == true
                    && others.clone().count() > 0
                    && others.into_iter().all(fine))
                .then_some(())
            });
        }
    }

    /// Runs a latido command against a node's daemon: its exit code and all that it wrote.
    pub fn latido(&self, node: &str, args: &[&str]) -> (i32, String) {
        let mut command = vec![PROGRAM.to_owned()];
        command.extend(args.iter().map(|arg| (*arg).to_owned()));
        command.extend(["--runtime-dir".to_owned(), self.runtime_dir(node)]);
        match self.lab.node(node).run(command, SOON * 2) {
            Ok((Exit::Code(code), output)) => (code, output),
            other => panic!("latido {args:?} on {node}: {other:?}"),
        }
    }

    /// Sends a signal to a node's daemon (the process of `latido run`).
    pub fn signal(&self, node: &str, signal: Signal) {
        let machine = self.lab.node(node);
        let daemon = machine.daemon().unwrap_or_else(|| panic!("no daemon runs on {node}"));
        machine.signal(daemon.pid, signal).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Waits until no process of the daemon is left, and no other except the client's service.
    pub fn wait_for_end(&self, node: &str) {
        self.wait(format!("the end of {node}'s daemon and all its children"), || {
            let ours = |command: &[String]| command.iter().any(|word| word == "lab-serve");
            let all = self.lab.node(node).processes();
            all.iter().all(|one| ours(&one.command)).then_some(())
        });
    }

    /// What a node's daemon wrote so far, over all its starts.
    pub fn log(&self, node: &str) -> String {
        let bytes = fs::read(self.lab.node(node).log(DAEMON)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line of a node's log that has all these words, from byte `from` of the log on.
    pub fn logged(&self, node: &str, from: usize, words: &[&str]) -> String {
        self.wait(format!("{words:?} in a line of {node}'s log"), || {
            let log = self.log(node);
            let mut lines = log.get(from..)?.lines();
            lines.find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// The nodes that have an address now, as their kernels say.
    pub fn holders(&self, address: IpAddr) -> Vec<String> {
        self.lab.ownership().holders(address)
    }

    fn runtime_dir(&self, node: &str) -> String {
        self.lab.node(node).runtime_dir().display().to_string()
    }
}

/// A group in a status.
pub fn group_of<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["groups"].as_array()?.iter().find(|group| group["name"] == name)
}

/// A node in a status.
pub fn node_of<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["nodes"].as_array()?.iter().find(|node| node["name"] == name)
}

/// Runs the program outside of any node: exit code, standard output, standard error.
pub fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(PROGRAM).args(args).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A directory of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
