//! `authkeys`: numbered secrets, of which one sends and all are accepted.
//!
//! Secrets are bytes, and never shown: diagnostics print stars in their place.
use super::super::diagnostic::{At, Report};
use super::super::keys::{derive, unauthenticated};
use super::super::suggest::did_you_mean;
use super::super::{Keys, files};
use std::borrow::Cow;
use std::path::Path;

const METHODS: [&str; 3] = ["sha1", "md5", "crc"];
/// Secrets below this length, in bytes, can be guessed.
const SECRET_MIN: usize = 16;
/// The longest word that is shown, in bytes. A number or a method forgotten, a secret stands in its
/// place; what people call methods (`sha512`) is no longer than this.
const SHOWN_MAX: usize = 6;
/// Shown instead of a secret.
const STARS: &str = "********";

enum Method {
    Crc,
    Secret(Vec<u8>),
}

struct Key {
    id: u8,
    at: At,
    method: Method,
}

/// Reads `authkeys`; `None` if there is no usable key, which is then reported.
pub(in crate::config) fn read(path: &Path, cluster: &str, report: &mut Report) -> Option<Keys> {
    let content = match files::read(path) {
        Ok(content) => content,
        Err(message) => {
            let file = report.file(path, "");
            let cure = "write `auth 1` and `1 sha1 SECRET` into it on both nodes, and chmod 600 it";
            report.error(At::file(file), message, cure);
            return None;
        }
    };
    let file = report.file(path, &blank_out(&content.bytes));
    let before = report.errors();
    let (active, keys) = parse(&content.bytes, file, report);
    let faulty = report.errors() > before;
    let secrets = keys.iter().any(|key| matches!(key.method, Method::Secret(_)));
    // Without a secret there is nothing to protect from being read.
    if content.mode & if secrets { 0o066 } else { 0o022 } != 0 {
        let message = format!("{} (mode {:04o})", files::NOT_PRIVATE, content.mode);
        report.error(At::file(file), message, format!("chmod 600 {}", path.display()));
    }
    if faulty {
        return None;
    }
    choose(active, keys, At::file(file), cluster, report)
}

/// Lines of the file with secrets replaced by stars; words keep their order.
fn blank_out(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        for (index, (blank, word)) in words(line).enumerate() {
            shown.push_str(&String::from_utf8_lossy(blank));
            if index < 2 {
                shown.push_str(&blank_out_long(word));
            } else if !word.is_empty() {
                shown.push_str(STARS);
            }
        }
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
    }
    shown
}

/// A word that should be no secret.
fn blank_out_long(word: &[u8]) -> Cow<'_, str> {
    if word.len() > SHOWN_MAX { Cow::Borrowed(STARS) } else { String::from_utf8_lossy(word) }
}

/// Pairs of blanks and the word that follows; the last word may be empty.
fn words(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (blank, tail) = rest.split_at(blanks);
        let letters = tail.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        let (word, tail) = tail.split_at(letters);
        rest = tail;
        Some((blank, word))
    })
}

type Parsed = (Option<(u8, At)>, Vec<Key>);

fn parse(bytes: &[u8], file: usize, report: &mut Report) -> Parsed {
    let mut active = None;
    let mut keys: Vec<Key> = Vec::new();
    let mut offset = 0;
    for line in blank_out(bytes).split_inclusive('\n').zip(bytes.split_inclusive(|b| *b == b'\n')) {
        let (shown, line) = line;
        let at = At::span(file, offset, offset + shown.trim_end().len());
        offset += shown.len();
        let words: Vec<&[u8]> =
            words(line).map(|(_, word)| word).filter(|word| !word.is_empty()).collect();
        let Some(first) = words.first() else { continue };
        if first.starts_with(b"#") {
            continue;
        }
        let texts: Vec<String> =
            words.iter().take(2).map(|word| blank_out_long(word).into_owned()).collect();
        if first.starts_with(b"a") {
            read_auth(&texts, at, &mut active, report);
        } else if let Some(key) = read_key(&texts, &words, at, report) {
            if let Some(first) = keys.iter().find(|other| other.id == key.id) {
                let message =
                    format!("key {} is in line {} already", key.id, report.line(first.at));
                report.error(at, message, "number them differently, or remove one");
            }
            keys.push(key);
        }
    }
    (active, keys)
}

