//! Plays a scenario against a server.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join;
use model::Secret;
use outbound::{Answer, HttpClient};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::dialect::{Sent, Target, User};
use super::scenarios::{Expected, LOGIN, Place, Program, Step};

/// Between processes that begin one after the other.
const PAUSE: Duration = Duration::from_secs(2);
/// How much longer than the server's grace time a step waits.
const MARGIN: Duration = Duration::from_secs(2);
/// How often a request is sent again that is limited or that the server is too busy for.
const TRIES: usize = 3;
/// The wait before it is, where the server names none.
const WAIT: Duration = Duration::from_secs(1);

/// How sessions begin.
pub(super) enum Login {
    /// By a password.
    Password(User),
    /// By a command that prints a refresh token: for servers that log in with a browser.
    Command(String),
}

/// A server and how it is probed.
pub(super) struct Probe {
    pub(super) client: HttpClient,
    pub(super) target: Target,
    pub(super) login: Login,
    /// How long the server may answer a used token again.
    pub(super) grace: Duration,
    /// Held by a login: one that is limited is waited for before the next one is sent, and counts.
    pub(super) turn: Mutex<()>,
}

/// The tokens of an answer.
struct Tokens {
    /// Absent if the server does not exchange it (RFC 6749 §6).
    refresh: Option<Secret<String>>,
    access: Option<Secret<String>>,
}

/// The answer to a request for tokens.
enum Outcome {
    Tokens(Tokens),
    /// What the server says instead, and whether it refuses the token.
    Other {
        text: String,
        is_refusal: bool,
    },
}

/// A session while a scenario is played.
struct Session<'a> {
    probe: &'a Probe,
    name: &'static str,
    places: BTreeMap<Place, Secret<String>>,
    /// The access token of the app's last answer.
    access: Option<Secret<String>>,
}

impl Probe {
    /// Plays the steps of one session.
    ///
    /// # Errors
    /// What went wrong, as a sentence.
    pub(super) async fn play(&self, name: &'static str, steps: &[Step]) -> Result<(), String> {
        let agent = agent(name, Program::App);
        let (refresh, access) = self.log_in(&agent).await?;
        let mut session = Session { probe: self, name, places: BTreeMap::from([(LOGIN, refresh)]), access };
        for (at, step) in (1..).zip(steps) {
            session.take(*step).await.map_err(|why| format!("step {at} of {}: {why}", steps.len()))?;
        }
        match steps.last() {
            Some(Step::Sends { expected: Expected::Refusal, .. }) => Ok(()),
            _ => session.read_user().await,
        }
    }

    /// A new session: its refresh token, and its access token if the login gives one.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn log_in(
        &self,
        agent: &str,
    ) -> Result<(Secret<String>, Option<Secret<String>>), String> {
        let user = match &self.login {
            Login::Password(user) => user,
            Login::Command(command) => return Ok((printed_by(command).await?, None)),
        };
        let _turn = self.turn.lock().await;
        match self.tokens(|| self.target.login(user, agent)).await? {
            Outcome::Tokens(Tokens { refresh: Some(refresh), access }) => Ok((refresh, access)),
            Outcome::Tokens(_) => Err("the login has no refresh token in its answer".to_owned()),
            Outcome::Other { text, .. } => Err(format!("the login is answered {text}")),
        }
    }

    async fn tokens(&self, request: impl Fn() -> Sent) -> Result<Outcome, String> {
        let answer = self.send(request).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = |name| body.get(name)?.as_str().map(|token| Secret::new(token.to_owned()));
        let tokens = Tokens { refresh: token("refresh_token"), access: token("access_token") };
        let is_answered = answer.status == 200 && (tokens.refresh.is_some() || tokens.access.is_some());
        if is_answered {
            return Ok(Outcome::Tokens(tokens));
        }
        let is_refusal = matches!(answer.status, 400 | 401 | 403);
        Ok(Outcome::Other { text: told(answer.status, &body), is_refusal })
    }

    /// Sends a request, again as long as the server is busy.
    pub(super) async fn send(&self, request: impl Fn() -> Sent) -> Result<Answer, String> {
        let mut tries = 1;
        loop {
            let request = request().map_err(|_| "the URL is not one of http or https".to_owned())?;
            let answer = self.client.send(request).await?;
            if tries == TRIES || !matches!(answer.status, 429 | 503) {
                return Ok(answer);
            }
            sleep(answer.retry_after.unwrap_or(WAIT)).await;
            tries += 1;
        }
    }
}

