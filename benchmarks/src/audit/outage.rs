//! A minute without the database, once stopped and once killed, and the speed of shipping the backlog
//! afterwards.

use std::time::Duration;

use testkit::postgres::Postgres;
use testkit::process::Server;
use tokio::time::Instant;

use super::Builds;
use super::lock::drained;
use crate::Outcome;
use crate::contestant::{CONNECTIONS, Contestant, sign_in, sign_up};
use crate::load::{Load, load, post};
use crate::rounds::{pause, quantile};

const OUTAGE: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_secs(5);
/// A refresh token that was never issued: refused and recorded without the database.
const UNKNOWN: &str = r#"{"refresh_token":"nobody-has-ever-been-given-this"}"#;

/// Prints both outages.
pub(super) fn run(builds: &Builds) -> Outcome<()> {
    let mut postgres = Postgres::builder().fsync(true).setting("max_wal_size", "4GB").start();
    let url = postgres.url();
    let binary = &builds.gatewright;
    let mut server = Contestant::open("PostgreSQL", binary, binary, Some(&url), &[])?;
    server.settle()?;
    load(server.address, &mut server.clients, CALM, sign_up)?;

    for (title, is_kill) in [("stopped", false), ("killed", true)] {
        println!("PostgreSQL {title} for {OUTAGE:?} under load; what refused refreshes see");

        let before = mixed(&mut server, CALM)?;
        drained(&server)?;

        if is_kill {
            postgres.kill();
        } else {
            postgres.pause();
        }

        let during = mixed(&mut server, OUTAGE)?;
        let waiting = server.metric("audit_backlog_events")?;
        if is_kill {
            postgres.restart();
        } else {
            postgres.resume();
        }

        for (name, load) in [("before", before), ("during", during)] {
            println!(
                "  {name}: {:.0} requests a second, p50 {:.2} ms, p99 {:.2} ms",
                load.rate,
                quantile(load.took.iter().copied(), 0.5),
                quantile(load.took, 0.99)
            );
        }

        drain(&server, waiting)?;
        verify(builds, &server, &url)?;
    }
    Ok(())
}

/// Half of the clients log in, with any answer; the result covers the others, whose unknown token is refused.
fn mixed(server: &mut Contestant, span: Duration) -> Outcome<Load> {
    let address = server.address;
    let (logins, refused) = server.clients.split_at_mut(CONNECTIONS / 2);
    std::thread::scope(|scope| {
        let logins = scope.spawn(move || {
            load(address, logins, span, |index, client, connection| {
                // A refusal is fine, but the request must be answered.
                let _ = sign_in(index, client, connection);
                Ok(())
            })
        });
        let seen = load(address, refused, span, |_, _, connection| {
            let answer = connection.send(&post("/api/v1/auth/refresh", "application/json", UNKNOWN))?;
            if answer.status == 401 {
                Ok(())
            } else {
                Err(format!("an unknown token: {}", answer.status).into())
            }
        });
        logins.join().map_err(|_| "a client panicked")??;
        seen
    })
}

/// Waits for the backlog to be shipped, and prints when that began and how long it took.
fn drain(server: &Contestant, waiting: f64) -> Outcome<()> {
    let back = Instant::now();
    while server.metric("audit_backlog_events")? >= waiting {
        pause(Duration::from_millis(10));
    }
    let begun = Instant::now();
    drained(server)?;
    let took = begun.elapsed().as_secs_f64();
    println!(
        "  {waiting:.0} events waited; the first went {:.1} s after the database was back, \
         all in {took:.1} s: {:.0} a second",
        begun.duration_since(back).as_secs_f64(),
        waiting / took
    );
    Ok(())
}

/// Verifies that every record of the journal is in the database once and in order.
fn verify(builds: &Builds, server: &Contestant, url: &str) -> Outcome<()> {
    let verified = Server::builder(&builds.gatewright)
        .args(["audit", "verify", "--database"])
        .folder(server.folder.path())
        .env("GATEWRIGHT_DATABASE__URL", url)
        .run("");
    let found = testkit::postgres::rows(
        url,
        "SELECT count(*), count(DISTINCT (journal, sequence)), max(sequence) FROM gatewright.audit_events \
         GROUP BY journal",
    )?;
    println!("  by journal (rows, distinct, last sequence): {found:?}");
    if !verified.status.success() {
        return Err(format!("audit verify --database: {}{}", verified.stdout, verified.stderr).into());
    }
    println!("  audit verify --database: {}", verified.stdout.lines().last().unwrap_or_default());
    Ok(())
}
