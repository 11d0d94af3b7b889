//! The page about data: it names every column of every table, and every member of an audit event.

use std::collections::BTreeSet;

use super::Finding;
use super::documents::named_in;
use super::source::{Source, has_extension};

const PAGE: &str = "docs/security/data.md";
const EVENTS: &str = "docs/generated/events.md";
const MIGRATIONS: &str = "migrations/";
const CHECK: &str = "data-page";

/// Checks that the page names `table.column` for each column, each member of an event, and no column that
/// does not exist.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(page) = sources.iter().find(|source| source.path == PAGE) else {
        return vec![Finding::new(
            PAGE,
            1,
            CHECK,
            "write the page: class, place and end of each kind of data",
        )];
    };
    let named: BTreeSet<&str> = page.text.lines().flat_map(named_in).collect();
    let columns: BTreeSet<String> = sources.iter().flat_map(columns).collect();
    let members: BTreeSet<&str> =
        sources.iter().filter(|source| source.path == EVENTS).flat_map(members).collect();

    let missing = columns.iter().map(String::as_str).chain(members).filter(|name| !named.contains(name));
    let mut findings: Vec<Finding> =
        missing.map(|name| finding(1, format!("say what `{name}` holds and when it ends"))).collect();

    let tables: BTreeSet<&str> =
        columns.iter().filter_map(|column| column.split_once('.')).map(|(table, _)| table).collect();
    for (line, text) in page.lines() {
        let gone = named_in(text).filter(|name| {
            let of_table = name.split_once('.').is_some_and(|(table, _)| tables.contains(table));
            of_table && !columns.contains(*name)
        });
        findings.extend(gone.map(|name| finding(line, format!("`{name}` is no column of the migrations"))));
    }
    findings
}

fn finding(line: usize, advice: String) -> Finding {
    Finding::new(PAGE, line, CHECK, advice)
}

/// The columns that a migration creates, as `table.column`.
fn columns(source: &Source) -> Vec<String> {
    if !source.path.starts_with(MIGRATIONS) || !has_extension(&source.path, "sql") {
        return Vec::new();
    }
    let mut table = None;
    let mut columns = Vec::new();
    for line in source.text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["CREATE", "TABLE", name, ..] => table = Some(without_schema(name)),
            ["ALTER", "TABLE", name, "ADD", "COLUMN", column, ..] => {
                columns.push(format!("{}.{column}", without_schema(name)));
            }
            [column, _, ..] if is_name(column) => {
                columns.extend(table.map(|table| format!("{table}.{column}")));
            }
            [end, ..] if end.starts_with(')') => table = None,
            _ => {}
        }
    }
    columns
}

fn without_schema(name: &str) -> &str {
    name.strip_prefix("gw.").unwrap_or(name)
}

/// Whether a word of SQL is a name. Keywords are written in capitals.
fn is_name(word: &str) -> bool {
    word.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
}

/// The members of events: the first cells of the tables of kinds on the generated page.
fn members(source: &Source) -> impl Iterator<Item = &str> {
    let kinds = source.text.lines().skip_while(|line| !line.starts_with("### "));
    kinds.filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(member, _)| member)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "\
CREATE TABLE gw.users (
    id    BIGINT PRIMARY KEY,
    -- A comment.
    email TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX users_email ON gw.users (email);
INSERT INTO gw.users (id) VALUES (1);
ALTER TABLE gw.users ADD COLUMN role TEXT
    CHECK (role IS NOT NULL);
";

    /// The advice for a tree with this page.
    fn found(page: &str) -> Vec<String> {
        let sources = [
            Source::new(PAGE, page),
            Source::new("migrations/0001_a/postgres.sql", TABLES),
            Source::new(EVENTS, "| `v` | number | |\n### login_failed\n| `identifier` | text | |\n"),
        ];
        check(&sources).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn the_page_names_every_column_and_member_of_an_event() {
        let whole = "`users.id` `users.email`\n`users.role`, `identifier`";
        assert_eq!(found(whole), [""; 0]);
        for name in ["users.id", "users.email", "users.role", "identifier"] {
            let advice = found(&whole.replace(&format!("`{name}`"), name));
            assert_eq!(advice, [format!("say what `{name}` holds and when it ends")]);
        }
        assert_eq!(check(&[]).len(), 1);
    }

    #[test]
    fn the_page_names_no_column_that_is_gone() {
        let page = "`users.id` `users.email` `users.role` `identifier` `audit.retention`\n`users.phone`";
        assert_eq!(found(page), ["`users.phone` is no column of the migrations"]);
    }
}
