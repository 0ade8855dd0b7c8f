//! One question from the first request to its outcome: tries, one more question if the form was wrong, lower formats. Every
//! request and every reply is handed to the writer before anybody acts on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::answer::Mode;
use super::budget::{Allowance, Prices, Spent, Worst};
use super::chat::{About, Parameters, once_more, request};
use super::client::{Client, Raw};
use super::code::Code;
use super::format::{Format, Known};
use super::parse::{Item, Refused};

use super::prompt::Prompt;
use super::reply::{Reply, read};
use crate::domain::model::{ModelCall, ModelFact, ModelSpent};
use crate::domain::record::Record;
use crate::domain::{ContenderId, Ms, RunId};
use crate::runtime::{Clock, StageError, Stop};
use crate::store::Journal;

/// Requests of one question that may fail in ways that pass.
const TRIES: u32 = 2;

/// A model as configured, and where it is asked.
pub struct Model {
    /// What the configuration calls it.
    pub id: String,
    pub parameters: Parameters,
    pub prices: Prices,
    /// Wall time after which an answer is no longer acted on.
    pub deadline: Duration,
    pub client: Client,
    /// Where it is asked: scheme, host and port. What fails there fails for every model there.
    pub provider: String,
    /// The best format it is known to take, for the schema of each mode.
    pub formats: BTreeMap<Mode, Mutex<Known>>,
}

/// A question that is ready to be put.
pub struct Asking {
    pub model: Arc<Model>,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub mode: Mode,
    pub snap: String,
    pub prompt: Prompt,
    pub allowance: Allowance,
    /// May it use what is kept for questions about what is held?
    pub from_the_reserve: bool,
    /// Ends listening for late replies.
    pub stop: Stop,
    pub journal: Journal,
    pub clock: Clock,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub answer: Result<Vec<Item>, Refused>,
    /// For each request: did the provider do its part?
    pub worked: Vec<bool>,
}

