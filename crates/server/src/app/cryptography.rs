//! The cryptographic inventory, generated from the registry of key purposes (OWASP ASVS 5.0 §11.1).

use std::fmt::Write as _;

use protocol::sealed::purpose::Purpose;

/// Secrets and keys that are not made for a purpose of the registry: what, algorithm and length, place,
/// holder, life and rotation.
const OTHERS: [[&str; 5]; 12] = [
    [
        "master key",
        "256 bits, random",
        "`master_key_file`, the same on every node",
        "server and commands",
        "until replaced: [master keys](../operations/keys.md)",
    ],
    [
        "signing key",
        "ES256 (P-256), EdDSA (Ed25519) or RS256 (3072 bits), by `tokens.algorithm`",
        "table `keys`, sealed",
        "server and commands; the public key in `/.well-known/jwks.json`",
        "`tokens.key_rotation` (90d), published 24 h ahead; `keys rotate`",
    ],
    [
        "shared secret of HS256",
        "HMAC-SHA-256, 256 bits or more",
        "`tokens.hs256_secret_file`",
        "server, and every application that verifies tokens",
        "until the file is replaced; access tokens of before are refused at once",
    ],
    [
        "pepper",
        "256 bits, random",
        "table `peppers`, sealed",
        "server and commands",
        "`keys rotate --pepper`; an old one is removed when no hash needs it",
    ],
    [
        "detail key of a user",
        "AES-256-GCM, 256 bits, random",
        "table `audit_keys` and `audit/keys`, sealed",
        "server and commands",
        "until the user is erased",
    ],
    [
        "password hash",
        "Argon2id (19 MiB, 2 passes, 1 lane) or bcrypt (cost 12), by `passwords.*`",
        "table `credentials`",
        "nothing: one-way",
        "replaced at a login when the setting has changed",
    ],
    [
        "secret of a refresh token",
        "256 bits, random; stored as SHA-256",
        "table `sessions`",
        "the client",
        "one use, and the grace time; at most `tokens.refresh_ttl`",
    ],
    [
        "client secret",
        "256 bits, random; stored as SHA-256",
        "table `clients`",
        "the client",
        "until `client rotate`",
    ],
    [
        "webhook secret",
        "HMAC-SHA-256, 192 to 512 bits",
        "`audit.webhook_secret_file`",
        "server and receiver",
        "until replaced; two lines while both count",
    ],
    [
        "TLS key and certificate",
        "TLS 1.2 and 1.3 (rustls); the algorithm of the certificate",
        "`server.tls_key_file`, `server.tls_cert_file`",
        "server",
        "as the certificate; loaded again when the files change",
    ],
    [
        "TLS of outgoing connections",
        "TLS 1.2 and 1.3 (rustls), the system's authorities or the named ones",
        "`database.tls_ca_file`, `redis.tls_ca_file`, `audit.sink_ca_file`",
        "server and commands",
        "one connection",
    ],
    ["chain of the audit trail", "SHA-256; no key", "the journal, `audit_events`", "public", "not replaced"],
];

/// The page.
pub(super) fn markdown() -> String {
    let mut page = String::from(
        "# Cryptographic inventory\n\n\
         Generated from the registry of key purposes (`crates/protocol/src/sealed/purpose.rs`). How a master \
         key is replaced: [master keys](../operations/keys.md). Random values come from the operating \
         system's generator, through aws-lc-rs; so do all algorithms but Argon2, bcrypt and scrypt.\n\n\
         ## Made for a purpose\n\n\
         | what | algorithm and length | place | holder | life | when the master key rotates |\n\
         |---|---|---|---|---|---|\n",
    );
    for purpose in Purpose::ALL {
        let about = purpose.description();
        let moves_on = about.moves_on.describe();
        let (what, algorithm, place) = (about.what, about.algorithm, about.place);
        let (holder, life) = (about.holder, about.life);
        let _ = writeln!(page, "| {what} | {algorithm} | {place} | {holder} | {life} | {moves_on} |");
    }

    page.push_str("\nThe labels that tell the purposes apart: ");
    let labels: Vec<_> =
        Purpose::ALL.iter().map(|purpose| format!("`{}`", purpose.description().label)).collect();
    page.push_str(&labels.join(", "));
    page.push_str(
        ".\n\n## Keys, secrets and other algorithms\n\n\
         | what | algorithm and length | place | holder | life and rotation |\n\
         |---|---|---|---|---|\n",
    );
    for [what, algorithm, place, holder, life] in OTHERS {
        let _ = writeln!(page, "| {what} | {algorithm} | {place} | {holder} | {life} |");
    }
    page
}
