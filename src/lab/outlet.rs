//! A strip of power outlets: what a node's fence command asks, and the laboratory obeys.
//!
//! The command is the hidden subcommand `lab-outlet SOCKET` of the program. It speaks the contract
//! of docs/fencing.md: the action and the node from the environment, the outcome as exit code.
use super::error::{Doing, Error, Result};
use std::io::{BufRead, BufReader, Write, stderr, stdout};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What an outlet answers: a word, or why not.
pub type Answer = std::result::Result<String, String>;

/// The strip. Dropping it ends its thread; whoever asks then gets no answer.
#[derive(Debug)]
pub struct Outlets {
    path: PathBuf,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Outlets {
    /// Answers every question (an action and a node) by `switch`, one after the other.
    ///
    /// # Errors
    /// When the socket or the thread is not to be had.
    pub fn serve(
        path: &Path,
        mut switch: impl FnMut(&str, &str) -> Answer + Send + 'static,
    ) -> Result<Outlets> {
        let doing = || format!("opening {}", path.display());
        let listener = UnixListener::bind(path).doing(doing())?;
        let end = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .name("outlets".into())
            .spawn(move || {
                for visitor in listener.incoming().flatten() {
                    if ending.load(Ordering::Acquire) {
                        return;
                    }
                    // Who hangs up before the answer does not want it.
                    let _ = attend(&visitor, &mut switch);
                }
            })
            .doing(doing())?;
        Ok(Outlets { path: path.to_owned(), end, thread: Some(thread) })
    }
}

impl Drop for Outlets {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn attend(
    mut visitor: &UnixStream,
    switch: &mut impl FnMut(&str, &str) -> Answer,
) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(visitor).read_line(&mut line)?;
    let (action, node) = line.trim_end().split_once(' ').unwrap_or_default();
    let reply = match switch(action, node) {
        Ok(word) => format!("ok {word}\n"),
        Err(why) => format!("no {why}\n"),
    };
    visitor.write_all(reply.as_bytes())
}

/// Runs the command. `args` are those after the hidden subcommand: the socket comes first.
pub fn main(mut args: impl Iterator<Item = String>) -> ExitCode {
    match ask(args.next()) {
        Ok(word) => {
            let _ = writeln!(stdout(), "{word}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(stderr(), "outlet: {why}");
            ExitCode::FAILURE
        }
    }
}

fn ask(socket: Option<String>) -> Result<String> {
    let socket = socket.ok_or_else(|| Error::new("usage: lab-outlet SOCKET"))?;
    let word = |name: &str| std::env::var(name).doing(format!("reading {name}"));
    let question = format!("{} {}\n", word("LATIDO_ACTION")?, word("LATIDO_NODE")?);
    let mut stream = UnixStream::connect(&socket).doing(format!("asking {socket}"))?;
    stream.write_all(question.as_bytes()).doing("asking")?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).doing("waiting for the answer")?;
    match reply.trim_end().split_once(' ') {
        Some(("ok", word)) => Ok(word.to_owned()),
        Some(("no", why)) => Err(Error::new(why)),
        _ => Err(Error::new("no answer")),
    }
}
