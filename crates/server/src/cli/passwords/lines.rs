//! The lines of a list, as hashes.

use std::cell::Cell;
use std::io::{self, BufRead, Read as _};
use std::path::PathBuf;

use auth::password::breach_hash;
use hashing::normalise;
use model::bounds::PASSWORD_CHARS;
use model::hex;

use super::super::Failure;
use super::super::progress::Progress;

/// Longest line that is considered, in bytes: no password is longer.
const LONGEST: usize = PASSWORD_CHARS * 4;
/// Lines between two updates of the progress.
const STRIDE: u64 = 1 << 20;

/// Counts lines and bytes, and shows them.
pub(super) struct Meter {
    lines: Cell<u64>,
    bytes: Cell<u64>,
    progress: Progress,
}

impl Meter {
    /// A meter for these inputs.
    pub(super) fn of(inputs: &[PathBuf]) -> Self {
        let size = |input: &PathBuf| Some(input.metadata().ok()?.len()).filter(|size| *size > 0);
        // Without the size of one input, the size of all is unknown.
        let whole = inputs.iter().map(size).sum::<Option<u64>>();
        Self { lines: Cell::new(0), bytes: Cell::new(0), progress: Progress::begin(whole) }
    }

    /// Number of lines read so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines.get()
    }

    fn count(&self, bytes: usize) {
        self.lines.update(|lines| lines + 1);
        self.bytes.update(|all| all + bytes as u64);
        if self.lines.get().is_multiple_of(STRIDE) {
            self.progress.show(self.bytes.get(), format!("{} Mi lines", self.lines.get() / STRIDE));
        }
    }
}

/// The hashes of one list.
pub(super) struct Lines<'a> {
    name: String,
    from: Box<dyn BufRead>,
    words: bool,
    number: u64,
    line: Vec<u8>,
    meter: &'a Meter,
}

impl<'a> Lines<'a> {
    /// Reads lines of `from`: passwords if `words`, else hashes.
    pub(super) fn new(name: String, from: Box<dyn BufRead>, words: bool, meter: &'a Meter) -> Self {
        Self { name, from, words, number: 0, line: Vec::new(), meter }
    }

    /// Reads a line; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        let most = LONGEST as u64 + 2;
        let mut bytes = self.from.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        if bytes == 0 {
            return Ok(false);
        }
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
        } else if bytes as u64 == most {
            bytes += self.from.skip_until(b'\n')?;
        }
        self.number += 1;
        self.meter.count(bytes);
        Ok(true)
    }

    /// The hash of the line; None where the line cannot be a password.
    fn hash(&self) -> Result<Option<u64>, Failure> {
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.words {
            let word = std::str::from_utf8(&self.line).ok().filter(|word| word.len() <= LONGEST);
            return Ok(word.map(|word| breach_hash(normalise(word).expose())));
        }
        // The message never repeats the line, which may be a password.
        let sentence = || {
            let (name, number) = (&self.name, self.number);
            Failure::failed(format!(
                "{name}: line {number} is not a SHA-1 hash in 40 hexadecimal digits; for passwords give \
                 --words"
            ))
        };
        parse(&self.line).map(Some).ok_or_else(sentence)
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<u64, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(why) => {
                    return Some(Err(Failure::failed(format!("{} cannot be read: {why}", self.name))));
                }
            }
            if let Some(hash) = self.hash().transpose() {
                return Some(hash);
            }
        }
    }
}

/// The beginning of `HEX40` or `HEX40:COUNT`.
fn parse(line: &[u8]) -> Option<u64> {
    let (digits, rest) = line.split_at_checked(40)?;
    let counted =
        rest.strip_prefix(b":").is_some_and(|count| count.trim_ascii().iter().all(u8::is_ascii_digit));
    if !(rest.trim_ascii().is_empty() || counted) {
        return None;
    }
    let whole: [u8; 20] = hex::decode_array(digits)?;
    whole.first_chunk().map(|first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, words: bool) -> Vec<Result<u64, String>> {
        let meter = Meter::of(&[]);
        let from = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        let lines = Lines::new("list".to_owned(), from, words, &meter);
        lines.map(|hash| hash.map_err(|why| why.to_string())).collect()
    }

    const PASSWORD: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

    #[test]
    fn hashes_are_read_with_a_count_or_without_and_in_any_case() {
        let text = format!("{PASSWORD}:9545824\r\n\n{}\n{PASSWORD}: 12 \n", PASSWORD.to_lowercase());
        assert_eq!(all(&text, false), vec![Ok(0x5BAA_61E4_C9B9_3F3F); 3]);
    }

    #[test]
    fn a_line_that_is_not_a_hash_is_named_by_number_and_not_shown() {
        let long = "x".repeat(3 * LONGEST);
        for bad in ["hunter2", &PASSWORD[1..], &format!("{PASSWORD}0"), &format!("{PASSWORD}:x"), &long] {
            let last = all(&format!("{PASSWORD}\n{bad}\n{PASSWORD}"), false).remove(1).unwrap_err();
            assert!(last.starts_with("list: line 2 is not") && !last.contains("hunter2"), "{last}");
        }
        assert!(parse(format!("{}g", &PASSWORD[1..]).as_bytes()).is_none());
    }

    #[test]
    fn words_are_hashed_as_new_passwords_are_and_the_rest_is_left_out() {
        let long = "x".repeat(3 * LONGEST);
        let text = format!("password\r\ncafe\u{301}\n{long}\n pass word \n{PASSWORD}");
        let expected = ["password", "caf\u{e9}", " pass word ", PASSWORD];
        let expected: Vec<_> = expected.iter().map(|word| Ok(breach_hash(word.as_bytes()))).collect();
        assert_eq!(all(&text, true), expected);
    }
}
