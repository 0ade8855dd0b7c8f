//! A price path that can be asked for any second: value noise over octaves of time.
//!
//! Octave `k` has a random knot each 2^k seconds and straight lines between; its amplitude grows
//! with the square root of its period, so the sum wanders like a random walk at every scale up to
//! years, yet costs the same wherever it is read.

use super::mix;

/// Octaves 0 to 27: periods of one second to four years.
const OCTAVES: u32 = 28;
/// Octaves below this are walked second by second; those above are straight inside a block.
const FINE: u32 = 6;
/// Seconds in a block.
const BLOCK: i64 = 1 << FINE;
/// 2026-01-01T00:00:00Z, where the path goes through the listing's base price.
const ANCHOR: i64 = 1_767_225_600;

/// One coin's path.
#[derive(Debug)]
pub struct Path {
    seed: u64,
    amplitude: [f64; OCTAVES as usize],
    /// Logarithm to add so that the path passes through the base price at the anchor.
    offset: f64,
}

impl Path {
    /// `sigma`: standard deviation of one second's log return, about.
    pub fn new(seed: u64, sigma: f64, base_price: f64) -> Self {
        let amplitude = std::array::from_fn(|k| 0.5 * sigma * f64::powi(2.0, k as i32).sqrt());
        let mut path = Self {
            seed,
            amplitude,
            offset: 0.0,
        };
        path.offset = base_price.ln() - path.log_at(ANCHOR);
        path
    }

    /// Price at the start of `second`.
    pub fn price_at(&self, second: i64) -> f64 {
        self.log_at(second).exp()
    }

    /// Prices of the seconds `from..=to`, ascending, much cheaper than asking one by one.
    pub fn walk(&self, from: i64, to: i64, mut visit: impl FnMut(i64, f64)) {
        let mut block = from.div_euclid(BLOCK) * BLOCK;
        while block <= to {
            let coarse = self.octaves(block, FINE..OCTAVES);
            let slope = (self.octaves(block + BLOCK, FINE..OCTAVES) - coarse) / BLOCK as f64;
            let mut knots = [[0.0; BLOCK as usize + 1]; FINE as usize];
            for (k, row) in knots.iter_mut().enumerate() {
                let first = block >> k;
                for (i, knot) in row.iter_mut().enumerate().take((BLOCK >> k) as usize + 1) {
                    *knot = self.amplitude[k] * self.knot(k as u32, first + i as i64);
                }
            }
            for second in from.max(block)..=to.min(block + BLOCK - 1) {
                let at = second - block;
                let mut log = coarse + slope * at as f64;
                for (k, row) in knots.iter().enumerate() {
                    let index = (at >> k) as usize;
                    let share = (at - ((index as i64) << k)) as f64 / (1i64 << k) as f64;
                    log += row[index] + (row[index + 1] - row[index]) * share;
                }
                visit(second, (log + self.offset).exp());
            }
            block += BLOCK;
        }
    }

    fn log_at(&self, second: i64) -> f64 {
        // Split as `walk` splits, so that both round alike.
        let block = second.div_euclid(BLOCK) * BLOCK;
        let coarse = self.octaves(block, FINE..OCTAVES);
        let slope = (self.octaves(block + BLOCK, FINE..OCTAVES) - coarse) / BLOCK as f64;
        let mut log = coarse + slope * (second - block) as f64;
        for k in 0..FINE {
            log += self.octave(k, second);
        }
        log + self.offset
    }

    fn octaves(&self, second: i64, range: std::ops::Range<u32>) -> f64 {
        range.map(|k| self.octave(k, second)).sum()
    }

    fn octave(&self, k: u32, second: i64) -> f64 {
        let index = second >> k;
        let share = (second - (index << k)) as f64 / (1i64 << k) as f64;
        let left = self.amplitude[k as usize] * self.knot(k, index);
        let right = self.amplitude[k as usize] * self.knot(k, index + 1);
        left + (right - left) * share
    }

    /// Near-normal with unit variance: four 16-bit uniforms summed (Irwin-Hall).
    fn knot(&self, k: u32, index: i64) -> f64 {
        let bits = mix(self.seed ^ (u64::from(k) << 56), index as u64);
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xFFFF).sum();
        (sum as f64 / 65_535.0 - 2.0) * 1.732_050_807_568_877_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit for bit, every second of the walk.
    #[test]
    fn walk_equals_price_at() {
        let path = Path::new(7, 1e-4, 60_000.0);
        let mut seen = 0;
        path.walk(1_700_000_003, 1_700_000_400, |second, price| {
            assert_eq!(
                price.to_bits(),
                path.price_at(second).to_bits(),
                "second {second}"
            );
            seen += 1;
        });
        assert_eq!(seen, 398);
    }

    /// The price at the anchor is the base, and the range of a day is plausible.
    #[test]
    fn path_starts_at_base_and_moves() {
        let path = Path::new(7, 1e-4, 60_000.0);
        assert!((path.price_at(ANCHOR) - 60_000.0).abs() < 1e-6);
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        path.walk(ANCHOR, ANCHOR + 86_400, |_, p| {
            low = low.min(p);
            high = high.max(p);
        });
        let range = high / low - 1.0;
        assert!((0.005..0.25).contains(&range), "a day's range is {range}");
    }
}
