//! Ends this machine at once: nothing is stopped, nothing is written.
use rustix::system::{RebootCommand, reboot};
use std::os::unix::fs::MetadataExt;

/// The kernel's own process namespace (`PROC_PID_INIT_INO`).
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Ends this machine, or the container that this is. Returns only if it could not: why.
///
/// The magic key comes first: it asks no driver and waits for nothing, where `reboot(2)` shuts
/// every device down and may hang in one. A container must not end its host: there only `reboot(2)`
/// is left, which ends the container.
pub fn now() -> String {
    let whole_machine = std::fs::metadata("/proc/self/ns/pid")
        .is_ok_and(|namespace| namespace.ino() == INITIAL_NAMESPACE);
    let key = match whole_machine {
        true => std::fs::write("/proc/sysrq-trigger", "b").map_err(|error| error.to_string()),
        false => Err("this is a container".to_owned()),
    };
    let call = reboot(RebootCommand::Restart);
    let told = |outcome: Result<(), String>| outcome.err().unwrap_or("no effect".to_owned());
    format!(
        "sysrq-trigger: {}; reboot(2): {}",
        told(key),
        told(call.map_err(|error| error.to_string()))
    )
}