fn read_auth(words: &[String], at: At, active: &mut Option<(u8, At)>, report: &mut Report) {
    if words[0] != "auth" {
        report.warning(at, format!("`{}` is taken for `auth`", words[0]), "write `auth`");
    }
    match words.get(1).map(|number| number.parse::<u8>()) {
        Some(Ok(id @ 0..=15)) => {
            if let Some((_, first)) = active {
                let line = report.line(*first);
                let message = format!("line {line} has `auth` already; the last one counts");
                report.warning(at, message, "remove one of the two lines");
            }
            *active = Some((id, at));
        }
        _ => report.error(at, "`auth` needs the number of a key, from 0 to 15", "such as `auth 1`"),
    }
}

fn read_key(texts: &[String], words: &[&[u8]], at: At, report: &mut Report) -> Option<Key> {
    const FORM: &str = "a key line is a number from 0 to 15, sha1, md5 or crc, and the secret: \
                        `1 sha1 SECRET`";
    let id = match texts[0].parse::<u8>() {
        Ok(id @ 0..=15) => id,
        _ => {
            report.error(at, format!("`{}` is no key number", texts[0]), FORM);
            return None;
        }
    };
    let Some(method) = texts.get(1) else {
        report.error(at, format!("key {id} has no method"), FORM);
        return None;
    };
    let secret = words.get(2).copied();
    if let Some(secret) = secret {
        check_secret(id, secret, words.len() > 3, at, report);
    }
    match (method.as_str(), secret) {
        ("crc", None) => Some(Key { id, at, method: Method::Crc }),
        ("crc", Some(_)) => {
            let message =
                format!("key {id}: crc uses no secret, so that this one would protect nothing");
            report.error(at, message, format!("write `{id} sha1 SECRET` to use it"));
            None
        }
        ("sha1" | "md5", Some(secret)) => {
            Some(Key { id, at, method: Method::Secret(secret.to_vec()) })
        }
        ("sha1" | "md5", None) => {
            report.error(at, format!("key {id}: {method} needs a secret"), FORM);
            None
        }
        _ => {
            let message = format!("key {id}: there is no method `{method}`");
            let cure = did_you_mean(method, &METHODS, "the methods are sha1, md5 and crc");
            report.error(at, message, cure);
            None
        }
    }
}

fn check_secret(id: u8, secret: &[u8], more: bool, at: At, report: &mut Report) {
    if more {
        let message =
            format!("key {id}: the secret ends at the first blank; what follows is not used");
        report.warning(at, message, "write the secret without blanks");
    }
    if !secret.is_ascii() {
        let message = format!("key {id}: the secret has letters outside ASCII; its bytes count");
        let cure = "copy the file from node to node instead of typing it: another encoding is \
                    another secret";
        report.warning(at, message, cure);
    }
    if secret.len() < SECRET_MIN {
        let message = format!("key {id}: a secret of {} bytes can be guessed", secret.len());
        report.warning(
            at,
            message,
            format!("{SECRET_MIN} or more: `openssl rand -hex 32` prints one"),
        );
    }
}

/// Which key sends, and which are accepted.
fn choose(
    active: Option<(u8, At)>,
    keys: Vec<Key>,
    file: At,
    cluster: &str,
    report: &mut Report,
) -> Option<Keys> {
    let Some((active, auth)) = active else {
        report.error(file, "no line says which key sends", "start the file with `auth 1`");
        return None;
    };
    let Some(sending) = keys.iter().find(|key| key.id == active) else {
        let message = format!("key {active} is to be used, but is not in the file");
        report.error(auth, message, format!("add `{active} sha1 SECRET`"));
        return None;
    };
    if matches!(sending.method, Method::Crc) {
        let message = "unauthenticated: crc is a checksum; anybody who can send to these links can \
                       take the cluster over";
        let cure = format!("write `{active} sha1 SECRET` instead, on both nodes");
        report.warning(sending.at, message, cure);
        return Some(unauthenticated());
    }
    let mut accepted = Vec::new();
    for key in keys {
        match key.method {
            Method::Secret(secret) => accepted.push((key.id, derive(&secret, cluster))),
            Method::Crc => {
                let message =
                    format!("key {} (crc) is not accepted: it would let anybody in", key.id);
                report.warning(key.at, message, "remove the line");
            }
        }
    }
    Some(Keys { authenticated: true, active, keys: accepted })
}
