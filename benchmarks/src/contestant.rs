//! A server under load, and clients that hold what it gave them.

use std::net::SocketAddr;
use std::path::Path;

use testkit::process::Server;

use crate::Outcome;
use crate::load::{Answer, Connection, get, post};

/// Clients at once.
pub(super) const CONNECTIONS: usize = 64;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "TestPass123!";

/// Starts a server with Argon2id at its cheapest.
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

/// Starts `program` with `arguments`, which is to become a server on `port` of this machine, and ready when this
/// returns.
pub(super) fn start(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    port: u16,
    env: &[(&str, &str)],
) -> Outcome<Server> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut builder = Server::builder(program)
        .args(arguments)
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

/// A metric without labels, of the page that is served at `operations`.
pub(super) fn metric(operations: SocketAddr, name: &str) -> Outcome<f64> {
    let page = Connection::open(operations)?.send(&get("/metrics", ""))?.body;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    page.lines().find_map(value).ok_or_else(|| format!("no metric {name}").into())
}

/// A server under load, and what its clients hold.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    operations: SocketAddr,
    pub(super) clients: Vec<Client>,
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
}

/// What a client holds.
#[derive(Clone, Default)]
pub(super) struct Client {
    name: String,
    access: String,
    refresh: String,
    registered: u32,
    logins: u32,
}

impl Contestant {
    /// On SQLite, or on the database of `url`. `commands` is the build that makes keys and tables there, `binary` the
    /// one that serves. Argon2id is at its cheapest: these figures are of everything around it, which has its own.
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
        let (address, operations) = (local(testkit::free_port()), local(testkit::free_port()));
        let env: Vec<_> = url.iter().chain(env).copied().collect();
        let server = serve(binary, folder.path(), (address, operations), &env)?;
        Ok(Self { name, address, operations, clients: Vec::new(), server, folder })
    }

    /// The same, stopped and started again with these settings.
    pub(super) fn restart(mut self, binary: &Path, env: &[(&str, &str)]) -> Outcome<Self> {
        self.server.terminate();
        self.server = serve(binary, self.folder.path(), (self.address, self.operations), env)?;
        Ok(self)
    }

    /// A metric without labels.
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
            (client.access, client.refresh) = (access, refresh);
            Ok(())
        }
        _ => Err(answer.body.clone().into()),
    }
}

/// One request of a client, and what it keeps of the answer.
pub(super) type Step = fn(usize, &mut Client, &mut Connection) -> Outcome<()>;

/// Somebody new.
pub(super) fn sign_up(index: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    client.registered += 1;
    register(connection, &format!("u{index}-{}", client.registered))
}

/// Everybody who registered, in turn: nobody comes to the hundred sessions where the oldest has to end.
pub(super) fn sign_in(index: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    client.logins = client.logins % client.registered + 1;
    client.name = format!("u{index}-{}", client.logins);
    log_in(connection, client)
}

/// The next token of the same session.
pub(super) fn refresh(_: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    let body = format!(r#"{{"refresh_token":"{}"}}"#, client.refresh);
    keep(client, &connection.send(&post("/api/v1/auth/refresh", JSON, &body))?)
}

/// Who the client is.
pub(super) fn me(_: usize, client: &mut Client, connection: &mut Connection) -> Outcome<()> {
    let answer = connection.send(&get("/api/v1/auth/me", &client.access))?;
    if answer.status == 200 { Ok(()) } else { Err(answer.body.into()) }
}
