//! The real-time loop: feeds the core, carries out what it says.
//!
//! One thread, which never blocks and allocates nothing after its start. Everything that can block
//! (scripts, opening of links, files, people) belongs to other threads, which report through
//! bounded mailboxes.
mod gate;
mod health;
mod keys;
mod last_good;
mod leases;
mod panel;
mod reload;
mod senses;
mod settings;
mod turn;
mod voters;
mod watchdog;
mod wires;

use crate::config::lease::Silencer;
use crate::config::{Config, Source};
use crate::control::report::{Facts, Realtime};
use crate::control::{Hooks, Server, Troubles};
use crate::core::id::{GroupId, GroupSet};
use crate::core::limits::GROUPS_MAX;
use crate::core::time::Instant;
use crate::core::{Cluster, Identity};
use crate::fence::{Fences, Own};
use crate::link::Opener;
use crate::platform::filter::HeaderFilter;
use crate::platform::mailbox::mailbox;
use crate::platform::signal::Signals;
use crate::platform::{clock, sched, signal};
use crate::quality::Recorder;
use crate::reference::{Guards, Inquest};
use crate::resource::Resources;
use crate::runtime::{self, RuntimeDir, Vouch};
use crate::tell::notify::Notify;
use crate::tell::{Level, Names, Teller};
use crate::{config, supervisor, tell};
use gate::LeaseGate;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use turn::{Engine, Parts};

/// Exit code of an engine that wants to be started again at once, with what it has learnt.
pub const EXIT_AGAIN: u8 = supervisor::EXIT_AGAIN;

/// Letters that may wait for the engine: more than there are groups and links.
const LETTERS: usize = 64;

/// What `latido run` was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration.
    pub source: Source,
    /// This node's name, if not `uname -n`.
    pub node: Option<String>,
    /// The runtime directory.
    pub runtime_dir: PathBuf,
    /// Where the list of voters in force is noted.
    pub state_dir: PathBuf,
}

/// The core's settings by a checked configuration, for tests that hold the two checks together.
///
/// # Errors
/// What the configuration check should have refused.
#[cfg(feature = "_sim")]
pub fn core_config(config: &Config, me: usize) -> Result<crate::core::Config, String> {
    settings::settings(config, me, true, Silencer::Gate)
}

/// Runs the engine until it ends; the exit code is for the supervisor.
pub fn run(options: &Options) -> u8 {
    let started = clock::now();
    let loaded = config::load(&options.source);
    config::print_all(&loaded.diagnostics);
    let again = supervisor::is_started_again();
    if loaded.config.is_none() && !again {
        return supervisor::EXIT_CONFIG;
    }
    let runtime = match RuntimeDir::open(&options.runtime_dir) {
        Ok(runtime) => runtime,
        Err(error) if error.busy() => return refuse(supervisor::EXIT_BUSY, &error.to_string()),
        Err(error) => {
            return refuse(final_at_first(again, supervisor::EXIT_BUSY), &error.to_string());
        }
    };
    let broken = loaded.config.is_none();
    let last_good = || last_good::recall(&options.source, &runtime);
    let Some(config) = loaded.config.or_else(last_good) else { return supervisor::EXIT_CONFIG };
    if broken {
        eprintln!("latido: going on by the last good configuration; mend the file and reload");
    }
    let me = match config.local_node(options.node.as_deref()) {
        Ok(me) => me,
        Err(error) => return refuse(supervisor::EXIT_CONFIG, &error),
    };
    if let Err(error) = last_good::keep(&config, &runtime) {
        eprintln!("latido: cannot keep a copy of the configuration: {error}");
    }
    match serve(options, &config, me, &runtime, started) {
        Ok(code) => {
            if code == 0 {
                last_good::forget(&runtime);
            }
            code
        }
        Err(error) => refuse(final_at_first(again, supervisor::EXIT_CONFIG), &error),
    }
}

/// What is refused to the first engine would be refused to the next: `code` ends the supervisor
/// too. Where one has run before, it is worth while to try again.
fn final_at_first(again: bool, code: u8) -> u8 {
    if again { 1 } else { code }
}

