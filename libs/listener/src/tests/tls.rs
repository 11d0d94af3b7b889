use std::path::Path;

use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Writes a new certificate for `localhost`.
fn issue(cert: &Path, key: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(cert, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn connect(
    to: SocketAddr,
    root: &CertificateDer<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

#[tokio::test]
async fn a_changed_certificate_replaces_the_old_one_unless_it_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
    let first = issue(&cert, &key);
    let tls = Tls::load(&cert, &key, read_key).unwrap();
    let spawner = Tasks::default().spawner();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let config = ListenerConfig {
        service: tower::service_fn(app),
        prepare,
        error_response,
        limits: limits(10),
        proxies: Proxies::default(),
        closed: Closed::default(),
        proxy_protocol: false,
        tls: Some(tls.clone()),
        spawner: spawner.clone(),
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
    };
    spawner.spawn("listener", async move {
        serve(listener, config).await.unwrap();
    });

    let io = TokioIo::new(connect(at, &first).await.unwrap());
    let (mut sender, connection) = http2::handshake(spawner.clone(), io).await.unwrap();
    spawner.spawn("client", async move {
        let _ = connection.await;
    });
    let request = Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);

    assert!(!tls.reload().unwrap(), "the files have not changed");
    let second = issue(&cert, &key);
    assert!(tls.reload().unwrap());
    assert!(connect(at, &first).await.is_err(), "the first certificate is no longer served");
    connect(at, &second).await.unwrap();

    std::fs::write(&key, "no key").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pem(..))));
    let other = folder.path().join("other");
    issue(&other, &key);
    assert!(matches!(tls.reload(), Err(TlsError::Pair(_))));
    connect(at, &second).await.unwrap();
    assert!(matches!(Tls::load(&folder.path().join("nothing"), &key, read_key), Err(TlsError::Read(..))));
}
