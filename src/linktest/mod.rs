//! Tests one link and says in words what is wrong with it.
//!
//! It sends frames of its own and looks at what comes. They are sealed with the cluster's key and
//! name this node, a new incarnation, and the flag `testing`: the peer's daemon answers them as it
//! answers any newcomer, by naming them among what it heard, and takes nothing from them. Two
//! tests, one at each end, answer each other in the same way.
//!
//! ```text
//!  daemon  ─ who owns the port is asked, instead of taking its bytes
//!  holder  ─ who else has the port open
//!  probe   ─ frames out, frames in: Findings
//!  judge   ─ Findings → Verdict, in words
//! ```
mod daemon;
mod holder;
mod judge;
mod probe;

pub use daemon::asked;
pub use judge::{Fault, Verdict};

use crate::config::{Config, Link, Medium, link_of};
use crate::core::wire::VERSION;
use crate::link::Port;
use crate::platform::filter::HeaderFilter;
use judge::Scene;
use probe::{Findings, Probe};
use std::path::Path;
use std::time::Duration;

/// Speeds that are tried when what comes is noise.
const SPEEDS: [u32; 14] = [
    115_200, 9600, 19_200, 38_400, 57_600, 230_400, 460_800, 921_600, 1_000_000, 1_500_000,
    2_000_000, 3_000_000, 4800, 2400,
];

/// What is tested, and by what means.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The link.
    pub link: Link,
    /// The configuration with the keys, and this node's place in it.
    pub config: Option<(Config, usize)>,
    /// Longest time for the answer.
    pub patience: Duration,
}

/// Carries it out: takes as long as the answer takes, at most its patience, longer only while other
/// speeds are tried.
///
/// # Errors
/// What this machine cannot do, in words.
pub fn test(plan: &Plan) -> Result<Verdict, String> {
    let mut scene = Scene::new(plan);
    if let Medium::Serial { device, .. } = &plan.link.medium {
        if let Some(holder) = holder::of(device) {
            return Ok(judge::held(&scene, &holder));
        }
        scene.console = holder::is_console(device);
        scene.lines = holder::lines(device);
    }
    if let Some(interface) = interface(&plan.link.medium) {
        scene.carrier = carrier(interface);
    }
    let tag = plan.config.as_ref().map_or(0, |(config, _)| config.cluster_tag());
    let filter = HeaderFilter::new(VERSION, &[tag]).with_strangers();
    let mut port = match Port::open(&plan.link, &filter) {
        Ok(port) => port,
        Err(error) => return Ok(judge::not_opened(&scene, &error)),
    };
    let mut probe = Probe::new(plan)?;
    let found = probe.exchange(&mut port, plan.patience)?;
    drop(port);
    if found.is_noise() {
        scene.tried = SPEEDS.into_iter().filter(|speed| Some(*speed) != scene.baud).collect();
        scene.works_at = other_speed(&scene, plan, &mut probe, &filter)?;
    }
    Ok(judge::judge(&scene, &found))
}

/// The speed at which frames come, if there is one. Only listens: what it sent would be noise.
fn other_speed(
    scene: &Scene,
    plan: &Plan,
    probe: &mut Probe,
    filter: &HeaderFilter,
) -> Result<Option<u32>, String> {
    let Medium::Serial { device, .. } = &plan.link.medium else { return Ok(None) };
    for &speed in &scene.tried {
        // A driver that cannot do a speed is no reason not to try the next one.
        let Ok(mut port) = at(device, speed)
            .and_then(|link| Port::open(&link, filter).map_err(|error| error.to_string()))
        else {
            continue;
        };
        let found: Findings = probe.listen(&mut port, plan.hearing())?;
        if found.frames > 0 {
            return Ok(Some(speed));
        }
    }
    Ok(None)
}

fn at(device: &Path, baud: u32) -> Result<Link, String> {
    link_of(&serial(&device.display().to_string(), baud))
}

/// A string as the configuration writes it: JSON's are TOML's too.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A serial line as the configuration writes it.
pub fn serial(device: &str, baud: u32) -> String {
    format!("[[link]]\nserial = {}\nbaud = {baud}\n", quoted(device))
}

impl Plan {
    /// Within this time a peer has certainly sent something.
    fn hearing(&self) -> Duration {
        let interval = |(config, _): &(Config, usize)| {
            config.timing.interval * u32::from(self.link.medium.every(config.timing.interval))
        };
        let interval = self.config.as_ref().map_or(Duration::from_secs(1), interval);
        interval * 3 + Duration::from_millis(100)
    }
}

/// The network interface of a link.
fn interface(medium: &Medium) -> Option<&str> {
    // Every kind but a serial line is on one, and names it first.
    crate::config::interface_of(medium)
}

/// Whether it has a carrier; `None`: nobody knows.
fn carrier(interface: &str) -> Option<bool> {
    let path = Path::new("/sys/class/net").join(interface).join("carrier");
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.trim() == "1"),
        // An interface that is switched off refuses to tell.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Some(false),
        Err(_) => None,
    }
}