fn refuse(code: u8, why: &str) -> u8 {
    // Not `eprintln!`: a stderr that is full must not end this in another way.
    let _ = writeln!(std::io::stderr(), "latido: {why}");
    code
}

fn serve(
    options: &Options,
    config: &Config,
    me: usize,
    runtime: &RuntimeDir,
    started: Instant,
) -> Result<u8, String> {
    let say = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let wanted = [signal::TERMINATE, signal::INTERRUPT, signal::HANGUP];
    let signals = Signals::install(&wanted).map_err(say("cannot take signals"))?;
    let voters = voters::VoterList::new(config, &options.state_dir, me);
    let in_force = voters.look()? == voters::Noted::InForce;
    let leases = leases::LeaseNote::read(config, &options.state_dir, me)?;
    // Refused, if at all, before anything has begun.
    settings::settings(config, me, in_force, Silencer::Lifetime)?;
    let (mut memory, remembered) = runtime.memory().map_err(|error| error.to_string())?;
    // What a predecessor has left is no longer news.
    let _ = runtime.note_not_stopped(&[]);
    let unnoted = note(runtime, &supervisor::addresses(config), supervisor::guardian_pid());
    let teller_settings = tell::Settings::new(config.log.clone());
    let (teller, tongue) =
        tell::start(teller_settings, Names::of(config)).map_err(say("cannot start the log"))?;
    teller.receive_log(config.log.debug);
    introduce(config, me, &teller);
    let voters = voters.notary(teller.clone()).map_err(say("cannot start a thread"))?;
    unnoted.into_iter().for_each(|warning| teller.say(Level::Warning, warning));

    let ground = Ground { options, config, me, runtime, teller: &teller };
    let (parts, server) =
        ground.parts(in_force, remembered, (voters, leases), signals, tongue, started)?;
    let mut engine = Engine::new(parts).map_err(say("cannot start the loop"))?;
    let code = engine.run(&mut memory);
    if code == 0 {
        tell_not_stopped(runtime, config, engine.not_stopped());
    }
    engine.dismiss(code == 0).end(code == 0, &teller);
    drop(server);
    teller.finish();
    Ok(code)
}

/// What every part is made of.
struct Ground<'a> {
    options: &'a Options,
    config: &'a Config,
    me: usize,
    runtime: &'a RuntimeDir,
    teller: &'a Teller,
}

