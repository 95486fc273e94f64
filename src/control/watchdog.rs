//! What `status` says of the watchdog, and its test.
use super::protocol::Answer;
use super::report::Report;
use crate::core::time::Duration;
use crate::platform::watchdog::{Applies, Board};
use crate::tell::span;
use serde::{Deserialize, Serialize};

/// What resets this machine when the engine no longer vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchdogReport {
    /// none, device, software, manager or reboot: what applies, in the order of trust.
    pub kind: String,
    /// The device.
    pub device: Option<String>,
    /// How it calls itself.
    pub identity: Option<String>,
    /// This machine runs nothing any more so long after the engine last vouched for it: what the
    /// leases count with.
    pub bound_ms: Option<u64>,
    /// The kernel is warned so long before.
    pub pretimeout_ms: Option<u64>,
    /// It can be stopped again.
    pub stoppable: bool,
    /// It says that the machine's last start was its doing.
    pub bitten: bool,
    /// It is not petted now: somebody tests it.
    pub held_back: bool,
    /// Why it could not be petted the last time.
    pub error: Option<String>,
    /// Why what would be better does not apply, and what is not as it was asked for.
    pub remarks: Vec<String>,
}

impl WatchdogReport {
    /// The present state.
    pub(super) fn of(board: &Board) -> WatchdogReport {
        let fact = board.fact();
        let errno = board.errno();
        let millis =
            |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let mut report = WatchdogReport {
            bound_ms: fact.bound.map(millis),
            held_back: board.is_held_back(),
            error: (errno != 0).then(|| std::io::Error::from_raw_os_error(errno).to_string()),
            remarks: fact.passed_over,
            ..WatchdogReport::default()
        };
        report.kind = match fact.applies {
            Applies::Nothing => "none",
            Applies::Manager(_) => "manager",
            Applies::Reboot => "reboot",
            Applies::Device(info) => {
                report.device = Some(info.device.display().to_string());
                report.identity = Some(info.identity).filter(|name| !name.is_empty());
                report.pretimeout_ms = info.pretimeout.map(millis);
                report.stoppable = info.stoppable;
                report.bitten = info.bitten;
                report.remarks.extend(info.remarks);
                if info.software { "software" } else { "device" }
            }
        }
        .to_owned();
        report
    }

    /// In one line; nothing where nothing is configured.
    pub fn line(&self) -> Option<String> {
        let bound = self.bound_ms.map(|ms| span(Duration::from_millis(ms)));
        let bound = bound.unwrap_or_else(|| "-".into());
        let name = self.identity.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let device = format!("{}{name}", self.device.as_deref().unwrap_or_default());
        let ends = format!("ends this machine {bound} after the engine last vouched for it");
        Some(match self.kind.as_str() {
            "device" => format!("{device} {ends}"),
            "software" => format!("{device} {ends}; it is a timer of the kernel, not hardware"),
            "manager" => format!(
                "none; the service manager {ends}, if nothing of the service resists being killed"
            ),
            "reboot" => "none; this machine reboots itself when a stop hangs, but nothing ends it \
                         when Latido itself hangs or is killed"
                .to_owned(),
            _ => return None,
        })
    }
}

/// What needs somebody.
pub(super) fn problems(report: &Report) -> Vec<String> {
    let watchdog = &report.watchdog;
    let mut problems = Vec::new();
    if watchdog.held_back {
        problems.push("the watchdog is being tested: this machine is about to be reset.".into());
    }
    if let Some(error) = &watchdog.error {
        problems.push(format!(
            "the watchdog could not be petted ({error}): it is about to reset this machine. Look \
             at its driver."
        ));
    }
    if matches!(watchdog.kind.as_str(), "reboot" | "manager" | "software") {
        problems.extend(watchdog.remarks.first().map(|why| format!("no watchdog device: {why}.")));
    }
    if matches!(watchdog.kind.as_str(), "device" | "software") && !watchdog.stoppable {
        problems.push(
            "the watchdog cannot be stopped (nowayout): `latido stop` ends in a reset of this \
             machine unless Latido is started again in time. Load its driver with nowayout=0."
                .to_owned(),
        );
    }
    problems
}

/// Begins or ends the test: nobody pets the watchdog any more, or again.
pub(super) fn test(board: &Board, begin: bool, sure: bool) -> Answer {
    let report = WatchdogReport::of(board);
    let Some(line) = report.line().filter(|_| report.bound_ms.is_some()) else {
        return Answer::no(
            "this daemon keeps no watchdog",
            "add [watchdog] to its configuration (docs/hardware.md), then `latido reload`",
        );
    };
    if !begin {
        board.hold_back(false);
        return Answer::done(Some("petted again".into()));
    }
    if !sure {
        return Answer::no(
            format!("this resets this machine: what runs here ends without being stopped. {line}"),
            "move its groups first (`latido standby`), then: latido watchdog test --yes-really",
        );
    }
    board.hold_back(true);
    Answer::done(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::watchdog::{Fact, Info};

    fn board(applies: Applies, bound: Option<u64>) -> Board {
        let board = Board::default();
        let bound = bound.map(std::time::Duration::from_secs);
        board.choose(Fact { applies, bound, passed_over: vec!["a is held by b: end b".into()] });
        board
    }

    fn device(stoppable: bool) -> Applies {
        let info = Info {
            device: "/dev/watchdog0".into(),
            identity: "Broadcom".into(),
            stoppable,
            ..Info::default()
        };
        Applies::Device(info)
    }

    #[test]
    fn what_applies_is_named_with_its_bound() {
        for (applies, bound, kind, part) in [
            (device(true), Some(10), "device", "/dev/watchdog0 (Broadcom) ends this machine 10"),
            (Applies::Manager(std::time::Duration::from_secs(5)), Some(20), "manager", "resists"),
            (Applies::Reboot, None, "reboot", "nothing ends it when Latido itself hangs"),
        ] {
            let report = WatchdogReport::of(&board(applies, bound));
            assert_eq!(report.kind, kind);
            assert!(report.line().expect("a line").contains(part), "{report:?}");
        }
        assert_eq!(WatchdogReport::of(&Board::default()).line(), None);
    }

    #[test]
    fn a_test_asks_twice_and_can_be_called_off() {
        let board = board(device(true), Some(10));
        let answer = test(&board, true, false);
        assert!(!answer.ok && !board.is_held_back());
        assert!(answer.cure.expect("cure").contains("--yes-really"));
        assert!(test(&board, true, true).ok && board.is_held_back());
        assert!(test(&board, false, true).ok && !board.is_held_back());
        assert!(!test(&Board::default(), true, true).ok, "there is none");
    }

    #[test]
    fn problems_name_the_holder_the_error_and_the_way_out_that_is_not_there() {
        let told = |board: &Board| {
            let watchdog = WatchdogReport::of(board);
            problems(&Report { watchdog, ..Report::default() }).join("\n")
        };
        assert_eq!(told(&board(device(true), Some(10))), "");
        assert!(told(&board(device(false), Some(10))).contains("nowayout=0"));
        assert!(told(&board(Applies::Reboot, None)).contains("a is held by b"));
        let broken = board(device(true), Some(10));
        broken.note(5);
        assert!(told(&broken).contains("could not be petted"));
    }
}
