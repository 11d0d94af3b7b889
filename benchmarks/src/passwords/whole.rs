//! The whole server under a login storm, against the library alone on all cores.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::instance::{Instance, Scheme, per_second};
use super::library;
use crate::Outcome;
use crate::rounds::{Figures, quantile};

const CLIENTS: usize = 64;
const PAIRS: usize = 3;
const SPAN: Duration = Duration::from_secs(6);

/// Prints both schemes, beside another build of the server if one is given.
pub(super) fn run(binary: &Path, other: Option<&Path>) -> Outcome<()> {
    scheme(binary, other, Scheme::Bcrypt12)?;
    scheme(binary, other, Scheme::Argon2id)
}

fn scheme(binary: &Path, other: Option<&Path>, scheme: Scheme) -> Outcome<()> {
    println!(
        "whole server, {scheme}, {CLIENTS} clients log in at once, {PAIRS} interleaved pairs of {SPAN:?}"
    );
    let instance = Instance::open(binary, scheme.env())?;
    instance.register(CLIENTS)?;
    let beside = other.map(|other| Instance::open(other, scheme.env())).transpose()?;
    if let Some(beside) = &beside {
        beside.register(CLIENTS)?;
    }

    let mut alone = Figures::new("the library alone, all cores", "/s");
    let mut ordinary = Figures::new("the ordinary crate alone, all cores", "/s");
    let mut above = Figures::new("server / ordinary crate alone", "x");
    let mut server = Figures::new("the server", "/s");
    let mut former = Figures::new("the other server", "/s");
    let mut part = Figures::new("server / library", "x");
    let mut tail = Figures::new("p99 / (clients / throughput)", "x");
    let mut gain = Figures::new("server / other server", "x");

    for _ in 0..PAIRS {
        let library = alone_on_all_cores(|| library::hasher(scheme));
        let plain = alone_on_all_cores(|| library::plain(scheme));
        let until = Instant::now() + SPAN;
        let samples = instance.storm(CLIENTS, CLIENTS, until)?;
        refuse_failures(&samples)?;
        let rate = per_second(&samples, SPAN + until.elapsed());
        alone.push(library);
        ordinary.push(plain);
        above.push(rate / plain);
        server.push(rate);
        part.push(rate / library);
        tail.push(quantile(samples.iter().map(|sample| sample.took), 0.99) / 1e3 * rate / 64.0);
        if let Some(beside) = &beside {
            let until = Instant::now() + SPAN;
            let samples = beside.storm(CLIENTS, CLIENTS, until)?;
            let theirs = per_second(&samples, SPAN + until.elapsed());
            former.push(theirs);
            gain.push(rate / theirs);
        }
    }
    for figures in [&alone, &ordinary, &server, &part, &above, &tail] {
        figures.print(None);
    }
    if beside.is_some() {
        former.print(None);
        gain.print(None);
    }
    Ok(())
}

fn refuse_failures(samples: &[super::instance::Sample]) -> Outcome<()> {
    match samples.iter().find(|sample| sample.status != 200) {
        None => Ok(()),
        Some(other) => Err(format!("a login was answered {}", other.status).into()),
    }
}

/// Hashes per second on as many threads as cores, without other load.
fn alone_on_all_cores(make: impl Fn() -> Box<dyn FnMut() -> usize> + Sync) -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let until = Instant::now() + SPAN / 2;
    let begun = Instant::now();
    let work = || {
        let mut hash = make();
        let mut done = 0;
        while Instant::now() < until {
            done += hash();
        }
        done
    };
    let work = &work;
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / begun.elapsed().as_secs_f64()
}
