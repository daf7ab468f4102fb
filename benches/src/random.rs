//! Random numbers that are the same on every machine and for ever.
//!
//! A generator from a crate may change its stream with a new version, and floating point differs between maths libraries;
//! either would change what "seed 1" means. So this is SplitMix64, written out, and integers only.

/// A stream of pseudo-random numbers, fixed by its seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed` for one part of the work. Parts have independent streams, so one can change without the others.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        let mut random = Self(seed);
        let start = random.bits() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(start)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(limit);
        // The high half of a 128-bit product is below `limit`, so nothing is cut off.
        (product >> 64) as u64
    }

    /// True `times` times in `of`.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// One of `choices`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A geometric exponent: 0 half of the time, 1 a quarter of the time, and so on up to `limit`.
    pub fn exponent(&mut self, limit: u32) -> u32 {
        self.bits().trailing_zeros().min(limit)
    }

    /// A heavy-tailed number in `1..2^(limit + 1)`: each doubling is half as likely, as with a Pareto distribution of exponent 1.
    pub fn heavy(&mut self, limit: u32) -> u64 {
        let base = 1 << self.exponent(limit);
        base + self.below(base)
    }

    /// Puts `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_stream_is_the_published_splitmix64() {
        let mut random = Random(0);
        assert_eq!(random.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.bits(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn parts_of_one_seed_differ() {
        assert_ne!(Random::new(1, 0).bits(), Random::new(1, 1).bits());
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut random = Random::new(7, 0);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.below(5)).collect();
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&4));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(3, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
