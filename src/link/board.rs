//! The cable to a witness board that is being prepared: questions and answers in the clear.
use super::Obstacle;
use super::serial::{check_device, explain, open_tty};
use crate::config::Flow;
use crate::core::framing::{Deframer, ENCODED_MAX, encode};
use crate::core::limits::FRAME_MAX;
use crate::core::provision::{self, Answer, Identity, Request};
use serialport::TTYPort;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two questions that nobody answers.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a board may take to start and answer. A board with an old vote waits for nothing here.
const PATIENCE: Duration = Duration::from_secs(10);
const PIECE: usize = 256;

/// A cable to a board.
pub struct Cable {
    port: TTYPort,
    deframer: Box<Deframer>,
    question: u32,
}

impl Cable {
    /// Opens the device.
    ///
    /// # Errors
    /// Why not, and the cure.
    pub fn open(device: &Path, baud: u32) -> Result<Cable, String> {
        check_device(device).map_err(|why| said(&why))?;
        let path = device.to_str().ok_or("the device's path is not UTF-8")?;
        let builder = serialport::new(path, baud).timeout(Duration::from_millis(50));
        let port =
            open_tty(builder, Flow::None).map_err(|error| said(&explain(device, baud, &error)))?;
        Ok(Cable { port, deframer: Box::new(Deframer::new()), question: std::process::id() })
    }

    /// Who is there, as soon as `known` says that it is what was waited for.
    ///
    /// # Errors
    /// Nobody has answered.
    pub fn identity(&mut self, known: impl Fn(&Identity) -> bool) -> Result<Identity, String> {
        let end = Instant::now() + PATIENCE;
        let mut other = None;
        while Instant::now() < end {
            self.question = self.question.wrapping_add(1);
            let question = self.question;
            match self.ask(&Request::Identify(question), AGAIN)? {
                Some(Answer::Identity(identity)) if identity.question == question => {
                    if known(&identity) {
                        return Ok(identity);
                    }
                    other = Some(identity);
                    std::thread::sleep(Duration::from_millis(50));
                }
                Some(Answer::What) => {
                    return Err("the board speaks another version: flash a firmware of this \
                                version of latido"
                        .into());
                }
                _ => {}
            }
        }
        Err(match other {
            Some(_) => "the board answers, but not what was to be: erase it and try again",
            None => {
                "no board answers: is it the right device and speed, is the board powered, is \
                     the firmware on it, are TX and RX crossed?"
            }
        }
        .into())
    }

    /// Sends a request once; the answer, if one comes within `wait`.
    ///
    /// # Errors
    /// The line is lost.
    pub fn ask(&mut self, request: &Request, wait: Duration) -> Result<Option<Answer>, String> {
        let (mut frame, mut line) = ([0; FRAME_MAX], [0; ENCODED_MAX]);
        let len = provision::encode(request, &mut frame)
            .and_then(|len| encode(frame.get(..len)?, &mut line));
        let bytes = len.and_then(|len| line.get(..len)).ok_or("this does not fit into a frame")?;
        let lost = |error: std::io::Error| format!("the line is lost: {error}");
        self.port.write_all(bytes).map_err(lost)?;
        let end = Instant::now() + wait;
        let mut piece = [0; PIECE];
        while Instant::now() < end {
            let mut bytes = match self.port.read(&mut piece) {
                Ok(count) => piece.get(..count).unwrap_or_default(),
                Err(error) => match error.kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {
                        continue;
                    }
                    _ => return Err(lost(error)),
                },
            };
            while let Some(frame) = self.deframer.push(&mut bytes) {
                // Sealed frames go by: the board may be voting already.
                if let Some(Ok(answer)) = provision::decode(frame) {
                    return Ok(Some(answer));
                }
            }
        }
        Ok(None)
    }
}

fn said(obstacle: &Obstacle) -> String {
    format!("{}; {}", obstacle.why, obstacle.cure)
}
