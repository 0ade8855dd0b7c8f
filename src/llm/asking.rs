//! One question from the first request to its outcome: tries, one more question if the form was
//! wrong, lower formats. Every request and every reply is handed to the writer before anybody acts
//! on it.
//!
//! A request to a model is a row before it leaves, like an intent: one without an outcome was under
//! way when its process ended, and the next start says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::answer::AnswerMode;
use super::budget::{Allowance, Spent, TokenPrices, WorstCost};
use super::chat::{About, Message, Parameters, once_more, request};
use super::client::{ModelClient, Raw};
use super::code::Code;
use super::format::{Known, ResponseFormat};
use super::parse::{AnswerItem, RefusedAnswer};

use super::prompt::Prompt;
use super::reply::{Reply, read};
use crate::domain::model::{ModelCall, ModelFact, ModelSpent};
use crate::domain::record::Record;
use crate::domain::{ContenderId, Ms, RunId};
use crate::runtime::{Clock, Shutdown, StageError};
use crate::store::Journal;

/// Requests of one question that may fail in ways that pass.
const TRIES: u32 = 2;

/// A model as configured, and where it is asked.
pub struct Model {
    /// Name of the model in the configuration.
    pub id: String,
    pub parameters: Parameters,
    pub prices: TokenPrices,
    /// Wall time after which an answer is no longer acted on.
    pub deadline: Duration,
    pub client: ModelClient,
    /// Scheme, host and port where the model is asked. A failure there is a failure for every model
    /// there.
    pub provider: String,
    /// The best format it is known to take, for the schema of each mode.
    pub formats: BTreeMap<AnswerMode, Mutex<Known>>,
}

/// A question that is ready to be put.
pub struct Asking {
    pub model: Arc<Model>,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub mode: AnswerMode,
    pub snap: String,
    pub prompt: Prompt,
    pub allowance: Allowance,
    /// True if it may use the reserve kept for questions about what is held.
    pub from_the_reserve: bool,
    /// Ends listening for late replies.
    pub stop: Shutdown,
    pub journal: Journal,
    pub clock: Clock,
}

/// Outcome of a question.
#[derive(Debug)]
pub struct AskOutcome {
    pub answer: Result<Vec<AnswerItem>, RefusedAnswer>,
    /// For each request: did the provider do its part?
    pub worked: Vec<bool>,
}

/// Progress of a question.
struct Course {
    deadline: Instant,
    messages: Vec<Message>,
    format: ResponseFormat,
    /// The first format that was not to the server's liking, and what it said.
    stepped: Option<(ResponseFormat, u16)>,
    /// Requests so far, and those that failed in a way that may pass.
    attempt: u32,
    failed: u32,
    /// The one more question after an answer of the wrong form has been put.
    asked_again: bool,
    worked: Vec<bool>,
}

impl Course {
    /// True if there is still time left after such a pause.
    fn has_time_after(&self, pause: Duration) -> bool {
        Instant::now() + pause < self.deadline
    }
}

/// Next step after a request.
enum NextRequest {
    Over(Result<Vec<AnswerItem>, RefusedAnswer>),
    /// Another one, after so long.
    After(Duration),
}

