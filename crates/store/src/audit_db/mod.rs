//! The audit trail in the database: the shipper writes it, commands read it.
//!
//! The trail has its own connection, opened at its first use: on PostgreSQL outside both pools, on SQLite to
//! a separate file with a separate thread. A lock on the table of events therefore delays no request. The
//! statements are not in the registry, because request connections prepare the whole registry.

mod month;
mod postgres;
mod sql;
mod sqlite;

use std::sync::Arc;

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
    /// Its position in the journal; the first record is 1.
    pub sequence: i64,
    /// The kind of the event, as the event types name it.
    pub kind: String,
    /// The user it is about.
    pub user: Option<UserUuid>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// The kind of payload, as the journal's byte: 1 is an event, 2 is a checkpoint.
    pub record_kind: i64,
    /// The payload, byte for byte as in the journal.
    pub payload: Vec<u8>,
    /// The chain hash up to and including this record.
    pub hash: [u8; 32],
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which journal.
    pub journal: [u8; 16],
    /// The last record that the checkpoint covers; it also covers every record before it.
    pub sequence: i64,
    /// The chain hash up to and including that record.
    pub hash: [u8; 32],
    /// The signed bytes of the checkpoint.
    pub checkpoint: Vec<u8>,
    /// When it was signed.
    pub at: Now,
}

/// A position in the chain of a journal: directly after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record's sequence; 0 is before the first record.
    pub sequence: i64,
    /// The chain hash up to and including that record.
    pub hash: [u8; 32],
}

/// What the database knows about a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Its id.
    pub id: [u8; 16],
    /// The name of the node that writes it.
    pub node: String,
    /// When its first record arrived.
    pub first_seen: Now,
    /// The last record that arrived.
    pub shipped: Place,
    /// The last record that retention has removed; the records after it are present.
    pub kept: Place,
    /// The signed statement about `kept`; the signature is not checked.
    pub kept_proof: Option<Vec<u8>>,
}

/// Makes the signed statement that the records of a journal up to a place are not in the database.
pub type Prove = Arc<dyn Fn([u8; 16], Place) -> Option<Vec<u8>> + Send + Sync>;

/// A batch of records to insert.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// Which journal.
    pub journal: [u8; 16],
    /// The node's name.
    pub node: String,
    /// The position that the database is expected to have; `None` where it has none.
    pub known: Option<Place>,
    /// The position before the first record.
    pub before: Place,
    /// The position after the last record.
    pub after: Place,
    /// The records.
    pub records: Vec<Record>,
    /// The checkpoints among the records.
    pub heads: Vec<Head>,
    /// The signed statement about [`Shipment::before`], where the database has nothing of the journal yet.
    pub kept_proof: Option<Vec<u8>>,
    /// When the batch is sent.
    pub now: Now,
}

/// The outcome of a shipment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// All records are stored; the number counts those that are new.
    Stored(u64),
    /// Nothing was stored: the database has another position than [`Shipment::known`].
    Moved,
    /// Nothing was stored: the database can never accept the values of a record, for this reason.
    Refused(String),
}

/// Selects events.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Inclusive lower bound.
    pub from: Now,
    /// Exclusive upper bound.
    pub to: Now,
    /// Only events about this user.
    pub user: Option<UserUuid>,
    /// Only events of this kind.
    pub kind: Option<String>,
    /// Not those of this kind.
    pub without: Option<&'static str>,
}

impl Default for Filter {
    /// Selects every event.
    fn default() -> Self {
        let (from, to) = (Now::from_micros(i64::MIN), Now::from_micros(i64::MAX));
        Self { from, to, user: None, kind: None, without: None }
    }
}

/// The end of a page: directly after a record, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The record's time.
    pub at: Now,
    /// The record's journal.
    pub journal: [u8; 16],
    /// The record's sequence.
    pub sequence: i64,
}

impl Cursor {
    /// The position before every event at or after `from`.
    pub fn before(from: Now) -> Self {
        Self { at: from, journal: [0; 16], sequence: -1 }
    }
}

impl Record {
    /// The position of this record in the order of time.
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
            kept_proof: row.next()?,
        })
    }
}

