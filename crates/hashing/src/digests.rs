//! Verifies hashes that cost next to nothing: salted digests, phpass, MD5-crypt.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use md5::{Digest as _, Md5};
use protocol::wire::password_hash::{DigestHash, DigestRule, PlainDigest};
use zeroize::Zeroizing;

use crate::bcrypt::trimmed;

/// Rounds of MD5-crypt.
const MD5_CRYPT_ROUNDS: usize = 1000;

/// Whether a password matches, by the rule of the hash.
pub(crate) fn verify(hash: &DigestHash, password: &[u8]) -> bool {
    let same = |tag: &[u8]| verify_slices_are_equal(tag, &hash.tag).is_ok();
    match hash.rule {
        DigestRule::PasswordSalt(function) => same(&digest_of(function, &[password, &hash.salt])),
        DigestRule::SaltPassword(function) => same(&digest_of(function, &[&hash.salt, password])),
        DigestRule::Phpass(log) => {
            // WordPress trims passwords, other programs do not; both are computed for every password.
            let (whole, bare) =
                (phpass(log, &hash.salt, password), phpass(log, &hash.salt, trimmed(password)));
            same(&*whole) | same(&*bare)
        }
        DigestRule::Md5Crypt { is_apache } => same(&*md5_crypt(is_apache, &hash.salt, password)),
    }
}

fn digest_of(function: PlainDigest, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let bytes = Zeroizing::new(parts.concat());
    let sha = |algorithm| digest::digest(algorithm, &bytes).as_ref().to_vec();
    Zeroizing::new(match function {
        PlainDigest::Md5 => Md5::digest(&bytes).to_vec(),
        PlainDigest::Sha1 => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        PlainDigest::Sha256 => sha(&digest::SHA256),
        PlainDigest::Sha512 => sha(&digest::SHA512),
    })
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Md5::new();
    for part in parts {
        context.update(part);
    }
    context.finalize().into()
}

/// phpass's portable hash: MD5 of salt and password, then of the digest and the password, again and again.
fn phpass(log: u8, salt: &[u8], password: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut tag = Zeroizing::new(md5(&[salt, password]));
    for _ in 0..1_u32.checked_shl(log.into()).unwrap_or_default() {
        *tag = md5(&[tag.as_slice(), password]);
    }
    tag
}

/// MD5-crypt (P.-H. Kamp, 1994). It takes a C string: the password ends before a NUL.
fn md5_crypt(is_apache: bool, salt: &[u8], password: &[u8]) -> Zeroizing<[u8; 16]> {
    let nul = password.iter().position(|&byte| byte == 0).unwrap_or(password.len());
    let password = password.get(..nul).unwrap_or_default();
    let mark: &[u8] = if is_apache { b"$apr1$" } else { b"$1$" };
    let alternate = Zeroizing::new(md5(&[password, salt, password]));

    let mut context = Md5::new();
    for part in [password, mark, salt] {
        context.update(part);
    }
    for chunk in password.chunks(16) {
        context.update(alternate.get(..chunk.len()).unwrap_or_default());
    }
    let mut length = password.len();
    while length > 0 {
        let byte = if length & 1 == 1 { &[0][..] } else { password.get(..1).unwrap_or_default() };
        context.update(byte);
        length >>= 1;
    }

    let mut tag = Zeroizing::new(<[u8; 16]>::from(context.finalize()));
    for round in 0..MD5_CRYPT_ROUNDS {
        let before = tag.to_vec();
        let [first, last] = if round % 2 == 1 { [password, &before] } else { [&before, password] };
        let salt = if round % 3 == 0 { &[][..] } else { salt };
        let middle = if round % 7 == 0 { &[][..] } else { password };
        *tag = md5(&[first, salt, middle, last]);
    }
    tag
}

#[cfg(test)]
mod tests {
    use protocol::wire::password_hash::{Rules, StoredHash};

    use crate::scheme::{WorkerBuffers, verify};