impl Asking {
    /// Asks until there is an answer, a reason why there is none, or the deadline.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn put(self, spent: &Mutex<Spent>) -> Result<AskOutcome, StageError> {
        let mut course = Course {
            deadline: Instant::now() + self.model.deadline,
            messages: self.prompt.messages.clone(),
            format: self.known().get(self.clock.now()),
            stepped: None,
            attempt: 0,
            failed: 0,
            asked_again: false,
            worked: Vec::new(),
        };
        let this = Arc::new(self);
        loop {
            match this.ask(&mut course, spent).await? {
                NextRequest::Over(answer) => {
                    return Ok(AskOutcome {
                        answer,
                        worked: course.worked,
                    });
                }
                NextRequest::After(pause) => sleep(pause).await,
            }
        }
    }

    /// Returns what is known of the formats the server can be asked in.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.model.formats[&self.mode]
            .lock()
            .expect("nobody panics while looking")
    }

    /// One request, if there is room for it, and what follows from it.
    async fn ask(
        self: &Arc<Self>,
        course: &mut Course,
        spent: &Mutex<Spent>,
    ) -> Result<NextRequest, StageError> {
        course.attempt += 1;
        let name = format!("{}_v1", self.mode.as_str());
        let body = request(
            &self.model.parameters,
            &course.messages,
            course.format,
            &self.mode.schema(),
            &name,
        );
        let worst = WorstCost::of(
            body.len(),
            self.model.parameters.max_tokens,
            &self.model.prices,
        );
        let so_far = spent
            .lock()
            .expect("nobody panics while counting")
            .on(self.clock.now());
        if let Err(why) = so_far.may(&self.allowance, self.from_the_reserve, worst) {
            return Ok(NextRequest::Over(Err(RefusedAnswer::new(
                Code::Budget,
                why,
            ))));
        }
        if timeout_at(course.deadline, self.model.client.room())
            .await
            .is_err()
        {
            let why = "the rate allowed for this model leaves no room before the deadline";
            return Ok(NextRequest::Over(Err(RefusedAnswer::new(
                Code::RateLimited,
                why,
            ))));
        }
        // On disk before it leaves: whoever dies now has spent it, and whoever comes after knows
        // that it was asked.
        let now = self.clock.now();
        let reserved = changed(spent, |spent| spent.on(now).reserved(worst));
        let mut call = self.call(course.attempt, course.format, &body, now);
        let leaving = Record::Model(Box::new(ModelFact::Request(call.clone())));
        self.journal
            .append(Record::Together(vec![self.spent(reserved), leaving]))
            .await?;
        let settle = |tokens, cost| {
            let settled = changed(spent, |spent| {
                spent.settled((reserved.day, worst), tokens, cost)
            });
            self.journal.post(self.spent(settled))
        };
        let client = self.model.client.clone();
        let mut sending = tokio::spawn(async move { client.send(body).await });
        match timeout_at(course.deadline, &mut sending).await {
            Err(_) => {
                course.worked.push(false);
                let refused = RefusedAnswer::new(
                    Code::Timeout,
                    format!("no answer in {:?}", self.model.deadline),
                );
                self.keep(&mut call, &refused).await?;
                Arc::clone(self).listen(sending, call);
                Ok(NextRequest::Over(Err(refused)))
            }
            Ok(Err(gone)) => {
                let refused =
                    RefusedAnswer::new(Code::Unreachable, format!("the request was lost: {gone}"));
                self.unheard(course, &mut call, refused).await
            }
            Ok(Ok(Err(refused))) => {
                if refused.code == Code::Unsent {
                    settle(0, Decimal::ZERO).await?;
                }
                self.unheard(course, &mut call, refused).await
            }
            Ok(Ok(Ok(raw))) => {
                let reply = self.take(&mut call, &raw);
                if let Some((tokens, cost)) = counted(call.usage, call.cost_usd, raw.status) {
                    settle(tokens, cost).await?;
                }
                self.heard(course, call, &raw, reply).await
            }
        }
    }

    /// Handles a request that got no reply.
    async fn unheard(
        &self,
        course: &mut Course,
        call: &mut ModelCall,
        refused: RefusedAnswer,
    ) -> Result<NextRequest, StageError> {
        course.worked.push(false);
        self.keep(call, &refused).await?;
        Ok(self.after(course, refused, Duration::ZERO))
    }

    /// A reply has come: an answer, one that is not in the form asked for, or a refusal, perhaps of
    /// the way of asking.
    async fn heard(
        &self,
        course: &mut Course,
        mut call: ModelCall,
        raw: &Raw,
        reply: Reply,
    ) -> Result<NextRequest, StageError> {
        let asked_in = course.format;
        let lower = self.known().after(asked_in, raw.status);
        self.known().failed(asked_in, raw.status);
        let doubtful = Known::is_doubtful(raw.status);
        if let Some(lower) = lower.filter(|_| !doubtful || course.failed + 1 < TRIES) {
            course.stepped.get_or_insert((asked_in, raw.status));
            let why = format!("perhaps it does not know {}", asked_in.as_str());
            self.keep(&mut call, &RefusedAnswer::new(Code::HttpStatus, why))
                .await?;
            course.format = lower;
            if !doubtful {
                return Ok(NextRequest::After(Duration::ZERO));
            }
            // As likely an outage: that was the first try.
            course.failed += 1;
            let pause =
                jitter(self.run_id, course.attempt).max(raw.retry_after.unwrap_or_default());
            if course.has_time_after(pause) {
                return Ok(NextRequest::After(pause));
            }
            course.worked.push(false);
            return Ok(NextRequest::Over(Err(RefusedAnswer::new(
                Code::HttpStatus,
                format!("HTTP {}", raw.status),
            ))));
        }
        course.worked.push(reply.provider_worked);
        let refused = match reply.answer {
            Ok(items) => {
                call.outcome = Code::Accepted.as_str().to_owned();
                self.journal
                    .post(Record::Model(Box::new(ModelFact::Call(call))))
                    .await?;
                self.known()
                    .worked(asked_in, course.stepped, self.clock.now());
                return Ok(NextRequest::Over(Ok(items)));
            }
            Err(refused) => refused,
        };
        self.keep(&mut call, &refused).await?;
        if reply.provider_worked && (200..300).contains(&raw.status) {
            self.known()
                .worked(asked_in, course.stepped, self.clock.now());
        }
        // Only if there is time for as long as the first took: what runs out of it says nothing of
        // the server.
        if refused.code.is_form() && !course.asked_again && course.has_time_after(raw.done) {
            course.asked_again = true;
            course.messages.extend(once_more(&raw.body, &refused));
            return Ok(NextRequest::After(Duration::ZERO));
        }
        Ok(self.after(course, refused, raw.retry_after.unwrap_or_default()))
    }

    /// Returns the next step after a failure: another try if the failure may pass and there is
    /// time, no sooner than the server asks for.
    fn after(&self, course: &mut Course, refused: RefusedAnswer, wait: Duration) -> NextRequest {
        course.failed += 1;
        let pause = jitter(self.run_id, course.attempt).max(wait);
        if refused.code.is_passing() && course.failed < TRIES && course.has_time_after(pause) {
            NextRequest::After(pause)
        } else {
            NextRequest::Over(Err(refused))
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
            Some(why) => Reply {
                about: About::default(),
                answer: Err(why.clone()),
                provider_worked: false,
            },
            None => read(raw.status, &raw.body, self.mode, &self.snap),
        };
        self.note(call, reply.about.clone());
        reply
    }

    fn note(&self, call: &mut ModelCall, about: About) {
        call.usage = about
            .usage
            .map(|u| [u.prompt, u.cached, u.completion, u.reasoning]);
        call.cost_usd = about
            .usage
            .map_or(Decimal::ZERO, |usage| self.model.prices.cost(usage));
        call.model_returned = about.model;
        call.fingerprint = about.fingerprint;
        call.finish_reason = about.finish_reason;
    }

    fn call(&self, attempt: u32, format: ResponseFormat, body: &str, sent: Ms) -> ModelCall {
        let names = (
            self.model.id.clone(),
            format.as_str().to_owned(),
            self.model.prices.version.clone(),
        );
        ModelCall::leaving(
            (self.run_id, self.contender.clone()),
            attempt,
            names,
            body.into(),
            sent,
        )
    }

    fn spent(&self, spent: Spent) -> Record {
        let Spent {
            day,
            calls,
            tokens,
            cost_usd,
        } = spent;
        let row = ModelSpent {
            contender: self.contender.clone(),
            day,
            calls,
            tokens,
            cost_usd,
        };
        Record::Model(Box::new(ModelFact::Spent(row)))
    }

    async fn keep(&self, call: &mut ModelCall, refused: &RefusedAnswer) -> Result<(), StageError> {
        call.outcome = refused.code.as_str().to_owned();
        call.detail.clone_from(&refused.detail);
        self.journal
            .post(Record::Model(Box::new(ModelFact::Call(call.clone()))))
            .await
    }

    /// Goes on listening for an answer that nobody waits for any more: it is kept, and never acted
    /// on.
    fn listen(
        self: Arc<Self>,
        sending: tokio::task::JoinHandle<Result<Raw, RefusedAnswer>>,
        mut call: ModelCall,
    ) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sent = sending => sent,
            };
            let Ok(Ok(raw)) = sent else { return };
            drop(self.take(&mut call, &raw));
            let refused = RefusedAnswer::new(Code::Late, format!("came after {:?}", raw.done));
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

/// Tokens and dollars of a call, if they are known: counted by the server, or none where it refused
/// or was too ill to think. A gateway that lost its server (502, 504) may have been billed.
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

    /// A refused call costs nothing; one without usage that may have been billed keeps its worst
    /// case.
    #[test]
    fn failed_calls_are_billed_conservatively() {
        let usage = Some([1000, 400, 100, 90]);
        assert_eq!(
            counted(usage, Decimal::TEN, 200),
            Some((1100, Decimal::TEN))
        );
        for status in [400, 401, 429, 500, 503, 529] {
            assert_eq!(
                counted(None, Decimal::ZERO, status),
                Some((0, Decimal::ZERO)),
                "{status}"
            );
        }
        for status in [200, 502, 504] {
            assert_eq!(
                counted(None, Decimal::ZERO, status),
                None,
                "{status}: it may have been billed"
            );
        }
    }
}
