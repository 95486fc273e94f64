//! `latido witness`: a third vote on any Linux machine.
mod provision;

use crate::config::{self, Medium, WitnessConfig};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const AFTER: &str = "\
A witness votes, and owns nothing: with it, two nodes under the rule `majority` survive the loss of
any one of the three. It needs a name, the keys of the clusters that it serves, and links to their
nodes; it writes nothing to any disk. Any machine will do that is not one of the nodes and does not
fail together with one (not a virtual machine on a node).

In the latido.toml of the nodes, the same on each:
  [quorum]
  rule = \"majority\"
  [[witness]]
  name = \"pico\"

Examples:
  latido witness --name pico --cluster ftp=/etc/latido/keys --udp eth0
  latido witness --name pico --cluster ftp=/etc/latido/ftp.keys \\
                 --cluster web=/etc/latido/web.keys \\
                 --serial /dev/ttyUSB0:115200 --serial /dev/ttyUSB1:115200
  latido witness --config /etc/latido/witness.toml
A witness on a microcontroller (docs/witness-board.md):
  latido witness provision /dev/ttyACM0 --name pico --cluster ftp=/etc/latido/keys

The file holds the same: `name`, `[[cluster]]` with `name` and `keys`, and `[[link]]` as in a
latido.toml (which also knows multicast and unicast): docs/witness.md shows one.

SIGTERM and SIGINT end it. Exit codes: 0 ended by a signal, 1 failed: one line says why, 2 usage";

/// Run a witness: a vote without a node, so that two nodes have a majority.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    board: Option<Board>,
    /// A file with name, clusters and links; what stands on the command line is added to it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its name, as the nodes have it under [[witness]].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A cluster to serve: its name, and a copy of its nodes' key file. Repeatable.
    #[arg(long, value_name = "NAME=KEYFILE", value_parser = cluster)]
    cluster: Vec<(String, PathBuf)>,
    /// A link: UDP broadcast on this interface [port: 694]. Repeatable.
    #[arg(long, value_name = "IFACE[:PORT]", value_parser = udp)]
    udp: Vec<Medium>,
    /// A link: a serial line [baud: 115200]. Repeatable.
    #[arg(long, value_name = "DEV[:BAUD]", value_parser = serial)]
    serial: Vec<Medium>,
    /// Also tell to whom the vote is given; twice: everything.
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Witnesses that are boards of their own.
#[derive(clap::Subcommand, Debug)]
enum Board {
    Provision(provision::Args),
    Identify(provision::IdentifyArgs),
}

fn cluster(text: &str) -> Result<(String, PathBuf), String> {
    let wrong = "write NAME=KEYFILE, such as ftp=/etc/latido/keys";
    // A name may hold a `=`; a path hardly.
    let (name, file) = text.rsplit_once('=').ok_or(wrong)?;
    if name.is_empty() || file.is_empty() {
        return Err(wrong.to_owned());
    }
    Ok((name.to_owned(), file.into()))
}

fn udp(text: &str) -> Result<Medium, String> {
    let (interface, port) = match text.rsplit_once(':') {
        Some((interface, port)) => match port.parse() {
            Ok(port) if port > 0 => (interface, port),
            _ => return Err(format!("`{port}` is no port: 1 to 65535")),
        },
        None => (text, config::PORT),
    };
    if interface.is_empty() || interface.len() > 15 || interface.contains(['/', ' ']) {
        return Err(format!("`{interface}` is no interface: such as eth0"));
    }
    Ok(Medium::Broadcast { interface: interface.to_owned(), port })
}

fn serial(text: &str) -> Result<Medium, String> {
    // Names below /dev/serial/by-path hold colons.
    let speed = text.rsplit_once(':').and_then(|(device, baud)| Some((device, baud.parse().ok()?)));
    let (device, baud) = speed.filter(|_| !Path::new(text).exists()).unwrap_or((text, 115_200));
    if !device.starts_with('/') {
        return Err(format!("`{device}` is not a full path: such as /dev/ttyUSB0"));
    }
    if !(50..=4_000_000).contains(&baud) {
        return Err(format!("{baud} baud: 50 to 4000000"));
    }
    Ok(Medium::Serial { device: device.into(), baud, line: config::Line::default() })
}

pub(super) fn run(args: &Args) -> ExitCode {
    match &args.board {
        Some(Board::Provision(args)) => return provision::run(args),
        Some(Board::Identify(args)) => return provision::identify(args),
        None => {}
    }
    let media: Vec<Medium> = args.udp.iter().chain(&args.serial).cloned().collect();
    let name = args.name.as_deref();
    let (config, diagnostics) =
        WitnessConfig::load(args.config.as_deref(), name, &args.cluster, &media);
    config::print_all(&diagnostics);
    match config.and_then(|config| crate::witness::run(&config, args.verbose)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            super::complain(error);
            ExitCode::from(super::FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_clusters_of_the_command_line() {
        let eth0 = |port| Ok(Medium::Broadcast { interface: "eth0".into(), port });
        assert_eq!(udp("eth0"), eth0(694));
        assert_eq!(udp("eth0:7000"), eth0(7000));
        assert!(udp("eth0:0").is_err() && udp("eth0:x").is_err() && udp(":694").is_err());
        let line = |device: &str, baud| {
            let line = config::Line::default();
            Ok(Medium::Serial { device: device.into(), baud, line })
        };
        assert_eq!(serial("/dev/ttyUSB0"), line("/dev/ttyUSB0", 115_200));
        assert_eq!(serial("/dev/ttyUSB0:9600"), line("/dev/ttyUSB0", 9600));
        let by_path = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0";
        assert_eq!(serial(by_path), line(by_path, 115_200));
        assert!(serial("ttyUSB0").is_err() && serial("/dev/ttyUSB0:7").is_err());
        assert_eq!(cluster("ftp=/k"), Ok(("ftp".into(), "/k".into())));
        assert!(cluster("ftp").is_err() && cluster("=x").is_err() && cluster("x=").is_err());
    }
}