impl Ground<'_> {
    /// Everything that the loop works with. Other threads start here, before the priority is
    /// raised: only the engine's own is.
    fn parts(
        &self,
        in_force: bool,
        remembered: Option<Vec<u8>>,
        (voters, leases): (std::sync::mpsc::SyncSender<()>, leases::LeaseNote),
        signals: Signals,
        tongue: tell::Tongue,
        started: Instant,
    ) -> Result<(Parts, Server), String> {
        let Ground { options, config, me, runtime, teller } = *self;
        let say = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let (reports, report_sender) = mailbox(LETTERS).map_err(say("no mailbox"))?;
        let (senses, sense_sender) = mailbox(LETTERS).map_err(say("no mailbox"))?;
        let shared: Arc<[AtomicU64]> = (0..GROUPS_MAX).map(|_| AtomicU64::new(0)).collect();
        let resources = resources(config, me, shared.clone(), report_sender)?;
        let tag = config.cluster_tag();
        let filter = HeaderFilter::new(crate::core::wire::VERSION, &[tag]).with_strangers();
        let opener = Opener::new(config.links.clone(), filter).map_err(say("cannot open links"))?;
        let (fenced, fence_sender) = mailbox(LETTERS).map_err(say("no mailbox"))?;
        let fences = fences(config, me, fence_sender).map_err(say("cannot prepare fencing"))?;
        let own = own(config, me).map_err(say("cannot prepare self_fence"))?;
        let wires = wires::start(config, me, sense_sender.clone(), teller)
            .map_err(say("cannot start a thread"))?;
        senses::watch(config, sense_sender).map_err(say("cannot watch the interfaces"))?;
        let (guards, findings) = guards(config).map_err(say("cannot ask references and LAN"))?;
        let inquest = inquest(config, &guards, teller).map_err(say("cannot start a thread"))?;
        let recorder =
            Recorder::open(runtime, config, me, started).map_err(|error| error.to_string())?;
        let gate = LeaseGate::open(config, runtime.path(), teller);
        gate.guard(&resources);
        let (watchdog, settings) = self.watched(in_force, &gate)?;
        let running: Arc<AtomicU64> = Arc::default();
        let mut facts = facts(config, teller, &gate, started);
        (facts.fences, facts.references) = (fences.board().clone(), guards.board());
        (facts.inquests, facts.gaps) = (inquest.board(), recorder.board());
        (facts.watchdog, facts.node) = (watchdog.board(), config.nodes[me].clone());
        self.companions(&facts)?;
        let (ring, clerk) = keys::connect().map_err(say("no mailbox"))?;
        let (server, control, troubles) =
            control(options, config, me, runtime, teller, &running, facts, clerk)
                .map_err(say("cannot open the control socket"))?;

        let vouch = runtime.vouch().map_err(|error| error.to_string())?;
        let (cluster, leases) = self.born(settings, remembered.as_deref(), &vouch, leases)?;
        let parts = Parts {
            cluster,
            groups: config.groups.len(),
            interval: settings::span(config.timing.interval),
            resources,
            opener,
            reports,
            senses,
            guards,
            inquest,
            recorder,
            findings,
            control,
            troubles,
            signals,
            guardian: supervisor::guardian(),
            voters,
            leases,
            notify: Notify::from_env(),
            tongue,
            vouch,
            shared,
            running,
            gate,
            fences,
            fenced,
            own,
            ring,
            watchdog,
            wires,
        };
        Ok((parts, server))
    }
}

impl Ground<'_> {
    /// Starts the watchdog, as late as possible: from here on it must be petted. The leases count
    /// with the bound that it says itself.
    fn watched(
        &self,
        in_force: bool,
        gate: &LeaseGate,
    ) -> Result<(watchdog::Keeper, crate::core::Config), String> {
        let Ground { config, me, runtime, teller, .. } = *self;
        let watchdog = watchdog::Keeper::choose(config, runtime.path(), teller);
        let counted = watchdog.counted(config);
        let settings = settings::settings(&counted, me, in_force, gate.silencer())?;
        Ok((watchdog, settings))
    }

    /// The core, with what was remembered, and whoever notes its leases.
    fn born(
        &self,
        settings: crate::core::Config,
        memory: Option<&[u8]>,
        vouch: &Vouch,
        leases: leases::LeaseNote,
    ) -> Result<(Cluster, leases::Notary), String> {
        let waited = settings.blackout;
        let identity = identity(memory, held_until(vouch))?;
        let mut cluster = Cluster::new(settings, &identity, clock::now());
        let notary = leases.begin(&mut cluster, waited, self.teller);
        let notary = notary.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok((cluster, notary))
    }

    /// Threads that ask by the control socket, as people do.
    fn companions(&self, facts: &Facts) -> Result<(), String> {
        let Ground { config, runtime, teller, .. } = *self;
        let (unfit, runtime) = (facts.unfit.clone(), runtime.path());
        health::start(config.health.as_ref(), runtime, unfit, teller)
            .and_then(|()| panel::start(&config.panel, runtime, teller))
            .map_err(|error| format!("cannot start a thread: {error}"))
    }
}

/// Who this engine is; what ran before it goes on until then.
fn identity(
    memory: Option<&[u8]>,
    held_until: [Instant; GROUPS_MAX],
) -> Result<Identity<'_>, String> {
    let draw =
        || runtime::draw_incarnation().map_err(|error| format!("no random numbers: {error}"));
    Ok(Identity { incarnation: draw()?, memory, held_until, seed: draw()?.0 })
}

