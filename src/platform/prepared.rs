//! A command that is made ready long before it is run: at the moment of need nothing is allocated.
use super::process::End;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};
use std::ffi::{CString, c_char};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

/// A program with its arguments and environment, ready to be run.
pub struct Prepared {
    // The pointers lead into these.
    _words: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

// SAFETY: the pointers lead into the heap buffers of `_words`, which live and do not change as
// long as this does; nobody writes through them.
#[allow(unsafe_code)]
unsafe impl Send for Prepared {}

impl Prepared {
    /// Makes a command ready: full path and arguments, and what is added to our own environment.
    ///
    /// # Errors
    /// An empty command, or a zero byte in a word.
    pub fn new(command: &[String], added: &[(&str, &str)]) -> io::Result<Prepared> {
        let zero = |_| io::Error::from(io::ErrorKind::InvalidInput);
        if command.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut words = Vec::new();
        for word in command {
            words.push(CString::new(word.as_bytes()).map_err(zero)?);
        }
        for (name, value) in std::env::vars_os() {
            if added.iter().any(|(added, _)| name == *added) {
                continue;
            }
            let line = [name.into_vec(), value.into_vec()].join(&b'=');
            words.push(CString::new(line).map_err(zero)?);
        }
        for (name, value) in added {
            words.push(CString::new(format!("{name}={value}")).map_err(zero)?);
        }
        let pointers = |words: &[CString]| -> Vec<*const c_char> {
            words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment) = words.split_at(command.len());
        let (arguments, environment) = (pointers(arguments), pointers(environment));
        Ok(Prepared { _words: words, arguments, environment })
    }

    /// Runs it in a session of its own, with nothing of ours but standard input, output and error.
    /// It lives on when we die.
    ///
    /// # Errors
    /// No process is to be had. A program that cannot be run ends with exit code 127.
    #[allow(unsafe_code)]
    pub fn run(&self) -> io::Result<Running> {
        let program = self.arguments.first().copied().unwrap_or(ptr::null());
        // SAFETY: the child makes nothing but system calls (async-signal-safe) until it executes
        // or exits; all pointers lead to prepared memory that the child has a copy of.
        let pid = unsafe {
            match libc::fork() {
                0 => {
                    libc::setsid();
                    let mut none: libc::sigset_t = std::mem::zeroed();
                    libc::sigemptyset(&mut none);
                    libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
                    for signal in 1..32 {
                        libc::signal(signal, libc::SIG_DFL);
                    }
                    libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
                    libc::execve(program, self.arguments.as_ptr(), self.environment.as_ptr());
                    libc::_exit(127)
                }
                pid => pid,
            }
        };
        match Pid::from_raw(pid) {
            Some(pid) if !pid.is_init() && pid.as_raw_nonzero().get() > 0 => Ok(Running(pid)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A command that runs.
pub struct Running(Pid);

impl Running {
    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<End> {
        match waitpid(Some(self.0), WaitOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some((_, status))) => {
                Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => End::Exited(code),
                    (None, signal) => End::Signalled(signal.unwrap_or(0)),
                })
            }
            // Reaped by somebody else: that it has ended is all we know.
            Err(_) => Some(End::Signalled(0)),
        }
    }

    /// Ends it and everything of its process group, before its end was seen.
    pub fn kill(&self) {
        // Its group is there only once it has come so far.
        let _ = kill_process_group(self.0, Signal::KILL);
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn end_of(running: &Running) -> End {
        let start = Instant::now();
        loop {
            if let Some(end) = running.ended() {
                return end;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it hangs");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn shell(script: &str) -> Prepared {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        Prepared::new(&words, &[("LATIDO_ACTION", "reset")]).expect("prepared")
    }

    #[test]
    fn it_runs_as_often_as_wanted_and_its_end_is_seen() {
        let prepared = shell("test \"$LATIDO_ACTION\" = reset && exit 7");
        for _ in 0..2 {
            assert_eq!(end_of(&prepared.run().expect("a process")), End::Exited(7));
        }
        let hanging = shell("sleep 60").run().expect("a process");
        hanging.kill();
        assert_eq!(end_of(&hanging), End::Signalled(9));
    }

    #[test]
    fn a_missing_program_shows_in_the_exit_code() {
        let missing = Prepared::new(&["/no/such/program".to_owned()], &[]).expect("prepared");
        assert_eq!(end_of(&missing.run().expect("a process")), End::Exited(127));
        assert!(Prepared::new(&[], &[]).is_err());
    }
}
