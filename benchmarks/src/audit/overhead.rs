//! Logins and refreshes with a trail, against the same server without one.

use testkit::postgres::Postgres;
use tokio::time::Instant;

use super::lock::drained;
use super::{Builds, PAIRS, SPAN};
use crate::Outcome;
use crate::contestant::{Contestant, Step, refresh, sign_in, sign_up};
use crate::load::load;
use crate::rounds::Figures;

const ENGINES: [&str; 2] = ["sqlite", "postgres"];

/// What is compared: its name, the request, and whether hashes cost what they do by default. The cheapest ones show
/// what is around them.
const VERBS: [(&str, Step, bool); 3] =
    [("login", sign_in, true), ("login-cheap", sign_in, false), ("refresh", refresh, false)];

/// Argon2id as it is without configuration.
const DEFAULT_HASH: [(&str, &str); 2] =
    [("GATEWRIGHT_PASSWORDS__ARGON2_MEMORY", "19MiB"), ("GATEWRIGHT_PASSWORDS__ARGON2_ITERATIONS", "2")];

/// Prints the ratio of each verb on each engine, or of those that `only` names.
pub(super) fn run(builds: &Builds, only: &[&str]) -> Outcome<()> {
    let names = || ENGINES.into_iter().chain(VERBS.iter().map(|(name, ..)| *name));
    if let Some(unknown) = only.iter().find(|part| !names().any(|name| name == **part)) {
        let known: Vec<_> = names().collect();
        return Err(format!("{unknown} is none of {}", known.join(", ")).into());
    }
    let engines: Vec<_> = ENGINES.into_iter().filter(|name| only.contains(name)).collect();
    let verbs: Vec<_> = VERBS.into_iter().filter(|(name, ..)| only.contains(name)).collect();
    println!("with a trail against without, {PAIRS} interleaved pairs of {SPAN:?}");
    for engine in if engines.is_empty() { ENGINES.to_vec() } else { engines } {
        for (name, step, by_default) in if verbs.is_empty() { VERBS.to_vec() } else { verbs.clone() } {
            let env: &[_] = if by_default { &DEFAULT_HASH } else { &[] };
            Pair::open(builds, engine, env)?.compare(&format!("{name}, {engine}"), step)?;
        }
    }
    Ok(())
}

/// The same server with a trail and without.
struct Pair {
    with: Contestant,
    without: Contestant,
    _postgres: Option<Postgres>,
}

impl Pair {
    fn open(builds: &Builds, engine: &str, env: &[(&str, &str)]) -> Outcome<Self> {
        // Two servers with pools of their own.
        let postgres = (engine == "postgres")
            .then(|| Postgres::builder().fsync(true).setting("max_connections", "300").start());
        let open = |name, binary| {
            let url = postgres.as_ref().map(|postgres| postgres.database(name));
            let mut opened = Contestant::open(name, &builds.gatewright, binary, url.as_deref(), env)?;
            opened.settle()?;
            // Somebody to log in.
            load(opened.address, &mut opened.clients, SPAN, sign_up)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(opened)
        };
        let (with, without) = (open("with", &builds.gatewright)?, open("without", &builds.unaudited)?);
        drained(&with)?;
        Ok(Self { with, without, _postgres: postgres })
    }

    /// Prints the rates of both under one verb, their ratio, and what is left to ship after each turn.
    fn compare(mut self, title: &str, step: Step) -> Outcome<()> {
        let mut with = Figures::new(format!("{title}, with"), "/s");
        let mut without = Figures::new(format!("{title}, without"), "/s");
        let mut ratio = Figures::new(format!("{title}, with / without"), "x");
        let mut left = Figures::new(format!("{title}, events left to ship"), "");
        let mut after = Figures::new(format!("{title}, shipped after"), "ms");
        for pair in 0..PAIRS {
            let mut measured = [0.0; 2];
            // Who comes first has the quieter disk: they take turns.
            for turn in [pair % 2, 1 - pair % 2] {
                let one = if turn == 0 { &mut self.with } else { &mut self.without };
                let rate = load(one.address, &mut one.clients, SPAN, step)?.rate;
                if let Some(measured) = measured.get_mut(turn) {
                    *measured = rate;
                }
                if turn == 0 {
                    // What is left is not the other's burden.
                    let begun = Instant::now();
                    left.push(self.with.metric("audit_backlog_events")?);
                    drained(&self.with)?;
                    after.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
            }
            with.push(measured[0]);
            without.push(measured[1]);
            ratio.push(measured[0] / measured[1]);
        }
        for figures in [&with, &without, &ratio, &left, &after] {
            figures.print(None);
        }
        Ok(())
    }
}
