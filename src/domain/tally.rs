//! Activity of each contender, counted from its fills: trades and turnover of the UTC day, losses
//! in a row, time of the last trade and the last loss. A fold over the same fills gives the same
//! counts, so a restart forgets nothing.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ContenderId, InstId, Ms, OrderId, Purpose, Usd};

/// One fill, as far as counting goes.
#[derive(Clone, Debug)]
pub struct Counted<'a> {
    pub contender: &'a ContenderId,
    pub inst: &'a InstId,
    pub order: &'a OrderId,
    /// Value in dollars.
    pub value: Usd,
    /// Profit less fees, in the quote currency.
    pub profit: Decimal,
    /// Of it the fee; negative is paid.
    pub fee: Decimal,
    /// Purpose of its order, if known.
    pub purpose: Option<Purpose>,
    /// Holdings of the sleeve before and after.
    pub held: (Decimal, Decimal),
    pub at: Ms,
}

/// A trade that is over: the sleeve is flat again, or on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Venue time of its last fill.
    pub at: Ms,
    /// Less fees, in the quote currency.
    pub profit: Decimal,
    /// Purpose of the order that closed it, if known.
    pub by: Option<Purpose>,
}

/// A contender's counts in one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The UTC day that `trades` and `turnover` belong to.
    day: i64,
    trades: u32,
    turnover: Usd,
    /// Fees of the day in the quote currency; negative is paid.
    #[serde(default)]
    fees: Decimal,
    /// The last order that added to the sleeve: its further fills are the same trade.
    adding: Option<OrderId>,
    /// Profit of the trade that is open.
    open_profit: Decimal,
    /// Venue time of the last fill, and of the last trade that was closed at a loss.
    pub last_fill: Option<Ms>,
    pub last_loss: Option<Ms>,
    /// The last trade that is over.
    #[serde(default)]
    pub last_over: Option<Over>,
}

/// Everybody's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Losses up to then count towards no streak.
    forgiven: BTreeMap<ContenderId, Ms>,
    counts: BTreeMap<(ContenderId, InstId), Counts>,
    /// Losses in a row within the UTC day that they belong to.
    losses_in_a_row: BTreeMap<ContenderId, (i64, u32)>,
}

impl Tally {
    /// Counts one fill.
    pub fn count(&mut self, fill: &Counted<'_>) {
        let counts = self
            .counts
            .entry((fill.contender.clone(), fill.inst.clone()))
            .or_default();
        let day = fill.at.utc_day();
        if day > counts.day {
            (counts.day, counts.trades, counts.turnover, counts.fees) =
                (day, 0, Usd::ZERO, Decimal::ZERO);
        }
        // A late word of yesterday counts for nothing of today.
        let today = day == counts.day;
        counts.turnover =
            Usd(counts
                .turnover
                .0
                .saturating_add(if today { fill.value.0 } else { Decimal::ZERO }));
        counts.fees = counts
            .fees
            .saturating_add(if today { fill.fee } else { Decimal::ZERO });
        counts.last_fill = Some(fill.at);
        let (before, after) = fill.held;
        let adds = after.abs() > before.abs() || before.saturating_mul(after) < Decimal::ZERO;
        if adds && counts.adding.as_ref() != Some(fill.order) {
            counts.trades += u32::from(today);
            counts.adding = Some(fill.order.clone());
        }
        counts.open_profit = counts.open_profit.saturating_add(fill.profit);
        let closed =
            !before.is_zero() && (after.is_zero() || before.saturating_mul(after) < Decimal::ZERO);
        if closed {
            let (of, streak) = self
                .losses_in_a_row
                .entry(fill.contender.clone())
                .or_default();
            if day > *of {
                (*of, *streak) = (day, 0);
            }
            if counts.open_profit < Decimal::ZERO {
                // One that a person has released is not counted again.
                *streak += u32::from(
                    self.forgiven
                        .get(fill.contender)
                        .is_none_or(|until| fill.at > *until),
                );
                counts.last_loss = Some(fill.at);
            } else {
                *streak = 0;
            }
            counts.last_over = Some(Over {
                at: fill.at,
                profit: counts.open_profit,
                by: fill.purpose,
            });
            counts.open_profit = Decimal::ZERO;
        }
    }

    /// A person has released the losing streaks of contenders: losses up to then do not count
    /// towards one.
    pub fn forgive(&mut self, until: impl IntoIterator<Item = (ContenderId, Ms)>) {
        self.forgiven.extend(until);
    }

    /// A contender's counts in an instrument.
    pub fn of(&self, contender: &ContenderId, inst: &InstId) -> Option<&Counts> {
        self.counts.get(&(contender.clone(), inst.clone()))
    }

