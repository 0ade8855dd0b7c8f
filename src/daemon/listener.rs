//! Listens for the tape to what nobody else in the process needs: trades, and the account's pushes.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::domain::Instrument;
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError};
use crate::venue::{Signer, Stream, StreamConfig, StreamEvent, Subscription};

pub(super) struct Listener {
    pub ws: String,
    /// With the tap: hearing is recording.
    pub stream: StreamConfig,
    pub signer: Signer,
    pub clock: Clock,
    /// Instruments whose trades no other part records; may be empty.
    pub instruments: Vec<Arc<Instrument>>,
    pub beat: Beat,
}

impl Actor for Listener {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let trades: Vec<_> = self
            .instruments
            .iter()
            .map(|i| Subscription::quiet("trades", i.id.as_str()))
            .collect();
        let mut public = (!trades.is_empty()).then(|| self.open("public", trades, None));
        let account = vec![
            Subscription::private("account", ""),
            Subscription::private("positions", "ANY"),
        ];
        let mut private = self.open("private", account, Some(self.signer.clone()));
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = next_of(&mut public) => event,
                event = private.next() => event,
                _ = tick.tick() => {
                    self.beat.tick();
                    continue;
                }
            };
            match event {
                // The tape is the poorer for it; trading is not.
                Some(StreamEvent::Refused { code, msg }) => {
                    warn!(event = "tape_refused", %code, %msg, "the venue does not let the tape hear this channel");
                }
                Some(_) => {}
                None => {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        }
    }
}

/// The next event of a stream that may not be there: then never.
async fn next_of(stream: &mut Option<Stream>) -> Option<StreamEvent> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

impl Listener {
    fn open(&self, url: &str, subscriptions: Vec<Subscription>, signer: Option<Signer>) -> Stream {
        let config = StreamConfig {
            url: format!("{}/{url}", self.ws),
            subscriptions,
            signer,
            ..self.stream.clone()
        };
        Stream::open(config, self.clock.clone())
    }
}
