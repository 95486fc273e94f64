//! Reading files: regular ones only, of bounded size, with their permissions looked at.
use super::diagnostic::{At, Report};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Largest configuration file, in bytes.
pub(super) const FILE_MAX: u64 = 1 << 17;

/// What is wrong with a file of secrets that is not private; its mode follows.
pub(super) const NOT_PRIVATE: &str = "others than its owner may read or change it";

/// A file's content and its permission bits.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Reads a file. The error is a sentence without the path.
pub(super) fn read(path: &Path) -> Result<Content, String> {
    let say = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_string(),
        std::io::ErrorKind::PermissionDenied => {
            "this user may not read it: run as root, or look at its permissions".to_string()
        }
        _ => format!("it cannot be read: {error}"),
    };
    // A FIFO in its place must not block the program.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(say)?;
    let metadata = file.metadata().map_err(say)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_string());
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(say)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("it is larger than {FILE_MAX} bytes"));
    }
    // Editors of other systems begin a file with it; in no format here it means anything.
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    Ok(Content { bytes, mode: metadata.permissions().mode() & 0o7777 })
}

/// Reads a text file and registers it; bytes that are not UTF-8 are replaced and reported.
pub(super) fn text(report: &mut Report, path: &Path, cure: &str) -> Option<(usize, String)> {
    match read(path) {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content.bytes).into_owned();
            let file = report.file(path, &text);
            if let Err(error) = std::str::from_utf8(&content.bytes) {
                let line = content.bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n');
                let message = format!("line {} is not UTF-8", line.count() + 1);
                report.warning(At::file(file), message, "write names and comments in UTF-8");
            }
            Some((file, text))
        }
        Err(message) => {
            let file = report.file(path, "");
            report.error(At::file(file), message, cure);
            None
        }
    }
}
