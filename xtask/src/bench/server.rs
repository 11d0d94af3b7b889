//! The whole server: start, memory, size, and requests a second at 64 connections on both engines, beside a
//! trivial server under the same load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::postgres::Postgres;
use testkit::process::Server;
use tokio::time::Instant;

use super::Outcome;
use super::load::{Connection, get, post, throughput};
use super::rounds::Figures;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(2);
const STARTS: usize = 11;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "TestPass123!";

/// Prints every figure of the whole server.
pub(super) fn run(root: &Path) -> Outcome<()> {
    let binary = root.join("target/release/gatewright");
    let size = std::fs::metadata(&binary)
        .map_err(|_| "build it first: cargo build --release --locked -p gatewright")?
        .len();
    println!("release binary: {:.1} MiB", f64::from(u32::try_from(size / 1024)?) / 1024.0);
    cold_start(&binary)?;
    let postgres = Postgres::builder().fsync(true).start();
    let mut contestants = vec![Contestant::sqlite(&binary)?, Contestant::postgres(&binary, &postgres)?];
    let trivial = trivial()?;
    for contestant in &mut contestants {
        contestant.settle()?;
    }
    rounds(&mut contestants, &trivial)
}

/// From the start of the process to the first 200 of readiness, with nothing there and with everything there.
fn cold_start(binary: &Path) -> Outcome<()> {
    let (mut first, mut again, mut memory) = (
        Figures::new("first start, SQLite", "ms"),
        Figures::new("start, SQLite", "ms"),
        Figures::new("idle memory", "MiB"),
    );
    for _ in 0..STARTS {
        let folder = tempfile::tempdir()?;
        for figures in [&mut first, &mut again] {
            let port = testkit::free_port();
            let begin = Instant::now();
            let server = start(binary, folder.path(), port, &[])?;
            figures.push(begin.elapsed().as_secs_f64() * 1e3);
            memory.push(resident(server.pid())?);
        }
    }
    for figures in [&first, &again, &memory] {
        figures.print(None);
    }
    Ok(())
}

fn start(binary: &Path, folder: &Path, port: u16, env: &[(&str, &str)]) -> Outcome<Server> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut builder = Server::builder(binary)
        .arg("serve")
        .folder(folder)
        .env("GATEWRIGHT_SERVER__LISTEN", address.to_string())
        .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
        .env("GATEWRIGHT_TELEMETRY__LOG_LEVEL", "warn")
        .ready_on_line("is up");
    for (name, value) in env {
        builder = builder.env(name, value);
    }
    let server = builder.start();
    readiness(address)?;
    Ok(server)
}

/// Asks for readiness.
pub(super) fn readiness(address: SocketAddr) -> Outcome<()> {
    let answer = Connection::open(address)?.send("GET /health/readiness HTTP/1.1\r\nHost: x\r\n\r\n")?;
    if answer.status == 200 { Ok(()) } else { Err(answer.body.into()) }
}

/// Resident memory of a process, in MiB.
pub(super) fn resident(pid: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// A server under load, and what its clients hold.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    clients: Vec<Client>,
    _server: Server,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Default)]
struct Client {
    name: String,
    access: String,
    refresh: String,
    registered: u32,
    logins: u32,
}

impl Contestant {
    fn sqlite(binary: &Path) -> Outcome<Self> {
        Self::new("SQLite", binary, tempfile::tempdir()?, &[])
    }

    fn postgres(binary: &Path, postgres: &Postgres) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let url = postgres.url();
        let env = [("GATEWRIGHT_DATABASE__URL", url.as_str())];
        for command in [["keys", "init"].as_slice(), &["migrate"]] {
            let builder = Server::builder(binary).args(command).folder(folder.path());
            let finished =
                env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).run("");
            if !finished.status.success() {
                return Err(finished.stderr.into());
            }
        }
        Self::new("PostgreSQL", binary, folder, &env)
    }

    /// Argon2id at its cheapest: these figures are of everything around the hash, which has its own.
    fn new(
        name: &'static str,
        binary: &Path,
        folder: tempfile::TempDir,
        env: &[(&str, &str)],
    ) -> Outcome<Self> {
        let port = testkit::free_port();
        let cheap = [
            ("GATEWRIGHT_PASSWORDS__ARGON2_MEMORY", "8KiB"),
            ("GATEWRIGHT_PASSWORDS__ARGON2_ITERATIONS", "1"),
        ];
        let server = start(binary, folder.path(), port, &[env, &cheap].concat())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { name, address, clients: Vec::new(), _server: server, _folder: folder })
    }

    /// Registers and logs in every client.
    fn settle(&mut self) -> Outcome<()> {
        let mut connection = Connection::open(self.address)?;
        for index in 0..CONNECTIONS {
            let mut client = Client { name: format!("client{index}"), ..Client::default() };
            register(&mut connection, &client.name)?;
            log_in(&mut connection, &mut client)?;
            self.clients.push(client);
        }
        Ok(())
    }
}

