//! A server with users, and clients that log in.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use testkit::process::Server;
use tokio::time::Instant;

use crate::Outcome;
use crate::contestant::{metric, resident, start};
use crate::load::{Answer, Connection, post};

pub(super) const PASSWORD: &str = "a rather long password";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The scheme of new passwords.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Bcrypt12,
    Argon2id,
}

impl Scheme {
    pub(super) fn env(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bcrypt12 => &[("GATEWRIGHT_PASSWORDS__ALGORITHM", "bcrypt")],
            Self::Argon2id => &[],
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt12 => "bcrypt 12",
            Self::Argon2id => "Argon2id 19 MiB t=2",
        })
    }
}

/// A running server on SQLite.
pub(super) struct Instance {
    pub(super) address: SocketAddr,
    operations: SocketAddr,
    server: Server,
    pub(super) folder: tempfile::TempDir,
}

/// The result of one login.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) retry_after: Option<u64>,
}

impl Instance {
    pub(super) fn open(binary: &Path, env: &[(&str, &str)]) -> Outcome<Self> {
        Self::open_in(tempfile::tempdir()?, binary, &["serve"], env)
    }

    /// Starts `program` with `arguments` as a server in this folder.
    pub(super) fn open_in(
        folder: tempfile::TempDir,
        program: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
    ) -> Outcome<Self> {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let address = local(testkit::free_port());
        let operations = local(testkit::free_port());
        let listen = operations.to_string();
        let fixed = [
            ("GATEWRIGHT_SERVER__OPS_LISTEN", listen.as_str()),
            ("GATEWRIGHT_SERVER__MAX_CONNECTIONS", "4000"),
        ];
        let server = start(program, arguments, folder.path(), address.port(), &[&fixed, env].concat())?;
        Ok(Self { address, operations, server, folder })
    }

    /// Stops the server and returns its folder.
    pub(super) fn close(self) -> tempfile::TempDir {
        drop(self.server);
        self.folder
    }

    pub(super) fn register(&self, users: usize) -> Outcome<()> {
        const AT_ONCE: usize = 8;
        each(AT_ONCE, |worker| {
            let mut connection = Connection::open(self.address)?;
            for user in (worker..users).step_by(AT_ONCE) {
                let name = name(user);
                let body = format!(
                    r#"{{"email":"{name}@example.com","username":"{name}","password":"{PASSWORD}"}}"#
                );
                let answer = connection.send(&post("/api/v1/auth/register", JSON, &body))?;
                if answer.status != 201 {
                    return Err(answer.body.into());
                }
            }
            Ok(Vec::<()>::new())
        })?;
        Ok(())
    }

    /// Logs a user in and returns the access token.
    pub(super) fn token(&self, user: usize) -> Outcome<String> {
        let mut connection = Connection::open(self.address)?;
        let answer = connection.send(&login(&name(user), PASSWORD))?;
        let rest = answer.body.split_once("\"access_token\":\"").ok_or("no token")?.1;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }

    pub(super) fn memory(&self) -> Outcome<f64> {
        resident(self.server.pid())
    }

    /// Reads a metric without labels.
    pub(super) fn metric(&self, name: &str) -> Outcome<f64> {
        metric(self.operations, name)
    }

    /// Lets `clients` log in repeatedly until `until`; returns all results.
    pub(super) fn storm(&self, clients: usize, users: usize, until: Instant) -> Outcome<Vec<Sample>> {
        each(clients, |client| {
            let mut connection = Connection::open(self.address)?;
            let mut samples = Vec::new();
            while Instant::now() < until {
                samples.push(connection.login(&login(&name((client + samples.len()) % users), PASSWORD))?);
            }
            Ok(samples)
        })
    }
}

/// Runs `work` for each client on a separate thread; returns all results.
pub(super) fn each<T: Send>(
    clients: usize,
    work: impl Fn(usize) -> Outcome<Vec<T>> + Sync,
) -> Outcome<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let start = |client| {
            let small = std::thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, move || work(client))
        };
        let threads = (0..clients).map(start).collect::<Result<Vec<_>, _>>()?;
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })
}

impl Connection {
    /// Sends a login and measures its duration.
    pub(super) fn login(&mut self, request: &str) -> Outcome<Sample> {
        let begun = Instant::now();
        let Answer { status, retry_after, .. } = self.send(request)?;
        Ok(Sample { status, took: begun.elapsed(), retry_after })
    }
}

pub(super) fn name(user: usize) -> String {
    format!("user{user}")
}

pub(super) fn login(name: &str, password: &str) -> String {
    let password = password.replace(' ', "+");
    post("/api/v1/auth/token", FORM, &format!("username={name}&password={password}"))
}

/// The successful logins per second.
pub(super) fn per_second(samples: &[Sample], span: Duration) -> f64 {
    let done = samples.iter().filter(|sample| sample.status == 200).count();
    f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / span.as_secs_f64()
}