impl Session<'_> {
    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Pause => sleep(PAUSE).await,
            Step::OutliveGrace => sleep(self.probe.grace.saturating_add(MARGIN)).await,
            Step::TwoTabs { place } => {
                let (first, second) =
                    join(self.refresh(Program::App, place), self.refresh(Program::App, place)).await;
                for outcome in [first?, second?] {
                    self.keep(outcome, place, &[place], "one of two tabs")?;
                }
            }
            Step::Process { memory, store } => self.process(memory, store).await?,
            Step::Sends { program, from, to, expected } => {
                let outcome = self.refresh(program, from).await?;
                self.judge(program, from, to, expected, outcome)?;
            }
        }
        Ok(())
    }

    /// Compares an answer with the expected one, and keeps its tokens.
    fn judge(
        &mut self,
        program: Program,
        from: Place,
        to: Option<Place>,
        expected: Expected,
        outcome: Outcome,
    ) -> Result<(), String> {
        let name = match program {
            Program::App => "the app",
            Program::Thief => "the thief",
        };
        match (expected, outcome) {
            (Expected::Refusal, Outcome::Tokens(_)) => {
                Err(format!("{name} gets new tokens for {from}, which must be refused"))
            }
            (Expected::Refusal, Outcome::Other { text, is_refusal: false }) => {
                Err(format!("{name} is answered {text} for {from}, which must be refused"))
            }
            (Expected::Refusal, Outcome::Other { .. }) | (Expected::Anything, _) => Ok(()),
            (Expected::Tokens, outcome) => self.keep(outcome, from, to.as_slice(), name),
        }
    }

    /// A process that reads the shared store when its own token is refused.
    async fn process(&mut self, memory: Place, store: Place) -> Result<(), String> {
        let own = if self.places.contains_key(memory) { memory } else { LOGIN };
        let outcome = self.refresh(Program::App, own).await?;
        let places = [memory, store];
        if let Outcome::Other { is_refusal: true, text } = outcome {
            let again = self.refresh(Program::App, store).await?;
            let name = format!("a process ({own}: {text})");
            return self.keep(again, store, &places, &name);
        }
        self.keep(outcome, own, &places, "a process")
    }

    async fn refresh(&self, program: Program, from: Place) -> Result<Outcome, String> {
        let token = self.places.get(from).ok_or_else(|| format!("{from} is not there"))?;
        let agent = agent(self.name, program);
        self.probe.tokens(|| self.probe.target.refresh(token, &agent)).await
    }

    /// Keeps the tokens of an answer, which must be there.
    fn keep(&mut self, outcome: Outcome, from: Place, to: &[Place], name: &str) -> Result<(), String> {
        let tokens = match outcome {
            Outcome::Tokens(tokens) => tokens,
            Outcome::Other { text, .. } => return Err(format!("{name} is answered {text} for {from}")),
        };
        // A server that does not exchange the token keeps it valid.
        let Some(refresh) = tokens.refresh.or_else(|| self.places.get(from).cloned()) else { return Ok(()) };
        for place in to {
            self.places.insert(*place, refresh.clone());
            self.access.clone_from(&tokens.access);
        }
        Ok(())
    }

    /// The newest access token works, where the dialect can tell.
    async fn read_user(&self) -> Result<(), String> {
        let Some(access) = &self.access else { return Ok(()) };
        let agent = agent(self.name, Program::App);
        if self.probe.target.user(access, &agent).is_none() {
            return Ok(());
        }
        let request =
            || self.probe.target.user(access, &agent).unwrap_or_else(|| Ok(http::Request::default()));
        let answer = self.probe.send(request).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status {
            200 => Ok(()),
            status => Err(format!("the newest access token is answered {}", told(status, &body))),
        }
    }
}

/// The user agent of a program: sessions of several scenarios are those of several clients.
pub(super) fn agent(scenario: &str, program: Program) -> String {
    let name = match program {
        Program::App => "app",
        Program::Thief => "elsewhere",
    };
    format!("gatewright-probe/{} ({scenario}; {name})", env!("CARGO_PKG_VERSION"))
}

/// A status, with the first code or sentence of the body.
fn told(status: u16, body: &Value) -> String {
    let names = ["error_code", "code", "error", "msg", "message"];
    let texts = names.iter().filter_map(|name| body.get(*name)?.as_str());
    texts.take(1).fold(status.to_string(), |told, text| format!("{told} {text}"))
}

/// The refresh token that a command prints.
async fn printed_by(command: &str) -> Result<Secret<String>, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = spawn_blocking(move || shell.output()).await.map_err(|why| why.to_string())?;
    let output = output.map_err(|why| format!("the login command cannot run: {why}"))?;
    let printed = String::from_utf8(output.stdout).unwrap_or_default();
    match printed.lines().next().map(str::trim) {
        Some(token) if output.status.success() && !token.is_empty() => Ok(Secret::new(token.to_owned())),
        _ => Err(format!("the login command printed no refresh token ({})", output.status)),
    }
}
