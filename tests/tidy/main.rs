//! Rules that neither the compiler nor clippy knows, checked by reading the sources.
//!
//! Each complaint is `file:line: what, and what to do`. The rules are tested below on small
//! samples, good and bad.
mod samples;
mod source;

use source::{Source, before, body, is_word, rest, test_files, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest line, in characters.
const COLUMNS_MAX: usize = 100;
/// Lines of a file that hold code, its `#[cfg(test)]` modules not counted.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;

/// What each of the lower layers may use besides itself; the others may use any but `PRIVATE`.
const LAYERS: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("platform", &["core"]),
    ("config", &["core"]),
    ("link", &["core", "platform", "config"]),
    ("resource", &["core", "platform", "config"]),
    ("reference", &["core", "platform", "config"]),
    ("fence", &["core", "platform", "config"]),
];
/// Layers at the top, and who may use them.
const PRIVATE: [(&str, &[&str]); 2] = [("cli", &["cli"]), ("lab", &["lab", "cli"])];
/// Where `unsafe` may stand.
const UNSAFE_ALLOWED: [&str; 2] = ["src/platform/", "src/lab/"];
/// Modules that say nothing about what is in them.
const EMPTY_NAMES: [&str; 5] = ["util", "utils", "common", "helper", "helpers"];

type Complaints = Vec<String>;

/// Every rule on one file.
fn check(source: &Source) -> Complaints {
    let mut complaints = Vec::new();
    check_names(source, &mut complaints);
    check_roots_tests(source, &mut complaints);
    if source.path.starts_with("src/") {
        check_lines(source, &mut complaints);
        check_functions(source, &mut complaints);
        check_leftovers(source, &mut complaints);
        check_layers(source, &mut complaints);
        check_unsafe(source, &mut complaints);
    }
    if source.layer() == Some("core") {
        check_core(source, &mut complaints);
    }
    complaints
}

fn check_lines(source: &Source, complaints: &mut Complaints) {
    let lines = Source::lines(&source.text);
    for (number, line) in lines.iter().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let path = &source.path;
            complaints.push(format!(
                "{path}:{}: {columns} columns, at most {COLUMNS_MAX}: break the line",
                number + 1
            ));
        }
    }
    let code = Source::lines(&source.code);
    let count = code
        .iter()
        .enumerate()
        .filter(|(number, line)| !line.trim().is_empty() && !source.test_lines.contains(number))
        .count();
    if count > FILE_LINES_MAX {
        let path = &source.path;
        complaints.push(format!(
            "{path}:1: {count} lines of code, at most {FILE_LINES_MAX}: split it by what it does"
        ));
    }
}

fn check_functions(source: &Source, complaints: &mut Complaints) {
    for (at, _) in words(&source.code).iter().filter(|(_, word)| word == "fn") {
        if rest(&source.code, at + 2, 1) == "(" {
            continue; // a type
        }
        let Some((_, end)) = body(&source.code, *at) else { continue };
        let length = source.line(end) - source.line(*at) + 1;
        if length > FUNCTION_LINES_MAX {
            let what = format!("a function of {length} lines, at most {FUNCTION_LINES_MAX}");
            source.complain(complaints, *at, &format!("{what}: split it"));
        }
    }
}

fn check_leftovers(source: &Source, complaints: &mut Complaints) {
    let mut both = source.code.clone();
    for (at, c) in source.comments.iter().enumerate().filter(|(_, c)| !c.is_whitespace()) {
        both[at] = *c;
    }
    for (at, word) in words(&both) {
        if matches!(word.as_str(), "FIXME" | "TODO" | "XXX") {
            source.complain(complaints, at, &format!("{word}: do it, or file an issue"));
        }
    }
    for (at, word) in words(&source.code) {
        let called = rest(&source.code, at + word.chars().count(), 1) == "!";
        if called && matches!(word.as_str(), "todo" | "unimplemented" | "dbg") {
            source.complain(complaints, at, &format!("{word}! does not belong into a release"));
        }
    }
}

fn check_names(source: &Source, complaints: &mut Complaints) {
    let advice = "names nothing: call it after what it does";
    for part in source.path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) {
            complaints.push(format!("{}:1: a module `{part}` {advice}", source.path));
        }
    }
    let words = words(&source.code);
    for pair in words.windows(2).filter(|pair| pair[0].1 == "mod") {
        let (at, name) = (pair[1].0, pair[1].1.as_str());
        let next = rest(&source.code, at + name.chars().count(), 1);
        if EMPTY_NAMES.contains(&name) && (next == "{" || next == ";") {
            source.complain(complaints, at, &format!("a module `{name}` {advice}"));
        }
    }
}

