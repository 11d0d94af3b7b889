//! The health probe: whether the database answers, and whether writes can succeed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use runtime::{AuditContext, NoopRecorder, Spawner};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::lease::Backend;
use crate::queries::health;
use crate::trace::Unaudited;
use crate::{Error, Lease, Settings, postgres};

/// Why the database cannot serve requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It cannot be reached, or does not answer in time.
    NoAnswer,
    /// The server is a hot standby.
    Standby,
    /// Transactions are read-only by default.
    ReadOnly,
    /// The role may not do what a statement needs.
    Privileges,
    /// Row level security hides rows from the role.
    Hidden,
    /// A table or the schema is not there.
    Tables,
    /// The last write failed, or several had no answer, and so does another one.
    Unwritable,
    /// The file of the embedded database is not the one that was opened.
    Moved,
    /// The embedded database's writer has ended.
    Writer,
}

impl NotReady {
    /// The sentence for clients of readiness: it names no host, no table and no file.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoAnswer => "the database does not answer",
            Self::Standby => "the database is a hot standby, which accepts no writes",
            Self::ReadOnly => "the database is read-only",
            Self::Privileges => "the database refuses the role of the server a privilege",
            Self::Hidden => "the database hides rows from the role of the server",
            Self::Tables => "the database lacks tables",
            Self::Unwritable => "the database cannot be written",
            Self::Moved => "the file of the database was removed or replaced",
            Self::Writer => "the writer of the database has ended",
        }
    }
}

/// How the last write ended, as far as that says something about the next one. Shared by everything that
/// writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWrite(Arc<Mutex<Writes>>);

#[derive(Debug, Default)]
struct Writes {
    failure: Option<Failure>,
    /// How many requests in a row had no answer from the database.
    unanswered: u32,
}

#[derive(Clone, Debug)]
struct Failure {
    why: String,
    at: Instant,
    /// Requests had no answer, rather than one that the disk or the file fails.
    is_silence: bool,
}

/// So many requests in a row without an answer say that the next one has none either.
const SILENCE: u32 = 3;

impl LastWrite {
    /// A write failed because of the disk or the file, and not because of what it wrote.
    pub(crate) fn failed(&self, why: &str) {
        self.lock().failure = Some(Failure { why: why.to_owned(), at: Instant::now(), is_silence: false });
    }

    /// The database has not answered a request in time, or not said whether it has committed.
    pub(crate) fn unanswered(&self) {
        let mut writes = self.lock();
        writes.unanswered = writes.unanswered.saturating_add(1);
        let is_full = writes.failure.as_ref().is_some_and(|failure| !failure.is_silence);
        if writes.unanswered >= SILENCE && !is_full {
            let why = format!("{} requests in a row had no answer from the database", writes.unanswered);
            writes.failure = Some(Failure { why, at: Instant::now(), is_silence: true });
        }
    }

    /// A request was committed.
    pub(crate) fn answered(&self) {
        let mut writes = self.lock();
        writes.unanswered = 0;
        writes.failure.take_if(|failure| failure.is_silence);
    }

    /// As much as many requests write could be written, after the failure at `failed_at`. A smaller write,
    /// which may fit where a request does not, says nothing.
    fn worked(&self, failed_at: Instant) {
        let mut writes = self.lock();
        if writes.failure.take_if(|failure| failure.at <= failed_at).is_some() {
            writes.unanswered = 0;
        }
    }

