//! Terminates TLS with one certificate, which is replaced while the listener runs when its files change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use tokio_rustls::rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// How often the files are read again.
const PERIOD: Duration = Duration::from_secs(10);

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// A file is not PEM, or has no certificate or no key in it.
    #[error("{0} has no usable PEM: {1}")]
    Pem(PathBuf, #[source] pem::Error),
    /// The certificate and the key do not match, or their kind is not supported.
    #[error("the certificate cannot be used with its key: {0}")]
    Pair(#[source] tokio_rustls::rustls::Error),
}

/// A certificate chain with its private key, from two PEM files. Clones share it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

/// Reads a file that holds a private key, after checking who else may read it.
pub type ReadKey = fn(&Path) -> io::Result<Vec<u8>>;

struct Current {
    cert_file: PathBuf,
    key_file: PathBuf,
    read_key: ReadKey,
    provider: Arc<CryptoProvider>,
    pair: RwLock<Arc<CertifiedKey>>,
    /// The contents of the files that the pair was made of.
    seen: Mutex<Files>,
}

struct Files {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Loads the certificate chain and the private key from two PEM files. The server offers TLS 1.2 and 1.3,
    /// and HTTP/2 and HTTP/1.1 by ALPN. `read_key` reads the key, also when the files have changed.
    ///
    /// # Errors
    /// [`TlsError`], when a file cannot be read or its contents cannot be used.
    pub fn load(cert_file: &Path, key_file: &Path, read_key: ReadKey) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let files = Files::read(cert_file, key_file, read_key)?;
        let pair = files.pair(cert_file, key_file, &provider)?;
        let current = Arc::new(Current {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            read_key,
            provider: Arc::clone(&provider),
            pair: RwLock::new(Arc::new(pair)),
            seen: Mutex::new(files),
        });
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = config.map_err(TlsError::Pair)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Reads the files again. Returns whether they have changed and new connections get the new certificate.
    /// This blocks on the file system.
    ///
    /// # Errors
    /// [`TlsError`], as [`Tls::load`]. The certificate before it then stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Current { cert_file, key_file, read_key, provider, pair, seen } = &*self.current;
        let files = Files::read(cert_file, key_file, *read_key)?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.same(&files) {
            return Ok(false);
        }
        let new = files.pair(cert_file, key_file, provider)?;
        *pair.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        *seen = files;
        Ok(true)
    }

    /// Calls [`Tls::reload`] every 10 s on a blocking thread, and logs a change and the first of several
    /// errors. It never returns; the caller ends it by dropping the future.
    pub async fn watch(&self) {
        let mut failing = false;
        loop {
            tokio::time::sleep(PERIOD).await;
            let tls = self.clone();
            let Ok(reloaded) = tokio::task::spawn_blocking(move || tls.reload()).await else { continue };
            match &reloaded {
                Ok(true) => tracing::info!("the TLS certificate was replaced"),
                Err(why) if !failing => tracing::warn!(error = %why, "the old TLS certificate stays in use"),
                Ok(false) | Err(_) => {}
            }
            failing = reloaded.is_err();
        }
    }
}

impl Files {
    fn same(&self, other: &Self) -> bool {
        self.cert == other.cert && self.key == other.key
    }

    fn read(cert_file: &Path, key_file: &Path, read_key: ReadKey) -> Result<Self, TlsError> {
        let failed = |path: &Path, why| TlsError::Read(path.to_owned(), why);
        let cert = std::fs::read(cert_file).map_err(|why| failed(cert_file, why))?;
        let key = read_key(key_file).map_err(|why| failed(key_file, why))?;
        Ok(Self { cert, key: key.into() })
    }

    fn pair(
        &self,
        cert_file: &Path,
        key_file: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        let chain =
            chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(|why| TlsError::Pem(cert_file.to_owned(), why))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|why| TlsError::Pem(key_file.to_owned(), why))?;
        CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("cert_file", &self.cert_file).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert_file", &self.current.cert_file).finish_non_exhaustive()
    }
}
