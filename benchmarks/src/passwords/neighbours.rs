//! Hashing beside other requests, other programs, and under a quota.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tokio::time::Instant;

use super::instance::{Instance, Scheme, per_second};
use crate::Outcome;
use crate::load::{Connection, get};
use crate::rounds::{pause, quantile};

const USERS: usize = 64;
const CLIENTS: usize = 200;
const SPAN: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(50);
const LIVENESS: &str = "/health/liveness";
const ME: &str = "/api/v1/auth/me";

/// Prints probes beside logins, and logins beside busy programs and under a quota.
pub(super) fn run(binary: &Path) -> Outcome<()> {
    for scheme in [Scheme::Bcrypt12, Scheme::Argon2id] {
        interference(binary, scheme)?;
    }
    busy(binary)?;
    quota(binary)
}

/// The results of a probe.
struct Seen {
    took: Vec<Duration>,
    failed: usize,
}

/// Requests one path twenty times a second until `until`.
fn probe(instance: &Instance, path: &str, token: &str, until: Instant) -> Outcome<Seen> {
    let mut connection = Connection::open(instance.address)?;
    let mut seen = Seen { took: Vec::new(), failed: 0 };
    while Instant::now() < until {
        let begun = Instant::now();
        match connection.send(&get(path, token)) {
            Ok(answer) if answer.status == 200 => seen.took.push(begun.elapsed()),
            _ => {
                seen.failed += 1;
                connection = Connection::open(instance.address)?;
            }
        }
        pause(EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(seen)
}

/// Runs both probes beside `clients` that log in continuously; also returns the logins per second.
fn beside(instance: &Instance, token: &str, clients: usize, span: Duration) -> Outcome<(f64, Seen, Seen)> {
    let until = Instant::now() + span;
    std::thread::scope(|scope| {
        let liveness = scope.spawn(move || probe(instance, LIVENESS, token, until));
        let me = scope.spawn(move || probe(instance, ME, token, until));
        let samples = instance.storm(clients, USERS, until)?;
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome<Seen>>| {
            thread.join().map_err(|_| "a probe panicked")?
        };
        Ok((per_second(&samples, span), join(liveness)?, join(me)?))
    })
}

fn print(name: &str, seen: &Seen) {
    let at = |part| quantile(seen.took.clone(), part);
    println!(
        "  {name:<44} p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms; {} asked, {} failed",
        at(0.5),
        at(0.99),
        at(1.0),
        seen.took.len(),
        seen.failed
    );
}

fn interference(binary: &Path, scheme: Scheme) -> Outcome<()> {
    let instance = Instance::open(binary, scheme.env())?;
    instance.register(USERS)?;
    let token = instance.token(0)?;
    println!("probes at 20/s beside {CLIENTS} clients that log in without pause, {scheme}");
    let (_, liveness, me) = beside(&instance, &token, 0, SPAN)?;
    print("liveness, idle", &liveness);
    print("me, idle", &me);
    let (rate, liveness, me) = beside(&instance, &token, CLIENTS, SPAN)?;
    print("liveness, storm", &liveness);
    print("me, storm", &me);
    println!("  {rate:.1} logins a second meanwhile");
    Ok(())
}

/// Busy loops that run until dropped.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start(count: usize) -> Outcome<Self> {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Ok(Self((0..count).map(|_| spin()).collect::<Result<_, _>>()?))
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn busy(binary: &Path) -> Outcome<()> {
    let instance = Instance::open(binary, Scheme::Bcrypt12.env())?;
    instance.register(USERS)?;
    let token = instance.token(0)?;
    println!("four busy loops on the same cores, {}, 32 clients log in", Scheme::Bcrypt12);
    let (alone, ..) = beside(&instance, &token, 32, SPAN)?;
    let spinners = Spinners::start(4)?;
    let (rate, liveness, me) = beside(&instance, &token, 32, SPAN)?;
    drop(spinners);
    print("liveness", &liveness);
    print("me", &me);
    println!("  {rate:.1} logins a second, {:.2}x of {alone:.1} without the loops", rate / alone);
    Ok(())
}

/// A control group with a quota of half a core, where this machine allows one.
struct Group(PathBuf);

impl Group {
    fn half_a_core() -> Outcome<Self> {
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let v2 = Path::new("/sys/fs/cgroup");
        let (mount, files): (_, &[_]) = if v1.join("cpu.cfs_quota_us").exists() || v1.is_dir() {
            (v1, &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")])
        } else {
            (v2, &[("cpu.max", "50000 100000")])
        };
        let group = Self(mount.join(format!("gatewright-bench-{}", std::process::id())));
        std::fs::create_dir(&group.0)?;
        for (file, text) in files {
            std::fs::write(group.0.join(file), text)?;
        }
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It can be removed once its last process has ended, which takes a moment.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            pause(Duration::from_millis(20));
        }
    }
}

fn quota(binary: &Path) -> Outcome<()> {
    let group = match Group::half_a_core() {
        Ok(group) => group,
        Err(error) => {
            println!("a quota of half a core: not on this machine ({error})");
            return Ok(());
        }
    };
    println!("a quota of half a core, {}, 16 clients log in", Scheme::Bcrypt12);
    let enter = format!("echo $$ > {}/cgroup.procs && exec {} serve", group.0.display(), binary.display());
    let instance =
        Instance::open_in(tempfile::tempdir()?, Path::new("sh"), &["-c", &enter], Scheme::Bcrypt12.env())?;
    instance.register(USERS)?;
    let token = instance.token(0)?;
    let (rate, liveness, me) = beside(&instance, &token, 16, SPAN)?;
    print("liveness", &liveness);
    print("me", &me);
    println!("  {rate:.1} logins a second");
    Ok(())
}
