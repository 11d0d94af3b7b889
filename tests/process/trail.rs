//! `gatewright audit` shows what was recorded, and reports tampering.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Chain, Entry, Hash, Head, Journal, JournalId, Kind, Options, Time};
use serde_json::Value;
use testkit::postgres::{Database, rows};
use testkit::process::{self, Finished, Server, Signal};
use testkit::{Postgres, SharedPostgres};

use crate::node::Setup;

pub(crate) const ID: JournalId = JournalId([0x5a; 16]);
pub(crate) const RECORDS: u64 = 60;

impl Setup {
    /// Runs a command that may fail.
    fn audit(&self, arguments: &[&str]) -> Finished {
        let mut builder =
            Server::builder(process::gatewright()).arg("audit").args(arguments).folder(self.folder.path());
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        builder.run("")
    }

    /// Runs a verification; returns its exit status, its report, and the finding for the test's journal.
    pub(crate) fn verify(&self, arguments: &[&str]) -> (Option<i32>, Value, Value) {
        let finished = self.audit(&[&["verify", "--json"], arguments].concat());
        assert!(finished.stdout.starts_with('{'), "{}", finished.stderr);
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        let id = ID.to_string();
        let ours = report["journals"].as_array().unwrap().iter().find(|one| one["journal"] == id.as_str());
        let finding = ours.map_or(Value::Null, |ours| ours["finding"].clone());
        assert_eq!(report["ok"] == true, finished.status.success(), "{report}");
        (finished.status.code(), report, finding)
    }

    /// The directory of the commands' journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("gatewright-data/audit/cli/journal")
    }

    /// The events of `audit tail --json`.
    pub(crate) fn tail(&self, arguments: &[&str]) -> Vec<Value> {
        let finished = self.audit(&[&["tail", "--json"], arguments].concat());
        assert!(finished.status.success(), "{}", finished.stderr);
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the database contains `count` events of a kind.
    pub(crate) fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        for _ in 0..500 {
            // The kinds of some tests are none that a filter knows.
            found = self.tail(&["-n", "10000", "--sealed", "--checkpoints"]);
            found.retain(|event| event["kind"] == kind);
            if found.len() >= count {
                break;
            }
        }
        assert!(found.len() >= count, "{} of {count} events of kind {kind}", found.len());
        found
    }
}

/// Writes a journal of several segments; the record `other` has another text.
pub(crate) fn write_journal(directory: &Path, other: Option<u64>) -> Vec<Head> {
    let options = Options { segment_bytes: 1800, ..Options::default() };
    std::fs::create_dir_all(directory).unwrap();
    let (mut journal, _) = Journal::open(directory, options, ID).unwrap();
    let mut heads = Vec::new();
    for n in 1..=RECORDS {
        let word = if other == Some(n) { "b" } else { "a" };
        let text =
            format!("{{\"v\":1,\"kind\":\"made_up\",\"request_id\":\"{word}{n:04}\",\"via\":\"test\"}}");
        // A time without other events.
        let time = Time(1_735_689_600_000_000 + i64::try_from(n).unwrap() * 1_000_000);
        let entry = Entry { time, kind: Kind::Data, payload: text.as_bytes() };
        assert!(journal.append(time, &[entry]).failure.is_none());
        heads.push(journal.head());
    }
    journal.sync().unwrap();
    heads
}

pub(crate) fn word(head: &Head) -> String {
    format!("{}:{}:{}", head.journal, head.sequence, head.hash)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "journal")).collect();
    paths.sort();
    paths
}

/// The range of a record in a segment.
fn place(bytes: &[u8], n: u64) -> std::ops::Range<usize> {
    let text = format!("\"a{n:04}\"");
    let at = bytes.windows(text.len()).position(|some| some == text.as_bytes()).unwrap();
    // The frame has 25 bytes before the payload, and a hash of 32 bytes after it.
    let payload = bytes[..at].windows(7).rposition(|some| some == b"{\"v\":1,").unwrap();
    let length = bytes[payload..].iter().position(|byte| *byte == b'}').unwrap() + 1;
    payload - 25..payload + length + 32
}

/// A journal in files, and a copy that the test changes.
struct Files {
    setup: Setup,
    heads: Vec<Head>,
    whole: Vec<PathBuf>,
    copy: PathBuf,
}

impl Files {
    fn new() -> Self {
        let setup = Setup::sqlite();
        let directory = setup.folder.path().join("whole");
        let heads = write_journal(&directory, None);
        let (whole, copy) = (segments(&directory), setup.folder.path().join("copy"));
        assert!(whole.len() >= 4);
        let files = Self { setup, heads, whole, copy };
        files.fresh();
        files
    }

