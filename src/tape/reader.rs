//! Reading the tape, and saying whether it is what was written.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::line::{Head, Mark, TapeLine, TapeMessage};
use crate::domain::Ms;

/// The segments of a directory, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".tape.zst"))
        .collect();
    out.sort();
    Ok(out)
}

/// A segment open for reading.
pub struct Segment {
    pub head: Head,
    lines: io::Lines<BufReader<Decoder<'static, BufReader<File>>>>,
    /// Text of the line that was read last.
    raw: String,
}

impl Segment {
    /// Opens a segment.
    ///
    /// # Errors
    /// A file that is no tape of this release, or that cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut lines = BufReader::new(Decoder::new(File::open(path)?)?).lines();
        let not_ours = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: not a tape", path.display()),
            )
        };
        let first = lines.next().ok_or_else(not_ours)??;
        match serde_json::from_str(&first) {
            Ok(TapeLine::Head(head)) if head.schema == "tape/1" => Ok(Self {
                head,
                lines,
                raw: first,
            }),
            Ok(TapeLine::Head(head)) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{}: written as {}, this release reads tape/1",
                    path.display(),
                    head.schema
                ),
            )),
            _ => Err(not_ours()),
        }
    }

    /// The next line; `None` at the end, `Err` where the rest cannot be read.
    fn next_line(&mut self) -> Option<io::Result<TapeLine>> {
        self.raw = match self.lines.next()? {
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        Some(
            serde_json::from_str(&self.raw)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        )
    }
}

