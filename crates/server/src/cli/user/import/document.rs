//! JSON that is not one object a line: an array, objects one after another, or one object that holds the
//! rows in a member. Values are read one at a time, so that a file may be larger than the memory.

use std::io::BufRead;

use super::records::Fault;

/// Longest value that is read whole, in bytes.
const VALUE_BYTES: usize = 256 * 1024 * 1024;

/// Reads JSON values from a file.
pub(super) struct Document<R> {
    from: R,
    /// The line of the next byte.
    pub(super) line: u64,
    /// Bytes read so far.
    pub(super) bytes: u64,
    place: Place,
    /// The members that hold rows, if the file is one object.
    wrappers: Option<Vec<String>>,
}

/// What is read next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A value of the file itself.
    Top,
    /// An element of the array that is the file.
    Array,
    /// A member of the object that is the file.
    Object,
    /// An element of the array in this member.
    Member(String),
    /// Nothing.
    End,
}

/// One value with its line, and the member that holds it.
pub(super) struct Item {
    pub(super) line: u64,
    pub(super) member: Option<String>,
    pub(super) text: Vec<u8>,
}

/// What a file of JSON holds at its top.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Top {
    /// One value, which spans lines or is alone.
    One {
        /// Whether it is an array.
        is_array: bool,
        /// Its members that are arrays of objects.
        arrays: Vec<String>,
    },
    /// Values that follow each other; whether each line is one.
    Many {
        /// Whether the first one ends in the line in which it begins.
        is_lines: bool,
    },
    /// Nothing that begins like JSON and ends.
    Unclear,
}

impl<R: BufRead> Document<R> {
    pub(super) fn new(from: R, wrappers: Option<Vec<String>>) -> Self {
        let place = if wrappers.is_some() { Place::Object } else { Place::Top };
        Self { from, line: 1, bytes: 0, place, wrappers }
    }

    /// Looks at the first value, and whether another one follows.
    pub(super) fn look(mut self) -> Result<Top, Fault> {
        let Some(first) = self.skip_space()? else { return Ok(Top::Unclear) };
        if first == b'[' {
            return Ok(Top::One { is_array: true, arrays: Vec::new() });
        }
        let begun = self.line;
        let mut arrays = Vec::new();
        if first != b'{' || self.members(&mut arrays).is_err() {
            return Ok(Top::Unclear);
        }
        let is_lines = self.line == begun;
        match self.skip_space()? {
            Some(_) => Ok(Top::Many { is_lines }),
            None => Ok(Top::One { is_array: false, arrays }),
        }
    }