    /// Restores the copy.
    fn fresh(&self) {
        let _ = std::fs::remove_dir_all(&self.copy);
        std::fs::create_dir(&self.copy).unwrap();
        for number in 0..self.whole.len() {
            std::fs::copy(&self.whole[number], self.copied(number)).unwrap();
        }
    }

    /// The copy of a segment, counted from 0.
    fn copied(&self, number: usize) -> PathBuf {
        self.copy.join(self.whole[number].file_name().unwrap())
    }

    fn verify(&self, more: &[&str]) -> (Option<i32>, Value, Value) {
        let directory = self.copy.to_str().unwrap();
        self.setup.verify(&[&["--offline", "--allow-unsigned", "--journal", directory], more].concat())
    }

    /// The index of the segment that contains a text.
    fn holding(files: &[PathBuf], text: &str) -> usize {
        let holds = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text);
        files.iter().position(holds).unwrap()
    }
}

#[test]
fn a_tampered_record_in_a_file_is_reported() {
    let files = Files::new();
    let (end, middle) = (word(&files.heads[59]), word(&files.heads[29]));
    let (status, report, finding) = files.verify(&["--head", &end, "--head", &middle]);
    assert_eq!((status, finding), (Some(0), Value::Null));
    assert_eq!(report["journals"][0]["records"], RECORDS);
    assert_eq!(report["journals"][0]["heads"], 2);

    let number = Files::holding(&files.whole, "\"a0030\"");
    let bytes = std::fs::read(&files.whole[number]).unwrap();
    let (one, two) = (place(&bytes, 30), place(&bytes, 31));
    assert_eq!(one.end, two.start, "the records are adjacent");
    let named = |bytes: Vec<u8>, what: &str| {
        files.fresh();
        std::fs::write(files.copied(number), bytes).unwrap();
        let (status, _, finding) = files.verify(&[]);
        assert_eq!((status, &finding["sequence"]), (Some(1), &Value::from(30)), "{finding}");
        assert_eq!(
            (&finding["segment"], &finding["offset"]),
            (&(number + 1).into(), &one.start.into()),
            "{finding}"
        );
        assert!(finding["what"].as_str().unwrap().contains(what), "{finding}");
    };

    let mut changed = bytes.clone();
    changed[one.start + 30] ^= 1;
    named(changed, "was changed");
    named([&bytes[..one.start], &bytes[one.end..]].concat(), "were removed; 31 comes next");
    let swapped = [&bytes[..one.start], &bytes[two.clone()], &bytes[one.clone()], &bytes[two.end..]].concat();
    named(swapped, "out of order; 31 stands there");
}

#[test]
fn truncated_and_replaced_segments_are_reported() {
    let files = Files::new();
    let number = Files::holding(&files.whole, "\"a0030\"");
    let bytes = std::fs::read(&files.whole[number]).unwrap();
    // Only a head from elsewhere reveals a truncated journal.
    for later in number + 1..files.whole.len() {
        std::fs::remove_file(files.copied(later)).unwrap();
    }
    std::fs::write(files.copied(number), &bytes[..place(&bytes, 30).start]).unwrap();

    assert_eq!(files.verify(&[]).0, Some(0));
    let (status, _, finding) = files.verify(&["--head", &word(&files.heads[59])]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &Value::from(30)));
    assert!(finding["what"].as_str().unwrap().contains("the tail was cut; record 60 is known"), "{finding}");

    // A replaced segment with a consistent chain.
    files.fresh();
    let other = files.setup.folder.path().join("other");
    write_journal(&other, Some(25));
    let other = segments(&other);
    let at = Files::holding(&other, "\"b0025\"");
    std::fs::copy(&other[at], files.copied(at)).unwrap();
    let (status, _, finding) = files.verify(&[]);
    assert_eq!((status, &finding["segment"]), (Some(1), &Value::from(at + 1)), "{finding}");
    assert!(finding["what"].as_str().unwrap().contains("does not follow"), "{finding}");
}

/// Only the header of a single segment identifies its journal.
#[test]
fn a_damaged_header_and_a_missing_journal_are_reported() {
    let files = Files::new();
    for later in 1..files.whole.len() {
        std::fs::remove_file(files.copied(later)).unwrap();
    }

    assert_eq!(files.verify(&[]).0, Some(0));
    let mut bytes = std::fs::read(files.copied(0)).unwrap();
    bytes[60] ^= 1;
    std::fs::write(files.copied(0), bytes).unwrap();

    let (status, report, _) = files.verify(&[]);
    let finding = &report["journals"][0]["finding"];
    assert_eq!((status, &finding["segment"]), (Some(1), &Value::from(1)), "{report}");

    let setup = Setup::sqlite();
    let mut node = setup.start();
    setup.wait_for("server_started", 1);
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());
    assert_eq!(setup.verify(&[]).0, Some(0));
    let directory = setup.folder.path().join("gatewright-data/audit/journal");
    let [segment] = segments(&directory).try_into().unwrap();
    std::fs::write(&segment, "").unwrap();

    let (status, report, _) = setup.verify(&[]);
    assert_eq!(status, Some(1), "{report}");
    assert!(report.to_string().contains("nothing of the journal is there"), "{report}");
}

