//! The cost of operations with a million users and five million sessions, beside an almost empty database.

use std::path::Path;
use std::time::Duration;

use model::{Now, SessionId};
use store::{Location, registry};
use testkit::Postgres;
use testkit::postgres::rows;
use tokio::time::Instant;

use crate::Outcome;
use crate::bench_db::{BenchDb, NOON, at_path, email, migrate, uuid};
use crate::rounds::{Figures, latency};

/// The numbers of users of the two databases; each user has five sessions.
const SIZES: [u64; 2] = [2_000, 1_000_000];
const SESSIONS: u64 = 5;
const ROUNDS: u64 = 9;
const TIMES: usize = 60;
const BATCH: i64 = 10;
const EXPLAINED: [&str; 4] =
    ["credential.by_email", "session.open", "session.rotate", "session.delete_expired"];

pub(super) async fn run(engines: &[&str]) -> Outcome<()> {
    for engine in engines {
        match *engine {
            "sqlite" => sqlite().await?,
            _ => postgres().await?,
        }
    }
    Ok(())
}

async fn sqlite() -> Outcome<()> {
    println!("SQLite, synchronous=FULL");
    let folder = tempfile::tempdir()?;
    let mut databases = Vec::new();
    for users in SIZES {
        let path = folder.path().join(format!("{users}.db"));
        migrate(at_path(&path)).await?;
        let begin = Instant::now();
        fill_sqlite(&path, users)?;
        println!("  {users} users: filled in {:.0} s", begin.elapsed().as_secs_f64());
        databases.push(BenchDb::open(at_path(&path), 4, 1 << 40).await?);
        if users == SIZES[1] {
            explain_sqlite(&path)?;
        }
    }
    compare(&databases).await
}

async fn postgres() -> Outcome<()> {
    println!("PostgreSQL, fsync on");
    let settings = [("max_wal_size", "4GB"), ("shared_buffers", "1GB"), ("maintenance_work_mem", "256MB")];
    let builder =
        settings.iter().fold(Postgres::builder(), |builder, (name, value)| builder.setting(name, value));
    let server = builder.fsync(true).setting("autovacuum", "off").start();
    let mut databases = Vec::new();
    for users in SIZES {
        let url = server.database(&format!("users{users}"));
        migrate(Location::postgres(&url)).await?;
        let begin = Instant::now();
        fill_postgres(&url, users).await?;
        println!("  {users} users: filled in {:.0} s", begin.elapsed().as_secs_f64());
        databases.push(BenchDb::open(Location::postgres(&url), 4, 1 << 40).await?);
        if users == SIZES[1] {
            explain_postgres(&url)?;
        }
    }
    compare(&databases).await
}

/// `$id` is replaced by the engine's way to write the number `n` as a UUID, `$zeros` by 32 bytes, `$gw` by
/// the schema.
const FILL: [&str; 3] = [
    "INSERT INTO $gw.users (uuid, email, email_key, role, state, profile, created_at, updated_at) \
     SELECT $id, 'user' || n || '@example.com', 'user' || n || '@example.com', 'BASIC_USER', 'active', \
     '{}', n, n FROM g",
    "INSERT INTO $gw.credentials (user_id, kind, data, version, updated_at) \
     SELECT n, 'password', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA', 1, n FROM g",
    "INSERT INTO $gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
     generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked) \
     SELECT $id, 1 + (n - 1) / 5, 'profile', '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64)', $noon, \
     $noon * 2, n, 1, $zeros, $noon, '', 0, 0, FALSE FROM g",
];

fn fill_sqlite(path: &Path, users: u64) -> Outcome<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;")?;
    for (text, count) in FILL.into_iter().zip([users, users, users * SESSIONS]) {
        let series =
            format!("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {count})");
        let text = text
            .replace("$gw.", "")
            .replace("$id", "unhex(printf('%032x', n))")
            .replace("$zeros", "zeroblob(32)")
            .replace("$noon", &NOON.micros().to_string());
        connection.execute_batch(&format!("{series} {text}"))?;
    }
    connection.execute_batch("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}

/// Uses a separate connection, because testkit's gives up after half a minute.
async fn fill_postgres(url: &str, users: u64) -> Outcome<()> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driving = async { connection.await.map_err(Into::into) };
    let filling = async {
        // Without foreign key checks per row and flushes per statement.
        client.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off").await?;
        for (text, count) in FILL.into_iter().zip([users, users, users * SESSIONS]) {
            let series = format!("WITH g(n) AS (SELECT * FROM generate_series(1::bigint, {count}))");
            let text = text
                .replace("$gw.", "gatewright.")
                .replace("$id", "lpad(to_hex(n), 32, '0')::uuid")
                .replace("$zeros", "decode(repeat('00', 32), 'hex')")
                .replace("$noon", &NOON.micros().to_string());
            client.batch_execute(&format!("{series} {text}")).await?;
        }
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        Outcome::Ok(())
    };
    tokio::select! {
        filled = filling => filled,
        ended = driving => ended,
    }
}

