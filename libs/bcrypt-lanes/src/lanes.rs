//! The lanes: memory for eight passwords, and hashing in it.

use core::fmt;

use zeroize::Zeroize;

use crate::calibration::Calibration;
use crate::hash::{Cost, Hash, Version};
use crate::kernel::Kernel;
use crate::lane::{KeyWords, Lane, key_words};
use crate::password::Password;

/// How many passwords go in lock-step: 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Width(usize);

impl Width {
    /// One password at a time.
    pub const MIN: Self = Self(1);
    /// As many as fit into a first-level cache of 48 KiB, with space for other data.
    pub const MAX: Self = Self(8);

    /// 1 to 8.
    pub const fn new(width: usize) -> Option<Self> {
        if width >= Self::MIN.0 && width <= Self::MAX.0 { Some(Self(width)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }

    /// 1, 2, up to 8.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }
}

/// A password to hash.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The password.
    pub password: Password<'a>,
    /// Sixteen unique bytes, from a cryptographic random generator.
    pub salt: [u8; 16],
    /// The version in the text; it does not change the digest.
    pub version: Version,
}

/// A password to compare with a hash.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The password.
    pub password: Password<'a>,
    /// The hash to compare with.
    pub hash: Hash,
}

/// The output slice does not match the number of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{places} places for {needed} answers")]
pub struct OutputLength {
    /// The number of inputs.
    pub needed: usize,
    /// The length of the output slice.
    pub places: usize,
}

impl OutputLength {
    const fn check(needed: usize, places: usize) -> Result<(), Self> {
        if needed == places { Ok(()) } else { Err(Self { needed, places }) }
    }
}

/// Memory for eight passwords in lock-step, 35 KiB, allocated once and reused.
///
/// It is cleared after each batch and when dropped. Each hashing thread has its own.
pub struct Lanes {
    kernel: Kernel,
    width: Width,
    states: Box<[Lane]>,
    words: [Words; Width::MAX.0],
}

/// The words that are mixed into one lane repeatedly.
#[derive(Clone, Copy)]
struct Words {
    key: KeyWords,
    salt: KeyWords,
}

impl Words {
    const EMPTY: Self = Self { key: [0; 18], salt: [0; 18] };
}