    /// Skips an object; notes its members that are arrays of objects.
    fn members(&mut self, arrays: &mut Vec<String>) -> Result<(), Fault> {
        self.expect(b'{')?;
        if self.skip_space()? == Some(b'}') {
            return self.expect(b'}');
        }
        loop {
            let name = self.name()?;
            if self.skip_space()? == Some(b'[') {
                self.expect(b'[')?;
                let is_rows = self.skip_space()? == Some(b'{');
                if is_rows {
                    arrays.push(name);
                }
                self.close(b']', None)?;
            } else {
                self.value(None)?;
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read any further, or is not JSON.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            match self.place.clone() {
                Place::End => return Ok(None),
                Place::Top => match self.skip_space()? {
                    None => self.place = Place::End,
                    Some(b'[') => self.enter_array(Place::Array)?,
                    Some(_) => return self.item(None).map(Some),
                },
                Place::Array => {
                    let item = self.item(None)?;
                    if !self.more(b']')? {
                        self.place = Place::Top;
                    }

                    return Ok(Some(item));
                }
                Place::Object => self.next_member()?,
                Place::Member(name) => {
                    let item = self.item(Some(name))?;
                    if !self.more(b']')? {
                        self.end_member()?;
                    }
                    return Ok(Some(item));
                }
            }
        }
    }

    /// Goes into an array, or over it if it is empty.
    fn enter_array(&mut self, inside: Place) -> Result<(), Fault> {
        self.expect(b'[')?;
        if self.skip_space()? != Some(b']') {
            self.place = inside;
            return Ok(());
        }
        self.expect(b']')?;
        if inside == Place::Array {
            self.place = Place::Top;
            return Ok(());
        }
        self.end_member()
    }

    /// Goes to the rows of the next member that holds any.
    fn next_member(&mut self) -> Result<(), Fault> {
        if self.skip_space()? == Some(b'{') {
            self.expect(b'{')?;
        }
        if self.skip_space()? == Some(b'}') {
            self.expect(b'}')?;
            self.place = Place::End;
            return Ok(());
        }
        let name = self.name()?;
        let is_wanted = self.wrappers.as_ref().is_some_and(|wrappers| wrappers.contains(&name));
        if is_wanted && self.skip_space()? == Some(b'[') {
            return self.enter_array(Place::Member(name));
        }
        self.value(None)?;
        self.end_member()
    }

    fn end_member(&mut self) -> Result<(), Fault> {
        self.place = if self.more(b'}')? { Place::Object } else { Place::End };
        Ok(())
    }

    fn item(&mut self, member: Option<String>) -> Result<Item, Fault> {
        self.skip_space()?;
        let line = self.line;
        let mut text = Vec::new();
        self.value(Some(&mut text))?;
        Ok(Item { line, member, text })
    }

    /// Reads the name of a member and the colon behind it.
    fn name(&mut self) -> Result<String, Fault> {
        let mut text = Vec::new();
        if self.skip_space()? != Some(b'"') {
            return Err(self.wrong("the name of a member is missing"));
        }
        self.value(Some(&mut text))?;
        self.skip_space()?;
        self.expect(b':')?;
        serde_json::from_slice(&text).map_err(|_| self.wrong("the name of a member is not a string"))
    }

    /// Whether a comma follows, and not the closing bracket.
    fn more(&mut self, close: u8) -> Result<bool, Fault> {
        match self.skip_space()? {
            Some(b',') => {
                self.expect(b',')?;
                self.skip_space()?;
                Ok(true)
            }
            Some(byte) if byte == close => self.expect(close).map(|()| false),
            Some(_) => Err(self.wrong("a comma is missing between two values")),
            None => Err(self.wrong("the file ends in the middle of a value")),
        }
    }

    /// Reads one value to its end; its grammar is checked by what parses the text.
    fn value(&mut self, mut text: Option<&mut Vec<u8>>) -> Result<(), Fault> {
        match self.skip_space()? {
            Some(b'"') => self.string(text.as_deref_mut()),
            Some(open @ (b'{' | b'[')) => {
                self.push(open, text.as_deref_mut())?;
                self.close(if open == b'{' { b'}' } else { b']' }, text)
            }
            Some(_) => loop {
                match self.peek()? {
                    Some(byte) if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) => {
                        self.push(byte, text.as_deref_mut())?;
                    }
                    Some(byte) if byte.is_ascii_whitespace() || b",]}".contains(&byte) => return Ok(()),
                    None => return Ok(()),
                    Some(_) => return Err(self.wrong("this is not JSON")),
                }
            },
            None => Err(self.wrong("the file ends in the middle of a value")),
        }
    }

    /// Reads to the bracket that closes.
    fn close(&mut self, close: u8, mut text: Option<&mut Vec<u8>>) -> Result<(), Fault> {
        let mut open = vec![close];
        while let Some(wanted) = open.last().copied() {
            match self.peek()? {
                None => return Err(self.wrong("the file ends in the middle of a value")),
                Some(b'"') => self.string(text.as_deref_mut())?,
                Some(byte) => {
                    match byte {
                        b'{' => open.push(b'}'),
                        b'[' => open.push(b']'),
                        b'}' | b']' if byte == wanted => {
                            open.pop();
                        }
                        b'}' | b']' => return Err(self.wrong("a bracket closes what another one opened")),
                        _ => {}
                    }
                    self.push(byte, text.as_deref_mut())?;
                }
            }
        }
        Ok(())
    }

