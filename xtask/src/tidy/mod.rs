//! The house style as a test. Each check says where, and what to do instead.

mod documents;
mod exceptions;
mod imports;
mod mask;
mod source;
mod style;
mod words;

use std::path::Path;
use std::process::{Command, ExitCode};

use source::Source;

/// One departure from the house style.
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

/// Checks every file that is tracked, or would be by `git add`; 1 where something is to be done, 2 where the check
/// itself failed.
pub(crate) fn run(root: &Path) -> ExitCode {
    let sources = match read(root) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::from(2);
        }
    };
    let findings = exceptions::apply(&sources, check(&sources));
    for Finding { path, line, check, advice } in &findings {
        println!("{path}:{line}: [{check}] {advice}");
    }
    if findings.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("tidy: {} to put right", findings.len());
    ExitCode::FAILURE
}

fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(words::check(source));
        findings.extend(imports::check(source));
        if source.is_rust() {
            findings.extend(style::check(source));
        }
    }
    findings.extend(documents::decisions(sources));
    findings.extend(documents::invariants(sources));
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
    // A file that is not text, or that is tracked and removed, has no style.
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
    fn findings_of_all_checks_come_in_the_order_of_the_files() {
        let sources = [
            Source::new("crates/web/src/utils.rs", "#[allow(dead_code)]\nfn f() {}\n"),
            Source::new("crates/model/Cargo.toml", "[dependencies]\naxum = \"1\"\n"),
            Source::new("docs/adr/0001-x.md", ""),
        ];
        let checks: Vec<_> = check(&sources).into_iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["invariant", "import", "allow", "module-name", "adr"]);
    }
}
