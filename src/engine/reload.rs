//! SIGHUP and `latido reload`: reads the configuration again, and takes over all of it or nothing.
//!
//! What is different takes effect by a restart of the engine, which adopts what runs: nothing
//! stops. Only a group that runs here must stay as it is. Keys alone change without a restart:
//! not even a heartbeat is missed.
use super::keys::Clerk;
use super::{Options, last_good};
use crate::config::lease::Silencer;
use crate::config::{self, Config, Group};
use crate::control::Answer;
use crate::control::report::Facts;
use crate::core::id::NodeId;
use crate::core::seal;
use crate::runtime::RuntimeDir;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bit of `running` that asks the engine to end so as to be started again.
pub(super) const RESTART: u64 = 1 << 63;

/// What the control socket's thread needs for a reload.
pub(super) struct Reload {
    options: Options,
    config: Config,
    me: usize,
    /// One bit for each group that runs here; and [`RESTART`].
    running: Arc<AtomicU64>,
    facts: Facts,
    clerk: Clerk,
    /// Where the last good configuration is kept.
    place: RuntimeDir,
}

impl Reload {
    pub(super) fn new(
        (options, config, me): (&Options, &Config, usize),
        running: Arc<AtomicU64>,
        facts: Facts,
        (clerk, place): (Clerk, RuntimeDir),
    ) -> Reload {
        let (options, config) = (options.clone(), config.clone());
        Reload { options, config, me, running, facts, clerk, place }
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn hook(mut self) -> Box<dyn FnMut(bool) -> Result<(Facts, Answer), Answer> + Send> {
        Box::new(move |sure| self.reload(sure))
    }

    fn reload(&mut self, sure: bool) -> Result<(Facts, Answer), Answer> {
        let loaded = config::load(&self.options.source);
        config::log_all(&loaded.diagnostics);
        let Some(new) = loaded.config else {
            let error = |found: &&config::Diagnostic| found.severity == config::Severity::Error;
            let first = loaded.diagnostics.iter().find(error);
            let why = first.map_or_else(|| "it has errors".to_owned(), ToString::to_string);
            return Err(Answer::no(
                format!("the configuration is not valid; nothing was changed: {why}"),
                "run `latido check`, mend it, and reload again",
            ));
        };
        if new == self.config {
            let answer = Answer::done(Some("nothing in it has changed".to_owned()));
            return Ok((self.facts.clone(), answer));
        }
        let me = new.local_node(self.options.node.as_deref()).map_err(|error| {
            Answer::no(format!("nothing was changed: {error}"), "keep this node in the list")
        })?;
        if me != self.me || !new.voters().eq(self.config.voters()) {
            return Err(Answer::no(
                "nothing was changed: the list of voters is another one",
                "stop Latido on all nodes, change the list everywhere, and start it again",
            ));
        }
        self.keys_reach_the_peer(&new)?;
        if !sure {
            self.peers_have_the_keys(&new)?;
        }
        if (Config { keys: self.config.keys.clone(), ..new.clone() }) == self.config {
            return self.rekey(new);
        }
        super::settings::settings(&new, me, false, Silencer::Lifetime)
            .map_err(|error| Answer::no(format!("nothing was changed: {error}"), "mend it"))?;
        if let Some(group) = self.disturbed(&new) {
            return Err(Answer::no(
                format!("nothing was changed: group {group} runs here, and is another in the file"),
                format!("move it first: `latido standby --group {group}`, then reload here"),
            ));
        }
        self.running.fetch_or(RESTART, Ordering::AcqRel);
        let note = "read; the engine starts anew and keeps what runs".to_owned();
        let answer = Answer { restarts: true, ..Answer::done(Some(note)) };
        Ok((self.facts.clone(), answer))
    }

    /// A key that the peer has not seen yet would make two lonely nodes of a healthy pair.
    fn keys_reach_the_peer(&self, new: &Config) -> Result<(), Answer> {
        let key = |keys: &config::Keys, number: u8| {
            keys.keys.iter().find(|key| key.0 == number).map(|key| key.1)
        };
        let (old, new) = (&self.config.keys, &new.keys);
        let still_opens = key(old, old.active) == key(new, old.active);
        let known_before = key(new, new.active) == key(old, new.active);
        if still_opens && known_before {
            return Ok(());
        }
        Err(Answer::no(
            "nothing was changed: the other node could not open our frames, or we not its own, \
             with these keys",
            "first add the new key on all nodes, the old one still in use, and reload each; then \
             change `use` on all and reload each; remove the old key last",
        ))
    }

    /// What the others were heard to have. A key that none of them opens is silence.
    fn peers_have_the_keys(&self, new: &Config) -> Result<(), Answer> {
        let used = new.keys.active;
        if used != self.config.keys.active {
            let lacks = |node: &NodeId| !self.clerk.accepts(*node, used);
            let names: Vec<String> = self.others().filter(lacks).map(|it| self.name(it)).collect();
            if !names.is_empty() {
                return Err(Answer::no(
                    format!(
                        "nothing was changed: it is not known that {} has key {used}",
                        names.join(" and ")
                    ),
                    format!(
                        "set `use` back and run `latido key use {used}`: it asks them, and changes \
                         the file only if they have it"
                    ),
                ));
            }
        }
        let gone = |key: u8| !new.keys.keys.iter().any(|known| known.0 == key);
        for node in self.others() {
            if let Some(key) = self.clerk.key_of(node).filter(|key| gone(*key)) {
                return Err(Answer::no(
                    format!(
                        "nothing was changed: {} still seals with key {key}, which the file does \
                         not have any more",
                        self.name(node)
                    ),
                    format!("put it back, then there: `latido key use {used}`; remove it last"),
                ));
            }
        }
        Ok(())
    }

    fn others(&self) -> impl Iterator<Item = NodeId> {
        let nodes = (0..self.config.nodes.len()).filter(|index| *index != self.me);
        let witnesses = (0..self.config.witnesses.len()).filter_map(crate::core::Config::witness);
        nodes.filter_map(NodeId::new).chain(witnesses)
    }

    fn name(&self, node: NodeId) -> String {
        self.facts.names.node(node).to_owned()
    }

    /// Hands the keys to the running engine: incarnation and sequence numbers go on.
    fn rekey(&mut self, new: Config) -> Result<(Facts, Answer), Answer> {
        let keys = seal::Keys::new(new.keys.active, &new.keys.keys)
            .ok_or_else(|| Answer::no("nothing was changed: too many keys", "remove old ones"))?;
        if let Err(error) = last_good::keep(&new, &self.place) {
            log::warn!("cannot keep a copy of the configuration: {error}");
        }
        self.clerk.put(keys);
        let numbers: Vec<String> = new.keys.keys.iter().map(|key| key.0.to_string()).collect();
        let note = format!(
            "keys in force: key {} seals, {} are accepted",
            new.keys.active,
            numbers.join(", ")
        );
        self.config = new;
        Ok((self.facts.clone(), Answer::done(Some(note))))
    }

    /// A group that runs here and whose resources are not the same in `new`.
    fn disturbed(&self, new: &Config) -> Option<String> {
        let running = self.running.load(Ordering::Acquire);
        let here = self.config.groups.iter().enumerate().filter(|(i, _)| running & (1 << i) != 0);
        let same = |group: &Group| {
            let twin = new.groups.iter().find(|other| other.name == group.name);
            twin.is_some_and(|twin| twin.resources == group.resources)
        };
        here.map(|(_, group)| group).find(|group| !same(group)).map(|group| group.name.clone())
    }
}
