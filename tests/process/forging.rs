//! a trail that was forged without any key does not verify, and an honest one does, whatever happened
//! to its server.

use journal::{Chain, Entry, Hash, Head, Journal, JournalId, Kind, Options, Record, Time};
use serde_json::Value;
use testkit::process::{Finished, Signal};

use crate::node::{Setup, database};
use crate::tampering::Place;

/// A stopped server with a trail in files and in the database, and a commands' journal.
struct Trail {
    setup: Setup,
    place: Place,
}

/// A record as the database has it.
struct Row {
    time: i64,
    kind: Kind,
    payload: Vec<u8>,
}

impl Trail {
    async fn of(setup: Setup, url: Option<&str>) -> Self {
        let place = Place::of(&setup, url);
        let mut node = setup.start();
        node.member("alice").await;
        node.log_in("no-such-user").await;
        setup.command(&["user", "set-role", "alice@example.com", "admin"]);
        setup.wait_for("role_changed", 1);
        setup.wait_for("login_failed", 1);
        node.server.terminate();
        // The last records, and the checkpoint over them, are shipped by the next server.
        let mut node = setup.start();
        setup.wait_for("server_stopped", 1);
        setup.wait_for("server_started", 2);
        node.server.terminate();
        Self { setup, place }
    }

    fn sqlite() -> impl Future<Output = Self> {
        Self::of(Setup::sqlite(), None)
    }

    /// The id of a journal, as the database prints it: the server's, or the commands'.
    fn journal(&self, of: &str) -> JournalId {
        let path = self.setup.folder.path().join("gatewright-data/audit").join(of);
        let mut reader = journal::Reader::open(&path);
        reader.read_up_to(0).unwrap();
        reader.position().unwrap().journal
    }

    fn id(&self, journal: JournalId) -> String {
        self.place.uuid(&journal.to_string())
    }

    fn verify(&self, arguments: &[&str]) -> Finished {
        self.setup.ask(&[&["audit", "verify"], arguments].concat())
    }

