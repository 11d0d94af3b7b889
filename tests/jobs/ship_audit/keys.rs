//! The detail keys: which of them a shipper sends again, and when.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use model::UserUuid;

use super::*;

fn user(n: u64) -> UserUuid {
    UserUuid(uuid::Uuid::from_u128(u128::from(n)))
}

fn lines(keys: RangeInclusive<u64>) -> String {
    keys.fold(String::new(), |lines, n| lines + &format!("{n:016x} {} c2VhbGVk\n", user(n).0))
}

/// Those of the keys 1 to 3000 that are not in the database.
async fn missing(node: &Node) -> BTreeSet<u64> {
    let ids: Vec<_> = (1..=3000_u64).map(u64::to_be_bytes).collect();
    let mut lease = node.lease();
    let missing = audit_key::missing(ids.iter().map(<[u8; 8]>::as_slice));
    let missing = lease.read().await.unwrap().all(missing).await.unwrap();
    missing.into_iter().map(|id| u64::from_be_bytes(id.try_into().unwrap())).collect()
}

async fn lose(node: &Node, keys: RangeInclusive<u64>) {
    let lose = async move |tx: &mut store::Tx| {
        for n in keys.clone() {
            tx.all(audit_key::remove_of_user(user(n))).await?;
        }
        Ok::<_, store::Error>((model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 }, ()))
    };
    node.lease().transact(model::intent::RowsCleaned {}, lose).await.unwrap();
}

#[tokio::test]
async fn a_shipper_continues_after_the_keys_that_the_database_has() {
    let node = node().await;
    let keys = node.folder.path().join("keys");
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let mut ship = async |job: &Shipper<FaultySink>, event| {
        append(&mut journal, &node, event, 1);
        node.runner.settle(job).await.unwrap();
        missing(&node).await
    };
    std::fs::write(&keys, lines(1..=2500)).unwrap();
    assert_eq!(ship(&shipper(&node), 1).await, (2501..=3000).collect());

    // A key before the last known one was stored once and is not sent again.
    lose(&node, 3..=3).await;
    std::fs::write(&keys, lines(1..=2600)).unwrap();
    let second = shipper(&node);
    assert_eq!(ship(&second, 2).await, [3].into_iter().chain(2601..=3000).collect());

    // A rewritten file.
    let new = node.folder.path().join("new");
    std::fs::write(&new, lines(1..=7) + &lines(9..=2650)).unwrap();
    std::fs::rename(&new, &keys).unwrap();
    assert_eq!(ship(&second, 3).await, [3].into_iter().chain(2651..=3000).collect());

    // A database restored from a backup while no shipper runs.
    lose(&node, 2000..=2650).await;
    let third = shipper(&node);
    assert_eq!(ship(&third, 4).await, [3].into_iter().chain(2651..=3000).collect());

    // And while one runs: the database then has another position.
    ship(&second, 5).await;
    assert_eq!(ship(&third, 6).await, (2651..=3000).collect());
}

#[tokio::test]
async fn a_database_restored_while_it_was_unavailable_gets_the_keys_again() {
    let (empty, node) = (node().await, node().await);
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let job = shipper(&node);
    std::fs::write(node.folder.path().join("keys"), lines(1..=1000)).unwrap();
    append(&mut journal, &node, 1, 2);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(missing(&node).await, (1001..=3000).collect());

    job.sink().away.store(true, Ordering::SeqCst);
    append(&mut journal, &node, 3, 1);
    node.runner.step(&job).await.unwrap_err();

    // The database as it was with 600 keys and no events.
    lose(&node, 601..=1000).await;
    *job.sink().inner.lock().unwrap() = Arc::new(empty.open_audit());
    job.sink().away.store(false, Ordering::SeqCst);

    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&empty).await, [1, 2, 3]);
    assert_eq!(missing(&node).await, (1001..=3000).collect());
}

#[tokio::test]
async fn invalid_lines_in_a_key_file_hide_no_key() {
    let node = node().await;
    let keys = node.folder.path().join("keys");
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 1);
    let noise = "no key\n".repeat(20_000) + &"no end ".repeat(20_000);
    std::fs::write(&keys, lines(1..=3) + &noise + "\n" + &lines(4..=5) + &noise).unwrap();
    node.runner.settle(&shipper(&node)).await.unwrap();
    assert_eq!(missing(&node).await, (6..=3000).collect());
}
