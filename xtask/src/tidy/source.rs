//! One file of the tree; for Rust also its functions and its test lines.

use std::ops::RangeInclusive;
use std::path::Path;

use super::mask::Layers;

/// One text file of the tree.
#[derive(Debug)]
pub(super) struct Source {
    /// The path in the workspace.
    pub(super) path: String,
    /// The whole text.
    pub(super) text: String,
    /// The layers of a Rust text; empty for other files.
    pub(super) layers: Layers,
    /// The Rust functions with a body, in textual order.
    pub(super) functions: Vec<Function>,
    tests: Vec<RangeInclusive<usize>>,
}

/// One Rust function with a body.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    /// The unqualified name.
    pub(super) name: String,
    /// From the line of `fn` to the line of the closing brace, numbered from 1.
    pub(super) lines: RangeInclusive<usize>,
    /// Whether it has a test attribute; functions called by tests have none.
    pub(super) is_test: bool,
}

impl Source {
    /// Parses a file.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let layers = if has_extension(path, "rs") { Layers::of(text) } else { Layers::default() };
        let functions = functions(&layers.code);
        let tests = tests(&layers.code, &functions);
        Self { path: path.to_owned(), text: text.to_owned(), layers, functions, tests }
    }

    /// Whether its name ends in `.rs`.
    pub(super) fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// The lines of the text, numbered from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The lines of the code layer, numbered from 1.
    pub(super) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.layers.code.lines())
    }

    /// The number of `lines` that count as code, without blank lines and comments.
    pub(super) fn count(&self, lines: RangeInclusive<usize>) -> usize {
        self.layers.counted.range(lines).count()
    }

    /// Whether `line` is test code: by path, by module, or inside a test function.
    pub(super) fn is_test(&self, line: usize) -> bool {
        let by_path = self.path.split('/').any(|part| part == "tests" || part == "tests.rs");
        by_path || self.tests.iter().any(|lines| lines.contains(&line))
    }
}

/// Whether `path` has this extension.
pub(super) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|of_path| of_path == extension)
}

/// The occurrences of `word` in `line` as a whole word: the text before and after each.
pub(super) fn whole_words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = rest.strip_prefix(word)?;
        (!before.ends_with(is_word) && !after.starts_with(is_word)).then_some((before, after))
    })
}

fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().collect();
    let mut functions = Vec::new();
    for (before, after) in whole_words(code, "fn") {
        let name: String =
            after.trim_start().chars().take_while(|&char| char.is_alphanumeric() || char == '_').collect();
        let first = 1 + newlines(before);
        // Without a name it is the type of a function pointer, without a body a declaration in a trait.
        if let Some(body) = body(after).filter(|_| !name.is_empty()) {
            let is_test = has_test_attribute(&lines, first);
            functions.push(Function { name, lines: first..=first + newlines(body), is_test });
        }
    }
    functions
}

fn has_test_attribute(lines: &[&str], function: usize) -> bool {
    let above = lines.iter().take(function - 1).rev();
    let mut attributes =
        above.take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    attributes.any(|line| line.contains("test]") || line.contains("test("))
}

/// The text through the brace that closes the first block; `None` if a `;` ends the item before a block
/// opens.
fn body(code: &str) -> Option<&str> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, char) in code.char_indices() {
        match char {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces <= 0 {
                    return code.get(..=at);
                }
            }
            _ => {}
        }
    }
    None
}

fn tests(code: &str, functions: &[Function]) -> Vec<RangeInclusive<usize>> {
    let marked = functions.iter().filter(|function| function.is_test);
    let by_attribute = marked.map(|function| function.lines.clone());
    let modules = code.match_indices("#[cfg(test)]").filter_map(|(at, attribute)| {
        let (before, rest) = code.split_at(at);
        let first = 1 + newlines(before);
        Some(first..=first + newlines(body(rest.strip_prefix(attribute)?)?))
    });
    by_attribute.chain(modules).collect()
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = "\
fn one(a: [u8; 3], f: fn(u8) -> u8) {
    let s = \"}\";
}
trait T { fn declared(&self) -> [u8; 3]; fn given(&self) {} }
/// fn commented() {}
#[tokio::test(start_paused = true)]
// why
async fn a_test() {
    f();
}

#[cfg(test)]
mod tests {
    fn inside() {}
}
fn after() {}
";

    #[test]
    fn functions_have_their_line_ranges() {
        let source = Source::new("a.rs", FIXTURE);
        let found: Vec<_> = source.functions.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        let expected =
            [("one", 1..=3), ("given", 4..=4), ("a_test", 8..=10), ("inside", 14..=14), ("after", 16..=16)];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_an_attribute_marks_a_function_as_a_test() {
        let source = Source::new("tests/a.rs", FIXTURE);
        let tests = source.functions.iter().filter(|function| function.is_test);
        assert_eq!(tests.map(|function| function.name.as_str()).collect::<Vec<_>>(), ["a_test"]);
    }

    #[test]
    fn test_lines_are_found_by_attribute_module_and_path() {
        let source = Source::new("src/a.rs", FIXTURE);
        let lines: Vec<usize> = (1..=16).filter(|&line| source.is_test(line)).collect();
        assert_eq!(lines, [8, 9, 10, 12, 13, 14, 15]);
        assert!(Source::new("x/tests/a.rs", FIXTURE).is_test(1));
        assert!(Source::new("src/tests.rs", FIXTURE).is_test(1));
    }

    #[test]
    fn only_whole_words_are_found() {
        let found: Vec<_> = whole_words("fn x_fn fnx fn", "fn").collect();
        assert_eq!(found, [("", " x_fn fnx fn"), ("fn x_fn fnx ", "")]);
    }
}
