//! The test vectors of RFC 9106 §5, by every kernel.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use argon2_arena::{Arena, Input, Kernel, Kind, Pages, Params, Version};

const D: &str = "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb";
const I: &str = "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8";
const ID: &str = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0.iter();
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc_9106() {
    let input = Input { password: &[1; 32], salt: &[2; 16], secret: &[3; 8], associated: &[4; 12] };
    for kernel in Kernel::all() {
        let mut arena = Arena::with(kernel, Pages::Huge);
        for (kind, known) in [(Kind::D, D), (Kind::I, I), (Kind::Id, ID)] {
            let params =
                Params { kind, version: Version::V13, memory_kib: 32, iterations: 3, parallelism: 4 };
            let mut tag = [0; 32];
            arena.hash_input(&params, &input, &mut tag).unwrap();
            assert_eq!(tag, bytes(known)[..], "{kind:?}, {}", kernel.name());
        }
    }
}
