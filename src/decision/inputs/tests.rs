use std::sync::Arc;

use rust_decimal::Decimal;

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::view::InstMarket;
use crate::domain::{Price, Qty, Series};

const START: RunId = RunId(uuid::Uuid::from_u128(7));

fn candle(minute: i64) -> Candle {
    let p = |v: i64| Price(Decimal::from(v));
    let close = 100 + (minute * minute * 31) % 17;
    Candle {
        ts: Ms(minute * 60_000),
        open: p(100),
        high: p(120),
        low: p(90),
        close: p(close),
        volume: Qty(Decimal::ONE),
    }
}

fn assignments() -> Vec<Assignment> {
    ["sma_cross", "rsi_reversion"]
        .map(|name| {
            let strategy = strategy::find(name).unwrap();
            let mut params = strategy.defaults();
            params.extend(
                [("fast", 2.0), ("slow", 3.0), ("period", 3.0)].map(|(k, v)| (k.to_owned(), v)),
            );
            params.retain(|name, _| strategy.params.iter().any(|p| p.name == name));
            Assignment {
                contender: name.into(),
                strategy,
                params,
                instruments: vec![swap().id],
                bar: Bar::M1,
            }
        })
        .to_vec()
}

/// The market after so many minutes.
fn view(minutes: i64) -> MarketView {
    let series = BTreeMap::from([(
        Bar::M1,
        Series::new(Bar::M1, (0..minutes).map(candle).collect()),
    )]);
    let market = InstMarket {
        instrument: Arc::new(swap()),
        quote: None,
        mark: None,
        series,
    };
    MarketView {
        insts: BTreeMap::from([(swap().id, market)]),
        live: true,
        ..MarketView::default()
    }
}

/// Records kept of a process that hears these minutes, with a cycle after each one that is asked
/// about.
fn kept(
    history: i64,
    minutes: std::ops::Range<i64>,
    asked: impl Fn(i64) -> bool,
) -> Vec<RunInputs> {
    let market = view(history);
    let (mut board, _) = StrategyBoard::set(&assignments(), &market);
    let mut notes = Notes::begun(
        BoardId {
            start: START,
            nth: 0,
        },
        &assignments(),
        &market,
        &board,
    );
    let mut kept = Vec::new();
    for minute in minutes {
        notes.heard(&swap().id, Bar::M1, candle(minute));
        assert!(board.on_bar(&swap().id, Bar::M1, candle(minute)));
        if asked(minute) {
            let asked = CycleInputs {
                bar: (Bar::M1, Ms(minute * 60_000)),
                entrants: vec![],
                held: Held::from([(("gone".into(), swap().id), Qty(Decimal::TWO))]),
                retire: Retire::Close,
                market: vec![swap().id],
            };
            let decided = asked.decide(&board);
            kept.extend(notes.cycle(
                RunId(uuid::Uuid::from_u128(100 + minute as u128)),
                asked,
                &decided,
                Ms(minute),
            ));
        }
    }
    kept
}

/// Asks all of it again; who came out otherwise, by position.
fn otherwise(kept: &[RunInputs]) -> Vec<(usize, String)> {
    let mut again = RulesReplay::default();
    let one = |inputs: &RunInputs| match inputs.stage {
        InputStage::Seating => again.assignment(inputs.run_id, &inputs.subject, &inputs.seen),
        _ => again.ask(&inputs.seen),
    };
    let outcomes = kept.iter().map(one).collect::<Vec<_>>();
    let differs =
        |(at, (inputs, outcome)): (usize, (&RunInputs, Result<String, String>))| match outcome {
            Ok(now) if now == inputs.output => None,
            Ok(_) => Some((at, "other".to_owned())),
            Err(why) => Some((at, why)),
        };
    kept.iter()
        .zip(outcomes)
        .enumerate()
        .filter_map(differs)
        .collect()
}

/// 200 minutes with every third cycle skipped: warm-up is kept once, and replaying the inputs gives
/// the same outputs.
#[test]
fn replay_reproduces_every_rule_output() {
    let all = kept(40, 40..240, |minute| minute % 3 != 1);
    assert_eq!(
        all.iter()
            .filter(|inputs| inputs.stage == InputStage::Seating)
            .count(),
        1,
        "once, before the first cycle"
    );
    assert_eq!(otherwise(&all), []);
    let targets: std::collections::BTreeSet<&str> = all
        .iter()
        .filter_map(|inputs| inputs.output.split("target\":").nth(1)?.split(',').next())
        .collect();
    assert!(targets.len() > 1, "they change their minds: {targets:?}");
    assert!(
        all[1].output.contains("\"gone\""),
        "who only leaves is among them: {}",
        all[1].output
    );
}

/// A shorter history, a close off by one tick, a missing cycle and a missing warm-up are each
/// found.
#[test]
fn replay_detects_changed_inputs() {
    let mut all = kept(40, 40..120, |_| true);
    // A shorter history is found at the first bar, which does not follow it.
    let seating = std::mem::replace(&mut all[0], kept(37, 37..38, |_| true)[0].clone());
    let found = otherwise(&all);
    assert!(
        found[0].1.contains("does not follow") || found[0].0 == 0,
        "{found:?}"
    );
    all[0] = seating;
    // One close is another by a tick.
    let mut heard: HeardCycle = unpack(&all[20].seen).unwrap();
    heard.bars[0].2.close.0 += Decimal::from(5);
    let mut edited = all.clone();
    edited[20] = RunInputs::new(
        (all[20].run_id, InputStage::Rules),
        "",
        &heard,
        all[20].output.clone(),
        Ms(0),
    );
    assert_eq!(otherwise(&edited).first().map(|(at, _)| *at), Some(20));
    // One cycle is gone: the next says so.
    let mut short = all.clone();
    short.remove(30);
    assert_eq!(
        otherwise(&short)[0],
        (
            30,
            "29 cycles before it were kept, and it was number 31".to_owned()
        )
    );
    // No seating.
    assert!(
        otherwise(&all[1..])[0].1.contains("warmed up"),
        "{:?}",
        otherwise(&all[1..])[0]
    );
}

/// A single cycle needs the warm-up and all cycles before it; going back means starting again.
#[test]
fn replaying_one_cycle_needs_earlier_ones() {
    let all = kept(40, 40..60, |_| true);
    let mut again = RulesReplay::default();
    assert_eq!(again.lacks(&all[10].seen), Ok(Some(START)));
    again.assignment(START, "0", &all[0].seen).unwrap();
    assert_eq!(again.lacks(&all[1].seen), Ok(None));
    all[1..10]
        .iter()
        .for_each(|inputs| assert_eq!(again.ask(&inputs.seen).as_ref(), Ok(&inputs.output)));
    assert_eq!(again.lacks(&all[10].seen), Ok(None));
    assert_eq!(
        again.lacks(&all[4].seen),
        Ok(Some(START)),
        "it does not forget what it has heard: from the start again"
    );
    assert!(again.lacks(b"no").is_err() && again.ask(b"no").is_err());
}
