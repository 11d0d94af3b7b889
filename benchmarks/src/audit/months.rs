//! Ten million events in the table: the cost of logins beside them, and while a month is dropped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::postgres::{Postgres, rows};
use tokio::time::Instant;

use super::lock::drained;
use super::{Builds, PAIRS, SPAN};
use crate::Outcome;
use crate::contestant::{Contestant, sign_in, sign_up};
use crate::load::load;
use crate::rounds::{Figures, quantile};

const MONTHS: i64 = 5;
const EVENTS_OF_MONTH: i64 = 2_000_000;

/// Prints logins beside ten million events against logins beside none, and then the dropping of a month.
pub(super) fn run(builds: &Builds) -> Outcome<()> {
    let postgres = Postgres::builder()
        .fsync(true)
        .setting("max_wal_size", "4GB")
        .setting("shared_buffers", "512MB")
        // Two servers with separate pools.
        .setting("max_connections", "300")
        // The server's log shows each wait for a lock that exceeds the timeout below.
        .setting("log_lock_waits", "on")
        .setting("deadlock_timeout", "50ms")
        .start();

    let urls = ["full", "empty"].map(|name| postgres.database(name));
    let binary = &builds.gatewright;
    let open = |name, url: &str, env: &[(&str, &str)]| {
        let mut opened = Contestant::open(name, binary, binary, Some(url), env)?;
        opened.settle()?;
        load(opened.address, &mut opened.clients, SPAN, sign_up)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(opened)
    };

    let [full_url, empty_url] = &urls;
    let mut full = open("beside ten million events", full_url, &[])?;
    let mut empty = open("beside none", empty_url, &[])?;

    let begun = Instant::now();
    fill(full_url)?;
    println!(
        "{MONTHS} months of {EVENTS_OF_MONTH} events, filled in {:.0} s; \
         logins beside them, {PAIRS} pairs of {SPAN:?}",
        begun.elapsed().as_secs_f64()
    );

    let mut figures = [&full, &empty].map(|one| Figures::new(one.name, "/s"));
    let mut ratio = Figures::new("full / empty", "x");
    for pair in 0..PAIRS {
        let mut measured = [0.0; 2];
        for turn in [pair % 2, 1 - pair % 2] {
            let one = if turn == 0 { &mut full } else { &mut empty };
            let rate = load(one.address, &mut one.clients, SPAN, sign_in)?.rate;
            drained(one)?;
            if let (Some(measured), Some(figures)) = (measured.get_mut(turn), figures.get_mut(turn)) {
                *measured = rate;
                figures.push(rate);
            }
        }
        ratio.push(measured[0] / measured[1]);
    }

    for figures in figures.iter().chain([&ratio]) {
        figures.print(None);
    }
    retire(&postgres, full, binary, full_url)
}

/// Fills the months before the current one, each as a partition like the server's.
fn fill(url: &str) -> Outcome<()> {
    for month in 1..=MONTHS {
        let begins = format!("date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{month} months'");
        let named = rows(
            url,
            &format!(
                "SELECT 'audit_events_' || to_char({begins}, 'YYYY_MM'), \
                 (extract(epoch FROM {begins}) * 1000000)::bigint, \
                 (extract(epoch FROM {begins} + interval '1 month') * 1000000)::bigint"
            ),
        )?;

        let [named] = named.as_slice() else { return Err("no month".into()) };
        let [Some(name), Some(start), Some(end)] = named.as_slice() else { return Err("no month".into()) };

        run_long(
            url,
            &format!(
                "SET synchronous_commit = off; \
                 CREATE TABLE gatewright.{name} \
                 (LIKE gatewright.audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
                 INSERT INTO gatewright.{name} \
                 (at, journal, sequence, kind, user_uuid, request_id, record_kind, payload, hash) \
                 SELECT {start}::bigint + n::bigint * 1000000, '00000000-0000-4000-8000-00000000000{month}', \
                 n, 'login_succeeded', md5(n::text)::uuid, 'bench-' || n, 1, \
                 convert_to(repeat('x', 300), 'UTF8'), \
                 decode(repeat('00', 32), 'hex') FROM generate_series(1, {EVENTS_OF_MONTH}) n; \
                 ALTER TABLE gatewright.audit_events ATTACH PARTITION gatewright.{name} \
                 FOR VALUES FROM ({start}) TO ({end}); ANALYZE gatewright.{name}"
            ),
        )?;
    }
    Ok(())
}

