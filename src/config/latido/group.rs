//! `[[group]]` and its resources.
use super::super::diagnostic::{Located, Report};
use super::super::raw::{RawGroup, RawResource};
use super::super::suggest::did_you_mean;
use super::super::{Address, Failback, Kind, announcing, values};
use super::announcing::Announced;
use super::table::{Table, keys_of};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Longest time limit of a start or stop.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
const RESOURCE: [&str; 14] = [
    "address",
    "service",
    "script",
    "interface",
    "label",
    "broadcast",
    "reannounce",
    "announce_check",
    "neighbours",
    "virtual_mac",
    "args",
    "script_dirs",
    "start_timeout",
    "stop_timeout",
];

/// What only an address has.
const ANNOUNCING: [&str; 4] = ["reannounce", "announce_check", "neighbours", "virtual_mac"];

/// Reads all groups.
pub(super) fn read(document: &Table, report: &mut Report) -> Vec<RawGroup> {
    let nodes = document.table("cluster", "[cluster]", &mut Report::default());
    // What is wrong with it was said.
    let cluster = nodes.and_then(|table| table.string("name", &mut Report::default()));
    let cluster = cluster.map(|name| name.value).unwrap_or_default();
    let nodes = nodes.and_then(|table| table.strings("nodes", &mut Report::default()));
    let mut groups = Vec::new();
    for table in document.tables("group", "[[group]]", report) {
        table.only(keys_of("[[group]]"), report);
        if !table.has("name") {
            report.error(table.at, "this group has no name", "add `name = \"…\"`");
        }
        let name = table.string("name", report);
        if let Some(name) = &name
            && (name.value.is_empty()
                || name.value.len() > 255
                || name.value.contains(char::is_control))
        {
            report.error(
                name.at,
                "this cannot be the name of a group",
                "1 to 255 bytes of printable text",
            );
        }
        // Without `prefer`, the order of the nodes is the preference.
        let prefer = table.strings("prefer", report).or_else(|| nodes.clone()).unwrap_or_default();
        if table.has("prefer") && prefer.is_empty() {
            let cure = "name the nodes, best first, or leave `prefer` out: the order of `nodes` \
                        then counts";
            report.error(table.at("prefer"), "no node may own this group", cure);
        }
        let lower = |node: Located<String>| Located::new(node.value.to_ascii_lowercase(), node.at);
        let failback = read_failback(&table, report);
        let group = name.as_ref().map_or("", |name| &name.value);
        let usual = Usual { cluster: &cluster, group, announced: Announced::read(&table, report) };
        let resources = table
            .tables("resources", "a resource", report)
            .into_iter()
            .filter_map(|resource| read_resource(&resource, &usual, report))
            .collect();
        groups.push(RawGroup {
            name: name.unwrap_or(Located::new(String::new(), table.at)),
            prefer: prefer.into_iter().map(lower).collect(),
            failback,
            resources,
        });
    }
    groups
}

fn read_failback(table: &Table, report: &mut Report) -> Failback {
    let Some(text) = table.string("failback", report) else { return Failback::Auto };
    match text.value.as_str() {
        "auto" => Failback::Auto,
        "manual" => Failback::Manual,
        other => {
            let cure = "\"auto\" (it returns to its preferred node) or \"manual\" (it stays)";
            let cure = match other {
                "on" | "always" | "yes" | "true" => "did you mean `auto`?".to_string(),
                "off" | "never" | "no" | "false" => "did you mean `manual`?".to_string(),
                _ => did_you_mean(other, &["auto", "manual"], cure),
            };
            report.error(text.at, format!("failback cannot be \"{other}\""), cure);
            Failback::Auto
        }
    }
}

/// What holds for all addresses of a group.
struct Usual<'a> {
    cluster: &'a str,
    group: &'a str,
    announced: Announced,
}

fn read_resource(table: &Table, usual: &Usual<'_>, report: &mut Report) -> Option<RawResource> {
    table.only(&RESOURCE, report);
    let kinds: Vec<&str> =
        ["address", "service", "script"].into_iter().filter(|key| table.has(key)).collect();
    let kind = match kinds[..] {
        ["address"] => read_address(table, usual, report),
        ["service"] => read_service(table, report),
        ["script"] => read_script(table, report),
        [] => {
            let cure = "start it with `address = \"192.168.0.20/24\"`, `service = \"vsftpd\"` or \
                        `script = \"/path\"`";
            report.error(table.at, "this resource has no kind", cure);
            None
        }
        _ => {
            let message = format!("a resource is one thing, not {} at once", kinds.join(" and "));
            report.error(table.at, message, "make one `{ … }` of each");
            None
        }
    };
    let mut limit = |key: &'static str| {
        let limit = table.duration(key, report)?;
        if limit.value.is_zero() || limit.value > TIMEOUT_MAX {
            report.error(limit.at, format!("`{key}` cannot be kept"), "from 1ms to 24h");
        }
        Some(limit.value)
    };
    let (start_timeout, stop_timeout) = (limit("start_timeout"), limit("stop_timeout"));
    Some(RawResource { at: table.at, kind: kind?, start_timeout, stop_timeout })
}

