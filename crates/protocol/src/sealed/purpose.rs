//! The registry of key purposes: every label under which a key is derived, or a text is sealed or signed,
//! with how it moves on when the master key rotates.
//!
//! [`aead::derive`](super::aead::derive), the keyring and the checkpoint keys take a [`Purpose`], so a label
//! that is not in this list does not compile. The cryptographic inventory (`docs/generated`) is made from it.

/// How what is made for a purpose moves on when another line of the keyring becomes the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovesOn {
    /// Sealed again under the first line: in the database by `keys reseal`, in a node's file at its start.
    Resealed,
    /// The first line authenticates what is new; every other line, also a retired one, what it made before.
    KeptWhileRetired,
    /// The first line signs; what other lines signed is verified with their public keys, which stay.
    PublicKey,
    /// Made again under the first line; what was made before is not compared with what comes after.
    MadeAnew,
    /// Hangs on another secret, not on the master key, and moves on with that.
    WithItsSecret,
}

impl MovesOn {
    /// For the inventory: what happens at a rotation of the master key.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Resealed => "sealed again: by `keys reseal`, and in a node's files at its start",
            Self::KeptWhileRetired => "the old line verifies while it is in the keyring, also as `retired`",
            Self::PublicKey => "verified with the old line's public key, for which the new line vouches",
            Self::MadeAnew => "made anew; values from before are not compared with later ones",
            Self::WithItsSecret => "independent of the master key",
        }
    }
}

/// What a purpose is, in the words of the inventory.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The bytes that tell this purpose from every other.
    pub label: &'static str,
    /// What is made.
    pub what: &'static str,
    /// Algorithm and length.
    pub algorithm: &'static str,
    /// Where the secret is.
    pub place: &'static str,
    /// What holds it in the clear.
    pub holder: &'static str,
    /// How long one secret is used, and by what it is replaced.
    pub life: &'static str,
    /// How it moves on when the master key rotates.
    pub moves_on: MovesOn,
}

macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident { $($member:ident: $value:expr),* $(,)? })*) => {
        /// What a key is derived for, or a text is sealed or signed for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Purpose {
            $($(#[$doc])* $name,)*
        }

        impl Purpose {
            /// Every purpose.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is.
            pub const fn description(self) -> Description {
                match self {
                    $(Self::$name => Description { $($member: $value),* },)*
                }
            }
        }
    };
}

