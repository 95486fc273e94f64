//! Whether two nodes can never own one group at once: judged here and nowhere else (design §6).
//!
//! What is not known counts against it. A node judges its own gate, clock and files; of the others
//! it knows what their frames say, and `latido status` there says the rest.
use crate::config::lease::{KERNEL_LIFETIME, Silencer};
use crate::config::{self, Config, StopFailure, format_duration};
use crate::core::Rule;
use crate::core::io::NodeState;
use crate::fence::{DeviceState, Test};
use crate::platform::slew::Slew;

/// How wrong a clock may run, in parts per million; the lease allows for it.
const SLEW_MAX_PPM: u64 = 10_000;

/// What is configured, and what was found when the engine started.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Who may own a group.
    pub rule: Rule,
    /// By what the leases are counted.
    pub silencer: Silencer,
    /// Frames are sealed.
    pub sealed: bool,
    /// What cannot be stopped is given away all the same.
    pub releases: bool,
    /// Some group has an address.
    pub addresses: bool,
    /// Everything else, by name: what is neither silenced by the kernel nor ends by itself.
    pub others: Vec<String>,
    /// The engine pets a watchdog that resets this machine when it no longer does.
    pub watchdog: bool,
    /// Fence devices whose word proves nothing, and why.
    pub hollow: Vec<(String, &'static str)>,
}

impl Default for Basis {
    fn default() -> Basis {
        Basis {
            rule: Rule::AssumeDead,
            silencer: Silencer::Lifetime,
            sealed: false,
            releases: true,
            addresses: false,
            others: Vec::new(),
            watchdog: false,
            hollow: Vec::new(),
        }
    }
}

impl Basis {
    /// What a configuration says, and by what the leases are counted.
    pub fn of(config: &Config, silencer: Silencer) -> Basis {
        let resources = || config.groups.iter().flat_map(|group| &group.resources);
        let others = resources().filter(|resource| !resource.is_address());
        Basis {
            rule: match config.rule {
                config::Rule::AssumeDead => Rule::AssumeDead,
                config::Rule::Fencing => Rule::Fencing,
                config::Rule::Majority => Rule::Majority,
            },
            silencer,
            sealed: config.keys.authenticated,
            releases: config.stop_failure == StopFailure::Release,
            addresses: resources().any(config::Resource::is_address),
            others: others.map(|resource| resource.name.clone()).collect(),
            watchdog: config.watchdog.is_some(),
            hollow: {
                let devices = config.fencing.devices.iter();
                devices.filter_map(|it| Some((it.name(), it.proves_nothing()?))).collect()
            },
        }
    }

    /// The judgement if everything works that is configured. `gate`: as far as it was tried.
    pub fn as_configured(&self, config: &Config, gate: Gate) -> Judgement {
        // One of the nodes judges the others; which one makes no difference.
        let others = || config.nodes.iter().enumerate().skip(1);
        let names = others().map(|(_, name)| (name, false));
        let names = names.chain(config.witnesses.iter().map(|name| (name, true)));
        let voter = |(name, witness): (&String, bool)| Voter {
            name: name.clone(),
            witness,
            state: NodeState::Alive,
            differs: false,
            other_voters: false,
            doubts: Doubts::default(),
        };
        let good = |device: &config::Device| DeviceState {
            name: device.name(),
            test: Test::Good,
            ..DeviceState::default()
        };
        let power = |(index, name): (usize, &String)| Power {
            node: name.clone(),
            devices: config.devices_of(index).map(good).collect(),
        };
        let evidence = Evidence {
            basis: self,
            gate,
            slew: Ok(Slew::default()),
            voters: names.map(voter).collect(),
            power: others().map(power).collect(),
            in_force: true,
            unsaved: false,
        };
        judge(&evidence)
    }
}

/// Where the lease gate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// No group has an address.
    Unneeded,
    /// On every interface that it can be needed on.
    Everywhere,
    /// Not on these.
    Gaps(Vec<String>),
    /// Nowhere, for this reason.
    Missing(String),
}

