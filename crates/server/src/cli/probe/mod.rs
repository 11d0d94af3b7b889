//! `gatewright probe`

mod dialect;
mod play;
mod scenarios;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum as _};
use futures_util::future::join_all;
use model::{Clock, Rng, Secret, hex};
use outbound::HttpClient;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::dialect::{Credentials, Dialect, Target, User};
use self::play::{Login, Probe, agent};
use self::scenarios::{Play, Program, Scenario, Step};
use super::progress::Progress;
use super::secret::{KnownPassword, secret_of};
use super::{Failure, Global, Output};

/// The environment variable of the user's password.
const PASSWORD_VARIABLE: &str = "PROBE_PASSWORD";
/// In seconds: the longest time of grace.
const HOUR: u64 = 3600;
/// The longest time that the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum ProbeCommand {
    Refresh(Refresh),
}

/// Tries whether a server signs honest clients out when they refresh their tokens
///
/// It plays what happens to real clients: two tabs that refresh at once, lost answers, a suspended phone,
/// processes that share a store of tokens. None of them may be signed out. A thief, whose requests have
/// another user agent, must be refused, and the session must end. Each scenario has a session of its own.
///
/// The server may be this one or another: choose its dialect. Without `--email` it registers a user of its
/// own, which it erases at the end where the server can. It sends about 150 requests, and only to the server
/// of the URL; where that limits logins, it waits. Exit status: 0 passed, 1 a scenario failed, 2 the
/// arguments are wrong or the login is refused.
#[derive(Args, Debug)]
pub(super) struct Refresh {
    /// The server, for example https://auth.example.com
    #[arg(long, value_name = "URL")]
    url: String,
    /// The protocol that the server speaks
    #[arg(long, value_enum, default_value = "gatewright")]
    dialect: Dialect,
    /// The user who logs in; the password comes from `--password-file`, from the environment variable
    /// `PROBE_PASSWORD` or from a prompt
    #[arg(long, value_name = "EMAIL")]
    email: Option<String>,
    #[command(flatten)]
    password: KnownPassword,
    /// A command that logs in and prints the refresh token of a new session, for servers that log in with a
    /// browser
    #[arg(long, value_name = "COMMAND", conflicts_with = "email")]
    login_command: Option<String>,
    /// The id of the client, where the server asks for one
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The file whose first line is the client's secret, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The scopes to ask for at a login, for example `offline_access` (dialect `oauth`)
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The file whose first line is sent as the header `apikey`, which Supabase asks for
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The authorities that may have signed the server's certificate, in PEM; without it, the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long the server may answer a used token again, in seconds; late steps wait two seconds longer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=HOUR))]
    grace: u64,
    /// Leaves out the scenarios that wait
    #[arg(long)]
    quick: bool,
    /// Plays one scenario after the other, for a server that ends all sessions of a user at once
    #[arg(long)]
    one_by_one: bool,
    /// Plays only this scenario; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

impl ProbeCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Refresh(refresh) => refresh.run(global, out).await,
        }
    }
}

impl Refresh {
    async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let scenarios = self.selected()?;
        let (probe, own) = self.probe(global).await?;
        // What is wrong with the login is wrong in every scenario.
        let first = probe.log_in(&agent("login", Program::App)).await;
        let (_, access) = first.map_err(Failure::usage)?;

        let progress = Progress::begin(None);
        progress.show(0, "playing; scenarios that come late wait".to_owned());
        let mut rows = Vec::with_capacity(scenarios.len());
        if self.one_by_one {
            for scenario in &scenarios {
                rows.push(self.play(&probe, scenario).await);
            }
        } else {
            rows = join_all(scenarios.iter().map(|scenario| self.play(&probe, scenario))).await;
        }
        progress.hide();

