//! What the running daemon says of a link that is its own: nobody takes its bytes away.
use super::{Fault, Verdict};
use crate::control::report::{LinkReport, NodeReport, Report};

/// The verdict on a link of this daemon's; `None`: it has no such link. `means` says whether a
/// link's name is that of the one that is tested.
pub fn asked(report: &Report, means: impl Fn(&str) -> bool) -> Option<Verdict> {
    let link = report.links.iter().find(|link| means(&link.name))?;
    Some(judge(link, report))
}

fn judge(link: &LinkReport, report: &Report) -> Verdict {
    let verdict = |fault, text: String, hints: &[&str]| Verdict {
        ok: fault == Fault::None,
        link: link.name.clone(),
        fault,
        text,
        hints: hints.iter().map(|hint| (*hint).to_owned()).collect(),
        works_at: None,
        heard_by: Vec::new(),
        by_daemon: true,
    };
    if !link.up {
        let why = link.error.as_deref().unwrap_or("no carrier, or the device is missing");
        return verdict(Fault::NotOpened, format!("the running daemon cannot use it: {why}"), &[]);
    }
    let all = || report.nodes.iter().chain(&report.witnesses).filter(|node| !node.me);
    let state = |node: &NodeReport| {
        let path = node.links.iter().find(|path| path.name == link.name);
        path.map_or(("down", None), |path| match path.state.as_str() {
            "up" => ("up", path.rtt_us),
            "one-way" => ("one-way", None),
            _ => ("down", None),
        })
    };
    let up: Vec<_> = all().filter(|node| state(node).0 == "up").collect();
    if !up.is_empty() {
        let names: Vec<&str> = up.iter().map(|node| node.name.as_str()).collect();
        let text = format!("works both ways with {}, says the running daemon", names.join(" and "));
        let heard_by = up.iter().map(|node| (node.name.clone(), state(node).1)).collect();
        return Verdict { heard_by, ..verdict(Fault::None, text, &[]) };
    }
    const STOP: &str = "more can be told when Latido is stopped here: latido stop, this test again";
    if let Some(node) = all().find(|node| state(node).0 == "one-way") {
        let text = format!("one direction only, to or from {}, says the running daemon", node.name);
        let hints = ["the wire, or the firewall, of the other direction", STOP];
        return verdict(Fault::OneWay, text, &hints);
    }
    let missing = |node: &NodeReport| !matches!(node.state.as_str(), "alive" | "late" | "left");
    if all().any(missing) {
        if let Some(stranger) = &report.stranger {
            return verdict(Fault::OtherCluster, stranger.clone(), &[]);
        }
        if report.counters.unsealed > 0 {
            let text = "frames come on some link that our key does not open".to_owned();
            let hints = ["the key file must be the same on both: latido key list", STOP];
            return verdict(Fault::WrongKey, text, &hints);
        }
    }
    let text = "nothing is received on it, says the running daemon".to_owned();
    let hints = ["does Latido run at the other end, on this link?", "the cable, a firewall", STOP];
    verdict(Fault::Silence, text, &hints)
}
