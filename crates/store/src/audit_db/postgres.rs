//! The trail on PostgreSQL: one connection outside the pools, one statement per batch, monthly partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join3;
use model::{Now, UserUuid};
use runtime::Spawner;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::month::Month;
use super::sql::{self, call};
use super::{Place, Prove, Record, Retired, Shipment, Shipped};
use crate::postgres::{Address, Conn, Fault, sort};
use crate::statement::RawCall;
use crate::value::{Row, Value};
use crate::{Error, Settings};

/// Longest wait for a locked partition: later lock requests queue behind this one.
const LOCK_WAITS: &str = "SET LOCAL lock_timeout = '40ms'";
/// Nodes change partitions one after another. Readers and writers of the trail do not take this lock, so the
/// wait for it has no limit of its own.
const NODES_TAKE_TURNS: &str = "SET LOCAL search_path = pg_catalog; \
     SELECT pg_advisory_xact_lock(hashtext('gatewright.audit'), hashtext('gw.audit_events'))";
/// Begins a transaction. The server's limits end what a dead client left behind.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 0; \
     SET LOCAL statement_timeout = '31s'; SET LOCAL idle_in_transaction_session_timeout = '62s'";
/// Attempts to change a partition, each from the beginning.
const TRIES: u32 = 3;
/// Longer than the statement deadline: a change walks an index or two and removes the file of a month.
const CHANGE: Duration = Duration::from_secs(30);

/// The connection and its settings.
pub(super) struct PostgresAudit {
    address: Address,
    connect: Duration,
    limit: Duration,
    spawner: Spawner,
    idle: Mutex<Option<Conn>>,
    /// The months whose partitions existed at the last look.
    months: std::sync::Mutex<BTreeSet<Month>>,
}

impl std::fmt::Debug for PostgresAudit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresAudit").field("schema", &self.address.schema).finish_non_exhaustive()
    }
}

const INSERT: &str = "INSERT INTO gw.audit_events \
     (at, journal, sequence, kind, user_uuid, request_id, record_kind, payload, hash) \
     SELECT t.at, $9, t.sequence, t.kind, t.user_uuid, t.request_id, t.record_kind, t.payload, t.hash \
     FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS UUID[]), \
     CAST($5 AS TEXT[]), CAST($6 AS BIGINT[]), CAST($7 AS BYTEA[]), CAST($8 AS BYTEA[])) \
     AS t (at, sequence, kind, user_uuid, request_id, record_kind, payload, hash) \
     ON CONFLICT (at, journal, sequence) DO NOTHING";
const PARTITIONS: &str = "SELECT c.relname::text FROM pg_catalog.pg_inherits i \
     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1) ORDER BY 1";

impl PostgresAudit {
    pub(super) fn new(settings: &Settings, spawner: &Spawner) -> Result<Self, Error> {
        let address = Address::of(&settings.location)?.named("audit");
        let (connect, limit) = (settings.acquire_timeout, settings.statement_timeout);
        let (idle, months) = (Mutex::default(), std::sync::Mutex::default());
        Ok(Self { address, connect, limit, spawner: spawner.clone(), idle, months })
    }

    pub(super) async fn run(&self, call: RawCall) -> Result<Vec<Row>, Error> {
        self.with(self.limit, async move |conn| alone(conn, &call).await).await
    }

    pub(super) async fn insert(&self, shipment: &Shipment) -> Result<Shipped, Error> {
        if let Some(record) = shipment.records.iter().find(|record| Month::of(record.at).is_none()) {
            let micros = record.at.micros();
            return Ok(Shipped::Refused(format!("its time, {micros} microseconds, is in no calendar")));
        }

        let times: Vec<Now> = shipment.records.iter().map(|record| record.at).collect();
        self.prepare(&times).await?;

        let text = self.named(INSERT);
        self.with(self.limit, async move |conn| {
            simple(conn, BEGIN).await?;
            if answer(conn, &sql::shift(shipment)).await?.is_empty() {
                simple(conn, "ROLLBACK").await?;
                return Ok(Shipped::Moved);
            }

            let stored = match insert(conn, &text, shipment).await {
                Ok(stored) => stored,
                Err(error) if is_refusal(&error) => {
                    simple(conn, "ROLLBACK").await?;
                    return Ok(Shipped::Refused(sort(&error).to_string()));
                }
                Err(error) => {
                    self.months().clear();
                    return Err(sort(&error));
                }
            };

            for head in &shipment.heads {
                answer(conn, &sql::insert_head(head)).await?;
            }

            match simple(conn, "COMMIT").await {
                Ok(()) => Ok(Shipped::Stored(stored)),
                Err(Error::Unavailable(_)) => Err(Error::OutcomeUnknown),
                Err(other) => Err(other),
            }
        })
        .await
    }

