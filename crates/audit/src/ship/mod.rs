//! Ships a journal of audit events to a sink: reads behind the writer, and stores the offset together with
//! the records.
//!
//! Each record arrives once and in order: the offset is stored in the transaction that stores the records,
//! and advances only from its known value. Keys are shipped before the events whose details they open.
//! Records that cannot be read, or are refused permanently, become dead letters, and shipping continues.

mod key_file;
mod retention;
mod source;
mod stats;
mod tail;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::JournalId;
use model::{Now, Rng};
use runtime::Parked;
use store::Lease;
use store::audit_db::{Place, Shipment, Shipped};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::key_file::KeyFileReader;
pub use self::key_file::{KeyFilePosition, read as read_keys};
use self::retention::RetentionCursor;
use self::source::{Found, Source};
pub use self::stats::ShipStats;
pub use self::tail::JournalTail;
use crate::blocking;
use crate::dead_letters::{self, DeadLetter, Refused};
use crate::sinks::{Sink, SinkError};
use crate::statement::Voucher;

/// The context of a step.
pub struct ShipContext<'a> {
    /// The only database lease.
    pub lease: &'a mut Lease,
    /// The random number generator.
    pub rng: &'a Rng,
    /// When the step began.
    pub now: Now,
    /// Whether records may be removed by age: whether the clock is believed.
    pub may_remove: bool,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every ready record is shipped.
    Idle,
    /// There is more to ship, at once.
    More,
}

/// Why a step failed. The next step continues.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The journal, a file beside it or a sink failed.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for ShipError {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<SinkError> for ShipError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Store(error) => Self::Store(error),
            other => Self::Other(other.to_string()),
        }
    }
}

/// The delay between steps when idle: an event is in the database within about this time.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest delay that is accepted: a clock that was set back would make it longer.
const REST: Duration = Duration::from_mins(15);

/// Removes the segments that contain only records before this sequence; false where that must be tried again.
/// May block.
pub type Forget = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// The settings of a shipper.
pub struct ShipperSettings {
    /// The job's name.
    pub name: &'static str,
    /// The journal's directory.
    pub journal: PathBuf,
    /// The file of the detail keys, which are shipped before the events; none where keys are not shipped.
    pub keys: Option<PathBuf>,
    /// The file of dead letters: JSON Lines.
    pub dead_letters: PathBuf,
    /// The node's name.
    pub node: String,
    /// Most records, and bytes of payloads, in one batch; a single record may have more.
    pub batch: (usize, usize),
    /// Backoff after a failure: initial and maximum delay, doubling. `None` retries on the next step.
    pub patience: Option<(Duration, Duration)>,
    /// How long events stay in the sink.
    pub retention: Duration,
    /// How long the journal keeps shipped records.
    pub journal_keep: Duration,
    /// The sequence of the last record that may be shipped: the last synced one, so that no shipped record
    /// can be removed by a power failure. `u64::MAX` where it is not known: then all written records. May
    /// block.
    pub ready: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Signs that records could not be read.
    pub voucher: Option<Arc<Voucher>>,
    /// Receives statistics.
    pub shipping: Arc<ShipStats>,
    /// Called with the sequence before which the journal may be removed; without it, all segments stay.
    pub forget: Option<Forget>,
}

impl Default for ShipperSettings {
    /// A shipper without names and files: every record that is written may be shipped, and no segment is
    /// removed.
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            name: "",
            journal: PathBuf::new(),
            keys: None,
            dead_letters: PathBuf::new(),
            node: String::new(),
            batch: (2000, 1 << 20),
            patience: None,
            retention: 400 * day,
            journal_keep: 7 * day,
            ready: Arc::new(|| u64::MAX),
            voucher: None,
            shipping: Arc::default(),
            forget: None,
        }
    }
}

/// Ships one journal to one sink.
pub struct Shipper<S> {
    settings: ShipperSettings,
    sink: S,
    state: Mutex<ShipperState>,
}

/// State between two steps. After a failure it is empty: the sink is asked again.
struct ShipperState {
    open: Option<Open>,
    keys: Option<KeyFileReader>,
    rest: Option<Rest>,
    /// Most records of the next batch: halved when one of them is refused, until that one is alone.
    most: usize,
    /// The delay that the sink has requested.
    asked: Option<Duration>,
    /// The last record that was ready, and the last one that has arrived, as far as known.
    ready: u64,
    arrived: Option<u64>,
    /// Time of the next maintenance; none before there is a journal.
    maintain_at: Option<Now>,
    forgetting: RetentionCursor,
}

