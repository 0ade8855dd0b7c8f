//! Search space of a batch: parameters by grid or by chance, markets, windows. Pure: the same
//! search is the same list of runs.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::domain::Ms;
use crate::strategy::{ParamSpec, Params, StrategySpec};

/// Values that one parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub name: String,
    pub values: Vec<f64>,
}

/// More runs than this are a mistake.
pub const MOST: usize = 1_000_000;

impl Axis {
    /// Reads `fast=5,10,20` or `fast=5:45:2` (from, to, step; the end is included).
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}': write NAME=A,B,C or NAME=FROM:TO:STEP"))?;
        let number = |text: &str| {
            text.trim()
                .parse::<f64>()
                .ok()
                .filter(|v| v.is_finite())
                .ok_or_else(|| format!("'{text}' in '{name}' is no number"))
        };
        let parts: Vec<&str> = values.split(':').collect();
        let values = match parts.as_slice() {
            [from, to, step] => {
                let (from, to, step) = (number(from)?, number(to)?, number(step)?);
                if step <= 0.0 || to < from || (to - from) / step > 10_000.0 {
                    return Err(format!(
                        "'{text}': from must not be above to, step must be positive, 10000 values at most"
                    ));
                }
                // Counted in steps, so that no value drifts.
                let count = ((to - from) / step + 1e-9).floor() as usize + 1;
                (0..count).map(|i| from + i as f64 * step).collect()
            }
            [_] => values
                .split(',')
                .map(number)
                .collect::<Result<Vec<f64>, _>>()?,
            _ => return Err(format!("'{text}': a range is FROM:TO:STEP")),
        };
        Ok(Self {
            name: name.trim().to_owned(),
            values,
        })
    }
}

/// All combinations of a strategy's axes that are valid; what has no axis is at its default. The
/// last axis turns fastest.
///
/// # Errors
/// An unknown parameter, one out of its bounds, or none that is valid.
pub fn grid(spec: &StrategySpec, axes: &[Axis]) -> Result<Vec<Params>, String> {
    let mut all = vec![spec.defaults()];
    for axis in axes {
        bounded(spec, axis)?;
        if all.len() * axis.values.len() > MOST {
            return Err(format!("more than {MOST} combinations"));
        }
        let with = |params: &Params, value: &f64| {
            let mut params = params.clone();
            params.insert(axis.name.clone(), *value);
            params
        };
        all = all
            .iter()
            .flat_map(|params| axis.values.iter().map(move |value| with(params, value)))
            .collect();
    }
    // One that is named twice is one trial.
    let mut seen = BTreeSet::new();
    all.retain(|params| (spec.validate)(params).is_ok() && seen.insert(format!("{params:?}")));
    if all.is_empty() {
        Err(format!("no combination is valid for {}", spec.name))
    } else {
        Ok(all)
    }
}

/// So many different valid combinations drawn from a strategy's ranges; fewer if there are not as
/// many. Axes narrow what is drawn from.
///
/// # Errors
/// As [`grid`].
pub fn random(
    spec: &StrategySpec,
    axes: &[Axis],
    count: usize,
    seed: u64,
) -> Result<Vec<Params>, String> {
    for axis in axes {
        bounded(spec, axis)?;
    }
    if count > MOST {
        return Err(format!("{count} combinations; {MOST} at most"));
    }
    let mut draw = ChaCha8Rng::seed_from_u64(seed ^ crc(spec.name));
    let mut unit = move || (draw.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut pick = |p: &ParamSpec| {
        if let Some(axis) = axes.iter().find(|axis| axis.name == p.name) {
            return axis.values
                [((unit() * axis.values.len() as f64) as usize).min(axis.values.len() - 1)];
        }
        // A stop is drawn only if it is asked for: else half of all runs would be about it.
        if p.name == "stop_pct" {
            return p.default;
        }
        let whole = [p.default, p.min, p.max]
            .iter()
            .all(|value| value.fract() == 0.0);
        // Periods by their order of magnitude: from 3 to 2000 half are below 77.
        let value = match p.min > 0.0 && p.max / p.min > 20.0 {
            true => p.min * (p.max / p.min).powf(unit()),
            false => p.min + (p.max - p.min) * unit(),
        };
        let value = if whole {
            value.round()
        } else {
            (value * 1000.0).round() / 1000.0
        };
        value.clamp(p.min, p.max)
    };
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    for _ in 0..count.saturating_mul(20) {
        if all.len() == count {
            break;
        }
        let params: Params = spec
            .params
            .iter()
            .map(|p| (p.name.to_owned(), pick(p)))
            .collect();
        if (spec.validate)(&params).is_ok() && seen.insert(format!("{params:?}")) {
            all.push(params);
        }
    }
    if all.is_empty() {
        Err(format!("no combination is valid for {}", spec.name))
    } else {
        Ok(all)
    }
}

/// Checks that every value of an axis is one its parameter may take.
fn bounded(spec: &StrategySpec, axis: &Axis) -> Result<(), String> {
    let known = find(spec, &axis.name)?;
    match axis
        .values
        .iter()
        .find(|value| !(known.min..=known.max).contains(*value))
    {
        Some(value) => Err(format!(
            "{} of {} must be between {} and {}, is {value}",
            axis.name, spec.name, known.min, known.max
        )),
        None => Ok(()),
    }
}

fn find<'a>(spec: &'a StrategySpec, name: &str) -> Result<&'a ParamSpec, String> {
    spec.params.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = spec.params.iter().map(|p| p.name).collect();
        format!(
            "{} has no parameter '{name}'; it has {}",
            spec.name,
            names.join(", ")
        )
    })
}

