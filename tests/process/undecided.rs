//! After kill -9 at a random moment under load and a restart, the database and the audit trail agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use model::Rng;
use serde_json::{Value, json};
use testkit::Postgres;
use testkit::process::Server;

use crate::audit::events;
use crate::node::{Node, Setup, long_form, until};

/// Much longer than a transaction may outlive its process.
const PATIENCE: Duration = Duration::from_mins(1);
/// The number of concurrent clients.
const LANES: usize = 8;

/// Direct access to the server's database.
struct Tables<'a> {
    setup: &'a Setup,
    url: Option<&'a str>,
}

/// A row of a session.
struct Session {
    generation: i64,
    revoked: bool,
}

impl Tables<'_> {
    /// The SQL expression for the 32 digits of an id.
    fn id(&self, column: &str) -> String {
        if self.url.is_some() {
            format!("replace({column}::text, '-', '')")
        } else {
            format!("lower(hex({column}))")
        }
    }

    /// Rows of the database, or of the separate file of the audit trail.
    fn rows(&self, of_trail: bool, sql: &str) -> Vec<Vec<String>> {
        if let Some(url) = self.url {
            let rows = testkit::postgres::rows(url, &sql.replace("gw.", "gatewright.")).unwrap();
            let text = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap).collect();
            return rows.into_iter().map(text).collect();
        }
        let main = self.setup.folder.path().join("gatewright-data/gatewright.db");
        let path = if of_trail { store::audit_db::trail_path(&main) } else { main };
        let sql = sql.replace("gw.", "");
        let program = format!(
            "import json, sqlite3; print(json.dumps([[str(value) for value in row] \
             for row in sqlite3.connect({:?}).execute({sql:?})]))",
            path.display().to_string()
        );
        let finished = Server::builder("python3").arg("-c").arg(program).run("");
        assert!(finished.status.success(), "{}", finished.stderr);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    fn users(&self) -> BTreeSet<String> {
        let rows = self.rows(false, &format!("SELECT {} FROM gw.users", self.id("uuid")));
        rows.into_iter().map(|row| row[0].clone()).collect()
    }

    fn sessions(&self) -> BTreeMap<String, Session> {
        let sql = format!(
            "SELECT {}, generation, CASE WHEN revoked THEN 1 ELSE 0 END FROM gw.sessions",
            self.id("id")
        );
        let read = |row: Vec<String>| {
            let session = Session { generation: row[1].parse().unwrap(), revoked: row[2] == "1" };
            (row[0].clone(), session)
        };
        self.rows(false, &sql).into_iter().map(read).collect()
    }

    /// The number of shipped records, and the number of distinct ones.
    fn shipped(&self) -> (usize, usize) {
        let sql = "SELECT sequence FROM gw.audit_events WHERE kind <> 'audit_checkpoint' AND journal = \
                   (SELECT journal FROM gw.audit_events WHERE kind = 'login_succeeded' LIMIT 1)";
        let sequences: Vec<_> = self.rows(true, sql).into_iter().map(|row| row[0].clone()).collect();
        let different: BTreeSet<_> = sequences.iter().collect();
        (sequences.len(), different.len())
    }
}

/// The changes that the audit trail records: kind, subject, and generation.
type Claims = BTreeMap<(String, String, i64), usize>;

fn claims(events: &[Value]) -> Claims {
    let mut claims = Claims::new();
    for event in events {
        let id = |name: &str| event[name].as_str().map(|id| id.replace('-', ""));
        let kind = event["kind"].as_str().unwrap().to_owned();
        let (about, generation) = match kind.as_str() {
            "user_registered" => (id("user"), 0),
            "login_succeeded" | "session_revoked" => (id("session"), 0),
            "session_refreshed" => (id("session"), event["generation"].as_i64().unwrap()),
            _ => continue,
        };
        *claims.entry((kind, about.unwrap(), generation)).or_default() += 1;
    }
    claims
}

/// The changes that are visible in the rows.
fn changes(tables: &Tables<'_>) -> BTreeSet<(String, String, i64)> {
    let change = |kind: &str, about: &str, generation| (kind.to_owned(), about.to_owned(), generation);
    let mut changes: BTreeSet<_> =
        tables.users().iter().map(|user| change("user_registered", user, 0)).collect();
    for (id, session) in tables.sessions() {
        changes.insert(change("login_succeeded", &id, 0));
        changes.extend((2..=session.generation).map(|reached| change("session_refreshed", &id, reached)));
        changes.extend(session.revoked.then(|| change("session_revoked", &id, 0)));
    }
    changes
}

/// One client: registers new users, logs in, refreshes twice and logs out, until the server no longer
/// answers.
async fn lane(node: &Node, round: usize, lane: usize, answered: &AtomicUsize) -> Option<()> {
    let kind = [("content-type", "application/json")];
    let post = async |path: &str, body: Value| {
        let answer = node.client.try_request("POST", &node.v1(path), &kind, body.to_string()).await.ok()?;
        answered.fetch_add(1, Ordering::SeqCst);
        Some(answer)
    };
    for number in 0.. {
        let name = format!("u{round}-{lane}-{number}");
        node.try_register(&name).await?;
        answered.fetch_add(1, Ordering::SeqCst);
        let mut answer = node.try_log_in(&name).await?;
        answered.fetch_add(1, Ordering::SeqCst);
        for last in [false, false, true] {
            assert_eq!(answer.status, 200, "{}", answer.text());
            let token = answer.json()["refresh_token"].clone();
            let path = if last { "logout" } else { "refresh" };
            answer = post(path, json!({ "refresh_token": token })).await?;
        }
    }
    None
}

async fn every_change_has_its_event(setup: &Setup, url: Option<&str>) {
    let tables = Tables { setup, url };
    let rng = Rng::system();
    let mut settled = 0;

    for round in 0..long_form("TRAIL_KILLS", 5) {
        let node = Arc::new(setup.start());
        let answered = AtomicUsize::new(0);
        let [some, turns] = [rng.bytes::<1>()[0], rng.bytes::<1>()[0]].map(usize::from);

        let kill = async {
            while answered.load(Ordering::SeqCst) < 10 + some / 2 {
                tokio::task::yield_now().await;
            }
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            node.server.signal(testkit::process::Signal::KILL);
        };
        tokio::join!(join_all((0..LANES).map(|number| lane(&node, round, number, &answered))), kill);
        drop(node);
    }

    let node = setup.start();
    let changes = changes(&tables);
    assert!(changes.len() > 20);

    let mut noted = Vec::new();
    until(PATIENCE, "every change has its event", async || {
        noted = events(setup);
        let claims = claims(&noted);
        changes.iter().all(|change| claims.contains_key(change))
    })
    .await;

    for (claim, times) in claims(&noted) {
        assert!(changes.contains(&claim), "a recorded change is missing in the rows: {claim:?}");
        assert_eq!(times, 1, "{claim:?}");
    }

    for event in &noted {
        assert_ne!(event["kind"], "outcome_unknown", "the outcome of each change is known: {event}");
        settled += usize::from(event["settled"] == true);
    }
    println!("{} changes, {settled} of them found out after a kill", changes.len());

    until(PATIENCE, "every record is in the database, once", async || {
        let shipped = tables.shipped();
        shipped.0 == shipped.1 && shipped.0 == events(setup).len()
    })
    .await;

    drop(node);
    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
        setup.command(arguments);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_every_change_has_its_event_after_kill_9_on_sqlite() {
    every_change_has_its_event(&Setup::sqlite(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_every_change_has_its_event_after_kill_9_on_postgres() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    every_change_has_its_event(&Setup::postgres(database.url()), Some(database.url())).await;
}
