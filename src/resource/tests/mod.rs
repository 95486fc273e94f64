//! Whole groups against the real kernel, each test in a network namespace of its own.
mod address;
mod guard;
mod learn;
mod script;

use super::*;
use crate::config::{Address, Failback, Group, Kind, Resource};
use crate::platform::namespace::new_network;
use crate::platform::netlink::{self, LinkKind, Socket};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const FOREVER: u64 = u64::MAX;

/// A directory for scripts, a cable `veth0` – `peer0`, and the threads under test.
struct Lab {
    dir: PathBuf,
    socket: Socket,
    veth: u32,
    peer: u32,
    vouch: Arc<[AtomicU64]>,
    resources: Option<Resources>,
    reports: Receiver<Report>,
    jobs: u32,
}

fn group() -> GroupId {
    GroupId::new(0).expect("the first group")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address(text: &str) -> Resource {
    let kind = Kind::Address(Address::new(ip(text)));
    resource(text, kind, Duration::from_secs(5))
}

fn resource(name: &str, kind: Kind, timeout: Duration) -> Resource {
    Resource { name: name.into(), kind, start_timeout: timeout, stop_timeout: timeout }
}

impl Lab {
    /// An empty namespace with 192.168.7.1/24 and fd00:7::1/64 on `veth0`.
    fn new(name: &str) -> Self {
        new_network().expect("these tests need root: run them as root");
        let dir = std::env::temp_dir().join(format!("latido-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut socket = Socket::open().expect("netlink");
        let kind = LinkKind::Veth { peer: "peer0", peer_namespace: None };
        let veth = socket.add_link("veth0", kind).expect("a cable");
        let peer = socket.link("peer0").expect("asked").expect("there").index;
        for index in [veth, peer] {
            socket.set_up(index, true).expect("switched on");
        }
        let base = netlink::Address::new(veth, ip("192.168.7.1"), 24);
        socket.add_address(&base).expect("added");
        let mut base = netlink::Address::new(veth, ip("fd00:7::1"), 64);
        base.flags = netlink::Flags::NODAD;
        socket.add_address(&base).expect("added");
        let vouch = Arc::from([AtomicU64::new(FOREVER), AtomicU64::new(FOREVER)]);
        Lab { dir, socket, veth, peer, vouch, resources: None, reports: channel().1, jobs: 0 }
    }

    fn run(&mut self, resources: Vec<Resource>) {
        self.run_groups(vec![("web", resources)]);
    }

    fn run_groups(&mut self, groups: Vec<(&str, Vec<Resource>)>) {
        let group = |(name, resources): (&str, Vec<Resource>)| Group {
            name: name.into(),
            prefer: vec![0],
            failback: Failback::Auto,
            resources,
        };
        let groups: Vec<Group> = groups.into_iter().map(group).collect();
        let (sender, reports) = channel();
        let report = move |report| {
            // The test may have ended already.
            let _ = sender.send(report);
        };
        let dir = Some(self.dir.as_path());
        let who = Who { node: "pi", ha_dir: dir, rule: crate::config::Rule::Majority };
        let vouch = Arc::clone(&self.vouch);
        self.resources = Some(Resources::new(&groups, who, vouch, report).expect("threads"));
        self.reports = reports;
    }

    fn ask(&mut self, call: impl Fn(&Resources, GroupId, JobId)) -> JobId {
        self.jobs += 1;
        call(self.resources.as_ref().expect("running"), group(), JobId(self.jobs));
        JobId(self.jobs)
    }

    /// The outcome of a job; other reports are passed over.
    fn outcome(&self, job: JobId) -> Outcome {
        loop {
            let report =
                self.reports.recv_timeout(Duration::from_secs(20)).expect("a report in time");
            assert_eq!(report.group, group());
            if report.job == job {
                return report.outcome;
            }
        }
    }

    fn start(&mut self) -> Outcome {
        let job = self.ask(Resources::start);
        self.outcome(job)
    }

    fn stop(&mut self) -> Outcome {
        let job = self.ask(Resources::stop);
        self.outcome(job)
    }

    fn probe(&mut self) -> Outcome {
        let job = self.ask(Resources::probe);
        self.outcome(job)
    }

    fn find(&mut self, text: &str) -> Option<netlink::Address> {
        let all = self.socket.addresses().expect("a list");
        all.into_iter().find(|address| address.address == ip(text))
    }

    /// A script that writes `NAME ARGS` of each call to the file `calls`, then does `body`, where
    /// `$action` is what is wanted and `$state` a file of its own.
    fn script(&self, name: &str, body: &str, timeout: Duration) -> Resource {
        let path = self.dir.join(name);
        let dir = self.dir.display();
        let text = format!(
            "#!/bin/sh\nfor action; do :; done\necho {name} \"$@\" >>{dir}/calls\n\
             state={dir}/{name}.state\n{body}\n"
        );
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
        let args = vec!["one".into(), "two".into()];
        let kind = Kind::Script { script: path, args, script_dirs: vec![] };
        resource(name, kind, timeout)
    }

    /// A well-behaved service.
    fn good(&self, name: &str) -> Resource {
        self.script(name, GOOD, Duration::from_secs(10))
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        let short = |line: &str| line.replace(" one two", "");
        text.lines().map(short).filter(|line| !line.ends_with("status")).collect()
    }

    /// A process id that a script wrote.
    fn pid(&self, file: &str) -> i32 {
        let path = self.dir.join(file);
        wait_until("the script wrote its process id", || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
        });
        std::fs::read_to_string(&path).expect("there").trim().parse().expect("a number")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.resources.take());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const GOOD: &str = "case $action in
start) touch $state;;
stop) rm -f $state;;
status) if [ -e $state ]; then echo running; else echo stopped; exit 3; fi;;
esac";

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
