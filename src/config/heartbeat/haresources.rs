//! `haresources`: each line is a group: the preferred node, then its resources.
use super::super::diagnostic::{At, Located, Report};
use super::super::raw::{RawGroup, RawResource};
use super::super::suggest::{did_you_mean, suggest};
use super::super::values;
use super::super::{Address, Failback, Kind};
use super::Word;
use super::hacf::HaCf;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Agents that Latido replaces by its own addresses.
const ADDRESS_AGENTS: [&str; 3] = ["IPaddr", "IPaddr2", "IPv6addr"];
/// The scripts that came with Heartbeat, and DRBD's.
const AGENTS: [&str; 25] = [
    "IPaddr",
    "IPaddr2",
    "IPv6addr",
    "SendArp",
    "IPsrcaddr",
    "portblock",
    "Filesystem",
    "LVM",
    "drbddisk",
    "drbdupper",
    "apache",
    "MailTo",
    "Xinetd",
    "Raid1",
    "ServeRAID",
    "LinuxSCSI",
    "db2",
    "WAS",
    "ids",
    "ICP",
    "Delay",
    "AudibleAlarm",
    "WinPopup",
    "OCF",
    "LVM-activate",
];
/// Where systemd units live.
const UNIT_DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Longest word, in bytes.
const WORD_MAX: usize = 255;

/// Parses the text of a `haresources` that is registered as `file`.
pub(super) fn parse(
    text: &str,
    file: usize,
    hacf: &HaCf,
    script_dirs: &[PathBuf],
    report: &mut Report,
) -> Vec<RawGroup> {
    let mut groups = Vec::new();
    for words in logical_lines(text, file) {
        let words: Vec<Word> =
            words.iter().map(|word| Word { text: &word.value, at: word.at }).collect();
        groups.extend(read_group(&words, hacf, script_dirs, report));
    }
    groups
}

/// The words of each line; lines that end in `\` are joined first, without a blank between them.
fn logical_lines(text: &str, file: usize) -> Vec<Vec<Located<String>>> {
    let mut lines = Vec::new();
    let mut words: Vec<Located<String>> = Vec::new();
    // Whether the next line's first word continues the last one.
    let mut glued = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        let content = &bare[..bare.find('#').unwrap_or(bare.len())];
        let continued = content.ends_with('\\');
        let content = content.strip_suffix('\\').unwrap_or(content);
        let mut position = 0;
        for piece in content.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let word = piece.trim_end_matches(|c: char| c.is_ascii_whitespace());
            let from = start + position;
            position += piece.len();
            if word.is_empty() {
                glued = false;
                continue;
            }
            match words.last_mut() {
                Some(last) if glued => last.value.push_str(word),
                _ => {
                    let at = At::span(file, from, from + word.len());
                    words.push(Located::new(word.to_string(), at));
                }
            }
            // A word at the very end of a continued line goes on in the next one.
            glued = continued && piece.len() == word.len();
        }
        if !continued {
            glued = false;
            if !words.is_empty() {
                lines.push(std::mem::take(&mut words));
            }
        }
    }
    if !words.is_empty() {
        lines.push(words);
    }
    lines
}

fn read_group(
    words: &[Word],
    hacf: &HaCf,
    script_dirs: &[PathBuf],
    report: &mut Report,
) -> Option<RawGroup> {
    let (node, words) = words.split_first()?;
    let name = node.text.to_ascii_lowercase();
    let known: Vec<&str> = hacf.nodes.iter().map(|node| node.value.as_str()).collect();
    if !known.contains(&name.as_str()) {
        let all = format!("a line starts with a node of ha.cf: {}", known.join(", "));
        let message = format!("there is no node `{}`", node.text);
        report.error(node.at, message, did_you_mean(&name, &known, &all));
    }
    if words.is_empty() {
        report.warning(node.at, "a node without resources: this line does nothing", "remove it");
        return None;
    }
    let mut resources = Vec::new();
    for word in words {
        let kind = read_resource(*word, node.text, script_dirs, report);
        let resource = kind.map(|kind| RawResource {
            at: word.at,
            kind,
            start_timeout: None,
            stop_timeout: None,
        });
        resources.extend(resource);
    }
    let first = &words[0];
    let key = match resources.first().map(|resource| &resource.kind) {
        Some(Kind::Address(address)) => address.address.to_string(),
        _ => first.text.to_string(),
    };
    let others = hacf.nodes.iter().filter(|other| other.value != name);
    let mut prefer = vec![Located::new(name.clone(), node.at)];
    prefer.extend(others.map(|other| Located::new(other.value.clone(), node.at)));
    // What is wrong with the node or with all resources has been reported already.
    if !known.contains(&name.as_str()) || resources.is_empty() {
        return None;
    }
    Some(RawGroup {
        name: Located::new(key, first.at),
        prefer,
        failback: hacf.failback.unwrap_or(Failback::Auto),
        resources,
    })
}

