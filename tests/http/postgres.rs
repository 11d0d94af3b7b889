//! PostgreSQL behind a pooler, with a sequence behind its table, and without a table.

use fixtures::{Answer, Engine, Options, TestApp, TestDatabase, new_keyring};
use serde_json::{Value, json};
use testkit::postgres::{rows, rows_at_once};

use crate::api_calls::{V1, log_in};

fn registration(name: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "username": name, "password": "TestPass123!"})
}

async fn register(app: &TestApp, name: &str) -> Answer {
    app.post(&format!("{V1}/register"), None, registration(name)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_through_a_pooler_that_loses_prepared_statements() {
    let database = TestDatabase::pooled(4);
    let options = Options::of([("database.pool_max", "8")]);
    let app = TestApp::on(database.clone(), options).await;
    for n in 0..12 {
        let name = format!("user{n}");
        register(&app, &name).await.expect(201);
        let pair = log_in(&app, &name).await;
        app.get(&format!("{V1}/me"), Some(&pair.access)).await.expect(200);
        let body = json!({"refresh_token": pair.refresh});
        let next = app.post(&format!("{V1}/refresh"), None, body).await.expect(200);
        let body = json!({"refresh_token": next.string("refresh_token")});
        app.post(&format!("{V1}/logout"), None, body).await.expect(204);
        app.get("/health/readiness", None).await.expect(200);
    }

    // A plain client of the same pool sees none of the server's settings, on any connection.
    let asks = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), \
                current_setting('idle_in_transaction_session_timeout')";
    for seen in rows_at_once(&database.url, asks, 4).unwrap() {
        assert_eq!(seen, [["0", "0", "0"].map(|value| Some(value.to_owned()))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_was_set_back_is_moved_by_the_first_registration() {
    let keyring = new_keyring();
    let options = || Options { keyring: Some(keyring.clone()), ..Options::default() };
    let app = TestApp::with(Engine::Postgres, options()).await;
    for name in ["first", "another", "third", "fourth", "fifth", "sixth"] {
        register(&app, name).await.expect(201);
    }
    app.event_kinds();

    let url = app.database.url.clone();
    let behind = "SELECT setval(pg_get_serial_sequence('gatewright.users', 'id'), 1, false)";
    rows(&url, behind).unwrap();
    let names: Vec<_> = (0..4).map(|number| format!("second{number}")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| register(&app, name))).await;
    for answer in all {
        answer.expect(201);
    }
    let kinds = app.event_kinds();
    let moved = kinds.iter().filter(|kind| **kind == "database_outdated").count();
    assert_eq!(moved, 1, "the first one moves it for all: {kinds:?}");

    // The taken ones are still answered as such.
    rows(&url, behind).unwrap();
    register(&app, "first").await.expect_problem(409, "email_taken");
    // A restart moves the sequence.
    rows(&url, behind).unwrap();
    let app = TestApp::on(app.database.clone(), options()).await;
    register(&app, "last").await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_was_dropped_is_503_and_readiness_names_it() {
    let app = TestApp::start(Engine::Postgres).await;
    register(&app, "first").await.expect(201);
    rows(&app.database.url, "DROP SCHEMA gatewright CASCADE").unwrap();
    register(&app, "second").await.expect_problem(503, "unavailable");
    let answer = app.get("/health/readiness", None).await.expect(503);
    assert_eq!(answer.string("detail"), "the database lacks tables");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_of_the_operator_that_raises_is_503_and_not_500() {
    let app = TestApp::start(Engine::Postgres).await;
    register(&app, "first").await.expect(201);
    let pair = log_in(&app, "first").await;
    let url = app.database.url.clone();
    let function = "CREATE FUNCTION gatewright.refuse() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN RAISE EXCEPTION 'frozen'; END $$";
    rows(&url, function).unwrap();
    for table in ["sessions", "users"] {
        let trigger = "BEFORE INSERT OR UPDATE ON gatewright";
        let runs = "FOR EACH ROW EXECUTE FUNCTION gatewright.refuse()";
        rows(&url, &format!("CREATE TRIGGER refuse {trigger}.{table} {runs}")).unwrap();
    }

    let body = json!({"refresh_token": pair.refresh});
    app.post(&format!("{V1}/refresh"), None, body.clone()).await.expect_problem(503, "unavailable");
    let login = [("username", "first"), ("password", "TestPass123!")];
    app.form(&format!("{V1}/token"), &login).await.expect_problem(503, "unavailable");
    register(&app, "second").await.expect_problem(503, "unavailable");

    for table in ["sessions", "users"] {
        rows(&url, &format!("DROP TRIGGER refuse ON gatewright.{table}")).unwrap();
    }
    app.post(&format!("{V1}/refresh"), None, body).await.expect(200);
}
