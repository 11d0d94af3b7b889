//! The rows of a file, whatever its shape: CSV, one JSON object a line, or a JSON document.

use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use clap::ValueEnum;
use protocol::wire::strict_json;
use serde_json::{Map, Value};

use super::document::{Document, Top};
use super::input::Input;
use super::table::{Dialect, Table};

/// Longest row that is parsed, in bytes.
pub(super) const ROW_BYTES: usize = 8 * 1024 * 1024;
/// Most cells of a row.
pub(super) const CELLS: usize = 1024;

/// Format of a file to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON: one object a line, an array of objects, or an object that holds such an array
    #[value(alias = "jsonl")]
    Json,
    /// A table; its first row names the columns
    Csv,
}

impl Format {
    /// The given format, or else the one that the file's extension shows.
    pub(super) fn of(said: Option<Self>, path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        said.or(match extension.to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Csv),
            _ => None,
        })
    }
}

/// A row with the number of its first line and the table that it belongs to: its members, or why it is
/// refused.
pub(super) struct Record {
    pub(super) line: u64,
    /// The member of a document that holds it.
    pub(super) table: Option<String>,
    pub(super) row: Result<Map<String, Value>, String>,
}

/// Why a file cannot be read any further.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system says so.
    Io(io::Error),
    /// From this line on it is not in its format.
    Text(u64, String),
}

impl Fault {
    pub(super) fn at(line: u64, what: impl Into<String>) -> Self {
        Self::Text(line, what.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Text(line, what) => write!(f, "line {line}: {what}"),
        }
    }
}

/// How a file is read.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Its format.
    pub(super) format: Format,
    /// Of CSV.
    pub(super) dialect: Dialect,
    /// The columns of a table whose first row does not name them.
    pub(super) columns: Option<&'static [&'static str]>,
    /// The members of a document that hold rows.
    pub(super) wrappers: &'static [&'static str],
}

/// Reads rows.
pub(super) struct Records(Kind);

/// A row of a table with its line: its cells, or why it is refused.
pub(super) type Cells = (u64, Result<Vec<String>, String>);

enum Kind {
    Lines {
        from: Box<dyn BufRead>,
        next: u64,
        buffer: Vec<u8>,
        bytes: u64,
    },
    Document {
        reader: Document<Box<dyn BufRead>>,
        pending: Vec<Record>,
    },
    Table {
        reader: Table<Box<dyn BufRead>>,
        names: Vec<String>,
        /// The first row, where it does not name the columns.
        first: Option<Cells>,
        /// Whether cells may be missing at the end of a row.
        may_be_short: bool,
    },
}

impl Records {
    /// Opens the rows.
    ///
    /// # Errors
    /// When the file is not in its format; the text says what it looks like.
    pub(super) fn open(input: &Input, layout: &Layout) -> Result<Self, String> {
        match layout.format {
            Format::Json => Self::json(input, layout),
            Format::Csv => Self::table(input, layout),
        }
    }

    fn json(input: &Input, layout: &Layout) -> Result<Self, String> {
        let looked = Document::new(input.reader()?, None).look().map_err(|fault| fault.to_string())?;
        let from = input.reader()?;
        let wrappers = match looked {
            Top::Many { is_lines: true } | Top::Unclear => {
                return Ok(Self(Kind::Lines { from, next: 1, buffer: Vec::new(), bytes: 0 }));
            }
            Top::Many { is_lines: false } | Top::One { is_array: true, .. } => None,
            Top::One { is_array: false, arrays } => {
                let holds = |name: &&String| layout.wrappers.contains(&name.as_str());
                let known: Vec<String> = arrays.iter().filter(holds).cloned().collect();
                Some(known).filter(|known| !known.is_empty())
            }
        };
        Ok(Self(Kind::Document { reader: Document::new(from, wrappers), pending: Vec::new() }))
    }

