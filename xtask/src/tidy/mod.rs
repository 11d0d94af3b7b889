//! Checks the project's style. Each finding says where, and what to do instead.

mod commits;
mod data_page;
mod documents;
mod exceptions;
mod imports;
mod keepers;
mod lengths;
mod mask;
mod modules;
mod plain_words;
mod prose;
mod source;
mod style;
mod threat_model;
mod words;

use std::path::Path;
use std::process::{Command, ExitCode};

use exceptions::Growth;
use source::Source;

const USAGE: &str = "usage: cargo xtask tidy [--write-exceptions [--raise]]

  --write-exceptions   rewrite the list of exceptions for the current findings, unless it grows
  --raise              allow it to grow";

/// One violation of the style.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    check: &'static str,
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, check: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, check, advice: advice.into() }
    }
}

/// Checks every tracked file, every file that `git add` would add, and the commits since the rules. Exits
/// with 1 on findings and with 2 when the check itself fails.
pub(crate) fn run(root: &Path, options: &[&str]) -> ExitCode {
    let done = match options {
        [] => report(root),
        ["--write-exceptions"] => write_exceptions(root, Growth::Refused),
        ["--write-exceptions", "--raise"] => write_exceptions(root, Growth::Allowed),
        _ => Err(USAGE.to_owned()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("tidy: {error}");
        ExitCode::from(2)
    })
}

fn report(root: &Path) -> Result<ExitCode, String> {
    let sources = read(root)?;
    let mut findings = check(&sources);
    findings.extend(commits::check(root)?);

    let findings = exceptions::apply(&sources, &findings);
    for Finding { path, line, check, advice } in &findings {
        println!("{path}:{line}: [{check}] {advice}");
    }
    if findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} to put right", findings.len());
    Ok(ExitCode::FAILURE)
}

/// Replaces the list of exceptions by one that covers the current findings.
fn write_exceptions(root: &Path, growth: Growth) -> Result<ExitCode, String> {
    let sources = read(root)?;
    let list = exceptions::rewrite(&sources, &check(&sources), growth)?;
    std::fs::write(root.join(exceptions::LIST), &list.text)
        .map_err(|error| format!("{}: {error}", exceptions::LIST))?;

    for (check, count) in &list.of_checks {
        println!("{count:6} {check}");
    }
    println!("AT_MOST in xtask/src/tidy/exceptions.rs must be {}", list.at_most);
    Ok(ExitCode::SUCCESS)
}

fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(words::check(source));
        findings.extend(plain_words::check(source));
        findings.extend(imports::check(source));
        findings.extend(keepers::check(source));
        if source.is_rust() {
            findings.extend(lengths::check(source));
            findings.extend(style::check(source));
        }
    }
    findings.extend(imports::unused(sources));
    findings.extend(modules::check(sources));
    findings.extend(documents::decisions(sources));
    findings.extend(documents::invariants(sources));
    findings.extend(threat_model::check(sources));
    findings.extend(data_page::check(sources));
    findings.sort();
    findings
}

fn read(root: &Path) -> Result<Vec<Source>, String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if !listed.status.success() {
        return Err(String::from_utf8_lossy(&listed.stderr).into_owned());
    }
    let paths = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut paths: Vec<&str> = paths.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // Files that are not text, and deleted tracked files, are skipped.
    let text = |path: &&str| Some(Source::new(path, &std::fs::read_to_string(root.join(path)).ok()?));
    let sources: Vec<Source> = paths.iter().filter_map(text).collect();
    if sources.is_empty() {
        return Err(format!("no files in {}", root.display()));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_read() {
        let sources = read(crate::root()).unwrap();
        assert!(sources.iter().any(|source| source.path == "xtask/src/tidy/mod.rs"));
        assert!(read(Path::new("/proc")).is_err());
    }

    #[test]
    fn findings_are_sorted_by_file() {
        let sources = [
            Source::new("crates/web/src/utils.rs", "#[allow(dead_code)]\nfn f() {}\n"),
            Source::new("crates/model/Cargo.toml", "[dependencies]\naxum = \"1\"\n"),
            Source::new("crates/web/src/utils/a.rs", "// for him\n"),
            Source::new("docs/adr/0001-x.md", ""),
        ];
        let checks: Vec<_> = check(&sources).into_iter().map(|finding| finding.check).collect();

        assert_eq!(
            checks,
            [
                "invariant",
                "import",
                "unused-dependency",
                "allow",
                "module-file",
                "module-name",
                "module-name",
                "plain-words",
                "adr",
                "data-page",
                "threat-model"
            ]
        );
    }

    #[test]
    fn unknown_options_check_nothing() {
        for options in [&["--raise"][..], &["--write"], &["--write-exceptions", "--all"]] {
            assert_eq!(run(Path::new("/proc"), options), ExitCode::from(2), "{options:?}");
        }
    }
}