    fn string(&mut self, mut text: Option<&mut Vec<u8>>) -> Result<(), Fault> {
        let mut is_escaped = true;
        loop {
            let Some(byte) = self.peek()? else {
                return Err(self.wrong("the file ends in the middle of a string"));
            };
            self.push(byte, text.as_deref_mut())?;
            match byte {
                b'"' if !is_escaped => return Ok(()),
                b'\\' if !is_escaped => is_escaped = true,
                _ => is_escaped = false,
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        match self.peek()? {
            Some(byte) if byte == wanted => self.push(byte, None),
            _ => Err(self.wrong(&format!("`{}` is missing", char::from(wanted)))),
        }
    }

    fn skip_space(&mut self) -> Result<Option<u8>, Fault> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.push(byte, None)?;
        }
        Ok(None)
    }

    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        Ok(self.from.fill_buf()?.first().copied())
    }

    /// Goes over the byte that was looked at.
    fn push(&mut self, byte: u8, text: Option<&mut Vec<u8>>) -> Result<(), Fault> {
        self.from.consume(1);
        self.bytes += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        if let Some(text) = text {
            if text.len() >= VALUE_BYTES {
                return Err(self.wrong("one value is longer than 256 MiB"));
            }
            text.push(byte);
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Fault {
        Fault::at(self.line, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str, wrappers: &[&str]) -> Document<std::io::Cursor<Vec<u8>>> {
        let wrappers = wrappers.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Document::new(std::io::Cursor::new(text.into()), Some(wrappers).filter(|some| !some.is_empty()))
    }

    fn rows(text: &str, wrappers: &[&str]) -> Result<Vec<(u64, String)>, String> {
        let mut document = document(text, wrappers);
        let mut found = Vec::new();
        while let Some(item) = document.next().map_err(|fault| fault.to_string())? {
            found.push((item.line, String::from_utf8(item.text).unwrap()));
        }
        Ok(found)
    }

    #[test]
    fn rows_are_found_in_arrays_in_members_and_one_after_another() {
        let (one, two) = (r#"{"a": "]}\"\\"}"#, "{\n\"b\": [1, {}]}");
        for (text, wrappers, lines) in [
            (format!("[{one},\n{two}]\n"), &[][..], [1, 2]),
            (format!("{one}\n{two}"), &[], [1, 2]),
            (format!("{{\"x\": [{{}}], \"users\": [\n{one}, {two}], \"y\": 1}}"), &["users"], [2, 2]),
            (
                format!("{{\"users\": [{one}], \"user\": [], \"y\": [{two}]}}"),
                &["users", "y", "user"],
                [1, 1],
            ),
        ] {
            let found = rows(&text, wrappers).unwrap();
            assert_eq!(found, [(lines[0], one.to_owned()), (lines[1], two.to_owned())], "{text}");
        }
        assert_eq!(rows("[]", &[]).unwrap(), []);
        assert_eq!(rows("{}", &["users"]).unwrap(), []);
    }

    #[test]
    fn the_top_of_a_file_is_seen() {
        let look = |text: &str| document(text, &[]).look().unwrap();
        assert_eq!(look(" [1]"), Top::One { is_array: true, arrays: vec![] });
        assert_eq!(look("{\"a\":1}\n{\"b\":2}"), Top::Many { is_lines: true });
        assert_eq!(look("{\n\"a\":1}\n{\"b\":2}"), Top::Many { is_lines: false });
        let arrays = vec!["users".to_owned()];
        assert_eq!(look("{\"a\":[1],\"users\":[{}]}\n"), Top::One { is_array: false, arrays });
        for text in ["", "a,b\n", "{\"a\":\n", "{\"a\": 1]"] {
            assert_eq!(look(text), Top::Unclear, "{text}");
        }
    }

    #[test]
    fn a_document_that_breaks_off_is_an_error_with_its_line() {
        for (text, line) in [("[{\"a\":1},\n{\"b\":", 2), ("[{} {}]", 1), ("[{},\n\n", 3), ("[{]", 1)] {
            let why = rows(text, &[]).unwrap_err();
            assert!(why.starts_with(&format!("line {line}: ")), "{text:?}: {why}");
        }
    }
}
