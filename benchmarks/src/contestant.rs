//! A server under load, and the clients with their tokens.

use std::net::SocketAddr;
use std::path::Path;

use testkit::process::Server;

use crate::Outcome;
use crate::load::{Answer, Connection, get, post};

/// Concurrent clients.
pub(super) const CONNECTIONS: usize = 64;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "TestPass123!";

/// Starts a server with the cheapest Argon2id parameters.
fn serve(
    binary: &Path,
    folder: &Path,
    (address, operations): (SocketAddr, SocketAddr),
    env: &[(&str, &str)],
) -> Outcome<Server> {
    let listen = operations.to_string();
    let cheap = [
        ("GATEWRIGHT_SERVER__OPS_LISTEN", listen.as_str()),
        ("GATEWRIGHT_PASSWORDS__ARGON2_MEMORY", "8KiB"),
        ("GATEWRIGHT_PASSWORDS__ARGON2_ITERATIONS", "1"),
    ];
    start(binary, &["serve"], folder, address.port(), &[&cheap, env].concat())
}

/// Starts `program` with `arguments` as a server on `port` of this machine, and returns when it is ready.
pub(super) fn start(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    port: u16,
    env: &[(&str, &str)],
) -> Outcome<Server> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let builder = Server::builder(program).args(arguments).folder(folder);
    let mut builder = if has_limits(program) { builder.without_limits() } else { builder }
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

/// Whether this build has limits of requests.
fn has_limits(program: &Path) -> bool {
    Server::builder(program).args(["config", "explain", "rate_limits.global"]).run("").status.success()
}

/// Fails unless the server reports readiness.
pub(super) fn readiness(address: SocketAddr) -> Outcome<()> {
    let answer = Connection::open(address)?.send("GET /health/readiness HTTP/1.1\r\nHost: x\r\n\r\n")?;
    if answer.status == 200 { Ok(()) } else { Err(answer.body.into()) }
}

/// The resident memory of a process, in MiB.
pub(super) fn resident(pid: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The time that processors have spent on a process.
pub(super) fn processor_seconds(pid: u32) -> Outcome<f64> {
    // A hundred ticks are a second.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).ok_or("no name")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Reads a metric without labels from the server at `operations`.
pub(super) fn metric(operations: SocketAddr, name: &str) -> Outcome<f64> {
    let page = Connection::open(operations)?.send(&get("/metrics", ""))?.body;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    page.lines().find_map(value).ok_or_else(|| format!("no metric {name}").into())
}

/// A server under load, and the state of its clients.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    operations: SocketAddr,
    pub(super) clients: Vec<Client>,
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
}

/// The state of a client.
#[derive(Clone, Default)]
pub(super) struct Client {
    name: String,
    access: String,
    refresh: String,
    registered: u32,
    logins: u32,
}

impl Contestant {
    /// Starts a server on SQLite, or on the database of `url`. `commands` is the build that creates keys and
    /// tables there, `binary` the one that serves. Argon2id has its cheapest parameters: these figures cover
    /// everything else, hashing has its own benchmark.
    pub(super) fn open(
        name: &'static str,
        commands: &Path,
        binary: &Path,
        url: Option<&str>,
        env: &[(&str, &str)],
    ) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let url = url.map(|url| ("GATEWRIGHT_DATABASE__URL", url));
        let prepared: &[&[&str]] = if url.is_some() { &[&["keys", "init"], &["migrate"]] } else { &[] };
        for command in prepared {
            let builder = Server::builder(commands).args(*command).folder(folder.path());
            let finished =
                url.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).run("");
            if !finished.status.success() {
                return Err(finished.stderr.into());
            }
        }

        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let address = local(testkit::free_port());
        let operations = local(testkit::free_port());
        let env: Vec<_> = url.iter().chain(env).copied().collect();
        let server = serve(binary, folder.path(), (address, operations), &env)?;
        Ok(Self { name, address, operations, clients: Vec::new(), server, folder })
    }

    /// Restarts the server with these settings.
    pub(super) fn restart(mut self, binary: &Path, env: &[(&str, &str)]) -> Outcome<Self> {
        self.server.terminate();
        self.server = serve(binary, self.folder.path(), (self.address, self.operations), env)?;
        Ok(self)
    }

    /// Reads a metric without labels.
    pub(super) fn metric(&self, name: &str) -> Outcome<f64> {
        metric(self.operations, name)
    }

    /// Registers and logs in every client.
    pub(super) fn settle(&mut self) -> Outcome<()> {
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

fn keep(client: &mut Client, answer: &Answer) -> Outcome<()> {
    let member = |name: &str| {
        let rest = answer.body.split_once(&format!("\"{name}\":\"")).map(|(_, rest)| rest)?;
        rest.split('"').next().map(str::to_owned)
    };
    match (answer.status, member("access_token"), member("refresh_token")) {
        (200, Some(access), Some(refresh)) => {
            client.access = access;
            client.refresh = refresh;
            Ok(())
        }
        _ => Err(answer.body.clone().into()),
    }
}

/// Sends one request of a client and keeps what it needs of the answer.
pub(super) type Step = fn(usize, &mut Client, &mut Connection) -> Outcome<()>;

/// Registers a new user.
pub(super) fn sign_up(index: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    client.registered += 1;
    register(connection, &format!("u{index}-{}", client.registered))
}

/// Logs in the client's registered users in turn, so that no user reaches the limit of a hundred sessions,
/// where the oldest is ended.
pub(super) fn sign_in(index: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    client.logins = client.logins % client.registered + 1;
    client.name = format!("u{index}-{}", client.logins);
    log_in(connection, client)
}

/// Refreshes the client's session.
pub(super) fn refresh(_: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    let body = format!(r#"{{"refresh_token":"{}"}}"#, client.refresh);
    keep(client, &connection.send(&post("/api/v1/auth/refresh", JSON, &body))?)
}

/// Reads the client's own account.
pub(super) fn me(_: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    let answer = connection.send(&get("/api/v1/auth/me", &client.access))?;
    if answer.status == 200 { Ok(()) } else { Err(answer.body.into()) }
}