/// The delay before the next try.
struct Rest {
    until: Now,
    /// Consecutive failures.
    failures: u32,
    why: String,
}

/// A journal that is being read.
struct Open {
    source: Source,
    journal: JournalId,
    known: Option<Place>,
}

impl<S: Sink> Shipper<S> {
    /// A shipper with these settings.
    pub fn new(settings: ShipperSettings, sink: S) -> Self {
        let state = ShipperState {
            open: None,
            keys: settings.keys.as_deref().map(KeyFileReader::new),
            rest: None,
            most: settings.batch.0,
            asked: None,
            ready: u64::MAX,
            arrived: None,
            maintain_at: None,
            forgetting: RetentionCursor::default(),
        };
        Self { settings, sink, state: Mutex::new(state) }
    }

    /// The statistics.
    pub fn shipping(&self) -> &ShipStats {
        &self.settings.shipping
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    async fn ship(&self, state: &mut ShipperState, ctx: &mut ShipContext<'_>) -> Result<Progress, ShipError> {
        self.sink.check()?;
        let open = match state.open.take() {
            None => self.begin(state).await?,
            open => open,
        };

        let Some(mut open) = open else { return Ok(Progress::Idle) };
        let ready = state.ready;
        let most = state.most;
        let bytes = self.settings.batch.1;
        let (source, found) = blocking(move || {
            let mut source = open.source;
            let found = source.batch(ready, most, bytes);
            (source, found)
        })
        .await?;

        open.source = source;
        let batch = match found.map_err(ShipError::Other)? {
            Found::Batch(batch) => batch,
            Found::Nothing => {
                state.arrived = Some(ready);
                state.open = Some(open);
                return Ok(Progress::Idle);
            }
            Found::Dead(letter) => {
                self.set_aside(letter).await?;
                state.open = Some(open);
                return Ok(Progress::More);
            }
            // The directory was wiped and has another journal now.
            Found::OtherJournal => return Ok(Progress::More),
        };

        if let Some(keys) = &mut state.keys {
            keys.ship(ctx).await?;
        }
        let shipment = Shipment {
            journal: open.journal.0,
            node: self.settings.node.clone(),
            known: open.known,
            before: batch.before,
            after: batch.after,
            records: batch.records,
            heads: batch.heads,
            kept_proof: None,
            now: ctx.now,
        };

        open.known = Some(shipment.after);
        // The sink does its work without a connection of the pool.
        let parked = ctx.lease.park();
        if self.deliver(state, &parked, shipment).await? {
            state.open = Some(open);
        }
        Ok(Progress::More)
    }

    /// Delivers a shipment to the sink; false where it must be built again.
    async fn deliver(
        &self,
        state: &mut ShipperState,
        parked: &Parked<'_>,
        shipment: Shipment,
    ) -> Result<bool, ShipError> {
        let (count, after) = (shipment.records.len(), shipment.after);
        let alone = (count == 1).then(|| shipment.clone());
        let begun = Instant::now();
        let taken = self.sink.take(parked, shipment).await;
        if let Err(SinkError::Remote { after, .. }) = &taken {
            state.asked = *after;
        }

        let stored = match (taken?, alone) {
            (Shipped::Stored(_), _) => count as u64,
            // The database was restored, or another process ships this journal.
            (Shipped::Moved, _) => {
                state.keys.iter_mut().for_each(KeyFileReader::begin_again);
                return Ok(false);
            }
            (Shipped::Refused(why), Some(alone)) => self.bury(parked, alone, &why).await?,
            (Shipped::Refused(_), None) => {
                state.most = (count / 2).max(1);
                return Ok(false);
            }
        };

        self.shipping().arrived(stored, begun.elapsed());
        state.arrived = Some(after.sequence.unsigned_abs());
        state.most = state.most.saturating_mul(2).min(self.settings.batch.0);
        Ok(true)
    }

    /// Determines the journal and the offset to continue from.
    async fn begin(&self, state: &mut ShipperState) -> Result<Option<Open>, ShipError> {
        let directory = self.settings.journal.clone();
        let Some(journal) = blocking(move || source::journal(&directory)).await?.map_err(ShipError::Other)?
        else {
            return Ok(None);
        };
        let known = self.sink.resume(journal.0).await?;
        state.arrived = Some(known.map_or(0, |place| place.sequence.unsigned_abs()));
        Ok(Some(Open { source: Source::new(&self.settings.journal, journal, known), journal, known }))
    }

    /// Makes a single record a dead letter and advances behind it; a row with the letter replaces it, if the
    /// sink accepts that.
    async fn bury(&self, parked: &Parked<'_>, mut shipment: Shipment, why: &str) -> Result<u64, ShipError> {
        let Some(record) = shipment.records.pop() else { return Ok(0) };
        let letter = Refused::of(&record, why);
        self.set_aside(DeadLetter::Refused(letter.clone())).await?;
        shipment.heads.clear();
        shipment.records = vec![letter.row(shipment.now)];
        let mut without = shipment.clone();
        without.records.clear();
        let taken = match self.sink.take(parked, shipment).await? {
            Shipped::Refused(_) => self.sink.take(parked, without).await?,
            taken => taken,
        };
        match taken {
            Shipped::Stored(_) => Ok(0),
            Shipped::Moved => Err(ShipError::Other("the sink's offset changed meanwhile".to_owned())),
            Shipped::Refused(why) => {
                Err(ShipError::Other(format!("the sink refused even the offset: {why}")))
            }
        }
    }

    async fn set_aside(&self, letter: DeadLetter) -> Result<(), ShipError> {
        let count = letter.records();
        if let Some(what) = letter.loss() {
            tracing::error!(job = self.settings.name, "{what}");
        }
        let letter = match &self.settings.voucher {
            Some(voucher) => letter.signed(voucher),
            None => letter,
        };
        let path = self.settings.dead_letters.clone();
        let written = blocking(move || dead_letters::write(&path, &[letter])).await?;
        written.map_err(|error| ShipError::Other(format!("the dead letters cannot be written: {error}")))?;
        self.shipping().set_aside(count);
        Ok(())
    }

    /// The delay after a failure, with jitter so that many nodes do not retry at once.
    fn rest(&self, state: &mut ShipperState, ctx: &ShipContext<'_>, why: String) -> Option<Rest> {
        let (first, longest) = self.settings.patience?;
        let failures = state.rest.take().map_or(1, |rest| rest.failures.saturating_add(1));
        let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(longest);
        let [byte] = ctx.rng.bytes::<1>();
        let rest = doubled / 2 + doubled / 2 * u32::from(byte) / 255;
        let until = ctx.now.plus(rest.max(state.asked.take().unwrap_or_default()));
        Some(Rest { until, failures, why })
    }

    fn tell(&self, state: &ShipperState, error: Option<String>) {
        if let (Some(arrived), true) = (state.arrived, state.ready != u64::MAX) {
            self.shipping().left(state.ready.saturating_sub(arrived));
        }
        self.shipping().tell(error);
    }
}

impl<S: Sink> Shipper<S> {
    /// The name of its job.
    pub fn name(&self) -> &'static str {
        self.settings.name
    }

