//! The lease of a group and its worst takeover, and where each part of them comes from (design §6,
//! rule 8).
use super::diagnostic::{Located, Report};
use super::{Config, Group, Kind, Resource, Rule, StopFailure, Timing, format_duration};
use std::time::Duration;

/// What keeps an address up when the daemon that held it cannot take it down: its lifetime in the
/// kernel, with the pause until the kernel looks.
pub const KERNEL_LIFETIME: Duration = Duration::from_millis(1300);

/// What silences a group's addresses at the end of its lease, whatever has become of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silencer {
    /// The kernel's lease gate, at that very moment.
    Gate,
    /// Their lifetime in the kernel, [`KERNEL_LIFETIME`] after it was last renewed.
    Lifetime,
}

/// A part of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// How long it is.
    pub span: Duration,
    /// Where it comes from.
    pub source: String,
}

impl Part {
    fn new(name: &'static str, span: Duration, source: impl Into<String>) -> Part {
        Part { name, span, source: source.into() }
    }
}

/// A time, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// All of it.
    pub total: Duration,
    /// What it consists of; their sum is the total.
    pub parts: Vec<Part>,
}

/// What has to happen before a lease ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Endings {
    /// What is stopped, and the time it may take.
    stop: Duration,
    /// Where that comes from.
    stop_source: String,
    /// The reset of this machine after a stop that hangs.
    reset: Option<Duration>,
    /// The timeout of a watchdog that ends what nobody stops.
    watchdog: Option<Duration>,
}

impl Endings {
    /// The longest of them, and what it is.
    fn parts(&self) -> Vec<Part> {
        let reset = self.reset.unwrap_or_default();
        match self.watchdog {
            Some(timeout) if timeout > self.stop + reset => {
                let source = format!(
                    "the watchdog's timeout; longer than a stop ({})",
                    format_duration(self.stop + reset)
                );
                vec![Part::new("watchdog", timeout, source)]
            }
            _ => {
                let mut parts = vec![Part::new("stop", self.stop, &*self.stop_source)];
                let takes = "until a machine that cannot stop it has reset itself";
                parts.extend(self.reset.map(|span| Part::new("reset", span, takes)));
                parts
            }
        }
    }
}

/// The lease with these endings.
fn lease(timing: &Timing, endings: &Endings) -> Account {
    let mut parts = vec![
        Part::new("dead", timing.dead, "[timing] dead: silence until an owner is given up"),
        Part::new("interval", timing.interval, "[timing] interval: between two claims"),
        Part::new("round trip", timing.interval, "claim and grant on their way: an interval"),
    ];
    parts.extend(endings.parts());
    let needed: Duration = parts.iter().map(|part| part.span).sum();
    let total = needed.saturating_mul(98) / 96;
    let source = "2/98 of the lease: two clocks, each up to 1 % wrong";
    parts.push(Part::new("clocks", total - needed, source));
    Account { total, parts }
}

impl Config {
    /// The longest time that a stop of `group` takes, until nothing of it can be in two places.
    ///
    /// Addresses end by themselves: at the end of the lease, or their lifetime after they were last
    /// renewed. Only one that is stopped before a service takes of that service's time.
    pub fn stop_budget(&self, group: &Group, silencer: Silencer) -> Duration {
        self.endings(group, silencer).stop
    }

    /// How long before the end of its lease this machine resets itself if `group` is not stopped;
    /// `None`: it does not. An address needs no reset.
    pub fn reset_budget(&self, group: &Group) -> Option<Duration> {
        let asked = self.rule == Rule::Majority && self.stop_failure == StopFailure::Reset;
        let needs = group.resources.iter().any(|resource| !resource.is_address());
        self.reset_takes().filter(|_| asked && needs)
    }

