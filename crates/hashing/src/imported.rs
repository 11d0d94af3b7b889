//! Verifies hashes of other systems by the rules of their origin, on the calling thread.
//!
//! Each check computes the whole hash for any password, and compares in constant time.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use protocol::wire::password_hash::{
    Digest, FirebaseHash, Pbkdf2Hash, SHA_CRYPT_PASSWORD_BYTES, ScryptCost, ScryptHash, ShaCryptHash,
    ShaCryptTag,
};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Extra memory that scrypt may need beside its three buffers, in bytes, for example for rounding to pages.
const PROBE_SLACK: usize = 64 * 1024;

/// PBKDF2: the password has any length, and NUL is an ordinary byte.
pub(crate) fn pbkdf2(hash: &Pbkdf2Hash, password: &[u8]) -> bool {
    let algorithm = match hash.digest {
        Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    pbkdf2::verify(algorithm, hash.iterations, &hash.salt, password, &hash.tag).is_ok()
}

/// scrypt: the password has any length, and NUL is an ordinary byte. Each check allocates its memory, within
/// the format's limit; `None` without enough memory.
pub(crate) fn scrypt(hash: &ScryptHash, password: &[u8]) -> Option<bool> {
    let mut output = Zeroizing::new(vec![0; hash.tag.len()]);
    let composed = match std::str::from_utf8(password) {
        Ok(text) if hash.is_nfkc => Zeroizing::new(text.nfkc().collect::<String>().into_bytes()),
        _ => Zeroizing::new(password.to_vec()),
    };
    let computed = derive(hash.cost, &composed, &hash.salt, &mut output)?;
    Some(computed && verify_slices_are_equal(&output, &hash.tag).is_ok())
}

/// Firebase's scrypt: the key stream of AES-256-CTR from counter zero, under a 32-byte key from scrypt.
/// `None` without enough memory.
pub(crate) fn firebase(hash: &FirebaseHash, password: &[u8]) -> Option<bool> {
    let mut key = Zeroizing::new([0; 32]);
    let mut stream = Zeroizing::new(vec![0; hash.tag.len()]);
    let computed = derive(hash.cost, password, &hash.salt, key.as_mut_slice())?;
    let encrypt = |stream: &mut [u8]| {
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, key.as_slice()).ok()?).ok()?;
        key.less_safe_encrypt(stream, EncryptionContext::Iv128(FixedLength::from([0; 16]))).ok()
    };
    let encrypted = computed && encrypt(&mut stream).is_some();
    Some(encrypted && verify_slices_are_equal(&stream, &hash.tag).is_ok())
}

