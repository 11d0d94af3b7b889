//! Bytes as hexadecimal digits, two each (RFC 4648 §8), in lower case.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// The digits of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The bytes of `digits` in upper or lower case; `None` if it contains anything else, or half a byte.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}

/// The bytes of `digits` in lower case only, so that one value has one text.
pub fn decode_lower(digits: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(digits.as_bytes()).ok()
}

/// The bytes of `digits` in upper or lower case, if they are exactly `N`.
pub fn decode_array<const N: usize>(digits: impl AsRef<[u8]>) -> Option<[u8; N]> {
    let digits = digits.as_ref();
    let mut bytes = [0; N];
    // The library panics where the lengths do not fit.
    if digits.len() != 2 * N {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
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
        assert_eq!(decode_lower(&digits).unwrap(), bytes);
        assert_eq!(decode_array::<2>("00fF"), Some([0, 255]));
    }

    #[test]
    fn invalid_digits_are_refused() {
        for text in ["0", "000", "0g", "+f", "-1", " 1", "0x", "é", "00é"] {
            assert_eq!((decode(text), decode_lower(text)), (None, None), "{text}");
        }
        assert_eq!(decode_lower("fF"), None);
        assert_eq!(decode_array::<1>("0g"), None);
        assert_eq!(decode_array::<2>("00"), None);
        assert_eq!(decode_array::<1>("0000"), None);
        assert_eq!(decode(""), Some(Vec::new()));
    }
}
