//! Requests of a hostile client.

use serde_json::json;
use testkit::raw::RawConnection;

use crate::node::Setup;

#[tokio::test]
async fn a_body_of_a_gigabyte_is_not_read() {
    let node = Setup::sqlite().start();
    let mut socket = RawConnection::open(node.address).await;
    let head = "POST /api/v1/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 1073741824\r\n\r\n";
    socket.send(head.as_bytes()).await.unwrap();
    assert_eq!(socket.response().await.unwrap().status, 413);

    let mut socket = RawConnection::open(node.address).await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(40_000));
    socket.send(long.as_bytes()).await.unwrap();
    let refused = socket.response().await.unwrap();
    assert_eq!(refused.status, 431);
    assert!(String::from_utf8_lossy(&refused.body).contains("headers_too_large"));
    assert_eq!(node.readiness().await, 200);
}

#[tokio::test]
async fn a_body_that_is_no_http_is_malformed() {
    let node = Setup::sqlite().start();
    for body in ["zz\r\n", "-1\r\n", "5\r\n{\"a\"}X\r\n", "ffffffffffffffffff\r\n"] {
        let mut socket = RawConnection::open(node.address).await;
        let request = format!(
            "POST /api/v1/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        socket.send(request.as_bytes()).await.unwrap();
        let refused = socket.response().await.unwrap();
        assert_eq!(refused.status, 400, "{body}");
        assert!(String::from_utf8_lossy(&refused.body).contains("malformed_body"), "{body}");
    }
    assert_eq!(node.readiness().await, 200);
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let mut setup = Setup::sqlite();
    // The machine may be busy.
    setup.set("HEALTH__TIMEOUT", "5s");
    let node = setup.start();
    for head in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
    ] {
        let mut socket = RawConnection::open(node.address).await;
        socket.send(head.as_bytes()).await.unwrap();
        let answer = String::from_utf8_lossy(&socket.rest().await.unwrap_or_default()).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 404"),
            "{answer}"
        );
    }
    assert_eq!(node.readiness().await, 200);
}

#[tokio::test]
async fn h2_by_prior_knowledge_works() {
    let node = Setup::sqlite().start();
    let client = testkit::http::Client::http2();
    let body = json!({"email": "a@example.com", "username": "anna", "password": crate::node::PASSWORD});
    assert_eq!(client.post_json(&node.v1("register"), &body).await.status, 201);
    assert_eq!(client.get(&node.url("/health/readiness")).await.status, 200);
}
