//! Attributes, macros and calls that Rust code must not contain.

use super::Finding;
use super::source::{Source, whole_words};

const SLEEPS: [&str; 2] = ["sleep", "sleep_until"];
const PAUSES: [&str; 2] = ["start_paused = true", "time::pause()"];

/// Checks the code line by line.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in source.code_lines() {
        findings.extend(attributes(source, line, code));
        findings.extend(leftover_macros(source, line, code));
        findings.extend(sleeps(source, line, code));
    }
    findings
}

fn attributes(source: &Source, line: usize, code: &str) -> Option<Finding> {
    let attribute = code.trim_start();
    if !attribute.starts_with("#[") && !attribute.starts_with("#![") {
        return None;
    }
    if whole_words(attribute, "allow").any(|(_, after)| after.starts_with('(')) {
        let advice = "write `#[expect(…, reason = \"…\")]`, which complains once it is no longer needed";
        return Some(Finding::new(&source.path, line, "allow", advice));
    }
    let ignored = whole_words(attribute, "ignore").any(|(before, _)| before.ends_with("#["));
    let advice = "a test that does not run rots: make it run, or remove it";
    ignored.then(|| Finding::new(&source.path, line, "ignored-test", advice))
}

fn leftover_macros(source: &Source, line: usize, code: &str) -> Option<Finding> {
    let left = ["dbg", "todo", "unimplemented"]
        .into_iter()
        .find(|name| whole_words(code, name).any(|(_, after)| after.starts_with('!')))?;
    let advice =
        format!("`{left}!` is for the time of writing: finish it, or open an issue and leave it out");
    Some(Finding::new(&source.path, line, "leftover", advice))
}

/// Tokio's sleep in paused time takes no time and is exact; tests use it to advance the clock.
fn sleeps(source: &Source, line: usize, code: &str) -> Option<Finding> {
    let virtual_time = PAUSES.iter().any(|pause| source.layers.code.contains(pause));
    let sleeps = SLEEPS.into_iter().flat_map(|name| whole_words(code, name));
    let real = sleeps
        .filter(|(before, after)| after.starts_with('(') && (!virtual_time || before.ends_with("thread::")))
        .count();
    let advice =
        "wait for what the test needs (a message, a line, a row), or start with `start_paused = true`";
    (real > 0 && source.is_test(line)).then(|| Finding::new(&source.path, line, "sleeping-test", advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&Source::new(path, text)).into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn allow_attributes_are_reported() {
        assert_eq!(found("a.rs", "#![allow(missing_docs)]"), [("allow", 1)]);
        assert_eq!(found("a.rs", "\n  #[cfg_attr(test, allow(x))]"), [("allow", 2)]);
        assert_eq!(found("a.rs", "#[expect(x, reason = \"allow(y)\")]\nfn f() { limit.allow(1); }"), []);
    }

    #[test]
    fn leftover_macros_are_reported() {
        assert_eq!(found("a.rs", "fn f() {\n    dbg!(1);\n}"), [("leftover", 2)]);
        assert_eq!(found("a.rs", "fn f() { todo!() }"), [("leftover", 1)]);
        assert_eq!(found("a.rs", "fn f() { unimplemented!() }"), [("leftover", 1)]);
        assert_eq!(found("a.rs", "// dbg!\nlet todo = a != b;"), []);
    }

    #[test]
    fn ignored_and_sleeping_tests_are_reported() {
        assert_eq!(found("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"), [("ignored-test", 2)]);
        let sleeping = "#[tokio::test]\nasync fn f() {\n    sleep(LONG).await;\n}";
        assert_eq!(found("a.rs", sleeping), [("sleeping-test", 3)]);
        assert_eq!(found("x/tests/a.rs", "fn f() { std::thread::sleep(LONG) }"), [("sleeping-test", 1)]);
        let paused = sleeping.replace("test]", "test(start_paused = true)]");
        assert_eq!(found("a.rs", &paused), []);
        let real = paused.replace("sleep", "thread::sleep");
        assert_eq!(found("a.rs", &real), [("sleeping-test", 3)]);
        assert_eq!(found("a.rs", "fn retry() { sleep(LONG) }"), []);
        assert_eq!(found("x/tests/a.rs", "fn f() { run(\"sleep(1)\"); asleep() }"), []);
    }
}
