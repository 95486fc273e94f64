//! `latido init`: a first latido.toml for this machine.
use super::complain;
use crate::board::{Profile, Wish, detect, first_config, named};
use crate::config::{KEYS_FILE, LATIDO_TOML};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Boards: pi-zero, pi-3, pi-4, pi-5, x86-laptop, qemu-virt-arm64. Without --board this machine is
looked at.

Example:  latido init --peer laptop --address 192.168.0.20/24 --serial
Then:     latido keygen; copy both files to the other node; latido check; latido doctor

Exit codes: 0 written, 1 refused or failed, 2 usage";

/// Write a first latido.toml for this machine.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The kind of machine
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// The other node, as `uname -n` says there
    #[arg(long, value_name = "NAME")]
    peer: String,
    /// The address that moves, with its prefix length, such as 192.168.0.20/24
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// This node, if not as `uname -n` says
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = "home")]
    cluster: String,
    /// The network's interface [default: the board's]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// There is a serial cable to the peer
    #[arg(long)]
    serial: bool,
    /// The file to write; `-` for stdout
    #[arg(long, value_name = "FILE", default_value = LATIDO_TOML)]
    file: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    match write(args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(why);
            ExitCode::from(super::FAILED)
        }
    }
}

fn write(args: &Args) -> Result<String, String> {
    let profile = board(args.board.as_deref())?;
    let uname = rustix::system::uname();
    let node = args.node.clone().unwrap_or_else(|| uname.nodename().to_string_lossy().into_owned());
    let there = |name: &&String| Path::new("/sys/class/net").join(name).exists();
    let interface = match &args.interface {
        Some(interface) => interface.clone(),
        None => {
            let known = profile.interfaces.iter().find(there).or(profile.interfaces.first());
            known.cloned().ok_or("name the interface with --interface")?
        }
    };
    let wish = Wish {
        cluster: args.cluster.clone(),
        nodes: [node, args.peer.clone()],
        interface,
        address: args.address.clone(),
        serial: args.serial,
        keys: KEYS_FILE.into(),
    };
    let text = first_config(&profile, &wish);
    if args.file == Path::new("-") {
        return Ok(text);
    }
    let say = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already: remove it first, or --file -", args.file.display())
        }
        _ => format!("{} cannot be written: {error}", args.file.display()),
    };
    if let Some(dir) = args.file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(say)?;
    }
    let mut file = fs::File::create_new(&args.file).map_err(say)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(say)?;
    Ok(format!(
        "wrote {file} for {title}\nnext: latido keygen; copy {file} and {KEYS_FILE} to {peer}; \
         latido check; latido doctor\n",
        file = args.file.display(),
        title = profile.title,
        peer = args.peer
    ))
}

/// The board of that name, or the one that this machine is.
pub(super) fn board(name: Option<&str>) -> Result<Profile, String> {
    match name {
        Some(name) => named(name),
        None => detect(Path::new("/")).1.ok_or_else(|| {
            "this machine is none of the known boards: take the nearest with --board (see --help)"
                .into()
        }),
    }
}
