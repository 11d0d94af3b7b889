//! Both engines have the same tables, columns and indexes, as far as a statement can tell.

use std::collections::BTreeMap;

use crate::fixtures::World;

/// What one column is: its type in the words of PostgreSQL, and whether it may be NULL.
type Columns = BTreeMap<(String, String), (String, bool)>;

#[tokio::test]
async fn both_engines_have_the_same_schema() {
    let (sqlite, postgres) = (World::sqlite(), World::postgres());
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
    // The trail is a file of its own, made at its first use.
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
            other => panic!("{name:?}: {other} has no place in the house dialect"),
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

fn sqlite_columns(world: &World) -> Columns {
    let sql = "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema t \
               JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let rows = world.sql(sql).into_iter().map(|row| {
        let [table, column, kind, not_null, key] = cells(row);
        // Of a STRICT table's key no part may be NULL; the words NOT NULL need not stand there.
        ((table, column), (kind, not_null == "0" && key == "0"))
    });
    rows.collect()
}

/// Table, columns, uniqueness and condition of each index, primary keys included.
type Indexes = Vec<(String, String, bool, bool)>;

fn postgres_indexes(world: &World) -> Indexes {
    let sql = "SELECT t.relname, string_agg(a.attname, ',' ORDER BY k.place), i.indisunique, \
               i.indpred IS NOT NULL FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
               JOIN pg_namespace n ON n.oid = t.relnamespace \
               CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place) \
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number \
               WHERE n.nspname = 'gatewright' GROUP BY i.indexrelid, t.relname, i.indisunique, i.indpred";
    let mut found: Indexes = world
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

fn sqlite_indexes(world: &World) -> Indexes {
    let sql = "SELECT t.name, (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) \
               ORDER BY seqno)), i.\"unique\", i.partial FROM sqlite_schema t JOIN pragma_index_list(t.name) i \
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let mut found: Indexes = world
        .sql(sql)
        .into_iter()
        .map(|row| {
            let [table, columns, unique, partial] = cells(row);
            (table, columns, unique == "1", partial == "1")
        })
        .collect();
    // A key of one whole number is the row itself and has no index of its own.
    let rowids = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
                  WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND c.pk = 1 AND c.type = 'INTEGER' AND \
                  (SELECT count(*) FROM pragma_table_info(t.name) k WHERE k.pk > 0) = 1";
    found.extend(world.sql(rowids).into_iter().map(|row| {
        let [table, column] = cells(row);
        (table, column, true, false)
    }));
    found.sort();
    found
}
