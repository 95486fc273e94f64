//! The readers of configuration files.
use super::bodies;
use super::kept;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

#[test]
fn fuzz_kept_files() {
    kept("latido_toml", bodies::latido_toml);
    kept("key_file", bodies::key_file);
    kept("ha_cf", bodies::ha_cf);
    kept("haresources", bodies::haresources);
    kept("authkeys", bodies::authkeys);
}

/// Words of a dictionary (libFuzzer's form: a quoted word a line) among noise.
fn text(dictionary: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/dictionaries").join(dictionary);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let quoted = |line: &str| line.strip_prefix('"')?.strip_suffix('"').map(unescaped);
    let words: Vec<Vec<u8>> = text.lines().filter_map(quoted).collect();
    assert!(words.len() > 5, "{file:?} has {} words", words.len());
    let word = prop_oneof![
        8 => prop::sample::select(words),
        3 => prop::sample::select(&[" ", "\n", "\t", "1", "10", "alpha", "beta"][..])
            .prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// A backslash stands before a quote and a backslash; of `\x…` only a newline and é are used.
fn unescaped(word: &str) -> Vec<u8> {
    let word = word.replace("\\x0a", "\n").replace("\\xc3\\xa9", "é");
    word.replace("\\\"", "\"").replace("\\\\", "\\").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn fuzz_latido_toml(data in text("latido_toml")) {
        bodies::latido_toml(&data);
    }

    #[test]
    fn fuzz_key_file(data in text("key_file")) {
        bodies::key_file(&data);
    }

    #[test]
    fn fuzz_ha_cf(data in text("ha_cf")) {
        bodies::ha_cf(&data);
    }

    #[test]
    fn fuzz_haresources(data in text("haresources")) {
        bodies::haresources(&data);
    }

    #[test]
    fn fuzz_authkeys(data in text("authkeys")) {
        bodies::authkeys(&data);
    }
}
