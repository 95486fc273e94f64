//! What is wrong with a configuration: where, what, and the cure.
//!
//! Readers report to a [`Report`], which knows the files' text; everything is collected, nothing
//! stops at the first error. A file with secrets is registered with the secrets blanked out.
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Diagnostics kept of one configuration; more would help nobody.
const DIAGNOSTICS_MAX: usize = 200;
/// Bytes of a source line that are shown.
const SOURCE_MAX: usize = 400;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It runs, but somebody should know.
    Warning,
    /// It does not run.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing to say about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file it is about.
    pub file: PathBuf,
    /// Its line, from 1; 0: the file as a whole.
    pub line: usize,
    /// Its column in characters, from 1; 0: the file as a whole.
    pub column: usize,
    /// How many characters of the line it is about.
    pub length: usize,
    /// The line itself, secrets blanked out; empty for the file as a whole.
    pub source: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub cure: String,
}

impl Diagnostic {
    /// One about a file as a whole.
    pub fn whole(severity: Severity, file: &Path, message: &str, cure: &str) -> Self {
        Diagnostic {
            severity,
            file: file.to_path_buf(),
            line: 0,
            column: 0,
            length: 0,
            source: String::new(),
            message: message.to_string(),
            cure: cure.to_string(),
        }
    }

    /// The diagnostic with its line, a caret and the cure; with colours if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let path = self.file.to_string_lossy();
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut group;
        if self.line == 0 {
            group = level.primary_title(format!("{path}: {}", self.message)).elements(NOTHING);
        } else {
            let start = byte_of(&self.source, self.column.saturating_sub(1));
            let end = byte_of(&self.source, self.column.saturating_sub(1) + self.length.max(1));
            let snippet = Snippet::source(self.source.as_str())
                .line_start(self.line)
                .path(path.as_ref())
                .annotation(AnnotationKind::Primary.span(start..end));
            group = level.primary_title(self.message.as_str()).element(snippet);
        }
        if !self.cure.is_empty() {
            group = group.element(Level::HELP.message(self.cure.as_str()));
        }
        renderer.render(&[group])
    }

    /// Whether the configuration does not run with it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether it is only about who may read the file, not about what stands in it.
    pub fn is_about_permissions(&self) -> bool {
        self.message.starts_with(super::files::NOT_PRIVATE)
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.name(),
            "file": self.file.to_string_lossy(),
            "line": self.line,
            "column": self.column,
            "source": self.source,
            "message": self.message,
            "cure": self.cure,
        })
    }
}

/// One line, for logs: `ha.cf:3:5: message; cure`.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

/// Prints diagnostics to stderr, with their lines; with colours on a terminal, unless NO_COLOR is
/// set (no-color.org).
pub fn print_all(diagnostics: &[Diagnostic]) {
    let styled = colours(&std::io::stderr());
    for diagnostic in diagnostics {
        // Nobody is left to be told if it cannot be written.
        let _ = writeln!(std::io::stderr(), "{}\n", diagnostic.render(styled));
    }
}

/// Sends diagnostics to the log, one line each.
pub fn log_all(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Warning => log::warn!("{diagnostic}"),
            Severity::Error => log::error!("{diagnostic}"),
        }
    }
}

/// Whether to print colours: on a terminal, unless NO_COLOR is set (no-color.org).
pub(crate) fn colours(stream: &impl std::io::IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !unwanted
}

const NOTHING: [annotate_snippets::Message<'static>; 0] = [];

/// The byte at which the `index`-th character starts; the end of the text if there are fewer.
fn byte_of(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(byte, _)| byte)
}

/// A place in one of a [`Report`]'s files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    file: usize,
    /// Bytes of the file's text; `None`: all of it.
    span: Option<(usize, usize)>,
}

impl At {
    /// The file as a whole.
    pub(super) fn file(file: usize) -> Self {
        At { file, span: None }
    }

    /// The bytes `start..end` of a file.
    pub(super) fn span(file: usize, start: usize, end: usize) -> Self {
        At { file, span: Some((start, end)) }
    }

    /// A part of it: `length` bytes from its byte `offset` on.
    pub(super) fn part(self, offset: usize, length: usize) -> Self {
        let span = self.span.map(|(start, end)| {
            let from = (start + offset).min(end);
            (from, (from + length).min(end))
        });
        At { file: self.file, span }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: At,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, at: At) -> Self {
        Located { value, at }
    }
}

struct File {
    path: PathBuf,
    /// What may be shown: as long as what was parsed, secrets blanked out.
    text: String,
}

/// Files that were read, and what is to be said about them.
#[derive(Default)]
pub(super) struct Report {
    files: Vec<File>,
    items: Vec<(At, Diagnostic)>,
    errors: usize,
}

