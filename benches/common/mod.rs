//! The size of a run: whole, or short with `BENCH_SHORT=1`, which shows only that every figure can
//! still be measured.

/// One of two sizes.
pub fn sized(whole: usize, short: usize) -> usize {
    if std::env::var_os("BENCH_SHORT").is_some() {
        short
    } else {
        whole
    }
}
