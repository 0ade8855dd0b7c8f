//! `backtest model`: a contender that is a model, over history, by replies that were recorded.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rust_decimal::Decimal;
use serde_json::json;
use std::io::IsTerminal;

use super::super::list::reader;
use super::super::{Failure, Global, output};
use super::contender::AccountArgs;
use super::market::{CostArgs, HistoryArgs, market};
use super::shown;
use crate::backtest::exact::run_advised;
use crate::backtest::model_replay::{ReplayCounts, ReplayedModel, Replied, WordedRequest};
use crate::backtest::report::judge;
use crate::backtest::{ADVISED, BacktestMarket, Contender, Rules};
use crate::config::Config;
use crate::daemon::models::{client, made};
use crate::domain::{InstId, Ms};
use crate::exit::Exit;
use crate::llm::format::ResponseFormat;
use crate::runtime::wall_ms;
use crate::store::{Reader, Research, StateDir, StoredReply};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena --config models.toml backtest model --contender thinker --ask\n  alpha-arena --config models.toml backtest model --contender thinker --inst BTC-USDT-SWAP --json\n\nWithout --inst all of the contender's instruments are traded, on one account. A question that was asked before, word for word (model, parameters, prompt), is answered as it was then; --ask asks the others and\nkeeps what is said in research.db. Without it they are missing, and told of. Bars before the model's training cut-off prove nothing:\nit may have read what came of them."
)]
pub(in crate::cli) struct ModelArgs {
    /// The contender, as configured.
    #[arg(long, value_name = "ID")]
    contender: String,
    /// Ask what is not recorded yet, and keep it.
    #[arg(long)]
    ask: bool,
    /// At most so many questions to the model.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "ask")]
    ask_max: u32,
    /// Time an answer takes; less than a bar counts as nothing. Default: the model's deadline_ms.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..=600_000))]
    think_ms: Option<i64>,
    /// Which answer to the same question: 0 is the first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    sample: u32,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    costs: CostArgs,
    #[command(flatten)]
    account: AccountArgs,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &ModelArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let contender = config
        .contenders
        .iter()
        .find(|c| c.id.as_str() == args.contender)
        .ok_or_else(|| {
            let all: Vec<&str> = config.contenders.iter().map(|c| c.id.as_str()).collect();
            Failure::new(
                Exit::Usage,
                format!(
                    "no contender '{}'; there are: {}",
                    args.contender,
                    all.join(", ")
                ),
            )
        })?;
    let (mut made, endpoint) = made(&config, contender)?;
    let markets = markets(global, &config, args, &contender.instruments)?;
    // What it would do with a sleeve it does here with all of the account.
    made.profile.instruments = markets
        .iter()
        .map(|market| market.instrument.id.clone())
        .collect();
    made.profile.share = args.account.weight()?;
    let bar = markets[0].columns.bar;
    if made.profile.bar.span() < bar.span() {
        let why = format!(
            "{} is asked on bars of {}; give --bar {} or shorter",
            args.contender, made.profile.bar, made.profile.bar
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    let think = args.think_ms.map_or(made.think, Ms);
    made.think = think.floor(bar.span());
    let rules = args.account.rules(&config)?;
    let contender = Contender {
        id: made.profile.id.clone(),
        strategy: &ADVISED,
        params: crate::strategy::Params::new(),
        weight: made.profile.share,
        markets: (0..markets.len()).collect(),
        execution: contender.execution,
    };
    let replies = Replies::open(global, &config, args, &endpoint)?;
    let mut failure = None;
    let mut source = |asked: &WordedRequest| match replies.find(asked) {
        Ok(reply) => reply,
        Err(error) => {
            failure.get_or_insert(error);
            None
        }
    };
    let mut model = ReplayedModel::new(made, &markets, &mut source);
    let (outcome, _) = run_advised(
        &markets,
        std::slice::from_ref(&contender),
        &rules,
        Some(&mut model),
    );
    let counts = model.counts.clone();
    drop(model);
    replies.bar.finish_and_clear();
    if let Some(error) = failure {
        return Err(error);
    }
    told(
        args,
        (&config, &endpoint),
        (&markets, &contender, &rules),
        &outcome,
        (&counts, think),
    )
}

/// The histories of what it trades: the one that is named, or all of its own.
fn markets(
    global: &Global,
    config: &Config,
    args: &ModelArgs,
    own: &[InstId],
) -> Result<Vec<BacktestMarket>, Failure> {
    if args.history.candles.is_some() || args.history.inst.is_some() {
        return Ok(vec![market(global, config, &args.history, &args.costs)?]);
    }
    let one = |inst: &InstId| {
        let history = HistoryArgs {
            inst: Some(inst.to_string()),
            ..args.history.clone()
        };
        market(global, config, &history, &args.costs)
    };
    own.iter().map(one).collect()
}

/// Sources of replies, and the model to ask for the rest.
struct Replies<'a> {
    args: &'a ModelArgs,
    model: String,
    deadline: std::time::Duration,
    research: Research,
    traded: Option<Reader>,
    client: Option<crate::llm::client::ModelClient>,
    /// Response formats, tried one after the other.
    formats: Vec<ResponseFormat>,
    asked: std::cell::Cell<u32>,
    bar: ProgressBar,
}

impl<'a> Replies<'a> {
    fn open(
        global: &Global,
        config: &Config,
        args: &'a ModelArgs,
        endpoint: &crate::config::ModelEndpoint,
    ) -> Result<Self, Failure> {
        let dir = global.state_dir(config);
        let bar = if args.ask && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{spinner} {pos} questions asked, {elapsed}")
                .expect("a fixed template");
            ProgressBar::new_spinner().with_style(style)
        } else {
            ProgressBar::hidden()
        };
        Ok(Self {
            args,
            model: endpoint.id.clone(),
            deadline: endpoint.deadline,
            research: Research::open(&dir, wall_ms())?,
            traded: StateDir::trading_db(&dir)
                .exists()
                .then(|| reader(global))
                .transpose()?,
            formats: std::iter::successors(
                endpoint.response_format.parse().ok(),
                |format: &ResponseFormat| format.lower(),
            )
            .collect(),
            client: args.ask.then(|| client(config, endpoint)).transpose()?,
            asked: std::cell::Cell::new(0),
            bar,
        })
    }

