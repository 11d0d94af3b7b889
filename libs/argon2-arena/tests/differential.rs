//! Against the `argon2` crate, by every kernel.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder};
use argon2_arena::{Arena, Error, Input, Kernel, Kind, Pages, Params, Version};
#[cfg(not(miri))]
use proptest::prelude::*;

#[cfg(not(miri))]
const KINDS: [Kind; 3] = [Kind::D, Kind::I, Kind::Id];

/// The tag by the crate.
fn expected(params: &Params, input: &Input<'_>, tag_bytes: usize) -> Vec<u8> {
    let algorithm = match params.kind {
        Kind::D => Algorithm::Argon2d,
        Kind::I => Algorithm::Argon2i,
        Kind::Id => Algorithm::Argon2id,
    };
    let version = match params.version {
        Version::V10 => argon2::Version::V0x10,
        Version::V13 => argon2::Version::V0x13,
    };
    let mut builder = ParamsBuilder::new();
    builder.m_cost(params.memory_kib).t_cost(params.iterations).p_cost(params.parallelism);
    builder.output_len(tag_bytes).data(AssociatedData::new(input.associated).unwrap());
    let argon2 = Argon2::new_with_secret(input.secret, algorithm, version, builder.build().unwrap()).unwrap();
    let mut tag = vec![0; tag_bytes];
    argon2.hash_password_into(input.password, input.salt, &mut tag).unwrap();
    tag
}

fn arenas() -> Vec<Arena> {
    Kernel::all().map(|kernel| Arena::with(kernel, Pages::Huge)).collect()
}

/// Whether all arenas agree with the crate. The arenas are reused, with the old content of their memory.
fn check(arenas: &mut [Arena], params: &Params, input: &Input<'_>, tag_bytes: usize) {
    let expected = expected(params, input, tag_bytes);
    for arena in arenas {
        let mut tag = vec![0; tag_bytes];
        arena.hash_input(params, input, &mut tag).unwrap();
        assert_eq!(tag, expected, "{params:?} {input:?} {}", arena.kernel().name());
    }
}

#[test]
fn the_smallest_memory_matches_the_reference() {
    let mut arenas = arenas();
    let params = Params::argon2id(8, 2);
    check(&mut arenas, &params, &Input::new(b"password", b"somesalt"), 4);
}

#[test]
#[cfg(not(miri))]
fn parameters_and_an_arena_that_grows_and_is_used_for_less() {
    let mut arenas = arenas();
    let input = Input::new(b"correct horse", b"battery staple");
    for kind in KINDS {
        for version in [Version::V10, Version::V13] {
            for iterations in 1..=3 {
                for parallelism in 1..=4 {
                    // More than 128 blocks a segment: a second block of addresses.
                    for memory_kib in [8 * parallelism, 2311, 67, 529 * parallelism + 3, 100] {
                        let params = Params { kind, version, memory_kib, iterations, parallelism };
                        check(&mut arenas, &params, &input, 32);
                    }
                }
            }
        }
    }
}

#[test]
#[cfg(not(miri))]
fn inputs_and_tags_of_every_length_match_the_reference() {
    let mut arenas = arenas();
    let params = Params::argon2id(16, 1);
    let long = vec![0x5a; 100_000];
    for tag_bytes in (4..=130).chain([256, 1023, 1024, 1025]) {
        check(&mut arenas, &params, &Input::new(b"password", b"somesalt"), tag_bytes);
    }
    for length in [0, 1, 63, 64, 127, 128, 129, 255, 256, 100_000] {
        let part = &long[..length];
        check(&mut arenas, &params, &Input::new(part, b"somesalt"), 32);
        check(&mut arenas, &params, &Input::new(b"", &long[..length.max(8)]), 32);
        // The crate accepts at most 32 bytes of associated data.
        let associated = &long[..length.min(32)];
        let input = Input { secret: part, associated, ..Input::new(part, b"somesalt") };
        check(&mut arenas, &params, &input, 32);
    }
}

#[test]
#[cfg(not(miri))]
fn the_cost_of_new_passwords() {
    for pages in [Pages::Usual, Pages::Huge] {
        let mut arenas: Vec<_> = Kernel::all().map(|kernel| Arena::with(kernel, pages)).collect();
        check(&mut arenas, &Params::argon2id(19456, 2), &Input::new(b"password", b"somesaltsomesalt"), 32);
    }
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    let mut arena = Arena::new();
    let good = Params::argon2id(16, 1);
    let mut refused = |params: Params, salt: &[u8], tag: &mut [u8]| {
        let error = arena.hash(&params, b"password", salt, tag).err();
        (error, arena.reserved_bytes())
    };
    for (params, salt, tag, error) in [
        (Params { iterations: 0, ..good }, 8, 32, Error::Iterations),
        (Params { parallelism: 0, ..good }, 8, 32, Error::Parallelism),
        (Params { parallelism: 1 << 24, memory_kib: u32::MAX, ..good }, 8, 32, Error::Parallelism),
        (Params { memory_kib: 7, ..good }, 8, 32, Error::Memory),
        (Params { memory_kib: 0, ..good }, 8, 32, Error::Memory),
        (Params { memory_kib: 23, parallelism: 3, ..good }, 8, 32, Error::Memory),
        (good, 7, 32, Error::SaltLength),
        (good, 8, 3, Error::TagLength),
        (good, 8, 0, Error::TagLength),
    ] {
        // They are refused before any memory is reserved.
        assert_eq!(refused(params, &[1; 8][..salt], &mut vec![0; tag]), (Some(error), 0), "{params:?}");
        assert!(error.to_string().len() > 20);
    }
}

#[cfg(not(miri))]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_inputs_match_the_reference(
        kind in 0_usize..3, old in any::<bool>(), extra in 0_u32..1500, iterations in 1_u32..4,
        parallelism in 1_u32..5, password in proptest::collection::vec(any::<u8>(), 0..300),
        salt in proptest::collection::vec(any::<u8>(), 8..80), tag_bytes in 4_usize..200,
        secret in proptest::collection::vec(any::<u8>(), 0..32),
    ) {
        let version = if old { Version::V10 } else { Version::V13 };
        let memory_kib = 8 * parallelism + extra;
        let params = Params { kind: KINDS[kind], version, memory_kib, iterations, parallelism };
        let input = Input { password: &password, salt: &salt, secret: &secret, associated: &[] };
        check(&mut arenas(), &params, &input, tag_bytes);
    }
}
