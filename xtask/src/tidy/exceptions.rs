//! Known violations that predate a rule. Their number only falls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Finding;
use super::source::Source;

/// The path of the list in the workspace.
pub(super) const LIST: &str = "xtask/tidy-exceptions.txt";
/// The sum of all counts. Lower it together with the list; raising it needs an argument in review.
const AT_MOST: usize = 0;
/// The checks that may have exceptions; every other check holds everywhere.
const CHECKS: [&str; 5] = ["file-length", "function-length", "line-length", "paragraph", "plain-words"];
const HEADER: &str = "\
# Known departures from the house style, one a line: CHECK PATH COUNT REASON
# A file has COUNT findings of that check, not more and not fewer; the sum of all is AT_MOST in
# xtask/src/tidy/exceptions.rs. `cargo xtask tidy --write-exceptions` lowers both after a repair.
";
const FIRST_REASON: &str = "from before the rule";

/// One line of the list.
struct Exception<'a> {
    line: usize,
    check: &'a str,
    path: &'a str,
    /// `None` where it is not a number.
    count: Option<usize>,
    reason: &'a str,
}

/// Whether a rewritten list may allow more than the previous one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// A file with more findings than before is an error.
    Refused,
    /// The counts become those of the findings.
    Allowed,
}

/// A list that covers every finding that may have an exception.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// The whole text of the list.
    pub(super) text: String,
    /// The required value of `AT_MOST`.
    pub(super) at_most: usize,
    /// The number of findings of each check.
    pub(super) of_checks: BTreeMap<&'static str, usize>,
}

/// Returns the uncovered `findings` and the errors of the list itself.
pub(super) fn apply(sources: &[Source], findings: &[Finding]) -> Vec<Finding> {
    apply_list(list(sources), AT_MOST, findings)
}

/// Rewrites the list for `findings` and keeps its reasons; the error says why it would grow.
pub(super) fn rewrite(sources: &[Source], findings: &[Finding], growth: Growth) -> Result<Rewritten, String> {
    rewrite_list(list(sources), findings, growth)
}

fn list(sources: &[Source]) -> &str {
    sources.iter().find(|source| source.path == LIST).map_or("", |source| source.text.as_str())
}

fn apply_list(list: &str, at_most: usize, findings: &[Finding]) -> Vec<Finding> {
    let exceptions = parse(list);
    let mut left: Vec<Finding> =
        exceptions.iter().filter_map(|exception| complaint(exception, &exceptions, findings)).collect();

    let sum: usize = exceptions.iter().filter_map(|exception| exception.count).sum();
    if sum != at_most {
        let advice =
            format!("the counts add up to {sum}, and AT_MOST in xtask/src/tidy/exceptions.rs says {at_most}");
        left.push(Finding::new(LIST, 1, "exception", advice));
    }

    let covered = |finding: &Finding| {
        exceptions.iter().any(|exception| {
            exception.covers(finding)
                && exception.count.is_some_and(|count| exception.found(findings) <= count)
        })
    };
    left.extend(findings.iter().filter(|finding| !covered(finding)).cloned());
    left
}

/// The error of one line of the list.
fn complaint(exception: &Exception<'_>, all: &[Exception<'_>], findings: &[Finding]) -> Option<Finding> {
    let Exception { line, check, path, count, reason } = *exception;
    let found = exception.found(findings);
    let twice = |other: &Exception<'_>| (other.check, other.path) == (check, path) && other.line < line;

    let advice = match count {
        _ if !CHECKS.contains(&check) => format!("`{check}` has no exceptions: only {}", CHECKS.join(", ")),
        None => "say how many, and why: `CHECK PATH COUNT REASON`".to_owned(),
        Some(_) if reason.is_empty() => "say why: `CHECK PATH COUNT REASON`".to_owned(),
        Some(_) if all.iter().any(twice) => "stands twice: leave one line".to_owned(),
        Some(_) if found == 0 => "no longer needed: remove the line".to_owned(),
        Some(count) if found < count => format!("{found} are left of {count}: lower it to {found}"),
        Some(count) if found > count => format!("{found} in {path}, and {count} are allowed: repair one"),
        Some(_) => return None,
    };
    Some(Finding::new(LIST, line, "exception", advice))
}

fn rewrite_list(list: &str, findings: &[Finding], growth: Growth) -> Result<Rewritten, String> {
    let exceptions = parse(list);
    let mut counts = BTreeMap::<(&'static str, &str), usize>::new();
    // A commit's path contains a space and is no file: its subject must be rewritten instead.
    let coverable =
        findings.iter().filter(|finding| CHECKS.contains(&finding.check) && !finding.path.contains(' '));
    for finding in coverable {
        *counts.entry((finding.check, finding.path.as_str())).or_default() += 1;
    }

    let mut rewritten = Rewritten { text: HEADER.to_owned(), at_most: 0, of_checks: BTreeMap::new() };
    let mut grown = String::new();
    for ((check, path), count) in counts {
        let before = exceptions.iter().find(|exception| (exception.check, exception.path) == (check, path));
        let allowed = before.and_then(|exception| exception.count).unwrap_or_default();
        if count > allowed {
            let _ = write!(grown, "\n  {check} {path}: {count}, and the list allows {allowed}");
        }
        let reason = before.map_or("", |exception| exception.reason);
        let reason = if reason.is_empty() { FIRST_REASON } else { reason };
        let _ = writeln!(rewritten.text, "{check} {path} {count} {reason}");
        rewritten.at_most += count;
        *rewritten.of_checks.entry(check).or_default() += count;
    }

    if grown.is_empty() || growth == Growth::Allowed {
        return Ok(rewritten);
    }
    Err(format!("the list only shrinks; repair these, or argue in review for `--raise`:{grown}"))
}

impl Exception<'_> {
    fn covers(&self, finding: &Finding) -> bool {
        CHECKS.contains(&self.check) && finding.check == self.check && finding.path == self.path
    }

    fn found(&self, findings: &[Finding]) -> usize {
        findings.iter().filter(|finding| self.covers(finding)).count()
    }
}

