//! Random numbers that are the same in each run: splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
//! Generators", OOPSLA 2014).

use std::fmt::Debug;

/// A generator. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with this seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `end - 1`.
    pub fn below<N>(&mut self, end: N) -> N
    where
        N: TryFrom<u64, Error: Debug> + TryInto<u64, Error: Debug>,
    {
        let end: u64 = end.try_into().expect("a positive number");
        N::try_from(self.next() % end).expect("less than a number of this type")
    }

    /// From `from` to `to`, both included.
    pub fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of the given values.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The mixing step: a bijection whose results look unlike their arguments.
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        // Test vectors of Vigna's reference implementation.
        let numbers = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], numbers);
    }

    #[test]
    fn ranges_hold_their_ends() {
        let mut random = Random::new(1);
        let mut seen = [false; 3];
        (0..100).for_each(|_| seen[random.within(3, 5) - 3] = true);
        assert_eq!(seen, [true; 3]);
        assert!((0..100).all(|_| random.one_in(1) && random.below(1_u8) == 0));
        assert!((0..100).all(|_| [2, 7].contains(&random.pick(&[2, 7]))));
    }
}
