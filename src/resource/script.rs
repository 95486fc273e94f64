//! Which program stands for a service or script, how it is called and what its answer means.
use crate::config::Kind;
use crate::platform::process::End;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const INIT_D: &str = "/etc/init.d";
/// systemd is the running init system if this exists (sd_booted(3)).
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A script, called as `script args… action`.
    Script {
        path: PathBuf,
        args: Vec<String>,
        /// Written for Heartbeat: the exit code of `status` says nothing.
        heartbeat: bool,
    },
    /// A systemd unit.
    Unit(String),
}

/// What a status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Stopped,
}

impl Program {
    /// Finds the program of a service or script.
    pub(super) fn locate(kind: &Kind) -> Result<Program, String> {
        Self::locate_with(kind, Path::new(SYSTEMD_RUNS), Path::new(INIT_D))
    }

    fn locate_with(kind: &Kind, systemd: &Path, init_d: &Path) -> Result<Program, String> {
        match kind {
            Kind::Address(_) => Err("an address has no program".into()),
            Kind::Service { name, script_dirs } => {
                if let Some(path) = search(Path::new(name), script_dirs) {
                    return Ok(Program::script(path, &[]));
                }
                if systemd.exists() {
                    return Ok(Program::Unit(name.clone()));
                }
                let mut dirs = script_dirs.clone();
                if !dirs.iter().any(|dir| dir == init_d) {
                    dirs.push(init_d.into());
                }
                match search(Path::new(name), &dirs) {
                    Some(path) => Ok(Program::script(path, &[])),
                    None => Err(format!(
                        "there is no service {name}: no executable of that name in {}, and systemd \
                         does not run here",
                        list(&dirs)
                    )),
                }
            }
            Kind::Script { script, args, script_dirs } => {
                if script.components().count() > 1 || script.is_absolute() {
                    return match executable(script) {
                        Ok(()) => Ok(Program::script(script.clone(), args)),
                        Err(why) => Err(format!("the script {} {why}", script.display())),
                    };
                }
                match search(script, script_dirs) {
                    Some(path) => Ok(Program::script(path, args)),
                    None => Err(format!(
                        "there is no executable script {} in {}",
                        script.display(),
                        list(script_dirs)
                    )),
                }
            }
        }
    }

    fn script(path: PathBuf, args: &[String]) -> Self {
        let heartbeat = path.parent().is_some_and(|dir| dir.ends_with("resource.d"));
        Program::Script { path, args: args.to_vec(), heartbeat }
    }

    /// The command for an action (`start`, `stop`, `status`).
    pub(super) fn command(&self, action: &str) -> Command {
        match self {
            Program::Script { path, args, .. } => {
                let mut command = Command::new(path);
                command.args(args).arg(action);
                command
            }
            Program::Unit(name) => {
                let mut command = Command::new("systemctl");
                let action = if action == "status" { "is-active" } else { action };
                command.args([action, "--", name]);
                command
            }
        }
    }

    /// The command of a script without a `#!` line: a shell runs it.
    pub(super) fn shell_command(&self, action: &str) -> Option<Command> {
        match self {
            Program::Script { path, args, .. } => {
                let mut command = Command::new("/bin/sh");
                command.arg(path).args(args).arg(action);
                Some(command)
            }
            Program::Unit(_) => None,
        }
    }

    /// What a status means. Heartbeat's rule: the exit code says nothing; `not running` (N and R
    /// in either case) is stopped, else `running`, `Running` or `OK` is running, else stopped.
    /// Scripts from elsewhere also have an exit code (LSB): 3 is stopped whatever they print —
    /// some print a journal, where any word may occur — and 0 is running unless they say `stopped`.
    pub(super) fn state(&self, end: End, printed: &[u8]) -> State {
        let has = |word: &str| printed.windows(word.len()).any(|part| part == word.as_bytes());
        match self {
            Program::Unit(_) => {
                let word = String::from_utf8_lossy(printed);
                match word.split_whitespace().next() {
                    Some("active" | "activating" | "reloading" | "deactivating" | "refreshing") => {
                        State::Running
                    }
                    _ => State::Stopped,
                }
            }
            Program::Script { heartbeat: false, .. } if end == End::Exited(3) => State::Stopped,
            Program::Script { heartbeat, .. } => {
                let stopped = ["not running", "Not running", "not Running", "Not Running"];
                if stopped.iter().any(|words| has(words)) {
                    State::Stopped
                } else if has("running") || has("Running") || has("OK") {
                    State::Running
                } else if *heartbeat || has("stopped") || has("Stopped") || end != End::Exited(0) {
                    State::Stopped
                } else {
                    State::Running
                }
            }
        }
    }
}

