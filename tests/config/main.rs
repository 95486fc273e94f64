//! Configurations that people really wrote, and all the ways to write them wrong.

mod addresses;
mod commands;
mod fencing;
mod fixtures;
mod hardware;
mod heartbeat;
mod properties;
mod references;
mod toml;
mod watchdog;
mod witness;

use latido::cli::{check, keygen, migrate};
use latido::config::{
    Config, Diagnostic, Failback, Kind, Loaded, Medium, Rule, Severity, Source, StopFailure,
    UNAUTHENTICATED_KEY, derive, differences, key_file, load, migrate as to_toml,
    migrate_with_keys,
};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A directory that goes away at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("latido-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    /// A private copy of a fixture, whose authkeys have the mode that a checkout cannot keep.
    fn fixture(name: &str) -> Dir {
        let dir = Dir::new();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        for file in ["ha.cf", "haresources", "authkeys"] {
            dir.write(file, fs::read(from.join(file)).unwrap());
        }
        dir
    }

    /// A Heartbeat directory with these files; a good one where `None`.
    fn heartbeat(hacf: Option<&str>, haresources: Option<&str>, authkeys: Option<&str>) -> Dir {
        let dir = Dir::new();
        dir.write("ha.cf", hacf.unwrap_or(HA_CF));
        dir.write("haresources", haresources.unwrap_or("alpha 10.1.1.5/24/eth0\n"));
        dir.write("authkeys", authkeys.unwrap_or("auth 1\n1 sha1 a-secret-of-some-length\n"));
        dir
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self) -> Loaded {
        load(&Source::Heartbeat(self.0.clone()))
    }

    /// A latido.toml, with a good key file beside it.
    fn toml(text: &str) -> (Dir, Loaded) {
        let dir = Dir::new();
        dir.write("keys", format!("use 1\n1 {}\n", "0123456789abcdef".repeat(4)));
        let path = dir.write("latido.toml", text);
        let loaded = load(&Source::Latido(path));
        (dir, loaded)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HA_CF: &str = "\
keepalive 1
deadtime 10
auto_failback on
bcast eth0
serial /dev/ttyS0
node alpha beta
";

const TOML: &str = r#"[cluster]
name  = "ftp"
nodes = ["pi", "debian"]

[timing]
interval     = "100ms"
warn         = "300ms"
dead         = "1s"
initial_dead = "30s"

[quorum]
rule = "assume-dead"

[keys]
file = "keys"

[[link]]
udp = "broadcast"
interface = "eth0"

[[link]]
serial = "/dev/ttyUSB0"
baud = 115200

[[group]]
name = "ftp"
prefer = ["pi", "debian"]
failback = "auto"
resources = [
  { address = "192.168.0.20/24", interface = "eth0" },
  { service = "vsftpd" },
]
"#;

fn good(loaded: &Loaded) -> &Config {
    match &loaded.config {
        Some(config) => config,
        None => panic!("refused:\n{}", said(loaded)),
    }
}

fn said(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|one| one.render(false)).collect::<Vec<_>>().join("\n\n")
}

/// The diagnostic whose message contains `text`.
#[track_caller]
fn find<'a>(loaded: &'a Loaded, text: &str) -> &'a Diagnostic {
    match loaded.diagnostics.iter().find(|one| one.message.contains(text)) {
        Some(found) => found,
        None => panic!("nobody said `{text}`:\n{}", said(loaded)),
    }
}

fn errors(loaded: &Loaded) -> Vec<&Diagnostic> {
    loaded.diagnostics.iter().filter(|one| one.severity == Severity::Error).collect()
}

/// The configuration is refused with exactly this one error, in this line, with this cure.
#[track_caller]
fn only_error(loaded: &Loaded, line: usize, message: &str, cure: &str) {
    assert!(loaded.config.is_none(), "accepted, though: {message}\n{}", said(loaded));
    let errors = errors(loaded);
    assert_eq!(errors.len(), 1, "{}", said(loaded));
    assert!(errors[0].message.contains(message), "wanted `{message}`:\n{}", said(loaded));
    assert!(errors[0].cure.contains(cure), "wanted `{cure}`:\n{}", said(loaded));
    assert_eq!(errors[0].line, line, "{}", said(loaded));
}
