//! verification reports audit rows that were changed, removed, reordered, truncated or replaced; a
//! wiped data directory begins a new journal.

use std::path::PathBuf;
use std::time::Duration;

use journal::Head;
use serde_json::Value;
use testkit::postgres::rows;
use testkit::process::{Server, Signal};

use crate::node::{Setup, database, until};
use crate::trail::{ID, RECORDS, word, write_journal};

const PATIENCE: Duration = Duration::from_mins(1);

/// The journal of the test has no checkpoints, so that only its chain is verified.
const UNSIGNED: &[&str] = &["--database", "--allow-unsigned"];

/// The database of an audit trail.
pub(crate) enum Place {
    Postgres(String),
    Sqlite(PathBuf),
}

impl Place {
    pub(crate) fn of(setup: &Setup, url: Option<&str>) -> Self {
        let main = setup.folder.path().join("gatewright-data/gatewright.db");
        url.map_or_else(
            || Self::Sqlite(store::audit_db::trail_path(&main)),
            |url| Self::Postgres(url.to_owned()),
        )
    }

    /// Runs statements directly on the database; `gw.` is the schema of its tables.
    pub(crate) fn run(&self, sql: &str) -> Vec<Vec<String>> {
        match self {
            Self::Postgres(url) => {
                let rows = rows(url, &sql.replace("gw.", "gatewright.")).unwrap();
                let text =
                    |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
                rows.into_iter().map(text).collect()
            }
            Self::Sqlite(path) => {
                let program = "import json, sqlite3, sys\n\
                               db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                               db.create_function('flip', 1, lambda b: \
                               b[:10] + bytes([b[10] ^ 1]) + b[11:])\n\
                               rows = []\n\
                               for one in sys.stdin.read().split(';'): rows += db.execute(one).fetchall()\n\
                               print(json.dumps([[str(value) for value in row] for row in rows]))";
                let python = Server::builder("python3").arg("-c").arg(program).arg(path);
                let finished = python.run(sql.replace("gw.", ""));
                assert!(finished.status.success(), "{sql}: {}", finished.stderr);
                serde_json::from_str(&finished.stdout).unwrap()
            }
        }
    }

    /// Bytes as a literal, from hexadecimal digits.
    pub(crate) fn bytes(&self, digits: &str) -> String {
        match self {
            Self::Postgres(_) => format!("'\\x{digits}'"),
            Self::Sqlite(_) => format!("x'{digits}'"),
        }
    }

    /// A column of bytes as hexadecimal digits.
    pub(crate) fn digits(&self, column: &str) -> String {
        match self {
            Self::Postgres(_) => format!("encode({column}, 'hex')"),
            Self::Sqlite(_) => format!("hex({column})"),
        }
    }

    /// An id as a literal.
    pub(crate) fn uuid(&self, id: &str) -> String {
        match self {
            Self::Postgres(_) => format!("'{id}'"),
            Self::Sqlite(_) => self.bytes(&id.replace('-', "")),
        }
    }

    /// The id of the test's journal.
    fn id(&self) -> String {
        self.uuid(&ID.to_string())
    }

    /// The payload with one bit changed.
    fn flipped(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "set_byte(payload, 10, get_byte(payload, 10) # 1)",
            Self::Sqlite(_) => "flip(payload)",
        }
    }
}

/// A shipped audit trail that the test changes and restores.
struct StoredTrail<'a> {
    setup: &'a Setup,
    place: Place,
    heads: Vec<Head>,
}

impl StoredTrail<'_> {
    /// Changes the rows, checks that the first bad record is reported, and restores the rows.
    fn named(&self, change: &str, more: &[&str], sequence: u64, what: &str) {
        self.place.run(change);
        let (status, _, finding) = self.setup.verify(&[UNSIGNED, more].concat());
        assert_eq!((status, &finding["sequence"]), (Some(1), &Value::from(sequence)), "{change}: {finding}");
        assert!(finding["what"].as_str().unwrap().contains(what), "{change}: {finding}");
        self.restore();
    }

    fn restore(&self) {
        self.place.run(
            "DELETE FROM gw.audit_events; INSERT INTO gw.audit_events SELECT * FROM gw.saved; \
             DELETE FROM gw.audit_journals; INSERT INTO gw.audit_journals SELECT * FROM gw.saved_journals",
        );
    }

    fn is_whole(&self, more: &[&str]) {
        let (status, report, finding) = self.setup.verify(&[UNSIGNED, more].concat());
        assert_eq!((status, finding), (Some(0), Value::Null), "{report}");
    }
}

