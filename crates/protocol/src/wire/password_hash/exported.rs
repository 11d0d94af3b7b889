//! Spellings of hashes in exports of other systems, converted to the one that is stored.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use model::hex;

use super::text::{decimal, padded, parts, unpadded};
use super::{FirebaseProject, STORED_BYTES, Unusable};

/// Longest text that is converted, in bytes: Supabase's spelling of a Firebase hash contains the signer key.
const EXPORTED_BYTES: usize = 2 * STORED_BYTES;
/// The mark that Spring puts behind the name of an encoder with the parameters of its version 5.8.
const SPRING_5_8: &str = "@springsecurity_v5_8";
/// Bytes of ASP.NET's second format: a marker, 16 of salt, 32 of key.
const ASPNET_V2_BYTES: usize = 1 + 16 + 32;

/// The stored spelling of a hash as another system exports it. A text that needs no conversion stays as it
/// is.
///
/// # Errors
/// [`Unusable`]: a spelling that is known, with a part wrong. The caps are checked when the result is parsed.
pub fn from_export(text: &str) -> Result<String, Unusable> {
    if text.len() > EXPORTED_BYTES {
        return Err(Unusable::Malformed("length"));
    }
    let converted = match text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        Some((scheme, rest)) => scheme_of(&scheme.to_ascii_lowercase(), rest)?,
        None => match text.strip_prefix('$') {
            Some(rest) => crypt(rest)?,
            None => aspnet(text).or_else(|| salt_and_key(text)),
        },
    };
    Ok(converted.unwrap_or_else(|| text.to_owned()))
}

/// Texts behind a scheme in braces: Spring's encoders, and PBKDF2 in directories.
fn scheme_of(scheme: &str, rest: &str) -> Result<Option<String>, Unusable> {
    let (scheme, is_newer) = match scheme.strip_suffix(SPRING_5_8) {
        Some(scheme) => (scheme, true),
        None => (scheme, false),
    };
    match scheme {
        // Prefixes before a text that has a format of its own.
        "bcrypt" | "argon2" | "scrypt" | "ldap" | "crypt" | "" if !rest.is_empty() => {
            from_export(rest).map(Some)
        }
        "pbkdf2" if !rest.contains('$') => {
            let (salt, iterations, name) =
                if is_newer { (16, 310_000, "pbkdf2-sha256") } else { (8, 185_000, "pbkdf2") };
            let bytes = hex::decode_lower(rest).ok_or(Unusable::Malformed("tag"))?;
            let (salt, tag) = bytes.split_at_checked(salt).ok_or(Unusable::Malformed("salt"))?;
            Ok(Some(pbkdf2(name, iterations, salt, tag)))
        }
        "pbkdf2" | "pbkdf2-sha1" => Ok(Some(format!("$pbkdf2${rest}"))),
        "pbkdf2-sha256" | "pbkdf2-sha512" => Ok(Some(format!("${scheme}${rest}"))),
        _ => Ok(None),
    }
}

/// What follows a dollar sign.
fn crypt(text: &str) -> Result<Option<String>, Unusable> {
    let Some((name, rest)) = text.split_once('$') else { return Ok(None) };
    match name {
        "pbkdf2" | "pbkdf2-sha1" | "pbkdf2-sha256" | "pbkdf2-sha512" if rest.starts_with("i=") => {
            let [settings, salt, tag] = parts(rest, '$')?;
            let (salt, tag) = (either(salt, "salt")?, either(tag, "tag")?);
            let iterations =
                setting(settings, "i").and_then(decimal).ok_or(Unusable::Malformed("iterations"))?;
            let length = setting(settings, "l").map(decimal);
            if length.is_some_and(|length| length.is_none_or(|length| length as usize != tag.len())) {
                return Err(Unusable::Malformed("tag"));
            }
            let name = if name == "pbkdf2-sha1" { "pbkdf2" } else { name };
            Ok(Some(pbkdf2(name, iterations, &salt, &tag)))
        }
        "scrypt" => scrypt(rest).map(Some),
        "fbscrypt" => fbscrypt(rest).map(Some),
        "firescrypt" => firescrypt(rest).map(Some),
        _ if !name.is_empty() && name.len() <= 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            spring_scrypt(name, rest)
        }
        _ => Ok(None),
    }
}

/// scrypt in the spellings of PHC strings: N or its logarithm under several names, Base64 with padding or
/// without.
fn scrypt(text: &str) -> Result<String, Unusable> {
    let [settings, salt, tag] = parts(text, '$')?;
    let (salt, tag) = (either(salt, "salt")?, either(tag, "tag")?);
    let number = |name| setting(settings, name).and_then(decimal);
    let cost = number("ln").or_else(|| number("n")).ok_or(Unusable::Malformed("memory"))?;
    // A logarithm is small; some programs write N itself.
    let log_n = match cost {
        0..=63 => cost,
        n if n.is_power_of_two() => n.trailing_zeros(),
        _ => return Err(Unusable::Malformed("memory")),
    };
    let (r, p) = (number("r"), number("p"));
    let (Some(r), Some(p)) = (r, p) else { return Err(Unusable::Malformed("parameters")) };
    Ok(format!("$scrypt$ln={log_n},r={r},p={p}${}${}", bare(&salt), bare(&tag)))
}