fn id(row: &mut Row) -> Result<[u8; 16], Error> {
    Ok(row.next::<uuid::Uuid>()?.into_bytes())
}

/// What retention removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Partitions that were dropped, by name.
    pub partitions: Vec<String>,
    /// Rows deleted on an engine without partitions.
    pub rows: u64,
    /// Whether there is more to remove.
    pub more: bool,
}

/// Access to the audit trail in the database.
#[derive(Debug)]
pub struct Audit(Engine);

#[derive(Debug)]
enum Engine {
    Postgres(Box<PostgresAudit>),
    Sqlite(SqliteAudit),
}

impl Audit {
    /// Prepares access to the trail; the connection opens at its first use.
    ///
    /// # Errors
    /// [`Error::Refused`] when the settings are invalid.
    pub fn open(settings: &Settings, spawner: &Spawner) -> Result<Self, Error> {
        Ok(Self(match &settings.location {
            Location::Sqlite(path) => Engine::Sqlite(SqliteAudit::new(path, settings)),
            Location::Postgres { .. } => Engine::Postgres(Box::new(PostgresAudit::new(settings, spawner)?)),
        }))
    }

    /// How often the file of the trail, which the embedded database has, was found to be removed or replaced
    /// while it was open. This call looks at it; the next use opens the one that is there, or a new one.
    pub fn files_lost(&self) -> u64 {
        match &self.0 {
            Engine::Postgres(_) => 0,
            Engine::Sqlite(sqlite) => sqlite.lost(),
        }
    }

    /// Finds a journal; `None` before its first record.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot answer; so do all methods here.
    pub async fn journal(&self, id: [u8; 16]) -> Result<Option<Journal>, Error> {
        Ok(self.rows(sql::journal(id), Journal::read).await?.into_iter().next())
    }

    /// Lists every journal.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn journals(&self) -> Result<Vec<Journal>, Error> {
        self.rows(sql::journals(), Journal::read).await
    }

    /// Stores records, their checkpoints and the position after them in one transaction. Records that are
    /// present stay as they are. Missing partitions are created first.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`]; [`Error::Database`] where tables are missing or not
    /// writable.
    pub async fn insert(&self, shipment: Shipment) -> Result<Shipped, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.insert(&shipment).await,
            Engine::Sqlite(sqlite) => sqlite.insert(shipment).await,
        }
    }

    /// Reads at most `limit` events after `after`, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn page(&self, filter: &Filter, after: Cursor, limit: i64) -> Result<Vec<Record>, Error> {
        self.rows(sql::page(filter, after, limit), Record::read).await
    }

    /// Reads the last `limit` events, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn latest(&self, filter: &Filter, limit: i64) -> Result<Vec<Record>, Error> {
        let mut records = self.rows(sql::latest(filter, limit), Record::read).await?;
        records.reverse();
        Ok(records)
    }

    /// Reads at most `limit` records of a journal after a sequence and time, in chain order.
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

    /// Reads at most `limit` signed heads of a journal after a sequence, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn heads(&self, journal: [u8; 16], after: i64, limit: i64) -> Result<Vec<Head>, Error> {
        self.rows(sql::heads(journal, after, limit), Head::read).await
    }

    /// Ensures that the partitions for these times exist and returns the names of the created ones. SQLite
    /// needs none.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Database`] where the role may not create tables.
    pub async fn prepare(&self, times: &[Now]) -> Result<Vec<String>, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.prepare(times).await,
            Engine::Sqlite(_) => Ok(Vec::new()),
        }
    }

    /// Lists the existing partitions by name; none on SQLite.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn partitions(&self) -> Result<Vec<String>, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.partitions().await,
            Engine::Sqlite(_) => Ok(Vec::new()),
        }
    }

    /// Removes events older than `before`: whole partitions on PostgreSQL, a bounded number of rows on
    /// SQLite. Each journal keeps the position where its records now begin, with the statement of `prove`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also while another session locks a partition; the caller tries again later.
    pub async fn retire(&self, before: Now, prove: Prove) -> Result<Retired, Error> {
        match &self.0 {
            Engine::Postgres(server) => server.retire(before, &prove).await,
            Engine::Sqlite(sqlite) => sqlite.retire(before, prove).await,
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
