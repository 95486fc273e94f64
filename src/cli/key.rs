//! `latido key`: another key for a cluster that runs, without a lost heartbeat.
use super::command::{Trouble, read_again};
use super::keygen;
use crate::config::{KeyFile, Source, source_of};
use crate::control::report::Report;
use crate::control::{Client, ClientError};
use clap::Subcommand;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at the status.
const LOOK: Duration = Duration::from_millis(10);
/// A trial takes a heartbeat where the others have the key; where not, two dozen (two seconds at
/// least) and `dead`.
const TRIAL: Duration = Duration::from_secs(120);

const AFTER: &str = "\
In this order, each step on every node before the next one:
  latido key add          on one node: a new key, accepted but not used yet
  scp /etc/latido/keys debian:/etc/latido/     and there: latido reload
  latido key use 2        on every node: seals with it; refused while another node lacks it
  latido key retire 1     on every node: the old key opens nothing any more

The key file (that of [keys], or authkeys) is changed in one piece, comments stay, and the running
daemon takes it over without a restart. No secret is printed, except by `add --show`.

Exit codes: 0 done, 1 refused or failed: nothing has changed, 3 no daemon runs here";

/// Rotate the cluster's keys: add, use, retire; or list who has which.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand, Clone, Debug)]
enum Deed {
    /// Add a key: it is accepted, and not used yet.
    Add {
        /// Its number [default: the next one].
        #[arg(long, value_name = "N")]
        number: Option<u8>,
        /// Take it from a copy of another node's key file, or from a file with its line; `-`: from
        /// standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "number")]
        from: Option<PathBuf>,
        /// Also write its line to a new file of mode 0600, for scp.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Also print its line: the secret.
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Seal with a key that every node has.
    Use {
        /// Its number.
        number: u8,
        #[command(flatten)]
        apart: Apart,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a key that no node uses any more.
    Retire {
        /// Its number.
        number: u8,
        #[command(flatten)]
        apart: Apart,
        #[command(flatten)]
        place: Place,
    },
    /// Show the keys' numbers, who uses which, and who accepts which. No secrets.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Whom not to wait for.
#[derive(clap::Args, Clone, Debug)]
struct Apart {
    /// Do not wait for this node or witness: it is off, and gets the new file before it starts
    /// again. Repeatable.
    #[arg(long, value_name = "NODE")]
    without: Vec<String>,
    /// Change the file although no daemon runs here that could tell what the others have.
    #[arg(long)]
    offline: bool,
}

/// Which configuration, and which daemon.
#[derive(clap::Args, Clone, Debug)]
struct Place {
    /// Configuration file [default: the running daemon's].
    #[arg(long, value_name = "FILE", conflicts_with = "ha_dir")]
    config: Option<PathBuf>,
    /// Directory with Heartbeat's ha.cf, haresources and authkeys.
    #[arg(long, value_name = "DIR")]
    ha_dir: Option<PathBuf>,
    #[command(flatten)]
    daemon: super::Where,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let done = match &args.deed {
        Deed::Add { number, from, out, show, place } => {
            let made = Made { number: *number, from: from.as_deref() };
            add(&made, out.as_deref(), *show, place)
        }
        Deed::Use { number, apart, place } => change_to(*number, apart, place),
        Deed::Retire { number, apart, place } => retire(*number, apart, place),
        Deed::List { json, place } => list(*json, place),
    };
    let (text, code) = match done {
        Ok(text) => {
            print!("{text}");
            return ExitCode::from(super::DONE);
        }
        Err(Trouble::Client(error @ ClientError::NotRunning(_))) => {
            (error.to_string(), super::NOT_RUNNING)
        }
        Err(Trouble::Client(error @ ClientError::Refused(_))) => {
            (format!("refused: {error}"), super::FAILED)
        }
        Err(Trouble::Client(error)) => (error.to_string(), super::FAILED),
        Err(Trouble::Failed(why)) => (why, super::FAILED),
    };
    super::complain(format_args!("key: {text}"));
    ExitCode::from(code)
}

/// A running daemon, or `None`; and the key file.
struct Desk {
    client: Option<(Client, Report)>,
    file: KeyFile,
    runtime_dir: PathBuf,
}

impl Desk {
    fn open(place: &Place) -> Result<Desk, Trouble> {
        let runtime_dir = place.daemon.runtime_dir.clone();
        let client = match Client::connect(&runtime_dir) {
            Ok(mut client) => {
                let report = client.status()?;
                Some((client, report))
            }
            Err(ClientError::NotRunning(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let named = place.config.is_some() || place.ha_dir.is_some();
        let source = match &client {
            Some((_, report)) if !named => source_of(&report.config.source),
            _ => {
                Source::find(place.config.clone(), place.ha_dir.clone()).map_err(Trouble::Failed)?
            }
        };
        let file = KeyFile::of(&source).map_err(Trouble::Failed)?;
        Ok(Desk { client, file, runtime_dir })
    }

    /// The daemon, or why it is needed.
    fn daemon(&mut self, offline: bool) -> Result<Option<&mut (Client, Report)>, Trouble> {
        match (&mut self.client, offline) {
            (Some(client), _) => Ok(Some(client)),
            (None, true) => Ok(None),
            (None, false) => {
                let path = crate::runtime::socket_path(&self.runtime_dir);
                Err(Trouble::Client(ClientError::NotRunning(path)))
            }
        }
    }

    /// Writes the file and has the daemon take it over; if it does not, the old file is back.
    fn carry_out(
        mut self,
        change: impl FnOnce(&mut KeyFile) -> Result<(), String>,
    ) -> Result<String, Trouble> {
        let path = self.file.path().to_owned();
        let before = std::fs::read(&path).map_err(|error| {
            Trouble::Failed(format!("{} cannot be read: {error}", path.display()))
        })?;
        change(&mut self.file).and_then(|()| self.file.store()).map_err(Trouble::Failed)?;
        if self.client.is_none() {
            return Ok(format!("{}: changed; no daemon runs here", path.display()));
        }
        let taken = read_again(&self.runtime_dir, true);
        if taken.is_err() {
            restore(&path, &before).map_err(|error| {
                Trouble::Failed(format!(
                    "the daemon did not take {} over, and what it was cannot be written back \
                     ({error}): look at it, then `latido reload`",
                    path.display()
                ))
            })?;
        }
        taken
    }
}

/// The file as it was, in one piece.
fn restore(path: &Path, text: &[u8]) -> Result<(), String> {
    keygen::write(path, &String::from_utf8_lossy(text), true)
}

/// Where a new key comes from.
struct Made<'a> {
    number: Option<u8>,
    from: Option<&'a Path>,
}

fn add(made: &Made<'_>, out: Option<&Path>, show: bool, place: &Place) -> Result<String, Trouble> {
    let desk = Desk::open(place)?;
    let others = others(&desk);
    let line = match made.from {
        Some(from) => desk.file.news(&read(from)?).map_err(Trouble::Failed)?,
        None => {
            let number = made.number.or(desk.file.free_number());
            let number = number.ok_or_else(|| {
                Trouble::Failed("every number is taken: `latido key retire` old keys".to_owned())
            })?;
            desk.file.new_line(number, &keygen::draw().map_err(Trouble::Failed)?)
        }
    };
    let (path, mut number) = (desk.file.path().to_owned(), 0);
    // A file that cannot be written must not be noticed when the key is in force.
    if let Some(out) = out {
        keygen::write(out, &format!("{line}\n"), false).map_err(Trouble::Failed)?;
    }
    let done = desk.carry_out(|file| file.add(&line).map(|added| number = added));
    let note = match done {
        Ok(note) => note,
        Err(why) => {
            // It was made a moment ago, and holds nothing that is of use.
            out.map(std::fs::remove_file);
            return Err(why);
        }
    };
    let mut text = format!("key {number} added to {}; {note}\n", path.display());
    let file = out.unwrap_or(&path).display();
    match (made.from, out) {
        (Some(_), _) => {}
        (None, Some(_)) => text.push_str(&format!(
            "Next, on {others}: copy {file} there, `latido key add --from` it, and remove both\n"
        )),
        (None, None) => text.push_str(&format!(
            "Next, on {others}: copy {file} there, with its mode, then there `latido reload`\n"
        )),
    }
    text.push_str(&format!("When all have it, on every node: latido key use {number}\n"));
    if show {
        text.push_str(&format!("{line}\n"));
    }
    Ok(text)
}

fn read(from: &Path) -> Result<String, Trouble> {
    let mut text = String::new();
    let read = if from == Path::new("-") {
        let mut input = std::io::stdin();
        if input.is_terminal() {
            eprintln!("latido: key: type or paste the line, then Ctrl-D");
        }
        input.read_to_string(&mut text)
    } else {
        std::fs::File::open(from).and_then(|file| file.take(1 << 17).read_to_string(&mut text))
    };
    let say = |error| Trouble::Failed(format!("{} cannot be read: {error}", from.display()));
    read.map(|_| text).map_err(say)
}

/// The other voters' names as they are listed.
fn others(desk: &Desk) -> String {
    let Some((_, report)) = &desk.client else { return "every other node".to_owned() };
    voters(report).collect::<Vec<_>>().join(" and ")
}

fn voters(report: &Report) -> impl Iterator<Item = String> {
    let all = report.nodes.iter().chain(&report.witnesses).filter(|node| !node.me);
    all.map(|node| node.name.clone())
}

/// Those of `missing` who are waited for.
fn awaited(missing: impl Iterator<Item = String>, apart: &Apart) -> Vec<String> {
    let spared = |name: &String| apart.without.iter().any(|other| other.eq_ignore_ascii_case(name));
    missing.filter(|name| !spared(name)).collect()
}

fn change_to(number: u8, apart: &Apart, place: &Place) -> Result<String, Trouble> {
    let mut desk = Desk::open(place)?;
    if desk.file.active() == number {
        return Ok(format!("key {number} is in use already\n"));
    }
    // What is not in the file needs no asking.
    if !desk.file.numbers().contains(&number) {
        desk.file.choose(number).map_err(Trouble::Failed)?;
    }
    let before = desk.file.active();
    let others = others(&desk);
    if let Some((client, report)) = desk.daemon(apart.offline)? {
        let opened = who_accepts(client, number)?;
        let lacks = awaited(voters(report).filter(|name| !opened.contains(name)), apart);
        if !lacks.is_empty() {
            let names = lacks.join(" and ");
            return Err(Trouble::Failed(format!(
                "refused: {names} did not open a frame sealed with key {number}, and would be \
                 locked out; put the key there first (copy {}, then there `latido reload`), or, if \
                 it is off for long: --without {}",
                desk.file.path().display(),
                lacks.join(" --without ")
            )));
        }
    }
    let note = desk.carry_out(|file| file.choose(number))?;
    Ok(format!(
        "{note}\nNext: `latido key use {number}` on {others}, if not done yet; when all use it, on \
         every node: latido key retire {before}\n"
    ))
}

/// Who has opened a frame that was sealed with this key just now.
fn who_accepts(client: &mut Client, number: u8) -> Result<Vec<String>, Trouble> {
    client.try_key(number)?;
    let started = Instant::now();
    loop {
        let trial = client.status()?.trial.filter(|trial| trial.key == number);
        match trial {
            Some(trial) if trial.over => return Ok(trial.opened),
            // Another one tries another key, or the engine has started anew.
            None => client.try_key(number).map(|_| ())?,
            Some(_) => {}
        }
        if started.elapsed() > TRIAL {
            let why = "the trial of the key does not end: see `latido status`, try again";
            return Err(Trouble::Failed(why.to_owned()));
        }
        std::thread::sleep(LOOK);
    }
}

fn retire(number: u8, apart: &Apart, place: &Place) -> Result<String, Trouble> {
    let mut desk = Desk::open(place)?;
    let active = desk.file.active();
    if number == active || desk.file.line(number).is_none() {
        return Err(Trouble::Failed(match desk.file.retire(number) {
            Err(why) => format!("refused: {why}"),
            Ok(()) => format!("there is no key {number}"),
        }));
    }
    let others = others(&desk);
    if let Some((_, report)) = desk.daemon(apart.offline)? {
        if report.key == number {
            return Err(Trouble::Failed(format!(
                "refused: the running daemon still seals with key {number}: `latido reload` first"
            )));
        }
        let all = || report.nodes.iter().chain(&report.witnesses).filter(|node| !node.me);
        let unheard = |state: &str| !matches!(state, "alive" | "late");
        let silent = all().filter(|node| unheard(&node.state)).map(|node| node.name.clone());
        let silent = awaited(silent, apart);
        let using = all().filter(|node| !unheard(&node.state) && node.key == Some(number));
        let using = awaited(using.map(|node| node.name.clone()), apart);
        if !using.is_empty() {
            let names = using.join(" and ");
            return Err(Trouble::Failed(format!(
                "refused: {names} still seals with key {number} and would be locked out; first, \
                 there: latido key use {active}"
            )));
        }
        if !silent.is_empty() {
            let names = silent.join(" and ");
            return Err(Trouble::Failed(format!(
                "refused: {names} is not heard, so nobody knows which key it uses; start it first, \
                 or, if it gets the new file before it starts: --without {}",
                silent.join(" --without ")
            )));
        }
    }
    let note = desk.carry_out(|file| file.retire(number))?;
    Ok(format!("{note}\nNext: `latido key retire {number}` on {others}, if not done yet\n"))
}

fn list(json: bool, place: &Place) -> Result<String, Trouble> {
    let mut desk = Desk::open(place)?;
    let (active, numbers) = (desk.file.active(), desk.file.numbers());
    let mut keys = Vec::new();
    for number in numbers {
        let (mut used, mut accepted, mut known) = (Vec::new(), Vec::new(), false);
        if let Some((client, report)) = &mut desk.client {
            let all = report.nodes.iter().chain(&report.witnesses).filter(|node| !node.me);
            let using = all.filter(|node| node.key == Some(number));
            used = using.map(|node| node.name.clone()).collect();
            match who_accepts(client, number) {
                Ok(opened) => (accepted, known) = (opened, true),
                // The daemon has not read it yet.
                Err(Trouble::Client(ClientError::Refused(_))) => {}
                Err(other) => return Err(other),
            }
        }
        keys.push(serde_json::json!({
            "key": number,
            "used_here": number == active,
            "in_force": known,
            "used_by": used,
            "accepted_by": accepted,
        }));
    }
    let running = desk.client.is_some();
    if json {
        let path = desk.file.path().display().to_string();
        let all = serde_json::json!({ "file": path, "running": running, "keys": keys });
        return Ok(format!("{all}\n"));
    }
    let mut text = format!("{}\n", desk.file.path().display());
    for key in &keys {
        text.push_str(&format!("  {}\n", in_words(key, running)));
    }
    Ok(text)
}

fn in_words(key: &serde_json::Value, running: bool) -> String {
    let names = |field: &str| {
        let list = key[field].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut words = vec![format!("key {}", key["key"])];
    if key["used_here"] == true {
        words.push("used here".to_owned());
    }
    if !names("used_by").is_empty() {
        words.push(format!("used by {}", names("used_by")));
    }
    match (running, key["in_force"] == true) {
        (false, _) => words.push("no daemon runs here: the others are not known".to_owned()),
        (true, false) => words.push("the daemon has not read it: latido reload".to_owned()),
        (true, true) if names("accepted_by").is_empty() => {
            words.push("accepted by nobody else".to_owned());
        }
        (true, true) => words.push(format!("accepted by {}", names("accepted_by"))),
    }
    words.join("; ")
}
