//! Streaming indicators: one value in, one value out, constant memory.

/// The last `n` values.
#[derive(Clone, Debug)]
struct Window {
    values: Box<[f64]>,
    /// Index of the next value.
    at: usize,
    seen: usize,
}

impl Window {
    fn new(n: usize) -> Self {
        Self {
            values: vec![0.0; n.max(1)].into(),
            at: 0,
            seen: 0,
        }
    }
    /// Puts one in; the one that falls out, zero while there is room.
    fn push(&mut self, value: f64) -> f64 {
        let old = std::mem::replace(&mut self.values[self.at], value);
        self.at = if self.at + 1 == self.values.len() {
            0
        } else {
            self.at + 1
        };
        self.seen += 1;
        old
    }
    fn is_full(&self) -> bool {
        self.seen >= self.values.len()
    }
    /// True if the window has just wrapped around: the moment to sum afresh, at a constant cost per
    /// value.
    const fn is_turned(&self) -> bool {
        self.at == 0
    }
    const fn len(&self) -> f64 {
        self.values.len() as f64
    }
}

/// Mean of the last `n` values. The sum of whole numbers is exact; of others it is taken afresh
/// each `n` values, for adding and subtracting drifts.
#[derive(Clone, Debug)]
pub(crate) struct Sma {
    window: Window,
    sum: f64,
}

impl Sma {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            window: Window::new(n),
            sum: 0.0,
        }
    }
    pub(crate) fn push(&mut self, value: f64) {
        self.sum += value - self.window.push(value);
        if self.window.is_turned() {
            self.sum = self.window.values.iter().sum();
        }
    }
    pub(crate) fn get(&self) -> Option<f64> {
        self.window.is_full().then(|| self.sum / self.window.len())
    }
    /// Values in the mean.
    pub(crate) fn len(&self) -> usize {
        self.window.values.len()
    }
    /// Compares its mean with that of another: above (1), below (-1) or equal (0). Done without
    /// division, so that equal means of whole numbers do tie.
    pub(crate) fn side_of(&self, other: &Self) -> Option<i32> {
        (self.window.is_full() && other.window.is_full()).then(|| {
            let (own, others) = (self.sum * other.window.len(), other.sum * self.window.len());
            i32::from(own > others) - i32::from(own < others)
        })
    }
}

/// Exponential mean, `2 / (n + 1)` of each new value, seeded with the plain mean of the first `n`.
#[derive(Clone, Debug)]
pub(crate) struct Ema {
    n: usize,
    /// Values that are passed over before the seed.
    skip: usize,
    seen: usize,
    value: f64,
}

impl Ema {
    pub(crate) fn new(n: usize) -> Self {
        Self::after(0, n)
    }
    /// One that begins so many values later.
    pub(crate) fn after(skip: usize, n: usize) -> Self {
        Self {
            n,
            skip,
            seen: 0,
            value: 0.0,
        }
    }
    pub(crate) fn push(&mut self, value: f64) {
        self.seen += 1;
        if self.seen <= self.skip {
            return;
        }
        let (own, n) = (self.seen - self.skip, self.n as f64);
        if own <= self.n {
            self.value += value;
            if own == self.n {
                self.value /= n;
            }
        } else {
            self.value += (value - self.value) * (2.0 / (n + 1.0));
        }
    }
    pub(crate) fn get(&self) -> Option<f64> {
        (self.seen >= self.skip + self.n).then_some(self.value)
    }
}

/// Appel's moving-average convergence and divergence: the fast exponential mean less the slow one,
/// and an exponential mean of that. Both means begin together, as in TA-Lib.
#[derive(Clone, Debug)]
pub(crate) struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
}

impl Macd {
    pub(crate) fn new(fast: usize, slow: usize, signal: usize) -> Self {
        Self {
            fast: Ema::after(slow.saturating_sub(fast), fast),
            slow: Ema::new(slow),
            signal: Ema::new(signal),
        }
    }
    pub(crate) fn push(&mut self, value: f64) {
        self.fast.push(value);
        self.slow.push(value);
        if let (Some(fast), Some(slow)) = (self.fast.get(), self.slow.get()) {
            self.signal.push(fast - slow);
        }
    }
    /// (the difference, its mean).
    pub(crate) fn get(&self) -> Option<(f64, f64)> {
        Some((self.fast.get()? - self.slow.get()?, self.signal.get()?))
    }
}

