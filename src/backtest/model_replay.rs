//! A model over history: asked at the same closes, within the same budget, judged by the same
//! checks as in the daemon. Pure: where its replies come from is somebody else's business, and one
//! that is not there is counted, never invented.
//!
//! What it is shown differs from what it would have been shown: each question is asked at the very
//! instant of its close, the spread is the one that is assumed, and nobody knows how deep the book
//! was. So a reply that was given in the daemon is hardly ever the answer to one of these
//! questions, word for word; those that `--ask` has asked are.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::BacktestMarket;
use super::exact::views::candle;
use super::exact::{Advice, Advisor, run_at};
use crate::data::in_bars_of;
use crate::domain::view::InstMarket;
use crate::domain::{
    AccountView, Bar, Candle, EquityBook, Extras, InstId, MarketView, Ms, OrdersView, Price, Quote,
    Series,
};
use crate::llm::Code;
use crate::llm::answer::AnswerMode;
use crate::llm::budget::{Allowance, Room, TokenPrices, WorstCost};
use crate::llm::chat::{Message, Parameters, about, once_more, request};
use crate::llm::format::ResponseFormat;
use crate::llm::parse::AnswerItem;
use crate::llm::plan::TradePlan;
use crate::llm::prompt::{Contract, ModelProfile, PromptFacts, Template, build};
use crate::llm::reply::read;
use crate::llm::state::{Cadence, ModelState};
use crate::llm::validate::{Moment, validate};

/// A question as it would be sent.
#[derive(Clone, Debug)]
pub struct WordedRequest {
    pub at: Ms,
    /// The request's body for each way of asking for JSON, and its SHA-256: model, parameters and
    /// prompt are in it.
    pub requests: Vec<(ResponseFormat, String, [u8; 32])>,
}

/// A completion's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied {
    pub body: String,
    /// True if the reply came after the model's deadline.
    pub late: bool,
}

/// Source of replies: gives the answer to a question, if there is one.
pub type Source<'a> = dyn FnMut(&WordedRequest) -> Option<Replied> + 'a;

/// Counts of what came of the questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayCounts {
    pub questions: u32,
    pub answered: u32,
    /// When a question was asked that nobody has an answer to.
    pub missing_ms: Vec<i64>,
    /// Questions that were not put, by why.
    pub not_asked: BTreeMap<String, u32>,
    /// Replies that are no answer, by code.
    pub failures: BTreeMap<String, u32>,
    /// Items of answers by code.
    pub items: BTreeMap<String, u32>,
    /// Ideas that are over, by why.
    pub endings: BTreeMap<String, u32>,
}

/// An answer that is still being thought of.
struct PendingAnswer {
    /// When it is there.
    at: Ms,
    contract: Contract,
    items: Vec<AnswerItem>,
    /// Why nothing may open, as it was when it was asked.
    close_only: Option<String>,
}

/// A contender that is a model, over markets.
pub struct ReplayedModel<'a> {
    profile: ModelProfile,
    cadence: Cadence,
    template: Template,
    parameters: Parameters,
    prices: TokenPrices,
    allowance: Allowance,
    markets: &'a [BacktestMarket],
    /// All of history in every size that is shown, oldest first.
    history: BTreeMap<InstId, Vec<(Bar, Vec<Candle>)>>,
    shown_bars: usize,
    state: ModelState,
    book: EquityBook,
    think: Ms,
    pending: Vec<PendingAnswer>,
    source: &'a mut Source<'a>,
    pub counts: ReplayCounts,
}

/// Parts that make up a model, besides the markets.
pub struct Made {
    pub profile: ModelProfile,
    pub cadence: Cadence,
    pub template: Template,
    pub parameters: Parameters,
    pub prices: TokenPrices,
    pub allowance: Allowance,
    /// Longer bars that are shown beside the market's own.
    pub longer: Vec<Bar>,
    /// Bars of each size that are known at any time.
    pub history_bars: usize,
    /// Time an answer takes. It is judged at the first close after that, on what is known by then.
    pub think: Ms,
}

