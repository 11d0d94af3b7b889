//! Extracts the text of a file that is read as sentences: comments, documents, and output of the program.

use super::source::{Source, has_extension};

/// Folders of Rust files whose strings are shown to the user, the client or the operator: help, problems,
/// OpenAPI.
const SHOWN: [&str; 3] = ["crates/server/src/cli/", "crates/server/src/config/", "crates/web/src/"];
/// Replaces omitted text, so that the words around it do not become neighbours.
const LEFT_OUT: &str = "`";

/// The prose of `source`; each part has the line numbers of the whole file.
///
/// URLs, mail addresses and code in backticks are omitted.
pub(super) fn of(source: &Source) -> Vec<String> {
    let texts = if is_document(&source.path) {
        vec![source.text.clone()]
    } else if source.is_rust() {
        let shown = SHOWN.iter().any(|folder| source.path.starts_with(folder));
        let literals = shown.then(|| source.layers.literals.clone());
        [source.layers.comments.clone()].into_iter().chain(literals).collect()
    } else if let Some(mark) = comment_mark(source) {
        vec![comments(&source.text, mark)]
    } else {
        Vec::new()
    };
    texts.iter().map(|text| without_code(text)).collect()
}

/// Whether the whole file is text.
fn is_document(path: &str) -> bool {
    let is_license = path.starts_with("LICENSE");
    let is_shown = has_extension(path, "json") && path.starts_with("docs/");
    (has_extension(path, "md") && !is_license) || is_shown || path.starts_with("docs/generated/")
}

/// The comment mark of a file other than Rust.
fn comment_mark(source: &Source) -> Option<&'static str> {
    let has = |extension: &str| has_extension(&source.path, extension);
    if has("sql") {
        return Some("--");
    }
    let is_script = has("sh") || source.text.starts_with("#!");
    (is_script || has("toml") || has("yml") || has("yaml")).then_some("#")
}

/// The comments, line for line.
fn comments(text: &str, mark: &str) -> String {
    text.lines().flat_map(|line| [comment(line, mark).unwrap_or_default(), "\n"]).collect()
}

/// The comment at the end of `line`, from the first mark outside quotes. A `#` inside a word is not a mark.
fn comment<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let (mut quote, mut previous) = (None, ' ');
    for (at, char) in line.char_indices() {
        let rest = line.get(at..)?;
        match quote {
            Some(open) if open == char => quote = None,
            None if rest.starts_with(mark) && (mark != "#" || previous.is_whitespace()) => return Some(rest),
            // After a letter it is an apostrophe.
            None if matches!(char, '\'' | '"') && !previous.is_alphanumeric() => quote = Some(char),
            Some(_) | None => {}
        }
        previous = char;
    }
    None
}

/// Replaces code in backticks on one line, and addresses, by a mark.
pub(super) fn without_code(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for line in text.lines() {
        let parts: Vec<&str> = line.split('`').collect();
        for (at, part) in parts.iter().enumerate() {
            let is_code = at % 2 == 1 && at + 1 < parts.len();
            if is_code {
                prose.push_str(LEFT_OUT);
            } else {
                push_without_addresses(&mut prose, part);
            }
        }
        prose.push('\n');
    }
    prose
}

/// Omits URLs and mail addresses. Escaped line ends and tabs become spaces, because their letter would join a
/// word.
fn push_without_addresses(prose: &mut String, part: &str) {
    let part = part.replace("\\n", " ").replace("\\t", " ");
    for word in part.split_inclusive(char::is_whitespace) {
        let is_address = word.contains("://") || word.contains('@');
        prose.push_str(if is_address { LEFT_OUT } else { word });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prose as trimmed lines without empty ones.
    fn prose(path: &str, text: &str) -> Vec<String> {
        let parts = of(&Source::new(path, text));
        let lines = parts.iter().flat_map(|part| part.lines());
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn comments_and_shown_strings_of_rust_are_prose() {
        let text = "//! a\n/// b\nfn f() {} // c\n/* d\ne */\nlet g = \"h\\ni\";\n";
        assert_eq!(prose("crates/auth/src/a.rs", text), ["//! a", "/// b", "// c", "/* d", "e */"]);
        for folder in SHOWN {
            let shown = prose(&format!("{folder}a.rs"), text);
            assert_eq!(shown.last().map(String::as_str), Some("\"h i\""), "{folder}");
        }
    }

    #[test]
    fn comments_of_other_files_are_prose() {
        assert_eq!(prose("a.sql", "SELECT '--a' -- b\n--c"), ["-- b", "--c"]);
        assert_eq!(prose("a.toml", "a = \"it's # b\" # c\n#d\ne#f"), ["# c", "#d"]);
        assert_eq!(prose("a.yml", "a: don't # b\nc: 'd # e'"), ["# b"]);
        assert_eq!(prose("test", "#!/bin/sh\necho $# # a"), ["#!/bin/sh", "# a"]);
        assert_eq!(prose("a.sh", "# a"), ["# a"]);
        assert_eq!(prose("a.css", "/* a */"), [""; 0]);
        assert_eq!(prose("Cargo.lock", "# a"), [""; 0]);
    }

    #[test]
    fn documents_are_prose() {
        for path in ["CHANGELOG.md", "docs/a.md", "docs/generated/a.toml", "docs/a/b.json"] {
            assert_eq!(prose(path, "a = b\nc"), ["a = b", "c"], "{path}");
        }
        for path in ["LICENSE-MIT", "LICENSE.md", "testkit/data/a.json"] {
            assert_eq!(prose(path, "a"), [""; 0], "{path}");
        }
    }

    #[test]
    fn code_and_addresses_are_omitted() {
        assert_eq!(prose("a.md", "a `b` c `d` e"), ["a ` c ` e"]);
        assert_eq!(prose("a.md", "a `b\nc"), ["a b", "c"]);
        assert_eq!(prose("a.md", "at https://a.example/b or a@b.example now"), ["at `or `now"]);
    }
}
