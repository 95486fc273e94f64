//! `latido.toml` → `Raw`. Every key is known or an error.
mod announcing;
mod fence;
mod group;
mod health;
mod link;
mod panel;
mod references;
mod table;
mod watchdog;
pub(super) mod witness;

use super::diagnostic::{At, Located, Report};
use super::fence::{RawFencing, default_stop_failure};
use super::raw::{Raw, RawTiming};
use super::suggest::did_you_mean;
use super::values;
use super::{Keys, Log, Rule, Source, StopFailure, files, keys};
pub use link::{ETHERTYPE, PORT};
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::{TOP, Table, keys_of};
use toml::de::{DeTable, DeValue};

/// Longest cluster name, in bytes; long enough for the one made of eight node names.
const CLUSTER_MAX: usize = 640;

/// Reads `latido.toml`; `None` if nothing could be made of it, which is then reported.
pub(super) fn read(path: &Path, report: &mut Report) -> Option<Raw> {
    let cure = "write one as docs/configuration.md shows, or name it with --config";
    let (file, text) = files::text(report, path, cure)?;
    let (document, faults) = DeTable::parse_recoverable(&text);
    for fault in &faults {
        let at = fault.span().map_or(At::file(file), |span| At::span(file, span.start, span.end));
        report.error(at, format!("this is not TOML: {}", fault.message()), "see https://toml.io");
    }
    if !faults.is_empty() {
        return None;
    }
    let document = Table::document(document.get_ref(), file);
    document.only(&TOP, report);
    let (cluster, nodes) = read_cluster(&document, report);
    let witnesses = read_witnesses(&document, report);
    let (rule, stop_failure, fencing) = read_quorum(&document, report);
    fence::check_private(path, &fencing.devices, document.at, report);
    let takeover_max = read_takeover_max(&document, report);
    let errors = report.errors();
    let (links, wires) = link::read(&document, report);
    let links_unread = report.errors() > errors;
    Some(Raw {
        source: Source::Latido(path.to_path_buf()),
        whole: At::file(file),
        cluster,
        nodes,
        witnesses,
        timing: read_timing(&document, report),
        rule,
        stop_failure,
        takeover_max,
        probe: references::read_probe(&document, rule, report),
        references: references::read(&document, report),
        fencing,
        watchdog: watchdog::read(&document, report),
        wires,
        panel: panel::read(&document, report),
        health: health::read(&document, report),
        keys: read_keys(&document, path, report),
        links,
        links_unread,
        groups: group::read(&document, report),
        log: read_log(&document, report),
        realtime: read_realtime(&document, report),
    })
}

/// The one link that a text of `[[link]]` describes.
///
/// # Errors
/// What is wrong with it, and the cure.
pub fn link_of(text: &str) -> Result<super::Link, String> {
    let mut report = Report::default();
    let file = report.file(Path::new("this link"), text);
    let (document, faults) = DeTable::parse_recoverable(text);
    if let Some(fault) = faults.first() {
        return Err(fault.message().to_owned());
    }
    let (links, _) = link::read(&Table::document(document.get_ref(), file), &mut report);
    let found = report.finish();
    if let Some(error) = found.iter().find(|found| found.severity == super::Severity::Error) {
        return Err(format!("{}; {}", error.message, error.cure));
    }
    let named = super::check::name_links(links.iter().map(|link| &link.value));
    named.into_iter().next().ok_or_else(|| "no link is described".to_owned())
}

fn read_cluster(document: &Table, report: &mut Report) -> (String, Vec<Located<String>>) {
    let Some(table) = document.table("cluster", "[cluster]", report) else {
        if !document.has("cluster") {
            let cure =
                "start the file with `[cluster]`, `name = \"…\"` and `nodes = [\"…\", \"…\"]`";
            report.error(document.at, "[cluster] is missing", cure);
        }
        return (String::new(), Vec::new());
    };
    table.only(keys_of("[cluster]"), report);
    if !table.has("name") {
        report.error(
            table.at,
            "the cluster has no name",
            "add `name = \"…\"`, the same on both nodes",
        );
    }
    let name = table.string("name", report);
    if let Some(name) = &name
        && (name.value.is_empty()
            || name.value.len() > CLUSTER_MAX
            || name.value.contains(char::is_control))
    {
        let message = "this cannot be the name of a cluster";
        report.error(name.at, message, format!("1 to {CLUSTER_MAX} bytes of printable text"));
    }
    let mut nodes: Vec<Located<String>> = Vec::new();
    for mut node in table.strings("nodes", report).unwrap_or_default() {
        node.value.make_ascii_lowercase();
        if let Err(cure) = values::node_name(&node.value) {
            report.error(node.at, format!("`{}` is no node name", node.value), cure);
        }
        if nodes.iter().any(|other| other.value == node.value) {
            report.error(node.at, format!("node {} is there twice", node.value), "name it once");
        } else {
            nodes.push(node);
        }
    }
    (name.map(|name| name.value).unwrap_or_default(), nodes)
}