/// The layers that a file uses: every `crate::name`, also in braces and through `super::`.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let words = words(&source.code);
    let mut found = Vec::new();
    let mut supers = 0;
    for (index, (at, word)) in words.iter().enumerate() {
        let end = at + word.chars().count();
        let to = rest(&source.code, end, 3);
        supers = if word == "super" && to.starts_with("::") { supers + 1 } else { 0 };
        let is_root = match word.as_str() {
            "crate" => to.starts_with("::"),
            // Within a test module `super` is the file itself.
            "super" => supers == source.depth() && !source.is_test(*at),
            _ => false,
        };
        if !is_root {
            continue;
        }
        if to == "::{" {
            found.extend(braces(&source.code, end));
        } else if let Some(next) = words.get(index + 1) {
            found.push(next.clone());
        }
    }
    found
}

/// The first names of each item within the braces after `position`.
fn braces(code: &[char], position: usize) -> Vec<(usize, String)> {
    let Some((open, close)) = body(code, position) else { return Vec::new() };
    let mut found = Vec::new();
    let (mut depth, mut first) = (0, true);
    let mut names: BTreeMap<usize, String> = words(&code[open..close]).into_iter().collect();
    for (at, character) in code.iter().enumerate().take(close).skip(open + 1) {
        match *character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => first = true,
            c if first && is_word(c) => {
                first = false;
                found.extend(names.remove(&(at - open)).map(|name| (at, name)));
            }
            _ => {}
        }
    }
    found
}

fn check_layers(source: &Source, complaints: &mut Complaints) {
    let Some(layer) = source.layer() else { return };
    let allowed = LAYERS.iter().find(|(name, _)| *name == layer).map(|(_, allowed)| allowed);
    for (at, used) in uses(source) {
        let user = PRIVATE.iter().find(|(name, _)| *name == used).map(|(_, users)| users);
        // A name with a capital is a re-export in lib.rs: nobody below may lean on it.
        let wrong = used != layer
            && (allowed.is_some_and(|allowed| !allowed.contains(&used.as_str()))
                || user.is_some_and(|users| !users.contains(&layer)));
        if wrong {
            let may = match allowed {
                Some([]) => "it may use nothing but itself".to_owned(),
                Some(allowed) => format!("it may use {}", allowed.join(", ")),
                None => "what it needs belongs into a lower layer".to_owned(),
            };
            source.complain(complaints, at, &format!("`{layer}` uses `{used}`: {may}"));
        }
    }
}

fn check_unsafe(source: &Source, complaints: &mut Complaints) {
    let comments = Source::lines(&source.comments);
    let code = Source::lines(&source.code);
    for (at, _) in words(&source.code).iter().filter(|(_, word)| word == "unsafe") {
        // `unsafe fn(…)` and `unsafe extern "C" fn(…)` are types; `#[unsafe(…)]` is an attribute.
        let to = rest(&source.code, at + 6, 10);
        if to.starts_with('(') || to.starts_with("fn(") || to.starts_with("externfn(") {
            continue;
        }
        if !UNSAFE_ALLOWED.iter().any(|place| source.path.starts_with(place)) {
            let places = UNSAFE_ALLOWED.join(" and ");
            source.complain(complaints, *at, &format!("unsafe outside {places}"));
        } else if !is_justified(source.line(*at), &code, &comments) {
            let what = "unsafe without a `// SAFETY:` comment that says why it is sound";
            source.complain(complaints, *at, what);
        }
    }
}

/// Whether a SAFETY comment is on `line` or right above the statement that it belongs to.
fn is_justified(line: usize, code: &[String], comments: &[String]) -> bool {
    let says =
        |line: usize| comments[line].contains("SAFETY:") || comments[line].contains("# Safety");
    for above in (0..=line).rev() {
        if says(above) {
            return true;
        }
        let text = code[above].trim();
        let is_comment = text.is_empty() && !comments[above].trim().is_empty();
        let is_attribute = text.starts_with("#[");
        let continues = !text.is_empty() && !text.ends_with([';', '{', '}']);
        if above != line && !is_comment && !is_attribute && !continues {
            return false;
        }
    }
    false
}

