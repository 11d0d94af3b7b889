//! Both engines accept every registered statement, and none scans a table that grows.

use std::collections::{BTreeMap, BTreeSet};

use store::{Stmt, registry};
use testkit::postgres::rows;

use crate::fixtures::TestDb;

/// Tables with a constant number of rows.
const CONSTANT: [&str; 3] = ["realm", "counters", "migrations"];
/// Tables of the audit trail, whose statements are not registered here.
const AUDIT: [&str; 3] = ["audit_events", "audit_heads", "audit_journals"];
const ROWS: u32 = 60_000;

#[test]
fn names_are_unique_and_begin_with_their_module() {
    let mut names = BTreeSet::new();
    for stmt in registry() {
        assert!(names.insert(stmt.name), "{} twice", stmt.name);
        assert!(
            stmt.name.split_once('.').is_some_and(|(module, name)| !module.is_empty() && !name.is_empty())
        );
    }
}

/// A statement outside `statements!` would be missing from the registry; the sources contain none.
#[test]
fn every_statement_is_registered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queries");
    let names: BTreeSet<&str> = registry().map(|stmt| stmt.name).collect();
    let mut written = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = text.replace("Stmt::per_engine(", "Stmt::new(");
        written += text.matches("Stmt::new(").count();
        for piece in text.split("Stmt::new(").skip(1) {
            let name = piece.split('"').nth(1).unwrap();
            assert!(names.contains(name), "{}: {name} is not in `statements!`", path.display());
            assert!(name.starts_with(&format!("{module}.")), "{name} stands in {}", path.display());
        }
        assert!(!text.contains("static STATEMENT") || module == "mod", "{}", path.display());
    }
    assert_eq!(written, names.len());
}

#[test]
fn statements_use_only_the_common_dialect() {
    for stmt in registry() {
        let text = stmt.sqlite();
        for word in ["= ANY", "FOR UPDATE", "now()", "::", "USING (", "nextval"] {
            assert!(!text.contains(word), "{}: {word}", stmt.name);
        }
    }
}

/// Fills every growing table with the same number of rows, in a realistic distribution.
fn fill(db: &TestDb) {
    let series = if db.is_sqlite() {
        format!("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {ROWS})")
    } else {
        format!("WITH g(n) AS (SELECT * FROM generate_series(1, {ROWS}))")
    };

    let Samples { uuid, bytes } = Samples::of(db);
    let revoked = "n % 10 = 0";
    let distributed = [
        (
            "users",
            "(uuid, email, email_key, username, username_key, role, state, profile, created_at, updated_at, \
             external_id)",
            format!("{uuid}, 'e' || n, 'e' || n, 'u' || n, 'u' || n, 'r', 'active', '{{}}', n, n, 'x' || n"),
        ),
        (
            "credentials",
            "(user_id, kind, data, version, updated_at)",
            "n, 'password', 'hash', 1, n".to_owned(),
        ),
        (
            "sessions",
            "",
            format!(
                "{uuid}, 1 + n % 5000, 's', NULL, NULL, n, n + 100000, n + 100000, 1, {bytes}, n, '', 0, 0, \
                 {revoked}, CASE WHEN {revoked} THEN n END, NULL, NULL, 0, n, NULL, 0"
            ),
        ),
        ("keys", "", format!("'k' || n, 'ES256', 'active', {bytes}, n, n, NULL")),
        ("peppers", "", format!("n, 'active', {bytes}, n, n")),
    ];

    for (table, columns, select) in &distributed {
        db.sql(&format!("{series} INSERT INTO gw.{table} {columns} SELECT {select} FROM g"));
    }
    for (table, columns) in tables(db) {
        let is_given = distributed.iter().any(|(given, ..)| *given == table);
        if !is_given && !CONSTANT.iter().chain(&AUDIT).any(|other| *other == table) {
            let select = columns.iter().map(|shape| any(db, shape)).collect::<Vec<_>>().join(", ");
            db.sql(&format!("{series} INSERT INTO gw.{table} SELECT {select} FROM g"));
        }
    }
    db.sql("ANALYZE");
}

