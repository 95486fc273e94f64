//! What can go wrong in the laboratory, in words.
use std::fmt;

/// Says what failed, where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

/// A result of the laboratory.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of these words.
    pub fn new(words: impl Into<String>) -> Error {
        Error(words.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Puts what was being done in front of why it failed.
pub(crate) trait Doing<T> {
    /// `doing` is a phrase such as `creating the bridge lan`.
    fn doing(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|why| Error(format!("{doing}: {why}")))
    }
}
