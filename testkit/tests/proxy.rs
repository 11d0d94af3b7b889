//! The fault proxy breaks connections as documented.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::disallowed_methods, reason = "the little servers end with the test's runtime")]

use std::io::ErrorKind;
use std::time::Duration;

use testkit::{Direction, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// An echo server, and the proxy in front of it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().to_string());
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    proxy
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// A connection may be reset before the client has seen it established.
async fn is_reset(proxy: &Proxy) -> bool {
    match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => exchange(&mut stream, b"anyone?").await.is_err(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

async fn exchange(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<()> {
    stream.write_all(word).await?;
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, word);
    Ok(())
}

/// Whether no answer arrives within many times the usual round trip.
async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 1];
    tokio::time::timeout(Duration::from_millis(200), stream.read(&mut answer)).await.is_err()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    let word = vec![7; 300_000];
    let (mut from, mut to) = stream.split();
    let mut answer = vec![0; word.len()];
    let (sent, read) = tokio::join!(to.write_all(&word), from.read_exact(&mut answer));
    sent.unwrap();
    read.unwrap();
    assert_eq!(answer, word);
    assert_eq!(
        (proxy.bytes(Direction::Up), proxy.bytes(Direction::Down), proxy.accepted()),
        (300_000, 300_000, 1)
    );

    // The end of one direction is forwarded, and the other stays open until its own end.
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_cut_lets_so_many_bytes_through_and_then_resets() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    exchange(&mut stream, b"before").await.unwrap();
    proxy.cut_after(Direction::Down, 4);
    stream.write_all(b"answer").await.unwrap();
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!((answer.as_slice(), error.kind()), (b"answ".as_slice(), ErrorKind::ConnectionReset));

    proxy.cut_after(Direction::Up, 0);
    let mut stream = client(&proxy).await;
    assert!(exchange(&mut stream, b"nothing").await.is_err());
    assert_eq!(proxy.bytes(Direction::Up), 12);

    proxy.no_cut();
    exchange(&mut client(&proxy).await, b"whole").await.unwrap();
}

#[tokio::test]
async fn a_pause_holds_bytes_and_a_black_hole_loses_them() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.pause(true);
    stream.write_all(b"held").await.unwrap();
    assert!(is_silent(&mut stream).await);
    proxy.pause(false);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"held");

    proxy.black_hole(true);
    let mut during = client(&proxy).await;
    stream.write_all(b"lost").await.unwrap();
    assert!(is_silent(&mut stream).await && is_silent(&mut during).await);
    proxy.black_hole(false);
    stream.write_all(b"deaf").await.unwrap();
    assert!(is_silent(&mut stream).await);
    exchange(&mut during, b"later").await.unwrap();
}

#[tokio::test]
async fn connections_are_closed_and_refused_with_a_reset() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    exchange(&mut stream, b"open").await.unwrap();
    proxy.close_all();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    exchange(&mut client(&proxy).await, b"again").await.unwrap();

    proxy.refuse(true);
    assert!(is_reset(&proxy).await);
    proxy.refuse(false);
    exchange(&mut client(&proxy).await, b"yes").await.unwrap();
}

#[tokio::test]
async fn latency_and_bandwidth_take_their_time() {
    let proxy = echo().await;
    let mut stream = client(&proxy).await;
    proxy.latency(Direction::Up, Duration::from_millis(60));
    proxy.latency(Direction::Down, Duration::from_millis(40));
    let start = Instant::now();
    exchange(&mut stream, b"slow").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100));

    proxy.latency(Direction::Up, Duration::ZERO);
    proxy.latency(Direction::Down, Duration::ZERO);
    proxy.bandwidth(Some(10_000));
    let start = Instant::now();
    exchange(&mut stream, &[1; 2_000]).await.unwrap();
    // Up takes 200 ms; the last part of the answer leaves as soon as it has passed.
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_url_is_pointed_at_the_proxy() {
    let proxy = Proxy::start("127.0.0.1:1");
    let port = proxy.port();
    assert_eq!(
        proxy.url_for("postgres://u:p%40@db:5432/x?a=b"),
        format!("postgres://u:p%40@127.0.0.1:{port}/x?a=b")
    );
    assert_eq!(proxy.url_for("redis://db"), format!("redis://127.0.0.1:{port}"));
}

#[tokio::test]
async fn without_an_upstream_a_connection_is_reset() {
    let proxy = Proxy::start(format!("127.0.0.1:{}", testkit::free_port()));
    assert!(is_reset(&proxy).await);
}