fn tampered_rows_are_reported(mut setup: Setup, url: Option<&str>) {
    // The records of the test are older than the default retention.
    setup.set("AUDIT__RETENTION", "36500d");
    // The events of earlier commands are removed.
    let _ = std::fs::remove_dir_all(setup.journal());
    let heads = write_journal(&setup.journal(), None);
    let mut node = setup.start();
    setup.wait_for("made_up", usize::try_from(RECORDS).unwrap());
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());

    let trail = StoredTrail { place: Place::of(&setup, url), setup: &setup, heads };
    trail.place.run(
        "CREATE TABLE gw.saved AS SELECT * FROM gw.audit_events; \
         CREATE TABLE gw.saved_journals AS SELECT * FROM gw.audit_journals",
    );

    let (end, middle) = (word(&trail.heads[59]), word(&trail.heads[29]));
    trail.is_whole(&["--head", &end]);
    single_rows(&trail);
    cut_tails(&trail, &end);

    let change = replaced(&trail.place);
    trail.named(&change, &[], 41, "was changed");
    trail.named(&change, &["--head", &middle], 30, "not the known one");
    trail.is_whole(&["--head", &end, "--head", &middle]);
}

fn single_rows(trail: &StoredTrail<'_>) {
    let ours = format!("journal = {}", trail.place.id());
    let flip = trail.place.flipped();

    let changed = format!("UPDATE gw.audit_events SET payload = {flip} WHERE {ours} AND sequence = 20");
    trail.named(&changed, &[], 20, "was changed");

    let removed = format!("DELETE FROM gw.audit_events WHERE {ours} AND sequence = 20");
    trail.named(&removed, &[], 20, "21 comes next");

    let swapped =
        format!("UPDATE gw.audit_events SET sequence = 41 - sequence WHERE {ours} AND sequence IN (20, 21)");
    trail.named(&swapped, &[], 20, "out of order; 21 stands there");

    let kind = format!("UPDATE gw.audit_events SET kind = 'other' WHERE {ours} AND sequence = 20");
    trail.named(&kind, &[], 20, "columns do not say what its payload says");
}

fn cut_tails(trail: &StoredTrail<'_>, end: &str) {
    let StoredTrail { place, heads, .. } = trail;
    let cut = format!("DELETE FROM gw.audit_events WHERE journal = {} AND sequence > 50", place.id());
    trail.named(&cut, &[], 51, "the tail was cut; record 60 is known");

    // If the stored end of the journal is changed too, the checkpoints of another journal state it.
    let hash = place.bytes(&heads[49].hash.to_string());
    let journals = format!("shipped_sequence = 50, shipped_hash = {hash} WHERE id = {}", place.id());
    let both = format!("{cut}; UPDATE gw.audit_journals SET {journals}");
    trail.named(&both, &[], 60, "a signed checkpoint of journal");
    trail.named(&both, &["--head", end], 51, "the tail was cut; record 60 is known");
}

/// Statements that replace records by others with a consistent chain.
fn replaced(place: &Place) -> String {
    let folder = tempfile::tempdir().unwrap();

    write_journal(folder.path(), Some(25));
    let mut reader = journal::Reader::open(folder.path());
    let mut changes = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if (25..=40).contains(&record.sequence) {
            let event: Value = serde_json::from_slice(record.payload).unwrap();
            let digits = record.payload.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            changes.push(format!(
                "UPDATE gw.audit_events SET payload = {}, hash = {}, request_id = '{}' \
                 WHERE journal = {} AND sequence = {}",
                place.bytes(&digits),
                place.bytes(&record.hash.to_string()),
                event["request_id"].as_str().unwrap(),
                place.id(),
                record.sequence
            ));
        }
    }
    changes.join("; ")
}

#[test]
fn tampered_rows_are_reported_on_sqlite() {
    tampered_rows_are_reported(Setup::sqlite(), None);
}