        if let (Some(user), Some(access)) = (own, access) {
            erase(&probe, &user, &access).await;
        }
        self.tell(out, &rows)
    }

    fn selected(&self) -> Result<Vec<Scenario>, Failure> {
        let all = scenarios::all();
        if let Some(unknown) = self.only.iter().find(|name| all.iter().all(|known| known.name != **name)) {
            let names: Vec<_> = all.iter().map(|known| known.name).collect();
            return Err(Failure::usage(format!("there is no scenario `{unknown}`: {}", names.join(", "))));
        }
        let is_selected =
            |scenario: &Scenario| self.only.is_empty() || self.only.iter().any(|name| name == scenario.name);
        Ok(all.into_iter().filter(is_selected).collect())
    }

    /// How to reach the server and log in; with the user if the command has registered one.
    async fn probe(&self, global: &Global) -> Result<(Probe, Option<User>), Failure> {
        let secret =
            |file: &Option<PathBuf>| file.as_ref().map(|file| secret_of(&global.interrupt, file)).transpose();
        let authorities = self.ca_file.as_ref().map(|path| {
            let read = std::fs::read(path);
            read.map_err(|why| Failure::usage(format!("{} cannot be read: {why}", path.display())))
        });
        let credentials = Credentials {
            client_id: self.client_id.clone(),
            client_secret: secret(&self.client_secret_file)?,
            scope: self.scope.clone(),
            api_key: secret(&self.api_key_file)?,
        };

        let url = self.url.trim_end_matches('/').to_owned();
        let authorities = authorities.transpose()?;
        let client = HttpClient::new(&url, authorities.as_deref(), ANSWER, Clock::system());
        let client = client.map_err(|why| Failure::usage(format!("--url: {why}")))?;
        let token_endpoint = match self.dialect {
            Dialect::Gatewright => format!("{url}/api/v1/auth/token"),
            Dialect::Gotrue => format!("{url}/token"),
            Dialect::Oauth => discover(&client, &url).await?,
        };
        let target = Target { dialect: self.dialect, url, token_endpoint, credentials };
        let grace = Duration::from_secs(self.grace);
        let (login, own) = match (&self.login_command, &self.email) {
            (Some(command), _) => (Login::Command(command.clone()), None),
            (None, Some(email)) => {
                let password = self.password.read(&global.interrupt, email, PASSWORD_VARIABLE)?;
                (Login::Password(User { email: email.clone(), password }), None)
            }
            (None, None) => {
                let user = register(&client, &target).await?;
                (Login::Password(user.clone()), Some(user))
            }
        };
        Ok((Probe { client, target, login, grace, turn: Mutex::default() }, own))
    }

    async fn play(&self, probe: &Probe, scenario: &Scenario) -> Value {
        let steps = match &scenario.play {
            Play::NeedsControl => {
                return row(scenario, "needs control", "the server's own tests do this", None);
            }
            Play::Steps(steps) => steps,
        };
        let waits = steps.iter().any(|step| matches!(step, Step::OutliveGrace | Step::Pause));
        if self.quick && waits {
            return row(scenario, "left out", "it waits (--quick)", None);
        }
        let began = Instant::now();
        let (outcome, why) = match probe.play(scenario.name, steps).await {
            Ok(()) => ("passed", String::new()),
            Err(why) => ("failed", why),
        };
        row(scenario, outcome, &why, Some(began.elapsed()))
    }

    fn tell(&self, out: &mut Output, rows: &[Value]) -> Result<(), Failure> {
        let count = |outcome: &str| {
            rows.iter().filter(|row| row.get("outcome").is_some_and(|it| it == outcome)).count()
        };
        let (passed, failed) = (count("passed"), count("failed"));
        if out.is_json() {
            let dialect = self.dialect.to_possible_value().map(|value| value.get_name().to_owned());
            out.value(&json!({
                "url": self.url,
                "dialect": dialect,
                "version": env!("CARGO_PKG_VERSION"),
                "passed": failed == 0,
                "scenarios": rows,
            }))?;
        } else {
            out.table(&["scenario", "outcome", "what"], rows)?;
            out.line(&format!("{passed} passed, {failed} failed"))?;
        }
        match failed {
            0 => Ok(()),
            1 => Err(Failure::failed("a scenario failed")),
            more => Err(Failure::failed(format!("{more} scenarios failed"))),
        }
    }
}

/// A row of the report: what happened, or what the scenario is about if there is nothing to say.
fn row(scenario: &Scenario, outcome: &str, why: &str, took: Option<Duration>) -> Value {
    let what = if why.is_empty() { scenario.about } else { why };
    json!({"scenario": scenario.name, "about": scenario.about, "outcome": outcome, "what": what,
        "seconds": took.map(|took| took.as_secs())})
}

/// The token endpoint that the metadata of an issuer names; without metadata, the URL itself.
async fn discover(client: &HttpClient, url: &str) -> Result<String, Failure> {
    for metadata in Target::metadata(url) {
        let request = http::Request::builder().uri(metadata).body(Vec::new());
        let request = request.map_err(|_| Failure::usage("--url is not a URL"))?;
        let answer = client.send(request).await.map_err(|why| Failure::failed(format!("{url}: {why}")))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(endpoint) = body.get("token_endpoint").and_then(Value::as_str) {
            return Ok(endpoint.to_owned());
        }
    }
    Ok(url.to_owned())
}

/// Registers a user with a random name and password.
async fn register(client: &HttpClient, target: &Target) -> Result<User, Failure> {
    let rng = Rng::system();
    let email = format!("probe-{}@example.com", hex::encode(&rng.bytes::<8>()));
    let user = User { email, password: Secret::new(hex::encode(&rng.bytes::<16>())) };
    let Some(request) = target.register(&user, &agent("register", Program::App)) else {
        return Err(Failure::usage(
            "no user can be registered in this dialect: give --email or --login-command",
        ));
    };
    let request = request.map_err(|_| Failure::usage("--url is not a URL"))?;
    let answer = client.send(request).await.map_err(Failure::failed)?;
    match answer.status {
        200 | 201 => Ok(user),
        status => {
            Err(Failure::usage(format!("the registration of a user is answered {status}: give --email")))
        }
    }
}

/// Erases the command's own user, as far as the server can.
async fn erase(probe: &Probe, user: &User, access: &Secret<String>) {
    if let Some(Ok(request)) = probe.target.erase(user, access, &agent("login", Program::App)) {
        // The report is there; what is left is a user without rights.
        let _ = probe.client.send(request).await;
    }
}
