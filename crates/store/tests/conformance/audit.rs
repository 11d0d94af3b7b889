//! The audit trail on each engine: no duplicates, positions that move only from the expected one, retention.

use std::sync::Arc;
use std::time::Duration;

use model::Now;
use store::audit_db::{Audit, Cursor, Filter, Head, Place, Prove, Record, Shipment, Shipped, statements};
use store::queries::audit_key::{self, AuditKey};
use testkit::postgres::rows;

use crate::fixtures::{NOON, TestDb, register, spawner, uuid};

on_both! {
    a_record_is_stored_once,
    a_position_moves_only_from_the_expected_one,
    a_refused_shipment_stores_nothing,
    pages_follow_time_and_the_filter,
    the_chain_is_read_by_sequence,
    retention_removes_older_events_and_keeps_the_new_start,
    keys_of_erased_users_are_not_inserted,
}

const JOURNAL: [u8; 16] = [7; 16];
const DAY: Duration = Duration::from_hours(24);

fn audit(db: &TestDb) -> Audit {
    Audit::open(&db.settings, &spawner()).unwrap()
}

fn record(sequence: i64, at: Now) -> Record {
    Record {
        at,
        journal: JOURNAL,
        sequence,
        kind: if sequence % 2 == 0 { "login_failed" } else { "login_succeeded" }.to_owned(),
        user: (sequence % 3 == 0).then(|| uuid(3)),
        request_id: Some(format!("r{sequence}")),
        record_kind: 1,
        payload: format!("{{\"n\":{sequence}}}").into_bytes(),
        hash: [u8::try_from(sequence).unwrap(); 32],
    }
}

fn place(sequence: i64) -> Place {
    Place { sequence, hash: [u8::try_from(sequence).unwrap(); 32] }
}

/// Records with these sequences, one minute apart.
fn shipment(known: Option<Place>, sequences: std::ops::RangeInclusive<i64>) -> Shipment {
    let (first, last) = (*sequences.start(), *sequences.end());
    let minutes = |sequence: i64| NOON.plus(Duration::from_mins(sequence.unsigned_abs()));
    let records = sequences.map(|sequence| record(sequence, minutes(sequence))).collect();
    Shipment {
        journal: JOURNAL,
        node: "a node".to_owned(),
        known,
        before: place(first - 1),
        after: place(last),
        records,
        heads: Vec::new(),
        kept_proof: None,
        now: NOON,
    }
}

/// A statement that names the journal and the place.
fn proof(journal: [u8; 16], place: Place) -> Vec<u8> {
    [journal.as_slice(), &place.sequence.to_be_bytes(), &place.hash].concat()
}

fn prove() -> Prove {
    Arc::new(|journal, place| Some(proof(journal, place)))
}

async fn stored(audit: &Audit, shipment: Shipment) -> Shipped {
    audit.insert(shipment).await.unwrap()
}

async fn all(audit: &Audit) -> Vec<Record> {
    audit.page(&Filter::default(), Cursor::before(Now::from_micros(i64::MIN)), 10_000).await.unwrap()
}

async fn a_record_is_stored_once(db: Arc<TestDb>) {
    let audit = audit(&db);
    assert_eq!(audit.journal(JOURNAL).await.unwrap(), None);
    assert_eq!(stored(&audit, shipment(None, 1..=5)).await, Shipped::Stored(5));
    let mut again = shipment(Some(place(5)), 1..=7);
    again.heads =
        vec![Head { journal: JOURNAL, sequence: 6, hash: [6; 32], checkpoint: b"c".to_vec(), at: NOON }];
    assert_eq!(stored(&audit, again.clone()).await, Shipped::Stored(2));
    again.known = Some(place(7));
    assert_eq!(stored(&audit, again.clone()).await, Shipped::Stored(0));
    let found = all(&audit).await;
    assert_eq!(found, again.records, "as they were given, in order");
    assert_eq!(audit.heads(JOURNAL, 0, 10).await.unwrap(), again.heads);
    assert_eq!(audit.heads(JOURNAL, 6, 10).await.unwrap(), []);
    let journals = audit.journals().await.unwrap();
    assert_eq!(journals.len(), 1);
    assert_eq!((journals[0].shipped, journals[0].kept), (place(7), place(0)));
    assert_eq!(journals[0].node, "a node");
}

