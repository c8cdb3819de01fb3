//! The checksum of a block: against bits that flip and writes that tear, at the speed of memory.
//!
//! Not against people: whoever can write the cache can write checksums. A keyed hash of a block took longer than everything else that a look-up does.

/// Odd numbers without a pattern: the fractional parts of the square roots of the first primes.
const SECRETS: [u64; 4] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
];

/// The checksum of a block's records, `number` being the block's place: a block in another place is a wrong one.
pub(super) fn checksum(number: u64, records: &[u8]) -> u64 {
    let mut lanes = SECRETS.map(|secret| secret ^ number);
    let (blocks, rest) = records.as_chunks::<64>();
    for block in blocks {
        absorb(&mut lanes, block);
    }
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    absorb(&mut lanes, &last);
    let [a, b, c, d] = lanes;
    fold(
        fold(a, b ^ SECRETS[0]) ^ records.len() as u64,
        fold(c, d ^ SECRETS[1]) ^ SECRETS[2],
    )
}

fn absorb(lanes: &mut [u64; 4], block: &[u8; 64]) {
    let (pairs, _) = block.as_chunks::<16>();
    for ((lane, pair), secret) in lanes.iter_mut().zip(pairs).zip(SECRETS) {
        let pair = u128::from_le_bytes(*pair);
        *lane = fold(*lane ^ pair as u64, (pair >> 64) as u64 ^ secret);
    }
}

/// Both halves of the product, so that every bit of both numbers counts.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_zeroed_or_moved_stretch_is_noticed() {
        for mut block in [crate::chunker::tests::noise(1, 4064), vec![0; 4064], vec![0xff; 4064]] {
            let right = checksum(7, &block);
            for bit in 0..block.len() * 8 {
                block[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(checksum(7, &block), right, "bit {bit}");
                block[bit / 8] ^= 1 << (bit % 8);
            }
            assert_ne!(checksum(8, &block), right);
            assert_ne!(checksum(7, &block[..4032]), right);
            assert_eq!(checksum(7, &block), right);
        }
        let noise = crate::chunker::tests::noise(1, 4064);
        let right = checksum(7, &noise);
        for start in (0..4064).step_by(32) {
            let mut torn = noise.clone();
            torn[start..].fill(0);
            assert_ne!(checksum(7, &torn), right, "zeros from {start}");
            let mut turned = noise.clone();
            turned.rotate_left(start + 16);
            assert_ne!(checksum(7, &turned), right, "turned by {start}");
        }
    }
}
