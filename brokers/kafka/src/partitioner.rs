//! Which partition a key belongs to, as Java's clients have it.

/// The partition of `key` among `partitions`, as Kafka's `DefaultPartitioner` and librdkafka's `murmur2` choose it: Austin Appleby's MurmurHash2 (32 bits) of the
/// bytes with Kafka's seed, without its sign, modulo the number of partitions. The same key is in the same partition of every topic with as many
/// partitions, whoever has written it so.
///
/// Of no partitions, 0.
///
/// ```
/// use watermill_kafka::murmur2_partition;
///
/// // As `Utils.toPositive(Utils.murmur2("21".getBytes())) % 3` in Java.
/// assert_eq!(murmur2_partition(b"21", 3), 0);
/// ```
#[must_use]
pub fn murmur2_partition(key: &[u8], partitions: i32) -> i32 {
    if partitions <= 0 {
        return 0;
    }
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions
}

fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = chunk.iter().rev().fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    /// The values of Kafka's own test, `UtilsTest.testMurmur2`.
    #[test]
    fn as_kafka_computes_it() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }
}
