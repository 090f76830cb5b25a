//! Clips on the disk: one small file each, named by what it depends on.
//!
//! In: a key and samples. Out: the samples again, or nothing where the file is missing or damaged.
//! The name is a hash of the format, the voice's fingerprint and the text, so a changed voice or text
//! finds nothing. Files are written beside and renamed; the oldest go when there are too many.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::speaking::fingerprint::hex;

/// Changes whenever clips of the same voice and text come out otherwise.
const FORMAT: &[u8; 8] = b"EVACLIP1";
/// Files kept in all; a voice has some ten.
const MOST_FILES: usize = 400;
/// A clip is a few seconds; a longer file is no clip.
const MOST_SAMPLES: usize = 1 << 20;
/// SHA-256 of all before it ends a file.
const SUM: usize = 32;

/// The file of one clip.
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// Where the clip of a voice and text lies in `dir`.
    pub(super) fn of(dir: &Path, fingerprint: &str, language: &str, text: &str) -> Self {
        let mut hasher = Sha256::new();
        for part in
            [FORMAT.as_slice(), fingerprint.as_bytes(), language.as_bytes(), text.as_bytes()]
        {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self { path: dir.join(format!("{}.clip", hex(&hasher.finalize()[..16]))) }
    }

    /// The samples, if the file is whole and has this rate.
    pub(super) fn read(&self, sample_rate: u32) -> Option<Vec<f32>> {
        let bytes = fs::read(&self.path).ok()?;
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
        let (head, pcm) = content.split_at_checked(FORMAT.len() + 4)?;
        let (format, rate) = head.split_at(FORMAT.len());
        let whole = Sha256::digest(content).as_slice() == sum
            && format == FORMAT
            && rate == sample_rate.to_le_bytes()
            && pcm.len() % 2 == 0;
        let decode = |b: &[u8]| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_767.0;
        whole.then(|| pcm.chunks_exact(2).map(decode).collect())
    }

    /// Writes the samples, all or nothing.
    pub(super) fn write(&self, sample_rate: u32, samples: &[f32]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(FORMAT.len() + 4 + 2 * samples.len() + SUM);
        bytes.extend_from_slice(FORMAT);
        bytes.extend_from_slice(&sample_rate.to_le_bytes());
        for sample in &samples[..samples.len().min(MOST_SAMPLES)] {
            bytes.extend_from_slice(&encode(*sample).to_le_bytes());
        }
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        let part = self.path.with_extension(format!("part{}", std::process::id()));
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&part, bytes)?;
        fs::rename(&part, &self.path)
    }
}

fn encode(sample: f32) -> i16 {
    (sample * 32_767.0).round().clamp(-32_767.0, 32_767.0) as i16
}

/// As [`Place::read`] would give them: what is played does not depend on where it came from.
pub(super) fn rounded(samples: &[f32]) -> Vec<f32> {
    samples.iter().map(|sample| f32::from(encode(*sample)) / 32_767.0).collect()
}

/// Removes the oldest clips beyond [`MOST_FILES`], and what an interrupted writer left.
pub(super) fn prune(dir: &Path) {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = items
        .filter_map(|item| Some((item.metadata().ok()?.modified().ok()?, item.path())))
        .filter(|(_, path)| {
            let kind = path.extension().unwrap_or_default().to_string_lossy();
            kind == "clip" || kind.starts_with("part")
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(MOST_FILES);
    for (_, path) in &files[..surplus] {
        // Somebody else may have removed it.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path(), "voice", "en", "Mhm.");
        let samples: Vec<f32> = (0..500).map(|i| (i as f32 * 0.1).sin()).collect();
        assert_eq!(place.read(16_000), None);
        place.write(16_000, &samples).unwrap();
        assert_eq!(place.read(16_000).unwrap(), rounded(&samples));
        assert_eq!(place.read(22_050), None, "another rate");
        for other in [("voice", "fr", "Mhm."), ("voice2", "en", "Mhm."), ("voice", "en", "Right.")]
        {
            assert_ne!(Place::of(dir.path(), other.0, other.1, other.2).path, place.path);
        }
        let bytes = fs::read(&place.path).unwrap();
        for damaged in [&bytes[..0], &bytes[..20], &bytes[..bytes.len() - 1]] {
            fs::write(&place.path, damaged).unwrap();
            assert_eq!(place.read(16_000), None);
        }
        let mut flipped = bytes.clone();
        flipped[100] ^= 1;
        fs::write(&place.path, flipped).unwrap();
        assert_eq!(place.read(16_000), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..MOST_FILES + 7 {
            fs::write(dir.path().join(format!("{i:04}.clip")), b"").unwrap();
        }
        fs::write(dir.path().join("notes.txt"), b"").unwrap();
        prune(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MOST_FILES + 1);
        assert!(dir.path().join("notes.txt").exists());
    }
}
