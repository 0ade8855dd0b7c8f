//! Writing the tape: one thread, fed by a queue that nobody ever waits for.
//!
//! The tape is heard by a tap in the stream, before anybody acts, so that no stage can forget to
//! record. It never makes anybody wait: what does not fit its queue is counted as lost in the next
//! mark.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::{info, warn};
use zstd::stream::write::Encoder;

use super::line::{Head, Mark, TapeLine, TapeMessage};
use crate::domain::{Instrument, Ms};
use crate::runtime::{HeldFile, HeldFiles};

/// Messages that may wait for the disk; beyond it they are counted as lost.
const QUEUE: usize = 8192;
/// Interval at which what was written is marked and pushed to the disk.
const MARK_EVERY: Duration = Duration::from_secs(1);
const DAY: Ms = Ms::secs(86_400);
/// Role of the recorder's file among the held files.
const ROLE: &str = "tape";
/// zstd's level: a fifth of the size for little work.
const LEVEL: i32 = 3;

/// Settings of the recorder: what to record, where, and for how long it is kept.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    pub dir: PathBuf,
    pub mode: String,
    pub uid: String,
    pub instruments: Vec<Arc<Instrument>>,
    /// Segments that began longer ago are removed when a new one begins.
    pub keep_days: i64,
    /// Held files, to which the segment being written is added.
    pub held: HeldFiles,
}