fn read_resource(
    word: Word,
    node: &str,
    script_dirs: &[PathBuf],
    report: &mut Report,
) -> Option<Kind> {
    if word.text.len() > WORD_MAX || word.text.contains(char::is_control) {
        report.error(
            word.at,
            "this is no name of a resource",
            "at most 255 bytes of printable text",
        );
        return None;
    }
    if word.text == "\\" {
        let message = "a `\\` continues a line only as its very last character";
        report.error(word.at, message, "remove the blanks after it");
        return None;
    }
    if looks_like_address(word.text) {
        return read_address(word, 0, node, report).map(Kind::Address);
    }
    let (agent, rest) = match word.text.split_once("::") {
        Some((agent, rest)) => (agent, Some(rest)),
        None => (word.text, None),
    };
    if ADDRESS_AGENTS.contains(&agent) {
        if rest.is_none_or(str::is_empty) {
            let message = format!("{agent} has no address");
            report.error(word.at, message, format!("`{agent}::192.168.0.20/24/eth0`"));
            return None;
        }
        return read_address(word, agent.len() + 2, node, report).map(Kind::Address);
    }
    let odd = agent.is_empty() || agent.starts_with('-');
    if odd || (agent.contains('/') && !agent.starts_with('/')) {
        let message = format!("`{}` is neither a script nor an address", word.text);
        let cure = format!("separate resources with a blank: `{}`", agent.replace('/', " "));
        report.error(word.at, message, if odd { "name a script".to_string() } else { cure });
        return None;
    }
    check_agent(word, agent, rest.is_some(), node, script_dirs, report)?;
    let script_dirs = script_dirs.to_vec();
    if rest.is_none() && !agent.starts_with('/') {
        let name = agent.strip_suffix(".service").unwrap_or(agent);
        if name.is_empty() {
            report.error(word.at, "a service without a name", "write its name before `.service`");
            return None;
        }
        return Some(Kind::Service { name: name.to_string(), script_dirs });
    }
    // Empty arguments vanish, as they did with Heartbeat.
    let args = rest.unwrap_or("").split("::").filter(|arg| !arg.is_empty());
    let args = args.map(str::to_string).collect();
    Some(Kind::Script { script: PathBuf::from(agent), args, script_dirs })
}