async fn a_position_moves_only_from_the_expected_one(db: Arc<TestDb>) {
    let audit = audit(&db);
    assert_eq!(
        stored(&audit, shipment(Some(place(3)), 4..=5)).await,
        Shipped::Stored(2),
        "the first position is accepted"
    );
    assert_eq!(audit.journal(JOURNAL).await.unwrap().unwrap().kept, place(3));
    for known in [None, Some(place(4)), Some(Place { sequence: 5, hash: [9; 32] })] {
        assert_eq!(stored(&audit, shipment(known, 6..=7)).await, Shipped::Moved, "{known:?}");
    }
    assert_eq!(all(&audit).await.len(), 2, "nothing of the refused shipments");
    assert_eq!(stored(&audit, shipment(Some(place(5)), 6..=7)).await, Shipped::Stored(2));
}

/// A record that cannot be stored prevents the other records of its shipment from being stored.
async fn a_refused_shipment_stores_nothing(db: Arc<TestDb>) {
    let audit = audit(&db);
    stored(&audit, shipment(None, 1..=2)).await;
    let mut bad = shipment(Some(place(2)), 3..=5);

    if db.is_sqlite() {
        // A trigger refuses a row, as a constraint would.
        let file = store::audit_db::trail_path(&db.path());
        let trigger = "CREATE TRIGGER no BEFORE INSERT ON audit_events WHEN new.sequence = 4 \
                       BEGIN SELECT RAISE(ABORT, 'no'); END";
        rusqlite::Connection::open(file).unwrap().execute_batch(trigger).unwrap();
    } else {
        bad.records[1].request_id = Some("a\0b".to_owned());
    }

    let refused = audit.insert(bad).await.unwrap();
    assert!(matches!(refused, Shipped::Refused(_)), "{refused:?}");
    assert_eq!(all(&audit).await.len(), 2);
    assert_eq!(audit.journal(JOURNAL).await.unwrap().unwrap().shipped, place(2));
    assert_eq!(
        stored(&audit, shipment(Some(place(2)), 3..=3)).await,
        Shipped::Stored(1),
        "later ones are stored"
    );

    if !db.is_sqlite() {
        let mut never = shipment(Some(place(3)), 4..=4);
        never.records[0].at = Now::from_micros(i64::MAX);
        assert!(matches!(stored(&audit, never).await, Shipped::Refused(_)));
        // A partition that another process has dropped is created again.
        db.sql("DROP TABLE gw.audit_events_2023_11");
        assert!(audit.insert(shipment(Some(place(3)), 4..=4)).await.is_err());
        assert_eq!(stored(&audit, shipment(Some(place(3)), 4..=4)).await, Shipped::Stored(1));
    }
}

async fn pages_follow_time_and_the_filter(db: Arc<TestDb>) {
    let audit = audit(&db);
    stored(&audit, shipment(None, 1..=12)).await;
    let sequences = |records: &[Record]| records.iter().map(|record| record.sequence).collect::<Vec<_>>();
    let minute = |n| NOON.plus(Duration::from_mins(n));
    let filter = Filter { from: minute(2), to: minute(12), ..Filter::default() };
    let first = audit.page(&filter, Cursor::before(filter.from), 4).await.unwrap();
    assert_eq!(sequences(&first), [2, 3, 4, 5]);
    let second = audit.page(&filter, first[3].cursor(), 100).await.unwrap();
    assert_eq!(sequences(&second), [6, 7, 8, 9, 10, 11]);
    assert_eq!(sequences(&audit.latest(&filter, 2).await.unwrap()), [10, 11]);
    for (user, kind, expected) in [
        (Some(uuid(3)), None, vec![3, 6, 9]),
        (None, Some("login_failed"), vec![2, 4, 6, 8, 10]),
        (Some(uuid(3)), Some("login_failed"), vec![6]),
        (Some(uuid(4)), None, vec![]),
    ] {
        let filter = Filter { user, kind: kind.map(str::to_owned), ..filter.clone() };
        let page = audit.page(&filter, Cursor::before(filter.from), 100).await.unwrap();
        assert_eq!(sequences(&page), expected);
        assert_eq!(audit.latest(&filter, 100).await.unwrap(), page);
    }
}

