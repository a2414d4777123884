//! Pseudorandom numbers, the same ones for the same seed.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// Returns one of the items, chosen by weight.
    pub(crate) fn weighted<T: Copy>(&mut self, table: &[(T, usize)]) -> Option<T> {
        let sum = table.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(sum);
        for (one, weight) in table {
            if left < *weight {
                return Some(*one);
            }
            left -= weight;
        }
        None
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&mut self, per_cent: usize) -> bool {
        self.below(100) < per_cent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_numbers_and_another_seed_others() {
        let roll = |seed| {
            let mut dice = Dice::new(seed);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(roll(1), roll(1));
        assert_ne!(roll(1), roll(2));
        let mut dice = Dice::new(3);
        let table = [('a', 1), ('b', 0), ('c', 9)];
        let rolls: Vec<_> = (0..200).filter_map(|_| dice.weighted(&table)).collect();
        assert_eq!(rolls.len(), 200);
        assert!(rolls.contains(&'a') && rolls.contains(&'c') && !rolls.contains(&'b'));
    }
}
