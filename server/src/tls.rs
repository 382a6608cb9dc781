//! TLS to clients: certificates that are read again when they change, and never a moment without good
//! ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::settings::Edge;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What is spoken inside.
const HTTP_1: &[u8] = b"http/1.1";

/// Certificates and key that cannot be used. The text says which file and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not PEM, or has nothing of what it should have.
    #[error("{path} has no {what} in PEM: {source}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Why it is not.
        source: rustls::pki_types::pem::Error,
    },
    /// They are no pair, or of a kind that nobody speaks.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// The certificates in use, and where they come from.
pub(crate) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    /// SIGHUP, from the start on: until it is listened to, it would end the process.
    asked: tokio::sync::Mutex<Signal>,
}

/// What tells that a file was changed.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificates {
    /// Those that `edge` names; `None` where it names none.
    ///
    /// # Errors
    /// They cannot be used: a server does not start without what it was told to use.
    pub(crate) async fn open(edge: &Edge) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&edge.tls_cert, &edge.tls_key) else {
            return Ok(None);
        };
        let config = read(certificate, key).await?;
        let asked = signal(SignalKind::hangup()).map_err(|source| TlsError::File {
            path: certificate.clone(),
            source,
        })?;
        Ok(Some(Arc::new(Self {
            certificate: certificate.clone(),
            key: key.clone(),
            config: RwLock::new(config),
            asked: tokio::sync::Mutex::new(asked),
        })))
    }

    /// What a new connection is greeted with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// Reads the files again whenever they changed, or SIGHUP asks for it. Where they are not good, those
    /// in use stay, until the files change again.
    pub(crate) async fn keep_fresh(&self) {
        let mut asked = self.asked.lock().await;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut seen = self.stamp().await;
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    let stamp = self.stamp().await;
                    if stamp == seen {
                        continue;
                    }
                    seen = stamp;
                }
                _ = asked.recv() => seen = self.stamp().await,
            }
            self.read_again().await;
        }
    }

    async fn read_again(&self) {
        let outcome = match read(&self.certificate, &self.key).await {
            Ok(config) => {
                *self.config.write() = config;
                tracing::info!("new certificates are in use");
                "used"
            }
            Err(error) => {
                tracing::error!(%error, "new certificates are not good; those before stay in use");
                "refused"
            }
        };
        metrics::counter!("verbatim_tls_reloads_total", "outcome" => outcome).increment(1);
    }

    async fn stamp(&self) -> Stamp {
        [stamp(&self.certificate).await, stamp(&self.key).await]
    }
}

async fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

async fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let no_certificate = |source| TlsError::Pem {
        path: certificate.to_owned(),
        what: "certificate",
        source,
    };
    let chain = CertificateDer::pem_slice_iter(&bytes(certificate).await?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(no_certificate)?;
    if chain.is_empty() {
        return Err(no_certificate(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&bytes(key).await?).map_err(|source| TlsError::Pem {
            path: key.to_owned(),
            what: "private key",
            source,
        })?;
    let provider = Arc::new(default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

async fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = tokio::fs::read(path).await;
    read.map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}
