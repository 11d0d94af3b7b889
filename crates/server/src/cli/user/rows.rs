//! Rows of a file, JSON Lines or CSV (RFC 4180), read one at a time and of bounded size.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};
use std::path::Path;

use clap::ValueEnum;
use csv_core::ReadRecordResult;
use protocol::wire::strict_json;
use serde_json::{Map, Value};

/// Longest row that is parsed, in bytes.
const ROW_BYTES: usize = 128 * 1024;
/// Most cells of a row.
const CELLS: usize = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Format of a file of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// One JSON object a line
    Jsonl,
    /// A table whose first row names the columns
    Csv,
}

impl Format {
    /// The given format, or else the one that the file's extension shows.
    pub(in crate::cli) fn of(said: Option<Self>, path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        said.or(match extension.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        })
    }
}

/// A row with the number of its first line: its members, or why it is refused.
pub(super) type Row<T = Map<String, Value>> = (u64, Result<T, String>);

/// Reads rows.
pub(super) struct Rows {
    from: Box<dyn BufRead>,
    kind: Kind,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

enum Kind {
    JsonLines { next: u64, buffer: Vec<u8> },
    Table(Box<Table>),
}

struct Table {
    reader: csv_core::Reader,
    /// The line that is read next.
    line: u64,
    names: Vec<String>,
    cells: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    /// Opens the rows; the first row of a table names its columns.
    ///
    /// # Errors
    /// When it cannot be read, or its columns are not named uniquely.
    pub(super) fn open(mut from: Box<dyn BufRead>, format: Format) -> Result<Self, String> {
        let mut first = Vec::new();
        let read = from.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut first);
        let bytes = read.map_err(|why| why.to_string())? as u64;
        let rest = if first == BYTE_ORDER_MARK { Vec::new() } else { first };
        let from = Box::new(io::Cursor::new(rest).chain(from));
        let kind = match format {
            Format::Jsonl => Kind::JsonLines { next: 1, buffer: Vec::new() },
            Format::Csv => Kind::Table(Box::new(Table {
                reader: csv_core::Reader::new(),
                line: 1,
                names: Vec::new(),
                cells: vec![0; ROW_BYTES],
                ends: vec![0; CELLS],
            })),
        };

        let mut rows = Self { from, kind, bytes };
        if let Kind::Table(table) = &mut rows.kind {
            let (_, names) = table
                .record(&mut rows.from, &mut rows.bytes)
                .map_err(|why| why.to_string())?
                .ok_or("it is empty")?;
            table.names = names?.iter().map(|name| name.trim().to_lowercase()).collect();
            let mut sorted: Vec<&String> = table.names.iter().collect();
            sorted.sort();
            if sorted.windows(2).any(|pair| pair.first() == pair.last())
                || table.names.iter().any(String::is_empty)
            {
                return Err("its first row does not name each column once".to_owned());
            }
        }

        Ok(rows)
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read further. A bad row is not an error of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        match &mut self.kind {
            Kind::JsonLines { next, buffer } => loop {
                let line = *next;
                *next += 1;
                let Some(text) = read_line(&mut self.from, buffer, &mut self.bytes)? else { return Ok(None) };
                match text.map(<[u8]>::trim_ascii) {
                    Some([]) => {}
                    Some(text) => return Ok(Some((line, object(text)))),
                    None => return Ok(Some((line, Err(too_long())))),
                }
            },

            Kind::Table(table) => {
                let Some((line, cells)) = table.record(&mut self.from, &mut self.bytes)? else {
                    return Ok(None);
                };
                let row = cells.and_then(|cells| {
                    if cells.len() != table.names.len() {
                        return Err(format!(
                            "it has {} cells, and the table {} columns",
                            cells.len(),
                            table.names.len()
                        ));
                    }
                    Ok(table.names.iter().cloned().zip(cells.into_iter().map(Value::String)).collect())
                });
                Ok(Some((line, row)))
            }
        }
    }
}

