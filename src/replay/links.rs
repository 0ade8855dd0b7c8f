//! Each stage was given what the one before it gave, and the rows say what came of it. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Replayed, output};
use crate::allocation;
use crate::domain::inputs::{InputStage, unpack};
use crate::domain::record::Proposal;
use crate::domain::{InstId, Ms, OrderIntent};
use crate::store::{KeptInputs, KeptOrder, KeptRefusal, KeptRun};
use crate::{llm, risk};

/// Everything of a run that does not fit together.
pub(super) fn broken(run: &KeptRun) -> Vec<Replayed> {
    let of = |stage: InputStage| run.inputs.iter().filter(move |kept| kept.stage == stage);
    let mut wrong = Vec::new();
    let mut say = |about: &str, why: String| wrong.push(Replayed::broken("rows", about, why));

    // A process that ends leaves decisions nobody acted on; one that goes on does not.
    if run.is_cycle
        && run.inputs.is_empty()
        && run.went_on
        && run.kept_since
        && !run.decisions.is_empty()
    {
        say(
            "",
            "it decided, and nothing of what it decided on is there".to_owned(),
        );
    }
    let wanted: Option<Vec<Proposal>> = of(InputStage::Rules)
        .chain(of(InputStage::Answer))
        .find_map(wants);
    for proposal in wanted.iter().flatten() {
        let about = format!("{} {}", proposal.contender, proposal.inst);
        match run
            .decisions
            .get(&(proposal.inst.to_string(), proposal.contender.to_string()))
        {
            Some(row)
                if *row
                    == (
                        proposal.target.map(|bps| i64::from(bps.0)),
                        proposal.stop.map(|stop| stop.0),
                    ) => {}
            Some(row) => say(
                &about,
                format!("the decision in the database is another: {row:?}"),
            ),
            None if run.went_on => say(
                &about,
                "there is no such decision in the database".to_owned(),
            ),
            None => {}
        }
    }
    let mut intents: BTreeMap<String, (OrderIntent, &KeptInputs)> = BTreeMap::new();
    for kept in of(InputStage::Allocation) {
        let Ok(seen) = unpack::<allocation::AllocationInputs>(&kept.seen) else {
            continue;
        };
        if wanted
            .as_deref()
            .is_some_and(|wanted| wanted != seen.proposals())
        {
            say("", "what was allocated is not what was wanted".to_owned());
        }
        let (rows, planned): (Vec<Value>, Vec<OrderIntent>) = read(kept).unwrap_or_default();
        intents.extend(
            planned
                .into_iter()
                .map(|intent| (intent.cl_ord_id.to_string(), (intent, kept))),
        );
        for row in &rows {
            let key = [&row["inst"], &row["contender"]]
                .map(|name| name.as_str().unwrap_or_default().to_owned());
            if !run
                .decisions
                .contains_key(&(key[0].clone(), key[1].clone()))
            {
                say(
                    &format!("{} {}", key[1], key[0]),
                    "it was allocated, and there is no such decision".to_owned(),
                );
            }
        }
    }
    intents.extend(
        of(InputStage::Working)
            .filter_map(|kept| Some((kept.subject.clone(), (read(kept)?, kept)))),
    );
    let mut judged: BTreeMap<&str, (Option<OrderIntent>, Result<OrderIntent, OrderIntent>)> =
        BTreeMap::new();
    for kept in of(InputStage::Gate) {
        let id = kept.subject.as_str();
        let Some(verdict) = verdict(kept) else {
            continue;
        };
        // A reduction may be let out smaller than it was asked for; what was asked is what was
        // planned.
        let asked = unpack::<risk::inputs::GateInputs>(&kept.seen)
            .ok()
            .map(|seen| seen.asked().clone());
        match (intents.get(id), &asked) {
            (Some((planned, _)), Some(asked))
                if planned == asked && asked.cl_ord_id.as_str() == id => {}
            (Some(_), _) => say(
                id,
                "what the gate was asked is not what was planned".to_owned(),
            ),
            (None, _) if run.kept_since => say(
                id,
                "the gate was asked about an order that nobody planned".to_owned(),
            ),
            (None, _) => {} // of before further tries were kept
        }
        judged.insert(id, (asked, verdict));
    }
    let unjudged = intents
        .iter()
        .filter(|(id, _)| run.went_on && !judged.contains_key(id.as_str()));
    for (id, _) in unjudged.filter(|(_, (intent, kept))| !refused_again(run, intent, kept)) {
        say(
            id,
            "it was planned, and there is no verdict of the gate".to_owned(),
        );
    }
    for (id, (asked, verdict)) in &judged {
        let order = run.orders.get(*id);
        let why = match (verdict, order) {
            (Ok(intent), None) if intent.moves.is_some() => None,
            (_, None) => run
                .went_on
                .then(|| "there is no such order in the database".to_owned()),
            // Earlier builds recorded what was asked for while trading was off.
            (Ok(intent), Some(order)) if order.state == "suppressed" => differs(intent, order)
                .filter(|_| {
                    asked
                        .as_ref()
                        .is_none_or(|asked| differs(asked, order).is_some())
                }),
            (Ok(intent), Some(order)) => differs(intent, order),
            (Err(intent), Some(order)) if order.state == "blocked" => differs(intent, order),
            (Err(_), Some(order)) => Some(format!(
                "it was refused, and the order in the database is {}",
                order.state
            )),
        };
        why.into_iter().for_each(|why| say(id, why));
    }
    // Orders of contenders pass the gate, all of them.
    let unasked = run
        .orders
        .iter()
        .filter(|(id, order)| order.by_decision && !judged.contains_key(id.as_str()));
    for (id, _) in unasked.filter(|_| run.kept_since) {
        say(
            id,
            "there is an order, and no verdict of the gate".to_owned(),
        );
    }
    wrong
}

