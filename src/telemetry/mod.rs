//! Logs: named events with fields. Under systemd they go to journald as fields (RUN_ID, CL_ORD_ID,
//! INST, EVENT …); on a terminal they are lines a person can read. Either way a thread of its own
//! writes them: a reader that stalls, a full disk or a closed terminal costs lines, never a moment
//! of trading.
//!
//! INFO is a fact an operator asked for, WARN recovered by itself, ERROR needs a person.

mod journal;
mod queue;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use self::queue::{Queue, Sink};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets logging up, once per process. `ALPHA_ARENA_LOG` filters, e.g. `debug` or
/// `alpha_arena::risk=debug,info`.
pub fn init() {
    let mut filter =
        EnvFilter::try_from_env("ALPHA_ARENA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // At trace level these print the bytes they write, and a login's bytes are a secret.
    for quiet in [
        "tungstenite=info",
        "tokio_tungstenite=info",
        "h2=info",
        "hyper=info",
        "reqwest=info",
    ] {
        filter = filter.add_directive(quiet.parse().expect("a constant directive"));
    }
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_journal()
        && let Ok(sink) = journal::Journald::connect()
    {
        let queue = QUEUE.get_or_init(|| Queue::to(sink));
        drop(registry.with(journal::Fields(queue.clone())).try_init());
        return;
    }
    let queue = QUEUE.get_or_init(|| Queue::to(Stderr));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(queue.clone())
        .with_ansi(io::stderr().is_terminal())
        .event_format(LogLines);
    drop(registry.with(lines).try_init());
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Gives the log a moment to be written before the process ends; a reader that stalls is not waited
/// for.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(Duration::from_secs(1));
    }
}

/// A line for whoever started us, besides the log: what cannot be written is lost, and never holds
/// the daemon up.
pub fn tell(line: impl fmt::Display) {
    match QUEUE.get() {
        Some(queue) => queue.push(true, format!("{line}\n").into_bytes()),
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// The terminal, or whatever stderr is.
struct Stderr;

impl Sink for Stderr {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        io::stderr().write_all(line)
    }
    fn dropped(&self, count: u64) -> Vec<u8> {
        let time = chrono::Utc::now().format("%H:%M:%S%.3f");
        format!("{time} WARN  {count} lines of the log were dropped: nobody read them in time\n")
            .into_bytes()
    }
}

/// systemd names the journal's socket as device:inode in JOURNAL_STREAM; a terminal may inherit the
/// variable, so it only counts if our stderr is that very socket.
fn stderr_is_journal() -> bool {
    use std::os::unix::fs::MetadataExt;
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    std::fs::metadata("/dev/stderr")
        .is_ok_and(|meta| named == format!("{}:{}", meta.dev(), meta.ino()))
}

/// `12:00:01.123 INFO  filled run=1f3a… inst=BTC-USDT qty=1`
struct LogLines;

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut words = Words::default();
        event.record(&mut words);
        if words.run.is_empty()
            && let Some(span) = ctx.lookup_current()
            && let Some(fields) = span.extensions().get::<FormattedFields<N>>()
        {
            // The root span carries the run of this start.
            let text: &str = fields.fields.as_str();
            words.run = text
                .split("run_id=")
                .nth(1)
                .unwrap_or("")
                .split_whitespace()
                .next()
                .unwrap_or("")
                .to_owned();
        }
        let (colour, reset) = match (*event.metadata().level(), out.has_ansi_escapes()) {
            (_, false) => ("", ""),
            (Level::ERROR, _) => ("\x1b[1;31m", "\x1b[0m"),
            (Level::WARN, _) => ("\x1b[33m", "\x1b[0m"),
            (Level::INFO, _) => ("\x1b[32m", "\x1b[0m"),
            _ => ("\x1b[2m", "\x1b[0m"),
        };
        let time = chrono::Utc::now().format("%H:%M:%S%.3f");
        write!(
            out,
            "{time} {colour}{:5}{reset} {}",
            event.metadata().level().as_str(),
            words.message
        )?;
        if !words.run.is_empty() {
            // The tail of a UUIDv7 is its random part: enough to tell runs apart by eye.
            let tail = words
                .run
                .get(words.run.len().saturating_sub(8)..)
                .unwrap_or(&words.run);
            write!(out, " run={tail}")?;
        }
        writeln!(out, "{}", words.rest)
    }
}

#[derive(Default)]
struct Words {
    message: String,
    run: String,
    rest: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String cannot fail.
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            "run_id" => drop(write!(self.run, "{value:?}")),
            "event" => {}
            name => drop(write!(self.rest, " {name}={value:?}")),
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => {}
            name if value.contains(' ') || value.is_empty() => {
                let _ = write!(self.rest, " {name}={value:?}");
            }
            name => drop(write!(self.rest, " {name}={value}")),
        }
    }
}