impl<'a> ReplayedModel<'a> {
    /// One that has been asked nothing yet.
    pub fn new(made: Made, markets: &'a [BacktestMarket], source: &'a mut Source<'a>) -> Self {
        let of = |market: &BacktestMarket| {
            let base = market.columns.bar;
            let candles: Vec<Candle> = (0..market.columns.len())
                .map(|index| candle(market, index))
                .collect();
            let series = Series::new(base, candles);
            let longer = made
                .longer
                .iter()
                .filter_map(|bar| Some((*bar, in_bars_of(&series, *bar)?.candles().to_vec())));
            let sizes: Vec<_> = std::iter::once((base, series.candles().to_vec()))
                .chain(longer)
                .collect();
            (market.instrument.id.clone(), sizes)
        };
        Self {
            history: markets.iter().map(of).collect(),
            profile: made.profile,
            cadence: made.cadence,
            template: made.template,
            parameters: made.parameters,
            prices: made.prices,
            allowance: made.allowance,
            markets,
            shown_bars: made.history_bars,
            think: made.think,
            pending: Vec::new(),
            state: ModelState::default(),
            book: EquityBook::default(),
            source,
            counts: ReplayCounts::default(),
        }
    }

    /// The market as it was known at an instant: closed bars only, half the spread on both sides of
    /// the last close.
    fn market(&self, now: Ms) -> MarketView {
        let mut insts = BTreeMap::new();
        for market in self.markets {
            let inst = &market.instrument;
            let mut series = BTreeMap::new();
            for (bar, all) in &self.history[&inst.id] {
                let end = all.partition_point(|c| c.ts.plus(bar.span()) <= now);
                let known = &all[end.saturating_sub(self.shown_bars)..end];
                series.insert(*bar, Series::new(*bar, known.to_vec()));
            }
            let Some(last) = series
                .values()
                .next()
                .and_then(|series| series.candles().last().copied())
            else {
                continue;
            };
            let half = (last.close.0 * market.costs.half_spread).max(inst.tick.0);
            let quote = Quote {
                bid: inst.floor_tick(Price(last.close.0 - half)),
                bid_qty: inst.max_limit_size,
                ask: inst.ceil_tick(Price(last.close.0 + half)),
                ask_qty: inst.max_limit_size,
                last: last.close,
                at: now,
            };
            let mark = market.is_swap().then_some((last.close, now));
            insts.insert(
                inst.id.clone(),
                InstMarket {
                    instrument: Arc::clone(inst),
                    quote: Some(quote),
                    mark,
                    series,
                },
            );
        }
        MarketView {
            insts,
            live: true,
            ..MarketView::default()
        }
    }

    /// Returns the market data beside prices: the last funding rate paid and the next funding time.
    /// Depth and open interest are not recorded.
    fn extras(&self, now: Ms) -> BTreeMap<InstId, Extras> {
        let of = |market: &BacktestMarket| {
            let next_funding = Some(market.funding.next(now));
            let extras = Extras {
                funding_rate: market.funding.last(now),
                next_funding,
                ..Extras::default()
            };
            (market.instrument.id.clone(), extras)
        };
        self.markets
            .iter()
            .filter(|market| market.is_swap())
            .map(of)
            .collect()
    }

    fn contract(
        &self,
        now: Ms,
        (subject, trigger): (Option<&InstId>, &str),
        (market, account, orders): Seen<'_>,
        close_only: bool,
    ) -> Contract {
        let extras = self.extras(now);
        build(&PromptFacts {
            now,
            trigger,
            last_decision: self.state.last_decision,
            symbol: subject,
            profile: &self.profile,
            market,
            account,
            orders,
            book: &self.book,
            plans: &self.state.plans,
            extras: &extras,
            history: &self.state.history,
            opens_today: self.state.opens_today(&self.profile, market, orders, now),
            turnover_today: orders.tally.turnover_of(&self.profile.id, now).0,
            llm_cost_today: self.state.spent(now).cost_usd,
            close_only,
        })
    }