/// Heartbeat's shorthand, and what looks like an attempt at it; IPv6 too, which it did not have.
fn looks_like_address(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or("");
    let dotted = first.split('.').count() == 4
        && first.split('.').all(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    dotted || first.parse::<IpAddr>().is_ok()
}

/// `address[/bits[/(interface[:label]|broadcast)[/broadcast]]]`, from byte `skip` of the word on.
fn read_address(word: Word, skip: usize, node: &str, report: &mut Report) -> Option<Address> {
    let spec = &word.text[skip..];
    let part_at = |part: &str, offset: usize| word.at.part(skip + offset, part.len());
    let mut parts = Vec::new();
    let mut offset = 0;
    for part in spec.split('/') {
        parts.push((part, part_at(part, offset)));
        offset += part.len() + 1;
    }
    let (text, at) = parts[0];
    let Ok(address) = text.parse::<IpAddr>() else {
        report.error(
            at,
            format!("`{text}` is no address"),
            "such as 192.168.0.20 or 192.168.0.20/24/eth0",
        );
        return None;
    };
    let mut found = Address::new(address);
    if let Some((bits, at)) = parts.get(1).filter(|part| !part.0.is_empty()) {
        match values::prefix(bits, address) {
            Ok(bits) => found.prefix = Some(bits),
            Err(cure) => {
                report.error(
                    *at,
                    format!("`{bits}` is no prefix length"),
                    glued(&parts, 1, word, node).unwrap_or(cure),
                );
            }
        }
    }
    let mut rest = 2;
    if let Some((device, at)) = parts.get(2)
        && !device.starts_with(|c: char| c.is_ascii_digit())
    {
        rest = 3;
        let interface = device.split(':').next().unwrap_or("");
        if device.is_empty() {
        } else if let Err(cure) = values::interface(interface) {
            report.error(*at, format!("`{device}` is no interface"), cure);
        } else {
            found.interface = Some(interface.to_string());
            found.label = (interface != *device).then(|| device.to_string());
        }
    }
    if let Some((broadcast, at)) = parts.get(rest).filter(|part| !part.0.is_empty()) {
        match broadcast.parse::<Ipv4Addr>() {
            Ok(address) => found.broadcast = Some(IpAddr::V4(address)),
            Err(_) => {
                let message =
                    format!("`{broadcast}` is no broadcast address, which may stand here");
                let cure = glued(&parts, rest, word, node).unwrap_or_default();
                report.error(*at, message, cure);
            }
        }
    }
    if let Some((extra, at)) = parts.get(rest + 1) {
        let cure = glued(&parts, rest + 1, word, node).unwrap_or_default();
        report.error(*at, format!("`{extra}` is one part too many"), cure);
    }
    Some(found)
}

/// If a service was glued to the address by a `/`: the line as it was meant.
fn glued(parts: &[(&str, At)], from: usize, word: Word, node: &str) -> Option<String> {
    let services: Vec<&str> = parts.get(from..)?.iter().map(|part| part.0).collect();
    if services.iter().any(|name| !name.starts_with(|c: char| c.is_ascii_alphabetic())) {
        return None;
    }
    let address: Vec<&str> = parts[..from].iter().map(|part| part.0).collect();
    let agent = match word.text.split_once("::") {
        Some((agent, _)) => {
            format!("{}::", suggest(agent, ADDRESS_AGENTS).unwrap_or(agent))
        }
        None => String::new(),
    };
    let address = address.join("/");
    Some(format!(
        "separate resources with a blank: `{node} {agent}{address} {}`",
        services.join(" ")
    ))
}

/// Says what is known of a script that is not in the directories; `None` if it cannot be meant.
fn check_agent(
    word: Word,
    agent: &str,
    has_args: bool,
    node: &str,
    script_dirs: &[PathBuf],
    report: &mut Report,
) -> Option<()> {
    let found = if agent.starts_with('/') {
        Path::new(agent).is_file()
    } else {
        script_dirs.iter().any(|dir| dir.join(agent).is_file())
    };
    if found || AGENTS.contains(&agent) {
        return Some(());
    }
    let at = word.at.part(0, agent.len());
    let meant = suggest(agent, AGENTS).filter(|meant| {
        // `apache2` is a service of its own, not `apache` mistyped.
        agent.trim_end_matches(|c: char| c.is_ascii_digit()) != *meant
    });
    if let (Some(meant), true) = (meant, has_args) {
        let message = format!("there is no agent `{agent}`");
        report.error(at, message, format!("did you mean `{meant}`?"));
        if ADDRESS_AGENTS.contains(&meant) {
            // Look at its address too, so that all that is wrong is said at once.
            read_address(word, agent.len() + 2, node, report);
        }
        return None;
    }
    let unit = agent.strip_suffix(".service").unwrap_or(agent);
    let unit = format!("{unit}.service");
    if !has_args && UNIT_DIRS.iter().any(|dir| Path::new(dir).join(&unit).exists()) {
        return Some(());
    }
    let kind = if has_args || agent.starts_with('/') { "script" } else { "service" };
    let cure = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "install it, or look at its name; where it is missing, the group cannot start"
            .to_string(),
    };
    report.warning(at, format!("the {kind} `{agent}` is not on this machine"), cure);
    Some(())
}
