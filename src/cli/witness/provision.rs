//! `latido witness provision` and `identify`: a witness board on a cable.
use crate::config::{self, Medium, WitnessConfig, name_hash, tag_of};
use crate::core::provision::{Answer, Identity, Known, Request, Settings};
use crate::core::wire::NameHash;
use crate::link::Cable;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const AFTER: &str = "\
The board gets the witness's name, the cluster's name and the keys, keeps them in its flash, and
starts to vote ten seconds later. They go over the cable in the clear, so connect it to this
machine itself; no request makes the board say a key again. A board that has keys takes no others
before it was erased (--erase, or its button held for three seconds while it starts): so keys are
changed, too.

Examples:
  latido witness provision /dev/ttyACM0 --name pico --cluster ftp=/etc/latido/keys
  latido witness provision /dev/serial0:115200 --name pico --cluster ftp=/etc/latido/keys --erase
  latido witness identify /dev/ttyACM0

Exit codes: 0 done, 1 refused or nobody there, 2 usage";

/// Give a witness board its name and its keys.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Args {
    /// The board's serial device [baud: 115200].
    #[arg(value_name = "DEV[:BAUD]", value_parser = super::serial)]
    device: Medium,
    /// The witness's name, as the nodes have it under [[witness]].
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its cluster: name, and the nodes' key file.
    #[arg(long, value_name = "NAME=KEYFILE", value_parser = super::cluster)]
    cluster: (String, PathBuf),
    /// First forget what it is now.
    #[arg(long)]
    erase: bool,
}

/// Ask a witness board who it is and how it does.
#[derive(clap::Args, Debug)]
pub(super) struct IdentifyArgs {
    /// The board's serial device [baud: 115200].
    #[arg(value_name = "DEV[:BAUD]", value_parser = super::serial)]
    device: Medium,
}

/// A board's flash is written within milliseconds.
const WRITTEN: Duration = Duration::from_secs(2);

pub(super) fn run(args: &Args) -> ExitCode {
    let clusters = std::slice::from_ref(&args.cluster);
    let media = std::slice::from_ref(&args.device);
    let (config, diagnostics) = WitnessConfig::load(None, Some(&args.name), clusters, media);
    config::print_all(&diagnostics);
    finish(config.and_then(|config| provision(&config, &args.device, args.erase)))
}

pub(super) fn identify(args: &IdentifyArgs) -> ExitCode {
    finish(open(&args.device).and_then(|mut cable| cable.identity(|_| true)).map(|who| text(&who)))
}

fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            crate::cli::complain(why);
            ExitCode::from(crate::cli::FAILED)
        }
    }
}

fn open(medium: &Medium) -> Result<Cable, String> {
    let Medium::Serial { device, baud, .. } = medium else { return Err("no serial device".into()) };
    Cable::open(device, *baud)
}

fn provision(config: &WitnessConfig, device: &Medium, erase: bool) -> Result<String, String> {
    let settings = settings(config)?;
    let mut cable = open(device)?;
    let before = cable.identity(|_| true)?;
    if before.settings.is_some() {
        if !erase {
            return Err("the board has keys already, which nobody can read: add --erase to make \
                        it forget them first"
                .into());
        }
        cable.ask(&Request::Erase, WRITTEN)?;
        cable.identity(|who| who.settings.is_none() && who.starts != before.starts)?;
    }
    let wanted = Known {
        name: settings.name,
        tag: settings.tag,
        keys: settings.keys.iter().map(|key| key.0).collect(),
    };
    match cable.ask(&Request::Provision(settings), WRITTEN)? {
        Some(Answer::Flash) => {
            return Err("the board's flash does not keep what is written: it is worn out".into());
        }
        Some(Answer::What) => {
            return Err("the board does not understand: flash a firmware of this version".into());
        }
        // The answer may be lost; what the board says after its start is what counts.
        _ => {}
    }
    let who = cable
        .identity(|who| who.settings.as_ref() == Some(&wanted) && who.starts != before.starts)?;
    Ok(format!("{}it votes in ten seconds, as witness {}\n", text(&who), config.name))
}

fn settings(config: &WitnessConfig) -> Result<Settings, String> {
    let [ward] = config.clusters.as_slice() else {
        return Err("a board serves one cluster".into());
    };
    if !ward.keys.authenticated {
        return Err("this cluster has no keys: `latido keygen` makes them".into());
    }
    let keys = ward.keys.keys.iter().copied().collect();
    Ok(Settings { name: NameHash(name_hash(&config.name)), tag: tag_of(&ward.cluster), keys })
}

/// What a board says of itself.
fn text(who: &Identity) -> String {
    let name = who.board.iter().take_while(|byte| **byte != 0);
    let name: String =
        name.map(|byte| char::from(*byte)).filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    let mut text = format!("board      {name}");
    if let Some(serial) = who.serial {
        let _ = write!(text, " {serial:016x}");
    }
    let _ = writeln!(text, "\nfirmware   {}", who.version);
    let _ =
        writeln!(text, "up         {} s, start {} ({})", who.uptime, who.starts, who.cause.words());
    if let Some(millivolts) = who.millivolts {
        let _ = writeln!(text, "supply     {}.{:02} V", millivolts / 1000, millivolts % 1000 / 10);
    }
    let _ = write!(text, "memory     {} bytes", who.memory);
    if let Some(stack) = who.stack {
        let _ = write!(text, ", stack at most {stack} bytes so far");
    }
    let _ = writeln!(text, "\ndamaged    {} frames", who.damaged);
    let _ = match &who.settings {
        Some(known) => {
            let keys: Vec<String> = known.keys.iter().map(u8::to_string).collect();
            let (name, tag) = (known.name.0, known.tag);
            let keys = keys.join(", ");
            writeln!(text, "witness    {name:08x} of cluster {tag:08x}, keys {keys}")
        }
        None => writeln!(text, "witness    of nothing yet: `latido witness provision`"),
    };
    text
}
