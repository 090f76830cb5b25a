//! TLS with a development certificate that is made on first run.
//!
//! In: a folder (`certs/`). Out: a rustls configuration and the certificate's fingerprint, and new
//! ones whenever the files change. The private key is made here, readable by its owner only, and
//! belongs in no repository.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::reload::Watched;

/// The name inside certificates that are made here, and the one that the library gives.
const DEVELOPMENT_NAMES: [&str; 2] = ["EVA-Voice development", "rcgen self signed cert"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}. Give another folder with --certs")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The files are no certificate and key.
    #[error(
        "{dir} holds no usable certificate and key ({reason}). Remove cert.pem and key.pem there to have new ones made"
    )]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate ready to serve.
pub struct Certificate {
    /// For axum-server.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, as browsers show it.
    pub fingerprint: String,
    /// Whether it was made here, for development: browsers do not trust it.
    pub development: bool,
}

/// Loads `cert.pem` and `key.pem` from `dir`, making them first if neither is there.
///
/// `names` are the addresses people will type besides `localhost`.
pub fn load_or_make(dir: &Path, names: &[IpAddr]) -> Result<Certificate, TlsError> {
    let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
    if !cert_path.exists() && !key_path.exists() {
        make(dir, &cert_path, &key_path, names)?;
    }
    load(dir)
}

fn load(dir: &Path) -> Result<Certificate, TlsError> {
    let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
    let unusable = |reason: String| TlsError::Unusable { dir: dir.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(&cert_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(format!("cert.pem: {error}")))?;
    let key = PrivateKeyDer::from_pem_file(&key_path)
        .map_err(|error| unusable(format!("key.pem: {error}")))?;
    let first = chain.first().ok_or_else(|| unusable("cert.pem is empty".to_owned()))?;
    let fingerprint = fingerprint(first);
    let named = |name: &&str| first.windows(name.len()).any(|part| part == name.as_bytes());
    let development = DEVELOPMENT_NAMES.iter().any(named);
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate { config: Arc::new(config), fingerprint, development })
}

fn make(dir: &Path, cert: &Path, key: &Path, names: &[IpAddr]) -> Result<(), TlsError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    fs::create_dir_all(dir).map_err(file(dir))?;
    let subjects: Vec<String> =
        ["localhost".to_owned()].into_iter().chain(names.iter().map(IpAddr::to_string)).collect();
    let (made, signing_key) = self_signed(subjects)
        .map_err(|error| TlsError::Unusable { dir: dir.to_owned(), reason: error.to_string() })?;
    write_private(key, &signing_key.serialize_pem()).map_err(file(key))?;
    fs::write(cert, made.pem()).map_err(file(cert))
}

fn self_signed(
    subjects: Vec<String>,
) -> Result<(rcgen::Certificate, rcgen::KeyPair), rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(subjects)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, DEVELOPMENT_NAMES[0]);
    let key = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

/// A certificate in use, and its files.
pub struct Renewal {
    dir: PathBuf,
    files: Watched,
    /// What the server uses; changing it disturbs no connection.
    serving: RustlsConfig,
}

impl Renewal {
    /// Serves `certificate` until its files in `dir` change.
    pub fn new(dir: &Path, certificate: &Certificate) -> Self {
        let files = Watched::new(vec![dir.join("cert.pem"), dir.join("key.pem")]);
        let serving = RustlsConfig::from_config(certificate.config.clone());
        Self { dir: dir.to_owned(), files, serving }
    }

    /// For the server.
    pub fn serving(&self) -> RustlsConfig {
        self.serving.clone()
    }

    /// Takes new files into use if there are some; `None` if nothing changed. Reads files, which
    /// takes a moment.
    ///
    /// # Errors
    /// If the new files cannot be used: the old certificate stays.
    pub fn look(&mut self) -> Option<Result<Certificate, TlsError>> {
        if !self.files.changed() {
            return None;
        }
        let loaded = load(&self.dir);
        if let Ok(certificate) = &loaded {
            self.serving.reload_from_config(certificate.config.clone());
        }
        Some(loaded)
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path(), &[IpAddr::from([192, 0, 2, 1])]).unwrap();
        let again = load_or_make(dir.path(), &[]).unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        let mode = fs::metadata(dir.path().join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(again.development);
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = load_or_make(dir.path(), &[]).unwrap();
        let second = load_or_make(other.path(), &[]).unwrap();
        let mut renewal = Renewal::new(dir.path(), &first);
        let serving = renewal.serving();
        assert!(renewal.look().is_none());
        fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
        assert!(renewal.look().unwrap().is_err());
        assert!(Arc::ptr_eq(&serving.get_inner(), &first.config));
        // A certificate without its key is none either; with it, it is taken.
        fs::copy(other.path().join("cert.pem"), dir.path().join("cert.pem")).unwrap();
        assert!(renewal.look().unwrap().is_err());
        fs::copy(other.path().join("key.pem"), dir.path().join("key.pem")).unwrap();
        let taken = renewal.look().unwrap().unwrap();
        assert_eq!(taken.fingerprint, second.fingerprint);
        assert!(Arc::ptr_eq(&serving.get_inner(), &taken.config));
        assert!(renewal.look().is_none());
    }

    #[test]
    fn a_broken_certificate_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
        fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
        let error = load_or_make(dir.path(), &[]).err().expect("refused").to_string();
        assert!(error.contains("Remove cert.pem and key.pem"), "{error}");
    }
}
