//! Contenders that are models: the configuration made into what the runner asks with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch as views};

use super::{StartError, Wiring};
use crate::backtest::model_replay::Made;
use crate::config::{
    Config, ContenderSettings, ModelEndpoint, ModelSettings, Plays, find_model_key,
};
use crate::decision::{Cycle, Due};
use crate::domain::model::{ModelFormat, ModelMemory};
use crate::domain::{
    AccountView, Bar, EquityBook, Extras, InstId, InstKind, MarketView, Ms, OrdersView, Readiness,
    Restrictions, Rule,
};
use crate::fills::Tier;
use crate::llm::answer::AnswerMode;
use crate::llm::asking::Model;
use crate::llm::budget::{Allowance, TokenPrices};
use crate::llm::chat::Parameters;
use crate::llm::client::{ChatEndpoint, ModelClient, provider};
use crate::llm::fallback::Fallback;
use crate::llm::format::{Known, ResponseFormat, Spoken};
use crate::llm::plan::TradePlan;
use crate::llm::prompt::{ModelProfile, ProfileLimits, PromptFacts, Template, build};
use crate::llm::runner::{Levels, RunnerMemory, ShowPrompt, remembered};
use crate::llm::state::Cadence;
use crate::llm::{ModelContender, ModelRunner};
use crate::market::ExtrasReader;
use crate::runtime::{RestartPolicy, Supervisor};
use crate::store::Journal;

/// Ends of the channels that the runner is on, for those who talk to it.
pub(super) struct ModelPorts {
    pub due: mpsc::Receiver<Due>,
    pub shows: mpsc::Receiver<ShowPrompt>,
    pub levels: views::Sender<Levels>,
    pub cycles: mpsc::Sender<Cycle>,
}

impl Wiring {
    /// Starts the runner, and who reads for it what no stream brings. Nobody is started if no
    /// contender is a model and none has left anything.
    pub(super) fn start_models(
        &self,
        supervisor: &mut Supervisor,
        (contenders, retired): (Vec<ModelContender>, Vec<TradePlan>),
        (memory, book): (ModelMemory, EquityBook),
        lines: ModelPorts,
        (journal, views): (Journal, RunnerViews),
    ) {
        if contenders.is_empty() && retired.is_empty() {
            return;
        }
        let policy = RestartPolicy::restartable(self.config.supervision.freeze);
        let (extras_tx, extras) = views::channel(BTreeMap::<InstId, Extras>::new());
        let traded = |inst: &InstId| {
            contenders
                .iter()
                .any(|contender| contender.profile.instruments.contains(inst))
        };
        let reader = ExtrasReader {
            venue: self.reached.venue.clone(),
            clock: self.clock().clone(),
            instruments: self
                .instruments
                .iter()
                .filter(|inst| traded(&inst.id))
                .cloned()
                .collect(),
            view: extras_tx,
            beat: self.pulse.beat("extras", false),
        };
        supervisor.start_with(reader, |a| a.beat.clone(), policy, &self.stop);
        let runner = ModelRunner {
            clock: self.clock().clone(),
            ids: Arc::clone(&self.ids),
            journal,
            retired,
            contenders,
            memory,
            kept: RunnerMemory::default(),
            book,
            bar: self.config.bar,
            start_run: self.start_run,
            due: lines.due,
            shows: lines.shows,
            market: views.market,
            account: views.account,
            orders: views.orders,
            readiness: views.readiness,
            restrictions: views.restrictions,
            extras,
            levels: lines.levels,
            trading: self.config.trading_enabled,
            cycles: lines.cycles,
            stop: self.stop.clone(),
            beat: self.pulse.beat("models", false),
        };
        supervisor.start_with(runner, |a| a.beat.clone(), policy, &self.stop);
    }
}

/// Views the model runner reads.
pub(super) struct RunnerViews {
    pub market: views::Receiver<MarketView>,
    pub account: views::Receiver<Option<Arc<AccountView>>>,
    pub orders: views::Receiver<OrdersView>,
    pub readiness: views::Receiver<Readiness>,
    pub restrictions: views::Receiver<Restrictions>,
}

/// Plans that are remembered of contenders that take part no more.
pub fn retired(contenders: &[ModelContender], memory: &ModelMemory) -> Vec<TradePlan> {
    let plays = |plan: &TradePlan| {
        contenders
            .iter()
            .any(|contender| contender.profile.id == plan.contender)
    };
    remembered(memory)
        .into_iter()
        .filter(|plan| !plays(plan))
        .collect()
}