fn read_witnesses(document: &Table, report: &mut Report) -> Vec<Located<String>> {
    let mut witnesses = Vec::new();
    for table in document.tables("witness", "[[witness]]", report) {
        table.only(keys_of("[[witness]]"), report);
        if !table.has("name") {
            let cure = "add `name = \"…\"`, as `latido witness --name` has it";
            report.error(table.at, "this witness has no name", cure);
        }
        let Some(mut name) = table.string("name", report) else { continue };
        name.value.make_ascii_lowercase();
        if let Err(cure) = values::node_name(&name.value) {
            report.error(name.at, format!("`{}` is no name of a witness", name.value), cure);
        }
        witnesses.push(name);
    }
    witnesses
}

fn read_timing(document: &Table, report: &mut Report) -> RawTiming {
    let table = document.table("timing", "[timing]", report);
    if let Some(table) = &table {
        table.only(keys_of("[timing]"), report);
    }
    let here = table.map_or(document.at, |table| table.at);
    let errors = report.errors();
    let mut get = |key: &'static str, default: Duration| match &table {
        Some(table) => table.duration(key, report).unwrap_or(Located::new(default, here)),
        None => Located::new(default, here),
    };
    let interval = get("interval", Duration::from_millis(100));
    let dead = get("dead", interval.value * 10);
    let warn = get("warn", dead.value / 2);
    let initial_dead = get("initial_dead", dead.value.max(Duration::from_secs(30)));
    let failback_delay = get("failback_delay", Duration::from_secs(5));
    let readable = report.errors() == errors;
    RawTiming { readable, interval, warn, dead, initial_dead, failback_delay }
}

const MEANING: &str = "\"assume-dead\" for two nodes: a silent peer counts as dead, so with every \
                       path cut both nodes will own every group; \"fencing\" for two nodes that \
                       can switch each other off; or \"majority\" for three to eight";

fn read_quorum(document: &Table, report: &mut Report) -> (Rule, StopFailure, RawFencing) {
    let mut fencing = RawFencing::none(document.at);
    let errors = report.errors();
    fencing.devices = fence::read(document, report);
    fencing.unread = report.errors() > errors;
    fencing.own = fence::read_own(document, report);
    let Some(table) = document.table("quorum", "[quorum]", report) else {
        if !document.has("quorum") {
            let cure = "add `[quorum]` and `rule = \"assume-dead\"`: a silent peer counts as dead, \
                        so with every path cut both nodes will own every group";
            report.error(document.at, "nothing says who may own a group", cure);
        }
        return (Rule::AssumeDead, StopFailure::Release, fencing);
    };
    table.only(keys_of("[quorum]"), report);
    let rule = read_rule(&table, report);
    fencing.delay = table.duration("fence_delay", report);
    (fencing.rule_at, fencing.stop_failure_at) = (table.at("rule"), table.at("stop_failure"));
    // A reset that could not be read has been reported.
    let own = document.has("self_fence") || document.has("watchdog");
    (rule, read_stop_failure(&table, rule, own, report), fencing)
}

fn read_takeover_max(document: &Table, report: &mut Report) -> Option<Located<Duration>> {
    // That it is missing, or no table, was said.
    let is_table = matches!(document.value("quorum")?.value, DeValue::Table(_));
    let table = is_table.then(|| document.table("quorum", "[quorum]", report))??;
    table.duration("takeover_max", report)
}

fn read_rule(table: &Table, report: &mut Report) -> Rule {
    match table.string("rule", report) {
        Some(rule) => match rule.value.as_str() {
            "assume-dead" => {}
            "majority" => return Rule::Majority,
            "fencing" => return Rule::Fencing,
            other => {
                let cure = did_you_mean(other, &["assume-dead", "majority", "fencing"], MEANING);
                report.error(rule.at, format!("there is no rule \"{other}\""), cure);
            }
        },
        None if !table.has("rule") => report.error(table.at, "`rule` is missing", MEANING),
        None => {}
    }
    Rule::AssumeDead
}

