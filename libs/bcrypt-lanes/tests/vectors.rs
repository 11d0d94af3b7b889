//! Known answers: those of Openwall's crypt_blowfish and John the Ripper, of OpenBSD by way of jBCrypt, and a
//! few of other implementations.
#![expect(clippy::expect_used, reason = "a known vector that is not one is a failed test")]

use bcrypt_lanes::{Attempt, Hash, Kernel, Lanes, Password, Rules, Width};

const LONG: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\
    0123456789chars after 72 are ignored";
const LONG_CUT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Quick ones, for every kernel and width.
const VECTORS: &[(&str, &[u8])] = &[
    // Openwall, John the Ripper
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U"),
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", b"U*U*"),
    ("$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", b"U*U*U"),
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", b""),
    ("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", LONG),
    ("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", LONG_CUT),
    ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3"),
    ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xff\xff\xa3"),
    ("$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3"),
    ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6", &[0xaa; 98]),
    // OpenBSD, jBCrypt
    ("$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.", b""),
    ("$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", b"a"),
    ("$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i", b"abc"),
    ("$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC", b"abcdefghijklmnopqrstuvwxyz"),
    ("$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO", b"~!@#$%^&*()      ~!@#$%^&*()PNBFRD"),
    // PHP, Python, Node, Go
    ("$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96", b"password"),
    ("$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie", b"correctbatteryhorsestapler"),
    ("$2a$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi", b"correctbatteryhorsestapler"),
    ("$2a$05$......................YgIDy4hFBdVlc/6LHnD9mX488r9cLd2", &[b'x'; 100]),
];

/// Slower ones, with one kernel.
const COSTLY: &[(&str, &[u8])] = &[
    ("$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz.", b"abcdefghijklmnopqrstuvwxyz"),
    ("$2a$10$k1wbIrmNyFAPwPVPSVa/zecw2BCEnBwVS2GbrmgzxFUOqW9dk4TCW", b""),
    ("$2a$12$k42ZFHFWqBp3vWli.nIn8uYyIkbvYRvodzbfbK18SSsY.CsIQPlxO", b""),
    ("$2a$12$8NJH3LsPrANStV6XtBakCez0cKHXVxmvxIlcz785vxAIZrihHZpeS", b"a"),
];

fn attempts(vectors: &'static [(&str, &[u8])]) -> Vec<Attempt<'static>> {
    let attempt = |&(text, password): &(&str, &'static [u8])| Attempt {
        password: Password::new(password, Rules::CRYPT).expect("nothing is refused"),
        hash: text.parse().expect("a hash"),
    };
    vectors.iter().map(attempt).collect()
}

fn all_match(lanes: &mut Lanes, vectors: &'static [(&str, &[u8])]) {
    let attempts = attempts(vectors);
    let mut answers = vec![false; attempts.len()];
    lanes.verify_many(&attempts, &mut answers).expect("a place for each");
    for (answer, (text, _)) in answers.iter().zip(vectors) {
        assert!(answer, "{text} with {lanes:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of hashes")]
fn every_width_of_every_kernel_has_the_known_answers() {
    for mut lanes in [Lanes::new(), Lanes::with_kernel(Kernel::PORTABLE)] {
        for width in Width::all() {
            lanes.set_width(width);
            all_match(&mut lanes, VECTORS);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "high costs")]
fn high_costs_have_the_known_answers() {
    all_match(&mut Lanes::new(), COSTLY);
}

#[test]
fn texts_come_back_as_they_were() {
    for (text, _) in VECTORS.iter().chain(COSTLY) {
        let hash: Hash = text.parse().expect("a hash");
        assert_eq!(hash.to_string(), *text);
        assert_eq!(hash.to_bytes(), text.as_bytes());
    }
}

#[test]
#[cfg_attr(miri, ignore = "dozens of hashes")]
fn one_bit_of_a_password_matters() {
    let mut lanes = Lanes::new();
    for attempt in attempts(&VECTORS[15..18]) {
        let mut near = b"correctbatteryhorsestaples".to_vec();
        near[0] ^= 1;
        let password = Password::new(&near, Rules::STRICT).expect("short");
        assert!(lanes.verify_one(&attempt));
        assert!(!lanes.verify_one(&Attempt { password, ..attempt }));
    }
}
