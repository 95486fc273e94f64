//! The fuzzer's targets on stable Rust: over the kept corpora, and over bytes drawn at random.
//!
//! `fuzz/run` lets libFuzzer look for more; what it finds goes to `fuzz/corpus`.
mod bodies;

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
        println!("{}", file.display());
        target(&std::fs::read(&file).expect("readable"));
    }
}

#[test]
fn fuzz_kept_frames() {
    kept("frame", bodies::frame);
}