    fn endings(&self, group: &Group, silencer: Silencer) -> Endings {
        let stopped: Vec<&Resource> =
            group.resources.iter().skip_while(|resource| resource.is_address()).collect();
        let stop = stopped.iter().map(|resource| resource.stop_timeout).sum();
        let time = |one: &&Resource| format!("{} {}", one.name, format_duration(one.stop_timeout));
        let mut source = match stopped.is_empty() {
            true => "nothing but addresses".to_owned(),
            false => stopped.iter().map(time).collect::<Vec<_>>().join(" + "),
        };
        let reset = self.reset_budget(group);
        let has_address = group.resources.iter().any(Resource::is_address);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.timeout);
        let mut ends = Endings { stop, reset, watchdog, ..Endings::default() };
        match silencer {
            Silencer::Gate if has_address => {
                source.push_str("; the lease gate silences addresses at the lease's end");
            }
            Silencer::Lifetime if has_address && stop < KERNEL_LIFETIME => {
                let lifetime = format_duration(KERNEL_LIFETIME);
                ends.stop = KERNEL_LIFETIME;
                source = format!("no lease gate: {lifetime} until the kernel drops an address");
            }
            Silencer::Gate | Silencer::Lifetime => {}
        }
        Endings { stop_source: source, ..ends }
    }

    /// How long a grant of `group` binds a voter: dead, an interval, a round trip (taken for an
    /// interval) and what must have ended before, and 2/98 of it for two clocks that may each be
    /// wrong by 1 %.
    ///
    /// The same as [`crate::core::Config::lease`].
    pub fn lease(&self, group: &Group, silencer: Silencer) -> Account {
        lease(&self.timing, &self.endings(group, silencer))
    }

    /// The longest time from a power cut of the owner until another node starts `group`.
    pub fn takeover(&self, group: &Group, silencer: Silencer) -> Account {
        let under_way = |what| Part::new("interval", self.timing.interval, what);
        let parts = match self.rule {
            Rule::AssumeDead => {
                let mut parts = vec![
                    Part::new(
                        "dead",
                        self.timing.dead,
                        "[timing] dead: silence until presumed dead",
                    ),
                    under_way("[timing] interval: its last heartbeat is under way for so long"),
                ];
                parts.extend(self.probing(group));
                parts
            }
            Rule::Fencing => {
                let off = "until its power is off: every try of its devices but the last fails";
                vec![
                    Part::new(
                        "dead",
                        self.timing.dead,
                        "[timing] dead: silence until it is fenced",
                    ),
                    under_way("[timing] interval: its last heartbeat is under way for so long"),
                    Part::new("delay", self.fencing.delay, "fence_delay: the other one may shoot"),
                    Part::new("fence", self.longest_fence(), off),
                ]
            }
            Rule::Majority => {
                let lease = self.lease(group, silencer).total;
                vec![
                    Part::new("lease", lease, "voters are bound by the owner's last claim"),
                    Part::new("slow clock", lease / 99, "a voter's clock may be 1 % slow"),
                    under_way(
                        "the owner's last claim, or the last grant, is under way for so long",
                    ),
                ]
            }
        };
        Account { total: parts.iter().map(|part| part.span).sum(), parts }
    }

    /// Refuses what takes longer than the operator has said it may.
    pub(super) fn check_takeover(&self, limit: &Located<Duration>, report: &mut Report) {
        let show = |span: Duration| format_duration(whole_ms(span));
        for group in &self.groups {
            let longest = |silencer| self.takeover(group, silencer).total;
            let (gated, ungated) = (longest(Silencer::Gate), longest(Silencer::Lifetime));
            if gated.max(ungated) <= limit.value {
                continue;
            }
            let (name, most) = (&group.name, show(limit.value));
            if gated <= limit.value {
                let message = format!(
                    "group {name}: without the lease gate a takeover takes up to {}, longer than \
                     {most}",
                    show(ungated)
                );
                let cure = "see that every node has the gate (docs/gate.md)";
                report.warning(limit.at, message, cure);
                continue;
            }
            let parts = match self.rule {
                Rule::Majority => self.lease(group, Silencer::Gate).parts,
                Rule::AssumeDead | Rule::Fencing => self.takeover(group, Silencer::Gate).parts,
            };
            let Some(part) = parts.iter().max_by_key(|part| part.span) else { continue };
            let message = format!(
                "group {name}: a takeover takes up to {}, longer than {most}; most of it: {} {} \
                 ({})",
                show(gated),
                part.name,
                show(part.span),
                part.source
            );
            let cure = match part.name {
                "stop" => "shorten its stop_timeout, or allow more",
                "watchdog" => "a watchdog with a shorter timeout, or allow more",
                "delay" | "fence" => "a quicker device or fewer tries, or allow more",
                "reset" => "a quicker reset, or allow more",
                _ => "shorten [timing] dead and interval, or allow more",
            };
            report.error(limit.at, message, cure);
        }
    }

    /// The addresses are asked for while the owner is late; how much that takes beyond `dead`.
    fn probing(&self, group: &Group) -> Option<Part> {
        let timing = &self.timing;
        let (least, most) = (Duration::from_millis(5), Duration::from_secs(1));
        // The same as `crate::core::Config::ask_window`.
        let window = (timing.dead / 4).max(least).min(most);
        let beyond = (timing.warn + window).saturating_sub(timing.dead);
        let address = group.resources.iter().any(Resource::is_address);
        let asked = self.probe && address && !beyond.is_zero();
        let source = "whether somebody still answers for its addresses is asked from `warn` on";
        asked.then(|| Part::new("probe", beyond, source))
    }
}

