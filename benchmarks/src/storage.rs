//! The costs and savings of round trips, pools, batches and group commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::Location;
use testkit::{Direction, Postgres, Proxy};

use crate::Outcome;
use crate::bench_db::{BenchDb, at_path, migrate, uuid};
use crate::rounds::{Figures, throughput};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(800);
const TASKS: usize = 64;

pub(super) async fn run() -> Outcome<()> {
    let server = Postgres::builder().fsync(true).setting("max_connections", "100").start();
    migrate(Location::postgres(&server.url())).await?;
    trips(&server).await?;
    pools(&server).await?;
    batches(&server).await?;
    groups().await
}

/// Registers a user; the work of `throughput`.
async fn register(db: BenchDb) -> Result<(), String> {
    db.register().await.map(|_| ())
}

async fn trips(server: &Postgres) -> Outcome<()> {
    println!("round trips per operation, PostgreSQL (reads + writes)");
    let db = BenchDb::open(Location::postgres(&server.url()), 4, 1).await?;
    let meter = db.store.requests.meter();
    let mut last = meter.trips();
    let mut say = |operation: &str| {
        println!("  {operation:<44} {:>3}", meter.trips() - last);
        last = meter.trips();
    };
    let (user, n) = db.register().await?;
    say("register");
    let login = db.find_login(&super::bench_db::email(n)?).await?;
    say("login, before the hash");
    db.open_session(login.user.key()).await?;
    say("login, after the hash");
    db.refresh(model::SessionId(uuid(n)), 1, [0; 32]).await?;
    say("refresh");
    if login.user.id != user {
        return Err("the login found another user".into());
    }
    Ok(())
}

async fn pools(server: &Postgres) -> Outcome<()> {
    println!("PostgreSQL, register, {TASKS} tasks, by size of the pool");
    let mut figures = Vec::new();
    for (size, first) in [(1, 10_000_000), (20, 20_000_000)] {
        let db = BenchDb::open(Location::postgres(&server.url()), size, first).await?;
        figures.push((db, Figures::new(format!("pool of {size}"), "/s")));
    }
    for _ in 0..ROUNDS {
        for (db, figure) in &mut figures {
            let db = db.clone();
            figure.push(throughput(TASKS, SPAN, move |_| register(db.clone())).await?);
        }
    }
    print(figures.iter().map(|(_, figure)| figure));
    Ok(())
}

async fn batches(server: &Postgres) -> Outcome<()> {
    for (latency, tasks) in [(0, 1), (0, TASKS), (1, 1), (1, TASKS)] {
        let proxy = Proxy::start(format!("127.0.0.1:{}", server.port()));
        for direction in [Direction::Up, Direction::Down] {
            proxy.latency(direction, Duration::from_millis(latency));
        }
        let url = if latency == 0 { server.url() } else { proxy.url_for(&server.url()) };
        println!("PostgreSQL, register, {tasks} tasks, {} ms more a trip", latency * 2);

        let first = (3 + latency * 2) * 10_000_000 + tasks as u64 * 1_000_000_000;
        let db = BenchDb::open(Location::postgres(&url), 20, first).await?;
        let mut four = Figures::new("four trips", "/s");
        let mut one = Figures::new("one trip", "/s");
        for _ in 0..ROUNDS {
            let shared = db.clone();
            let work = move |_| {
                let db = shared.clone();
                async move { db.register_in_four_trips().await }
            };
            four.push(throughput(tasks, SPAN, work).await?);
            let shared = db.clone();
            one.push(throughput(tasks, SPAN, move |_| register(shared.clone())).await?);
        }
        print([&four, &one].into_iter());
    }
    Ok(())
}

async fn groups() -> Outcome<()> {
    for tasks in [1, 8, TASKS] {
        println!("SQLite, register, synchronous=FULL, {tasks} tasks");
        let folder = tempfile::tempdir()?;
        let ours = folder.path().join("group.db");
        let theirs = folder.path().join("single.db");
        migrate(at_path(&ours)).await?;
        migrate(at_path(&theirs)).await?;

        let db = BenchDb::open(at_path(&ours), 20, 1).await?;
        let numbers = BenchDb::open(at_path(&theirs), 1, 1).await?;
        let connection = rusqlite::Connection::open(&theirs)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        let connection = Arc::new(Mutex::new(connection));

        let mut single = Figures::new("one transaction a COMMIT, under a mutex", "/s");
        let mut group = Figures::new("closures in groups", "/s");

        for _ in 0..ROUNDS {
            let (connection, numbers) = (Arc::clone(&connection), numbers.clone());
            let work = move |_| {
                let (connection, n) = (Arc::clone(&connection), numbers.number());
                async move { tokio::task::block_in_place(|| by_hand(&connection, n)) }
            };
            single.push(throughput(tasks, SPAN, work).await?);
            let shared = db.clone();
            group.push(throughput(tasks, SPAN, move |_| register(shared.clone())).await?);
        }
        print([&single, &group].into_iter());
    }
    Ok(())
}

/// Runs the same three statements without the store.
fn by_hand(connection: &Mutex<rusqlite::Connection>, n: u64) -> Result<(), String> {
    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    let id = uuid(n);
    let run = |connection: &mut rusqlite::Connection| -> rusqlite::Result<()> {
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let bytes = id.as_bytes().as_slice();
        let email = format!("user{n}@example.com");

        tx.prepare_cached(
            "INSERT INTO users (uuid, email, email_key, role, state, profile, created_at, updated_at) \
             VALUES (?1, ?2, ?2, 'BASIC_USER', 'active', '{}', 1, 1) ON CONFLICT DO NOTHING",
        )?
        .execute((bytes, &email))?;
        tx.prepare_cached(
            "INSERT INTO credentials (user_id, kind, data, version, updated_at) \
             SELECT id, 'password', 'hash', 1, 1 FROM users WHERE uuid = ?1",
        )?
        .execute([bytes])?;
        tx.prepare_cached(
            "INSERT INTO sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
             generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked) \
             SELECT ?1, id, 'profile', '192.0.2.1', 'bench/1', 1, 2, 2, 1, zeroblob(32), 1, '', 0, 0, FALSE \
             FROM users WHERE uuid = ?1",
        )?
        .execute([bytes])?;
        tx.commit()
    };
    run(&mut connection).map_err(|error| error.to_string())
}

/// Prints figures; the first is the base of the ratios.
fn print<'a>(mut figures: impl Iterator<Item = &'a Figures>) {
    let Some(base) = figures.next() else { return };
    base.print(None);
    for figure in figures {
        figure.print(Some(base));
    }
}
