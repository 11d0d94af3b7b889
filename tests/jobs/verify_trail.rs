//! A trail of which retention removed the beginning verifies, with the signed statement about it.

use std::time::Duration;

use audit::verify::{Checked, DeadLetters, Known, Signatures, database};
use fixtures::{Engine, Options};
use protocol::sealed::keyring::Keyring;

use crate::node::{Node, node_with};

const DAY: Duration = Duration::from_hours(24);

/// Ships until everything that is recorded so far is in the database.
async fn ship(node: &Node) {
    loop {
        node.settle("ship_audit").await;
        let shipped = node.audit_db.journals().await.unwrap();
        let wanted = node.auditor.state().head;
        let is_ours = |journal: &&store::audit_db::Journal| journal.id == wanted.journal.0;
        let ours = shipped.iter().find(is_ours).map_or(0, |journal| journal.shipped.sequence.unsigned_abs());
        if ours >= wanted.sequence {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn verify(node: &Node, keyring: &Keyring) -> (Vec<Checked>, Signatures) {
    let signatures = Signatures::of(Some(keyring));
    let known = Known { named: Vec::new(), kept: Vec::new(), signatures, now: node.clock.now() };
    let letters = DeadLetters::default();
    let checked = database::verify(&node.audit_db, &known, &letters, &[], &mut |_, _| {}).await;
    (checked.unwrap(), known.signatures)
}

async fn removed_records_are_vouched_for(engine: Engine) {
    // given a trail that is older than the retention
    let keyring = fixtures::new_keyring();
    let node = node_with(engine, Options { keyring: Some(keyring.clone()), ..Options::default() }).await;
    node.register("a@example.org").await;
    ship(&node).await;

    // when time passes and retention removes it
    node.clock.advance(500 * DAY);
    node.register("b@example.org").await;
    ship(&node).await;
    node.clock.advance(Duration::from_hours(2));
    node.register("c@example.org").await;
    ship(&node).await;

    // then the rest verifies, and says where it begins
    let journal = &node.audit_db.journals().await.unwrap()[0];
    assert!(journal.kept.sequence > 0 && journal.kept_proof.is_some(), "{journal:?}");
    let (checked, signatures) = verify(&node, &keyring).await;
    assert!(checked.iter().all(|one| one.is_right(&signatures)), "{checked:?}");

    // and a key that is not the node's vouches for nothing
    let (checked, signatures) = verify(&node, &fixtures::new_keyring()).await;
    assert!(!checked[0].is_right(&signatures), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_records_are_vouched_for_on_sqlite() {
    removed_records_are_vouched_for(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_records_are_vouched_for_on_postgres() {
    removed_records_are_vouched_for(Engine::Postgres).await;
}
