//! Talking to a node's daemon through its control socket.
use super::error::{Doing, Error, Result};
use super::node::Node;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Bytes of the longest reply.
const REPLY_MAX: u64 = 1 << 20;
/// A command waits for its outcome; a handover may take as long as its slowest script.
const PATIENCE: Duration = Duration::from_secs(60);

impl Node {
    /// Sends a request to the daemon's control socket and returns its reply.
    ///
    /// # Errors
    /// When there is no daemon or it does not answer in JSON.
    pub fn ask(&self, request: &Value) -> Result<Value> {
        let path = self.runtime_dir().join("control.sock");
        let doing = || format!("asking the daemon of {}", self.name());
        let mut stream = UnixStream::connect(&path).doing(doing())?;
        stream.set_read_timeout(Some(PATIENCE)).doing(doing())?;
        stream.set_write_timeout(Some(PATIENCE)).doing(doing())?;
        let mut line = request.to_string();
        line.push('\n');
        stream.write_all(line.as_bytes()).doing(doing())?;
        let mut reply = String::new();
        BufReader::new(stream.take(REPLY_MAX)).read_line(&mut reply).doing(doing())?;
        serde_json::from_str(&reply).doing(format!("{}: reply {reply:?}", doing()))
    }

    /// What the daemon says about everything, as `latido status --json` does.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn status(&self) -> Result<Value> {
        let reply = self.ask(&json!({ "command": "status" }))?;
        // The status itself, with or without an envelope.
        match reply.get("status") {
            Some(status) => Ok(status.clone()),
            None if reply.get("nodes").is_some() => Ok(reply),
            None => Err(Error::new(format!("{}: no status: {reply}", self.name()))),
        }
    }

    /// Owner of a group, as this node sees it; `None`: nobody, or no answer.
    pub fn owner(&self, group: &str) -> Option<String> {
        let status = self.status().ok()?;
        let groups = status.get("groups")?.as_array()?;
        let found =
            groups.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(group));
        found?.get("owner")?.as_str().map(str::to_owned)
    }
}
