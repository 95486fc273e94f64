//! `latido status`: one screen that answers "is all well, and if not, what do I do?"
mod fence;

use super::Where;
use crate::control::report::{GroupReport, NodeReport, PeerLinkReport, Report};
use crate::control::{Client, ClientError};
use crate::control::{guards, problems};
use crate::core::time::Duration;
use crate::tell::span;
use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;

const AFTER: &str = "\
Problems stand first, each with what to do. Nothing is coloured when all is well; NO_COLOR is
respected. --json prints one line of JSON; its `schema` number changes only when fields change
their meaning.

Exit codes: 0 the daemon runs (even if there are problems), 3 it does not, 4 it cannot be asked";

/// Arguments of `latido status`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Args {
    /// For programs: one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let shown = Client::connect(&args.place.runtime_dir).and_then(|mut client| {
        if args.json {
            return client.status_line();
        }
        let colour = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(screen(&client.status()?, colour))
    });
    match shown {
        Ok(text) => {
            print!("{text}");
            ExitCode::from(super::DONE)
        }
        Err(error) => {
            if let ClientError::NotRunning(_) = error
                && let Some((pid, _)) = crate::runtime::supervisor(&args.place.runtime_dir)
            {
                super::complain(format_args!(
                    "the supervisor runs (process {pid}), but its engine does not stay up: see \
                     the log; `latido stop` ends both"
                ));
                return ExitCode::from(super::UNKNOWN);
            }
            super::complain(&error);
            ExitCode::from(match error {
                ClientError::NotRunning(_) => super::NOT_RUNNING,
                ClientError::NotPermitted(_) | ClientError::Lost(..) | ClientError::Refused(_) => {
                    super::UNKNOWN
                }
            })
        }
    }
}

/// The screen, 80 columns wide.
fn screen(report: &Report, colour: bool) -> String {
    let mut text = String::new();
    let problems = problems(report);
    if !problems.is_empty() {
        let (on, off) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(text, "{on}PROBLEMS{off}");
        for problem in problems {
            text.push_str(&wrapped("  ! ", "    ", &problem));
        }
        text.push('\n');
    }
    let state = match (report.shutting_down, report.ready) {
        (true, _) => "ending",
        (false, true) => "ready",
        (false, false) => "starting, waits for its peers",
    };
    let up = span(Duration::from_millis(report.uptime_s.saturating_mul(1000)));
    let line = format!("{} (this node), {state}, up {up}, latido {}", report.node, report.version);
    text.push_str(&wrapped("", "  ", &line));
    let safe = if report.quorum.safe { "safe" } else { "NOT safe" };
    let line = format!("quorum {}: {safe}: {}", report.quorum.rule, report.quorum.why);
    text.push_str(&wrapped("", "  ", &line));
    // The first of them is the reason already.
    for warning in report.quorum.warnings.iter().skip(1) {
        if !report.quorum.urgent.contains(warning) {
            text.push_str(&wrapped("  also: ", "    ", warning));
        }
    }
    if !report.authenticated {
        let line = "frames: unauthenticated: anybody on these links can take the groups away";
        text.push_str(&wrapped("", "  ", line));
    }
    if !report.gate.why.is_empty() {
        let state = if report.gate.active { "incomplete" } else { "off" };
        let line = format!(
            "lease gate: {state}: {}. Addresses of a stopped daemon answer for up to a second.",
            report.gate.why
        );
        text.push_str(&wrapped("", "  ", &line));
    }
    if let Some(line) = report.watchdog.line() {
        text.push_str(&wrapped("watchdog: ", "  ", &line));
    }
    text.push_str("\nNODE             STATE      LINKS (round trip ± jitter, loss, last frame)\n");
    for node in &report.nodes {
        text.push_str(&node_line(node));
    }
    for witness in &report.witnesses {
        text.push_str(&witness_line(witness));
    }
    for link in &report.links {
        if let Some(modem) = &link.modem {
            text.push_str(&wrapped("  ", "    ", &modem.line(&link.name)));
        }
    }
    text.push_str(&fence::lines(report));
    if !report.references.is_empty() {
        text.push_str("\nREFERENCE        STATE\n");
        for reference in &report.references {
            let head = format!("{:<16} ", reference.name);
            text.push_str(&wrapped(&head, &" ".repeat(17), &guards::line(reference)));
        }
    }
    text.push_str("\nGROUP            STATE      OWNER            TERM\n");
    for group in &report.groups {
        text.push_str(&group_lines(group));
    }
    if !report.events.is_empty() {
        text.push_str("\nLAST EVENTS\n");
        let skip = report.events.len().saturating_sub(5);
        for event in &report.events[skip..] {
            // The date is of yesterday at most when it matters; the log has it.
            let date = event.time.starts_with(|c: char| c.is_ascii_digit());
            let time = event.time.split(' ').nth(1).filter(|_| date).unwrap_or(&event.time);
            text.push_str(&wrapped(&format!("{time} "), "             ", &event.text));
        }
    }
    text
}

