//! `latido migrate`: Heartbeat's files as a `latido.toml`.
use super::{check, keygen};
use crate::config::{
    Config, HA_DIR, KEYS_FILE, Kind, Loaded, Severity, Source, key_file, load, migrate_with_keys,
    print_all,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print the latido.toml that means the same as Heartbeat's files.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The Heartbeat directory (ha.cf, haresources, authkeys); default /etc/ha.d
    #[arg(long, value_name = "DIR")]
    pub ha_dir: Option<PathBuf>,
    /// The files are a copy: write paths as if they had been read here, such as /etc/ha.d
    #[arg(long = "as", value_name = "DIR")]
    pub place: Option<PathBuf>,
    /// Write the keys to this file (mode 0600), and name it in the output
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Replace the keys file if it is there
    #[arg(long, requires = "keys")]
    pub force: bool,
}

/// Runs the command: the file goes to stdout, everything else to stderr.
pub fn run(args: Args) -> ExitCode {
    let dir = args.ha_dir.unwrap_or_else(|| PathBuf::from(crate::config::HA_DIR));
    let loaded = load(&Source::Heartbeat(dir.clone()));
    let Some(text) = convert(&dir, &loaded, args.keys.as_deref(), args.place.as_deref()) else {
        print_all(&loaded.diagnostics);
        eprintln!("latido: {} has errors: correct them first", dir.display());
        return ExitCode::FAILURE;
    };
    let keys = loaded.config.as_ref().map(|config| &config.keys).filter(|keys| keys.authenticated);
    match (keys, &args.keys) {
        (Some(keys), Some(path)) => {
            if let Err(message) = keygen::write(path, &key_file(keys), args.force) {
                eprintln!("latido: {message}");
                return ExitCode::FAILURE;
            }
            eprintln!("wrote the keys to {}; copy that file to every node too", path.display());
        }
        (Some(_), None) => eprintln!(
            "the keys are not in this file: repeat with --keys {KEYS_FILE}, then copy it to \
             every node"
        ),
        (None, _) => eprintln!("there are no keys (crc): make one with `latido keygen`"),
    }
    if check::print(&text) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The text of the `latido.toml`, headed by what had no counterpart; `None` if there are errors.
///
/// `place`: the directory whose copy `dir` is. Without it the scripts of `dir` stay where they
/// are, and a comment says so; where `dir` has none, only the usual places are searched.
pub fn convert(
    dir: &Path,
    loaded: &Loaded,
    keys: Option<&Path>,
    place: Option<&Path>,
) -> Option<String> {
    let mut config = loaded.config.clone()?;
    let note = place_scripts(&mut config, dir, place);
    // A control character could end a comment.
    let plain = |text: &str| text.replace(char::is_control, " ");
    let origin = plain(&dir.to_string_lossy());
    let mut text = format!("# latido.toml, made from {origin}\n");
    let warnings = loaded.diagnostics.iter().filter(|item| item.severity == Severity::Warning);
    for (index, warning) in warnings.enumerate() {
        if index == 0 {
            text.push_str("#\n# What to know about the original:\n");
        }
        let name = plain(&warning.file.file_name().unwrap_or_default().to_string_lossy());
        let message = plain(&warning.message);
        match warning.line {
            0 => text.push_str(&format!("#   {name}: {message}\n")),
            line => text.push_str(&format!("#   {name} line {line}: {message}\n")),
        }
    }
    text.extend(note.map(|note| format!("#\n# {}\n", plain(&note))));
    let keys = keys.unwrap_or(Path::new(KEYS_FILE));
    // A relative path would start at the directory of latido.toml, wherever that will be.
    let keys = std::path::absolute(keys).unwrap_or_else(|_| keys.to_path_buf());
    text.push('\n');
    text.push_str(&migrate_with_keys(&config, &keys));
    Some(text)
}

/// Replaces the scripts' directory of a copy; returns what has to be said about it.
fn place_scripts(config: &mut Config, dir: &Path, place: Option<&Path>) -> Option<String> {
    let absolute = |dir: &Path| std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let here = absolute(dir).join("resource.d");
    if place.is_none() && absolute(dir) == Path::new(HA_DIR) {
        return None;
    }
    let there = match place {
        Some(place) => Some(absolute(place).join("resource.d")),
        None => here.is_dir().then(|| here.clone()),
    };
    let mut found = false;
    for resource in config.groups.iter_mut().flat_map(|group| &mut group.resources) {
        let (Kind::Service { script_dirs, .. } | Kind::Script { script_dirs, .. }) =
            &mut resource.kind
        else {
            continue;
        };
        found |= script_dirs.contains(&here);
        let mut dirs: Vec<PathBuf> = Vec::new();
        for old in script_dirs.drain(..) {
            let new = if old == here { there.clone() } else { Some(old) };
            dirs.extend(new.filter(|new| !dirs.contains(new)));
        }
        *script_dirs = dirs;
    }
    match (found, place, there) {
        (false, ..) | (_, Some(_), _) => None,
        (true, None, Some(there)) => Some(format!(
            "Scripts are searched in {} first. If that is a copy, migrate again with --as {HA_DIR}",
            there.display()
        )),
        (true, None, None) => Some(format!(
            "{} has no resource.d: scripts are searched in {HA_DIR}/resource.d and /etc/init.d",
            dir.display()
        )),
    }
}
