//! CSV, read strictly by RFC 4180: a quote that it does not allow ends the file, because from there on no
//! cell can be told from its neighbours.

use std::io::BufRead;

use super::super::rows::unguarded;
use super::records::{CELLS, Cells, Fault, ROW_BYTES, too_long};

/// What a table allows beyond RFC 4180.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// What separates cells.
    pub(super) delimiter: u8,
    /// Whether a cell may go on over a line end and hold delimiters behind it.
    pub(super) is_multiline: bool,
}

/// Reads records of cells.
pub(super) struct Table<R> {
    from: R,
    dialect: Dialect,
    /// The line that is read next.
    line: u64,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

/// The record that is being read.
struct Record {
    /// The line that it begins in.
    line: u64,
    cells: Vec<Vec<u8>>,
    cell: Vec<u8>,
    length: usize,
    /// The line of the quote that opened the cell.
    opened: u64,
    place: Place,
}

/// Where in a record the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a cell.
    Start,
    /// In a cell without quotes.
    Bare,
    /// Between two quotes.
    Quoted,
    /// Behind a quote inside quotes: the end of the cell, or the first of two.
    Closing,
    /// Behind a carriage return, which a line feed must follow.
    Return,
}

impl<R: BufRead> Table<R> {
    pub(super) fn new(from: R, dialect: Dialect) -> Self {
        Self { from, dialect, line: 1, bytes: 0 }
    }

    /// One record with the line that it begins in; none at the end. A record that is too long or not UTF-8 is
    /// an error of its own and does not end the file.
    ///
    /// # Errors
    /// When the file cannot be read any further, or is not CSV from some line on.
    pub(super) fn record(&mut self) -> Result<Option<Cells>, Fault> {
        let mut record = Record::begin(self.line);
        let mut is_empty = true;
        while let Some(byte) = self.next()? {
            let is_end = record.take(byte, self.line, self.dialect)?;
            if byte == b'\n' {
                self.line += 1;
            }
            // A line without a character is no record.
            if is_empty && (byte == b'\n' || byte == b'\r') {
                if is_end {
                    record = Record::begin(self.line);
                }
                continue;
            }
            is_empty = false;
            if is_end {
                return Ok(Some((record.line, record.texts())));
            }
        }

        match record.place {
            Place::Quoted => {
                let what = "the quote that begins a cell is not closed before the end of the file";
                Err(Fault::at(record.opened, what))
            }
            Place::Return if !is_empty => Err(Fault::at(self.line, LONE_RETURN)),
            _ if is_empty => Ok(None),
            _ => {
                record.end_cell(self.dialect)?;
                Ok(Some((record.line, record.texts())))
            }
        }
    }

    fn next(&mut self) -> Result<Option<u8>, Fault> {
        let Some(byte) = self.from.fill_buf()?.first().copied() else { return Ok(None) };
        self.from.consume(1);
        self.bytes += 1;
        Ok(Some(byte))
    }
}

const LONE_RETURN: &str = "a carriage return stands without a line feed: save the file with line ends \
of Unix or \
                           Windows, and put cells that hold one between quotes";

impl Record {
    fn begin(line: u64) -> Self {
        Self { line, cells: Vec::new(), cell: Vec::new(), length: 0, opened: line, place: Place::Start }
    }

    /// Takes one byte of line `line`; returns whether it ends the record.
    fn take(&mut self, byte: u8, line: u64, dialect: Dialect) -> Result<bool, Fault> {
        match (self.place, byte) {
            (Place::Return, b'\n') => {
                self.end_cell(dialect)?;
                return Ok(true);
            }
            (Place::Return, _) => return Err(Fault::at(line, LONE_RETURN)),

            (Place::Quoted, b'"') => self.place = Place::Closing,
            (Place::Quoted, _) => self.push(byte),
            (Place::Start, b'"') => (self.opened, self.place) = (line, Place::Quoted),
            (Place::Closing, b'"') => {
                self.push(byte);
                self.place = Place::Quoted;
            }

            (_, b'\r') => self.place = Place::Return,
            (_, b'\n') => {
                self.end_cell(dialect)?;
                return Ok(true);
            }
            (_, _) if byte == dialect.delimiter => self.end_cell(dialect)?,
            (Place::Bare, b'"') => {
                let what = "a quote stands inside a cell that does not begin with one: put the cell between \
                            quotes and double the quotes in it";
                return Err(Fault::at(line, what));
            }
            (Place::Closing, _) => {
                let what = format!(
                    "text follows the quote that ends the cell which began in line {}: a quote is missing or \
                     not doubled",
                    self.opened
                );
                return Err(Fault::at(line, what));
            }
            (Place::Start | Place::Bare, _) => {
                self.push(byte);
                self.place = Place::Bare;
            }
        }
        Ok(false)
    }

    fn push(&mut self, byte: u8) {
        self.length += 1;
        if self.length <= ROW_BYTES {
            self.cell.push(byte);
        }
    }

    fn end_cell(&mut self, dialect: Dialect) -> Result<(), Fault> {
        let cell = std::mem::take(&mut self.cell);
        if !dialect.is_multiline && holds_rows(&cell, dialect.delimiter) {
            let what = "the quoted cell that begins here goes on over a line end and holds what looks \
            like other \
                        rows: a quote is missing before that; give --multiline if the text is right";
            return Err(Fault::at(self.opened, what));
        }
        if self.cells.len() <= CELLS {
            self.cells.push(cell);
        }
        self.place = Place::Start;
        Ok(())
    }

