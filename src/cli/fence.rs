//! `latido fence` and `latido confirm-dead`: what decides about a machine's life.
use super::Where;
use super::command::{Trouble, conclude};
use crate::control::report::{NodeReport, Report};
use crate::control::{Client, Order};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at the status.
const LOOK: Duration = Duration::from_millis(20);

const FENCE: &str = "\
The node's devices are tried in their order (docs/fencing.md): off, confirmed, then on. What ran
there is not stopped in order. Without --yes-really nothing happens, and you are told what would.

Exit codes: 0 it was certainly off, 1 refused or failed, 3 no daemon runs here";
const CONFIRM: &str = "\
For when you have pulled the plug yourself: this node then takes the other's groups as if it had
fenced it. It does not look: you vouch. Without --yes-really nothing happens, and you are told for
what. Refused while the node is heard, and under the rule majority.

Exit codes: 0 believed, 1 refused, 3 no daemon runs here";

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = FENCE)]
pub(super) struct FenceArgs {
    /// The node whose power is switched off and on.
    node: String,
    /// It is meant.
    #[arg(long)]
    yes_really: bool,
    /// Wait at most so long for the outcome.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u32,
    #[command(flatten)]
    place: Where,
}

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = CONFIRM)]
pub(super) struct ConfirmArgs {
    /// The node that is off.
    node: String,
    /// It is meant.
    #[arg(long)]
    yes_really: bool,
    #[command(flatten)]
    place: Where,
}

pub(super) fn confirm_dead(args: &ConfirmArgs) -> ExitCode {
    let done = || {
        let mut client = Client::connect(&args.place.runtime_dir)?;
        client.order_node(Order::ConfirmDead, &args.node, args.yes_really)?;
        Ok(format!("{}: you vouch that it is off; what it owned is taken over", args.node))
    };
    conclude(Order::ConfirmDead, done())
}

pub(super) fn fence(args: &FenceArgs) -> ExitCode {
    conclude(Order::Fence, shoot(args))
}

fn shoot(args: &FenceArgs) -> Result<String, Trouble> {
    let mut client = Client::connect(&args.place.runtime_dir)?;
    let before = fenced(&client.status()?, &args.node).map_or(0, |node| node.fence.count);
    client.order_node(Order::Fence, &args.node, args.yes_really)?;
    let deadline = Instant::now() + Duration::from_secs(args.wait.into());
    while Instant::now() < deadline {
        let report = client.status()?;
        let node = fenced(&report, &args.node).filter(|node| node.fence.count > before);
        if let Some(last) = node.and_then(|node| node.fence.last.as_ref()) {
            return if last.confirmed {
                Ok(format!("{} was switched off: {} confirms it", args.node, last.text))
            } else {
                Err(Trouble::Failed(format!(
                    "{} could not be switched off: {}; pull its plug, then: latido confirm-dead {}",
                    args.node, last.text, args.node
                )))
            };
        }
        std::thread::sleep(LOOK);
    }
    let text = format!("not done after {} s; see `latido status`", args.wait);
    Err(Trouble::Failed(text))
}

fn fenced<'a>(report: &'a Report, name: &str) -> Option<&'a NodeReport> {
    report.nodes.iter().find(|node| node.name.eq_ignore_ascii_case(name))
}
