//! Where the configuration is, and which of its nodes this machine is.
use super::{Config, Source, files};
use std::path::{Path, PathBuf};

/// The configuration's usual place.
pub const LATIDO_TOML: &str = "/etc/latido/latido.toml";
/// Heartbeat's usual directory, read when there is no [`LATIDO_TOML`].
pub const HA_DIR: &str = "/etc/ha.d";

impl Source {
    /// What was asked for, else `/etc/latido/latido.toml`, else `/etc/ha.d`.
    ///
    /// The error says what to do.
    pub fn find(config: Option<PathBuf>, ha_dir: Option<PathBuf>) -> Result<Source, String> {
        match (config, ha_dir) {
            (Some(_), Some(_)) => Err("--config and --ha-dir: choose one".to_string()),
            (Some(path), None) if path.is_dir() => Err(format!(
                "{} is a directory: name the file in it, or use --ha-dir for Heartbeat's files",
                path.display()
            )),
            (Some(path), None) => Ok(Source::Latido(path)),
            (None, Some(dir)) => Ok(Source::Heartbeat(dir)),
            (None, None) if Path::new(LATIDO_TOML).exists() => {
                Ok(Source::Latido(PathBuf::from(LATIDO_TOML)))
            }
            (None, None) if Path::new(HA_DIR).join("ha.cf").exists() => {
                Ok(Source::Heartbeat(PathBuf::from(HA_DIR)))
            }
            (None, None) => Err(format!(
                "no configuration: there is neither {LATIDO_TOML} nor {HA_DIR}/ha.cf; name one \
                 with --config FILE or --ha-dir DIR"
            )),
        }
    }

    /// The file or directory.
    pub fn path(&self) -> &Path {
        match self {
            Source::Latido(path) | Source::Heartbeat(path) => path,
        }
    }
}

impl Config {
    /// Which node this machine is: an index into [`Config::nodes`].
    ///
    /// That is `name` if given; else the first line of Heartbeat's `nodeinfo` file; else
    /// `uname -n`, whose domain is left out if only the short name is a node. The error names the
    /// nodes that exist.
    pub fn local_node(&self, name: Option<&str>) -> Result<usize, String> {
        self.find_node(name).map_err(|who| {
            format!(
                "this machine is {who}, which is no node of {}: the nodes are {}; name \
                 it with --node, or correct the configuration",
                self.source.path().display(),
                self.nodes.join(", ")
            )
        })
    }

    /// As [`Config::local_node`]; the error is the name and where it comes from.
    pub(crate) fn find_node(&self, name: Option<&str>) -> Result<usize, String> {
        let (name, from) = match name {
            Some(name) => (name.to_string(), "--node".to_string()),
            None => match self.nodeinfo() {
                Some(found) => found,
                None => {
                    let uname = rustix::system::uname();
                    (uname.nodename().to_string_lossy().into_owned(), "`uname -n`".to_string())
                }
            },
        };
        let lower = name.trim().to_ascii_lowercase();
        let place = |wanted: &str| self.nodes.iter().position(|node| node == wanted);
        let short = lower.split('.').next().unwrap_or("");
        place(&lower).or_else(|| place(short)).ok_or_else(|| format!("{lower} ({from})"))
    }

    /// The name in Heartbeat's `nodeinfo` file, if there is one.
    fn nodeinfo(&self) -> Option<(String, String)> {
        let Source::Heartbeat(dir) = &self.source else { return None };
        let path = dir.join("nodeinfo");
        let content = files::read(&path).ok()?;
        let text = String::from_utf8_lossy(&content.bytes).into_owned();
        let name = text.lines().next()?.trim();
        (!name.is_empty()).then(|| (name.to_string(), path.display().to_string()))
    }
}
