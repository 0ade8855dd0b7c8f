//! Recording of the streams on the tape.

use std::path::Path;
use std::sync::Arc;

use super::StartError;
use super::reach::Reached;
use crate::config::Config;
use crate::domain::Instrument;
use crate::runtime::HeldFiles;
use crate::store::StateDir;
use crate::tape::{self, RecorderConfig, Recording, TapeMessage};
use crate::venue::Tap;

/// Opens the tape and returns the ear that the streams speak to.
pub(super) fn start_tape(
    config: &Config,
    reached: &Reached,
    instruments: &[Arc<Instrument>],
    dir: &Path,
    held: HeldFiles,
) -> Result<(Tap, Recording), StartError> {
    let clock = reached.clock.clone();
    let recorder = RecorderConfig {
        dir: StateDir::tape(dir),
        mode: config.mode.to_string(),
        uid: reached.account.uid.clone(),
        instruments: instruments.to_vec(),
        keep_days: config.tape.keep_days,
        held,
    };
    let recording = tape::record(recorder, clock.now()).map_err(|source| StartError::Io {
        what: "opening the tape",
        source,
    })?;
    let writer = recording.clone();
    let tap = Tap(Arc::new(move |channel, subject, data| {
        let (channel, subject) = (channel.to_owned(), subject.to_owned());
        writer.hear(TapeMessage {
            at: clock.now(),
            channel,
            subject,
            data: data.to_owned(),
        });
    }));
    Ok((tap, recording))
}
