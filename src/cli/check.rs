//! `latido check`: everything that is wrong with a configuration, and what it means if nothing is.
mod fence;
mod guards;
mod serial;
mod times;
mod watchdog;

pub use times::Tried;

use crate::config::lease::KERNEL_LIFETIME;
use crate::config::{
    Config, Diagnostic, Failback, Link, Loaded, Medium, Rule, Severity, Source, colours, describe,
    differences, format_duration, load,
};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER: &str = "\
Exit codes:
  0  it works, though there may be warnings
  1  there are errors, or the configurations of the nodes differ
  2  usage";

/// Said where the dead time is shorter than that.
const SHORT_DEAD: &str =
    "          without the lease gate (docs/gate.md) the address of a frozen or killed owner stays
          up to about 1.3 s (its lifetime in the kernel), while the peer takes over after dead
";

/// Check configurations: every error and warning, with its line and the cure.
///
/// Given several (one of each node), it compares them too.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = AFTER)]
pub struct Args {
    /// A latido.toml; may be given once for each node
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A Heartbeat directory (ha.cf, haresources, authkeys); may be given once for each node
    #[arg(long, value_name = "DIR")]
    pub ha_dir: Vec<PathBuf>,
    /// Make sure that this is a node of it; default: warn if this machine is none
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What came of a check.
#[derive(Debug)]
pub struct Outcome {
    /// Each configuration and what was said about it.
    pub checked: Vec<(Source, Loaded)>,
    /// What differs between them.
    pub differences: Vec<String>,
    /// Whether the lease gate is to be had here.
    pub gate: Tried,
}

impl Outcome {
    /// Whether there is any error.
    pub fn failed(&self) -> bool {
        !self.differences.is_empty()
            || self.checked.iter().any(|(_, loaded)| {
                loaded.config.is_none() || loaded.diagnostics.iter().any(Diagnostic::is_error)
            })
    }

