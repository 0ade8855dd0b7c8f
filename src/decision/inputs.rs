//! Record of the state the rules were seated with and of the bars they have heard since, so that
//! they can be asked again. Pure.
//!
//! A strategy remembers, so one cycle cannot be made again by itself: a *seating* holds the history
//! everybody was warmed up with, each cycle the bars that were heard since the one before, and
//! whoever asks again hears them all in order.
//!
//! A strategy remembers, so one of its cycles cannot be made again by itself. A *seating* keeps the
//! history that the strategy board was warmed up with, once for each start; each cycle keeps the
//! bars heard since the one before, in one commit with its decisions. Whoever asks a rule again
//! feeds them all in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::board::{Assignment, StrategyBoard};
use super::roster::{Entrant, Held, proposals, retiring};
use crate::domain::inputs::{InputStage, RunInputs, unpack};
use crate::domain::record::Proposal;
use crate::domain::{Bar, Candle, ContenderId, InstId, MarketView, Ms, Retire, RunId};
use crate::strategy::{self, Params};

/// One board of one process: the run of its start, and how many boards that process had set before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardId {
    pub start: RunId,
    pub nth: u32,
}

/// Seats and market that a board was set from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoardInputs {
    #[serde(rename = "seats")]
    assignments: Vec<Named>,
    market: MarketView,
}

/// A assignment with its strategy by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Named {
    contender: ContenderId,
    strategy: String,
    params: Params,
    instruments: Vec<InstId>,
    bar: Bar,
}

impl BoardInputs {
    /// Takes down what a board is set on.
    pub fn of(assignments: &[Assignment], market: &MarketView) -> Self {
        let named = |assignment: &Assignment| Named {
            contender: assignment.contender.clone(),
            strategy: assignment.strategy.name.to_owned(),
            params: assignment.params.clone(),
            instruments: assignment.instruments.clone(),
            bar: assignment.bar,
        };
        Self {
            assignments: assignments.iter().map(named).collect(),
            market: market.clone(),
        }
    }

    /// Sets the board again.
    ///
    /// # Errors
    /// A strategy that this build does not have.
    pub fn board(&self) -> Result<StrategyBoard, String> {
        let assignment = |named: &Named| {
            let strategy = strategy::find(&named.strategy)
                .ok_or_else(|| format!("this build has no strategy '{}'", named.strategy))?;
            let Named {
                contender,
                params,
                instruments,
                bar,
                ..
            } = named.clone();
            Ok(Assignment {
                contender,
                strategy,
                params,
                instruments,
                bar,
            })
        };
        let assignments = self
            .assignments
            .iter()
            .map(assignment)
            .collect::<Result<Vec<_>, String>>()?;
        Ok(StrategyBoard::set(&assignments, &self.market).0)
    }
}

/// Inputs of a cycle besides the strategies: which contenders are retiring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CycleInputs {
    /// The bar that everybody waited for, and when it opened.
    pub bar: (Bar, Ms),
    pub entrants: Vec<Entrant>,
    pub held: Held,
    pub retire: Retire,
    /// Instruments there is a market of.
    pub market: Vec<InstId>,
}

impl CycleInputs {
    /// Returns all proposals: those of the contenders' strategies, and the exits of contenders that
    /// only leave.
    pub fn decide(&self, board: &StrategyBoard) -> Vec<Proposal> {
        let mut all = board.propose(self.bar);
        let leaving = proposals(&retiring(&self.entrants, &self.held), self.retire);
        // Only what the market shows can be decided on.
        all.extend(
            leaving
                .into_iter()
                .filter(|proposal| self.market.contains(&proposal.inst)),
        );
        all
    }
}

/// Inputs of a cycle, given the board before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeardCycle {
    seating: BoardId,
    /// Number of earlier cycles of this seating.
    ordinal: u64,
    /// Bars since the cycle before, in the order they were heard.
    bars: Vec<(InstId, Bar, Candle)>,
    asked: CycleInputs,
}

/// Bars that are kept between two cycles at most.
const MOST_BARS: usize = 10_000;

/// Takes down what a board is set on and hears, cycle by cycle.
#[derive(Debug)]
pub struct Notes {
    id: BoardId,
    ordinal: u64,
    bars: Vec<(InstId, Bar, Candle)>,
    /// The seating, until it is written; with what everybody would have said then.
    unwritten: Option<(BoardInputs, String)>,
}