/// What stands for itself is what the rule promises: one owner, or a service in any case.
fn read_stop_failure(table: &Table, rule: Rule, own: bool, report: &mut Report) -> StopFailure {
    match table.string("stop_failure", report) {
        None => default_stop_failure(rule, own),
        Some(text) => match text.value.as_str() {
            "release" if rule != Rule::AssumeDead => {
                let cure = "leave it out: nobody takes over before it is certain that it is safe";
                let message = "with stop_failure = \"release\" what cannot be stopped runs twice";
                report.warning(text.at, message, cure);
                StopFailure::Release
            }
            "release" => StopFailure::Release,
            "block" => StopFailure::Block,
            "reset" => StopFailure::Reset,
            "fence" => StopFailure::Fence,
            other => {
                let message = format!("stop_failure cannot be \"{other}\"");
                let cure = "\"release\" (the other node takes over; the service matters more) or \
                            \"block\" (nobody takes over until somebody has looked), \"reset\" \
                            (this machine resets itself) or \"fence\" (the other node fences it)";
                let all = ["release", "block", "reset", "fence"];
                report.error(text.at, message, did_you_mean(other, &all, cure));
                StopFailure::Release
            }
        },
    }
}

fn read_keys(document: &Table, path: &Path, report: &mut Report) -> Option<Keys> {
    const CURE: &str = "make a key with `latido keygen`, and add `[keys]` with \
                        `file = \"/etc/latido/keys\"`";
    let Some(table) = document.table("keys", "[keys]", report) else {
        if !document.has("keys") {
            report.error(document.at, "[keys] is missing", CURE);
        }
        return None;
    };
    table.only(keys_of("[keys]"), report);
    if table.boolean("authenticated", report) == Some(false) {
        if table.has("file") {
            let cure = "remove `authenticated = false` to use the keys, or else `file`";
            report.error(table.at("file"), "keys that would not be used", cure);
        }
        let message =
            "unauthenticated: anybody who can send to these links can take the cluster over";
        report.warning(table.at("authenticated"), message, CURE);
        return Some(keys::unauthenticated());
    }
    let Some(file) = table.string("file", report) else {
        if !table.has("file") {
            report.error(table.at, "`file` is missing", CURE);
        }
        return None;
    };
    // A relative path starts at the configuration, wherever the daemon was started.
    let path = path.parent().unwrap_or(Path::new("")).join(&file.value);
    keys::read(report, &path)
}

fn read_log(document: &Table, report: &mut Report) -> Log {
    let Some(table) = document.table("log", "[log]", report) else { return Log::default() };
    table.only(keys_of("[log]"), report);
    let mut file = |key: &'static str| {
        let path = table.string(key, report)?;
        if !path.value.starts_with('/') {
            let message = format!("`{}` is not a full path", path.value);
            report.error(path.at, message, "start it with `/`");
        }
        values::directory_of_log(&path.value, path.at, report);
        Some(PathBuf::from(path.value))
    };
    let (file, debug_file) = (file("file"), file("debug_file"));
    let syslog = table.string("syslog", report).map(|name| {
        if !values::FACILITIES.contains(&name.value.as_str()) {
            let others = format!("one of {}", values::FACILITIES.join(", "));
            let cure = did_you_mean(&name.value, &values::FACILITIES, &others);
            report.error(name.at, format!("there is no syslog facility {}", name.value), cure);
        }
        name.value
    });
    let debug = table.integer("debug", 0..=255, report).unwrap_or(0);
    Log { file, debug_file, syslog, debug: u8::try_from(debug).unwrap_or(u8::MAX) }
}

/// Default 1, the lowest real-time priority: it suffices to come before all ordinary processes.
fn read_realtime(document: &Table, report: &mut Report) -> Option<u8> {
    let Some(value) = document.value("realtime") else { return Some(1) };
    match value.value {
        DeValue::Boolean(false) => None,
        DeValue::Boolean(true) => Some(1),
        DeValue::Integer(_) => {
            document.integer("realtime", 1..=99, report).and_then(|value| u8::try_from(value).ok())
        }
        _ => value.wrong("a priority from 1 to 99, or false", report),
    }
}
