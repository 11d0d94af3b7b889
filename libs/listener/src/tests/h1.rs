use super::*;

#[tokio::test(start_paused = true)]
async fn requests_share_a_connection_and_have_the_address_of_their_peer() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(answer(&mut client, 14).await.ends_with("192.0.2.7:4711"));
    }
    // The limit is 75 s.
    pass(74).await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut client, 14).await;
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_end_in_time_close_the_connection() {
    let running = running(limits(10));
    assert_eq!(rest(&mut running.connect().await).await, "", "not one byte came");
    assert_eq!(exchange(running.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n").await, "");
    // One byte a second does not extend the time.
    let mut client = running.connect().await;
    let mut sent = 0;
    while client.write_all(b"G").await.is_ok() {
        pass(1).await;
        sent += 1;
        assert!(sent < 60, "the slow client is still there");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_later_request_have_the_same_timeout() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut client, 14).await;
    let begin = tokio::time::Instant::now();
    assert_eq!(exchange(client, "GET / HTT").await, "");
    assert!(begin.elapsed() < Duration::from_secs(20), "the header timeout applies, not the idle timeout");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_answered_408_and_the_connection_closes() {
    let running = running(limits(10));
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc";
    let got = exchange(running.connect().await, head).await;
    assert!(
        got.starts_with("HTTP/1.1 408 ") && got.contains("connection: close") && got.ends_with("refused"),
        "{got}"
    );
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    assert!(exchange(running.connect().await, chunked).await.starts_with("HTTP/1.1 408 "));

    // Each byte comes in time, but the whole body does not.
    let mut client = running.connect().await;
    client.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..14 {
        pass(1).await;
        client.write_all(b"d").await.unwrap();
    }
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test(start_paused = true)]
async fn a_body_in_time_is_read_and_a_slow_service_gets_no_408() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
    pass(14).await;
    client.write_all(b"def").await.unwrap();
    assert!(answer(&mut client, 6).await.ends_with("abcdef"));
    client.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let got = tokio::time::timeout(Duration::from_mins(5), client.read_u8()).await;
    assert!(got.is_err(), "the service still works on the request");
}

#[tokio::test(start_paused = true)]
async fn headers_over_16_kib_are_answered_431() {
    let running = running(limits(10));
    for size in [16 * 1024, 17 * 1024, 60 * 1024] {
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(size));
        let got = exchange(running.connect().await, &text).await;
        assert!(got.starts_with("HTTP/1.1 431 ") && got.contains("connection: close"), "{size}: {got}");
    }
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(16_000));
    let mut client = running.connect().await;
    client.write_all(text.as_bytes()).await.unwrap();
    assert!(answer(&mut client, 14).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut client, 14).await;
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_the_client_does_not_read_closes_the_connection() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    pass(20).await;
    let got = rest(&mut client).await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.len() < 1 << 20, "{}", got.len());
    assert_eq!(running.count("connection"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_answered_400() {
    let running = running(limits(10));
    for text in ["\0\0\0\0\0\0\0\0\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n"] {
        assert!(exchange(running.connect().await, text).await.starts_with("HTTP/1.1 400 "));
    }
    let smuggled = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    assert!(exchange(running.connect().await, smuggled).await.starts_with("HTTP/1.1 400 "));
}
