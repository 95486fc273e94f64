//! The linker: this board's memory, cortex-m-rt's sections, defmt's strings; and notes of what calls
//! what, for `boards/check`.
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layout = concat!(env!("CARGO_MANIFEST_DIR"), "/../../memory-layout/rp2040.x");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::copy(layout, out.join("memory.x"))?;
    println!("cargo:rerun-if-changed={layout}");
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ["-Tlink.x", "-Tdefmt.x", "--nmagic", "--emit-relocs"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    Ok(())
}
