//! Room on the disk, and sizes for people.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::ModelError;

/// Kept free beyond what a model needs, so that a pull never fills a disk to the last byte.
const MARGIN: u64 = 64 << 20;

/// Bytes an ordinary user may still write on the disk that holds `dir`.
pub(crate) fn free(dir: &Path) -> std::io::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain data, zero is a valid value of it, and the call only writes into
    // the struct it is given.
    let (outcome, stat) = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut stat), stat)
    };
    if outcome == 0 {
        // Both fields are narrower than u64 on some systems.
        #[allow(clippy::unnecessary_cast)]
        Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Refuses a download of `needed` bytes that the disk of `dir` has no room for.
pub(super) fn check_room(dir: &Path, needed: u64) -> Result<(), ModelError> {
    let free = free(dir).map_err(|error| ModelError::io(dir, error))?;
    if needed.saturating_add(MARGIN) > free {
        return Err(ModelError::DiskFull { dir: dir.to_owned(), needed: Some(needed), free });
    }
    Ok(())
}

/// A size for people: `491 MB`.
pub fn human(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