/// What asks the LAN and the references, and where its findings come.
fn guards(
    config: &Config,
) -> std::io::Result<(Guards, crate::platform::mailbox::Mailbox<crate::reference::Finding>)> {
    let (findings, sender) = mailbox(LETTERS)?;
    let guards = Guards::start(config, move |finding| _ = sender.put(finding))?;
    Ok((guards, findings))
}

/// Leaves word for `latido stop` of what may still run here.
fn tell_not_stopped(runtime: &RuntimeDir, config: &Config, groups: (GroupSet, GroupSet)) {
    let (abandoned, blocked) = groups;
    let name = |group: GroupId| config.groups.get(group.index()).map(|group| group.name.as_str());
    let mut lines = Vec::new();
    for name in abandoned.iter().filter_map(name) {
        lines.push(format!(
            "group {name} could not be stopped here and was released all the same: it may run twice"
        ));
    }
    for name in blocked.iter().filter_map(name) {
        lines.push(format!("group {name} could not be stopped here and is blocked"));
    }
    if let Err(error) = runtime.note_not_stopped(&lines) {
        log::warn!("what could not be stopped is not noted for `latido stop`: {error}");
    }
}

/// Notes for the supervisor (which removes the addresses if the engine cannot be started again) and
/// for the commands. Returns what could not be noted: nothing to end for.
fn note(
    runtime: &RuntimeDir,
    addresses: &[runtime::NotedAddress],
    supervisor: Option<u32>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Err(error) = runtime.note_addresses(addresses) {
        let lost = "if the engine dies for good, its addresses stay here";
        warnings.push(format!("the addresses are not noted ({error}): {lost}"));
    }
    if let Some(pid) = supervisor
        && let Err(error) = runtime.note_supervisor(pid)
    {
        let lost = "`latido stop` finds only a running engine";
        warnings.push(format!("the supervisor is not noted ({error}): {lost}"));
    }
    warnings
}

/// Until when the predecessor's engine vouched for each group, read before it is overwritten.
fn held_until(vouch: &Vouch) -> [Instant; GROUPS_MAX] {
    std::array::from_fn(|index| Instant::from_micros(vouch.get(index)))
}

fn fences(
    config: &Config,
    me: usize,
    reports: crate::platform::mailbox::Sender<crate::fence::Report>,
) -> std::io::Result<Fences> {
    let report = move |report| {
        reports.put(report);
    };
    Fences::start(config, me, report)
}

/// Whoever finds out why a peer is silent tells it by the log.
fn inquest(config: &Config, guards: &Guards, teller: &Teller) -> std::io::Result<Inquest> {
    let teller = teller.clone();
    Inquest::start(config, guards.board(), move |found| {
        teller.explain(Level::Error, found.text.clone(), found.cause.word());
    })
}

/// The command by which this machine ends itself, made ready.
fn own(config: &Config, me: usize) -> std::io::Result<Option<Own>> {
    let node = config.nodes.get(me).map_or("", String::as_str);
    let own = config.fencing.own.as_ref();
    (own.is_some() || config.watchdog.is_some()).then(|| Own::start(own, node)).transpose()
}

fn resources(
    config: &Config,
    me: usize,
    shared: Arc<[AtomicU64]>,
    reports: crate::platform::mailbox::Sender<crate::resource::Report>,
) -> Result<Resources, String> {
    let report = move |report| {
        reports.put(report);
    };
    let ha_dir = match &config.source {
        Source::Heartbeat(dir) => Some(dir.as_path()),
        Source::Latido(_) => None,
    };
    let node = config.nodes.get(me).map_or("", String::as_str);
    let who = crate::resource::Who { node, ha_dir, rule: config.rule };
    Resources::with_priority(&config.groups, who, shared, report, config.realtime)
        .map_err(|error| format!("cannot start the resources' threads: {error}"))
}

