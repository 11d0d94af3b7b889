//! The keys that sign checkpoints of the audit trail and statements about it: Ed25519 (RFC 8032), derived
//! from the master keys. What a master key signed stays verifiable when its line has left the keyring: the
//! checkpoint key of the next line vouches for its public key ([`Succession`]).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use model::hex;

use crate::sealed::keyring::Keyring;
use crate::sealed::purpose::Purpose;

/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
const ID_BYTES: usize = 8;

/// Signs checkpoints of the audit trail.
pub struct CheckpointKey {
    public: PublicCheckpointKey,
    pair: Ed25519KeyPair,
}

/// The public part of a checkpoint key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicCheckpointKey([u8; 32]);

impl PublicCheckpointKey {
    /// Its name: the first 8 bytes.
    pub fn id(&self) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        id
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key from 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode_array(text).map(Self)
    }

    fn confirms(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl std::fmt::Display for PublicCheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::fmt::Debug for PublicCheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl CheckpointKey {
    /// The keys of the lines that are not retired; the first signs.
    pub fn all(keyring: &Keyring) -> Vec<Self> {
        keyring.derive(Purpose::CheckpointSigning).iter().filter_map(Self::from_seed).collect()
    }

    /// The key of the first line, which signs; `None` only if the library refuses a seed of 32 bytes.
    pub fn first(keyring: &Keyring) -> Option<Self> {
        Self::from_seed(&keyring.derive_first(Purpose::CheckpointSigning))
    }

    fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = PublicCheckpointKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { public, pair })
    }

    /// Its public part.
    pub fn public(&self) -> PublicCheckpointKey {
        self.public
    }

    /// A signature of 64 bytes.
    pub fn attest(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// A signed statement, 72 bytes: the name of the key, and its signature over purpose and claim.
    pub fn state(&self, purpose: Purpose, claim: &[u8]) -> Vec<u8> {
        [self.public.id().as_slice(), &self.attest(&message(purpose, claim))].concat()
    }
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointKey").field("public", &self.public).finish_non_exhaustive()
    }
}

fn message(purpose: Purpose, claim: &[u8]) -> Vec<u8> {
    [purpose.label(), b"\0", claim].concat()
}

/// The statement that a newer checkpoint key follows an older one, signed by both: 192 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    older: PublicCheckpointKey,
    newer: PublicCheckpointKey,
    signatures: [Vec<u8>; 2],
}

impl Succession {
    /// Whether this key is the newer one.
    pub fn is_by(&self, newer: &PublicCheckpointKey) -> bool {
        self.newer == *newer
    }

    /// The statement that `newer` follows `older`.
    pub fn sign(older: &CheckpointKey, newer: &CheckpointKey) -> Self {
        let (old, new) = (older.public, newer.public);
        let message = Self::message(old, new);
        Self { older: old, newer: new, signatures: [older.attest(&message), newer.attest(&message)] }
    }

    /// Its bytes: both public keys, and the signatures of the older and of the newer key.
    pub fn format(&self) -> Vec<u8> {
        let [by_older, by_newer] = &self.signatures;
        [self.older.0.as_slice(), &self.newer.0, by_older, by_newer].concat()
    }

    /// Parses the output of [`Succession::format`]; the signatures are checked by
    /// [`TrustedCheckpointKeys::accept`].
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (older, rest) = bytes.split_first_chunk::<32>()?;
        let (newer, rest) = rest.split_first_chunk::<32>()?;
        let (by_older, by_newer) = rest.split_at_checked(SIGNATURE_BYTES)?;
        let signatures = [by_older.to_vec(), by_newer.to_vec()];
        (by_newer.len() == SIGNATURE_BYTES).then_some(Self {
            older: PublicCheckpointKey(*older),
            newer: PublicCheckpointKey(*newer),
            signatures,
        })
    }

    fn is_signed(&self) -> bool {
        let message = Self::message(self.older, self.newer);
        let [by_older, by_newer] = &self.signatures;
        self.older.confirms(&message, by_older) && self.newer.confirms(&message, by_newer)
    }

    fn message(older: PublicCheckpointKey, newer: PublicCheckpointKey) -> Vec<u8> {
        message(Purpose::CheckpointSuccession, &[older.0, newer.0].concat())
    }
}

/// The checkpoint keys whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct TrustedCheckpointKeys(Vec<PublicCheckpointKey>);

