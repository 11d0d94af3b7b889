//! The cost of a journal: `cargo bench -p journal [-- --directory DIR]`. The default directory is the
//! system's temporary one.
//!
//! Each figure is the median of several rounds, with the lowest and the highest in brackets.
#![expect(clippy::disallowed_methods, reason = "measured time belongs to benchmarks")]

use std::env;
use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use journal::{Entry, Hooks, Journal, JournalId, Kind, Limits, Options, Reader, Time, Writer, verify};
use tempfile::TempDir;

const ID: JournalId = JournalId([7; 16]);
const PAYLOAD: [u8; 200] = [0x55; 200];
const ROUNDS: usize = 9;
/// Records per round.
const RECORDS: usize = 65_536;
/// The same if each group is synced.
const SYNCED_GROUPS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let directory = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--directory"), Some(directory)) => directory.into(),
        _ => env::temp_dir(),
    };
    println!("records of {} bytes, {ROUNDS} rounds; median [lowest, highest]", PAYLOAD.len());
    append(&directory)?;
    submit(&directory)?;
    read(&directory)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn append(directory: &Path) -> Result<(), Box<dyn Error>> {
    for group in [1, 16, 256] {
        for synced in [false, true] {
            let groups = if synced { SYNCED_GROUPS } else { RECORDS / group };
            let entries = vec![Entry { time: now(), kind: Kind::Data, payload: &PAYLOAD }; group];
            let round = || -> Result<f64, Box<dyn Error>> {
                let folder = TempDir::new_in(directory)?;
                let (mut journal, _) = Journal::open(folder.path(), Options::default(), ID)?;
                let start = Instant::now();
                for _ in 0..groups {
                    let appended = journal.append(now(), black_box(&entries));
                    if let Some(failure) = appended.failure {
                        return Err(failure.into());
                    }
                    if synced {
                        journal.sync()?;
                    }
                }
                Ok(per_second(groups * group, start.elapsed()))
            };

            let figures = rounds(round)?;
            let how = if synced { "each group synced" } else { "not synced" };
            println!("append, groups of {group:>3}, {how:<17} {figures} records/s");
        }
    }
    Ok(())
}

fn submit(directory: &Path) -> Result<(), Box<dyn Error>> {
    let folder = TempDir::new_in(directory)?;
    let (journal, _) = Journal::open(folder.path(), Options::default(), ID)?;
    let notice = Box::new(|_| Vec::new());
    let hooks = Hooks { clock: Box::new(now), notice, signer: None, begin: Box::new(|| {}) };
    let limits = Limits { queue_entries: usize::MAX, queue_bytes: usize::MAX, ..Limits::default() };
    let writer = Writer::start(journal, limits, hooks)?;

    let burst = || {
        let payloads: Vec<_> = (0..8192).map(|_| PAYLOAD.to_vec()).collect();
        let mut tickets = Vec::with_capacity(payloads.len());
        let start = Instant::now();
        tickets.extend(payloads.into_iter().map(|payload| writer.submit(payload)));
        let elapsed = start.elapsed();
        let nanos = elapsed.as_secs_f64() * 1e9 / 8192.0;
        if let Some(last) = tickets.last() {
            last.wait();
        }
        Ok(nanos)
    };
    println!("submit, the thread at work                  {} ns", rounds(burst)?);

    let alone = || {
        let mut all = Duration::ZERO;
        for _ in 0..2000 {
            let payload = PAYLOAD.to_vec();
            let start = Instant::now();
            let ticket = writer.submit(payload);
            all += start.elapsed();
            ticket.wait();
        }
        Ok(all.as_secs_f64() * 1e9 / 2000.0)
    };
    println!("submit, the thread asleep                   {} ns", rounds(alone)?);

    let written = || {
        let start = Instant::now();
        for _ in 0..2000 {
            writer.submit(PAYLOAD.to_vec()).wait();
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / 2000.0)
    };
    println!("submit and wait until it is written         {} us", rounds(written)?);

    let stopped = writer.stop(Duration::from_mins(1));
    assert!(stopped.finished && stopped.state.dropped == 0, "{stopped:?}");
    Ok(())
}

fn read(directory: &Path) -> Result<(), Box<dyn Error>> {
    let folder = TempDir::new_in(directory)?;
    let (mut journal, _) = Journal::open(folder.path(), Options::default(), ID)?;
    let entries = vec![Entry { time: now(), kind: Kind::Data, payload: &PAYLOAD }; 256];
    for _ in 0..1024 {
        let appended = journal.append(now(), &entries);
        if let Some(failure) = appended.failure {
            return Err(failure.into());
        }
    }
    journal.sync()?;

    let records = 256 * 1024;
    let mut bytes = 0;
    let verified = rounds(|| {
        let start = Instant::now();
        let told = |progress: journal::Progress| bytes = progress.total;
        let report = verify(folder.path(), None, &[journal.head()], |_| true, told)?;
        if let Some(finding) = report.finding {
            return Err(finding.into());
        }
        Ok(per_second(records, start.elapsed()))
    })?;

    let length = f64::from(u32::try_from(bytes)?) / f64::from(1 << 20);
    let each = length / f64::from(u32::try_from(records)?);
    println!("verify                                      {verified} records/s");
    println!("verify                                      {} MiB/s", verified.times(each));

    let was_read = rounds(|| {
        let start = Instant::now();
        let mut reader = Reader::open(folder.path());
        let mut seen = 0;
        while reader.read()?.is_some() {
            seen += 1;
        }
        Ok(per_second(seen, start.elapsed()))
    })?;

    println!("read                                        {was_read} records/s");
    Ok(())
}

fn per_second(records: usize, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(records).unwrap_or(u32::MAX)) / elapsed.as_secs_f64()
}

fn rounds(mut round: impl FnMut() -> Result<f64, Box<dyn Error>>) -> Result<Spread, Box<dyn Error>> {
    let mut figures = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>, _>>()?;
    figures.sort_by(f64::total_cmp);
    Ok(Spread(figures))
}

/// Sorted measurements.
struct Spread(Vec<f64>);

impl Spread {
    fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|figure| figure * factor).collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |place: usize| self.0.get(place).copied().unwrap_or(f64::NAN);
        let (lowest, highest) = (at(0), at(self.0.len().saturating_sub(1)));
        write!(f, "{:>9.0} [{lowest:.0}, {highest:.0}]", at(self.0.len() / 2))
    }
}
