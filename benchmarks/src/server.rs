//! The whole server: startup, memory, size, and requests per second over 64 connections on both engines,
//! beside a trivial server under the same load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::postgres::Postgres;
use testkit::process::Server;
use tokio::time::Instant;

use crate::Outcome;
use crate::contestant::{CONNECTIONS, Contestant, Step, me, refresh, resident, sign_in, sign_up, start};
use crate::load::{get, load};
use crate::rounds::Figures;

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(2);
const STARTS: usize = 11;

/// The four operations, by their printed name.
const OPERATIONS: [(&str, Step); 4] =
    [("register", sign_up), ("login", sign_in), ("refresh", refresh), ("me", me)];

/// Prints every figure of the whole server, and of another build of it if one is given.
pub(super) fn run(root: &Path, other: Option<&Path>) -> Outcome<()> {
    let binary = root.join("target/release/gatewright");
    let size = std::fs::metadata(&binary)
        .map_err(|_| "build it first: cargo build --release --locked -p gatewright")?
        .len();
    println!("release binary: {:.1} MiB", f64::from(u32::try_from(size / 1024)?) / 1024.0);
    cold_start(&binary)?;

    let postgres = Postgres::builder().fsync(true).start();
    let url = postgres.url();
    let mut contestants = vec![
        Contestant::open("SQLite", &binary, &binary, None, &[])?,
        Contestant::open("PostgreSQL", &binary, &binary, Some(&url), &[])?,
    ];
    let beside = Postgres::builder().fsync(true).start();
    if let Some(other) = other {
        let url = beside.url();
        contestants.push(Contestant::open("SQLite, other build", other, other, None, &[])?);
        contestants.push(Contestant::open("PostgreSQL, other build", other, other, Some(&url), &[])?);
    }

    let trivial = trivial()?;
    for contestant in &mut contestants {
        contestant.settle()?;
    }
    rounds(&mut contestants, &trivial)
}

/// From the start of the process to the first 200 of readiness, with an empty and with a prepared folder.
fn cold_start(binary: &Path) -> Outcome<()> {
    let mut first = Figures::new("first start, SQLite", "ms");
    let mut again = Figures::new("start, SQLite", "ms");
    let mut memory = Figures::new("idle memory", "MiB");
    for _ in 0..STARTS {
        let folder = tempfile::tempdir()?;
        for figures in [&mut first, &mut again] {
            let port = testkit::free_port();
            let begin = Instant::now();
            let server = start(binary, &["serve"], folder.path(), port, &[])?;
            figures.push(begin.elapsed().as_secs_f64() * 1e3);
            memory.push(resident(server.pid())?);
        }
    }
    for figures in [&first, &again, &memory] {
        figures.print(None);
    }
    Ok(())
}

/// Within an operation the contestants take turns, in the opposite order in every second round, so that a
/// change of the machine's load affects all of them.
fn rounds(contestants: &mut [Contestant], trivial: &(Server, SocketAddr)) -> Outcome<()> {
    let mut base = Figures::new("a trivial axum handler", "/s");
    let mut figures: Vec<Vec<Figures>> = contestants
        .iter()
        .map(|one| {
            OPERATIONS.iter().map(|(name, _)| Figures::new(format!("{name}, {}", one.name), "/s")).collect()
        })
        .collect();

    for round in 0..ROUNDS {
        let mut nothing = vec![(); CONNECTIONS];
        let asked = load(trivial.1, &mut nothing, SPAN, |_, (), connection| {
            connection.send(&get("/", "x")).map(|_| ())
        })?;
        base.push(asked.rate);
        for (at, (_, step)) in OPERATIONS.iter().enumerate() {
            let mut turns: Vec<_> = contestants.iter_mut().zip(&mut figures).collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (contestant, figures) in turns {
                let measured = load(contestant.address, &mut contestant.clients, SPAN, step)?;
                figures.get_mut(at).ok_or("no such operation")?.push(measured.rate);
            }
        }
    }

    println!(
        "requests a second, {CONNECTIONS} connections, hashes at their cheapest; client on the same cores"
    );
    base.print(None);
    for figures in figures.iter().flatten() {
        figures.print(Some(&base));
    }
    Ok(())
}

/// Starts a trivial server as a separate process.
fn trivial() -> Outcome<(Server, SocketAddr)> {
    let port = testkit::free_port();
    let own: PathBuf = std::env::current_exe()?;
    let server = Server::builder(own).args(["trivial", &port.to_string()]).ready_on_line("up").start();
    Ok((server, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// Serves a small constant answer on a port until it is killed.
pub(super) async fn serve_trivial(port: u16) -> Outcome<()> {
    let body =
        r#"{"id":1,"email":"test@example.com","username":"testuser","is_active":true,"role":"basic_user"}"#;
    let router = axum::Router::new()
        .route("/", axum::routing::get(async move || ([("content-type", "application/json")], body)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("up");
    Ok(axum::serve(listener, router).await?)
}
