//! Journals that are damaged, cut, or copies of an older state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::process::Finished;

use super::{Restorable, log_out};
use crate::node::until;
use crate::tampering::Place;

/// The files of records of the server's journal, the oldest first.
fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|kind| kind == "journal")).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", journal.display());
    files
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn is_refused(refused: &Finished, why: &str) {
    assert!(!refused.status.success(), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("nothing was changed") && refused.stderr.contains(why),
        "{}",
        refused.stderr
    );
}

/// Restores a backup after the journal was changed by `damage`, which is given the journal and a copy of the
/// time of the backup.
async fn recovers_only_by_ending_every_session(damage: impl FnOnce(&Path, &Path), why: &str) {
    // Given a session that goes on after the backup, and one that ends.
    let mut server = Restorable::sqlite();
    let mut node = server.setup.start();
    let (kept, ended) = (node.member("kept").await, node.member("ended").await);
    node.server.terminate();
    server.back_up();
    let journal = server.setup.folder.path().join("gatewright-data/audit/journal");
    let older = server.setup.folder.path().join("older");
    copy(&journal, &older);
    let mut node = server.setup.start();
    log_out(&node, &ended.1).await;
    let trail = Place::of(&server.setup, None);
    let shipped = "SELECT count(*) FROM gw.audit_events WHERE kind = 'session_revoked'";
    until(Duration::from_secs(20), "the trail has it", async || trail.run(shipped) == [["1"]]).await;
    node.server.terminate();

    // When the journal is damaged, then a recovery is refused.
    damage(&journal, &older);
    server.restore();
    let refused = server.setup.ask(&["recover"]);
    is_refused(&refused, why);
    is_refused(&server.setup.ask(&["recover", "--plan"]), why);

    // When it is left out by its id, then every session ends.
    let words: Vec<_> = refused.stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "journal").unwrap();
    let done = server.recover(&["--without-journal", words[at + 1]]);
    assert_eq!(done["every_session"], true, "{done}");
    let mut node = server.setup.start();
    for token in [&kept.1, &ended.1] {
        assert_eq!(node.refresh(token).await.status, 401);
    }
    let later = node.log_in("kept").await;
    assert_eq!(later.status, 200);
    node.server.terminate();
}

#[tokio::test]
async fn a_record_that_was_changed_stops_the_recovery() {
    let flip = |journal: &Path, _: &Path| {
        let file = segments(journal).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.windows(15).position(|window| window == b"user_registered").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    };
    recovers_only_by_ending_every_session(flip, "it is damaged").await;
}

#[tokio::test]
async fn a_file_that_ends_early_stops_the_recovery() {
    let cut = |journal: &Path, _: &Path| {
        let file = segments(journal).pop().unwrap();
        let length = std::fs::metadata(&file).unwrap().len();
        std::fs::File::options().write(true).open(&file).unwrap().set_len(length / 3).unwrap();
    };
    recovers_only_by_ending_every_session(cut, "it ").await;
}

#[tokio::test]
async fn a_journal_of_an_older_state_stops_the_recovery() {
    let replace = |journal: &Path, older: &Path| {
        std::fs::remove_dir_all(journal).unwrap();
        copy(older, journal);
    };
    recovers_only_by_ending_every_session(replace, "this is an older copy").await;
}

#[tokio::test]
async fn every_session_that_a_recovery_ended_ends_again_after_a_second_restore() {
    // Given a recovery without a journal, which ended every session.
    let mut server = Restorable::sqlite();
    let mut node = server.setup.start();
    let (_, token) = node.member("alice").await;
    node.server.terminate();
    server.back_up();
    let done = server.recover(&["--without-journal", "a-node-that-is-gone"]);
    assert_eq!(done["every_session"], true, "{done}");

    // When the same backup is restored again, and recovered with every journal.
    server.restore();
    let again = server.recover(&[]);

    // Then they have ended again; sessions of later live through a further recovery.
    assert_eq!(again["every_session"], true, "{again}");
    let mut node = server.setup.start();
    assert_eq!(node.refresh(&token).await.status, 401);
    let (_, later) = crate::node::pair(&node.log_in("alice").await);
    node.server.terminate();
    assert_eq!(server.recover(&[])["every_session"], false);
    let node = server.setup.start();
    assert_eq!(node.refresh(&later).await.status, 200);
}
