//! Ensemble: bets that several weak opinions together are better than the best of them. Each member
//! votes with its own defaults, scaled to one horizon.

use super::position_state::{PositionState, STOP};
use super::{
    Ohlcv, ParamSpec, Params, Strategy, StrategySpec, donchian, ema_cross, macd, rsi_reversion,
    sma_cross, supertrend, whole,
};
use crate::domain::Bps;

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "ensemble",
    about: "Long when at least `quorum` more of its six members (SMA and EMA cross, MACD, Donchian, Supertrend, RSI reversion) are long than short, short (or flat on spot) the other way round, else out. Bets that members err at different times; loses when all follow the same false move.",
    params: &[
        ParamSpec {
            name: "quorum",
            default: 3.0,
            min: 1.0,
            max: 6.0,
            about: "votes by which one side must lead",
        },
        ParamSpec {
            name: "scale",
            default: 1.0,
            min: 0.25,
            max: 10.0,
            about: "of the members' periods",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let members =
            MEMBERS.map(|(spec, periods)| (spec.build)(&scaled(spec, periods, p["scale"]), false));
        let warmup = members
            .iter()
            .map(|member| member.warmup())
            .max()
            .unwrap_or_default();
        Box::new(Ensemble {
            stance: PositionState::new(p, warmup, long_only),
            members,
            quorum: whole(p, "quorum") as i32,
        })
    },
};

/// Strategies that vote, and which of their parameters are counted in bars.
const MEMBERS: [(&StrategySpec, &[&str]); 6] = [
    (&sma_cross::SPEC, &["fast", "slow"]),
    (&ema_cross::SPEC, &["fast", "slow"]),
    (&macd::SPEC, &["fast", "slow", "signal"]),
    (&donchian::SPEC, &["entry", "exit"]),
    (&supertrend::SPEC, &["period"]),
    (&rsi_reversion::SPEC, &["period"]),
];

/// A member's defaults, its periods scaled and kept within their bounds.
fn scaled(spec: &StrategySpec, periods: &[&str], scale: f64) -> Params {
    let value = |p: &ParamSpec| match periods.contains(&p.name) {
        true => (p.default * scale).round().clamp(p.min, p.max),
        false => p.default,
    };
    spec.params
        .iter()
        .map(|p| (p.name.to_owned(), value(p)))
        .collect()
}

struct Ensemble {
    stance: PositionState,
    members: [Box<dyn Strategy>; 6],
    quorum: i32,
}

impl Ensemble {
    /// Long votes and short votes; `None` while a member has no opinion yet.
    fn votes(&self) -> Option<(i32, i32)> {
        let mut targets = self.members.iter().map(|member| member.target());
        targets.try_fold((0, 0), |(long, short), target| {
            let target = target?;
            Some((
                long + i32::from(target > Bps(0)),
                short + i32::from(target < Bps(0)),
            ))
        })
    }
}

impl Strategy for Ensemble {
    fn warmup(&self) -> usize {
        self.stance.warmup()
    }
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.members
            .iter_mut()
            .for_each(|member| member.on_bar(bar));
        if let Some((long, short)) = self.votes() {
            let lead = long - short;
            self.stance.take(if lead.abs() >= self.quorum {
                lead.signum()
            } else {
                0
            });
        }
    }
    fn target(&self) -> Option<Bps> {
        self.stance.target()
    }
    fn reason(&self, _: f64) -> String {
        let (long, short) = self.votes().unwrap_or_default();
        format!(
            "{long} votes long, {short} short, {} of lead needed",
            self.quorum
        )
    }
    fn stop_distance(&self) -> f64 {
        self.stance.stop()
    }
}
