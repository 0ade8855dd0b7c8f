//! Configuration: layers of text become types that cannot be wrong. Past this folder nobody sees a
//! string or checks a range again.

mod address;
mod backtest;
mod check;
mod contender;
mod describe;
mod layers;
mod llm;
mod reader;
mod risk;
mod rule;
mod secrets;
mod truth;

pub use backtest::BacktestSettings;
pub use check::{
    AllocationSettings, Config, ExchangeSettings, Mode, OrderTransport, Supervision, SyncSettings,
    TapeSettings, VenueSettings,
};
pub use contender::{ContenderSettings, Plays, Stage};
pub use describe::{KeyHelp, keys, page};
pub use layers::{Layers, Overrides};
pub use llm::{ModelEndpoint, ModelSettings};
pub use reader::Problem;
pub use risk::ProtectionSettings;
pub use secrets::{SecretError, find_model_key, find_secrets};

/// Every problem of a configuration, together.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct Problems(pub Vec<Problem>);

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