    /// Looks for this machine among the nodes: an error if its `name` was given and is none of
    /// them, else a warning, since the files may have been brought here from another machine.
    pub fn find_node(&mut self, name: Option<&str>) {
        let severity = if name.is_some() { Severity::Error } else { Severity::Warning };
        for (source, loaded) in &mut self.checked {
            let Some(config) = &loaded.config else { continue };
            let Err(who) = config.find_node(name) else { continue };
            let message = match name {
                Some(name) => format!("there is no node {name}"),
                None => format!("this machine is called {who} and is not in the list"),
            };
            let nodes = preferred_order(config).join(", ");
            let cure = match name {
                Some(_) => format!("the nodes are {nodes}"),
                None => format!(
                    "the nodes are {nodes}: on one of them correct the list, or run it with --node"
                ),
            };
            let found = Diagnostic::whole(severity, source.path(), &message, &cure);
            // Errors come first.
            let place = if found.is_error() { 0 } else { loaded.diagnostics.len() };
            loaded.diagnostics.insert(place, found);
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let checked =
            self.checked.iter().map(|(source, loaded)| json_of(source, loaded, &self.gate));
        serde_json::json!({
            "schema": 1,
            "ok": !self.failed(),
            "configurations": checked.collect::<Vec<_>>(),
            "differences": self.differences,
        })
    }

    /// For people; with colours if `styled`.
    pub fn text(&self, styled: bool) -> String {
        let mut text = String::new();
        for (source, loaded) in &self.checked {
            for diagnostic in &loaded.diagnostics {
                let _ = writeln!(text, "{}\n", diagnostic.render(styled));
            }
            let count = |wanted: Severity| {
                loaded.diagnostics.iter().filter(|found| found.severity == wanted).count()
            };
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            if let Some(config) = &loaded.config {
                text.push_str(&summary(config, &self.gate));
            }
            let verdict = if errors == 0 { "works" } else { "does not work" };
            let _ = writeln!(
                text,
                "{}: {verdict}; {} and {}\n",
                source.path().display(),
                plural(errors, "error"),
                plural(warnings, "warning")
            );
        }
        for line in &self.differences {
            let advice = "use the same haresources, and the same node and time lines in ha.cf, \
                          on both nodes";
            let cure = match self.checked.first() {
                Some((source, _)) if source.is_heartbeat() => advice,
                _ => "use the same latido.toml on both nodes",
            };
            let message = format!("the nodes differ in {line}");
            let place = self.checked.first().map(|(source, _)| source.path().to_path_buf());
            let found =
                Diagnostic::whole(Severity::Error, &place.unwrap_or_default(), &message, cure);
            let _ = writeln!(text, "{}\n", found.render(styled));
        }
        text
    }
}

/// Checks, and compares each configuration with the first.
pub fn check(sources: Vec<Source>) -> Outcome {
    let checked: Vec<(Source, Loaded)> =
        sources.into_iter().map(|source| (source.clone(), load(&source))).collect();
    let mut configs = checked.iter().filter_map(|(_, loaded)| loaded.config.as_ref());
    let mut differing = Vec::new();
    if let Some(first) = configs.next() {
        for other in configs {
            differing.extend(differences(first, other));
        }
    }
    Outcome { checked, differences: differing, gate: Tried::default() }
}

/// Runs the command: 0, or 1 with errors.
pub fn run(args: Args) -> ExitCode {
    let mut sources: Vec<Source> = args.config.into_iter().map(Source::Latido).collect();
    sources.extend(args.ha_dir.into_iter().map(Source::Heartbeat));
    if sources.is_empty() {
        match Source::find(None, None) {
            Ok(source) => sources.push(source),
            Err(message) => {
                eprintln!("latido: {message}");
                return ExitCode::FAILURE;
            }
        }
    }
    let alone = sources.len() == 1;
    let mut outcome = check(sources);
    // Of several at most one is this machine's.
    if alone || args.node.is_some() {
        outcome.find_node(args.node.as_deref());
    }
    if alone {
        outcome.gate = Tried::here();
    }
    let text = if args.json {
        format!("{:#}\n", outcome.json())
    } else {
        outcome.text(colours(&std::io::stdout()))
    };
    let printed = print(&text);
    if outcome.failed() || !printed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints to stdout; false if it could not be written, which is then said. A reader that has seen
/// enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("latido: the output could not be written: {error}");
            false
        }
        _ => true,
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn json_of(source: &Source, loaded: &Loaded, tried: &Tried) -> serde_json::Value {
    let diagnostics: Vec<_> = loaded.diagnostics.iter().map(Diagnostic::json).collect();
    serde_json::json!({
        "source": source.path().to_string_lossy(),
        "kind": if source.is_heartbeat() { "heartbeat" } else { "latido" },
        "ok": loaded.config.is_some() && !loaded.diagnostics.iter().any(Diagnostic::is_error),
        "diagnostics": diagnostics,
        "summary": loaded.config.as_ref().map(|config| json_summary(config, tried)),
    })
}

fn json_summary(config: &Config, tried: &Tried) -> serde_json::Value {
    let groups: Vec<_> = config
        .groups
        .iter()
        .map(|group| {
            let mut json = times::json(config, group, tried);
            json["name"] = group.name.clone().into();
            json["prefer"] = names(config, &group.prefer).into();
            json["failback"] = (group.failback == Failback::Auto).into();
            let resources = group.resources.iter().map(|one| one.name.clone());
            json["resources"] = resources.collect::<Vec<_>>().into();
            json
        })
        .collect();
    let worst = times::longest(config, tried).as_micros();
    serde_json::json!({
        "cluster": config.cluster,
        "nodes": config.nodes,
        "witnesses": config.witnesses,
        "links": config.links.iter().map(|link| &link.name).collect::<Vec<_>>(),
        "groups": groups,
        "quorum": times::json_quorum(config, tried),
        "authenticated": config.keys.authenticated,
        "fencing": fence::json(config),
        "guards": guards::json(config),
        "takeover_us_max": u64::try_from(worst).unwrap_or(u64::MAX),
        "digest": config.digest(),
        "voters_digest": config.voters_digest(),
    })
}

/// Names of the nodes with these indices.
fn names<'a>(config: &'a Config, indices: &[usize]) -> Vec<&'a str> {
    indices.iter().filter_map(|index| config.nodes.get(*index)).map(String::as_str).collect()
}

/// The nodes as people think of them: the first group's preference, then the others.
fn preferred_order(config: &Config) -> Vec<&str> {
    let prefer = config.groups.first().map_or(&[][..], |group| &group.prefer);
    let mut order = names(config, prefer);
    for node in &config.nodes {
        if !order.contains(&node.as_str()) {
            order.push(node);
        }
    }
    order
}

