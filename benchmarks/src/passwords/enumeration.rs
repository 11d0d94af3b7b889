//! Whether the duration of a login reveals which accounts exist.

use std::path::Path;

use bcrypt_lanes::{Cost, Job, Lanes, Password, Rules, Version};
use model::Rng;

use super::instance::{Instance, login, name};
use crate::Outcome;
use crate::load::Connection;

const USERS: usize = 300;
const PROBES: usize = 2000;
const WARM_UP: usize = 50;
const RESAMPLES: usize = 4000;
/// The significance level of a two-sided interval.
const ALPHA: f64 = 0.001;

/// The kind of account in a login attempt.
#[derive(Clone, Copy, PartialEq)]
enum Account {
    Known,
    Unknown,
    Inactive,
}

/// Prints the comparison for users with one kind of hash and with two.
pub(super) fn run(binary: &Path) -> Outcome<()> {
    population(binary, "all users have Argon2id", 0)?;
    population(binary, "a third of the users has bcrypt 8", USERS / 3)
}

fn population(binary: &Path, title: &str, bcrypt: usize) -> Outcome<()> {
    let instance = Instance::open(binary, &[])?;
    instance.register(USERS)?;
    let folder = instance.close();
    change(folder.path(), bcrypt)?;
    let instance = Instance::open_in(folder, binary, &["serve"], &[])?;
    // Wait until the server has sampled the stored kinds of hashes.
    while instance.metric("password_hash_queue_wait_seconds_count")? < 1.0 {
        super::super::rounds::pause(std::time::Duration::from_millis(20));
    }

    println!("logins with a wrong password, {PROBES} of each in random order; {title}");
    let rng = Rng::seeded(20);
    let mut order: Vec<_> = [Account::Known, Account::Unknown, Account::Inactive]
        .into_iter()
        .flat_map(|account| vec![account; PROBES + WARM_UP])
        .collect();
    shuffle(&mut order, &rng);

    let mut connection = Connection::open(instance.address)?;
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    let mut inactive = Vec::new();
    for (number, account) in order.into_iter().enumerate() {
        let any = usize::from(u16::from_be_bytes(rng.bytes()));
        // Every other user is inactive.
        let tried = match account {
            Account::Known => name(any % (USERS / 2) * 2),
            Account::Inactive => name(any % (USERS / 2) * 2 + 1),
            Account::Unknown => format!("unknown{number}"),
        };
        let sample = connection.login(&login(&tried, "not the password"))?;
        if sample.status != 401 {
            return Err(format!("a wrong password was answered {}", sample.status).into());
        }
        let took = match account {
            Account::Known => &mut known,
            Account::Unknown => &mut unknown,
            Account::Inactive => &mut inactive,
        };
        took.push(sample.took.as_secs_f64() * 1e3);
    }

    let [known, unknown, inactive] = [known, unknown, inactive].map(|mut all| all.split_off(WARM_UP));
    compare("known against unknown", &known, &unknown, &rng);
    compare("known against inactive", &known, &inactive, &rng);
    one_name(&mut connection, &unknown)
}

/// Gives the first users bcrypt hashes, and makes every other user inactive.
fn change(folder: &Path, bcrypt: usize) -> Outcome<()> {
    let database = rusqlite::Connection::open(folder.join("gatewright-data/gatewright.db"))?;
    let mut lanes = Lanes::new();
    for user in 0..bcrypt {
        let (Some(cost), Ok(password)) = (Cost::new(8), Password::new(b"something", Rules::STRICT)) else {
            continue;
        };
        let salt = Rng::system().bytes();
        let hash = lanes.hash_one(cost, &Job { password, salt, version: Version::B }).to_string();
        database.execute(
            "UPDATE credentials SET data = ?1 WHERE user_id = (SELECT id FROM users WHERE username_key = ?2)",
            (hash, name(user)),
        )?;
    }
    for user in (1..USERS).step_by(2) {
        database.execute("UPDATE users SET state = 'inactive' WHERE username_key = ?1", [name(user)])?;
    }
    Ok(())
}

fn shuffle<T>(items: &mut [T], rng: &Rng) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(u64::from_be_bytes(rng.bytes()) % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}

fn compare(title: &str, one: &[f64], other: &[f64], rng: &Rng) {
    let area = area_under_curve(one, other);
    let mut differences: Vec<_> =
        (0..RESAMPLES).map(|_| median(&resample(one, rng)) - median(&resample(other, rng))).collect();
    differences.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let cut = (RESAMPLES as f64 * ALPHA / 2.0).floor() as usize;
    let low = differences.get(cut).copied().unwrap_or(f64::NAN);
    let high = differences.get(RESAMPLES - 1 - cut).copied().unwrap_or(f64::NAN);
    println!(
        "  {title:<26} medians {:.3} and {:.3} ms; AUC {area:.3}; \
         difference of medians {low:+.4} .. {high:+.4} ms",
        median(one),
        median(other)
    );
}

/// The probability that one of `one` took longer than one of `other` (Mann-Whitney).
fn area_under_curve(one: &[f64], other: &[f64]) -> f64 {
    let mut sorted = other.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let wins = one.iter().map(|took| {
        let below = sorted.partition_point(|x| x < took);
        let not_above = sorted.partition_point(|x| x <= took);
        count(below) + count(not_above - below) / 2.0
    });
    wins.sum::<f64>() / (count(one.len()) * count(other.len()))
}

fn resample(samples: &[f64], rng: &Rng) -> Vec<f64> {
    let mut bytes = vec![0; samples.len() * 4];
    rng.fill(&mut bytes);
    let (words, _) = bytes.as_chunks::<4>();
    let pick = |word: &[u8; 4]| {
        samples.get(u32::from_le_bytes(*word) as usize % samples.len()).copied().unwrap_or(f64::NAN)
    };
    words.iter().map(pick).collect()
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Tries one unknown name repeatedly: it always has the same kind of hash.
fn one_name(connection: &mut Connection, all: &[f64]) -> Outcome<()> {
    let mut took = Vec::new();
    for _ in 0..200 {
        let sample = connection.login(&login("unknownname", "not the password"))?;
        took.push(sample.took.as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(f64::NAN);
    println!(
        "  one unknown name, 200 times: {:.2} ms (5 % .. 95 %: {:.2} .. {:.2}); \
         all unknown names: median {:.2} ms",
        at(50),
        at(5),
        at(95),
        median(all)
    );
    Ok(())
}