/// Every live contender that is a model, ready to be asked. Models that two of them share are one,
/// with one pace.
///
/// # Errors
/// A key or a prompt that cannot be read, a TLS stack that cannot be set up.
pub fn model_contenders(
    config: &Config,
    memory: &ModelMemory,
) -> Result<Vec<ModelContender>, StartError> {
    let mut models: Vec<Arc<Model>> = Vec::new();
    let mut contenders = Vec::new();
    for contender in config.live_contenders() {
        let Plays::Model(settings) = &contender.plays else {
            continue;
        };
        let endpoint = config
            .models
            .iter()
            .find(|model| model.id == settings.model)
            .expect("the configuration was checked");
        let known = models.iter().find(|model| model.id == endpoint.id).cloned();
        let model = match known {
            Some(model) => model,
            None => {
                let model = Arc::new(model(config, endpoint, memory)?);
                models.push(Arc::clone(&model));
                model
            }
        };
        contenders.push(model_contender(config, contender, settings, model)?);
    }
    Ok(contenders)
}

fn model(
    config: &Config,
    endpoint: &ModelEndpoint,
    memory: &ModelMemory,
) -> Result<Model, StartError> {
    let key = find_model_key(&config.layers.env, &endpoint.id).map_err(StartError::Config)?;
    if key.is_none() && endpoint.base_url.starts_with("https://") {
        let name = endpoint.id.to_uppercase().replace('-', "_");
        return Err(StartError::Config(format!(
            "model {} has no key: give MODEL_KEY_{name} or MODEL_KEY_{name}_FILE in the environment, or the systemd credential model-key-{}",
            endpoint.id, endpoint.id
        )));
    }
    let client = ModelClient::new(ChatEndpoint {
        base_url: endpoint.base_url.clone(),
        key,
        listen: endpoint.listen,
        calls_per_minute: endpoint.calls_per_minute,
    });
    let configured = endpoint
        .response_format
        .parse::<ResponseFormat>()
        .expect("the configuration was checked");
    let formats = |mode: AnswerMode| {
        (
            mode,
            Mutex::new(Known::remembered(
                configured,
                &spoken(endpoint, mode, memory),
            )),
        )
    };
    Ok(Model {
        id: endpoint.id.clone(),
        parameters: parameters(endpoint),
        prices: prices(endpoint),
        deadline: endpoint.deadline,
        client: client
            .map_err(|error| StartError::Config(format!("model {}: {error}", endpoint.id)))?,
        provider: provider(&endpoint.base_url),
        formats: [AnswerMode::Single, AnswerMode::Portfolio]
            .map(formats)
            .into(),
    })
}

/// Returns the formats in which a model was asked for JSON in one mode, question by question.
fn spoken(endpoint: &ModelEndpoint, mode: AnswerMode, memory: &ModelMemory) -> Vec<Vec<Spoken>> {
    let ours = memory
        .formats
        .iter()
        .filter(|call| call.model == endpoint.id && call.mode == mode.as_str());
    let calls: Vec<&ModelFormat> = ours.collect();
    let one = |call: &&ModelFormat| {
        Some(Spoken {
            format: call.format.parse().ok()?,
            status: call.status,
            at: call.at,
        })
    };
    calls
        .chunk_by(|a, b| a.run_id == b.run_id)
        .map(|calls| calls.iter().filter_map(one).collect())
        .collect()
}

fn prices(endpoint: &ModelEndpoint) -> TokenPrices {
    let [input, cached, output] = endpoint.prices;
    TokenPrices {
        version: endpoint.price_version.clone(),
        input,
        cached,
        output,
    }
}

/// Returns a contender's daily allowance.
fn allowance(settings: &ModelSettings) -> Allowance {
    Allowance {
        calls: settings.calls_per_day,
        tokens: settings.tokens_per_day,
        cost_usd: settings.usd_per_day,
        reserve: settings.reserve,
    }
}

/// Returns the parameters of each request to a model.
fn parameters(endpoint: &ModelEndpoint) -> Parameters {
    Parameters {
        model: endpoint.model.clone(),
        temperature: endpoint.temperature.clone(),
        max_tokens_key: endpoint.max_tokens_key.clone(),
        max_tokens: endpoint.max_tokens,
        extra: endpoint.extra.clone(),
    }
}

/// A contender that is a model, for a backtest: nobody is asked for it.
///
/// # Errors
/// It is a rule, or its prompt cannot be read.
pub fn made(
    config: &Config,
    contender: &ContenderSettings,
) -> Result<(Made, ModelEndpoint), StartError> {
    let Plays::Model(settings) = &contender.plays else {
        return Err(StartError::Config(format!(
            "contender {} is a rule, not a model",
            contender.id
        )));
    };
    let endpoint = config
        .models
        .iter()
        .find(|model| model.id == settings.model)
        .expect("the configuration was checked");
    let (mut profile, cadence, template) = seated(config, contender, settings)?;
    // Nobody has recorded how deep the book was.
    profile.limits.depth_times = Decimal::ZERO;
    let longer = config.more_bars.clone();
    let made = Made {
        profile,
        cadence,
        template,
        parameters: parameters(endpoint),
        prices: prices(endpoint),
        allowance: allowance(settings),
        longer,
        history_bars: config.history_bars,
        think: Ms(i64::try_from(endpoint.deadline.as_millis()).unwrap_or(i64::MAX)),
    };
    Ok((made, endpoint.clone()))
}