async fn the_chain_is_read_by_sequence(db: Arc<TestDb>) {
    let audit = audit(&db);
    let mut crossed = shipment(None, 1..=4);
    // The clock was set back across the end of a month.
    crossed.records[2].at = NOON.minus(DAY * 40);
    stored(&audit, crossed).await;
    let first = audit.chain(JOURNAL, (0, NOON), 3).await.unwrap();
    assert_eq!(first.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let rest = audit.chain(JOURNAL, (3, first[2].at), 10).await.unwrap();
    assert_eq!(rest.iter().map(|record| record.sequence).collect::<Vec<_>>(), [4]);
    assert_eq!(audit.chain([8; 16], (0, NOON), 10).await.unwrap(), []);
}

async fn retention_removes_older_events_and_keeps_the_new_start(db: Arc<TestDb>) {
    let audit = audit(&db);
    let mut old = shipment(None, 1..=6);
    for (record, days) in old.records.iter_mut().zip([100_u32, 99, 70, 1, 0, 0]) {
        record.at = NOON.minus(DAY * days);
    }
    old.heads = [2, 5]
        .map(|n| Head {
            journal: JOURNAL,
            sequence: n,
            hash: [0; 32],
            checkpoint: Vec::new(),
            at: NOON.minus(if n == 2 { DAY * 99 } else { DAY }),
        })
        .to_vec();
    stored(&audit, old).await;

    let before = audit.partitions().await.unwrap();
    let retired = audit.retire(NOON.minus(DAY * 40), prove()).await.unwrap();
    assert!(!retired.more);
    assert_eq!(all(&audit).await.iter().map(|record| record.sequence).collect::<Vec<_>>(), [4, 5, 6]);
    let journal = audit.journal(JOURNAL).await.unwrap().unwrap();
    assert_eq!((journal.kept, journal.shipped), (place(3), place(6)));
    assert_eq!(journal.kept_proof, Some(proof(JOURNAL, place(3))));
    assert_eq!(audit.heads(JOURNAL, 0, 10).await.unwrap().len(), 1);

    if db.is_sqlite() {
        assert_eq!((retired.rows, retired.partitions.len()), (3, 0));
    } else {
        assert_eq!(retired.partitions, before[..retired.partitions.len()], "the oldest, whole");
        assert_eq!(audit.partitions().await.unwrap(), before[retired.partitions.len()..]);
    }
    assert_eq!(
        audit.retire(NOON.minus(DAY * 40), prove()).await.unwrap(),
        store::audit_db::Retired::default()
    );
}

async fn keys_of_erased_users_are_not_inserted(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let id = register(&mut lease, 1).await.unwrap().unwrap();
    let key = |n: u8, user| AuditKey { id: vec![n; 8], user: uuid(user), sealed: vec![n], master_key: None };
    let given = vec![key(1, 1), key(2, 0), key(3, 1)];
    assert_eq!(lease.keep_audit_keys(given.clone(), NOON).await.unwrap(), 3);
    assert_eq!(lease.keep_audit_keys(given.clone(), NOON).await.unwrap(), 0, "all are present");

    let asked = [[1; 8], [9; 8], [3; 8]].map(Vec::from);
    let missing = audit_key::missing(asked.iter().map(Vec::as_slice));
    assert_eq!(lease.read().await.unwrap().all(missing).await.unwrap(), [[9; 8]]);

    let erase = async move |tx: &mut store::Tx| {
        tx.one(store::queries::user::erase(id, NOON)).await?;
        let removed = tx.all(audit_key::remove_of_user(uuid(1))).await?;
        Ok::<_, store::Error>((model::event::UserErased { user: uuid(1), sessions: 0 }, removed.len()))
    };
    assert_eq!(
        lease.transact(model::intent::UserErased { user: uuid(1), stamp: NOON }, erase).await.unwrap(),
        2
    );

    assert_eq!(
        lease.keep_audit_keys(given.clone(), NOON).await.unwrap(),
        0,
        "a file that still contains the keys does not restore them"
    );

    let asked = [1, 2, 0].map(uuid);
    assert_eq!(lease.read().await.unwrap().all(audit_key::erased(&asked)).await.unwrap(), [uuid(1)]);
    assert_eq!(lease.read().await.unwrap().all(audit_key::erased(&[])).await.unwrap(), []);

    let many: Vec<AuditKey> = (10..27).map(|n| key(n, u128::from(n))).collect();
    assert_eq!(lease.keep_audit_keys(many, NOON).await.unwrap(), 17);
    assert_eq!(db.count("audit_keys"), 18);
    let mut read = lease.read().await.unwrap();
    assert_eq!(read.one(audit_key::find(&[1; 8])).await.unwrap(), None);
    assert_eq!(read.one(audit_key::find(&[2; 8])).await.unwrap(), Some(key(2, 0)));
}

/// Two nodes create and drop the same partitions concurrently; both succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_nodes_create_each_partition_once() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let months = [NOON, NOON.plus(DAY * 31), NOON.plus(DAY)];
    let [one, two] = [audit(&db), audit(&db)];
    let (first, second) = tokio::join!(one.prepare(&months), two.prepare(&months));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 2);
    assert_eq!(one.partitions().await.unwrap(), ["audit_events_2023_11", "audit_events_2023_12"]);
    let late = NOON.plus(DAY * 90);
    let (first, second) = tokio::join!(one.retire(late, prove()), two.retire(late, prove()));
    assert_eq!(first.unwrap().partitions.len() + second.unwrap().partitions.len(), 2);
    assert_eq!(one.partitions().await.unwrap(), Vec::<String>::new());
}

