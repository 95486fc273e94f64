//! The other end of the control socket, for the command line.
use super::MeasuredReport;
use super::protocol::{Answer, Order, REPLY_MAX, Request, TOO_MANY};
use super::report::Report;
use crate::runtime::socket_path;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time for one reply; the daemon promises less.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to try again when there are too many clients.
const CROWD_PATIENCE: Duration = Duration::from_secs(2);
/// Between two such tries.
const CROWD_PAUSE: Duration = Duration::from_millis(50);

/// A connection to the daemon of one runtime directory.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why the daemon could not be asked.
#[derive(Debug)]
pub enum ClientError {
    /// No daemon runs there.
    NotRunning(PathBuf),
    /// The socket may not be opened: the caller is not root.
    NotPermitted(PathBuf),
    /// The daemon has ended, or does not answer.
    Lost(PathBuf, io::Error),
    /// The daemon said no.
    Refused(Answer),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NotRunning(path) => write!(
                f,
                "not running: nobody answers at {}; start it (`latido run`), or name its \
                 --runtime-dir",
                path.display()
            ),
            ClientError::NotPermitted(path) => {
                write!(f, "{}: not permitted; ask as root (sudo)", path.display())
            }
            ClientError::Lost(path, error) => {
                write!(f, "{}: the daemon does not answer: {error}; see its log", path.display())
            }
            ClientError::Refused(answer) => write!(
                f,
                "{}; {}",
                answer.why.as_deref().unwrap_or("refused"),
                answer.cure.as_deref().unwrap_or("see the daemon's log")
            ),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// Connects to the daemon of this runtime directory.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] or [`ClientError::NotPermitted`].
    pub fn connect(runtime_dir: &Path) -> Result<Client, ClientError> {
        let path = socket_path(runtime_dir);
        let stream = BufReader::new(open(&path)?);
        Ok(Client { stream, path })
    }

    /// Gives a command. The answer says that it has begun; the outcome is seen in the status.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn order(&mut self, order: Order, groups: &[String]) -> Result<Answer, ClientError> {
        self.give(&Request { groups: groups.to_vec(), ..Request::of(order) })
    }

    /// Gives a command about a node; `sure`: it is meant. Else what it would do is told.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn order_node(
        &mut self,
        order: Order,
        node: &str,
        sure: bool,
    ) -> Result<Answer, ClientError> {
        self.give(&Request { node: Some(node.to_owned()), sure, ..Request::of(order) })
    }

    /// Has the configuration read again; `sure`: what a change of keys means for the others was
    /// looked into.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn reload(&mut self, sure: bool) -> Result<Answer, ClientError> {
        self.give(&Request { sure, ..Request::of(Order::Reload) })
    }

    /// Has the others tried whether they accept a key; the status tells.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn try_key(&mut self, key: u8) -> Result<Answer, ClientError> {
        self.give(&Request { key: Some(key), ..Request::of(Order::TryKey) })
    }

    /// Gives a command about this machine; `sure`: it is meant. Else what it would do is told.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn order_meant(&mut self, order: Order, sure: bool) -> Result<Answer, ClientError> {
        self.give(&Request { sure, ..Request::of(order) })
    }

    fn give(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let line = self.ask(request)?;
        let answer: Answer = self.read(&line)?;
        if answer.ok { Ok(answer) } else { Err(ClientError::Refused(answer)) }
    }

    /// The status as the daemon wrote it: one line of JSON.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn status_line(&mut self) -> Result<String, ClientError> {
        let line = self.ask(&Request::of(Order::Status))?;
        let answer: Answer = self.read(&line)?;
        if answer.ok { Ok(line) } else { Err(ClientError::Refused(answer)) }
    }

    /// The status.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn status(&mut self) -> Result<Report, ClientError> {
        let line = self.status_line()?;
        self.read(&line)
    }

    /// What the heartbeats have shown.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Lost`].
    pub fn measured(&mut self) -> Result<MeasuredReport, ClientError> {
        let line = self.ask(&Request::of(Order::Advise))?;
        let answer: Answer = self.read(&line)?;
        if answer.ok { self.read(&line) } else { Err(ClientError::Refused(answer)) }
    }

    /// Asks again for a while as long as too many others do.
    fn ask(&mut self, request: &Request) -> Result<String, ClientError> {
        let until = Instant::now() + CROWD_PATIENCE;
        loop {
            let line = self.ask_once(request)?;
            let crowded = line.len() < 4096
                && serde_json::from_str::<Answer>(&line)
                    .is_ok_and(|answer| answer.why.as_deref() == Some(TOO_MANY));
            if !crowded || Instant::now() >= until {
                return Ok(line);
            }
            std::thread::sleep(CROWD_PAUSE);
            self.stream = BufReader::new(open(&self.path)?);
        }
    }

    fn ask_once(&mut self, request: &Request) -> Result<String, ClientError> {
        let mut line = String::new();
        let mut text = serde_json::to_string(request).map_err(|error| self.lost(error.into()))?;
        text.push('\n');
        // Who is refused at the door cannot write any more, but read why.
        let written = match self.stream.get_mut().write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
        let result = written.and_then(|()| {
            // One byte beyond the limit tells a reply that is too long from one that fits.
            self.stream.by_ref().take(REPLY_MAX as u64 + 1).read_line(&mut line)
        });
        match result {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) if len > REPLY_MAX || !line.ends_with('\n') => {
                Err(self.lost(io::ErrorKind::InvalidData.into()))
            }
            Ok(_) => Ok(line),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, line: &str) -> Result<T, ClientError> {
        serde_json::from_str(line).map_err(|error| self.lost(error.into()))
    }

    fn lost(&self, error: io::Error) -> ClientError {
        ClientError::Lost(self.path.clone(), error)
    }
}

fn open(path: &Path) -> Result<UnixStream, ClientError> {
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted(path.to_owned()),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning(path.to_owned())
        }
        _ => ClientError::Lost(path.to_owned(), error),
    })?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(|error| ClientError::Lost(path.to_owned(), error))?;
    Ok(stream)
}