impl Asking {
    /// Asks until there is an answer, a reason why there is none, or the deadline.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn put(self, spent: &Mutex<Spent>) -> Result<Outcome, StageError> {
        let deadline = Instant::now() + self.model.deadline;
        let schema = self.mode.schema();
        let name = format!("{}_v1", self.mode.as_str());
        let mut messages = self.prompt.messages.clone();
        let known = || self.model.formats[&self.mode].lock().expect("nobody panics while looking");
        let mut format = known().get(self.clock.now());
        // The first format that was not to a server's liking, and what it said.
        let mut stepped: Option<(Format, u16)> = None;
        let (mut attempt, mut failed, mut asked_again) = (0, 0, false);
        let mut worked = Vec::new();
        loop {
            attempt += 1;
            let body = request(&self.model.parameters, &messages, format, &schema, &name);
            let worst = Worst::of(body.len(), self.model.parameters.max_tokens, &self.model.prices);
            let so_far = spent.lock().expect("nobody panics while counting").on(self.clock.now());
            if let Err(why) = so_far.may(&self.allowance, self.from_the_reserve, worst) {
                return Ok(Outcome { answer: Err(Refused::new(Code::Budget, why)), worked });
            }
            if timeout_at(deadline, self.model.client.room()).await.is_err() {
                let why = "the rate allowed for this model leaves no room before the deadline";
                return Ok(Outcome { answer: Err(Refused::new(Code::RateLimited, why)), worked });
            }
            // On disk before it leaves: whoever dies now has spent it, and whoever comes after knows that it was asked.
            let now = self.clock.now();
            let reserved = changed(spent, |spent| spent.on(now).reserved(worst));
            let mut call = self.call(attempt, format, &body, now);
            let leaving = Record::Model(Box::new(ModelFact::Request(call.clone())));
            self.journal.append(Record::Together(vec![self.spent(reserved), leaving])).await?;
            let client = self.model.client.clone();
            let mut wait = Duration::ZERO;
            let mut sending = tokio::spawn(async move { client.send(body).await });
            let refused = match timeout_at(deadline, &mut sending).await {
                Err(_) => {
                    worked.push(false);
                    let refused = Refused::new(Code::Timeout, format!("no answer in {:?}", self.model.deadline));
                    self.keep(&mut call, &refused).await?;
                    self.listen(sending, call);
                    return Ok(Outcome { answer: Err(refused), worked });
                }
                Ok(Err(gone)) => {
                    worked.push(false);
                    let refused = Refused::new(Code::Unreachable, format!("the request was lost: {gone}"));
                    self.keep(&mut call, &refused).await?;
                    refused
                }
                Ok(Ok(Err(refused))) => {
                    worked.push(false);
                    if refused.code == Code::Unsent {
                        let settled = changed(spent, |spent| spent.settled((reserved.day, worst), 0, Decimal::ZERO));
                        self.journal.post(self.spent(settled)).await?;
                    }
                    self.keep(&mut call, &refused).await?;
                    refused
                }
                Ok(Ok(Ok(raw))) => {
                    let Reply { answer, provider_worked: did_its_part, .. } = self.take(&mut call, &raw);
                    if let Some((tokens, cost)) = counted(call.usage, call.cost_usd, raw.status) {
                        let settled = changed(spent, |spent| spent.settled((reserved.day, worst), tokens, cost));
                        self.journal.post(self.spent(settled)).await?;
                    }
                    let lower = known().after(format, raw.status);
                    known().failed(format, raw.status);
                    let doubtful = Known::is_doubtful(raw.status);
                    if let Some(lower) = lower.filter(|_| !doubtful || failed + 1 < TRIES) {
                        stepped.get_or_insert((format, raw.status));
                        let why = format!("perhaps it does not know {}", format.as_str());
                        self.keep(&mut call, &Refused::new(Code::HttpStatus, why)).await?;
                        format = lower;
                        if doubtful {
                            // As likely an outage: that was the first try.
                            failed += 1;
                            let pause = jitter(self.run_id, attempt).max(raw.retry_after.unwrap_or_default());
                            if Instant::now() + pause >= deadline {
                                worked.push(false);
                                let refused = Refused::new(Code::HttpStatus, format!("HTTP {}", raw.status));
                                return Ok(Outcome { answer: Err(refused), worked });
                            }
                            sleep(pause).await;
                        }
                        continue;
                    }
                    worked.push(did_its_part);
                    match answer {
                        Ok(items) => {
                            call.outcome = Code::Accepted.as_str().to_owned();
                            self.journal.post(Record::Model(Box::new(ModelFact::Call(call)))).await?;
                            known().worked(format, stepped, self.clock.now());
                            return Ok(Outcome { answer: Ok(items), worked });
                        }
                        Err(refused) => {
                            self.keep(&mut call, &refused).await?;
                            if did_its_part && (200..300).contains(&raw.status) {
                                known().worked(format, stepped, self.clock.now());
                            }
                            // Only if there is time for as long as the first took: what runs out of it says nothing of the server.
                            if refused.code.is_form() && !asked_again && Instant::now() + raw.done < deadline {
                                asked_again = true;
                                messages.extend(once_more(&raw.body, &refused));
                                continue;
                            }
                            wait = raw.retry_after.filter(|_| refused.code.is_passing()).unwrap_or_default();
                            refused
                        }
                    }
                }
            };
            failed += 1;
            // As long as the server asks for, if there is time.
            let pause = jitter(self.run_id, attempt).max(wait);
            if !refused.code.is_passing() || failed >= TRIES || Instant::now() + pause >= deadline {
                return Ok(Outcome { answer: Err(refused), worked });
            }
            sleep(pause).await;
        }
    }

    /// Reads a reply that has come, and notes what it says about itself.
    fn take(&self, call: &mut ModelCall, raw: &Raw) -> Reply {
        call.reply = Some(raw.body.as_slice().into());
        call.status = Some(raw.status);
        let ms = |span: Duration| i64::try_from(span.as_millis()).ok();
        (call.first_byte_ms, call.done_ms) = (ms(raw.first_byte), ms(raw.done));
        let reply = match &raw.cut {
            // What has come of it is kept; that it is not whole says enough.
            Some(why) => Reply { about: About::default(), answer: Err(why.clone()), provider_worked: false },
            None => read(raw.status, &raw.body, self.mode, &self.snap),
        };
        self.note(call, reply.about.clone());
        reply
    }

    fn note(&self, call: &mut ModelCall, about: About) {
        call.usage = about.usage.map(|u| [u.prompt, u.cached, u.completion, u.reasoning]);
        call.cost_usd = about.usage.map_or(Decimal::ZERO, |usage| self.model.prices.cost(usage));
        call.model_returned = about.model;
        call.fingerprint = about.fingerprint;
        call.finish_reason = about.finish_reason;
    }

    fn call(&self, attempt: u32, format: Format, body: &str, sent: Ms) -> ModelCall {
        let names = (self.model.id.clone(), format.as_str().to_owned(), self.model.prices.version.clone());
        ModelCall::leaving((self.run_id, self.contender.clone()), attempt, names, body.into(), sent)
    }

    fn spent(&self, spent: Spent) -> Record {
        let Spent { day, calls, tokens, cost_usd } = spent;
        let row = ModelSpent { contender: self.contender.clone(), day, calls, tokens, cost_usd };
        Record::Model(Box::new(ModelFact::Spent(row)))
    }

    async fn keep(&self, call: &mut ModelCall, refused: &Refused) -> Result<(), StageError> {
        call.outcome = refused.code.as_str().to_owned();
        call.detail.clone_from(&refused.detail);
        self.journal.post(Record::Model(Box::new(ModelFact::Call(call.clone())))).await
    }

    /// Goes on listening for an answer that nobody waits for any more: it is kept, and never acted on.
    fn listen(self, sending: tokio::task::JoinHandle<Result<Raw, Refused>>, mut call: ModelCall) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sent = sending => sent,
            };
            let Ok(Ok(raw)) = sent else { return };
            drop(self.take(&mut call, &raw));
            let refused = Refused::new(Code::Late, format!("came after {:?}", raw.done));
            if self.keep(&mut call, &refused).await.is_err() {
                warn!(event = "late_reply_lost", run_id = %self.run_id, "a late reply could not be kept");
            }
        });
    }
}