/// Spring's scrypt: the parameters as one hexadecimal number.
fn spring_scrypt(parameters: &str, rest: &str) -> Result<Option<String>, Unusable> {
    let Ok([salt, tag]) = parts(rest, '$') else { return Ok(None) };
    let (Some(salt), Some(tag)) = (padded(salt), padded(tag)) else { return Ok(None) };
    let number = u32::from_str_radix(parameters, 16).map_err(|_| Unusable::Malformed("parameters"))?;
    let (log_n, r, p) = (number >> 16, number >> 8 & 0xFF, number & 0xFF);
    Ok(Some(format!("$scrypt$ln={log_n},r={r},p={p}${}${}", bare(&salt), bare(&tag))))
}

/// Supabase's spelling of a Firebase hash: `v=1,n=14,r=8,p=1,ss=…,sk=…$salt$hash`.
fn fbscrypt(text: &str) -> Result<String, Unusable> {
    let [settings, salt, hash] = parts(text, '$')?;
    let text = |name| setting(settings, name).ok_or(Unusable::Malformed("parameters"));
    let number = |name| text(name).and_then(|text| decimal(text).ok_or(Unusable::Malformed("parameters")));
    if number("p")? != 1 {
        return Err(Unusable::Malformed("parallelism"));
    }
    FirebaseProject::new(text("sk")?, text("ss")?, number("r")?, number("n")?)?.text(hash, salt)
}

/// Kratos's spelling of a Firebase hash: `ln=14,r=8,p=1$salt$hash$separator$signer key`.
fn firescrypt(text: &str) -> Result<String, Unusable> {
    let [settings, salt, hash, separator, signer] = parts(text, '$')?;
    let number = |name| setting(settings, name).and_then(decimal).ok_or(Unusable::Malformed("parameters"));
    if number("p")? != 1 {
        return Err(Unusable::Malformed("parallelism"));
    }
    FirebaseProject::new(signer, separator, number("r")?, number("ln")?)?.text(hash, salt)
}

/// ASP.NET Core Identity: the Base64 of a marker, parameters, salt and key.
fn aspnet(text: &str) -> Option<String> {
    let bytes = padded(text)?;
    let (&marker, rest) = bytes.split_first()?;
    match marker {
        0 if bytes.len() == ASPNET_V2_BYTES => {
            let (salt, tag) = rest.split_at_checked(16)?;
            Some(pbkdf2("pbkdf2", 1000, salt, tag))
        }
        1 => {
            let mut rest = rest;
            let mut number = || {
                let (head, tail) = rest.split_first_chunk::<4>()?;
                rest = tail;
                Some(u32::from_be_bytes(*head))
            };
            let (function, iterations, salt) = (number()?, number()?, number()?);
            let name = *["pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512"].get(usize::try_from(function).ok()?)?;
            let (salt, tag) = rest.split_at_checked(usize::try_from(salt).ok()?)?;
            (tag.len() >= 16).then(|| pbkdf2(name, iterations, salt, tag))
        }
        _ => None,
    }
}

/// scrypt as better-auth, Oslo and Lucia write it: the salt, which is used as it is written, and the key in
/// hex. The password is in NFKC.
fn salt_and_key(text: &str) -> Option<String> {
    let (is_second, text) = match text.strip_prefix("s2:") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (salt, key) = text.split_once(':')?;
    let key = hex::decode_lower(key).filter(|key| key.len() == 64)?;
    if salt.is_empty() || !salt.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    // Lucia's first version had salts of 16 letters and half the block size.
    let r = if salt.len() == 16 && !is_second { 8 } else { 16 };
    Some(format!("$scrypt-nfkc$ln=14,r={r},p=1${}${}", bare(salt.as_bytes()), bare(&key)))
}

/// A hash of PBKDF2 in passlib's spelling.
fn pbkdf2(name: &str, iterations: u32, salt: &[u8], tag: &[u8]) -> String {
    let ab64 = |bytes: &[u8]| bare(bytes).replace('+', ".");
    format!("${name}${iterations}${}${}", ab64(salt), ab64(tag))
}