/// Mean and standard deviation (of the whole population) of the last `n` values, summed as
/// distances from a value among them, and afresh each `n` values.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    window: Window,
    from: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            window: Window::new(n),
            from: 0.0,
            sum: 0.0,
            squares: 0.0,
        }
    }
    pub(crate) fn push(&mut self, value: f64) {
        if self.window.seen == 0 {
            self.from = value;
        }
        let full = self.window.is_full();
        let old = self.window.push(value);
        let (new, gone) = (value - self.from, if full { old - self.from } else { 0.0 });
        self.sum += new - gone;
        self.squares += new * new - gone * gone;
        if self.window.is_turned() {
            self.from = value;
            (self.sum, self.squares) =
                self.window
                    .values
                    .iter()
                    .fold((0.0, 0.0), |(sum, squares), value| {
                        let distance = value - self.from;
                        (sum + distance, squares + distance * distance)
                    });
        }
    }
    /// (mean, deviation).
    pub(crate) fn get(&self) -> Option<(f64, f64)> {
        self.window.is_full().then_some(())?;
        let mean = self.sum / self.window.len();
        let variance = (self.squares / self.window.len() - mean * mean).max(0.0);
        Some((self.from + mean, variance.sqrt()))
    }
}

/// Wilder's average true range over `n` bars: the first is a plain mean (New Concepts in Technical
/// Trading Systems, 1978).
#[derive(Clone, Debug)]
pub(crate) struct Atr {
    n: usize,
    last: Option<f64>,
    seen: usize,
    value: f64,
}

impl Atr {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            n,
            last: None,
            seen: 0,
            value: 0.0,
        }
    }
    pub(crate) fn push(&mut self, high: f64, low: f64, close: f64) {
        if let Some(last) = self.last {
            let range = (high - low)
                .max((high - last).abs())
                .max((low - last).abs());
            let n = self.n as f64;
            self.seen += 1;
            if self.seen <= self.n {
                self.value += range / n;
            } else {
                self.value = (self.value * (n - 1.0) + range) / n;
            }
        }
        self.last = Some(close);
    }
    pub(crate) fn get(&self) -> Option<f64> {
        (self.seen >= self.n).then_some(self.value)
    }
}

/// Wilder's relative strength index over `n` changes (New Concepts in Technical Trading Systems,
/// 1978).
#[derive(Clone, Debug)]
pub(crate) struct Rsi {
    n: usize,
    last: Option<f64>,
    seen: usize,
    gain: f64,
    loss: f64,
}

impl Rsi {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            n,
            last: None,
            seen: 0,
            gain: 0.0,
            loss: 0.0,
        }
    }
    pub(crate) fn push(&mut self, value: f64) {
        if let Some(last) = self.last {
            let change = value - last;
            let (up, down) = (change.max(0.0), (-change).max(0.0));
            let n = self.n as f64;
            self.seen += 1;
            if self.seen <= self.n {
                // The first average is a plain mean of the first n changes.
                self.gain += up / n;
                self.loss += down / n;
            } else {
                self.gain = (self.gain * (n - 1.0) + up) / n;
                self.loss = (self.loss * (n - 1.0) + down) / n;
            }
        }
        self.last = Some(value);
    }
    /// 0 to 100; 50 when nothing moved at all.
    pub(crate) fn get(&self) -> Option<f64> {
        if self.seen < self.n {
            return None;
        }
        let total = self.gain + self.loss;
        Some(if total > 0.0 {
            100.0 * self.gain / total
        } else {
            50.0
        })
    }
}

/// Highest and lowest of the last `n` values, in constant time per value over all: what is left of
/// the block before this one is known from its end, what has come of this one as it comes (van Herk
/// 1992; Gil and Werman 1993).
#[derive(Clone, Debug)]
pub(crate) struct Extremes {
    /// Values of this block, in (high, low).
    block: Box<[(f64, f64)]>,
    /// Of the block before, the extremes from each place to its end.
    tail: Box<[(f64, f64)]>,
    /// Of this block so far.
    running: (f64, f64),
    at: usize,
    seen: usize,
}

const NOTHING: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

fn wider(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (
        if b.0 > a.0 { b.0 } else { a.0 },
        if b.1 < a.1 { b.1 } else { a.1 },
    )
}

