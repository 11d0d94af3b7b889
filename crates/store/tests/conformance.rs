//! One suite, every engine: what the cellar promises holds on each.

use model::*;
use std::time::Duration;
use store::*;

fn spawner() -> Spawner {
    Spawner::new(|_, task| {
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(task);
    })
}

async fn open_all(location: Location) -> Store {
    let settings = Settings {
        location,
        pool_min: 1,
        pool_max: 4,
        acquire_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(2),
        forbid_second_acquire: true,
    };
    println!("{:?}", migrate(&settings, Now::from_seconds(1), &spawner()).await.unwrap());
    open(&settings, &spawner()).await.unwrap()
}

#[tokio::test]
async fn opens_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let s = open_all(Location::Sqlite(dir.path().join("a.db"))).await;
    s.probe.check(Duration::from_secs(1)).await.unwrap();
}
#[tokio::test]
async fn opens_postgres() {
    let s = open_all(Location::Postgres {
        url: "postgres://postgres@127.0.0.1:54999/postgres".into(),
        schema: "gatewright".into(),
        tls_ca_file: None,
    })
    .await;
    s.probe.check(Duration::from_secs(1)).await.unwrap();
}