/// What is known of a voter other than this node.
#[derive(Clone, Debug)]
pub struct Voter {
    /// Its name.
    pub name: String,
    /// It owns nothing.
    pub witness: bool,
    /// Whether it is heard.
    pub state: NodeState,
    /// It has another configuration.
    pub differs: bool,
    /// It has another list of voters.
    pub other_voters: bool,
    /// What stands against its name and its device.
    pub doubts: Doubts,
}

/// What was seen that must not be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doubts {
    /// Its device has said that it was off when it was not.
    pub lied: bool,
    /// It hears another machine in our place.
    pub elsewhere: bool,
    /// Two machines send under its name.
    pub twins: bool,
}

/// What can switch off another node's power.
#[derive(Clone, Debug)]
pub struct Power {
    /// The node.
    pub node: String,
    /// Its devices, in the order in which they are tried.
    pub devices: Vec<DeviceState>,
}

/// Everything that the judgement rests on.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// What is configured.
    pub basis: &'a Basis,
    /// Where the lease gate stands now.
    pub gate: Gate,
    /// How wrong this machine's clock runs now; or why that is not known.
    pub slew: Result<Slew, String>,
    /// All voters but this node.
    pub voters: Vec<Voter>,
    /// What can switch off the other nodes' power.
    pub power: Vec<Power>,
    /// Every voter was heard showing this list of voters.
    pub in_force: bool,
    /// What must not be forgotten could not be written down.
    pub unsaved: bool,
}

/// Whether two nodes can never own one group at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// They cannot.
    pub safe: bool,
    /// Why, or why not: one sentence.
    pub why: String,
    /// Everything that stands against it, most important first, each with its cure.
    pub warnings: Vec<String>,
    /// Those of them that ask for somebody now.
    pub urgent: Vec<String>,
}

/// What stands against it.
struct Reason {
    what: String,
    cure: String,
    urgent: bool,
}

impl Reason {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Reason {
        Reason { what: what.into(), cure: cure.into(), urgent: false }
    }

    fn urgent(self) -> Reason {
        Reason { urgent: true, ..self }
    }
}

/// The judgement.
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let basis = evidence.basis;
    let mut reasons = names(evidence);
    match basis.rule {
        Rule::AssumeDead => {
            let what = "when every path between the nodes is cut, both take all groups";
            reasons.push(Reason::new(what, "a third voter and the rule majority would end that"));
            reasons.extend(memory(evidence));
            return judgement(reasons, String::new());
        }
        Rule::Majority => reasons.extend(voters(evidence)),
        Rule::Fencing => reasons.extend(power(evidence)),
    }
    reasons.extend(configurations(evidence));
    reasons.extend(memory(evidence));
    reasons.extend(addresses(evidence));
    reasons.extend(services(basis));
    if !basis.sealed {
        let what = "frames are not sealed: anybody on a link can take the groups away";
        reasons.push(Reason::new(what, "make a key with `latido keygen` for all nodes"));
    }
    reasons.extend(clock(evidence));
    let silent = match basis.silencer {
        _ if !basis.addresses => "",
        Silencer::Gate => "every address falls silent with its lease, ",
        Silencer::Lifetime => "every lease waits until the kernel has dropped the addresses, ",
    };
    let own = "each node vouches for its own gate and clock";
    let why = match basis.rule {
        Rule::Majority => format!(
            "one owner in every partition: all {} voters are heard and agree, {silent}frames are \
             sealed; {own}",
            evidence.voters.len() + 1
        ),
        Rule::AssumeDead | Rule::Fencing => format!(
            "nobody takes over from a silent node before its power is proven to be off: a device \
             for it has passed its self-test, frames are sealed; {own}"
        ),
    };
    judgement(reasons, why)
}

