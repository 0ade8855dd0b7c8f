//! Contenders that take part, compared with those that did: what a configuration change means for
//! what is held. Pure.
//!
//! A contender or an instrument that is removed, renamed or switched off while it holds something
//! is *retiring*: still reconciled and protected, never larger, held or closed as configured.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::record::{ContenderRow, Proposal};
use crate::domain::{Bps, ContenderId, InstId, Qty, Retire, Usd};

/// Contender that takes part now: its stage, weight and instruments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrant {
    pub id: ContenderId,
    pub live: bool,
    pub weight: Decimal,
    pub instruments: Vec<InstId>,
}

/// One difference, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: String,
    pub effect: String,
}

/// Quantity each contender holds or has working in an instrument.
pub type Held = BTreeMap<(ContenderId, InstId), Qty>;

/// Returns the holdings of contenders that may no longer add to them.
pub fn retiring(entrants: &[Entrant], held: &Held) -> Held {
    let takes_part = |contender: &ContenderId, inst: &InstId| {
        entrants
            .iter()
            .any(|e| e.id == *contender && e.live && e.instruments.contains(inst))
    };
    held.iter()
        .filter(|((who, inst), _)| !takes_part(who, inst))
        .map(|(key, qty)| (key.clone(), *qty))
        .collect()
}

/// Builds the proposals of retiring contenders: no target, or an exit.
pub fn proposals(retiring: &Held, retire: Retire) -> Vec<Proposal> {
    let system = ContenderId::system();
    let leaving = retiring
        .iter()
        .filter(|((who, _), qty)| *who != system && !qty.is_zero());
    leaving
        .map(|((contender, inst), qty)| Proposal {
            contender: contender.clone(),
            inst: inst.clone(),
            target: (retire == Retire::Close).then_some(Bps(0)),
            stop: None,
            reason: match retire {
                Retire::Hold => {
                    format!("retired: {} held until its stop or a person closes it", qty)
                }
                Retire::Close => format!("retired: {} to be closed", qty),
            },
            good_for: None,
        })
        .collect()
}

/// Everything that is different from the last start, in words, with its effect.
pub fn changes(
    before: &[ContenderRow],
    entrants: &[Entrant],
    held: &Held,
    retire: Retire,
) -> Vec<Change> {
    let mut out = Vec::new();
    let fate = |contender: &ContenderId| -> String {
        let open: Vec<String> = held
            .iter()
            .filter(|((who, _), qty)| who == contender && !qty.is_zero())
            .map(|((_, inst), qty)| format!("{qty} {inst}"))
            .collect();
        match (open.is_empty(), retire) {
            (true, _) => "holds nothing".to_owned(),
            (false, Retire::Hold) => format!(
                "retiring: {} held, protected, never added to",
                open.join(", ")
            ),
            (false, Retire::Close) => {
                format!("retiring: {} closed at the next decision", open.join(", "))
            }
        }
    };
    for old in before {
        let Some(new) = entrants.iter().find(|e| e.id == old.id) else {
            out.push(Change {
                what: format!("contender {} is gone", old.id),
                effect: fate(&old.id),
            });
            continue;
        };
        match (old.stage == "live", new.live) {
            (true, false) => {
                out.push(Change {
                    what: format!("contender {} is switched off", old.id),
                    effect: fate(&old.id),
                });
            }
            (false, true) => out.push(Change {
                what: format!("contender {} is switched on", old.id),
                effect: format!("trades {} of equity", percent(new.weight)),
            }),
            (true, true) if old.weight != new.weight => out.push(Change {
                what: format!(
                    "contender {} has weight {} instead of {}",
                    old.id, new.weight, old.weight
                ),
                effect: format!(
                    "{} of equity moves {} its sleeve",
                    percent((new.weight - old.weight).abs()),
                    if new.weight > old.weight {
                        "into"
                    } else {
                        "out of"
                    }
                ),
            }),
            _ => {}
        }
        let left: BTreeSet<String> = retiring(entrants, held)
            .into_iter()
            .filter(|((who, inst), qty)| {
                *who == old.id && new.live && !new.instruments.contains(inst) && !qty.is_zero()
            })
            .map(|((_, inst), qty)| format!("{qty} {inst}"))
            .collect();
        for what in left {
            out.push(Change {
                what: format!(
                    "contender {} no longer trades what it holds: {what}",
                    old.id
                ),
                effect: format!(
                    "retiring: {}",
                    if retire == Retire::Hold {
                        "held, protected, never added to"
                    } else {
                        "closed at the next decision"
                    }
                ),
            });
        }
    }
    for new in entrants
        .iter()
        .filter(|e| !before.is_empty() && before.iter().all(|old| old.id != e.id))
    {
        let effect = if new.live {
            format!("trades {} of equity", percent(new.weight))
        } else {
            "is off".to_owned()
        };
        out.push(Change {
            what: format!("contender {} is new", new.id),
            effect,
        });
    }
    out
}

