//! `latido keygen`: a new key, in a file that only its owner may read.
use crate::config::{KEYS_FILE, Keys, key_file};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make the cluster's key; copy the file to every node.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = KEYS_FILE)]
    pub file: PathBuf,
    /// Replace a file that is there: nodes that still have the old key are locked out
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match generate(&args.file, args.force) {
        Ok(()) => {
            println!(
                "wrote a new key to {} (mode 0600); copy this file to every node",
                args.file.display()
            );
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("latido: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a new random key to `path`. The error says what to do.
pub fn generate(path: &Path, force: bool) -> Result<(), String> {
    let keys = Keys { authenticated: true, active: 1, keys: vec![(1, draw()?)] };
    write(path, &key_file(&keys), force)
}

/// 32 random bytes.
pub(super) fn draw() -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    let mut filled = 0;
    while filled < key.len() {
        match rustix::rand::getrandom(&mut key[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("the kernel gives no random numbers: {error}")),
        }
    }
    Ok(key)
}

/// Writes a file that only its owner may read, complete or not at all.
pub(super) fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let say = |error: io::Error| format!("{} cannot be written: {error}", path.display());
    if !force && path.symlink_metadata().is_ok() {
        return Err(format!(
            "{} is there already; --force replaces it, which locks out nodes that have the old key",
            path.display()
        ));
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // The program's own directory may be new; any other that is missing is a mistyped path.
    if Path::new(KEYS_FILE).parent() == Some(dir) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(say)?;
    } else if !dir.is_dir() {
        return Err(format!(
            "{} cannot be written: there is no directory {dir}; correct the path, or make it with \
             `mkdir -p {dir}`",
            path.display(),
            dir = dir.display()
        ));
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let new = dir.join(name);
    let finish = || -> io::Result<()> {
        // `create_new` with the mode: never readable by others, not even for a moment.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if force {
            fs::rename(&new, path)?;
        } else {
            // Unlike a rename, a link never replaces what somebody else made meanwhile.
            fs::hard_link(&new, path)?;
            fs::remove_file(&new)?;
        }
        File::open(dir)?.sync_all()
    };
    finish().map_err(|error| {
        let _ = fs::remove_file(&new);
        say(error)
    })
}