/// True if the gate may have counted this order on the row of an earlier denial.
fn refused_again(run: &KeptRun, intent: &OrderIntent, kept: &KeptInputs) -> bool {
    run.refused_again.iter().any(|refusal| {
        refusal.contender == intent.contender.as_str()
            && refusal.inst == intent.inst.to_string()
            && refusal.side == intent.side.as_str()
            && spans(refusal, kept.at, kept.passed)
    })
}

/// True if an order planned at `planned` could have been judged while this denial was repeated. The
/// gate judged it after that, and before it `passed` to orders of a later run.
fn spans(refusal: &KeptRefusal, planned: Ms, passed: Option<Ms>) -> bool {
    refusal.last >= planned && passed.is_none_or(|passed| refusal.first <= passed)
}

fn read<T: serde::de::DeserializeOwned>(kept: &KeptInputs) -> Option<T> {
    serde_json::from_str(&kept.output).ok()
}

/// Returns what was handed on of the rules' proposals or of an answer: for each instrument the
/// first item, if it is traded.
fn wants(kept: &KeptInputs) -> Option<Vec<Proposal>> {
    if kept.stage == InputStage::Rules {
        return read(kept);
    }
    let seen = unpack::<llm::inputs::ValidationInputs>(&kept.seen).ok()?;
    let mut all: Vec<Proposal> = Vec::new();
    for verdict in output(kept).as_array()? {
        let proposal: Proposal = serde_json::from_value(verdict["proposal"].clone()).ok()?;
        if seen.trades(&proposal.inst) && all.iter().all(|other| other.inst != proposal.inst) {
            all.push(proposal);
        }
    }
    Some(all)
}

/// Returns the order that the gate approved, or denied.
fn verdict(kept: &KeptInputs) -> Option<Result<OrderIntent, OrderIntent>> {
    let output = output(kept);
    let intent = |name: &str| serde_json::from_value::<OrderIntent>(output[name].clone()).ok();
    intent("approved")
        .map(Ok)
        .or_else(|| intent("refused").map(Err))
}

/// Returns how the order in the database differs from the one that was judged, if it does.
fn differs(intent: &OrderIntent, order: &KeptOrder) -> Option<String> {
    let limit = intent.limit.map(|price| price.0);
    let stop = intent.stop.as_ref().map(|stop| stop.trigger.0);
    let told = |what: &str, judged: &dyn std::fmt::Display, there: &dyn std::fmt::Display| {
        Some(format!(
            "{what} {judged} was judged, and the order in the database is {there}"
        ))
    };
    let shown = |price: Option<Decimal>| {
        price.map_or("none".to_owned(), |price| price.normalize().to_string())
    };
    match order {
        o if o.contender != intent.contender.as_str() => {
            told("contender", &intent.contender, &o.contender)
        }
        o if InstId::new(o.inst.clone()) != intent.inst => {
            told("instrument", &intent.inst, &o.inst)
        }
        o if o.side != intent.side.as_str() => told("side", &intent.side.as_str(), &o.side),
        o if o.qty != intent.qty.0 => told("size", &intent.qty, &o.qty),
        o if o.ord_type != intent.ord_type.okx() => {
            told("type", &intent.ord_type.okx(), &o.ord_type)
        }
        o if o.purpose != intent.purpose.as_str() => {
            told("purpose", &intent.purpose.as_str(), &o.purpose)
        }
        // What rests may have been moved since.
        o if o.limit != limit && !o.moved => told("limit", &shown(limit), &shown(o.limit)),
        o if o.stop != stop => told("stop", &shown(stop), &shown(o.stop)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan judged between the first and the last refusal is covered; one judged outside is not.
    #[test]
    fn repeated_refusal_covers_its_interval() {
        // First refused at, last refused at, planned at, the gate has passed to later orders at.
        for (first, last, planned, passed, covers) in [
            (10, 90, 50, Some(60), true),
            (10, 90, 91, Some(99), false),
            (70, 90, 50, Some(60), false), // judged by 60, and nothing had been refused then
            (70, 90, 50, Some(80), true), // a further try of a run that began before the first refusal
            (70, 90, 50, None, true), // the process ended before the gate came to anything later
        ] {
            let (contender, inst, side) =
                ("a".to_owned(), "BTC-USDT-SWAP".to_owned(), "buy".to_owned());
            let refusal = KeptRefusal {
                contender,
                inst,
                side,
                first: Ms(first),
                last: Ms(last),
            };
            assert_eq!(
                spans(&refusal, Ms(planned), passed.map(Ms)),
                covers,
                "{first} {last} {planned} {passed:?}"
            );
        }
    }
}
