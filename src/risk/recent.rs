//! What the gate has let out lately: for rates, duplicates and repeats. Pure; times are arguments.

use std::collections::VecDeque;

use crate::domain::{ContenderId, InstId, Ms, Order, OrderId, OrderIntent, Purpose, Qty, RunId, Side};

/// One order that was let out.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default)]
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
        while self.sent.front().is_some_and(|old| sent.at.since(old.at) > REPEAT_WINDOW) {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// Orders of the last minute.
    pub fn last_minute(&self, now: Ms) -> u64 {
        self.since(now, RATE_WINDOW).count() as u64
    }

    /// Orders of the UTC day.
    pub fn today(&self, now: Ms) -> u64 {
        if now.utc_day() == self.day { self.today } else { 0 }
    }

    /// How long ago another decision sent the very same.
    pub fn twin(&self, intent: &OrderIntent, now: Ms) -> Option<Ms> {
        let same = |s: &&Sent| {
            (&s.contender, &s.inst, s.side, s.qty) == (&intent.contender, &intent.inst, intent.side, intent.qty)
                && s.run_id != intent.run_id
        };
        self.sent.iter().rev().find(same).map(|s| now.since(s.at))
    }

    /// Opening orders of this contender, instrument and side in the last hour.
    pub fn repeats(&self, intent: &OrderIntent, now: Ms) -> u64 {
        let same =
            |s: &&Sent| s.opening && (&s.contender, &s.inst, s.side) == (&intent.contender, &intent.inst, intent.side);
        self.since(now, REPEAT_WINDOW).filter(same).count() as u64
    }

    fn since(&self, now: Ms, window: Ms) -> impl Iterator<Item = &Sent> {
        self.sent.iter().rev().take_while(move |s| now.since(s.at) < window)
    }
}

impl Sent {
    /// What the database remembers of an order that was let out; `None` for one that nobody decided on.
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

    /// What is noted of an intent.
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
