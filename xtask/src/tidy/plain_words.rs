//! Words that a sentence about a program does without: people who have no part in it, and pictures of a
//! building.

use super::source::{Function, Source};
use super::{Finding, prose};

const PEOPLE: [&str; 13] = [
    "whoever",
    "whomever",
    "somebody",
    "someone",
    "nobody",
    "anybody",
    "anyone",
    "everybody",
    "everyone",
    "he",
    "his",
    "him",
    "himself",
];
const PICTURES: [&str; 6] = ["cellar", "peephole", "engine room", "front gate", "front door", "back door"];
/// Beginnings of a test's name that leave open what acts.
const BEGINNINGS: [&str; 3] = ["who_", "whoever_", "whichever_"];
/// What may stand between the words of a picture that a line end divides.
const BETWEEN: [char; 6] = ['/', '!', '#', '-', '*', '\\'];

/// One word of a text.
struct Word {
    line: usize,
    /// In small letters.
    text: String,
    /// Whether it continues the sentence of the word before.
    continues: bool,
}

/// Checks the prose of a file and the names of its tests.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in prose::of(source) {
        findings.extend(in_text(&source.path, &text));
    }
    for function in source.functions.iter().filter(|function| function.is_test) {
        findings.extend(in_name(&source.path, function));
    }
    findings
}

/// Checks a text whose first line has the number 1.
pub(super) fn in_text(path: &str, text: &str) -> Vec<Finding> {
    let words = words(text);
    let at = |index: usize| {
        let rest = words.get(index..).unwrap_or_default();
        let line = rest.first().map_or(1, |word| word.line);
        refused().filter(|refused| begins(rest, refused)).map(move |refused| finding(path, line, refused))
    };
    (0..words.len()).flat_map(at).collect()
}

fn in_name(path: &str, function: &Function) -> Vec<Finding> {
    let line = *function.lines.start();
    if let Some(beginning) = BEGINNINGS.iter().find(|beginning| function.name.starts_with(**beginning)) {
        let advice = format!("`{beginning}…`: begin the test's name with the part of the program that acts");
        return vec![Finding::new(path, line, "plain-words", advice)];
    }
    let named = in_text(path, &function.name.replace('_', " ")).into_iter();
    named.map(|finding| Finding { line, ..finding }).collect()
}

fn refused() -> impl Iterator<Item = &'static str> {
    PEOPLE.into_iter().chain(PICTURES)
}

fn finding(path: &str, line: usize, refused: &str) -> Finding {
    let advice = if PICTURES.contains(&refused) {
        format!("`{refused}`: name the part of the program")
    } else {
        format!("`{refused}`: say the user, the client, the operator or they, or which part of the program")
    };
    Finding::new(path, line, "plain-words", advice)
}

/// Whether `words` begin with all words of `refused`, in one sentence.
fn begins(words: &[Word], refused: &str) -> bool {
    let mut words = words.iter();
    refused
        .split(' ')
        .enumerate()
        .all(|(at, part)| words.next().is_some_and(|word| word.text == part && (at == 0 || word.continues)))
}

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let (mut line, mut rest) = (1, text);
    while let Some(start) = rest.find(is_word) {
        let (gap, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|char| !is_word(char)).unwrap_or(from.len()));
        let breaks = gap.matches('\n').count();
        line += breaks;

        let divides = |char: char| !char.is_whitespace() && !BETWEEN.contains(&char);
        words.push(Word { line, text: word.to_lowercase(), continues: breaks < 2 && !gap.contains(divides) });
        rest = after;
    }
    words
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let findings = check(&Source::new(path, text));
        assert!(findings.iter().all(|finding| finding.check == "plain-words" && finding.path == path));
        findings.into_iter().map(|finding| finding.line).collect()
    }

    const NOTHING: [usize; 0] = [];

    #[test]
    fn each_word_is_refused_in_comments() {
        for word in refused() {
            assert_eq!(found("a.rs", &format!("\n/// For {word}.\nfn f() {{}}")), [2], "{word}");
            assert_eq!(found("a.sql", &format!("-- {}", word.to_uppercase())), [1], "{word}");
            assert_eq!(found("a.md", &format!("({word})")), [1], "{word}");
            assert_eq!(found("a.md", &format!("x{word} {word}x `{word}`")), NOTHING, "{word}");
        }
    }

    #[test]
    fn words_of_a_picture_are_neighbours() {
        assert_eq!(found("a.rs", "// the front\n// door"), [1]);
        assert_eq!(found("a.rs", "/* front\n * door */"), [1]);
        assert_eq!(found("a.md", "the back-door"), [1]);
        assert_eq!(found("a.md", "the front\n\ndoor"), NOTHING);
        assert_eq!(found("a.md", "the front, door; front of a door; front `a` door"), NOTHING);
        assert_eq!(found("a.rs", "// engine\nfn room() {}"), NOTHING);
    }

    #[test]
    fn every_finding_of_a_line_is_reported() {
        assert_eq!(found("a.md", "someone and him\nand him"), [1, 1, 2]);
    }

    #[test]
    fn strings_are_checked_where_they_are_shown() {
        let text = "const A: &str = \"for anyone\";";
        assert_eq!(found("crates/web/src/problem.rs", text), [1]);
        assert_eq!(found("crates/server/src/cli/mod.rs", text), [1]);
        assert_eq!(found("crates/auth/src/a.rs", text), NOTHING);
        assert_eq!(found("xtask/src/tidy/plain_words.rs", text), NOTHING);
    }

    #[test]
    fn names_of_tests_say_what_acts() {
        let named = |name: &str| found("a.rs", &format!("#[test]\nfn {name}() {{}}"));
        for beginning in BEGINNINGS {
            assert_eq!(named(&format!("{beginning}logs_in")), [2], "{beginning}");
        }
        assert_eq!(named("nothing_shows_him"), [2]);
        assert_eq!(named("through_the_front_door"), [2]);
        assert_eq!(named("the_server_shows_the_history_of_those_who_ask"), NOTHING);
        assert_eq!(found("a.rs", "fn whoever_calls() {}"), NOTHING);
    }
}
