//! Keys: the key file of `latido keygen`, and the derivation of frame keys from secrets.
use super::Keys;
use super::diagnostic::{At, Report};
use super::files;
use hkdf::Hkdf;
use sha2::Sha256;
use std::path::Path;

/// Most keys of a file.
pub(super) const KEYS_MAX: usize = 16;
/// Number of the one key of an unauthenticated cluster.
pub const UNAUTHENTICATED_ID: u8 = 0;
/// The "key" of a cluster without secrets. Public: it seals against accidents, not against people.
pub const UNAUTHENTICATED_KEY: [u8; 32] = *b"latido: unauthenticated, no key!";

const FORM: &str = "lines are `use N` and `N` followed by 64 hexadecimal digits; \
                    `latido keygen` makes such a file";

/// The frame key of a Heartbeat secret:
/// HKDF-SHA256 (RFC 5869, no salt, info = `latido frame key v1` followed by the cluster's name).
///
/// The name is in it so that two clusters with the same secret do not share a key.
pub fn derive(secret: &[u8], cluster: &str) -> [u8; 32] {
    let info = [b"latido frame key v1".as_slice(), cluster.as_bytes()];
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&info, &mut key)
        .expect("32 bytes are far less than HKDF's limit of 255 * 32");
    key
}

/// Keys of a cluster that has none.
pub(super) fn unauthenticated() -> Keys {
    Keys {
        authenticated: false,
        active: UNAUTHENTICATED_ID,
        keys: vec![(UNAUTHENTICATED_ID, UNAUTHENTICATED_KEY)],
    }
}

/// The text of a key file that holds `keys`; `read` reads it.
pub fn key_file(keys: &Keys) -> String {
    let mut text = String::from("# Latido keys: keep secret, the same file on every node.\n");
    text.push_str(&format!("use {}\n", keys.active));
    for (id, key) in &keys.keys {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{id} {hex}\n"));
    }
    text
}

/// Reads a key file.
pub(super) fn read(report: &mut Report, path: &Path) -> Option<Keys> {
    let content = match files::read(path) {
        Ok(content) => content,
        Err(message) => {
            let file = report.file(path, "");
            let cure = "make it with `latido keygen`, then copy it to every node";
            report.error(At::file(file), message, cure);
            return None;
        }
    };
    let text = String::from_utf8_lossy(&content.bytes);
    let file = report.file(path, &blank_out(&text));
    if content.mode & 0o077 != 0 {
        let message = format!("{} (mode {:04o})", files::NOT_PRIVATE, content.mode);
        report.error(At::file(file), message, format!("chmod 600 {}", path.display()));
    }
    parse(report, file, &text)
}

/// Parses the text of a key file that is registered as `file`.
fn parse(report: &mut Report, file: usize, text: &str) -> Option<Keys> {
    let errors = report.errors();
    let mut active: Option<(u8, At)> = None;
    let mut keys: Vec<(u8, [u8; 32])> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let at = At::span(file, offset, offset + line.trim_end().len());
        offset += line.len();
        let content = line.split('#').next().unwrap_or("");
        let words: Vec<&str> = content.split_ascii_whitespace().collect();
        match words[..] {
            [] => {}
            ["use", number] => match (number.parse(), active) {
                (_, Some((_, first))) => {
                    let line = report.line(first);
                    let message = format!("line {line} has said already which key is used");
                    report.error(at, message, "remove one of the two lines");
                }
                (Ok(id), None) => active = Some((id, at)),
                (Err(_), None) => report.error(at, "key numbers go from 0 to 255", FORM),
            },
            [number, hex] => match (number.parse::<u8>(), parse_hex(hex)) {
                (Ok(id), Some(_)) if keys.iter().any(|key| key.0 == id) => {
                    report.error(at, format!("key {id} is there twice"), "number them differently");
                }
                (Ok(_), Some(key)) if key == [0; 32] => {
                    report.error(at, "a key of zeros is no secret", FORM);
                }
                (Ok(id), Some(key)) => keys.push((id, key)),
                (Ok(id), None) => {
                    report.error(at, format!("key {id} is not 64 hexadecimal digits"), FORM);
                }
                (Err(_), _) => report.error(at, "this line is not understood", FORM),
            },
            _ => report.error(at, "this line is not understood", FORM),
        }
    }
    if keys.len() > KEYS_MAX {
        report.error(At::file(file), format!("more than {KEYS_MAX} keys"), "remove old ones");
    }
    match active {
        None => report.error(At::file(file), "no line says which key is used", FORM),
        Some((id, at)) if !keys.iter().any(|key| key.0 == id) => {
            report.error(at, format!("key {id} is to be used, but is not in the file"), FORM);
        }
        Some((active, _)) if report.errors() == errors => {
            return Some(Keys { authenticated: true, active, keys });
        }
        Some(_) => {}
    }
    None
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(key)
}

/// The text with everything that may be a secret replaced by stars, byte for byte.
fn blank_out(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\t', '\r', '\n']) {
        let bare = word.trim_ascii_end();
        if bare.len() > 5 {
            shown.push_str(&"*".repeat(bare.len()));
            shown.push_str(&word[bare.len()..]);
        } else {
            shown.push_str(word);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Keys>, String) {
        let mut report = Report::default();
        let file = report.file(Path::new("keys"), &blank_out(text));
        let keys = parse(&mut report, file, text);
        let said: Vec<String> = report.finish().iter().map(|item| item.render(false)).collect();
        (keys, said.join("\n"))
    }

    #[test]
    fn a_written_file_is_read_back() {
        let keys =
            Keys { authenticated: true, active: 7, keys: vec![(0, [1; 32]), (7, [0xab; 32])] };
        assert_eq!(parsed(&key_file(&keys)), (Some(keys), String::new()));
    }

    #[test]
    fn faults_are_named_and_secrets_are_not() {
        let key = "5".repeat(64);
        for (text, expected) in [
            (format!("1 {key}"), "no line says which key is used"),
            (format!("use 2\n1 {key}"), "key 2 is to be used, but is not in the file"),
            (format!("use 1\n1 {key}\n1 {key}"), "key 1 is there twice"),
            (format!("use 1\nuse 1\n1 {key}"), "line 1 has said already"),
            (format!("use 1\n1 {}", &key[1..]), "key 1 is not 64 hexadecimal digits"),
            (format!("use 1\n1 {}", "0".repeat(64)), "zeros"),
            (format!("use 300\n1 {key}"), "0 to 255"),
            (format!("use 1\n1 {key} x"), "not understood"),
            (format!("use 1\nkey1 {key}"), "not understood"),
        ] {
            let (keys, said) = parsed(&text);
            assert_eq!(keys, None, "{text}");
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("55555"), "{said}");
        }
    }

    #[test]
    fn derived_keys_depend_on_secret_and_cluster() {
        let key = derive(b"secret", "heartbeat:a,b");
        assert_ne!(key, derive(b"secret", "heartbeat:a,c"));
        assert_ne!(key, derive(b"Secret", "heartbeat:a,b"));
        // Frozen: another value would lock out nodes that are not upgraded yet.
        // (Computed with another implementation of RFC 5869.)
        assert_eq!(key[..4], [0x91, 0x0e, 0x6c, 0xda]);
    }
}