#[test]
fn a_verification_of_nothing_fails_and_of_nonsense_is_refused() {
    let setup = Setup::sqlite();
    let finished = setup.audit(&["verify", "--offline", "--head", "nonsense"]);
    assert_eq!(finished.status.code(), Some(2));

    let finished = setup.audit(&["verify", "--offline"]);
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
}

/// A database with the test's journal and the server's journal, without a running server.
fn shipped() -> (Setup, (Database, SharedPostgres), Vec<Head>) {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let mut setup = Setup::postgres(database.url());
    // The records of the test are older than the default retention.
    setup.set("AUDIT__RETENTION", "36500d");
    // The events of earlier commands are removed.
    let _ = std::fs::remove_dir_all(setup.journal());
    let heads = write_journal(&setup.journal(), None);
    let node = setup.start();
    setup.wait_for("made_up", usize::try_from(RECORDS).unwrap());
    drop(node);
    (setup, (database, server), heads)
}

/// Verification distinguishes records that the shipper set aside from removed ones.
#[test]
fn records_that_were_set_aside_are_reported_and_proved() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let mut setup = Setup::postgres(database.url());
    setup.set("AUDIT__RETENTION", "36500d");
    let _ = std::fs::remove_dir_all(setup.journal());
    write_journal(&setup.journal(), None);
    // A record that no text column accepts, and an unreadable record.
    let (mut journal, _) = Journal::open(&setup.journal(), Options::default(), ID).unwrap();
    let time = Time(1_735_690_000_000_000);
    let poison = Entry { time, kind: Kind::Data, payload: br#"{"kind":"made_up","request_id":"a\u0000b"}"# };
    assert!(journal.append(time, &[poison, Entry { payload: b"{}", ..poison }]).failure.is_none());
    drop(journal);

    let number = Files::holding(&segments(&setup.journal()), "\"a0030\"");
    let path = &segments(&setup.journal())[number];
    let mut bytes = std::fs::read(path).unwrap();
    let at = place(&bytes, 30).start + 30;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();

    let node = setup.start();
    setup.wait_for("unknown", 1);
    drop(node);

    let sql = |text: &str| rows(database.url(), &text.replace("gw.", "gatewright.")).unwrap();
    let verify = |more: &[&str]| setup.verify(&[&["--database", "--allow-unsigned"], more].concat());
    let aside = |report: &Value| {
        let journals = report["journals"].as_array().unwrap();
        let ours = journals.iter().find(|one| one["journal"] == ID.to_string().as_str());
        ours.unwrap()["set_aside"].clone()
    };
    let (status, report, _) = verify(&[]);
    assert_eq!(status, Some(0), "{report}");

    let list = aside(&report);
    assert_eq!((&list[0]["from"], &list[0]["proved"]), (&30.into(), &false.into()), "{list}");
    assert_eq!((&list[1]["from"], &list[1]["proved"]), (&61.into(), &true.into()), "{list}");
    assert!(list[0]["reason"].as_str().unwrap().contains("record 30"), "{list}");
    // The journal of the test has no checkpoints; the node has signed its dead letter.
    let report = report.to_string();
    assert!(report.contains("no signed checkpoint") && !report.contains("dead letter that says"), "{report}");

    let told = setup.audit(&["verify", "--database"]).stdout;
    assert!(told.contains("record 61 was set aside, and its bytes are proved"), "{told}");

    // The row of a record that was set aside is verified; without the row, the file is.
    let letters = setup.folder.path().join("gatewright-data/audit/cli/dead-letter.jsonl");
    let text = std::fs::read_to_string(&letters).unwrap();
    sql("CREATE TABLE gw.saved AS SELECT * FROM gw.audit_events WHERE kind = 'audit_set_aside'; \
         UPDATE gw.audit_events SET payload = \
         convert_to(replace(convert_from(payload, 'UTF8'), '\"time\":17', '\"time\":18'), 'UTF8') \
         WHERE kind = 'audit_set_aside'");

    let (status, _, finding) = verify(&[]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &61.into()), "{finding}");
    sql("DELETE FROM gw.audit_events WHERE kind = 'audit_set_aside'");
    assert_eq!(verify(&[]).0, Some(0), "the file contains it too");

    std::fs::write(&letters, text.replace("\"time\":17", "\"time\":18")).unwrap();
    let (status, _, finding) = verify(&[]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &61.into()), "{finding}");
    assert!(finding["what"].as_str().unwrap().contains("not as it stood in the journal"), "{finding}");

    // A restored directory is reported, but it is no error of the database.
    let lost = format!("{{\"journal\":\"{ID}\",\"shipped\":3,\"reason\":\"the tail was lost\"}}\n");
    std::fs::write(&letters, format!("{text}{lost}")).unwrap();
    let (status, report, _) = verify(&[]);
    assert_eq!(status, Some(0), "{report}");
    assert!(
        report.to_string().contains("after record 3 the files were other ones: the tail was lost"),
        "{report}"
    );

    // Without the dead-letter file the records are missing, until the file is given.
    std::fs::rename(&letters, setup.folder.path().join("letters")).unwrap();
    let (status, _, finding) = verify(&[]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &30.into()), "{finding}");
    sql("INSERT INTO gw.audit_events SELECT * FROM gw.saved");
    assert_eq!(verify(&["--dead-letters", setup.folder.path().join("letters").to_str().unwrap()]).0, Some(0));
}

