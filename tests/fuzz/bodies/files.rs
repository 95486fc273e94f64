//! The readers of configuration files, fed with files: that is how the bytes come in.
use latido::config::{Loaded, Source, differences, load, migrate_with_keys};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const HA_CF: &[u8] = include_bytes!("../../fixtures/pi-and-laptop/ha.cf");
const HARESOURCES: &[u8] = include_bytes!("../../fixtures/pi-and-laptop/haresources");
const AUTHKEYS: &[u8] = b"auth 1\n1 sha1 a-secret-of-some-length\n";
const KEYS: &[u8] = b"use 1\n\
    1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
const TOML: &[u8] = include_bytes!("latido.toml");
/// Words of secret files that are at least so long stand in no complaint. (Shorter ones may be
/// words of the complaint itself.)
const SECRET_MIN: usize = 16;

/// Any bytes as `latido.toml`.
pub(crate) fn latido_toml(data: &[u8]) {
    latido(data, KEYS, b"");
}

/// Any bytes as the key file.
pub(crate) fn key_file(data: &[u8]) {
    latido(TOML, data, data);
}

/// Any bytes as `ha.cf`.
pub(crate) fn ha_cf(data: &[u8]) {
    heartbeat(data, HARESOURCES, AUTHKEYS, b"");
}

/// Any bytes as `haresources`.
pub(crate) fn haresources(data: &[u8]) {
    heartbeat(HA_CF, data, AUTHKEYS, b"");
}

/// Any bytes as `authkeys`.
pub(crate) fn authkeys(data: &[u8]) {
    heartbeat(HA_CF, HARESOURCES, data, data);
}

fn latido(toml: &[u8], keys: &[u8], secrets: &[u8]) {
    with_scratch(|dir| {
        dir.write("keys", keys);
        let source = Source::Latido(dir.write("latido.toml", toml));
        look(dir, &load(&source), secrets);
    });
}

fn heartbeat(ha_cf: &[u8], haresources: &[u8], authkeys: &[u8], secrets: &[u8]) {
    with_scratch(|dir| {
        dir.write("ha.cf", ha_cf);
        dir.write("haresources", haresources);
        dir.write("authkeys", authkeys);
        let source = Source::Heartbeat(dir.path.clone());
        look(dir, &load(&source), secrets);
    });
}

fn look(dir: &mut Scratch, loaded: &Loaded, secrets: &[u8]) {
    let errors = loaded.diagnostics.iter().any(|one| one.is_error());
    assert_eq!(loaded.config.is_none(), errors, "{:?}", loaded.diagnostics);
    let secrets = secrets.split(u8::is_ascii_whitespace).filter(|word| word.len() >= SECRET_MIN);
    // Secrets are shown as stars: one that consists of stars looks the same.
    let secrets = secrets.filter(|word| word.iter().any(|byte| *byte != b'*'));
    let secrets: Vec<&str> = secrets.filter_map(|word| std::str::from_utf8(word).ok()).collect();
    for one in &loaded.diagnostics {
        let said = format!("{one}\n{}\n{}", one.render(false), one.json());
        assert!(!one.render(true).is_empty() && !one.message.is_empty());
        for secret in &secrets {
            assert!(!said.contains(secret), "tells a secret: {said}");
        }
    }
    let Some(config) = &loaded.config else { return };
    assert_eq!(differences(config, config), [""; 0]);
    for me in 0..config.nodes.len() {
        // The core has its own opinion of what is right: it must not be the first to say no.
        let core = latido::engine::core_config(config, me);
        assert!(core.is_ok(), "the core refuses: {:?}\n{config:?}", core.err());
    }
    let written = migrate_with_keys(config, Path::new("migrated.keys"));
    dir.write("migrated.keys", latido::config::key_file(&config.keys).as_bytes());
    let again = load(&Source::Latido(dir.write("migrated.toml", written.as_bytes())));
    let Some(mut back) = again.config else {
        panic!("what was written is refused: {:?}\n{written}", again.diagnostics);
    };
    back.source = config.source.clone();
    assert_eq!(&back, config, "{written}");
}

/// A thread's directory, kept from run to run, for most of a run would go into making it.
struct Scratch {
    path: PathBuf,
    /// What stands in the files.
    written: BTreeMap<&'static str, Vec<u8>>,
}

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("latido-fuzz-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory for the files");
        Scratch { path, written: BTreeMap::new() }
    }

    /// Writes a private file.
    fn write(&mut self, name: &'static str, content: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        if self.written.get(name).is_none_or(|old| old != content) {
            let mut how = fs::File::options();
            how.write(true).create(true).truncate(true).mode(0o600);
            how.open(&path).and_then(|mut file| file.write_all(content)).expect("written");
            self.written.insert(name, content.to_vec());
        }
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn with_scratch(run: impl FnOnce(&mut Scratch)) {
    thread_local!(static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) });
    SCRATCH.with_borrow_mut(|scratch| run(scratch.get_or_insert_with(Scratch::new)));
}
