//! `latido watchdog`: has the device handed over, and proves that it resets this machine.
use super::Where;
use super::command::{Trouble, conclude};
use crate::control::{Client, ClientError, Order};
use crate::platform::watchdog::{Wanted, holder, open};
use clap::Subcommand;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Beyond its timeout, before a watchdog counts as one that does not bite.
const MARGIN: Duration = Duration::from_secs(5);

const HAND_OVER: (&str, &str) = (
    "/etc/systemd/system.conf.d/60-latido-watchdog.conf",
    "# The watchdog is Latido's: its engine pets it ([watchdog] of latido.toml).
# While Latido does not run, nothing resets this machine when it hangs.
[Manager]
RuntimeWatchdogSec=off
",
);
const MANAGER: (&str, &str) = (
    "/etc/systemd/system/latido.service.d/watchdog.conf",
    "# Where the init system keeps the watchdog: it reboots this machine when the engine has not
# vouched for it for so long. No proof: it waits for processes that cannot be killed.
[Unit]
FailureAction=reboot-immediate

[Service]
# A failure is a silent engine, not a mistake in the configuration: that would reboot for ever.
ExecStartPre=
SuccessExitStatus=1
Restart=no
WatchdogSec=5s
WatchdogSignal=SIGKILL
Environment=LATIDO_FAILURE_ACTION=reboot-immediate
",
);

const SETUP: &str = "\
A watchdog has one keeper. On Raspberry Pi OS, and wherever RuntimeWatchdogSec= is set, that is the
init system. Without --write nothing is changed.

Exit codes: 0 shown or written, 1 failed";
const TEST: &str = "\
With a running daemon: its engine pets the watchdog no more. Without one: the device is opened and
left alone. Without --yes-really nothing happens, and you are told what would.

Exit codes: 1 refused, or it did NOT reset this machine (it is petted or stopped again). There is no
other one: where the watchdog works, this command does not come back.";

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Show, or write, what hands the watchdog over to Latido.
    Setup(SetupArgs),
    /// Prove that the watchdog resets this machine: it resets this machine.
    Test(TestArgs),
}

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = SETUP)]
struct SetupArgs {
    /// Write it.
    #[arg(long)]
    write: bool,
    /// Leave the device with the init system, and have that reboot this machine when Latido hangs.
    #[arg(long)]
    manager: bool,
    /// The device.
    #[arg(long, value_name = "PATH", default_value = "/dev/watchdog0")]
    device: PathBuf,
    /// Where the machine's files are, such as a mounted card.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(clap::Args, Clone, Debug)]
#[command(after_help = TEST)]
struct TestArgs {
    /// It is meant: this machine is reset.
    #[arg(long)]
    yes_really: bool,
    /// Without a running daemon: the device.
    #[arg(long, value_name = "PATH", default_value = "/dev/watchdog0")]
    device: PathBuf,
    /// Without a running daemon: its timeout.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u32,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match &args.what {
        What::Setup(args) => match setup(args) {
            Ok(text) if super::check::print(&text) => ExitCode::from(super::DONE),
            Ok(_) => ExitCode::from(super::FAILED),
            Err(why) => {
                super::complain(why);
                ExitCode::from(super::FAILED)
            }
        },
        What::Test(args) => conclude(Order::WatchdogTest, test(args)),
    }
}

