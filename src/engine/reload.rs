//! SIGHUP and `latido reload`: reads the configuration again, and takes over all of it or nothing.
//!
//! What is different takes effect by a restart of the engine, which adopts what runs: nothing
//! stops. Only a group that runs here must stay as it is.
use super::Options;
use crate::config::lease::Silencer;
use crate::config::{self, Config, Group};
use crate::control::Answer;
use crate::control::report::Facts;
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
}

impl Reload {
    pub(super) fn new(
        options: &Options,
        config: &Config,
        me: usize,
        running: Arc<AtomicU64>,
        facts: Facts,
    ) -> Reload {
        Reload { options: options.clone(), config: config.clone(), me, running, facts }
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn hook(self) -> Box<dyn FnMut() -> Result<(Facts, Answer), Answer> + Send> {
        Box::new(move || self.reload())
    }

    fn reload(&self) -> Result<(Facts, Answer), Answer> {
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
