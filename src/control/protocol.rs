//! One JSON object on one line each way.
use super::group_set;
use crate::core::id::GroupSet;
use crate::core::io::{Command, Refusal};
use crate::tell::Names;
use serde::{Deserialize, Serialize};

/// Longest request, in bytes.
pub(super) const REQUEST_MAX: usize = 4096;
/// Longest reply that a client takes, in bytes.
pub(super) const REPLY_MAX: usize = 1 << 20;

/// Why a client is refused that may try again at once.
pub(super) const TOO_MANY: &str = "too many clients";

/// What is asked: `{"command":"standby","groups":["ftp"]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub command: Order,
    /// For which groups; none named: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// For `fence` and `confirm-dead`: about which node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// For these: it is meant; without it they only say what they would do. For `reload`: the
    /// peers' part in a change of keys was looked into.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sure: bool,
    /// For `try-key`: the number of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u8>,
}

impl Request {
    /// A request for everything.
    pub fn of(command: Order) -> Request {
        Request { command, groups: Vec::new(), node: None, sure: false, key: None }
    }
}

/// The commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Report everything.
    Status,
    /// Report what the heartbeats have shown.
    Advise,
    /// Hand over: the named groups, or all and take nothing any more.
    Standby,
    /// Ask for groups.
    Takeover,
    /// Return groups to their preferred nodes.
    Failback,
    /// Hand everything over and end.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Switch a node's power off and on.
    Fence,
    /// Believe that a node is off.
    ConfirmDead,
    /// Find out who accepts a key.
    TryKey,
    /// Pet the watchdog no more, to see whether it resets this machine.
    WatchdogTest,
    /// Pet it again: it did not.
    WatchdogResume,
    /// This machine does not feel well: hand everything over, as for a standby.
    Unfit,
    /// It is well again: end that standby, and move nothing.
    Fit,
}

impl Order {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Order::Status => "status",
            Order::Advise => "advise",
            Order::Standby => "standby",
            Order::Takeover => "takeover",
            Order::Failback => "failback",
            Order::Stop => "stop",
            Order::Reload => "reload",
            Order::Fence => "fence",
            Order::ConfirmDead => "confirm-dead",
            Order::TryKey => "try-key",
            Order::WatchdogTest => "watchdog test",
            Order::WatchdogResume => "watchdog test: end",
            Order::Unfit => "unfit",
            Order::Fit => "fit",
        }
    }
}

/// The reply: `{"ok":true,…}` or `{"ok":false,"why":…,"cure":…}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Done, or begun.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It comes into force with a new engine, which is being started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarts: bool,
}

impl Answer {
    /// Done, or begun.
    pub fn done(note: Option<String>) -> Answer {
        Answer { ok: true, note, ..Answer::default() }
    }

    /// Not done: why, and what to do about it.
    pub fn no(why: impl Into<String>, cure: impl Into<String>) -> Answer {
        Answer { ok: false, why: Some(why.into()), cure: Some(cure.into()), ..Answer::default() }
    }
}

/// Reads a request line.
pub(super) fn parse(line: &[u8]) -> Result<Request, Answer> {
    serde_json::from_slice(line).map_err(|error| {
        Answer::no(
            format!("not a request: {error}"),
            r#"send one line such as {"command":"status"}"#,
        )
    })
}