impl Report {
    /// Registers a file; `text` is shown in diagnostics. Returns its number.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> usize {
        self.files.push(File { path: path.to_path_buf(), text: text.to_string() });
        self.files.len() - 1
    }

    /// Blanks a place out, from now on: it holds a secret.
    pub(super) fn hide(&mut self, at: At) {
        let Some(file) = self.files.get_mut(at.file) else { return };
        let Some((start, end)) = at.span else { return };
        let hidden = |(place, c): (usize, char)| {
            let stars = (start..end).contains(&place) && !c.is_whitespace();
            if stars { "*".repeat(c.len_utf8()) } else { c.to_string() }
        };
        file.text = file.text.char_indices().map(hidden).collect();
    }

    pub(super) fn error(&mut self, at: At, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), cure.into());
    }

    pub(super) fn warning(&mut self, at: At, message: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Warning, at, message.into(), cure.into());
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// The line number of a place, from 1; for messages that name an earlier line.
    pub(super) fn line(&self, at: At) -> usize {
        self.locate(at).0
    }

    /// Everything that was reported: file by file, errors first, each in the order of the lines.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.items.sort_by_key(|(at, found)| (at.file, !found.is_error(), at.span));
        self.items.into_iter().map(|item| item.1).collect()
    }

    fn add(&mut self, severity: Severity, at: At, message: String, cure: String) {
        if severity == Severity::Error {
            self.errors += 1;
        }
        // Always room for the first error: a configuration is never refused without a reason.
        if self.items.len() >= DIAGNOSTICS_MAX && !(severity == Severity::Error && self.errors == 1)
        {
            return;
        }
        let (line, column, length, source) = self.locate(at);
        let file = self.files.get(at.file).map(|file| file.path.clone()).unwrap_or_default();
        let found = Diagnostic { severity, file, line, column, length, source, message, cure };
        if !self.items.iter().any(|(_, known)| *known == found) {
            self.items.push((at, found));
        }
    }

    /// Line, column, length in characters, and the line's text.
    fn locate(&self, at: At) -> (usize, usize, usize, String) {
        let (Some((start, end)), Some(file)) = (at.span, self.files.get(at.file)) else {
            return (0, 0, 0, String::new());
        };
        let text = &file.text;
        let start = floor_boundary(text, start);
        let end = floor_boundary(text, end).max(start);
        let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..from].matches('\n').count() + 1;
        let source = text[from..to].trim_end_matches('\r');
        let source = &source[..floor_boundary(source, SOURCE_MAX)];
        let column = text[from..start].chars().count() + 1;
        let length = text[start..end.min(to)].chars().count();
        (line, column, length, source.to_string())
    }
}

/// The largest character boundary of `text` that is not beyond `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> (Report, usize) {
        let mut report = Report::default();
        let file = report.file(Path::new("dir/ha.cf"), "node a\nkeepalive é2 x\r\n");
        (report, file)
    }

    #[test]
    fn places_are_lines_and_columns_of_characters() {
        let (mut report, file) = report();
        report.error(At::span(file, 20, 21), "bad", "");
        let found = report.finish().remove(0);
        assert_eq!((found.line, found.column, found.length), (2, 13, 1));
        assert_eq!(found.source, "keepalive é2 x\u{0}".trim_end_matches('\u{0}'));
    }

    #[test]
    fn rendered_with_place_line_caret_and_cure() {
        let (mut report, file) = report();
        report.error(At::span(file, 17, 20), "no such time", "write `2`");
        let text = report.finish().remove(0).render(false);
        assert!(text.contains("error: no such time"), "{text}");
        assert!(text.contains("dir/ha.cf:2:11"), "{text}");
        assert!(text.contains("^^"), "{text}");
        assert!(text.contains("help: write `2`"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn sorted_by_place_errors_first_and_never_twice() {
        let (mut report, file) = report();
        report.error(At::span(file, 12, 13), "what stops it", "");
        report.warning(At::span(file, 7, 9), "second", "");
        report.warning(At::span(file, 0, 4), "first", "");
        report.warning(At::span(file, 0, 4), "first", "");
        let messages: Vec<_> = report.finish().into_iter().map(|item| item.message).collect();
        assert_eq!(messages, ["what stops it", "first", "second"]);
    }

    #[test]
    fn bounded_but_an_error_always_gets_in() {
        let (mut report, file) = report();
        for number in 0..DIAGNOSTICS_MAX + 10 {
            report.warning(At::file(file), format!("{number}"), "");
        }
        report.error(At::file(file), "the reason", "");
        let items = report.finish();
        assert_eq!(items.len(), DIAGNOSTICS_MAX + 1);
        assert!(items.iter().any(|item| item.message == "the reason"));
    }
}
