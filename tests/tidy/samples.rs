//! Each rule on small samples: what it must find, and what it must let pass.
use super::{check, check_readmes};
use crate::source::{Source, test_files};

/// Asserts what is found in a sample: the lines, and a part of each complaint.
#[track_caller]
fn assert_found(path: &str, text: &str, expected: &[(usize, &str)]) {
    let found = check(&Source::new(path, text));
    let matches = found.len() == expected.len()
        && found.iter().zip(expected).all(|(complaint, (line, part))| {
            complaint.starts_with(&format!("{path}:{line}: ")) && complaint.contains(part)
        });
    assert!(matches, "in {path}:\n{text}\nexpected {expected:?}, found {found:#?}");
}

#[test]
fn core_is_free_of_what_a_microcontroller_lacks() {
    let bad = [
        ("use std::fmt;", "`std`"),
        ("use std :: fmt;", "`std`"),
        ("extern crate alloc;", "`crate`"),
        ("fn f() -> alloc::vec::Vec<u8> { todo() }", "`alloc`"),
        ("fn f(a: Option<u8>) -> u8 { a.unwrap() }", "`unwrap`"),
        ("fn f(a: Option<u8>) -> u8 { a.expect(\"no\") }", "`expect`"),
        ("fn f() { panic!(\"no\") }", "`panic`"),
        ("fn f() { println!(\"no\") }", "`println`"),
        ("type T = HashMap<u8, u8>;", "`HashMap`"),
        ("const HALF: f32 = HALF_;", "`f32`"),
        ("const fn f() -> bool { 1.5 > x() }", "no floats"),
        ("fn f(a: u64) -> u8 { a as u8 }", "`as`"),
        ("fn f(a: u64) -> u32 { a\n as\n u32 }", "`as`"),
    ];
    for (text, part) in bad {
        let line = if text.contains('\n') { 2 } else { 1 };
        assert_found("src/core/a.rs", text, &[(line, part)]);
        assert_found("src/engine.rs", text, &[]);
    }
    let good = [
        "use ::core::fmt; // not std::fmt",
        "/* std::fs /* nested */ unwrap() */ fn f() {}",
        "fn f(a: Option<u8>) -> u8 { a.unwrap_or(0) }",
        "const A: &str = \"std::fs unwrap() 1.5 f32\";",
        "const A: &str = r#\"a \" panic!()\"#; const B: char = '\"'; const C: char = '\\'';",
        "fn f<'a>(x: &'a T) -> u64 { let y = x.0.1; for _ in 0..10 {} u64::from(y) }",
        "fn f(a: u64) -> u8 { a as u8 } // cast: a is below 8",
        "// cast: a is below 8\nfn f(a: u64) -> u8 { a as u8 }",
        "fn f(a: u8) -> u64 { a as u64 + standard::std }",
        "#[cfg(test)]\nmod tests {\n    fn f() { std::fs::read(\"a\").unwrap(); panic!() }\n}",
    ];
    for text in good {
        assert_found("src/core/a.rs", text, &[]);
    }
    let after_tests = "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { x().unwrap() }";
    assert_found("src/core/a.rs", after_tests, &[(3, "`unwrap`")]);
}

#[test]
fn lines_files_and_functions_are_short() {
    let line = |length: usize| format!("// {}", "é".repeat(length - 3));
    assert_found("src/a.rs", &line(100), &[]);
    assert_found("src/a.rs", &format!("\n{}", line(101)), &[(2, "101 columns")]);

    let code = "const A: u8 = 0;\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", code.repeat(50));
    let longest = format!("{}{}{tests}", code.repeat(600), "// why\n\n".repeat(50));
    assert_found("src/a.rs", &longest, &[]);
    assert_found("src/a.rs", &code.repeat(601), &[(1, "601 lines of code")]);

    let function = |lines: usize| {
        let inner = "    if a { b(\"}\") }\n".repeat(lines - 2);
        format!("type F = fn(u8) -> u8;\nfn f(a: [u8; 2]) {{\n{inner}}}\n")
    };
    assert_found("src/a.rs", &function(80), &[]);
    assert_found("src/a.rs", &function(81), &[(2, "a function of 81 lines")]);
    let declared = format!("trait T {{\n    fn f();\n{}}}", "    const A: u8;\n".repeat(90));
    assert_found("src/a.rs", &declared, &[]);
}

#[test]
fn nothing_is_left_over() {
    for mark in ["FIXME", "TODO", "XXX"] {
        assert_found("src/a.rs", &format!("fn f() {{}}\n// {mark}: later"), &[(2, mark)]);
    }
    assert_found("src/a.rs", "fn f() { todo!() }", &[(1, "todo!")]);
    assert_found("src/a.rs", "fn f() { unimplemented!() }", &[(1, "unimplemented!")]);
    assert_found("src/a.rs", "fn f() { g(dbg!(a)) }", &[(1, "dbg!")]);
    let good = "// mktemp makes names like a.XXXXXX\nconst A: &str = \"TODO\"; fn todo() {}";
    assert_found("src/a.rs", good, &[]);
}

#[test]
fn modules_have_names_that_say_something() {
    assert_found("src/link/util.rs", "", &[(1, "`util`")]);
    assert_found("src/helpers/mod.rs", "", &[(1, "`helpers`")]);
    assert_found("src/a.rs", "\npub mod common;", &[(2, "`common`")]);
    assert_found("src/a.rs", "mod util { }", &[(1, "`util`")]);
    assert_found("src/a.rs", "mod utility; use other::util; // mod util;", &[]);
}

