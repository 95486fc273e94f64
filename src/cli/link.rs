//! `latido link test`: what is wrong with a cable, in words.
use crate::config::{self, Config, Link, Source, link_of, source_of};
use crate::control::report::Report;
use crate::control::{Client, ClientError};
use crate::linktest::{self, Plan, Verdict};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const AFTER: &str = "\
  latido link test /dev/ttyUSB0                   a link of the configuration, by its name
  latido link test serial /dev/ttyUSB0 --baud 9600
  latido link test udp eth0 [--port 694] [--peer ADDRESS]
  latido link test ethernet eth1 [--vlan N]

The other end is Latido's daemon with the same key, another `latido link test`, or, on a serial
port, a plug that joins TX and RX. If the daemon here uses the link, it is asked instead, and
nothing is sent. docs/link-test.md explains every verdict.

Exit codes: 0 it works, 1 it does not: what was found and where to look, 2 usage";

/// Test a link: wiring, speed, firewall, key.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand, Debug)]
enum Deed {
    Test(TestArgs),
}

/// Send and receive on one link, and say what is wrong with it.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER)]
struct TestArgs {
    /// A link's name; or `serial`, `udp` or `ethernet`, and the device or interface.
    #[arg(required = true, num_args = 1.., value_name = "LINK")]
    link: Vec<String>,
    /// Speed of a serial line [default: the configuration's, or 115200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    baud: Option<u32>,
    /// UDP port [default: 694].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// UDP to this address instead of everybody. Repeatable.
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// Ethernet with this VLAN's tag.
    #[arg(long, value_name = "N")]
    vlan: Option<u16>,
    /// Longest time to wait for an answer.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// For programs: one line of JSON.
    #[arg(long)]
    json: bool,
    /// Configuration file, which names the key [default: the usual one, if it is there].
    #[arg(long, value_name = "FILE", conflicts_with = "ha_dir")]
    config: Option<PathBuf>,
    /// Directory with Heartbeat's ha.cf, haresources and authkeys.
    #[arg(long, value_name = "DIR")]
    ha_dir: Option<PathBuf>,
    /// This node's name in the configuration [default: as `uname -n`].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    place: super::Where,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let Deed::Test(args) = &args.deed;
    match test(args) {
        Ok(verdict) => {
            print!("{}", shown(&verdict, args.json));
            ExitCode::from(if verdict.ok { super::DONE } else { super::FAILED })
        }
        Err(why) => {
            super::complain(format_args!("link test: {why}"));
            ExitCode::from(super::FAILED)
        }
    }
}

/// What is asked for.
enum Wanted {
    /// A link of the configuration.
    Named(String),
    /// One that is described.
    Kind { device: String, serial: bool, toml: String },
}

impl Wanted {
    fn of(args: &TestArgs) -> Result<Wanted, String> {
        let text = |value: &str| linktest::quoted(value);
        let kind =
            |device: &String, serial, toml| Wanted::Kind { device: device.clone(), serial, toml };
        Ok(match &args.link[..] {
            [word, device] if word == "serial" => {
                let toml = linktest::serial(device, args.baud.unwrap_or(115_200));
                kind(device, true, toml)
            }
            [word, interface] if word == "udp" => {
                let port = args.port.unwrap_or(config::PORT);
                let cast = if args.peer.is_empty() {
                    "udp = \"broadcast\"\n".to_owned()
                } else {
                    let peers: Vec<String> = args.peer.iter().map(|peer| text(peer)).collect();
                    format!("udp = \"unicast\"\npeers = [{}]\n", peers.join(", "))
                };
                let name = text(interface);
                let toml = format!("[[link]]\n{cast}interface = {name}\nport = {port}\n");
                kind(interface, false, toml)
            }
            [word, interface] if word == "ethernet" => {
                let vlan = args.vlan.map(|vlan| format!("vlan = {vlan}\n")).unwrap_or_default();
                kind(interface, false, format!("[[link]]\nethernet = {}\n{vlan}", text(interface)))
            }
            [word] if matches!(word.as_str(), "serial" | "udp" | "ethernet") => {
                return Err(format!("`{word}` which? Name the device or interface after it"));
            }
            words => Wanted::Named(words.join(" ")),
        })
    }

