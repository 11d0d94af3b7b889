//! The published curl commands of both dialects, with another host and port.

use serde_json::Value;
use testkit::process::Server;

use crate::node::{Setup, database};

/// Commands of the dialect `/api/v1/auth`.
const V1: [&str; 4] = [
    "curl http://localhost:8080/health/liveness",
    "curl http://localhost:8080/health/readiness",
    r#"curl -X POST http://localhost:8080/api/v1/auth/register \
  -H "Content-Type: application/json" \
  -d '{"email":"test@example.com","username":"testuser","password":"TestPass123!"}'"#,
    r#"curl -X POST http://localhost:8080/api/v1/auth/token \
  -d "username=testuser&password=TestPass123!""#,
];

/// A command of the dialect for clients of FastAPI services.
const FASTAPI: &str = r#"curl -X POST https://your-domain.com/api/auth/register \
  -H "Content-Type: application/json" \
  -d '{
    "email": "test@example.com",
    "password": "password123", 
    "country": "US",
    "annual_income": 50000,
    "timezone": "UTC"
  }'"#;

/// Runs a command; returns the status and the body.
fn curl(base: &str, line: &str) -> (u16, Value) {
    let line = line.replace("http://localhost:8080", base).replace("https://your-domain.com", base);
    let line = line.replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
    let finished = Server::builder("sh").arg("-c").arg(&line).run("");
    assert!(finished.status.success(), "{line}: {}", finished.stderr);
    let (body, status) = finished.stdout.rsplit_once('\n').unwrap();
    (status.trim().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn check(mut setup: Setup) {
    let node = setup.start();
    let base = node.url("");
    assert_eq!(curl(&base, V1[0]), (200, serde_json::json!({"status": "alive"})));
    assert_eq!(curl(&base, V1[1]), (200, serde_json::json!({"status": "ready"})));
    let (status, user) = curl(&base, V1[2]);
    assert_eq!((status, &user["id"], &user["email"]), (201, &1.into(), &"test@example.com".into()));
    assert_eq!((&user["username"], &user["is_active"]), (&"testuser".into(), &true.into()));
    let (status, tokens) = curl(&base, V1[3]);
    let names: Vec<_> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((status, names), (200, vec!["access_token", "expires_in", "refresh_token", "token_type"]));
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"bearer".into(), &1800.into()));
    assert_eq!(curl(&base, V1[2]).0, 409);

    // The password of the example is a common one.
    let (status, refused) = curl(&base, FASTAPI);
    assert_eq!((status, &refused["detail"][0]["loc"]), (422, &serde_json::json!(["body", "password"])));
    assert!(refused["detail"][0]["msg"].as_str().unwrap().contains("common"), "{refused}");
    let better = FASTAPI.replace("password123", "a better passphrase");
    let (status, taken) = curl(&base, &better);
    assert_eq!((status, &taken["detail"]), (400, &"Email already exists".into()));
    let (status, pair) = curl(&base, &better.replace("test@", "test2@"));
    assert_eq!(
        (status, &pair["user"]["country"], &pair["token_type"]),
        (201, &"US".into(), &"bearer".into())
    );
    drop(node);

    setup.set("PASSWORDS__BLOCKLIST", "off");
    let node = setup.start();
    let (status, pair) = curl(&node.url(""), &FASTAPI.replace("test@", "test3@"));
    assert_eq!((status, &pair["user"]["annual_income"]), (201, &50000.into()));
}

#[test]
fn the_published_curl_commands_work_on_sqlite() {
    check(Setup::sqlite());
}

#[test]
fn the_published_curl_commands_work_on_postgres() {
    let database = database();
    check(Setup::postgres(database.url()));
}

#[test]
fn an_applications_own_tables_stay_as_they_are() {
    let database = database();
    let sql = |text: &str| testkit::postgres::rows(database.url(), text).unwrap();
    sql("CREATE TABLE public.users (id serial PRIMARY KEY, email text, note text)");
    sql("CREATE TABLE public.refresh_tokens (id serial PRIMARY KEY, user_id int, revoked boolean)");
    sql("INSERT INTO public.users (email, note) VALUES ('theirs@example.com', 'keep')");
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    let (before, rows) = (sql(tables), sql("SELECT * FROM public.users"));
    check(Setup::postgres(database.url()));
    assert_eq!((sql(tables), sql("SELECT * FROM public.users")), (before, rows));
}
