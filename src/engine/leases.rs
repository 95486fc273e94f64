//! The longest leases, noted on disk: what a voter waits for that has lost its memory.
//!
//! The runtime directory goes with the power, and a configuration may be shortened: without a note
//! nobody would know for how long this node has promised its vote before. Short leases, which
//! every voter waits for anyway, are not noted.
use crate::config::{Config, Rule};
use crate::core::Cluster;
use crate::core::id::{GroupId, JobId};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::Duration;
use crate::tell::{Level, Teller};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// After a note that could not be written: tried again after so long.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// What stands in the note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    /// Digest of the configuration that it was made under.
    digest: u32,
    /// The longest lease of each group, in µs.
    leases: BTreeMap<String, u64>,
}

/// Where the longest leases are noted.
#[derive(Clone, Debug)]
pub(super) struct LeaseNote {
    path: PathBuf,
    digest: u32,
    groups: Vec<String>,
    matters: bool,
    known: Note,
}

/// Whom the engine orders notes from, and which order was carried out last.
pub(super) type Notary = (SyncSender<Order>, Arc<AtomicU32>);

/// What the engine wants noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    number: JobId,
    leases: [Duration; GROUPS_MAX],
    settled: bool,
}

impl Order {
    /// What the core says now.
    pub(super) fn of(cluster: &Cluster, number: JobId) -> Order {
        let mut leases = [Duration::ZERO; GROUPS_MAX];
        for (lease, group) in leases.iter_mut().zip(GroupId::all()) {
            *lease = cluster.longest_lease(group);
        }
        Order { number, leases, settled: cluster.leases_settled() }
    }
}

impl LeaseNote {
    /// Reads the note in `dir` for `config`.
    ///
    /// # Errors
    /// It cannot be read: what to do.
    pub(super) fn read(config: &Config, dir: &Path, me: usize) -> Result<LeaseNote, String> {
        let node = config.nodes.get(me).map_or("", String::as_str);
        let mut note = LeaseNote {
            path: dir.join(format!("leases-{}-{node}", config.cluster)),
            digest: config.digest(),
            groups: config.groups.iter().map(|group| group.name.clone()).collect(),
            matters: config.rule == Rule::Majority,
            known: Note { digest: config.digest(), leases: BTreeMap::new() },
        };
        if note.matters {
            note.look()?;
        }
        Ok(note)
    }

    fn look(&mut self) -> Result<(), String> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("cannot read the longest leases, {path}: {error}")),
        };
        self.known = parse(&text).ok_or_else(|| {
            format!(
                "{path} does not say how long this node's promises last: remove it once Latido \
                 has been stopped on every node for longer than its longest lease (`latido check`)"
            )
        })?;
        Ok(())
    }

    /// Gives the core what is noted, and starts the thread that notes more.
    pub(super) fn begin(
        mut self,
        cluster: &mut Cluster,
        waited: Duration,
        teller: &Teller,
    ) -> io::Result<Notary> {
        if let Err(trouble) = self.recall(cluster, waited) {
            teller.say(Level::Warning, trouble);
        }
        self.notary(teller.clone())
    }

    /// Gives the core what is noted, and notes its own leases if they are longer: before anything
    /// is promised. `waited`: how long every voter without memory waits anyway.
    ///
    /// # Errors
    /// The note cannot be written: nothing to end for, but to be told.
    fn recall(&mut self, cluster: &mut Cluster, waited: Duration) -> Result<(), String> {
        if !self.matters {
            return Ok(());
        }
        let mut noted = [Duration::ZERO; GROUPS_MAX];
        for (noted, name) in noted.iter_mut().zip(&self.groups) {
            *noted = Duration::from_micros(self.known.leases.get(name).copied().unwrap_or(0));
        }
        cluster.recall_leases(&noted, self.known.digest == self.digest);
        let before = self.known.clone();
        self.take(&Order::of(cluster, JobId(0)));
        let longer = self.known.leases.values().any(|lease| *lease > waited.micros());
        if self.known == before || !longer && before.leases.is_empty() {
            return Ok(());
        }
        self.write().map_err(|error| self.trouble(&error))
    }

    /// Takes over what the core says.
    fn take(&mut self, order: &Order) {
        if order.settled && self.known.digest != self.digest {
            // No group of an earlier configuration is about any more.
            self.known = Note { digest: self.digest, leases: BTreeMap::new() };
        }
        for (name, lease) in self.groups.iter().zip(order.leases) {
            self.known.leases.insert(name.clone(), lease.micros());
        }
    }

    /// A thread that writes what the engine orders, and says which order was carried out last.
    fn notary(mut self, teller: Teller) -> io::Result<Notary> {
        let (sender, orders) = sync_channel::<Order>(1);
        let done: Arc<AtomicU32> = Arc::default();
        let tell = done.clone();
        let work = move || {
            while let Ok(order) = orders.recv() {
                self.take(&order);
                let mut told = false;
                while let Err(error) = self.write() {
                    if !std::mem::replace(&mut told, true) {
                        teller.say(Level::Error, self.trouble(&error));
                    }
                    std::thread::sleep(AGAIN);
                }
                tell.store(order.number.0, Ordering::Release);
            }
        };
        std::thread::Builder::new().name("leases".to_owned()).spawn(work)?;
        Ok((sender, done))
    }

    fn trouble(&self, error: &io::Error) -> String {
        format!(
            "cannot note the longest leases in {}: {error}; this node grants no longer ones than \
             it has noted, and must not be rebooted with a shortened configuration: make room, or \
             choose another place with --state-dir",
            self.path.display()
        )
    }

    fn write(&self) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let next = self.path.with_extension("new");
        let mut file = fs::File::create(&next)?;
        writeln!(file, "configuration {:08x}", self.known.digest)?;
        for (name, lease) in &self.known.leases {
            writeln!(file, "{lease} {name}")?;
        }
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        // The new name, too, must outlive the power.
        self.path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    }
}

fn parse(text: &str) -> Option<Note> {
    let mut lines = text.lines();
    let digest = u32::from_str_radix(lines.next()?.strip_prefix("configuration ")?, 16).ok()?;
    let lease = |line: &str| {
        let (lease, name) = line.split_once(' ')?;
        Some((name.to_owned(), lease.parse().ok()?))
    };
    Some(Note { digest, leases: lines.map(lease).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = std::env::temp_dir().join(format!("latido-leases-{}", std::process::id()));
        let note = |digest| LeaseNote {
            path: dir.join("leases-c-a"),
            digest,
            groups: vec!["web".into(), "db".into()],
            matters: true,
            known: Note { digest, leases: BTreeMap::new() },
        };
        let mut leases = [Duration::ZERO; GROUPS_MAX];
        leases[1] = Duration::from_millis(61_000);
        let mut first = note(7);
        first.take(&Order { number: JobId(1), leases, settled: true });
        first.write().expect("written");
        let mut next = note(8);
        next.look().expect("read");
        assert_eq!((next.known.digest, next.known.leases["db"]), (7, 61_000_000));
        // As long as the old configuration may be about, its digest stays.
        next.take(&Order { number: JobId(2), leases, settled: false });
        assert_eq!(next.known.digest, 7);
        next.take(&Order { number: JobId(3), leases: [Duration::ZERO; GROUPS_MAX], settled: true });
        assert_eq!((next.known.digest, next.known.leases["db"]), (8, 0));
        fs::write(&next.path, "configuration 00000007\nlong db\n").expect("written");
        assert!(next.look().expect_err("no number").contains("remove it"));
        fs::remove_dir_all(&dir).expect("removed");
    }
}