/// Runs statements that take longer than testkit's deadline.
fn run_long(url: &str, text: &str) -> Outcome<()> {
    let running = async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        tokio::select! {
            done = client.batch_execute(text) => done,
            ended = connection => ended,
        }
    };
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(running)?)
}

/// Restarts the server with a retention that drops the oldest months while clients log in.
fn retire(postgres: &Postgres, server: Contestant, binary: &Path, url: &str) -> Outcome<()> {
    let before = months(url)?;
    rows(url, "ALTER SYSTEM SET log_min_duration_statement = 0")?;
    rows(url, "SELECT pg_reload_conf()")?;
    let known = postgres.log().len();
    let env = [("GATEWRIGHT_DATABASE__URL", url), ("GATEWRIGHT_AUDIT__RETENTION", "100d")];
    let mut server = server.restart(binary, &env)?;

    let observer = LockObserver::start(url);
    let done = load(server.address, &mut server.clients, Duration::from_secs(10), sign_in)?;
    let slowest = observer.stop()?;
    let after = months(url)?;

    let gone: Vec<_> = before.iter().filter(|name| !after.contains(name)).collect();
    let log = postgres.log();
    let new = log.get(known..).unwrap_or_default();

    println!("  dropped: {gone:?} of {}; {:.0} logins a second meanwhile", before.len(), done.rate);
    println!(
        "  logins: p99 {:.1} ms, slowest {:.1} ms",
        quantile(done.took.iter().copied(), 0.99),
        quantile(done.took, 1.0)
    );
    println!("  another writer that locks the table all the time: waited {slowest:?} at most");

    let waits = |line: &&str| line.contains("still waiting for");
    println!("  waits for a lock above 50 ms: {}", new.lines().filter(waits).count());
    let drops = |line: &&str| line.contains("duration:") && line.contains("DROP TABLE");
    for line in new.lines().filter(|line| waits(line) || drops(line)) {
        println!("  {}", line.get(..line.len().min(160)).unwrap_or(line));
    }
    if gone.is_empty() { Err("no month was dropped".into()) } else { Ok(()) }
}

/// Takes a writer's lock on the table again and again, as another node would.
struct LockObserver {
    stop: Arc<AtomicBool>,
    observing: std::thread::JoinHandle<Outcome<Duration>>,
}

impl LockObserver {
    fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = url.to_owned();
        let stopped = Arc::clone(&stop);
        let observe = async move || {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            let locking = async {
                let mut slowest = Duration::ZERO;
                while !stopped.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let lock = "BEGIN; LOCK TABLE gatewright.audit_events IN ROW EXCLUSIVE MODE; COMMIT";
                    client.batch_execute(lock).await?;
                    slowest = slowest.max(begun.elapsed());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(slowest)
            };
            tokio::select! {
                slowest = locking => slowest,
                ended = connection => Err(format!("the observer's connection ended: {ended:?}").into()),
            }
        };

        let observing = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(observe())
        });
        Self { stop, observing }
    }

    /// Stops the observer and returns its longest wait.
    fn stop(self) -> Outcome<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.observing.join().map_err(|_| "the observer panicked")?
    }
}

/// The names of the partitions.
fn months(url: &str) -> Outcome<Vec<String>> {
    let names = "SELECT inhrelid::regclass::text FROM pg_inherits \
                 WHERE inhparent = 'gatewright.audit_events'::regclass ORDER BY 1";
    Ok(rows(url, names)?.into_iter().flatten().flatten().collect())
}