/// What the core must not use; a microcontroller has none of it, and no frame may stop it.
fn check_core(source: &Source, complaints: &mut Complaints) {
    let code = &source.code;
    let comments = Source::lines(&source.comments);
    let words = words(code);
    for (index, (at, word)) in words.iter().enumerate().filter(|(_, (at, _))| !source.is_test(*at))
    {
        let to = rest(code, at + word.chars().count(), 2);
        let next = words.get(index + 1).map_or("", |next| next.1.as_str());
        let what = match word.as_str() {
            "std" | "alloc" if to == "::" => "not there without an operating system: use ::core",
            "crate" if matches!(next, "std" | "alloc") && before(code, *at) == Some('n') => {
                "not there without an operating system"
            }
            "unwrap" | "expect" if to.starts_with('(') => "stops the core: handle the other case",
            "panic" if to.starts_with('!') => "stops the core: handle the case",
            "println" | "print" | "eprintln" | "eprint" if to.starts_with('!') => {
                "the core does not talk: make it an Event"
            }
            "HashMap" | "HashSet" => "its order is random: use an array or a bit set",
            "f32" | "f64" => "no floats: a Cortex-M0+ has none, and they round",
            "as" if NARROW.contains(&next) && !is_marked(source, *at, &comments) => {
                "may cut bits off: use `from` or `try_from`, or say why it fits: `// cast: …`"
            }
            _ if is_float(code, *at, word) => "no floats: a Cortex-M0+ has none, and they round",
            _ => continue,
        };
        source.complain(complaints, *at, &format!("`{word}` in the core: {what}"));
    }
}

/// Targets of a cast that may lose bits. `usize` is not among them: it is how tables are indexed,
/// and a read past the table's end is caught there.
const NARROW: [&str; 7] = ["u8", "u16", "u32", "i8", "i16", "i32", "isize"];

/// Whether the line, or the comment right above it, holds `cast:`.
fn is_marked(source: &Source, position: usize, comments: &[String]) -> bool {
    let line = source.line(position);
    comments[line].contains("cast:") || line > 0 && comments[line - 1].contains("cast:")
}

/// Whether a word is the first half of `1.5`; `pair.0.1` is none.
fn is_float(code: &[char], at: usize, word: &str) -> bool {
    let end = at + word.chars().count();
    word.starts_with(|c: char| c.is_ascii_digit())
        && code.get(end) == Some(&'.')
        && code.get(end + 1).is_some_and(char::is_ascii_digit)
        && (at == 0 || code[at - 1] != '.')
}

/// A test that cannot run must fail: whoever reads "ok" believes that it ran.
fn check_roots_tests(source: &Source, complaints: &mut Complaints) {
    let words = words(&source.code);
    for (index, (at, word)) in words.iter().enumerate() {
        let asks = matches!(word.as_str(), "is_root" | "geteuid" | "getuid" | "is_superuser");
        let is_definition = index > 0 && words[index - 1].1 == "fn";
        if !source.is_test(*at) || !asks || is_definition {
            continue;
        }
        let Some((open, close)) = body(&source.code, *at) else { continue };
        for (inner, _) in
            words.iter().filter(|(inner, word)| (open..close).contains(inner) && word == "return")
        {
            let to = rest(&source.code, inner + 6, 4);
            if to.starts_with([';', '}']) || to.starts_with("Ok(") {
                let what =
                    "a test that passes without root has tested nothing: panic with the cure";
                source.complain(complaints, *inner, what);
            }
        }
    }
}

/// Second-level headings of a Markdown text, those in code blocks not counted.
fn headings(text: &str) -> usize {
    let mut in_code = false;
    let mut count = 0;
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        count += usize::from(!in_code && line.starts_with("## "));
    }
    count
}

/// The two readmes say the same things in the same order.
fn check_readmes(english: Option<&str>, spanish: Option<&str>) -> Complaints {
    match (english, spanish) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["README.es.md:1: missing, while README.md exists".to_owned()],
        (None, Some(_)) => vec!["README.md:1: missing, while README.es.md exists".to_owned()],
        (Some(english), Some(spanish)) => {
            let (english, spanish) = (headings(english), headings(spanish));
            let text = format!("README.es.md:1: {spanish} sections (##), README.md has {english}");
            if english == spanish { Vec::new() } else { vec![text] }
        }
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read_sources(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    rust_files(&root.join("src"), &mut paths);
    rust_files(&root.join("tests"), &mut paths);
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy();
            Source::new(&name, &text)
        })
        .collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
        let is_within = |test: &String| module == *test || module.starts_with(&format!("{test}/"));
        if tests.iter().any(is_within) {
            source.test_lines = (0..=source.line(source.text.len())).collect();
        }
    }
    sources
}

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = read_sources(root);
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "no sources in {root:?}");
    assert!(sources.iter().any(|source| source.layer() == Some("core")), "no core in {root:?}");
    let mut complaints: Complaints = sources.iter().flat_map(check).collect();
    let readme = |name: &str| fs::read_to_string(root.join(name)).ok();
    complaints
        .extend(check_readmes(readme("README.md").as_deref(), readme("README.es.md").as_deref()));
    let mut report = String::new();
    for complaint in &complaints {
        writeln!(report, "{complaint}").expect("a string takes everything");
    }
    assert!(complaints.is_empty(), "{} complaints:\n{report}", complaints.len());
}
