//! Hashes of other systems, checked by the rules of their origin on the calling thread.
//!
//! Each computes the whole of its hash whatever the password is, and compares in constant time.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use protocol::password_hash::{
    Digest, FirebaseHash, Pbkdf2Hash, SHA_CRYPT_PASSWORD_BYTES, ScryptCost, ScryptHash, ShaCryptHash,
    ShaCryptTag,
};
use zeroize::Zeroizing;

/// PBKDF2: any length, and NUL is a byte.
pub(super) fn pbkdf2(hash: &Pbkdf2Hash, password: &[u8]) -> bool {
    let algorithm = match hash.digest {
        Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    pbkdf2::verify(algorithm, hash.iterations, &hash.salt, password, &hash.tag).is_ok()
}

/// scrypt: any length, and NUL is a byte. Its memory is taken for each check, within the cap of the format.
pub(super) fn scrypt(hash: &ScryptHash, password: &[u8]) -> bool {
    let mut output = Zeroizing::new(vec![0; hash.tag.len()]);
    derive(hash.cost, password, &hash.salt, &mut output)
        .is_some_and(|()| verify_slices_are_equal(&output, &hash.tag).is_ok())
}

/// Firebase's scrypt: the key stream of AES-256 in counter mode, from counter zero, under 32 bytes of scrypt.
pub(super) fn firebase(hash: &FirebaseHash, password: &[u8]) -> bool {
    let mut key = Zeroizing::new([0; 32]);
    let mut stream = Zeroizing::new(vec![0; hash.tag.len()]);
    let computed = derive(hash.cost, password, &hash.salt, key.as_mut_slice()).and_then(|()| {
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, key.as_slice()).ok()?).ok()?;
        key.less_safe_encrypt(&mut stream, EncryptionContext::Iv128(FixedLength::from([0; 16]))).ok()
    });
    computed.is_some() && verify_slices_are_equal(&stream, &hash.tag).is_ok()
}

fn derive(cost: ScryptCost, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let params = scrypt::Params::new(cost.log_n, cost.r, cost.p).ok()?;
    scrypt::scrypt(password, salt, &params, output).ok()
}

/// SHA-crypt: a C string, so the password ends before a NUL; libxcrypt refuses more than 511 bytes.
pub(super) fn sha_crypt(hash: &ShaCryptHash, password: &[u8]) -> bool {
    let nul = password.iter().position(|&byte| byte == 0).unwrap_or(password.len());
    let password = password.get(..nul).unwrap_or(password);
    // What is too long costs what the longest costs, and no more.
    let cut = password.get(..SHA_CRYPT_PASSWORD_BYTES).unwrap_or(password);
    let Ok(params) = sha_crypt::Params::new(hash.rounds) else { return false };
    let salt = hash.salt.as_bytes();
    let same = match &hash.tag {
        ShaCryptTag::Sha256(tag) => {
            verify_slices_are_equal(&*Zeroizing::new(sha_crypt::sha256_crypt(cut, salt, params)), tag)
        }
        ShaCryptTag::Sha512(tag) => {
            verify_slices_are_equal(&*Zeroizing::new(sha_crypt::sha512_crypt(cut, salt, params)), tag)
        }
    };
    same.is_ok() && cut.len() == password.len()
}

#[cfg(test)]
mod tests {
    use protocol::password_hash::StoredHash;
    use unicode_normalization::UnicodeNormalization as _;

    use super::super::scheme::{Tools, verify};

    /// Texts that the real programs wrote: kind, text, and the password in JSON.
    const VECTORS: &str = include_str!("../../../../testkit/data/password-hashes.tsv");

    fn vectors() -> impl Iterator<Item = (&'static str, &'static str, String)> {
        VECTORS.lines().map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0], columns[1], serde_json::from_str(columns[2]).unwrap())
        })
    }

    fn matches(text: &str, password: &str) -> bool {
        let stored = StoredHash::parse(&format!("import:{text}")).unwrap();
        verify(&stored, password.as_bytes(), &mut Tools::default()).unwrap()
    }

    /// As received: neither normalised nor, but by bcrypt, cut.
    #[test]
    fn a_37_every_format_takes_its_password_as_received() {
        for (kind, text, password) in vectors() {
            assert!(matches(text, &password), "{kind} {text} {password:?}");
            let nfc: String = password.nfc().collect();
            assert!(nfc == password || !matches(text, &nfc), "{kind} {text} in NFC");
            assert!(!matches(text, &format!("x{password}")), "{kind} {text} x");
            assert!(password.is_empty() || !matches(text, ""), "{kind} {text} empty");
        }
    }

    #[test]
    fn a_37_only_bcrypt_cuts_a_password_after_72_bytes() {
        let long = vectors().filter(|(_, _, password)| password.len() > 72);
        for (kind, text, password) in long {
            assert_eq!(matches(text, &password[..72]), kind == "bcrypt", "{kind} {text}");
            assert_eq!(matches(text, &format!("{password}x")), kind == "bcrypt", "{kind} {text}");
            assert!(!matches(text, &password[..71]), "{kind} {text}");
        }
    }

    /// A password of ours was never longer than 72 bytes, so a longer one is not it.
    #[test]
    fn a_37_ours_is_never_cut() {
        let (_, text, password) = vectors().find(|(_, _, password)| password.len() > 72).unwrap();
        let stored = StoredHash::parse(text).unwrap();
        assert_eq!(verify(&stored, password.as_bytes(), &mut Tools::default()), Some(false));
        assert_eq!(verify(&stored, &password.as_bytes()[..72], &mut Tools::default()), Some(true));
    }

    #[test]
    fn a_37_a_nul_ends_the_passwords_of_c_programs_only() {
        for (kind, text, password) in vectors().filter(|(_, _, password)| password.len() == 28) {
            let c = kind.starts_with("sha") || text.starts_with("$2y$");
            assert_eq!(matches(text, &format!("{password}\0x")), c, "{kind} {text}");
        }
    }

    #[test]
    fn sha_crypt_refuses_what_its_origin_refuses() {
        // crypt(3) of 511 letters.
        let text = "$5$rounds=1000$salt$f6BM3YXHXEzaPBwQyLT.dESUtZVeD6IX.pL.Uiplfb0";
        assert!(matches(text, &"x".repeat(511)));
        assert!(!matches(text, &"x".repeat(512)));
    }
}
