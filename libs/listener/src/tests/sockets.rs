use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;

/// Starts a listener on these sockets. Its end is told by the channel.
fn start(sockets: Sockets) -> (CancellationToken, tokio::sync::oneshot::Receiver<io::Result<()>>) {
    let (stopping, (end, ended)) = (CancellationToken::new(), tokio::sync::oneshot::channel());
    let spawner = Tasks::default().spawner();
    let config = ListenerConfig {
        service: tower::service_fn(app),
        prepare,
        error_response,
        limits: limits(16),
        proxies: Proxies::default(),
        closed: Closed::default(),
        proxy_protocol: false,
        tls: None,
        spawner: spawner.clone(),
        draining: CancellationToken::new(),
        stopping: stopping.clone(),
    };
    spawner.spawn("listener", async move {
        let _ = end.send(serve(sockets, config).await);
    });
    (stopping, ended)
}

async fn ask(mut stream: impl Stream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn one_listener_serves_tcp_and_unix_sockets_and_removes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("listener.sock");
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let unix = UnixFile::bind(&path, 0o660, 16).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let (stopping, ended) =
        start(Sockets::new(vec![Socket::Tcp(first), Socket::Unix(unix), Socket::Tcp(second)]));

    for at in at {
        assert!(ask(TcpStream::connect(at).await.unwrap()).await.contains("127.0.0."));
    }
    assert!(ask(UnixStream::connect(&path).await.unwrap()).await.ends_with("a Unix socket"));

    stopping.cancel();
    ended.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_is_replaced_only_when_nothing_listens_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("listener.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file of a process that was killed");

    let first = UnixFile::bind(&path, 0o660, 16).unwrap();
    assert_eq!(UnixFile::bind(&path, 0o660, 16).unwrap_err().kind(), ErrorKind::AddrInUse);
    // A file that another process has put there meanwhile stays.
    std::fs::remove_file(&path).unwrap();
    let second = UnixFile::bind(&path, 0o660, 16).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());

    std::fs::write(&path, "data").unwrap();
    assert_eq!(UnixFile::bind(&path, 0o660, 16).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}
