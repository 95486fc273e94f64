//! Fencing on the control socket: `fence` and `confirm-dead`, and what `status` says of devices.
use super::Snapshot;
use super::protocol::{Answer, Order, Request};
use super::report::{Facts, NodeReport, Report};
use crate::core::id::NodeId;
use crate::core::io::{Command, Proof};
use crate::core::time::Instant;
use crate::fence::{NodeState, Test};
use serde::{Deserialize, Serialize};

/// What is known of the fencing of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FenceReport {
    /// Its devices, in the order in which they are tried.
    pub devices: Vec<DeviceReport>,
    /// It is being fenced.
    pub under_way: bool,
    /// It certainly runs nothing: `fence`, `goodbye` or `word` (an operator's).
    pub proof: Option<String>,
    /// It was seen since this machine's start: it may be fenced without being asked.
    pub seen: bool,
    /// Fences that have come to an end since the engine's start.
    pub count: u32,
    /// The latest of them.
    pub last: Option<LastReport>,
}

/// What is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceReport {
    /// How people call it.
    pub name: String,
    /// Its latest self-test: pending, passed or failed.
    pub test: String,
    /// Why it failed.
    pub error: Option<String>,
    /// How long ago that was.
    pub tested_ago_ms: Option<u64>,
    /// Whether the node has power, as far as the device tells: on or off.
    pub power: Option<String>,
}

/// What a fence came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastReport {
    /// How long ago it ended.
    pub ago_ms: u64,
    /// The node was certainly off.
    pub confirmed: bool,
    /// The device that confirmed it, or what the last one said.
    pub text: String,
    /// Why it could not be switched on again.
    pub stays_off: Option<String>,
}

/// The report about one node.
pub(super) fn report(node: NodeId, snapshot: &Snapshot, facts: &Facts) -> FenceReport {
    let known = &snapshot.status.nodes[node.index()];
    let NodeState { devices, last, count, since } = facts.fences.of(node);
    let ago = |at: Instant| snapshot.at.since(at).millis();
    FenceReport {
        devices: devices
            .into_iter()
            .map(|device| {
                let (test, error) = match device.test {
                    Test::Pending => ("pending", None),
                    Test::Good => ("passed", None),
                    Test::Failed(why) => ("failed", Some(why)),
                };
                let power = device.power.map(|on| if on { "on" } else { "off" }.to_owned());
                let tested_ago_ms = device.tested.map(ago);
                DeviceReport { name: device.name, test: test.into(), error, tested_ago_ms, power }
            })
            .collect(),
        under_way: known.fencing || since.is_some(),
        proof: known.proof.map(|proof| {
            match proof {
                Proof::Fence => "fence",
                Proof::Goodbye => "goodbye",
                Proof::Word => "word",
            }
            .to_owned()
        }),
        seen: known.seen,
        count,
        last: last.map(|last| {
            let (confirmed, text) = match last.outcome {
                Ok(device) => (true, device),
                Err(why) => (false, why),
            };
            LastReport { ago_ms: ago(last.at), confirmed, text, stays_off: last.dark }
        }),
    }
}

impl FenceReport {
    /// Whether a device could fence the node, as far as is known.
    fn usable(&self) -> bool {
        self.devices.iter().any(|device| device.test == "passed")
    }
}

/// What needs somebody about a node's fencing.
pub(super) fn problems(node: &NodeReport, report: &Report) -> Vec<String> {
    let (name, fence) = (&node.name, &node.fence);
    let rule = report.quorum.rule == "fencing";
    let mut problems = Vec::new();
    let silent = matches!(node.state.as_str(), "dead" | "unknown");
    let open = rule && silent && fence.proof.is_none() && report.ready;
    let word = format!("If {name} is certainly off: latido confirm-dead {name}");
    match &fence.last {
        _ if fence.under_way => problems.push(format!("{name} is being fenced now.")),
        Some(last) if open && !last.confirmed => problems.push(format!(
            "{name} is silent and could not be fenced, so nothing is taken over from it: {}. Mend \
             the device: it is tried again and again. {word}",
            last.text
        )),
        _ if open && !fence.seen => problems.push(format!(
            "{name} was not seen since this machine started, so it is not fenced and nothing is \
             taken over from it. To switch it off: latido fence {name}. {word}"
        )),
        _ => {}
    }
    if let Some(why) = fence.last.as_ref().and_then(|last| last.stays_off.as_ref())
        && silent
    {
        problems.push(format!("{name} was fenced and stays off: {why}. Switch it on by hand."));
    }
    for device in fence.devices.iter().filter(|device| device.test == "failed") {
        let error = device.error.as_deref().unwrap_or("its self-test failed");
        let cost = match (fence.usable(), rule) {
            (true, _) => "another device could",
            (false, true) => "nobody would take over from it",
            (false, false) => "no device could",
        };
        problems.push(format!(
            "{} could not fence {name} if it were needed: {error}; {cost}. Mend it now.",
            device.name
        ));
    }
    let alive = matches!(node.state.as_str(), "alive" | "late");
    for device in fence.devices.iter().filter(|device| alive && device.test == "passed") {
        if device.power.as_deref() == Some("off") && !fence.under_way && fence.last.is_none() {
            problems.push(format!(
                "{} says that {name} is without power, but it is alive: the device switches \
                 another machine. Look at its plug or address.",
                device.name
            ));
        }
    }
    problems
}

