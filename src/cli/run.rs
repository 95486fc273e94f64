//! `latido run`: the daemon in the foreground.
use crate::config::Source;
use crate::platform::signal::{self, Signals};
use crate::supervisor::{self, Patience, Plan, Release};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER: &str = "\
Without --config and --ha-dir: /etc/latido/latido.toml if it is there, else /etc/ha.d.

Signals:
  SIGTERM, SIGINT   hand the groups over to the other node, release everything, end
  SIGHUP            read the configuration again; a bad file changes nothing and says so;
                    log files are opened anew

Exit codes: 0 ended in order, 1 failed (the last lines say why), 2 usage";

/// Arguments of `latido run`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER)]
pub struct RunArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE", conflicts_with = "ha_dir")]
    pub config: Option<PathBuf>,
    /// Directory with Heartbeat's ha.cf, haresources and authkeys.
    #[arg(long, value_name = "DIR")]
    pub ha_dir: Option<PathBuf>,
    /// This node's name in the configuration [default: as `uname -n`].
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Where the daemon keeps its socket and its memory; one daemon for each.
    #[arg(long, value_name = "DIR", default_value = crate::runtime::DEFAULT_DIR)]
    pub runtime_dir: PathBuf,
    /// Where the daemon notes what must outlive the machine's start (rule majority: the voters).
    #[arg(long, value_name = "DIR", default_value = crate::runtime::STATE_DIR)]
    pub state_dir: PathBuf,
}

impl RunArgs {
    /// The configuration meant.
    ///
    /// # Errors
    /// None is named and none is at the usual places; the text says what to do.
    pub fn source(&self) -> Result<Source, String> {
        Source::find(self.config.clone(), self.ha_dir.clone())
    }

    /// The engine's command line.
    fn engine(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["engine".into()];
        // In one piece: a value may begin with a dash.
        let mut pair = |name: &str, value: OsString| {
            let mut arg = OsString::from(name);
            arg.push("=");
            arg.push(value);
            args.push(arg);
        };
        if let Some(config) = &self.config {
            pair("--config", config.into());
        }
        if let Some(dir) = &self.ha_dir {
            pair("--ha-dir", dir.into());
        }
        if let Some(node) = &self.node {
            pair("--node", node.into());
        }
        pair("--runtime-dir", (&self.runtime_dir).into());
        pair("--state-dir", (&self.state_dir).into());
        args
    }
}

/// The supervisor.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    let wanted = [signal::TERMINATE, signal::INTERRUPT, signal::HANGUP, signal::CHILD];
    let signals = match Signals::install(&wanted) {
        Ok(signals) => signals,
        Err(error) => {
            super::complain(format_args!("cannot handle signals: {error}; see `ulimit -n`"));
            return ExitCode::from(super::FAILED);
        }
    };
    let plan = Plan {
        // Not the path: a package upgrade may have replaced the file, and a crash is not the
        // moment to change versions.
        program: "/proc/self/exe".into(),
        args: args.engine(),
        hold_back: true,
        patience: Patience::default(),
    };
    let mut hands = Release { runtime_dir: args.runtime_dir.clone() };
    ExitCode::from(supervisor::run(&plan, &signals, &mut hands))
}

/// The engine.
pub(super) fn engine(args: &RunArgs) -> ExitCode {
    let source = match args.source() {
        Ok(source) => source,
        Err(error) => {
            super::complain(error);
            return ExitCode::from(supervisor::EXIT_CONFIG);
        }
    };
    let options = crate::engine::Options {
        source,
        node: args.node.clone(),
        runtime_dir: args.runtime_dir.clone(),
        state_dir: args.state_dir.clone(),
    };
    ExitCode::from(crate::engine::run(&options))
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn the_engine_is_told_what_run_was_told() {
        for line in [
            "latido run",
            "latido run --config /a/b.toml --node pi --runtime-dir /run/x --state-dir /x",
            "latido run --ha-dir=/etc/ha.d --node=-odd",
        ] {
            let Command::Run(run) = Cli::try_parse_from(line.split(' ')).expect(line).command
            else {
                panic!()
            };
            let mut again = run.engine();
            assert_eq!(again[0], "engine");
            // The engine reads its arguments as `run` does.
            again.splice(..1, ["latido".into(), "run".into()]);
            let Command::Run(engine) = Cli::try_parse_from(again).expect(line).command else {
                panic!()
            };
            assert_eq!(run, engine, "{line}");
        }
        assert!(Cli::try_parse_from(["latido", "run", "--config", "a", "--ha-dir", "b"]).is_err());
    }
}
