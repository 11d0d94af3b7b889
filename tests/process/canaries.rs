//! Secrets must not be written: a flow with unique words, and then a search in all output of the server and
//! the commands.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::http::Response;
use testkit::postgres::rows;
use testkit::process::{self, Finished, Server};

use crate::node::{Node, Setup, database, pair, until};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Words that may only be in responses and in the table of users.
const PASSWORD: &str = "cAnary-Passw0rd-91b7";
const NEXT_PASSWORD: &str = "cAnary-N3xt-Word-62d0";
const WRONG_PASSWORD: &str = "cAnary-Wr0ng-Word-5c1e";
const SHORT_PASSWORD: &str = "cAn4ry!";
const TYPED_AS_NAME: &str = "cAnary-Typed-Where-The-Name-Belongs-77";
const MAIL: &str = "canary-mail-4e9a";
const IMPORTED_MAIL: &str = "canary-import-8d2b";
const AGENT: &str = "canary-agent-0f6c";
const IMPORTED_HASH: &str = "$2b$04$abcdefghijklmnopqrstuuCanaryCanaryCanaryCanaryCanaryC";

/// The results of a flow.
struct Flow {
    /// The secrets that it produced: tokens, a client's secret.
    secrets: Vec<String>,
    /// The bodies of error responses.
    errors: Vec<String>,
}

impl Flow {
    async fn post(&mut self, node: &Node, name: &str, token: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json"), ("user-agent", AGENT)];
        if !token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let sent = node.client.try_request("POST", &node.v1(name), &headers, body.to_string()).await;
        self.seen(sent.unwrap())
    }

    async fn form(&mut self, node: &Node, name: &str, fields: &[(&str, &str)]) -> Response {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("user-agent", AGENT)];
        let form = testkit::http::form(fields);
        let sent = node.client.try_request("POST", &node.v1(name), &headers, form).await;
        self.seen(sent.unwrap())
    }

    fn seen(&mut self, answer: Response) -> Response {
        if answer.status >= 400 {
            self.errors.push(answer.text());
        } else if let Ok(json) = serde_json::from_slice::<Value>(answer.text().as_bytes()) {
            for name in ["access_token", "refresh_token"] {
                let token = json[name].as_str().unwrap_or_default();
                // The end of every token is random.
                self.secrets.extend(token.get(token.len().saturating_sub(24)..).map(str::to_owned));
            }
            self.secrets.retain(|secret| !secret.is_empty());
        }
        answer
    }
}

fn run(setup: &Setup, arguments: &[&str], input: &str) -> Finished {
    let mut builder = Server::builder(process::gatewright()).args(arguments).folder(setup.folder.path());
    for (name, value) in &setup.env {
        builder = builder.env(name, value);
    }
    let finished = builder.run(input);
    assert!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
    finished
}

