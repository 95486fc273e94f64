//! What the findings mean, in words, and what to do.
use super::Plan;
use super::holder::{Holder, Lines};
use super::probe::Findings;
use crate::config::{Medium, interface_of};
use crate::core::time::Duration;
use crate::link::OpenError;
use crate::tell::span;
use serde::Serialize;

/// What is wrong, for programs; their names do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing: both directions work.
    None,
    /// Nothing: a loopback plug, or something like it, returns what is sent.
    Loopback,
    /// Another program has the port.
    Held,
    /// It cannot be opened.
    NotOpened,
    /// It was lost during the test.
    Lost,
    /// Nothing comes.
    Silence,
    /// The interface has no carrier.
    NoCarrier,
    /// Bytes come that are no frames.
    Noise,
    /// They come at another speed.
    WrongSpeed,
    /// The peer is heard, and does not hear us.
    NotHeard,
    /// Only what this end sends comes back.
    OwnEcho,
    /// One direction of the two, nobody can tell from here which.
    OneWay,
    /// Frames come that our key does not open.
    WrongKey,
    /// Frames of another cluster come.
    OtherCluster,
    /// Frames of another version of Latido come.
    OtherVersion,
    /// Frames come, but without a configuration none of them can be opened.
    NoKey,
}

/// What came of a test.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The link works.
    pub ok: bool,
    /// The link's name.
    pub link: String,
    /// What is wrong.
    pub fault: Fault,
    /// The same in words.
    pub text: String,
    /// What to look at, most likely first.
    pub hints: Vec<String>,
    /// A serial line: the speed at which frames come, if it is another one.
    pub works_at: Option<u32>,
    /// Who hears us, and the round trip in microseconds.
    pub heard_by: Vec<(String, Option<u64>)>,
    /// The running daemon was asked; nothing was sent.
    pub by_daemon: bool,
}

/// What is known before and beside the findings.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    link: String,
    medium: Medium,
    nodes: Vec<String>,
    cluster: Option<String>,
    pub(super) baud: Option<u32>,
    pub(super) lines: Option<Lines>,
    pub(super) console: bool,
    pub(super) carrier: Option<bool>,
    pub(super) tried: Vec<u32>,
    pub(super) works_at: Option<u32>,
}

impl Scene {
    pub(super) fn new(plan: &Plan) -> Scene {
        let baud = match &plan.link.medium {
            Medium::Serial { baud, .. } => Some(*baud),
            _ => None,
        };
        let config = plan.config.as_ref().map(|(config, _)| config);
        let name = |index: usize| {
            let witness = || {
                let number = |place: &usize| {
                    crate::core::Config::witness(*place).map(|node| node.index()) == Some(index)
                };
                let config = config?;
                config.witnesses.get((0..config.witnesses.len()).find(number)?)
            };
            let found = config.and_then(|config| config.nodes.get(index)).or_else(witness);
            found.cloned().unwrap_or_else(|| format!("node {index}"))
        };
        Scene {
            link: plan.link.name.clone(),
            medium: plan.link.medium.clone(),
            nodes: (0..crate::core::limits::VOTERS_MAX).map(name).collect(),
            cluster: config.map(|config| config.cluster.clone()),
            baud,
            lines: None,
            console: false,
            carrier: None,
            tried: Vec::new(),
            works_at: None,
        }
    }

    fn serial(&self) -> bool {
        self.baud.is_some()
    }

    fn verdict(&self, fault: Fault, text: impl Into<String>, hints: Vec<String>) -> Verdict {
        Verdict {
            ok: matches!(fault, Fault::None | Fault::Loopback),
            link: self.link.clone(),
            fault,
            text: text.into(),
            hints,
            works_at: self.works_at,
            heard_by: Vec::new(),
            by_daemon: false,
        }
    }

    /// What the modem lines say, in words.
    fn lines_say(&self) -> Option<String> {
        let lines = self.lines?;
        let all = [("CTS", lines.cts), ("DSR", lines.dsr), ("DCD", lines.dcd)];
        let on: Vec<&str> = all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        Some(if on.is_empty() {
            "no modem line (CTS, DSR, DCD) is on: they are not wired (a cable of three wires), or \
             nobody has the other end open"
                .to_owned()
        } else {
            format!("{} on: the other end is connected, and a program has it open", on.join(", "))
        })
    }

    /// Where a firewall would stand.
    fn firewall(&self, whose: &str) -> Option<String> {
        let port = match &self.medium {
            Medium::Broadcast { port, .. }
            | Medium::Multicast { port, .. }
            | Medium::Unicast { port, .. } => *port,
            _ => return None,
        };
        let interface = interface_of(&self.medium).unwrap_or("the interface");
        Some(format!(
            "{whose} firewall: UDP port {port} must be let in (nft list ruleset; with firewalld: \
             firewall-cmd --add-port={port}/udp), there on its interface, here on {interface}"
        ))
    }
}

