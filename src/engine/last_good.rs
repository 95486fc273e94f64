//! The configuration this daemon runs by, kept in the runtime directory: when the engine dies while
//! the file on disk is broken, its successor goes on by what was good.
use crate::config::{self, Config, Source};
use crate::runtime::RuntimeDir;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

fn paths(runtime: &RuntimeDir) -> (PathBuf, PathBuf) {
    (runtime.path().join("last-good.toml"), runtime.path().join("last-good.keys"))
}

/// Keeps `config`. Not for the real-time loop.
pub(super) fn keep(config: &Config, runtime: &RuntimeDir) -> io::Result<()> {
    let (file, keys) = paths(runtime);
    write(&keys, &config::key_file(&config.keys))?;
    write(&file, &config::migrate_with_keys(config, &keys))
}

/// What was kept, as if it had been read from `source`.
pub(super) fn recall(source: &Source, runtime: &RuntimeDir) -> Option<Config> {
    let (file, _) = paths(runtime);
    let mut config = config::load(&Source::Latido(file)).config?;
    config.source = source.clone();
    Some(config)
}

/// Nobody shall go on by it after an orderly end.
pub(super) fn forget(runtime: &RuntimeDir) {
    let (file, keys) = paths(runtime);
    for path in [file, keys] {
        // Already gone: as good.
        let _ = std::fs::remove_file(path);
    }
}

fn write(path: &PathBuf, text: &str) -> io::Result<()> {
    let next = path.with_extension("new");
    let _ = std::fs::remove_file(&next);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&next, path)
}
