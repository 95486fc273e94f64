//! `stonith` and `stonith_host`: the device that each node shoots with.
use super::super::diagnostic::{At, Located, Report};
use super::super::fence::{self, Device, DeviceKind, Method, Parameters, RawDevice};
use super::Word;
use super::hacf::HaCf;
use std::path::PathBuf;

/// One of these lines.
pub(super) struct Line {
    at: At,
    /// The node that may use it, lower-case; `None`: all.
    from: Option<String>,
    plugin: String,
    parameters: Parameters,
}

impl Line {
    fn serves(&self, node: &str) -> bool {
        self.from.as_deref().is_none_or(|from| from == node)
    }
}

/// Reads a line.
pub(super) fn read(hacf: &mut HaCf, name: Word, words: &[Word], report: &mut Report) {
    let host = name.text == "stonith_host";
    let (from, rest) = match (host, words) {
        (true, [from, rest @ ..]) => (Some(from.text.to_ascii_lowercase()), rest),
        _ => (None, words),
    };
    // Among the parameters are passwords.
    for word in rest.iter().skip(1).filter(|_| host) {
        report.hide(word.at);
    }
    let Some((plugin, parameters)) = rest.split_first() else {
        let cure = if host {
            "`stonith_host * TYPE parameters…`: which node has the device, its type, its parameters"
        } else {
            "`stonith TYPE /path/to/file`: the device's type, and a file with its parameters"
        };
        report.error(name.at, format!("{} names no type of device", name.text), cure);
        return;
    };
    let parameters = if host {
        let words: Vec<&str> = parameters.iter().map(|word| word.text).collect();
        Parameters::Line(words.join(" "))
    } else {
        let Some(file) = parameters.first() else {
            let cure = "`stonith TYPE /path/to/file`: a file with the device's parameters";
            report.error(name.at, "stonith names no file", cure);
            return;
        };
        if !file.text.starts_with('/') {
            let message = format!("`{}` is not a full path", file.text);
            report.error(file.at, message, "start it with `/`");
        }
        Parameters::File(PathBuf::from(file.text))
    };
    let from = from.filter(|from| from != "*");
    hacf.stonith.push(Line { at: name.at, from, plugin: plugin.text.to_owned(), parameters });
}

/// The devices of the nodes: as in Heartbeat the last line that a node may use is its device.
pub(super) fn devices(hacf: &HaCf, report: &mut Report) -> Vec<RawDevice> {
    let lines = &hacf.stonith;
    let used: Vec<Option<usize>> = hacf
        .nodes
        .iter()
        .map(|node| lines.iter().rposition(|line| line.serves(&node.value)))
        .collect();
    let mut devices = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let known = |from: &String| hacf.nodes.iter().any(|node| node.value == *from);
        if let Some(from) = line.from.as_ref().filter(|from| !known(from)) {
            let message = format!("{from} is no node: nobody uses this device");
            report.warning(line.at, message, "name a node, or `*` for all of them");
            continue;
        }
        if !used.contains(&Some(index)) {
            let message = "not used: as in Heartbeat, the last device that a node has is its only \
                           one";
            let cure = "`latido migrate`, and a [[fence]] table for each: they are tried in order";
            report.warning(line.at, message, cure);
            continue;
        }
        // Whoever does not shoot with it is not shot by others with it either: there are two.
        let shot = |(place, _): &(usize, &Located<String>)| {
            let others = used.iter().enumerate().filter(|(other, _)| other != place);
            others.into_iter().any(|(_, used)| *used == Some(index))
        };
        let nodes = hacf.nodes.iter().enumerate().filter(shot);
        devices.push(RawDevice {
            at: line.at,
            nodes: nodes.map(|(_, node)| Located::new(node.value.clone(), line.at)).collect(),
            device: Device {
                nodes: Vec::new(),
                kind: DeviceKind::Stonith {
                    plugin: line.plugin.clone(),
                    parameters: line.parameters.clone(),
                },
                // What Heartbeat asked for, and all that some plug-ins know.
                method: Method::Reset,
                timeout: fence::TIMEOUT,
                tries: fence::TRIES,
                test_every: fence::TEST_EVERY,
                on: true,
            },
        });
    }
    if let (false, Some(first)) = (devices.is_empty(), lines.first()) {
        for (node, used) in hacf.nodes.iter().zip(&used) {
            if used.is_none() {
                let node = &node.value;
                let message = format!("{node} has no device: it could not shoot the other node");
                let cure = format!(
                    "add `stonith_host {node} TYPE parameters…`, or remove these lines from both \
                     nodes: a silent peer is then assumed dead"
                );
                report.error(first.at, message, cure);
            }
        }
    }
    devices
}