/// Parses `CHECK PATH COUNT REASON` per line; `#` begins a comment.
fn parse(list: &str) -> Vec<Exception<'_>> {
    let lines = (1..).zip(list.lines()).filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    lines
        .map(|(line, text)| {
            let (check, rest) = word(text);
            let (path, rest) = word(rest);
            let (count, reason) = word(rest);
            Exception { line, check, path, count: count.parse().ok(), reason }
        })
        .collect()
}

/// The first word, and the trimmed rest.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    (word, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::new("a.rs", 7, "paragraph", ""),
            Finding::new("a.rs", 8, "paragraph", ""),
            Finding::new("b.rs", 9, "paragraph", ""),
        ]
    }

    fn left(list: &str, at_most: usize) -> Vec<(&'static str, usize)> {
        let left = apply_list(list, at_most, &findings());
        left.into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn an_exception_covers_its_count_of_one_check_in_one_file() {
        let all = [("paragraph", 7), ("paragraph", 8), ("paragraph", 9)];
        assert_eq!(left("# none\n\n", 0), all);
        assert_eq!(left("paragraph a.rs 2 generated\n", 2), [("paragraph", 9)]);
        assert_eq!(left("paragraph a.rs 2 one step\nparagraph b.rs 1 a table\n", 3), []);
    }

    #[test]
    fn a_file_above_its_count_is_reported_whole() {
        let found = [("exception", 1), ("paragraph", 7), ("paragraph", 8), ("paragraph", 9)];
        assert_eq!(left("paragraph a.rs 1 one step\n", 1), found);
    }

    #[test]
    fn the_list_only_shrinks() {
        assert_eq!(left("paragraph a.rs 3 x\nparagraph b.rs 1 x\n", 4), [("exception", 1)]);
        let unneeded = "paragraph a.rs 2 x\nparagraph b.rs 1 x\nline-length a.rs 1 x\n";
        assert_eq!(left(unneeded, 4), [("exception", 3)]);
        let list = "paragraph a.rs 2 x\nparagraph b.rs 1 y\n";
        for at_most in [2, 4] {
            assert_eq!(left(list, at_most), [("exception", 1)], "{at_most}");
        }
    }

    #[test]
    fn an_incomplete_or_repeated_line_of_the_list_is_reported() {
        let others = "paragraph a.rs 2 x\nparagraph b.rs";
        for rest in ["", " x", " 1"] {
            let found = left(&format!("{others}{rest}\n"), 2 + usize::from(rest == " 1"));
            assert_eq!(found.first(), Some(&("exception", 2)), "{rest}");
        }
        assert_eq!(left(&format!("{others} 1 x\nparagraph b.rs 1 y\n"), 4), [("exception", 3)]);
    }

    #[test]
    fn a_check_without_exceptions_refuses_them() {
        let findings = [Finding::new("a.rs", 7, "allow", "")];
        let left = apply_list("allow a.rs 1 x\n", 1, &findings);
        assert_eq!(left.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["exception", "allow"]);
        assert_eq!(rewrite_list("", &findings, Growth::Allowed).unwrap().at_most, 0);
    }

    #[test]
    fn a_rewritten_list_covers_the_findings_and_keeps_its_reasons() {
        let list = "paragraph a.rs 5 one step\nline-length gone.rs 1 x\nparagraph b.rs 1\n";
        let rewritten = rewrite_list(list, &findings(), Growth::Refused).unwrap();
        let lines = "paragraph a.rs 2 one step\nparagraph b.rs 1 from before the rule\n";
        assert_eq!(rewritten.text, format!("{HEADER}{lines}"));
        assert_eq!((rewritten.at_most, rewritten.of_checks.get("paragraph")), (3, Some(&3)));
        assert_eq!(apply_list(&rewritten.text, 3, &findings()), []);
    }

    #[test]
    fn a_rewritten_list_grows_only_when_told() {
        let list = "paragraph a.rs 2 one step\n";
        let refused = rewrite_list(list, &findings(), Growth::Refused).unwrap_err();
        assert!(refused.ends_with("paragraph b.rs: 1, and the list allows 0"), "{refused}");
        assert_eq!(rewrite_list(list, &findings(), Growth::Allowed).unwrap().at_most, 3);
    }

    #[test]
    fn a_commit_is_not_covered() {
        let findings = [Finding::new("commit 0123456", 1, "plain-words", "")];
        assert_eq!(rewrite_list("", &findings, Growth::Refused).unwrap().text, HEADER);
    }
}