/// A client that a backtest may ask with.
///
/// # Errors
/// As for a start.
pub fn client(config: &Config, endpoint: &ModelEndpoint) -> Result<ModelClient, StartError> {
    model(config, endpoint, &ModelMemory::default()).map(|model| model.client)
}

fn model_contender(
    config: &Config,
    contender: &ContenderSettings,
    settings: &ModelSettings,
    model: Arc<Model>,
) -> Result<ModelContender, StartError> {
    let (profile, cadence, template) = seated(config, contender, settings)?;
    Ok(ModelContender {
        profile,
        cadence,
        model,
        template,
        allowance: allowance(settings),
        fallback: settings.fallback.as_ref().map(|rule| Fallback {
            strategy: rule.strategy,
            params: rule.params.clone(),
            may_open: rule.may_open,
        }),
        quote_age: config.risk.ms(Rule::QuoteAge),
    })
}

/// Returns a contender's profile, the cadence it is asked at and its prompt template.
fn seated(
    config: &Config,
    contender: &ContenderSettings,
    settings: &ModelSettings,
) -> Result<(ModelProfile, Cadence, Template), StartError> {
    let mode = if settings.mode == "portfolio" {
        AnswerMode::Portfolio
    } else {
        AnswerMode::Single
    };
    let template = match &settings.prompt {
        None => Template::built_in(mode),
        Some(path) => {
            let shown = path.display().to_string();
            let source = std::fs::read_to_string(path).map_err(|error| {
                StartError::Config(format!("the prompt of {}: {shown}: {error}", contender.id))
            })?;
            Template::new(shown, source)
        }
    };
    let profile = profile(config, contender, settings, mode);
    rendered_once(&template, &profile)
        .map_err(|error| StartError::Config(format!("contender {}: {error}", contender.id)))?;
    let cadence = Cadence {
        every_bars: settings.every_bars,
        material_atr: settings.material_atr,
        least: settings
            .least
            .min(floor_of(contender.bar, settings.every_bars)),
    };
    Ok((profile, cadence, template))
}

/// A template that cannot be filled in is found at the start, not at the first question.
fn rendered_once(template: &Template, profile: &ModelProfile) -> Result<(), String> {
    let nothing = PromptFacts {
        now: Ms::ZERO,
        trigger: "bar",
        last_decision: None,
        symbol: profile
            .instruments
            .first()
            .filter(|_| profile.mode == AnswerMode::Single),
        profile,
        market: &MarketView::default(),
        account: &AccountView::default(),
        orders: &OrdersView::default(),
        book: &EquityBook::default(),
        plans: &BTreeMap::new(),
        extras: &BTreeMap::new(),
        history: &[],
        opens_today: 0,
        turnover_today: Decimal::ZERO,
        llm_cost_today: Decimal::ZERO,
        close_only: false,
    };
    template
        .render(profile.mode, &build(&nothing))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Returns an upper bound for the least time between two questions, so that it does not hold up
/// what is asked by the bar.
fn floor_of(bar: Bar, every: i64) -> Ms {
    Ms(bar.span().0.saturating_mul(every) * 9 / 10)
}

fn profile(
    config: &Config,
    contender: &ContenderSettings,
    settings: &ModelSettings,
    mode: AnswerMode,
) -> ModelProfile {
    let fees = |tiers: &[Tier]| {
        tiers
            .first()
            .map_or([Decimal::ZERO; 2], |tier| [tier.taker, tier.maker])
    };
    ModelProfile {
        id: contender.id.clone(),
        mode,
        instruments: contender.instruments.clone(),
        bar: contender.bar,
        share: contender.weight * (Decimal::ONE - config.allocation.reserve),
        limits: ProfileLimits {
            risk_per_trade: settings.risk_per_trade,
            risk_budget: settings.risk_budget,
            leverage: settings.leverage,
            cluster: settings.cluster,
            positions: settings.positions,
            opens_per_day: settings.opens_per_day,
            reward_risk: settings.reward_risk,
            stop_atr: [Decimal::new(3, 1), Decimal::from(6)],
            target_atr: Decimal::from(20),
            deviation_bps: settings.deviation_bps,
            ttl: settings.ttl,
            cooldown: settings.cooldown,
            daily_loss: config.risk.share(Rule::DailyLoss),
            gross_exposure: config.risk.share(Rule::GrossExposure),
            depth_times: Decimal::TWO,
            // The price may move on the way to the gate.
            position_usd: config
                .risk
                .value(Rule::OrderNotionalMax)
                .min(config.risk.value(Rule::Position))
                * Decimal::new(97, 2),
        },
        spot_fees: fees(&config.backtest.costs(InstKind::Spot).tiers),
        swap_fees: fees(&config.backtest.costs(InstKind::Swap).tiers),
    }
}
