//! journald's native protocol, spoken from the log's own thread: `tracing-journald` sends from the
//! thread that logs, which would wait for a journald that has stopped. Format: systemd's "Native
//! Journal Protocol" page, fields as `NAME=value` or, with line breaks inside, as name, length and
//! value.

use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::queue::{Queue, Sink};

const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of one value; a datagram must fit the socket's buffer.
const VALUE: usize = 8 * 1024;

/// journald's socket.
pub(super) struct Journald(UnixDatagram);

impl Journald {
    /// The socket of this machine's journald.
    pub(super) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }
}

impl Sink for Journald {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        match self.0.send(line) {
            Ok(_) => Ok(()),
            // journald was started again: its socket is another one.
            Err(_) => {
                *self = Self::connect()?;
                self.0.send(line).map(drop)
            }
        }
    }
    fn dropped(&self, count: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, "PRIORITY", "4");
        put(
            &mut out,
            "MESSAGE",
            &format!("{count} lines of the log were dropped: nobody read them in time"),
        );
        put(&mut out, "EVENT", "log_dropped");
        out
    }
}

/// Turns events into datagrams, their spans' fields among them.
pub(super) struct Fields(pub(super) Queue);

/// Fields that a span adds to every event in it.
struct OfSpan(Vec<u8>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Fields {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut bytes = Bytes(Vec::new());
        attributes.record(&mut bytes);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(OfSpan(bytes.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let meta = event.metadata();
        let mut bytes = Bytes(Vec::with_capacity(512));
        // systemd's levels: err, warning, info, debug.
        let priority = match *meta.level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        put(&mut bytes.0, "PRIORITY", priority);
        put(&mut bytes.0, "TARGET", meta.target());
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<OfSpan>() {
                bytes.0.extend_from_slice(&of_span.0);
            }
        }
        event.record(&mut bytes);
        self.0.push(*meta.level() == Level::ERROR, bytes.0);
    }
}

struct Bytes(Vec<u8>);

impl Visit for Bytes {
    fn record_str(&mut self, field: &Field, value: &str) {
        put(&mut self.0, &name(field), value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        put(&mut self.0, &name(field), &format!("{value:?}"));
    }
}

/// journald's spelling: capitals, digits and underscores, and no underscore first.
fn name(field: &Field) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    field
        .name()
        .chars()
        .map(plain)
        .collect::<String>()
        .trim_start_matches('_')
        .to_owned()
}

fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    let end = (0..=value.len().min(VALUE))
        .rev()
        .find(|at| value.is_char_boundary(*at))
        .unwrap_or(0);
    let value = &value[..end];
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_use_journald_framing() {
        let mut out = Vec::new();
        put(&mut out, "MESSAGE", "one line");
        put(&mut out, "BODY", "two\nlines");
        assert_eq!(
            out,
            b"MESSAGE=one line\nBODY\n\x09\0\0\0\0\0\0\0two\nlines\n"
        );
        let mut long = Vec::new();
        put(&mut long, "A", &"ä".repeat(VALUE));
        assert!(long.len() <= VALUE + 4);
    }
}
