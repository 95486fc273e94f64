//! Changes of a key file, line by line, so that comments and order stay: Latido's own, or
//! Heartbeat's `authkeys`. What is written was read again by the same code that the daemon uses.
use super::diagnostic::Report;
use super::{HA_DIR, Keys, Severity, Source, files, heartbeat, keys};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Latido,
    Authkeys,
}

/// A key file as it stands, and as it is to be. Secrets leave it by [`KeyFile::line`] alone.
pub struct KeyFile {
    path: PathBuf,
    form: Form,
    text: String,
    keys: Keys,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.text));
    }
}

/// Overwrites a secret text before its memory is given back.
fn wipe(text: String) {
    let mut bytes = text.into_bytes();
    bytes.fill(0);
    // The stores must not be left out because nobody reads them.
    std::hint::black_box(&bytes);
}

impl KeyFile {
    /// The key file of a configuration.
    ///
    /// # Errors
    /// There is none, or it is faulty: what to do.
    pub fn of(source: &Source) -> Result<KeyFile, String> {
        let (path, form) = match source {
            Source::Heartbeat(dir) => (dir.join("authkeys"), Form::Authkeys),
            Source::Latido(path) => (named(path)?, Form::Latido),
        };
        // A link stays a link: what it leads to is changed.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let (text, keys) = read(&path, form)?;
        let file = KeyFile { path, form, text, keys };
        if !file.keys.authenticated {
            return Err(format!(
                "{}: method crc: this cluster has no secret, so there is none to be changed; give \
                 both nodes the same `auth 1` and `1 sha1 SECRET` while Latido is stopped on both",
                file.path.display()
            ));
        }
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the key that seals.
    pub fn active(&self) -> u8 {
        self.keys.active
    }

    /// The numbers of all keys, as in the file.
    pub fn numbers(&self) -> Vec<u8> {
        self.keys.keys.iter().map(|key| key.0).collect()
    }

    fn last_number(&self) -> u8 {
        if self.form == Form::Authkeys { 15 } else { u8::MAX }
    }

    /// The lowest number above all that are used, or else the lowest that is free.
    pub fn free_number(&self) -> Option<u8> {
        let used: Vec<u8> = self.text.lines().filter_map(number_of).collect();
        let above = used.iter().max().and_then(|most| most.checked_add(1)).unwrap_or(1);
        let last = self.last_number();
        let free = |number: &u8| !used.contains(number);
        (above..=last).find(free).or_else(|| (1..=last).find(free))
    }

    /// A line for a new secret.
    pub fn new_line(&self, number: u8, secret: &[u8; 32]) -> String {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.form {
            Form::Latido => format!("{number} {hex}"),
            Form::Authkeys => format!("{number} sha1 {hex}"),
        }
    }

    /// The line of a key, secret and all.
    pub fn line(&self, number: u8) -> Option<&str> {
        self.text.lines().find(|line| number_of(line) == Some(number)).map(str::trim)
    }

    /// The one line of `text`, a part or a copy of such a file, whose number is not used here.
    ///
    /// # Errors
    /// There is none, or there are several, or the number means another key here.
    pub fn news(&self, text: &str) -> Result<String, String> {
        let mut news = Vec::new();
        for line in text.lines() {
            let Some(number) = number_of(line) else { continue };
            match self.line(number) {
                None => news.push(line.trim()),
                Some(known) if words(known) == words(line) => {}
                Some(_) => {
                    return Err(format!(
                        "key {number} is another one in {}: on the node that made it, `latido \
                         key retire {number}` and `latido key add --number N` with a number that \
                         is free on all",
                        self.path.display()
                    ));
                }
            }
        }
        match news[..] {
            [line] => Ok(line.to_owned()),
            [] => Err("it has no key that is not here already".to_owned()),
            _ => {
                Err("it has several new keys: add one at a time, from a file with its line".into())
            }
        }
    }

    /// Adds a line; it is not written yet.
    ///
    /// # Errors
    /// The number is used or too large.
    pub fn add(&mut self, line: &str) -> Result<u8, String> {
        let last = self.last_number();
        let number = number_of(line).filter(|number| *number <= last);
        let number = number.ok_or(format!("keys are numbered 0 to {last} in this file"))?;
        if self.line(number).is_some() {
            return Err(format!("key {number} is there already; --number takes another number"));
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.text.push('\n');
        Ok(number)
    }

    /// Seals with this key from now on.
    ///
    /// # Errors
    /// It is not in the file.
    pub fn choose(&mut self, number: u8) -> Result<(), String> {
        if !self.numbers().contains(&number) {
            return Err(format!(
                "there is no key {number} in {}: `latido key add` first, here and on every other \
                 node",
                self.path.display()
            ));
        }
        let form = self.form;
        // Of several `auth` the last one counts.
        let place = self.text.split_inclusive('\n').map(|line| chooses(line, form));
        let Some(place) = place.collect::<Vec<_>>().iter().rposition(|it| *it) else {
            return Err("no line of the file says which key is used".to_owned());
        };
        let lines = self.text.split_inclusive('\n').enumerate().map(|(index, line)| {
            if index == place { renumbered(line, number) } else { line.to_owned() }
        });
        let text = lines.collect();
        wipe(std::mem::replace(&mut self.text, text));
        Ok(())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// It is in use, or not there.
    pub fn retire(&mut self, number: u8) -> Result<(), String> {
        if number == self.keys.active {
            return Err(format!(
                "key {number} is in use: this node seals with it. First `latido key add` on every \
                 node, then `latido key use N` on every node, then retire this one"
            ));
        }
        if self.line(number).is_none() {
            return Err(format!("there is no key {number} in {}", self.path.display()));
        }
        let kept = self.text.split_inclusive('\n').filter(|line| number_of(line) != Some(number));
        let text = kept.collect();
        wipe(std::mem::replace(&mut self.text, text));
        Ok(())
    }

    /// Writes it: complete or not at all, readable by nobody else at any moment, and only after the
    /// daemon's own reader has taken it.
    ///
    /// # Errors
    /// What it could not be done for; the file is as it was.
    pub fn store(&mut self) -> Result<(), String> {
        let path = &self.path;
        let say = |error: io::Error| format!("{} cannot be written: {error}", path.display());
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let new = dir.join(name);
        let write = || -> io::Result<()> {
            let owner = fs::metadata(path)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
            let _ = std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()));
            file.write_all(self.text.as_bytes())?;
            file.sync_all()
        };
        let stored = write().map_err(say).and_then(|()| {
            let (text, keys) = read(&new, self.form)
                .map_err(|why| why.replace(&*new.to_string_lossy(), &path.to_string_lossy()))?;
            wipe(text);
            fs::rename(&new, path).and_then(|()| File::open(dir)?.sync_all()).map_err(say)?;
            Ok(keys)
        });
        match stored {
            Ok(keys) => self.keys = keys,
            Err(why) => {
                let _ = fs::remove_file(&new);
                return Err(why);
            }
        }
        Ok(())
    }
}

/// The text and what the daemon's reader makes of it.
fn read(path: &Path, form: Form) -> Result<(String, Keys), String> {
    let mut report = Report::default();
    let keys = match form {
        Form::Latido => keys::read(&mut report, path),
        // Which cluster it is does not matter to the form.
        Form::Authkeys => heartbeat::authkeys::read(path, "", &mut report),
    };
    let found = report.finish();
    if let Some(error) = found.iter().find(|found| found.severity == Severity::Error) {
        return Err(error.to_string());
    }
    let keys = keys.ok_or_else(|| format!("{} holds no key", path.display()))?;
    let content = files::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let text = String::from_utf8(content.bytes).map_err(|_| {
        format!("{} is not UTF-8: what is in it would be lost; change it by hand", path.display())
    })?;
    Ok((text, keys))
}

/// The key file that a latido.toml names.
fn named(path: &Path) -> Result<PathBuf, String> {
    let content = files::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let text = String::from_utf8_lossy(&content.bytes).into_owned();
    let table: toml::Table =
        text.parse().map_err(|_| format!("{} is not TOML: latido check", path.display()))?;
    let file = table.get("keys").and_then(|keys| keys.get("file")).and_then(toml::Value::as_str);
    let file = file.ok_or_else(|| {
        format!(
            "{} names no key file: this cluster has no secret to be changed. Give every node a \
             [keys] file (`latido keygen`) while Latido is stopped on all of them",
            path.display()
        )
    })?;
    Ok(path.parent().unwrap_or(Path::new("")).join(file))
}

fn words(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap_or("").split_ascii_whitespace().collect()
}

/// The number of the key in a line; `None`: it holds none.
fn number_of(line: &str) -> Option<u8> {
    words(line).first()?.parse().ok()
}

/// Whether the line says which key is used.
fn chooses(line: &str, form: Form) -> bool {
    let first = words(line).first().copied().unwrap_or("");
    match form {
        Form::Latido => first == "use",
        Form::Authkeys => first.starts_with('a'),
    }
}

/// The line with another number as its second word; everything else stays.
fn renumbered(line: &str, number: u8) -> String {
    let start = line.len() - line.trim_start().len();
    let rest = &line[start..];
    let word = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
    let (head, tail) = line.split_at(start + word);
    let blank = tail.len() - tail.trim_start_matches([' ', '\t']).len();
    let (blank, tail) = tail.split_at(blank);
    let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    format!("{head}{}{number}{}", if blank.is_empty() { " " } else { blank }, &tail[digits..])
}

/// Where the configuration of a report was read.
pub(crate) fn source_of(place: &str) -> Source {
    let path = PathBuf::from(place);
    if path.is_dir() || place == HA_DIR { Source::Heartbeat(path) } else { Source::Latido(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const A: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

    fn place(name: &str, file: &str, text: &str) -> (PathBuf, PathBuf) {
        let dir = std::env::temp_dir().join(format!("latido-rot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("directory");
        let path = dir.join(file);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        fs::write(dir.join("latido.toml"), "[keys]\nfile = \"keys\"\n").expect("written");
        (dir, path)
    }

    #[test]
    fn a_key_file_is_changed_line_by_line() {
        let text = format!("# ours\nuse 1  # since May\n1 {A} # old\n");
        let (dir, path) = place("toml", "keys", &text);
        let source = Source::Latido(dir.join("latido.toml"));
        let mut file = KeyFile::of(&source).expect("reads");
        assert_eq!((file.active(), file.free_number()), (1, Some(2)));
        let line = file.new_line(2, &[0xab; 32]);
        assert_eq!(file.add(&line), Ok(2));
        assert!(file.add(&line).is_err());
        file.store().expect("stored");
        let added = fs::read_to_string(&path).expect("text");
        assert_eq!(added, format!("{text}2 {}\n", "ab".repeat(32)));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        // The other node takes it from a copy.
        let mut other = KeyFile::of(&source).expect("reads");
        other.text.clone_from(&text);
        assert_eq!(other.news(&added), Ok(format!("2 {}", "ab".repeat(32))));
        assert!(other.news(&text).expect_err("nothing new").contains("not here already"));
        let clash = added.replace("ab", "cd");
        assert!(file.news(&clash).expect_err("another").contains("key 2 is another one"));

        assert!(file.choose(3).expect_err("none").contains("key add"));
        assert!(file.retire(1).expect_err("in use").contains("key 1 is in use"));
        file.choose(2).expect("there");
        file.store().expect("stored");
        assert_eq!(fs::read_to_string(&path).expect("text"), added.replace("use 1 ", "use 2 "));
        file.retire(1).expect("no longer used");
        file.store().expect("stored");
        let left = fs::read_to_string(&path).expect("text");
        assert_eq!(left, format!("# ours\nuse 2  # since May\n2 {}\n", "ab".repeat(32)));
        let files: Vec<_> = fs::read_dir(&dir).expect("directory").collect();
        assert_eq!(files.len(), 2, "nothing is left behind: {files:?}");
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn authkeys_too() {
        let text = "# both nodes\nauth 1\n1 sha1 a-secret-of-some-length\n";
        let (dir, path) = place("ha", "authkeys", text);
        let source = Source::Heartbeat(dir.clone());
        let mut file = KeyFile::of(&source).expect("reads");
        let line = file.new_line(2, &[1; 32]);
        file.add(&line).expect("added");
        file.store().expect("stored");
        file.choose(2).expect("there");
        file.store().expect("stored");
        let secret = "01".repeat(32);
        let expected = format!("{}2 sha1 {secret}\n", text.replace("auth 1", "auth 2"));
        assert_eq!(fs::read_to_string(&path).expect("text"), expected);
        assert!(file.add("16 sha1 0123456789abcdef").expect_err("too large").contains("0 to 15"));
        // What the daemon would refuse is not written.
        let mut file = KeyFile::of(&source).expect("reads");
        file.add("3 sha512 0123456789abcdef").expect("a line");
        let why = file.store().expect_err("no such method");
        assert!(why.contains("authkeys:") && !why.contains(".new"), "{why}");
        assert_eq!(fs::read_to_string(&path).expect("text"), expected);
        fs::write(&path, "auth 1\n1 crc\n").expect("written");
        let why = KeyFile::of(&source).err().expect("no secret");
        assert!(why.contains("method crc") && why.contains("sha1 SECRET"), "{why}");
        fs::remove_dir_all(&dir).expect("removed");
    }
}
