//! Dummy hashes: a login of an unknown user verifies one, of a kind that real users have.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use model::Rng;
use protocol::wire::password_hash::{Argon2Hash, Argon2Kind, BcryptHash, CostClass, StoredHash};

use crate::scheme::Scheme;

/// The kinds of stored hashes, each with its frequency and one example hash.
#[derive(Clone, Debug)]
pub(crate) struct DummyHashes(Vec<DummyHash>);

#[derive(Clone, Debug)]
struct DummyHash {
    class: CostClass,
    weight: f64,
    stored: StoredHash,
}

impl DummyHashes {
    /// Unknown users resemble users of `scheme`.
    pub(crate) fn of_scheme(scheme: Scheme, rng: &Rng) -> Self {
        let text = match scheme {
            Scheme::Argon2id { memory_kib, iterations } => Argon2Hash {
                kind: Argon2Kind::Id,
                memory: memory_kib,
                iterations,
                parallelism: 1,
                salt: rng.bytes::<16>().to_vec(),
                tag: rng.bytes::<32>().to_vec(),
            }
            .to_string(),
            Scheme::Bcrypt { cost } => {
                let cost = u8::try_from(cost).unwrap_or(u8::MAX);
                BcryptHash::new(cost, rng.bytes(), rng.bytes()).to_string()
            }
        };
        Self::of_sample(StoredHash::parse(&text).into_iter().collect()).unwrap_or(Self(Vec::new()))
    }

    /// Unknown users resemble this sample; `None` if it is empty.
    pub(crate) fn of_sample(sample: Vec<StoredHash>) -> Option<Self> {
        let mut kinds: BTreeMap<CostClass, (f64, StoredHash)> = BTreeMap::new();
        for stored in sample {
            kinds.entry(stored.cost_class()).or_insert((0.0, stored)).0 += 1.0;
        }
        let dummy_hashes =
            kinds.into_iter().map(|(class, (weight, stored))| DummyHash { class, weight, stored });
        let dummy_hashes: Vec<_> = dummy_hashes.collect();
        (!dummy_hashes.is_empty()).then_some(Self(dummy_hashes))
    }

    /// The cost classes of the kinds.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &CostClass> {
        self.0.iter().map(|dummy| &dummy.class)
    }

    /// One hash of each kind.
    pub(crate) fn each(&self) -> impl Iterator<Item = &StoredHash> {
        self.0.iter().map(|dummy| &dummy.stored)
    }

    /// Chooses the dummy hash of an account that does not exist: always the same for one `account`, and over
    /// all accounts with the frequency of each kind (weighted rendezvous hashing, so that a small change of
    /// the mix changes the kind of few accounts). `account` is already a keyed hash, so a client cannot
    /// predict the kind for a name.
    pub(crate) fn choose(&self, account: &str) -> Option<&StoredHash> {
        let score = |dummy: &DummyHash| {
            let hash = digest(&SHA256, format!("{account} {}", dummy.class).as_bytes());
            let (head, _) = hash.as_ref().split_first_chunk().unwrap_or((&[0; 4], &[]));
            // Strictly between 0 and 1.
            let uniform = (f64::from(u32::from_be_bytes(*head)) + 0.5) / 4_294_967_296.0;
            -uniform.ln() / dummy.weight
        };
        let least = self.0.iter().min_by(|one, other| score(one).total_cmp(&score(other)));
        least.map(|dummy| &dummy.stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bcrypt(cost: u8) -> StoredHash {
        StoredHash::parse(&BcryptHash::new(cost, [1; 16], [2; 23]).to_string()).unwrap()
    }

    fn count(dummy_hashes: &DummyHashes, cost: u8) -> usize {
        let is = |number: &usize| {
            let chosen = dummy_hashes.choose(&format!("account {number}"));
            chosen.map(StoredHash::cost_class) == Some(CostClass::Bcrypt { cost })
        };
        (0..4000).filter(is).count()
    }

    #[test]
    fn dummy_hashes_have_the_frequencies_of_real_ones_and_one_name_keeps_its_kind() {
        let sample = [vec![bcrypt(10); 30], vec![bcrypt(12); 10]].concat();
        let dummy_hashes = DummyHashes::of_sample(sample).unwrap();
        let tens = count(&dummy_hashes, 10);
        assert!((2800..3200).contains(&tens), "{tens}");
        let again = (0..200).map(|_| dummy_hashes.choose("unknown@example.com").map(ToString::to_string));
        assert_eq!(again.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }

    #[test]
    fn few_names_change_their_kind_when_the_mix_changes_a_little() {
        let before = DummyHashes::of_sample([vec![bcrypt(10); 50], vec![bcrypt(12); 50]].concat()).unwrap();
        let after = DummyHashes::of_sample([vec![bcrypt(10); 49], vec![bcrypt(12); 51]].concat()).unwrap();
        let kind = |dummy_hashes: &DummyHashes, n: usize| {
            dummy_hashes.choose(&n.to_string()).map(StoredHash::cost_class)
        };
        let changed = (0..4000).filter(|&n| kind(&before, n) != kind(&after, n)).count();
        assert!(changed < 120, "{changed}");
    }

    #[test]
    fn without_stored_hashes_dummy_hashes_use_the_configured_scheme() {
        assert!(DummyHashes::of_sample(Vec::new()).is_none());
        for scheme in [Scheme::Argon2id { memory_kib: 64, iterations: 1 }, Scheme::Bcrypt { cost: 4 }] {
            let dummy_hashes = DummyHashes::of_scheme(scheme, &Rng::seeded(1));
            assert_eq!(dummy_hashes.choose("x").map(StoredHash::cost_class), Some(scheme.class()));
            let text = dummy_hashes.choose("x").unwrap().to_string();
            assert_eq!(StoredHash::parse(&text).as_ref().ok(), dummy_hashes.choose("x"));
        }
    }
}
