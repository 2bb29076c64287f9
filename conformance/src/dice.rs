//! Dice that roll the same on every machine: splitmix64.

/// One throw after the other.
pub struct Dice(u64);

impl Dice {
    /// What is rolled follows from the seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The `n`th pair of dice of a seed: what one rolls tells nothing of the others.
    pub fn nth(seed: u64, n: u32) -> Dice {
        Dice(seed.wrapping_add(u64::from(n).wrapping_mul(0xA24B_AED4_963E_E407)))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    /// The same, for what is counted in memory.
    pub fn below(&mut self, most: usize) -> usize {
        self.roll(most as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_number_roll_the_same_and_others_do_not() {
        let rolls = |seed, n| {
            let mut dice = Dice::nth(seed, n);
            [(); 8].map(|()| dice.roll(1000))
        };
        assert_eq!(rolls(7, 3), rolls(7, 3));
        assert_ne!(rolls(7, 3), rolls(7, 4));
        assert_ne!(rolls(7, 3), rolls(8, 3));
    }
}
