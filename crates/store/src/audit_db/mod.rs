//! The audit trail in the database: what the shipper writes, and what commands read.
//!
//! It has a connection of its own, opened at its first use: on PostgreSQL outside both pools, on SQLite to a file of
//! its own with a thread of its own. So no request waits for it, whoever locks the table of events. Its statements are
//! not in the registry, which requests' connections prepare.

mod month;
mod postgres;
mod sql;
mod sqlite;

use model::{Now, UserUuid};
use runtime::Spawner;

use crate::value::Row;
use crate::{Error, Location, Settings};
use postgres::PostgresAudit;
use sqlite::SqliteAudit;

pub use sql::statements;
pub use sqlite::trail_path;

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was written, by the journal.
    pub at: Now,
    /// Which journal.
    pub journal: [u8; 16],
    /// Its place in the journal; the first is 1.
    pub sequence: i64,
    /// What happened, in the words of the events.
    pub kind: String,
    /// Whom it is about.
    pub user: Option<UserUuid>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// What the payload is: the journal's byte for it, 1 an event, 2 a checkpoint.
    pub record_kind: i64,
    /// The payload as it stands in the journal.
    pub payload: Vec<u8>,
    /// The chain up to and with it.
    pub hash: [u8; 32],
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which journal.
    pub journal: [u8; 16],
    /// The record that it vouches for, with all before.
    pub sequence: i64,
    /// The chain up to and with that record.
    pub hash: [u8; 32],
    /// The checkpoint as it was signed.
    pub checkpoint: Vec<u8>,
    /// When.
    pub at: Now,
}

/// A place in the chain of a journal: behind a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record's sequence; 0 is the beginning.
    pub sequence: i64,
    /// The chain up to and with it.
    pub hash: [u8; 32],
}

/// What a journal is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Its id.
    pub id: [u8; 16],
    /// Whose it is.
    pub node: String,
    /// When its first record came.
    pub first_seen: Now,
    /// The last record that came.
    pub shipped: Place,
    /// The last record that is not here any more: those behind it are.
    pub kept: Place,
}

/// Records on their way in.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// Which journal.
    pub journal: [u8; 16],
    /// The node's name.
    pub node: String,
    /// The place that the database has, as far as is known; `None` where it has none.
    pub known: Option<Place>,
    /// The place before the first record.
    pub before: Place,
    /// The place behind the last record.
    pub after: Place,
    /// The records.
    pub records: Vec<Record>,
    /// The checkpoints among them.
    pub heads: Vec<Head>,
    /// When.
    pub now: Now,
}

/// How a shipment went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// All of it is there; so many records were not before.
    Stored(u64),
    /// Nothing was stored: the database has another place than the one that was thought.
    Moved,
    /// Nothing was stored: a record has values that the database will never take, for this reason.
    Refused(String),
}

/// Which events.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Not before.
    pub from: Now,
    /// Before.
    pub to: Now,
    /// Only those about a user.
    pub user: Option<UserUuid>,
    /// Only those of a kind.
    pub kind: Option<String>,
}

impl Default for Filter {
    /// All of them.
    fn default() -> Self {
        let (from, to) = (Now::from_micros(i64::MIN), Now::from_micros(i64::MAX));
        Self { from, to, user: None, kind: None }
    }
}

/// Where a page ended: behind a record, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Its time.
    pub at: Now,
    /// Its journal.
    pub journal: [u8; 16],
    /// Its sequence.
    pub sequence: i64,
}

impl Cursor {
    /// Before everything of `from`.
    pub fn before(from: Now) -> Self {
        Self { at: from, journal: [0; 16], sequence: -1 }
    }
}

impl Record {
    /// Where it stands.
    pub fn cursor(&self) -> Cursor {
        Cursor { at: self.at, journal: self.journal, sequence: self.sequence }
    }

    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            at: row.next()?,
            journal: id(&mut row)?,
            sequence: row.next()?,
            kind: row.next()?,
            user: row.next()?,
            request_id: row.next()?,
            record_kind: row.next()?,
            payload: row.next()?,
            hash: row.next()?,
        })
    }
}

impl Head {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            journal: id(&mut row)?,
            sequence: row.next()?,
            hash: row.next()?,
            checkpoint: row.next()?,
            at: row.next()?,
        })
    }
}

