//! Candle files: CSV with the header `ts_ms,open,high,low,close,volume`, plain or gzip. Times are
//! bar open times in UTC milliseconds.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rust_decimal::Decimal;

use super::{CandleFault, CandleFinding};
use crate::domain::{Candle, Ms, Price, Qty};

/// The columns, in order.
pub const HEADER: [&str; 6] = ["ts_ms", "open", "high", "low", "close", "volume"];

/// One row and the line it stood on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub line: u64,
    pub candle: Candle,
}

/// Contents of a file: rows, and the lines that are not rows, each with the reason.
#[derive(Debug, Default)]
pub struct Read {
    pub rows: Vec<Row>,
    pub unreadable: Vec<CandleFinding>,
}

/// A file that cannot be read as candles at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: the first line must be {expected}, is '{found}'")]
    Header {
        path: PathBuf,
        expected: String,
        found: String,
    },
    #[error("{path}: cut off or damaged in line {line}: {why}")]
    Damaged {
        path: PathBuf,
        line: u64,
        why: String,
    },
    #[error("{path}: no rows")]
    Empty { path: PathBuf },
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "gz")
}

/// Reads every row, in the order of the file; what they say is judged by [`super::check`]. A line
/// that is not six numbers is listed and left out.
///
/// # Errors
/// A file that cannot be opened, is cut off, has another header or no rows.
pub fn read_candles(path: &Path) -> Result<Read, FileError> {
    let io = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let input: Box<dyn io::Read> = if is_gzip(path) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let bad = |line: u64, why: String| FileError::Damaged {
        path: path.to_owned(),
        line,
        why,
    };
    let of_csv = |error: csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        match error.into_kind() {
            // A compressed file that ends too early, or is not what it says.
            csv::ErrorKind::Io(source) if source.kind() != io::ErrorKind::NotFound => {
                bad(line, source.to_string())
            }
            csv::ErrorKind::Io(source) => io(source),
            kind => bad(line, format!("{kind:?}")),
        }
    };
    let header: Vec<String> = reader
        .headers()
        .map_err(of_csv)?
        .iter()
        .map(str::to_owned)
        .collect();
    if header != HEADER {
        let (expected, found) = (HEADER.join(","), header.join(","));
        return Err(FileError::Header {
            path: path.to_owned(),
            expected,
            found,
        });
    }
    let mut read = Read::default();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(of_csv)? {
        let line = record.position().map_or(0, csv::Position::line);
        match parse(&record) {
            Ok(candle) => read.rows.push(Row { line, candle }),
            Err(why) => {
                let ts = Ms(record
                    .get(0)
                    .and_then(|ts| ts.trim().parse().ok())
                    .unwrap_or(0));
                read.unreadable.push(CandleFinding {
                    line,
                    ts,
                    fault: CandleFault::Unreadable(why),
                });
            }
        }
    }
    let empty = read.rows.is_empty() && read.unreadable.is_empty();
    if empty {
        Err(FileError::Empty {
            path: path.to_owned(),
        })
    } else {
        Ok(read)
    }
}

fn parse(record: &csv::StringRecord) -> Result<Candle, String> {
    if record.len() != HEADER.len() {
        return Err(format!(
            "{} columns, expected {}",
            record.len(),
            HEADER.len()
        ));
    }
    let ts: i64 = record[0]
        .trim()
        .parse()
        .map_err(|_| format!("ts_ms '{}' is not a whole number", &record[0]))?;
    if !(0..=9_999_999_999_999).contains(&ts) {
        return Err(format!("ts_ms {ts} is not a time in milliseconds"));
    }
    let number = |i: usize| {
        let text = record[i].trim();
        let value = text.parse().or_else(|_| Decimal::from_scientific(text));
        let value: Decimal =
            value.map_err(|_| format!("{} '{text}' is not a decimal", HEADER[i]))?;
        if value.abs() > Decimal::from(1_000_000_000_000_000i64) {
            return Err(format!("{} {text} is out of range", HEADER[i]));
        }
        Ok(value)
    };
    Ok(Candle {
        ts: Ms(ts),
        open: Price(number(1)?),
        high: Price(number(2)?),
        low: Price(number(3)?),
        close: Price(number(4)?),
        volume: Qty(number(5)?),
    })
}