#[test]
fn arrows_between_layers_never_point_up() {
    let wrong = [
        ("src/core/a.rs", "use crate::platform::clock;"),
        ("src/core/a.rs", "use super::super::config;"),
        ("src/platform/mod.rs", "use crate::config::Config;"),
        ("src/platform/mod.rs", "use super::link;"),
        ("src/link/udp.rs", "use crate::resource::Job;"),
        ("src/link/udp.rs", "use crate::engine;"),
        ("src/resource/mod.rs", "fn f() { crate :: link::open() }"),
        ("src/config/raw.rs", "use crate::{core::id::{NodeId, link}, platform::clock};"),
        ("src/engine.rs", "use crate::cli::Arguments;"),
        ("src/engine.rs", "use crate::lab;"),
        ("src/lab/mod.rs", "use crate::cli;"),
    ];
    for (path, text) in wrong {
        assert_found(path, text, &[(1, "uses")]);
    }
    let right = [
        ("src/core/a.rs", "use crate::core::id; use super::time; // crate::platform"),
        ("src/platform/netlink.rs", "use crate::core::time; use super::clock;"),
        ("src/link/udp.rs", "use crate::{config, core::{id, platform::x}, platform::socket};"),
        ("src/resource/address/mod.rs", "use crate::config; use super::super::resource;"),
        ("src/engine/mod.rs", "use crate::{config, core, link, platform, resource, control};"),
        ("src/cli/demo.rs", "use crate::lab; use super::Arguments;"),
        ("src/main.rs", "fn main() { crate::cli::main() }"),
    ];
    for (path, text) in right {
        assert_found(path, text, &[]);
    }
}

#[test]
fn unsafe_is_rare_and_explained() {
    let block = "fn f() {\n    unsafe { g() }\n}";
    let safety = "// SAFETY: g wants nothing.";
    let explained = format!("fn f() {{\n    {safety}\n    unsafe {{ g() }}\n}}");
    assert_found("src/link/udp.rs", &explained, &[(3, "unsafe outside")]);
    assert_found("src/core/a.rs", &explained, &[(3, "unsafe outside")]);
    assert_found("src/platform/sys.rs", &explained, &[]);
    assert_found("src/platform/sys.rs", block, &[(2, "SAFETY")]);
    let far = format!("{safety}\nfn e() {{}}\n{block}");
    assert_found("src/lab/mod.rs", &far, &[(4, "SAFETY")]);
    let statement = format!("fn f() {{\n    {safety}\n    let a =\n        unsafe {{ g() }};\n}}");
    assert_found("src/lab/mod.rs", &statement, &[]);
    let function = "/// # Safety\n/// Once only.\n#[allow(unsafe_code)]\npub unsafe fn f() {}";
    assert_found("src/platform/sys.rs", function, &[]);
    assert_found("src/link/a.rs", "#![deny(unsafe_code)] type F = unsafe extern \"C\" fn();", &[]);
}

#[test]
fn a_test_that_needs_root_does_not_pass_without() {
    let silent = "#[test]\nfn t() {\n    if !is_root() {\n        return;\n    }\n}";
    assert_found("tests/pair.rs", silent, &[(4, "tested nothing")]);
    let ok = "fn t() -> Result<()> { if geteuid().as_raw() != 0 { return Ok(()); } f() }";
    assert_found("tests/pair.rs", ok, &[(1, "tested nothing")]);
    let within = format!("#[cfg(test)]\nmod tests {{\n{silent}\n}}");
    assert_found("src/lab/mod.rs", &within, &[(6, "tested nothing")]);
    let good = [
        "fn t() { assert!(is_root(), \"run me as root\"); g(); }",
        "fn t() { if !is_root() { panic!(\"run me as root\") } }",
        "fn t() -> Result<()> { if !is_root() { return Err(NeedsRoot); } f() }",
        "fn is_root() -> bool { return geteuid() == 0; }",
    ];
    for text in good {
        assert_found("tests/pair.rs", text, &[]);
    }
    assert_found("src/lab/mod.rs", &silent.replace("#[test]", ""), &[]);
}

#[test]
fn test_modules_in_their_own_files_are_tests() {
    let module = Source::new("src/core/cluster/mod.rs", "#[cfg(test)]\nmod tests;\nmod parts;");
    assert_eq!(test_files(&module), ["src/core/cluster/tests"]);
    let file = Source::new("src/core/wire.rs", "#[cfg(test)] mod golden;");
    assert_eq!(test_files(&file), ["src/core/wire/golden"]);
    assert!(test_files(&Source::new("src/a.rs", "mod tests; // #[cfg(test)] mod b;")).is_empty());
}

#[test]
fn readmes_have_the_same_sections() {
    let english = "# Latido\n## Why\n```sh\n## a comment\n```\n## How\n### Details\n";
    assert!(check_readmes(None, None).is_empty());
    assert!(check_readmes(Some(english), Some("## Por qué\n## Cómo\n")).is_empty());
    assert_eq!(check_readmes(Some(english), Some("## Por qué\n")).len(), 1);
    assert_eq!(check_readmes(Some(english), None).len(), 1);
    assert_eq!(check_readmes(None, Some(english)).len(), 1);
}
