//! `latido link test` on pseudo-terminals and in network namespaces: every fault by its name.
#![cfg(target_os = "linux")]
mod line;
mod network;
mod serial;
#[path = "../world/mod.rs"]
mod world;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The name of the cluster, and the only key.
const CLUSTER: &str = "Home";
const KEY: u8 = 0x5a;

const CONFIG: &str = r#"
[cluster]
name = "Home"
nodes = ["laptop", "pi"]
[timing]
interval = "50ms"
warn = "500ms"
dead = "2s"
[quorum]
rule = "assume-dead"
probe = false
[keys]
file = "keys"
[[link]]
serial = "SERIAL"
baud = 115200
[[link]]
udp = "broadcast"
interface = "eth0"
"#;

/// A directory with a configuration and its key, removed at the end.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(name: &str, device: &Path) -> Place {
        let dir = std::env::temp_dir().join(format!("latido-link-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).expect("a directory");
        let config = CONFIG.replace("SERIAL", &device.display().to_string());
        std::fs::write(dir.join("latido.toml"), config).expect("written");
        let keys = dir.join("keys");
        let key = format!("{KEY:02x}").repeat(32);
        std::fs::write(&keys, format!("use 1\n1 {key}\n")).expect("written");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&keys, private).expect("a mode");
        Place { dir }
    }

    /// Exit code and verdict of a test by `pi`.
    fn test(&self, args: &[&str]) -> (i32, Value) {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let (config, runtime) = (file("latido.toml"), file("none"));
        let mut all = vec!["link", "test", "--json", "--node", "pi", "--config", &config];
        all.extend(["--runtime-dir", &runtime]);
        all.extend(args);
        let (code, text, errors) = world::run(&all);
        let verdict = serde_json::from_str(text.trim());
        (code, verdict.unwrap_or_else(|_| panic!("{args:?}: {code}: {text}{errors}")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What the verdict says, all in one.
fn words(verdict: &Value) -> String {
    let hints = verdict["hints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hints: Vec<&str> = hints.iter().filter_map(Value::as_str).collect();
    format!("{} {}", verdict["text"].as_str().unwrap_or_default(), hints.join(" "))
}

#[track_caller]
fn said(found: &(i32, Value), code: i32, fault: &str, expected: &[&str]) {
    let (exit, verdict) = found;
    assert_eq!((*exit, verdict["fault"].as_str()), (code, Some(fault)), "{verdict:#}");
    let text = words(verdict);
    for word in expected {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}
