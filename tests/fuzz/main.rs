//! The fuzzer's targets on stable Rust: over the kept inputs, and over bytes drawn at random.
//!
//! `fuzz/run` lets libFuzzer look for more; what it finds goes to `fuzz/corpus`.
mod bodies;
#[cfg(feature = "std")]
mod files;

use proptest::prelude::*;
use std::path::Path;

/// Runs `target` over its kept inputs, by name.
fn kept(name: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no inputs are kept in {folder:?}");
    for file in files {
        // Seen only when the target panics.
        println!("{}", file.display());
        target(&std::fs::read(&file).expect("readable"));
    }
}

/// Few byte values, so that equal choices meet, or any.
fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0..16u8, 2 => any::<u8>(), 1 => Just(0u8), 1 => 240..=255u8];
    prop::collection::vec(byte, 0..len)
}

#[test]
fn fuzz_kept_frames() {
    kept("frame", bodies::frame);
}

#[test]
fn fuzz_kept_lines() {
    kept("line", bodies::line);
}

#[test]
fn fuzz_kept_clusters() {
    kept("cluster", |data| {
        bodies::cluster(data);
    });
}

#[test]
fn fuzz_kept_witnesses() {
    kept("witness", |data| {
        bodies::witness(data);
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn fuzz_frames(data in bytes(700)) {
        bodies::frame(&data);
    }

    #[test]
    fn fuzz_lines(data in bytes(3_000)) {
        bodies::line(&data);
    }

    /// Any life of a node, twice: the same inputs give the same outputs.
    #[test]
    fn fuzz_clusters(data in bytes(2_000)) {
        prop_assert_eq!(bodies::cluster(&data), bodies::cluster(&data));
    }

    /// The same of a witness.
    #[test]
    fn fuzz_witnesses(data in bytes(2_000)) {
        prop_assert_eq!(bodies::witness(&data), bodies::witness(&data));
    }
}