/// A number of a name (FNV-1a): two strategies of one seed draw apart.
fn crc(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Windows of a length that begin a step apart, the last one that is whole included; all of it if
/// no length is given.
pub fn windows((from, to): (Ms, Ms), length: Option<Ms>, step: Option<Ms>) -> Vec<(Ms, Ms)> {
    let Some(length) = length.filter(|length| length.0 > 0) else {
        return vec![(from, to)];
    };
    let step = step.filter(|step| step.0 > 0).unwrap_or(length);
    let mut all = Vec::new();
    let mut begin = from;
    while begin.plus(length) <= to && all.len() < MOST {
        all.push((begin, begin.plus(length)));
        begin = begin.plus(step);
    }
    if all.is_empty() {
        vec![(from, to)]
    } else {
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    fn axes(texts: &[&str]) -> Vec<Axis> {
        texts
            .iter()
            .map(|text| Axis::parse(text).unwrap())
            .collect()
    }

    /// Malformed, empty or infinite ranges are errors.
    #[test]
    fn axes_parse_as_lists_and_ranges() {
        assert_eq!(Axis::parse("fast=5:9:2").unwrap().values, [5.0, 7.0, 9.0]);
        assert_eq!(Axis::parse("width=0.1:0.3:0.1").unwrap().values.len(), 3);
        assert_eq!(Axis::parse("x=3,1").unwrap().values, [3.0, 1.0]);
        for wrong in [
            "fast",
            "fast=a",
            "fast=1:2",
            "fast=5:1:1",
            "fast=1:2:0",
            "fast=inf",
        ] {
            assert!(Axis::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// In order and without duplicates. Unknown parameters, values out of bounds and an empty grid
    /// are errors.
    #[test]
    fn grid_is_every_valid_combination() {
        let spec = crate::strategy::find("sma_cross").unwrap();
        let all = grid(spec, &axes(&["fast=10,30", "slow=20,40"])).unwrap();
        let pairs: Vec<(f64, f64)> = all.iter().map(|p| (p["fast"], p["slow"])).collect();
        assert_eq!(pairs, [(10.0, 20.0), (10.0, 40.0), (30.0, 40.0)]);
        assert_eq!(grid(spec, &axes(&["fast=10,10"])).unwrap().len(), 1);
        assert!(
            random(spec, &axes(&["slow=1000000"]), 5, 1)
                .unwrap_err()
                .contains("must be between")
        );
        assert!(
            grid(spec, &axes(&["fasst=1"]))
                .unwrap_err()
                .contains("has no parameter")
        );
        assert!(
            grid(spec, &axes(&["fast=1"]))
                .unwrap_err()
                .contains("must be between")
        );
        assert!(
            grid(spec, &axes(&["fast=50", "slow=20"]))
                .unwrap_err()
                .contains("no combination")
        );
    }

    /// The same seed draws the same parameter sets, all different and within bounds; another seed
    /// draws others.
    #[test]
    fn random_search_is_seeded_and_bounded() {
        for spec in crate::strategy::all() {
            let all = random(spec, &[], 40, 7).unwrap();
            assert_eq!(all, random(spec, &[], 40, 7).unwrap());
            let different: BTreeSet<String> = all.iter().map(|p| format!("{p:?}")).collect();
            assert_eq!(different.len(), all.len());
            for (params, p) in all
                .iter()
                .flat_map(|params| spec.params.iter().map(move |p| (params, p)))
            {
                assert!(
                    (p.min..=p.max).contains(&params[p.name]),
                    "{} {}",
                    spec.name,
                    p.name
                );
            }
        }
        let spec = crate::strategy::find("sma_cross").unwrap();
        assert_ne!(random(spec, &[], 9, 1), random(spec, &[], 9, 2));
        assert!(
            random(spec, &axes(&["slow=50"]), 9, 1)
                .unwrap()
                .iter()
                .all(|p| p["slow"] == 50.0)
        );
    }

    /// A period shorter than one window is one window of its own.
    #[test]
    fn windows_are_full_and_evenly_stepped() {
        let all = windows((Ms(0), Ms(100)), Some(Ms(40)), Some(Ms(30)));
        assert_eq!(all, [(Ms(0), Ms(40)), (Ms(30), Ms(70)), (Ms(60), Ms(100))]);
        assert_eq!(windows((Ms(0), Ms(100)), None, None), [(Ms(0), Ms(100))]);
        assert_eq!(
            windows((Ms(0), Ms(10)), Some(Ms(40)), None),
            [(Ms(0), Ms(10))],
            "shorter than one: all there is"
        );
    }
}