/// A time as people want to read it: in whole milliseconds, rounded up.
pub fn whole_ms(span: Duration) -> Duration {
    let ms = span.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

impl Resource {
    /// Whether it is an address.
    pub fn is_address(&self) -> bool {
        matches!(self.kind, Kind::Address(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, Failback, Fencing, Keys, Log, References, SelfFence, Source};
    use crate::core::id::{GroupId, NodeId};
    use crate::core::{self, GroupSettings, Settings};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn address(stop: u64) -> Resource {
        let kind = Kind::Address(Address::new([10, 0, 0, 1].into()));
        Resource { name: "10.0.0.1".into(), kind, start_timeout: ms(1), stop_timeout: ms(stop) }
    }

    fn service(stop: u64) -> Resource {
        let kind = Kind::Service { name: "httpd".into(), script_dirs: Vec::new() };
        Resource { name: "httpd".into(), kind, start_timeout: ms(1), stop_timeout: ms(stop) }
    }

    fn group(resources: Vec<Resource>) -> Group {
        Group { name: "web".into(), prefer: vec![0], failback: Failback::Manual, resources }
    }

    fn config(rule: Rule, timing: [u64; 3], groups: Vec<Group>) -> Config {
        let [interval, warn, dead] = timing.map(ms);
        Config {
            source: Source::Latido("latido.toml".into()),
            cluster: "test".into(),
            nodes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            witnesses: Vec::new(),
            timing: Timing {
                interval,
                warn,
                dead,
                initial_dead: dead,
                failback_delay: Duration::ZERO,
            },
            rule,
            stop_failure: StopFailure::Block,
            probe: true,
            references: References::default(),
            fencing: Fencing::default(),
            watchdog: None,
            wires: Vec::new(),
            panel: crate::config::Panel::default(),
            health: None,
            keys: Keys { authenticated: true, active: 1, keys: vec![(1, [1; 32])] },
            links: Vec::new(),
            groups,
            log: Log::default(),
            realtime: None,
        }
    }

    #[test]
    fn only_what_does_not_end_by_itself_is_waited_for() {
        use Silencer::{Gate, Lifetime};
        let lifetime = KERNEL_LIFETIME.as_millis() as u64;
        for (resources, gated, ungated) in [
            (vec![address(5000)], 0, lifetime),
            (vec![address(5000), address(5000)], 0, lifetime),
            (vec![address(5000), service(200)], 200, lifetime),
            (vec![address(5000), service(2000), service(300)], 2300, 2300),
            // The address is stopped first, and the service has to wait for that.
            (vec![service(100), address(5000)], 5100, 5100),
            (vec![address(9), service(100), address(70), service(20)], 190, lifetime),
            (vec![service(100)], 100, 100),
        ] {
            let group = group(resources);
            let config = config(Rule::Majority, [10, 20, 30], vec![group.clone()]);
            assert_eq!(config.stop_budget(&group, Gate), ms(gated), "{group:?}");
            assert_eq!(config.stop_budget(&group, Lifetime), ms(ungated), "{group:?}");
        }
    }

    #[test]
    fn the_parts_are_the_whole() {
        for rule in [Rule::Majority, Rule::AssumeDead] {
            for silencer in [Silencer::Gate, Silencer::Lifetime] {
                for resources in [vec![address(5000)], vec![address(1), service(60_000)]] {
                    let group = group(resources);
                    let config = config(rule, [100, 900, 1000], vec![group.clone()]);
                    for account in
                        [config.lease(&group, silencer), config.takeover(&group, silencer)]
                    {
                        let sum: Duration = account.parts.iter().map(|part| part.span).sum();
                        assert_eq!(sum, account.total, "{account:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_address_behind_the_gate_moves_within_the_budget_of_the_design() {
        let group = group(vec![address(5000)]);
        let config = config(Rule::Majority, [10, 15, 30], vec![group.clone()]);
        let lease = |silencer| config.lease(&group, silencer).total;
        assert_eq!(lease(Silencer::Gate), ms(50) * 98 / 96);
        assert_eq!(lease(Silencer::Lifetime), ms(1350) * 98 / 96);
        assert!(lease(Silencer::Gate) - config.timing.interval / 2 < ms(60), "the median");
    }

    #[test]
    fn the_guards_of_assume_dead_take_time_only_beyond_dead() {
        for (warn, resources, expected) in [
            (500, vec![address(1)], 1100),
            (900, vec![address(1)], 1250),
            (900, vec![service(1)], 1100),
        ] {
            let group = group(resources);
            let config = config(Rule::AssumeDead, [100, warn, 1000], vec![group.clone()]);
            let takeover = config.takeover(&group, Silencer::Gate);
            assert_eq!(takeover.total, ms(expected), "{takeover:?}");
        }
    }

    #[test]
    fn a_reset_takes_of_the_lease_where_a_stop_may_hang() {
        let (web, bare) = (group(vec![address(9), service(2000)]), group(vec![address(9)]));
        let mut config = config(Rule::Majority, [10, 20, 30], vec![web.clone()]);
        config.fencing.own =
            Some(SelfFence { command: vec!["/sbin/reboot".into()], takes: ms(700) });
        assert_eq!(config.lease(&web, Silencer::Gate).total, ms(2050) * 98 / 96, "not asked for");
        config.stop_failure = StopFailure::Reset;
        let lease = |group, silencer| config.lease(group, silencer).total;
        assert_eq!(lease(&web, Silencer::Gate), ms(2750) * 98 / 96);
        assert_eq!(lease(&bare, Silencer::Gate), ms(50) * 98 / 96);
        assert_eq!(lease(&bare, Silencer::Lifetime), ms(1350) * 98 / 96);
    }

    #[test]
    fn fencing_takes_over_when_the_slowest_device_has_had_its_last_try() {
        let web = group(vec![address(9), service(2000)]);
        let mut config = config(Rule::Fencing, [100, 500, 1000], vec![web.clone()]);
        config.fencing.delay = ms(5000);
        let takeover = config.takeover(&web, Silencer::Gate);
        assert_eq!(takeover.total, ms(6100) + config.longest_fence(), "{takeover:?}");
    }

    fn in_the_core(timing: &Timing, endings: &Endings) -> core::Config {
        let span = |span: Duration| core::time::Duration::from_micros(span.as_micros() as u64);
        let node = NodeId::new(0).expect("in range");
        let group = GroupSettings {
            name: core::wire::NameHash(1),
            prefer: [node].into_iter().collect(),
            failback: false,
            stop_budget: span(endings.stop),
            ask: false,
            reset: endings.reset.is_some(),
        };
        let settings = Settings {
            me: node,
            nodes: 3,
            witnesses: heapless::Vec::new(),
            in_force: true,
            interval: span(timing.interval),
            warn: span(timing.warn),
            dead: span(timing.dead),
            initial_dead: span(timing.initial_dead),
            failback_delay: span(timing.failback_delay),
            rule: core::Rule::Majority,
            blackout: span(ms(10_000)),
            stop_failure: core::StopFailure::Block,
            fence_delay: span(ms(0)),
            fence_retry: span(ms(0)),
            reset_takes: endings.reset.map(span),
            watchdog: endings.watchdog.map(span),
            references: 0,
            settle: None,
            groups: [group].into_iter().collect(),
            every: heapless::Vec::new(),
            tag: 0,
            digest: 0,
            voters_digest: 0,
            keys: core::seal::Keys::new(1, &[(1, [1; 32])]).expect("a key"),
        };
        core::Config::new(settings).expect("sound")
    }

    #[test]
    fn the_core_counts_the_same() {
        let group = GroupId::new(0).expect("in range");
        for [interval, dead] in [[1, 3], [10, 30], [100, 1000], [333, 4999], [2000, 30_000]] {
            for stop in [0, 7, 1300, 65_000] {
                for reset in [None, Some(0), Some(1000), Some(20_000)] {
                    for watchdog in [None, Some(1000), Some(2300), Some(15_000), Some(60_000)] {
                        let timing =
                            config(Rule::Majority, [interval, dead - 1, dead], vec![]).timing;
                        let endings = Endings {
                            stop: ms(stop),
                            stop_source: String::new(),
                            reset: reset.map(ms),
                            watchdog: watchdog.map(ms),
                        };
                        let ours = lease(&timing, &endings).total.as_micros() as u64;
                        let core = in_the_core(&timing, &endings);
                        assert_eq!(ours, core.lease(group).micros(), "{timing:?} {endings:?}");
                        // The owner stops counting early enough for whichever takes longest.
                        let last = (stop + reset.unwrap_or(0)).max(watchdog.unwrap_or(0));
                        let counted = core.counted(group).micros();
                        assert!(counted + 1 >= (dead + 2 * interval + last) * 1000);
                    }
                }
            }
        }
    }

    #[test]
    fn a_silent_lan_is_asked_for_as_long_as_in_the_core() {
        for dead in [3, 20, 30, 1000, 4000, 30_000] {
            let group = group(vec![address(1)]);
            // So late that the whole window lies beyond dead, but for a millisecond.
            let config = config(Rule::AssumeDead, [1, dead - 1, dead], vec![group.clone()]);
            let core = in_the_core(&config.timing, &Endings::default());
            let beyond = core.ask_window().micros() / 1000 - 1;
            let takeover = config.takeover(&group, Silencer::Gate).total;
            assert_eq!(takeover.as_millis() as u64, dead + 1 + beyond, "{dead}");
        }
    }
}
