//! The whole application in one process: on both engines, with a fixed clock and one connection.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure to set a test up fails it"
)]

mod metrics;

use std::time::Duration;

use axum::body::Body;
use fixtures::{LISTENING, START, config};
use gatewright::StartError;
use gatewright::app::App;
use gatewright::app::bootstrap::RuntimeDeps;
use gatewright::app::lifecycle::{Cause, Deadlines, Lifecycle, Phase, Signal, Signals, Tasks};
use gatewright::app::listeners::{BoundListeners, bound};
use gatewright::app::master_key;
use gatewright::config::Config;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{Clock, Rng};
use serde_json::{Value, json};
use testkit::Postgres;
use tower::ServiceExt as _;

fn given() -> RuntimeDeps {
    fixtures::deps(START, 1)
}

fn lifecycle() -> (Lifecycle, Tasks) {
    let lifecycle = Lifecycle::new(Deadlines::after(Duration::ZERO));
    let tasks = lifecycle.tasks();
    (lifecycle, tasks)
}

async fn call(app: &App, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = app.public.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn answers(config: &Config) {
    let (_lifecycle, tasks) = lifecycle();
    let app = App::build(config, LISTENING, &tasks, given()).await.unwrap();
    assert!(app.is_empty && app.public_url == "http://127.0.0.1:8080");
    let ready = call(&app, Method::GET, "/health/readiness", None).await;
    assert_eq!(ready.0, StatusCode::SERVICE_UNAVAILABLE, "the application is built but not running yet");
    tasks.health().enter(Phase::Running);
    let ready = call(&app, Method::GET, "/health/readiness", None).await;
    assert_eq!(ready, (StatusCode::OK, json!({ "status": "ready" })));
    let account = json!({ "email": "a@example.org", "username": "anna", "password": "a fine long phrase" });
    let made = call(&app, Method::POST, "/api/v1/auth/register", Some(account)).await;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    app.jobs.settle(&app.runner, "cleanup").await.unwrap();
    app.jobs.settle(&app.runner, "rotate_signing_keys").await.unwrap();
    app.jobs.step(&app.runner, "poll_revocations").await.unwrap();
    drop(app);

    // A second start finds the same state.
    let (_lifecycle, tasks) = lifecycle();
    let app = App::build(config, LISTENING, &tasks, given()).await.unwrap();
    assert!(!app.is_empty);
}

#[tokio::test]
async fn the_app_answers_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    answers(&config(folder.path(), [])).await;
}

#[tokio::test]
async fn the_app_answers_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let server = Postgres::shared();
    let database = server.fresh_database();
    let key = folder.path().join("master.key");
    let settings = [
        ("database.url", database.url()),
        ("database.auto_migrate", "true"),
        ("master_key_file", key.to_str().unwrap()),
    ];
    let config = config(folder.path(), settings);
    let (_lifecycle, tasks) = lifecycle();
    let missing = App::build(&config, LISTENING, &tasks, given()).await.unwrap_err();
    assert!(missing.to_string().contains("gatewright keys init"), "{missing}");
    master_key::create(&key, &Rng::seeded(2)).unwrap();
    answers(&config).await;
}

#[tokio::test]
async fn every_address_of_ipv4_and_of_ipv6_may_be_listed_with_one_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = testkit::free_port();
    let listen = format!("[::]:{port},0.0.0.0:{port}");
    let ports = BoundListeners::bind(&config(folder.path(), [("server.listen", listen.as_str())])).unwrap();
    assert_eq!(bound(&ports.public).len(), 2);
    drop(ports);

    // Alone, the one of IPv6 accepts IPv4 as well.
    let listen = format!("[::]:{port}");
    let ports = BoundListeners::bind(&config(folder.path(), [("server.listen", listen.as_str())])).unwrap();
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    drop(ports);
}

#[tokio::test]
async fn the_app_serves_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), []);
    let (lifecycle, tasks) = lifecycle();
    let ports = BoundListeners::bind(&config).unwrap();
    let public = ports.address().unwrap();
    let operations = bound(ports.operations.as_ref().unwrap())[0].tcp().unwrap();
    let app =
        App::build(&config, public, &tasks, RuntimeDeps { clock: Clock::system(), ..given() }).await.unwrap();
    assert_eq!(app.public_url, format!("http://{public}"));

    let asked = async {
        let client = testkit::Client::new();
        for address in [public, operations] {
            let answer = client.get(&format!("http://{address}/health/readiness")).await;
            assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ready" })));
        }
        let names: Vec<_> = tasks.running().into_iter().map(|(name, _)| name).collect();
        for name in ["public listener", "operations listener", "poll_revocations", "cleanup"] {
            assert!(names.contains(&name), "{names:?}");
        }
    };

    let (sender, signals) = Signals::channel();
    let asked = async {
        asked.await;
        sender.send(Signal::Stop).await.unwrap();
    };

    let (ended, ()) = tokio::join!(app.run(ports, lifecycle, signals, || {}), asked);
    assert_eq!(ended.cause, Cause::Signal);
    assert!(ended.unfinished.is_empty() && ended.panics == 0, "{ended}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let first = BoundListeners::bind(&config(folder.path(), [])).unwrap();
    let address = first.address().unwrap().to_string();
    let taken =
        BoundListeners::bind(&config(folder.path(), [("server.listen", address.as_str())])).unwrap_err();
    let text = taken.to_string();
    assert!(text.contains("server.listen") && text.contains(&address) && text.contains("taken"), "{text}");
}

#[tokio::test]
async fn a_database_of_another_master_key_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), []);
    let (_lifecycle, tasks) = lifecycle();
    App::build(&config, LISTENING, &tasks, given()).await.unwrap();
    let right = master_key::read(&config.master_key_file).unwrap();
    let kept = folder.path().join("kept");
    std::fs::rename(&config.master_key_file, &kept).unwrap();

    let lost = App::build(&config, LISTENING, &tasks, given()).await.unwrap_err();
    assert!(matches!(&lost, StartError::MasterKeyLost { wanted, .. } if wanted == right.first_key_id()));
    assert!(!config.master_key_file.exists(), "no other key is made for a database that has one");

    let other = master_key::create(&config.master_key_file, &Rng::seeded(9)).unwrap();
    let wrong = App::build(&config, LISTENING, &tasks, given()).await.unwrap_err().to_string();
    assert!(wrong.contains(right.first_key_id()) && wrong.contains(other.first_key_id()), "{wrong}");
}

#[tokio::test]
async fn a_shared_secret_signs_without_any_key_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("hs256");
    testkit::write_secret(&secret, "too short\n");
    let settings = [("tokens.algorithm", "HS256"), ("tokens.hs256_secret_file", secret.to_str().unwrap())];
    let config = config(folder.path(), settings);
    let (_lifecycle, tasks) = lifecycle();
    let short = App::build(&config, LISTENING, &tasks, given()).await.unwrap_err();
    assert!(short.is_configuration() && short.to_string().contains("hs256_secret_file"), "{short}");
    testkit::write_secret(&secret, "0123456789abcdef0123456789abcdef\n");
    let app = App::build(&config, LISTENING, &tasks, given()).await.unwrap();
    assert!(app.services.keys().signing.is_some() && app.services.keys().jwks.keys.is_empty());
    app.jobs.settle(&app.runner, "rotate_signing_keys").await.unwrap();
    app.jobs.step(&app.runner, "poll_revocations").await.unwrap();
    assert!(app.services.keys().signing.is_some());
}
