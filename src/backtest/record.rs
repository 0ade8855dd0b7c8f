//! Records kept of a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sleeve_sim::Cause;
use crate::domain::{ContenderId, InstId, Ms, Side};

/// One fill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillRecord<N> {
    /// Index of the contender and of its market.
    pub contender: usize,
    pub market: usize,
    /// Index of the bar in its market, and when it opened, ms.
    pub bar: usize,
    pub ts: i64,
    /// When the order was decided on: the close of a bar, ms.
    pub decided: i64,
    pub order: u32,
    pub cause: Cause,
    pub side: Side,
    pub lots: i64,
    pub ticks: i64,
    /// In the quote currency; a positive fee is paid.
    pub value: N,
    pub fee: N,
    pub maker: bool,
    /// Held after it, lots.
    pub held: i64,
}

/// Outcome of one target a contender wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The close it was decided on.
    pub at: Ms,
    pub contender: ContenderId,
    pub inst: InstId,
    /// Share of the slot, hundredths of a percent.
    pub target: i32,
    /// Side and size of the order it led to, in the venue's units; or why there is none.
    pub order: Result<(Side, String), String>,
}

/// An order that the gate refused, by the codes of all rules that it broke.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Block {
    pub count: u64,
    pub first: Option<Ms>,
}

/// Trading was restricted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Halt {
    pub at: Ms,
    /// The rule.
    pub rule: String,
    pub state: String,
    /// `None`: a person would have had to release it, so it stayed.
    pub until: Option<Ms>,
    /// True if what was held was to be closed.
    pub flatten: bool,
}

/// Receiver a run is written to.
pub trait Tape<N> {
    /// Equity at the close of a bar, all positions at the bar's close.
    fn equity(&mut self, at: Ms, equity: N, exposure: N);
    /// A fill.
    fn fill(&mut self, row: FillRecord<N>);
    /// So many orders were refused with a code, the first then.
    fn blocked(&mut self, code: &str, count: u64, first: Ms);
    /// Trading was restricted.
    fn halted(&mut self, halt: Halt);
}

/// All of a run.
#[derive(Clone, Debug)]
pub struct RunOutcome<N> {
    pub cash: N,
    /// Close of each bar, ms, and what was there then.
    pub at: Vec<i64>,
    pub equity: Vec<N>,
    /// Value of positions without sign.
    pub exposure: Vec<N>,
    pub fills: Vec<FillRecord<N>>,
    pub blocks: BTreeMap<String, Block>,
    pub halts: Vec<Halt>,
    /// Paid (positive) or received for positions.
    pub funding: N,
    /// Loss borne by the venue when a liquidation went beyond all the cash there was.
    pub uncovered: N,
    pub liquidations: u32,
    /// Signed lots at the end, by (contender, market).
    pub held: BTreeMap<(usize, usize), i64>,
    pub orders: u32,
}

impl<N: crate::fills::Number> RunOutcome<N> {
    /// Creates an empty outcome.
    pub fn new(cash: N, room: usize) -> Self {
        Self {
            cash,
            at: Vec::with_capacity(room),
            equity: Vec::with_capacity(room),
            exposure: Vec::with_capacity(room),
            fills: Vec::new(),
            blocks: BTreeMap::new(),
            halts: Vec::new(),
            funding: N::ZERO,
            uncovered: N::ZERO,
            liquidations: 0,
            held: BTreeMap::new(),
            orders: 0,
        }
    }
}

impl<N: crate::fills::Number> Tape<N> for RunOutcome<N> {
    fn equity(&mut self, at: Ms, equity: N, exposure: N) {
        self.at.push(at.0);
        self.equity.push(equity);
        self.exposure.push(exposure);
    }
    fn fill(&mut self, row: FillRecord<N>) {
        self.fills.push(row);
    }
    fn blocked(&mut self, code: &str, count: u64, first: Ms) {
        match self.blocks.get_mut(code) {
            Some(block) => block.count += count,
            None => {
                self.blocks.insert(
                    code.to_owned(),
                    Block {
                        count,
                        first: Some(first),
                    },
                );
            }
        }
    }
    fn halted(&mut self, halt: Halt) {
        self.halts.push(halt);
    }
}