    fn table(input: &Input, layout: &Layout) -> Result<Self, String> {
        let mut reader = Table::new(input.reader()?, layout.dialect);
        let first = reader.record().map_err(|fault| fault.to_string())?.ok_or("it is empty")?;
        if let Some(columns) = layout.columns {
            let is_named =
                |cell: &String| columns.first().is_some_and(|name| cell.eq_ignore_ascii_case(name));
            if !first.1.as_ref().is_ok_and(|cells| cells.iter().any(is_named)) {
                let names = columns.iter().map(|name| (*name).to_owned()).collect();
                return Ok(Self(Kind::Table { reader, names, first: Some(first), may_be_short: true }));
            }
        }
        let names: Vec<String> = first.1?.iter().map(|name| name.trim().to_lowercase()).collect();
        check_names(&names, layout.dialect.delimiter)?;
        Ok(Self(Kind::Table { reader, names, first: None, may_be_short: false }))
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        match &self.0 {
            Kind::Lines { bytes, .. } => *bytes,
            Kind::Document { reader, .. } => reader.bytes,
            Kind::Table { reader, .. } => reader.bytes,
        }
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read any further. A bad row is not an error of the file.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        match &mut self.0 {
            Kind::Lines { from, next, buffer, bytes } => loop {
                let line = *next;
                *next += 1;
                let Some(text) = read_line(from, buffer, bytes)? else { return Ok(None) };
                let row = match text.map(<[u8]>::trim_ascii) {
                    Some([]) => continue,
                    Some(text) => object(text),
                    None => Err(too_long()),
                };
                return Ok(Some(Record { line, table: None, row }));
            },

            Kind::Document { reader, pending } => {
                if let Some(record) = pending.pop() {
                    return Ok(Some(record));
                }
                while let Some(item) = reader.next()? {
                    match object(&item.text) {
                        Ok(members) if members.get("type").and_then(Value::as_str) == Some("header") => {}
                        Ok(mut members) => {
                            if let Some((table, rows)) = table_of(&mut members) {
                                pending.extend(rows.into_iter().rev().map(|row| Record {
                                    line: item.line,
                                    table: Some(table.clone()),
                                    row: into_object(row),
                                }));
                                if let Some(record) = pending.pop() {
                                    return Ok(Some(record));
                                }
                                continue;
                            }
                            let (line, table) = (item.line, item.member);
                            return Ok(Some(Record { line, table, row: Ok(members) }));
                        }
                        row @ Err(_) => {
                            return Ok(Some(Record { line: item.line, table: item.member, row }));
                        }
                    }
                }
                Ok(None)
            }

            Kind::Table { reader, names, first, may_be_short } => {
                let next = match first.take() {
                    Some(first) => Some(first),
                    None => reader.record()?,
                };
                let Some((line, cells)) = next else { return Ok(None) };
                let row = cells.and_then(|cells| {
                    if cells.len() > names.len() || (cells.len() < names.len() && !*may_be_short) {
                        return Err(format!(
                            "it has {} cells, and the table {} columns",
                            cells.len(),
                            names.len()
                        ));
                    }
                    Ok(names.iter().cloned().zip(cells.into_iter().map(Value::String)).collect())
                });
                Ok(Some(Record { line, table: None, row }))
            }
        }
    }
}

/// The rows of a table in an export of phpMyAdmin: `{"type": "table", "name": …, "data": […]}`.
fn table_of(members: &mut Map<String, Value>) -> Option<(String, Vec<Value>)> {
    if members.get("type")?.as_str()? != "table" {
        return None;
    }
    let name = members.get("name")?.as_str()?.to_owned();
    match members.remove("data")? {
        Value::Array(rows) => Some((name, rows)),
        _ => None,
    }
}

/// Checks that the first row names each column once.
fn check_names(names: &[String], delimiter: u8) -> Result<(), String> {
    if let [only] = names {
        if only.starts_with("sep=") {
            return Err(
                "its first row is a hint for a spreadsheet: remove it, and give --delimiter".to_owned()
            );
        }
        let other = [(';', "';'"), ('\t', "tab"), ('|', "'|'"), (',', "','")]
            .into_iter()
            .find(|(other, _)| only.contains(*other) && u32::from(*other) != u32::from(delimiter));
        if let Some((_, name)) = other {
            return Err(format!(
                "its columns seem to be separated by another character: give --delimiter {name}"
            ));
        }
    }

    if names.iter().any(|name| name.contains('@') || name.starts_with("$2") || name.starts_with("$argon2")) {
        return Err("its first row holds data, and has to name the columns".to_owned());
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    if sorted.windows(2).any(|pair| pair.first() == pair.last()) || names.iter().any(String::is_empty) {
        return Err("its first row does not name each column once".to_owned());
    }
    Ok(())
}

pub(super) fn too_long() -> String {
    format!("it is longer than {} MiB, or has more than {CELLS} cells", ROW_BYTES >> 20)
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match strict_json::parse(text) {
        Some(value) => into_object(value),
        None => Err("it is not JSON, or names a member twice".to_owned()),
    }
}

fn into_object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("it is not a JSON object".to_owned()),
    }
}

/// One line without its end. The inner None is a line that is too long: its text is discarded.
#[expect(clippy::option_option, reason = "the end of the file, and a line that is discarded")]
fn read_line<'a>(
    from: &mut impl BufRead,
    buffer: &'a mut Vec<u8>,
    bytes: &mut u64,
) -> io::Result<Option<Option<&'a [u8]>>> {
    buffer.clear();
    let mut length = 0;
    loop {
        let chunk = from.fill_buf()?;
        if chunk.is_empty() && length == 0 {
            return Ok(None);
        }

        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let used = part.len() + usize::from(end.is_some());
        if length + part.len() <= ROW_BYTES {
            buffer.extend_from_slice(part);
        }

        let over = end.is_some() || chunk.is_empty();
        from.consume(used);
        length += used;
        *bytes += used as u64;
        if over {
            // The newline is not counted.
            let whole = length - usize::from(end.is_some()) == buffer.len();
            return Ok(Some(whole.then_some(buffer)));
        }
    }
}
