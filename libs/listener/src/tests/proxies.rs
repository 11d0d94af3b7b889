use super::*;

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header that names 203.0.113.7, and then a request.
fn named() -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb];
    [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses, REQUEST.as_bytes()].concat()
}

/// Of a proxy that does not name the client, with this command and family.
fn unnamed(command: u8, family: u8) -> Vec<u8> {
    [SIGNATURE, &[command, family, 0, 0], REQUEST.as_bytes()].concat()
}

fn behind_a_proxy(limits: Limits) -> Running {
    running_behind(Proxies::new(|ip| ip.to_string() == "10.0.0.1", "list it"), true, limits)
}

async fn ask(running: &Running, peer: Peer, bytes: &[u8]) -> String {
    let mut client = running.connect_as(peer).await;
    client.write_all(bytes).await.unwrap();
    rest(&mut client).await
}

#[tokio::test(start_paused = true)]
async fn a_header_of_a_proxy_names_the_peer() {
    let running = behind_a_proxy(limits(10));
    assert!(ask(&running, peer("10.0.0.1"), &named()).await.ends_with("203.0.113.7:4711"));
    assert!(ask(&running, Peer::UnixSocket, &named()).await.ends_with("203.0.113.7:4711"));
    // A health check is a connection of the proxy itself; a client without an address is not the proxy.
    assert!(ask(&running, peer("10.0.0.1"), &unnamed(0x20, 0)).await.ends_with("\r\n10.0.0.1:4711"));
    assert!(ask(&running, peer("10.0.0.1"), &unnamed(0x21, 0)).await.ends_with("a client of 10.0.0.1:4711"));
    assert!(ask(&running, Peer::UnixSocket, &unnamed(0x20, 0)).await.ends_with("\r\na Unix socket"));
    assert!(ask(&running, Peer::UnixSocket, &unnamed(0x21, 0)).await.ends_with("a client of a Unix socket"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_a_proxy_without_a_valid_header_is_closed() {
    let running = behind_a_proxy(limits(10));
    let mut late = running.connect_as(peer("10.0.0.1")).await;
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        &unnamed(0x21, 0x11),
        &unnamed(0x2f, 0),
        &unnamed(0x21, 0x99),
    ] {
        assert_eq!(ask(&running, peer("10.0.0.1"), bytes).await, "");
    }
    // Nothing came within the time for headers.
    pass(11).await;
    assert!(is_closed(&mut late));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_proxy_names_no_address() {
    let running = behind_a_proxy(limits(10));
    assert!(ask(&running, peer("192.0.2.7"), REQUEST.as_bytes()).await.ends_with("192.0.2.7:4711"));
    for bytes in [named(), b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n\r\n".to_vec()] {
        let answer = ask(&running, peer("192.0.2.7"), &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("203.0.113.7"), "{answer}");
    }
    // Without the setting nothing is read of it.
    let running = running_behind(Proxies::new(|_| true, "list it"), false, limits(10));
    assert!(ask(&running, peer("10.0.0.1"), &named()).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test(start_paused = true)]
async fn the_named_peer_has_a_share() {
    let running = behind_a_proxy(limits(16));
    let header = named()[..28].to_vec();
    let mut clients = running.connect_from(&["10.0.0.1"; 4]).await;
    for client in &mut clients[..3] {
        client.write_all(&header).await.unwrap();
        turns().await;
    }
    let closed: Vec<_> = clients.iter_mut().map(is_closed).collect();
    assert_eq!(closed, [true, false, false, false], "the share is two");

    for client in &mut clients[1..3] {
        client.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    }
    turns().await;
    clients[3].write_all(&header).await.unwrap();
    turns().await;
    let closed: Vec<_> = clients[1..].iter_mut().map(is_closed).collect();
    assert_eq!(closed, [false, false, true], "both are busy");
    assert_eq!(running.closed.refused(), 1);
}