/// The end of the queue that is written to; cheap to clone. The tape ends with the last one.
#[derive(Clone, Debug)]
pub struct Recording {
    queue: SyncSender<RecorderMessage>,
    lost: Arc<AtomicU64>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Messages to the recorder's thread.
#[derive(Debug)]
enum RecorderMessage {
    Heard(TapeMessage),
    End,
}

impl Recording {
    /// Puts a message on the tape if there is room; never waits.
    pub fn hear(&self, heard: TapeMessage) {
        if self.queue.try_send(RecorderMessage::Heard(heard)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes the tape in good order and waits until it is on the disk; what is heard later is
    /// lost.
    pub fn finish(&self) {
        let thread = self
            .thread
            .lock()
            .expect("no holder of this lock can panic")
            .take();
        if let Some(thread) = thread {
            // A thread that has ended already has nothing to be told.
            drop(self.queue.send(RecorderMessage::End));
            drop(thread.join());
        }
    }
}

/// Starts the thread that writes. A disk that fails ends the tape, not the trading: it is logged.
///
/// # Errors
/// When the directory or the first segment cannot be made.
pub fn record(config: RecorderConfig, now: Ms) -> io::Result<Recording> {
    fs::create_dir_all(&config.dir)?;
    let (queue, inbox) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let mut writer = TapeWriter {
        segment: OpenTape::begin(&config, now)?,
        config,
        lost: Arc::clone(&lost),
    };
    let thread = std::thread::Builder::new().name("tape".into()).spawn(move || {
        if let Err(error) = writer.run(&inbox) {
            warn!(event = "tape_failed", %error, "the tape cannot be written; trading goes on without it");
        }
    })?;
    Ok(Recording {
        queue,
        lost,
        thread: Arc::new(Mutex::new(Some(thread))),
    })
}

struct TapeWriter {
    config: RecorderConfig,
    segment: OpenTape,
    lost: Arc<AtomicU64>,
}

impl Drop for TapeWriter {
    fn drop(&mut self) {
        self.config.held.release(ROLE);
    }
}

impl TapeWriter {
    fn run(&mut self, inbox: &Receiver<RecorderMessage>) -> io::Result<()> {
        let mut marked = Instant::now();
        let mut unmarked = false;
        loop {
            match inbox.recv_timeout(MARK_EVERY.saturating_sub(marked.elapsed())) {
                Ok(RecorderMessage::Heard(heard)) => {
                    if heard.at.floor(DAY) > self.segment.started.floor(DAY) {
                        self.turn(heard.at)?;
                    }
                    self.segment.write(&heard)?;
                    unmarked = true;
                }
                Ok(RecorderMessage::End) | Err(RecvTimeoutError::Disconnected) => {
                    return self.segment.end(self.lost.load(Ordering::Relaxed));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if marked.elapsed() >= MARK_EVERY {
                if unmarked {
                    self.segment
                        .mark(self.lost.load(Ordering::Relaxed), false)?;
                }
                (marked, unmarked) = (Instant::now(), false);
            }
        }
    }

    /// A new day: a new segment, and what is too old goes.
    fn turn(&mut self, now: Ms) -> io::Result<()> {
        self.segment.end(self.lost.load(Ordering::Relaxed))?;
        self.segment = OpenTape::begin(&self.config, now)?;
        Ok(())
    }
}

/// A segment that is being written.
struct OpenTape {
    out: Encoder<'static, File>,
    started: Ms,
    lines: u64,
    hash: Sha256,
}

impl OpenTape {
    fn begin(config: &RecorderConfig, now: Ms) -> io::Result<Self> {
        forget(&config.dir, now, config.keep_days);
        let (path, file) = fresh(&config.dir, now)?;
        config.held.hold(ROLE, HeldFile::at(&path)?);
        let mut out = Encoder::new(file, LEVEL)?;
        out.include_checksum(true)?;
        let instruments = config
            .instruments
            .iter()
            .map(|i| Instrument::clone(i))
            .collect();
        let head = Head {
            schema: "tape/1".into(),
            mode: config.mode.clone(),
            uid: config.uid.clone(),
            started_ms: now,
            instruments,
        };
        let mut hash = Sha256::new();
        hash.update(write_line(&mut out, &TapeLine::Head(head))?);
        out.flush()?;
        info!(event = "tape_begun", path = %path.display(), "recording what the venue says");
        Ok(Self {
            out,
            started: now,
            lines: 0,
            hash,
        })
    }

    fn write(&mut self, heard: &TapeMessage) -> io::Result<()> {
        let text = write_line(&mut self.out, &TapeLine::Heard(heard.clone()))?;
        self.hash.update(&text);
        self.lines += 1;
        Ok(())
    }

    fn mark(&mut self, lost: u64, end: bool) -> io::Result<()> {
        let sha256 = data_encoding::HEXLOWER.encode(&self.hash.clone().finalize());
        write_line(
            &mut self.out,
            &TapeLine::Mark(Mark {
                lines: self.lines,
                sha256,
                lost,
                end,
            }),
        )?;
        self.out.flush()?;
        self.out.get_ref().sync_data()
    }

    fn end(&mut self, lost: u64) -> io::Result<()> {
        self.mark(lost, true)?;
        self.out.do_finish()?;
        self.out.get_ref().sync_data()
    }
}

fn write_line(out: &mut impl Write, line: &TapeLine) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
    text.push(b'\n');
    out.write_all(&text)?;
    Ok(text)
}

/// A file of this moment that nobody has written yet.
fn fresh(dir: &Path, now: Ms) -> io::Result<(PathBuf, File)> {
    let stamp = now.iso().replace(':', "");
    for turn in 0..1000 {
        let suffix = if turn == 0 {
            String::new()
        } else {
            format!("-{turn}")
        };
        let path = dir.join(format!("{stamp}{suffix}.tape.zst"));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a thousand segments of one moment",
    ))
}

/// Removes segments that began more than `days` ago. One that cannot be removed is left for the
/// next time.
fn forget(dir: &Path, now: Ms, days: i64) {
    let oldest = Ms(now.0 - days * DAY.0).iso().replace(':', "");
    for path in super::reader::segments(dir).unwrap_or_default() {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name < oldest && fs::remove_file(&path).is_ok() {
            info!(event = "tape_forgotten", path = %path.display(), "a segment is older than tape.keep_days");
        }
    }
}
