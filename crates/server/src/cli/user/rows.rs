//! The formats of exports.

use std::borrow::Cow;
use std::path::Path;

use clap::ValueEnum;

/// Format of a file that is written.
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
pub(super) fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

/// One row of a table; cells are quoted where necessary, and none is a formula.
///
/// Spaces at the ends of a cell are quoted, because some readers remove them.
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
    use super::*;

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