/// A long read of a partition blocks its removal only until the lock timeout, and is not interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_under_a_read_lock_is_dropped_later() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let audit = audit(&db);
    stored(&audit, shipment(None, 1..=2)).await;
    let late = NOON.plus(DAY * 90);
    let (reader, connection) = tokio_postgres::connect(db.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::task::spawn(connection);
    reader.batch_execute("BEGIN; SELECT count(*) FROM gatewright.audit_events").await.unwrap();
    let refused = audit.retire(late, prove()).await.unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(all(&audit).await.len(), 2);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(audit.retire(late, prove()).await.unwrap().partitions.len(), 1);
    drop(reader);
    connection.await.unwrap().unwrap();
}

/// A lock on the table of events delays no request: request connections never name that table.
#[tokio::test]
async fn no_registered_statement_names_an_audit_table() {
    for stmt in store::registry() {
        for table in ["audit_events", "audit_journals", "audit_heads"] {
            assert!(!stmt.sqlite().contains(table) && !stmt.postgres("s").contains(table), "{}", stmt.name);
        }
    }
}

/// No statement of the trail scans a partition.
#[tokio::test]
async fn no_statement_of_the_trail_scans_the_events() {
    for db in [TestDb::sqlite(), TestDb::postgres()] {
        db.migrate().await.unwrap();
        let audit = audit(&db);
        stored(&audit, shipment(None, 1..=100)).await;
        let mut scanning = Vec::new();

        for stmt in statements().filter(|stmt| stmt.scans.is_none()) {
            let steps: Vec<String> = if db.is_sqlite() {
                let file = rusqlite::Connection::open(store::audit_db::trail_path(&db.path())).unwrap();
                let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {}", stmt.sqlite())).unwrap();
                let rows = plan.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>();
                rows.unwrap()
            } else {
                let text = stmt.postgres("gatewright");
                let most = (1..=20).rev().find(|n| text.contains(&format!("${n}"))).unwrap_or(0);
                let sql = format!(
                    "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; \
                     PREPARE explained AS {text}; EXPLAIN EXECUTE explained({})",
                    vec!["NULL"; most].join(", ")
                );
                let plan = rows(db.url(), &sql).unwrap_or_else(|error| panic!("{}: {error}", stmt.name));
                plan.into_iter().map(|mut row| row.pop().unwrap().unwrap()).collect()
            };

            if steps.iter().any(|step| step.starts_with("SCAN audit") || step.contains("Seq Scan on audit")) {
                scanning.push(format!("{}: {steps:?}", stmt.name));
            }
        }
        assert!(scanning.is_empty(), "{}", scanning.join("\n"));
    }
}

/// A key inserted during the erasure of its user waits for the erasure and is then refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_inserted_during_an_erasure_is_refused() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let one = db.open().await;
    let two = db.open().await;
    let mut eraser = db.lease(&one);
    let mut keeper = db.lease(&two);
    let id = register(&mut eraser, 1).await.unwrap().unwrap();
    let [erased, go] = [(); 2].map(|()| Arc::new(tokio::sync::Notify::new()));
    let (is_erased, may_go) = (Arc::clone(&erased), Arc::clone(&go));

    let erasure = tokio::task::spawn(async move {
        let erase = async move |tx: &mut store::Tx| {
            tx.one(store::queries::user::erase(id, NOON)).await?;
            tx.all(audit_key::remove_of_user(uuid(1))).await?;
            is_erased.notify_one();
            may_go.notified().await;
            Ok::<_, store::Error>((model::event::UserErased { user: uuid(1), sessions: 0 }, ()))
        };
        eraser.transact(model::intent::UserErased { user: uuid(1), stamp: NOON }, erase).await
    });
    erased.notified().await;

    let key = AuditKey { id: vec![1; 8], user: uuid(1), sealed: vec![1], master_key: None };
    let keeping = tokio::task::spawn(async move { keeper.keep_audit_keys(vec![key], NOON).await });
    let waits = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !keeping.is_finished() && rows(db.url(), waits).unwrap()[0][0].as_deref() == Some("0") {
        tokio::task::yield_now().await;
    }

    go.notify_one();
    erasure.await.unwrap().unwrap();
    assert_eq!(keeping.await.unwrap().unwrap(), 0);
    assert_eq!(db.count("audit_keys"), 0);
}
