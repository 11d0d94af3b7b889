//! Logins and refreshes with an audit trail, against the same server without one.

use testkit::postgres::Postgres;
use tokio::time::Instant;

use super::lock::drained;
use super::{Builds, PAIRS, SPAN};
use crate::Outcome;
use crate::contestant::{Contestant, Step, refresh, sign_in, sign_up};
use crate::load::load;
use crate::rounds::Figures;

const ENGINES: [&str; 2] = ["sqlite", "postgres"];

/// The compared operations: name, request, and whether hashes have their default cost. The cheapest hashes
/// show the cost of everything else.
const OPERATIONS: [(&str, Step, bool); 3] =
    [("login", sign_in, true), ("login-cheap", sign_in, false), ("refresh", refresh, false)];

/// The default cost of Argon2id.
const DEFAULT_HASH: [(&str, &str); 2] =
    [("GATEWRIGHT_PASSWORDS__ARGON2_MEMORY", "19MiB"), ("GATEWRIGHT_PASSWORDS__ARGON2_ITERATIONS", "2")];

/// Prints the ratio of each operation on each engine, or of those that `only` names.
pub(super) fn run(builds: &Builds, only: &[&str]) -> Outcome<()> {
    let names = || ENGINES.into_iter().chain(OPERATIONS.iter().map(|(name, ..)| *name));
    if let Some(unknown) = only.iter().find(|part| !names().any(|name| name == **part)) {
        let known: Vec<_> = names().collect();
        return Err(format!("{unknown} is none of {}", known.join(", ")).into());
    }
    let engines: Vec<_> = ENGINES.into_iter().filter(|name| only.contains(name)).collect();
    let operations: Vec<_> = OPERATIONS.into_iter().filter(|(name, ..)| only.contains(name)).collect();
    println!("with a trail against without, {PAIRS} interleaved pairs of {SPAN:?}");
    for engine in if engines.is_empty() { ENGINES.to_vec() } else { engines } {
        let chosen = if operations.is_empty() { OPERATIONS.to_vec() } else { operations.clone() };
        for (name, step, by_default) in chosen {
            let env: &[_] = if by_default { &DEFAULT_HASH } else { &[] };
            Pair::open(builds, engine, env)?.compare(&format!("{name}, {engine}"), step)?;
        }
    }
    Ok(())
}

/// The same server with and without a trail.
struct Pair {
    with: Contestant,
    without: Contestant,
    _postgres: Option<Postgres>,
}

impl Pair {
    fn open(builds: &Builds, engine: &str, env: &[(&str, &str)]) -> Outcome<Self> {
        // Two servers with separate pools.
        let postgres = (engine == "postgres")
            .then(|| Postgres::builder().fsync(true).setting("max_connections", "300").start());
        let open = |name, binary| {
            let url = postgres.as_ref().map(|postgres| postgres.database(name));
            let mut opened = Contestant::open(name, &builds.gatewright, binary, url.as_deref(), env)?;
            opened.settle()?;
            // Registers users for the logins.
            load(opened.address, &mut opened.clients, SPAN, sign_up)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(opened)
        };
        let with = open("with", &builds.gatewright)?;
        let without = open("without", &builds.unaudited)?;
        drained(&with)?;
        Ok(Self { with, without, _postgres: postgres })
    }

    /// Prints the rates of both under one operation, their ratio, and the events left to ship after each
    /// turn.
    fn compare(mut self, title: &str, step: Step) -> Outcome<()> {
        let mut with = Figures::new(format!("{title}, with"), "/s");
        let mut without = Figures::new(format!("{title}, without"), "/s");
        let mut ratio = Figures::new(format!("{title}, with / without"), "x");
        let mut left = Figures::new(format!("{title}, events left to ship"), "");
        let mut after = Figures::new(format!("{title}, shipped after"), "ms");

        for pair in 0..PAIRS {
            let mut measured = [0.0; 2];
            // The first of a pair has the quieter disk, so the order alternates.
            for turn in [pair % 2, 1 - pair % 2] {
                let one = if turn == 0 { &mut self.with } else { &mut self.without };
                let rate = load(one.address, &mut one.clients, SPAN, step)?.rate;
                if let Some(measured) = measured.get_mut(turn) {
                    *measured = rate;
                }

                if turn == 0 {
                    // The backlog of one server must not slow the other.
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