    /// The delay between steps when idle.
    pub fn period(&self) -> Duration {
        PERIOD
    }

    /// Whether a failure degrades readiness. Other sinks than the database do not: metrics and the log report
    /// them.
    pub fn degrades(&self) -> bool {
        self.settings.patience.is_none()
    }

    /// Ships one batch, or does maintenance.
    ///
    /// # Errors
    /// [`ShipError`]; the next step starts again.
    pub async fn step(&self, ctx: &mut ShipContext<'_>) -> Result<Progress, ShipError> {
        let mut state = self.state.lock().await;
        let ready = Arc::clone(&self.settings.ready);
        state.ready = blocking(move || ready()).await?;
        let resting =
            state.rest.as_ref().filter(|rest| ctx.now < rest.until && rest.until < ctx.now.plus(REST));
        if let Some(rest) = resting {
            let why = rest.why.clone();
            self.tell(&state, Some(why.clone()));
            return Err(ShipError::Other(why));
        }

        let mut stepped = self.ship(&mut state, ctx).await;
        let is_due =
            state.open.is_some() && state.maintain_at.is_none_or(|at| retention::is_due(at, ctx.now));
        if stepped.is_ok() && is_due {
            let is_idle = matches!(stepped, Ok(Progress::Idle));
            stepped = self.maintain(&mut state, ctx.now, ctx.may_remove).await.and(stepped);
            if is_idle {
                // Opening the journal again finds files that were replaced.
                state.open = None;
            }
        }

        let error = stepped.as_ref().err().map(ToString::to_string);
        if error.is_some() {
            state.open = None;
            state.keys.iter_mut().for_each(KeyFileReader::look_again);
        }

        state.rest = error.clone().and_then(|why| self.rest(&mut state, ctx, why));
        self.tell(&state, error);
        stepped
    }
}

impl<S> fmt::Debug for Shipper<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shipper").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for ShipperSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShipperSettings").field("journal", &self.journal).finish_non_exhaustive()
    }
}
