//! `[[fence]]` and `[self_fence]`.
use super::super::diagnostic::{At, Located, Report};
use super::super::fence::{
    self, Device, DeviceKind, Method, Options, Parameters, RawDevice, Relay, SelfFence,
};
use super::super::files;
use super::super::suggest::did_you_mean;
use super::panel as values;
use super::table::{Table, keys_of};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Longest time limit of a try, and longest bound of a self-fence.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Longest time between two self-tests.
const TEST_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Options of one device, and bytes of all of them together.
const OPTIONS_MAX: usize = 64;
const OPTION_BYTES_MAX: usize = 3500;

const KINDS: [&str; 4] = ["command", "agent", "stonith", "gpio"];
const HOW: &str = "start it with `command = [\"/path\"]`, `agent = \"fence_ipmilan\"`, \
                   `stonith = \"external/ipmi\"` or `gpio = \"gpiochip0:17\"`";

/// Reads all devices.
pub(super) fn read(document: &Table, report: &mut Report) -> Vec<RawDevice> {
    let tables = document.tables("fence", "[[fence]]", report);
    tables.iter().filter_map(|table| read_device(table, report)).collect()
}

fn read_device(table: &Table, report: &mut Report) -> Option<RawDevice> {
    table.only(keys_of("[[fence]]"), report);
    let nodes = read_nodes(table, report);
    let kinds: Vec<&str> = KINDS.into_iter().filter(|key| table.has(key)).collect();
    if !table.has("gpio") {
        refuse(table, &["pulse", "sense", "settle"], "a device that is no relay", report);
    }
    let kind = match kinds[..] {
        ["command"] => read_command_device(table, report),
        ["agent"] => read_agent(table, report),
        ["stonith"] => read_stonith(table, report),
        ["gpio"] => read_relay(table, report),
        [] => {
            report.error(table.at, "this device has no kind", HOW);
            None
        }
        _ => {
            let message = format!("a device is one thing, not {} at once", kinds.join(" and "));
            report.error(table.at, message, "make one [[fence]] of each: they are tried in order");
            None
        }
    };
    let timeout = limit(table, "timeout", TIMEOUT_MAX, fence::TIMEOUT, report);
    let test_every = limit(table, "test_every", TEST_MAX, fence::TEST_EVERY, report);
    let tries = table.integer("tries", 1..=100, report).unwrap_or(fence::TRIES);
    let mut method = read_method(table, report);
    if let Some(DeviceKind::Gpio(relay)) = &kind
        && relay.pulse.is_some()
    {
        // Off and on in one.
        method = Method::Reset;
    }
    let on = table.boolean("on", report);
    if on.is_some() && method == Method::Reset {
        let message = "`on` means nothing with method = \"reset\": it is one action";
        report.error(table.at("on"), message, "remove it");
    }
    let on = on.unwrap_or(true);
    let device = Device { nodes: Vec::new(), kind: kind?, method, timeout, tries, test_every, on };
    Some(RawDevice { at: table.at, nodes, device })
}

fn read_nodes(table: &Table, report: &mut Report) -> Vec<Located<String>> {
    let lower = |node: Located<String>| Located::new(node.value.to_ascii_lowercase(), node.at);
    let cure = "add `node = \"b\"`, or `nodes = [\"a\", \"b\"]`";
    let nodes: Vec<_> = match (table.has("node"), table.has("nodes")) {
        (true, true) => {
            report.error(table.at("nodes"), "either `node` or `nodes`", "join the two");
            Vec::new()
        }
        (true, false) => table.string("node", report).into_iter().map(lower).collect(),
        (false, _) => {
            let nodes = table.strings("nodes", report).unwrap_or_default();
            nodes.into_iter().map(lower).collect()
        }
    };
    if nodes.is_empty() && !table.has("node") {
        report.error(table.at, "nothing says whose power this device switches", cure);
    }
    nodes
}