fn judgement(reasons: Vec<Reason>, why: String) -> Judgement {
    let text = |reason: &Reason| format!("{}: {}", reason.what, reason.cure);
    Judgement {
        safe: reasons.is_empty(),
        why: reasons.first().map_or(why, |reason| reason.what.clone()),
        warnings: reasons.iter().map(text).collect(),
        urgent: reasons.iter().filter(|reason| reason.urgent).map(text).collect(),
    }
}

/// At least three, all heard, lists agreed.
fn voters(evidence: &Evidence<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let all = evidence.voters.len() + 1;
    if all < 3 {
        let what = format!("{all} voters have no majority without both");
        reasons.push(Reason::new(what, "add a third one"));
    }
    let unheard: Vec<String> = evidence
        .voters
        .iter()
        .filter(|voter| !matches!(voter.state, NodeState::Alive | NodeState::Late))
        .map(|voter| {
            let kind = if voter.witness { "witness " } else { "" };
            format!("{kind}{} {}", voter.name, unheard(voter.state))
        })
        .collect();
    if !unheard.is_empty() {
        let heard = all - unheard.len();
        let what = format!("{heard} of {all} voters are heard: {}", unheard.join(", "));
        reasons.push(Reason::new(what, "look at its power, its cables and its key"));
    }
    for voter in evidence.voters.iter().filter(|voter| voter.other_voters) {
        let what = format!(
            "{} has another list of voters: neither's votes count for the other",
            voter.name
        );
        let cure = "the same nodes and witnesses in every configuration, then `latido reload`";
        reasons.push(Reason::new(what, cure).urgent());
    }
    if !evidence.in_force {
        let what = "not every voter was heard with this list of voters since it is new";
        let cure = "nothing is claimed until all were heard: start Latido on all of them";
        reasons.push(Reason::new(what, cure).urgent());
    }
    reasons
}

/// Two machines of one name, and a device that has lied.
fn names(evidence: &Evidence<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for voter in &evidence.voters {
        let (name, doubts) = (&voter.name, voter.doubts);
        if doubts.lied {
            let what = format!("{name} was said to be off, and was not: its fence device lied");
            let cure = format!(
                "find out what the device switches (docs/fencing.md); it is trusted again after \
                 `latido fence {name}`, or a restart here"
            );
            reasons.push(Reason::new(what, cure).urgent());
        }
        if doubts.elsewhere {
            let what = format!("{name} hears another machine under this node's name");
            let cure = "stop the other one, or give it a name of its own (--node)";
            reasons.push(Reason::new(what, cure).urgent());
        }
        if doubts.twins {
            let what = format!("two machines send under the name {name}");
            let cure = "stop one of them, or give it a name of its own";
            reasons.push(Reason::new(what, cure).urgent());
        }
    }
    reasons
}

fn unheard(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "was never heard",
        NodeState::Seen => "does not hear us",
        NodeState::Dead => "is silent",
        NodeState::Left => "was stopped",
        NodeState::Alive | NodeState::Late => "is heard",
    }
}

/// Something that can switch off each other node, and was found to work.
fn power(evidence: &Evidence<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (device, what) in &evidence.basis.hollow {
        reasons.push(Reason::new(
            format!("{device} proves nothing: it {what}; with every path cut both nodes would own"),
            "use an outlet, a relay or a management board (docs/fencing.md)",
        ));
    }
    for voter in evidence.voters.iter().filter(|voter| !voter.witness) {
        let name = &voter.name;
        let none = Vec::new();
        let known = evidence.power.iter().find(|power| power.node == *name);
        let devices = known.map_or(&none, |power| &power.devices);
        if devices.iter().any(|device| device.test == Test::Good) {
            continue;
        }
        let told = |device: &DeviceState| match &device.test {
            Test::Failed(why) => format!("{}: {why}", device.name),
            Test::Pending => format!("{}: its self-test has not ended yet", device.name),
            Test::Good => device.name.clone(),
        };
        let told: Vec<String> = devices.iter().map(told).collect();
        let what = format!(
            "two nodes never own a group, but if {name} fell silent now nobody would take over: no \
             device could fence it ({})",
            if told.is_empty() { "none is configured".to_owned() } else { told.join("; ") }
        );
        reasons.push(Reason::new(what, "look at the device; it is tested again and again"));
    }
    reasons
}

