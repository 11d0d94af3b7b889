//! Departures that are known. The list only shrinks.

use super::Finding;
use super::source::Source;

const LIST: &str = "xtask/tidy-exceptions.txt";
/// How many there are. Lower it with the list; to raise it is to be argued for in review.
const AT_MOST: usize = 0;

struct Exception<'a> {
    line: usize,
    check: &'a str,
    path: &'a str,
    reason: &'a str,
}

/// What is left of `findings`, and what is wrong with the list itself.
pub(super) fn apply(sources: &[Source], findings: Vec<Finding>) -> Vec<Finding> {
    let list = sources.iter().find(|source| source.path == LIST).map_or("", |source| source.text.as_str());
    apply_list(list, AT_MOST, findings)
}

fn apply_list(list: &str, at_most: usize, findings: Vec<Finding>) -> Vec<Finding> {
    let exceptions = parse(list);
    let covers = |exception: &Exception, finding: &Finding| {
        finding.check == exception.check && finding.path == exception.path
    };
    let mut left = Vec::new();
    for exception in &exceptions {
        let complain = |advice: String| Finding::new(LIST, exception.line, "exception", advice);
        if !findings.iter().any(|finding| covers(exception, finding)) {
            left.push(complain("no longer needed: remove the line".to_owned()));
        }
        if exception.reason.is_empty() {
            left.push(complain("say why: `CHECK PATH REASON`".to_owned()));
        }
    }
    if exceptions.len() != at_most {
        let advice = format!(
            "{} exceptions, and AT_MOST in xtask/src/tidy/exceptions.rs says {at_most}",
            exceptions.len()
        );
        left.push(Finding::new(LIST, 1, "exception", advice));
    }
    let uncovered = |finding: &Finding| !exceptions.iter().any(|exception| covers(exception, finding));
    left.extend(findings.into_iter().filter(uncovered));
    left
}

/// `CHECK PATH REASON` a line; `#` begins a comment.
fn parse(list: &str) -> Vec<Exception<'_>> {
    let lines = (1..).zip(list.lines()).filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    lines
        .map(|(line, text)| {
            let (check, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            let (path, reason) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            Exception { line, check, path, reason: reason.trim() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(list: &str, at_most: usize) -> Vec<(&'static str, usize)> {
        let findings = vec![Finding::new("a.rs", 7, "allow", ""), Finding::new("b.rs", 8, "allow", "")];
        let left = apply_list(list, at_most, findings);
        left.into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn an_exception_covers_its_check_in_its_file() {
        assert_eq!(left("# none\n\n", 0), [("allow", 7), ("allow", 8)]);
        assert_eq!(left("allow a.rs generated\n", 1), [("allow", 8)]);
    }

    #[test]
    fn the_list_only_shrinks() {
        let unneeded = "allow a.rs generated\nallow b.rs too\nleftover a.rs once\n";
        assert_eq!(left(unneeded, 3), [("exception", 3)]);
        assert_eq!(left("allow a.rs\n", 1), [("exception", 1), ("allow", 8)]);
        assert_eq!(left("allow a.rs x\nallow b.rs y\n", 1), [("exception", 1)]);
        assert_eq!(left("allow a.rs x\nallow b.rs y\n", 3), [("exception", 1)]);
    }
}