/// Reports the keys that mean nothing for this kind of resource.
fn refuse(table: &Table, keys: &[&'static str], kind: &str, report: &mut Report) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.error(table.at(key), format!("`{key}` means nothing for {kind}"), "remove it");
    }
}

fn read_address(table: &Table, usual: &Usual<'_>, report: &mut Report) -> Option<Kind> {
    refuse(table, &["args", "script_dirs"], "an address", report);
    let text = table.string("address", report)?;
    let (address, bits) = match text.value.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text.value.as_str(), None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let cure = "write it as \"192.168.0.20/24\" or \"2001:db8::20/64\"";
        report.error(text.at, format!("`{}` is no address", text.value), cure);
        return None;
    };
    let prefix = match bits.map(|bits| values::prefix(bits, address)).transpose() {
        Ok(prefix) => prefix,
        Err(cure) => {
            let message = format!("`/{}` is no prefix length", bits.unwrap_or_default());
            report.error(text.at, message, cure);
            None
        }
    };
    let interface = table.string("interface", report);
    if let Some(name) = &interface
        && let Err(cure) = values::interface(&name.value)
    {
        report.error(name.at, format!("`{}` is no interface", name.value), cure);
    }
    let label = table.string("label", report).map(|label| label.value);
    let broadcast = table.string("broadcast", report).and_then(|text| {
        let parsed = text.value.parse().ok();
        if parsed.is_none() {
            report.error(
                text.at,
                format!("`{}` is no address", text.value),
                "such as \"192.168.0.255\"",
            );
        }
        parsed
    });
    let interface = interface.map(|name| name.value);
    let announced = Announced::read(table, report);
    announced.check_family(address, report);
    let announcing = announced.or(&usual.announced).announcing();
    let virtual_mac = table
        .boolean("virtual_mac", report)
        .filter(|wanted| *wanted)
        .map(|_| announcing::virtual_mac(usual.cluster, usual.group, address));
    Some(Kind::Address(Address {
        address,
        prefix,
        interface,
        label,
        broadcast,
        announcing,
        virtual_mac,
    }))
}

fn read_service(table: &Table, report: &mut Report) -> Option<Kind> {
    refuse(table, &["interface", "label", "broadcast", "args"], "a service", report);
    refuse(table, &ANNOUNCING, "a service", report);
    let text = table.string("service", report)?;
    let name = text.value.strip_suffix(".service").unwrap_or(&text.value).to_string();
    let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 255 || name.starts_with('-') || name.contains(odd) {
        let cure =
            "the name of a systemd unit or of a script in /etc/init.d; for a path use `script`";
        report.error(text.at, format!("`{}` is no service", text.value), cure);
    }
    Some(Kind::Service { name, script_dirs: read_dirs(table, report) })
}

fn read_script(table: &Table, report: &mut Report) -> Option<Kind> {
    refuse(table, &["interface", "label", "broadcast"], "a script", report);
    refuse(table, &ANNOUNCING, "a script", report);
    let text = table.string("script", report)?;
    let script_dirs = read_dirs(table, report);
    let bare = !text.value.is_empty() && !text.value.contains('/') && !script_dirs.is_empty();
    if !bare && !text.value.starts_with('/') {
        let cure = "start it with `/`, or say with `script_dirs` where to look for it";
        report.error(text.at, format!("`{}` is not a full path", text.value), cure);
    }
    let args = table.strings("args", report).unwrap_or_default();
    let args = args.into_iter().map(|arg| arg.value).collect();
    Some(Kind::Script { script: PathBuf::from(text.value), args, script_dirs })
}

fn read_dirs(table: &Table, report: &mut Report) -> Vec<PathBuf> {
    let dirs = table.strings("script_dirs", report).unwrap_or_default();
    for dir in dirs.iter().filter(|dir| !dir.value.starts_with('/')) {
        report.error(dir.at, format!("`{}` is not a full path", dir.value), "start it with `/`");
    }
    dirs.into_iter().map(|dir| PathBuf::from(dir.value)).collect()
}
