//! The life of a stop at the venue: seven states and the moves between them. Like an order's, the
//! pairs are in the database too, with a trigger that refuses any other.

use serde::{Deserialize, Serialize};

use super::order::Contradiction;
use super::{ContenderId, InstId, Ms, OrderId, OrderIntent, Price, Qty, RunId, Side};

/// Life-cycle state of an algo order. OKX's words, after ours for the time before the venue has
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgoState {
    /// Written ahead with the order it hangs on, or before its own request.
    Intended,
    /// Waiting for its trigger.
    Live,
    /// Triggered; its child order has a life cycle of its own. Final.
    Effective,
    /// Final.
    Canceled,
    /// Triggered, and its order was rejected. Final.
    OrderFailed,
    /// Triggered, and part of its orders were rejected. Final.
    PartiallyFailed,
    /// The order it hung on ended without a fill: it was never made. Final.
    Unborn,
}

use AlgoState::*;

impl AlgoState {
    /// All of them, in the order of a life.
    pub const ALL: [AlgoState; 7] = [
        Intended,
        Live,
        Effective,
        Canceled,
        OrderFailed,
        PartiallyFailed,
        Unborn,
    ];

    /// The database's word for it; OKX's for those it knows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Intended => "intended",
            Live => "live",
            Effective => "effective",
            Canceled => "canceled",
            OrderFailed => "order_failed",
            PartiallyFailed => "partially_failed",
            Unborn => "unborn",
        }
    }

    /// Reads the database's or OKX's word.
    pub fn parse(text: &str) -> Option<AlgoState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True if nothing more can happen to the algo order.
    pub const fn is_final(self) -> bool {
        !matches!(self, Intended | Live)
    }

    /// True if a step to that state is allowed.
    pub const fn may_become(self, to: AlgoState) -> bool {
        match (self, to) {
            (Intended, Live | Effective | Canceled | OrderFailed | PartiallyFailed | Unborn) => {
                true
            }
            (Live, Effective | Canceled | OrderFailed | PartiallyFailed) => true,
            (
                Intended | Live | Effective | Canceled | OrderFailed | PartiallyFailed | Unborn,
                _,
            ) => false,
        }
    }
}

impl std::fmt::Display for AlgoState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stop of ours, and whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Our name of it (`algoClOrdId`).
    pub id: String,
    /// The venue's, once it has told.
    pub venue_id: Option<String>,
    /// The entry it hangs on, or, if it stands alone, the one that made the sleeve it protects.
    pub parent: OrderId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    /// Side of the order it sends when it triggers.
    pub side: Side,
    pub trigger: Price,
    /// Quantity; `None`: as much as its order fills, until the venue has reported it.
    pub qty: Option<Qty>,
    /// Made by itself, not with an order.
    pub standalone: bool,
    /// When it was written ahead, venue time.
    pub created: Ms,
    pub state: AlgoState,
    /// The order it made when it triggered.
    pub child: Option<OrderId>,
    /// When we heard that it has triggered; not kept over a restart.
    pub triggered: Option<Ms>,
    /// The venue's time of what we know of its size and trigger.
    pub shaped_at: Option<Ms>,
}

impl StopOrder {
    /// The stop that hangs on an order, before either is sent.
    pub fn ahead(intent: &OrderIntent) -> Option<Self> {
        let spec = intent.stop.as_ref().filter(|spec| spec.attached)?;
        Some(Self {
            id: spec.algo_id.as_str().to_owned(),
            venue_id: None,
            parent: OrderId::from(&intent.cl_ord_id),
            run_id: intent.run_id,
            contender: intent.contender.clone(),
            inst: intent.inst.clone(),
            side: intent.side.opposite(),
            trigger: spec.trigger,
            qty: None,
            standalone: false,
            created: intent.decided_at,
            state: AlgoState::Intended,
            child: None,
            triggered: None,
            shaped_at: None,
        })
    }

    /// Takes over the size and trigger that the venue reports. `false`: nothing new.
    pub fn shaped(&mut self, qty: Option<Qty>, trigger: Option<Price>, at: Option<Ms>) -> bool {
        if at.is_some_and(|at| self.shaped_at.is_some_and(|known| at < known)) {
            return false; // an older word came later
        }
        self.shaped_at = at.or(self.shaped_at);
        let before = (self.qty, self.trigger);
        self.qty = qty.filter(|qty| *qty > Qty::ZERO).or(self.qty);
        self.trigger = trigger
            .filter(|trigger| *trigger > Price::ZERO)
            .unwrap_or(self.trigger);
        before != (self.qty, self.trigger)
    }

