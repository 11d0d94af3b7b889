//! Logins while another session locks the table of events.

use std::time::Duration;

use testkit::postgres::{Postgres, rows};
use tokio::time::Instant;

use super::{Builds, PAIRS};
use crate::Outcome;
use crate::contestant::{Contestant, sign_in, sign_up};
use crate::load::load;
use crate::rounds::{Figures, pause, quantile};

const SPAN: Duration = Duration::from_secs(6);
const LOCK: &str = "LOCK TABLE gatewright.audit_events IN ACCESS EXCLUSIVE MODE";

/// Prints ten pairs, the second half of each under the lock (one minute in total), and one minute under the
/// lock.
pub(super) fn run(builds: &Builds) -> Outcome<()> {
    println!("logins while audit_events is locked against while it is not, {PAIRS} pairs of {SPAN:?}");
    let postgres = Postgres::builder().fsync(true).start();
    let url = postgres.url();
    let binary = &builds.gatewright;
    let mut server = Contestant::open("PostgreSQL", binary, binary, Some(&url), &[])?;
    server.settle()?;
    load(server.address, &mut server.clients, SPAN, sign_up)?;

    let mut free = Figures::new("logins, free", "/s");
    let mut locked = Figures::new("logins, locked", "/s");
    let mut rate = Figures::new("throughput, locked / free", "x");
    let mut tail = Figures::new("p99, locked / free", "x");

    for pair in 0..PAIRS {
        let mut measured = [(0.0, 0.0); 2];
        for turn in [pair % 2, 1 - pair % 2] {
            let lock = (turn == 1).then(|| Lock::take(&url)).transpose()?;
            let done = load(server.address, &mut server.clients, SPAN, sign_in)?;
            drop(lock);
            if let Some(measured) = measured.get_mut(turn) {
                *measured = (done.rate, quantile(done.took, 0.99));
            }
            drained(&server)?;
        }
        let [(free_rate, free_tail), (locked_rate, locked_tail)] = measured;
        free.push(free_rate);
        locked.push(locked_rate);
        rate.push(locked_rate / free_rate);
        tail.push(locked_tail / free_tail);
    }

    for figures in [&free, &locked, &rate, &tail] {
        figures.print(None);
    }

    let lock = Lock::take(&url)?;
    let done = load(server.address, &mut server.clients, Duration::from_mins(1), sign_in)?;
    let waiting = server.metric("audit_backlog_events")?;
    drop(lock);
    let begun = Instant::now();
    drained(&server)?;
    println!(
        "  locked for a minute: {:.1} logins a second, {:.2}x of free; \
         {waiting:.0} events waited, all there {:.1} s after",
        done.rate,
        done.rate / free.median(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Waits until all events are shipped.
pub(super) fn drained(server: &Contestant) -> Outcome<()> {
    let until = Instant::now() + Duration::from_mins(5);
    while server.metric("audit_backlog_events")? > 0.0 {
        if Instant::now() > until {
            return Err("the events were not shipped within five minutes".into());
        }
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Holds the lock until it is dropped.
struct Lock {
    url: String,
    holder: Option<std::thread::JoinHandle<()>>,
}

impl Lock {
    fn take(url: &str) -> Outcome<Self> {
        let connecting = url.to_owned();
        let holder = std::thread::spawn(move || hold(&connecting));
        let lock = Self { url: url.to_owned(), holder: Some(holder) };
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 'gatewright.audit_events'::regclass \
                    AND mode = 'AccessExclusiveLock' AND granted";
        while rows(url, held)? != [[Some("1".to_owned())]] {
            pause(Duration::from_millis(10));
        }
        Ok(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '{LOCK}%' \
             AND pid <> pg_backend_pid()"
        );
        // The lock ends with its connection.
        let _ = rows(&self.url, &end);
        let _ = self.holder.take().map(std::thread::JoinHandle::join);
    }
}

/// Holds the lock until its connection is ended.
fn hold(url: &str) {
    let held = async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let locking = async { client.batch_execute(&format!("{LOCK}; SELECT pg_sleep(3600)")).await };
        tokio::select! {
            locked = locking => locked,
            ended = connection => ended,
        }
    };
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        let _ = runtime.block_on(held);
    }
}
