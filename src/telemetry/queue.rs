//! Lines on their way to whoever reads the log. Whoever logs never waits: what does not fit is
//! counted and told of later, and what needs a person has room of its own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of ordinary lines that may wait for a slow reader.
const ROOM: usize = 4 << 20;
/// Bytes that only errors may use beside that.
const RESERVE: usize = 1 << 20;

/// Final destination of log lines.
pub(super) trait Sink: Send + 'static {
    /// Writes one line, waiting as long as it takes.
    fn put(&mut self, line: &[u8]) -> io::Result<()>;
    /// A line that tells how many were dropped.
    fn dropped(&self, count: u64) -> Vec<u8>;
}

/// The near end; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<QueueShared>);

#[derive(Debug)]
struct QueueShared {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// The reader is at work on a line.
    busy: bool,
}

impl Queue {
    /// A queue whose lines a thread of its own carries to `sink`.
    pub(super) fn to(mut sink: impl Sink) -> Self {
        let queue = Self(Arc::new(QueueShared {
            waiting: Mutex::default(),
            news: Condvar::new(),
        }));
        let near = queue.clone();
        let carry = move || loop {
            let (line, dropped) = near.next();
            if dropped > 0 {
                drop(sink.put(&sink.dropped(dropped)));
            }
            // A log that cannot be written is nobody's reason to stop.
            drop(sink.put(&line));
            near.done();
        };
        std::thread::Builder::new()
            .name("log".into())
            .spawn(carry)
            .expect("the system can start one more thread");
        queue
    }

    /// Hands a line in. Never waits.
    pub(super) fn push(&self, critical: bool, line: Vec<u8>) {
        let mut waiting = self.lock();
        let room = if critical { ROOM + RESERVE } else { ROOM };
        if waiting.bytes + line.len() > room {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        self.0.news.notify_all();
    }

    /// Waits until everything is written, but no longer than this.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut waiting = self.lock();
        while !waiting.lines.is_empty() || waiting.busy {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self
                .0
                .news
                .wait_timeout(waiting, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The next line, and how many were dropped before it.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.busy = true;
                return (line, std::mem::take(&mut waiting.dropped));
            }
            waiting = self
                .0
                .news
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.lock().busy = false;
        self.0.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event's line, handed in whole.
pub(super) struct OneLine {
    queue: Queue,
    critical: bool,
    line: Vec<u8>,
}

impl Write for OneLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OneLine {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.queue
                .push(self.critical, std::mem::take(&mut self.line));
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = OneLine;

    fn make_writer(&'a self) -> OneLine {
        OneLine {
            queue: self.clone(),
            critical: false,
            line: Vec::new(),
        }
    }
    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> OneLine {
        OneLine {
            queue: self.clone(),
            critical: *meta.level() == Level::ERROR,
            line: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that reads a line each time it is let.
    struct Slow {
        let_go: Receiver<()>,
        read: Sender<String>,
    }

    impl Sink for Slow {
        fn put(&mut self, line: &[u8]) -> io::Result<()> {
            self.let_go.recv().map_err(io::Error::other)?;
            self.read
                .send(String::from_utf8_lossy(line).into_owned())
                .map_err(io::Error::other)
        }
        fn dropped(&self, count: u64) -> Vec<u8> {
            format!("dropped {count}").into_bytes()
        }
    }

    /// Lines beyond the room are dropped and counted; an error still gets through.
    #[test]
    fn stalled_reader_blocks_nobody() {
        let ((go, let_go), (read, lines)) = (channel(), channel());
        let queue = Queue::to(Slow { let_go, read });
        let line = |n: usize| format!("{n:>1024}").into_bytes();
        // The first is taken at once; the rest waits until there is no room, and errors have some
        // of their own.
        queue.push(false, line(0));
        for n in 1..=ROOM / 1024 + 100 {
            queue.push(false, line(n));
        }
        queue.push(true, b"an error".to_vec());
        queue.flush(Duration::from_millis(10));
        for _ in 0..ROOM / 1024 + 200 {
            go.send(()).unwrap();
        }
        queue.flush(Duration::from_secs(60));
        let read: Vec<String> = lines.try_iter().collect();
        let dropped: u64 = read
            .iter()
            .filter_map(|line| line.strip_prefix("dropped ")?.parse::<u64>().ok())
            .sum();
        assert!((99..=101).contains(&dropped), "{dropped} dropped");
        assert_eq!(read.last().unwrap(), "an error");
    }
}
