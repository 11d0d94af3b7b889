//! Documents that name files and tests of the tree.

use std::collections::HashSet;

use super::Finding;
use super::source::{Source, has_extension};

const DECISIONS: &str = "docs/adr/";
const INDEX: &str = "docs/adr/README.md";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const MARK: &str = "Invariant:";

/// Checks that every decision is in the index.
pub(super) fn decisions(sources: &[Source]) -> Vec<Finding> {
    let index = sources.iter().find(|source| source.path == INDEX).map_or("", |source| source.text.as_str());
    let missing = sources.iter().filter(|source| {
        let name = source.path.strip_prefix(DECISIONS).filter(|_| source.path != INDEX);
        name.is_some_and(|name| has_extension(name, "md") && !index.contains(name))
    });
    missing.map(|source| Finding::new(&source.path, 1, "adr", format!("list it in {INDEX}"))).collect()
}

/// Checks that every invariant names an existing test.
pub(super) fn invariants(sources: &[Source]) -> Vec<Finding> {
    let Some(architecture) = sources.iter().find(|source| source.path == ARCHITECTURE) else {
        return vec![Finding::new(
            ARCHITECTURE,
            1,
            "invariant",
            "write the page: one page, each invariant with its test",
        )];
    };

    let tests: HashSet<&str> = sources.iter().flat_map(tests).collect();
    let unkept = paragraphs(&architecture.text).into_iter().filter_map(|(line, paragraph)| {
        let named: Vec<&str> = named_in(&paragraph).collect();
        let is_test = |name: &&str| tests.contains(name.rsplit("::").next().unwrap_or(name));
        if named.iter().any(is_test) {
            return None;
        }
        let advice = if named.is_empty() {
            "name in backticks the test that keeps it".to_owned()
        } else {
            format!("none of `{}` is a test in the tree: name the one that keeps it", named.join("`, `"))
        };
        Some(Finding::new(ARCHITECTURE, line, "invariant", advice))
    });
    unkept.collect()
}

/// The words in backticks.
pub(super) fn named_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests of a file: functions with a test attribute, and those that `on_both!` runs on both engines.
pub(super) fn tests(source: &Source) -> impl Iterator<Item = &str> {
    let on_both = on_both(&source.layers.code);
    let functions = source.functions.iter();
    let tests =
        functions.filter(move |function| function.is_test || on_both.contains(function.name.as_str()));
    tests.map(|function| function.name.as_str())
}

/// The names in the lists of the macro `on_both!`.
fn on_both(code: &str) -> HashSet<&str> {
    let lists = code.split("on_both!").skip(1).filter_map(|rest| rest.split([')', '}']).next());
    lists.flat_map(|list| list.split(|char: char| !char.is_alphanumeric() && char != '_')).collect()
}

/// Each invariant with its first line and its text, up to the next item, heading or empty line.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (line, text) in (1..).zip(text.lines()) {
        let begins = text.contains(MARK);
        let ends = text.trim().is_empty() || text.trim_start().starts_with(['-', '*', '#', '|']);
        open = begins || (open && !ends);
        match found.last_mut() {
            Some((_, paragraph)) if open && !begins => paragraph.extend([" ", text]),
            _ if begins => found.push((line, text.to_owned())),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [usize; 0] = [];

    #[test]
    fn a_decision_is_in_the_index() {
        let index = Source::new(INDEX, "- [One](0001-one.md)");
        let (one, two) = (Source::new("docs/adr/0001-one.md", ""), Source::new("docs/adr/0002-two.md", ""));
        assert_eq!(decisions(&[index, one]), []);
        assert_eq!(decisions(&[two]).len(), 1);
    }

    fn lines(architecture: &str) -> Vec<usize> {
        let sources = [
            Source::new(ARCHITECTURE, architecture),
            Source::new("crates/a/src/a.rs", "fn product() {}\n#[test]\nfn kept() {}\n"),
            Source::new("tests/a.rs", "on_both! {\n    listed,\n}\nasync fn listed() {}\nfn helper() {}\n"),
        ];
        invariants(&sources).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_invariant_names_a_test_that_exists() {
        assert_eq!(lines("**Invariant:** so it is. `a::kept`"), NOTHING);
        assert_eq!(lines("**Invariant:** on the next\nline `Type` and `kept`"), NOTHING);
        assert_eq!(lines("# A\n- Invariant: `gone`\n- Invariant: nothing named\n\n`kept`"), [2, 3]);
        assert_eq!(lines("Invariant: on both engines `listed`"), NOTHING);
        assert_eq!(lines("Invariant: only `product`"), [1]);
        assert_eq!(lines("Invariant: only `helper`"), [1]);
        assert_eq!(lines("Nothing promised."), NOTHING);
        assert_eq!(invariants(&[]).len(), 1);
    }
}