impl Notes {
    /// Begins with a board that has just been set.
    pub fn begun(
        id: BoardId,
        assignments: &[Assignment],
        market: &MarketView,
        board: &StrategyBoard,
    ) -> Self {
        Self {
            id,
            ordinal: 0,
            bars: Vec::new(),
            unwritten: Some((BoardInputs::of(assignments, market), signals(board))),
        }
    }

    /// A bar was heard.
    pub fn heard(&mut self, inst: &InstId, bar: Bar, candle: Candle) {
        self.bars.push((inst.clone(), bar, candle));
    }

    /// True if so much has been heard since the last cycle that a new seating takes less room.
    pub fn are_long(&self) -> bool {
        self.bars.len() > MOST_BARS
    }

    /// Returns the records to keep of a cycle: the seating before its first one, then what was
    /// heard and what came of it.
    pub fn cycle(
        &mut self,
        run_id: RunId,
        asked: CycleInputs,
        decided: &[Proposal],
        at: Ms,
    ) -> Vec<RunInputs> {
        let seating = self.unwritten.take().map(|(seating, said)| {
            RunInputs::new(
                (self.id.start, InputStage::Seating),
                self.id.nth.to_string(),
                &seating,
                said,
                at,
            )
        });
        let heard = HeardCycle {
            seating: self.id.clone(),
            ordinal: self.ordinal,
            bars: std::mem::take(&mut self.bars),
            asked,
        };
        self.ordinal += 1;
        let cycle = RunInputs::new(
            (run_id, InputStage::Rules),
            "",
            &heard,
            written(decided),
            at,
        );
        seating.into_iter().chain([cycle]).collect()
    }
}

fn signals(board: &StrategyBoard) -> String {
    serde_json::to_string(&board.signals()).expect("signals have only text keys")
}

/// Proposals as canonical JSON.
fn written(proposals: &[Proposal]) -> String {
    serde_json::to_string(proposals).expect("a proposal has only text keys")
}

/// Whoever asks the rules again: their board, as far as it has heard.
#[derive(Default)]
pub struct RulesReplay {
    boards: BTreeMap<u32, (StrategyBoard, u64)>,
    start: Option<RunId>,
}

impl RulesReplay {
    /// Sets a board again; what everybody would have said then.
    ///
    /// # Errors
    /// What was kept cannot be read, or names what this build does not have.
    pub fn assignment(
        &mut self,
        start: RunId,
        nth: &str,
        seating: &[u8],
    ) -> Result<String, String> {
        if self.start != Some(start) {
            (self.start, self.boards) = (Some(start), BTreeMap::new());
        }
        let nth = nth
            .parse()
            .map_err(|_| format!("'{nth}' is no number of a table"))?;
        let board = unpack::<BoardInputs>(seating)?.board()?;
        let said = signals(&board);
        self.boards.insert(nth, (board, 0));
        Ok(said)
    }

    /// The start whose seating and earlier cycles must be heard before this cycle can be asked
    /// again, if any.
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub fn lacks(&self, cycle: &[u8]) -> Result<Option<RunId>, String> {
        let heard = unpack::<HeardCycle>(cycle)?;
        Ok((self.so_far(&heard.seating) != Some(heard.ordinal)).then_some(heard.seating.start))
    }

    /// Returns the number of cycles a board has been asked in.
    fn so_far(&self, id: &BoardId) -> Option<u64> {
        self.boards
            .get(&id.nth)
            .filter(|_| self.start == Some(id.start))
            .map(|(_, ordinal)| *ordinal)
    }

    /// Hears a cycle's bars and asks again.
    ///
    /// # Errors
    /// What was kept cannot be read, or cycles before it are missing.
    pub fn ask(&mut self, cycle: &[u8]) -> Result<String, String> {
        let HeardCycle {
            seating,
            ordinal,
            bars,
            asked,
        } = unpack(cycle)?;
        let so_far = self.so_far(&seating);
        if so_far != Some(ordinal) {
            return Err(match so_far {
                None => format!(
                    "what its strategies were warmed up with at the start {} is not there",
                    seating.start
                ),
                Some(n) => format!(
                    "{n} cycles before it were kept, and it was number {}",
                    ordinal + 1
                ),
            });
        }
        let (board, ordinal) = self
            .boards
            .get_mut(&seating.nth)
            .expect("it has heard so far");
        for (inst, bar, candle) in bars {
            if !board.on_bar(&inst, bar, candle) {
                return Err(format!(
                    "the {bar} bar of {inst} at {} does not follow the one before",
                    candle.ts.0
                ));
            }
        }
        *ordinal += 1;
        Ok(written(&asked.decide(board)))
    }
}

#[cfg(test)]
mod tests;
