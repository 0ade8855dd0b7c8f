//! Orders the gate has let through lately: for rates, duplicates and repeats. Pure; times are
//! arguments.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ContenderId, InstId, Ms, Order, OrderId, OrderIntent, Purpose, Qty, RunId, Side,
};

/// One order that was let out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub id: OrderId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub qty: Qty,
    pub opening: bool,
    pub at: Ms,
}

/// The order rate is counted over this long.
pub const RATE_WINDOW: Ms = Ms::secs(60);
/// Repeats are counted over this long.
pub const REPEAT_WINDOW: Ms = Ms::secs(3600);

/// Orders of the last hour, oldest first, and how many the UTC day has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    sent: VecDeque<Sent>,
    day: i64,
    today: u64,
}

impl Recent {
    /// Notes an order that is let out.
    pub fn note(&mut self, sent: Sent) {
        if sent.at.utc_day() != self.day {
            (self.day, self.today) = (sent.at.utc_day(), 0);
        }
        self.today += 1;
        while self
            .sent
            .front()
            .is_some_and(|old| sent.at.since(old.at) > REPEAT_WINDOW)
        {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// The day has seen as many at least, those included that are not known one by one any more.
    pub fn at_least(&mut self, day: i64, count: u64) {
        if day >= self.day {
            self.today = if day == self.day {
                self.today.max(count)
            } else {
                count
            };
            self.day = day;
        }
    }

    /// Orders of the last minute.
    pub fn last_minute(&self, now: Ms) -> u64 {
        self.since(now, RATE_WINDOW).count() as u64
    }

    /// Orders of the UTC day.
    pub fn today(&self, now: Ms) -> u64 {
        if now.utc_day() == self.day {
            self.today
        } else {
            0
        }
    }

    /// Returns the time since another decision sent the very same order.
    pub fn twin(&self, intent: &OrderIntent, now: Ms) -> Option<Ms> {
        let same = |s: &&Sent| {
            (&s.contender, &s.inst, s.side, s.qty)
                == (&intent.contender, &intent.inst, intent.side, intent.qty)
                && s.run_id != intent.run_id
        };
        self.sent.iter().rev().find(same).map(|s| now.since(s.at))
    }

    /// Opening orders of this contender, instrument and side in the last hour.
    pub fn repeats(&self, intent: &OrderIntent, now: Ms) -> u64 {
        let same = |s: &&Sent| {
            s.opening
                && (&s.contender, &s.inst, s.side) == (&intent.contender, &intent.inst, intent.side)
        };
        self.since(now, REPEAT_WINDOW).filter(same).count() as u64
    }

    fn since(&self, now: Ms, window: Ms) -> impl Iterator<Item = &Sent> {
        self.sent
            .iter()
            .rev()
            .take_while(move |s| now.since(s.at) < window)
    }
}

impl Sent {
    /// Restores the entry of an order that was let through from the database; `None` for one that
    /// nobody decided on.
    pub fn remembered(order: &Order) -> Option<Self> {
        if matches!(order.purpose, Purpose::Stop | Purpose::Liquidation) {
            return None;
        }
        Some(Self {
            id: order.id.clone(),
            run_id: order.run_id,
            contender: order.contender.clone(),
            inst: order.inst.clone(),
            side: order.side,
            qty: order.qty,
            opening: order.purpose == Purpose::Entry,
            at: order.created_at,
        })
    }

    /// Returns the entry for an intent.
    pub fn of(intent: &OrderIntent, at: Ms) -> Self {
        Self {
            id: OrderId::from(&intent.cl_ord_id),
            run_id: intent.run_id,
            contender: intent.contender.clone(),
            inst: intent.inst.clone(),
            side: intent.side,
            qty: intent.qty,
            opening: intent.purpose == Purpose::Entry,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::case::fine;

    fn sent(at: i64, side: Side, opening: bool) -> Sent {
        Sent {
            side,
            opening,
            ..Sent::of(&fine().intent, Ms(at))
        }
    }

    /// Sent orders are remembered for one hour; their count runs for the UTC day.
    #[test]
    fn orders_kept_an_hour_counted_daily() {
        let mut recent = Recent::default();
        let day = 86_400_000;
        recent.note(sent(day, Side::Buy, true));
        recent.note(sent(day + 3_600_000, Side::Buy, true));
        assert_eq!(recent.sent.len(), 2, "an hour ago is still known");
        recent.note(sent(day + 3_600_001, Side::Sell, true));
        assert_eq!(recent.sent.len(), 2);
        assert_eq!(
            (recent.today(Ms(day + 3_600_001)), recent.today(Ms(2 * day))),
            (3, 0)
        );
    }

    /// A count remembered for the day raises the counter and never lowers it; an older day's is
    /// ignored.
    #[test]
    fn daily_count_never_drops() {
        let mut recent = Recent::default();
        recent.note(sent(86_400_000, Side::Buy, true));
        let today = |recent: &Recent| recent.today(Ms(86_400_000));
        recent.at_least(1, 7);
        assert_eq!(today(&recent), 7);
        recent.at_least(1, 3);
        recent.at_least(0, 90);
        assert_eq!(today(&recent), 7);
        recent.note(sent(86_400_001, Side::Buy, true));
        assert_eq!(today(&recent), 8);
        recent.at_least(2, 1);
        assert_eq!((today(&recent), recent.today(Ms(2 * 86_400_000))), (0, 1));
    }

    /// Exits, the other side and other contenders' orders do not count.
    #[test]
    fn repeats_count_same_side_openings() {
        let mut recent = Recent::default();
        for (side, opening) in [(Side::Buy, true), (Side::Buy, false), (Side::Sell, true)] {
            recent.note(sent(1000, side, opening));
        }
        assert_eq!(recent.repeats(&fine().intent, Ms(1000)), 1);
        recent.note(Sent {
            contender: "other".into(),
            ..sent(1000, Side::Buy, true)
        });
        assert_eq!(recent.repeats(&fine().intent, Ms(1000)), 1);
    }

    /// An order read back from the database gives the same entry as its intent did; stops and
    /// liquidations give none.
    #[test]
    fn remembered_order_matches_noted_intent() {
        let entry = fine().intent;
        let order = |intent: &OrderIntent| Order::intended(intent, Ms(77), None);
        assert_eq!(
            Sent::remembered(&order(&entry)),
            Some(Sent::of(&entry, Ms(77)))
        );
        assert!(Sent::of(&entry, Ms(77)).opening);
        let exit = OrderIntent {
            purpose: Purpose::Exit,
            ..entry.clone()
        };
        assert_eq!(
            Sent::remembered(&order(&exit)),
            Some(Sent::of(&exit, Ms(77)))
        );
        assert!(!Sent::of(&exit, Ms(77)).opening);
        for purpose in [Purpose::Stop, Purpose::Liquidation] {
            assert_eq!(
                Sent::remembered(&order(&OrderIntent {
                    purpose,
                    ..entry.clone()
                })),
                None
            );
        }
    }
}