    /// Whether a link of this name is meant.
    fn means(&self, name: &str) -> bool {
        match self {
            Wanted::Named(wanted) => wanted == name,
            Wanted::Kind { device, serial: true, .. } => same_device(device, name),
            // On another port of the interface the daemon would hear our frames as a namesake's.
            Wanted::Kind { device, .. } => name.split(' ').next() == Some(device),
        }
    }
}

/// Whether two paths lead to one device: names below /dev/serial are links.
fn same_device(one: &str, two: &str) -> bool {
    let real = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    one == two || real(one) == real(two)
}

fn test(args: &TestArgs) -> Result<Verdict, String> {
    let wanted = Wanted::of(args)?;
    let running = daemon(args)?;
    if let Some(report) = &running
        && let Some(verdict) = linktest::asked(report, |name| wanted.means(name))
    {
        return Ok(verdict);
    }
    let config = configuration(args, running.as_ref())?;
    let link = match &wanted {
        Wanted::Kind { toml, .. } => link_of(toml)?,
        Wanted::Named(name) => {
            let (config, _) = config.as_ref().ok_or(
                "a link's name needs a configuration: name \
                it with --config FILE or --ha-dir DIR, or say `serial DEV` or `udp INTERFACE`",
            )?;
            named(config, name, args.baud)?
        }
    };
    let patience = Duration::from_secs(args.seconds.into());
    linktest::test(&Plan { link, config, patience })
}

fn daemon(args: &TestArgs) -> Result<Option<Report>, String> {
    match Client::connect(&args.place.runtime_dir).and_then(|mut client| client.status()) {
        Ok(report) => Ok(Some(report)),
        Err(ClientError::NotRunning(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The configuration and this node's place in it, if there is one or one is named.
fn configuration(
    args: &TestArgs,
    running: Option<&Report>,
) -> Result<Option<(Config, usize)>, String> {
    let named = args.config.is_some() || args.ha_dir.is_some();
    let source = match running {
        Some(report) if !named => Ok(source_of(&report.config.source)),
        _ => Source::find(args.config.clone(), args.ha_dir.clone()),
    };
    let source = match source {
        Ok(source) => source,
        Err(why) if named => return Err(why),
        Err(_) => return Ok(None),
    };
    let loaded = config::load(&source);
    let Some(config) = loaded.config else {
        let errors = loaded.diagnostics.iter();
        let mut errors = errors.filter(|found| found.severity == config::Severity::Error);
        let why = errors.next().map_or_else(String::new, ToString::to_string);
        return Err(format!("the configuration has errors: latido check: {why}"));
    };
    let node = args.node.as_deref().or(running.map(|report| report.node.as_str()));
    let me = config.local_node(node)?;
    Ok(Some((config, me)))
}

fn named(config: &Config, name: &str, baud: Option<u32>) -> Result<Link, String> {
    let found = config.links.iter().find(|link| link.name == name).cloned();
    let Some(link) = found else {
        let names: Vec<&str> = config.links.iter().map(|link| link.name.as_str()).collect();
        return Err(format!("there is no link {name}: the links are: {}", names.join(", ")));
    };
    match (&link.medium, baud) {
        (config::Medium::Serial { device, .. }, Some(baud)) => {
            link_of(&linktest::serial(&device.display().to_string(), baud))
        }
        _ => Ok(link),
    }
}

fn shown(verdict: &Verdict, json: bool) -> String {
    if json {
        let text = serde_json::to_string(verdict).unwrap_or_default();
        return text + "\n";
    }
    let mut text = format!("{}: {}\n", verdict.link, verdict.text);
    for hint in &verdict.hints {
        text.push_str(&format!("  - {hint}\n"));
    }
    text
}
