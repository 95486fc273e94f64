//! A running pair: two nodes with the real daemon, a client that asks, scripts that record.
use crate::world::{PROGRAM, Scene};
use latido::lab::client::{Client, Probe};
use latido::lab::{Node, Plan, Switch, plan, wait};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const GROUP: &str = "web";
/// A third machine on the LAN, for strangers.
pub(crate) const STRANGER: &str = "stranger";
pub(crate) use crate::world::SOON;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A path between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Lan,
    Crossover,
    Serial,
}
use Path::{Crossover, Lan, Serial};

/// What a pair is like. `..Setup::default()` for the rest.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) interval: Duration,
    pub(crate) dead: Duration,
    pub(crate) initial_dead: Duration,
    pub(crate) paths: &'static [Path],
    pub(crate) switch: Switch,
    pub(crate) block_on_stop_failure: bool,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    /// Of the serial cable.
    pub(crate) baud: u32,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            interval: ms(50),
            dead: ms(1000),
            initial_dead: ms(10_000),
            paths: &[Lan, Crossover, Serial],
            switch: Switch::Bridge,
            block_on_stop_failure: false,
            start_timeout: ms(20_000),
            stop_timeout: ms(20_000),
            baud: 115_200,
        }
    }
}

/// The pair and its client.
pub(crate) struct Pair {
    // Dropped first: it asks nodes that are about to go.
    client: Option<Client>,
    scene: Scene,
    pub(crate) setup: Setup,
}

impl Deref for Pair {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// The recorder: `start`, `stop`, `status` as an init script, each start and stop noted with the
/// node's name. Files beside its state make it fail or hang.
const RECORDER: &str = r#"#!/bin/sh
lab=$(dirname "$0")
here=$lab/$LATIDO_NODE/run
case $1 in
  status)
    if [ -e "$here/slow-status" ]; then sleep 1; fi
    if [ -e "$here/service" ]; then echo running; exit 0; fi
    echo "not running"; exit 3;;
  start|stop)
    echo "$LATIDO_NODE $1" >> "$lab/record"
    if [ -e "$here/hang-$1" ]; then exec sleep 300; fi
    if [ -e "$here/fail-$1" ]; then echo "made to fail"; exit 1; fi
    if [ "$1" = start ]; then : > "$here/service"; else rm -f "$here/service"; fi;;
esac
exit 0
"#;

impl Pair {
    /// Both nodes powered and configured; no daemon runs yet.
    pub(crate) fn powered(setup: Setup) -> Pair {
        let mut scene = Plan::pair(PROGRAM, ["pi", "laptop"]).with_switch(setup.switch);
        let port = plan::Port {
            network: latido::lab::LAN.into(),
            interface: "eth0".into(),
            addresses: vec![(IpAddr::from([10, 77, 0, 4]), 24)],
        };
        scene.cables[0].baud = Some(setup.baud);
        scene.clients.push(plan::Machine { name: STRANGER.into(), ports: vec![port] });
        let pair = Pair { client: None, scene: Scene::new(&scene), setup };
        fs::write(pair.recorder(), RECORDER).unwrap();
        fs::set_permissions(pair.recorder(), fs::Permissions::from_mode(0o755)).unwrap();
        pair.serve(VIRTUAL);
        pair.toml(&pair.text());
        pair
    }

    /// The same with both daemons running, `pi` owning the group, and a client asking.
    pub(crate) fn running(setup: Setup) -> Pair {
        let mut pair = Pair::powered(setup);
        pair.start_all();
        pair.settled("pi");
        pair.ask();
        pair
    }

    /// Waits until both nodes say that `owner` runs the group and that every path works, and only
    /// it has the address.
    pub(crate) fn settled(&self, owner: &str) {
        self.owned(owner);
        self.met();
        self.scene.settled(GROUP, owner);
        for node in ["pi", "laptop"] {
            self.wait_status(node, "all links work both ways", |status| {
                let all_up = |node: &Value| {
                    let links = node["links"].as_array().cloned().unwrap_or_default();
                    links.iter().all(|link| link["state"] == "up")
                };
                status["nodes"].as_array()?.iter().all(all_up).then_some(())
            });
        }
    }

