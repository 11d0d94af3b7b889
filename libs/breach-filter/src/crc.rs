//! CRC-32 (ISO 3309), eight bytes at a time: it detects accidental damage, not tampering.

/// The effect of a byte on the checksum when that many other bytes follow.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    reason = "computed when it is compiled: a place outside would not compile"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the place is below 256; there is no `try_from` in a constant"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut at = 0_usize;
    while at < 256 {
        let mut word = at as u32;
        let mut bit = 0;
        while bit < 64 {
            if bit % 8 == 0 && bit > 0 {
                tables[bit / 8 - 1][at] = word;
            }
            word = if word & 1 == 1 { (word >> 1) ^ 0xEDB8_8320 } else { word >> 1 };
            bit += 1;
        }
        tables[7][at] = word;
        at += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(!0, |crc, bytes| {
        let word = u64::from_le_bytes(*bytes) ^ u64::from(crc);
        let each = TABLES.iter().rev().zip(word.to_le_bytes());
        each.fold(0, |crc, (table, byte)| crc ^ entry(table, byte))
    });
    let [last, ..] = &TABLES;
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ entry(last, low ^ byte)
    };
    !rest.iter().fold(crc, step)
}

fn entry(table: &[u32; 256], at: u8) -> u32 {
    table.get(usize::from(at)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(super::of(b"123456789"), 0xCBF4_3926);
        assert_eq!(super::of(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }
}