#[test]
fn an_export_with_proof_is_checked_without_the_server() {
    let (setup, _server, heads) = shipped();
    let file = setup.folder.path().join("trail.jsonl");
    let name = file.to_str().unwrap();
    let range = ["--from", "2025-01-01", "--to", "2025-01-02T00:00:00Z"];
    let finished = setup.audit(&[&["export", "--proof", "--out", name], range.as_slice()].concat());
    assert!(finished.status.success(), "{}", finished.stderr);

    let mut chain = Chain::new(ID);
    let text = std::fs::read_to_string(&file).unwrap();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["kind"], "made_up");
        let proof = &event["proof"];
        let digits = proof["hash"].as_str().unwrap();
        let hash: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
        let payload = STANDARD.decode(proof["payload"].as_str().unwrap()).unwrap();
        let record = journal::Record {
            sequence: event["sequence"].as_u64().unwrap(),
            time: Time(proof["time"].as_i64().unwrap()),
            kind: Kind::from_byte(u8::try_from(proof["record_kind"].as_u64().unwrap()).unwrap()).unwrap(),
            payload: &payload,
            hash: Hash(hash.try_into().unwrap()),
        };
        chain.check(&record).unwrap();
    }

    assert_eq!(chain.head(), heads[59]);
    let again = setup.audit(&["export", "--out", name]);
    assert_eq!(again.status.code(), Some(1), "an existing file is not overwritten");

    let table = setup.audit(&[&["export", "--format", "csv"], range.as_slice()].concat());
    let rows = table.stdout.lines().skip(1).filter(|row| row.contains(",made_up,"));
    let lines: Vec<&str> = table.stdout.lines().take(1).chain(rows).collect();
    assert_eq!(lines[0], "at,journal,sequence,kind,user,actor,request_id,event");
    assert_eq!(lines.len(), 61);
    assert!(lines[7].contains(&format!("{ID},7,made_up,,,a0007,")), "{}", lines[7]);

    let wrong = setup.audit(&["export", "--from", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn recorded_events_are_shown_with_details_and_verified() {
    let setup = Setup::sqlite();
    let node = setup.start();
    let (access, _) = node.member("ada").await;
    assert_eq!(node.me(&access).await.status, 200);

    setup.wait_for("login_succeeded", 1);
    let logins = setup.tail(&["--kind", "login_succeeded"]);
    assert_eq!(logins[0]["detail"]["address"], "127.0.0.1", "{}", logins[0]);
    let user = logins[0]["user"].as_str().unwrap().to_owned();

    let of_user = setup.tail(&["-n", "1000", "--user", &user]);
    assert!(of_user.len() >= 2 && of_user.iter().all(|event| event["user"] == user.as_str()));

    let people = setup.audit(&["tail", "-n", "1000", "--user", &user]);
    assert!(people.stdout.contains("login_succeeded") && people.stdout.contains(&user), "{}", people.stdout);

    // The verification works with and without a running server.
    assert!(setup.audit(&["verify"]).status.success());
    drop(node);
    for arguments in [&["verify"][..], &["verify", "--database"]] {
        let finished = setup.audit(arguments);
        assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
        assert!(finished.stdout.contains("signatures checked"), "{}", finished.stdout);
    }
    // After an erasure the audit trail is still valid.
    setup.command(&["user", "delete", "ada", "--yes"]);
    let node = setup.start();
    setup.wait_for("user_erased", 1);
    drop(node);
    assert!(setup.audit(&["verify", "--database"]).status.success());
}
