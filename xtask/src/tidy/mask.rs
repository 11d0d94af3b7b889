//! Rust without its comments and the contents of its literals, line for line.

/// The text with everything that is not code as spaces; lines keep their numbers and columns.
pub(super) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut rest = chars.as_slice();
    let mut previous = ' ';
    while let Some(&first) = rest.first() {
        let hidden = if is_word(previous) { literal_inside_word(rest) } else { hidden(rest) };
        let (now, later) = rest.split_at(hidden.unwrap_or(1).clamp(1, rest.len()));
        match hidden {
            None => masked.push(first),
            Some(_) => masked.extend(now.iter().map(|&char| if char == '\n' { '\n' } else { ' ' })),
        }
        previous = if hidden.is_some() { ' ' } else { first };
        rest = later;
    }
    masked
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The length of what is hidden at the start of `rest`, if anything is.
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

/// What may also follow a letter directly: a comment, a string, a character.
fn literal_inside_word(rest: &[char]) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().take_while(|&&char| char != '\n').count()),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest, 1, '"')),
        ['\'', '\\', ..] => Some(quoted(rest, 1, '\'')),
        // Else a lifetime.
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
    use super::mask;

    #[test]
    fn comments_and_literals_are_hidden_and_code_stays() {
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
            assert_eq!(mask(text), expected, "{text}");
        }
    }
}
