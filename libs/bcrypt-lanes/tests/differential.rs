//! Against the `bcrypt` crate: for random passwords, salts, widths and kernels, the results are the same.
#![cfg(not(miri))]
#![expect(clippy::expect_used, reason = "what cannot be is a failed test")]

use bcrypt_lanes::{
    Attempt, Cost, Hash, Job, Kernel, Lanes, Nul, Password, PasswordError, Rules, Version, Width,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A password of any bytes, more often than not near a length where something changes.
fn password() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(any::<u8>(), 68..76),
        vec(any::<u8>(), 0..300),
        vec(Just(0), 0..4),
        vec(prop_oneof![Just(0), Just(0x80), Just(0xff)], 0..74),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::A), Just(Version::B), Just(Version::Y)]
}

fn questions() -> impl Strategy<Value = Vec<(Vec<u8>, [u8; 16], Version)>> {
    vec((password(), any::<[u8; 16]>(), version()), 0..12)
}

fn lanes(portable: bool, width: usize) -> Lanes {
    let mut lanes = if portable { Lanes::with_kernel(Kernel::PORTABLE) } else { Lanes::new() };
    lanes.set_width(Width::new(width).expect("one to eight"));
    lanes
}

fn kept(password: &[u8]) -> Password<'_> {
    Password::new(password, Rules::BYTES).expect("nothing is refused")
}

fn by_the_crate(password: &[u8], cost: Cost, salt: [u8; 16], version: Version) -> String {
    let parts = bcrypt::hash_with_salt(password, cost.get().into(), salt).expect("a cost from 4 to 31");
    parts.format_for_version(match version {
        Version::A => bcrypt::Version::TwoA,
        Version::B => bcrypt::Version::TwoB,
        Version::Y => bcrypt::Version::TwoY,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn hashes_equal_those_of_the_bcrypt_crate(
        questions in questions(), portable: bool, width in 1..=8_usize, cost in 4..=5_u8,
    ) {
        let cost = Cost::new(cost).expect("4 or 5");
        let jobs: Vec<_> = questions
            .iter()
            .map(|(password, salt, version)| Job { password: kept(password), salt: *salt, version: *version })
            .collect();
        let mut hashes = vec![None; jobs.len()];
        let mut lanes = lanes(portable, width);
        lanes.hash_many(cost, &jobs, &mut hashes).expect("a place for each");
        for (hash, (password, salt, version)) in hashes.iter().zip(&questions) {
            let hash = hash.expect("each place was filled").to_string();
            prop_assert_eq!(hash, by_the_crate(password, cost, *salt, *version));
        }
        if let (Some(job), Some(hash)) = (jobs.first(), hashes.first()) {
            prop_assert_eq!(Some(lanes.hash_one(cost, job)), *hash);
        }
    }

    #[test]
    fn answers_equal_those_of_the_bcrypt_crate(
        questions in questions(), wrong: u16, portable: bool, width in 1..=8_usize,
    ) {
        let texts: Vec<_> = questions
            .iter()
            .enumerate()
            .map(|(at, (password, salt, version))| {
                let cost = Cost::new(4 + u8::from(at % 3 == 0)).expect("4 or 5");
                by_the_crate(password, cost, *salt, *version)
            })
            .collect();

        let tried: Vec<_> = questions
            .iter()
            .enumerate()
            .map(|(at, (password, ..))| {
                let mut password = password.clone();
                if wrong >> at & 1 == 1 {
                    password.insert(0, b'!');
                }
                password
            })
            .collect();

        let attempts: Vec<_> = tried
            .iter()
            .zip(&texts)
            .map(|(password, text)| Attempt { password: kept(password), hash: text.parse().expect("a hash") })
            .collect();

        let mut answers = vec![true; attempts.len()];
        let mut lanes = lanes(portable, width);
        lanes.verify_many(&attempts, &mut answers).expect("a place for each");
        for ((answer, text), password) in answers.iter().zip(&texts).zip(&tried) {
            prop_assert_eq!(*answer, bcrypt::verify(password, text).expect("a hash"));
        }
        if let (Some(attempt), Some(answer)) = (attempts.first(), answers.first()) {
            prop_assert_eq!(lanes.verify_one(attempt), *answer);
        }
    }

    #[test]
    fn strict_rules_accept_passwords_that_bcrypt_does_not_truncate(password in password()) {
        let expected = match password.iter().position(|&byte| byte == 0) {
            Some(at) => Err(PasswordError::Nul { at }),
            None if password.len() > 72 => Err(PasswordError::TooLong { bytes: password.len() }),
            None => Ok(()),
        };
        prop_assert_eq!(Password::new(&password, Rules::STRICT).map(|_| ()), expected);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..80)) {
        let _ = Hash::parse(&bytes);
    }

    #[test]
    fn no_text_of_sixty_bytes_makes_the_parser_panic(
        start in "\\$2[abxy]\\$[0-9+]{2}\\$", rest in "[./A-Za-z0-9£€]*",
    ) {
        let text: String = start.chars().chain(rest.chars().cycle().take(60)).collect();
        if let Some(text) = text.get(..60) {
            let _ = text.parse::<Hash>();
        }
    }

    /// A text that parses also parses in the crate, and is written back unchanged.
    #[test]
    fn a_changed_letter_is_refused_or_kept(at in 0..60_usize, letter: u8) {
        let mut text = *b"$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq";
        text[at] = letter;
        if let Ok(hash) = Hash::parse(&text) {
            prop_assert_eq!(hash.to_bytes(), text);
            let parts: bcrypt::HashParts = str::from_utf8(&text).expect("ASCII").parse().expect("a hash");
            prop_assert_eq!(parts.get_salt_raw(), hash.salt());
            prop_assert_eq!(parts.get_cost(), u32::from(hash.cost().get()));
        }
    }

    #[test]
    fn a_text_holds_the_whole_hash(salt: [u8; 16], version in version()) {
        let job = Job { password: kept(b"x"), salt, version };
        let hash = Lanes::new().hash_one(Cost::MIN, &job);
        let read: Hash = hash.to_string().parse().expect("a hash");
        prop_assert_eq!(read, hash);
        prop_assert_eq!((read.salt(), read.version(), read.cost()), (salt, version, Cost::MIN));
        prop_assert_eq!(read.digest(), hash.digest());
    }
}

#[test]
fn a_nul_ends_the_password_where_the_reference_says_so() {
    let salt = [3; 16];
    let mut lanes = Lanes::new();
    let mut digest = |password: &[u8], nul, version| {
        let rules = Rules { nul, ..Rules::STRICT };
        let password = Password::new(password, rules).expect("short");
        lanes.hash_one(Cost::MIN, &Job { password, salt, version }).digest()
    };
    for version in [Version::A, Version::B, Version::Y] {
        let ended = digest(b"secret", Nul::Refuse, version);
        assert_eq!(digest(b"secret\0tail", Nul::Terminate, version), ended);
        assert_ne!(digest(b"secret\0tail", Nul::Keep, version), ended);
    }
}
