use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_listener_at_its_limit_accepts_after_a_connection_has_ended() {
    let running = running(limits(1));
    let mut first = running.connect().await;
    first.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    turns().await;
    let mut second = running.connect_as(peer("198.51.100.7")).await;
    second.write_all(REQUEST).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), second.read_u8()).await;
    assert!(early.is_err(), "the limit is one connection");
    drop(first);
    answer(&mut second, 17).await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_descriptors_waits_and_accepts_again() {
    let running = running(limits(10));
    let begin = tokio::time::Instant::now();
    for _ in 0..8 {
        running.feed.send(Err(io::Error::from_raw_os_error(24))).await.unwrap();
    }
    let mut client = running.connect().await;
    client.write_all(REQUEST).await.unwrap();
    answer(&mut client, 14).await;
    assert!(begin.elapsed() > Duration::from_secs(2), "eight failures, eight pauses");

    // A failure of a single connection causes no pause.
    let begin = tokio::time::Instant::now();
    running.feed.send(Err(io::ErrorKind::ConnectionAborted.into())).await.unwrap();
    let mut client = running.connect().await;
    client.write_all(REQUEST).await.unwrap();
    answer(&mut client, 14).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_cannot_accept_again_returns_the_error() {
    let running = running(limits(10));
    running.feed.send(Err(io::ErrorKind::InvalidInput.into())).await.unwrap();
    assert!(running.ended.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_idle_connections_and_lets_requests_finish() {
    // The client may have two.
    let running = running(limits(16));
    let (mut idle, mut busy) = (running.connect().await, running.connect().await);
    idle.write_all(REQUEST).await.unwrap();
    answer(&mut idle, 14).await;
    busy.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na").await.unwrap();
    pass(1).await;
    running.draining.cancel();
    running.stopping.cancel();
    let clients = async {
        assert_eq!(rest(&mut idle).await, "");
        pass(3).await;
        let got = exchange(busy, "bc").await;
        assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("connection: close"), "{got}");
        assert!(got.ends_with("abc"));
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), running.ended), clients);
    assert!(ended.unwrap().unwrap().is_ok());
    assert_eq!(running.tasks.count("connection"), 0);
}

#[tokio::test(start_paused = true)]
async fn draining_closes_connections_after_their_response() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(REQUEST).await.unwrap();
    assert!(!answer(&mut client, 14).await.contains("connection: close"));
    running.draining.cancel();
    assert!(exchange(client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("connection: close"));
    // New connections are still accepted.
    assert!(
        exchange(running.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .ends_with("192.0.2.7:4711")
    );
}