pub(super) fn held(scene: &Scene, holder: &Holder) -> Verdict {
    let Holder { pid, name } = holder;
    let device = &scene.link;
    let tty = device.rsplit('/').next().unwrap_or(device);
    let cure = match name.as_str() {
        "agetty" | "getty" | "login" => {
            format!("a login console: systemctl disable --now serial-getty@{tty}.service")
        }
        "latido" => "Latido itself: name its --runtime-dir, so that it can be asked, or latido \
                     stop (a witness: end it)"
            .to_owned(),
        "ModemManager" => "systemctl disable --now ModemManager, or have udev ignore this \
                           adapter (ID_MM_DEVICE_IGNORE)"
            .to_owned(),
        _ => format!("end it, or see what starts it: systemctl status {pid}"),
    };
    let text = format!("{device} is held by {name} (process {pid}), which would take our bytes");
    scene.verdict(Fault::Held, text, vec![cure])
}

pub(super) fn not_opened(scene: &Scene, error: &OpenError) -> Verdict {
    scene.verdict(Fault::NotOpened, error.why.clone(), vec![error.cure.clone()])
}

/// The most that can be said.
pub(super) fn judge(scene: &Scene, found: &Findings) -> Verdict {
    let mut verdict = first(scene, found);
    if !verdict.ok {
        verdict.hints.extend(scene.lines_say());
        if scene.console {
            verdict.hints.push(format!(
                "{} is a console of the kernel, whose messages are noise: take `console={}` off \
                 the kernel's command line (/proc/consoles)",
                scene.link,
                scene.link.rsplit('/').next().unwrap_or(&scene.link)
            ));
        }
    }
    verdict
}

fn first(scene: &Scene, found: &Findings) -> Verdict {
    if let Some(why) = &found.lost {
        let hint = "look at the plug, and at `dmesg`".to_owned();
        return scene.verdict(Fault::Lost, format!("lost during the test: {why}"), vec![hint]);
    }
    let places = 0..found.heard.len();
    let heard: Vec<usize> = places.clone().filter(|at| found.heard[*at] > 0).collect();
    let by: Vec<usize> = places.filter(|at| found.hears_us[*at].is_some()).collect();
    if !by.is_empty() {
        return works(scene, found, &by);
    }
    if !heard.is_empty() {
        let names = join(scene, &heard);
        let text =
            format!("one direction only: {names} is heard, and says that it does not hear us");
        let mut hints: Vec<String> = scene.firewall(&format!("{names}'s")).into_iter().collect();
        if scene.serial() {
            hints.push("the wire from our TX to its RX: broken, not wired, or at our TX".into());
        }
        return scene.verdict(Fault::NotHeard, text, hints);
    }
    if found.unopened.is_some() || found.other_cluster.is_some() || found.other_version > 0 {
        return strange(scene, found);
    }
    if found.namesakes > 0 {
        let text = "frames in this node's own name come that this test did not send";
        let hint = "Latido runs here without being found (name its --runtime-dir), or another \
                    machine runs under this name (--node, `uname -n`)";
        return scene.verdict(Fault::OtherCluster, text, vec![hint.to_owned()]);
    }
    if found.own > 0 {
        return own(scene, found);
    }
    if found.damaged > 0 {
        return noise(scene);
    }
    silence(scene, found)
}

fn works(scene: &Scene, found: &Findings, by: &[usize]) -> Verdict {
    let text = format!("works both ways: {} hears us", join(scene, by));
    let mut verdict = scene.verdict(Fault::None, text, Vec::new());
    let micros = |at: &usize| found.hears_us[*at].and_then(|span| span.as_micros().try_into().ok());
    verdict.heard_by = by.iter().map(|at| (scene.nodes[*at].clone(), micros(at))).collect();
    for (name, micros) in &verdict.heard_by {
        if let Some(micros) = micros {
            let round_trip = span(Duration::from_micros(*micros));
            verdict.text.push_str(&format!("; round trip with {name} {round_trip}"));
        }
    }
    if scene.serial() && found.own > 0 {
        verdict.hints.push(
            "our own frames come back as well: an RS-485 adapter that hears itself; harmless"
                .into(),
        );
    }
    if found.damaged > 0 {
        verdict.hints.push(format!(
            "{} pieces of noise came too: look at the ground wire and at the cable's length",
            found.damaged
        ));
    }
    verdict
}