    fn texts(&self) -> Result<Vec<String>, String> {
        if self.length > ROW_BYTES || self.cells.len() > CELLS {
            return Err(too_long());
        }
        let text = |cell: &Vec<u8>| {
            let text = std::str::from_utf8(cell).map_err(|_| {
                "it is not UTF-8 (Windows-1252 or Latin-1, perhaps): save the file as UTF-8".to_owned()
            })?;
            // An export puts a mark before what a spreadsheet would take for a formula.
            Ok(unguarded(text).to_owned())
        };
        self.cells.iter().map(text).collect()
    }
}

/// Whether a cell holds a line end and a delimiter behind it, and is not JSON.
fn holds_rows(cell: &[u8], delimiter: u8) -> bool {
    let Some(end) = cell.iter().position(|&byte| byte == b'\n') else { return false };
    let is_json = matches!(cell.trim_ascii().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<serde_json::Value>(cell).is_ok();
    !is_json && cell.get(end..).unwrap_or_default().contains(&delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Dialect = Dialect { delimiter: b',', is_multiline: false };

    fn all(text: impl AsRef<[u8]>, dialect: Dialect) -> Result<Vec<(u64, Vec<String>)>, String> {
        let from = std::io::BufReader::with_capacity(7, std::io::Cursor::new(text.as_ref().to_vec()));
        let mut table = Table::new(from, dialect);
        let mut found = Vec::new();
        while let Some((line, cells)) = table.record().map_err(|fault| fault.to_string())? {
            found.push((line, cells.unwrap_or_else(|why| vec![why])));
        }
        Ok(found)
    }

    fn fault(text: &str) -> String {
        all(text, PLAIN).unwrap_err()
    }

    #[test]
    fn cells_are_read_by_the_rule() {
        let found = all("a,\"b \"\"c\"\"\",\r\n\r\n\n\"x\ny\",é,\"\"", PLAIN).unwrap();
        assert_eq!(found[0], (1, vec!["a".to_owned(), "b \"c\"".to_owned(), String::new()]));
        assert_eq!(found[1], (4, vec!["x\ny".to_owned(), "é".to_owned(), String::new()]));
        assert_eq!(found.len(), 2);
        assert_eq!(all("a,b\n", PLAIN).unwrap(), [(1, vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(all("", PLAIN).unwrap(), []);
        let semicolons = Dialect { delimiter: b';', ..PLAIN };
        assert_eq!(all("a;b,c", semicolons).unwrap(), [(1, vec!["a".to_owned(), "b,c".to_owned()])]);
    }

    #[test]
    fn a_quote_that_the_rule_does_not_allow_ends_the_file_with_its_line() {
        for (text, line, what) in [
            ("a,b\nx1,\"Bob,HASH1\nx2,\"Al,HASH2\n", 3, "which began in line 2"),
            ("a,b\nx,Bob \"the builder\"\n", 2, "inside a cell"),
            ("a,b\nx,\"Bob\" the builder\n", 2, "which began in line 2"),
            ("a,b\nx, \"Bob\"\n", 2, "inside a cell"),
            ("a,b\n1,\"x\n2,y\n3,z\n", 2, "is not closed"),
            ("a,b\r1,x\r2,y\r", 1, "without a line feed"),
            ("a,b\nx1,\"Bob,HASH1\nx2,Al\",HASH2\n", 2, "--multiline"),
            ("a,b\nx1,\"Bob\nx2,Al\n\"\n", 2, "--multiline"),
        ] {
            let why = fault(text);
            assert!(why.starts_with(&format!("line {line}: ")) && why.contains(what), "{text:?}: {why}");
        }
    }

    #[test]
    fn json_over_lines_is_no_row_and_other_text_is_asked_for() {
        let json = "a,b\nx,\"{\n \"\"c\"\": 1,\n \"\"d\"\": 2}\"\n";
        assert_eq!(all(json, PLAIN).unwrap().len(), 2);
        let prose = "a,b\nx,\"Dear all,\nI like cats, and dogs.\"\n";
        assert!(all(prose, PLAIN).is_err());
        assert_eq!(all(prose, Dialect { is_multiline: true, ..PLAIN }).unwrap().len(), 2);
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

        let found = all(super::super::super::rows::table_row(cells), PLAIN).unwrap();
        assert_eq!(found, [(1, cells.map(str::to_owned).to_vec())]);
    }

    #[test]
    fn a_record_of_any_length_is_skipped() {
        let wide = format!("a\n{}\nb\n", "x".repeat(ROW_BYTES + 1));
        assert_eq!(all(wide, PLAIN).unwrap()[1], (2, vec![too_long()]));
        let many = format!("a\n{}\nb\n", "x,".repeat(CELLS * 3));
        let found = all(many, PLAIN).unwrap();
        assert_eq!((&found[1].1, found[2].0), (&vec![too_long()], 3));
        let latin = all(b"a\n\xff\nb\n", PLAIN).unwrap();
        assert!(latin[1].1[0].contains("UTF-8"));
    }
}
