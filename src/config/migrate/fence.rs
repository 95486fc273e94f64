//! Fencing as `latido.toml` writes it.
use super::super::fence::{TAKES, TEST_EVERY};
use super::super::{Config, Device, DeviceKind, Method, Options, Parameters, SelfFence};
use super::super::{TIMEOUT, TRIES, format_duration};
use super::{quote, quote_path};

/// The tables `[[fence]]` and `[self_fence]`.
pub(super) fn write(text: &mut String, config: &Config) {
    config.fencing.devices.iter().for_each(|device| write_device(text, config, device));
    if let Some(SelfFence { command, takes }) = &config.fencing.own {
        text.push_str(&format!("\n[self_fence]\ncommand = {}\n", list(command)));
        if *takes != TAKES {
            text.push_str(&format!("takes = \"{}\"\n", format_duration(*takes)));
        }
    }
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(", "))
}

fn write_device(text: &mut String, config: &Config, device: &Device) {
    let nodes: Vec<String> =
        device.nodes.iter().filter_map(|node| config.nodes.get(*node)).cloned().collect();
    text.push_str(&format!("\n[[fence]]\nnodes = {}\n", list(&nodes)));
    match &device.kind {
        DeviceKind::Command(command) => text.push_str(&format!("command = {}\n", list(command))),
        DeviceKind::Agent { agent, options } => {
            text.push_str(&format!("agent = {}\n", quote(agent)));
            write_options(text, options);
        }
        DeviceKind::Gpio(relay) => {
            text.push_str(&format!("gpio = {}\n", quote(&relay.pin)));
            if let Some(sense) = &relay.sense {
                text.push_str(&format!("sense = {}\n", quote(sense)));
            }
            for (key, span) in [("pulse", relay.pulse), ("settle", Some(relay.settle))] {
                if let Some(span) = span {
                    text.push_str(&format!("{key} = \"{}\"\n", format_duration(span)));
                }
            }
        }
        DeviceKind::Stonith { plugin, parameters } => {
            text.push_str(&format!("stonith = {}\n", quote(plugin)));
            match parameters {
                Parameters::Options(options) => write_options(text, options),
                Parameters::Line(line) => text.push_str(&format!("params = {}\n", quote(line))),
                Parameters::File(path) => {
                    text.push_str(&format!("params_file = {}\n", quote_path(path)));
                }
            }
        }
    }
    if device.method == Method::Reset && !matches!(device.kind, DeviceKind::Gpio(_)) {
        text.push_str("method = \"reset\"\n");
    }
    if !device.on {
        text.push_str("on = false\n");
    }
    for (key, span, default) in
        [("timeout", device.timeout, TIMEOUT), ("test_every", device.test_every, TEST_EVERY)]
    {
        if span != default {
            text.push_str(&format!("{key} = \"{}\"\n", format_duration(span)));
        }
    }
    if device.tries != TRIES {
        text.push_str(&format!("tries = {}\n", device.tries));
    }
}

fn write_options(text: &mut String, options: &Options) {
    if options.0.is_empty() {
        return;
    }
    let options: Vec<String> =
        options.0.iter().map(|(name, value)| format!("{name} = {}", quote(value))).collect();
    text.push_str(&format!("options = {{ {} }}\n", options.join(", ")));
}