/// Frames of Latido that are not ours.
fn strange(scene: &Scene, found: &Findings) -> Verdict {
    let Some(cluster) = &scene.cluster else {
        let text = "frames of Latido come: this direction works; without a configuration here none \
                    of them can be opened";
        let hint = "name it: --config FILE or --ha-dir DIR; it has the key".to_owned();
        return scene.verdict(Fault::NoKey, text, vec![hint]);
    };
    if let Some((number, known)) = found.unopened {
        let text = if known {
            format!("frames of this cluster come, sealed with a key {number} that is not ours")
        } else {
            format!("frames of this cluster come, sealed with key {number}, which is not here")
        };
        let hint = "the key file must be the same on both: latido key list".to_owned();
        return scene.verdict(Fault::WrongKey, text, vec![hint]);
    }
    match found.other_cluster {
        Some((tag, true)) => {
            let theirs = crate::config::other_spelling(cluster, tag)
                .map_or(format!("by another name (hash {tag:08x})"), |name| format!("\"{name}\""));
            let text = format!(
                "the peer has the right key, but calls its cluster {theirs}, not \"{cluster}\""
            );
            let hint = "write the same [cluster] name on both".to_owned();
            scene.verdict(Fault::OtherCluster, text, vec![hint])
        }
        Some((tag, false)) => {
            let text = format!(
                "only frames of another cluster come (hash {tag:08x}), sealed with a key that is \
                 not ours"
            );
            let hint = "is the cable in the right machine? Or cluster name and key are both \
                        others there"
                .to_owned();
            scene.verdict(Fault::OtherCluster, text, vec![hint])
        }
        None => {
            let text = "frames of another version of Latido come";
            let hint = "install the same version on both nodes".to_owned();
            scene.verdict(Fault::OtherVersion, text, vec![hint])
        }
    }
}

fn own(scene: &Scene, found: &Findings) -> Verdict {
    if scene.serial() {
        let text = format!(
            "own echo: {} of {} frames come back, and nothing else: a loopback plug, or an RS-485 \
             adapter that hears itself with nobody at the other end. The port itself works",
            found.own, found.sent
        );
        return scene.verdict(Fault::Loopback, text, Vec::new());
    }
    let text = "only our own frames come back: something on the network returns them, and no peer \
                is heard";
    let hint = "a loop between two switch ports; and does Latido, or this test, run on the peer?";
    scene.verdict(Fault::OwnEcho, text, vec![hint.to_owned()])
}

fn noise(scene: &Scene) -> Verdict {
    let baud = scene.baud.unwrap_or_default();
    if let Some(speed) = scene.works_at {
        let text =
            format!("wrong speed: at {baud} baud only noise comes, at {speed} baud frames do");
        let hint = format!("set the same on both ends: `baud = {speed}` here, or {baud} there");
        return scene.verdict(Fault::WrongSpeed, text, vec![hint]);
    }
    let mut text = format!("noise: bytes come at {baud} baud, but no whole frame");
    if !scene.tried.is_empty() {
        text.push_str(&format!(", nor at any of {} other speeds", scene.tried.len()));
    }
    let hints = [
        "the other end speaks something else: a login console (getty), a kernel console, a modem",
        "the ground wire (GND to GND); 3.3 V wired to RS-232 without a level shifter",
        "two RS-485 nodes that send at the same time, or A and B swapped",
    ];
    scene.verdict(Fault::Noise, text, hints.map(str::to_owned).to_vec())
}

fn silence(scene: &Scene, found: &Findings) -> Verdict {
    if scene.carrier == Some(false) {
        let interface = interface_of(&scene.medium).unwrap_or_default();
        let text = format!("{interface} has no carrier");
        let hint = format!("its cable, the switch, `ip link set {interface} up`");
        return scene.verdict(Fault::NoCarrier, text, vec![hint]);
    }
    let runs = "does Latido, or this test, run at the other end, on this link?".to_owned();
    let mut hints = vec![runs];
    let mut text = format!("nothing received, not even noise ({} frames sent)", found.sent);
    if scene.serial() {
        hints.push("TX must go to RX and RX to TX: a null-modem cable, not a straight one".into());
        hints.push("is it the right port? dmesg | grep tty".into());
        hints.push("to test this end alone: join its TX and RX (pins 2 and 3 of a DB9)".into());
    } else {
        if let Some(refusal) = found.refusal {
            text = format!("nothing received, and the kernel refuses to send: {refusal}");
            hints.insert(0, "our own firewall drops what we send, or there is no route".into());
        }
        hints.extend(scene.firewall("a"));
        hints.push("the same interface, network and VLAN on both ends?".into());
    }
    scene.verdict(Fault::Silence, text, hints)
}

fn join(scene: &Scene, places: &[usize]) -> String {
    let names = places.iter().filter_map(|at| scene.nodes.get(*at)).map(String::as_str);
    names.collect::<Vec<_>>().join(" and ")
}
