//! The TOML file: its values and their lines.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::RawValue;

/// One value of the file: its key, value and line.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) given: RawValue,
    pub(crate) line: usize,
}

/// A syntax error, with its line.
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) line: usize,
}

/// The values of a file, and its syntax errors. `is_setting` tells a table that is one value from a section.
pub(crate) fn entries(text: &str, is_setting: impl Fn(&str) -> bool) -> (Vec<Entry>, Vec<SyntaxError>) {
    let line = |span: Range<usize>| {
        let before = text.get(..span.start).unwrap_or(text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut found = Vec::new();
    walk("", table.get_ref(), &line, &is_setting, &mut found);
    found.sort_by_key(|entry| entry.line);
    let errors = errors.iter().map(|error| SyntaxError {
        message: error.message().to_owned(),
        line: line(error.span().unwrap_or_default()),
    });
    (found, errors.collect())
}

fn walk(
    prefix: &str,
    table: &DeTable<'_>,
    line: &impl Fn(Range<usize>) -> usize,
    is_setting: &impl Fn(&str) -> bool,
    found: &mut Vec<Entry>,
) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) if !is_setting(&key) => walk(&key, inner, line, is_setting, found),
            value => found.push(Entry { key, given: given(value), line: line(name.span()) }),
        }
    }
}

fn given(value: &DeValue<'_>) -> RawValue {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<_>>()
            .map_or(RawValue::Other("a list of lists or tables"), RawValue::List),
        DeValue::Table(table) => rows(table).map_or(RawValue::Other("a table of tables"), RawValue::Table),
        value => text(value).map_or(RawValue::Other("this kind of value"), RawValue::Text),
    }
}

fn rows(table: &DeTable<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    let row = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let items = match given(value.get_ref()) {
            RawValue::Text(text) => vec![text],
            RawValue::List(items) => items,
            RawValue::Table(_) | RawValue::Other(_) => return None,
        };
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        Some((name.to_string(), items))
    };
    table.iter().map(row).collect()
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    text(value.get_ref())
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(at) => Some(at.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
