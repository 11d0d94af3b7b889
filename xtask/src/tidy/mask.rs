//! Splits Rust text into code, comments and literals, line for line.

use std::collections::BTreeSet;

/// A Rust text in three layers of the same shape: text of other layers is replaced by spaces, so that lines
/// keep their numbers and columns.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Code alone.
    pub(super) code: String,
    /// Comments of every kind, with their marks.
    pub(super) comments: String,
    /// Strings and characters, with their quotes.
    pub(super) literals: String,
    /// The lines that count as code, numbered from 1: those with code, and all lines of a literal.
    pub(super) counted: BTreeSet<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Layer {
    Code,
    Comments,
    Literals,
}

impl Layers {
    /// Splits `text`.
    pub(super) fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut layers = Self::default();
        let mut rest = chars.as_slice();
        let (mut previous, mut line) = (' ', 1);

        while let Some(&first) = rest.first() {
            let hidden = if is_word(previous) { literal_inside_word(rest) } else { hidden(rest) };
            let (now, later) = rest.split_at(hidden.unwrap_or(1).clamp(1, rest.len()));
            let layer = match hidden {
                None => Layer::Code,
                Some(_) if first == '/' => Layer::Comments,
                Some(_) => Layer::Literals,
            };
            for &char in now {
                layers.push(layer, line, char);
                line += usize::from(char == '\n');
            }

            previous = if hidden.is_some() { ' ' } else { first };
            rest = later;
        }
        layers
    }

    fn push(&mut self, layer: Layer, line: usize, char: char) {
        let shown = |own: Layer| if char == '\n' || layer == own { char } else { ' ' };
        self.code.push(shown(Layer::Code));
        self.comments.push(shown(Layer::Comments));
        self.literals.push(shown(Layer::Literals));
        let counts = match layer {
            Layer::Code => !char.is_whitespace(),
            Layer::Comments => false,
            Layer::Literals => true,
        };
        if counts {
            self.counted.insert(line);
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The length of the comment or literal at the start of `rest`, if there is one.
fn hidden(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|char| matches!(char, 'b' | 'c' | 'r')).count();
    let hashes = rest.iter().skip(prefix).take_while(|&&char| char == '#').count();
    let opens = rest.get(prefix + hashes) == Some(&'"');
    if prefix > 0 && opens && rest.get(prefix - 1) == Some(&'r') {
        return Some(raw_string(rest, prefix + hashes + 1, hashes));
    }
    if prefix > 0 && hashes == 0 && opens {
        return Some(quoted(rest, prefix + 1, '"'));
    }
    literal_inside_word(rest)
}

/// The length of a literal or comment that may directly follow a letter.
fn literal_inside_word(rest: &[char]) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().take_while(|&&char| char != '\n').count()),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest, 1, '"')),
        ['\'', '\\', ..] => Some(quoted(rest, 1, '\'')),
        // Otherwise it is a lifetime.
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(after) = rest.get(at..).filter(|after| !after.is_empty()) {
        match after {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], start: usize, end: char) -> usize {
    let mut at = start;
    while let Some(&char) = rest.get(at) {
        at += if char == '\\' { 2 } else { 1 };
        if char == end {
            break;
        }
    }
    at.min(rest.len())
}

fn raw_string(rest: &[char], start: usize, hashes: usize) -> usize {
    let mut at = start;
    while let Some(&char) = rest.get(at) {
        at += 1;
        if char == '"' && rest.iter().skip(at).take(hashes).filter(|&&char| char == '#').count() == hashes {
            return at + hashes;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::Layers;

    #[test]
    fn comments_and_literals_are_masked_and_code_stays() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", b"z")"#, "f(      ,     )"),
            ("r#\"a\"b\"#;r\"\\\";x", "        ;    ;x"),
            (r"m('{', '\'', b'x', 'a)", "m(   ,     , b   , 'a)"),
            ("fn r#fn<'a>(s: &'a str) {}", "fn r#fn<'a>(s: &'a str) {}"),
            ("\"a\nb\" c", "  \n   c"),
            ("matches!(c, 'b' | 'c')", "matches!(c,     |    )"),
            ("\"never ends", "           "),
        ];
        for (text, expected) in cases {
            assert_eq!(Layers::of(text).code, expected, "{text}");
        }
    }

    #[test]
    fn comments_and_literals_have_separate_layers() {
        let cases = [
            ("a // b\n\"c // d\"", "  // b\n        ", "      \n\"c // d\""),
            ("/// a `\"` b\n//! c\n", "/// a `\"` b\n//! c\n", "           \n     \n"),
            ("/* a\n b */ r#\"c\"#", "/* a\n b */       ", "    \n      r#\"c\"#"),
            ("f('/', b\"//\")", "              ", "  '/'  b\"//\" "),
        ];
        for (text, comments, literals) in cases {
            let layers = Layers::of(text);
            assert_eq!(layers.comments, comments.get(..layers.comments.len()).unwrap_or(comments), "{text}");
            assert_eq!(layers.literals, literals, "{text}");
        }
    }

    #[test]
    fn lines_with_code_or_inside_a_literal_are_counted() {
        let text = "// comment\n\nlet s = \"one\n\n  // not a comment\n\";\n/* a\n\n b */\n} // end\n   \n";
        assert_eq!(Layers::of(text).counted.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6, 10]);
    }
}