    /// Puts a question, if the day's budget allows it; its answer is there at `at`.
    fn ask(
        &mut self,
        (now, at): (Ms, Ms),
        (subject, trigger): (Option<&InstId>, &str),
        seen: Seen<'_>,
    ) {
        let render = |model: &Self, close_only: bool| {
            let contract = model.contract(now, (subject, trigger), seen, close_only);
            model
                .template
                .render(model.profile.mode, &contract)
                .map(|prompt| (contract, prompt))
                .ok()
        };
        let Some((mut contract, mut prompt)) = render(self, false) else {
            *self.counts.failures.entry("prompt".to_owned()).or_default() += 1;
            return;
        };
        let worst =
            WorstCost::of_prompt(&prompt, self.profile.mode, &self.parameters, &self.prices);
        let about_a_position = ModelState::holds(&self.profile, subject, seen.0, seen.2);
        let close_only = match self
            .state
            .spent(now)
            .room(&self.allowance, about_a_position, worst)
        {
            Ok(Room::Free) => None,
            Ok(Room::Reserve(why)) => match render(self, true) {
                Some(narrower) => {
                    (contract, prompt) = narrower;
                    Some(why)
                }
                None => return,
            },
            Err(_) => {
                *self
                    .counts
                    .not_asked
                    .entry(Code::Budget.to_string())
                    .or_default() += 1;
                return;
            }
        };
        self.counts.questions += 1;
        let mut messages = prompt.messages;
        // As in the daemon: an answer of the wrong form is asked for once more.
        for tries_left in [1, 0] {
            let asked = self.asked(now, &messages);
            let reply = (self.source)(&asked);
            self.pay(now, reply.as_ref());
            let Some(reply) = reply else {
                self.counts.missing_ms.push(now.0);
                return;
            };
            if reply.late {
                *self
                    .counts
                    .failures
                    .entry(Code::Late.to_string())
                    .or_default() += 1;
                self.counts.answered += 1;
                return;
            }
            match read(
                200,
                reply.body.as_bytes(),
                self.profile.mode,
                &contract.data.meta.snap,
            )
            .answer
            {
                Ok(items) => {
                    self.counts.answered += 1;
                    self.pending.push(PendingAnswer {
                        at,
                        contract,
                        items,
                        close_only,
                    });
                    return;
                }
                Err(refused) => {
                    *self
                        .counts
                        .failures
                        .entry(refused.code.to_string())
                        .or_default() += 1;
                    if !refused.code.is_form() || tries_left == 0 {
                        self.counts.answered += 1;
                        return;
                    }
                    messages.extend(once_more(reply.body.as_bytes(), &refused));
                }
            }
        }
    }

    /// Counts what a question has cost, as far as its server has counted; one that is missing has
    /// made a call.
    fn pay(&self, now: Ms, reply: Option<&Replied>) {
        let body =
            reply.and_then(|reply| serde_json::from_str::<serde_json::Value>(&reply.body).ok());
        let usage = body.and_then(|body| about(&body).usage).unwrap_or_default();
        let (tokens, cost) = (
            usage.prompt.saturating_add(usage.completion),
            self.prices.cost(usage),
        );
        let mut spent = self
            .state
            .spent
            .lock()
            .expect("nobody panics while counting");
        let none = WorstCost {
            tokens: 0,
            cost_usd: Decimal::ZERO,
        };
        *spent = spent
            .on(now)
            .reserved(none)
            .settled((now.utc_day(), none), tokens, cost);
    }

    /// The requests that these words may be sent as.
    fn asked(&self, at: Ms, messages: &[Message]) -> WordedRequest {
        let name = format!("{}_v1", self.profile.mode.as_str());
        let schema = self.profile.mode.schema();
        let one = |format: ResponseFormat| {
            let body = request(&self.parameters, messages, format, &schema, &name);
            let hash: [u8; 32] = Sha256::digest(&body).into();
            (format, body, hash)
        };
        WordedRequest {
            at,
            requests: ResponseFormat::ALL.map(one).to_vec(),
        }
    }