/// Fills `output` and returns true; false for invalid cost parameters. `None` without enough memory.
fn derive(cost: ScryptCost, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<bool> {
    let Ok(params) = scrypt::Params::new(cost.log_n, cost.r, cost.p) else { return Some(false) };
    probe(cost)?;
    Some(scrypt::scrypt(password, salt, &params, output).is_ok())
}

/// Checks that the memory of one verification is available now: allocates it in one piece and frees it.
///
/// The library allocates its own memory and aborts the process if that fails, so it is called only after this
/// probe. A race remains: another thread can take the memory between the probe and the library's allocation,
/// and the library then aborts. A system with overcommit can also fail later, as with any other memory.
fn probe(cost: ScryptCost) -> Option<()> {
    let block = usize::try_from(cost.r).ok()?.checked_mul(128)?;
    let table = 1_usize.checked_shl(cost.log_n.into())?.checked_mul(block)?;
    let lanes = usize::try_from(cost.p).ok()?.checked_mul(block)?;
    let bytes = table.checked_add(lanes)?.checked_add(block)?.checked_add(PROBE_SLACK)?;
    let mut memory = Vec::<u8>::new();
    memory.try_reserve_exact(bytes).ok()?;
    // The compiler may remove an unused allocation, and with it the probe.
    std::hint::black_box(&mut memory);
    Some(())
}

/// SHA-crypt takes a C string, so the password ends before a NUL; libxcrypt refuses more than 511 bytes.
pub(crate) fn sha_crypt(hash: &ShaCryptHash, password: &[u8]) -> bool {
    let nul = password.iter().position(|&byte| byte == 0).unwrap_or(password.len());
    let password = password.get(..nul).unwrap_or(password);
    // An over-long password costs as much as the longest valid one, and no more.
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
    use protocol::wire::password_hash::{FirebaseHash, ScryptCost, ScryptHash, StoredHash};
    use unicode_normalization::UnicodeNormalization as _;

    use super::{firebase, scrypt};
    use crate::scheme::{WorkerBuffers, verify};

    /// Hashes written by the real programs: format, hash, and the password as JSON.
    const VECTORS: &str = include_str!("../../../testkit/data/password-hashes.tsv");

    fn vectors() -> impl Iterator<Item = (&'static str, &'static str, String)> {
        VECTORS.lines().map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0], columns[1], serde_json::from_str(columns[2]).unwrap())
        })
    }

    fn matches(text: &str, password: &str) -> bool {
        let stored = StoredHash::parse(&format!("import:{text}")).unwrap();
        verify(&stored, password.as_bytes(), &mut WorkerBuffers::default()).unwrap()
    }

    /// Passwords are neither normalised nor, except by bcrypt, truncated.
    #[test]
    fn every_format_verifies_the_password_as_received() {
        for (kind, text, password) in vectors() {
            assert!(matches(text, &password), "{kind} {text} {password:?}");
            let nfc: String = password.nfc().collect();
            assert!(nfc == password || !matches(text, &nfc), "{kind} {text} in NFC");
            assert!(!matches(text, &format!("x{password}")), "{kind} {text} x");
            assert!(password.is_empty() || !matches(text, ""), "{kind} {text} empty");
        }
    }

    #[test]
    fn only_bcrypt_truncates_a_password_to_72_bytes() {
        let long = vectors().filter(|(_, _, password)| password.len() > 72);
        for (kind, text, password) in long {
            assert_eq!(matches(text, &password[..72]), kind == "bcrypt", "{kind} {text}");
            assert_eq!(matches(text, &format!("{password}x")), kind == "bcrypt", "{kind} {text}");
            assert!(!matches(text, &password[..71]), "{kind} {text}");
        }
    }

    /// Hashes that the systems publish in their tests, in the spellings of their exports.
    #[test]
    fn spellings_of_exports_verify_their_password_and_no_other() {
        let signer =
            "ou9tdYTGyYm8kuR6Dt0Bp0kDuAYoXrK16mbZO4yGwAn3oLspjnN0/c41v8xZnO1n14J3MjKj1b2g6AUCAlFwMw==";
        let supabase = format!(
            "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={signer}$C0sHCg9ek77hsg==$zKVTMvnWVw5BBOZNUdnsalx\
             4c4c7y/w7I\
             S5p6Ut2+CfEFFlz37J9huyQfov4iizN8dbjvEJlM5tQaJP84+hfTw=="
        );

        for (text, password) in [
            ("AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==", "my password"),
            (
                "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
                "my password",
            ),
            (
                "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg/Q8A0WMKbtHQJQ2DHCdoEeeFBrgNlldq6vH4qX/CGqGQ==",
                "my password",
            ),
            ("AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw", "my password"),
            (&supabase, "mytestpassword"),
            (
                "$firescrypt$ln=14,r=8,p=1$sPtDhWcd1MfdAw==$xbSou7FOl6mChCyzpCPIQ7tku7nsQMTFtyOZSXXd\
                 7tjBa4NtimOx7v42\
                 Gv2SfzPQu1oxM2/k4SsbOu73wlKe1A==$Bw==$YE0dO4bwD4JnJafh6lZZfkp1MtKzuKAXQcDCJNJNyeCHa\
                  irWHKENOkbh3dzwaCd\
                 izzOspwr/FITUVlnOAwPKyw==",
                "8x4WjoDbSxJZdR",
            ),
        ] {
            let converted = protocol::wire::password_hash::from_export(text).unwrap();
            assert!(matches(&converted, password), "{text}");
            assert!(!matches(&converted, &format!("{password}x")), "{text}");
        }
    }

    /// Gatewright's own bcrypt passwords have at most 72 bytes, so a longer password never matches.
    #[test]
    fn a_password_set_here_is_never_truncated() {
        let (_, text, password) = vectors().find(|(_, _, password)| password.len() > 72).unwrap();
        let stored = StoredHash::parse(text).unwrap();
        assert_eq!(verify(&stored, password.as_bytes(), &mut WorkerBuffers::default()), Some(false));
        assert_eq!(verify(&stored, &password.as_bytes()[..72], &mut WorkerBuffers::default()), Some(true));
    }

    #[test]
    fn a_nul_ends_only_passwords_of_formats_written_in_c() {
        for (kind, text, password) in vectors().filter(|(_, _, password)| password.len() == 28) {
            let c = kind.starts_with("sha") || text.starts_with("$2y$");
            assert_eq!(matches(text, &format!("{password}\0x")), c, "{kind} {text}");
        }
    }

    #[test]
    fn missing_memory_is_reported_instead_of_aborting() {
        // More than any address space, so no system grants it.
        let cost = ScryptCost { log_n: 50, r: 8, p: 1 };
        let (salt, tag) = (b"salt".to_vec(), vec![0; 32]);
        let hash = ScryptHash { cost, salt: salt.clone(), tag: tag.clone(), is_nfkc: false };
        assert_eq!(scrypt(&hash, b"password"), None);
        assert_eq!(firebase(&FirebaseHash { cost, salt, tag }, b"password"), None);
    }

    #[test]
    fn sha_crypt_refuses_what_its_origin_refuses() {
        // crypt(3) of 511 letters.
        let text = "$5$rounds=1000$salt$f6BM3YXHXEzaPBwQyLT.dESUtZVeD6IX.pL.Uiplfb0";
        assert!(matches(text, &"x".repeat(511)));
        assert!(!matches(text, &"x".repeat(512)));
    }
}
