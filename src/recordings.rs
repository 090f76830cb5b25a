//! The folder of recordings: what is in it, and what is removed.
//!
//! In: the folder that the owner named. Out: names for new recordings, the list of them, their removal
//! by name, by session or by age. The files are written by [`crate::call`]. A name says when the call
//! began, which call it was, and as a fingerprint whose session: `1763769600-CALL-FINGERPRINT.ogg`.
//! Everything here reads the disk: not for async threads.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::audio::{WIRE_RATE, ogg};
use crate::ids::{CallId, SessionId};
use crate::observability::live::unix_ms;

/// As much of a file's beginning and end tells how long it plays.
const ENDS: u64 = 64 * 1024;

/// The folder, and how long what is in it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recordings {
    folder: PathBuf,
    keep: Duration,
}

/// One recording.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    /// Its file's name.
    pub name: String,
    /// The call.
    pub call: CallId,
    /// When the call began, milliseconds since 1970.
    pub began_ms: u64,
    /// How long it plays; 0 while nothing is complete.
    pub seconds: f64,
    /// The file's size.
    pub bytes: u64,
}

impl Recordings {
    /// Recordings in this folder, which is made if need be, kept for so many days.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn open(folder: PathBuf, keep_days: u32) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let probe = folder.join(format!(".eva-{}", CallId::random()));
        File::create(&probe)?;
        fs::remove_file(probe)?;
        Ok(Self { folder, keep: Duration::from_secs(u64::from(keep_days) * 24 * 3600) })
    }

    /// The file for a call that begins now.
    pub fn path_for(&self, call: CallId, session: Option<(&str, &SessionId)>) -> PathBuf {
        let mut name = format!("{}-{call}", unix_ms(SystemTime::now()) / 1000);
        if let Some((owner, session)) = session {
            name.push('-');
            name.push_str(&fingerprint(owner, session));
        }
        self.folder.join(name + ".ogg")
    }

    /// The file of this name, if it is a recording's.
    pub fn path_of(&self, name: &str) -> Option<PathBuf> {
        parse(name)?;
        Some(self.folder.join(name)).filter(|path| path.is_file())
    }

    /// All recordings, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Recording>> {
        let mut list: Vec<Recording> = self
            .names()?
            .into_iter()
            .filter_map(|name| {
                let (began, call, _) = parse(&name)?;
                let path = self.folder.join(&name);
                let bytes = fs::metadata(&path).ok()?.len();
                let seconds = seconds(&path).unwrap_or(0.0);
                Some(Recording { name, call, began_ms: began * 1000, seconds, bytes })
            })
            .collect();
        list.sort_by(|a, b| (b.began_ms, &b.name).cmp(&(a.began_ms, &a.name)));
        Ok(list)
    }

    /// Removes one; whether it was there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        match self.path_of(name) {
            Some(path) => fs::remove_file(path).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes the recordings of a session's calls; how many there were.
    ///
    /// # Errors
    /// The folder cannot be read, or one cannot be removed.
    pub fn remove_session(&self, owner: &str, session: &SessionId) -> io::Result<usize> {
        let wanted = fingerprint(owner, session);
        let of_session =
            |name: &String| parse(name).is_some_and(|(_, _, tag)| tag == Some(wanted.as_str()));
        self.remove_all(of_session)
    }

    /// Removes those that have been kept for long enough; how many there were.
    ///
    /// # Errors
    /// The folder cannot be read, or one cannot be removed.
    pub fn sweep(&self, now: SystemTime) -> io::Result<usize> {
        let oldest = unix_ms(now).saturating_sub(self.keep.as_millis() as u64) / 1000;
        self.remove_all(|name| parse(name).is_some_and(|(began, ..)| began < oldest))
    }

    fn remove_all(&self, which: impl Fn(&String) -> bool) -> io::Result<usize> {
        let names: Vec<String> = self.names()?.into_iter().filter(which).collect();
        for name in &names {
            fs::remove_file(self.folder.join(name))?;
        }
        Ok(names.len())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.folder)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

/// Makes a recording's file, which nobody else can read.
///
/// # Errors
/// It cannot be made, or is there already.
pub fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The parts of a recording's name: seconds since 1970, the call, the session's fingerprint.
fn parse(name: &str) -> Option<(u64, CallId, Option<&str>)> {
    let mut parts = name.strip_suffix(".ogg")?.split('-');
    let began = parts.next()?.parse().ok()?;
    let call = CallId::parse(parts.next()?)?;
    let tag = parts.next();
    let hex = |tag: &str| tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    (tag.is_none_or(hex) && parts.next().is_none()).then_some((began, call, tag))
}

/// Tells one owner's session from all others, and nobody what its name is.
fn fingerprint(owner: &str, session: &SessionId) -> String {
    let digest = Sha256::digest(format!("{owner}\0{}", session.as_str()));
    digest[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seconds(path: &Path) -> Option<f64> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let (mut beginning, mut end) = (Vec::new(), Vec::new());
    (&mut file).take(ENDS).read_to_end(&mut beginning).ok()?;
    file.seek(SeekFrom::Start(size.saturating_sub(ENDS))).ok()?;
    file.take(ENDS).read_to_end(&mut end).ok()?;
    Some(ogg::length48(&beginning, &end)? as f64 / f64::from(WIRE_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_found_by_name_and_session_and_go_with_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Recordings::open(folder.path().join("calls"), 1).unwrap();
        let session = SessionId::random();
        let call = CallId::random();
        let own = kept.path_for(call, Some(("ada", &session)));
        create(&own).unwrap();
        create(&kept.path_for(CallId::random(), Some(("eve", &session)))).unwrap();
        create(&kept.path_for(CallId::random(), None)).unwrap();
        fs::write(kept.folder.join("notes.txt"), "not a recording").unwrap();
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&own).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(create(&own).is_err(), "no recording is written over");
        let list = kept.list().unwrap();
        assert_eq!(list.len(), 3);
        assert!(list.iter().any(|recording| recording.call == call));
        assert_eq!(kept.remove_session("ada", &session).unwrap(), 1);
        assert_eq!(kept.list().unwrap().len(), 2);
        for outside in ["notes.txt", "../calls/notes.txt", ".", "", "1-2.ogg"] {
            assert!(kept.path_of(outside).is_none(), "{outside}");
            assert!(!kept.remove(outside).unwrap(), "{outside}");
        }
        let now = SystemTime::now();
        assert_eq!(kept.sweep(now).unwrap(), 0);
        assert_eq!(kept.sweep(now + Duration::from_secs(25 * 3600)).unwrap(), 2);
        assert!(kept.folder.join("notes.txt").exists());
    }
}