impl Journal {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: id(&mut row)?,
            node: row.next()?,
            first_seen: row.next()?,
            shipped: Place { sequence: row.next()?, hash: row.next()? },
            kept: Place { sequence: row.next()?, hash: row.next()? },
        })
    }
}

fn id(row: &mut Row) -> Result<[u8; 16], Error> {
    Ok(row.next::<uuid::Uuid>()?.into_bytes())
}

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Partitions that were dropped, by name.
    pub partitions: Vec<String>,
    /// Rows that were deleted where there are no partitions.
    pub rows: u64,
    /// There is more to do.
    pub more: bool,
}

/// The way to the trail.
#[derive(Debug)]
pub struct Audit(Engine);

#[derive(Debug)]
enum Engine {
    Postgres(Box<PostgresAudit>),
    Sqlite(SqliteAudit),
}

impl Audit {
    /// A way to the trail; it connects at its first use.
    ///
    /// # Errors
    /// [`Error::Refused`] when the settings do not fit.
    pub fn open(settings: &Settings, spawner: &Spawner) -> Result<Self, Error> {
        Ok(Self(match &settings.location {
            Location::Sqlite(path) => Engine::Sqlite(SqliteAudit::new(path, settings)),
            Location::Postgres { .. } => Engine::Postgres(Box::new(PostgresAudit::new(settings, spawner)?)),
        }))
    }

    /// What is known of a journal; `None` before its first record.
    ///
    /// # Errors
    /// [`Error::Unavailable`], as everywhere here.
    pub async fn journal(&self, id: [u8; 16]) -> Result<Option<Journal>, Error> {
        Ok(self.rows(sql::journal(id), Journal::read).await?.into_iter().next())
    }

    /// Every journal.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn journals(&self) -> Result<Vec<Journal>, Error> {
        self.rows(sql::journals(), Journal::read).await
    }

    /// Stores records, their checkpoints and the place behind them in one transaction. What is there already stays.
    /// Partitions that are missing are made first.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`]; [`Error::Database`] where tables are missing or may not be
    /// written.
    pub async fn insert(&self, shipment: Shipment) -> Result<Shipped, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.insert(&shipment).await,
            Engine::Sqlite(sqlite) => sqlite.insert(shipment).await,
        }
    }

    /// At most `limit` events after a place in time, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn page(&self, filter: &Filter, after: Cursor, limit: i64) -> Result<Vec<Record>, Error> {
        self.rows(sql::page(filter, after, limit), Record::read).await
    }

    /// The `limit` last events, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn latest(&self, filter: &Filter, limit: i64) -> Result<Vec<Record>, Error> {
        let mut records = self.rows(sql::latest(filter, limit), Record::read).await?;
        records.reverse();
        Ok(records)
    }

    /// At most `limit` records of a journal behind a sequence and time, in the order of the chain.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn chain(
        &self,
        journal: [u8; 16],
        after: (i64, Now),
        limit: i64,
    ) -> Result<Vec<Record>, Error> {
        self.rows(sql::chain(journal, after, limit), Record::read).await
    }

    /// At most `limit` signed heads of a journal behind a sequence, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn heads(&self, journal: [u8; 16], after: i64, limit: i64) -> Result<Vec<Head>, Error> {
        self.rows(sql::heads(journal, after, limit), Head::read).await
    }

    /// Makes sure of the partitions for these times, and tells which it made. SQLite needs none.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Database`] where tables may not be made.
    pub async fn prepare(&self, times: &[Now]) -> Result<Vec<String>, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.prepare(times).await,
            Engine::Sqlite(_) => Ok(Vec::new()),
        }
    }

    /// The partitions that there are, by name; none on SQLite.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<String>, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.partitions().await,
            Engine::Sqlite(_) => Ok(Vec::new()),
        }
    }

    /// Removes what is older: whole partitions, or some rows at a time. Each journal remembers where it begins now.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also where somebody holds a partition; it is tried again later.
    pub async fn retire(&self, before: Now) -> Result<Retired, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.retire(before).await,
            Engine::Sqlite(sqlite) => sqlite.retire(before).await,
        }
    }

    async fn rows<T>(
        &self,
        call: crate::statement::RawCall,
        read: fn(Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = match &self.0 {
            Engine::Postgres(server) => server.run(call).await?,
            Engine::Sqlite(sqlite) => sqlite.run(vec![call]).await?.pop().unwrap_or_default(),
        };
        rows.into_iter().map(read).collect()
    }
}