impl Extremes {
    pub(crate) fn new(n: usize) -> Self {
        let n = n.max(1);
        Self {
            block: vec![NOTHING; n].into(),
            tail: vec![NOTHING; n].into(),
            running: NOTHING,
            at: 0,
            seen: 0,
        }
    }
    pub(crate) fn push(&mut self, high: f64, low: f64) {
        if self.at == self.block.len() {
            let mut running = NOTHING;
            for (tail, value) in self.tail.iter_mut().zip(&self.block).rev() {
                running = wider(running, *value);
                *tail = running;
            }
            (self.at, self.running) = (0, NOTHING);
        }
        self.block[self.at] = (high, low);
        self.running = wider(self.running, (high, low));
        self.at += 1;
        self.seen += 1;
    }
    /// (highest, lowest), once `n` values are in.
    pub(crate) fn get(&self) -> Option<(f64, f64)> {
        (self.seen >= self.block.len()).then(|| match self.tail.get(self.at) {
            Some(tail) => wider(*tail, self.running),
            None => self.running,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Real candles, and what TA-Lib makes of them (`tests/data/indicators.py`).
    const TABLE: &str = include_str!("../../tests/data/indicators.tsv");

    /// To within 1e-9, on real candles.
    #[test]
    fn indicators_match_ta_lib() {
        let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
        let (mut sma, mut ema, mut rsi, mut macd) = (
            Sma::new(20),
            Ema::new(20),
            Rsi::new(14),
            Macd::new(12, 26, 9),
        );
        let (mut spread, mut atr, mut extremes) =
            (Spread::new(20), Atr::new(14), Extremes::new(20));
        let (mut compared, mut worst) = (0, 0.0f64);
        for (index, line) in lines.enumerate() {
            let cells: BTreeMap<&str, f64> = names
                .iter()
                .copied()
                .zip(
                    line.split('\t')
                        .map(|cell| cell.parse().unwrap_or(f64::NAN)),
                )
                .collect();
            let (high, low, close) = (cells["high"], cells["low"], cells["close"]);
            sma.push(close);
            ema.push(close);
            rsi.push(close);
            macd.push(close);
            spread.push(close);
            atr.push(high, low, close);
            extremes.push(high, low);
            let ours = [
                ("sma20", sma.get()),
                ("ema20", ema.get()),
                ("rsi14", rsi.get()),
                ("macd", macd.get().map(|(line, _)| line)),
                ("macd_signal", macd.get().map(|(_, signal)| signal)),
                (
                    "bb_upper",
                    spread.get().map(|(mean, deviation)| mean + 2.0 * deviation),
                ),
                ("bb_middle", spread.get().map(|(mean, _)| mean)),
                (
                    "bb_lower",
                    spread.get().map(|(mean, deviation)| mean - 2.0 * deviation),
                ),
                ("atr14", atr.get()),
                ("max20", extremes.get().map(|(highest, _)| highest)),
                ("min20", extremes.get().map(|(_, lowest)| lowest)),
            ];
            for (name, value) in ours {
                let theirs = cells[name];
                assert_eq!(
                    value.is_none(),
                    theirs.is_nan(),
                    "{name} at {index}: {value:?}, {theirs}"
                );
                let Some(value) = value else { continue };
                // What is a difference of prices is compared with the prices.
                let scale = if name.starts_with("macd") {
                    close
                } else {
                    theirs.abs()
                };
                let off = (value - theirs).abs() / scale;
                assert!(off <= 1e-9, "{name} at {index}: {value} is not {theirs}");
                (compared, worst) = (compared + 1, worst.max(off));
            }
        }
        println!("{compared} values compared, at most {worst:.1e} off");
        assert!(compared > 3000);
    }

    #[test]
    fn sma_is_the_window_mean() {
        let mut sma = Sma::new(3);
        let out: Vec<Option<f64>> = [1.0, 2.0, 3.0, 7.0]
            .iter()
            .map(|v| {
                sma.push(*v);
                sma.get()
            })
            .collect();
        assert_eq!(out, [None, None, Some(2.0), Some(4.0)]);
    }

    #[test]
    fn rsi_reproduces_wilders_first_value() {
        // Four gains of 1, one loss of 1 over five changes: 100 × 0.8 / (0.8 + 0.2).
        let mut rsi = Rsi::new(5);
        for value in [10.0, 11.0, 12.0, 11.0, 12.0, 13.0] {
            rsi.push(value);
        }
        assert!((rsi.get().unwrap() - 80.0).abs() < 1e-12);
        rsi.push(13.0);
        assert!((rsi.get().unwrap() - 80.0).abs() < 1e-12);
    }

    #[test]
    fn extremes_match_a_full_scan() {
        let values: Vec<f64> = (0..200).map(|i| f64::from((i * 37) % 101)).collect();
        let mut extremes = Extremes::new(7);
        for (i, value) in values.iter().enumerate() {
            extremes.push(*value, *value);
            if i >= 6 {
                let window = &values[i - 6..=i];
                let high = window.iter().copied().fold(f64::MIN, f64::max);
                let low = window.iter().copied().fold(f64::MAX, f64::min);
                assert_eq!(extremes.get(), Some((high, low)));
            }
        }
    }
}