    /// Joins one statement of the venue. `Ok(false)`: nothing new. Any order and any repetition end
    /// the same: a final state absorbs.
    ///
    /// # Errors
    /// Two different ends, or an end of what was never made.
    pub fn merge(&mut self, said: AlgoState) -> Result<bool, Contradiction> {
        if self.state == said || said == Intended || (self.state.is_final() && said == Live) {
            return Ok(false);
        }
        if !self.state.may_become(said) {
            return Err(Contradiction::TwoStopEnds {
                stop: self.id.clone(),
                known: self.state,
                said,
            });
        }
        self.state = said;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stop() -> StopOrder {
        StopOrder {
            id: "as1".into(),
            venue_id: None,
            parent: "as2".into(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: "trend".into(),
            inst: "BTC-USDT-SWAP".into(),
            side: Side::Sell,
            trigger: Price::ZERO,
            qty: None,
            standalone: false,
            created: Ms(0),
            state: Intended,
            child: None,
            triggered: None,
            shaped_at: None,
        }
    }

    /// The algo order table has exactly ten transitions.
    #[test]
    fn final_states_have_no_transitions() {
        let moves = AlgoState::ALL
            .iter()
            .flat_map(|from| AlgoState::ALL.iter().map(move |to| (*from, *to)));
        assert_eq!(
            moves
                .clone()
                .filter(|(from, to)| from.may_become(*to))
                .count(),
            10
        );
        for (from, to) in moves {
            assert!(!(from.is_final() && from.may_become(to)), "{from} {to}");
            assert_eq!(AlgoState::parse(from.as_str()), Some(from));
        }
    }

    /// Only for an attached stop; a spot stop is made once there are coins, and no stop means no
    /// record.
    #[test]
    fn attached_stop_is_recorded_with_its_entry() {
        let mut entry = crate::domain::intent::tests::entry();
        assert_eq!(StopOrder::ahead(&entry), None, "no stop was decided on");
        let spec = |attached| crate::domain::StopSpec {
            algo_id: "st".into(),
            trigger: Price(5.into()),
            attached,
        };
        entry.stop = Some(spec(false));
        assert_eq!(
            StopOrder::ahead(&entry),
            None,
            "one on spot is made when there are coins"
        );
        entry.stop = Some(spec(true));
        let stop = StopOrder::ahead(&entry).unwrap();
        assert_eq!(
            (stop.id.as_str(), stop.side, stop.trigger),
            ("st", entry.side.opposite(), Price(5.into()))
        );
        assert_eq!(
            (stop.parent, stop.qty, stop.state),
            (OrderId::from(&entry.cl_ord_id), None, Intended)
        );
    }

    /// Words `qty@trigger/at` (`-`: not said) one after the other; then what is known.
    #[track_caller]
    fn shape(words: &str, expected: &str) {
        let mut stop = stop();
        let mut news = String::new();
        for word in words.split(' ') {
            let (shape, at) = word.split_once('/').unwrap();
            let (qty, trigger) = shape.split_once('@').unwrap();
            let at = (at != "-").then(|| Ms(at.parse().unwrap()));
            let new = stop.shaped(qty.parse().ok(), trigger.parse().ok(), at);
            news.push(if new { '+' } else { '.' });
        }
        assert_eq!(
            format!("{news} {}@{}", stop.qty.unwrap_or_default(), stop.trigger),
            expected
        );
    }

    /// An older statement or an empty value changes nothing; one without a time is taken as newer.
    #[test]
    fn newest_venue_size_and_trigger_win() {
        shape("5@95/10", "+ 5@95");
        shape("5@95/10 5@95/11", "+. 5@95");
        shape("5@95/10 7@96/9", "+. 5@95");
        shape("5@95/10 7@96/10", "++ 7@96");
        shape("5@95/10 7@96/11", "++ 7@96");
        shape("5@95/10 7@96/-", "++ 7@96");
        shape("5@95/10 7@-/11", "++ 7@95");
        shape("5@95/10 -@96/11", "++ 5@96");
        shape("5@95/10 0@0/11", "+. 5@95");
        shape("5@95/- 7@96/1 5@95/-", "+++ 5@95");
        assert_eq!(Effective.to_string(), "effective");
    }

    #[test]
    fn two_different_ends_stop_trading() {
        let mut stop = stop();
        assert_eq!(stop.merge(Effective), Ok(true));
        assert_eq!(stop.merge(Live), Ok(false));
        assert!(matches!(
            stop.merge(Canceled),
            Err(Contradiction::TwoStopEnds { .. })
        ));
        assert_eq!(stop.state, Effective);
    }

    proptest! {
        /// Venue statements in any order and repeated give the same final state.
        #[test]
        fn stop_reports_commute(words in proptest::collection::vec(0usize..2, 1..12), end in 2usize..6) {
            let (mut shuffled, mut sorted) = (stop(), stop());
            let said = [Live, AlgoState::ALL[end]];
            for word in &words {
                shuffled.merge(said[*word]).unwrap();
            }
            let mut in_order = words.clone();
            in_order.sort_unstable();
            for word in in_order {
                sorted.merge(said[word]).unwrap();
            }
            prop_assert_eq!(shuffled.state, sorted.state);
        }
    }
}
