//! `latido migrate`: Heartbeat's files as a `latido.toml`.
use super::{check, keygen};
use crate::config::{
    KEYS_FILE, Loaded, Severity, Source, key_file, load, migrate_with_keys, print_all,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print the latido.toml that means the same as Heartbeat's files.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The Heartbeat directory (ha.cf, haresources, authkeys); default /etc/ha.d
    #[arg(long, value_name = "DIR")]
    pub ha_dir: Option<PathBuf>,
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
    let Some(text) = convert(&dir, &loaded, args.keys.as_deref()) else {
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
pub fn convert(dir: &Path, loaded: &Loaded, keys: Option<&Path>) -> Option<String> {
    let config = loaded.config.as_ref()?;
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
    let keys = keys.unwrap_or(Path::new(KEYS_FILE));
    // A relative path would start at the directory of latido.toml, wherever that will be.
    let keys = std::path::absolute(keys).unwrap_or_else(|_| keys.to_path_buf());
    text.push('\n');
    text.push_str(&migrate_with_keys(config, &keys));
    Some(text)
}