fn register(connection: &mut Connection, name: &str) -> Outcome<()> {
    let body = format!(r#"{{"email":"{name}@example.com","username":"{name}","password":"{PASSWORD}"}}"#);
    let answer = connection.send(&post("/api/v1/auth/register", JSON, &body))?;
    if answer.status == 201 { Ok(()) } else { Err(answer.body.into()) }
}

fn log_in(connection: &mut Connection, client: &mut Client) -> Outcome<()> {
    let body = format!("username={}&password={PASSWORD}", client.name);
    keep(client, &connection.send(&post("/api/v1/auth/token", FORM, &body))?)
}

fn refresh(connection: &mut Connection, client: &mut Client) -> Outcome<()> {
    let body = format!(r#"{{"refresh_token":"{}"}}"#, client.refresh);
    keep(client, &connection.send(&post("/api/v1/auth/refresh", JSON, &body))?)
}

fn keep(client: &mut Client, answer: &super::load::Answer) -> Outcome<()> {
    let member = |name: &str| {
        let rest = answer.body.split_once(&format!("\"{name}\":\"")).map(|(_, rest)| rest)?;
        rest.split('"').next().map(str::to_owned)
    };
    match (answer.status, member("access_token"), member("refresh_token")) {
        (200, Some(access), Some(refresh)) => {
            (client.access, client.refresh) = (access, refresh);
            Ok(())
        }
        _ => Err(answer.body.clone().into()),
    }
}

type Step = fn(usize, &mut Client, &mut Connection) -> Outcome<()>;

/// The four verbs, by what is printed.
const VERBS: [(&str, Step); 4] = [
    ("register", |index, client, connection| {
        client.registered += 1;
        register(connection, &format!("u{index}-{}", client.registered))
    }),
    ("login", |index, client, connection| {
        // Everybody who registered, in turn: nobody comes to the hundred sessions where the oldest has to end.
        client.logins = client.logins % client.registered + 1;
        client.name = format!("u{index}-{}", client.logins);
        log_in(connection, client)
    }),
    ("refresh", |_, client, connection| refresh(connection, client)),
    ("me", |_, client, connection| {
        let answer = connection.send(&get("/api/v1/auth/me", &client.access))?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.into()) }
    }),
];

fn rounds(contestants: &mut [Contestant], trivial: &(Server, SocketAddr)) -> Outcome<()> {
    let mut base = Figures::new("a trivial axum handler", "/s");
    let mut figures: Vec<Vec<Figures>> = contestants
        .iter()
        .map(|one| {
            VERBS.iter().map(|(verb, _)| Figures::new(format!("{verb}, {}", one.name), "/s")).collect()
        })
        .collect();
    for _ in 0..ROUNDS {
        let mut nothing = vec![(); CONNECTIONS];
        base.push(throughput(trivial.1, &mut nothing, SPAN, |_, (), connection| {
            connection.send(&get("/", "x")).map(|_| ())
        })?);
        for (contestant, figures) in contestants.iter_mut().zip(&mut figures) {
            for ((_, step), figures) in VERBS.iter().zip(figures) {
                figures.push(throughput(contestant.address, &mut contestant.clients, SPAN, step)?);
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

/// A server that does nothing, as a process of its own.
fn trivial() -> Outcome<(Server, SocketAddr)> {
    let port = testkit::free_port();
    let own: PathBuf = std::env::current_exe()?;
    let server =
        Server::builder(own).args(["bench", "trivial", &port.to_string()]).ready_on_line("up").start();
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