/// The core's command for a request; `None` for what the core has no part in.
pub(super) fn command(request: &Request, names: &Names) -> Result<Option<Command>, Answer> {
    let groups = group_set(&request.groups, &names.groups).map_err(|unknown| {
        let known = if names.groups.is_empty() {
            "no group is configured".to_owned()
        } else {
            format!("the groups are: {}", names.groups.join(", "))
        };
        Answer::no(format!("there is no group {unknown}"), known)
    })?;
    Ok(match request.command {
        Order::Status | Order::Advise | Order::Reload | Order::Fence | Order::ConfirmDead => None,
        Order::WatchdogTest | Order::WatchdogResume => None,
        Order::Unfit => Some(Command::Standby),
        Order::Fit => Some(Command::Failback(GroupSet::EMPTY)),
        Order::TryKey => {
            let key = request.key.ok_or_else(|| {
                Answer::no("no key is named", r#"send {"command":"try-key","key":2}"#)
            })?;
            Some(Command::TryKey(key))
        }
        Order::Standby if request.groups.is_empty() => Some(Command::Standby),
        Order::Standby => Some(Command::HandOver(groups)),
        Order::Takeover => Some(Command::Takeover(groups)),
        Order::Failback => Some(Command::Failback(groups)),
        Order::Stop => Some(Command::Shutdown),
    })
}

/// Why the core refused, and what to do.
pub fn refusal(refusal: Refusal, names: &Names) -> Answer {
    match refusal {
        Refusal::Starting => Answer::no(
            "this node has just started and has not heard its peers yet",
            "wait until it is ready (at the latest after `initial dead`), then try again",
        ),
        Refusal::ShuttingDown => {
            Answer::no("this node is ending", "start it again, or ask the other node")
        }
        Refusal::NobodyToTake(group) => Answer::no(
            format!("no other node can take {}", names.group(group)),
            "see `latido status`: another node must be alive (not late), not in standby, and \
             able to run it",
        ),
        Refusal::NotAble(group) => {
            let name = names.group(group);
            Answer::no(
                format!("this node cannot run {name}"),
                format!(
                    "see `latido status`: after a failed start mend it and `latido failback \
                     --group {name}`; without carrier look at the cable; not in `prefer`: add it"
                ),
            )
        }
        Refusal::PreferredAway(group) => Answer::no(
            format!("no node that {} prefers is alive, willing and able", names.group(group)),
            "see `latido status`; end its standby with `latido failback` there",
        ),
        Refusal::ConfigurationsDiffer => Answer::no(
            "the nodes' configurations differ",
            "copy the same file to every node and run `latido reload` there",
        ),
        Refusal::NoSuchKey(key) => Answer::no(
            format!("the running daemon has no key {key}"),
            "add it to the key file (`latido key add`), then `latido reload`",
        ),
        Refusal::NoSuchNode(node) => Answer::no(
            format!("{} is this node, or owns no groups", names.node(node)),
            "name another node of the cluster",
        ),
        Refusal::Fencing(node) => Answer::no(
            format!("node {} is being fenced already", names.node(node)),
            "see `latido status`",
        ),
        Refusal::NodeIsThere(node) => Answer::no(
            format!("node {} was heard just now: it is not dead", names.node(node)),
            "switch it off first, or use `latido standby` there",
        ),
        Refusal::WordDoesNotCount => Answer::no(
            "under the rule majority nobody's word counts for a node's",
            "wait: its lease ends by itself, and the majority takes over",
        ),
        Refusal::Blocked(group) => {
            let name = names.group(group);
            Answer::no(
                format!("{name} is blocked: a resource could not be stopped on its owner"),
                format!("stop it there by hand, then `latido failback --group {name}` there"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{GroupId, GroupSet};

    fn names() -> Names {
        Names { groups: vec!["ftp".into(), "web".into()], ..Names::default() }
    }

    fn ask(line: &str) -> Result<Option<Command>, Answer> {
        parse(line.as_bytes()).and_then(|request| command(&request, &names()))
    }

    #[test]
    fn requests_become_commands() {
        let web = GroupSet::EMPTY.with(GroupId::new(1).expect("in range"));
        let cases = [
            (r#"{"command":"status"}"#, None),
            (r#"{"command":"standby"}"#, Some(Command::Standby)),
            (r#"{"command":"standby","groups":["web"]}"#, Some(Command::HandOver(web))),
            (r#"{"command":"takeover","groups":["web"]}"#, Some(Command::Takeover(web))),
            (r#"{"command":"takeover"}"#, Some(Command::Takeover(GroupSet::first(2)))),
            (r#"{"command":"failback"}"#, Some(Command::Failback(GroupSet::first(2)))),
            (r#"{"command":"stop"}"#, Some(Command::Shutdown)),
        ];
        for (line, expected) in cases {
            assert_eq!(ask(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn wrong_requests_are_told_what_is_right() {
        for line in ["", "{}", "status", r#"{"command":"explode"}"#, r#"{"command":1}"#] {
            let answer = ask(line).expect_err(line);
            assert!(!answer.ok && answer.why.is_some() && answer.cure.is_some(), "{line}");
        }
        let answer = ask(r#"{"command":"takeover","groups":["ftp","mail"]}"#).expect_err("unknown");
        assert_eq!(answer.why.as_deref(), Some("there is no group mail"));
        assert_eq!(answer.cure.as_deref(), Some("the groups are: ftp, web"));
    }

    #[test]
    fn refusals_name_the_group_and_the_cure() {
        let answer = refusal(Refusal::NobodyToTake(GroupId::default()), &names());
        assert_eq!(answer.why.as_deref(), Some("no other node can take ftp"));
        let answer = refusal(Refusal::Blocked(GroupId::default()), &names());
        assert!(answer.cure.is_some_and(|cure| cure.contains("failback --group ftp")));
    }
}
