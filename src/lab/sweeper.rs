//! The laboratory's directory, and a process that outlives the laboratory to remove it.
use super::error::{Doing, Result};
use std::fs;
use std::io::{Read, Write, stderr, stdin};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Lines shown of each log when a test has failed.
const SHOWN: usize = 80;

/// A directory of its own that is removed when this is dropped, and also when the process is
/// killed in any way: the sweeper notices that its standard input ends.
#[derive(Debug)]
pub(super) struct Workplace {
    path: PathBuf,
    sweeper: Child,
    lifeline: Option<ChildStdin>,
}

impl Workplace {
    pub(super) fn new(program: &Path) -> Result<Workplace> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("latido-lab-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Not one that is there already: it might be somebody's trap.
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o755).create(&path).doing(format!("creating {}", path.display()))?;
        let started = Command::new(program)
            .arg("lab-sweep")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        match started {
            Ok(mut sweeper) => {
                let lifeline = sweeper.stdin.take();
                Ok(Workplace { path, sweeper, lifeline })
            }
            Err(why) => {
                let _ = fs::remove_dir_all(&path);
                Err(why).doing(format!("starting {}", program.display()))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the ends of all logs to stderr, for the one who reads a failed test.
    pub(super) fn show_logs(&self) {
        let mut stderr = stderr().lock();
        for node in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            for log in fs::read_dir(node.path().join("log")).into_iter().flatten().flatten() {
                let Ok(text) = fs::read(log.path()) else { continue };
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                let _ = writeln!(stderr, "--- {}", log.path().display());
                for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
                    let _ = writeln!(stderr, "{line}");
                }
            }
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.sweeper.wait();
    }
}

/// Removes the directory named by the argument as soon as standard input ends.
pub(super) fn main(mut args: impl Iterator<Item = String>) -> ExitCode {
    let Some(path) = args.next() else {
        let _ = writeln!(stderr(), "latido lab-sweep: is started by the laboratory only");
        return ExitCode::from(2);
    };
    let _ = stdin().read_to_end(&mut Vec::new());
    match fs::remove_dir_all(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(stderr(), "latido: cannot remove {path}: {why}");
            ExitCode::FAILURE
        }
    }
}