#[allow(clippy::too_many_arguments)]
fn control(
    options: &Options,
    config: &Config,
    me: usize,
    runtime: &RuntimeDir,
    teller: &Teller,
    running: &Arc<AtomicU64>,
    facts: Facts,
    clerk: keys::Clerk,
) -> std::io::Result<(Server, crate::control::Port, Troubles)> {
    let addresses = supervisor::addresses(config);
    let ground = (options, config, me);
    let place = runtime.share()?;
    let reload = reload::Reload::new(ground, running.clone(), facts.clone(), (clerk, place));
    let mut place = runtime.share()?;
    let supervisor = facts.supervisor;
    let restore = move || {
        place.restore().map_err(|error| error.to_string())?;
        note(&place, &addresses, supervisor);
        Ok(())
    };
    let hooks = Hooks { reload: reload.hook(), restore: Box::new(restore) };
    let troubles = facts.troubles.clone();
    let (server, port) = Server::start(&runtime.socket(), facts, teller.clone(), hooks)?;
    Ok((server, port, troubles))
}

fn facts(config: &Config, teller: &Teller, gate: &LeaseGate, started: Instant) -> Facts {
    let realtime = become_real_time(config, teller);
    let mut facts = Facts::of(config, gate.silencer(), realtime, started);
    facts.supervisor = supervisor::guardian_pid();
    facts.gate = gate.fact();
    facts
}

/// Real-time priority and locked memory, as far as they are permitted.
fn become_real_time(config: &Config, teller: &Teller) -> Realtime {
    let mut realtime = Realtime::default();
    let Some(priority) = config.realtime else { return realtime };
    match sched::realtime(priority) {
        Ok(()) => realtime.priority = Some(priority),
        Err(error) => realtime.warnings.push(error.to_string()),
    }
    sched::prefault_stack();
    match sched::lock_memory() {
        Ok(()) => realtime.locked = true,
        Err(error) => realtime.warnings.push(error.to_string()),
    }
    for warning in &realtime.warnings {
        teller.say(Level::Warning, warning.clone());
    }
    realtime
}

/// The first lines of the log: who runs here, by which rule, and what that costs.
fn introduce(config: &Config, me: usize, teller: &Teller) {
    let name = config.nodes.get(me).map_or("?", String::as_str);
    let version = env!("CARGO_PKG_VERSION");
    let cluster = &config.cluster;
    teller.say(Level::Info, format!("latido {version}: node {name} of cluster {cluster}"));
    match config.rule {
        config::Rule::AssumeDead => teller.say(
            Level::Warning,
            "rule assume-dead: a silent peer is assumed dead; with every path cut, both nodes own \
             everything",
        ),
        config::Rule::Fencing => teller.say(
            Level::Info,
            "rule fencing: nobody takes over from a silent peer before it is proven to be off",
        ),
        config::Rule::Majority => teller.say(
            Level::Info,
            "rule majority: a group belongs to whom more than half of the nodes grant it",
        ),
    }
    if !config.keys.authenticated {
        teller.say(
            Level::Warning,
            "unauthenticated: method crc, anybody on the network can make heartbeats; give \
             authkeys a sha1 key",
        );
    }
}

/// Every group's number.
fn group_ids(groups: usize) -> impl Iterator<Item = GroupId> {
    GroupId::all().take(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_engine_without_its_directory_is_not_started_again() {
        let dir = std::env::temp_dir().join(format!("latido-engine-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("directory");
        let config = dir.join("latido.toml");
        let keys = dir.join("keys");
        std::fs::write(&keys, format!("use 1\n1 {}\n", "0123456789abcdef".repeat(4)))
            .expect("keys");
        let text = format!(
            "[cluster]\nname = \"t\"\nnodes = [\"a\", \"b\"]\n[quorum]\nrule = \
             \"assume-dead\"\n[keys]\nfile = \"{}\"\n[[link]]\nudp = \"broadcast\"\n\
             interface = \"eth0\"\n",
            keys.display()
        );
        std::fs::write(&config, text).expect("configuration");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&keys, private).expect("mode");
        let source = Source::Latido(config);
        let options = Options {
            source,
            node: Some("a".into()),
            runtime_dir: "/dev/null/x".into(),
            state_dir: "/dev/null/x".into(),
        };
        assert_eq!(run(&options), supervisor::EXIT_BUSY);
        assert_eq!(final_at_first(true, supervisor::EXIT_BUSY), 1);
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