fn explain_sqlite(path: &Path) -> Outcome<()> {
    let connection = rusqlite::Connection::open(path)?;
    for stmt in registry().filter(|stmt| EXPLAINED.contains(&stmt.name)) {
        println!("  plan of {}", stmt.name);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", stmt.sqlite()))?;
        let mut steps = statement.raw_query();
        while let Some(step) = steps.next()? {
            println!("    {}", step.get::<_, String>(3)?);
        }
    }
    Ok(())
}

fn explain_postgres(url: &str) -> Outcome<()> {
    for stmt in registry().filter(|stmt| EXPLAINED.contains(&stmt.name)) {
        println!("  plan of {}", stmt.name);
        let text = stmt.postgres("gatewright");
        let most = (1..=20).rev().find(|n| text.contains(&format!("${n}"))).unwrap_or(0);
        let nulls = vec!["NULL"; most].join(", ");
        let sql = format!(
            "SET plan_cache_mode = force_generic_plan; PREPARE explained AS {text}; \
             EXPLAIN EXECUTE explained({nulls})"
        );
        for step in rows(url, &sql)?.into_iter().flatten().flatten() {
            println!("    {step}");
        }
    }
    Ok(())
}

/// Ids of users spread over the whole table, without randomness: multiples of a prime.
fn spread(users: u64, at: u64) -> u64 {
    1 + at.wrapping_mul(7_919) % users
}

async fn compare(databases: &[BenchDb]) -> Outcome<()> {
    let operations = ["login, read", "login, write", "refresh", "cleanup, 10 rows"];
    let mut figures: Vec<Vec<Figures>> = operations
        .iter()
        .map(|name| SIZES.iter().map(|users| Figures::new(format!("{name}, {users} users"), "us")).collect())
        .collect();

    let begin = Instant::now();
    for round in 0..=ROUNDS {
        for (size, (db, users)) in databases.iter().zip(SIZES).enumerate() {
            let measured = [
                login_read(db, users, round).await?,
                login_write(db, users, round).await?,
                refresh(db, users, round).await?,
                cleanup(db, round).await?,
            ];
            // The first round only warms the caches.
            for (operation, figure) in figures.iter_mut().zip(measured).filter(|_| round > 0) {
                operation.get_mut(size).into_iter().for_each(|of_size| of_size.push(figure));
            }
        }

        if begin.elapsed() > Duration::from_mins(4) {
            println!("  stopped after {round} rounds");
            break;
        }
    }

    for operation in &figures {
        if let [few, many] = operation.as_slice() {
            few.print(None);
            many.print(Some(few));
        }
    }
    Ok(())
}

async fn login_read(db: &BenchDb, users: u64, round: u64) -> Outcome<f64> {
    let mut at = round * 1000;
    let work = || {
        at += 1;
        let email = email(spread(users, at));
        async move { db.find_login(&email?).await.map(|_| ()) }
    };
    Ok(latency(TIMES, work).await?)
}

async fn login_write(db: &BenchDb, users: u64, round: u64) -> Outcome<f64> {
    let mut at = round * 1000;
    let work = || {
        at += 1;
        let email = email(spread(users, at));
        async move { db.open_session(db.find_login(&email?).await?.user.key()).await }
    };
    Ok(latency(TIMES, work).await?)
}

/// Refreshes each session once, in the half that the cleanup does not reach.
async fn refresh(db: &BenchDb, users: u64, round: u64) -> Outcome<f64> {
    let half = users * SESSIONS / 2;
    let mut at = round * u64::try_from(TIMES)?;
    let work = || {
        at += 1;
        let id = SessionId(uuid(half + spread(half, at)));
        async move { db.refresh(id, 1, [0; 32]).await }
    };
    Ok(latency(TIMES, work).await?)
}

/// The sessions expire one per microsecond, so each batch finds exactly its own rows.
async fn cleanup(db: &BenchDb, round: u64) -> Outcome<f64> {
    let times = TIMES / 10;
    let mut until = i64::try_from(round)? * i64::try_from(times)? * BATCH;
    let work = || {
        until += BATCH;
        async move { db.clean(Now::from_micros(until), BATCH).await }
    };
    Ok(latency(times, work).await?)
}
