//! The clients read what servers write, and the process handle reports the outcome of a process.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::disallowed_methods, reason = "the little servers end with the test's runtime")]

use testkit::raw::RawConnection;
use testkit::{Client, Server, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request on every connection with `answer`, verbatim, and counts the connections.
async fn canned(answer: &'static str) -> (String, tokio::sync::watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connections, seen) = tokio::sync::watch::channel(0);
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.send_modify(|count| *count += 1);
            tokio::task::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    stream.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn the_client_keeps_its_connection() {
    let (address, connections) =
        canned("HTTP/1.1 401 No\r\nX-A: b\r\nContent-Length: 9\r\n\r\n{\"a\": 10}").await;
    let client = Client::new();
    for _ in 0..3 {
        let answer = client.post_json(&format!("http://{address}/x"), &serde_json::json!({})).await;
        assert_eq!((answer.status, answer.header("x-a")), (401, Some("b")));
        assert_eq!(answer.json()["a"], 10);
    }
    assert_eq!(*connections.borrow(), 1);
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let error = client.try_request("GET", &nobody, &[], "").await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_raw_connection_reads_every_kind_of_body() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 400 Bad\r\n\r\nto the end";
    let (address, _) = canned(answer).await;
    let mut raw = RawConnection::open(address.parse().unwrap()).await;
    raw.send("BREW /pot\r\n\r\n").await.unwrap();
    raw.finish().await.unwrap();
    assert_eq!(raw.response().await.unwrap().status, 100);
    assert_eq!(raw.response().await.unwrap().text(), "abcde");
    assert_eq!(raw.response().await.unwrap().status, 204);
    assert_eq!(raw.response().await.unwrap().text(), "to the end");
    assert!(raw.response().await.is_err());
}

#[test]
fn a_process_is_heard_and_ended() {
    let script = "echo ready; echo to stderr >&2; trap 'exit 3' TERM; while :; do sleep 0.05; done";
    let mut server = Server::builder("sh").args(["-c", script]).ready_on_line("ready").start();
    assert_eq!(server.wait_for_line("stderr"), "to stderr");
    assert_eq!(server.terminate().code(), Some(3));
    assert_eq!(server.stdout(), "ready\n");

    let mut server = Server::builder("sh").args(["-c", script]).ready_on_line("ready").start();
    let process = format!("/proc/{}", server.pid());
    assert!(std::path::Path::new(&process).exists());
    server.kill();
    assert_eq!(server.terminate().code(), None);
    assert!(!std::path::Path::new(&process).exists());
}

#[test]
#[should_panic(expected = "no port to be had")]
fn a_process_that_ends_before_it_is_ready_is_reported_with_its_words() {
    let address = ([127, 0, 0, 1], free_port()).into();
    let script = "echo no port to be had >&2; exit 1";
    Server::builder("sh").args(["-c", script]).ready_when_healthy(address).start();
}

#[test]
fn a_command_gets_input_and_gives_output_and_status() {
    let finished =
        Server::builder("sh").args(["-c", "cat; echo $WORD >&2; exit 2"]).env("WORD", "x").run("secret\n");
    assert_eq!(finished.status.code(), Some(2));
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("secret\n", "x\n"));
}