    /// Orders of a contender that added to its sleeves in the UTC day of `now`.
    pub fn trades(&self, contender: &ContenderId, now: Ms) -> u32 {
        self.of_day(now)
            .filter(|((who, _), _)| who == contender)
            .map(|(_, counts)| counts.trades)
            .sum()
    }

    /// Value of all fills in the UTC day of `now`.
    pub fn turnover(&self, now: Ms) -> Usd {
        Usd(self.of_day(now).map(|(_, counts)| counts.turnover.0).sum())
    }

    /// Value of a contender's fills in the UTC day of `now`.
    pub fn turnover_of(&self, contender: &ContenderId, now: Ms) -> Usd {
        Usd(self
            .of_day(now)
            .filter(|((who, _), _)| who == contender)
            .map(|(_, counts)| counts.turnover.0)
            .sum())
    }

    /// Fees of a contender's fills in the UTC day of `now`, in the quote currency; negative is
    /// paid.
    pub fn fees_of(&self, contender: &ContenderId, now: Ms) -> Decimal {
        self.of_day(now)
            .filter(|((who, _), _)| who == contender)
            .map(|(_, counts)| counts.fees)
            .sum()
    }

    /// Trades of a contender closed at a loss, one after the other, in the UTC day of `now`.
    pub fn losses_in_a_row(&self, contender: &ContenderId, now: Ms) -> u32 {
        let today = self
            .losses_in_a_row
            .get(contender)
            .filter(|(day, _)| *day == now.utc_day());
        today.map_or(0, |(_, streak)| *streak)
    }

