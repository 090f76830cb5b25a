//! What tells one voice's files from another's, without reading all of them.
//!
//! In: a voice's path. Out: 32 hexadecimal digits. Samples taken from everywhere in the model stand
//! for it (a network that was trained further differs everywhere); its configuration counts whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Places of the model that are looked at, and bytes at each: a megabyte in all.
const PLACES: u64 = 256;
const BYTES: usize = 4096;

/// The fingerprint of the voice at a path (as [`super::VitsVoice::start`] takes it). Files that
/// cannot be read count as empty: such a voice does not start.
pub(super) fn of_voice(path: &Path) -> String {
    let (model, configs) = if path.is_dir() {
        let inside = |name: &str| path.join(name);
        (inside("model.safetensors"), vec![inside("config.json"), inside("vocab.json")])
    } else {
        let mut config = path.as_os_str().to_owned();
        config.push(".json");
        (path.to_owned(), vec![PathBuf::from(config)])
    };
    let mut hasher = Sha256::new();
    // Half-read is as good as unreadable.
    let _ = sample(&model, &mut hasher);
    for config in configs {
        hasher.update(std::fs::read(config).unwrap_or_default());
    }
    hex(&hasher.finalize()[..16])
}

fn sample(path: &Path, hasher: &mut Sha256) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    hasher.update(length.to_le_bytes());
    let mut buffer = [0; BYTES];
    for place in 0..PLACES {
        file.seek(SeekFrom::Start(length / PLACES * place))?;
        let read = file.read(&mut buffer)?;
        hasher.update(&buffer[..read]);
    }
    Ok(())
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_model_or_configuration_has_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.onnx");
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("v.onnx", &[1; 2_000_000]);
        write("v.onnx.json", b"{}");
        let first = of_voice(&path);
        assert_eq!(first, of_voice(&path));
        write("v.onnx", &[2; 2_000_000]);
        let second = of_voice(&path);
        write("v.onnx.json", b"{ }");
        assert!(first != second && second != of_voice(&path) && first.len() == 32);
    }
}
