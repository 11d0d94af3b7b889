//! Interleaved rounds of several variants, so that a change of the machine's load affects all of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// The measurements of one variant, one figure per round.
pub(super) struct Figures {
    name: String,
    unit: &'static str,
    rounds: Vec<f64>,
}

impl Figures {
    pub(super) fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, rounds: Vec::new() }
    }

    pub(super) fn push(&mut self, figure: f64) {
        self.rounds.push(figure);
    }

    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Prints name, median, minimum and maximum of the rounds; with the ratio to `base` if given.
    pub(super) fn print(&self, base: Option<&Self>) {
        let (least, most) =
            self.rounds.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), round| {
                (least.min(*round), most.max(*round))
            });
        let ratio = base.map(|base| format!("  {:.2}x", self.median() / base.median())).unwrap_or_default();
        // The second digit of a ratio is significant.
        let digits = if self.unit == "x" { 2 } else { 1 };
        println!(
            "  {:<44} {:>10.digits$} {} ({least:.digits$} .. {most:.digits$}){ratio}",
            self.name,
            self.median(),
            self.unit
        );
    }
}

/// Runs `work` from `tasks` tasks until `span` has passed; returns the completions per second.
pub(super) async fn throughput<F>(
    tasks: usize,
    span: Duration,
    work: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<f64, String>
where
    F: Future<Output = Result<(), String>> + Send,
{
    let begin = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let work = work.clone();
        workers.spawn(async move {
            let mut done = 0_u32;
            while begin.elapsed() < span {
                work(task).await?;
                done += 1;
            }
            Ok::<_, String>(done)
        });
    }

    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker.map_err(|error| error.to_string())??;
    }
    Ok(f64::from(done) / begin.elapsed().as_secs_f64())
}

/// The quantile `part` (between 0 and 1) of the samples, in milliseconds, to three digits.
pub(super) fn quantile(samples: impl IntoIterator<Item = Duration>, part: f64) -> f64 {
    let Ok(mut histogram) = Histogram::<u64>::new(3) else { return f64::NAN };
    for took in samples {
        // The histogram grows as far as it needs to.
        let _ = histogram.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
    Duration::from_nanos(histogram.value_at_quantile(part)).as_secs_f64() * 1e3
}

/// The duration of `work` in microseconds: the median of `times` runs.
pub(super) async fn latency<F>(times: usize, mut work: impl FnMut() -> F) -> Result<f64, String>
where
    F: Future<Output = Result<(), String>>,
{
    let mut spans = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        work().await?;
        spans.push(begin.elapsed());
    }
    spans.sort();
    Ok(spans.get(times / 2).map_or(f64::NAN, |span| span.as_secs_f64() * 1e6))
}

/// Sleeps for `span`.
#[expect(clippy::disallowed_methods, reason = "a client that does as it is told waits")]
pub(super) fn pause(span: Duration) {
    std::thread::sleep(span);
}