    fn of_day(&self, now: Ms) -> impl Iterator<Item = (&(ContenderId, InstId), &Counts)> {
        let day = now.utc_day();
        self.counts
            .iter()
            .filter(move |(_, counts)| counts.day == day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills of one contender, each `held-before>held-after profit`, one second apart; then `trades
    /// streak`.
    #[track_caller]
    fn check(story: &str, expected: &str) {
        let (contender, inst) = (ContenderId::from("a"), InstId::from("X"));
        let mut tally = Tally::default();
        for (i, line) in story.split("; ").enumerate() {
            let (held, profit) = line.split_once(' ').unwrap();
            let (before, after) = held.split_once('>').unwrap();
            let order = OrderId::new(format!("o{i}"));
            tally.count(&Counted {
                contender: &contender,
                inst: &inst,
                order: &order,
                value: Usd(Decimal::TEN),
                profit: profit.parse().unwrap(),
                fee: -Decimal::ONE,
                purpose: None,
                held: (before.parse().unwrap(), after.parse().unwrap()),
                at: Ms(1000 * i as i64),
            });
        }
        let now = Ms(3_600_000);
        let fills = Decimal::from(story.split("; ").count() as u64);
        assert_eq!(
            (
                tally.fees_of(&contender, now),
                tally.fees_of(&contender, now.plus(Ms::days(1)))
            ),
            (-fills, Decimal::ZERO)
        );
        assert_eq!(
            format!(
                "{} {}",
                tally.trades(&contender, now),
                tally.losses_in_a_row(&contender, now)
            ),
            expected
        );
        assert_eq!(
            tally.trades(&contender, now.plus(Ms::days(1))),
            0,
            "another day"
        );
    }

    /// A trade is an order that adds; a loss is a whole trade closed below cost. A profitable one
    /// ends the streak.
    #[test]
    fn tally_counts_trades_and_losses() {
        check("0>5 -1; 5>0 3", "1 0");
        check("0>5 -1; 5>0 -3", "1 1");
        check("0>5 0; 5>2 -3; 2>0 4", "1 0");
        check("0>5 0; 5>-5 -3; -5>0 -1", "2 2");
        check("0>5 0; 5>0 -3; 0>5 0; 5>0 1", "2 0");
    }

    /// Closed below cost it is a loss; breaking even is none. An order that only reduces is no
    /// trade.
    #[test]
    fn flip_closes_one_trade_opens_another() {
        check("0>-5 0; -5>5 -3", "2 1");
        check("0>5 0; 5>-2 -3; -2>0 1", "2 0");
        check("0>5 0; 5>0 0", "1 0");
        check("0>5 0; 5>3 -1; 3>5 0; 5>0 -1", "2 1");
        // What only reduces counts as no trade and closes none.
        check("5>3 -1; 3>1 -1", "0 0");
    }

    /// Counts start anew each day; a fill of yesterday that arrives late changes neither day's
    /// sums.
    #[test]
    fn late_fill_stays_out_of_today() {
        let (contender, inst) = (ContenderId::from("a"), InstId::from("X"));
        let mut tally = Tally::default();
        let mut fill = |order: &str, at: Ms, held: (i64, i64), profit: i64| {
            let (order, held) = (
                OrderId::from(order),
                (Decimal::from(held.0), Decimal::from(held.1)),
            );
            let (value, profit) = (Usd(Decimal::TEN), Decimal::from(profit));
            let (contender, inst) = (&contender, &inst);
            tally.count(&Counted {
                contender,
                inst,
                order: &order,
                value,
                profit,
                fee: Decimal::ZERO,
                purpose: None,
                held,
                at,
            });
            let shown = |at: Ms| {
                (
                    tally.trades(contender, at),
                    tally.turnover(at),
                    tally.losses_in_a_row(contender, at),
                )
            };
            shown(at)
        };
        let (day, next) = (Ms::days(3), Ms::days(4));
        assert_eq!(fill("o1", day, (0, 5), 0), (1, Usd(Decimal::TEN), 0));
        assert_eq!(fill("o2", day, (5, 0), -1), (1, Usd(Decimal::from(20)), 1));
        assert_eq!(fill("o3", next, (0, 5), 0), (1, Usd(Decimal::TEN), 0));
        // Late: it is neither in today's sums nor does it open yesterday's again.
        assert_eq!(fill("o4", day, (5, 9), 0), (0, Usd::ZERO, 1));
        assert_eq!(fill("o5", next, (9, 0), -1), (1, Usd(Decimal::from(20)), 1));
    }

    /// Losses up to the release no longer count; the later one does.
    #[test]
    fn released_losing_streak_restarts() {
        let (contender, inst) = (ContenderId::from("a"), InstId::from("X"));
        let mut tally = Tally::default();
        tally.forgive([(contender.clone(), Ms(2000))]);
        for (at, held) in [
            (1000, (0, 5)),
            (2000, (5, 0)),
            (3000, (0, 5)),
            (4000, (5, 0)),
        ] {
            let order = OrderId::new(format!("o{at}"));
            let held = (Decimal::from(held.0), Decimal::from(held.1));
            let (value, profit, at) = (Usd(Decimal::ONE), -Decimal::ONE, Ms(at));
            let (contender, inst, fee, purpose) = (&contender, &inst, Decimal::ZERO, None);
            tally.count(&Counted {
                contender,
                inst,
                order: &order,
                value,
                profit,
                fee,
                purpose,
                held,
                at,
            });
        }
        assert_eq!(tally.losses_in_a_row(&contender, Ms(5000)), 1);
        assert_eq!(
            tally.of(&contender, &inst).unwrap().last_loss,
            Some(Ms(4000))
        );
    }

    /// Entry, partial exit and stop: only the last reports it, with profit after fees and the
    /// purpose that closed it.
    #[test]
    fn closed_trade_reports_profit_and_closer() {
        let (contender, inst) = (ContenderId::from("a"), InstId::from("X"));
        let mut tally = Tally::default();
        let story = [
            ("o1", (0, 5), -1, Purpose::Entry),
            ("o2", (5, 2), 4, Purpose::Exit),
            ("s", (2, 0), -9, Purpose::Stop),
        ];
        for (at, (order, held, profit, purpose)) in (1..).zip(story) {
            let held = (Decimal::from(held.0), Decimal::from(held.1));
            let (order, profit) = (OrderId::from(order), Decimal::from(profit));
            let (value, purpose, at) = (Usd(Decimal::ONE), Some(purpose), Ms(at));
            let (contender, inst, fee) = (&contender, &inst, -Decimal::ONE);
            assert_eq!(
                tally
                    .of(contender, inst)
                    .and_then(|counts| counts.last_over),
                None,
                "not before it is"
            );
            tally.count(&Counted {
                contender,
                inst,
                order: &order,
                value,
                profit,
                fee,
                purpose,
                held,
                at,
            });
        }
        let over = Over {
            at: Ms(3),
            profit: Decimal::from(-6),
            by: Some(Purpose::Stop),
        };
        assert_eq!(tally.of(&contender, &inst).unwrap().last_over, Some(over));
    }

    /// Turnover still counts both.
    #[test]
    fn partial_fills_are_one_trade() {
        let (contender, inst, order) = (
            ContenderId::from("a"),
            InstId::from("X"),
            OrderId::from("o"),
        );
        let mut tally = Tally::default();
        for held in [(0, 2), (2, 5)] {
            let held = (Decimal::from(held.0), Decimal::from(held.1));
            let (value, profit, at) = (Usd(Decimal::ONE), Decimal::ZERO, Ms(0));
            let (contender, inst, fee, purpose) = (&contender, &inst, Decimal::ZERO, None);
            tally.count(&Counted {
                contender,
                inst,
                order: &order,
                value,
                profit,
                fee,
                purpose,
                held,
                at,
            });
        }
        assert_eq!(tally.trades(&contender, Ms(0)), 1);
        assert_eq!(tally.turnover(Ms(0)), Usd(Decimal::TWO));
    }
}
