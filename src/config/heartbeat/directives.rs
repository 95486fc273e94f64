//! Directives of `ha.cf` that this version does not act upon: each is named with the reason.
use super::super::diagnostic::Report;
use super::super::suggest::suggest;
use super::Word;
use super::hacf::{boolean, last};

/// Directives whose values are not split at commas.
pub(super) const WHOLE_LINE: [&str; 10] = [
    "stonith",
    "stonith_host",
    "apiauth",
    "respawn",
    "failfast",
    "ucast",
    "ucast6",
    "mcast",
    "mcast6",
    "ping_group",
];

/// Directives that do something here.
pub(super) const HONOURED: [&str; 27] = [
    "node",
    "keepalive",
    "deadtime",
    "warntime",
    "initdead",
    "udpport",
    "baud",
    "bcast",
    "udp",
    "ucast",
    "ucast6",
    "mcast",
    "mcast6",
    "serial",
    "auto_failback",
    "nice_failback",
    "logfile",
    "debugfile",
    "logfacility",
    "debug",
    "realtime",
    "rtprio",
    "ping",
    "ping6",
    "ping_group",
    "deadping",
    "watchdog",
];

/// Directives that are read, checked as far as it makes sense, and named.
const NAMED: [&str; 4] = ["stonith", "stonith_host", "respawn", "failfast"];

/// Directives that mean nothing here, and why.
const WITHOUT_MEANING: [(&str, &str); 26] = [
    ("hopfudge", "frames are never passed on from node to node, so that there are no hops"),
    ("hbaping", "Fibre Channel references do not exist here"),
    ("apiauth", "the permissions of the control socket decide who may give commands"),
    ("use_logd", "there is no logging daemon: the log goes to stderr, and to logfile and syslog"),
    ("conn_logd_time", "there is no logging daemon"),
    ("syslogmsgfmt", "the log has one format"),
    ("log_badpack", "bad frames are counted, see `latido status`"),
    ("memreserve", "nothing is allocated after the start"),
    ("coredumps", "the limits of the service manager decide about core dumps"),
    ("coreroot", "the limits of the service manager decide about core dumps"),
    ("msgfmt", "Latido has its own frames, and does not talk with Heartbeat nodes"),
    ("compression", "frames are too small to be compressed"),
    ("compression_threshold", "frames are too small to be compressed"),
    ("traditional_compression", "frames are too small to be compressed"),
    ("max_rexmit_delay", "nothing is retransmitted: the next heartbeat says it all"),
    ("hbgenmethod", "an incarnation is a random number, not a counter in a file"),
    ("uuidfrom", "nodes are known by name, not by UUID"),
    ("crm_daemon_dir", "it is Pacemaker's"),
    ("crmd_spawns_pengine", "it is Pacemaker's"),
    ("record_config_changes", "it is Pacemaker's"),
    ("record_pengine_inputs", "it is Pacemaker's"),
    ("enable_config_writes", "it is Pacemaker's"),
    ("cluster", "the cluster is named after its nodes"),
    ("quorum_server", "this version has only the rule assume-dead"),
    ("env", "this version does not pass variables on to scripts"),
    ("use_apphbd", "`latido run` supervises itself"),
];

/// A directive that does nothing here, or does not exist.
pub(super) fn other(name: Word, words: &[Word], report: &mut Report) {
    match name.text {
        "respawn" | "failfast" => programs(name, words, report),
        "crm" | "pacemaker" => pacemaker(name, words, report),
        "autojoin" => autojoin(name, words, report),
        _ => without_meaning(name, words, report),
    }
}

fn programs(name: Word, words: &[Word], report: &mut Report) {
    let Some(program) = words.get(1) else {
        let message = format!("{} has a user and a program", name.text);
        report.error(name.at, message, format!("`{} hacluster /path/to/program`", name.text));
        return;
    };
    if !program.text.starts_with('/') {
        let message = format!("`{}` is not a full path", program.text);
        report.error(program.at, message, "start it with `/`");
    }
    let (message, cure) = match program.text.rsplit('/').next() {
        Some("dopd") => (
            "dopd is not started: it talks with Heartbeat, not with Latido".to_string(),
            "use DRBD's own fencing handlers".to_string(),
        ),
        _ => (
            format!("{} is not started: Latido starts nothing but resources", program.text),
            "make a service of it, and let the service manager start it".to_string(),
        ),
    };
    report.warning(program.at, message, cure);
}

fn pacemaker(name: Word, words: &[Word], report: &mut Report) {
    let Some(word) = last(name, words, report) else { return };
    if !matches!(word.text.to_ascii_lowercase().as_str(), "off" | "no" | "n" | "0" | "false") {
        let message = format!("`{} {}`: this is a Pacemaker cluster", name.text, word.text);
        let cure = "Latido does what haresources says, and replaces Heartbeat, not Pacemaker";
        report.error(name.at, message, cure);
    }
}

fn autojoin(name: Word, words: &[Word], report: &mut Report) {
    let Some(word) = last(name, words, report) else { return };
    if word.text != "none" {
        let message = format!("`autojoin {}`: nodes do not join on their own", word.text);
        report.error(word.at, message, "name every node with `node`, and remove this line");
    }
}

fn without_meaning(name: Word, words: &[Word], report: &mut Report) {
    if let Some((_, why)) = WITHOUT_MEANING.iter().find(|(known, _)| *known == name.text) {
        let value = words.first();
        match (name.text, value) {
            ("hopfudge", Some(word)) if word.text.parse::<u8>().is_err() => {
                let message = format!("`hopfudge {}` is no number, and not used: {why}", word.text);
                report.warning(word.at, message, "remove the line");
            }
            // What it asks for is how it is.
            ("use_logd", Some(word)) if boolean(name, *word, report) == Some(false) => {}
            _ => {
                report.warning(
                    name.at,
                    format!("{} is not used: {why}", name.text),
                    "remove the line",
                );
            }
        }
        return;
    }
    let others = WITHOUT_MEANING.iter().map(|(known, _)| *known);
    let known = HONOURED.iter().chain(&NAMED).copied().chain(others);
    let cure = match suggest(name.text, known) {
        Some(meant) if meant.eq_ignore_ascii_case(name.text) => {
            format!("directives are written in small letters: `{meant}`")
        }
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "see docs/from-heartbeat.md for what is known".to_string(),
    };
    report.error(name.at, format!("there is no directive `{}`", name.text), cure);
}
