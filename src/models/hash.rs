//! SHA-256 of files, and MD5 where that is all that is published.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

/// The SHA-256 of a whole file, as 64 lower-case hexadecimal digits.
pub(super) fn of_file(path: &Path) -> io::Result<String> {
    digest::<Sha256>(path)
}

/// The MD5 of a whole file, as 32 lower-case hexadecimal digits.
pub(super) fn md5_of_file(path: &Path) -> io::Result<String> {
    digest::<Md5>(path)
}

fn digest<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// The hash of a text, as 64 lower-case hexadecimal digits.
pub(super) fn of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes bytes on to a file and hashes them on the way.
pub(super) struct HashingWriter {
    file: File,
    hasher: Sha256,
    written: u64,
}

impl HashingWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, hasher: Sha256::new(), written: 0 })
    }

    /// Brings the bytes to the disk; returns their number and their hash.
    pub(super) fn finish(self) -> io::Result<(u64, String)> {
        self.file.sync_all()?;
        Ok((self.written, hex(&self.hasher.finalize())))
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
