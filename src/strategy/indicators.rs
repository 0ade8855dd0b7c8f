//! Streaming indicators: one value in, one value out, constant memory.

use std::collections::VecDeque;

/// Mean of the last `n` values.
#[derive(Clone, Debug)]
pub(super) struct Sma {
    window: VecDeque<f64>,
    n: usize,
    sum: f64,
    /// Values since the sum was last taken afresh: adding and subtracting drifts.
    since: usize,
}

impl Sma {
    pub(super) fn new(n: usize) -> Self {
        Self { window: VecDeque::with_capacity(n + 1), n, sum: 0.0, since: 0 }
    }
    pub(super) fn push(&mut self, value: f64) {
        self.window.push_back(value);
        self.sum += value;
        if self.window.len() > self.n {
            self.sum -= self.window.pop_front().unwrap_or_default();
        }
        self.since += 1;
        if self.since >= 1024 {
            self.sum = self.window.iter().sum();
            self.since = 0;
        }
    }
    pub(super) fn get(&self) -> Option<f64> {
        (self.window.len() == self.n).then(|| self.sum / self.n as f64)
    }
}

/// Wilder's relative strength index over `n` changes (New Concepts in Technical Trading Systems, 1978).
#[derive(Clone, Debug)]
pub(super) struct Rsi {
    n: usize,
    last: Option<f64>,
    seen: usize,
    gain: f64,
    loss: f64,
}

impl Rsi {
    pub(super) fn new(n: usize) -> Self {
        Self { n, last: None, seen: 0, gain: 0.0, loss: 0.0 }
    }
    pub(super) fn push(&mut self, value: f64) {
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
    pub(super) fn get(&self) -> Option<f64> {
        if self.seen < self.n {
            return None;
        }
        let total = self.gain + self.loss;
        Some(if total > 0.0 { 100.0 * self.gain / total } else { 50.0 })
    }
}

/// Highest and lowest of the last `n` values, in amortised constant time.
#[derive(Clone, Debug)]
pub(super) struct Extremes {
    n: usize,
    at: usize,
    highs: VecDeque<(usize, f64)>,
    lows: VecDeque<(usize, f64)>,
}

impl Extremes {
    pub(super) fn new(n: usize) -> Self {
        Self { n, at: 0, highs: VecDeque::new(), lows: VecDeque::new() }
    }
    pub(super) fn push(&mut self, high: f64, low: f64) {
        while self.highs.back().is_some_and(|(_, value)| *value <= high) {
            self.highs.pop_back();
        }
        while self.lows.back().is_some_and(|(_, value)| *value >= low) {
            self.lows.pop_back();
        }
        self.highs.push_back((self.at, high));
        self.lows.push_back((self.at, low));
        self.at += 1;
        let oldest = self.at.saturating_sub(self.n);
        while self.highs.front().is_some_and(|(at, _)| *at < oldest) {
            self.highs.pop_front();
        }
        while self.lows.front().is_some_and(|(at, _)| *at < oldest) {
            self.lows.pop_front();
        }
    }
    /// (highest, lowest), once `n` values are in.
    pub(super) fn get(&self) -> Option<(f64, f64)> {
        (self.at >= self.n).then_some(())?;
        Some((self.highs.front()?.1, self.lows.front()?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sma_is_the_plain_mean_of_the_window() {
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
    fn extremes_agree_with_looking_at_the_whole_window() {
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