    pub(super) async fn partitions(&self) -> Result<Vec<String>, Error> {
        let table = format!("{}.audit_events", self.address.schema);
        self.with(self.limit, async move |conn| {
            let rows = conn.client.query_typed(PARTITIONS, &[(&table, Type::TEXT)]).await;
            let rows = rows.map_err(|error| sort(&error))?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| sort(&error))
        })
        .await
    }

    /// Creates a partition beside the table and then attaches it, which blocks neither readers nor writers.
    pub(super) async fn prepare(&self, times: &[Now]) -> Result<Vec<String>, Error> {
        let mut wanted: BTreeSet<Month> = times.iter().filter_map(|at| Month::of(*at)).collect();
        wanted.retain(|month| !self.months().contains(month));
        if wanted.is_empty() {
            return Ok(Vec::new());
        }

        let there: BTreeSet<String> = self.partitions().await?.into_iter().collect();
        let mut made = Vec::new();
        for month in wanted {
            let name = month.partition();
            let (Some(start), Some(end)) = (month.start(), month.end()) else { continue };
            if there.contains(&name) {
                self.months().insert(month);
                continue;
            }

            let text = self.named(&format!(
                "{BEGIN}; {NODES_TAKE_TURNS}; {LOCK_WAITS}; \
                 CREATE TABLE gw.{name} (LIKE gw.audit_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
                 ALTER TABLE gw.audit_events ATTACH PARTITION gw.{name} FOR VALUES FROM ({start}) TO \
                 ({end}); COMMIT"
            ));

            match self.change(&text).await {
                Ok(()) => made.push(name),
                // Another node created it first.
                Err(_) if self.partitions().await?.contains(&name) => {}
                Err(error) => return Err(error),
            }
            self.months().insert(month);
        }
        Ok(made)
    }

    pub(super) async fn retire(&self, before: Now, prove: &Prove) -> Result<Retired, Error> {
        let mut retired = Retired::default();
        for name in self.partitions().await? {
            let end = Month::of_partition(&name).and_then(Month::end);
            if end.is_none_or(|end| end > before.micros()) {
                continue;
            }

            self.months().clear();
            match self.drop_month(&name, prove).await {
                Ok(()) => retired.partitions.push(name),
                Err(_) if !self.partitions().await?.contains(&name) => {}
                Err(error) => return Err(error),
            }
        }

        let heads = self.run(call(&sql::DELETE_HEADS, [Value::from(before)])).await?.len();
        retired.more = heads >= 1000;
        Ok(retired)
    }

    /// Drops the partition of a month; each journal keeps its new first position, and the proof of it. Tries
    /// again after a lock timeout or conflict.
    async fn drop_month(&self, name: &str, prove: &Prove) -> Result<(), Error> {
        // A name that parses as a month contains only letters, digits and `_`.
        let begin = self.named(&format!(
            "{BEGIN}; {NODES_TAKE_TURNS}; {LOCK_WAITS}; LOCK TABLE gw.{name} IN ACCESS EXCLUSIVE MODE"
        ));
        let last = self.named(&format!(
            "SELECT o.id, e.sequence, e.hash FROM gw.audit_journals o CROSS JOIN LATERAL \
             (SELECT p.sequence, p.hash FROM gw.{name} p WHERE p.journal = o.id \
             ORDER BY p.sequence DESC, p.at DESC LIMIT 1) e"
        ));
        let end = self.named(&format!("DROP TABLE gw.{name}; COMMIT"));

        let mut tries = 1;
        loop {
            let dropped = self.with(CHANGE, async |conn| {
                simple(conn, &begin).await?;
                let rows = conn.client.query_typed(&last, &[]).await.map_err(|error| sort(&error))?;
                for row in rows {
                    let (id, sequence, hash): (Uuid, i64, Vec<u8>) =
                        last_of(&row).map_err(|error| sort(&error))?;
                    let hash = hash.try_into().map_err(|_| Error::Corrupt("a hash of the trail".into()))?;
                    let place = Place { sequence, hash };
                    let proof = prove(id.into_bytes(), place);
                    let params: [Value; 4] = [id.into(), sequence.into(), hash.into(), proof.into()];
                    answer(conn, &call(&sql::KEEP_AFTER, params)).await?;
                }
                simple(conn, &end).await
            });
            match dropped.await {
                Err(Error::Unavailable(_) | Error::Serialization | Error::Conflict(_)) if tries < TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs a whole transaction as one text, again after a lock timeout or conflict.
    async fn change(&self, text: &str) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.with(CHANGE, async move |conn| simple(conn, text).await).await {
                Err(Error::Unavailable(_) | Error::Serialization | Error::Conflict(_)) if tries < TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs `work` on the connection within `limit`. A connection that failed in any way is dropped.
    async fn with<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut idle = self.idle.lock().await;
        let mut conn = match idle.take().filter(|conn| !conn.client.is_closed()) {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        match timeout(limit, work(&mut conn)).await {
            Ok(Ok(value)) => {
                *idle = Some(conn);
                Ok(value)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                conn.cancel(&self.spawner);
                Err(Error::Unavailable("the trail's statement took longer than its deadline".into()))
            }
        }
    }

    async fn connect(&self) -> Result<Conn, Error> {
        let connecting = Conn::bare(&self.address, &self.spawner);
        let late = || Error::Unavailable("no connection could be made within the deadline".into());
        timeout(self.connect, connecting).await.unwrap_or_else(|_| Err(late()))
    }

    fn months(&self) -> std::sync::MutexGuard<'_, BTreeSet<Month>> {
        self.months.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn named(&self, text: &str) -> String {
        text.replace("gw.", &format!("{}.", self.address.schema))
    }
}

fn last_of(row: &tokio_postgres::Row) -> Result<(Uuid, i64, Vec<u8>), tokio_postgres::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

async fn simple(conn: &Conn, text: &str) -> Result<(), Error> {
    conn.client.batch_execute(text).await.map_err(|error| sort(&error))
}

/// Runs a call as a transaction of its own, in one round trip.
async fn alone(conn: &Conn, call: &RawCall) -> Result<Vec<Row>, Error> {
    let (begun, rows, ended) = join3(simple(conn, BEGIN), answer(conn, call), simple(conn, "COMMIT")).await;
    begun?;
    let rows = rows?;
    ended.map(|()| rows)
}

/// Runs a call in a transaction.
async fn answer(conn: &Conn, call: &RawCall) -> Result<Vec<Row>, Error> {
    conn.call(call).await.map_err(|fault| match fault {
        Fault::Driver(error) => sort(&error),
        Fault::Rows(error) => error,
    })
}

/// Whether the server rejects the values. 23514 is excluded: it also means that a month was dropped
/// meanwhile.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let state = error.code().map(tokio_postgres::error::SqlState::code);
    state.is_some_and(|state| matches!(state.get(..2), Some("22" | "23" | "54")) && state != "23514")
}

/// Inserts all records in one statement.
async fn insert(conn: &Conn, text: &str, shipment: &Shipment) -> Result<u64, tokio_postgres::Error> {
    let records = &shipment.records;
    let at: Vec<i64> = records.iter().map(|record| record.at.micros()).collect();
    let sequence: Vec<i64> = records.iter().map(|record| record.sequence).collect();
    let kind: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
    let user: Vec<Option<Uuid>> = records.iter().map(|record| record.user.map(|UserUuid(id)| id)).collect();
    let request: Vec<Option<&str>> = records.iter().map(|record| record.request_id.as_deref()).collect();
    let record_kind: Vec<i64> = records.iter().map(|record| record.record_kind).collect();
    let payload: Vec<&[u8]> = records.iter().map(|record| record.payload.as_slice()).collect();
    let hash: Vec<&[u8]> = records.iter().map(|record: &Record| record.hash.as_slice()).collect();
    let journal = Uuid::from_bytes(shipment.journal);
    let params: [(&(dyn ToSql + Sync), Type); 9] = [
        (&at, Type::INT8_ARRAY),
        (&sequence, Type::INT8_ARRAY),
        (&kind, Type::TEXT_ARRAY),
        (&user, Type::UUID_ARRAY),
        (&request, Type::TEXT_ARRAY),
        (&record_kind, Type::INT8_ARRAY),
        (&payload, Type::BYTEA_ARRAY),
        (&hash, Type::BYTEA_ARRAY),
        (&journal, Type::UUID),
    ];
    conn.client.execute_typed(text, &params).await
}