    /// Starts a client that asks the address every millisecond, and waits for the first answer.
    pub(crate) fn ask(&mut self) {
        self.client = Some(self.scene.client(Probe::Udp, VIRTUAL));
        wait::until(SOON, "the first answer", || self.client().last_answer()).unwrap();
    }

    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().expect("a client was started")
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.lab.node(name)
    }

    fn recorder(&self) -> PathBuf {
        self.lab.dir().join("recorder")
    }

    /// The configuration, the same for both nodes.
    pub(crate) fn text(&self) -> String {
        let setup = &self.setup;
        let stop_failure = if setup.block_on_stop_failure { "block" } else { "release" };
        let mut text = format!(
            "[cluster]\nname = \"test\"\nnodes = [\"pi\", \"laptop\"]\n\n\
             [timing]\ninterval = \"{}ms\"\nwarn = \"{}ms\"\ndead = \"{}ms\"\n\
             initial_dead = \"{}ms\"\n\n\
             [quorum]\nrule = \"assume-dead\"\nstop_failure = \"{stop_failure}\"\n\n\
             [keys]\nfile = \"keys\"\n\n",
            setup.interval.as_millis(),
            setup.dead.as_millis() / 2,
            setup.dead.as_millis(),
            setup.initial_dead.as_millis(),
        );
        for path in setup.paths {
            let link = match path {
                Lan => "udp = \"broadcast\"\ninterface = \"eth0\"".to_owned(),
                Crossover => "udp = \"broadcast\"\ninterface = \"eth1\"".to_owned(),
                Serial => format!("serial = \"{{serial}}\"\nbaud = {}", setup.baud),
            };
            write!(text, "[[link]]\n{link}\n\n").unwrap();
        }
        write!(
            text,
            "[[group]]\nname = \"{GROUP}\"\nprefer = [\"pi\", \"laptop\"]\nfailback = \"manual\"\n\
             resources = [\n  {{ address = \"{VIRTUAL}/24\", interface = \"eth0\" }},\n  \
             {{ script = \"{}\", start_timeout = \"{}ms\", stop_timeout = \"{}ms\" }},\n]\n",
            self.recorder().display(),
            setup.start_timeout.as_millis(),
            setup.stop_timeout.as_millis(),
        )
        .unwrap();
        text
    }

    /// Starts the service on a node whose daemon was not started by [`Scene::start`].
    pub(crate) fn serve_on(&self, node: &str) {
        let address = VIRTUAL.to_string();
        let port = crate::world::PORT.to_string();
        let command = [PROGRAM, "lab-serve", node, &port, &address];
        self.node(node).spawn("service", command).unwrap();
    }

    /// Makes the recording script of a node fail or hang (`fail-start`, `hang-stop` …), or not.
    pub(crate) fn trouble(&self, node: &str, what: &str, on: bool) {
        let path = self.node(node).runtime_dir().join(what);
        if on { fs::write(path, "").unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// What the recording scripts did, in order: `pi start` …
    pub(crate) fn record(&self) -> Vec<String> {
        let text = fs::read_to_string(self.lab.dir().join("record")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what they did.
    pub(crate) fn clear_record(&self) {
        let _ = fs::remove_file(self.lab.dir().join("record"));
    }

    pub(crate) fn holders(&self) -> Vec<String> {
        self.scene.holders(VIRTUAL)
    }

    /// Waits until `owner` alone has the address and its own daemon says that it runs the group.
    pub(crate) fn owned(&self, owner: &str) {
        self.wait(format!("{owner} alone to own the group"), || {
            let status = self.status(owner);
            let group = &status["groups"][0];
            let owned = group["owner"] == owner && group["local"] == "running";
            (owned && self.holders() == [owner]).then_some(())
        });
    }

    /// Waits until the client is answered by `node`.
    pub(crate) fn answered_by(&self, node: &str) {
        self.scene.answered_by(self.client(), node);
    }

    /// What `node` says of its peer: alive, late, dead …
    pub(crate) fn peer_state(&self, node: &str) -> String {
        let status = self.status(node);
        let nodes = status["nodes"].as_array().unwrap();
        let peer = nodes.iter().find(|one| one["me"] == false).unwrap();
        peer["state"].as_str().unwrap().to_owned()
    }

    /// A place in a node's log: what is written from now on.
    pub(crate) fn mark(&self, node: &str) -> Mark<'_> {
        Mark { pair: self, node: node.to_owned(), from: self.log(node).len() }
    }

    /// Everything that must not move while something else happens.
    pub(crate) fn still(&self) -> Still<'_> {
        Still {
            pair: self,
            begin: Instant::now(),
            owner: self.holders(),
            record: self.record(),
            term: self.term(),
        }
    }

    fn term(&self) -> Value {
        self.status(self.holders().first().expect("an owner"))["groups"][0]["term"].clone()
    }

    /// Ends a process and waits until it has gone.
    pub(crate) fn kill(&self, node: &str, pid: i32) {
        self.node(node).signal(pid, rustix::process::Signal::KILL).unwrap();
        let gone = || {
            let here = self.node(node).processes();
            here.iter().all(|one| one.pid != pid || one.state == 'Z').then_some(())
        };
        wait::until(SOON, "the killed process to go", gone).unwrap();
    }
}

/// A place in a log.
pub(crate) struct Mark<'a> {
    pair: &'a Pair,
    node: String,
    from: usize,
}

impl Mark<'_> {
    /// What was written since.
    pub(crate) fn since(&self) -> String {
        self.pair.log(&self.node).get(self.from..).unwrap_or_default().to_owned()
    }

    /// Waits until something was written.
    pub(crate) fn wait(&self, text: &str) {
        let what = format!("{}'s log to say `{text}`", self.node);
        wait::until(SOON, what, || self.since().contains(text).then_some(())).unwrap();
    }

    /// Makes sure that nothing of this was written.
    pub(crate) fn never(&self, text: &str) {
        let since = self.since();
        assert!(!since.contains(text), "{} has said `{text}`:\n{since}", self.node);
    }
}

/// A state that must last.
pub(crate) struct Still<'a> {
    pair: &'a Pair,
    begin: Instant,
    owner: Vec<String>,
    record: Vec<String>,
    term: Value,
}

impl Still<'_> {
    /// Nothing has moved, stopped, or been started since; the address was always at one node.
    pub(crate) fn check(&self) {
        let held = self.pair.lab.ownership().held(VIRTUAL, self.begin, Instant::now());
        assert_eq!((held.both, held.nobody, held.arrivals), (ms(0), ms(0), 0), "{held:?}");
        assert_eq!(self.pair.holders(), self.owner);
        assert_eq!(self.pair.record(), self.record, "a script was called");
        assert_eq!(self.pair.term(), self.term, "it was claimed anew");
        self.pair.answered_by(&self.owner[0]);
    }

    /// The same, looked at until `period` is over.
    pub(crate) fn for_as_long_as(&self, period: Duration) {
        wait::never(period, "another owner", || {
            let holders = self.pair.holders();
            (holders != self.owner).then_some(holders)
        })
        .unwrap();
        self.check();
    }
}
