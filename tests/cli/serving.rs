use std::os::unix::fs::PermissionsExt as _;

use testkit::process::{Server, Signal};
use testkit::{Client, Response};

use super::{PHRASE, Place};

const ANY_PORT: [&str; 5] =
    ["serve", "--set", "server.listen=127.0.0.1:0", "--set", "server.ops_listen=127.0.0.1:0"];

fn serve(place: &Place, more: &[&str]) -> (Server, String) {
    let args = [&ANY_PORT, more].concat();
    let mut server = place.builder(&args).ready_on_line("data ").start();
    let line = server.wait_for_line("URL");
    (server, line.split_whitespace().last().unwrap().to_owned())
}

async fn log_in(client: &Client, url: &str) -> Response {
    let fields = [("username", "a@example.org"), ("password", PHRASE.trim())];
    client.post_form(&format!("{url}/api/v1/auth/token"), &fields).await
}

#[tokio::test]
async fn without_configuration_the_server_runs_and_prints_the_next_steps() {
    let place = Place::new();
    let (mut server, url) = serve(&place, &[]);
    let hint = server.wait_for_line("--role admin");
    assert!(hint.contains("gatewright user add"), "{hint}");
    let docs = server.wait_for_line("docs");
    let client = Client::new();
    assert_eq!(client.get(docs.split_whitespace().last().unwrap()).await.status, 200);
    let mode = |name: &str| place.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("gatewright-data"), mode("gatewright-data/master.key")), (0o700, 0o600));

    // As the hint says, while the server runs.
    place.good(&["user", "add", "a@example.org", "--role", "admin", "--password-file", "-"], PHRASE);
    let tokens = log_in(&client, &url).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let token = tokens.json()["access_token"].as_str().unwrap().to_owned();
    let me = client.get_with_token(&format!("{url}/api/v1/auth/me"), &token).await;
    assert_eq!(me.json()["role"], "admin");

    // The server observes a command's change: the token's session has ended there too.
    place.good(&["user", "deactivate", "a@example.org"], "");
    while client.get_with_token(&format!("{url}/api/v1/auth/me"), &token).await.status != 401 {}
    assert_eq!(log_in(&client, &url).await.status, 401);
    assert!(server.terminate().success(), "{}", server.stderr());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

#[tokio::test]
async fn a_rotated_key_signs_in_the_running_server() {
    let place = Place::new();
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    let (mut server, url) = serve(&place, &[]);
    let client = Client::new();
    let kid = place.json(&["keys", "rotate", "--now"], "")["key_id"].clone();
    let jwks = || async { client.get(&format!("{url}/.well-known/jwks.json")).await.json() };
    while !jwks().await["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid) {}
    assert_eq!(log_in(&client, &url).await.status, 200);
    assert!(!server.stdout().contains("--role admin"), "an account exists: {}", server.stdout());
    assert!(server.terminate().success());
}

#[test]
fn sighup_applies_the_log_level_and_names_what_needs_a_restart() {
    let place = Place::new();
    let file = place.path().join("gatewright.toml");
    std::fs::write(&file, "").unwrap();
    let (mut server, _) = serve(&place, &[]);
    std::fs::write(&file, "[telemetry]\nlog_level = \"debug\"\n[tokens]\naccess_ttl = \"10m\"\n").unwrap();
    server.signal(Signal::HUP);
    let line = server.wait_for_line("the configuration was read again");
    assert!(line.contains("telemetry.log_level") && line.contains("tokens.access_ttl"), "{line}");
    std::fs::write(&file, "[telemetry]\nlog_level = \"loud\"\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_line("the configuration stays as it is");
    assert!(server.terminate().success());
}

#[test]
fn a_second_server_on_the_same_port_reports_the_taken_port() {
    let place = Place::new();
    let (mut server, url) = serve(&place, &[]);
    let address = url.trim_start_matches("http://");
    let other = Place::new();
    let listen = format!("server.listen={address}");
    let said = other.bad(1, &["serve", "--set", &listen, "--set", "server.ops_listen="], "");
    assert!(said.contains(address) && said.contains("taken by another process"), "{said}");
    assert!(!other.path().join("gatewright-data").exists(), "nothing was created");
    assert!(server.terminate().success());
}