fn configurations(evidence: &Evidence<'_>) -> Vec<Reason> {
    let differ = evidence.voters.iter().filter(|voter| voter.differs && !voter.other_voters);
    let reason = |voter: &Voter| {
        let what = format!(
            "{} has another configuration: what belongs to one group here may belong to another \
             there",
            voter.name
        );
        Reason::new(what, "copy the file and `latido reload`")
    };
    differ.map(reason).collect()
}

fn memory(evidence: &Evidence<'_>) -> Option<Reason> {
    let what = "what this node must not forget cannot be written to its runtime directory";
    let cure = "it grants nothing new until that works: make room there";
    evidence.unsaved.then(|| Reason::new(what, cure).urgent())
}

fn addresses(evidence: &Evidence<'_>) -> Option<Reason> {
    let basis = evidence.basis;
    // Under `fencing` a node that does not fall silent is switched off, or nobody takes over.
    let matters = basis.rule == Rule::Majority && basis.silencer == Silencer::Gate;
    if !basis.addresses || !matters {
        return None;
    }
    let lifetime = format_duration(KERNEL_LIFETIME);
    match &evidence.gate {
        Gate::Everywhere => None,
        Gate::Unneeded => Some(Reason::new("it is not known where the lease gate is", "ask again")),
        Gate::Gaps(places) => {
            let what = format!(
                "the lease gate is not on {}: an address of a stopped daemon answers there for up \
                 to {lifetime}",
                places.join("; ")
            );
            let cure = "mend that; or restart Latido here at a quiet moment: then its leases wait";
            Some(Reason::new(what, cure).urgent())
        }
        Gate::Missing(why) => {
            let what = format!(
                "there is no lease gate ({why}): an address of a stopped daemon answers for up to \
                 {lifetime}"
            );
            Some(Reason::new(what, "see docs/gate.md for what it takes"))
        }
    }
}

/// What is neither silenced by the kernel nor ends by itself.
fn services(basis: &Basis) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let Some(first) = basis.others.first() else { return reasons };
    let name = match basis.others.len() {
        1 => first.clone(),
        more => format!("{first} and {} more", more - 1),
    };
    // Under `fencing` nothing is taken from a node that still has power.
    if basis.rule == Rule::Majority && !basis.watchdog {
        let what = format!(
            "nothing ends {name} where the daemon was killed or hangs, or a stop does, when the \
             lease is over"
        );
        let cure = "a watchdog does; or two nodes with fence devices and the rule fencing";
        reasons.push(Reason::new(what, cure));
    }
    if basis.releases {
        let what = format!("what cannot be stopped is released all the same: {name} may run twice");
        reasons.push(Reason::new(what, "leave stop_failure = \"release\" out"));
    }
    reasons
}

fn clock(evidence: &Evidence<'_>) -> Option<Reason> {
    match &evidence.slew {
        Ok(Slew { ppm }) if *ppm <= SLEW_MAX_PPM => None,
        Ok(Slew { ppm }) => {
            let what = format!(
                "this machine's clock is made to run {}.{} % wrong; the leases allow for 1 %",
                ppm / 10_000,
                ppm / 1000 % 10
            );
            let cure = "limit it (chrony: `maxslewrate 5000`), or wait until the time is right";
            Some(Reason::new(what, cure).urgent())
        }
        Err(why) => {
            let what = format!("how fast this machine's clock is made to run is not known ({why})");
            Some(Reason::new(what, "allow adjtimex(2), which changes nothing here"))
        }
    }
}

#[cfg(test)]
mod tests;