impl TrustedCheckpointKeys {
    /// The keys of a keyring's lines.
    pub fn of(keyring: &Keyring) -> Self {
        Self(CheckpointKey::all(keyring).iter().map(CheckpointKey::public).collect())
    }

    /// Keys that the operator names.
    pub fn named(keys: impl IntoIterator<Item = PublicCheckpointKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the keys for which a trusted key vouches, through any number of successions. A succession never
    /// makes its *newer* key trusted: the secret of an old line must not suffice to introduce a key.
    pub fn accept(&mut self, successions: &[Succession]) {
        let mut left: Vec<&Succession> = successions.iter().filter(|one| one.is_signed()).collect();
        loop {
            let (vouched, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|one| self.0.contains(&one.newer));
            if vouched.is_empty() {
                return;
            }
            self.0.extend(vouched.iter().map(|one| one.older));
            left = others;
        }
    }

    /// Whether one of them has this name and made this signature.
    pub fn confirm(&self, id: &[u8], message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().filter(|key| key.id() == id).any(|key| key.confirms(message, signature))
    }

    /// Whether one of them made this output of [`CheckpointKey::state`].
    pub fn confirm_statement(&self, purpose: Purpose, claim: &[u8], statement: &[u8]) -> bool {
        let Some((id, signature)) = statement.split_at_checked(ID_BYTES) else { return false };
        self.confirm(id, &message(purpose, claim), signature)
    }
}

#[cfg(test)]
mod tests {
    use model::Rng;

    use super::*;

    fn line(seed: u64) -> String {
        Keyring::generate_line(&Rng::seeded(seed)).expose().clone()
    }

    fn keyring(lines: &[String]) -> Keyring {
        Keyring::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn a_key_confirms_what_it_signed_and_nothing_else() {
        let keys = keyring(&[line(1)]);
        let (key, trusted) = (CheckpointKey::first(&keys).unwrap(), TrustedCheckpointKeys::of(&keys));
        let (id, signature) = (key.public().id(), key.attest(b"head"));
        assert!(trusted.confirm(&id, b"head", &signature));
        assert!(
            !trusted.confirm(&id, b"tail", &signature) && !trusted.confirm(&id, b"head", &signature[1..])
        );
        assert!(!trusted.confirm(&[0; 8], b"head", &signature));

        let statement = key.state(Purpose::AuditKept, b"claim");
        assert!(trusted.confirm_statement(Purpose::AuditKept, b"claim", &statement));
        assert!(!trusted.confirm_statement(Purpose::AuditDeadLetter, b"claim", &statement));
        assert!(!trusted.confirm_statement(Purpose::AuditKept, b"claims", &statement));
        assert!(!trusted.confirm_statement(Purpose::AuditKept, b"claim", b"short"));
        assert_eq!(PublicCheckpointKey::parse(&key.public().to_string()), Some(key.public()));
    }

    #[test]
    fn what_an_old_line_signed_is_confirmed_without_it() {
        let [one, two, three] = [1, 2, 3].map(|seed| CheckpointKey::first(&keyring(&[line(seed)])).unwrap());
        let signature = one.attest(b"head");
        let successions = [Succession::sign(&one, &two), Succession::sign(&two, &three)];
        let read = successions.clone().map(|one| Succession::parse(&one.format()).unwrap());
        assert_eq!(read, successions);

        let mut trusted = TrustedCheckpointKeys::of(&keyring(&[line(3)]));
        assert!(!trusted.confirm(&one.public().id(), b"head", &signature), "nothing vouches yet");
        trusted.accept(&read);
        assert!(trusted.confirm(&one.public().id(), b"head", &signature));
    }

    #[test]
    fn an_old_key_introduces_no_new_one_and_a_changed_succession_counts_for_nothing() {
        let [one, two] = [1, 2].map(|seed| CheckpointKey::first(&keyring(&[line(seed)])).unwrap());
        let succession = Succession::sign(&one, &two);
        let mut trusted = TrustedCheckpointKeys::named([one.public()]);
        trusted.accept(std::slice::from_ref(&succession));
        assert!(!trusted.confirm(&two.public().id(), b"m", &two.attest(b"m")));

        let bytes = succession.format();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let mut trusted = TrustedCheckpointKeys::named([two.public()]);
            trusted.accept(&Succession::parse(&changed).into_iter().collect::<Vec<_>>());
            assert!(!trusted.confirm(&one.public().id(), b"m", &one.attest(b"m")), "{at}");
        }
        assert!(Succession::parse(&bytes[1..]).is_none());
    }
}
