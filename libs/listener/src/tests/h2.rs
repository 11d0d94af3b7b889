use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::*;

type Client = SendRequest<Empty<Bytes>>;

async fn client(running: &Running, window: u32) -> Client {
    let io = TokioIo::new(running.connect().await);
    let spawner = running.tasks.spawner();
    let builder = http2::Builder::new(spawner.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .handshake(io);
    let (sender, connection) = builder.await.unwrap();
    spawner.spawn("client", async move {
        let _ = connection.await;
    });
    sender
}

async fn get(client: &mut Client, path: &str) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
    let uri = format!("http://a{path}");
    client.send_request(Request::get(uri).body(Empty::new()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn http_2_is_served_by_prior_knowledge() {
    let running = running(limits(10));
    let mut client = client(&running, 65_535).await;
    let response = get(&mut client, "/").await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "192.0.2.7:4711");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_75_seconds() {
    let running = running(limits(10));
    let mut client = client(&running, 65_535).await;
    get(&mut client, "/").await.unwrap().into_body().collect().await.unwrap();
    pass(70).await;
    get(&mut client, "/").await.unwrap().into_body().collect().await.unwrap();
    pass(80).await;
    assert!(client.is_closed());
    assert_eq!(running.count("connection"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_window_ends_the_connection() {
    let running = running(limits(10));
    let mut client = client(&running, 10).await;
    let response = get(&mut client, "/big").await.unwrap();
    pass(60).await;
    assert_eq!(running.count("connection"), 0);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn headers_over_the_limit_are_answered_431() {
    let running = running(limits(10));
    let mut client = client(&running, 65_535).await;
    let mut request = Request::get("http://a/").body(Empty::new()).unwrap();
    request.headers_mut().insert("x", "y".repeat(17 * 1024).parse().unwrap());
    let got = client.send_request(request).await;
    assert!(got.map_or(true, |response| response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_ends_the_connection() {
    let running = running(limits(10));
    let mut client = running.connect().await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let ping = *b"\0\0\x08\x06\0\0\0\0\0pingpong";
    let (mut from, mut to) = tokio::io::split(client);
    let mut sink = tokio::io::sink();
    let drain = tokio::io::copy(&mut from, &mut sink);
    let flood = async {
        let mut sent = 0;
        while to.write_all(&ping).await.is_ok() {
            sent += 1;
            assert!(sent < 100_000, "the flood goes on");
        }
    };
    let (drained, ()) = tokio::join!(drain, flood);
    drained.unwrap();
    assert_eq!(running.count("connection"), 0);
}
