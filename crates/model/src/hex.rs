//! Bytes as hexadecimal digits, two each (RFC 4648, section 8), small letters.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of `digits`, large letters or small; `None` where anything else stands there, or half a byte.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// The bytes of `digits`, if they are exactly `N`.
pub fn decode_array<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() == 2 * N { decode(digits)?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_digits_convert_both_ways() {
        let bytes: Vec<u8> = (0..=255).collect();
        let digits = encode(&bytes);
        assert!(digits.starts_with("000102030405060708090a0b") && digits.ends_with("fdfeff"));
        assert_eq!(decode(&digits).unwrap(), bytes);
        assert_eq!(decode(&digits.to_uppercase()).unwrap(), bytes);
        assert_eq!(decode_array::<2>("00fF"), Some([0, 255]));
    }

    #[test]
    fn invalid_digits_are_refused() {
        for text in ["0", "000", "0g", "+f", "-1", " 1", "0x", "é", "00é"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode_array::<2>("00"), None);
        assert_eq!(decode_array::<1>("0000"), None);
        assert_eq!(decode(""), Some(Vec::new()));
    }
}
