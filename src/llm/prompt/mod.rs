//! What a model is shown: the data, frozen and hashed, and the words around it.

mod build;
mod data;
mod series;
mod template;

pub use build::{Arm, ArmLimits, Facts, allowed, build, mark};
pub use data::{ClosedTrade, Contract, PromptData};
pub use series::{atr, latest};
pub use template::{Prompt, Template, TemplateError, hash};
