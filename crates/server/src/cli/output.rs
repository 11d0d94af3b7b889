//! Output of commands: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::Table;
use serde_json::Value;

use crate::app::logging::escape;

/// Where output goes, and in which form.
pub(super) struct Output {
    to: Box<dyn Write>,
    json: bool,
    colour: bool,
}

impl Output {
    /// To standard output.
    pub(super) fn standard(json: bool) -> Self {
        let plain =
            crate::config::environment().iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        Self { to: Box::new(io::stdout()), json, colour: io::stdout().is_terminal() && !plain }
    }

    /// Whether the output is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text, for people only.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        if !self.json {
            writeln!(self.to, "{}", printable(text))?;
        }
        Ok(())
    }

    /// Text as it is, in both forms.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }

    /// One value, for programs only.
    pub(super) fn value(&mut self, value: &Value) -> io::Result<()> {
        if self.json {
            writeln!(self.to, "{value:#}")?;
        }
        Ok(())
    }

    /// One result: a line of text for people, its value for programs.
    pub(super) fn tell(&mut self, text: &str, value: &Value) -> io::Result<()> {
        self.line(text)?;
        self.value(value)
    }

    /// One object: a line for each of `names` for people, the object for programs.
    pub(super) fn fields(&mut self, names: &[&str], object: &Value) -> io::Result<()> {
        if self.json {
            return self.value(object);
        }
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for name in names {
            let (bold, plain) = self.bold();
            let value = object.get(*name).map_or_else(String::new, cell);
            writeln!(self.to, "{bold}{name:<width$}{plain}  {value}")?;
        }
        Ok(())
    }

    /// A list of objects that have the members `columns`: a table, or an array.
    pub(super) fn table(&mut self, columns: &[&str], rows: &[Value]) -> io::Result<()> {
        if self.json {
            return self.value(&Value::Array(rows.to_vec()));
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(columns.iter().map(|name| name.to_uppercase().replace('_', " ")));
        table.add_rows(
            rows.iter().map(|row| columns.iter().map(|name| row.get(*name).map_or_else(none, cell))),
        );
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }

        for (at, line) in table.lines().enumerate() {
            let (bold, plain) = if at == 0 { self.bold() } else { ("", "") };
            writeln!(self.to, "{bold}{}{plain}", line.trim_end())?;
        }
        Ok(())
    }

    fn bold(&self) -> (&'static str, &'static str) {
        if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") }
    }
}

fn none() -> String {
    "-".to_owned()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => none(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => printable(&other.to_string()),
    }
}

/// Text that cannot move a terminal's cursor or forge a line.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(json: bool, write: impl FnOnce(&mut Output) -> io::Result<()>) -> String {
        let memory = Memory::default();
        let mut output = Output { to: Box::new(memory.clone()), json, colour: false };
        write(&mut output).unwrap();
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_cannot_be_forged() {
        let rows = [json!({"id": 1, "name": "a\x1b[2Jb"}), json!({"id": 22, "name": null})];
        let text = written(false, |output| output.table(&["id", "name"], &rows));
        assert_eq!(text, "ID  NAME\n1   a\\u{1b}[2Jb\n22  -\n");
    }

    #[test]
    fn columns_after_wide_characters_are_aligned() {
        let rows = [json!({"name": "山田 太郎", "id": 1}), json!({"name": "Zoe\u{308}", "id": 2})];
        let text = written(false, |output| output.table(&["name", "id"], &rows));
        assert_eq!(text, "NAME       ID\n山田 太郎  1\nZoe\u{308}        2\n");
    }

    #[test]
    fn programs_get_json_and_nothing_else() {
        let rows = [json!({"id": 1})];
        let text = written(true, |output| {
            output.line("for people")?;
            output.table(&["id"], &rows)
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([{"id": 1}]));
    }
}