fn read_method(table: &Table, report: &mut Report) -> Method {
    let Some(text) = table.string("method", report) else { return Method::Off };
    match text.value.as_str() {
        "off" => Method::Off,
        "reset" => Method::Reset,
        other => {
            let cure = "\"off\" (off, confirmed, then on) or \"reset\" (for devices that know \
                        nothing else)";
            let cure = did_you_mean(other, &["off", "reset"], cure);
            report.error(text.at, format!("method cannot be \"{other}\""), cure);
            Method::Off
        }
    }
}

fn limit(
    table: &Table,
    key: &'static str,
    most: Duration,
    default: Duration,
    report: &mut Report,
) -> Duration {
    let Some(limit) = table.duration(key, report) else { return default };
    if limit.value < Duration::from_millis(10) || limit.value > most {
        let range = format!("from 10ms to {}", super::super::format_duration(most));
        report.error(limit.at, format!("`{key}` cannot be kept"), range);
    }
    limit.value
}

/// Reports the keys that mean nothing for this kind of device.
fn refuse(table: &Table, keys: &[&'static str], kind: &str, report: &mut Report) {
    for key in keys.iter().filter(|key| table.has(key)) {
        report.error(table.at(key), format!("`{key}` means nothing for {kind}"), "remove it");
    }
}

fn read_command_device(table: &Table, report: &mut Report) -> Option<DeviceKind> {
    refuse(table, &["options", "params", "params_file"], "a command: write arguments", report);
    read_command(table, report).map(DeviceKind::Command)
}

fn read_relay(table: &Table, report: &mut Report) -> Option<DeviceKind> {
    refuse(table, &["options", "params", "params_file", "method"], "a relay", report);
    let pin = values::pin(table, "gpio", report)?;
    let sense = values::pin(table, "sense", report);
    let mut span = |key| table.duration(key, report).map(|span| span.value);
    let (pulse, settle) = (span("pulse"), span("settle"));
    let settle = settle.unwrap_or(fence::SETTLE);
    if let Some(pulse) = pulse.filter(|pulse| *pulse < settle) {
        let show = super::super::format_duration;
        let message = format!("a pulse of {} ends before the power is gone", show(pulse));
        report.error(table.at("pulse"), message, format!("at least `settle`, {}", show(settle)));
    }
    Some(DeviceKind::Gpio(Relay { pin, pulse, sense, settle }))
}

fn read_command(table: &Table, report: &mut Report) -> Option<Vec<String>> {
    let words = table.strings("command", report)?;
    let Some(program) = words.first() else {
        report.error(table.at("command"), "an empty command", "name a program with its full path");
        return None;
    };
    if !program.value.starts_with('/') {
        let message = format!("`{}` is not a full path", program.value);
        report.error(program.at, message, "start it with `/`");
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

fn read_agent(table: &Table, report: &mut Report) -> Option<DeviceKind> {
    refuse(table, &["params", "params_file"], "an agent: write `options`", report);
    let agent = table.string("agent", report)?;
    let bare = !agent.value.contains('/');
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if agent.value.contains(odd) || agent.value.is_empty() || agent.value.ends_with('/') {
        let message = format!("`{}` is no agent", agent.value);
        report.error(agent.at, message, "such as \"fence_ipmilan\"; `ls /usr/sbin/fence_*`");
    } else if !bare && !agent.value.starts_with('/') {
        let message = format!("`{}` is not a full path", agent.value);
        report.error(agent.at, message, "start it with `/`, or write the bare name");
    }
    let options = read_options(table, report);
    for reserved in ["action", "option"] {
        if options.0.iter().any(|(name, _)| name == reserved) {
            let message = format!("`{reserved}` among the options: Latido says what is to be done");
            report.error(table.at("options"), message, "remove it");
        }
    }
    Some(DeviceKind::Agent { agent: agent.value, options })
}

fn read_stonith(table: &Table, report: &mut Report) -> Option<DeviceKind> {
    let plugin = table.string("stonith", report)?;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if plugin.value.is_empty() || plugin.value.starts_with('-') || plugin.value.contains(odd) {
        let message = format!("`{}` is no stonith plug-in", plugin.value);
        report.error(plugin.at, message, "such as \"external/ipmi\"; `stonith -L` lists them");
    }
    let given: Vec<&str> =
        ["options", "params", "params_file"].into_iter().filter(|key| table.has(key)).collect();
    let parameters = match given[..] {
        ["params"] => {
            let line = table.string("params", report)?;
            report.hide(line.at);
            if line.value.contains(char::is_control) || line.value.len() > OPTION_BYTES_MAX {
                report.error(line.at, "`params` is one line of values", "no control characters");
            }
            Parameters::Line(line.value)
        }
        ["params_file"] => {
            let path = table.string("params_file", report)?;
            if !path.value.starts_with('/') {
                let message = format!("`{}` is not a full path", path.value);
                report.error(path.at, message, "start it with `/`");
            }
            Parameters::File(PathBuf::from(path.value))
        }
        [] | ["options"] => Parameters::Options(read_options(table, report)),
        _ => {
            let message = format!("either {}", given.join(" or "));
            report.error(table.at(given[1]), message, "write `options`: names and values");
            return None;
        }
    };
    Some(DeviceKind::Stonith { plugin: plugin.value, parameters })
}

/// The table `options`: names and values of any simple type.
fn read_options(table: &Table, report: &mut Report) -> Options {
    let Some(table) = table.table("options", "options", report) else { return Options::default() };
    let mut options = Vec::new();
    for (key, value) in table.table.iter() {
        let name = key.get_ref().to_string();
        let at = table.at(&name);
        if is_secret(&name) {
            report.hide(at);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("`{name}` is no name of an option");
            report.error(at, message, "letters, digits, `_` and `-`");
        }
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(yes) => if *yes { "1" } else { "0" }.to_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => {
                report.error(at, format!("`{name}` has to be a text or a number"), "");
                continue;
            }
        };
        if text.contains(char::is_control) {
            report.error(at, format!("`{name}` contains a control character"), "remove it");
        }
        options.push((name, text));
    }
    let bytes: usize = options.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if options.len() > OPTIONS_MAX || bytes > OPTION_BYTES_MAX {
        let message = format!("more than {OPTIONS_MAX} options, or {OPTION_BYTES_MAX} bytes");
        report.error(table.at, message, "remove some");
    }
    Options(options)
}

/// Whether an option of this name holds a secret.
fn is_secret(name: &str) -> bool {
    const SECRETS: [&str; 5] = ["passw", "secret", "token", "community", "apikey"];
    let name = name.to_ascii_lowercase();
    !name.ends_with("_script") && SECRETS.iter().any(|word| name.contains(word))
}

/// Warns if others may read a file with passwords in it.
pub(super) fn check_private(path: &Path, devices: &[RawDevice], at: At, report: &mut Report) {
    let secret = |options: &Options| options.0.iter().any(|(name, _)| is_secret(name));
    let holds = devices.iter().any(|device| match &device.device.kind {
        DeviceKind::Command(_) | DeviceKind::Gpio(_) => false,
        DeviceKind::Agent { options, .. } => secret(options),
        DeviceKind::Stonith { parameters: Parameters::Options(options), .. } => secret(options),
        DeviceKind::Stonith { parameters, .. } => matches!(parameters, Parameters::Line(_)),
    });
    let mode = path.metadata().map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
    if holds && mode & 0o066 != 0 {
        let message =
            format!("{} (mode {mode:04o}), and a device's password is in it", files::NOT_PRIVATE);
        report.warning(at, message, format!("chmod 600 {}", path.display()));
    }
}

/// Reads `[self_fence]`.
pub(super) fn read_own(document: &Table, report: &mut Report) -> Option<SelfFence> {
    let table = document.table("self_fence", "[self_fence]", report)?;
    table.only(keys_of("[self_fence]"), report);
    if !table.has("command") {
        let cure = "add `command = [\"/sbin/reboot\", \"-f\", \"-n\"]`";
        report.error(table.at, "nothing says how this machine ends itself", cure);
    }
    let takes = limit(&table, "takes", TIMEOUT_MAX, fence::TAKES, report);
    let command = read_command(&table, report)?;
    Some(SelfFence { command, takes })
}