/// What the configuration means.
fn summary(config: &Config, tried: &Tried) -> String {
    let timing = &config.timing;
    let show = format_duration;
    let mut text = format!("cluster   {}\n", config.cluster);
    let _ = writeln!(text, "nodes     {}", preferred_order(config).join(", "));
    if !config.witnesses.is_empty() {
        let _ = writeln!(text, "witnesses {}", config.witnesses.join(", "));
    }
    let _ = writeln!(
        text,
        "timing    a heartbeat every {}; late after {}, dead after {}; a starting node waits {} \
         for its peer",
        show(timing.interval),
        show(timing.warn),
        show(timing.dead),
        show(timing.initial_dead)
    );
    for (index, link) in config.links.iter().enumerate() {
        let head = if index == 0 { "links    " } else { "         " };
        let _ = writeln!(text, "{head} {}", describe_link(config, link));
    }
    for (index, group) in config.groups.iter().enumerate() {
        let head = if index == 0 { "groups   " } else { "         " };
        let failback = match group.failback {
            Failback::Auto => format!(
                "returns to {} when that has been stable for {}",
                names(config, &group.prefer).first().unwrap_or(&""),
                show(timing.failback_delay)
            ),
            Failback::Manual => "stays where it is".to_string(),
        };
        let nodes = names(config, &group.prefer).join(", then ");
        let _ = writeln!(text, "{head} {}: {nodes}; {failback}", group.name);
        let resources: Vec<String> = group.resources.iter().map(describe).collect();
        let _ = writeln!(text, "            {}", resources.join(" → "));
    }
    text.push_str(&times::text(config, tried));
    if config.rule == Rule::AssumeDead && timing.dead < KERNEL_LIFETIME {
        text.push_str(SHORT_DEAD);
    }
    text.push_str(&fence::summary(config));
    text.push_str(&watchdog::summary(config, *tried == Tried::Elsewhere));
    text.push_str(&guards::summary(config));
    text.push_str(rule_cost(config.rule));
    text.push_str(fence::stop_failure(config));
    if config.keys.authenticated {
        let ids: Vec<String> = config.keys.keys.iter().map(|key| key.0.to_string()).collect();
        let _ = writeln!(
            text,
            "frames    sealed with key {}; accepted: {}",
            config.keys.active,
            ids.join(", ")
        );
    } else {
        text.push_str(
            "frames    unauthenticated: anybody who can send to a link can take the cluster over\n",
        );
    }
    if config.rule != Rule::AssumeDead {
        text.push_str(&times::verdict(config, tried));
    }
    text
}

fn rule_cost(rule: Rule) -> &'static str {
    match rule {
        Rule::AssumeDead => {
            "rule      assume-dead: NOT SAFE in a partition. With every path cut, both nodes will \
             own every group\n          until a path is back; then one of them lets go\n"
        }
        Rule::Fencing => {
            "rule      fencing: one owner in every partition: nobody takes over from a silent \
             node before its power\n          is proven to be off. While no device answers, nobody \
             takes over: `latido status` says so\n"
        }
        Rule::Majority => {
            "rule      majority: one owner in every partition; who is not with more than half of \
             the nodes lets go\n"
        }
    }
}

fn describe_link(config: &Config, link: &Link) -> String {
    match &link.medium {
        Medium::Broadcast { port, .. } => format!("{} (UDP port {port})", link.name),
        Medium::Multicast { port, group, ttl, .. } => {
            format!("{} ({group}, UDP port {port}, ttl {ttl})", link.name)
        }
        Medium::Unicast { port, peers, .. } => {
            format!("{} (to {}, UDP port {port})", link.name, peers.join(", "))
        }
        Medium::Ethernet { peers, ethertype, .. } if peers.is_empty() => {
            format!("{} (EtherType {ethertype:#06x}, broadcast)", link.name)
        }
        Medium::Ethernet { peers, ethertype, .. } => {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            format!("{} (EtherType {ethertype:#06x}, to {})", link.name, peers.join(", "))
        }
        Medium::Serial { baud, line, .. } => serial::describe(config, link, *baud, line),
    }
}
