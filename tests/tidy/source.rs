//! A source file taken apart into code, comments, tests and words: enough of Rust to judge it by.
use std::collections::BTreeSet;

/// A source file, taken apart: every part is as long as the whole, what is not of it is blank.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: Vec<char>,
    pub(crate) code: Vec<char>,
    pub(crate) comments: Vec<char>,
    /// Where each line starts.
    pub(crate) line_starts: Vec<usize>,
    /// Lines (from 0) in `#[cfg(test)]` items.
    pub(crate) test_lines: BTreeSet<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let (code, comments) = separate(&text);
        let mut line_starts = vec![0];
        line_starts.extend((0..text.len()).filter(|at| text[*at] == '\n').map(|at| at + 1));
        let path = path.to_owned();
        let mut source =
            Source { path, text, code, comments, line_starts, test_lines: BTreeSet::new() };
        source.test_lines = test_items(&source);
        source
    }

    /// The line of a position, from 0.
    pub(crate) fn line(&self, position: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= position) - 1
    }

    pub(crate) fn lines(part: &[char]) -> Vec<String> {
        part.split(|c| *c == '\n').map(|line| line.iter().collect()).collect()
    }

    pub(crate) fn is_test(&self, position: usize) -> bool {
        self.path.starts_with("tests/") || self.test_lines.contains(&self.line(position))
    }

    pub(crate) fn complain(&self, complaints: &mut Vec<String>, position: usize, what: &str) {
        complaints.push(format!("{}:{}: {what}", self.path, self.line(position) + 1));
    }

    /// The layer: the first name below `src/`; none for `lib.rs`, `main.rs` and tests.
    pub(crate) fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        (name != "lib" && name != "main").then_some(name)
    }

    /// How many modules deep the file is: `src/link/mod.rs` 1, `src/link/udp.rs` 2.
    pub(crate) fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.trim_end_matches("/mod").split('/').count()
    }
}

/// Splits a text into code and comments; string and character literals are in neither.
pub(crate) fn separate(text: &[char]) -> (Vec<char>, Vec<char>) {
    let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
    let mut code: Vec<char> = text.iter().map(blank).collect();
    let mut comments = code.clone();
    let mut at = 0;
    while at < text.len() {
        let end = if starts(text, at, "//") {
            at + text[at..].iter().take_while(|c| **c != '\n').count()
        } else if starts(text, at, "/*") {
            block_comment_end(text, at)
        } else {
            literal_end(text, at)
        };
        if end > at {
            if text[at] == '/' {
                comments[at..end].copy_from_slice(&text[at..end]);
            }
            at = end;
        } else {
            code[at] = text[at];
            at += 1;
        }
    }
    (code, comments)
}

pub(crate) fn starts(text: &[char], at: usize, what: &str) -> bool {
    what.chars().enumerate().all(|(offset, c)| text.get(at + offset) == Some(&c))
}

/// The end of a block comment; they nest.
pub(crate) fn block_comment_end(text: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        if starts(text, at, "/*") {
            depth += 1;
            at += 2;
        } else if starts(text, at, "*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The end of the string or character literal at `start`; `start` itself if there is none.
pub(crate) fn literal_end(text: &[char], start: usize) -> usize {
    match text[start] {
        '"' => quoted_end(text, start, '"'),
        '\'' if text.get(start + 1) == Some(&'\\') => quoted_end(text, start, '\''),
        // Else it is a lifetime.
        '\'' if text.get(start + 2) == Some(&'\'') => start + 3,
        'r' if start == 0 || !is_word(text[start - 1]) || is_prefix(text, start - 1) => {
            let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
            if text.get(start + 1 + hashes) != Some(&'"') {
                return start;
            }
            let mut at = start + 2 + hashes;
            let close = format!("\"{}", "#".repeat(hashes));
            while at < text.len() && !starts(text, at, &close) {
                at += 1;
            }
            (at + close.len()).min(text.len())
        }
        _ => start,
    }
}

/// Whether the `b` or `c` at `at` begins a word, as in `br"…"`.
pub(crate) fn is_prefix(text: &[char], at: usize) -> bool {
    matches!(text[at], 'b' | 'c') && (at == 0 || !is_word(text[at - 1]))
}

pub(crate) fn quoted_end(text: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of a text and where they start.
pub(crate) fn words(text: &[char]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (at, c) in text.iter().enumerate().filter(|(_, c)| is_word(**c)) {
        match found.last_mut() {
            Some((start, word)) if *start + word.chars().count() == at => word.push(*c),
            _ => found.push((at, c.to_string())),
        }
    }
    found
}

/// What follows `position`, blanks left out, so that `std :: fs` reads `std::fs`.
pub(crate) fn rest(code: &[char], position: usize, length: usize) -> String {
    code[position..].iter().filter(|c| !c.is_whitespace()).take(length).collect()
}

/// What stands before `position`, the nearest character that is not blank.
pub(crate) fn before(code: &[char], position: usize) -> Option<char> {
    code[..position].iter().rev().find(|c| !c.is_whitespace()).copied()
}

/// The body that belongs to an item at `position`: from its first brace to the brace that closes
/// it; none if a semicolon comes first.
pub(crate) fn body(code: &[char], position: usize) -> Option<(usize, usize)> {
    let mut nesting = 0;
    let mut open = None;
    for (at, c) in code.iter().enumerate().skip(position) {
        match (open, c) {
            (None, '(' | '[') => nesting += 1,
            (None, ')' | ']') => nesting -= 1,
            (None, ';') if nesting == 0 => return None,
            (None, '{') if nesting == 0 => {
                open = Some(at);
                nesting = 1;
            }
            (Some(_), '{') => nesting += 1,
            (Some(start), '}') => {
                nesting -= 1;
                if nesting == 0 {
                    return Some((start, at));
                }
            }
            _ => {}
        }
    }
    open.map(|start| (start, code.len()))
}

/// Positions of attributes that make an item part of the tests only.
pub(crate) fn test_attributes(code: &[char]) -> Vec<usize> {
    let test = |at: usize| {
        let head = rest(code, at, 64);
        head.starts_with("#[cfg(test)]") || head.starts_with("#[cfg(all(test,")
    };
    (0..code.len()).filter(|at| code[*at] == '#' && test(*at)).collect()
}

/// The lines of items that are part of the tests only.
pub(crate) fn test_items(source: &Source) -> BTreeSet<usize> {
    let code = &source.code;
    let after = |at: usize| at + code[at..].iter().take_while(|c| **c != ']').count() + 1;
    test_attributes(code)
        .into_iter()
        .filter_map(|at| body(code, after(at)).map(|(_, end)| source.line(at)..=source.line(end)))
        .flatten()
        .collect()
}

/// Files that are test modules because of `#[cfg(test)] mod name;`, without `.rs`.
pub(crate) fn test_files(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    test_attributes(&source.code)
        .into_iter()
        .filter_map(|at| {
            let head = rest(&source.code, at, 200);
            let item = head.split_once(']')?.1;
            let name = item.strip_prefix("mod")?.split_once(';')?.0;
            name.chars().all(is_word).then(|| format!("{folder}/{name}"))
        })
        .collect()
}