/// An executable regular file of this name in the first directory that has one.
fn search(name: &Path, dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(name)).find(|path| executable(path).is_ok())
}

/// Whether it can be run, or why not.
fn executable(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Err(error) => Err(format!("cannot be run: {error}")),
        Ok(meta) if !meta.is_file() => Err("is no regular file".into()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            Err(format!("is not executable; chmod +x {}", path.display()))
        }
        Ok(_) => Ok(()),
    }
}

fn list(dirs: &[PathBuf]) -> String {
    let names: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    if names.is_empty() { "any directory (none is configured)".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str) -> Program {
        Program::script(path.into(), &[])
    }

    #[test]
    fn heartbeat_scripts_are_judged_by_their_words_alone() {
        let script = program("/etc/ha.d/resource.d/apache");
        for (printed, code, state) in [
            ("INFO:  Running OK", 7, State::Running),
            ("apache is not running", 0, State::Stopped),
            ("apache is Not Running (OK)", 0, State::Stopped),
            ("OK", 1, State::Running),
            ("running (Primary)", 3, State::Running),
            ("", 0, State::Stopped),
            ("stopped", 0, State::Stopped),
        ] {
            assert_eq!(script.state(End::Exited(code), printed.as_bytes()), state, "{printed}");
        }
    }

    #[test]
    fn other_scripts_have_an_exit_code_too() {
        let script = program("/etc/init.d/vsftpd");
        for (printed, code, state) in [
            ("", 0, State::Running),
            ("", 3, State::Stopped),
            ("", 1, State::Stopped),
            ("journal: everything OK, running", 3, State::Stopped),
            ("vsftpd is not running", 0, State::Stopped),
            ("vsftpd is running", 0, State::Running),
            ("stopped", 0, State::Stopped),
            ("vsftpd is up", 0, State::Running),
        ] {
            assert_eq!(script.state(End::Exited(code), printed.as_bytes()), state, "{printed}");
        }
        assert_eq!(script.state(End::Signalled(9), b""), State::Stopped);
    }

    #[test]
    fn units_are_asked_whether_they_are_active() {
        let unit = Program::Unit("vsftpd".into());
        assert_eq!(unit.state(End::Exited(0), b"active\n"), State::Running);
        assert_eq!(unit.state(End::Exited(3), b"activating\n"), State::Running);
        assert_eq!(unit.state(End::Exited(3), b"inactive\n"), State::Stopped);
        assert_eq!(unit.state(End::Exited(3), b"failed\n"), State::Stopped);
        let command = unit.command("status");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["is-active", "--", "vsftpd"]);
    }

    #[test]
    fn services_are_looked_for_in_order() {
        let root = std::env::temp_dir().join(format!("latido-locate-{}", std::process::id()));
        let (first, second) = (root.join("resource.d"), root.join("init.d"));
        for dir in [&first, &second] {
            std::fs::create_dir_all(dir).expect("a directory");
        }
        let put = |path: &Path, mode| {
            std::fs::write(path, "#!/bin/sh\n").expect("written");
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("mode");
        };
        put(&first.join("web"), 0o644);
        put(&second.join("web"), 0o755);
        let none = root.join("none");
        let kind = |name: &str| Kind::Service {
            name: name.into(),
            script_dirs: vec![first.clone(), second.clone()],
        };
        let found = Program::locate_with(&kind("web"), &root, &none);
        assert_eq!(found, Ok(program(second.join("web").to_str().expect("text"))));
        let found = Program::locate_with(&kind("mail"), &root, &none);
        assert_eq!(found, Ok(Program::Unit("mail".into())), "systemd runs");
        let why = Program::locate_with(&kind("mail"), &none, &none).expect_err("nothing there");
        for words in ["mail", "resource.d", "init.d", "systemd"] {
            assert!(why.contains(words), "{why}");
        }
        let kind = Kind::Script { script: first.join("web"), args: vec![], script_dirs: vec![] };
        let why = Program::locate_with(&kind, &none, &none).expect_err("not executable");
        assert!(why.contains("chmod +x"), "{why}");
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