    /// An answer has been thought of: it is judged on the state of now.
    fn act(
        &mut self,
        now: Ms,
        pending: PendingAnswer,
        (market, account, orders): Seen<'_>,
        out: &mut Advice,
    ) {
        let extras = self.extras(now);
        let moment = Moment {
            now,
            run_id: run_at(now),
            profile: &self.profile,
            asked: &pending.contract,
            market,
            account,
            orders,
            plans: &self.state.plans,
            extras: &extras,
            opens_today: self.state.opens_today(&self.profile, market, orders, now),
            close_only: pending.close_only.as_deref(),
        };
        let items = pending.items;
        let verdicts = validate(&moment, items);
        self.state.last_decision = Some(now);
        for verdict in verdicts {
            *self
                .counts
                .items
                .entry(verdict.code.to_string())
                .or_default() += 1;
            if verdict.code != Code::Accepted {
                continue;
            }
            let inst = verdict.item.inst.clone();
            if let Some(plan) = verdict.plan {
                let held = crate::llm::plan::held(orders, market, &self.profile.id, &inst);
                if !held.is_zero() {
                    // As the runner tells the gate: what is held is under the newest stop at once.
                    out.stops
                        .push((self.profile.id.clone(), inst.clone(), plan.stop));
                }
                self.state.adopt(plan, held.is_zero(), now);
            }
            if let (Some(stop), Some(plan)) = (verdict.tightened, self.state.plans.get(&inst)) {
                let plan = TradePlan {
                    stop,
                    ..plan.clone()
                };
                self.state.adopt(plan, false, now);
                out.stops.push((self.profile.id.clone(), inst, stop));
            }
            out.proposals.push(verdict.proposal);
        }
    }
}

type Seen<'s> = (&'s MarketView, &'s AccountView, &'s OrdersView);

impl Advisor for ReplayedModel<'_> {
    fn advise(&mut self, now: Ms, account: &AccountView, orders: &OrdersView) -> Advice {
        self.book.observe(account);
        let market = self.market(now);
        let base = self.markets[0].columns.bar;
        let mut out = Advice::default();
        for trade in self.state.ended(&self.profile.id, &market, orders, now) {
            let why = trade
                .reason
                .split([':', ' '])
                .next()
                .unwrap_or_default()
                .to_owned();
            *self.counts.endings.entry(why).or_default() += 1;
        }
        out.proposals = self
            .state
            .exits(&self.profile.id, (base, &market), orders, now);
        let all = std::mem::take(&mut self.pending);
        let (due, thinking): (Vec<PendingAnswer>, Vec<PendingAnswer>) =
            all.into_iter().partition(|pending| now >= pending.at);
        self.pending = thinking;
        for pending in due {
            self.act(now, pending, (&market, account, orders), &mut out);
        }
        let single = self.profile.mode == AnswerMode::Single;
        // One question after the other; who still thinks at a close is not asked at it.
        let busy = !self.pending.is_empty();
        let mut at = now;
        for (subject, trigger) in self
            .state
            .due(&self.profile, &self.cadence, now, &market, single)
        {
            let about = |inst: &InstId| subject.as_ref().is_none_or(|only| only == inst);
            let short = self
                .profile
                .instruments
                .iter()
                .filter(|inst| about(inst))
                .any(|inst| {
                    market
                        .insts
                        .get(inst)
                        .and_then(|shown| crate::llm::series::atr(shown.history(self.profile.bar)))
                        .is_none()
                });
            // One question about it at a time.
            if short || busy {
                continue;
            }
            at = at.plus(self.think);
            self.state
                .note_asked(&self.profile, subject.as_ref(), &market, now);
            self.ask(
                (now, at),
                (subject.as_ref(), &trigger),
                (&market, account, orders),
            );
            if self.think <= Ms::ZERO
                && let Some(pending) = self.pending.pop()
            {
                self.act(now, pending, (&market, account, orders), &mut out);
            }
        }
        // One wish for one instrument: the way out comes first.
        let mut seen = std::collections::BTreeSet::new();
        out.proposals.retain(|p| seen.insert(p.inst.clone()));
        out
    }
}
