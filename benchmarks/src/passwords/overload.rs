//! More logins than can be hashed: their answers and times, and whether one address delays another one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::instance::{Instance, PASSWORD, Sample, Scheme, each, login, name, per_second};
use crate::Outcome;
use crate::load::Connection;
use crate::rounds::{pause, quantile};

const USERS: usize = 64;
const BURST: usize = 1000;
const FLOOD: usize = 500;
const TRIES: usize = 3;

/// Prints the burst and the fairness.
pub(super) fn run(binary: &Path) -> Outcome<()> {
    burst(binary)?;
    fairness(binary)
}

fn burst(binary: &Path) -> Outcome<()> {
    let instance = Instance::open(binary, Scheme::Bcrypt12.env())?;
    instance.register(USERS)?;
    let span = Duration::from_secs(8);
    let peak = |instance: &Instance| -> Outcome<f64> {
        let until = Instant::now() + span;
        let samples = instance.storm(USERS, USERS, until)?;
        Ok(per_second(&samples, span + until.elapsed()))
    };

    let before = peak(&instance)?;
    let memory = instance.memory()?;
    println!("{BURST} logins at once, {}; {before:.1} a second at {USERS} clients", Scheme::Bcrypt12);

    let begun = Instant::now();
    let tries = each(BURST, |client| {
        let request = login(&name(client % USERS), PASSWORD);
        let mut samples = Vec::new();
        for attempt in 1..=TRIES {
            let sample = Connection::open(instance.address)?.login(&request)?;
            samples.push((client, attempt, begun.elapsed(), sample));
            match (sample.status, sample.retry_after) {
                (503, Some(seconds)) => pause(Duration::from_secs(seconds)),
                _ => break,
            }
        }
        Ok(samples)
    })?;

    let in_by = tries.iter().filter(|(.., sample)| sample.status == 200).map(|(_, attempt, ..)| *attempt);
    let mut entered = BTreeMap::<usize, usize>::new();
    in_by.for_each(|attempt| *entered.entry(attempt).or_default() += 1);
    let mut statuses = BTreeMap::<(u16, bool), usize>::new();
    for (.., sample) in &tries {
        *statuses.entry((sample.status, sample.retry_after.is_some())).or_default() += 1;
    }

    println!("  answers by (status, Retry-After): {statuses:?}");
    println!("  got in at try: {entered:?}; {} of {BURST}", entered.values().sum::<usize>());
    let slowest = quantile(tries.iter().map(|(.., sample)| sample.took), 1.0);
    println!("  slowest answer {slowest:.0} ms (deadline 5000 ms and one batch)");
    println!("  memory {memory:.1} MiB before, {:.1} MiB after", instance.memory()?);

    // While clients still wait or retry: the logins per second until the last of them succeeds.
    let last = tries.iter().filter(|(.., sample)| sample.status == 200).map(|(_, _, at, _)| *at).max();
    let during =
        f64::from(u32::try_from(entered.values().sum::<usize>())?) / last.unwrap_or_default().as_secs_f64();
    println!("  all in after {:.1} s", last.unwrap_or_default().as_secs_f64());
    println!(
        "  {during:.1} a second during the burst and its retries: {:.2}x of the peak before",
        during / before
    );
    sustained(&instance, before)
}

/// More clients than the queue accepts, which retry at once: the throughput of a server that refuses most
/// requests.
fn sustained(instance: &Instance, before: f64) -> Outcome<()> {
    let span = Duration::from_secs(12);
    let until = Instant::now() + span;
    let samples = instance.storm(BURST, USERS, until)?;
    let rate = per_second(&samples, span + until.elapsed());
    let refused = samples.iter().filter(|sample| sample.status == 503).count();
    let others = samples.iter().filter(|sample| !matches!(sample.status, 200 | 503)).count();
    println!(
        "  {BURST} clients that never wait: {rate:.1} a second, {:.2}x of the peak; \
         {refused} refused, {others} others",
        rate / before
    );
    Ok(())
}

fn fairness(binary: &Path) -> Outcome<()> {
    let patient = [
        ("GATEWRIGHT_PASSWORDS__QUEUE_DEADLINE", "60s"),
        ("GATEWRIGHT_SERVER__REQUEST_TIMEOUT", "90s"),
        ("GATEWRIGHT_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let instance = Instance::open(binary, &[Scheme::Bcrypt12.env(), &patient].concat())?;
    instance.register(USERS)?;
    println!("fairness: one login from a different address while {FLOOD} of another address wait");

    let from = |address: &str, user: usize| {
        let request = login(&name(user), PASSWORD);
        request.replacen("Host: x\r\n", &format!("Host: x\r\nX-Forwarded-For: {address}\r\n"), 1)
    };

    let mut singles = Vec::new();
    for user in 0..5 {
        singles.push(Connection::open(instance.address)?.login(&from("192.0.2.9", user))?.took);
    }
    let alone = quantile(singles, 0.5);

    let flood = || {
        each(FLOOD, |client| {
            Ok(vec![Connection::open(instance.address)?.login(&from("192.0.2.1", client % USERS))?])
        })
    };
    let lone = || -> Outcome<Vec<Sample>> {
        while instance.metric("password_hash_queue_depth")? < 300.0 {
            pause(Duration::from_millis(20));
        }
        let one = |user| Connection::open(instance.address)?.login(&from("198.51.100.7", user));
        (0..5).map(one).collect()
    };

    let (flooded, lone) = std::thread::scope(|scope| {
        let flooding = scope.spawn(flood);
        let lone = lone();
        (flooding.join(), lone)
    });
    let flooded = flooded.map_err(|_| "the flood panicked")??;
    let waited: Vec<_> = lone?.iter().map(|sample| sample.took).collect();

    println!(
        "  alone {alone:.0} ms; meanwhile {:.0} ms (median), {:.0} ms (slowest of 5)",
        quantile(waited.clone(), 0.5),
        quantile(waited.clone(), 1.0)
    );
    println!(
        "  added wait {:.2} batches of 1.35 single hashes",
        (quantile(waited, 1.0) - alone) / (alone * 1.35)
    );
    println!(
        "  the flood waited {:.1} s (slowest)",
        quantile(flooded.iter().map(|sample| sample.took), 1.0) / 1e3
    );
    Ok(())
}