purposes! {
    /// Seals the private keys that sign access tokens.
    SigningKey {
        label: "gatewright envelope v1: signing key",
        what: "envelope of a signing key",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the master key and a salt of 128 bits",
        place: "table `keys`",
        holder: "server and commands",
        life: "one key an envelope",
        moves_on: MovesOn::Resealed,
    }
    /// Seals the peppers.
    Pepper {
        label: "gatewright envelope v1: pepper",
        what: "envelope of a pepper",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the master key and a salt of 128 bits",
        place: "table `peppers`",
        holder: "server and commands",
        life: "one key an envelope",
        moves_on: MovesOn::Resealed,
    }
    /// Seals the realm's own key.
    RealmKey {
        label: "gatewright envelope v1: realm key",
        what: "envelope of the realm's own key, from which keys are derived that outlive the master key",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the master key and a salt of 128 bits",
        place: "table `realm`",
        holder: "server and commands",
        life: "one key an envelope; the realm's key as the realm",
        moves_on: MovesOn::Resealed,
    }
    /// Makes the digests by which an import recognises the hash of a system.
    OriginHashDigest {
        label: "gatewright realm key v1: digest of an imported hash",
        what: "keyed digest of a password hash as another system had it",
        algorithm: "HMAC-SHA-256; key by HKDF-SHA-256 of the realm's key",
        place: "table `credentials`",
        holder: "server and commands",
        life: "as the realm",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Makes the digests of the emails of erased accounts.
    ErasedEmailDigest {
        label: "gatewright realm key v1: digest of an erased email",
        what: "keyed digest of the email of an erased account",
        algorithm: "HMAC-SHA-256; key by HKDF-SHA-256 of the realm's key",
        place: "table `erased_emails`",
        holder: "server and commands",
        life: "as the realm",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Seals second factors.
    SecondFactor {
        label: "gatewright realm key v1: second factor",
        what: "seal of a second factor",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the realm's key and the second factor's id",
        place: "table `second_factors`",
        holder: "server and commands",
        life: "one key a second factor",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Seals the keys of audit details.
    AuditDetailKey {
        label: "gatewright envelope v1: audit detail key",
        what: "envelope of a user's detail key",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the master key and a salt of 128 bits",
        place: "table `audit_keys`; `audit/keys` and `audit/cli/keys` of every node",
        holder: "server and commands",
        life: "one key an envelope",
        moves_on: MovesOn::Resealed,
    }
    /// Authenticates refresh tokens.
    RefreshTokenMac {
        label: "gatewright derived key v1: refresh-token mac",
        what: "MAC of refresh tokens",
        algorithm: "HMAC-SHA-256, 256 bits, truncated to 128; key by HKDF-SHA-256 of the master key",
        place: "memory",
        holder: "server and commands",
        life: "as the master key",
        moves_on: MovesOn::KeptWhileRetired,
    }
    /// Makes the keyed hashes of a client's network and user agent.
    SessionClientMark {
        label: "gatewright derived key v1: session client",
        what: "keyed hashes of the network and the user agent of a session's client",
        algorithm: "HMAC-SHA-256, truncated to 64 bits each; key by HKDF-SHA-256 of the master key",
        place: "table `sessions`",
        holder: "server and commands",
        life: "as the master key",
        moves_on: MovesOn::KeptWhileRetired,
    }
    /// Makes the keyed hash of a submitted identifier.
    IdentifierDigest {
        label: "gatewright derived key v1: identifier digest",
        what: "keyed hash of an unknown username or email in the audit trail",
        algorithm: "HMAC-SHA-256, truncated to 96 bits; key by HKDF-SHA-256 of the master key",
        place: "memory",
        holder: "server and commands",
        life: "as the master key",
        moves_on: MovesOn::MadeAnew,
    }
    /// Makes the names that are used in Redis.
    RedisName {
        label: "gatewright derived key v1: name in Redis",
        what: "keyed hashes of networks, accounts and sessions that limits count in Redis; the name of the \
               channel on which nodes tell each other of ended sessions",
        algorithm: "HMAC-SHA-256; key by HKDF-SHA-256 of the master key",
        place: "Redis, until a limit's time is over",
        holder: "server",
        life: "as the master key",
        moves_on: MovesOn::MadeAnew,
    }
    /// Makes the key that signs checkpoints of the audit trail.
    CheckpointSigning {
        label: "gatewright derived key v1: audit checkpoint signing",
        what: "signature of checkpoints of the audit trail",
        algorithm: "Ed25519, seed by HKDF-SHA-256 of the master key",
        place: "memory; the public key in table `master_keys` and in `audit/checkpoint-keys`",
        holder: "server and commands",
        life: "as the master key",
        moves_on: MovesOn::PublicKey,
    }
    /// Signs that a checkpoint key follows another one.
    CheckpointSuccession {
        label: "gatewright checkpoint succession v1",
        what: "statement that the checkpoint key of a new line vouches for that of an old one",
        algorithm: "two Ed25519 signatures, by both checkpoint keys",
        place: "table `master_keys`; `audit/checkpoint-keys`",
        holder: "public",
        life: "not replaced",
        moves_on: MovesOn::PublicKey,
    }
    /// Signs where the rows of a journal begin.
    AuditKept {
        label: "gatewright audit kept v1",
        what: "statement where the rows of a journal begin, since retention removed those before",
        algorithm: "Ed25519, by the checkpoint key",
        place: "table `audit_journals`",
        holder: "public",
        life: "until the next retention",
        moves_on: MovesOn::PublicKey,
    }
    /// Signs that records could not be read.
    AuditDeadLetter {
        label: "gatewright audit dead letter v1",
        what: "statement that records of a journal could not be read",
        algorithm: "Ed25519, by the checkpoint key",
        place: "`audit/dead-letter.jsonl` of every node",
        holder: "public",
        life: "not replaced",
        moves_on: MovesOn::PublicKey,
    }
    /// Seals stored password hashes with a pepper.
    PasswordHash {
        label: "gatewright pepper v1: password",
        what: "seal of a stored password hash (`passwords.pepper`)",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the pepper (256 bits, random) and the user's uuid",
        place: "table `credentials`",
        holder: "server and commands",
        life: "until `keys rotate --pepper`; hashes are sealed again in the background",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Binds the detail of an audit record to its key and user.
    AuditDetail {
        label: "audit detail v1",
        what: "detail of an audit record",
        algorithm: "AES-256-GCM under the user's detail key (256 bits, random)",
        place: "the audit trail",
        holder: "server and commands",
        life: "until the user is erased",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Seals the successor of a refresh token under the token itself.
    RefreshSuccessor {
        label: "gatewright refresh-token successor v1",
        what: "sealed successor of a refresh token",
        algorithm: "AES-256-GCM, key by HKDF-SHA-256 of the token's secret (256 bits) and the session",
        place: "table `sessions`",
        holder: "the client that has the token",
        life: "one rotation of the token",
        moves_on: MovesOn::WithItsSecret,
    }
    /// Names the shared secret of HS256 in the header of a token.
    SharedSecretName {
        label: "gatewright hs256 key id v1",
        what: "`kid` of the shared secret of HS256",
        algorithm: "HMAC-SHA-256 and SHA-256, truncated to 128 bits",
        place: "header of access tokens",
        holder: "public",
        life: "as `tokens.hs256_secret_file`",
        moves_on: MovesOn::WithItsSecret,
    }
}

impl Purpose {
    /// Its label, as it is derived or authenticated with.
    pub(crate) const fn label(self) -> &'static [u8] {
        self.description().label.as_bytes()
    }

    /// How it moves on when the master key rotates.
    pub const fn moves_on(self) -> MovesOn {
        self.description().moves_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_another_one_or_its_beginning() {
        for one in Purpose::ALL {
            for other in Purpose::ALL.iter().filter(|other| *other != one) {
                assert!(!other.label().starts_with(one.label()), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn every_purpose_says_what_the_inventory_asks() {
        for purpose in Purpose::ALL {
            let Description { label, what, algorithm, place, holder, life, moves_on } = purpose.description();
            for text in [label, what, algorithm, place, holder, life, moves_on.describe()] {
                assert!(!text.is_empty(), "{purpose:?}");
            }
        }
    }
}