impl Iterator for Segment {
    type Item = TapeMessage;
    /// The next message, up to where the segment is whole.
    fn next(&mut self) -> Option<TapeMessage> {
        loop {
            match self.next_line()? {
                Ok(TapeLine::Heard(heard)) => return Some(heard),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Findings about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeVerdict {
    /// Messages that could be read.
    pub lines: u64,
    /// Of these, how many the last mark vouches for.
    pub vouched: u64,
    pub lost: u64,
    pub first: Option<Ms>,
    pub last: Option<Ms>,
    /// Closed in good order; otherwise the process that wrote it was cut off, or still writes.
    pub closed: bool,
    /// Fault of the segment, if there is one.
    pub wrong: Option<String>,
}

/// Reads a whole segment and compares every mark with what stands before it.
///
/// # Errors
/// A file that is no tape, or that cannot be opened.
pub fn verify(path: &Path) -> io::Result<TapeVerdict> {
    let mut segment = Segment::open(path)?;
    let mut v = TapeVerdict {
        lines: 0,
        vouched: 0,
        lost: 0,
        first: None,
        last: None,
        closed: false,
        wrong: None,
    };
    let mut hash = Sha256::new();
    hash.update(segment.raw.as_bytes());
    hash.update(b"\n");
    while let Some(line) = segment.next_line() {
        if v.closed && line.is_ok() {
            v.wrong = Some("something was added after the end".into());
            return Ok(v);
        }
        match line {
            Ok(TapeLine::Heard(heard)) => {
                hash.update(segment.raw.as_bytes());
                hash.update(b"\n");
                v.lines += 1;
                v.first = v.first.or(Some(heard.at));
                v.last = Some(heard.at);
            }
            Ok(TapeLine::Mark(mark)) => {
                let sha256 = data_encoding::HEXLOWER.encode(&hash.clone().finalize());
                if mark.lines != v.lines || mark.sha256 != sha256 {
                    let Mark { lines, .. } = mark;
                    v.wrong = Some(format!(
                        "the mark after {lines} messages does not fit the {} before it",
                        v.lines
                    ));
                    return Ok(v);
                }
                (v.vouched, v.lost, v.closed) = (mark.lines, mark.lost, mark.end);
            }
            Ok(TapeLine::Head(_)) => {
                v.wrong = Some("a second head".into());
                return Ok(v);
            }
            // Cut off in mid-frame: how a crash leaves it, or a writer that is not done. Anything
            // else was changed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(v),
            Err(error) => {
                v.wrong = Some(format!("unreadable after {} messages: {error}", v.lines));
                return Ok(v);
            }
        }
    }
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::super::{RecorderConfig, record};
    use super::*;
    use crate::runtime::HeldFiles;

    fn heard(at: i64) -> TapeMessage {
        let data =
            serde_json::value::RawValue::from_string(format!(r#"[{{"last":"{at}"}}]"#)).unwrap();
        TapeMessage {
            at: Ms(at),
            channel: "tickers".into(),
            subject: "A".into(),
            data,
        }
    }

    fn config(dir: &Path) -> RecorderConfig {
        RecorderConfig {
            dir: dir.into(),
            mode: "sim".into(),
            uid: "7".into(),
            instruments: Vec::new(),
            keep_days: 2,
            held: HeldFiles::default(),
        }
    }

    /// Records `messages` and closes the tape.
    fn recorded(dir: &Path, messages: &[i64]) -> Vec<PathBuf> {
        let recording = record(config(dir), Ms(messages[0])).unwrap();
        messages.iter().for_each(|at| recording.hear(heard(*at)));
        recording.finish();
        segments(dir).unwrap()
    }

    #[test]
    fn recorded_messages_read_back_verified() {
        let dir = tempfile::tempdir().unwrap();
        let messages: Vec<i64> = (0..500).map(|i| 1_000_000 + i).collect();
        let all = recorded(dir.path(), &messages);
        let v = verify(&all[0]).unwrap();
        assert_eq!(
            (v.lines, v.vouched, v.closed, v.wrong),
            (500, 500, true, None)
        );
        let back: Vec<i64> = Segment::open(&all[0]).unwrap().map(|h| h.at.0).collect();
        assert_eq!(back, messages);
    }

    /// Segments older than the retention are deleted.
    #[test]
    fn new_day_starts_a_new_segment() {
        let dir = tempfile::tempdir().unwrap();
        let day = 86_400_000;
        let all = recorded(dir.path(), &[day, day + 5, 2 * day, 3 * day + 1, 6 * day]);
        let days: Vec<i64> = all
            .iter()
            .map(|path| Segment::open(path).unwrap().head.started_ms.0 / day)
            .collect();
        assert_eq!(days, [6], "two days are kept");
    }

    /// A cut-off end is a crash; a changed byte, a forged line or an appended one is reported as
    /// wrong.
    #[test]
    fn torn_end_differs_from_tampering() {
        let dir = tempfile::tempdir().unwrap();
        let messages: Vec<i64> = (0..5000).map(|i| 1_000_000 + i * 7).collect();
        let path = recorded(dir.path(), &messages).remove(0);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - whole.len() / 4]).unwrap();
        let torn = verify(&path).unwrap();
        assert!(
            !torn.closed && torn.wrong.is_none() && torn.lines > 0,
            "{torn:?}"
        );
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x40;
        fs::write(&path, &changed).unwrap();
        assert!(
            verify(&path).map_or(true, |v| v.wrong.is_some()),
            "{:?}",
            verify(&path)
        );
        // One digit changed by somebody who knows how to pack a segment.
        let text = String::from_utf8(zstd::decode_all(&whole[..]).unwrap()).unwrap();
        let forged = text.replacen(r#""last":"1000007""#, r#""last":"1000008""#, 1);
        assert_ne!(forged, text);
        fs::write(&path, zstd::encode_all(forged.as_bytes(), 3).unwrap()).unwrap();
        assert!(verify(&path).unwrap().wrong.is_some());
        // More of the same kind, put behind the end.
        let more = zstd::encode_all(
            &br#"{"heard":{"at":1,"channel":"c","subject":"","data":[]}}"#[..],
            3,
        )
        .unwrap();
        fs::write(&path, [whole, more].concat()).unwrap();
        assert!(verify(&path).unwrap().wrong.is_some());
    }

    #[test]
    fn another_file_is_no_tape() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tape.zst");
        fs::write(&path, "hello").unwrap();
        assert!(Segment::open(&path).is_err());
    }
}
