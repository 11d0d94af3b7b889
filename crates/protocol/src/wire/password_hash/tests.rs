//! Accepted and refused texts.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

const ARGON2: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                      bWFkZS11cC10YWctb2YtMzItYnl0ZXMtbG9uZy4uLi4";
const BCRYPT: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";

#[test]
fn reads_and_writes_the_same_text() {
    let others = [
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bWFkZS11cC10YWdz",
        "$argon2d$v=19$m=65536,t=64,p=16$c29tZXNhbHQ$bWFkZS11cC10YWdz",
        "$2a$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "$2y$16$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXfPaWxn96p36WQoeG6Lruj3vjPGga31lX",
    ];
    for text in [ARGON2, BCRYPT].into_iter().chain(others) {
        let hash = StoredHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(hash.to_string(), text);
        assert!(!format!("{hash:?}").contains('$'));
    }
    let Ok(Format::Argon2(hash)) = StoredHash::parse(ARGON2).map(|hash| hash.format) else {
        panic!("argon2")
    };
    assert_eq!((hash.memory, hash.iterations, hash.parallelism), (19456, 2, 1));
    assert_eq!(hash.salt, b"somesaltsomesalt");
    let hash = StoredHash::parse(BCRYPT).unwrap();
    assert_eq!(hash.kind(), "bcrypt");
    let Format::Bcrypt(BcryptHash { cost, salt, tag, .. }) = hash.format else { panic!("bcrypt") };
    assert_eq!(BcryptHash::new(cost, salt, tag).to_string(), BCRYPT);
}

#[test]
fn invalid_hashes_are_refused_with_the_invalid_part() {
    use Unusable::{Malformed, TooExpensive, Unknown};
    let with = |from: &str, to: &str| ARGON2.replacen(from, to, 1);
    let blow = |from: &str, to: &str| BCRYPT.replacen(from, to, 1);

    let cases = [
        (String::new(), Unknown),
        ("$".to_owned(), Unknown),
        ("$$$$".to_owned(), Unknown),
        ("plain text".to_owned(), Unknown),
        ("5f4dcc3b5aa765d61d8327deb882cf99".to_owned(), Unknown),
        (ARGON2.replacen('$', "", 1), Unknown),
        (with("argon2id", "Argon2id"), Unknown),
        (with("v=19", "v=16"), Malformed("version")),
        (with("$v=19", ""), Malformed("version")),
        (with("m=19456", "m=019456"), Malformed("memory")),
        (with("m=19456", "m=+19456"), Malformed("memory")),
        (with("m=19456", "m="), Malformed("memory")),
        (with("m=19456", "m=7"), Malformed("memory")),
        (with("m=19456", "m=99999999999"), Malformed("memory")),
        (with("m=19456", "m=1048577"), TooExpensive("memory")),
        (with("t=2", "t=0"), Malformed("iterations")),
        (with("t=2", "t=65"), TooExpensive("iterations")),
        (with("m=19456,t=2", "m=1048576,t=5"), TooExpensive("memory times iterations")),
        (with("p=1", "p=17"), TooExpensive("parallelism")),
        (with("m=19456,t=2", "t=2,m=19456"), Malformed("memory")),
        (with("p=1", "p=1,data=AA"), Malformed("parameters")),
        (with("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdA=="), Malformed("salt")),
        (with("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdB"), Malformed("salt")),
        (with("c29tZXNhbHRzb21lc2FsdA", "c2Fs"), Malformed("salt")),
        (with("c29tZXNhbHRzb21lc2FsdA", "cä"), Malformed("salt")),
        (format!("{ARGON2}$AA"), Malformed("parts")),
        (format!("{ARGON2}\n"), Malformed("control character")),
        (ARGON2.replace("$v", "\0$v"), Malformed("control character")),
        (ARGON2.rsplit_once('$').unwrap().0.to_owned(), Malformed("tag")),
        (blow("$2b$", "$2$"), Unknown),
        (blow("$2b$", "$2x$"), Unknown),
        (blow("12", "1"), Malformed("cost")),
        (blow("12", "+4"), Malformed("cost")),
        (blow("12", "03"), Malformed("cost")),
        (blow("12", "17"), TooExpensive("cost")),
        (blow("12", "99"), TooExpensive("cost")),
        (blow("12", "１２"), Malformed("cost")),
        (blow("lW", "l"), Malformed("length")),
        (blow("lW", "lWW"), Malformed("length")),
        (blow("lW", "ü"), Malformed("tag")),
        (blow("XePaW", "XePaé"), Malformed("length")),
        (blow("Eix", "üx"), Malformed("salt")),
        (blow("Eix", "E+x"), Malformed("salt")),
        (blow("Eix", "E\0x"), Malformed("control character")),
        ("$2b$".to_owned(), Malformed("cost")),
        ("$2b$12$".to_owned(), Malformed("length")),
        (format!("$2b$12${}", "a".repeat(1 << 20)), Malformed("length")),
    ];

    for (text, error) in cases {
        assert_eq!(StoredHash::parse(&text), Err(error), "{text:.80}");
    }
}

