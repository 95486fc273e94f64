//! The list of voters in force, noted on disk: two lists that differ by more than one voter could
//! both have a majority, so a list is used only after every node has shown it, and the next one may
//! differ by one voter.
use crate::config::{Config, Rule};
use crate::tell::{Level, Teller};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

/// What the note says of the configured list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is in force.
    InForce,
    /// It is new: every node has to show it first.
    New,
}

/// Where the list in force is noted.
#[derive(Clone, Debug)]
pub(super) struct VoterList {
    path: PathBuf,
    voters: BTreeSet<String>,
    matters: bool,
}

impl VoterList {
    /// The list of `config`, noted in `dir`.
    pub(super) fn new(config: &Config, dir: &Path, me: usize) -> VoterList {
        let node = config.nodes.get(me).map_or("", String::as_str);
        VoterList {
            path: dir.join(format!("voters-{}-{node}", config.cluster)),
            voters: config.voters().map(str::to_owned).collect(),
            matters: config.rule == Rule::Majority,
        }
    }

    /// Compares it with the note.
    ///
    /// # Errors
    /// Where the two differ by more than one voter, or the note cannot be read: what to do.
    pub(super) fn look(&self) -> Result<Noted, String> {
        if !self.matters {
            return Ok(Noted::InForce);
        }
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Noted::New),
            Err(error) => {
                let path = self.path.display();
                return Err(format!("cannot read the list of voters in force, {path}: {error}"));
            }
        };
        let noted: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        let changed: Vec<&str> =
            noted.symmetric_difference(&self.voters).map(String::as_str).collect();
        match changed.len() {
            0 => Ok(Noted::InForce),
            1 => Ok(Noted::New),
            _ => Err(format!(
                "the list of voters may change by one at a time, or two halves could each have a \
                 majority: in force is {}, configured is {}. Let every node run with one voter \
                 more or less first; or, if all of them are stopped, remove {} on every node",
                list(&noted),
                list(&self.voters),
                self.path.display()
            )),
        }
    }

    /// A thread that notes the list when the engine says so: the engine waits for no disk.
    pub(super) fn notary(self, teller: Teller) -> io::Result<SyncSender<()>> {
        let (sender, orders) = sync_channel::<()>(1);
        let work = move || {
            while orders.recv().is_ok() {
                if let Err(error) = self.note() {
                    let path = self.path.display();
                    let text = format!(
                        "cannot note the list of voters in {path}: {error}; after the next start \
                         this node claims nothing before it has heard every node"
                    );
                    teller.say(Level::Warning, text);
                }
            }
        };
        std::thread::Builder::new().name("voters".to_owned()).spawn(work)?;
        Ok(sender)
    }

    fn note(&self) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let next = self.path.with_extension("new");
        let mut file = fs::File::create(&next)?;
        for voter in &self.voters {
            writeln!(file, "{voter}")?;
        }
        file.sync_all()?;
        fs::rename(&next, &self.path)
    }
}

fn list(voters: &BTreeSet<String>) -> String {
    let names: Vec<&str> = voters.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(path: &Path, voters: &[&str]) -> VoterList {
        let voters = voters.iter().map(|name| (*name).to_owned()).collect();
        VoterList { path: path.join("voters-c-a"), voters, matters: true }
    }

    #[test]
    fn one_voter_at_a_time() {
        let dir = std::env::temp_dir().join(format!("latido-voters-{}", std::process::id()));
        let three = list_of(&dir, &["a", "b", "c"]);
        assert_eq!(three.look(), Ok(Noted::New));
        three.note().expect("noted");
        assert_eq!(three.look(), Ok(Noted::InForce));
        assert_eq!(list_of(&dir, &["a", "b", "c", "d"]).look(), Ok(Noted::New));
        assert_eq!(list_of(&dir, &["a", "b"]).look(), Ok(Noted::New));
        let error = list_of(&dir, &["a", "b", "c", "d", "e"]).look().expect_err("two more");
        assert!(error.contains("one at a time") && error.contains("remove"), "{error}");
        // A replacement is two changes.
        assert!(list_of(&dir, &["a", "b", "d"]).look().is_err());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
