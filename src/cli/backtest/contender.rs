//! Options for the contender and its rules.

use clap::{Args, ValueEnum};
use rust_decimal::Decimal;

use super::super::Failure;
use crate::backtest::{Contender, Rules};
use crate::config::Config;
use crate::domain::{Bps, Limits, Ms, Then, WorkingPolicy};
use crate::exit::Exit;
use crate::strategy::{self, Params, StrategySpec};

/// Execution policy of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExecutionArg {
    /// Whatever is there, over as many bars as it takes.
    Market,
    /// The touch and five basis points, within one bar or not at all.
    Ioc,
    /// Rest at the touch for a bar.
    PostOnly,
}

/// Which rules of the gate hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LimitChoice {
    /// Those of the configuration.
    Config,
    /// As wide as they can be: what would the strategy do if nobody stopped it?
    Off,
}

/// Player to run.
#[derive(Clone, Debug, Args)]
pub(super) struct PlayerArgs {
    /// The strategy (`alpha-arena strategies`).
    #[arg(long, value_name = "NAME")]
    pub strategy: String,
    /// A parameter, e.g. fast=20; the others are at their defaults. May be repeated.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    #[command(flatten)]
    pub terms: TermArgs,
}

/// Under which rules.
#[derive(Clone, Debug, Args)]
pub(super) struct TermArgs {
    #[command(flatten)]
    pub account: AccountArgs,
    /// Execution policy of orders.
    #[arg(long, value_enum, default_value_t = ExecutionArg::Market)]
    pub execution: ExecutionArg,
}

/// With what.
#[derive(Clone, Debug, Args)]
pub(super) struct AccountArgs {
    /// Starting cash. Default: backtest.cash_usdt.
    #[arg(long, value_name = "USDT")]
    pub cash: Option<Decimal>,
    /// Share of equity that is traded with, 0 to 10.
    #[arg(long, value_name = "SHARE", default_value = "1")]
    pub weight: Decimal,
    /// Which rules of the gate hold.
    #[arg(long, value_enum, default_value_t = LimitChoice::Config)]
    pub limits: LimitChoice,
}

/// A strategy by its name.
pub(super) fn spec(name: &str) -> Result<&'static StrategySpec, Failure> {
    strategy::find(name).ok_or_else(|| {
        let all: Vec<&str> = strategy::all().iter().map(|spec| spec.name).collect();
        let near = all
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Failure::new(
            Exit::Usage,
            format!("no strategy '{name}'{hint} There are: {}", all.join(", ")),
        )
    })
}

/// Parameters over a strategy's defaults, each within its bounds.
pub(super) fn params(spec: &StrategySpec, given: &[String]) -> Result<Params, Failure> {
    let mut params = spec.defaults();
    let usage = |why: String| Failure::new(Exit::Usage, why);
    for pair in given {
        let parsed = pair
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), value.trim().parse::<f64>().ok()?)));
        let Some((name, value)) = parsed else {
            return Err(usage(format!("--param {pair}: write NAME=VALUE")));
        };
        let Some(known) = spec.params.iter().find(|p| p.name == name) else {
            let names: Vec<&str> = spec.params.iter().map(|p| p.name).collect();
            return Err(usage(format!(
                "{} has no parameter '{name}'; it has {}",
                spec.name,
                names.join(", ")
            )));
        };
        if !(known.min..=known.max).contains(&value) {
            return Err(usage(format!(
                "{name} must be between {} and {}, is {value}",
                known.min, known.max
            )));
        }
        params.insert(name.to_owned(), value);
    }
    (spec.validate)(&params).map_err(|why| usage(format!("{}: {why}", spec.name)))?;
    Ok(params)
}

impl TermArgs {
    /// A contender of one market.
    pub(super) fn contender(
        &self,
        spec: &'static StrategySpec,
        params: Params,
    ) -> Result<Contender, Failure> {
        let collar = Bps(5);
        Ok(Contender {
            id: spec.name.into(),
            strategy: spec,
            params,
            weight: self.account.weight()?,
            markets: vec![0],
            execution: match self.execution {
                ExecutionArg::Market => WorkingPolicy::Market { slippage: None },
                ExecutionArg::Ioc => WorkingPolicy::IocLimit { collar, tries: 1 },
                ExecutionArg::PostOnly => WorkingPolicy::PostOnly {
                    ttl: Ms(1),
                    then: Then::Cancel,
                    collar,
                    tries: 1,
                },
            },
        })
    }

    /// Returns the rules the contender runs under.
    pub(super) fn rules(&self, config: &Config) -> Result<Rules, Failure> {
        self.account.rules(config)
    }
}

impl AccountArgs {
    /// Share of equity that is traded with.
    pub(super) fn weight(&self) -> Result<Decimal, Failure> {
        if self.weight <= Decimal::ZERO || self.weight > Decimal::TEN {
            let why = format!(
                "--weight must be above 0 and at most 10, is {}",
                self.weight
            );
            return Err(Failure::new(Exit::Usage, why));
        }
        Ok(self.weight)
    }

    /// Returns the rules the account runs under.
    pub(super) fn rules(&self, config: &Config) -> Result<Rules, Failure> {
        let cash = self.cash.unwrap_or(config.backtest.cash);
        if cash <= Decimal::ZERO || cash > Decimal::from(1_000_000_000) {
            return Err(Failure::new(
                Exit::Usage,
                format!("--cash must be above 0 and at most a billion, is {cash}"),
            ));
        }
        Ok(Rules {
            cash,
            // The whole account is the strategy's: --weight says how much of it is used.
            reserve: Decimal::ZERO,
            no_trade_band: config.allocation.no_trade_band,
            stop_default: config.protection.stop_default,
            limits: match self.limits {
                LimitChoice::Config => config.risk.clone(),
                LimitChoice::Off => Limits::widest(),
            },
            begin: Ms::ZERO,
        })
    }
}