/// Registers, logs in with right and wrong passwords, refreshes, replays, introspects, changes the
/// password, erases.
async fn whole_flow(node: &Node, client_secret: &str) -> Flow {
    let mut flow = Flow { secrets: vec![client_secret.to_owned()], errors: Vec::new() };
    let mail = format!("{MAIL}@example.org");
    let account =
        |email: &str, password: &str| json!({"email": email, "username": "somebody", "password": password});
    let status = |answer: &Response| answer.status;

    assert_eq!(status(&flow.post(node, "register", "", &account(&mail, PASSWORD)).await), 201);
    assert_eq!(status(&flow.post(node, "register", "", &account(&mail, NEXT_PASSWORD)).await), 409);
    assert_eq!(status(&flow.post(node, "register", "", &account(&mail, SHORT_PASSWORD)).await), 422);
    let bad = account(&format!("{MAIL}@@example"), PASSWORD);
    assert_eq!(status(&flow.post(node, "register", "", &bad).await), 422);

    let right = flow.form(node, "token", &[("username", &mail), ("password", PASSWORD)]).await;
    for (name, password) in [(mail.as_str(), WRONG_PASSWORD), (TYPED_AS_NAME, PASSWORD)] {
        assert_eq!(
            status(&flow.form(node, "token", &[("username", name), ("password", password)]).await),
            401
        );
    }

    let (_, first) = pair(&right);
    let (access, second) = pair(&flow.post(node, "refresh", "", &json!({"refresh_token": first})).await);
    pair(&flow.post(node, "refresh", "", &json!({"refresh_token": first})).await);
    assert_eq!(status(&flow.post(node, "refresh", "", &json!({"refresh_token": TYPED_AS_NAME})).await), 401);

    for secret in [client_secret, WRONG_PASSWORD] {
        let fields = [("token", second.as_str()), ("client_id", "api"), ("client_secret", secret)];
        let answer = flow.form(node, "introspect", &fields).await;
        assert_eq!(answer.status, if secret == client_secret { 200 } else { 401 });
    }

    let change = |current: &str| json!({"current_password": current, "new_password": NEXT_PASSWORD});
    assert_eq!(status(&flow.post(node, "password", &access, &change(WRONG_PASSWORD)).await), 403);
    let (access, second) = pair(&flow.post(node, "password", &access, &change(PASSWORD)).await);
    assert_eq!(status(&flow.post(node, "nothing-here", &second, &json!({"password": PASSWORD})).await), 404);

    let malformed = format!("{{\"password\": \"{PASSWORD}\", ");
    let headers = [("content-type", "application/json")];
    let answer = node.client.try_request("POST", &node.v1("register"), &headers, malformed).await.unwrap();
    assert_eq!(status(&flow.seen(answer)), 400);

    let bearer = format!("Bearer {access}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let body = json!({"password": NEXT_PASSWORD}).to_string();
    let erased = node.client.try_request("DELETE", &node.v1("me"), &headers, body).await.unwrap();
    assert_eq!(erased.status, 204);
    flow
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

async fn no_output_contains_a_secret(setup: &mut Setup, trail: impl Fn() -> String) {
    let operations = format!("127.0.0.1:{}", testkit::free_port());
    for (name, value) in [
        ("TELEMETRY__LOG_LEVEL", "trace"),
        ("TELEMETRY__LOG_FORMAT", "json"),
        ("SERVER__OPS_LISTEN", operations.as_str()),
    ] {
        setup.set(name, value);
    }

    let mut node = setup.start();
    // The HTTP/2 library logs the most.
    node.client = testkit::http::Client::http2();
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();

    let added = run(setup, &["client", "add", "api", "--name", "An API", "--json"], "");
    let secret =
        serde_json::from_str::<Value>(&added.stdout).unwrap()["client_secret"].as_str().unwrap().to_owned();

    let row = json!({"email": format!("{IMPORTED_MAIL}@example.org"), "password_hash": IMPORTED_HASH});
    std::fs::write(setup.folder.path().join("in.jsonl"), format!("{row}\n")).unwrap();
    let imported = run(setup, &["user", "import", "in.jsonl"], "");
    assert!(imported.stdout.contains("1 imported"), "{}{}", imported.stdout, imported.stderr);

    let flow = whole_flow(&node, &secret).await;
    for (what, finished) in [("client add", &added), ("user import", &imported)] {
        written.push((format!("log of {what}"), finished.stderr.clone().into_bytes()));
    }

    let config = run(setup, &["config", "print"], "");
    written.push(("config print".to_owned(), [config.stdout, config.stderr].concat().into_bytes()));
    until(PATIENCE, "the erasure is in the database", async || trail().contains("user_erased")).await;

    let page = node.client.get(&format!("http://{operations}/metrics")).await.text();
    assert!(page.contains("auth_operations_total"));
    written.push(("metrics".to_owned(), page.into_bytes()));
    written.push(("trail of the database".to_owned(), trail().into_bytes()));
    for (at, error) in flow.errors.iter().enumerate() {
        written.push((format!("error {at}"), error.clone().into_bytes()));
    }

    node.server.signal(process::Signal::TERM);
    assert!(node.server.wait().success());
    let log = format!("{}{}", node.server.stdout(), node.server.stderr());
    assert!(
        log.contains("\"level\":\"TRACE\"") && log.contains("\"level\":\"DEBUG\""),
        "the log contains all levels"
    );
    written.push(("log".to_owned(), log.into_bytes()));

    let everywhere = [PASSWORD, NEXT_PASSWORD, WRONG_PASSWORD, SHORT_PASSWORD, TYPED_AS_NAME];
    let secrets: Vec<&str> = everywhere.into_iter().chain(flow.secrets.iter().map(String::as_str)).collect();
    assert!(secrets.len() > 10, "{secrets:?}");
    let persons = [MAIL, IMPORTED_MAIL, AGENT, IMPORTED_HASH];

    for (place, bytes) in &written {
        for word in secrets.iter().chain(&persons) {
            assert!(!holds(bytes, word), "{word} is in {place}: {}", String::from_utf8_lossy(bytes));
        }
    }

    for file in files(&setup.folder.path().join("gatewright-data")) {
        let bytes = std::fs::read(&file).unwrap();
        // The database contains addresses and hashes, but no secrets; other files contain neither.
        let is_database = file.file_name().unwrap().to_str().unwrap().starts_with("gatewright.db");
        let words: Vec<&str> =
            if is_database { secrets.clone() } else { secrets.iter().chain(&persons).copied().collect() };
        for word in words {
            assert!(!holds(&bytes, word), "{word} is in {}", file.display());
        }
    }

    assert!(
        holds(&std::fs::read(setup.folder.path().join("in.jsonl")).unwrap(), IMPORTED_MAIL),
        "the search finds existing words"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_written_on_sqlite() {
    let mut setup = Setup::sqlite();
    let folder = setup.folder.path().join("gatewright-data");
    let trail = move || {
        let script = "import glob, sqlite3, sys\n\
                      for path in glob.glob(sys.argv[1] + '/*.db'):\n \
                      tables = sqlite3.connect(path)\n \
                      for row in tables.execute(\"SELECT name FROM sqlite_master \
                      WHERE name = 'audit_events'\"):\n  \
                      for event in tables.execute('SELECT * FROM audit_events'): print(event)";
        Server::builder("python3").arg("-c").arg(script).arg(&folder).run("").stdout
    };
    no_output_contains_a_secret(&mut setup, trail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_written_on_postgres() {
    let database = database();
    let mut setup = Setup::postgres(database.url());
    let trail = || {
        let sql = "SELECT e::text, convert_from(payload, 'UTF8') FROM gatewright.audit_events e \
                   WHERE record_kind = 1";
        format!("{:?}", rows(database.url(), sql).unwrap())
    };
    no_output_contains_a_secret(&mut setup, trail).await;
}
