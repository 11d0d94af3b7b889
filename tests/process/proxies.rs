//! Real reverse proxies in front of the server.

use std::net::IpAddr;

use serde_json::Value;
use testkit::raw::RawConnection;
use testkit::reverse_proxy::{Kind, PROXY_PROTOCOL_SOURCE, ReverseProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::node::{Node, PASSWORD, Setup, long_form, pair};

const CLIENT: [u8; 4] = [127, 0, 0, 9];

/// A login through the proxy, from the client's address and with these headers.
async fn log_in_through(proxy: &ReverseProxy, headers: &str) -> testkit::Response {
    let form = testkit::http::form(&[("username", "ann"), ("password", PASSWORD)]);
    let mut connection = RawConnection::open_from(IpAddr::from(CLIENT), proxy.address).await;
    let request = format!(
        "POST /api/v1/auth/token HTTP/1.1\r\nHost: auth.example.org\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{headers}\r\n{form}",
        form.len()
    );
    connection.send(request).await.unwrap();
    connection.response().await.unwrap()
}

/// The address of the session that this access token belongs to.
async fn address_of_the_session(node: &Node, access: &str) -> String {
    let sessions: Value = node.client.get_with_token(&node.v1("sessions"), access).await.json();
    let current = sessions.as_array().unwrap().iter().find(|session| session["current"] == true);
    current.unwrap()["address"].as_str().unwrap().to_owned()
}

/// Logs in through the proxy with forged headers. The sessions have the client's own address.
async fn names_the_clients_own_address(node: &Node, proxy: &ReverseProxy) {
    for forged in [
        "",
        "Forwarded: for=6.6.6.6\r\n",
        "X-Forwarded-For: 6.6.6.6\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n",
        "X-Real-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n",
    ] {
        let headers = format!("{forged}X-Request-Id: chosen-by-the-client\r\n");
        let answer = log_in_through(proxy, &headers).await;
        assert_ne!(answer.headers["x-request-id"], "chosen-by-the-client", "{forged}");
        let (access, _) = pair(&answer);
        assert_eq!(address_of_the_session(node, &access).await, "127.0.0.9", "{forged}");
    }
}

async fn behind(kind: Kind, settings: &[(&str, &str)]) {
    let mut setup = Setup::sqlite();
    for (name, value) in settings {
        setup.set(name, value);
    }
    let node = setup.start();
    node.member("ann").await;
    let proxy = ReverseProxy::start(kind, &[&node.address.to_string()]);
    names_the_clients_own_address(&node, &proxy).await;
}

#[tokio::test]
async fn behind_nginx_a_client_cannot_choose_its_address_or_request_id() {
    behind(Kind::Nginx, &[("SERVER__TRUSTED_PROXIES", "127.0.0.1/32")]).await;
}

#[tokio::test]
async fn behind_haproxy_a_client_cannot_choose_its_address_or_request_id() {
    behind(Kind::HaProxy, &[("SERVER__TRUSTED_PROXIES", "127.0.0.1/32")]).await;
}

#[tokio::test]
async fn haproxy_names_the_client_by_the_proxy_protocol() {
    let source = PROXY_PROTOCOL_SOURCE.to_string();
    let settings = [("SERVER__TRUSTED_PROXIES", source.as_str()), ("SERVER__PROXY_PROTOCOL", "v2")];
    behind(Kind::HaProxyProtocol, &settings).await;
}

#[tokio::test]
async fn only_a_proxy_names_addresses_by_the_proxy_protocol_and_it_must() {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__TRUSTED_PROXIES", &PROXY_PROTOCOL_SOURCE.to_string());
    setup.set("SERVER__PROXY_PROTOCOL", "v2");
    let node = setup.start();
    let request = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".as_slice();
    let v1 = [b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n", request].concat();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x12\x67\0\x50";
    let v2 = [v2.as_slice(), request].concat();

    let answer = async |from: IpAddr, bytes: &[u8]| {
        let mut connection = RawConnection::open_from(from, node.address).await;
        connection.send(bytes).await.unwrap();
        String::from_utf8_lossy(&connection.rest().await.unwrap_or_default()).into_owned()
    };
    let proxy = IpAddr::from(PROXY_PROTOCOL_SOURCE);
    assert_eq!(answer(proxy, request).await, "");
    assert_eq!(answer(proxy, &v1).await, "");
    assert!(answer(proxy, &v2).await.starts_with("HTTP/1.1 200 "));
    assert!(answer(IpAddr::from(CLIENT), request).await.starts_with("HTTP/1.1 200 "));
    assert!(answer(IpAddr::from(CLIENT), &v2).await.starts_with("HTTP/1.1 400 "));
    assert!(answer(IpAddr::from(CLIENT), &v1).await.starts_with("HTTP/1.1 400 "));
    let log = node.server.stderr();
    assert!(log.contains("does not begin with a header of the PROXY protocol, version 2"), "{log}");
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket_names_the_client_and_the_socket_is_removed_at_the_end() {
    let mut setup = Setup::sqlite();
    let port = testkit::free_port();
    let socket = |name: &str| setup.folder.path().join(name).to_str().unwrap().to_owned();
    let (public, operations) = (socket("http.sock"), socket("operations.sock"));
    setup.set("SERVER__LISTEN", &format!("127.0.0.1:{port},unix:{public}"));
    setup.set("SERVER__OPS_LISTEN", &format!("unix:{operations}"));
    let mut node = setup.start_on(port);
    node.member("ann").await;
    for kind in [Kind::Nginx, Kind::HaProxy] {
        names_the_clients_own_address(&node, &ReverseProxy::start(kind, &[&public])).await;
    }

    let mut probe = tokio::net::UnixStream::connect(&operations).await.unwrap();
    probe.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    probe.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("http_server_connections_closed_total{reason=\"idle\"} 0"), "{page}");
    let greeting = node.server.wait_for_line("listening");
    assert!(greeting.contains(&format!("127.0.0.1:{port}, unix:{public}")), "{greeting}");

    // What a killed process leaves is replaced.
    node.server.kill();
    let mut node = setup.start_on(port);
    assert!(node.server.terminate().success());
    assert!(!std::path::Path::new(&public).exists() && !std::path::Path::new(&operations).exists());
}

#[tokio::test]
async fn a_client_with_many_idle_sockets_keeps_no_other_out() {
    let mut setup = Setup::sqlite();
    let sockets = long_form("IDLE_SOCKETS", 300);
    setup.set("SERVER__MAX_CONNECTIONS", &(sockets / 5).to_string());
    let node = setup.start();
    let mut idle = Vec::new();
    for _ in 0..sockets {
        idle.push(RawConnection::open_from(IpAddr::from(CLIENT), node.address).await);
    }
    // Its last ones are served as well.
    idle.last_mut().unwrap().send("GET /health/liveness HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(idle.last_mut().unwrap().response().await.unwrap().status, 200);
    node.member("ann").await;
    assert_eq!(node.readiness().await, 200);
}

#[tokio::test]
async fn a_client_that_sends_parts_of_requests_keeps_no_other_out() {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__MAX_CONNECTIONS", "64");
    let node = setup.start();
    let mut sockets = Vec::new();
    for round in 0..3 {
        for _ in 0..200 {
            let mut socket = RawConnection::open_from(IpAddr::from(CLIENT), node.address).await;
            // It may have been closed already.
            let _ = socket.send("GET / HT").await;
            sockets.push(socket);
        }
        node.member(&format!("user{round}")).await;
        assert_eq!(node.readiness().await, 200);
    }
}

#[tokio::test]
async fn a_client_with_its_share_of_busy_connections_is_refused_and_others_are_not() {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__MAX_CONNECTIONS", "64");
    let node = setup.start();
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut connection = RawConnection::open_from(IpAddr::from(CLIENT), node.address).await;
        // The server waits for the body.
        let head = "POST /api/v1/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                    Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        connection.send(head).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, 100);
        busy.push(connection);
    }

    let mut ninth = RawConnection::open_from(IpAddr::from(CLIENT), node.address).await;
    assert!(ninth.rest().await.unwrap_or_default().is_empty());
    assert_eq!(node.readiness().await, 200);
    for mut connection in busy {
        connection.send("{}").await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, 422);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_listed_stays_up() {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__MAX_CONNECTIONS", "64");
    let node = setup.start();
    node.member("ann").await;
    let proxy = ReverseProxy::start(Kind::Nginx, &[&node.address.to_string()]);
    for _ in 0..40 {
        let mut connection = RawConnection::open_from(IpAddr::from(CLIENT), proxy.address).await;
        connection.send("GET /health/readiness HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, 200);
    }
}