    /// Marks a reply that came after the model's deadline: it is not acted on, as in the daemon.
    fn replied(&self, reply: StoredReply) -> Replied {
        let late = reply
            .done_ms
            .is_some_and(|ms| u128::try_from(ms).unwrap_or_default() > self.deadline.as_millis());
        Replied {
            body: String::from_utf8_lossy(&reply.body).into_owned(),
            late,
        }
    }

    fn find(&self, asked: &WordedRequest) -> Result<Option<Replied>, Failure> {
        for (_, _, hash) in &asked.requests {
            if let Some(reply) = self.research.reply(*hash, self.args.sample)? {
                return Ok(Some(self.replied(reply)));
            }
            if let Some(reader) = self.traded.as_ref().filter(|_| self.args.sample == 0)
                && let Some((body, late)) = reader.reply_to(*hash)?
            {
                return Ok(Some(Replied { body, late }));
            }
        }
        let Some(client) = self
            .client
            .as_ref()
            .filter(|_| self.asked.get() < self.args.ask_max)
        else {
            return Ok(None);
        };
        for (format, body, hash) in &asked.requests {
            if !self.formats.contains(format) {
                continue;
            }
            self.asked.set(self.asked.get() + 1);
            self.bar.inc(1);
            let send = async {
                client.room().await;
                client.send(body.clone()).await
            };
            let raw =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(send))
                    .map_err(|refused| {
                        Failure::new(
                            Exit::Unavailable,
                            format!("{}: {} {}", self.model, refused.code, refused.detail),
                        )
                    })?;
            if raw.status == 200 {
                if let Some(refused) = raw.cut {
                    let why = format!("{}: {} {}", self.model, refused.code, refused.detail);
                    return Err(Failure::new(Exit::Unavailable, why));
                }
                let reply = StoredReply {
                    body: raw.body,
                    done_ms: i64::try_from(raw.done.as_millis()).ok(),
                };
                self.research.keep_reply(
                    (*hash, self.args.sample),
                    &self.model,
                    &reply,
                    wall_ms(),
                )?;
                return Ok(Some(self.replied(reply)));
            }
            if !crate::llm::format::may_be_the_format(raw.status) {
                let said: String = String::from_utf8_lossy(&raw.body)
                    .chars()
                    .take(120)
                    .collect();
                return Err(Failure::new(
                    Exit::Unavailable,
                    format!("{}: HTTP {}: {said}", self.model, raw.status),
                ));
            }
        }
        Ok(None)
    }
}

