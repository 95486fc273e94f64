//! Tells systemd how the service is: `sd_notify(3)`, without the library.
//!
//! The engine is not the unit's main process (the supervisor is): the unit needs
//! `NotifyAccess=all`.
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The connection to the service manager; without one every call does nothing.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(OwnedFd, SocketAddrUnix)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC` from the environment.
    pub fn from_env() -> Notify {
        let watchdog = std::env::var("WATCHDOG_USEC").ok();
        Notify::new(std::env::var_os("NOTIFY_SOCKET"), watchdog.as_deref())
    }

    fn new(path: Option<OsString>, watchdog_us: Option<&str>) -> Notify {
        let socket = path.as_deref().and_then(connect);
        let watchdog = watchdog_us
            .and_then(|text| text.parse().ok())
            .filter(|us| *us > 0 && socket.is_some())
            .map(Duration::from_micros);
        Notify { socket, watchdog }
    }

    /// How often [`Notify::watchdog`] must be called at least: half of systemd's time limit.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The configuration is valid and the links are open.
    pub fn ready(&self) {
        self.send(b"READY=1");
    }

    /// One line about the present state, shown by `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(format!("STATUS={}", text.replace('\n', " ")).as_bytes());
    }

    /// The configuration is being read again; end it with [`Notify::ready`].
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let us = seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
        self.send(format!("RELOADING=1\nMONOTONIC_USEC={us}").as_bytes());
    }

    /// The service has begun to end.
    pub fn stopping(&self) {
        self.send(b"STOPPING=1");
    }

    /// The engine's loop is alive. Never blocks, allocates nothing.
    pub fn watchdog(&self) {
        if self.watchdog.is_some() {
            self.send(b"WATCHDOG=1");
        }
    }

    /// Never blocks; a manager that does not listen is no reason to fail.
    fn send(&self, message: &[u8]) {
        if let Some((socket, address)) = &self.socket {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::sendto(socket, message, flags, address);
        }
    }
}

fn connect(path: &OsStr) -> Option<(OwnedFd, SocketAddrUnix)> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name).ok()?,
        None => SocketAddrUnix::new(path).ok()?,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
    Some((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn messages_arrive_and_nobody_listening_is_no_harm() {
        let dir = std::env::temp_dir();
        let path = dir.join(format!("latido-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).expect("bind");
        manager.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        let notify = Notify::new(Some(path.clone().into_os_string()), Some("2000000"));
        assert_eq!(notify.watchdog_interval(), Some(Duration::from_secs(1)));
        notify.ready();
        notify.watchdog();
        notify.status("all\nwell");
        let mut buffer = [0u8; 100];
        for expected in ["READY=1", "WATCHDOG=1", "STATUS=all well"] {
            let len = manager.recv(&mut buffer).expect("a message");
            assert_eq!(std::str::from_utf8(&buffer[..len]), Ok(expected));
        }
        drop(manager);
        std::fs::remove_file(&path).expect("remove");
        notify.stopping();
        Notify::new(None, Some("5")).ready();
        assert_eq!(Notify::new(None, Some("5")).watchdog_interval(), None);
    }
}