fn too_long() -> String {
    format!("it is longer than {ROW_BYTES} bytes")
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match strict_json::parse(text) {
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err("it is not a JSON object".to_owned()),
        None => Err("it is not JSON, or names a member twice".to_owned()),
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

impl Table {
    /// One record with the line that it begins in.
    fn record(&mut self, from: &mut impl BufRead, bytes: &mut u64) -> io::Result<Option<Row<Vec<String>>>> {
        self.skip_empty_lines(from, bytes)?;
        let line = self.line;
        let mut filled = 0;
        let mut ended = 0;
        let mut over = false;

        loop {
            let input = from.fill_buf()?;
            let cells = self.cells.get_mut(filled..).unwrap_or_default();
            let ends = self.ends.get_mut(ended..).unwrap_or_default();
            let (result, read, wrote, cells) = self.reader.read_record(input, cells, ends);
            self.line += newlines(input.get(..read).unwrap_or_default());
            from.consume(read);
            *bytes += read as u64;
            filled += wrote;
            ended += cells;

            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    // The rest of a record that does not fit is discarded.
                    (filled, ended, over) = (0, 0, true);
                }
                ReadRecordResult::Record if over => return Ok(Some((line, Err(too_long())))),
                ReadRecordResult::Record => return Ok(Some((line, self.texts(ended)))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Skips empty lines, which are not records, and the rest of a two-character line end after a record.
    fn skip_empty_lines(&mut self, from: &mut impl BufRead, bytes: &mut u64) -> io::Result<()> {
        loop {
            let input = from.fill_buf()?;
            let ends = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.line += newlines(input.get(..ends).unwrap_or_default());
            from.consume(ends);
            *bytes += ends as u64;
            if ends == 0 {
                return Ok(());
            }
        }
    }

    fn texts(&self, cells: usize) -> Result<Vec<String>, String> {
        let mut from = 0;
        let ends = self.ends.get(..cells).unwrap_or_default();
        let text = |&end: &usize| {
            let cell = self.cells.get(from..end).unwrap_or_default();
            from = end;
            let cell = std::str::from_utf8(cell).map_err(|_| "it is not UTF-8".to_owned())?;
            Ok(unguarded(cell).to_owned())
        };
        ends.iter().map(text).collect()
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Whether a spreadsheet takes a cell for a formula (OWASP: CSV injection), behind any number of the quotes
/// that [`guarded`] adds. Some programs leave out white space before it, and full-width signs count too.
fn is_formula(cell: &str) -> bool {
    let cell = cell.trim_start_matches('\'');
    cell.starts_with(['\t', '\r', '\n'])
        || cell.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

/// A cell that no spreadsheet takes for a formula: `'` is put before one that it would.
fn guarded(cell: &str) -> Cow<'_, str> {
    if is_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// The cell before it was [`guarded`].
fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

/// One row of a table; cells are quoted where necessary, and none is a formula.
///
/// `csv_core::Writer` fills buffers of its caller, which takes more lines than this, and leaves spaces at the
/// ends of a cell unquoted, which some readers remove.
pub(in crate::cli) fn table_row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |cell: &str| {
        let cell = guarded(cell);
        // Where `;` separates cells, what follows one would be a cell of its own.
        if cell.contains(['"', ',', ';', '\t', '\r', '\n']) || cell.trim() != cell {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.into_owned()
        }
    };
    let cells: Vec<String> = cells.into_iter().map(quoted).collect();
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(text: impl Into<Vec<u8>>, format: Format) -> Result<Vec<Row<Value>>, String> {
        // A small buffer, so that records cross its edges.
        let from = io::BufReader::with_capacity(7, io::Cursor::new(text.into()));
        let mut rows = Rows::open(Box::new(from), format)?;
        let mut found = Vec::new();
        while let Some((line, row)) = rows.next().unwrap() {
            found.push((line, row.map(Value::Object)));
        }
        Ok(found)
    }

    #[test]
    fn lines_have_numbers_and_bad_ones_do_not_stop_the_rest() {
        let text = b"\xef\xbb\xbf{\"a\":1}\r\n\n[1]\n{\"a\":1,\"a\":2}\n\xff\n {\"b\":\"\\n\"}";
        let found = all(text, Format::Jsonl).unwrap();
        assert_eq!(found[0], (1, Ok(json!({"a": 1}))));
        assert_eq!(found[1], (3, Err("it is not a JSON object".into())));
        let none = Err("it is not JSON, or names a member twice".to_owned());
        assert_eq!((&found[2], &found[3]), (&(4, none.clone()), &(5, none)));
        assert_eq!(found[4], (6, Ok(json!({"b": "\n"}))));
        assert_eq!(found.len(), 5);
        assert_eq!(all("", Format::Jsonl).unwrap(), []);
    }

    #[test]
    fn a_row_of_any_length_is_skipped() {
        let long = format!("{{\"a\":\"{}\"}}\n{{\"b\":1}}\n", "x".repeat(ROW_BYTES * 3));
        let found = all(long, Format::Jsonl).unwrap();
        assert_eq!(found, [(1, Err(too_long())), (2, Ok(json!({"b": 1})))]);
        let edge = format!("{{\"a\":\"{}\"}}\n", "x".repeat(ROW_BYTES - 8));
        assert_eq!(edge.len(), ROW_BYTES + 1);
        assert!(all(edge, Format::Jsonl).unwrap()[0].1.is_ok());
        let lines = format!("\"{}\"", "x\n".repeat(ROW_BYTES));
        for (wide, next) in
            [("x".repeat(ROW_BYTES * 3), 3), (lines, ROW_BYTES as u64 + 3), ("x,".repeat(CELLS * 3), 3)]
        {
            let found = all(format!("a\n{wide}\nb\n"), Format::Csv).unwrap();
            assert_eq!(found, [(2, Err(too_long())), (next, Ok(json!({"a": "b"})))], "{wide:.20}");
        }
        // A quote that is not closed ends with the file.
        let found = all(format!("a\n\"{}", "x\n".repeat(ROW_BYTES)), Format::Csv).unwrap();
        assert_eq!(found, [(2, Err(too_long()))]);
    }

    #[test]
    fn a_table_has_quotes_line_ends_and_a_byte_order_mark() {
        let text = b"\xef\xbb\xbfid,Email ,note\r\n\
            1,a@example.org,\"two\r\nlines, and a \"\"quote\"\"\"\r\n\r\n2,b,\n3\n\xff,,\n";
        let found = all(text, Format::Csv).unwrap();
        let note = "two\r\nlines, and a \"quote\"";
        assert_eq!(found[0], (2, Ok(json!({"id": "1", "email": "a@example.org", "note": note}))));
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 5, 6, 7]);
        assert_eq!(found[1].1, Ok(json!({"id": "2", "email": "b", "note": ""})));
        assert_eq!(found[2].1, Err("it has 1 cells, and the table 3 columns".into()));
        assert_eq!(found[3].1, Err("it is not UTF-8".into()));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_table_without_column_names_is_refused() {
        for text in ["", "\n", "a,a\n", "a,\n", "\u{feff}"] {
            assert!(all(text, Format::Csv).is_err(), "{text:?}");
        }
        assert_eq!(all("a,b", Format::Csv).unwrap(), []);
    }

    #[test]
    fn written_tables_are_read_back() {
        let cells = [
            "",
            "a",
            " b ",
            "c,d",
            "\"",
            "e\r\nf",
            "{\"g\":\"h\"}",
            "é",
            "=1+1",
            "'=1",
            "''+a",
            "@",
            "-5",
            "\tx",
            "\r=",
            " =1",
            "'quoted'",
            "'",
            "''",
            "a;=1",
            "\u{ff1d}1",
            "'a",
            "' -",
            "\n",
        ];

        let names: Vec<String> = (0..cells.len()).map(|at| format!("n{at}")).collect();
        let text = table_row(names.iter().map(String::as_str)) + &table_row(cells);
        let found = all(text, Format::Csv).unwrap();
        let row = found[0].1.clone().unwrap();
        for (name, cell) in names.iter().zip(cells) {
            assert_eq!(row[name], cell);
        }
    }

    #[test]
    fn no_written_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@a", "\ta", "\ra", "\na", " =1", "\u{a0}=1", "\u{ff1d}1", "'=1"] {
            let row = table_row([cell]);
            let written = row.trim_start_matches('"');
            assert!(written.starts_with('\''), "{cell:?} is written as {row:?}");
        }
        assert_eq!(table_row(["a;=1+1", "b"]), "\"a;=1+1\",b\r\n");
        assert_eq!(table_row(["a=1", "2026-01-31", "'tis"]), "a=1,2026-01-31,'tis\r\n");
    }

    #[test]
    fn the_file_name_selects_the_format() {
        assert_eq!(Format::of(None, Path::new("users.CSV")), Some(Format::Csv));
        assert_eq!(Format::of(None, Path::new("users.ndjson")), Some(Format::Jsonl));
        assert_eq!(Format::of(Some(Format::Csv), Path::new("users.jsonl")), Some(Format::Csv));
        assert_eq!(Format::of(None, Path::new("-")), None);
    }
}
