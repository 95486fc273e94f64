//! Heartbeat's `ha.cf`, `haresources` and `authkeys` → `Raw`, with the meaning of version 3.0.6.
//!
//! Every directive is honoured, mapped, or named in a warning with the reason. Where Heartbeat
//! refused without a word (`keepalive 1s`) it is understood; where it accepted nonsense
//! (`udpport 99999`) it is refused or named.
pub(super) mod authkeys;
mod directives;
mod hacf;
mod haresources;
mod media;
mod references;
mod stonith;

use super::diagnostic::{At, Located, Report};
use super::fence::{RawFencing, default_stop_failure};
use super::files;
use super::raw::{Raw, RawTiming};
use super::watchdog::RawWatchdog;
use super::{Panel, Rule, Source, Watchdog};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use hacf::HaCf;

/// A word of a file and its place.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    at: At,
}

/// Reads a directory such as `/etc/ha.d`; `None` if nothing could be made of it.
pub(super) fn read(dir: &Path, report: &mut Report) -> Option<Raw> {
    let cure = "name the directory with --ha-dir; it holds ha.cf, haresources and authkeys";
    let (file, text) = files::text(report, &dir.join("ha.cf"), cure)?;
    let hacf = hacf::parse(&text, file, report);
    let cure =
        "write the same file on both nodes: `node address service…`, one line for each group";
    let resources = files::text(report, &dir.join("haresources"), cure);
    let groups = match &resources {
        Some((file, text)) => haresources::parse(text, *file, &hacf, &script_dirs(dir), report),
        None => Vec::new(),
    };
    let cluster = cluster_name(&hacf.nodes);
    let keys = authkeys::read(&dir.join("authkeys"), &cluster, report);
    let timing = timing(&hacf, At::file(file), report);
    let errors = report.errors();
    let watchdog = watchdog(&hacf, timing.dead.value);
    let devices = stonith::devices(&hacf, report);
    let unread = report.errors() > errors;
    let references = hacf.references.finish(timing.interval.value, timing.dead.value, report);
    // What it means: with a device nobody takes over before it has shot, without one at once.
    let rule = if devices.is_empty() { Rule::AssumeDead } else { Rule::Fencing };
    let fencing = RawFencing { devices, unread, ..RawFencing::none(At::file(file)) };
    Some(Raw {
        source: Source::Heartbeat(dir.to_path_buf()),
        whole: At::file(file),
        cluster,
        timing,
        probe: super::references::probe_by_default(rule),
        references,
        rule,
        takeover_max: None,
        stop_failure: default_stop_failure(rule, false),
        fencing,
        watchdog,
        wires: Vec::new(),
        panel: Panel::default(),
        health: None,
        keys,
        nodes: hacf.nodes,
        witnesses: Vec::new(),
        links: hacf.media,
        links_unread: hacf.media_unread,
        groups,
        log: hacf.log,
        realtime: if hacf.realtime { Some(hacf.priority) } else { None },
    })
}

/// With Heartbeat's timeout: no sooner than the other node would act.
fn watchdog(hacf: &HaCf, dead: Duration) -> Option<RawWatchdog> {
    let device = hacf.watchdog.as_ref()?;
    let seconds = (dead + Duration::from_millis(10)).as_millis().div_ceil(1000);
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
    let watchdog = Watchdog { device: device.value.clone(), timeout, ..Watchdog::default() };
    Some(RawWatchdog { at: device.at, watchdog })
}

/// Heartbeat's clusters have no name of their own: that of the nodes tells two clusters apart.
fn cluster_name(nodes: &[Located<String>]) -> String {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.value.as_str()).collect();
    names.sort_unstable();
    format!("heartbeat:{}", names.join(","))
}

/// Where scripts of haresources live, in the order of the search.
fn script_dirs(dir: &Path) -> Vec<PathBuf> {
    let here = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf()).join("resource.d");
    let mut dirs = vec![here];
    for usual in ["/etc/ha.d/resource.d", "/etc/init.d"] {
        if !dirs.iter().any(|dir| dir == Path::new(usual)) {
            dirs.push(PathBuf::from(usual));
        }
    }
    dirs
}

/// Fills in Heartbeat's defaults; what it accepted but cannot work is put right with a warning.
fn timing(hacf: &HaCf, file: At, report: &mut Report) -> RawTiming {
    let or = |value: Option<Located<Duration>>, default: Duration| {
        value.unwrap_or(Located::new(default, file))
    };
    let interval = or(hacf.keepalive.clone(), Duration::from_secs(1));
    let dead = or(hacf.deadtime.clone(), Duration::from_secs(30));
    let half = dead.value / 2;
    let mut warn = or(hacf.warntime.clone(), half);
    let usable = hacf.times_readable && interval.value < dead.value;
    if usable && (warn.value <= interval.value || warn.value >= dead.value) {
        let middle = if half > interval.value { half } else { (interval.value + dead.value) / 2 };
        if hacf.warntime.is_some() {
            let message = "warntime does not lie between keepalive and deadtime";
            let cure = format!("{} is used", super::format_duration(middle));
            report.warning(warn.at, message, cure);
        }
        warn.value = middle;
    }
    let seconds = Duration::from_secs;
    let initial = match dead.value {
        short if short < seconds(6) => seconds(12),
        long if long > seconds(10) => long,
        other => other * 2,
    };
    RawTiming {
        readable: hacf.times_readable,
        initial_dead: or(hacf.initdead.clone(), initial),
        failback_delay: Located::new(seconds(5), file),
        interval,
        warn,
        dead,
    }
}
