//! The keys of erased users, in the files of a node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use audit::DetailKeyFile;
use jobs::{Destroy, KeysOnDisk, PurgeErasedKeys, Step};
use model::{Rng, UserUuid};
use protocol::sealed::keyring::Keyring;
use store::queries::user;
use uuid::Uuid;

use crate::node::{Node, node};

fn line(number: u64, user: UserUuid) -> String {
    format!("{number:016x} {user} c2VhbGVk\n")
}

/// Every registered user.
async fn users(node: &Node) -> Vec<user::User> {
    node.lease().read().await.unwrap().all(user::page(model::UserId(0), 10)).await.unwrap()
}

async fn erase(node: &Node, user: &user::User) {
    let mut lease = node.lease();
    auth::account::delete(&mut node.ctx(&mut lease), user).await.unwrap();
}

/// A key file whose lock another process may hold.
fn beside(path: &Path, locked: &Arc<AtomicBool>) -> KeysOnDisk {
    let (file, locked) = (path.to_owned(), Arc::clone(locked));
    let destroy: Destroy = Arc::new(move |users| {
        if locked.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        DetailKeyFile::destroy(&file, users)
    });
    KeysOnDisk { path: path.to_owned(), destroy }
}

#[tokio::test]
async fn keys_of_erased_users_are_destroyed_in_every_file_and_others_stay() {
    let node = node().await;
    node.register("a@example.org").await;
    node.register("b@example.org").await;
    let users = users(&node).await;
    let [own, other, missing] = ["keys", "other", "missing"].map(|name| node.folder.path().join(name));

    let keyring = Keyring::parse(Keyring::generate_line(&Rng::seeded(1)).expose()).unwrap();
    let strangers = (0..1200).map(|n| line(n, UserUuid(Uuid::from_u128(u128::from(n)))));
    let known = users.iter().zip(5000..).map(|(user, n)| line(n, user.uuid));
    let text: String = strangers.chain(known).collect();
    fs::write(&own, &text).unwrap();
    fs::write(&other, &text).unwrap();

    let detail_keys = Arc::new(DetailKeyFile::open(&own, keyring, Rng::seeded(2)).unwrap());
    let destroy: Destroy = Arc::new(move |users| detail_keys.forget_all(users));
    let locked = Arc::new(AtomicBool::new(true));
    let own_file = KeysOnDisk { path: own.clone(), destroy };
    let files = vec![beside(&missing, &locked), own_file, beside(&other, &locked)];
    let job = PurgeErasedKeys::every(Duration::from_hours(1), files);
    let has =
        |path: &Path, user: &user::User| fs::read_to_string(path).unwrap().contains(&user.uuid.to_string());

    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Again, "in steps");
    node.runner.settle(&job).await.unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), text);

    erase(&node, &users[0]).await;
    node.runner.settle(&job).await.unwrap();
    assert!(has(&own, &users[0]), "not due yet");

    node.clock.advance(Duration::from_hours(1));
    node.runner.settle(&job).await.unwrap();
    assert!(!has(&own, &users[0]) && has(&own, &users[1]));
    assert!(has(&other, &users[0]), "another process holds that file");

    locked.store(false, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert!(!has(&other, &users[0]) && has(&other, &users[1]), "at the next check, not at the next sweep");
    assert_eq!(fs::read_to_string(&own).unwrap().lines().count(), 1201);
    assert!(!missing.exists());
}