/// Changes what is spent; what it is then.
fn changed(spent: &Mutex<Spent>, change: impl FnOnce(Spent) -> Spent) -> Spent {
    let mut spent = spent.lock().expect("nobody panics while counting");
    *spent = change(*spent);
    *spent
}

/// Tokens and dollars of a call, if they are known: counted by the server, or none where it refused or was too ill to think. A
/// gateway that lost its server (502, 504) may have been billed.
fn counted(usage: Option<[u64; 4]>, cost: Decimal, status: u16) -> Option<(u64, Decimal)> {
    match (usage, status) {
        (Some([prompt, _, completion, _]), _) => Some((prompt.saturating_add(completion), cost)),
        (None, 400..=499 | 500 | 503 | 529) => Some((0, Decimal::ZERO)),
        (None, _) => None,
    }
}

/// A pause before a further try: not the same for everybody, the same for this run.
fn jitter(run_id: RunId, attempt: u32) -> Duration {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("{run_id}/{attempt}"));
    Duration::from_millis(200 + u64::from(u16::from_le_bytes([hash[0], hash[1]])) % 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_thought_costs_nothing_and_what_may_have_been_stays_at_its_worst() {
        let usage = Some([1000, 400, 100, 90]);
        assert_eq!(counted(usage, Decimal::TEN, 200), Some((1100, Decimal::TEN)));
        for status in [400, 401, 429, 500, 503, 529] {
            assert_eq!(counted(None, Decimal::ZERO, status), Some((0, Decimal::ZERO)), "{status}");
        }
        for status in [200, 502, 504] {
            assert_eq!(counted(None, Decimal::ZERO, status), None, "{status}: it may have been billed");
        }
    }
}