    /// Why the last write failed, and when; `None` when none has, or enough could be written since.
    pub(crate) fn failure(&self) -> Option<(String, Instant)> {
        self.lock().failure.as_ref().map(|failure| (failure.why.clone(), failure.at))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Writes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After a write has failed, one is tried at most this often, and not sooner after another failure.
const TRIES_EVERY: Duration = Duration::from_secs(1);

/// The reason for clients, and the one for the log.
type Reason = (NotReady, String);

/// The shared answer of one query.
type SharedCheck = Shared<BoxFuture<'static, Result<(), NotReady>>>;

/// Checks the database with a real query on a separate connection; concurrent checks share one query.
pub struct HealthProbe {
    asks: Arc<Asks>,
    spawner: Spawner,
    deadline: Duration,
    running: tokio::sync::Mutex<Option<SharedCheck>>,
}

/// What one question needs.
struct Asks {
    backend: Backend,
    /// Asked through an idle connection where the probe has none of its own.
    requests: Option<Arc<postgres::Pool>>,
    last_write: LastWrite,
    /// The privileges that statements need.
    needs: String,
    /// What the last question found, for the log.
    last: Mutex<Option<NotReady>>,
    tried: Mutex<Option<Instant>>,
}

impl HealthProbe {
    pub(crate) fn new(
        backend: Backend,
        requests: Option<Arc<postgres::Pool>>,
        last_write: LastWrite,
        spawner: Spawner,
        settings: &Settings,
    ) -> Self {
        let asks = Asks {
            backend,
            requests,
            last_write,
            needs: postgres::needs(),
            last: Mutex::default(),
            tried: Mutex::default(),
        };
        let deadline = settings.acquire_timeout + settings.statement_timeout;
        Self { asks: Arc::new(asks), spawner, deadline, running: tokio::sync::Mutex::default() }
    }

    /// Checks that the database answers within `patience`, and that writes can succeed. Nothing is written,
    /// except after a write has failed: then 240 KiB are, and removed, at most once a second.
    ///
    /// # Errors
    /// [`NotReady`]; the log has the details, once.
    pub async fn check(&self, patience: Duration) -> Result<(), NotReady> {
        let running = self.join().await;
        timeout(patience, running).await.unwrap_or_else(|_| Err(self.asks.late().0))
    }

    async fn join(&self) -> SharedCheck {
        let mut running = self.running.lock().await;
        if let Some(current) = running.as_ref().filter(|current| current.peek().is_none()) {
            return current.clone();
        }
        let (reply, answer) = oneshot::channel();
        let (asks, deadline) = (Arc::clone(&self.asks), self.deadline);
        self.spawner.spawn("health probe", async move {
            let asked = timeout(deadline, asks.ask()).await.unwrap_or_else(|_| Err(asks.late()));
            asks.log(asked.as_ref().err());
            let _ = reply.send(asked.map_err(|(reason, _)| reason));
        });
        let next = async move { answer.await.unwrap_or(Err(NotReady::NoAnswer)) }.boxed().shared();
        *running = Some(next.clone());
        next
    }
}

impl Asks {
    /// Why there is no answer in time: a write that is tried may hang as those before.
    fn late(&self) -> Reason {
        self.last_write.failure().map_or_else(
            || (NotReady::NoAnswer, "no answer in time".to_owned()),
            |(why, _)| (NotReady::Unwritable, why),
        )
    }

    async fn ask(&self) -> Result<(), Reason> {
        if let Backend::Sqlite(database, _) = &self.backend {
            if !database.writes() {
                return Err((NotReady::Writer, "restart this process".into()));
            }
            if !database.is_in_place() {
                return Err((NotReady::Moved, "put it back and restart this process".into()));
            }
        }

        let look = self.look().await.map_err(|error| (kind(&error), error.to_string()))?;
        if look.standby {
            return Err((NotReady::Standby, "the server is in recovery".into()));
        }
        if look.read_only {
            return Err((NotReady::ReadOnly, "default_transaction_read_only is on".into()));
        }
        if let Some(lacking) = look.lacking {
            return Err((NotReady::Privileges, format!("the role lacks {lacking}")));
        }
        if let Some(tables) = look.hidden {
            let why = format!("row level security hides rows of {tables} from the role");
            if let Some(requests) = &self.requests {
                requests.state_all(&why);
            }
            return Err((NotReady::Hidden, why));
        }
        let tables: BTreeSet<_> = self.needs.split(',').filter_map(|need| need.split(' ').next()).collect();
        if look.tables.unsigned_abs() < tables.len() as u64 {
            return Err((NotReady::Tables, format!("{} of {} tables are there", look.tables, tables.len())));
        }

        match self.last_write.failure() {
            None => Ok(()),
            Some((_, at)) if self.may_try(at) => self.try_to_write(at).await,
            Some((why, _)) => Err((NotReady::Unwritable, why)),
        }
    }

    async fn look(&self) -> Result<health::Look, Error> {
        let mut lease = self.lease();
        let asked = async {
            let mut read = lease.read().await?;
            read.one(health::look(&self.needs)).await
        };
        let found = match asked.await {
            Err(why @ (Error::Unavailable(_) | Error::Unreached { .. })) => {
                let idle = self.requests.as_ref().and_then(postgres::Pool::acquire_idle);
                let Some(idle) = idle else { return Err(why) };
                let mut lease = self.lease();
                lease.hold(idle);
                lease.read().await?.one(health::look(&self.needs)).await?
            }
            other => other?,
        };
        found.ok_or_else(|| Error::Corrupt("the health query has no row".into()))
    }

    fn lease(&self) -> Lease {
        let trail =
            AuditContext::new(Arc::new(NoopRecorder), model::Clock::system(), model::Origin::default());
        Lease::new(self.backend.clone(), CancellationToken::new(), trail)
    }

    fn may_try(&self, failed_at: Instant) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let last = tried.map_or(failed_at, |tried| tried.max(failed_at));
        let may = last.elapsed() >= TRIES_EVERY;
        if may {
            *tried = Some(Instant::now());
        }
        may
    }

    /// Writes as much as many requests, and removes it again; a lock that keeps requests from the tables that
    /// they write keeps this out too.
    async fn try_to_write(&self, failed_at: Instant) -> Result<(), Reason> {
        let written = async {
            let mut lease = self.lease();
            lease
                .write_unaudited(async |tx| {
                    tx.commit_with((health::touch(), health::fill())).await?;
                    Ok((Unaudited::HealthProbe, ()))
                })
                .await?;
            lease
                .write_unaudited(async |tx| {
                    tx.commit_with((health::empty(),)).await?;
                    Ok((Unaudited::HealthProbe, ()))
                })
                .await
        };
        let written: Result<(), Error> = written.await;
        written.map_err(|error| (NotReady::Unwritable, error.to_string()))?;
        self.last_write.worked(failed_at);
        match self.last_write.failure() {
            None => Ok(()),
            Some((why, _)) => Err((NotReady::Unwritable, why)),
        }
    }

    /// Logs a change of what was found, once.
    fn log(&self, found: Option<&Reason>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = found.map(|(reason, _)| *reason);
        if *last == now {
            return;
        }
        if let Some((reason, why)) = found {
            tracing::warn!(reason = reason.sentence(), %why, "the server is not ready");
        } else {
            tracing::info!("the database can be read and written again");
        }
        *last = now;
    }
}

/// What an error of the probe's query means.
fn kind(error: &Error) -> NotReady {
    match error {
        Error::Unavailable(why) if why.starts_with("42501") => NotReady::Privileges,
        Error::Unavailable(why) if why.starts_with("42P01") || why.starts_with("3F000") => NotReady::Tables,
        Error::Unavailable(_)
        | Error::Unreached { .. }
        | Error::OutcomeUnknown
        | Error::Serialization
        | Error::Conflict(_)
        | Error::Slow
        | Error::Poisoned
        | Error::Finished
        | Error::Corrupt(_)
        | Error::Database(_)
        | Error::Refused(_) => NotReady::NoAnswer,
    }
}
