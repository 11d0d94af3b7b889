//! Both engines have the same tables, columns and indexes, as far as statements can observe.

use std::collections::BTreeMap;

use crate::fixtures::TestDb;

/// The type of each column in PostgreSQL's terms, and whether it is nullable.
type Columns = BTreeMap<(String, String), (String, bool)>;

#[tokio::test]
async fn both_engines_have_the_same_schema() {
    let (sqlite, postgres) = (TestDb::sqlite(), TestDb::postgres());
    sqlite.migrate().await.unwrap();
    postgres.migrate().await.unwrap();
    let columns = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns \
                   WHERE table_schema = 'gatewright'";
    let of_postgres: Columns = postgres
        .sql(columns)
        .into_iter()
        .map(|row| {
            let [table, column, kind, nullable] = cells(row);
            ((table, column), (kind, nullable == "YES"))
        })
        .collect();

    // The trail is a separate file, created at its first use.
    let trail = sqlite.audit_file().await;
    let mut of_sqlite = sqlite_columns(&sqlite);
    of_sqlite.extend(sqlite_columns(&trail));

    let names = |columns: &Columns| columns.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&of_sqlite), names(&of_postgres));

    for (name, (kind, nullable)) in &of_sqlite {
        let (wanted, wanted_nullable) = &of_postgres[name];
        let fits: &[&str] = match wanted.as_str() {
            "bigint" | "boolean" => &["INTEGER", "BIGINT"],
            "text" => &["TEXT"],
            "bytea" | "uuid" => &["BLOB"],
            other => panic!("{name:?}: {other} is not in the common dialect"),
        };
        assert!(fits.contains(&kind.as_str()), "{name:?}: {kind} on SQLite, {wanted} on PostgreSQL");
        assert_eq!(nullable, wanted_nullable, "{name:?}");
    }

    let mut indexes = sqlite_indexes(&sqlite);
    indexes.extend(sqlite_indexes(&trail));
    indexes.sort();
    assert_eq!(indexes, postgres_indexes(&postgres));
}

fn cells<const N: usize>(row: Vec<Option<String>>) -> [String; N] {
    let cells: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
    cells.try_into().unwrap()
}

fn sqlite_columns(db: &TestDb) -> Columns {
    let sql = "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema t \
               JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let rows = db.sql(sql).into_iter().map(|row| {
        let [table, column, kind, not_null, key] = cells(row);
        // The key columns of a STRICT table are never NULL, even without NOT NULL in the schema.
        ((table, column), (kind, not_null == "0" && key == "0"))
    });
    rows.collect()
}

/// Table, columns, uniqueness and partiality of each index, including primary keys.
type Indexes = Vec<(String, String, bool, bool)>;

fn postgres_indexes(db: &TestDb) -> Indexes {
    let sql = "SELECT t.relname, string_agg(a.attname, ',' ORDER BY k.place), i.indisunique, \
               i.indpred IS NOT NULL FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
               JOIN pg_namespace n ON n.oid = t.relnamespace \
               CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place) \
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number \
               WHERE n.nspname = 'gatewright' GROUP BY i.indexrelid, t.relname, i.indisunique, i.indpred";
    let mut found: Indexes = db
        .sql(sql)
        .into_iter()
        .map(|row| {
            let [table, columns, unique, partial] = cells(row);
            (table, columns, unique == "t", partial == "t")
        })
        .collect();
    found.sort();
    found
}

fn sqlite_indexes(db: &TestDb) -> Indexes {
    let sql = "SELECT t.name, \
               (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) \
               ORDER BY seqno)), \
               i.\"unique\", i.partial FROM sqlite_schema t JOIN pragma_index_list(t.name) i \
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let mut found: Indexes = db
        .sql(sql)
        .into_iter()
        .map(|row| {
            let [table, columns, unique, partial] = cells(row);
            (table, columns, unique == "1", partial == "1")
        })
        .collect();
    // A primary key of one INTEGER column is the rowid and has no separate index.
    let rowids = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
                  WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND c.pk = 1 AND c.type = 'INTEGER' \
                  AND (SELECT count(*) FROM pragma_table_info(t.name) k WHERE k.pk > 0) = 1";
    found.extend(db.sql(rowids).into_iter().map(|row| {
        let [table, column] = cells(row);
        (table, column, true, false)
    }));
    found.sort();
    found
}