/// Writes candles, gzip if the name ends in `.gz`. The file appears whole or not at all.
///
/// # Errors
/// What the disk says.
pub fn write_candles(
    path: &Path,
    candles: impl IntoIterator<Item = Candle>,
) -> Result<u64, FileError> {
    let io = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let fresh = path.with_file_name(format!(".{name}.part"));
    let file = File::create(&fresh).map_err(io)?;
    let count = if is_gzip(path) {
        let mut out = GzEncoder::new(io::BufWriter::new(file), Compression::default());
        let count = write_rows(&mut out, candles).map_err(io)?;
        out.finish()
            .and_then(|mut inner| inner.flush())
            .map_err(io)?;
        count
    } else {
        let mut out = io::BufWriter::new(file);
        let count = write_rows(&mut out, candles).map_err(io)?;
        out.flush().map_err(io)?;
        count
    };
    std::fs::rename(&fresh, path).map_err(io)?;
    Ok(count)
}

fn write_rows(out: &mut impl Write, candles: impl IntoIterator<Item = Candle>) -> io::Result<u64> {
    writeln!(out, "{}", HEADER.join(","))?;
    let mut count = 0;
    for c in candles {
        let [open, high, low, close] = [c.open, c.high, c.low, c.close].map(|p| p.0.normalize());
        writeln!(
            out,
            "{},{open},{high},{low},{close},{}",
            c.ts.0,
            c.volume.0.normalize()
        )?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    /// Both as plain CSV and gzip-compressed.
    #[test]
    fn written_candles_read_back() {
        for name in ["a.csv", "a.csv.gz"] {
            let (_dir, path) = file(name, "");
            let p = |text: &str| text.parse::<Price>().unwrap();
            let candle = Candle {
                ts: Ms(60_000),
                open: p("1.5"),
                high: p("2"),
                low: p("1"),
                close: p("1.25"),
                volume: "7.0001".parse().unwrap(),
            };
            assert_eq!(write_candles(&path, [candle]).unwrap(), 1);
            assert_eq!(read_candles(&path).unwrap().rows, [Row { line: 2, candle }]);
        }
    }

    /// A wrong header and a file without rows each have their own message.
    #[test]
    fn non_candle_file_is_refused() {
        for (text, expected) in [
            (
                "time,o,h,l,c,v\n",
                "must be ts_ms,open,high,low,close,volume",
            ),
            ("ts_ms,open,high,low,close,volume\n", "no rows"),
        ] {
            let (_dir, path) = file("x.csv", text);
            let error = read_candles(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Each with its line number and reason; the other lines are still read.
    #[test]
    fn unreadable_lines_are_listed() {
        let text = "ts_ms,open,high,low,close,volume\n1,2,3\n0,1,1,1,1,1e-3\n60000,1,x,1,1,1\n1e3,1,1,1,1,1\n120000,1,1,1,1,NaN\n";
        let (_dir, path) = file("x.csv", text);
        let read = read_candles(&path).unwrap();
        assert_eq!(
            (
                read.rows.len(),
                read.rows[0].candle.volume.to_string().as_str()
            ),
            (1, "0.001")
        );
        let listed: Vec<String> = read
            .unreadable
            .iter()
            .map(|f| format!("{} {}", f.line, f.fault))
            .collect();
        assert_eq!(
            listed,
            [
                "2 unreadable: 3 columns, expected 6",
                "4 unreadable: high 'x' is not a decimal",
                "5 unreadable: ts_ms '1e3' is not a whole number",
                "6 unreadable: volume 'NaN' is not a decimal",
            ]
        );
    }

    #[test]
    fn truncated_gzip_is_damaged() {
        let (_dir, path) = file("a.csv.gz", "");
        let p: Price = "1".parse().unwrap();
        let row = |i: i64| Candle {
            ts: Ms(i * 60_000),
            open: p,
            high: p,
            low: p,
            close: p,
            volume: "7.0001".parse().unwrap(),
        };
        write_candles(&path, (0..5000i64).map(row)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(
            read_candles(&path),
            Err(FileError::Damaged { .. })
        ));
    }
}