/// The core's command for `fence` or `confirm-dead`; without the word that it is meant, what it
/// would do.
pub(super) fn command(request: &Request, facts: &Facts) -> Result<Command, Answer> {
    let nodes = &facts.names.nodes;
    let Some(name) = request.node.as_deref().map(str::to_ascii_lowercase) else {
        return Err(Answer::no("no node is named", format!("name one: {}", nodes.join(", "))));
    };
    let found = nodes.iter().position(|node| *node == name).and_then(NodeId::new);
    let Some(node) = found else {
        let known = format!("the nodes are: {}", nodes.join(", "));
        return Err(Answer::no(format!("there is no node {name}"), known));
    };
    if request.command == Order::Fence {
        if facts.fences.of(node).devices.is_empty() && name != facts.node {
            return Err(Answer::no(
                format!("nothing here can switch {name} off: no [[fence]] device names it"),
                match facts.rule.as_str() {
                    "majority" => "add one (docs/fencing.md); or pull its plug: what it owns is \
                                   taken over when its lease has ended, without a word"
                        .to_owned(),
                    _ => format!(
                        "add one (docs/fencing.md); or pull its plug, then: latido confirm-dead \
                         {name}"
                    ),
                },
            ));
        }
        if !request.sure {
            return Err(Answer::no(
                format!(
                    "this would switch the power of {name} off and on, now: all that runs there \
                     ends without being stopped, and what is not saved is lost"
                ),
                format!(
                    "if that is what you want: latido fence {name} --yes-really; to move its \
                     groups in order, there: latido standby"
                ),
            ));
        }
        return Ok(Command::Fence(node));
    }
    if !request.sure {
        return Err(Answer::no(
            format!(
                "with this you vouch that {name} is off, or that nothing of the cluster's runs \
                 there any more, nor will before it hears this node again. That it is silent is \
                 not enough: a node whose cables are cut goes on writing. Its groups start here at \
                 once; if you are wrong, they run twice"
            ),
            format!(
                "pull its plug or look at the machine itself, then: latido confirm-dead {name} \
                 --yes-really"
            ),
        ));
    }
    Ok(Command::ConfirmDead(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::Quorum;
    use crate::tell::Names;

    fn facts() -> Facts {
        let nodes = vec!["laptop".to_owned(), "pi".to_owned()];
        Facts { names: Names { nodes, ..Names::default() }, node: "pi".into(), ..Facts::default() }
    }

    fn ask(command: Order, node: Option<&str>, sure: bool) -> Result<Command, Answer> {
        let node = node.map(str::to_owned);
        command_of(&Request { node, sure, ..Request::of(command) })
    }

    fn command_of(request: &Request) -> Result<Command, Answer> {
        command(request, &facts())
    }

    #[test]
    fn without_the_word_one_is_told_what_it_means() {
        let answer = ask(Order::ConfirmDead, Some("laptop"), false).expect_err("not sure");
        let why = answer.why.expect("why");
        assert!(why.contains("you vouch that laptop is off"), "{why}");
        assert!(answer.cure.expect("cure").contains("confirm-dead laptop --yes-really"));
        let node = NodeId::new(0).expect("in range");
        assert_eq!(
            ask(Order::ConfirmDead, Some("Laptop"), true),
            Ok(Command::ConfirmDead(node)),
            "names are lower-case"
        );
        for (node, why) in [(Some("pc"), "there is no node pc"), (None, "no node is named")] {
            let answer = ask(Order::Fence, node, true).expect_err("no node");
            assert_eq!(answer.why.as_deref(), Some(why));
        }
        let answer = ask(Order::Fence, Some("laptop"), true).expect_err("no device");
        assert!(answer.why.expect("why").contains("no [[fence]] device names it"));
    }

    fn node(state: &str, test: &str) -> NodeReport {
        let error = (test == "failed").then(|| "no route to host".to_owned());
        let device =
            DeviceReport { name: "plug".into(), test: test.into(), error, ..Default::default() };
        let fence = FenceReport { devices: vec![device], seen: true, ..Default::default() };
        NodeReport { name: "laptop".into(), state: state.into(), fence, ..Default::default() }
    }

    fn of(node: NodeReport) -> Report {
        let quorum = Quorum { rule: "fencing".into(), ..Quorum::default() };
        let nodes = vec![node];
        Report { ready: true, authenticated: true, quorum, nodes, ..Report::default() }
    }

    #[test]
    fn problems_say_what_does_not_happen_and_what_to_do() {
        let told = |node: NodeReport| {
            let report = of(node);
            problems(&report.nodes[0], &report).join("\n")
        };
        assert_eq!(told(node("alive", "passed")), "");
        let text = told(node("alive", "failed"));
        assert!(text.contains("could not fence laptop if it were needed: no route"), "{text}");
        assert!(text.contains("nobody would take over from it"), "{text}");
        let mut silent = node("dead", "passed");
        let text = "plug: timed out".to_owned();
        silent.fence.last = Some(LastReport { text, ..Default::default() });
        let text = told(silent.clone());
        assert!(text.contains("nothing is taken over from it: plug: timed out"), "{text}");
        assert!(text.contains("latido confirm-dead laptop"), "{text}");
        silent.fence.proof = Some("word".into());
        assert_eq!(told(silent), "", "it is proven meanwhile");
        let mut other = node("alive", "passed");
        other.fence.devices[0].power = Some("off".into());
        assert!(told(other).contains("switches another machine"));
        let mut unseen = node("unknown", "passed");
        unseen.fence.seen = false;
        assert!(told(unseen).contains("latido fence laptop"));
    }
}