    fn passes(&self, arguments: &[&str]) {
        let finished = self.verify(arguments);
        assert!(finished.status.success(), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    }

    fn fails(&self, arguments: &[&str], reason: &str) {
        let finished = self.verify(arguments);
        assert_eq!(finished.status.code(), Some(1), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        assert!(finished.stderr.contains(reason), "{arguments:?}: {}", finished.stderr);
    }

    /// The records of a journal, as the database has them.
    fn rows(&self, journal: JournalId) -> Vec<Row> {
        let sql = format!(
            "SELECT at, record_kind, {} FROM gw.audit_events WHERE journal = {} ORDER BY sequence",
            self.place.digits("payload"),
            self.id(journal)
        );
        let read = |row: Vec<String>| Row {
            time: row[0].parse().unwrap(),
            kind: Kind::from_byte(row[1].parse().unwrap()).unwrap(),
            payload: model::hex::decode(&row[2].to_lowercase()).unwrap(),
        };
        self.place.run(&sql).into_iter().map(read).collect()
    }

    /// Puts these records in place of a journal's, with all hashes reckoned anew, and without signed heads.
    fn rewrite(&self, journal: JournalId, rows: &[Row]) {
        let id = self.id(journal);
        let mut chain = Chain::new(journal);
        let mut sql = format!(
            "DELETE FROM gw.audit_events WHERE journal = {id}; \
             DELETE FROM gw.audit_heads WHERE journal = {id}"
        );
        for row in rows {
            let record = chain.push(&Entry { time: Time(row.time), kind: row.kind, payload: &row.payload });
            sql += &format!("; {}", self.insert(journal, &record));
        }
        let Head { sequence, hash, .. } = chain.head();
        let hash = self.place.bytes(&hash.to_string());
        sql += &format!(
            "; UPDATE gw.audit_journals SET shipped_sequence = {sequence}, shipped_hash = {hash} \
             WHERE id = {id}"
        );
        self.place.run(&sql);
    }

    fn insert(&self, journal: JournalId, record: &Record<'_>) -> String {
        let row = audit::row(journal.0, record);
        let text = |text: Option<String>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let user = row.user.map_or("NULL".to_owned(), |user| self.place.uuid(&user.to_string()));
        format!(
            "INSERT INTO gw.audit_events VALUES ({}, {}, {}, '{}', {user}, {}, {}, {}, {})",
            row.at.micros(),
            self.id(journal),
            row.sequence,
            row.kind,
            text(row.request_id),
            row.record_kind,
            self.place.bytes(&model::hex::encode(&row.payload)),
            self.place.bytes(&Hash(row.hash).to_string()),
        )
    }
}

/// The trail without its checkpoints, and without what the forger hides.
fn without_checkpoints(rows: Vec<Row>) -> Vec<Row> {
    let hidden = |row: &Row| row.payload.windows(12).any(|part| part == b"login_failed");
    rows.into_iter().filter(|row| row.kind == Kind::Data && !hidden(row)).collect()
}

fn a_forged_trail_does_not_verify(trail: &Trail) {
    let server = trail.journal("journal");
    trail.passes(&["--database"]);
    trail.passes(&[]);

    // when every checkpoint and what the forger hides is dropped, and everything reckoned anew
    let forged = without_checkpoints(trail.rows(server));
    trail.rewrite(server, &forged);

    // then what is not vouched for is a finding, though nothing contradicts the chain
    trail.fails(&["--database"], "not vouched for: records 1 to");
    trail.fails(&["--database"], "a signed checkpoint of journal");

    // when the file is forged too
    let directory = trail.setup.folder.path().join("gatewright-data/audit/journal");
    std::fs::remove_dir_all(&directory).unwrap();
    let (mut journal, _) = Journal::open(&directory, Options::default(), server).unwrap();
    for row in &forged {
        let entry = Entry { time: Time(row.time), kind: row.kind, payload: &row.payload };
        assert!(journal.append(Time(row.time), &[entry]).failure.is_none());
    }
    drop(journal);
    trail.fails(&["--database"], "not vouched for: records 1 to");
    trail.fails(&[], "not vouched for: records 1 to");
    trail.passes(&["--allow-unsigned"]);
}

#[tokio::test]
async fn a_trail_without_checkpoints_does_not_verify_on_sqlite() {
    a_forged_trail_does_not_verify(&Trail::sqlite().await);
}

#[tokio::test]
async fn a_trail_without_checkpoints_does_not_verify_on_postgres() {
    let database = database();
    let setup = Setup::postgres(database.url());
    a_forged_trail_does_not_verify(&Trail::of(setup, Some(database.url())).await);
}

/// A stopped server has signed what is in the database.
async fn the_database_ends_with_a_checkpoint(setup: &Setup, url: Option<&str>) {
    let place = Place::of(setup, url);
    let mut node = setup.start();
    node.member("alice").await;
    node.server.terminate();

    let sql = "SELECT record_kind FROM gw.audit_events ORDER BY sequence DESC LIMIT 1";
    assert_eq!(place.run(sql), [["2"]], "the last row is a checkpoint");
}

#[tokio::test]
async fn a_server_that_stops_ships_a_signed_end_on_sqlite() {
    the_database_ends_with_a_checkpoint(&Setup::sqlite(), None).await;
}

#[tokio::test]
async fn a_server_that_stops_ships_a_signed_end_on_postgres() {
    let database = database();
    the_database_ends_with_a_checkpoint(&Setup::postgres(database.url()), Some(database.url())).await;
}

#[tokio::test]
async fn a_trail_of_which_nothing_is_left_does_not_verify() {
    let trail = Trail::sqlite().await;
    let data = trail.setup.folder.path().join("gatewright-data");
    let journals = [data.join("audit/journal"), data.join("audit/cli/journal")];
    for directory in &journals {
        for file in std::fs::read_dir(directory).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    trail.fails(&[], "there is no record in it");
    trail.place.run("DELETE FROM gw.audit_events; DELETE FROM gw.audit_heads; DELETE FROM gw.audit_journals");
    trail.fails(&[], "there is no record in it");
    trail.fails(&["--offline"], "there is no record in it");
    trail.fails(&["--database"], "there is no journal in the database");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_does_not_verify() {
    let trail = Trail::sqlite().await;
    for of in ["journal", "cli/journal"] {
        // given a segment that is no file any more
        let directory = trail.setup.folder.path().join("gatewright-data/audit").join(of);
        let mut files = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
        let segment = files.find(|path| path.extension().is_some_and(|it| it == "journal")).unwrap();
        let bytes = std::fs::read(&segment).unwrap();
        std::fs::remove_file(&segment).unwrap();
        std::fs::create_dir(&segment).unwrap();

        // then the verification names it
        let finished = trail.verify(&["--offline"]);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!finished.status.success() && said.contains(&format!("audit/{of}")), "{said}");

        std::fs::remove_dir(&segment).unwrap();
        std::fs::write(&segment, bytes).unwrap();
        trail.passes(&["--offline"]);
    }
}

#[tokio::test]
async fn removed_rows_need_the_signed_statement_of_retention() {
    let trail = Trail::sqlite().await;
    let id = trail.id(trail.journal("journal"));
    trail.place.run(&format!(
        "UPDATE gw.audit_journals SET kept_sequence = 3, kept_hash = (SELECT hash FROM gw.audit_events \
         WHERE journal = {id} AND sequence = 3) WHERE id = {id}; \
         DELETE FROM gw.audit_events WHERE journal = {id} AND sequence <= 3"
    ));
    trail.fails(&["--database"], "no signed statement says that retention removed them");
    trail.passes(&["--database", "--allow-unsigned"]);
}

#[tokio::test]
async fn a_forged_dead_letter_excuses_nothing() {
    let trail = Trail::sqlite().await;
    let server = trail.journal("journal");
    let id = trail.id(server);
    trail.place.run(&format!("DELETE FROM gw.audit_events WHERE journal = {id} AND sequence IN (3, 4)"));
    trail.fails(&["--database"], "5 comes next");
    let letter = serde_json::json!({"journal": server.to_string(), "from": 3, "to": 4, "reason": "damaged"});
    let path = trail.setup.folder.path().join("gatewright-data/audit/dead-letter.jsonl");
    std::fs::write(path, letter.to_string() + "\n").unwrap();
    trail.fails(&["--database"], "the dead letter that says so is not signed");
}

#[tokio::test]
async fn a_journal_that_was_removed_is_missed() {
    for of in ["journal", "cli/journal"] {
        let trail = Trail::sqlite().await;
        let id = trail.id(trail.journal(of));
        trail.place.run(&format!(
            "DELETE FROM gw.audit_events WHERE journal = {id}; \
             DELETE FROM gw.audit_heads WHERE journal = {id}; DELETE FROM gw.audit_journals WHERE id = {id}"
        ));
        trail.fails(&["--database"], "a signed checkpoint of journal");
    }
}

#[tokio::test]
async fn files_of_a_journal_that_the_other_one_states_are_missed_also_without_the_database() {
    // given an older copy of the commands' journal, which is signed to its end
    let setup = Setup::sqlite();
    let place = Place::of(&setup, None);
    let mut node = setup.start();
    node.member("alice").await;
    setup.command(&["user", "set-role", "alice@example.com", "admin"]);
    setup.wait_for("role_changed", 1);
    let commands = setup.folder.path().join("gatewright-data/audit/cli/journal");
    let older: Vec<_> = std::fs::read_dir(&commands).unwrap().map(|file| file.unwrap().path()).collect();
    let older: Vec<_> = older.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    setup.command(&["user", "set-role", "alice@example.com", "basic_user"]);
    setup.wait_for("role_changed", 2);
    node.server.terminate();
    let trail = Trail { setup, place };
    trail.passes(&["--offline"]);

    // when it is put back, then the server's journal states later records
    for (bytes, path) in older {
        std::fs::write(path, bytes).unwrap();
    }
    trail.fails(&["--offline"], "the tail was cut");

    // when it is removed whole, then the database knows it, and else it is missing
    let id = trail.id(trail.journal("cli/journal"));
    std::fs::remove_dir_all(commands.parent().unwrap()).unwrap();
    trail.passes(&[]);
    let told = trail.setup.command(&["audit", "verify", "--offline"]);
    assert!(told.contains("which is not in the files"), "{told}");

    // when the database has less of it than is stated, then it does not stand for it
    trail.place.run(&format!("UPDATE gw.audit_journals SET shipped_sequence = 1 WHERE id = {id}"));
    trail.fails(&[], "a signed checkpoint of journal");

    // nor when it does not have it
    trail.place.run(&format!(
        "DELETE FROM gw.audit_events WHERE journal = {id}; \
         DELETE FROM gw.audit_heads WHERE journal = {id}; DELETE FROM gw.audit_journals WHERE id = {id}"
    ));
    trail.fails(&[], "a signed checkpoint of journal");
}

#[tokio::test]
async fn a_killed_server_and_a_new_one_leave_a_trail_that_verifies() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    let verifies = |when: &str| {
        for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
            let finished = setup.ask(arguments);
            assert!(
                finished.status.success(),
                "{when}, {arguments:?}: {}{}",
                finished.stdout,
                finished.stderr
            );
        }
    };
    setup.wait_for("login_succeeded", 1);
    verifies("a fresh server");
    node.server.signal(Signal::KILL);
    node.server.wait();
    verifies("a killed server");

    // what was not signed is said
    let report = setup.command(&["audit", "verify", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let notes = report["journals"][0]["notes"].to_string();
    assert!(notes.contains("not vouched for yet"), "{report}");

    let mut node = setup.start();
    node.member("bob").await;
    verifies("a server after a killed one");
    node.server.terminate();
    verifies("a stopped server");
}

/// The events of reading the trail, without adding one.
fn readings(setup: &Setup) -> Vec<Value> {
    let shown = setup.command(&["audit", "tail", "--json", "--sealed", "-n", "1000", "--kind", "audit_read"]);
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn reading_decrypted_details_is_an_event_with_the_operator() {
    // given a trail with a detail
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    setup.wait_for("login_succeeded", 1);
    assert!(readings(&setup).is_empty(), "what stays encrypted is no event");

    // when an operator reads it into a pipe, and exports it
    assert!(setup.command(&["audit", "tail", "--json"]).contains("127.0.0.1"));
    assert!(setup.command(&["audit", "export", "--kind", "login_succeeded"]).contains("127.0.0.1"));
    assert!(!setup.command(&["audit", "export", "--sealed"]).contains("127.0.0.1"));

    // then both left an event with the operator
    setup.wait_for("audit_read", 2);
    let read = readings(&setup);
    assert_eq!(read.len(), 2, "{read:?}");
    assert_eq!((&read[0]["only"], &read[1]["only"]), (&Value::Null, &"login_succeeded".into()));
    assert!(read.iter().all(|event| event["actor"]["type"] == "command_line"), "{read:?}");
    node.server.terminate();
}