/// One lane's part of a batch: the index of the input, and the input.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    place: usize,
    password: Password<'a>,
    salt: [u8; 16],
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Lanes {
    /// Allocates the memory, chooses the fastest kernel for this processor, and begins with four lanes, which
    /// add almost no latency. [`Lanes::calibrate`] measures whether more are worth it.
    pub fn new() -> Self {
        Self::with_kernel(Kernel::detect())
    }

    /// As `new`, with the given kernel.
    pub fn with_kernel(kernel: Kernel) -> Self {
        let states = vec![Lane::EMPTY; Width::MAX.0].into_boxed_slice();
        Self { kernel, width: Width(4), states, words: [Words::EMPTY; _] }
    }

    /// The inner loop in use.
    pub const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The most passwords that go in lock-step.
    pub const fn width(&self) -> Width {
        self.width
    }

    /// Sets the most passwords that go in lock-step.
    pub const fn set_width(&mut self, width: Width) {
        self.width = width;
    }

    /// Measures each width on this machine, in about 50 ms of a core, with a monotonic clock.
    /// See [`Calibration::best`]; the width stays as it is until [`Lanes::set_width`].
    pub fn calibrate(&mut self, clock: impl FnMut() -> core::time::Duration) -> Calibration {
        let calibration = Calibration::measure(self.kernel, &mut self.states, clock);
        self.clear();
        calibration
    }

    /// Hashes one password.
    pub fn hash_one(&mut self, cost: Cost, job: &Job<'_>) -> Hash {
        let digest = self.one(cost, job.password, job.salt);
        Hash::new(job.version, cost, job.salt, digest)
    }

    /// Hashes passwords with one cost. More than the width are split into batches of nearly equal size.
    ///
    /// `hashes` has one element for each job; its content is overwritten.
    pub fn hash_many(
        &mut self,
        cost: Cost,
        jobs: &[Job<'_>],
        hashes: &mut [Option<Hash>],
    ) -> Result<(), OutputLength> {
        OutputLength::check(jobs.len(), hashes.len())?;
        let entries = jobs.iter().enumerate();
        let entries = entries.map(|(place, job)| Entry { place, password: job.password, salt: job.salt });
        self.many(cost, entries, |place, digest| {
            if let (Some(job), Some(hash)) = (jobs.get(place), hashes.get_mut(place)) {
                *hash = Some(Hash::new(job.version, cost, job.salt, *digest));
            }
        });
        Ok(())
    }

    /// Whether the password matches the hash.
    pub fn verify_one(&mut self, attempt: &Attempt<'_>) -> bool {
        let mut digest = self.one(attempt.hash.cost(), attempt.password, attempt.hash.salt());
        let same = attempt.hash.has_digest(&digest);
        digest.zeroize();
        same
    }

    /// Whether each password matches its hash. Attempts of one cost run in lock-step, low costs first.
    ///
    /// `answers` has one element for each attempt; its content is overwritten.
    pub fn verify_many(
        &mut self,
        attempts: &[Attempt<'_>],
        answers: &mut [bool],
    ) -> Result<(), OutputLength> {
        OutputLength::check(attempts.len(), answers.len())?;
        answers.fill(false);
        for cost in Cost::all() {
            let entries = attempts.iter().enumerate().filter(|(_, attempt)| attempt.hash.cost() == cost);
            let entries = entries.map(|(place, attempt)| Entry {
                place,
                password: attempt.password,
                salt: attempt.hash.salt(),
            });
            self.many(cost, entries, |place, digest| {
                if let (Some(attempt), Some(answer)) = (attempts.get(place), answers.get_mut(place)) {
                    *answer = attempt.hash.has_digest(digest);
                }
            });
        }
        Ok(())
    }

    fn one(&mut self, cost: Cost, password: Password<'_>, salt: [u8; 16]) -> [u8; 23] {
        let mut digest = [0; 23];
        self.batch(cost, &[Entry { place: 0, password, salt }], |_, computed| digest = *computed);
        digest
    }

    /// Splits entries into as few batches as possible, of nearly equal size: 4 and 3 are faster than 6 and 1.
    fn many<'a>(
        &mut self,
        cost: Cost,
        mut entries: impl Iterator<Item = Entry<'a>> + Clone,
        mut done: impl FnMut(usize, &[u8; 23]),
    ) {
        let mut left = entries.clone().count();
        while left > 0 {
            // neither is 0, which the compiler cannot know
            let batches = left.div_ceil(self.width.0.max(1)).max(1);
            let size = left.div_ceil(batches);
            let mut batch = [Entry::default(); Width::MAX.0];
            for (to, entry) in batch.iter_mut().zip(entries.by_ref().take(size)) {
                *to = entry;
            }
            self.batch(cost, batch.get(..size).unwrap_or_default(), &mut done);
            left -= size;
        }
    }

    /// bcrypt, in lock-step.
    fn batch(&mut self, cost: Cost, entries: &[Entry<'_>], mut done: impl FnMut(usize, &[u8; 23])) {
        let Some(lanes) = self.states.get_mut(..entries.len()) else { return };
        for ((lane, words), entry) in lanes.iter_mut().zip(self.words.iter_mut()).zip(entries) {
            words.key = key_words(entry.password.key());
            words.salt = key_words(entry.salt.into_iter());
            lane.reset();
            lane.expand_salted(&words.key, &words.salt);
        }

        for _ in 0..cost.rounds() {
            for (lane, words) in lanes.iter_mut().zip(self.words.iter()) {
                lane.mix(&words.key);
            }
            self.kernel.sweep(lanes);
            for (lane, words) in lanes.iter_mut().zip(self.words.iter()) {
                lane.mix(&words.salt);
            }
            self.kernel.sweep(lanes);
        }

        for (lane, entry) in lanes.iter().zip(entries) {
            let mut digest = lane.finish();
            if let Some(kept) = digest.first_chunk() {
                done(entry.place, kept);
            }
            digest.zeroize();
        }
        self.clear();
    }

    fn clear(&mut self) {
        for (lane, words) in self.states.iter_mut().zip(self.words.iter_mut()) {
            lane.zeroize();
            words.key.zeroize();
            words.salt.zeroize();
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("kernel", &self.kernel)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Cost, Job, Lanes, OutputLength, Version, Width};
    use crate::{Password, Rules};

    fn job(password: &[u8]) -> Job<'_> {
        let password = Password::new(password, Rules::STRICT).expect("a short password");
        Job { password, salt: [7; 16], version: Version::B }
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow there, and nothing new after `two_lanes_verify_two_passwords`")]
    fn lanes_keep_no_password_or_key() {
        let mut lanes = Lanes::new();
        let mut hashes = [None; 3];
        let jobs = [job(b"one"), job(b"two"), job(b"three")];
        lanes.hash_many(Cost::MIN, &jobs, &mut hashes).expect("three places");
        assert!(hashes.iter().all(Option::is_some));
        for (lane, words) in lanes.states.iter().zip(lanes.words.iter()) {
            assert_eq!((lane.p, words.key, words.salt), ([0; 18], [0; 18], [0; 18]));
            assert!(lane.s.as_flattened().iter().all(|&word| word == 0));
        }
    }

    #[test]
    fn outputs_of_the_wrong_length_are_an_error() {
        let mut lanes = Lanes::new();
        let refused = lanes.hash_many(Cost::MIN, &[job(b"one")], &mut []);
        assert_eq!(refused, Err(OutputLength { needed: 1, places: 0 }));
        let refused = lanes.verify_many(&[], &mut [true]);
        assert_eq!(refused, Err(OutputLength { needed: 0, places: 1 }));
        assert_eq!(lanes.hash_many(Cost::MIN, &[], &mut []), Ok(()));
    }

    #[test]
    fn widths_are_one_to_eight() {
        assert!([0, 9].into_iter().all(|width| Width::new(width).is_none()));
        assert_eq!(Width::all().map(Width::get).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// Small enough for Miri: two lanes at the least cost.
    #[test]
    fn two_lanes_verify_two_passwords() {
        let mut lanes = Lanes::new();
        lanes.set_width(Width::new(2).expect("two"));
        let right: crate::Hash =
            "$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96".parse().expect("a hash");
        let [yes, no] = [b"password", b"Password"].map(|password| Attempt {
            password: Password::new(password, Rules::STRICT).expect("a short password"),
            hash: right,
        });
        let mut answers = [false; 2];
        lanes.verify_many(&[yes, no], &mut answers).expect("two places");
        assert_eq!(answers, [true, false]);
    }
}
