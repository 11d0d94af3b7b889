//! Commit subjects, which are checked like documents.

use std::path::Path;
use std::process::Command;

use super::{Finding, plain_words, prose};

/// The last commit before the rule.
const BASE: &str = "863e8914682d3aa850992cf5ba556f7a5dbc257a";

/// Checks every commit after [`BASE`]. A clone whose history does not reach back that far checks none.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    Ok(subjects(root, BASE)?.lines().flat_map(subject).collect())
}

/// `HASH TAB SUBJECT` per line, from `base` to HEAD; empty where git does not know `base`.
fn subjects(root: &Path, base: &str) -> Result<String, String> {
    let log = Command::new("git")
        .args(["log", "--format=%H%x09%s", &format!("{base}..HEAD")])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git: {error}"))?;
    let known = log.status.success();
    Ok(if known { String::from_utf8_lossy(&log.stdout).into_owned() } else { String::new() })
}

fn subject(line: &str) -> Vec<Finding> {
    let (hash, subject) = line.split_once('\t').unwrap_or((line, ""));
    let short: String = hash.chars().take(7).collect();
    plain_words::in_text(&format!("commit {short}"), &prose::without_code(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_plain_words() {
        let found = subject("0123456789abcdef\tThe journal tells whoever asks");
        let expected = ("commit 0123456", 1, "plain-words");
        let found: Vec<_> =
            found.iter().map(|finding| (finding.path.as_str(), finding.line, finding.check)).collect();
        assert_eq!(found, [expected]);
        assert_eq!(subject("0123456789abcdef\tThe journal tells `whoever` asks"), []);
        assert_eq!(subject("0123456789abcdef\t"), []);
    }

    #[test]
    fn subjects_since_an_unknown_commit_are_none() {
        assert_eq!(subjects(crate::root(), &"0".repeat(40)).unwrap(), "");
        assert_eq!(subjects(crate::root(), "HEAD").unwrap(), "");
    }
}
