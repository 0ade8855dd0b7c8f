//! The corpus of hostile and broken replies, judged in the scene.

#[path = "cases.rs"]
mod cases;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Scene;
use crate::domain::instrument::tests::swap;
use crate::llm::answer::AnswerMode;
use crate::llm::chat::content;
use crate::llm::code::Code;
use crate::llm::parse::parse;

/// Returns the code a body ends with, after every step a reply takes.
fn code(scene: &Scene, body: &[u8]) -> (Code, String) {
    let asked = scene.asked();
    let snap = asked.data.meta.snap.as_str();
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return (Code::Shape, String::new());
    };
    let text = match content(&value) {
        Ok(text) => text.replace("SNAP", snap),
        Err(refused) => return (refused.code, refused.detail),
    };
    match parse(AnswerMode::Single, &text, snap) {
        Err(refused) => (refused.code, refused.detail),
        Ok(items) => {
            let verdict = scene.judged(&asked, items).remove(0);
            let slot = Decimal::from(5000);
            if let Some(target) = verdict.proposal.target {
                assert!(verdict.code == Code::Accepted, "refused, and acted on");
                let worth = target.fraction().abs() * slot;
                assert!(
                    worth <= Decimal::from(20_000),
                    "more than twice the sleeve: {worth}"
                );
                let stop = verdict.proposal.stop.expect("what opens has a stop").0;
                let lost = worth * (Decimal::from(100) - stop).abs() / Decimal::from(100);
                assert!(
                    lost <= Decimal::from(100),
                    "more than one percent of the sleeve: {lost}"
                );
                assert!(swap().on_tick(verdict.proposal.stop.unwrap()));
            }
            (verdict.code, verdict.detail)
        }
    }
}

/// At least 500 hostile replies, each with its expected code; none opens more than the limits
/// allow.
#[test]
fn hostile_replies_get_their_error_codes() {
    let scene = Scene::new(AnswerMode::Single);
    let cases = cases::all();
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let (found, detail) = code(&scene, &case.body);
        *counts.entry(case.code).or_default() += 1;
        if found.as_str() != case.code {
            wrong.push(format!(
                "{}: {found} ({detail}), expected {}",
                case.name, case.code
            ));
        }
    }
    println!("{} replies: {counts:?}", cases.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert!(cases.len() >= 500, "{} replies", cases.len());
    assert!(counts.len() >= 25, "every step has its cases: {counts:?}");
}
