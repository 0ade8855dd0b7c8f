//! Prompt shown to a model: the data, frozen and hashed, and the words around it.

mod build;
mod data;
mod template;

pub use build::{ModelProfile, ProfileLimits, PromptFacts, allowed, build, mark};
pub use data::{ClosedTrade, Contract, PromptData};
pub use template::{Prompt, Template, TemplateError, hash};