fn bare(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// Base64 with padding or without.
fn either(text: &str, part: &'static str) -> Result<Vec<u8>, Unusable> {
    unpadded(text).or_else(|| STANDARD.decode(text).ok()).ok_or(Unusable::Malformed(part))
}

/// A setting of `name=value,name=value`.
fn setting<'a>(settings: &'a str, wanted: &str) -> Option<&'a str> {
    settings
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::password_hash::{Rules, StoredHash};

    #[test]
    fn spellings_of_exports_become_stored_hashes() {
        let key = "00".repeat(64);
        let aspnet_v2 = STANDARD.encode([[0].as_slice(), &[7; 16], &[8; 32]].concat());
        let aspnet_v3 = STANDARD
            .encode([&[1, 0, 0, 0, 2, 0, 1, 0x86, 0xA0, 0, 0, 0, 16][..], &[7; 16], &[8; 32]].concat());
        for (text, start) in [
            ("{bcrypt}$2a$10$abc", "$2a$10$abc"),
            ("{argon2@SpringSecurity_v5_8}$argon2id$v=19$x", "$argon2id$v=19$x"),
            ("{ldap}{SSHA}abc", "{SSHA}abc"),
            ("{scrypt}$e0801$c2FsdA==$dGFn", "$scrypt$ln=14,r=8,p=1$c2FsdA$dGFn"),
            ("{scrypt@SpringSecurity_v5_8}$100801$c2FsdA==$dGFn", "$scrypt$ln=16,r=8,p=1$c2FsdA$dGFn"),
            ("{pbkdf2}000102030405060708", "$pbkdf2$185000$AAECAwQFBgc$CA"),
            ("{PBKDF2-SHA512}10000$c2FsdA$dGFn", "$pbkdf2-sha512$10000$c2FsdA$dGFn"),
            ("$pbkdf2-sha256$i=1000,l=3$c2FsdA==$dGFn", "$pbkdf2-sha256$1000$c2FsdA$dGFn"),
            ("$pbkdf2-sha1$i=1000$c2FsdA$dGFn", "$pbkdf2$1000$c2FsdA$dGFn"),
            ("$scrypt$ln=16384,r=8,p=1$c2FsdA==$dGFn", "$scrypt$ln=14,r=8,p=1$c2FsdA$dGFn"),
            ("$scrypt$n=15,r=8,p=1$c2FsdA$dGFn", "$scrypt$ln=15,r=8,p=1$c2FsdA$dGFn"),
            (&format!("{}:{key}", "ab".repeat(16)), "$scrypt-nfkc$ln=14,r=16,p=1$"),
            (&format!("s2:{}:{key}", "abcdefgh01234567"), "$scrypt-nfkc$ln=14,r=16,p=1$"),
            (&format!("{}:{key}", "abcdefgh01234567"), "$scrypt-nfkc$ln=14,r=8,p=1$"),
            (&aspnet_v2, "$pbkdf2$1000$BwcHBwcHBwcHBwcHBwcHBw$"),
            (&aspnet_v3, "$pbkdf2-sha512$100000$BwcHBwcHBwcHBwcHBwcHBw$"),
            ("$2b$12$abc", "$2b$12$abc"),
            ("pbkdf2_sha256$1$a$b", "pbkdf2_sha256$1$a$b"),
            ("5f4dcc3b5aa765d61d8327deb882cf99", "5f4dcc3b5aa765d61d8327deb882cf99"),
        ] {
            assert!(from_export(text).unwrap().starts_with(start), "{text}: {}", from_export(text).unwrap());
        }

        for (text, part) in [
            ("{pbkdf2}xyz", "tag"),
            ("$pbkdf2-sha256$i=x$c2FsdA$dGFn", "iterations"),
            ("$pbkdf2-sha256$i=1000,l=32$c2FsdA$dGFn", "tag"),
            ("$scrypt$ln=100,r=8,p=1$c2FsdA$dGFn", "memory"),
            ("$scrypt$r=8,p=1$c2FsdA$dGFn", "memory"),
            ("$fbscrypt$v=1,n=14,r=8,p=2,ss=Bw==,sk=Bw==$c2FsdA$dGFn", "parallelism"),
        ] {
            assert_eq!(from_export(text), Err(Unusable::Malformed(part)), "{text}");
        }
    }

    /// The example of Firebase's documentation, as Supabase and Kratos store it.
    #[test]
    fn firebase_hashes_in_other_stores_are_the_same() {
        let (signer, separator) = (
            "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
            "Bw==",
        );
        let (salt, hash) = (
            "42xEC+ixf3L2lw==",
            "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        );
        let wanted = FirebaseProject::new(signer, separator, 8, 14).unwrap().text(hash, salt).unwrap();
        for text in [
            format!("$fbscrypt$v=1,n=14,r=8,p=1,ss={separator},sk={signer}${salt}${hash}"),
            format!("$firescrypt$ln=14,r=8,p=1${salt}${hash}${separator}${signer}"),
        ] {
            assert_eq!(from_export(&text).unwrap(), wanted);
        }
        assert!(StoredHash::from_origin(&wanted, Rules::Imported).is_ok());
    }
}
