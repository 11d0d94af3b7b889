//! `gatewright audit`: what was done is read back, and whatever is done to the trail is named.

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

    /// What a verification says: its exit status, its report, and the finding of the journal of the test.
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

    /// Where the journal of commands is.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("gatewright-data/audit/cli/journal")
    }

    /// The events that a program sees.
    pub(crate) fn tail(&self, arguments: &[&str]) -> Vec<Value> {
        let finished = self.audit(&[&["tail", "--json"], arguments].concat());
        assert!(finished.status.success(), "{}", finished.stderr);
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks until so many events of a kind are in the database.
    pub(crate) fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        for _ in 0..500 {
            found = self.tail(&["-n", "1000", "--kind", kind]);
            if found.len() >= count {
                break;
            }
        }
        assert!(found.len() >= count, "{} of {count} events of kind {kind}", found.len());
        found
    }
}

/// A journal of several segments; from `other` on, some records say something else.
pub(crate) fn write_journal(directory: &Path, other: Option<u64>) -> Vec<Head> {
    let options = Options { segment_bytes: 1800, ..Options::default() };
    std::fs::create_dir_all(directory).unwrap();
    let (mut journal, _) = Journal::open(directory, options, ID).unwrap();
    let mut heads = Vec::new();
    for n in 1..=RECORDS {
        let word = if other == Some(n) { "b" } else { "a" };
        let text =
            format!("{{\"v\":1,\"kind\":\"made_up\",\"request_id\":\"{word}{n:04}\",\"via\":\"test\"}}");
        // The first minutes of a year that has no other events.
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

/// Where a record begins in a segment, and where it ends.
fn place(bytes: &[u8], n: u64) -> std::ops::Range<usize> {
    let text = format!("\"a{n:04}\"");
    let at = bytes.windows(text.len()).position(|some| some == text.as_bytes()).unwrap();
    // The payload begins 40 bytes before, the frame 25 before that, and after its 28 bytes more comes a hash of 32.
    let payload = bytes[..at].windows(7).rposition(|some| some == b"{\"v\":1,").unwrap();
    let length = bytes[payload..].iter().position(|byte| *byte == b'}').unwrap() + 1;
    payload - 25..payload + length + 32
}

/// A journal in files, and a copy of it that is tampered with.
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

    /// The copy is whole again.
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
        self.setup.verify(&[&["--offline", "--journal", directory], more].concat())
    }

    /// Which segment holds a text.
    fn holding(files: &[PathBuf], text: &str) -> usize {
        let holds = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text);
        files.iter().position(holds).unwrap()
    }
}

