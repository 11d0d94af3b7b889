//! Accounts are exported from one instance and imported into another, on both engines and in both formats.

use serde_json::{Value, json};

use crate::node::{PASSWORD, Setup, database};

/// Accounts of all kinds: every hash format, profiles, roles, states, a tombstone, gaps between the ids.
fn accounts() -> String {
    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/data/password-hashes.tsv"));
    let mut rows = String::new();

    for (at, line) in (0_i64..).zip(VECTORS.lines()) {
        let hash = line.split('\t').nth(1).unwrap();
        rows += &json!({
            "id": 10 + 3 * at,
            "uuid": uuid(at),
            "email": format!("Usér{at}@Example.org"),
            "username": if at % 3 == 0 { Value::Null } else { json!(format!("user{at}")) },
            "password_hash": hash,
            "role": if at % 50 == 0 { "admin" } else { "basic_user" },
            "is_active": at % 7 != 0,
            "email_verified": at % 2 == 0,
            "profile": if at % 5 == 0 {
                json!({"country": "de", "annual_income": 50000.5})
            } else {
                json!({})
            },
            "created_at": "2020-02-03T04:05:06.789012Z",
            "updated_at": format!("2021-02-03T04:05:{:02}Z", at % 60),

        })
        .to_string();
        rows.push('\n');
    }
    rows + &json!({"id": 5000, "uuid": uuid(5000), "state": "erased"}).to_string() + "\n"
}

fn uuid(at: i64) -> String {
    format!("00000000-0000-4000-8000-{at:012}")
}

fn write(setup: &Setup, name: &str, text: &str) {
    std::fs::write(setup.folder.path().join(name), text).unwrap();
}

fn read(setup: &Setup, name: &str) -> String {
    std::fs::read_to_string(setup.folder.path().join(name)).unwrap()
}

async fn transfer_accounts(old: Setup, new: Setup) {
    write(&old, "all.jsonl", &accounts());
    let said = old.command(&["user", "import", "all.jsonl"]);
    assert!(said.contains("153 imported, 0 unchanged, 0 refused"), "{said}");

    let mut exports = Vec::new();
    for format in ["jsonl", "csv"] {
        let file = format!("out.{format}");
        old.command(&["user", "export", &file, "--with-hashes"]);
        exports.push(read(&old, &file));
    }

    assert!(exports[0].contains(r#""annual_income":50000.5,"country":"DE""#), "{}", exports[0]);
    assert_eq!(old.command(&["user", "export", "--with-hashes"]), exports[0]);
    // A repeated import changes nothing.
    let again = old.command(&["user", "import", "all.jsonl"]);
    assert!(again.contains("0 imported, 153 unchanged, 0 refused"), "{again}");

    // The first half is imported as JSON Lines, and then everything as CSV.
    let half: Vec<&str> = exports[0].lines().take(70).collect();
    write(&new, "half.jsonl", &half.join("\n"));
    write(&new, "out.csv", &exports[1]);
    new.command(&["user", "import", "half.jsonl"]);
    let said = new.command(&["user", "import", "out.csv"]);
    assert!(said.contains("83 imported, 70 unchanged, 0 refused"), "{said}");
    assert_eq!(new.command(&["user", "export", "--with-hashes"]), exports[0]);
    assert_eq!(new.command(&["user", "export", "--with-hashes", "--format", "csv"]), exports[1]);
    let bare = new.command(&["user", "export"]);
    assert!(!bare.contains('$') && !bare.contains("password"), "{bare}");

    // New ids are above all imported ones, including the tombstone's.
    let node = new.start();
    let registered = node.register("newcomer").await;
    assert_eq!(registered.json()["id"], 5001);

    // The old password still works.
    let form = [("username", "user1@example.org"), ("password", "correct horse battery staple")];
    let old_name = format!("usér{}", &form[0].1[4..]);
    let logged = node.client.post_form(&node.v1("token"), &[("username", &old_name), form[1]]).await;
    assert_eq!(logged.status, 200, "{}", logged.text());
    assert_eq!(node.log_in("newcomer").await.status, 200, "{PASSWORD}");
    let erased =
        node.client.post_form(&node.v1("token"), &[("username", "usér5000@example.org"), form[1]]).await;
    assert_eq!(erased.status, 401);
}

#[tokio::test]
async fn accounts_move_from_sqlite_to_postgres() {
    let database = database();
    transfer_accounts(Setup::sqlite(), Setup::postgres(database.url())).await;
}

#[tokio::test]
async fn accounts_move_from_postgres_to_sqlite() {
    let database = database();
    transfer_accounts(Setup::postgres(database.url()), Setup::sqlite()).await;
}
