//! The threat model: its entries name existing tests, and ids that the tree cites are entries.

use std::collections::HashSet;

use super::documents::{named_in, tests};
use super::source::{Function, Source};
use super::{Finding, prose};

const PAGE: &str = "docs/security/threat-model.md";
const CHECK: &str = "threat-model";
/// What stands before the names of an entry's tests.
const MARK: &str = "Tests:";
/// The letters of ids: of entries, and of kinds that the page may get.
const LETTERS: &str = "afnpbochw";
/// Beginning of the names of tests that run one at a time.
const FAULT: &str = "fault_";

/// One entry: a heading `### A-15: …` and what follows it.
struct Entry<'a> {
    line: usize,
    id: &'a str,
    tests: Vec<&'a str>,
}

/// Checks the page, and the ids in the names of functions and in the prose of every other file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(page) = sources.iter().find(|source| source.path == PAGE) else {
        return vec![Finding::new(PAGE, 1, CHECK, "write the page: each entry with its id and its tests")];
    };
    let entries = entries(&page.text);
    let tests: HashSet<&str> = sources.iter().flat_map(tests).collect();
    let ids: HashSet<&str> = entries.iter().map(|entry| entry.id).collect();

    let mut findings: Vec<Finding> = entries.iter().flat_map(|entry| of_entry(entry, &tests)).collect();
    findings.extend(repeated(&entries));
    for source in sources {
        findings.extend(source.functions.iter().filter_map(|function| in_name(source, function)));
        findings.extend(in_prose(source, &ids));
    }
    findings
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut named = false;
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(heading) = text.strip_prefix("### ") {
            let id = heading.split_once(':').map_or(heading, |(id, _)| id);
            entries.push(Entry { line, id, tests: Vec::new() });
        }
        named = text.starts_with(MARK) || (named && !text.is_empty() && !text.starts_with('#'));
        if let Some(entry) = entries.last_mut().filter(|_| named) {
            entry.tests.extend(named_in(text));
        }
    }
    entries
}

fn of_entry(entry: &Entry<'_>, tests: &HashSet<&str>) -> Vec<Finding> {
    let finding = |advice: String| Finding::new(PAGE, entry.line, CHECK, advice);
    let missing = entry.tests.iter().filter(|name| !tests.contains(*name));
    let mut findings: Vec<Finding> =
        missing.map(|name| finding(format!("`{name}` is not a test in the tree"))).collect();

    if entry.tests.is_empty() {
        findings.push(finding(format!("name the tests that keep it after `{MARK}`, or remove the entry")));
    }
    if !is_id(entry.id) {
        findings.push(finding(format!("`{}`: begin the heading with an id such as A-15 and `:`", entry.id)));
    }
    findings
}

fn repeated<'a>(entries: &'a [Entry<'_>]) -> impl Iterator<Item = Finding> + 'a {
    let mut seen = HashSet::new();
    let again = entries.iter().filter(move |entry| !seen.insert(entry.id));
    again.map(|entry| Finding::new(PAGE, entry.line, CHECK, format!("{} stands twice", entry.id)))
}

/// A function whose name begins with an id, as `a_15_…` and `fault_f15_…` do.
fn in_name(source: &Source, function: &Function) -> Option<Finding> {
    let line = *function.lines.start();
    let name = function.name.as_str();
    let rest = name.strip_prefix(FAULT).unwrap_or(name);
    let (first, more) = rest.split_once('_')?;
    let spaced = is_letter(first) && is_number(more.split('_').next().unwrap_or_default());
    let joined =
        rest != name && first.get(1..).is_some_and(is_number) && first.get(..1).is_some_and(is_letter);
    if !source.is_test(line) || !(spaced || joined) {
        return None;
    }
    let advice =
        format!("`{name}`: leave the id out and name the test in {PAGE}; write other numbers as words");
    Some(Finding::new(&source.path, line, CHECK, advice))
}

/// Ids in sentences that are not entries.
fn in_prose(source: &Source, ids: &HashSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in prose::of(source) {
        for (line, text) in (1..).zip(text.lines()) {
            let words = text.split(|char: char| !char.is_alphanumeric() && char != '-');
            for word in words.filter(|word| is_id(word) && !ids.contains(word)) {
                let advice = format!("{word} is not an entry of {PAGE}: add it, or say it in words");
                findings.push(Finding::new(&source.path, line, CHECK, advice));
            }
        }
    }
    findings
}

/// Whether `text` is a capital letter of [`LETTERS`], a hyphen and two digits.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(letter, number)| {
        letter.chars().all(|char| char.is_ascii_uppercase())
            && is_letter(&letter.to_lowercase())
            && is_number(number)
    })
}

fn is_letter(text: &str) -> bool {
    text.chars().count() == 1 && LETTERS.contains(text)
}

fn is_number(text: &str) -> bool {
    text.len() == 2 && text.chars().all(|char| char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [(&str, usize); 0] = [];

    /// The findings in a tree with this page and this Rust file.
    fn found(page: &str, code: &str) -> Vec<(&'static str, usize)> {
        let sources = [Source::new(PAGE, page), Source::new("crates/a/src/a.rs", code)];
        let place = |finding: Finding| (if finding.path == PAGE { "page" } else { "code" }, finding.line);
        check(&sources).into_iter().map(place).collect()
    }

    const ENTRY: &str =
        "# Page\n\n### A-15: A token is used twice\nIt is theft.\n\nTests: `kept`,\n`also_kept`.\n";
    const TESTS: &str = "#[test]\nfn kept() {}\n#[test]\nfn also_kept() {}\n";

    #[test]
    fn an_entry_names_tests_that_exist() {
        assert_eq!(found(ENTRY, TESTS), NOTHING);
        assert_eq!(found(ENTRY, "#[test]\nfn kept() {}\nfn also_kept() {}\n"), [("page", 3)]);
        assert_eq!(found("### A-15: no tests, but `kept`\n\n## Next\n`kept`\n", TESTS), [("page", 1)]);
        assert_eq!(found("### Theft\nTests: `kept`\n", TESTS), [("page", 1)]);
        assert_eq!(found(&ENTRY.repeat(2), TESTS), [("page", 10)]);
        assert_eq!(check(&[]).len(), 1);
    }

    #[test]
    fn a_cited_id_is_an_entry() {
        let cited = |comment: &str| found(ENTRY, &format!("{TESTS}// {comment}\n"));
        assert_eq!(cited("A-15: used twice"), NOTHING);
        assert_eq!(cited("(A-16, A-15)"), [("code", 5)]);
        assert_eq!(cited("UTF-16, P-256, X-15, a-15, A-1, A-15b, RFC-12"), NOTHING);
        assert_eq!(found(ENTRY, &format!("{TESTS}const A: &str = \"A-16\";\n")), NOTHING);
    }

    #[test]
    fn the_name_of_a_test_has_no_id() {
        let named = |name: &str| found(ENTRY, &format!("{TESTS}#[test]\nfn {name}() {{}}\n"));
        for name in ["a_15_used_twice", "n_02_length", "fault_f03_a_hang", "fault_f_03_a_hang"] {
            assert_eq!(named(name), [("code", 6)], "{name}");
        }
        for name in ["used_a_15_times", "x_15_is", "a_1_byte", "h2_works", "f15_is_a_key", "fault_full_disk"]
        {
            assert_eq!(named(name), NOTHING, "{name}");
        }
        assert_eq!(found(ENTRY, &format!("{TESTS}fn a_15_helper() {{}}\n")), NOTHING);
    }
}