#[test]
fn a_64_whatever_is_done_to_a_record_in_a_file_is_named() {
    let files = Files::new();
    let (end, middle) = (word(&files.heads[59]), word(&files.heads[29]));
    let (status, report, finding) = files.verify(&["--head", &end, "--head", &middle]);
    assert_eq!((status, finding), (Some(0), Value::Null));
    assert_eq!(report["journals"][0]["records"], RECORDS);
    assert_eq!(report["journals"][0]["heads"], 2);

    let number = Files::holding(&files.whole, "\"a0030\"");
    let bytes = std::fs::read(&files.whole[number]).unwrap();
    let (one, two) = (place(&bytes, 30), place(&bytes, 31));
    assert_eq!(one.end, two.start, "they follow each other");
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
fn a_64_whatever_is_done_to_whole_segments_is_named() {
    let files = Files::new();
    let number = Files::holding(&files.whole, "\"a0030\"");
    let bytes = std::fs::read(&files.whole[number]).unwrap();
    // A tail that was cut shows only against what is known elsewhere.
    for later in number + 1..files.whole.len() {
        std::fs::remove_file(files.copied(later)).unwrap();
    }
    std::fs::write(files.copied(number), &bytes[..place(&bytes, 30).start]).unwrap();
    assert_eq!(files.verify(&[]).0, Some(0));
    let (status, _, finding) = files.verify(&["--head", &word(&files.heads[59])]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &Value::from(30)));
    assert!(finding["what"].as_str().unwrap().contains("the tail was cut; record 60 is known"), "{finding}");

    // A whole segment that is consistent in itself.
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

/// A lone segment: nothing else says whose journal it is.
#[test]
fn a_64_a_damaged_header_is_named_and_so_is_a_journal_that_is_gone() {
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

/// A database with the journal of the test in it, and the server's own; nobody is at work there.
fn shipped() -> (Setup, (Database, SharedPostgres), Vec<Head>) {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let mut setup = Setup::postgres(database.url());
    // The records of the test are from a day that is long gone.
    setup.set("AUDIT__RETENTION", "36500d");
    // What the commands before it have written is not of interest.
    let _ = std::fs::remove_dir_all(setup.journal());
    let heads = write_journal(&setup.journal(), None);
    let node = setup.start();
    setup.wait_for("made_up", usize::try_from(RECORDS).unwrap());
    drop(node);
    (setup, (database, server), heads)
}

/// What the shipper has set aside is told apart from what somebody removed.
#[test]
fn what_was_set_aside_is_named_and_proved() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let mut setup = Setup::postgres(database.url());
    setup.set("AUDIT__RETENTION", "36500d");
    let _ = std::fs::remove_dir_all(setup.journal());
    write_journal(&setup.journal(), None);
    // A record that no text column takes, and one that nobody can read.
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
    let verify = |more: &[&str]| setup.verify(&[&["--database"], more].concat());
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
    let told = setup.audit(&["verify", "--database"]).stdout;
    assert!(told.contains("record 61 was set aside, and its bytes are proved"), "{told}");

    // Its row is proved like any other, and where it is gone the file is.
    let letters = setup.folder.path().join("gatewright-data/audit/cli/dead-letter.jsonl");
    let text = std::fs::read_to_string(&letters).unwrap();
    sql("CREATE TABLE gw.saved AS SELECT * FROM gw.audit_events WHERE kind = 'audit_set_aside'; \
         UPDATE gw.audit_events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '\"time\":17', \
         '\"time\":18'), 'UTF8') WHERE kind = 'audit_set_aside'");
    let (status, _, finding) = verify(&[]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &61.into()), "{finding}");
    sql("DELETE FROM gw.audit_events WHERE kind = 'audit_set_aside'");
    assert_eq!(verify(&[]).0, Some(0), "the file has it too");
    std::fs::write(&letters, text.replace("\"time\":17", "\"time\":18")).unwrap();
    let (status, _, finding) = verify(&[]);
    assert_eq!((status, &finding["sequence"]), (Some(1), &61.into()), "{finding}");
    assert!(finding["what"].as_str().unwrap().contains("not as it stood in the journal"), "{finding}");
    // That the files were put back once is no fault of the database, but worth knowing.
    let lost = format!("{{\"journal\":\"{ID}\",\"shipped\":3,\"reason\":\"the tail was lost\"}}\n");
    std::fs::write(&letters, format!("{text}{lost}")).unwrap();
    let (status, report, _) = verify(&[]);
    assert_eq!(status, Some(0), "{report}");
    assert!(
        report.to_string().contains("after record 3 the files were other ones: the tail was lost"),
        "{report}"
    );
    // On another node, which has no letters, they are missing, until it is shown them.
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
    assert_eq!(again.status.code(), Some(1), "a file that is there stays");

    let table =
        setup.audit(&[&["export", "--format", "csv", "--kind", "made_up"], range.as_slice()].concat());
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines[0], "at,journal,sequence,kind,user,actor,request_id,event");
    assert_eq!(lines.len(), 61);
    assert!(lines[7].contains(&format!("{ID},7,made_up,,a0007,")), "{}", lines[7]);
    let wrong = setup.audit(&["export", "--from", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn what_people_do_is_read_back_with_its_details_and_proved() {
    let setup = Setup::sqlite();
    let node = setup.start();
    let (access, _) = node.member("ada").await;
    assert_eq!(node.me(&access).await.status, 200);
    let logins = setup.wait_for("login_succeeded", 1);
    assert_eq!(logins[0]["detail"]["address"], "127.0.0.1", "{}", logins[0]);
    let user = logins[0]["user"].as_str().unwrap().to_owned();
    let of_user = setup.tail(&["-n", "1000", "--user", &user]);
    assert!(of_user.len() >= 2 && of_user.iter().all(|event| event["user"] == user.as_str()));
    let people = setup.audit(&["tail", "-n", "1000", "--user", &user]);
    assert!(people.stdout.contains("login_succeeded") && people.stdout.contains(&user), "{}", people.stdout);
    // Beside the running server, and after it.
    assert!(setup.audit(&["verify"]).status.success());
    drop(node);
    for arguments in [&["verify"][..], &["verify", "--database"]] {
        let finished = setup.audit(arguments);
        assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
        assert!(finished.stdout.contains("signatures checked"), "{}", finished.stdout);
    }
    // Who is erased cannot be read any more, and the trail is whole.
    setup.command(&["user", "delete", "ada", "--yes"]);
    let node = setup.start();
    setup.wait_for("user_erased", 1);
    drop(node);
    assert!(setup.audit(&["verify", "--database"]).status.success());
}
