//! A small generator, so that a failing seed can be run again.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub(crate) fn from(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Calls `check` with a generator for each seed.
pub(crate) fn for_seeds(count: u64, check: impl Fn(&mut Random)) {
    let factor = std::env::var("ORACLE_FACTOR").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in 0..count * factor {
        let run = || check(&mut Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1));
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(payload);
        }
    }
}