/// Money that changed weights move between sleeves, at this equity.
pub fn transfers(
    before: &[ContenderRow],
    entrants: &[Entrant],
    equity: Usd,
) -> Vec<(ContenderId, Usd, String)> {
    let weight = |entrant: Option<&Entrant>| {
        entrant
            .filter(|e| e.live)
            .map_or(Decimal::ZERO, |e| e.weight)
    };
    let ids: BTreeSet<&ContenderId> = before
        .iter()
        .map(|old| &old.id)
        .chain(entrants.iter().map(|e| &e.id))
        .collect();
    ids.into_iter()
        .filter_map(|id| {
            let old = before
                .iter()
                .find(|old| old.id == *id && old.stage == "live")
                .map_or(Decimal::ZERO, |o| o.weight);
            let new = weight(entrants.iter().find(|e| e.id == *id));
            let amount = ((new - old) * equity.0).round_dp(8);
            (!before.is_empty() && !amount.is_zero())
                .then(|| (id.clone(), Usd(amount), format!("weight {old} -> {new}")))
        })
        .collect()
}

fn percent(share: Decimal) -> String {
    format!("{} %", (share * Decimal::ONE_HUNDRED).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, stage: &str, weight: i64) -> ContenderRow {
        ContenderRow {
            id: id.into(),
            kind: "rule".into(),
            strategy: "x".into(),
            stage: stage.into(),
            weight: Decimal::new(weight, 2),
            params: BTreeMap::new(),
        }
    }

    fn entrant(id: &str, live: bool, weight: i64, insts: &[&str]) -> Entrant {
        let instruments = insts.iter().map(|i| (*i).into()).collect();
        Entrant {
            id: id.into(),
            live,
            weight: Decimal::new(weight, 2),
            instruments,
        }
    }

    fn held() -> Held {
        [("a", "X", 5), ("b", "X", -2), ("b", "Y", 0)]
            .map(|(who, inst, qty)| ((who.into(), inst.into()), Qty(Decimal::from(qty))))
            .into()
    }

    #[track_caller]
    fn check(before: &[ContenderRow], now: &[Entrant], expected: &[&str]) {
        let shown: Vec<String> = changes(before, now, &held(), Retire::Hold)
            .into_iter()
            .map(|c| format!("{}: {}", c.what, c.effect))
            .collect();
        assert_eq!(shown, expected);
    }

    /// Removed, switched off, new, reweighted and moved to other instruments; no change reports
    /// nothing.
    #[test]
    fn each_roster_change_reports_its_effect() {
        let before = [row("a", "live", 10), row("b", "live", 20)];
        check(
            &before,
            &[
                entrant("a", true, 10, &["X"]),
                entrant("b", true, 20, &["X"]),
            ],
            &[],
        );
        check(
            &before,
            &[
                entrant("c", true, 10, &["X"]),
                entrant("b", false, 20, &["X"]),
            ],
            &[
                "contender a is gone: retiring: 5 X held, protected, never added to",
                "contender b is switched off: retiring: -2 X held, protected, never added to",
                "contender c is new: trades 10 % of equity",
            ],
        );
        check(
            &before,
            &[
                entrant("a", true, 15, &["Z"]),
                entrant("b", true, 20, &["X"]),
            ],
            &[
                "contender a has weight 0.15 instead of 0.10: 5 % of equity moves into its sleeve",
                "contender a no longer trades what it holds: 5 X: retiring: held, protected, never added to",
            ],
        );
    }

    /// A contender switched off, or an instrument no longer traded, proposes no target under hold
    /// and zero under close.
    #[test]
    fn retiring_contenders_hold_or_close() {
        let now = [
            entrant("a", false, 10, &["X"]),
            entrant("b", true, 20, &["X"]),
        ];
        let left = retiring(&now, &held());
        assert_eq!(
            left.keys()
                .map(|(who, inst)| format!("{who} {inst}"))
                .collect::<Vec<_>>(),
            ["a X", "b Y"]
        );
        assert_eq!(
            proposals(&left, Retire::Hold)
                .iter()
                .map(|p| p.target)
                .collect::<Vec<_>>(),
            [None]
        );
        assert_eq!(
            proposals(&left, Retire::Close)
                .iter()
                .map(|p| p.target)
                .collect::<Vec<_>>(),
            [Some(Bps(0))]
        );
    }

    /// Changed weights move equity between sleeves; a first start moves nothing.
    #[test]
    fn weight_changes_are_zero_sum_transfers() {
        let before = [row("a", "live", 10), row("b", "live", 20)];
        let now = [entrant("a", true, 20, &[]), entrant("c", true, 10, &[])];
        let moved = transfers(&before, &now, Usd(Decimal::from(1000)));
        let shown: Vec<String> = moved
            .iter()
            .map(|(who, usd, _)| format!("{who} {}", usd.0.normalize()))
            .collect();
        assert_eq!(shown, ["a 100", "b -200", "c 100"]);
        assert!(
            transfers(&[], &now, Usd(Decimal::from(1000))).is_empty(),
            "a first start moves nothing"
        );
    }
}
