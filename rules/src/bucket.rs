//! Buckets of cohorts: murmur3 (x86, 32 bit, seed 0) of `salt:unit`, scaled to a million. A caller is inside a share when
//! its bucket is below it: growing a share never moves anybody out.

use crate::Share;

/// The bucket of a unit, from 0 to 999,999.
pub fn bucket(salt: &str, unit: &str) -> u32 {
    let hash = murmur3_32(format!("{salt}:{unit}").as_bytes(), 0);
    u32::try_from((u64::from(hash) * 1_000_000) >> 32).expect("a 32-bit fraction of a million is below a million")
}

/// Whether a unit is inside a share.
pub fn is_inside(salt: &str, unit: &str, share: Share) -> bool {
    bucket(salt, unit) < share.millionths()
}

/// MurmurHash3_x86_32 by Austin Appleby (public domain algorithm).
pub fn murmur3_32(data: &[u8], seed: u32) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut hash = seed;
    let mut blocks = data.chunks_exact(4);
    for block in &mut blocks {
        hash ^= mix(u32::from_le_bytes([block[0], block[1], block[2], block[3]]));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = blocks.remainder().iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
    if !blocks.remainder().is_empty() {
        hash ^= mix(tail);
    }
    hash ^= u32::try_from(data.len()).unwrap_or(u32::MAX);
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::{bucket, murmur3_32};

    /// Buckets that Unleash publishes for its gradual roll-out: `murmur3(group:id) % 100 + 1`.
    #[test]
    fn murmur3_agrees_with_the_vectors_of_unleash() {
        assert_eq!(murmur3_32(b"gr1:123", 0) % 100 + 1, 73);
        assert_eq!(murmur3_32(b"groupX:999", 0) % 100 + 1, 25);
        assert_eq!(murmur3_32(b"headerColorfoo@bar.com", 0), 4_240_531_476);
    }

    #[test]
    fn buckets_spread_evenly() {
        let inside = (0..100_000).filter(|id| bucket("users", &format!("user:{id}")) < 50_000).count();
        assert!((4_700..5_300).contains(&inside), "{inside} of 100,000 in a share of 5 %");
    }
}
