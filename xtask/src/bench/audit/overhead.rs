//! Logins and refreshes with a trail, against the same server without one.

use testkit::postgres::Postgres;

use super::super::Outcome;
use super::super::contestant::{Contestant, Step, refresh, sign_in, sign_up};
use super::super::load::load;
use super::super::rounds::Figures;
use super::{Builds, PAIRS, SPAN};

const VERBS: [(&str, Step); 2] = [("login", sign_in), ("refresh", refresh)];

/// Prints the ratio of both verbs on these engines.
pub(super) fn run(builds: &Builds, engines: &[&str]) -> Outcome<()> {
    println!("with a trail against without, {PAIRS} interleaved pairs of {SPAN:?}, hashes at their cheapest");
    // Two servers with pools of their own.
    let postgres = Postgres::builder().fsync(true).setting("max_connections", "300").start();
    let urls = ["audited", "unaudited"].map(|name| postgres.database(name));
    let all = [("sqlite", "SQLite", None), ("postgres", "PostgreSQL", Some(&urls))];
    for (_, engine, urls) in all.into_iter().filter(|(name, ..)| engines.contains(name)) {
        let open = |name, binary, index: usize| {
            let url = urls.and_then(|urls| urls.get(index)).map(String::as_str);
            let mut opened = Contestant::open(name, &builds.gatewright, binary, url, &[])?;
            opened.settle()?;
            // Somebody to log in.
            load(opened.address, &mut opened.clients, SPAN, sign_up)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(opened)
        };
        let mut with = open("with", &builds.gatewright, 0)?;
        let mut without = open("without", &builds.unaudited, 1)?;
        for (verb, step) in VERBS {
            compare(&format!("{verb}, {engine}"), step, &mut with, &mut without)?;
        }
    }
    Ok(())
}

/// Prints the rates of both under one verb, and their ratio.
fn compare(title: &str, step: Step, with: &mut Contestant, without: &mut Contestant) -> Outcome<()> {
    let mut rates = [&*with, &*without].map(|one| Figures::new(format!("{title}, {}", one.name), "/s"));
    let mut ratio = Figures::new(format!("{title}, with / without"), "x");
    for pair in 0..PAIRS {
        let mut measured = [0.0; 2];
        // Who comes first has the quieter disk: they take turns.
        for turn in [pair % 2, 1 - pair % 2] {
            let one = if turn == 0 { &mut *with } else { &mut *without };
            let rate = load(one.address, &mut one.clients, SPAN, step)?.rate;
            if let (Some(measured), Some(figures)) = (measured.get_mut(turn), rates.get_mut(turn)) {
                *measured = rate;
                figures.push(rate);
            }
        }
        ratio.push(measured[0] / measured[1]);
    }
    for figures in rates.iter().chain([&ratio]) {
        figures.print(None);
    }
    Ok(())
}
