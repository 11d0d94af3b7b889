//! Maximum lengths of lines, functions and files. Blank lines and comments do not count, so they cost
//! nothing.

use super::Finding;
use super::source::{Function, Source};

const MOST_OF_A_FILE: usize = 500;
const MOST_OF_A_FUNCTION: usize = 70;
/// A handler parses a request, calls a rule, and writes the answer.
const MOST_OF_A_HANDLER: usize = 15;
/// Every function in this folder is a handler or as short as one.
const HANDLERS: &str = "crates/web/src/api/";
const MOST_COLUMNS: usize = 110;
/// A function with at least this many lines of code needs a blank line.
const PARAGRAPHS_FROM: usize = 25;

/// Checks one Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(file(source));
    for function in &source.functions {
        findings.extend(length(source, function));
        findings.extend(paragraphs(source, function));
    }
    findings.extend(columns(source));
    findings
}

fn file(source: &Source) -> Option<Finding> {
    let lines = source.layers.counted.len();
    let advice = format!("{lines} lines of code: split it by noun, at most {MOST_OF_A_FILE} each");
    (lines > MOST_OF_A_FILE).then(|| Finding::new(&source.path, 1, "file-length", advice))
}

fn length(source: &Source, function: &Function) -> Option<Finding> {
    let first = *function.lines.start();
    let is_handler = source.path.starts_with(HANDLERS) && !source.is_test(first);
    let most = if is_handler { MOST_OF_A_HANDLER } else { MOST_OF_A_FUNCTION };
    let lines = source.count(function.lines.clone());

    let name = &function.name;
    let advice = if is_handler {
        format!("`{name}` has {lines} lines of code: at most {most} in {HANDLERS}; move the rule to `auth`")
    } else {
        format!("`{name}` has {lines} lines of code: at most {most}")
    };
    (lines > most).then(|| Finding::new(&source.path, first, "function-length", advice))
}

fn paragraphs(source: &Source, function: &Function) -> Option<Finding> {
    let lines = source.count(function.lines.clone());
    let is_blank = |(line, text): (usize, &str)| {
        function.lines.contains(&line) && text.trim().is_empty() && !source.layers.counted.contains(&line)
    };
    let is_block = lines >= PARAGRAPHS_FROM && !source.lines().any(is_blank);
    let advice = format!(
        "`{}` has {lines} lines of code and no blank line: make paragraphs of its steps",
        function.name
    );
    is_block.then(|| Finding::new(&source.path, *function.lines.start(), "paragraph", advice))
}

fn columns(source: &Source) -> impl Iterator<Item = Finding> {
    source.lines().filter_map(|(line, text)| {
        let columns = text.chars().count();
        let advice = format!("{columns} columns: break the line at {MOST_COLUMNS}");
        (columns > MOST_COLUMNS).then(|| Finding::new(&source.path, line, "line-length", advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = "crates/web/src/api/a.rs";

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&Source::new(path, text)).into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    /// A function with `lines` lines of code, in two paragraphs.
    fn function(lines: usize) -> String {
        format!("fn f() {{\n\n{}}}\n", "    f();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_has_a_maximum_of_code_lines() {
        assert_eq!(found("a.rs", &"use a;\n".repeat(500)), []);
        assert_eq!(found("a.rs", &"use a;\n".repeat(501)), [("file-length", 1)]);
        assert_eq!(found("a.rs", &"use a;\n// why\n\n/* or\nhow */\n".repeat(500)), []);
        assert_eq!(found("a.rs", &format!("const A: &str = \"\n{}\";", "// text\n\n".repeat(300))).len(), 1);
    }

    #[test]
    fn a_function_has_a_maximum_of_code_lines() {
        assert_eq!(found("a.rs", &function(70)), []);
        assert_eq!(found("a.rs", &format!("\n{}", function(71))), [("function-length", 2)]);
        assert_eq!(found("a.rs", &function(70).replace("();", "(); // why\n\n// how")), []);
    }

    #[test]
    fn a_handler_has_a_lower_maximum() {
        assert_eq!(found(HANDLER, &function(15)), []);
        assert_eq!(found(HANDLER, &function(16)), [("function-length", 1)]);
        assert_eq!(found(HANDLER, &format!("#[test]\n{}", function(16))), []);
        assert_eq!(found("crates/web/src/gate/a.rs", &function(16)), []);
    }

    #[test]
    fn a_long_function_has_paragraphs() {
        let block = |lines: usize| function(lines).replace("{\n\n", "{\n");
        assert_eq!(found("a.rs", &block(24)), []);
        assert_eq!(found("a.rs", &function(25)), []);
        assert_eq!(found("a.rs", &block(25)), [("paragraph", 1)]);
        assert_eq!(found("a.rs", &format!("#[test]\n{}", block(25))), [("paragraph", 2)]);
        assert_eq!(found("a.rs", &format!("{}\n", block(25)).replace("{\n", "{\n// step\n")).len(), 1);
        assert_eq!(found("a.rs", &block(25).replacen("f();", "f(\"\n\n\");", 1)), [("paragraph", 1)]);
    }

    #[test]
    fn a_line_has_a_maximum_of_columns() {
        assert_eq!(found("a.rs", &format!("// {}", "é".repeat(107))), []);
        assert_eq!(found("a.rs", &format!("// {}", "é".repeat(108))), [("line-length", 1)]);
    }
}
