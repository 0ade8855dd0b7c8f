//! Facts about models: what was asked, what came back, what of it was acted on, what it cost.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{ContenderId, InstId, Ms, RunId};

/// A question put to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelQuestion {
    pub run_id: RunId,
    pub contender: ContenderId,
    /// `single` or `portfolio`.
    pub mode: String,
    /// The instrument asked about; `None`: all of the contender's.
    pub inst: Option<InstId>,
    /// Name of the model in the configuration.
    pub model: String,
    pub template: String,
    /// Hashes as lower-case hex.
    pub template_hash: String,
    pub prompt_hash: String,
    /// The name that the answer must echo.
    pub snap: String,
    /// Canonical JSON of the prompt's data.
    pub data: Arc<str>,
    pub at: Ms,
}

/// One request and what came back.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCall {
    pub run_id: RunId,
    pub contender: ContenderId,
    /// From 1, over all requests of a question.
    pub attempt: u32,
    pub model: String,
    /// Method used to ask for JSON.
    pub format: String,
    /// The request's body.
    pub request: Arc<str>,
    /// The reply's body as it came.
    pub reply: Option<Arc<[u8]>>,
    pub status: Option<u16>,
    /// `accepted`, or the code of what is wrong.
    pub outcome: String,
    pub detail: String,
    /// In the server's own words.
    pub model_returned: Option<String>,
    pub fingerprint: Option<String>,
    pub finish_reason: Option<String>,
    /// Prompt, of it cached, completion, of it reasoning; `None`: the server did not count.
    pub usage: Option<[u64; 4]>,
    pub cost_usd: Decimal,
    pub price_version: String,
    pub sent: Ms,
    /// Wall time from sending to the first byte and to the last, ms.
    pub first_byte_ms: Option<i64>,
    pub done_ms: Option<i64>,
}

/// One item of an answer, or the failure of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelItem {
    pub run_id: RunId,
    pub contender: ContenderId,
    pub ordinal: u32,
    /// Empty: the answer as a whole.
    pub inst: InstId,
    pub action: String,
    pub code: String,
    pub detail: String,
    /// Statement of the model about it, as JSON.
    pub said: String,
    /// The plan that holds from now on, as JSON.
    pub plan: Option<String>,
    /// Claims about the data that are true, and all of them.
    pub evidence: (u32, u32),
    pub at: Ms,
}

/// Spending of a contender in a UTC day; replaces the earlier record of that day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpent {
    pub contender: ContenderId,
    pub day: i64,
    pub calls: u32,
    pub tokens: u64,
    pub cost_usd: Decimal,
}

/// An idea that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTrade {
    /// The run that opened it.
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub r_multiple: Option<Decimal>,
    pub held_min: i64,
    pub reason: String,
    pub at: Ms,
}

impl ModelCall {
    /// A request that nothing is known of but that it is about to leave.
    pub fn leaving(
        (run_id, contender): (RunId, ContenderId),
        attempt: u32,
        (model, format, price_version): (String, String, String),
        request: Arc<str>,
        sent: Ms,
    ) -> Self {
        Self {
            run_id,
            contender,
            attempt,
            model,
            format,
            request,
            reply: None,
            status: None,
            outcome: String::new(),
            detail: String::new(),
            model_returned: None,
            fingerprint: None,
            finish_reason: None,
            usage: None,
            cost_usd: Decimal::ZERO,
            price_version,
            sent,
            first_byte_ms: None,
            done_ms: None,
        }
    }
}

/// A fact about a model.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelFact {
    Question(ModelQuestion),
    /// A request is about to leave; of what comes back nothing is known.
    Request(ModelCall),
    Call(ModelCall),
    Items(Vec<ModelItem>),
    Spent(ModelSpent),
    Trade(ModelTrade),
}

/// Records about models that a start needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelMemory {
    /// Newest plan of each contender and instrument, as JSON, unless it is over.
    pub plans: Vec<String>,
    /// Spending on the newest day of each contender.
    pub spent: Vec<ModelSpent>,
    /// Ideas that are over, oldest first; the last few of each contender.
    pub trades: Vec<ModelTrade>,
    /// Opens of the newest days: (contender, of what, when).
    pub opens: Vec<(ContenderId, InstId, Ms)>,
    /// Methods used to ask models for JSON in the last day, oldest first.
    pub formats: Vec<ModelFormat>,
    /// Requests that were under way when their process ended.
    pub under_way: Vec<ModelCall>,
    /// Questions that nothing came of, with whose they were.
    pub unanswered: Vec<(RunId, ContenderId)>,
}

/// Method used to ask a model for JSON, and the answer of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFormat {
    /// The configuration's word for the model.
    pub model: String,
    /// `single` or `portfolio`.
    pub mode: String,
    pub run_id: RunId,
    pub format: String,
    /// HTTP.
    pub status: u16,
    pub at: Ms,
}