/// Bars that opened before a model's training cut-off, and all of them; by the closes there were.
fn before_cutoff(
    endpoint: &crate::config::ModelEndpoint,
    closes: &[i64],
    bar: Ms,
) -> Option<(usize, usize)> {
    let day: chrono::NaiveDate = endpoint.training_cutoff.as_ref()?.parse().ok()?;
    let cutoff = day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
    Some((
        closes.partition_point(|close| close - bar.0 < cutoff),
        closes.len(),
    ))
}

fn told(
    args: &ModelArgs,
    (config, endpoint): (&Config, &crate::config::ModelEndpoint),
    (markets, contender, rules): (&[BacktestMarket], &Contender, &Rules),
    outcome: &crate::backtest::RunOutcome<rust_decimal::Decimal>,
    (counts, think): (&ReplayCounts, Ms),
) -> Result<Exit, Failure> {
    let report = judge(markets, contender, rules, outcome, (1, 1));
    let missing = counts.missing_ms.len();
    let bar = markets[0].columns.bar;
    let cutoff = before_cutoff(endpoint, &outcome.at, bar.span());
    let insts: Vec<&InstId> = markets.iter().map(|market| &market.instrument.id).collect();
    if args.json {
        output::say(json!({
            "schema": "backtest model/2", "as_of_ms": wall_ms(), "build": env!("ARENA_BUILD"), "mode": config.mode.to_string(),
            "contender": args.contender, "model": endpoint.model, "sample": args.sample, "insts": insts,
            "bar": bar.okx(), "bars": outcome.at.len(), "think_ms": think.0, "counts": counts, "missing": missing,
            "bars_before_cutoff": cutoff.map(|(before, _)| before), "training_cutoff": endpoint.training_cutoff, "report": report,
        }));
        return Ok(Exit::Ok);
    }
    shown::run(markets, contender, &report, outcome);
    let list = |map: &std::collections::BTreeMap<String, u32>| {
        map.iter()
            .map(|(word, count)| format!("{word} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    output::say(format_args!(
        "{} questions, {} with a recorded answer, {missing} without; an answer takes {} s: judged {}",
        counts.questions,
        counts.answered,
        Decimal::new(think.0, 3).normalize(),
        match think.0 / bar.span().0 {
            0 => "at once, filled from the next bar on".to_owned(),
            1 => format!("one close of {bar} later, filled from the next bar on"),
            bars => format!("{bars} closes of {bar} later, filled from the next bar on"),
        }
    ));
    for (title, map) in [
        ("no answers", &counts.failures),
        ("not asked", &counts.not_asked),
        ("items", &counts.items),
        ("ideas that are over", &counts.endings),
    ] {
        if !map.is_empty() {
            output::say(format_args!("{title}: {}", list(map)));
        }
    }
    if let (Some(first), Some(last)) = (counts.missing_ms.first(), counts.missing_ms.last()) {
        output::say(format_args!(
            "warning: nothing was recorded for {missing} questions from {} to {}: what is shown is not what it would have done; --ask asks them [missing]",
            Ms(*first).iso(),
            Ms(*last).iso()
        ));
    }
    match cutoff {
        Some((0, _)) => {}
        Some((before, all)) => output::say(format_args!(
            "warning: {before} of {all} bars lie before {}, the model's training cut-off: it may have read what came of them, and they prove nothing [cutoff]",
            endpoint.training_cutoff.as_deref().unwrap_or_default()
        )),
        None => output::say(
            "warning: the model's training cut-off is not configured: what it has read about these bars is not known [cutoff]",
        ),
    }
    Ok(Exit::Ok)
}