fn node_line(node: &NodeReport) -> String {
    let mut state = node.state.clone();
    if node.me {
        state = "this node".into();
    }
    if node.standby {
        state = "standby".into();
    }
    let links: Vec<String> = node.links.iter().map(link_text).collect();
    let head = format!("{:<16} {state:<10} ", node.name);
    let mut text = wrapped(&head, &" ".repeat(28), &links.join(", "));
    if let Some(why) = &node.why {
        text.push_str(&wrapped("  ", "  ", &why.text));
    }
    text
}

fn link_text(link: &PeerLinkReport) -> String {
    let show = |us: u64| span(Duration::from_micros(us));
    let mut text = match link.rtt_us {
        Some(us) if link.state == "up" => {
            let mean = link.rtt_mean_us.unwrap_or(us);
            let jitter = link.jitter_us.map_or(String::new(), |us| format!(" ± {}", show(us)));
            format!("{} {}{jitter}", link.name, show(mean))
        }
        _ => format!("{} {}", link.name, link.state),
    };
    let mut more = Vec::new();
    if let Some(ppm) = link.loss_ppm.filter(|_| link.state != "down") {
        more.push(format!("{} % lost", percent(ppm)));
    }
    if let Some(ms) = link.last_ms {
        more.push(format!("{} ago", show(ms * 1000)));
    }
    if !more.is_empty() {
        let _ = write!(text, " ({})", more.join(", "));
    }
    text
}

/// As many decimals as tell something.
fn percent(ppm: u32) -> String {
    match ppm {
        0 => "0".to_owned(),
        1..10_000 => format!("{:.2}", f64::from(ppm.max(100)) / 1e4),
        _ => format!("{:.0}", f64::from(ppm) / 1e4),
    }
}

/// A witness hears a node on any of its links: only those that work say something.
fn witness_line(witness: &NodeReport) -> String {
    let up = witness.links.iter().filter(|link| link.state == "up");
    let links: Vec<String> = up
        .map(|link| match link.rtt_us {
            Some(us) => format!("{} {}", link.name, span(Duration::from_micros(us))),
            None => link.name.clone(),
        })
        .collect();
    let over = if links.is_empty() { String::new() } else { format!(": {}", links.join(", ")) };
    let head = format!("{:<16} {:<10} ", witness.name, witness.state);
    let board = witness.board.as_ref().map_or_else(String::new, |board| {
        let up = span(Duration::from_micros(u64::from(board.uptime_s) * 1_000_000));
        let supply = board.millivolts.map_or_else(String::new, |volts| {
            format!(", {}.{:02} V", volts / 1000, volts % 1000 / 10)
        });
        let (version, starts, cause) = (&board.firmware, board.starts, &board.cause);
        format!("; firmware {version}, up {up}, start {starts} ({cause}){supply}")
    });
    wrapped(&head, &" ".repeat(28), &format!("witness{over}{board}"))
}

fn group_lines(group: &GroupReport) -> String {
    let owner = group.owner.as_deref().unwrap_or("nobody");
    let term = match group.term.count {
        0 => "never owned".to_owned(),
        count => format!("{count}/{}", group.term.node),
    };
    let pinned = if group.pinned { ", moved by hand" } else { "" };
    let mut text = wrapped(
        &format!("{:<16} {:<10} {owner:<16} ", group.name, group.state),
        &" ".repeat(45),
        &format!("{term}{pinned}"),
    );
    let names: Vec<&str> = group.resources.iter().map(|resource| resource.name.as_str()).collect();
    text.push_str(&wrapped("  ", "  ", &names.join(", ")));
    text
}

/// Words broken at 80 columns; a longer word stands whole.
fn wrapped(head: &str, indent: &str, text: &str) -> String {
    let mut out = String::from(head);
    let mut column = head.chars().count();
    let mut fresh = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let len = word.chars().count();
        if !fresh && column + 1 + len > 80 {
            out.push('\n');
            out.push_str(indent);
            column = indent.chars().count();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
        fresh = false;
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