/// Texts written by the original programs: kind, text, and the password in JSON.
const VECTORS: &str = include_str!("../../../../../testkit/data/password-hashes.tsv");

fn vectors() -> impl Iterator<Item = (&'static str, &'static str)> {
    VECTORS.lines().map(|line| {
        let mut columns = line.split('\t');
        (columns.next().unwrap(), columns.next().unwrap())
    })
}

#[test]
fn every_format_is_read_and_written() {
    let mut kinds = std::collections::BTreeSet::new();
    for (kind, text) in vectors() {
        let hash = StoredHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((hash.kind(), hash.to_string().as_str()), (kind, text));
        let debug = format!("{hash:?} {:?}", hash.format());
        assert!(!debug.contains('$') && debug.len() < 250, "{debug}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 12, "{kinds:?}");
}

#[test]
fn imported_hashes_are_marked_and_own_ones_are_not() {
    for (_, text) in vectors() {
        let imported = StoredHash::from_origin(text, Rules::Imported).unwrap();
        assert_eq!(imported.rules(), Rules::Imported);
        assert_eq!(imported.origin_text(), text);
        assert_eq!(StoredHash::parse(&imported.to_string()).unwrap(), imported);
        // Without the marker the format determines the rules, where it can.
        let bare = StoredHash::parse(text).unwrap();
        let ours = ["$argon2", "$2"].iter().any(|prefix| text.starts_with(prefix));
        assert_eq!(bare.rules(), if ours { Rules::Ours } else { Rules::Imported }, "{text}");
        assert_eq!(StoredHash::from_origin(text, Rules::Ours).is_ok(), ours, "{text}");
    }
    // The marker is added by us, and only once.
    let marked = format!("import:{BCRYPT}");
    assert_eq!(StoredHash::from_origin(&marked, Rules::Imported), Err(Unusable::Unknown));
    assert_eq!(StoredHash::parse(&format!("import:{marked}")), Err(Unusable::Unknown));
    for rules in [Rules::Ours, Rules::Imported] {
        assert_eq!(Rules::parse(rules.as_str()), Some(rules));
    }
}

#[test]
fn invalid_bcrypt_and_pbkdf2_imports_are_refused_with_the_invalid_part() {
    use Unusable::{Malformed, TooExpensive, Unknown};
    let letters = "EixZaYVK1fsbw1ZfbX3OXe$PaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let tag = "A".repeat(43);
    let hex = "0".repeat(64);

    let cases = [
        (format!("$bcrypt-sha256$v=2,t=2b,r=17${letters}"), TooExpensive("cost")),
        (format!("$bcrypt-sha256$v=2,t=2b,r=012${letters}"), Malformed("cost")),
        (format!("$bcrypt-sha256$v=2,t=2b,r=300${letters}"), Malformed("cost")),
        (format!("$bcrypt-sha256$v=2,t=2a,r=12${letters}"), Malformed("parameters")),
        (format!("$bcrypt-sha256$v=3,t=2b,r=12${letters}"), Malformed("parameters")),
        (format!("$bcrypt-sha256$2y,12${letters}"), Malformed("parameters")),
        (format!("$bcrypt-sha256$v=2,t=2b,r=12${}", letters.replace("Xe$", "Xf$")), Malformed("salt")),
        (format!("$bcrypt-sha256$v=2,t=2b,r=12${}", letters.replace('$', "")), Malformed("parts")),
        (format!("$bcrypt-sha256$v=2,t=2b,r=12$ü{}", &letters[1..]), Malformed("salt")),
        ("bcrypt_sha256$2b$12$x".to_owned(), Malformed("bcrypt")),
        ("bcrypt$$2x$12$x".to_owned(), Malformed("bcrypt")),
        (format!("bcrypt$${}", &BCRYPT[1..].replace("12", "31")), TooExpensive("cost")),
        (format!("pbkdf2_sha256$5000001$salt${tag}="), TooExpensive("iterations")),
        (format!("pbkdf2_sha256$99999999999$salt${tag}="), Malformed("iterations")),
        (format!("pbkdf2_sha256$0$salt${tag}="), Malformed("iterations")),
        (format!("pbkdf2_sha256$-1$salt${tag}="), Malformed("iterations")),
        (format!("pbkdf2_sha256$1000$salt${tag}"), Malformed("tag")),
        (format!("pbkdf2_sha256$1000$sa$lt${tag}="), Malformed("parts")),
        (format!("pbkdf2_sha256$1000$salt${}", "AAAA"), Malformed("tag")),
        (format!("pbkdf2_sha256$1000${}${tag}=", "s".repeat(129)), Malformed("salt")),
        (format!("pbkdf2_sha224$1000$salt${tag}="), Unknown),
        // Two blocks, each within the cap.
        (format!("$pbkdf2-sha256$3000000$${}", "A".repeat(86)), TooExpensive("iterations")),
        (format!("$pbkdf2-sha256$1000$c+lt${tag}"), Malformed("salt")),
        (format!("$pbkdf2-sha384$1000$c2Fs${tag}"), Unknown),
        (format!("pbkdf2:sha224:1000$salt${hex}"), Malformed("digest")),
        (format!("pbkdf2:sha256$salt${hex}"), Malformed("parts")),
        (format!("pbkdf2:sha256:1000$salt${}", hex.replacen('0', "A", 1)), Malformed("tag")),
        (format!("pbkdf2:sha256:1000$salt${}", &hex[1..]), Malformed("tag")),
    ];

    refused(cases);
}

#[test]
fn invalid_scrypt_and_crypt_imports_are_refused_with_the_invalid_part() {
    use Unusable::{Malformed, TooExpensive, Unknown};
    let tag = "A".repeat(43);
    let hex = "0".repeat(64);

    let cases = [
        (format!("scrypt:32767:8:1$salt${hex}"), Malformed("memory")),
        (format!("scrypt:1:8:1$salt${hex}"), Malformed("memory")),
        (format!("scrypt:1048576:8:1$salt${hex}"), TooExpensive("memory")),
        (format!("scrypt:2147483648:4294967295:4294967295$salt${hex}"), TooExpensive("block size")),
        (format!("scrypt:2147483648:64:64$salt${hex}"), TooExpensive("memory")),
        (format!("scrypt:262144:8:2$salt${hex}"), TooExpensive("parallelism")),
        (format!("scrypt:1024:8:4294967295$salt${hex}"), TooExpensive("parallelism")),
        (format!("scrypt:1024:0:1$salt${hex}"), Malformed("block size")),
        (format!("$scrypt$ln=63,r=8,p=1$c2Fs${tag}"), TooExpensive("memory")),
        (format!("$scrypt$ln=4294967295,r=8,p=1$c2Fs${tag}"), TooExpensive("memory")),
        (format!("$scrypt$ln=0,r=8,p=1$c2Fs${tag}"), Malformed("memory")),
        (format!("$scrypt$ln=10,r=8$c2Fs${tag}"), Malformed("parameters")),
        (format!("scrypt$1024$salt$8${tag}="), Malformed("parts")),
        (format!("$firebase-scrypt$ln=20,r=8,p=1$c2Fs${tag}"), TooExpensive("memory")),
        ("$firebase-scrypt$ln=14,r=8,p=1$c2Fs$AAAA".to_owned(), Malformed("tag")),
        (format!("$5$rounds=999$salt${tag}"), Malformed("rounds")),
        (format!("$5$rounds=500001$salt${tag}"), TooExpensive("rounds")),
        (format!("$5$rounds=05000$salt${tag}"), Malformed("rounds")),
        (format!("$5$rounds=5000${tag}"), Malformed("parts")),
        (format!("$5$seventeen-letters${tag}"), Malformed("salt")),
        (format!("$5$sa:t${tag}"), Malformed("salt")),
        (format!("$5$salt${tag}A"), Malformed("tag")),
        (format!("$5$salt${}z", &tag[1..]), Malformed("tag")),
        (format!("$5$salt${}ü", &tag[2..]), Malformed("tag")),
        (format!("$6$salt${tag}"), Malformed("tag")),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/".to_owned(), Malformed("tag")),
        ("$1$saltsalts$qJH7.N4xYta3aEG/dfqo/0".to_owned(), Malformed("salt")),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/z".to_owned(), Malformed("tag")),
        (format!("{{SSHA}}{tag}"), Malformed("tag")),
        ("{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(), Malformed("salt")),
        ("$P$A".to_owned(), Malformed("salt")),
        ("$P$zsaltsaltAAAAAAAAAAAAAAAAAAAAAA".to_owned(), TooExpensive("iterations")),
        ("$P$.saltsaltAAAAAAAAAAAAAAAAAAAAAA".to_owned(), Malformed("iterations")),
        ("md5$salt$xyz".to_owned(), Malformed("tag")),
        ("$wp$2y$04$".to_owned(), Malformed("length")),
        ("$bcrypt-pepper$$2a$04$x".to_owned(), Malformed("pepper")),
        (format!("{{CRYPT}}{tag}"), Unknown),
        (format!("{{CRYPT}}{{CRYPT}}{BCRYPT}"), Unknown),
        ("argon2$argon2x$v=19$".to_owned(), Malformed("argon2")),
        ("!".to_owned(), Unknown),
        (format!("$6${}", "a".repeat(1 << 20)), Malformed("length")),
    ];

    refused(cases);
}

fn refused(cases: impl IntoIterator<Item = (String, Unusable)>) {
    for (text, error) in cases {
        let found = StoredHash::from_origin(&text, Rules::Imported).map(|hash| hash.kind());
        assert_eq!(found, Err(error), "{text:.80}");
    }
}

#[test]
fn parsing_truncated_and_changed_hashes_never_panics() {
    for (_, text) in vectors() {
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            let _ = StoredHash::parse(head);
            for other in ["\0", "$", "=", ",", ":", "9", "A", "é", "\u{10FFFF}"] {
                let changed = format!("{head}{other}{}", &tail[1..]);
                if let Ok(hash) = StoredHash::parse(&changed) {
                    assert_eq!(hash.to_string(), changed);
                }
            }
        }
    }
}

#[test]
fn hashes_of_one_cost_are_one_class() {
    let class = |text: &str| StoredHash::parse(text).unwrap().cost_class();
    assert_eq!(class(BCRYPT), CostClass::Bcrypt { cost: 12 });
    assert_eq!(class(BCRYPT), class(&format!("bcrypt_sha256${BCRYPT}")));
    assert_eq!(class(BCRYPT), class(&format!("import:{}", BCRYPT.replace("2b", "2y"))));
    assert_ne!(class(BCRYPT), class(&BCRYPT.replace("12", "11")));
    let classes: std::collections::HashSet<_> = vectors().map(|(_, text)| class(text)).collect();
    assert!(classes.contains(&CostClass::ShaCrypt { wide: true, rounds: 5000 }));
    let most = class("import:$5$rounds=500000$$mAwhFY7O7ZrOdMqLHnXfo0MEchkMOxIjJUTi3.3mBs5");
    assert_eq!(most, CostClass::ShaCrypt { wide: false, rounds: 500_000 });
    assert!(classes.contains(&CostClass::Pbkdf2 { digest: Digest::Sha256, iterations: 1000, blocks: 2 }));
}

#[test]
fn keycloak_credentials_become_one_text() {
    use Unusable::{Malformed, Unknown};
    let data = r#"{"hashIterations":27500,"algorithm":"pbkdf2-sha256","additionalParameters":{}}"#;
    let secret =
        r#"{"value":"++++AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","salt":"c2FsdHNhbHQ+Pg==","x":1}"#;
    let text = keycloak(data, secret).unwrap();
    assert_eq!(text, "$pbkdf2-sha256$27500$c2FsdHNhbHQ.Pg$....AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let Format::Pbkdf2(hash) = StoredHash::parse(&text).unwrap().format else { panic!("pbkdf2") };
    assert_eq!((hash.iterations.get(), hash.salt.as_slice()), (27500, &b"saltsalt>>"[..]));

    let argon2 = r#"{"hashIterations":5,"algorithm":"argon2","additionalParameters":
        {"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}"#;
    let text = keycloak(argon2, secret).unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ+Pg$"), "{text}");
    assert!(StoredHash::parse(&text).is_ok());

    for (data, secret, error) in [
        (&*data.replace("sha256", "md5"), secret, Unknown),
        (&*data.replace("27500", "-1"), secret, Malformed("credentialData")),
        ("{", secret, Malformed("credentialData")),
        (data, "[]", Malformed("secretData")),
        (data, r#"{"value":"AAAA","salt":"!"}"#, Malformed("salt")),
        (&*argon2.replace("1.3", "1.0"), secret, Malformed("version")),
        (&*argon2.replace(r#"["7168"]"#, "[]"), secret, Malformed("memory")),
        (&" ".repeat(5000), secret, Malformed("credentialData")),
    ] {
        assert_eq!(keycloak(data, secret), Err(error), "{data:.80}");
    }
}

/// The example in Firebase's documentation.
#[test]
fn firebase_hashes_lose_the_signer_key() {
    const KEY: &str =
        "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";
    const HASH: &str =
        "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    let config =
        format!(r#"{{"base64_signer_key":"{KEY}","base64_salt_separator":"Bw==","rounds":8,"mem_cost":14}}"#);
    let project = FirebaseProject::parse(&config).unwrap();
    let text = project.text(HASH, "42xEC+ixf3L2lw==").unwrap();
    assert!(text.starts_with("$firebase-scrypt$ln=14,r=8,p=1$42xEC+ixf3L2lwc$"), "{text}");
    assert_eq!(text, project.text(&HASH.replace('+', "-").replace('/', "_"), "42xEC-ixf3L2lw==").unwrap());
    assert!(StoredHash::parse(&text).is_ok());
    assert!(!text.contains(&KEY[..20]) && !format!("{project:?}").contains(&KEY[..20]));

    assert_eq!(project.text("AAAA", "AAAA"), Err(Unusable::Malformed("passwordHash")));
    assert_eq!(project.text(HASH, "A"), Err(Unusable::Malformed("salt")));
    let short = config.replace(KEY, "AAAA");
    assert_eq!(FirebaseProject::parse(&short).err(), Some(Unusable::Malformed("base64_signer_key")));
}

/// The documentation page names every kind, and the actual caps.
#[test]
fn the_page_lists_every_kind_and_cap() {
    const PAGE: &str = include_str!("../../../../../docs/password-hashes.md");
    for (kind, _) in vectors() {
        assert!(PAGE.contains(&format!("`{kind}`")), "{kind}");
    }
    for cap in [
        format!("{} MiB", ARGON2_MAX_MEMORY >> 10),
        format!("{ARGON2_MAX_ITERATIONS} passes"),
        format!("{ARGON2_MAX_PARALLELISM} lanes"),
        format!("{} MiB times passes", ARGON2_MAX_WORK >> 10),
        format!("cost {} to {}", BCRYPT_COST.start(), BCRYPT_COST.end()),
        format!("{PBKDF2_MAX_ITERATIONS} iterations"),
        format!("128·N·r·p up to {} MiB", SCRYPT_MAX_BYTES >> 20),
        format!("r and p up to {SCRYPT_MAX_FACTOR}"),
        format!("{} to {} rounds", SHA_CRYPT_ROUNDS.start(), SHA_CRYPT_ROUNDS.end()),
        format!("{SHA_CRYPT_PASSWORD_BYTES} bytes"),
        format!("{STORED_BYTES} bytes"),
    ] {
        assert!(PAGE.contains(&cap), "{cap}");
    }
}

proptest! {
    #[test]
    fn parsing_a_hash_never_panics_and_keeps_its_text(
        text in any::<String>(), rest in any::<String>(), index in 0_usize..120, c in any::<char>(),
    ) {
        let mut texts = vec![text];
        for prefix in [
            "$2b$12$", "$argon2id$v=19$", "argon2$", "$bcrypt-sha256$", "bcrypt$", "pbkdf2_sha256$",
            "$pbkdf2$1$", "pbkdf2:sha256:", "$scrypt$ln=", "scrypt$", "scrypt:", "$firebase-scrypt$", "$5$",
            "$6$rounds=", "{CRYPT}", "import:",
        ] {
            texts.push(format!("{prefix}{rest}"));
        }
        for known in [ARGON2, BCRYPT] {
            let mut chars: Vec<char> = known.chars().collect();
            if let Some(slot) = chars.get_mut(index) {
                *slot = c;
            }
            texts.push(chars.into_iter().collect());
        }
        for text in texts {
            if let Ok(hash) = StoredHash::parse(&text) {
                prop_assert_eq!(hash.to_string(), text);
            }
        }
    }
}
