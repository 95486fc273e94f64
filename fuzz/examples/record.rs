//! Writes frames of real clusters, and what they look like on a serial line, to `corpus`: once
//! more after each change of the format.
use latido::core::framing::{ENCODED_MAX, encode};
use latido::core::id::{Incarnation, LinkId};
use latido::core::io::{Command, Input, Outcome, Output};
use latido::core::limits::{FRAME_MAX, GROUPS_MAX};
use latido::core::time::Instant;
use latido::core::{Cluster, Identity, Rule};
use latido::sim::Setup;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    for (name, nodes, groups) in [("pair", 2, 2), ("three", 3, 3), ("eight", 8, GROUPS_MAX)] {
        let frames = talk(nodes, groups);
        // The first of all, one in the middle of the start, one of the steady state, the goodbye.
        let parts = [("first", 0), ("start", frames.len() / 4), ("steady", frames.len() / 2)];
        for (part, index) in parts.into_iter().chain([("goodbye", frames.len() - 1)]) {
            let frame = &frames[index];
            std::fs::write(place("frame", &format!("{name}-{part}"))?, frame)?;
            let mut line = [0; ENCODED_MAX];
            let len = encode(frame, &mut line).expect("a frame fits");
            // The first four bytes say how the line is cut into pieces.
            let line = [&[0, 7, 63, 255], &line[..len]].concat();
            std::fs::write(place("line", &format!("{name}-{part}"))?, line)?;
        }
    }
    Ok(())
}

fn place(target: &str, name: &str) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

/// Nodes that find one another, start their groups, and shut down; the frames of the first of them.
fn talk(nodes: usize, groups: usize) -> Vec<Vec<u8>> {
    let rule = if nodes == 2 { Rule::AssumeDead } else { Rule::Majority };
    let setup = Setup { nodes, groups, links: 2, rule, ..Setup::default() };
    let link = LinkId::new(0).expect("the first link");
    let mut now = 1_000_000;
    let born = |node: usize| {
        let held_until = [Instant::default(); GROUPS_MAX];
        let incarnation = Incarnation(0x1234_5678_9abc_def0 + node as u64);
        let identity = Identity { incarnation, memory: None, held_until, seed: 5 };
        Cluster::new(setup.config(node), &identity, Instant::from_micros(now))
    };
    let mut clusters: Vec<Cluster> = (0..nodes).map(born).collect();
    for cluster in &mut clusters {
        cluster.handle(Instant::from_micros(now), Input::Link { link, up: true });
    }
    let mut recorded = Vec::new();
    for turn in 0..1_000 {
        now += 2_000;
        for node in 0..nodes {
            let shutdown = Input::Command { id: 1, command: Command::Shutdown };
            let input = if turn == 900 && node == 0 { shutdown } else { Input::Tick };
            clusters[node].handle(Instant::from_micros(now + node as u64), input);
            for frame in carry_out(&mut clusters[node], now + node as u64) {
                for other in (0..nodes).filter(|other| *other != node) {
                    let input = Input::Frame { link, bytes: &frame };
                    clusters[other].handle(Instant::from_micros(now + 100), input);
                }
                if node == 0 {
                    recorded.push(frame);
                }
            }
        }
    }
    recorded
}

/// Does what the core says, at once and with success; the frames that it sends.
fn carry_out(cluster: &mut Cluster, now: u64) -> Vec<Vec<u8>> {
    let mut buffer = [0; FRAME_MAX];
    let mut frames = Vec::new();
    while let Some(output) = cluster.poll(&mut buffer) {
        let (group, job, outcome) = match output {
            Output::Start { group, job } => (group, job, Outcome::Running),
            Output::Stop { group, job } | Output::Probe { group, job } => {
                (group, job, Outcome::Stopped)
            }
            Output::Transmit { len, .. } => {
                frames.push(buffer[..usize::from(len)].to_vec());
                continue;
            }
            _ => continue,
        };
        cluster.handle(Instant::from_micros(now), Input::Report { group, job, outcome });
    }
    frames
}