/// Expressions of row `n` that the engines write differently.
struct Samples {
    uuid: &'static str,
    bytes: &'static str,
}

impl Samples {
    fn of(db: &TestDb) -> Self {
        if db.is_sqlite() {
            Self { uuid: "CAST(printf('%016d', n) AS BLOB)", bytes: "CAST(printf('%032d', n) AS BLOB)" }
        } else {
            Self {
                uuid: "lpad(CAST(n AS text), 32, '0')::uuid",
                bytes: "decode(lpad(to_hex(n), 64, '0'), 'hex')",
            }
        }
    }
}

/// Each table of the migrations, with the types of its columns.
fn tables(db: &TestDb) -> BTreeMap<String, Vec<String>> {
    let columns = if db.is_sqlite() {
        "SELECT t.name, c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid"
    } else {
        "SELECT table_name, data_type FROM information_schema.columns \
         WHERE table_schema = 'gatewright' ORDER BY table_name, ordinal_position"
    };

    let mut tables = BTreeMap::<_, Vec<_>>::new();
    for row in db.sql(columns) {
        let [name, shape] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
        tables.entry(name).or_default().push(shape);
    }
    tables
}

/// A value of a type, different in each row.
fn any(db: &TestDb, shape: &str) -> String {
    let Samples { uuid, bytes } = Samples::of(db);
    match shape.to_ascii_lowercase().as_str() {
        "integer" | "bigint" => "n".to_owned(),
        "text" => "'x' || n".to_owned(),
        "boolean" => "FALSE".to_owned(),
        "blob" | "bytea" => bytes.to_owned(),
        "uuid" => uuid.to_owned(),
        other => panic!("no sample of the type {other}"),
    }
}

#[tokio::test]
async fn no_statement_scans_a_growing_table_on_sqlite() {
    let db = TestDb::sqlite();
    db.migrate().await.unwrap();
    fill(&db);
    let mut wrong = Vec::new();
    for stmt in registry() {
        let plan = db.sql(&format!("EXPLAIN QUERY PLAN {}", stmt.sqlite()));
        let steps: Vec<String> = plan.into_iter().map(|mut row| row.pop().unwrap().unwrap()).collect();
        // Coroutines and materialized results are not tables; `c` is the alias of the counters.
        let is_table = |name: &str| {
            !matches!(name, "CONSTANT" | "c")
                && !CONSTANT.contains(&name)
                && !["CO-ROUTINE", "MATERIALIZE"].iter().any(|made| steps.contains(&format!("{made} {name}")))
        };
        // The rows of a parameter (`json_each`) are the only virtual table.
        let walks = steps.iter().filter(|step| !step.contains(" VIRTUAL TABLE ")).any(|step| {
            step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next()).is_some_and(is_table)
        });
        judge(stmt, walks, &steps, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_statement_scans_a_growing_table_on_postgres() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    fill(&db);
    let mut wrong = Vec::new();
    for stmt in registry() {
        let text = stmt.postgres("gatewright");
        let most = (1..=20).rev().find(|n| text.contains(&format!("${n}"))).unwrap_or(0);
        let nulls = if most == 0 { String::new() } else { format!("({})", vec!["NULL"; most].join(", ")) };
        let sql = format!(
            "SET plan_cache_mode = force_generic_plan; PREPARE explained AS {text}; \
             EXPLAIN EXECUTE explained{nulls}"
        );
        let plan = rows(db.url(), &sql).unwrap_or_else(|error| panic!("{}: {error}", stmt.name));
        let steps: Vec<String> = plan.into_iter().map(|mut row| row.pop().unwrap().unwrap()).collect();
        let walks = steps.iter().any(|step| {
            let walked = step.split("Seq Scan on ").nth(1).and_then(|rest| rest.split(' ').next());
            walked.is_some_and(|table| !CONSTANT.contains(&table))
        });
        judge(stmt, walks, &steps, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge(stmt: &Stmt, walks: bool, plan: &[String], wrong: &mut Vec<String>) {
    if walks && stmt.scans.is_none() {
        wrong.push(format!("{} walks a table:\n  {}", stmt.name, plan.join("\n  ")));
    }
}
