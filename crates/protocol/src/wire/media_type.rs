//! Media types (RFC 9110 §8.3.1), header fields with parameters, and multipart forms (RFC 7578).

/// The value of a header field with parameters, such as `text/html; charset=utf-8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameterized {
    /// What is before the parameters, in lower case.
    pub value: String,
    parameters: Vec<(String, String)>,
}

impl Parameterized {
    /// Parses the text of a header field. What is not `name=value` or `name="value"` is left out.
    pub fn parse(text: &str) -> Self {
        let mut parts = split_outside_quotes(text).into_iter();
        let value = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
        };
        Self { value, parameters: parts.filter_map(parameter).collect() }
    }

    /// The first parameter of this name, in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut separator = |c: char| {
        let is_separator = c == ';' && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        is_separator
    };
    while let Some((part, others)) = rest.split_once(&mut separator) {
        parts.push(part);
        rest = others;
    }
    parts.push(rest);
    parts
}

/// A token as it is, a quoted string without its quotes and escapes (RFC 9110 §5.6.4).
fn unquoted(text: &str) -> String {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut is_escaped = false;
    let keep = |c: &char| {
        is_escaped = *c == '\\' && !is_escaped;
        !is_escaped
    };
    inside.chars().filter(keep).collect()
}

/// The fields of a multipart form (RFC 7578), in their order; the text of a field is borrowed from the body.
/// `None` for what is not one, for a file, and for a text that is not UTF-8.
pub fn multipart_fields<'a>(boundary: &str, body: &'a [u8]) -> Option<Vec<(String, &'a str)>> {
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter may be at the very start, without its line end.
    let mut rest = match body.strip_prefix(delimiter.get(2..)?) {
        Some(rest) => rest,
        None => split_at(body, &delimiter)?.1,
    };

    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = without_blanks(rest).strip_prefix(b"\r\n")?;
        let (part, next) = split_at(part, &delimiter)?;
        let (head, content) = split_at(part, b"\r\n\r\n")?;
        fields.push((name(head)?, str::from_utf8(content).ok()?));
        rest = next;
    }
    Some(fields)
}

fn without_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The name of the field that a part with these header fields has; `None` for a file.
fn name(head: &[u8]) -> Option<String> {
    let mut lines = str::from_utf8(head).ok()?.split("\r\n");
    let disposition = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then(|| Parameterized::parse(value))
    })?;
    let is_text = disposition.value == "form-data" && disposition.parameter("filename").is_none();
    disposition.parameter("name").filter(|_| is_text).map(str::to_owned)
}

fn split_at<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + separator.len()..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, prop_assume, proptest};

    use super::*;

    #[test]
    fn parameters_are_read_quoted_or_not() {
        let kind = Parameterized::parse("Multipart/Form-Data; charset=UTF-8 ;Boundary=\"a;b\\\"c\"; x");
        assert_eq!(kind.value, "multipart/form-data");
        assert_eq!(kind.parameter("charset"), Some("UTF-8"));
        assert_eq!(kind.parameter("boundary"), Some("a;b\"c"));
        assert_eq!(kind.parameter("x"), None);
    }

    #[test]
    fn the_fields_of_a_form_are_read() {
        let body =
            b"preamble\r\n--xyz \r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nalice\r\n\
            --xyz\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=password\r\n\r\n\
            a\r\n--b\r\n--xyz--\r\nepilogue";
        assert_eq!(
            multipart_fields("xyz", body),
            Some(vec![("username".to_owned(), "alice"), ("password".to_owned(), "a\r\n--b")])
        );
        assert_eq!(multipart_fields("xyz", b"--xyz--"), Some(vec![]));
    }

    #[test]
    fn what_is_no_form_of_texts_is_refused() {
        let whole = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--x--";
        assert!(multipart_fields("x", whole.as_bytes()).is_some());
        for end in 0..whole.len() {
            assert_eq!(multipart_fields("x", &whole.as_bytes()[..end]), None, "{end}");
        }
        let file = whole.replace("name=\"a\"", "name=\"a\"; filename=\"f\"");
        for bad in [file.as_str(), &whole.replace("name", "nom"), &whole.replace("form-data", "attachment")] {
            assert_eq!(multipart_fields("x", bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(multipart_fields("", whole.as_bytes()), None);
        assert_eq!(multipart_fields("y", whole.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn fields_are_read_back_as_written(texts in proptest::collection::vec(any::<String>(), 0..4)) {
            prop_assume!(texts.iter().all(|text| !text.contains("--frontier")));
            let head = "--frontier\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n";
            let mut body: String = texts.iter().flat_map(|text| [head, text, "\r\n"]).collect();
            body += "--frontier--\r\n";
            let read = multipart_fields("frontier", body.as_bytes());
            let read = read.map(|all| all.into_iter().map(|(_, text)| text.to_owned()).collect::<Vec<_>>());
            prop_assert_eq!(read, Some(texts));
        }

        #[test]
        fn no_body_panics(boundary in any::<String>(), body in any::<Vec<u8>>()) {
            let _ = multipart_fields(&boundary, &body);
        }
    }
}
