//! Rule that stands in for a model while its provider fails: it closes what it would not hold, and
//! opens only where the configuration allows it. Its items are judged like those of a model. Pure.
//!
//! A rule that decides in a model's place is asked at the same closes, or when the question has
//! failed, and judged by the same checks. Its question has `rule:NAME` for a model and no request,
//! and what it named is kept to be judged again.

use rust_decimal::Decimal;

use super::parse::{AnswerItem, Want};
use super::plan::held;
use super::prompt::ModelProfile;
use super::series::atr;
use crate::decision::stop_price;
use crate::domain::view::InstMarket;
use crate::domain::{Bps, InstId, MarketView, OrdersView};
use crate::strategy::{Ohlcv, Params, Signal, StrategySpec, feature};

/// Average true ranges from the price at which an entry is stopped whose rule names no stop.
const STOP_ATR: Decimal = Decimal::from_parts(3, 0, 0, false, 0);

/// The rule, as configured.
#[derive(Clone, Debug)]
pub struct Fallback {
    pub strategy: &'static StrategySpec,
    pub params: Params,
    /// Otherwise it may only reduce and hold.
    pub may_open: bool,
}

impl Fallback {
    /// Returns the rule's items for the instruments asked about, fed with the bars that are known.
    /// Empty: it holds, or is still warming up.
    pub fn items(
        &self,
        profile: &ModelProfile,
        subject: Option<&InstId>,
        market: &MarketView,
        orders: &OrdersView,
    ) -> Vec<AnswerItem> {
        let asked = profile
            .instruments
            .iter()
            .filter(|inst| subject.is_none_or(|only| only == *inst));
        asked
            .filter_map(|inst| {
                let shown = market.insts.get(inst)?;
                let signal = self.signal(profile, shown)?;
                self.item(
                    profile,
                    shown,
                    held(orders, market, &profile.id, inst),
                    signal,
                )
            })
            .collect()
    }

    fn signal(&self, profile: &ModelProfile, shown: &InstMarket) -> Option<Signal> {
        let inst = &shown.instrument;
        let mut rule =
            (self.strategy.build)(&self.params, inst.kind == crate::domain::InstKind::Spot);
        shown
            .history(profile.bar)
            .iter()
            .for_each(|candle| rule.on_bar(&Ohlcv::of(candle, inst)));
        rule.signal(feature(inst.tick.0))
    }

    fn item(
        &self,
        profile: &ModelProfile,
        shown: &InstMarket,
        held: Decimal,
        signal: Signal,
    ) -> Option<AnswerItem> {
        let wants = signal.target.0;
        let (want, stop) = if held.is_zero() {
            if wants == 0 || !self.may_open {
                return None;
            }
            let last = shown.history(profile.bar).last()?.close;
            let own = stop_price(Bps(wants), signal.stop_distance, &shown.instrument, last);
            let away = atr(shown.history(profile.bar))? * STOP_ATR;
            let stop = own.map_or(
                if wants > 0 {
                    last.0 - away
                } else {
                    last.0 + away
                },
                |stop| stop.0,
            );
            // All of it risks what one trade may.
            let share = Decimal::from(wants.clamp(-10_000, 10_000)) / Decimal::from(10_000);
            let weight =
                (share * profile.limits.risk_per_trade).checked_div(profile.limits.risk_budget)?;
            (
                Want::Weight(weight.clamp(Decimal::NEGATIVE_ONE, Decimal::ONE)),
                Some(stop),
            )
        } else if wants == 0 || (wants > 0) != (held > Decimal::ZERO) {
            (Want::Close, None)
        } else {
            return None;
        };
        Some(AnswerItem {
            inst: shown.instrument.id.clone(),
            want,
            stop,
            target: None,
            deviation_bps: None,
            horizon_min: None,
            p_target_first: None,
            invalidation: None,
            evidence: Vec::new(),
            reason: format!("{}: {}", self.strategy.name, signal.reason),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::AnswerMode;
    use super::super::tests::{Scene, px};
    use super::*;
    use crate::domain::instrument::tests::swap;
    use crate::domain::{Bar, Series};

    /// A rule over the scene's hour, which rises (or falls) at its end.
    fn wants(rises: bool, holding: &str, may_open: bool) -> Vec<String> {
        let mut scene = Scene::new(AnswerMode::Single).holding(holding);
        let shown = scene.market.insts.get_mut(&swap().id).unwrap();
        let mut candles = shown.history(Bar::M1).to_vec();
        candles
            .iter_mut()
            .rev()
            .take(5)
            .for_each(|c| c.close = px(if rises { "100.4" } else { "99.6" }));
        shown.series.insert(Bar::M1, Series::new(Bar::M1, candles));
        let strategy = crate::strategy::find("sma_cross").unwrap();
        let params = [("fast", 2.0), ("slow", 20.0), ("stop_pct", 0.0)]
            .map(|(k, v)| (k.to_owned(), v))
            .into();
        let fallback = Fallback {
            strategy,
            params,
            may_open,
        };
        let items = fallback.items(
            &scene.profile,
            Some(&swap().id),
            &scene.market,
            &scene.orders,
        );
        items
            .iter()
            .map(|item| {
                assert!(item.reason.starts_with("sma_cross: "), "{}", item.reason);
                let stop = item
                    .stop
                    .map(|stop| stop.round_dp(1).normalize().to_string())
                    .unwrap_or_default();
                match item.want {
                    Want::Weight(weight) => format!("{} stopped at {stop}", weight.round_dp(4)),
                    _ => item.action().to_owned(),
                }
            })
            .collect()
    }

    /// It closes what its rule would not hold; an entry risks what one trade may, with a stop at
    /// three ATRs.
    #[test]
    fn fallback_opens_only_where_allowed() {
        let nothing: [&str; 0] = [];
        assert_eq!(wants(false, "10", false), ["close"]);
        assert_eq!(
            wants(true, "-10", false),
            ["close"],
            "the other side: out, and no further"
        );
        assert_eq!(wants(true, "10", true), nothing, "it would hold it too");
        assert_eq!(wants(true, "0", false), nothing);
        // A third of the risk budget is what one trade may risk; three average true ranges are
        // close to three.
        assert_eq!(wants(true, "0", true), ["0.3333 stopped at 97.4"]);
        assert_eq!(wants(false, "0", true), ["-0.3333 stopped at 102.6"]);
    }
}