#[test]
fn tampered_rows_are_reported_on_postgres() {
    let database = database();
    tampered_rows_are_reported(Setup::postgres(database.url()), Some(database.url()));
}

/// A server that restarts without its data directory records its events in a new journal, although the node
/// has the same name and the sequence begins at 1.
async fn a_wiped_directory_begins_a_new_journal(setup: &Setup, place: Place) {
    let registered = |name: &str| {
        let all = setup.tail(&["-n", "1000", "--kind", "user_registered"]);
        all.iter().filter(|event| event["request_id"] == name).count()
    };

    let mut ids = Vec::new();
    for round in 0..3 {
        let mut node = setup.start();
        let mut answered = Vec::new();
        for number in 0..3 {
            let answer = node.register(&format!("r{round}n{number}")).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            answered.push(answer.header("x-request-id").unwrap().to_owned());
        }
        ids.extend(answered.clone());
        let arrived = async || answered.iter().all(|id| registered(id) == 1);
        until(PATIENCE, "every answer has its event in the database", arrived).await;
        node.server.signal(Signal::TERM);
        assert!(node.server.wait().success());

        drop(node);
        let finished = setup.verify(&[]);
        assert_eq!(finished.0, Some(0), "the files of this run: {}", finished.1);
        std::fs::remove_dir_all(setup.folder.path().join("gatewright-data/audit")).unwrap();
    }

    for id in &ids {
        assert_eq!(registered(id), 1, "{id}");
    }

    let (status, report, _) = setup.verify(&["--database"]);
    assert_eq!(status, Some(0), "{report}");
    let journals = place.run("SELECT node, count(*) FROM gw.audit_journals GROUP BY node");
    assert_eq!(journals.len(), 1, "one node: {journals:?}");
    assert!(journals[0][1].parse::<u32>().unwrap() >= 3, "one journal per run: {journals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_directory_begins_a_new_journal_on_sqlite() {
    let setup = Setup::sqlite();
    let place = Place::of(&setup, None);
    a_wiped_directory_begins_a_new_journal(&setup, place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_directory_begins_a_new_journal_on_postgres() {
    let database = database();
    let setup = Setup::postgres(database.url());
    let place = Place::of(&setup, Some(database.url()));
    a_wiped_directory_begins_a_new_journal(&setup, place).await;
}

/// After an old audit directory is restored, no new record gets the sequence of a shipped one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_old_directory_reuses_no_sequence() {
    let setup = Setup::sqlite();
    let place = Place::of(&setup, None);
    let audit = setup.folder.path().join("gatewright-data/audit");
    let old = setup.folder.path().join("old");

    let mut ids = Vec::new();
    for run in 0..3 {
        let mut node = setup.start();
        for number in 0..3 {
            let answer = node.register(&format!("life{run}n{number}")).await;
            ids.push(answer.header("x-request-id").unwrap().to_owned());
        }

        let shown = ["-n", "1000", "--sealed", "--kind", "user_registered"];
        let arrived = async || setup.tail(&shown).len() == ids.len();
        until(PATIENCE, "every answer has its event in the database", arrived).await;
        node.server.signal(Signal::TERM);
        assert!(node.server.wait().success());
        drop(node);

        let copy = |from: &std::path::Path, to: &std::path::Path| {
            assert!(Server::builder("cp").arg("-a").arg(from).arg(to).run("").status.success());
        };
        match run {
            0 => copy(&audit, &old),
            1 => {
                std::fs::remove_dir_all(&audit).unwrap();
                copy(&old, &audit);
            }
            _ => {}
        }
    }

    let doubles =
        place.run("SELECT journal, sequence FROM gw.audit_events GROUP BY 1, 2 HAVING count(*) > 1");
    assert!(doubles.is_empty(), "{doubles:?}");
    assert_eq!(place.run("SELECT id FROM gw.audit_journals").len(), 2, "the third run has a new journal");

    for more in [["--database"].as_slice(), &[]] {
        let (status, report, _) = setup.verify(more);
        assert_eq!(status, Some(0), "{report}");
    }

    let aside = std::fs::read_dir(&audit).unwrap();
    let aside =
        aside.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("put-back"));
    assert_eq!(aside.count(), 2, "the journal and the intents are kept");
}