    /// Hashes that passlib 1.7.4 made, and the best known one of phpass.
    const VECTORS: &[(&str, &str)] = &[
        ("$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "test12345"),
        ("$P$6ytA9cEmN7D/40pA5wW5mS8neg7ngV1", "correct horse battery staple"),
        ("$P$64PvPR/gH4wDYC9.Suanv0qOfGEiGc/", ""),
        ("$P$62Ga1Emi1t5PEOHvRIEEHuTG8mNCSG1", "pässwörd ✓ 2"),
        ("$P$6wXtkHpsfpdHvAKJJdqkb5j5TLB.cZ1", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("$1$duvHMs.b$/HeHtxd1KFRPy3hyTjqD8/", "correct horse battery staple"),
        ("$1$4CGAy/G5$bQwnmf6o6GgVK7L6Z1evN/", ""),
        ("$1$UAicdRP/$jzb.J8QKIPFU52k3vbOek1", "pässwörd ✓ 2"),
        ("$1$4KaR119o$UEV6UatVZC8zQ/cr1O1nY/", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("$apr1$RNPnmgEB$dPXtEmASE9lfJLLwVRhiY0", "correct horse battery staple"),
        ("$apr1$85k0rpal$h5qBiJWBpFxyBD4mo1fy/0", ""),
        ("$apr1$7TzFYVos$V/Uz/a6fWoSfU1YFxcsKs0", "pässwörd ✓ 2"),
        ("$apr1$lK22OlyI$h7Yu1usDfP4DRDkeGthBh.", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("{SSHA}PwXqwMrx/YEYQqI7kPyIqX+gRiWsFSJE", "correct horse battery staple"),
        ("{SSHA}0FOpJUBgRrQqO8sU6BtHltm6BV+X8r43", ""),
        ("{SSHA}2ZLlE6ZxrLSgwMLhOr952bf35zjXWotR", "pässwörd ✓ 2"),
        ("{SSHA}7zeMW+aDNIWDASTq1LIs3sl+NlXPOUco", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("{SSHA256}Y11zPYLSUgDYUm4GR6rDeqcu+aBhOkvbXssGtaq78YJjjPHeW2ut1Q==", "correct horse battery staple"),
        ("{SSHA256}XjJED8LTpyyORaRrOlUcIICTF7NgGJXiH5XMMd0acv32PqcUwhgDIA==", ""),
        ("{SSHA256}hjSG/SprGEV8VJ8LjyO2O+IkWRGUf/YKn4iQqXy5sgU9x9jbu7dWig==", "pässwörd ✓ 2"),
        (
            "{SSHA256}FK7sxro20BeAgc5KIVeegzvJyoITmJW9w5c31i1TTby/F6I0Zkzp/Q==",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        (
            "{SSHA512}ByZ4zOUj5JhxXLum9FN07DnPoREG9j1E2AILc1UM0IoDkLcQ31XgKtsyNFD0v3tBOkWBc7sHB2yZOZ\
             WHdsdm5qL0/n+vVUqJ",
            "correct horse battery staple",
        ),
        (
            "{SSHA512}Vl6QJgnri2vKzTx/GknHPiIFEcEDuTjJWQU487n2lQUtiSTdeSWZ/lSdhuShzr7kzT3orcpueoxKil\
             EXMlze8cL4H6PU2nvP",
            "",
        ),
        (
            "{SSHA512}jv+vpJMfzhojtkxCvgWHuEqCQB4VjoA+zeUKeayW4SMBjowuRIYy1qy3j6FPadsuHJKBwLMnnld4x+\
             QqCT8yRQoBwPhfK8W4",
            "pässwörd ✓ 2",
        ),
        (
            "{SSHA512}67BsWgSVeMJe+i61nQFWubRwRGONNTq/MSD4yqm5RZi4+Dt21oQWpt22Po/wi/oWsER6WIEiod05sv\
             ykGOe7oz2n1Pq/9/7/",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        ("md5$A1xbJSqgc8GA$4af5d2b19eabab82cb92835d55cf58d9", "correct horse battery staple"),
        ("md5$AaJ3rQmYbNBX$18dcac50e9ab075243af165d51347c03", ""),
        ("md5$IpYOMLCWg9cj$4c8401a0a7e994ca423da5e8662092f9", "pässwörd ✓ 2"),
        ("md5$k7Bx0u8t8zt7$31e46fa3bdcedd284d9ea3b7310c28c5", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("sha1$rFFtBVXtGODr$26373c984d0a268abc89a183a80b6bf3bb941db7", "correct horse battery staple"),
        ("sha1$rB28RNtKsp9O$a8797932357a95d4761d8bce53a0b42c4d6c40e8", ""),
        ("sha1$axGgDgY4uuSd$d67697f7306d3ebd4c87f0a86225731f4c13ef77", "pässwörd ✓ 2"),
        (
            "sha1$vHpbZqZOUIVr$4e0142a9a697aa298c7e661d490401cd7bbcc0f2",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        ("{MD5}nMKuihunqT2jm0b8EBnEgQ==", "correct horse battery staple"),
        ("{MD5}1B2M2Y8AsgTpgAmY7PhCfg==", ""),
        ("{MD5}BU4y2e5AJlNQv3zXT3nXVw==", "pässwörd ✓ 2"),
        ("{MD5}Llpd8w69hTlEW6bg9ji2+Q==", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("{SHA}q/eq1kOINtvlJqojGr3i0O73TUI=", "correct horse battery staple"),
        ("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", ""),
        ("{SHA}o/WGiYeeGCmftutGs2ALlneA+0Y=", "pässwörd ✓ 2"),
        ("{SHA}RzcqeydWnSUGPfXLv3YG9hWo7Co=", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("{SMD5}hvrcs/fjo5axtybJyCqc83zvXes=", "correct horse battery staple"),
        ("{SMD5}JL7ENyTlvUlGi+zF3VuNpExJCeE=", ""),
        ("{SMD5}uYszFg/5+o9MPr9DnAyWdQJgjJE=", "pässwörd ✓ 2"),
        ("{SMD5}0TWDuBy6JWqB0OyRsfDlYai11to=", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ];

    fn matches(text: &str, password: &str) -> bool {
        let stored =
            StoredHash::from_origin(text, Rules::Imported).unwrap_or_else(|why| panic!("{text}: {why}"));
        verify(&stored, password.as_bytes(), &mut WorkerBuffers::default()).unwrap()
    }

    #[test]
    fn digests_of_directories_php_and_unix_verify_their_password_and_no_other() {
        for (text, password) in VECTORS {
            assert!(matches(text, password), "{text} {password:?}");
            assert!(!matches(text, &format!("x{password}")), "{text} x");
            assert!(password.is_empty() || !matches(text, ""), "{text} empty");
        }
    }

    #[test]
    fn wordpress_trims_and_both_spellings_of_phpass_are_one() {
        let text = "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0";
        assert!(matches(text, " test12345\n") && matches(&text.replace("$P$", "$H$"), "test12345"));
        assert!(!matches(text, "test 12345"));
    }

    #[test]
    fn broken_kinds_are_known_as_such() {
        for (text, _) in VECTORS {
            let stored = StoredHash::from_origin(text, Rules::Imported).unwrap();
            let is_broken = ["$1$", "$apr1$", "md5$", "sha1$", "{MD5}", "{SHA}", "{SMD5}"];
            assert_eq!(stored.is_weak(), is_broken.iter().any(|start| text.starts_with(start)), "{text}");
        }
    }
}