fn setup(args: &SetupArgs) -> Result<String, String> {
    let (path, content) = if args.manager { MANAGER } else { HAND_OVER };
    let mut text = String::new();
    let own_machine = args.root == Path::new("/");
    if let Some(holder) = holder(&args.device).filter(|_| own_machine) {
        text.push_str(&format!("{} is held by {holder}.\n", args.device.display()));
        if !holder.is_init() && !args.manager {
            let why = "that is not the init system: end that program, and see that it is not \
                       started again (`systemctl disable --now`)";
            return Err(format!("{}{why}", text.replace('\n', " ")));
        }
    } else if own_machine {
        text.push_str(&format!("Nobody holds {} now.\n", args.device.display()));
    }
    let target = args.root.join(path.trim_start_matches('/'));
    if args.write {
        write(&target, content)
            .map_err(|error| format!("{}: {error}; run as root?", target.display()))?;
        text.push_str(&format!("{} is written.\n", target.display()));
    } else {
        text.push_str(&format!("With --write this becomes {}:\n\n{content}\n", target.display()));
    }
    text.push_str(if args.manager {
        "Then: systemctl daemon-reload && systemctl restart latido\n"
    } else {
        "Then: systemctl daemon-reexec (or restart this machine), and start Latido with\n\
         [watchdog] in its configuration. Prove it once: latido watchdog test\n"
    });
    Ok(text)
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn test(args: &TestArgs) -> Result<String, Trouble> {
    let mut client = match Client::connect(&args.place.runtime_dir) {
        Ok(client) => client,
        Err(ClientError::NotRunning(_)) => return test_alone(args),
        Err(error) => return Err(error.into()),
    };
    let answer = client.order_meant(Order::WatchdogTest, args.yes_really)?;
    println!("{}", answer.note.unwrap_or_default());
    let bound = client.status().ok().and_then(|report| report.watchdog.bound_ms).unwrap_or(60_000);
    wait(Duration::from_millis(bound) + MARGIN);
    client.order_meant(Order::WatchdogResume, true)?;
    Err(Trouble::Failed(format!(
        "this machine was NOT reset within {bound} ms: its watchdog protects nothing. It is petted \
         again; look at its driver (`dmesg`) and try another device"
    )))
}

fn test_alone(args: &TestArgs) -> Result<String, Trouble> {
    let device = args.device.display();
    if !args.yes_really {
        return Err(Trouble::Failed(format!(
            "this opens {device} and leaves it alone: this machine is reset {} s later, and what \
             runs here ends without being stopped. If that is what you want: latido watchdog test \
             --yes-really",
            args.timeout
        )));
    }
    let wanted = Wanted {
        device: args.device.clone(),
        timeout: Duration::from_secs(args.timeout.into()),
        pretimeout: None,
    };
    let armed = open(&wanted).map_err(|refused| Trouble::Failed(refused.to_string()))?;
    let info = armed.info().clone();
    println!("{device} ({}), timeout {} s", info.identity, info.timeout.as_secs());
    wait(info.timeout + MARGIN);
    let stopped = if armed.disarm() { "It is stopped again" } else { "It goes on" };
    Err(Trouble::Failed(format!(
        "this machine was NOT reset within {} s: {device} protects nothing. {stopped}",
        info.timeout.as_secs()
    )))
}

/// Says every second how long it still takes.
fn wait(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        println!("nobody pets it; {} s until it counts as broken", left.as_secs());
        let _ = std::io::stdout().flush();
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup_in(root: &Path, write: bool, manager: bool) -> String {
        let device = "/dev/no-such-watchdog".into();
        setup(&SetupArgs { write, manager, device, root: root.to_owned() }).expect("done")
    }

    #[test]
    fn the_drop_in_is_shown_first_and_written_only_when_asked() {
        let root = std::env::temp_dir().join(format!("latido-watchdog-{}", std::process::id()));
        for ((path, content), manager) in [(HAND_OVER, false), (MANAGER, true)] {
            let target = root.join(path.trim_start_matches('/'));
            let text = setup_in(&root, false, manager);
            assert!(text.contains(content) && !target.exists(), "{text}");
            let text = setup_in(&root, true, manager);
            assert!(text.contains("is written"), "{text}");
            assert_eq!(fs::read_to_string(&target).expect("written"), content);
        }
        fs::remove_dir_all(&root).expect("removed");
    }

    #[test]
    fn a_test_without_the_word_opens_nothing() {
        let args = TestArgs {
            yes_really: false,
            device: "/dev/null".into(),
            timeout: 1,
            place: Where { runtime_dir: "/nowhere".into() },
        };
        let Err(Trouble::Failed(why)) = test(&args) else { panic!("not refused") };
        assert!(why.contains("--yes-really"), "{why}");
    }
}
