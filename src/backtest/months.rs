//! Returns by month.

use chrono::{DateTime, Datelike};

/// Names of the months.
pub const NAMES: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Return of each month (UTC), a row a year. A close at midnight is the month's that it ends.
pub fn monthly(at: &[i64], equity: &[f64], start: f64) -> Vec<(i32, [Option<f64>; 12])> {
    let mut rows: Vec<(i32, [Option<f64>; 12])> = Vec::new();
    let (mut begun, mut last) = (start, start);
    let (mut current, mut day, mut month) = (None, None, (0, 0));
    for (at, equity) in at.iter().zip(equity) {
        let today = (at - 1).div_euclid(86_400_000);
        if day != Some(today) {
            let Some(date) = DateTime::from_timestamp_millis(at - 1) else {
                continue;
            };
            (day, month) = (Some(today), (date.year(), date.month0() as usize));
        }
        if current != Some(month) {
            (begun, current) = (last, Some(month));
            if rows.last().is_none_or(|(year, _)| *year != month.0) {
                rows.push((month.0, [None; 12]));
            }
        }
        if let Some((_, months)) = rows.last_mut()
            && begun > 0.0
        {
            months[month.1] = Some(equity / begun - 1.0);
        }
        last = *equity;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first month starts at the initial equity.
    #[test]
    fn month_starts_at_the_previous_close() {
        let day = 86_400_000;
        // Closes of 31 January (at midnight), 1 February, 1 March.
        let at = [31 * day, 32 * day, 60 * day];
        let rows = monthly(&at, &[110.0, 121.0, 60.5], 100.0);
        assert_eq!(rows.len(), 1);
        let (year, months) = &rows[0];
        assert_eq!(*year, 1970);
        let rounded: Vec<i64> = months
            .iter()
            .flatten()
            .map(|m| (m * 1000.0).round() as i64)
            .collect();
        assert_eq!(rounded, [100, 100, -500]);
    }
}
