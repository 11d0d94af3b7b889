//! What Rust files may look like.

use super::Finding;
use super::source::{Source, whole_words};

const MOST_LINES_OF_A_FILE: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 70;
const MOST_COLUMNS: usize = 120;
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "prelude", "helpers", "helper", "misc"];
const SLEEPS: [&str; 2] = ["sleep", "sleep_until"];
const PAUSES: [&str; 2] = ["start_paused = true", "time::pause()"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(file_length(source));
    findings.extend(module_name(source));
    findings.extend(functions(source));
    for (line, text) in source.lines() {
        let columns = text.chars().count();
        if columns > MOST_COLUMNS {
            let advice = format!("{columns} columns: break the line at {MOST_COLUMNS}");
            findings.push(Finding::new(&source.path, line, "line-length", advice));
        }
    }
    for (line, code) in source.code_lines() {
        findings.extend(attributes(source, line, code));
        findings.extend(leftover_macros(source, line, code));
        findings.extend(sleeps(source, line, code));
    }
    findings
}

fn file_length(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    let advice = format!("{lines} lines: split it by noun, at most {MOST_LINES_OF_A_FILE} each");
    (lines > MOST_LINES_OF_A_FILE).then(|| Finding::new(&source.path, lines, "file-length", advice))
}

fn module_name(source: &Source) -> Option<Finding> {
    let of_file = source.path.trim_end_matches(".rs").split('/');
    let empty = of_file.into_iter().find(|part| EMPTY_NAMES.contains(part))?;
    let advice = format!("`{empty}` says nothing: name the module after what it holds");
    Some(Finding::new(&source.path, 1, "module-name", advice))
}

fn functions(source: &Source) -> impl Iterator<Item = Finding> {
    source.functions.iter().filter_map(|function| {
        let lines = function.lines.clone().count();
        let advice = format!("`{}` has {lines} lines: at most {MOST_LINES_OF_A_FUNCTION}", function.name);
        let first = *function.lines.start();
        let too_long = lines > MOST_LINES_OF_A_FUNCTION;
        too_long.then(|| Finding::new(&source.path, first, "function-length", advice))
    })
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
    let advice = "a test that nobody runs rots: make it run, or remove it";
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

/// Tokio's sleep in paused time costs nothing and is exact; it is how such a test lets time pass.
fn sleeps(source: &Source, line: usize, code: &str) -> Option<Finding> {
    let virtual_time = PAUSES.iter().any(|pause| source.code.contains(pause));
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
    fn lengths_are_bounded() {
        assert_eq!(found("a.rs", &"\n".repeat(500)), []);
        assert_eq!(found("a.rs", &"\n".repeat(501)), [("file-length", 501)]);
        let function = |lines: usize| format!("\nfn f() {{{}}}\n", "\n".repeat(lines - 1));
        assert_eq!(found("a.rs", &function(70)), []);
        assert_eq!(found("a.rs", &function(71)), [("function-length", 2)]);
        assert_eq!(found("a.rs", &format!("// {}", "é".repeat(117))), []);
        assert_eq!(found("a.rs", &format!("// {}", "é".repeat(118))), [("line-length", 1)]);
    }

    #[test]
    fn modules_are_named_after_what_they_hold() {
        for path in
            ["src/utils.rs", "src/common/mod.rs", "tests/common/mod.rs", "src/prelude.rs", "src/helpers.rs"]
        {
            assert_eq!(found(path, ""), [("module-name", 1)], "{path}");
        }
        assert_eq!(found("src/misconduct.rs", ""), []);
    }

    #[test]
    fn an_exception_to_a_lint_is_an_expectation() {
        assert_eq!(found("a.rs", "#![allow(missing_docs)]"), [("allow", 1)]);
        assert_eq!(found("a.rs", "\n  #[cfg_attr(test, allow(x))]"), [("allow", 2)]);
        assert_eq!(found("a.rs", "#[expect(x, reason = \"allow(y)\")]\nfn f() { limit.allow(1); }"), []);
    }

    #[test]
    fn nothing_is_left_over() {
        assert_eq!(found("a.rs", "fn f() {\n    dbg!(1);\n}"), [("leftover", 2)]);
        assert_eq!(found("a.rs", "fn f() { todo!() }"), [("leftover", 1)]);
        assert_eq!(found("a.rs", "fn f() { unimplemented!() }"), [("leftover", 1)]);
        assert_eq!(found("a.rs", "// dbg!\nlet todo = a != b;"), []);
    }

    #[test]
    fn every_test_runs_and_none_sleeps() {
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
