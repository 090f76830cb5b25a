//! Files that may change while the gateway runs: certificates and keys.
//!
//! In: paths. Out: whether they changed since the last look, by time, size and identity.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

/// Files that are looked at now and then.
pub struct Watched {
    files: Vec<PathBuf>,
    seen: Stamp,
}

impl Watched {
    /// As they are now.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen = stamp(&files);
        Self { files, seen }
    }

    /// Whether one of them is another than at the last look. A file that is gone has not changed:
    /// what is known of it stays.
    pub fn changed(&mut self) -> bool {
        let now = stamp(&self.files);
        let changed = now != self.seen && now.iter().all(Option::is_some);
        if changed {
            self.seen = now;
        }
        changed
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let of = |file: &PathBuf| {
        let about = std::fs::metadata(file).ok()?;
        Some((about.mtime(), about.mtime_nsec(), about.size(), about.ino()))
    };
    files.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_and_a_missing_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        std::fs::write(&file, "a").unwrap();
        let mut watched = Watched::new(vec![file.clone()]);
        assert!(!watched.changed());
        std::fs::write(&file, "ab").unwrap();
        assert!(watched.changed() && !watched.changed());
        std::fs::remove_file(&file).unwrap();
        assert!(!watched.changed());
        std::fs::write(&file, "abc").unwrap();
        assert!(watched.changed());
    }
}
