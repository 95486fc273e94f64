//! What scripts print, line by line into the log: bounded in length and in rate.
use log::{Level, log};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Longest line that is logged, in bytes.
const LINE_MAX: usize = 400;
/// How much of the beginning is remembered for the status words, in bytes.
const HEAD_MAX: usize = 4096;
/// Lines logged at once, and then per second.
const BURST: u32 = 100;
const PER_SECOND: u32 = 10;
/// Most bytes read at once, so that a script that never stops printing cannot hold us.
const READ_MAX: usize = 64 * 1024;

/// The output of one script.
pub struct Output {
    pipe: Option<OwnedFd>,
    target: &'static str,
    label: String,
    level: Level,
    line: Vec<u8>,
    cut: bool,
    head: Vec<u8>,
    last: String,
    budget: u32,
    refilled: Instant,
    dropped: u64,
}

impl Output {
    /// Reads from a non-blocking pipe; every line is logged, for `target`, as `label: line`.
    pub fn new(pipe: OwnedFd, target: &'static str, label: String, level: Level) -> Self {
        Output {
            pipe: Some(pipe),
            target,
            label,
            level,
            line: Vec::new(),
            cut: false,
            head: Vec::new(),
            last: String::new(),
            budget: BURST,
            refilled: Instant::now(),
            dropped: 0,
        }
    }

    /// The pipe, while somebody may still write to it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The first few kilobytes, for the status words.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The last line.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Reads and logs what is there now.
    pub fn read(&mut self) {
        let mut buffer = [0; 2048];
        let mut total = 0;
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    self.feed(&buffer[..length]);
                    total += length;
                    if total > READ_MAX {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Logs an unfinished last line, and how many were left out.
    pub fn finish(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
        if self.dropped > 0 {
            let (label, dropped) = (&self.label, self.dropped);
            log!(target: self.target, self.level, "{label}: {dropped} more lines were left out");
            self.dropped = 0;
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let room = HEAD_MAX.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < LINE_MAX {
                self.line.push(byte);
            } else {
                self.cut = true;
            }
        }
    }

    fn end_line(&mut self) {
        let mut text: String = String::from_utf8_lossy(&self.line)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if self.cut {
            text.push('…');
        }
        self.line.clear();
        self.cut = false;
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        self.last.clear();
        self.last.push_str(text);
        if self.refilled.elapsed() >= Duration::from_secs(1) {
            self.refilled = Instant::now();
            self.budget = self.budget.max(PER_SECOND);
        }
        if self.budget == 0 {
            self.dropped += 1;
            return;
        }
        self.budget -= 1;
        log!(target: self.target, self.level, "{}: {text}", self.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Output, OwnedFd) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&reader, true).expect("non-blocking");
        (Output::new(reader, "test", "test".into(), Level::Debug), writer)
    }

    #[test]
    fn lines_are_cut_cleaned_and_remembered() {
        let (mut output, writer) = output();
        rustix::io::write(&writer, b"first\nsec\x1b[31mond").expect("written");
        output.read();
        assert_eq!(output.last(), "first");
        rustix::io::write(&writer, &[b'x'; 1000]).expect("written");
        drop(writer);
        output.read();
        output.finish();
        assert!(output.last().starts_with("sec [31mondx") && output.last().ends_with("x…"));
        assert!(output.last().len() <= LINE_MAX + 3);
        assert!(output.head().starts_with(b"first\nsec"));
        assert!(output.fd().is_none(), "closed at the end of the file");
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let (mut output, writer) = output();
        for _ in 0..30 {
            rustix::io::write(&writer, &b"y\n".repeat(1000)).expect("written");
            output.read();
        }
        assert!(output.dropped >= 30_000 - u64::from(BURST + 2 * PER_SECOND), "{}", output.dropped);
        assert!(output.head().len() <= HEAD_MAX);
    }
}
