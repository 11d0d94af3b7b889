//! Real reverse proxies in front of the server.

use std::net::IpAddr;

use serde_json::Value;
use testkit::raw::RawConnection;
use testkit::reverse_proxy::{Kind, ReverseProxy};

use crate::node::{Node, PASSWORD, Setup, pair};

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

async fn names_the_clients_own_address(kind: Kind) {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.1/32");
    let node = setup.start();
    node.member("ann").await;
    let proxy = ReverseProxy::start(kind, node.address);

    for forged in [
        "",
        "Forwarded: for=6.6.6.6\r\n",
        "X-Forwarded-For: 6.6.6.6\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n",
        "X-Real-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n",
    ] {
        let headers = format!("{forged}X-Request-Id: chosen-by-the-client\r\n");
        let answer = log_in_through(&proxy, &headers).await;
        assert_ne!(answer.headers["x-request-id"], "chosen-by-the-client", "{forged}");
        let (access, _) = pair(&answer);
        assert_eq!(address_of_the_session(&node, &access).await, "127.0.0.9", "{forged}");
    }
}

#[tokio::test]
async fn behind_nginx_a_client_cannot_choose_its_address_or_request_id() {
    names_the_clients_own_address(Kind::Nginx).await;
}

#[tokio::test]
async fn behind_haproxy_a_client_cannot_choose_its_address_or_request_id() {
    names_the_clients_own_address(Kind::HaProxy).await;
}
