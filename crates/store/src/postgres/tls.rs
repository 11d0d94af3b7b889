//! TLS to PostgreSQL with rustls: whose certificates are believed, and what of them is verified.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::Error;

/// What is verified of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Nothing (`sslmode=require`): an active attacker can read along.
    None,
    /// That a known authority issued it (`verify-ca`).
    Authority,
    /// That, and that it names the host (`verify-full`).
    Full,
}

/// The authorities that may issue a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those of the system.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}

/// How a handshake begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handshake {
    /// TLS begins without the server's consent (`sslnegotiation=direct`), which needs a protocol name.
    pub(crate) direct: bool,
    /// The client hello names the server (`sslsni`).
    pub(crate) names_server: bool,
    pub(crate) versions: Versions,
}

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
}

/// The certificate by which this program identifies itself, and its key.
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// Reads both from PEM files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = certificates("sslcert", certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused("sslkey", key, &error))?;
        Ok(Self { chain, key })
    }
}

/// The TLS settings of a connection; none for a connection without TLS.
#[derive(Clone)]
pub(crate) struct Tls(Option<MakeRustlsConnect>);

impl Tls {
    /// No TLS.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// TLS with servers that `verification` accepts.
    pub(crate) fn new(
        verification: Verification,
        roots: &Roots,
        client: Option<&ClientCertificate>,
        handshake: Handshake,
    ) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(verification, roots, &provider)?;
        let Versions { tls12, tls13 } = handshake.versions;
        let known = [(tls13, &rustls::version::TLS13), (tls12, &rustls::version::TLS12)];
        let versions: Vec<_> =
            known.into_iter().filter_map(|(is_on, version)| is_on.then_some(version)).collect();

        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| Error::Refused(format!("TLS to PostgreSQL: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => config
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(|error| Error::Refused(format!("database.url: sslcert and sslkey: {error}")))?,
        };
        config.enable_sni = handshake.names_server;
        if handshake.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self(Some(MakeRustlsConnect::new(config))))
    }

    /// What the driver connects with.
    pub(crate) fn connector(&self) -> Option<MakeRustlsConnect> {
        self.0.clone()
    }
}

fn verifier(
    verification: Verification,
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if verification == Verification::None {
        return Ok(Arc::new(Lenient { authority: None, provider: Arc::clone(provider) }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store(roots)?), Arc::clone(provider))
        .build()
        .map_err(|error| Error::Refused(format!("TLS to PostgreSQL: {error}")))?;
    Ok(match verification {
        Verification::Full => verifier,
        Verification::Authority | Verification::None => {
            Arc::new(Lenient { authority: Some(verifier), provider: Arc::clone(provider) })
        }
    })
}

fn store(roots: &Roots) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(Error::Refused(
                    "database.url: the system has no certificates of authorities (the package \
                     ca-certificates); name a file by sslrootcert or database.tls_ca_file"
                        .into(),
                ));
            }
        }
        Roots::File(path) => {
            for certificate in certificates("the CA file", path)? {
                store.add(certificate).map_err(|error| refused("the CA file", path, &error))?;
            }
        }
    }
    Ok(store)
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| refused(what, path, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| refused(what, path, &error))?;
    if found.is_empty() { Err(refused(what, path, &"no certificate in it")) } else { Ok(found) }
}

fn refused(what: &str, path: &Path, why: &dyn Display) -> Error {
    Error::Refused(format!("database.url: {what} {}: {why}", path.display()))
}

/// Verifies less than everything: the authority only, or nothing but the handshake's signature.
#[derive(Debug)]
struct Lenient {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // The name is verified last, after the chain.
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
