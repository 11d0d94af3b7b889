//! Words that no tracked file may contain: open tasks, and paths of one machine.

use super::Finding;
use super::source::{Source, whole_words};

/// Assembled here, so that this file passes its own check.
const PROMISES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const HOMES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
/// Extensions of hand-written files. Generated and third-party files may contain any word.
const WRITTEN: [&str; 9] = ["rs", "toml", "md", "sh", "sql", "yml", "yaml", "py", "service"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    source
        .lines()
        .flat_map(|(line, text)| promise(source, line, text).into_iter().chain(home(source, line, text)))
        .collect()
}

fn promise(source: &Source, line: usize, text: &str) -> Option<Finding> {
    if !is_written(&source.path) {
        return None;
    }
    let word = PROMISES.into_iter().find(|word| whole_words(text, word).next().is_some())?;
    let advice = format!("`{word}`: do it now, or open an issue and say here what holds today");
    Some(Finding::new(&source.path, line, "leftover", advice))
}

fn home(source: &Source, line: usize, text: &str) -> Option<Finding> {
    // After one of these characters it is the middle of a longer path.
    let is_inside = |char: char| char.is_alphanumeric() || "_-.*/})$".contains(char);
    let absolute = |home: &&str| {
        text.match_indices(*home).any(|(at, _)| !text.get(..at).unwrap_or_default().ends_with(is_inside))
    };
    let home = HOMES.into_iter().find(|home| absolute(home))?;
    let advice = format!("`{home}…` exists on one machine: use a relative path, or the temporary folder");
    Some(Finding::new(&source.path, line, "machine-path", advice))
}

fn is_written(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').is_none_or(|(_, extension)| WRITTEN.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&Source::new(path, text)).into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn open_tasks_in_hand_written_files_are_reported() {
        for word in PROMISES {
            assert_eq!(found("a/b.rs", &format!("\n// {word}: later")), [("leftover", 2)]);
            assert_eq!(found("test", &format!("# {word}")), [("leftover", 1)]);
            assert_eq!(found("a.min.js", &format!("// {word}")), []);
            assert_eq!(found("a.sh", &format!("mktemp a.{word}{word}")), []);
        }
    }

    #[test]
    fn paths_of_one_machine_are_reported() {
        for home in HOMES {
            assert_eq!(found("a.json", &format!("\n\n\"{home}x\"")), [("machine-path", 3)]);
            assert_eq!(found("a.md", &format!("cd {home}x")), [("machine-path", 1)]);
            assert_eq!(
                found("a.md", &format!("see crates{home}src, $TMP{home}, ..{home}, https:/{home}")),
                []
            );
        }
    }
}
